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
//!   are uninitialized memory. They are not more than the slots.
//! - Nothing outside a method points at a slot. No user code runs inside a method before the closure
//!   that is run, returned or dropped has left its slot, and no method uses a slot after that. So a
//!   closure may queue others, by which the ring may move, and may cancel others or run them.

use crate::inline_fn::InlineFn;
use std::cell::Cell;
use std::fmt;
use std::mem::MaybeUninit;
use std::panic::Location;
use std::ptr::NonNull;

/// The room of the smallest ring. A push looks once for so many whether there is room.
const MIN_ROOM: usize = if cfg!(test) { 16 } else { 64 };

/// A closure in the queue.
#[repr(C)] // so that the closure is at its start
struct Slot<A: 'static> {
    run: InlineFn<A>,
    site: &'static Location<'static>,
}

type Ring<A> = [MaybeUninit<Slot<A>>];

/// The place of a key in a ring whose slots are a power of two, and one more than `mask`.
#[inline]
fn place(key: u64, mask: usize) -> usize {
    // The upper bits of the key have no part in it.
    key as usize & mask
}

/// A queue of closures `FnOnce(&A)`, each with the line that queued it and a key to cancel it.
///
/// All methods take `&self`, because a closure of the queue may call them while it runs.
pub struct FnQueue<A: 'static> {
    /// The first slot of the ring, which is owned as by a `Box`. Without a slot, or with a power of two.
    ring: Cell<NonNull<Slot<A>>>,
    /// The number of slots less one: the largest number if there is none.
    mask: Cell<usize>,
    /// Before this key a push finds a vacant slot: not more than `head` and the number of slots. Not set
    /// anew with each pop, but when a push has come there.
    limit: Cell<u64>,
    /// The key of the first closure: the number of closures that were popped.
    head: Cell<u64>,
    /// The key of the next closure: the number of closures that were pushed.
    tail: Cell<u64>,
}

impl<A> Default for FnQueue<A> {
    fn default() -> Self {
        Self {
            ring: Cell::new(Self::new_ring(0)),
            mask: Cell::new(usize::MAX),
            limit: Cell::new(0),
            head: Cell::new(0),
            tail: Cell::new(0),
        }
    }
}

impl<A> FnQueue<A> {
    fn new_ring(room: usize) -> NonNull<Slot<A>> {
        let ring: Box<Ring<A>> = Box::new_uninit_slice(room);
        NonNull::from(Box::leak(ring)).cast()
    }

    /// Adds a closure behind the others. Returns its key, which no other closure of this queue gets.
    #[inline(always)] // it writes the words of the closure, and does little else
    pub fn push(&self, run: InlineFn<A>, site: &'static Location<'static>) -> u64 {
        if self.tail.get() == self.limit.get() {
            self.make_room();
        }
        self.push_before_limit(Slot { run, site })
    }

    /// [`push`](Self::push), if no memory has to be looked for; otherwise calls `or`. So a caller whose `or`
    /// is the end of its work has no call in the middle of it.
    #[inline(always)] // as above
    pub fn push_or(
        &self,
        run: InlineFn<A>,
        site: &'static Location<'static>,
        or: impl FnOnce(InlineFn<A>) -> u64,
    ) -> u64 {
        match self.tail.get() == self.limit.get() {
            true => or(run),
            false => self.push_before_limit(Slot { run, site }),
        }
    }

    /// Adds a closure where `tail` is before the limit.
    #[inline(always)] // as above
    fn push_before_limit(&self, closure: Slot<A>) -> u64 {
        let key = self.tail.get();
        assert!(key != self.limit.get(), "a caller has looked");
        // SAFETY: `tail` is before the limit, so the ring has slots.
        let slot = unsafe { self.slot(key) };
        // SAFETY: the slot is one of the ring, and no closure is in it: the key is not below `tail` yet,
        // and no key from `head` up to there has the same slot, for these are fewer than the slots.
        unsafe { slot.write(closure) };
        self.tail.set(key + 1);
        key
    }

    /// Moves the limit, or doubles the room.
    // `extern "C"`, which does not unwind: a caller has nothing to drop then, and need not keep the
    // closure in memory for that. It panics if the ring were larger than the address space.
    #[cold]
    extern "C" fn make_room(&self) {
        match self.len() == self.room() {
            true => self.set_room(self.room() * 2),
            false => self.set_limit(),
        }
    }

    fn set_limit(&self) {
        self.limit.set(self.head.get() + self.room() as u64);
    }

    /// The slot of a key.
    ///
    /// # Safety
    ///
    /// The ring has slots.
    #[inline]
    unsafe fn slot(&self, key: u64) -> NonNull<Slot<A>> {
        // SAFETY: by the contract the ring has slots, and the place is below their number.
        unsafe { self.ring.get().add(place(key, self.mask.get())) }
    }

    /// The slot of a key, if a closure is in it, vacant or not.
    fn occupied(&self, key: u64) -> Option<NonNull<Slot<A>>> {
        let is_occupied = self.head.get() <= key && key < self.tail.get();
        // SAFETY: where there are closures there are slots.
        is_occupied.then(|| unsafe { self.slot(key) })
    }

    /// Pops the first closure and runs it, unless it was taken out; `false` if there is none. Stores its line
    /// in `site` before. A panic goes to the caller; the closures behind it stay in the queue.
    #[inline]
    pub fn run_first(&self, argument: &A, site: &Cell<Option<&'static Location<'static>>>) -> bool {
        let head = self.head.get();
        if head == self.tail.get() {
            return false;
        }
        // SAFETY: where there are closures there are slots.
        let slot = unsafe { self.slot(head) };
        // SAFETY: a closure is in the slot of `head`, which is below `tail`; the reference ends here.
        site.set(Some(unsafe { slot.as_ref() }.site));
        self.head.set(head + 1);
        // SAFETY: a closure is in the slot, at its start, and no other call finds it any more, for `head` is
        // beyond it. The slot is written and freed by code of this type only, of which none runs before the
        // closure has left it.
        unsafe { InlineFn::call_in_place(slot.cast(), argument) };
        true
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
        self.mask.get().wrapping_add(1)
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
            let to = unsafe { ring.add(place(key, room - 1)) };
            // SAFETY: a closure is in the slot of each of these keys. The other ring has a slot for it,
            // one for each key, as these are not more than the slots. It is moved: the slots of the old
            // ring are not dropped.
            unsafe { from.copy_to_nonoverlapping(to, 1) };
        }
        let (old, old_room) = (self.ring.replace(ring), self.room());
        self.mask.set(room - 1);
        self.set_limit();
        // SAFETY: this ring was the one of the queue, and another has replaced it.
        unsafe { Self::free(old, old_room) };
    }

    /// Frees a ring. What is in its slots is not dropped.
    ///
    /// # Safety
    ///
    /// The ring is of [`new_ring`](Self::new_ring) with this room, and is not used any more.
    unsafe fn free(ring: NonNull<Slot<A>>, room: usize) {
        let ring = NonNull::slice_from_raw_parts(ring.cast::<MaybeUninit<Slot<A>>>(), room);
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
                unsafe { FnQueue::free(self.0.ring.get(), self.0.room()) };
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
