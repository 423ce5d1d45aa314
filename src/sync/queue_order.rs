//! The order in which a queue returns its items: first in first out, last in first out, least first.
//!
//! There are three stores, and one queue that does not depend on which it has. A priority queue returns
//! equal items in the order in which they were put, which a heap does not do by itself.
//!
//! Comparing items runs user code, which may panic. So each change has two halves: `place` and `next`
//! compare, and change nothing; `put` and `take` change, and compare nothing. The heap is our own for that
//! reason: the standard library's compares while it moves items, and a panic loses the item in hand.
//!
//! In asyncio: `_put` and `_get` of `Queue`, `LifoQueue` and `PriorityQueue`.

use crate::base::shrink;
use std::cmp::Ordering;
use std::collections::VecDeque;

/// The order in which a queue returns its items: [`Fifo`], [`Lifo`] or [`MinFirst`].
pub trait QueueOrder<T>: Default + sealed::Sealed {
    /// Whether it compares items: without, nothing of the user's runs here.
    #[doc(hidden)]
    const COMPARES: bool;
    /// Where `item` belongs. Compares.
    #[doc(hidden)]
    fn place(&self, item: &T) -> usize;
    /// Puts `item` at its place.
    #[doc(hidden)]
    fn put(&mut self, place: usize, item: T);
    /// What [`take`](QueueOrder::take) has to know to take the next item. Compares.
    #[doc(hidden)]
    fn next(&self) -> usize;
    /// Takes the next item.
    #[doc(hidden)]
    fn take(&mut self, next: usize) -> Option<T>;
    /// Puts all in order, for [`into_items`](QueueOrder::into_items). Compares; where that panics, all
    /// items are still there.
    #[doc(hidden)]
    fn sort(&mut self);
    /// All items.
    #[doc(hidden)]
    fn into_items(self) -> Vec<T>;
    #[doc(hidden)]
    fn count(&self) -> usize;
}

mod sealed {
    /// A store runs under the queue's borrow, so it must be the crate's own ([L8]).
    ///
    /// [L8]: crate::book::invariants#l8
    pub trait Sealed {}
    impl<T> Sealed for super::Fifo<T> {}
    impl<T> Sealed for super::Lifo<T> {}
    impl<T> Sealed for super::MinFirst<T> {}
}

/// The order of a queue: first in, first out.
#[derive(Debug)]
pub struct Fifo<T>(VecDeque<T>);

/// The order of a queue: last in, first out.
#[derive(Debug)]
pub struct Lifo<T>(Vec<T>);

/// The order of a queue: the least item first; of equal items, the first in.
#[derive(Debug)]
pub struct MinFirst<T> {
    /// A binary heap: no item is less than the one above it, which is that of half its number.
    heap: Vec<Numbered<T>>,
    numbers: u64,
}

#[derive(Debug)]
struct Numbered<T> {
    item: T,
    number: u64,
}

impl<T: Ord> Numbered<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_number = || self.number.cmp(&other.number);
        self.item.cmp(&other.item).then_with(by_number)
    }

    #[inline]
    fn is_before(&self, other: &Self) -> bool {
        self.cmp(other).is_lt()
    }
}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Default for Lifo<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Ord> Default for MinFirst<T> {
    fn default() -> Self {
        Self {
            heap: Vec::new(),
            numbers: 0,
        }
    }
}

impl<T> QueueOrder<T> for Fifo<T> {
    const COMPARES: bool = false;

    #[inline]
    fn place(&self, _: &T) -> usize {
        0
    }

    #[inline]
    fn put(&mut self, _: usize, item: T) {
        self.0.push_back(item);
    }

    #[inline]
    fn next(&self) -> usize {
        0
    }

    #[inline]
    fn take(&mut self, _: usize) -> Option<T> {
        let item = self.0.pop_front();
        shrink::shrink(&mut self.0);
        item
    }

    fn sort(&mut self) {}

    fn into_items(self) -> Vec<T> {
        self.0.into()
    }

    #[inline]
    fn count(&self) -> usize {
        self.0.len()
    }
}

impl<T> QueueOrder<T> for Lifo<T> {
    const COMPARES: bool = false;

    #[inline]
    fn place(&self, _: &T) -> usize {
        0
    }

    #[inline]
    fn put(&mut self, _: usize, item: T) {
        self.0.push(item);
    }

    #[inline]
    fn next(&self) -> usize {
        0
    }

