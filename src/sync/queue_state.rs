//! The state of a queue: its items, the waiting putters, and the waiting getters.
//!
//! An item is in one of two places: with its putter, or in the store. A waiting getter is granted a
//! reservation of the next item, not the item. The item stays in the store until the getter is polled. So
//! a getter that is dropped loses nothing: its reservation goes to the next getter. A putter waits with
//! its item in the queue of putters, and the item moves to the store as soon as there is room, so that
//! items arrive in the order in which they were put.
//!
//! In asyncio: `Queue`, whose getters are woken and try again.

use super::errors::Closed;
use super::event::Event;
use super::queue_order::QueueOrder;
use crate::event_loop::Payload;
use crate::task::wait_queue::WaitQueue;
use std::cell::{Cell, Ref, RefCell, RefMut};

/// What a waiting putter wants room for.
pub(super) enum Wanted<T> {
    /// This item.
    Item(T),
    /// One that comes later: see [`Queue::reserve`](super::Queue::reserve).
    Reservation,
    /// Its item, which is being compared with the others just now.
    Comparing,
}

/// What a waiting putter is granted.
pub(super) enum PutOutcome<T> {
    /// Its item is in.
    Stored,
    /// A place is kept for it.
    Reserved,
    /// The queue was closed; here is what it had.
    Closed(Wanted<T>),
    /// Comparing its item panicked. It is not in.
    Panicked(Payload),
}

pub(super) struct QueueState<T, S> {
    pub(super) store: RefCell<S>,
    pub(super) maxsize: usize,
    /// How many items are reserved for getters that were granted one and have not run since.
    pub(super) reserved_items: Cell<usize>,
    /// How many places are kept for items that come later.
    pub(super) reserved: Cell<usize>,
    pub(super) closed: Cell<bool>,
    /// How many items were put and are not done yet.
    pub(super) unfinished: Cell<usize>,
    pub(super) getters: WaitQueue<(), Result<(), Closed>>,
    /// Each waits with its item, and gets it back if nothing more is taken.
    pub(super) putters: WaitQueue<Wanted<T>, PutOutcome<T>>,
    /// Set while nothing is unfinished.
    pub(super) idle: Event,
}

impl<T, S: QueueOrder<T>> QueueState<T, S> {
    pub(super) fn new(maxsize: usize) -> Self {
        let idle = Event::new();
        idle.set();
        Self {
            store: RefCell::default(),
            maxsize,
            reserved_items: Cell::new(0),
            reserved: Cell::new(0),
            closed: Cell::new(false),
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
    pub(super) fn store(&self) -> RefMut<'_, S> {
        let store = self.store.try_borrow_mut();
        store.expect("comparing the items of a queue must not use the queue")
    }

    pub(super) fn len(&self) -> usize {
        self.items().count()
    }

    pub(super) fn has_room(&self) -> bool {
        self.len() + self.reserved.get() < self.maxsize
    }

    pub(super) fn push(&self, place: usize, item: T) {
        self.unfinished.set(self.unfinished.get() + 1);
        self.idle.clear();
        self.store().put(place, item);
    }

    /// Keeps a place for an item that comes later.
    pub(super) fn reserve(&self) -> PutOutcome<T> {
        self.reserved.set(self.reserved.get() + 1);
        PutOutcome::Reserved
    }

    /// Whether there are items that were taken and are not done.
    pub(super) fn has_taken_items(&self) -> bool {
        self.unfinished.get() > self.len()
    }

    /// So many are done, of those that are not on the shelf.
    pub(super) fn done(&self, count: usize) {
        let left = self.unfinished.get() - count;
        self.unfinished.set(left);
        // This wakes the present waiters, even if more items are put before they run (Q7).
        if left == 0 {
            self.idle.set();
        }
    }
}
