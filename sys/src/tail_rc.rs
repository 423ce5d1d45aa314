//! A counted header with a value of any type behind it, in one block of memory.
//!
//! An `Rc` of a structure that ends with a `Box<dyn …>` takes two blocks. An `Rc` of a structure that
//! ends with the value itself takes one, but then the places of all its fields depend on the value's
//! alignment, which each use has to look up. Here the header comes first, at a fixed place; the
//! pointer to the tail is stored, so that using the tail costs the same as using a box. The block comes from
//! the cache of freed blocks ([`block_cache`]).
//!
//! It makes no system call; it is in this crate because it needs `unsafe`.
//! In the notes it holds the *callbacks* of one descriptor (N7).
//!
//! # Rules
//!
//! - The block has a live header as long as there is a [`TailRc`] of it.
//! - The tail is initialised, and `tail` points to it, if and only if its state is not `Vacant`. A
//!   borrow takes the state from `Ready` to `Borrowed`, so there is one at a time.
//! - The tail is only used through that pointer.

use crate::block_cache;
use std::alloc::Layout;
use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit, offset_of};
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

const WORD: usize = size_of::<usize>();

/// What is in the place of the tail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Vacant,
    Ready,
    Borrowed,
}

#[repr(C)] // the tail begins where this ends
struct Block<H, D: ?Sized> {
    count: Cell<u32>,
    /// The size of the whole block, in words.
    words: u16,
    state: Cell<State>,
    tail: Cell<MaybeUninit<NonNull<D>>>,
    header: H,
}

/// A counted pointer to a header of type `H`, with a tail that is used as a `D`.
///
/// The header is shared; the tail is used by one borrower at a time. Dropping the last pointer drops the tail,
/// if that was not done before, and then the header.
pub struct TailRc<H, D: ?Sized> {
    block: NonNull<Block<H, D>>,
    owns: PhantomData<(H, Box<D>)>,
}

/// A [`TailRc`] whose tail, of the type `C`, is still to be stored.
pub struct NewTailRc<H, D: ?Sized, C> {
    shared: TailRc<H, D>,
    tail: PhantomData<fn(C)>,
}

impl<H, D: ?Sized, C> NewTailRc<H, D, C> {
    const ALIGN: usize = align_of::<Block<H, D>>();

    const SIZE: usize =
        (size_of::<Block<H, D>>() + size_of::<C>()).next_multiple_of(if Self::ALIGN > WORD {
            Self::ALIGN
        } else {
            WORD
        });

    /// Whether a tail of this type has a place in the block; if not, the caller puts it into a box.
    pub const FITS: bool = align_of::<C>() <= Self::ALIGN && Self::SIZE / WORD <= u16::MAX as usize;

    /// A block with this header.
    ///
    /// # Panics
    ///
    /// If a tail of this type does not [fit](Self::FITS).
    #[must_use]
    #[inline]
    pub fn new(header: H) -> Self {
        assert!(Self::FITS, "a tail that does not fit is boxed");
        let layout = block_layout::<H, D>(Self::SIZE / WORD);
        let block = block_cache::allocate(layout).cast::<Block<H, D>>();
        let (count, words) = (Cell::new(1), (Self::SIZE / WORD) as u16);
        let (state, tail) = (Cell::new(State::Vacant), Cell::new(MaybeUninit::uninit()));
        // SAFETY: the block is new, and as large and aligned as its layout, which begins with this.
        unsafe {
            block.write(Block {
                count,
                words,
                state,
                tail,
                header,
            });
        }
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

    /// Stores the tail, and returns the pointer to both; `unsize` returns its argument.
    ///
    /// # Panics
    ///
    /// If `unsize` returns another value.
    #[inline]
    pub fn fill(self, tail: C, unsize: impl FnOnce(&mut C) -> &mut D) -> TailRc<H, D> {
        let block = self.shared.block;
        // SAFETY: the block has `SIZE` bytes, so this is inside it or at its end.
        let mut place = unsafe { block.add(1) }.cast::<C>();
        // SAFETY: there is space for a `C`, and the beginning of the block ends aligned for one, as `FITS` says.
        // Nothing is there yet: only this stores a tail, and consumes `self`.
        unsafe { place.write(tail) };
        // SAFETY: it was initialised just now, and nothing else refers to it.
        let place = unsafe { place.as_mut() };
        let address = ptr::from_mut(place).cast::<()>();
        let unsized_tail = unsize(place);
        let is_same = ptr::from_mut(unsized_tail).cast::<()>() == address
            && size_of_val(unsized_tail) == size_of::<C>();
        assert!(is_same, "the tail is returned");
        let tail = MaybeUninit::new(NonNull::from(unsized_tail));
        self.shared.block().tail.set(tail);
        self.shared.block().state.set(State::Ready);
        self.shared
    }

    /// Takes the header out of a block without a tail, if this is the only pointer to it.
    #[must_use]
    pub fn into_header(self) -> Option<H> {
        self.shared.into_header()
    }
}

#[inline]
fn block_layout<H, D: ?Sized>(words: usize) -> Layout {
    let align = align_of::<Block<H, D>>();
    Layout::from_size_align(words * WORD, align).expect("a block has at most 2^16 words")
}

impl<H, D: ?Sized> TailRc<H, D> {
    #[inline]
    fn block(&self) -> &Block<H, D> {
        // SAFETY: this pointer is counted, so the block is there, with a live header. There is no exclusive
        // reference to it: `drop` and `into_header` make none before the count is zero.
        unsafe { self.block.as_ref() }
    }

