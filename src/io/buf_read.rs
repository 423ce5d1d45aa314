//! Reads of a buffered reader as of a stream: the bytes that are there, or all up to the end.
//!
//! In asyncio: `StreamReader.read`.

use super::buf_reader::BufReader;
use super::poll_read::PollRead;
use super::read_buffer::CHUNK;
use super::read_error::ReadError;
use crate::task::budget;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

impl<R: PollRead> BufReader<R> {
    /// Waits until there are bytes, and reads them into `buffer`. Returns their number: zero at the end of the stream,
    /// or if `buffer` is empty.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: either bytes were read and this has returned, or none were.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buffer)).await
    }

    /// Appends to `into` all bytes up to the end of the stream, and returns their number.
    ///
    /// # Errors
    ///
    /// [`ReadError::TooLong`] if there are more than `limit` bytes: the first of them are in `into`, the next ones stay
    /// in the reader. As the stream.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: what was read is in `into`, and another call goes on.
    pub async fn read_to_end(
        &mut self,
        into: &mut Vec<u8>,
        limit: usize,
    ) -> Result<usize, ReadError> {
        let mut total = 0;
        loop {
            let bytes = self.fill_buf().await?;
            let (n, room) = (bytes.len(), limit - total);
            if n == 0 {
                return Ok(total);
            }
            if room == 0 {
                return Err(ReadError::TooLong { limit });
            }
            let n = n.min(room);
            into.extend_from_slice(&bytes[..n]);
            self.buffer.consume(n);
            total += n;
        }
    }
}

impl<R: PollRead> PollRead for BufReader<R> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        budget::budgeted_composite(cx, |cx| {
            if self.buffer.is_empty() && buffer.len() >= CHUNK {
                return self.stream.poll_read(cx, buffer);
            }
            if self.buffer.is_empty() && !buffer.is_empty() {
                ready!(self.poll_fill(cx))?;
            }
            let filled = self.buffer.filled();
            let n = filled.len().min(buffer.len());
            buffer[..n].copy_from_slice(&filled[..n]);
            self.buffer.consume(n);
            Poll::Ready(Ok(n))
        })
    }

    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        budget::budgeted_composite(cx, |cx| match self.buffer.is_empty() {
            true => self.stream.poll_read_ready(cx),
            false => Poll::Ready(Ok(())),
        })
    }
}
