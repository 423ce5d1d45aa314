//! Waits until a check succeeds: for states that waiters observe and do not take.
//!
//! The last value of a watch, a value of a broadcast, or the end of a channel is there for all receivers,
//! so nothing is granted to one of them. Each waiter checks, and checks again after each change.

use crate::task::budget;
use crate::task::waiters::{WaiterKey, WakerList};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Checks; if the check fails, waits among `waiters`, at `key`, for a change.
///
/// `check` is the crate's own code: it may not call the user's under a borrow (L8).
#[inline]
pub(super) fn poll_wait_until<R>(
    waiters: &WakerList,
    key: &mut Option<WaiterKey>,
    cx: &mut Context<'_>,
    mut check: impl FnMut() -> Option<R>,
) -> Poll<R> {
    if let Some(seen) = check() {
        waiters.leave(key);
        return Poll::Ready(seen);
    }
    waiters.wait(key, cx.waker());
    // Cloning the waker may run user code, which may have changed the state.
    match check() {
        Some(seen) => {
            waiters.leave(key);
            Poll::Ready(seen)
        }
        None => Poll::Pending,
    }
}

/// [`poll_wait_until`] as a future, for a wait that lasts no longer than its call.
pub(super) struct WaitUntil<'a, F> {
    waiters: &'a WakerList,
    key: Option<WaiterKey>,
    check: F,
}

impl<'a, F> WaitUntil<'a, F> {
    pub(super) fn new(waiters: &'a WakerList, check: F) -> Self {
        Self {
            waiters,
            key: None,
            check,
        }
    }
}

// It is called, and never pinned.
impl<F> Unpin for WaitUntil<'_, F> {}

impl<R, F: FnMut() -> Option<R>> Future for WaitUntil<'_, F> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        budget::budgeted(cx, |cx| {
            let Self {
                waiters,
                key,
                check,
            } = &mut *self;
            poll_wait_until(waiters, key, cx, check)
        })
    }
}

impl<F> Drop for WaitUntil<'_, F> {
    fn drop(&mut self) {
        self.waiters.leave(&mut self.key);
    }
}
