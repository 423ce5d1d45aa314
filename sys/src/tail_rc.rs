//! A counted header with a value of any type behind it, in one block of memory.
//!
//! An `Rc` of a structure that ends with a `Box<dyn …>` takes two blocks. An `Rc` of a structure that
//! ends with the value itself takes one, but the place of the value depends on its alignment, which each use has
//! to look up. Here no value is aligned to more than the header before it: both are at fixed places. The pointer is
//! a wide one, so the block does not contain the type of the value. It comes from the cache of freed blocks ([`block_cache`]).
//!
//! It makes no system call; it is in this crate because it needs `unsafe`.
//! In the notes it holds the *callbacks* of one descriptor (N7).
//!
//! # Rules
//!
//! - The block has a live header as long as there is a [`TailRc`] of it.
//! - The tail is initialised if and only if its state is not `Vacant`. A
//!   borrow takes the state from `Ready` to `Borrowed`, so there is one at a time.
//! - Header and tail are only used through pointers with the provenance of the whole block. No reference is made
//!   to the block once its first pointer is.

use crate::block_cache;
use std::alloc::Layout;
use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

const WORD: usize = size_of::<usize>();

/// What is in the place of the tail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Vacant,
    Ready,
    Borrowed,
}

#[repr(C)] // the header first; the counters beside its end, and the tail, which are used together
struct Head<H> {
    header: H,
    count: Cell<u32>,
    state: Cell<State>,
    /// The size of the whole block, in words.
    words: u16,
}

/// What the block of a [`TailRc`] holds.
#[repr(C)] // the tail begins where the head ends
pub struct Block<H, D: ?Sized> {
    head: Head<H>,
    tail: D,
}

/// A counted pointer to a header of type `H`, with a tail that is used as a `D`.
///
/// The header is shared; the tail is used by one borrower at a time. Dropping the last pointer drops the tail,
/// if that was not done before, and then the header.
pub struct TailRc<H, D: ?Sized> {
    block: NonNull<Block<H, D>>,
    owns: PhantomData<(H, Box<D>)>,
}

/// A [`TailRc`] whose tail, of the type `C`, can still be taken out.
pub struct NewTailRc<H, D: ?Sized, C> {
    shared: TailRc<H, D>,
    tail: PhantomData<fn() -> C>,
}

impl<H, D: ?Sized, C> NewTailRc<H, D, C> {
    /// The size of the block.
    pub const SIZE: usize = (size_of::<Head<H>>() + size_of::<C>()).next_multiple_of(align::<H>());

    /// Whether a tail of this type has a place in the block; if not, the caller puts it into a box.
    pub const FITS: bool =
        align_of::<C>() <= align_of::<Head<H>>() && Self::SIZE / WORD <= u16::MAX as usize;

    /// A block with this header and this tail; `unsize` returns its argument.
    ///
    /// # Panics
    ///
    /// If a tail of this type does not [fit](Self::FITS), or if `unsize` returns another value.
    #[must_use]
    #[inline]
    pub fn new(
        header: H,
        tail: C,
        unsize: impl FnOnce(&mut Block<H, C>) -> &mut Block<H, D>,
    ) -> Self {
        assert!(Self::FITS, "a tail that does not fit is boxed");
        let layout = block_layout::<H>(Self::SIZE / WORD);
        let place = block_cache::allocate(layout).cast::<Head<H>>();
        let head = Head {
            header,
            count: Cell::new(1),
            state: Cell::new(State::Ready),
            words: (Self::SIZE / WORD) as u16,
        };
        // One after the other: a whole block would be put together elsewhere, and moved.
        // SAFETY: the block is new, and as large and aligned as its layout, which begins with this.
        unsafe { place.write(head) };
        // SAFETY: the head is inside the block, so this is inside it or at its end.
        let behind = unsafe { place.add(1) }.cast::<C>();
        // SAFETY: there is space for a `C`, and the head ends aligned for one, as `FITS` says.
        unsafe { behind.write(tail) };
        let mut sized = place.cast::<Block<H, C>>();
        // SAFETY: it was initialised just now, and nothing else refers to it.
        let block = NonNull::from(unsize(unsafe { sized.as_mut() }));
        assert!(block.cast::<()>() == sized.cast(), "the block is returned");
        let owns = PhantomData;
        Self {
            shared: TailRc { block, owns },
            tail: PhantomData,
        }
    }

