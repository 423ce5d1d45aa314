//! What runs in this turn, and what in the next: callbacks and jobs in one queue.
//!
//! There are two lists and one rule. What the kernel, the clock or another thread made
//! ready runs in the turn that found it; whatever is *added* during a turn waits for the
//! next one. So a callback that queues itself again cannot keep the loop from looking at
//! its descriptors, and a turn is finite (L5).
//!
//! A test may ask for another order of the jobs, from a seed: what is right in one order only is
//! found so. Closures keep theirs, which is promised (`call_soon`).
//!
//! These are the *callbacks* of "I/O, timers and callbacks" (N1); asyncio's `call_soon`.

use super::local::Local;
use crate::base::chance::Chance;
use crate::base::slab::{Slab, SlabKey};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::Location;

/// A closure that runs once on the loop's thread.
/// A closure that runs once, and the line that handed it in.
pub(super) struct Call {
    pub(super) run: Box<dyn FnOnce(&Local)>,
    pub(super) site: &'static Location<'static>,
}

/// One thing to run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    /// A closure, unless it was cancelled meanwhile.
    Call(SlabKey),
    /// A job of the scheduler above.
    Job(u64),
}

/// The job number that stands for the future that the loop's caller waits for.
pub const MAIN_JOB: u64 = u64::MAX;

#[derive(Default)]
pub(super) struct Ready {
    now: RefCell<VecDeque<Item>>,
    later: RefCell<VecDeque<Item>>,
    calls: RefCell<Slab<Call>>,
    /// Whether a wake means "in this turn": while events and timers are looked at.
    finding: Cell<bool>,
    /// Where the order of the jobs is left to chance: in tests.
    chance: RefCell<Option<Chance>>,
    /// By which a choice is made that has to be fair; made when first asked.
    lots: RefCell<Option<Chance>>,
}

impl Ready {
    /// L5: a closure always waits for a later turn than the one in which it was added.
    pub(super) fn push_call(&self, call: Call) -> SlabKey {
        let key = self.calls.borrow_mut().insert(call);
        self.later.borrow_mut().push_back(Item::Call(key));
        key
    }

    /// L5: a new job, too.
    pub(super) fn queue_new_job(&self, job: u64) {
        self.later.borrow_mut().push_back(Item::Job(job));
    }

    /// A closure from another thread: it was found by this turn, so it runs in it.
    pub(super) fn push_sent(&self, call: Call) {
        let key = self.calls.borrow_mut().insert(call);
        self.now.borrow_mut().push_back(Item::Call(key));
    }

    /// A job woken by an event or a timer runs in this turn, by another job in the next.
    pub(super) fn queue_woken_job(&self, job: u64) {
        let list = if self.finding.get() {
            &self.now
        } else {
            &self.later
        };
        list.borrow_mut().push_back(Item::Job(job));
    }

    /// The closure of a call, if it has neither run nor been cancelled.
    pub(super) fn take_call(&self, key: SlabKey) -> Option<Call> {
        self.calls.borrow_mut().remove(key)
    }

    /// Begins a turn: what was added since the last one is for this one.
    pub(super) fn begin(&self) {
        self.finding.set(true);
        let (mut now, mut later) = (self.now.borrow_mut(), self.later.borrow_mut());
        if now.is_empty() {
            std::mem::swap(&mut *now, &mut *later);
        } else {
            // A turn was cut short by a panic: first what was left of it.
            now.append(&mut later);
        }
    }

    /// Ends the finding: from here on every wake is for the next turn.
    pub(super) fn end_finding(&self) {
        self.finding.set(false);
        if let Some(chance) = &mut *self.chance.borrow_mut() {
            shuffle_jobs(self.now.borrow_mut().make_contiguous(), chance);
        }
    }

    pub(super) fn leave_to(&self, chance: Option<Chance>) {
        self.lots.replace(chance.clone());
        self.chance.replace(chance);
    }

    fn is_left_to_chance(&self) -> bool {
        self.chance.borrow().is_some()
    }

    fn draw(&self, bound: usize) -> usize {
        let mut lots = self.lots.borrow_mut();
        lots.get_or_insert_with(|| Chance::seeded(0)).below(bound)
    }

    pub(super) fn pop(&self) -> Option<Item> {
        self.now.borrow_mut().pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.now.borrow().is_empty() && self.later.borrow().is_empty()
    }

    /// Any closure, for whoever empties the queue.
    pub(super) fn pop_call(&self) -> Option<Call> {
        let mut calls = self.calls.borrow_mut();
        let key = calls.first()?;
        calls.remove(key)
    }
}

/// Any order, but that the closures among them keep theirs: an order of `call_soon` is promised.
fn shuffle_jobs(items: &mut [Item], chance: &mut Chance) {
    let mut calls: Vec<Item> = Vec::new();
    calls.extend(items.iter().filter(|item| matches!(item, Item::Call(_))));
    chance.shuffle(items);
    let mut calls = calls.into_iter();
    for item in items {
        if matches!(item, Item::Call(_)) {
            *item = calls.next().expect("there are as many as before");
        }
    }
}

impl Local {
    /// Leaves it to `seed` in which order the tasks run that are ready at the same time; `None` is
    /// first come, first served, as it is from the start. For tests: a program that is right in
    /// one order only is found by trying others. The order of [`Local::call_soon`] stays.
    pub fn shuffle_ready(&self, seed: Option<u64>) {
        self.ready.leave_to(seed.map(Chance::seeded));
    }

    /// Whether it is left to a seed: see [`Local::shuffle_ready`].
    #[must_use]
    pub fn shuffles_ready(&self) -> bool {
        self.ready.is_left_to_chance()
    }

    /// A number below `bound`, which is not zero: for a choice that must not favour anybody. A
    /// counter would, wherever two who choose take turns. The same program draws the same ones.
    pub(crate) fn draw(&self, bound: usize) -> usize {
        self.ready.draw(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn jobs_come_in_any_order_and_closures_in_theirs() {
        let mut slab = Slab::default();
        let keys: Vec<SlabKey> = (0..3).map(|n| slab.insert(n)).collect();
        let mut seen = BTreeSet::new();
        for seed in 0..2000 {
            let mut items: Vec<Item> = (0..2).map(Item::Job).collect();
            items.extend(keys.iter().map(|&key| Item::Call(key)));
            shuffle_jobs(&mut items, &mut Chance::seeded(seed));
            let calls = items.iter().filter_map(|item| match item {
                Item::Call(key) => Some(*key),
                Item::Job(_) => None,
            });
            assert!(calls.eq(keys.iter().copied()));
            let job = |n| {
                let is_it = |item: &Item| matches!(item, Item::Job(job) if *job == n);
                items.iter().position(is_it).unwrap()
            };
            seen.insert((job(0), job(1)));
        }
        assert_eq!(seen.len(), 20, "each of two jobs in each of five places");
    }
}
