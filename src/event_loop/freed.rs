//! Who waits for a descriptor to come free: listeners that have run out.
//!
//! When the system has no descriptor left, time may help, and so may a connection of our own that
//! closes. Of the first a timer knows; of the second nobody tells us but ourselves.

use super::expiry::{Action, Expired};
use super::local::LoopHandle;
use super::ready::Call;
use crate::base::slab::SlabKey;
use std::panic::Location;
use std::task::Waker;

impl LoopHandle {
    /// Wakes `waker` when a descriptor of this loop is closed.
    pub(crate) fn wake_on_fd_close(&self, waker: Waker) -> FdWaitKey {
        FdWaitKey(self.fd_waiters.borrow_mut().insert(Action::wake(waker)))
    }

    /// The same for a closure, which then runs soon.
    #[track_caller]
    pub(super) fn call_on_fd_close(&self, call: impl FnOnce(&LoopHandle) + 'static) -> FdWaitKey {
        let expiry = Action::call(Call::new(Location::caller(), call));
        FdWaitKey(self.fd_waiters.borrow_mut().insert(expiry))
    }

    /// Takes [`LoopHandle::wake_on_fd_close`] back.
    pub(crate) fn cancel_fd_wait(&self, key: FdWaitKey) {
        let expiry = self.fd_waiters.borrow_mut().remove(key.0);
        self.drop_guarded(expiry);
    }

    /// Takes one waiter out of the list, for a caller that empties it.
    pub(super) fn pop_fd_waiter(&self) -> Option<Action> {
        let mut freed = self.fd_waiters.borrow_mut();
        let first = freed.first()?;
        freed.remove(first)
    }

    /// A descriptor of ours is about to be closed: who waits for one tries again.
    pub(super) fn notify_fd_waiters(&self) {
        // Nearly always nobody.
        if self.fd_waiters.borrow().is_empty() {
            return;
        }
        // Those who wait now: a waker may wait again at once, and is for the next one (L5).
        let waiting: Vec<SlabKey> = self
            .fd_waiters
            .borrow()
            .iter()
            .map(|(key, _)| key)
            .collect();
        for key in waiting {
            let Some(expiry) = self.fd_waiters.borrow_mut().remove(key) else {
                continue; // a waker before it has taken it back
            };
            match expiry.open() {
                // Not at once: our caller closes the descriptor after this.
                Expired::Call(call) => {
                    self.ready.push_call(call);
                    self.notify_host();
                }
                Expired::Wake(waker) => self.guard(|| waker.wake()),
            }
        }
    }
}

/// A place in the list of those who wait for a free descriptor.
#[derive(Debug)]
pub struct FdWaitKey(SlabKey);
