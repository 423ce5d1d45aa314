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

mod abandoned;
mod shuffle;

pub(super) use abandoned::WholeTurn;

use super::local::LoopHandle;
use crate::base::rng::Rng;
use crate::base::shrink;
use readily_sys::inline_fn::InlineFn;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::Location;

/// A closure that runs once on the loop's thread, and the line that handed it in.
pub(super) struct Call {
    pub(super) run: InlineFn<LoopHandle>,
    pub(super) site: &'static Location<'static>,
}

impl Call {
    #[inline]
    pub(super) fn new(
        site: &'static Location<'static>,
        run: impl FnOnce(&LoopHandle) + 'static,
    ) -> Self {
        let run = InlineFn::new(run);
        Self { run, site }
    }

    #[inline]
    pub(super) fn run(self, handle: &LoopHandle) {
        self.run.call(handle);
    }
}

/// The job number that stands for the future that the loop's caller waits for.
pub(crate) const MAIN_TASK: u64 = u64::MAX;

/// What stands in the order for the next closures, which lie in a queue of their own: so an entry is
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
pub(super) struct ReadyQueue {
    entries: RefCell<VecDeque<u64>>,
    /// Added while events and timers are looked at, and so for the next turn. Empty otherwise.
    next_turn: RefCell<VecDeque<u64>>,
    /// How many entries from the front of the order are for this turn.
    batch_len: Cell<usize>,
    /// What was popped last: who runs, or has panicked.
    current: Cell<u64>,
    /// How many closures are next in this turn, before the next entry.
    run: Cell<usize>,
    /// How many closures were added behind all others, and have no entry yet.
    tail: Cell<usize>,
    /// How many closures each entry for closures stands for: what a thousand of them in a row have in
    /// common is written once.
    runs: RefCell<VecDeque<u64>>,
    calls: RefCell<Calls>,
    /// Whether a wake means "in this turn": while events and timers are looked at.
    collecting: Cell<bool>,
    /// Where the order of the jobs is left to chance: in tests.
    shuffle_rng: RefCell<Option<Rng>>,
    is_shuffled: Cell<bool>,
    /// By which a choice is made that has to be fair; made when first asked.
    fair_rng: RefCell<Option<Rng>>,
}

impl ReadyQueue {
    /// L5: a closure always waits for a later turn than the one in which it was added.
    #[inline]
    pub(super) fn push_call(&self, call: Call) -> CallKey {
        self.tail.set(self.tail.get() + 1);
        self.calls.borrow_mut().push(call)
    }

    /// Makes an entry of the closures that have none, if there are any.
    #[inline]
    fn end_run(&self, list: &mut VecDeque<u64>) {
        if self.tail.get() != 0 {
            self.add_run(list, self.tail.take());
        }
    }

    #[inline(never)]
    fn add_run(&self, list: &mut VecDeque<u64>, closures: usize) {
        list.push_back(NEXT_CALL);
        self.runs.borrow_mut().push_back(closures as u64);
    }

    /// L5: a new job, too.
    #[inline]
    pub(super) fn push_new(&self, task_id: u64) {
        let list = if self.collecting.get() {
            &self.next_turn
        } else {
            &self.entries
        };
        let mut list = list.borrow_mut();
        self.end_run(&mut list);
        list.push_back(task_id);
    }

    /// A closure from another thread: it was found by this turn, so it runs in it. Before anything
    /// has been added for the next one, so that the closures stand in one order.
    pub(super) fn push_remote(&self, call: Call) {
        debug_assert!(self.next_turn.borrow().is_empty() && self.tail.get() == 0);
        self.add_run(&mut self.entries.borrow_mut(), 1);
        self.calls.borrow_mut().push(call);
    }

    /// A job woken by an event or a timer runs in this turn, in front of the fence; one woken by
    /// another job in the next, behind it.
    #[inline]
    pub(super) fn push_woken(&self, task_id: u64) {
        let mut order = self.entries.borrow_mut();
        // While events are looked at, closures without an entry are for the next turn.
        if !self.collecting.get() {
            self.end_run(&mut order);
        }
        order.push_back(task_id);
    }

    /// The closure of a call, if it has neither run nor been cancelled.
    pub(super) fn take_call(&self, key: CallKey) -> Option<Call> {
        self.calls.borrow_mut().take(key)
    }

