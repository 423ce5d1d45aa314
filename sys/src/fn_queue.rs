//! A queue of closures, each of which is run from its slot.
//!
//! A queue that returns a closure copies its words, and the caller copies them again before it calls
//! the closure. Here a closure is written to its slot once, and its next move is into the function that
//! runs it, which knows its type. Beside the closure is the line that queued it, for reports.
//!
//! It makes no system call; it is in this crate because it needs `unsafe`.
//! In the notes these are the *callbacks* of "I/O, timers and callbacks" (N1).
//!
//! # Rules
//!
//! - The slots are a ring of a power of two. The slot of a key is the key's remainder by that; the keys
//!   from `head` up to `tail` have a closure in their slot, which may be a vacant one. All other slots
//!   are uninitialized memory.
//! - Nothing outside a method points at a slot. No user code runs inside a method before the closure
//!   that is run, returned or dropped has left its slot, and no method uses a slot after that. So a
//!   closure may queue others, by which the ring may move, and may cancel others or run them.

use crate::inline_fn::InlineFn;
use std::cell::Cell;
use std::fmt;
use std::mem::MaybeUninit;
use std::panic::Location;
use std::ptr::NonNull;

/// The room of the smallest ring.
const MIN_ROOM: usize = 16;

/// A closure in the queue.
#[repr(C)] // so that the closure is at its start
struct Slot<A: 'static> {
    run: InlineFn<A>,
    site: &'static Location<'static>,
}

type Ring<A> = [MaybeUninit<Slot<A>>];

/// The place of a key in a ring with `room` slots, which is a power of two.
#[inline]
fn place(key: u64, room: usize) -> usize {
    // The upper bits of the key have no part in it.
    key as usize & (room - 1)
}

/// A queue of closures `FnOnce(&A)`, each with the line that queued it and a key to cancel it.
///
/// All methods take `&self`, because a closure of the queue may call them while it runs.
pub struct FnQueue<A: 'static> {
    /// Owned, as by a `Box`. Without a slot, or with a power of two of them.
    ring: Cell<NonNull<Ring<A>>>,
    /// The key of the first closure: the number of closures that were popped.
    head: Cell<u64>,
    /// The key of the next closure: the number of closures that were pushed.
    tail: Cell<u64>,
}

impl<A> Default for FnQueue<A> {
    fn default() -> Self {
        Self {
            ring: Cell::new(Self::new_ring(0)),
            head: Cell::new(0),
            tail: Cell::new(0),
        }
    }
}

impl<A> FnQueue<A> {
    fn new_ring(room: usize) -> NonNull<Ring<A>> {
        NonNull::from(Box::leak(Box::new_uninit_slice(room)))
    }

    /// Adds a closure behind the others. Returns its key, which no other closure of this queue gets.
    #[inline(always)] // it writes the words of the closure, and does little else
    pub fn push(&self, run: InlineFn<A>, site: &'static Location<'static>) -> u64 {
        if self.len() == self.room() {
            self.grow();
        }
        let key = self.tail.get();
        // SAFETY: there is room for one closure more, so the ring has slots.
        let slot = unsafe { self.slot(key) };
        // SAFETY: the slot is one of the ring, and no closure is in it: the key is not below `tail` yet,
        // and no key from `head` up to there has the same slot, for these are fewer than the slots.
        unsafe { slot.write(Slot { run, site }) };
        self.tail.set(key + 1);
        key
    }

    /// Doubles the room.
    // `extern "C"`, which does not unwind: a caller has nothing to drop then, and need not keep the
    // closure in memory for that. It panics if the ring were larger than the address space.
    #[cold]
    extern "C" fn grow(&self) {
        self.set_room(self.room() * 2);
    }

    /// The slot of a key.
    ///
    /// # Safety
    ///
    /// The ring has slots.
    #[inline]
    unsafe fn slot(&self, key: u64) -> NonNull<Slot<A>> {
        let ring = self.ring.get();
        // SAFETY: by the contract the ring has slots, and the place is below their number.
        unsafe { ring.cast().add(place(key, ring.len())) }
    }

    /// The slot of a key, if a closure is in it, vacant or not.
    fn occupied(&self, key: u64) -> Option<NonNull<Slot<A>>> {
        let is_occupied = self.head.get() <= key && key < self.tail.get();
        // SAFETY: where there are closures there are slots.
        is_occupied.then(|| unsafe { self.slot(key) })
    }

