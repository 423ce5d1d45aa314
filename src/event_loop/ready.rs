//! What runs in this turn, and what in the next: callbacks and jobs in one queue.
//!
//! There is one queue, a fence in it, and one rule. What the kernel, the clock or another thread
//! made ready runs in the turn that found it; whatever is *added* during a turn stands behind the
//! fence and waits for the next one. So a callback that queues itself again cannot keep the loop
//! from looking at its descriptors, and a turn is finite (L5).
//!
//! A test may ask for another order of the jobs, from a seed: what is right in one order only is
//! found so. Closures keep theirs, which is promised (`call_soon`).
//!
//! These are the *callbacks* of "I/O, timers and callbacks" (N1); asyncio's `call_soon`.

use super::local::Local;
use crate::base::burst;
use crate::base::chance::Chance;
use readily_sys::inline_fn::InlineFn;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::Location;

/// A closure that runs once on the loop's thread, and the line that handed it in.
pub(super) struct Call {
    pub(super) run: InlineFn<Local>,
    pub(super) site: &'static Location<'static>,
}

impl Call {
    #[inline]
    pub(super) fn new(
        site: &'static Location<'static>,
        run: impl FnOnce(&Local) + 'static,
    ) -> Self {
        let run = InlineFn::new(run);
        Self { run, site }
    }

    #[inline]
    pub(super) fn run(self, local: &Local) {
        self.run.call(local);
    }
}

/// The job number that stands for the future that the loop's caller waits for.
pub const MAIN_JOB: u64 = u64::MAX;

/// What stands in the order for "the next closure", which lies in a queue of its own: so an entry is
/// one word, of which a turn of a thousand tasks has a thousand. No job has this number.
pub(super) const NEXT_CALL: u64 = u64::MAX - 1;

/// Names a closure: the how-manieth it is.
pub(super) type CallKey = u64;

/// The closures that have not run, in the order in which they will.
#[derive(Default)]
struct Calls {
    /// `None` where one was cancelled.
    queue: VecDeque<Option<Call>>,
    /// How many have left by the front.
    left: CallKey,
}

impl Calls {
    #[inline]
    fn push(&mut self, call: Call) -> CallKey {
        let key = self.left + self.queue.len() as u64;
        self.queue.push_back(Some(call));
        key
    }

    #[inline]
    fn pop(&mut self) -> Option<Call> {
        let call = self.queue.pop_front()?;
        self.left += 1;
        call
    }

    fn take(&mut self, key: CallKey) -> Option<Call> {
        let place = usize::try_from(key.checked_sub(self.left)?).ok()?;
        self.queue.get_mut(place)?.take()
    }
}

#[derive(Default)]
pub(super) struct Ready {
    order: RefCell<VecDeque<u64>>,
    /// Added while events and timers are looked at, and so for the next turn. Empty otherwise.
    later: RefCell<VecDeque<u64>>,
    /// How many from the front of the order are for this turn.
    fence: Cell<usize>,
    /// What was popped last: who runs, or has panicked.
    running: Cell<u64>,
    calls: RefCell<Calls>,
    /// Whether a wake means "in this turn": while events and timers are looked at.
    finding: Cell<bool>,
    /// Where the order of the jobs is left to chance: in tests.
    chance: RefCell<Option<Chance>>,
    by_chance: Cell<bool>,
    /// By which a choice is made that has to be fair; made when first asked.
    lots: RefCell<Option<Chance>>,
}

/// R126: halves a queue that is far larger than what is in it. Once a turn, so that a burst's memory
/// goes within a few, and one that comes every turn is not paid for again.
#[inline]
fn give_back<T>(queue: &mut VecDeque<T>) {
    if queue.len() < burst::low(queue.capacity()) {
        queue.shrink_to(queue.capacity() / 2);
    }
}

impl Ready {
    /// L5: a closure always waits for a later turn than the one in which it was added.
    #[inline]
    pub(super) fn push_call(&self, call: Call) -> CallKey {
        self.queue_new_job(NEXT_CALL);
        self.calls.borrow_mut().push(call)
    }