    /// Whether this is the only pointer to its block.
    #[must_use]
    #[inline]
    pub fn is_unique(&self) -> bool {
        self.block().count.get() == 1
    }

    /// Borrows the tail; `None` if it is borrowed, or not there.
    #[must_use]
    #[inline(always)]
    pub fn borrow_tail(&self) -> Option<TailMut<'_, D>> {
        let block = self.block();
        if block.state.get() != State::Ready {
            return None;
        }
        block.state.set(State::Borrowed);
        // SAFETY: it was ready, so the pointer was stored.
        let mut tail = unsafe { block.tail.get().assume_init() };
        // SAFETY: it was ready, so it is initialised, and nothing else borrows it. The block is there for as
        // long as `self` is borrowed.
        let tail = unsafe { tail.as_mut() };
        let state = &block.state;
        Some(TailMut { tail, state })
    }

    /// Drops the tail, unless it is borrowed, or not there. If its destructor panics, it is gone nevertheless.
    #[inline]
    pub fn drop_tail(&self) {
        let block = self.block();
        if block.state.get() == State::Ready {
            block.state.set(State::Vacant);
            // SAFETY: it was ready, so the pointer was stored.
            let tail = unsafe { block.tail.get().assume_init() };
            // SAFETY: it was ready, so it is initialised and not borrowed; and it is not used after this, because
            // it counts as vacant.
            unsafe { tail.drop_in_place() };
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
        let words = this.block().words;
        // SAFETY: this is the only pointer, and not used after this, so the header is moved, not copied.
        let header = unsafe { header_of(this.block).read() };
        // SAFETY: as above; it is freed once, because `this` is not dropped.
        unsafe { free(this.block, words) };
        Some(header)
    }
}

#[inline]
fn header_of<H, D: ?Sized>(block: NonNull<Block<H, D>>) -> *mut H {
    let offset = offset_of!(Block<H, D>, header);
    block.as_ptr().wrapping_byte_add(offset).cast()
}

/// # Safety
///
/// The block came from [`NewTailRc::new`], has this size, and is not used after this.
#[inline]
unsafe fn free<H, D: ?Sized>(block: NonNull<Block<H, D>>, words: u16) {
    let layout = block_layout::<H, D>(usize::from(words));
    // SAFETY: by the contract the block was allocated with this layout, and is not used any more.
    unsafe { block_cache::free(block.cast(), layout) };
}

impl<H, D: ?Sized> Clone for TailRc<H, D> {
    #[inline]
    fn clone(&self) -> Self {
        let count = &self.block().count;
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
        let count = self.block().count.get() - 1;
        self.block().count.set(count);
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
        unsafe { header_of(self.0).drop_in_place() };
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
    let _header = DropHeader(block, last.block().words);
    last.drop_tail();
}

impl<H, D: ?Sized> Deref for TailRc<H, D> {
    type Target = H;

    #[inline]
    fn deref(&self) -> &H {
        &self.block().header
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
        let new = New::<Sum<N>>::new(Rc::clone(alive));
        assert!(new.shared().borrow_tail().is_none(), "it is not there yet");
        new.fill(Sum([1; N], Rc::clone(alive)), |sum| sum)
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
        let new = New::<Sum<1>>::new(Rc::clone(&alive));
        assert!(new.into_header().is_some());
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
        let new = New::<Panics>::new(Rc::clone(&alive));
        let shared = new.fill(Panics, |tail| tail);
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(shared)));
        assert!(dropped.is_err());
        assert_eq!(Rc::strong_count(&alive), 1);
    }

    /// What `unsize` returns is checked, because it will be dropped as the tail.
    #[test]
    fn a_tail_that_is_another_value_is_refused() {
        let new = NewTailRc::<u8, [u64], [u64; 2]>::new(0);
        let refused = catch_unwind(AssertUnwindSafe(|| new.fill([1, 2], |tail| &mut tail[..1])));
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
