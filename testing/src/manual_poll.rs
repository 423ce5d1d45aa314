//! A future that a test polls by hand, and what it must be in: pending, ready, woken.
//!
//! An executor polls when it pleases. A test wants to say when, and to see whether a wake came that
//! was due, and none that was not. So each future here has a waker of its own, which counts.
//!
//! In the notes: what `await` does, taken apart (N10, N13).

use super::wakers::{self, Count};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A future with a waker of its own, to be polled by the test.
///
/// # Examples
///
/// ```
/// use readily_testing::{SimLoop, manual_poll};
///
/// let mut sim = SimLoop::new(1);
/// let _here = sim.event_loop().enter();
/// let (promise, future) = readily::task::create_future();
/// let mut future = manual_poll(future);
/// future.assert_pending();
/// promise.set_result(7).unwrap();
/// future.assert_woken(1);
/// assert_eq!(future.assert_ready(), Ok(7));
/// ```
#[must_use = "it does nothing unless it is polled"]
pub struct ManualPoll<F> {
    future: Pin<Box<F>>,
    waker: Waker,
    count: Count,
}

/// `future`, to be polled by hand.
pub fn manual_poll<F: IntoFuture>(future: F) -> ManualPoll<F::IntoFuture> {
    let (waker, count) = wakers::counting();
    ManualPoll {
        future: Box::pin(future.into_future()),
        waker,
        count,
    }
}

impl<F: Future> ManualPoll<F> {
    /// Polls it once. The wakes so far are for this poll, and are not counted any more.
    pub fn poll(&mut self) -> Poll<F::Output> {
        let _so_far = self.count.take();
        self.future
            .as_mut()
            .poll(&mut Context::from_waker(&self.waker))
    }

    /// Polls it once with somebody else's waker.
    pub fn poll_with(&mut self, waker: &Waker) -> Poll<F::Output> {
        self.future.as_mut().poll(&mut Context::from_waker(waker))
    }

    /// How often it was woken since its last poll.
    #[must_use]
    pub fn woken(&self) -> usize {
        self.count.count()
    }

    /// Whether somebody keeps its waker: a list that it waits in, or a timer.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.count.kept() > 1
    }

    /// Polls it, and wants it to wait.
    ///
    /// # Panics
    ///
    /// If it is ready.
    #[track_caller]
    pub fn assert_pending(&mut self)
    where
        F::Output: fmt::Debug,
    {
        if let Poll::Ready(output) = self.poll() {
            panic!("it is ready, with {output:?}");
        }
    }

    /// Polls it, and wants its output.
    ///
    /// # Panics
    ///
    /// If it waits.
    #[track_caller]
    pub fn assert_ready(&mut self) -> F::Output {
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it waits"),
        }
    }

    /// Wants it to have been woken this often since its last poll.
    ///
    /// # Panics
    ///
    /// If it was not.
    #[track_caller]
    pub fn assert_woken(&self, times: usize) {
        assert_eq!(self.woken(), times, "wakes since the last poll");
    }
}

impl<F> fmt::Debug for ManualPoll<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualPoll")
            .field("woken", &self.count.count())
            .finish_non_exhaustive()
    }
}
