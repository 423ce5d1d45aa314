//! Serves the waiters of a queue: moves items into free room, and grants waiting getters the right to
//! an item.
//!
//! This runs after each change, until nothing can be moved on any more. Items are compared before
//! anything is granted, and outside the borrow of the line (L8). The place of the putter is looked up
//! again afterwards, because the putter may have left meanwhile.
//!
//! In asyncio: `_wakeup_next`. Rule: Q6.

use super::errors::Shut;
use super::shelf::{Admitted, Shelf, Wanted};
use super::store::Store;
use crate::event_loop::panics::catch;
use crate::task::line::WakeBatch;
use std::task::Waker;

impl<T, S: Store<T>> Shelf<T, S> {
    /// Moves items into free room, and grants waiting getters the right to an item.
    #[inline]
    pub(super) fn serve(&self) {
        // Nobody waits for most of what is put and taken: 16 instructions less for each item.
        if self.getters.is_empty() && self.putters.is_empty() {
            return;
        }
        self.serve_those_who_wait();
    }

    #[inline(never)]
    fn serve_those_who_wait(&self) {
        if self.store.try_borrow_mut().is_err() {
            return; // items are being compared, and whoever does that serves afterwards
        }
        let mut batch = WakeBatch::default();
        loop {
            // Who waits for nothing is not looked for: nearly always one waits, on one side.
            if !self.putters.is_empty() && self.admit(&mut batch) {
                continue;
            }
            if self.getters.is_empty() {
                break;
            }
            let Some(waker) = self.promise() else { break };
            batch.wake(waker);
        }
        batch.report();
    }

    /// Serves the first waiting putter: moves its item in, reserves room for it, or returns its item
    /// if the queue is closed. `false` if there is no putter or no room.
    fn admit(&self, batch: &mut WakeBatch) -> bool {
        let shut = self.shut.get();
        if !shut && !self.has_room() {
            return false;
        }
        if S::COMPARES && !shut {
            return self.admit_compared(batch);
        }
        let mut moved = None;
        let give = |wanted| match wanted {
            wanted if shut => Admitted::Shut(wanted),
            Wanted::Item(item) => {
                moved = Some(item);
                Admitted::Entered
            }
            Wanted::Place | Wanted::Entering => self.reserve(),
        };
        let Some(waker) = self.putters.grant_if(|_| true, give) else {
            return false;
        };
        if let Some(item) = moved {
            self.enter(0, item);
        }
        batch.wake(waker);
        true
    }

    pub(super) fn reserve(&self) -> Admitted<T> {
        self.reserved.set(self.reserved.get() + 1);
        Admitted::Reserved
    }

    /// The same where its item has to be compared with the others first.
    fn admit_compared(&self, batch: &mut WakeBatch) -> bool {
        let Some((place, wanted)) = self.putters.take_want(Wanted::Entering) else {
            return false;
        };
        let admitted = match wanted {
            Wanted::Item(item) => self.enter_compared(item, batch),
            Wanted::Place | Wanted::Entering => self.reserve(),
        };
        match self.putters.grant_at(place, admitted) {
            Ok(waker) => batch.wake(waker),
            // Left while its item was compared.
            Err(Admitted::Panicked(payload)) => batch.note(payload),
            Err(_) => {}
        }
        true
    }

    /// If the comparison panics, the panic goes to the putter of the item, and not to the caller that
    /// makes room for it.
    fn enter_compared(&self, item: T, batch: &mut WakeBatch) -> Admitted<T> {
        match catch(|| self.items().place(&item)) {
            Ok(place) => {
                self.enter(place, item);
                Admitted::Entered
            }
            Err(payload) => {
                batch.guard(|| drop(item));
                Admitted::Panicked(payload)
            }
        }
    }

    /// Q6: grants the first waiting getter the right to an item, or notifies it that no item will
    /// come.
    fn promise(&self) -> Option<Waker> {
        let (len, promised) = (self.len(), self.promised.get());
        if len > promised {
            let waker = self.getters.grant_if(|()| true, |()| Ok(()))?;
            self.promised.set(promised + 1);
            return Some(waker);
        }
        // Not before the last one is taken: who has a right to it may yet be dropped.
        if !self.shut.get() || len > 0 {
            return None;
        }
        self.getters.grant_if(|()| true, |()| Err(Shut(())))
    }
}

/// Serves the waiters when it is dropped.
pub(super) struct Serves<'a, T, S: Store<T>>(pub(super) &'a Shelf<T, S>);

impl<T, S: Store<T>> Drop for Serves<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        self.0.serve();
    }
}
