//! The state that the two sides of a remote task share: the result under a lock, a waker, a
//! condition variable.
//!
//! The loop's side settles it once, and the other side takes the result once. No user code runs
//! under the lock: wakers are woken, and values dropped, after it is released (L8).
//!
//! In asyncio this is inside `concurrent.futures.Future`. Rule: G6.

use super::cell::Header;
use super::join_error::JoinError;
use super::unclaimed_panic::UnclaimedPanic;
use crate::event_loop::{CrossLoopWait, Inbox};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// The reason why there is no value.
pub(super) enum Failed {
    /// The task was cancelled.
    Cancelled(JoinError),
    /// The task panicked. The payload is reported if it is dropped unread.
    Panicked(UnclaimedPanic),
}

impl Failed {
    pub(super) fn into_error(self) -> JoinError {
        match self {
            Self::Cancelled(error) => error,
            Self::Panicked(unclaimed) => JoinError::Panicked(unclaimed.take()),
        }
    }
}

pub(super) type Ended<T> = Result<T, Failed>;

/// The outcome of a task in a form that is `Send`.
pub(super) fn ended<T>(task: &Header, result: Result<T, JoinError>) -> Ended<T> {
    result.map_err(|error| match error {
        JoinError::Panicked(payload) => Failed::Panicked(UnclaimedPanic::of_task(task, payload)),
        cancelled => Failed::Cancelled(cancelled),
    })
}

pub(super) enum State<T> {
    /// Sent, and not yet a task; with an error if it is to be cancelled on arrival.
    Sent(Option<JoinError>),
    /// A task of the loop, with this id.
    Runs(Waker),
    Settled(Ended<T>),
    /// T4: delivered once.
    Taken,
}

pub(super) struct Inner<T> {
    pub(super) state: State<T>,
    /// The waker of the waiting task, and, if that is on another loop, the record of the wait
    /// across loops.
    pub(super) waker: Option<(Waker, Option<CrossLoopWait>)>,
    /// Whether the task ended as cancelled.
    pub(super) cancelled: bool,
    /// Whether the `RemoteTask` still exists.
    pub(super) held: bool,
}

impl<T> Inner<T> {
    pub(super) fn is_settled(&self) -> bool {
        matches!(self.state, State::Settled(_) | State::Taken)
    }

    /// Takes the result; `None` while there is none. `Err` if it was taken before.
    pub(super) fn take(&mut self) -> Result<Option<Ended<T>>, ()> {
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Settled(result) => Ok(Some(result)),
            State::Taken => Err(()),
            pending => {
                self.state = pending;
                Ok(None)
            }
        }
    }
}

/// The state that both sides share.
pub(super) struct RemoteState<T> {
    inner: Mutex<Inner<T>>,
    pub(super) settled: Condvar,
    /// The inbox of the loop that the task is sent to.
    pub(super) home: Arc<Inbox>,
}

impl<T> RemoteState<T> {
    pub(super) fn new(home: Arc<Inbox>) -> Self {
        let state = State::Sent(None);
        Self {
            inner: Mutex::new(Inner {
                state,
                waker: None,
                cancelled: false,
                held: true,
            }),
            settled: Condvar::new(),
            home,
        }
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner<T>> {
        // The state is consistent even if the lock is poisoned: nothing that can panic runs under
        // it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error, if the task was cancelled before it arrived.
    pub(super) fn cancelled_before(&self) -> Option<JoinError> {
        match &mut self.inner().state {
            State::Sent(cancelled) => cancelled.take(),
            _ => None,
        }
    }

    /// Records the id of the new task; `Some` if it was cancelled in the meantime.
    pub(super) fn runs(&self, waker: Waker) -> Option<JoinError> {
        let mut inner = self.inner();
        match std::mem::replace(&mut inner.state, State::Runs(waker)) {
            State::Sent(cancelled) => cancelled,
            other => {
                inner.state = other;
                None
            }
        }
    }

    /// G6: settles once; returns a result that no handle will take, as in a child of the loop's
    /// process.
    pub(super) fn settle(&self, result: Ended<T>) -> Option<Ended<T>> {
        // Before the lock: another thread of the parent may have held it at the fork.
        if self.home.forked() {
            return Some(result);
        }
        let mut inner = self.inner();
        if inner.is_settled() {
            return Some(result);
        }
        inner.cancelled = matches!(result, Err(Failed::Cancelled(_)));
        let left = if inner.held {
            inner.state = State::Settled(result);
            None
        } else {
            inner.state = State::Taken;
            Some(result)
        };
        let waker = inner.waker.take();
        drop(inner);
        self.settled.notify_all();
        // L8: not under the lock. The record of the wait is dropped after the wake.
        if let Some((waker, _cross_loop)) = waker {
            waker.wake();
        }
        left
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// R197. The lock is held at the fork by another thread, which the child does not have.
    #[test]
    fn a_task_that_ends_in_a_child_of_its_process_does_not_wait_for_the_lock() {
        let shared = RemoteState::new(Arc::new(Inbox::of_the_parent()));
        let _held = shared.inner.lock();
        let left = shared.settle(Ok(7));
        assert!(matches!(left, Some(Ok(7))));
    }
}