    /// Begins a turn: what was added since the last one is for this one.
    #[inline]
    pub(super) fn begin(&self) {
        self.end_run(&mut self.entries.borrow_mut());
        self.collecting.set(true);
    }

    /// Ends the finding: from here on every wake is for the next turn. Whether this one has anything
    /// to run.
    #[inline]
    pub(super) fn end_collecting(&self) -> bool {
        self.collecting.set(false);
        if self.is_shuffled.get() {
            self.shuffle();
        }
        let mut order = self.entries.borrow_mut();
        self.batch_len.set(order.len());
        let mut later = self.next_turn.borrow_mut();
        if !later.is_empty() {
            order.append(&mut later);
        }
        self.batch_len.get() != 0
    }

    /// Begins a turn, behind another, in which nothing can be found: all that is ready is for it.
    #[inline]
    pub(super) fn begin_round(&self) {
        let mut order = self.entries.borrow_mut();
        if order.is_empty() {
            // Nothing but closures, which need no entry then: 80 instructions less for a chain of them.
            self.run.set(self.tail.take());
            self.current.set(NEXT_CALL);
            return;
        }
        self.end_run(&mut order);
        drop(order);
        if self.is_shuffled.get() {
            self.shuffle();
        }
        self.batch_len.set(self.entries.borrow().len());
    }

    /// What the turn does when it has run everything.
    #[inline]
    pub(super) fn end(&self) {
        // R126: once a turn, so that a burst's memory goes within a few, and one that comes every turn is
        // not paid for again.
        shrink::shrink(&mut *self.entries.borrow_mut());
        shrink::shrink(&mut *self.next_turn.borrow_mut());
        shrink::shrink(&mut *self.runs.borrow_mut());
        shrink::shrink(&mut self.calls.borrow_mut().queue);
    }

    /// The next one of this turn: a job, or the next closure.
    #[inline]
    pub(super) fn pop(&self) -> Option<u64> {
        if let Some(left) = self.run.get().checked_sub(1) {
            self.run.set(left);
            return Some(NEXT_CALL);
        }
        let left = self.batch_len.get().checked_sub(1)?;
        self.batch_len.set(left);
        let next = self.entries.borrow_mut().pop_front()?;
        if next == NEXT_CALL {
            let closures = self.runs.borrow_mut().pop_front()?;
            self.run.set(closures as usize - 1);
        }
        self.current.set(next);
        Some(next)
    }

    /// The same, if it is a job of the scheduler's.
    #[inline]
    pub(super) fn pop_task(&self) -> Option<u64> {
        if self.run.get() != 0 {
            return None;
        }
        let left = self.batch_len.get().checked_sub(1)?;
        let mut order = self.entries.borrow_mut();
        let &next = order.front()?;
        if next >= NEXT_CALL {
            return None;
        }
        order.pop_front();
        self.batch_len.set(left);
        self.current.set(next);
        Some(next)
    }

    #[inline]
    pub(super) fn current(&self) -> u64 {
        self.current.get()
    }

    /// The next closure; `None` if it was cancelled.
    #[inline]
    pub(super) fn pop_next_call(&self) -> Option<Call> {
        self.calls.borrow_mut().pop()
    }

    /// The key of the closure that was popped last.
    pub(super) fn current_call(&self) -> CallKey {
        self.calls.borrow().left.wrapping_sub(1)
    }

    /// How many are ready; between two turns, or while one runs what is ready.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.entries.borrow().len() + self.calls.borrow().queue.len() - self.runs.borrow().len()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        let without_entry = self.run.get() + self.tail.get();
        without_entry == 0 && self.entries.borrow().is_empty() && self.next_turn.borrow().is_empty()
    }

    /// Whether one of them is to run: a closure that was not cancelled, or a job of which `is_alive`
    /// says that it has not ended. What is cancelled keeps its place until its turn comes.
    pub(super) fn has_work(&self, is_alive: impl Fn(u64) -> bool) -> bool {
        let is_work = |&task_id: &u64| task_id != NEXT_CALL && is_alive(task_id);
        let has_job = |list: &RefCell<VecDeque<u64>>| list.borrow().iter().any(is_work);
        let has_call = self.calls.borrow().queue.iter().any(Option::is_some);
        has_call || has_job(&self.entries) || has_job(&self.next_turn)
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

#[cfg(test)]
mod tests;