    /// The same block, without the type of its tail.
    #[must_use]
    #[inline]
    pub fn shared(&self) -> &TailRc<H, D> {
        &self.shared
    }

    /// Ends the knowledge of the type of its tail.
    #[must_use]
    #[inline]
    pub fn into_shared(self) -> TailRc<H, D> {
        self.shared
    }

    /// Takes the tail out, and the header if this is the only pointer to the block.
    ///
    /// # Panics
    ///
    /// If the tail is borrowed, or was dropped.
    #[must_use]
    pub fn into_parts(self) -> (C, Option<H>) {
        let state = &self.shared.head().state;
        assert!(state.get() == State::Ready, "the tail is there");
        state.set(State::Vacant);
        // SAFETY: it was ready, so it is initialised and not borrowed; and it is not used after this, because
        // it counts as vacant. It is a `C`: `new` has stored one.
        let tail = unsafe { self.shared.tail().cast::<C>().read() };
        (tail, self.shared.into_header())
    }
}

/// How a block is aligned: to a word at least.
const fn align<H>() -> usize {
    let head = align_of::<Head<H>>();
    if head > WORD { head } else { WORD }
}

#[inline]
fn block_layout<H>(words: usize) -> Layout {
    Layout::from_size_align(words * WORD, align::<H>()).expect("a block has at most 2^16 words")
}

impl<H, D: ?Sized> TailRc<H, D> {
    #[inline]
    fn head(&self) -> &Head<H> {
        // SAFETY: this pointer is counted, so the block is there, with a live header. There is no exclusive
        // reference to it: `drop` and `into_header` make none before the count is zero.
        unsafe { self.block.cast::<Head<H>>().as_ref() }
    }

    /// The place of the tail.
    #[inline]
    fn tail(&self) -> NonNull<D> {
        let tail = (self.block.as_ptr() as *mut D).wrapping_byte_add(size_of::<Head<H>>());
        // SAFETY: it is inside the block, or at its end.
        unsafe { NonNull::new_unchecked(tail) }
    }

    /// Whether this is the only pointer to its block.
    #[must_use]
    #[inline]
    pub fn is_unique(&self) -> bool {
        self.head().count.get() == 1
    }

    /// Borrows the tail; `None` if it is borrowed, or not there.
    #[must_use]
    #[inline(always)]
    pub fn borrow_tail(&self) -> Option<TailMut<'_, D>> {
        let state = &self.head().state;
        if state.get() != State::Ready {
            return None;
        }
        state.set(State::Borrowed);
        // SAFETY: it was ready, so it is initialised, and nothing else borrows it. The block is there for as
        // long as `self` is borrowed.
        let tail = unsafe { self.tail().as_mut() };
        Some(TailMut { tail, state })
    }

    /// Drops the tail, unless it is borrowed, or not there. If its destructor panics, it is gone nevertheless.
    #[inline]
    pub fn drop_tail(&self) {
        let state = &self.head().state;
        if state.get() == State::Ready {
            state.set(State::Vacant);
            // SAFETY: it was ready, so it is initialised and not borrowed; and it is not used after this, because
            // it counts as vacant.
            unsafe { self.tail().drop_in_place() };
        }
    }

    /// Takes the header out, if this is the only pointer to its block, and drops the tail if it is there.
    #[must_use]
    #[inline]
    pub fn into_header(self) -> Option<H> {
        if !self.is_unique() {
            return None;
        }
        self.drop_tail();
        let this = ManuallyDrop::new(self);
        let words = this.head().words;
        // SAFETY: this is the only pointer, and not used after this, so the header is moved, not copied.
        let header = unsafe { this.block.cast::<H>().read() };
        // SAFETY: as above; it is freed once, because `this` is not dropped.
        unsafe { free(this.block, words) };
        Some(header)
    }
}

