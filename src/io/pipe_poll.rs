//! The ends of a pipe for code that is polled, or that tries by itself: what
//! [`TcpStream`](super::TcpStream) has in `stream_poll.rs`, where the reasons are.
//!
//! In the notes: the I/O of coroutines (N4, N10).

use super::check::nothing;
use super::pipe::{PipeReader, PipeWriter};
use super::pipe_end::PipeEnd;
use super::watched::{Direction, Io};
use std::io;
use std::task::{Context, Poll};

impl PipeReader {
    /// Polls a read. Gives zero at the end of the stream, or if `buffer` is empty. Of several tasks that poll, only
    /// the one that polled last is woken.
    ///
    /// # Errors
    ///
    /// As [`PipeReader::read`].
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::io::pipe;
    /// use std::future::poll_fn;
    ///
    /// readily::run(async {
    ///     let (reader, writer) = pipe()?;
    ///     poll_fn(|cx| writer.poll_write(cx, b"hello")).await?;
    ///     let mut buffer = [0; 16];
    ///     let n = poll_fn(|cx| reader.poll_read(cx, &mut buffer)).await?;
    ///     assert_eq!(&buffer[..n], b"hello");
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return nothing(cx);
        }
        let mut read = |end: &PipeEnd| end.fd_ref().try_read(buffer, &end.known);
        self.end
            .poll_with(Direction::Read, |wait| wait.poll_io(cx, &mut read))
    }

    /// Polls whether a read is worth trying, as [`PipeReader::readable`].
    ///
    /// # Errors
    ///
    /// As [`PipeReader::readable`].
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end.poll_ready(cx, Direction::Read)
    }

    /// Waits until a read is worth trying, as [`TcpStream::readable`](super::TcpStream::readable).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn readable(&self) -> io::Result<()> {
        self.end.wait(Direction::Read).await
    }

    /// Reads the bytes that are there, without waiting. Returns zero at the end of the stream, or if `buffer` is empty.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing is there; as [`PipeReader::read`].
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = |end: &PipeEnd| end.fd_ref().try_read(buffer, &end.known);
        self.end.try_io(Direction::Read, read)
    }
}

impl PipeWriter {
    /// Polls a write of as many of `bytes` as fit. Of several tasks that poll, only the one that polled last is
    /// woken.
    ///
    /// # Errors
    ///
    /// As [`PipeWriter::write`].
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return nothing(cx);
        }
        let mut write = |end: &PipeEnd| end.fd_ref().try_write(bytes, &end.known);
        self.end
            .poll_with(Direction::Write, |wait| wait.poll_io(cx, &mut write))
    }

    /// Polls whether a write is worth trying, as [`PipeWriter::writable`].
    ///
    /// # Errors
    ///
    /// As [`PipeWriter::writable`].
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end.poll_ready(cx, Direction::Write)
    }

    /// Waits until a write is worth trying, as [`TcpStream::writable`](super::TcpStream::writable).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn writable(&self) -> io::Result<()> {
        self.end.wait(Direction::Write).await
    }

    /// Writes as many of `bytes` as fit, without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room; as [`PipeWriter::write`].
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let write = |end: &PipeEnd| end.fd_ref().try_write(bytes, &end.known);
        self.end.try_io(Direction::Write, write)
    }
}
