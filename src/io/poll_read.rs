//! What a reader on top of a stream needs of it.
//!
//! In asyncio a transport calls `data_received` of its protocol; here the reader polls.

use super::pipe::PipeReader;
use super::split::{OwnedReadHalf, ReadHalf};
use super::standard_streams::Stdin;
use super::tcp::TcpStream;
use super::unix::UnixStream;
use std::io;
use std::task::{Context, Poll};

/// A stream of bytes that is read by polling: for readers on top of it, such as
/// [`BufReader`](super::BufReader).
///
/// The streams of this crate have it. One for a stream of your own, an encrypted one, say, wakes the task of
/// the last poll when it is worth polling again.
pub trait PollRead {
    /// Polls a read. Gives zero at the end of the stream, and at once if `buffer` is empty.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Polls whether a read is worth trying, so that a reader that waits needs no buffer. By default it always
    /// is.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }
}

/// Implements the trait for a type by the methods of another: for a borrowed stream, so that one task may
/// read while another writes, by those of the stream.
macro_rules! poll_read {
    ($($of:ty: $by:ty),*) => {$(
        impl PollRead for $of {
            fn poll_read(
                &mut self,
                cx: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                <$by>::poll_read(self, cx, buffer)
            }

            fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                <$by>::poll_read_ready(self, cx)
            }
        }
    )*};
}

poll_read!(TcpStream: TcpStream, &TcpStream: TcpStream);
poll_read!(UnixStream: UnixStream, &UnixStream: UnixStream);
poll_read!(ReadHalf<'_>: ReadHalf, OwnedReadHalf: OwnedReadHalf);
poll_read!(ReadHalf<'_, UnixStream>: ReadHalf<UnixStream>);
poll_read!(OwnedReadHalf<UnixStream>: OwnedReadHalf<UnixStream>);
poll_read!(PipeReader: PipeReader);
poll_read!(Stdin: Stdin, &Stdin: Stdin);

/// Bytes in memory, for tests.
impl PollRead for &[u8] {
    fn poll_read(&mut self, _cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(io::Read::read(self, buffer))
    }
}

impl<R: PollRead + ?Sized> PollRead for &mut R {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        R::poll_read(self, cx, buffer)
    }

    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        R::poll_read_ready(self, cx)
    }
}

impl<R: PollRead + ?Sized> PollRead for Box<R> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        R::poll_read(self, cx, buffer)
    }

    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        R::poll_read_ready(self, cx)
    }
}