/// # Safety
///
/// The block came from [`NewTailRc::new`], has this size, and is not used after this.
#[inline]
unsafe fn free<H, D: ?Sized>(block: NonNull<Block<H, D>>, words: u16) {
    let layout = block_layout::<H>(usize::from(words));
    // SAFETY: by the contract the block was allocated with this layout, and is not used any more.
    unsafe { block_cache::free(block.cast(), layout) };
}

impl<H, D: ?Sized> Clone for TailRc<H, D> {
    #[inline]
    fn clone(&self) -> Self {
        let count = &self.head().count;
        count.set(count.get().wrapping_add(1));
        if count.get() == 0 {
            count.set(u32::MAX);
            panic!("fewer than 2^32 references");
        }
        Self {
            block: self.block,
            owns: PhantomData,
        }
    }
}

impl<H, D: ?Sized> Drop for TailRc<H, D> {
    #[inline]
    fn drop(&mut self) {
        let count = self.head().count.get() - 1;
        self.head().count.set(count);
        if count == 0 {
            drop_last(self.block);
        }
    }
}

/// Drops the header and frees the block, also if the tail's destructor panics.
struct DropHeader<H, D: ?Sized>(NonNull<Block<H, D>>, u16);

impl<H, D: ?Sized> Drop for DropHeader<H, D> {
    fn drop(&mut self) {
        // SAFETY: the last pointer makes this, and the header is not used after this.
        unsafe { self.0.cast::<H>().drop_in_place() };
        // SAFETY: as above; its size was read from the block.
        unsafe { free(self.0, self.1) };
    }
}

#[cold]
#[inline(never)]
fn drop_last<H, D: ?Sized>(block: NonNull<Block<H, D>>) {
    let owns = PhantomData;
    // Not dropped: its count is zero already.
    let last = ManuallyDrop::new(TailRc { block, owns });
    let _header = DropHeader(block, last.head().words);
    last.drop_tail();
}

impl<H, D: ?Sized> Deref for TailRc<H, D> {
    type Target = H;

    #[inline]
    fn deref(&self) -> &H {
        &self.head().header
    }
}

/// The tail of a [`TailRc`], borrowed.
pub struct TailMut<'a, D: ?Sized> {
    tail: &'a mut D,
    state: &'a Cell<State>,
}

impl<D: ?Sized> Deref for TailMut<'_, D> {
    type Target = D;

    #[inline]
    fn deref(&self) -> &D {
        self.tail
    }
}

impl<D: ?Sized> DerefMut for TailMut<'_, D> {
    #[inline]
    fn deref_mut(&mut self) -> &mut D {
        self.tail
    }
}

