//! The traits of the `futures` crates, with the feature `futures-io`: [`AsyncRead`] and [`AsyncWrite`].
//!
//! In asyncio the protocol classes are such an agreement between libraries.

use super::pipe::{PipeReader, PipeWriter};
use super::split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use super::tcp::TcpStream;
use super::unix::UnixStream;
use futures_io::{AsyncRead, AsyncWrite};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Implements a trait by the methods of a type that have the names of its own.
macro_rules! async_read {
    ($($of:ty),*) => {$(
        impl AsyncRead for $of {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.get_mut().poll_read(cx, buffer)
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffers: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                self.get_mut().poll_read_vectored(cx, buffers)
            }
        }
    )*};
}

macro_rules! async_write {
    ($($of:ty: $close:expr),*) => {$(
        impl AsyncWrite for $of {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.get_mut().poll_write(cx, bytes)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.get_mut().poll_write_vectored(cx, buffers)
            }

            /// Does nothing: no byte is kept back.
            fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            /// Ends the writing side, as `shutdown(2)`. A connection that the peer has reset has none left:
            /// its close succeeds.
            fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let close: fn(&mut Self) -> io::Result<()> = $close;
                Poll::Ready(match close(self.get_mut()) {
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
                    closed => closed,
                })
            }
        }
    )*};
}

// `&TcpStream` too, as the standard library's: one task may read while another writes.
async_read!(TcpStream, &TcpStream, ReadHalf<'_>, OwnedReadHalf);
async_read!(
    UnixStream,
    &UnixStream,
    ReadHalf<'_, UnixStream>,
    OwnedReadHalf<UnixStream>
);
async_write!(
    TcpStream: |stream| stream.shutdown(Shutdown::Write),
    &TcpStream: |stream| stream.shutdown(Shutdown::Write),
    WriteHalf<'_>: |half| half.shutdown(),
    OwnedWriteHalf: |half| half.shutdown()
);
async_write!(
    UnixStream: |stream| stream.shutdown(Shutdown::Write),
    &UnixStream: |stream| stream.shutdown(Shutdown::Write),
    WriteHalf<'_, UnixStream>: |half| half.shutdown(),
    OwnedWriteHalf<UnixStream>: |half| half.shutdown()
);

impl AsyncRead for PipeReader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        PipeReader::poll_read(&self, cx, buffer)
    }
}

impl AsyncWrite for PipeWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        PipeWriter::poll_write(&self, cx, bytes)
    }

    /// Does nothing: no byte is kept back.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Does nothing: only the drop of a writing end closes it.
    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
