//! What a writer on top of a stream needs of it.
//!
//! In asyncio a protocol calls `write` of its transport; here the writer polls.

use super::pipe::PipeWriter;
use super::split::{OwnedWriteHalf, WriteHalf};
use super::standard_writers::{Stderr, Stdout};
use super::tcp::TcpStream;
use super::unix::UnixStream;
use std::io;
use std::net::Shutdown;
use std::task::{Context, Poll};

/// A stream of bytes that is written to by polling: for writers on top of it, such as
/// [`BufWriter`](super::BufWriter) and [`copy`](super::copy()).
///
/// The streams of this crate have it. One for a stream of your own, an encrypted one, say, wakes the task of
/// the last poll when it is worth polling again.
pub trait PollWrite {
    /// Polls a write of as many of `bytes` as fit. Gives zero at once if `bytes` is empty, and if the stream will
    /// never have room again.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Polls until the stream has passed on all that it has kept back. By default it keeps nothing back.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// Polls until what is kept back is passed on and this side has ended: the peer reads the end of the stream.
    /// Where only a drop ends it, as that of a pipe, it is as [`poll_flush`](Self::poll_flush).
    ///
    /// # Errors
    ///
    /// Those of the stream.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// Implements the trait for a type by the methods of another: for a borrowed stream, so that one task may
/// write while another reads, by those of the stream.
macro_rules! poll_write {
    ($($of:ty: $by:ty, |$this:ident| $shutdown:expr;)*) => {$(
        impl PollWrite for $of {
            fn poll_write(
                &mut self,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                <$by>::poll_write(self, cx, bytes)
            }

            fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $this = self;
                Poll::Ready($shutdown)
            }
        }
    )*};
}

poll_write! {
    TcpStream: TcpStream, |stream| stream.shutdown(Shutdown::Write);
    &TcpStream: TcpStream, |stream| stream.shutdown(Shutdown::Write);
    UnixStream: UnixStream, |stream| stream.shutdown(Shutdown::Write);
    &UnixStream: UnixStream, |stream| stream.shutdown(Shutdown::Write);
    WriteHalf<'_>: WriteHalf, |half| half.shutdown();
    WriteHalf<'_, UnixStream>: WriteHalf<UnixStream>, |half| half.shutdown();
    OwnedWriteHalf: OwnedWriteHalf, |half| half.shutdown();
    OwnedWriteHalf<UnixStream>: OwnedWriteHalf<UnixStream>, |half| half.shutdown();
    PipeWriter: PipeWriter, |_pipe| Ok(());
    Stdout: Stdout, |_stream| Ok(());
    &Stdout: Stdout, |_stream| Ok(());
    Stderr: Stderr, |_stream| Ok(());
    &Stderr: Stderr, |_stream| Ok(());
}

/// Memory, for tests.
impl PollWrite for Vec<u8> {
    fn poll_write(&mut self, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Implements the trait for what points to a writer.
macro_rules! poll_write_through {
    ($($of:ty),*) => {$(
        impl<W: PollWrite + ?Sized> PollWrite for $of {
            fn poll_write(
                &mut self,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                W::poll_write(self, cx, bytes)
            }

            fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                W::poll_flush(self, cx)
            }

            fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                W::poll_shutdown(self, cx)
            }
        }
    )*};
}

poll_write_through!(&mut W, Box<W>);
