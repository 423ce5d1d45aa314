//! Serves the waiters of a queue: moves items into free room, and grants waiting getters a reservation.
//!
//! This runs after each change, until nothing more can be moved. Items are compared before anything is
//! granted, and while the queue of waiters is not borrowed (L8). The place of the putter is looked up again
//! afterwards, because the putter may have been dropped meanwhile.
//!
//! In asyncio: `_wakeup_next`. Rule: Q6.

use super::errors::Closed;
use super::queue_order::QueueOrder;
use super::queue_state::{PutOutcome, QueueState, Wanted};
use crate::event_loop::panics::catch;
use crate::task::wait_queue::WakeBatch;
use std::task::Waker;

impl<T, S: QueueOrder<T>> QueueState<T, S> {
    /// Moves items into free room, and grants waiting getters the right to an item.
    #[inline]
    pub(super) fn match_waiters(&self) {
        // Most items are put and taken without a waiter, so this check is inlined.
        if self.getters.is_empty() && self.putters.is_empty() {
            return;
        }
        self.match_waiters_slow();
    }

    #[inline(never)]
    fn match_waiters_slow(&self) {
        if S::COMPARES && self.store.try_borrow_mut().is_err() {
            return; // items are being compared, and the comparing call serves afterwards
        }
        let mut batch = WakeBatch::default();
        loop {
            // Nearly always there are waiters on one side only.
            if !self.putters.is_empty() && self.accept_put(&mut batch) {
                continue;
            }
            if self.getters.is_empty() {
                break;
            }
            let Some(waker) = self.reserve_next() else {
                break;
            };
            batch.wake(waker);
        }
        batch.report();
    }

    /// Serves the first waiting putter: moves its item in, reserves room for it, or returns its item
    /// if the queue is closed. `false` if there is no putter or no room.
    fn accept_put(&self, batch: &mut WakeBatch) -> bool {
        let shut = self.closed.get();
        if !shut && !self.has_room() {
            return false;
        }
        if S::COMPARES && !shut {
            return self.accept_compared(batch);
        }
        let mut moved = None;
        let give = |wanted| match wanted {
            wanted if shut => PutOutcome::Closed(wanted),
            Wanted::Item(item) => {
                moved = Some(item);
                PutOutcome::Stored
            }
            Wanted::Reservation | Wanted::Comparing => self.reserve(),
        };
        let Some(waker) = self.putters.grant_if(|_| true, give) else {
            return false;
        };
        if let Some(item) = moved {
            self.push(0, item);
        }
        batch.wake(waker);
        true
    }

    /// The same where its item has to be compared with the others first.
    fn accept_compared(&self, batch: &mut WakeBatch) -> bool {
        let Some((place, wanted)) = self.putters.take_want(Wanted::Comparing) else {
            return false;
        };
        let admitted = match wanted {
            Wanted::Item(item) => self.push_compared(item, batch),
            Wanted::Reservation | Wanted::Comparing => self.reserve(),
        };
        match self.putters.grant_at(place, admitted) {
            Ok(waker) => batch.wake(waker),
            // Left while its item was compared.
            Err(PutOutcome::Panicked(payload)) => batch.note(payload),
            Err(_) => {}
        }
        true
    }

    /// If the comparison panics, the panic goes to the putter of the item, and not to the caller that
    /// makes room for it.
    fn push_compared(&self, item: T, batch: &mut WakeBatch) -> PutOutcome<T> {
        match catch(|| self.items().place(&item)) {
            Ok(place) => {
                self.push(place, item);
                PutOutcome::Stored
            }
            Err(payload) => {
                batch.guard(|| drop(item));
                PutOutcome::Panicked(payload)
            }
        }
    }

    /// Q6: grants the first waiting getter the right to an item, or notifies it that no item will
    /// come.
    fn reserve_next(&self) -> Option<Waker> {
        let (len, promised) = (self.len(), self.reserved_items.get());
        if len > promised {
            let waker = self.getters.grant_if(|()| true, |()| Ok(()))?;
            self.reserved_items.set(promised + 1);
            return Some(waker);
        }
        // Not before the last item is taken: the getter with its reservation may yet be dropped.
        if !self.closed.get() || len > 0 {
            return None;
        }
        self.getters.grant_if(|()| true, |()| Err(Closed(())))
    }
}

/// Serves the waiters when it is dropped.
pub(super) struct MatchOnDrop<'a, T, S: QueueOrder<T>>(pub(super) &'a QueueState<T, S>);

impl<T, S: QueueOrder<T>> Drop for MatchOnDrop<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        self.0.match_waiters();
    }
}