    #[inline]
    fn take(&mut self, _: usize) -> Option<T> {
        let item = self.0.pop();
        shrink::shrink(&mut self.0);
        item
    }

    fn sort(&mut self) {
        self.0.reverse();
    }

    fn into_items(self) -> Vec<T> {
        self.0
    }

    #[inline]
    fn count(&self) -> usize {
        self.0.len()
    }
}

impl<T> MinFirst<T> {
    fn above(at: usize) -> usize {
        (at - 1) / 2
    }
}

impl<T: Ord> QueueOrder<T> for MinFirst<T> {
    const COMPARES: bool = true;

    fn place(&self, item: &T) -> usize {
        let mut at = self.heap.len();
        // It comes last of those that are equal.
        while at > 0 && item.cmp(&self.heap[Self::above(at)].item).is_lt() {
            at = Self::above(at);
        }
        at
    }

    fn put(&mut self, place: usize, item: T) {
        let number = self.numbers;
        self.numbers += 1;
        let mut at = self.heap.len();
        self.heap.push(Numbered { item, number });
        while at > place {
            self.heap.swap(at, Self::above(at));
            at = Self::above(at);
        }
    }

    /// Where the last one belongs when the first has gone: below those that are less than it, on
    /// the way down by the lesser of each two.
    fn next(&self) -> usize {
        let heap = &self.heap;
        let Some(last) = heap.len().checked_sub(1) else {
            return 0;
        };
        let (mut at, mut below) = (0, 1);
        while below < last {
            let other = below + 1;
            let is_other = other < last && heap[other].is_before(&heap[below]);
            at = below + usize::from(is_other);
            below = 2 * at + 1;
        }
        while at > 0 && heap[last].is_before(&heap[at]) {
            at = Self::above(at);
        }
        at
    }

    fn take(&mut self, next: usize) -> Option<T> {
        let mut moved = self.heap.pop()?;
        shrink::shrink(&mut self.heap);
        if self.heap.is_empty() {
            return Some(moved.item);
        }
        // The last goes to its place, and those on the way up from there move up by one: out comes the first.
        let mut at = next;
        loop {
            moved = std::mem::replace(&mut self.heap[at], moved);
            if at == 0 {
                return Some(moved.item);
            }
            at = Self::above(at);
        }
    }

    fn sort(&mut self) {
        self.heap.sort_unstable_by(Numbered::cmp);
    }

    fn into_items(self) -> Vec<T> {
        self.heap.into_iter().map(|it| it.item).collect()
    }

    #[inline]
    fn count(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    fn put<S: QueueOrder<usize>>(store: &mut S, item: usize) {
        let place = store.place(&item);
        store.put(place, item);
    }

    fn take<S: QueueOrder<usize>>(store: &mut S) -> Option<usize> {
        let next = store.next();
        store.take(next)
    }

    #[test]
    fn the_least_comes_first_whatever_is_put_and_taken() {
        for seed in 0..100 {
            let mut chance = Rng::seeded(seed);
            let (mut least, mut model) = (MinFirst::default(), Vec::new());
            for _ in 0..300 {
                if chance.below(5) < 3 {
                    let item = chance.below(50);
                    put(&mut least, item);
                    model.push(item);
                } else {
                    model.sort_unstable_by(|a, b| b.cmp(a));
                    assert_eq!(take(&mut least), model.pop());
                }
                assert_eq!(least.count(), model.len());
            }
            least.sort();
            model.sort_unstable();
            assert_eq!(least.into_items(), model);
        }
    }

    #[test]
    fn all_items_come_in_the_order_in_which_they_would_be_taken() {
        fn all<S: QueueOrder<usize>>() -> (Vec<usize>, Vec<usize>) {
            let (mut one, mut other) = (S::default(), S::default());
            for item in [3, 1, 2] {
                put(&mut one, item);
                put(&mut other, item);
            }
            other.sort();
            let taken = std::iter::from_fn(|| take(&mut one)).collect();
            (taken, other.into_items())
        }
        assert_eq!(all::<Fifo<_>>(), (vec![3, 1, 2], vec![3, 1, 2]));
        assert_eq!(all::<Lifo<_>>(), (vec![2, 1, 3], vec![2, 1, 3]));
        assert_eq!(all::<MinFirst<_>>(), (vec![1, 2, 3], vec![1, 2, 3]));
    }
}
