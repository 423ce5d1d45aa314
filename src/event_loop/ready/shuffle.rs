//! Shuffling the ready tasks from a seed, for tests.
//!
//! A program that is correct in one order only is found by trying other orders. The random numbers
//! for choices that have to be fair come from here too, so that each execution of a program gets
//! the same ones.
//!
//! asyncio has no counterpart.

use super::{NEXT_CALL, ReadyQueue};
use crate::base::rng::Rng;
use crate::event_loop::loop_handle::LoopHandle;

impl ReadyQueue {
    #[cold]
    pub(super) fn shuffle(&self) {
        if let Some(rng) = &mut *self.shuffle_rng.borrow_mut() {
            // Closures keep their order, which `call_soon` guarantees: each entry stands for the
            // next one.
            let (mut order, mut runs) = (self.entries.borrow_mut(), self.runs.borrow_mut());
            let mut each = Vec::new();
            for entry in order.drain(..) {
                let closures = match entry {
                    NEXT_CALL => runs.pop_front().unwrap_or(0),
                    _ => 1,
                };
                for _ in 0..closures {
                    each.push(entry);
                }
            }
            rng.shuffle(&mut each);
            for entry in each {
                // In front of those that are for a later turn.
                if entry == NEXT_CALL {
                    runs.push_front(1);
                }
                order.push_back(entry);
            }
        }
    }

    pub(super) fn set_seed(&self, rng: Option<Rng>) {
        self.fair_rng.replace(rng.clone());
        self.is_shuffled.set(rng.is_some());
        self.shuffle_rng.replace(rng);
    }

    fn is_shuffled(&self) -> bool {
        self.is_shuffled.get()
    }

    fn random_below(&self, bound: usize) -> usize {
        let mut rng = self.fair_rng.borrow_mut();
        rng.get_or_insert_with(|| Rng::seeded(0)).below(bound)
    }
}

impl LoopHandle {
    /// Shuffles tasks that are ready at the same time, by a random order from `seed`; `None`, the
    /// default, runs them in the order in which they became ready. For tests: other seeds find
    /// programs that are correct in one order only. Closures of [`LoopHandle::call_soon`] keep
    /// their order.
    #[doc(alias = "rng_seed")]
    pub(crate) fn shuffle_ready(&self, seed: Option<u64>) {
        self.ready.set_seed(seed.map(Rng::seeded));
    }

    /// Whether tasks that are ready at the same time are shuffled: see [`LoopHandle::shuffle_ready`].
    #[must_use]
    pub(crate) fn shuffles_ready(&self) -> bool {
        self.ready.is_shuffled()
    }

    /// Returns a random number below `bound`, which is not zero, for a choice that has to be fair.
    /// A counter would not be fair where two users of it alternate. Each execution of a program
    /// gets the same numbers.
    pub(crate) fn random_below(&self, bound: usize) -> usize {
        self.ready.random_below(bound)
    }
}
