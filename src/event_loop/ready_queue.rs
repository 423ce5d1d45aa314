//! The ready queue: the order of closures and tasks, and which of them run in this round.
//!
//! The work that is in the queue when a round begins is its batch. Work that the batch itself adds
//! goes behind it, and runs in the next round. So a callback that queues itself again cannot keep
//! the loop from polling its descriptors, and a round is finite (L5).
//!
//! The queue has the closures themselves. Of the tasks it has only the places: the scheduler keeps
//! the ready tasks in a queue of its own, in the same order. Consecutive work of one kind is one row,
//! so that a queue of many tasks is one number here.
//!
//! For tests the order of the tasks can be shuffled from a seed (`shuffle.rs`). Closures keep their
//! order, which `call_soon` guarantees.
//!
//! These are the *callbacks* of "I/O, timers and callbacks" (N1); asyncio's `_ready`.

use super::rows::{Kind, Rows};
use super::shuffle::Shuffle;
use crate::base::shrink;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

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

/// The queue of closures of the type `C`, and of the places of tasks between them.
pub(super) struct ReadyQueue<C> {
    calls: RefCell<Calls<C>>,
    pub(super) rows: Rc<Rows>,
    after_burst: Cell<bool>,
    pub(super) shuffle: Shuffle,
}

impl<C> Default for ReadyQueue<C> {
    fn default() -> Self {
        Self {
            calls: RefCell::new(Calls {
                queue: VecDeque::new(),
                popped: 0,
            }),
            rows: Rc::default(),
            after_burst: Cell::new(false),
            shuffle: Shuffle::default(),
        }
    }
}

impl<C> ReadyQueue<C> {
    /// Adds a closure.
    #[inline]
    pub(super) fn push_call(&self, call: C) -> CallKey {
        self.rows.push(Kind::Closure);
        self.calls.borrow_mut().push(call)
    }

    /// Takes a closure out, if it has neither run nor been cancelled.
    pub(super) fn take_call(&self, key: CallKey) -> Option<C> {
        self.calls.borrow_mut().take(key)
    }

    /// Begins a round: everything in the queue is its batch (L5). Returns the number of closures and
    /// tasks in it. If the tasks are shuffled, `reorder` gets their old places in the new order.
    #[inline]
    pub(super) fn begin_batch(&self, reorder: impl FnOnce(&[usize])) -> usize {
        if self.shuffle.is_on() {
            self.shuffle_batch(reorder);
        } else if !self.rows.begin_batch_of_one_row() {
            self.rows.begin_batch();
        }
        let len = self.len();
        if len > shrink::MIN_CAPACITY {
            self.after_burst.set(true);
        }
        len
    }

    #[cold]
    fn shuffle_batch(&self, reorder: impl FnOnce(&[usize])) {
        self.rows.begin_batch();
        // One entry for each closure: they keep their order, whichever place comes first.
        let mut each = self.rows.take_batch();
        self.shuffle.shuffle(&mut each);
        each.iter().for_each(|&(kind, _)| self.rows.push(kind));
        self.rows.begin_batch();
        let order: Vec<usize> = each.iter().filter_map(|&(_, task)| task).collect();
        reorder(&order);
    }

    /// Whether a batch was so large that the queues may have to shrink (R126).
    #[inline]
    pub(super) fn is_after_burst(&self) -> bool {
        self.after_burst.get()
    }

    /// Shrinks after a burst: one step per turn, so that the memory is freed within a few turns, but
    /// a burst in every turn does not allocate anew.
    pub(super) fn shrink(&self) {
        self.rows.shrink();
        shrink::shrink(&mut self.calls.borrow_mut().queue);
        // With fewer entries than this the smallest buffer that is ever shrunk has been.
        let is_over = self.len() < shrink::shrink_below(shrink::MIN_CAPACITY + 1);
        self.after_burst.set(!is_over);
    }

    /// Takes the next place of this batch.
    #[inline]
    pub(super) fn pop(&self) -> Option<Kind> {
        self.rows.pop()
    }

    /// The kind of the work that was popped last: the one that runs, or has panicked.
    #[inline]
    pub(super) fn current(&self) -> Kind {
        self.rows.current()
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
        self.rows.len()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the queue has a closure that was not cancelled, or the main future. Cancelled work
    /// keeps its place until it is popped.
    pub(super) fn has_call_or_main(&self) -> bool {
        self.calls.borrow().queue.iter().any(Option::is_some) || self.rows.has_main()
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
