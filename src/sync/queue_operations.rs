//! The operations of a queue that never wait. Each changes its items, and then serves the waiters.
//!
//! Comparing items runs user code, before anything is counted or moved. If it panics, an item that was to
//! be taken is still there, an item that was to be put is not in, and the other waiters are served.
//!
//! In asyncio: `Queue.put_nowait`, `get_nowait` and `shutdown`. Rules: Q2, Q6.

use super::errors::{Closed, GetError, PutError};
use super::queue_order::QueueOrder;
use super::queue_state::QueueState;
use super::serving::MatchOnDrop;
use crate::task::wait_queue::WakeBatch;

impl<T, S: QueueOrder<T>> QueueState<T, S> {
    /// Whether one more may come in without waiting.
    #[inline]
    pub(super) fn check_room(&self) -> Result<(), PutError<()>> {
        if self.closed.get() {
            return Err(PutError::Closed(()));
        }
        // Free room is for the waiters (Q2).
        if !self.putters.is_empty() || !self.has_room() {
            return Err(PutError::Full(()));
        }
        Ok(())
    }

    pub(super) fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        if let Err(refused) = self.check_room() {
            return Err(refused.with(item));
        }
        self.put(item);
        Ok(())
    }

    /// Puts an item for which there is room.
    #[inline]
    pub(super) fn put(&self, item: T) {
        if S::COMPARES {
            return self.put_compared(item);
        }
        self.push(0, item);
        self.match_waiters();
    }

    fn put_compared(&self, item: T) {
        // Also if comparing panics, which may have let go of something.
        let _serves = MatchOnDrop(self);
        drop(self.store()); // not while items are compared
        let place = self.items().place(&item);
        self.push(place, item);
    }

    /// Keeps a place for an item that comes later, if there is room.
    pub(super) fn try_reserve(&self) -> Result<(), PutError<()>> {
        self.check_room()?;
        let _reserved = self.reserve();
        Ok(())
    }

    /// Puts an item for which a place is kept, and is so until the caller gives it up.
    pub(super) fn put_reserved(&self, item: T) -> Result<(), Closed<T>> {
        if self.closed.get() {
            return Err(Closed(item));
        }
        self.put(item);
        Ok(())
    }

    /// A place is kept no more.
    pub(super) fn cancel_reservation(&self) {
        self.reserved.set(self.reserved.get() - 1);
        self.match_waiters();
    }

    /// Whether one item may be taken without waiting.
    #[inline]
    pub(super) fn check_item(&self) -> Result<(), GetError> {
        let len = self.len();
        // Reserved items are taken, and waiters were first (Q2).
        if self.getters.is_empty() && len > self.reserved_items.get() {
            return Ok(());
        }
        match self.closed.get() && len == 0 {
            true => Err(GetError::Closed),
            false => Err(GetError::Empty),
        }
    }

    pub(super) fn try_take(&self) -> Result<T, GetError> {
        self.check_item()?;
        self.take().ok_or(GetError::Empty)
    }

    #[inline]
    pub(super) fn take(&self) -> Option<T> {
        if S::COMPARES {
            return self.take_compared();
        }
        let item = self.store().take(0);
        self.match_waiters();
        item
    }

    fn take_compared(&self) -> Option<T> {
        // Also if comparing panics: the item is still there, for another.
        let _serves = MatchOnDrop(self);
        drop(self.store()); // not while items are compared
        let next = self.items().next();
        self.store().take(next)
    }

    /// Takes the item for a getter that was granted one, unless the shelf was emptied meanwhile.
    pub(super) fn take_reserved(&self) -> Option<T> {
        self.reserved_items.set(self.reserved_items.get() - 1);
        self.take()
    }

    pub(super) fn close(&self) {
        drop(self.store()); // not while items are compared
        self.closed.set(true);
        self.match_waiters();
    }

    /// Empties the shelf for good. Each item counts as done.
    pub(super) fn clear(&self) -> Vec<T> {
        let mut store = std::mem::take(&mut *self.store());
        self.closed.set(true);
        // All that is counted, before code of the user's runs, which may count as well.
        self.done(store.count());
        self.match_waiters();
        let mut batch = WakeBatch::default();
        batch.guard(|| store.sort());
        batch.report();
        store.into_items()
    }
}
