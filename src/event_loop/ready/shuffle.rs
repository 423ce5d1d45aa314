//! Where the order is left to chance: in tests, by a seed.
//!
//! What is right in one order only is found by trying others. A choice that has to be fair draws its
//! lots here too, so that the same program draws the same ones.
//!
//! asyncio has nothing of the kind; a turn's *callbacks* (N1) come in any order but their own.

use super::{NEXT_CALL, ReadyQueue};
use crate::base::rng::Rng;
use crate::event_loop::local::LoopHandle;

impl ReadyQueue {
    #[cold]
    pub(super) fn shuffle(&self) {
        if let Some(rng) = &mut *self.shuffle_rng.borrow_mut() {
            // The closures keep their order, which is promised: each entry is for the next one.
            let (mut order, mut runs) = (self.entries.borrow_mut(), self.runs.borrow_mut());
            let mut each = Vec::new();
            for entry in order.drain(..) {
                let closures = match entry {
                    NEXT_CALL => runs.pop_front().unwrap_or(0),
                    _ => 1,
                };
                each.extend(std::iter::repeat_n(entry, closures as usize));
            }
            // In front of those that are for a later turn.
            for _ in each.iter().filter(|&&entry| entry == NEXT_CALL) {
                runs.push_front(1);
            }
            rng.shuffle(&mut each);
            order.extend(each);
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
    /// Leaves it to `seed` in which order the tasks run that are ready at the same time; `None` is
    /// first come, first served, as it is from the start. For tests: a program that is right in
    /// one order only is found by trying others. The order of [`LoopHandle::call_soon`] stays.
    #[doc(alias = "rng_seed")]
    pub(crate) fn shuffle_ready(&self, seed: Option<u64>) {
        self.ready.set_seed(seed.map(Rng::seeded));
    }

    /// Whether it is left to a seed: see [`LoopHandle::shuffle_ready`].
    #[must_use]
    pub(crate) fn shuffles_ready(&self) -> bool {
        self.ready.is_shuffled()
    }

    /// A number below `bound`, which is not zero: for a choice that must not favour anybody. A
    /// counter would, wherever two who choose take turns. The same program draws the same ones.
    pub(crate) fn random_below(&self, bound: usize) -> usize {
        self.ready.random_below(bound)
    }
}
