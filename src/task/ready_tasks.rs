//! The ready tasks of an executor: a queue of two lists.
//!
//! Tasks are pushed to one list and popped from the other, which has the earlier ones in reverse.
//! When that is empty the lists change places, about once in each round of the loop. A push and a
//! pop are then those of a plain list, with no index that wraps round.
//!
//! In asyncio this is the part of `_ready` that are steps of tasks. Rules: L5, T1.

use crate::base::shrink;

pub(super) struct ReadyTasks<T> {
    /// The next ones, the first of them last.
    front: Vec<T>,
    /// The ones behind these, in order.
    back: Vec<T>,
}

impl<T> Default for ReadyTasks<T> {
    fn default() -> Self {
        Self {
            front: Vec::new(),
            back: Vec::new(),
        }
    }
}

impl<T> ReadyTasks<T> {
    #[inline]
    pub(super) fn push(&mut self, task: T) {
        self.back.push(task);
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<T> {
        match self.front.pop() {
            Some(task) => Some(task),
            None => self.pop_back(),
        }
    }

    #[inline(never)]
    fn pop_back(&mut self) -> Option<T> {
        if self.back.len() > 1 {
            std::mem::swap(&mut self.front, &mut self.back);
            self.front.reverse();
            return self.front.pop();
        }
        self.back.pop()
    }

    pub(super) fn first(&self) -> Option<&T> {
        self.front.last().or_else(|| self.back.first())
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.front.iter().rev().chain(&self.back)
    }

    /// Puts them in another order: `order` has the old places in it.
    pub(super) fn reorder(&mut self, order: &[usize]) {
        let mut tasks: Vec<_> = std::iter::from_fn(|| self.pop()).map(Some).collect();
        let in_order = order.iter().filter_map(|&at| tasks.get_mut(at)?.take());
        self.back.extend(in_order);
    }

    /// Shrinks after a burst (R126).
    pub(super) fn shrink(&mut self) {
        shrink::shrink(&mut self.front);
        shrink::shrink(&mut self.back);
    }
}
