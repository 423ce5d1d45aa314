//! The ready queue: closures and tasks in one order, and which of them run in this turn.
//!
//! The work that is in the queue when the ready step of a turn begins is the ready batch of that
//! turn: what callbacks and timers of the same turn have queued is in it. Work that the batch itself
//! adds goes behind it, and runs in the next turn. So a closure that queues itself again cannot keep
//! the loop from polling its descriptors, and a turn is finite (L5).
//!
//! For tests the order of the tasks can be shuffled from a seed (`shuffle.rs`). Closures keep their
//! order, which `call_soon` guarantees.
//!
//! These are the *callbacks* of "I/O, timers and callbacks" (N1); asyncio's `_ready`.

use super::shuffle::Shuffle;
use crate::base::shrink;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// The task id of the main future, which the caller of the loop waits for.
pub(crate) const MAIN_TASK: u64 = u64::MAX;

/// A popped entry: a closure is next. In the queue, the entry of `n` consecutive closures is
/// `CALL + n` (run-length encoding), so that every entry is one word. No task has such an id.
pub(super) const CALL: u64 = (u32::MAX as u64) << 32;

/// How many closures a popped entry stands for; `None` if it is a task.
#[inline]
pub(super) fn closures_of(entry: u64) -> Option<usize> {
    (CALL..MAIN_TASK)
        .contains(&entry)
        .then(|| (entry - CALL) as usize)
}

/// Identifies a closure: the number of closures that were queued before it.
pub(super) type CallKey = u64;

/// The key of no closure.
pub(super) const NO_CALL: CallKey = u64::MAX;

/// The closures that have not run, in order.
struct Calls<C> {
    /// `None` in place of a closure that was cancelled.
    queue: VecDeque<Option<C>>,
    /// The number of closures that were popped.
    popped: CallKey,
}

impl<C> Calls<C> {
    #[inline]
    fn push(&mut self, call: C) -> CallKey {
        let key = self.popped + self.queue.len() as u64;
        self.queue.push_back(Some(call));
        key
    }

    #[inline]
    fn pop(&mut self) -> Option<C> {
        let call = self.queue.pop_front()?;
        self.popped += 1;
        call
    }

    fn take(&mut self, key: CallKey) -> Option<C> {
        let place = usize::try_from(key.checked_sub(self.popped)?).ok()?;
        self.queue.get_mut(place)?.take()
    }
}

/// The queue of tasks, by id, and of closures of the type `C`.
pub(super) struct ReadyQueue<C> {
    entries: RefCell<VecDeque<u64>>,
    calls: RefCell<Calls<C>>,
    /// The number of closures and tasks in the queue.
    len: Cell<usize>,
    /// How many of them, from the front, are in the batch and have not run.
    batch: Cell<usize>,
    /// The closures to run before the next entry is popped.
    closures: Cell<usize>,
    /// The closures at the end of the queue, which have no entry yet: where only closures are queued,
    /// as in a chain of them, no entry is ever written.
    last_row: Cell<usize>,
    /// The entry that was popped last, a task id or [`CALL`]: the one that runs, or has panicked.
    current: Cell<u64>,
    pub(super) shuffle: Shuffle,
}

impl<C> Default for ReadyQueue<C> {
    fn default() -> Self {
        Self {
            entries: RefCell::default(),
            calls: RefCell::new(Calls {
                queue: VecDeque::new(),
                popped: 0,
            }),
            len: Cell::new(0),
            batch: Cell::new(0),
            closures: Cell::new(0),
            last_row: Cell::new(0),
            current: Cell::new(CALL),
            shuffle: Shuffle::default(),
        }
    }
}

impl<C> ReadyQueue<C> {
    /// Adds a closure.
    #[inline]
    pub(super) fn push_call(&self, call: C) -> CallKey {
        self.len.set(self.len.get() + 1);
        self.last_row.set(self.last_row.get() + 1);
        self.calls.borrow_mut().push(call)
    }

    /// Adds a task.
    #[inline]
    pub(super) fn push_task(&self, task_id: u64) {
        self.len.set(self.len.get() + 1);
        let mut entries = self.entries.borrow_mut();
        if self.last_row.get() != 0 {
            self.end_row(&mut entries);
        }
        entries.push_back(task_id);
    }

