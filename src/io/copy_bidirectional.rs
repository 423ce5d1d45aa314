//! Copies between two streams in both directions, until both have ended.
//!
//! Each direction is a copy of its own. The end of one is passed on, and the other goes on. An idle limit counts
//! from the last byte of either.
//!
//! In asyncio: two tasks, each of which reads and writes.

use super::copy::Transfer;
use super::poll_read::PollRead;
use super::poll_write::PollWrite;
use crate::event_loop::current;
use crate::task::lazy_timer::LazyTimer;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Copies between two streams in both directions, until both have ended: what a proxy does with a connection.
/// Returns how many bytes went from `one` to `other`, and back.
///
/// When one stream ends, the writing side of the other is ended ([`PollWrite::poll_shutdown`]), and the other
/// direction goes on. An error of either ends the copy.
///
/// # Errors
///
/// Those of the two streams; `WriteZero`; `TimedOut` after the [`idle_limit`](CopyBidirectional::idle_limit).
///
/// # Cancellation
///
/// Bytes that were read and not written are lost, 64 KiB at most in each direction.
///
/// # Examples
///
/// ```
/// use readily::io::{UnixStream, copy_bidirectional};
/// use readily::{gather, spawn};
/// use std::net::Shutdown;
/// use std::time::Duration;
///
/// readily::run(async {
///     let (client, front) = UnixStream::pair()?;
///     let (back, server) = UnixStream::pair()?;
///     let proxy = spawn(async move {
///         copy_bidirectional(front, back).idle_limit(Duration::from_secs(60)).await
///     });
///     client.write_all(b"question").await?;
///     client.shutdown(Shutdown::Write)?;
///     let mut buffer = [0; 16];
///     assert_eq!(server.read(&mut buffer).await?, 8);
///     assert_eq!(server.read(&mut buffer).await?, 0, "the end goes through");
///     server.write_all(b"answer").await?;
///     drop(server);
///     assert_eq!(client.read(&mut buffer).await?, 6);
///     assert_eq!(proxy.await.expect("it is not cancelled")?, (8, 6));
///     Ok::<_, std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn copy_bidirectional<A, B>(one: A, other: B) -> CopyBidirectional<A, B>
where
    A: PollRead + PollWrite + Unpin,
    B: PollRead + PollWrite + Unpin,
{
    CopyBidirectional {
        one,
        other,
        there: Direction::new(),
        back: Direction::new(),
        back_first: false,
        idle: None,
    }
}

#[derive(Debug)]
struct Direction {
    transfer: Transfer,
    has_ended: bool,
}

impl Direction {
    fn new() -> Self {
        Self {
            transfer: Transfer::new(),
            has_ended: false,
        }
    }

    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> Poll<io::Result<()>>
    where
        R: PollRead,
        W: PollWrite,
    {
        if self.has_ended {
            return Poll::Ready(Ok(()));
        }
        ready!(self.transfer.poll(cx, reader, writer))?;
        ready!(writer.poll_shutdown(cx))?;
        self.has_ended = true;
        Poll::Ready(Ok(()))
    }
}

/// How long no byte has moved.
#[derive(Debug)]
struct Idle {
    limit: Duration,
    timer: LazyTimer,
    /// The bytes that had moved when it was last looked at, and when that changed.
    copied: u64,
    since: Option<Instant>,
}

impl Idle {
    fn poll(&mut self, cx: &mut Context<'_>, copied: u64) -> Poll<()> {
        if self.since.is_none() || copied != self.copied {
            self.copied = copied;
            self.since = current::with(|handle| handle.now());
        }
        // The timer is not armed again for each byte: when it fires, it is seen how long the limit still is.
        while self.timer.poll(cx).is_ready() {
            let end = self.since.and_then(|since| since.checked_add(self.limit));
            let now = current::with(|handle| handle.now());
            match (end, now) {
                (Some(end), Some(now)) if now < end => self.timer = LazyTimer::at(end),
                (None, _) => self.timer = LazyTimer::never(),
                _ => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }
}

/// The future of [`copy_bidirectional`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct CopyBidirectional<A, B> {
    one: A,
    other: B,
    there: Direction,
    back: Direction,
    back_first: bool,
    idle: Option<Idle>,
}

impl<A, B> CopyBidirectional<A, B> {
    /// Ends the copy with `TimedOut` when no byte has moved in either direction for so long.
    pub fn idle_limit(mut self, limit: Duration) -> Self {
        self.idle = Some(Idle {
            limit,
            timer: LazyTimer::after(limit),
            copied: 0,
            since: None,
        });
        self
    }

    /// Returns how many bytes have gone from the first stream to the other one so far, and back. Await `&mut` of the
    /// future to ask after an error.
    #[must_use]
    pub fn copied(&self) -> (u64, u64) {
        (self.there.transfer.copied, self.back.transfer.copied)
    }
}

impl<A, B> Future for CopyBidirectional<A, B>
where
    A: PollRead + PollWrite + Unpin,
    B: PollRead + PollWrite + Unpin,
{
    type Output = io::Result<(u64, u64)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (one, other) = (&mut this.one, &mut this.other);
        // The first direction may use up the budget of the task, so they take turns.
        this.back_first = !this.back_first;
        let (there, back) = if this.back_first {
            let back = this.back.poll(cx, other, one)?;
            (this.there.poll(cx, one, other)?, back)
        } else {
            let there = this.there.poll(cx, one, other)?;
            (there, this.back.poll(cx, other, one)?)
        };
        let (copied_there, copied_back) = this.copied();
        if there.is_ready() && back.is_ready() {
            return Poll::Ready(Ok((copied_there, copied_back)));
        }
        if let Some(idle) = &mut this.idle {
            ready!(idle.poll(cx, copied_there + copied_back));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}