    /// Pops and runs the first closures, as many as `count` if there are so many now, but not those
    /// that were taken out. Stores the line of each in `site` before it runs, and calls `after` behind
    /// it. A panic goes to the caller; the closures behind it stay in the queue.
    #[inline]
    pub fn run(
        &self,
        count: usize,
        argument: &A,
        site: &Cell<Option<&'static Location<'static>>>,
        mut after: impl FnMut(),
    ) {
        let end = self.head.get() + count.min(self.len()) as u64;
        // Below `end`, `head` is below `tail`, which never decreases.
        while self.head.get() < end {
            let head = self.head.get();
            // SAFETY: where there are closures there are slots.
            let slot = unsafe { self.slot(head) };
            // SAFETY: a closure is in the slot of `head`, which is below `tail`; the reference ends here.
            site.set(Some(unsafe { slot.as_ref() }.site));
            self.head.set(head + 1);
            // SAFETY: a closure is in the slot, at its start, and no other call finds it any more, for
            // `head` is beyond it. The slot is written and freed by code of this type only, of which none
            // runs before the closure has left it.
            unsafe { InlineFn::call_in_place(slot.cast(), argument) };
            after();
        }
    }

    /// Pops the first closure; `None` if there is none, or if it was taken out.
    #[must_use]
    pub fn pop(&self) -> Option<InlineFn<A>> {
        let head = self.head.get();
        let slot = self.occupied(head)?;
        self.head.set(head + 1);
        // SAFETY: a closure was in the slot of `head`. It is moved, for no other call finds it any more:
        // `head` is beyond it.
        let Slot { run, .. } = unsafe { slot.read() };
        (!run.is_vacant()).then_some(run)
    }

    /// Takes a closure out, for the caller to drop it; `None` if it was popped or taken before. Its
    /// place in the queue stays until it is popped, and does nothing then.
    #[must_use]
    pub fn take(&self, key: u64) -> Option<InlineFn<A>> {
        if !self.is_live(key) {
            return None;
        }
        let mut slot = self.occupied(key)?;
        // SAFETY: a closure is in the slot. The reference ends before any other
        // code runs.
        let slot = unsafe { slot.as_mut() };
        Some(std::mem::replace(&mut slot.run, InlineFn::vacant()))
    }

    /// The number of places, also of closures that were taken out.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        // As many as have room in memory.
        (self.tail.get() - self.head.get()) as usize
    }

    /// Whether there is no place.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key of the first closure, or of the next one if there is none.
    #[must_use]
    pub fn first_key(&self) -> u64 {
        self.head.get()
    }

    /// The keys of the closures that were neither popped nor taken out.
    pub fn keys(&self) -> impl Iterator<Item = u64> {
        (self.head.get()..self.tail.get()).filter(|&key| self.is_live(key))
    }

    fn is_live(&self, key: u64) -> bool {
        // SAFETY: a closure is in the slot; the reference ends here.
        let is_vacant = |slot: NonNull<Slot<A>>| unsafe { slot.as_ref() }.run.is_vacant();
        self.occupied(key).is_some_and(|slot| !is_vacant(slot))
    }

    /// The number of closures that have room.
    #[inline]
    #[must_use]
    pub fn room(&self) -> usize {
        self.ring.get().len()
    }

    /// Moves the closures to a ring that has room for so many, and for all of them.
    pub fn set_room(&self, room: usize) {
        let room = room.max(self.len()).max(MIN_ROOM).next_power_of_two();
        let ring = Self::new_ring(room);
        for key in self.head.get()..self.tail.get() {
            let Some(from) = self.occupied(key) else {
                continue;
            };
            // SAFETY: the place is below the number of slots of this ring.
            let to = unsafe { ring.cast().add(place(key, room)) };
            // SAFETY: a closure is in the slot of each of these keys. The other ring has a slot for it,
            // one for each key, as these are not more than the slots. It is moved: the slots of the old
            // ring are not dropped.
            unsafe { from.copy_to_nonoverlapping(to, 1) };
        }
        let old = self.ring.replace(ring);
        // SAFETY: this ring was the one of the queue, and another has replaced it.
        unsafe { Self::free(old) };
    }

    /// Frees a ring. What is in its slots is not dropped.
    ///
    /// # Safety
    ///
    /// The ring is of [`new_ring`](Self::new_ring), and is not used any more.
    unsafe fn free(ring: NonNull<Ring<A>>) {
        // SAFETY: `new_ring` has leaked a `Box` of this type, and by the contract it is not used any
        // more.
        drop(unsafe { Box::from_raw(ring.as_ptr()) });
    }
}

impl<A> Drop for FnQueue<A> {
    /// Drops the closures that are left, also behind one whose destructor panics.
    fn drop(&mut self) {
        struct Rest<'a, A: 'static>(&'a FnQueue<A>);
        impl<A> Drop for Rest<'_, A> {
            fn drop(&mut self) {
                while !self.0.is_empty() {
                    drop(self.0.pop());
                }
            }
        }
        struct Free<'a, A: 'static>(&'a FnQueue<A>);
        impl<A> Drop for Free<'_, A> {
            fn drop(&mut self) {
                // SAFETY: it is the ring of a queue that is being dropped, and this runs last.
                unsafe { FnQueue::free(self.0.ring.get()) };
            }
        }
        let _free = Free(self);
        let _behind_a_panic = Rest(self);
        drop(Rest(self));
    }
}

impl<A> fmt::Debug for FnQueue<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("FnQueue");
        debug.field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
