//! The shelf of a queue: its items, those who want to put one there, and those who want one.
//!
//! An item is in one of two places: with whoever puts it, or on the shelf. Nobody is handed an item
//! before he runs; what he is granted is the *right* to the next one, which lies on the shelf
//! until he takes it. So a getter that is dropped loses nothing: the right goes to the next, and
//! the item has never left. Who puts waits with his item at his place in the line, and it is moved
//! on as soon as there is room, so that items come in the order of their putting.
//!
//! In asyncio: `Queue`, whose getters are woken and look.

use super::errors::{GetError, PutError, Shut};
use super::event::Event;
use super::store::Store;
use crate::task::line::{Line, Wakes};
use std::cell::{Cell, RefCell, RefMut};
use std::task::Waker;

pub(super) struct Shelf<T, S> {
    store: RefCell<S>,
    pub(super) maxsize: usize,
    /// How many of the items are for those who were granted one, and have not run since.
    pub(super) promised: Cell<usize>,
    pub(super) shut: Cell<bool>,
    /// How many were put that nobody has said to be done.
    unfinished: Cell<usize>,
    pub(super) getters: Line<(), Result<(), Shut>>,
    /// Each waits with its item, and gets it back if nothing more is taken.
    pub(super) putters: Line<T, Result<(), T>>,
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
            shut: Cell::new(false),
            unfinished: Cell::new(0),
            getters: Line::default(),
            putters: Line::default(),
            idle,
        }
    }

    /// The items. To compare them is the user's code, and the only such that runs under a
    /// borrow: it has to see them (L8).
    fn store(&self) -> RefMut<'_, S> {
        let store = self.store.try_borrow_mut();
        store.expect("comparing the items of a queue must not use the queue")
    }

    pub(super) fn len(&self) -> usize {
        self.store().count()
    }

    pub(super) fn has_room(&self) -> bool {
        self.len() < self.maxsize
    }

    fn enter(&self, item: T) {
        self.unfinished.set(self.unfinished.get() + 1);
        self.idle.clear();
        self.store().put(item);
    }

    pub(super) fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        if self.shut.get() {
            return Err(PutError::Shut(item));
        }
        // Q2: room that there is, is for those who wait.
        if !self.putters.is_empty() || !self.has_room() {
            return Err(PutError::Full(item));
        }
        self.enter(item);
        self.serve();
        Ok(())
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

    pub(super) fn take(&self) -> Option<T> {
        let item = self.store().take();
        self.serve();
        item
    }

    /// Moves on what can be: items into the room that there is, rights to those who wait.
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
        let mut wakes = Wakes::default();
        loop {
            // Who waits for nothing is not looked for: nearly always one waits, on one side.
            let admitted = match self.putters.is_empty() {
                true => None,
                false => self.admit(&mut wakes),
            };
            let waker = match admitted {
                None if self.getters.is_empty() => None,
                None => self.promise(),
                admitted => admitted,
            };
            let Some(waker) = waker else { break };
            wakes.wake(waker);
        }
        wakes.tell();
    }

    /// Lets in the item of the first who waits with one, or gives it back to him.
    fn admit(&self, wakes: &mut Wakes) -> Option<Waker> {
        let shut = self.shut.get();
        if !shut && !self.has_room() {
            return None;
        }
        let mut moved = None;
        let give = |item| {
            if shut {
                return Err(item);
            }
            moved = Some(item);
            Ok(())
        };
        let waker = self.putters.grant_if(|_| true, give)?;
        if let Some(item) = moved {
            // Guarded: whoever it is, his waker is not to blame for how items compare.
            wakes.guard(|| self.enter(item));
        }
        Some(waker)
    }

    /// Q6: gives the first who waits the right to an item, or tells him that none will come.
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

    pub(super) fn shut(&self) {
        self.shut.set(true);
        self.serve();
    }

    /// Empties the shelf for good. Each item counts as done.
    pub(super) fn clear(&self) -> Vec<T> {
        self.shut.set(true);
        let items: Vec<T> = std::iter::from_fn(|| self.store().take()).collect();
        self.serve();
        self.done(items.len());
        items
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
