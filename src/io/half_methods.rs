//! The operations of the halves of a connection: those of [`TcpStream`] in one direction.
//!
//! In asyncio: the methods of `StreamReader` and `StreamWriter`.

#[cfg(doc)]
use super::tcp::TcpStream;
use super::tcp_split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::task::{Context, Poll};

/// What is asked of the connection and not of one of its sides: each half may.
macro_rules! both_halves {
    ($half:ty, $stream:tt) => {
        impl $half {
            /// See [`TcpStream::local_addr`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.$stream.local_addr()
            }

            /// See [`TcpStream::peer_addr`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.$stream.peer_addr()
            }

            /// See [`TcpStream::set_nodelay`]. It is an option of the connection: the other half
            /// has it too.
            ///
            /// # Errors
            ///
            /// As there.
            pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
                self.$stream.set_nodelay(nodelay)
            }
        }
    };
}

macro_rules! read_half {
    ($half:ty) => {
        both_halves!($half, 0);

        impl $half {
            /// See [`TcpStream::read`].
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Cancellation
            ///
            /// As there: nothing is lost.
            pub fn read(&mut self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
                self.0.read(buffer)
            }

            /// See [`TcpStream::read_exact`].
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Cancellation
            ///
            /// As there: bytes may be lost.
            pub async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
                self.0.read_exact(buffer).await
            }

            /// See [`TcpStream::read_vectored`].
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Cancellation
            ///
            /// As there: nothing is lost.
            pub async fn read_vectored(
                &mut self,
                buffers: &mut [IoSliceMut<'_>],
            ) -> io::Result<usize> {
                self.0.read_vectored(buffers).await
            }

            /// See [`TcpStream::peek`].
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Cancellation
            ///
            /// As there: nothing is lost.
            pub async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.peek(buffer).await
            }

            /// See [`TcpStream::readable`].
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Cancellation
            ///
            /// As there: nothing is lost.
            pub async fn readable(&self) -> io::Result<()> {
                self.0.readable().await
            }

            /// See [`TcpStream::try_read`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.try_read(buffer)
            }

            /// See [`TcpStream::try_read_vectored`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn try_read_vectored(
                &mut self,
                buffers: &mut [IoSliceMut<'_>],
            ) -> io::Result<usize> {
                self.0.try_read_vectored(buffers)
            }

            /// See [`TcpStream::poll_read`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn poll_read(
                &mut self,
                cx: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.0.poll_read(cx, buffer)
            }

            /// See [`TcpStream::poll_read_uninit`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn poll_read_uninit(
                &mut self,
                cx: &mut Context<'_>,
                buffer: &mut [MaybeUninit<u8>],
            ) -> Poll<io::Result<usize>> {
                self.0.poll_read_uninit(cx, buffer)
            }

            /// See [`TcpStream::poll_read_vectored`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn poll_read_vectored(
                &mut self,
                cx: &mut Context<'_>,
                buffers: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                self.0.poll_read_vectored(cx, buffers)
            }

            /// See [`TcpStream::poll_read_ready`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.0.poll_read_ready(cx)
            }
        }
    };
}

macro_rules! write_half {
    ($half:ty, $stream:tt) => {
        both_halves!($half, $stream);

        impl $half {
            /// See [`TcpStream::write`].
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Cancellation
            ///
            /// As there: nothing is lost.
            pub fn write(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> {
                self.$stream.write(bytes)
            }

            /// See [`TcpStream::write_all`].
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Cancellation
            ///
            /// As there: some bytes may have been written.
            pub fn write_all(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> {
                self.$stream.write_all(bytes)
            }

            /// See [`TcpStream::write_vectored`].
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Cancellation
            ///
            /// As there: nothing is lost.
            pub async fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                self.$stream.write_vectored(buffers).await
            }

            /// See [`TcpStream::writable`].
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Cancellation
            ///
            /// As there: nothing is lost.
            pub async fn writable(&self) -> io::Result<()> {
                self.$stream.writable().await
            }

            /// See [`TcpStream::try_write`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.$stream.try_write(bytes)
            }

            /// See [`TcpStream::try_write_vectored`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn try_write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                self.$stream.try_write_vectored(buffers)
            }

            /// See [`TcpStream::poll_write`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn poll_write(
                &mut self,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.$stream.poll_write(cx, bytes)
            }

            /// See [`TcpStream::poll_write_vectored`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn poll_write_vectored(
                &mut self,
                cx: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.$stream.poll_write_vectored(cx, buffers)
            }

            /// See [`TcpStream::poll_write_ready`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.$stream.poll_write_ready(cx)
            }

            /// Ends this side: the peer reads the end.
            ///
            /// # Errors
            ///
            /// As `shutdown(2)`.
            pub fn shutdown(&mut self) -> io::Result<()> {
                self.$stream.shutdown(Shutdown::Write)
            }
        }
    };
}

read_half!(ReadHalf<'_>);
read_half!(OwnedReadHalf);
write_half!(WriteHalf<'_>, 0);
write_half!(OwnedWriteHalf, stream);
