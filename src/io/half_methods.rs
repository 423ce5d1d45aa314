//! The operations of the halves of a stream: those of the stream in one direction.
//!
//! In asyncio: the methods of `StreamReader` and `StreamWriter`.

use super::split::{ByteStream, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
#[cfg(doc)]
use super::tcp::TcpStream;
use super::watched::Direction;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::task::{Context, Poll};

macro_rules! read_half {
    ($half:ty) => {
        impl<S: ByteStream> $half {
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
                self.0.source().read(buffer)
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
                self.0.source().read_exact(buffer).await
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
                self.0.source().read_vectored(buffers).await
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
                self.0.source().peek(buffer).await
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
                self.0.source().wait(Direction::Read).await
            }

            /// See [`TcpStream::try_read`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.source().try_read(buffer)
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
                self.0.source().try_read_vectored(buffers)
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
                self.0.source().poll_read(cx, buffer)
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
                self.0.source().poll_read_uninit(cx, buffer)
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
                self.0.source().poll_read_vectored(cx, buffers)
            }

            /// See [`TcpStream::poll_read_ready`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.0.source().poll_ready(cx, Direction::Read)
            }
        }
    };
}

macro_rules! write_half {
    ($half:ty, $stream:tt) => {
        impl<S: ByteStream> $half {
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
                self.$stream.source().write(bytes)
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
                self.$stream.source().write_all(bytes)
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
                self.$stream.source().write_vectored(buffers).await
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
                self.$stream.source().wait(Direction::Write).await
            }

            /// See [`TcpStream::try_write`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.$stream.source().try_write(bytes)
            }

            /// See [`TcpStream::try_write_vectored`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn try_write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                self.$stream.source().try_write_vectored(buffers)
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
                self.$stream.source().poll_write(cx, bytes)
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
                self.$stream.source().poll_write_vectored(cx, buffers)
            }

            /// See [`TcpStream::poll_write_ready`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.$stream.source().poll_ready(cx, Direction::Write)
            }

            /// Ends this side: the peer reads the end.
            ///
            /// # Errors
            ///
            /// As `shutdown(2)`.
            pub fn shutdown(&mut self) -> io::Result<()> {
                self.$stream.source().shutdown(Shutdown::Write)
            }
        }
    };
}

read_half!(ReadHalf<'_, S>);
read_half!(OwnedReadHalf<S>);
write_half!(WriteHalf<'_, S>, 0);
write_half!(OwnedWriteHalf<S>, stream);
