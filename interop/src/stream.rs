//! The streams that the adapters take.

use readily::io::{TcpStream, UnixStream};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::task::{Context, Poll};

mod sealed {
    pub trait Sealed {}
    impl Sealed for readily::io::TcpStream {}
    impl Sealed for readily::io::UnixStream {}
}

/// A byte stream of `readily`, which [`Io`](super::Io) adapts. It cannot be implemented outside this crate: unsafe
/// code relies on [`poll_read_uninit`](Stream::poll_read_uninit).
pub trait Stream: sealed::Sealed {
    /// Polls a read. When it is ready with a number, so many bytes of `buffer` are initialized.
    ///
    /// # Errors
    ///
    /// Those of the read.
    fn poll_read_uninit(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>>;

    /// Polls a write.
    ///
    /// # Errors
    ///
    /// Those of the write.
    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Polls a write of several buffers.
    ///
    /// # Errors
    ///
    /// Those of the write.
    fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Ends the writing side; nothing if the peer has gone, and the side with it.
    ///
    /// # Errors
    ///
    /// Those of `shutdown(2)`.
    fn shutdown(&self) -> io::Result<()>;
}

macro_rules! stream {
    ($($of:ty),*) => {$(
        impl Stream for $of {
            fn poll_read_uninit(
                &self,
                cx: &mut Context<'_>,
                buffer: &mut [MaybeUninit<u8>],
            ) -> Poll<io::Result<usize>> {
                <$of>::poll_read_uninit(self, cx, buffer)
            }

            fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                <$of>::poll_write(self, cx, bytes)
            }

            fn poll_write_vectored(
                &self,
                cx: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                <$of>::poll_write_vectored(self, cx, buffers)
            }

            fn shutdown(&self) -> io::Result<()> {
                match <$of>::shutdown(self, Shutdown::Write) {
                    // The peer has gone, and the side with it.
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
                    ended => ended,
                }
            }
        }
    )*};
}

stream!(TcpStream, UnixStream);
