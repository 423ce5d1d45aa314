//! A future that a test polls itself, with assertions about each poll and about its wakes.
//!
//! An executor decides when to poll. A test needs to decide that itself, and to check that each wake
//! that was due came, and no other. So each future here has its own waker, which counts its wakes.
//!
//! In the notes: what `await` does, taken apart (N10, N13).

use super::wakers::{self, Count};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A future that the test polls itself, with a waker that counts.
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
#[must_use = "a future does nothing unless it is polled"]
pub struct ManualPoll<F> {
    future: Pin<Box<F>>,
    waker: Waker,
    count: Count,
}

/// Wraps a future for a test that polls it itself. See [`ManualPoll`].
pub fn manual_poll<F: IntoFuture>(future: F) -> ManualPoll<F::IntoFuture> {
    let (waker, count) = wakers::counting();
    ManualPoll {
        future: Box::pin(future.into_future()),
        waker,
        count,
    }
}

impl<F: Future> ManualPoll<F> {
    /// Polls the future once. The count of wakes starts again from zero.
    pub fn poll(&mut self) -> Poll<F::Output> {
        let _wakes = self.count.take();
        self.future
            .as_mut()
            .poll(&mut Context::from_waker(&self.waker))
    }

    /// Polls the future once with another waker.
    pub fn poll_with(&mut self, waker: &Waker) -> Poll<F::Output> {
        self.future.as_mut().poll(&mut Context::from_waker(waker))
    }

    /// How often the future was woken since its last poll.
    #[must_use]
    pub fn woken(&self) -> usize {
        self.count.count()
    }

    /// Whether a clone of the waker exists, for instance in a wait queue or a timer.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.count.kept() > 1
    }

    /// Polls the future, and asserts that it is pending.
    ///
    /// # Panics
    ///
    /// If the future is ready.
    #[track_caller]
    pub fn assert_pending(&mut self)
    where
        F::Output: fmt::Debug,
    {
        if let Poll::Ready(output) = self.poll() {
            panic!("the future is ready, with {output:?}");
        }
    }

    /// Polls the future, asserts that it is ready, and returns its output.
    ///
    /// # Panics
    ///
    /// If the future is pending.
    #[track_caller]
    pub fn assert_ready(&mut self) -> F::Output {
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("the future is pending"),
        }
    }

    /// Asserts that the future was woken `times` times since its last poll.
    ///
    /// # Panics
    ///
    /// If it was woken more or less often.
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