    /// Adds the entry of the closures at the end of the queue.
    #[inline(never)]
    fn end_row(&self, entries: &mut VecDeque<u64>) {
        entries.push_back(CALL + self.last_row.take() as u64);
    }

    /// Takes a closure out, if it has neither run nor been cancelled.
    pub(super) fn take_call(&self, key: CallKey) -> Option<C> {
        self.calls.borrow_mut().take(key)
    }

    /// Begins the batch, which is everything in the queue (L5). Returns the number of closures and
    /// tasks in it.
    #[inline]
    pub(super) fn begin_batch(&self) -> usize {
        if self.shuffle.is_on() {
            self.shuffle_entries();
        }
        self.batch.set(self.len.get());
        self.len.get()
    }

    #[cold]
    fn shuffle_entries(&self) {
        let mut entries = self.entries.borrow_mut();
        entries.push_front(CALL + self.closures.take() as u64);
        self.end_row(&mut entries);
        // One entry for each closure: they keep their order, whichever entry comes first.
        let mut each = Vec::with_capacity(self.len.get());
        for entry in entries.drain(..) {
            match closures_of(entry) {
                Some(closures) => each.extend(std::iter::repeat_n(CALL + 1, closures)),
                None => each.push(entry),
            }
        }
        self.shuffle.shuffle(&mut each);
        entries.extend(each);
    }

    /// Shrinks after a burst (R126): one step per turn, so that the memory is freed within a few
    /// turns, but a burst in every turn does not allocate anew.
    #[inline]
    pub(super) fn shrink(&self) {
        shrink::shrink(&mut *self.entries.borrow_mut());
        shrink::shrink(&mut self.calls.borrow_mut().queue);
    }

    /// Pops the next entry of this batch: a task id, or [`CALL`].
    #[inline]
    pub(super) fn pop(&self) -> Option<u64> {
        let left = self.batch.get().checked_sub(1)?;
        self.batch.set(left);
        self.len.set(self.len.get() - 1);
        if self.closures.get() == 0 {
            let next = self.entries.borrow_mut().pop_front();
            match next.map_or_else(|| Some(self.last_row.take()), closures_of) {
                Some(closures) => self.closures.set(closures),
                None => {
                    self.current.set(next?);
                    return next;
                }
            }
        }
        self.closures.set(self.closures.get() - 1);
        self.current.set(CALL);
        Some(CALL)
    }

    /// Pops the next entry of this batch, if it is a task of the scheduler.
    #[inline]
    pub(super) fn pop_task(&self) -> Option<u64> {
        let left = self.batch.get().checked_sub(1)?;
        if self.closures.get() != 0 {
            return None;
        }
        let mut entries = self.entries.borrow_mut();
        let &next = entries.front()?;
        if next >= CALL {
            return None; // closures, or the main task
        }
        entries.pop_front();
        self.batch.set(left);
        self.len.set(self.len.get() - 1);
        self.current.set(next);
        Some(next)
    }

    #[inline]
    pub(super) fn current(&self) -> u64 {
        self.current.get()
    }

    /// Pops the next closure; `None` if it was cancelled.
    #[inline]
    pub(super) fn pop_next_call(&self) -> Option<C> {
        self.calls.borrow_mut().pop()
    }

    /// The key of the closure that was popped last.
    pub(super) fn current_call(&self) -> CallKey {
        self.calls.borrow().popped.wrapping_sub(1)
    }

    /// The number of closures and tasks in the queue.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len.get()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len.get() == 0
    }

    /// Whether the queue has a closure that was not cancelled, or a task that `is_alive`. Cancelled
    /// work keeps its entry until it is popped.
    pub(super) fn has_work(&self, is_alive: impl Fn(u64) -> bool) -> bool {
        let is_work = |&entry: &u64| closures_of(entry).is_none() && is_alive(entry);
        let has_call = self.calls.borrow().queue.iter().any(Option::is_some);
        has_call || self.entries.borrow().iter().any(is_work)
    }

    /// The number of closures that have neither run nor been cancelled.
    pub(super) fn calls(&self) -> usize {
        self.calls.borrow().queue.iter().flatten().count()
    }

    /// Pops a closure that was not cancelled, for a caller that empties the queue.
    pub(super) fn pop_call(&self) -> Option<C> {
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
