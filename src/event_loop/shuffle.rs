//! Shuffling the ready tasks from a seed, for tests.
//!
//! A program that is correct in one order only is found by trying other orders. The random numbers
//! for choices that have to be fair come from here too, so that each execution of a program gets
//! the same ones.
//!
//! asyncio has no counterpart.

use crate::base::rng::Rng;
use std::cell::{Cell, RefCell};

/// The random numbers of a loop.
#[derive(Default)]
pub(super) struct Shuffle {
    /// Shuffles the tasks of each batch: in tests.
    order: RefCell<Option<Rng>>,
    is_on: Cell<bool>,
    /// For choices that have to be fair; made at first use.
    fair: RefCell<Option<Rng>>,
}

impl Shuffle {
    pub(super) fn set_seed(&self, rng: Option<Rng>) {
        self.fair.replace(rng.clone());
        self.is_on.set(rng.is_some());
        self.order.replace(rng);
    }

    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.is_on.get()
    }

    /// Shuffles `entries`, if that was asked for.
    pub(super) fn shuffle<T>(&self, entries: &mut [T]) {
        if let Some(rng) = &mut *self.order.borrow_mut() {
            rng.shuffle(entries);
        }
    }

    /// Returns a random number below `bound`, which is not zero.
    pub(super) fn random_below(&self, bound: usize) -> usize {
        let mut rng = self.fair.borrow_mut();
        rng.get_or_insert_with(|| Rng::seeded(0)).below(bound)
    }
}
