//! A writer with a buffer, for many small writes, and for a peer that reads slowly.
//!
//! A write appends to the buffer. When the buffer is above its high mark, the next write first waits until the
//! stream has taken so much that the low mark is reached. So a peer that does not read costs a bounded amount
//! of memory (R123), and the waits come in large steps.
//!
//! In asyncio: `StreamWriter`, with `drain` and `set_write_buffer_limits`.

use super::check::written;
use super::poll_write::PollWrite;
use crate::base::byte_queue::ByteQueue;
use crate::task::budget;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

/// The high mark of a [`BufWriter`], if none is given; the low mark is a quarter of it.
pub const DEFAULT_HIGH_MARK: usize = 64 << 10;

/// A writer with a buffer, over any [`PollWrite`].
///
/// The writer does not write in the background: [`flush`](Self::flush) writes the bytes in the buffer. Dropping the
/// writer loses them.
///
/// # Examples
///
/// ```
/// use readily::io::{BufWriter, UnixStream};
///
/// readily::run(async {
///     let (here, there) = UnixStream::pair()?;
///     let mut writer = BufWriter::new(here);
///     for n in 0..3 {
///         writer.write_all(format!("line {n}\n").as_bytes()).await?;
///     }
///     writer.flush().await?; // one system call for three lines
///     let mut buffer = [0; 64];
///     let n = there.read(&mut buffer).await?;
///     assert_eq!(&buffer[..n], b"line 0\nline 1\nline 2\n");
///     Ok::<_, std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "StreamWriter")]
#[derive(Debug)]
pub struct BufWriter<W> {
    stream: W,
    buffer: ByteQueue,
    low: usize,
    high: usize,
    /// The buffer was above the high mark, and has not come down to the low one since.
    is_draining: bool,
}

/// The error of [`BufWriter::try_write`]: the buffer is above its high mark, and nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{buffered} bytes are buffered, above the mark of {high}: drain first")]
#[non_exhaustive]
pub struct BufferFull {
    /// How many bytes are in the buffer.
    pub buffered: usize,
    /// The high mark.
    pub high: usize,
}

impl<W: PollWrite> BufWriter<W> {
    /// Makes a writer with the marks of [`DEFAULT_HIGH_MARK`].
    pub fn new(stream: W) -> Self {
        Self::with_marks(stream, DEFAULT_HIGH_MARK / 4, DEFAULT_HIGH_MARK)
    }

    /// Makes a writer that waits when more than `high` bytes are in its buffer, until `low` of them are left. With
    /// zero for both each write waits for the one before.
    ///
    /// # Panics
    ///
    /// If `low` is above `high`.
    #[doc(alias = "set_write_buffer_limits")]
    pub fn with_marks(stream: W, low: usize, high: usize) -> Self {
        assert!(low <= high, "the low mark is not above the high one");
        Self {
            stream,
            buffer: ByteQueue::default(),
            low,
            high,
            is_draining: false,
        }
    }

    /// Appends all of `bytes`, first waiting for room if the buffer is above the high mark. So the buffer holds the
    /// high mark and the bytes of one write at most.
    ///
    /// # Errors
    ///
    /// Those of the stream, from the writes of earlier bytes; `WriteZero`. Then none of `bytes` is appended.
    ///
    /// # Cancellation
    ///
    /// All or nothing: it waits before it appends, so dropped in a wait it has appended none of `bytes`. The
    /// stream may have taken earlier ones, each once.
    #[doc(alias = "writelines")]
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.drain().await?;
        self.append(bytes);
        Ok(())
    }

    /// Appends all of `bytes`, and does not wait.
    ///
    /// # Errors
    ///
    /// [`BufferFull`], if the buffer is above its high mark.
    pub fn try_write(&mut self, bytes: &[u8]) -> Result<(), BufferFull> {
        let (buffered, high) = (self.buffered(), self.high);
        if buffered > high {
            return Err(BufferFull { buffered, high });
        }
        self.append(bytes);
        Ok(())
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.buffer.push(bytes);
    }

    /// Waits until the buffer is not above its high mark: at once if it is not; else until it is down to the low
    /// one.
    ///
    /// # Errors
    ///
    /// Those of the stream; `WriteZero`. The bytes that it has not taken stay in the buffer.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: what the stream has not taken stays in the buffer.
    pub async fn drain(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_drain(cx)).await
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        budget::budgeted_composite(cx, |cx| {
            self.is_draining |= self.buffered() > self.high;
            if self.is_draining {
                ready!(self.poll_down_to(cx, self.low))?;
                self.is_draining = false;
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Writes until so many bytes are left at most.
    fn poll_down_to(&mut self, cx: &mut Context<'_>, left: usize) -> Poll<io::Result<()>> {
        while self.buffered() > left {
            let bytes = self.buffer.as_slice();
            let n = ready!(self.stream.poll_write(cx, bytes))?;
            let n = written(n, bytes.len())?;
            self.buffer.take(n);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes all that is in the buffer, and flushes the stream.
    ///
    /// # Errors
    ///
    /// As [`drain`](Self::drain).
    ///
    /// # Cancellation
    ///
    /// As [`drain`](Self::drain).
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Writes all that is in the buffer, and ends this side of the stream: the peer reads the end.
    ///
    /// # Errors
    ///
    /// As [`drain`](Self::drain).
    ///
    /// # Cancellation
    ///
    /// As [`drain`](Self::drain); call it again.
    #[doc(alias = "write_eof")]
    pub async fn shutdown(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_shutdown(cx)).await
    }

    /// Returns how many bytes are in the buffer.
    #[must_use]
    #[doc(alias = "get_write_buffer_size")]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Returns the stream.
    #[must_use]
    pub fn get_ref(&self) -> &W {
        &self.stream
    }

    /// Returns the stream. Bytes that are written to it directly are sent before those in the buffer.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.stream
    }

    /// Returns the stream, and the bytes that it has not taken.
    #[must_use]
    pub fn into_parts(self) -> (W, Vec<u8>) {
        (self.stream, self.buffer.into_vec())
    }
}

impl<W: PollWrite> PollWrite for BufWriter<W> {
    /// Appends all of `bytes`, or waits as [`BufWriter::write_all`].
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(cx))?;
        self.append(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        budget::budgeted_composite(cx, |cx| {
            ready!(self.poll_down_to(cx, 0))?;
            self.stream.poll_flush(cx)
        })
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        budget::budgeted_composite(cx, |cx| {
            ready!(self.poll_down_to(cx, 0))?;
            self.stream.poll_shutdown(cx)
        })
    }
}