    /// L5: a new job, too.
    #[inline]
    pub(super) fn queue_new_job(&self, job: u64) {
        let list = if self.finding.get() {
            &self.later
        } else {
            &self.order
        };
        list.borrow_mut().push_back(job);
    }

    /// A closure from another thread: it was found by this turn, so it runs in it. Before anything
    /// has been added for the next one, so that the closures stand in one order.
    pub(super) fn push_sent(&self, call: Call) {
        debug_assert!(self.later.borrow().is_empty());
        self.order.borrow_mut().push_back(NEXT_CALL);
        self.calls.borrow_mut().push(call);
    }

    /// A job woken by an event or a timer runs in this turn, in front of the fence; one woken by
    /// another job in the next, behind it.
    #[inline]
    pub(super) fn queue_woken_job(&self, job: u64) {
        self.order.borrow_mut().push_back(job);
    }

    /// The closure of a call, if it has neither run nor been cancelled.
    pub(super) fn take_call(&self, key: CallKey) -> Option<Call> {
        self.calls.borrow_mut().take(key)
    }

    /// Begins a turn: what was added since the last one is for this one.
    #[inline]
    pub(super) fn begin(&self) {
        self.finding.set(true);
    }

    /// Ends the finding: from here on every wake is for the next turn.
    #[inline]
    pub(super) fn end_finding(&self) {
        self.finding.set(false);
        if self.by_chance.get() {
            self.shuffle();
        }
        let mut order = self.order.borrow_mut();
        self.fence.set(order.len());
        let mut later = self.later.borrow_mut();
        if !later.is_empty() {
            order.append(&mut later);
        }
    }

    /// Begins a turn, behind another, in which nothing can be found: all that is ready is for it.
    #[inline]
    pub(super) fn go_on(&self) {
        if self.by_chance.get() {
            self.shuffle();
        }
        self.fence.set(self.order.borrow().len());
    }

    /// What the turn does when it has run everything.
    #[inline]
    pub(super) fn end(&self) {
        give_back(&mut self.order.borrow_mut());
        give_back(&mut self.later.borrow_mut());
        give_back(&mut self.calls.borrow_mut().queue);
    }

    #[cold]
    fn shuffle(&self) {
        if let Some(chance) = &mut *self.chance.borrow_mut() {
            // The closures keep their order, which is promised: each entry is for the next one.
            chance.shuffle(self.order.borrow_mut().make_contiguous());
        }
    }

    pub(super) fn leave_to(&self, chance: Option<Chance>) {
        self.lots.replace(chance.clone());
        self.by_chance.set(chance.is_some());
        self.chance.replace(chance);
    }

    fn is_left_to_chance(&self) -> bool {
        self.by_chance.get()
    }

    fn draw(&self, bound: usize) -> usize {
        let mut lots = self.lots.borrow_mut();
        lots.get_or_insert_with(|| Chance::seeded(0)).below(bound)
    }

    /// The next one of this turn: a job, or the next closure.
    #[inline]
    pub(super) fn pop(&self) -> Option<u64> {
        let left = self.fence.get().checked_sub(1)?;
        self.fence.set(left);
        let next = self.order.borrow_mut().pop_front()?;
        self.running.set(next);
        Some(next)
    }

    /// The same, if it is a job of the scheduler's.
    #[inline]
    pub(super) fn pop_job(&self) -> Option<u64> {
        let left = self.fence.get().checked_sub(1)?;
        let mut order = self.order.borrow_mut();
        let &next = order.front()?;
        if next >= NEXT_CALL {
            return None;
        }
        order.pop_front();
        self.fence.set(left);
        self.running.set(next);
        Some(next)
    }

    #[inline]
    pub(super) fn running(&self) -> u64 {
        self.running.get()
    }

    /// How many of this turn have not been popped yet.
    #[inline]
    pub(super) fn fenced(&self) -> usize {
        self.fence.get()
    }