impl<D: ?Sized> Drop for TailMut<'_, D> {
    #[inline]
    fn drop(&mut self) {
        self.state.set(State::Ready);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;

    trait Adds {
        fn add(&mut self, n: u64) -> u64;
    }

    struct Sum<const N: usize>([u64; N], #[allow(dead_code)] Rc<()>);

    impl<const N: usize> Adds for Sum<N> {
        fn add(&mut self, n: u64) -> u64 {
            self.0.iter_mut().for_each(|sum| *sum += n);
            self.0.iter().sum()
        }
    }

    type New<C> = NewTailRc<Rc<()>, dyn Adds, C>;

    fn made<const N: usize>(alive: &Rc<()>) -> TailRc<Rc<()>, dyn Adds> {
        let sum = Sum([1; N], Rc::clone(alive));
        New::<Sum<N>>::new(Rc::clone(alive), sum, |block| block).into_shared()
    }

    #[test]
    fn header_and_tail_are_used_and_dropped_once() {
        let alive = Rc::new(());
        // In the largest block that the cache keeps, and in a larger one.
        for shared in [
            made::<0>(&alive),
            made::<1>(&alive),
            made::<55>(&alive),
            made::<90>(&alive),
        ] {
            let other = shared.clone();
            let first = shared.borrow_tail().map(|mut tail| tail.add(1));
            let second = other.borrow_tail().map(|mut tail| tail.add(0));
            assert!(first.is_some() && first == second);
            assert!(!other.is_unique());
            drop(other);
            assert!(shared.is_unique());
            assert_eq!(Rc::strong_count(&shared), Rc::strong_count(&alive));
        }
        assert_eq!(Rc::strong_count(&alive), 1);
    }

    #[test]
    fn a_tail_is_borrowed_once_at_a_time() {
        let alive = Rc::new(());
        let shared = made::<2>(&alive);
        let other = shared.clone();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let tail = shared.borrow_tail();
            assert!(tail.is_some() && other.borrow_tail().is_none());
            other.drop_tail();
            std::panic::resume_unwind(Box::new("planted"));
        }));
        assert!(panicked.is_err());
        assert!(
            other.borrow_tail().is_some(),
            "it was not dropped, and is returned"
        );
        other.drop_tail();
        assert!(shared.borrow_tail().is_none());
        assert_eq!(Rc::strong_count(&alive), 2, "the header is left");
    }

    #[test]
    fn a_header_is_taken_out_by_the_last_pointer_only() {
        let alive = Rc::new(());
        let shared = made::<3>(&alive);
        let other = shared.clone();
        assert!(shared.into_header().is_none());
        assert!(other.into_header().is_some());
        for is_shared in [false, true] {
            let sum = Sum([7], Rc::clone(&alive));
            let new = New::<Sum<1>>::new(Rc::clone(&alive), sum, |block| block);
            let other = is_shared.then(|| new.shared().clone());
            let (tail, header) = new.into_parts();
            assert_eq!((tail.0, header.is_none()), ([7], is_shared));
            assert!(other.is_none_or(|other| other.borrow_tail().is_none()));
        }
        assert_eq!(Rc::strong_count(&alive), 1);
    }

    #[test]
    fn a_tail_whose_destructor_panics_leaves_nothing_behind() {
        struct Panics;
        impl Drop for Panics {
            fn drop(&mut self) {
                std::panic::resume_unwind(Box::new("planted"));
            }
        }
        impl Adds for Panics {
            fn add(&mut self, n: u64) -> u64 {
                n
            }
        }
        let alive = Rc::new(());
        let shared = New::<Panics>::new(Rc::clone(&alive), Panics, |block| block).into_shared();
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(shared)));
        assert!(dropped.is_err());
        assert_eq!(Rc::strong_count(&alive), 1);
    }

    /// What `unsize` returns is checked, because it will be freed as the block.
    #[test]
    #[cfg_attr(miri, ignore = "it leaks both blocks")]
    fn a_block_that_is_another_is_refused() {
        type Bytes = NewTailRc<u64, [u64], [u64; 2]>;
        let other = Box::leak(Box::new(Block {
            head: Head {
                header: 0,
                count: Cell::new(1),
                state: Cell::new(State::Ready),
                words: 0,
            },
            tail: [0; 2],
        }));
        let refused = catch_unwind(AssertUnwindSafe(move || {
            Bytes::new(0, [1, 2], move |_| other)
        }));
        assert!(refused.is_err());
    }

    #[test]
    fn a_tail_that_is_too_large_or_aligned_otherwise_does_not_fit() {
        #[repr(align(64))]
        struct Wide;
        const { assert!(!New::<Wide>::FITS && !New::<[u64; 1 << 16]>::FITS) };
        const { assert!(New::<()>::FITS && New::<[u64; 1 << 15]>::FITS) };
    }
}
