//! The shelf of a queue: its items, those who want to put one there, and those who want one.
//!
//! An item is in one of two places: with whoever puts it, or on the shelf. Nobody is handed an item
//! before he runs; what he is granted is the *right* to the next one, which lies on the shelf
//! until he takes it. So a getter that is dropped loses nothing: the right goes to the next, and
//! the item has never left. Who puts waits with his item at his place in the line, and it is moved
//! on as soon as there is room, so that items come in the order of their putting.
//!
//! To compare items is the user's code, and runs in between: before anything is counted or moved. If
//! it panics, an item that was to be taken is still there, one that was to be put is not in, and
//! the others are served.
//!
//! In asyncio: `Queue`, whose getters are woken and look.

use super::errors::{GetError, PutError, Shut};
use super::event::Event;
use super::serving::Serves;
use super::store::Store;
use crate::event_loop::Payload;
use crate::task::line::{WaitQueue, WakeBatch};
use std::cell::{Cell, Ref, RefCell, RefMut};

/// What a waiting putter wants room for.
pub(super) enum Wanted<T> {
    /// This item.
    Item(T),
    /// One that comes later: see [`Queue::reserve`](super::Queue::reserve).
    Place,
    /// Its item, which is being compared with the others just now.
    Entering,
}

/// What a waiting putter is granted.
pub(super) enum Admitted<T> {
    /// Its item is in.
    Entered,
    /// A place is kept for it.
    Reserved,
    /// The queue was closed; here is what it had.
    Shut(Wanted<T>),
    /// Comparing its item panicked. It is not in.
    Panicked(Payload),
}

pub(super) struct Shelf<T, S> {
    pub(super) store: RefCell<S>,
    pub(super) maxsize: usize,
    /// How many of the items are for those who were granted one, and have not run since.
    pub(super) promised: Cell<usize>,
    /// How many places are kept for items that come later.
    pub(super) reserved: Cell<usize>,
    pub(super) shut: Cell<bool>,
    /// How many were put that nobody has said to be done.
    unfinished: Cell<usize>,
    pub(super) getters: WaitQueue<(), Result<(), Shut>>,
    /// Each waits with its item, and gets it back if nothing more is taken.
    pub(super) putters: WaitQueue<Wanted<T>, Admitted<T>>,
    /// Set while nothing is unfinished.
    pub(super) idle: Event,
}

impl<T, S: Store<T>> Shelf<T, S> {
    pub(super) fn new(maxsize: usize) -> Self {
        let idle = Event::new();
        idle.set();
        Self {
            store: RefCell::default(),
            maxsize,
            promised: Cell::new(0),
            reserved: Cell::new(0),
            shut: Cell::new(false),
            unfinished: Cell::new(0),
            getters: WaitQueue::default(),
            putters: WaitQueue::default(),
            idle,
        }
    }

    /// The items, to be looked at. To compare them is the user's code, and the only such that runs
    /// under a borrow: it has to see them (L8). It may ask how many there are, and no more.
    pub(super) fn items(&self) -> Ref<'_, S> {
        self.store.borrow()
    }

    /// The items, to be changed: not while they are compared.
    fn store(&self) -> RefMut<'_, S> {
        let store = self.store.try_borrow_mut();
        store.expect("comparing the items of a queue must not use the queue")
    }

    pub(super) fn len(&self) -> usize {
        self.items().count()
    }

    pub(super) fn has_room(&self) -> bool {
        self.len() + self.reserved.get() < self.maxsize
    }

    /// Whether one more may come in without waiting.
    fn may_enter(&self) -> Result<(), PutError<()>> {
        if self.shut.get() {
            return Err(PutError::Shut(()));
        }
        // Q2: room that there is, is for those who wait.
        if !self.putters.is_empty() || !self.has_room() {
            return Err(PutError::Full(()));
        }
        Ok(())
    }

    pub(super) fn enter(&self, place: usize, item: T) {
        self.unfinished.set(self.unfinished.get() + 1);
        self.idle.clear();
        self.store().put(place, item);
    }

    pub(super) fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        if let Err(refused) = self.may_enter() {
            return Err(refused.with(item));
        }
        self.put(item);
        Ok(())
    }

    /// Puts an item for which there is room.
    #[inline]
    fn put(&self, item: T) {
        if S::COMPARES {
            return self.put_compared(item);
        }
        self.enter(0, item);
        self.serve();
    }

    fn put_compared(&self, item: T) {
        // Also if comparing panics, which may have let go of something.
        let _serves = Serves(self);
        drop(self.store()); // not while items are compared
        let place = self.items().place(&item);
        self.enter(place, item);
    }

    /// Keeps a place for an item that comes later.
    pub(super) fn try_reserve(&self) -> Result<(), PutError<()>> {
        self.may_enter()?;
        let _reserved = self.reserve();
        Ok(())
    }

    /// Puts an item for which a place is kept, and is so until the caller gives it up.
    pub(super) fn put_reserved(&self, item: T) -> Result<(), Shut<T>> {
        if self.shut.get() {
            return Err(Shut(item));
        }
        self.put(item);
        Ok(())
    }

    /// A place is kept no more.
    pub(super) fn give_up_place(&self) {
        self.reserved.set(self.reserved.get() - 1);
        self.serve();
    }

    pub(super) fn try_take(&self) -> Result<T, GetError> {
        let len = self.len();
        // Q2: what is promised is somebody's, and who waits was here first.
        if self.getters.is_empty() && len > self.promised.get() {
            return self.take().ok_or(GetError::Empty);
        }
        match self.shut.get() && len == 0 {
            true => Err(GetError::Shut),
            false => Err(GetError::Empty),
        }
    }

    #[inline]
    fn take(&self) -> Option<T> {
        if S::COMPARES {
            return self.take_compared();
        }
        let item = self.store().take(0);
        self.serve();
        item
    }

    fn take_compared(&self) -> Option<T> {
        // Also if comparing panics: the item is still there, for another.
        let _serves = Serves(self);
        drop(self.store()); // not while items are compared
        let next = self.items().next();
        self.store().take(next)
    }

    /// Takes the item for a getter that was granted one, unless the shelf was emptied meanwhile.
    pub(super) fn take_promised(&self) -> Option<T> {
        self.promised.set(self.promised.get() - 1);
        self.take()
    }

    pub(super) fn shut(&self) {
        drop(self.store()); // not while items are compared
        self.shut.set(true);
        self.serve();
    }

    /// Empties the shelf for good. Each item counts as done.
    pub(super) fn clear(&self) -> Vec<T> {
        let mut store = std::mem::take(&mut *self.store());
        self.shut.set(true);
        // All that is counted, before code of the user's runs, which may count as well.
        self.done(store.count());
        self.serve();
        let mut batch = WakeBatch::default();
        batch.guard(|| store.sort());
        batch.report();
        store.into_items()
    }

    /// Whether there are items that were taken and are not done.
    pub(super) fn at_work(&self) -> bool {
        self.unfinished.get() > self.len()
    }

    /// So many are done, of those that are not on the shelf.
    pub(super) fn done(&self, count: usize) {
        let left = self.unfinished.get() - count;
        self.unfinished.set(left);
        // Q7: for those who wait now. More may be put before they run; they waited for these.
        if left == 0 {
            self.idle.set();
        }
    }
}