    /// The next closure; `None` if it was cancelled.
    #[inline]
    pub(super) fn pop_next_call(&self) -> Option<Call> {
        self.calls.borrow_mut().pop()
    }

    /// The key of the closure that was popped last.
    pub(super) fn running_call(&self) -> CallKey {
        self.calls.borrow().left.wrapping_sub(1)
    }

    /// How many are ready; between two turns, or while one runs what is ready.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.order.borrow().len()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0 && self.later.borrow().is_empty()
    }

    /// How many closures wait for their turn.
    pub(super) fn calls(&self) -> usize {
        self.calls.borrow().queue.iter().flatten().count()
    }

    /// Any closure, for whoever empties the queue.
    pub(super) fn pop_call(&self) -> Option<Call> {
        let mut calls = self.calls.borrow_mut();
        while !calls.queue.is_empty() {
            let call = calls.pop();
            if call.is_some() {
                return call;
            }
        }
        None
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
    use crate::base::burst::KEPT;
    use std::collections::BTreeSet;

    #[test]
    fn jobs_come_in_any_order_and_closures_in_theirs() {
        let mut seen = BTreeSet::new();
        for seed in 0..2000 {
            let ready = Ready::default();
            ready.leave_to(Some(Chance::seeded(seed)));
            let sites = [place(), place(), place()];
            for site in sites {
                ready.push_call(Call::new(site, |_| {}));
            }
            ready.queue_new_job(0);
            ready.queue_new_job(1);
            ready.begin();
            ready.end_finding();
            let (mut order, mut closures) = (Vec::new(), Vec::new());
            while let Some(next) = ready.pop() {
                if next != NEXT_CALL {
                    order.push(Some(next));
                    continue;
                }
                order.push(None);
                closures.push(ready.pop_next_call().unwrap().site);
            }
            assert_eq!(closures, sites);
            let place = |job| order.iter().position(|&it| it == Some(job));
            seen.insert((place(0), place(1)));
        }
        assert_eq!(seen.len(), 20, "each of two jobs in each of five places");
    }

    #[test]
    fn a_cancelled_closure_leaves_the_others_their_places_and_its_key_finds_nothing_more() {
        let ready = Ready::default();
        let (here, there) = (Location::caller(), place());
        let keys = [here, there, here].map(|site| ready.push_call(Call::new(site, |_| {})));
        let at = |call: Option<Call>| call.map(|call| call.site);
        assert_eq!(at(ready.take_call(keys[1])), Some(there));
        assert_eq!(at(ready.take_call(keys[1])), None);
        assert_eq!(at(ready.pop_next_call()), Some(here));
        assert_eq!(at(ready.pop_next_call()), None, "it was cancelled");
        assert_eq!(at(ready.take_call(keys[0])), None, "it has run");
        let next = ready.push_call(Call::new(there, |_| {}));
        assert_eq!(at(ready.take_call(keys[2])), Some(here));
        assert_eq!(at(ready.take_call(next)), Some(there));
        assert!(ready.pop_call().is_none());
    }

    #[track_caller]
    fn place() -> &'static Location<'static> {
        Location::caller()
    }

    /// R126.
    #[test]
    fn the_memory_of_a_burst_is_given_back_within_a_few_turns() {
        let ready = Ready::default();
        for _ in 0..100_000 {
            ready.push_call(Call::new(place(), |_| {}));
        }
        ready.begin();
        for _ in 0..100_000 {
            ready.queue_new_job(1);
        }
        ready.end_finding();
        while ready.pop().is_some() {}
        while ready.calls.borrow_mut().queue.pop_front().is_some() {}
        ready.end_finding();
        while ready.pop().is_some() {}
        for _ in 0..40 {
            ready.end();
        }
        assert!(ready.order.borrow().capacity() <= KEPT);
        assert!(ready.later.borrow().capacity() <= KEPT);
        assert!(ready.calls.borrow().queue.capacity() <= KEPT);
    }
}
