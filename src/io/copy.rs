//! Copies a stream into another one.
//!
//! A copy that waits for bytes holds no buffer, so an idle connection of a proxy costs none. What a writer keeps
//! back is flushed before a wait for more bytes.
//!
//! In asyncio there is nothing like it; in the standard library: `std::io::copy`.

use super::check::{check_read, written};
use super::poll_read::PollRead;
use super::poll_write::PollWrite;
use super::read_buffer::CHUNK;
use crate::task::budget;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

/// The largest buffer of a copy: a read that fills its buffer makes the next one twice as large.
const LARGEST: usize = 64 << 10;

/// One direction of a copy.
#[derive(Debug)]
pub(super) struct Transfer {
    /// Empty while it waits for bytes.
    buffer: Vec<u8>,
    chunk: usize,
    start: usize,
    end: usize,
    pub(super) copied: u64,
    /// The writer may keep bytes back.
    needs_flush: bool,
    is_at_end: bool,
}

impl Transfer {
    pub(super) fn new() -> Self {
        Self {
            buffer: Vec::new(),
            chunk: CHUNK,
            start: 0,
            end: 0,
            copied: 0,
            needs_flush: false,
            is_at_end: false,
        }
    }

    /// Ready when the reader is at its end and the writer is flushed.
    pub(super) fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> Poll<io::Result<()>>
    where
        R: PollRead + ?Sized,
        W: PollWrite + ?Sized,
    {
        loop {
            // F1: streams that are ready at once, and take nothing from the budget.
            let step = |cx: &mut Context<'_>| self.poll_chunk(cx, reader, writer);
            if ready!(budget::budgeted_composite(cx, step))? {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Writes what was read, and reads the next bytes. `true` at the end.
    fn poll_chunk<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> Poll<io::Result<bool>>
    where
        R: PollRead + ?Sized,
        W: PollWrite + ?Sized,
    {
        while self.start < self.end {
            let bytes = &self.buffer[self.start..self.end];
            let n = ready!(writer.poll_write(cx, bytes))?;
            let n = written(n, bytes.len())?;
            self.start += n;
            self.copied += n as u64;
            self.needs_flush = true;
        }
        if !self.is_at_end {
            match self.poll_fill(cx, reader) {
                Poll::Ready(read) => {
                    read?;
                    if !self.is_at_end {
                        return Poll::Ready(Ok(false));
                    }
                }
                Poll::Pending => self.buffer = Vec::new(),
            }
        }
        // At the end, and before a wait for more.
        if self.needs_flush {
            ready!(writer.poll_flush(cx))?;
            self.needs_flush = false;
        }
        match self.is_at_end {
            true => Poll::Ready(Ok(true)),
            false => Poll::Pending,
        }
    }

    fn poll_fill<R>(&mut self, cx: &mut Context<'_>, reader: &mut R) -> Poll<io::Result<()>>
    where
        R: PollRead + ?Sized,
    {
        if self.buffer.is_empty() {
            ready!(reader.poll_read_ready(cx))?;
        }
        self.buffer.resize(self.chunk, 0);
        let n = ready!(reader.poll_read(cx, &mut self.buffer))?;
        let room = self.buffer.len();
        check_read(n, room);
        (self.start, self.end) = (0, n);
        self.is_at_end = n == 0;
        if n == room {
            self.chunk = (2 * room).min(LARGEST);
        }
        Poll::Ready(Ok(()))
    }
}

/// Copies all bytes from `reader` to `writer`, up to the end, and returns their number. It flushes the
/// writer, and does not shut it down.
///
/// # Errors
///
/// Those of the two streams; `WriteZero`.
///
/// # Cancellation
///
/// Bytes that were read and not written are lost, 64 KiB at most.
///
/// # Examples
///
/// ```
/// use readily::io::copy;
///
/// let mut to = Vec::new();
/// let n = readily::run(copy(&b"some bytes"[..], &mut to))??;
/// assert_eq!((n, &to[..]), (10, &b"some bytes"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn copy(mut reader: impl PollRead, mut writer: impl PollWrite) -> io::Result<u64> {
    let mut transfer = Transfer::new();
    poll_fn(|cx| transfer.poll(cx, &mut reader, &mut writer)).await?;
    Ok(transfer.copied)
}

#[cfg(test)]
mod tests {
    use super::super::duplex::duplex;
    use super::*;
    use std::task::Waker;

    #[test]
    fn a_copy_that_waits_holds_no_buffer() {
        let (mut here, mut there) = duplex(8);
        let mut to = Vec::new();
        let mut transfer = Transfer::new();
        let mut cx = Context::from_waker(Waker::noop());
        for round in 0..3 {
            assert!(transfer.poll(&mut cx, &mut there, &mut to).is_pending());
            assert_eq!((transfer.buffer.capacity(), to.len()), (0, 2 * round));
            assert!(here.poll_write(&mut cx, b"ab").is_ready());
        }
        drop(here);
        assert!(transfer.poll(&mut cx, &mut there, &mut to).is_ready());
        assert_eq!((transfer.copied, &to[..]), (6, &b"ababab"[..]));
    }

    /// A read that fills its buffer makes the next one larger, up to a limit.
    #[test]
    fn a_stream_that_fills_its_buffers_is_copied_in_large_parts() {
        let mut transfer = Transfer::new();
        let mut cx = Context::from_waker(Waker::noop());
        let all = vec![7; 1 << 20];
        let mut to = Vec::new();
        while transfer.poll(&mut cx, &mut &all[..], &mut to).is_pending() {}
        assert_eq!((transfer.chunk, to.len()), (LARGEST, all.len()));
    }
}
