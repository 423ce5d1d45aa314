//! A queue that is used by shared reference: a push and a pop without a borrow and without a panic.
//!
//! A `RefCell` of a list is borrowed and released for each push and each pop, and either may panic, for
//! which the caller keeps in memory what it would have to drop. No code of the user runs in the methods
//! of this queue, so it needs neither.
//!
//! It makes no system call; it is in this crate because it needs `unsafe`.
//! In asyncio this is `_ready`, of which tasks are the larger part (N8).
//!
//! # Rules
//!
//! - The slots from `head` up to `tail` hold an item each, where `first` follows the last slot. The others
//!   are uninitialized memory.
//! - One slot at least is vacant, so that `head` and `tail` are equal exactly if the queue is empty.
//! - Nothing outside a method points at a slot, and no item is used or dropped while it is in one.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// The number of slots of the smallest ring.
const MIN_SLOTS: usize = 16;

/// A queue: what is pushed first is popped first.
pub struct RingQueue<T> {
    /// The first slot of the ring, which is owned as by a `Box`.
    first: Cell<NonNull<T>>,
    /// Behind its last slot.
    end: Cell<NonNull<T>>,
    /// The slot of the next item to be popped.
    head: Cell<NonNull<T>>,
    /// The slot of the next item to be pushed.
    tail: Cell<NonNull<T>>,
    owns: PhantomData<T>,
}

impl<T> Default for RingQueue<T> {
    fn default() -> Self {
        const { assert!(size_of::<T>() != 0, "slots have different addresses") };
        let (first, end) = Self::new_ring(MIN_SLOTS);
        Self {
            first: Cell::new(first),
            end: Cell::new(end),
            head: Cell::new(first),
            tail: Cell::new(first),
            owns: PhantomData,
        }
    }
}

impl<T> RingQueue<T> {
    /// The first slot of a new ring, and the end of its last one.
    fn new_ring(slots: usize) -> (NonNull<T>, NonNull<T>) {
        let ring: Box<[MaybeUninit<T>]> = Box::new_uninit_slice(slots);
        let first = NonNull::from(Box::leak(ring)).cast();
        // SAFETY: the ring has so many slots, and the pointer is one past the last of them at most.
        (first, unsafe { first.add(slots) })
    }

    /// The slot behind this one.
    ///
    /// # Safety
    ///
    /// The pointer is to a slot of the ring.
    #[inline]
    unsafe fn behind(&self, slot: NonNull<T>) -> NonNull<T> {
        // SAFETY: by the contract this is in the ring, or one past its last slot.
        let next = unsafe { slot.add(1) };
        match next == self.end.get() {
            true => self.first.get(),
            false => next,
        }
    }

    /// Adds an item behind the others.
    #[inline(always)] // it does little else than to write the item
    pub fn push(&self, item: T) {
        let tail = self.tail.get();
        // SAFETY: `tail` is a slot of the ring, and vacant by the rules.
        unsafe { tail.write(item) };
        // SAFETY: as above.
        let tail = unsafe { self.behind(tail) };
        self.tail.set(tail);
        if tail == self.head.get() {
            self.grow();
        }
    }

    /// Puts an item before the others.
    pub fn push_first(&self, item: T) {
        let is_at_start = self.head.get() == self.first.get();
        let behind = if is_at_start { &self.end } else { &self.head };
        // SAFETY: this is behind a slot of the ring, and the slot before `head` is vacant by the rules.
        let head = unsafe { behind.get().sub(1) };
        // SAFETY: as above.
        unsafe { head.write(item) };
        self.head.set(head);
        if head == self.tail.get() {
            self.grow();
        }
    }

    /// Doubles the number of slots. All of them hold an item: by the rules that is so only here.
    // `extern "C"`, which does not unwind: a caller has nothing to drop then. It panics if the ring were
    // larger than the address space.
    #[cold]
    extern "C" fn grow(&self) {
        let slots = self.slots();
        self.move_to(slots, 2 * slots);
    }

    /// Removes the first item.
    #[inline(always)] // as above
    #[must_use]
    pub fn pop(&self) -> Option<T> {
        let head = self.head.get();
        if head == self.tail.get() {
            return None;
        }
        // SAFETY: the queue is not empty, so `head` is a slot of the ring.
        self.head.set(unsafe { self.behind(head) });
        // SAFETY: an item was in that slot. It is moved, for the slot is vacant now.
        Some(unsafe { head.read() })
    }

    /// The number of slots.
    fn slots(&self) -> usize {
        Self::distance(self.first.get(), self.end.get())
    }

    fn distance(from: NonNull<T>, to: NonNull<T>) -> usize {
        (to.addr().get() - from.addr().get()) / size_of::<T>()
    }

