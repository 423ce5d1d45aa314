//! The ready queue: closures and tasks in one order, and which of them run in this turn.
//!
//! The first entries of the queue are the batch of this turn. Work that the kernel, the clock or
//! another thread made ready runs in the turn that found it. Work that is *added* during a turn
//! goes behind the batch, and runs in the next turn. So a callback that queues itself again cannot
//! keep the loop from polling its descriptors, and a turn is finite (L5).
//!
//! For tests the order of the tasks can be shuffled from a seed, to find programs that are correct
//! in one order only. Closures keep their order, which `call_soon` guarantees.
//!
//! These are the *callbacks* of "I/O, timers and callbacks" (N1); asyncio's `call_soon`.

mod abandoned;
mod shuffle;

pub(super) use abandoned::WholeTurn;

use super::loop_handle::LoopHandle;
use crate::base::rng::Rng;
use crate::base::shrink;
use readily_sys::inline_fn::InlineFn;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::Location;

/// A closure that runs once on the loop's thread, and the line that queued it.
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

/// The task id of the main future, which the caller of the loop waits for.
pub(crate) const MAIN_TASK: u64 = u64::MAX;

/// The entry for a row of closures, which are in a queue of their own, so that every entry is one
/// word. No task has this id.
pub(super) const NEXT_CALL: u64 = u64::MAX - 1;

/// Identifies a closure: the number of closures that were queued before it.
pub(super) type CallKey = u64;

/// The closures that have not run, in order.
#[derive(Default)]
struct Calls {
    /// `None` in place of a closure that was cancelled.
    queue: VecDeque<Option<Call>>,
    /// The number of closures that were popped.
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
    /// Tasks that were added during the dispatch of events and timers; they run in the next turn.
    /// Empty otherwise.
    next_turn: RefCell<VecDeque<u64>>,
    /// The number of entries, from the front, that are for this turn.
    batch_len: Cell<usize>,
    /// The entry that was popped last: the one that runs, or has panicked.
    current: Cell<u64>,
    /// The closures to run before the next entry is popped.
    run: Cell<usize>,
    /// The closures at the end of the queue that have no entry yet.
    tail: Cell<usize>,
    /// Run-length encoding: each `NEXT_CALL` entry stands for this many consecutive closures.
    runs: RefCell<VecDeque<u64>>,
    calls: RefCell<Calls>,
    /// Whether events and timers are being dispatched: a task that is woken then runs in this turn.
    collecting: Cell<bool>,
    /// Shuffles the tasks of each turn: in tests.
    shuffle_rng: RefCell<Option<Rng>>,
    is_shuffled: Cell<bool>,
    /// For choices that have to be fair; made at first use.
    fair_rng: RefCell<Option<Rng>>,
}

impl ReadyQueue {
    /// L5: a closure always runs in a later turn than the one in which it was added.
    #[inline]
    pub(super) fn push_call(&self, call: Call) -> CallKey {
        self.tail.set(self.tail.get() + 1);
        self.calls.borrow_mut().push(call)
    }

    /// Adds an entry for the closures that have none.
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

    /// L5: so does a new task.
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

    /// A closure from another thread runs in the turn that found it. It must be pushed before this
    /// turn has added work for the next one, so that the closures stay in order.
    pub(super) fn push_remote(&self, call: Call) {
        debug_assert!(self.next_turn.borrow().is_empty() && self.tail.get() == 0);
        self.add_run(&mut self.entries.borrow_mut(), 1);
        self.calls.borrow_mut().push(call);
    }

    /// A task that an event or a timer wakes joins the batch of this turn. A task that another task
    /// wakes goes behind it, and runs in the next turn.
    #[inline]
    pub(super) fn push_woken(&self, task_id: u64) {
        let mut order = self.entries.borrow_mut();
        // While events are dispatched, closures without an entry are for the next turn.
        if !self.collecting.get() {
            self.end_run(&mut order);
        }
        order.push_back(task_id);
    }

    /// Takes a closure out, if it has neither run nor been cancelled.
    pub(super) fn take_call(&self, key: CallKey) -> Option<Call> {
        self.calls.borrow_mut().take(key)
    }

    /// Begins a turn: work that was added since the last turn is for this one.
    #[inline]
    pub(super) fn begin(&self) {
        self.end_run(&mut self.entries.borrow_mut());
        self.collecting.set(true);
    }

    /// Ends the dispatch of events and timers: from here on every wake is for the next turn.
    /// Returns whether this turn has anything to run.
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

    /// Begins a turn without dispatch of events and timers, directly after another one: its batch
    /// is everything that is ready.
    #[inline]
    pub(super) fn begin_round(&self) {
        let mut order = self.entries.borrow_mut();
        if order.is_empty() {
            // Only closures are queued: they need no entry.
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

    /// Ends the turn, after its batch has run.
    #[inline]
    pub(super) fn end(&self) {
        // Shrink after a burst (R126): one step per turn, so that the memory is freed within a few
        // turns, but a burst in every turn does not allocate anew.
        shrink::shrink(&mut *self.entries.borrow_mut());
        shrink::shrink(&mut *self.next_turn.borrow_mut());
        shrink::shrink(&mut *self.runs.borrow_mut());
        shrink::shrink(&mut self.calls.borrow_mut().queue);
    }

    /// Pops the next entry of this turn: a task id, or `NEXT_CALL`.
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

    /// Pops the next entry of this turn, if it is a task of the scheduler.
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

    /// Pops the next closure; `None` if it was cancelled.
    #[inline]
    pub(super) fn pop_next_call(&self) -> Option<Call> {
        self.calls.borrow_mut().pop()
    }

    /// The key of the closure that was popped last.
    pub(super) fn current_call(&self) -> CallKey {
        self.calls.borrow().left.wrapping_sub(1)
    }

    /// The number of ready closures and tasks; not valid during the dispatch of events and timers.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.entries.borrow().len() + self.calls.borrow().queue.len() - self.runs.borrow().len()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        let without_entry = self.run.get() + self.tail.get();
        without_entry == 0 && self.entries.borrow().is_empty() && self.next_turn.borrow().is_empty()
    }

    /// Whether the queue has a closure that was not cancelled, or a task that `is_alive`. Cancelled
    /// work keeps its entry until it is popped.
    pub(super) fn has_work(&self, is_alive: impl Fn(u64) -> bool) -> bool {
        let is_work = |&task_id: &u64| task_id != NEXT_CALL && is_alive(task_id);
        let has_job = |list: &RefCell<VecDeque<u64>>| list.borrow().iter().any(is_work);
        let has_call = self.calls.borrow().queue.iter().any(Option::is_some);
        has_call || has_job(&self.entries) || has_job(&self.next_turn)
    }

    /// The number of closures that have neither run nor been cancelled.
    pub(super) fn calls(&self) -> usize {
        let mut waiting = 0;
        for call in &self.calls.borrow().queue {
            waiting += usize::from(call.is_some());
        }
        waiting
    }

    /// Pops a closure that was not cancelled, for a caller that empties the queue.
    pub(super) fn pop_call(&self) -> Option<Call> {
        let mut calls = self.calls.borrow_mut();
        while !calls.queue.is_empty() {
            if let Some(call) = calls.pop() {
                return Some(call);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
