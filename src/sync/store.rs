//! In which order a queue gives its items out: first in, last in, or the least.
//!
//! Three ways to keep items, and one queue that knows none of them. Items that are equal come out
//! of a priority queue in the order in which they went in, which a heap does not do by itself.
//!
//! In asyncio: what `_put` and `_get` do in `Queue`, `LifoQueue` and `PriorityQueue`.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

/// How a queue keeps its items. The three there are: [`Fifo`], [`Lifo`], [`Least`].
pub trait Store<T>: Default + sealed::Sealed {
    #[doc(hidden)]
    fn put(&mut self, item: T);
    #[doc(hidden)]
    fn take(&mut self) -> Option<T>;
    #[doc(hidden)]
    fn count(&self) -> usize;
}

mod sealed {
    /// A store runs under the queue's borrow, so it must be the crate's own (L8).
    pub trait Sealed {}
    impl<T> Sealed for super::Fifo<T> {}
    impl<T> Sealed for super::Lifo<T> {}
    impl<T> Sealed for super::Least<T> {}
}

/// First in, first out.
#[derive(Debug)]
pub struct Fifo<T>(VecDeque<T>);

/// Last in, first out.
#[derive(Debug)]
pub struct Lifo<T>(Vec<T>);

/// The least first; of those that are equal, the first in.
#[derive(Debug)]
pub struct Least<T> {
    heap: BinaryHeap<Reverse<Numbered<T>>>,
    numbers: u64,
}

#[derive(Debug)]
struct Numbered<T> {
    item: T,
    number: u64,
}

impl<T: Ord> Ord for Numbered<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_number = || self.number.cmp(&other.number);
        self.item.cmp(&other.item).then_with(by_number)
    }
}

impl<T: Ord> PartialOrd for Numbered<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> PartialEq for Numbered<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Ord> Eq for Numbered<T> {}

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

impl<T: Ord> Default for Least<T> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            numbers: 0,
        }
    }
}

impl<T> Store<T> for Fifo<T> {
    fn put(&mut self, item: T) {
        self.0.push_back(item);
    }

    fn take(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

impl<T> Store<T> for Lifo<T> {
    fn put(&mut self, item: T) {
        self.0.push(item);
    }

    fn take(&mut self) -> Option<T> {
        self.0.pop()
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

impl<T: Ord> Store<T> for Least<T> {
    fn put(&mut self, item: T) {
        let number = self.numbers;
        self.numbers += 1;
        self.heap.push(Reverse(Numbered { item, number }));
    }

    fn take(&mut self) -> Option<T> {
        self.heap.pop().map(|Reverse(least)| least.item)
    }

    fn count(&self) -> usize {
        self.heap.len()
    }
}
