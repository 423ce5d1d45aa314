//! The waiters for a free descriptor: listeners that have run out of descriptors.
//!
//! When the system has no descriptor left, accepting can be tried again after a while, or when a
//! connection of this loop closes. For the first a listener has a timer; for the second it waits in
//! the list of this module, which the loop wakes when it closes a descriptor.

use super::action::DueAction;
use super::loop_handle::{Action, Call, LoopHandle};
use crate::base::slab::SlabKey;
use std::panic::Location;
use std::task::Waker;

impl LoopHandle {
    /// Wakes `waker` once, when a descriptor of this loop is closed.
    pub(crate) fn wake_on_fd_close(&self, waker: Waker) -> FdWaitKey {
        FdWaitKey(self.fd_waiters.borrow_mut().insert(Action::wake(waker)))
    }

    /// Queues `call` once, when a descriptor of this loop is closed.
    #[track_caller]
    pub(super) fn call_on_fd_close(&self, call: impl FnOnce(&LoopHandle) + 'static) -> FdWaitKey {
        let action = Action::call(Call::new(Location::caller(), call));
        FdWaitKey(self.fd_waiters.borrow_mut().insert(action))
    }

    /// Cancels a wait of [`LoopHandle::wake_on_fd_close`].
    pub(crate) fn cancel_fd_wait(&self, key: FdWaitKey) {
        let action = self.fd_waiters.borrow_mut().remove(key.0);
        if let Some(action) = action {
            self.drop_guarded(action);
        }
    }

    /// Takes one waiter out of the list, for a caller that empties it.
    pub(super) fn pop_fd_waiter(&self) -> Option<Action> {
        let mut waiters = self.fd_waiters.borrow_mut();
        let first = waiters.first()?;
        waiters.remove(first)
    }

    /// Wakes the waiters, because a descriptor of this loop is about to be closed.
    pub(super) fn notify_fd_waiters(&self) {
        // Nearly always there is no waiter.
        if self.fd_waiters.borrow().is_empty() {
            return;
        }
        // Only the present waiters: one that waits again at once is for the next descriptor (L5).
        let mut waiting = Vec::new();
        for (key, _) in self.fd_waiters.borrow().iter() {
            waiting.push(key);
        }
        for key in waiting {
            let Some(action) = self.fd_waiters.borrow_mut().remove(key) else {
                continue; // a waker that ran before has cancelled it
            };
            match action.into_due() {
                // Queued and not called here: the descriptor is closed after this returns.
                DueAction::Call(call) => {
                    self.queue_call(call);
                }
                DueAction::Wake(waker) => self.guard(|| waker.wake()),
            }
        }
    }
}

/// Identifies a wait for a free descriptor.
#[derive(Debug)]
pub struct FdWaitKey(SlabKey);
