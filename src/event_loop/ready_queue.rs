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

use super::action::Call;
use super::rows::{Kind, Rows};
use super::shuffle::Shuffle;
use crate::base::shrink::{self, Room};
use readily_sys::fn_queue::FnQueue;
use readily_sys::inline_fn::InlineFn;
use std::cell::Cell;
use std::rc::Rc;

/// Identifies a closure: the number of closures that were queued before it.
pub(super) type CallKey = u64;

/// The key of no closure.
pub(super) const NO_CALL: CallKey = u64::MAX;

/// The queue of closures of the loop with the handle `H`, and of the places of tasks between them.
pub(super) struct ReadyQueue<H: 'static> {
    /// The closures that have not run, in order.
    pub(super) calls: FnQueue<H>,
    pub(super) rows: Rc<Rows>,
    after_burst: Cell<bool>,
    pub(super) shuffle: Shuffle,
}

impl<H> Default for ReadyQueue<H> {
    fn default() -> Self {
        Self {
            calls: FnQueue::default(),
            rows: Rc::default(),
            after_burst: Cell::new(false),
            shuffle: Shuffle::default(),
        }
    }
}

impl<H> ReadyQueue<H> {
    /// Adds a closure.
    #[inline(always)] // it writes the words of the closure, and does little else
    pub(super) fn push_call(&self, call: Call<H>) -> CallKey {
        // First the closure: where its push returns, there is nothing to drop if the other one panics.
        let key = self.calls.push(call.run, call.site);
        self.rows.push(Kind::Closure);
        key
    }

    /// Adds a closure, if no memory has to be looked for; otherwise calls `or`, as the end of the work.
    #[inline(always)] // as above
    pub(super) fn push_call_or(
        &self,
        call: Call<H>,
        or: impl FnOnce(Call<H>) -> CallKey,
    ) -> CallKey {
        let Call { run, site } = call;
        let mut is_pushed = true;
        let key = self.calls.push_or(run, site, |run| {
            is_pushed = false;
            or(Call { run, site })
        });
        if is_pushed {
            self.rows.push(Kind::Closure);
        }
        key
    }

    /// Takes the places behind the one that was popped, which is a closure's, as far as they are of
    /// closures: they are the row that the caller runs.
    #[inline]
    pub(super) fn take_calls(&self) -> CallRow<'_, H> {
        let len = 1 + self.rows.take_same();
        CallRow {
            ready: self,
            end: self.calls.first_key() + u64::from(len),
        }
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

    /// [`begin_batch`](Self::begin_batch) of a round that has only ready work, which is not shuffled, and
    /// not so much that a queue might have to shrink afterwards.
    #[inline]
    pub(super) fn begin_plain_batch(&self) {
        if !self.rows.begin_batch_of_one_row() {
            self.rows.begin_batch();
        }
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
        shrink::shrink(&mut &self.calls);
        // With fewer entries than this the smallest buffer that is ever shrunk has been.
        let is_over = self.len() < shrink::shrink_below(shrink::MIN_CAPACITY + 1);
        self.after_burst.set(!is_over);
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
        self.calls.keys().next().is_some() || self.rows.has_main()
    }

    /// Pops a closure that was not cancelled, for a caller that empties the queue.
    pub(super) fn pop_call(&self) -> Option<InlineFn<H>> {
        while !self.calls.is_empty() {
            let call = self.calls.pop();
            if call.is_some() {
                return call;
            }
        }
        None
    }
}

/// Consecutive closures, which the loop runs. What is left of them when a panic ends that goes back into
/// the queue, because they run in the same batch (L6).
pub(super) struct CallRow<'a, H: 'static> {
    ready: &'a ReadyQueue<H>,
    /// The key behind those of the row.
    pub(super) end: CallKey,
}

impl<H> CallRow<'_, H> {
    /// So many closures more, whose places were taken, are the row that the caller runs. All of the ones
    /// before have run.
    #[inline]
    pub(super) fn go_on(&mut self, len: u32) {
        self.end += u64::from(len);
    }
}

impl<H> Drop for CallRow<'_, H> {
    #[inline]
    fn drop(&mut self) {
        let left = self.end - self.ready.calls.first_key();
        if left != 0 {
            self.ready.rows.give_back(left as u32);
        }
    }
}

impl<H> Room for &FnQueue<H> {
    fn entries(&self) -> usize {
        self.len()
    }

    fn room(&self) -> usize {
        FnQueue::room(self)
    }

    fn shrink_to(&mut self, room: usize) {
        self.set_room(room);
    }
}

#[cfg(test)]
mod tests;