    /// The number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        let (head, tail) = (self.head.get(), self.tail.get());
        match head <= tail {
            true => Self::distance(head, tail),
            false => self.slots() - Self::distance(tail, head),
        }
    }

    /// Whether there is no item.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.get() == self.tail.get()
    }

    /// The number of items for which there is room.
    #[must_use]
    pub fn room(&self) -> usize {
        self.slots() - 1
    }

    /// Moves the items to a ring that has room for so many, and for all of them.
    pub fn set_room(&self, room: usize) {
        let len = self.len();
        self.move_to(len, room.max(len).saturating_add(1).max(MIN_SLOTS));
    }

    /// Moves the first `len` items, which are all of them, to a ring with more slots than these.
    fn move_to(&self, len: usize, slots: usize) {
        let (first, end) = Self::new_ring(slots);
        let (mut from, mut to) = (self.head.get(), first);
        for _ in 0..len {
            // SAFETY: from `head` on there are so many items, and as many slots in the new ring. An item is
            // moved: the old ring is freed, and nothing in it is dropped.
            unsafe { from.copy_to_nonoverlapping(to, 1) };
            // SAFETY: it is a slot of the old ring.
            from = unsafe { self.behind(from) };
            // SAFETY: it is a slot of the new ring, which has more of them than there are items.
            to = unsafe { to.add(1) };
        }
        let old = (self.first.replace(first), self.end.replace(end));
        self.head.set(first);
        self.tail.set(to);
        // SAFETY: this ring was that of the queue, and another has replaced it.
        unsafe { Self::free(old.0, Self::distance(old.0, old.1)) };
    }

    /// Frees a ring. What is in its slots is not dropped.
    ///
    /// # Safety
    ///
    /// The ring is of [`new_ring`](Self::new_ring) with so many slots, and is not used any more.
    unsafe fn free(first: NonNull<T>, slots: usize) {
        let ring = NonNull::slice_from_raw_parts(first.cast::<MaybeUninit<T>>(), slots);
        // SAFETY: `new_ring` has leaked a `Box` of this type, and by the contract it is not used any
        // more.
        drop(unsafe { Box::from_raw(ring.as_ptr()) });
    }
}

impl<T> Drop for RingQueue<T> {
    /// Drops the items that are left, also behind one whose destructor panics.
    fn drop(&mut self) {
        struct Rest<'a, T>(&'a RingQueue<T>);
        impl<T> Drop for Rest<'_, T> {
            fn drop(&mut self) {
                while let Some(item) = self.0.pop() {
                    drop(item);
                }
            }
        }
        struct Free<'a, T>(&'a RingQueue<T>);
        impl<T> Drop for Free<'_, T> {
            fn drop(&mut self) {
                // SAFETY: it is the ring of a queue that is being dropped, and this runs last.
                unsafe { RingQueue::free(self.0.first.get(), self.0.slots()) };
            }
        }
        let _free = Free(self);
        let _behind_a_panic = Rest(self);
        drop(Rest(self));
    }
}

impl<T> fmt::Debug for RingQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RingQueue");
        debug.field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::rc::Rc;

    /// Against a list: random operations, with a ring that grows, shrinks and wraps round.
    #[test]
    fn items_come_out_in_order_and_once_however_the_ring_changes() {
        let (queue, mut expected) = (RingQueue::default(), VecDeque::new());
        let count = Rc::new(());
        let mut random = 7_u64;
        for n in 0..3_300_u64 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1);
            // Mostly pushes for a while, then mostly pops.
            let pushes = if n / 300 % 2 == 0 { 5 } else { 2 };
            match random >> 61 {
                7 => queue.set_room((random >> 55 & 63) as usize),
                0 => {
                    queue.push_first((n, Rc::clone(&count)));
                    expected.push_front(n);
                }
                choice if choice < pushes => {
                    queue.push((n, Rc::clone(&count)));
                    expected.push_back(n);
                }
                _ => assert_eq!(queue.pop().map(|(n, _)| n), expected.pop_front()),
            }
            assert_eq!(queue.len(), expected.len());
            assert_eq!(queue.is_empty(), expected.is_empty());
            assert!(queue.len() <= queue.room());
            assert_eq!(Rc::strong_count(&count), 1 + queue.len());
        }
        assert!(!queue.is_empty());
        drop(queue);
        assert_eq!(Rc::strong_count(&count), 1);
    }

    #[test]
    fn a_queue_that_is_dropped_drops_the_items_behind_one_whose_destructor_panics() {
        struct Touchy(Rc<Cell<u32>>);
        impl Drop for Touchy {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
                if self.0.get() == 2 {
                    resume_unwind(Box::new("planted"));
                }
            }
        }
        let (queue, drops) = (RingQueue::default(), Rc::new(Cell::new(0)));
        (0..5).for_each(|_| queue.push(Touchy(Rc::clone(&drops))));
        assert!(catch_unwind(AssertUnwindSafe(|| drop(queue))).is_err());
        assert_eq!(drops.get(), 5);
    }
}
