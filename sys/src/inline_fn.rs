//! A closure that runs once, stored inline if it is small.
//!
//! A `Box` costs several times as much as queueing a closure does. Most closures hold a counted
//! pointer or two, for which there is room beside the two functions that
//! know their type. Larger ones are boxed here, which a caller does not notice.
//!
//! It makes no system call; it is in this crate because it needs `unsafe`.
//! In the notes these are the *callbacks* of "I/O, timers and callbacks" (N1).

use std::fmt;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit, needs_drop};
use std::ptr::NonNull;

/// So many words have room without a box: a boxed closure and its table, or three pointers.
const WORDS: usize = 3;

type Words = MaybeUninit<[usize; WORDS]>;

/// `FnOnce(&A)`, without its type. Three words and one; no allocation for what fits into them.
pub struct InlineFn<A: ?Sized + 'static> {
    /// Holds a value of the type that `table` was made for, until that is called.
    words: Words,
    table: &'static Table<A>,
    /// What lies in the words may belong to its thread.
    here: PhantomData<*mut ()>,
}

/// What is known of the closure's type.
struct Table<A: ?Sized> {
    /// Moves the closure out of the words, and runs it.
    call: unsafe fn(*mut (), &A),
    /// Drops it where it is.
    discard: unsafe fn(*mut ()),
    /// Whether there is anything to do for that.
    needs_drop: bool,
    /// Whether there is no closure.
    is_vacant: bool,
}

struct Made<F, A: ?Sized>(PhantomData<F>, PhantomData<fn(&A)>);

impl<F: FnOnce(&A) + 'static, A: ?Sized + 'static> Made<F, A> {
    const FITS: bool =
        size_of::<F>() <= size_of::<Words>() && align_of::<F>() <= align_of::<Words>();
    const TABLE: Table<A> = Table {
        call: call::<F, A>,
        discard: discard::<F>,
        needs_drop: needs_drop::<F>(),
        is_vacant: false,
    };
}

/// The table of no closure.
struct Vacant<A: ?Sized>(PhantomData<fn(&A)>);

impl<A: ?Sized + 'static> Vacant<A> {
    const TABLE: Table<A> = Table {
        call: |_, _| {},
        discard: |_| {},
        needs_drop: false,
        is_vacant: true,
    };
}

/// # Safety
///
/// `words` points at a live `F`, which is not used afterwards.
unsafe fn call<F: FnOnce(&A), A: ?Sized>(words: *mut (), argument: &A) {
    // SAFETY: by our contract there is a live `F`, aligned as it was when it was written there;
    // it is not used after this, so it is moved and not copied.
    let f = unsafe { words.cast::<F>().read() };
    f(argument);
}

/// # Safety
///
/// As for [`call`].
unsafe fn discard<F>(words: *mut ()) {
    // SAFETY: by our contract there is a live and aligned `F`, which is not used after this.
    unsafe { words.cast::<F>().drop_in_place() };
}

impl<A: ?Sized + 'static> InlineFn<A> {
    /// Keeps `f`.
    #[inline(always)]
    pub fn new<F: FnOnce(&A) + 'static>(f: F) -> Self {
        if Made::<F, A>::FITS {
            return Self::inline(f);
        }
        let f = Box::new(f);
        Self::inline(move |argument: &A| f(argument))
    }

    #[inline(always)]
    fn inline<F: FnOnce(&A) + 'static>(f: F) -> Self {
        let mut words = Words::uninit();
        assert!(Made::<F, A>::FITS, "who does not fit was boxed");
        // SAFETY: the words are ours, and an `F` fits into them in size and alignment, as was
        // asserted just now.
        unsafe { words.as_mut_ptr().cast::<F>().write(f) };
        Self {
            words,
            table: &Made::<F, A>::TABLE,
            here: PhantomData,
        }
    }

    /// No closure: to run or to drop it does nothing.
    pub(crate) fn vacant() -> Self {
        Self {
            words: Words::uninit(),
            table: &Vacant::TABLE,
            here: PhantomData,
        }
    }

    /// Whether there is no closure.
    #[inline]
    pub(crate) fn is_vacant(&self) -> bool {
        self.table.is_vacant
    }

    /// Whether to drop it may run code: that of what the closure holds, or a box's.
    #[inline]
    #[must_use]
    pub fn needs_drop(&self) -> bool {
        self.table.needs_drop
    }

    /// Runs it.
    #[inline]
    pub fn call(self, argument: &A) {
        // Not dropped as well: the call moves the closure out.
        let mut this = ManuallyDrop::new(self);
        let words = this.words.as_mut_ptr().cast();
        // SAFETY: the words hold a live value of the type that the table was made for, since `self`
        // was whole, and they are not read again.
        unsafe { (this.table.call)(words, argument) };
    }

    /// Runs the closure at `this`. It has left that place before any code of its own runs.
    ///
    /// # Safety
    ///
    /// There is an `InlineFn` at `this`, which no other code touches before the closure has left it. Then
    /// there is none any more.
    #[inline]
    pub(crate) unsafe fn call_in_place(this: NonNull<Self>, argument: &A) {
        let this = this.as_ptr();
        // SAFETY: by the contract it is there.
        let table = unsafe { (*this).table };
        // SAFETY: as above.
        let words = unsafe { &raw mut (*this).words };
        // SAFETY: the words hold a live value of the type that the table was made for, which is there
        // until this call, and by the contract is not used afterwards.
        unsafe { (table.call)(words.cast(), argument) };
    }
}

impl<A: ?Sized + 'static> Drop for InlineFn<A> {
    fn drop(&mut self) {
        let words = self.words.as_mut_ptr().cast();
        // SAFETY: the words hold a live value of the type that the table was made for, since it was
        // not called: then it is not dropped here. The words are not read again.
        unsafe { (self.table.discard)(words) };
    }
}

impl<A: ?Sized + 'static> fmt::Debug for InlineFn<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InlineFn").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;

    /// Counts how often it was dropped.
    struct Witness(Rc<Cell<u32>>);

    impl Drop for Witness {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

    fn is_run_or_dropped_once<const SIZE: usize>() {
        let (ran, dropped) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let make = || {
            let (witness, ran, ballast) = (Witness(dropped.clone()), ran.clone(), [7u8; SIZE]);
            InlineFn::new(move |n: &u32| {
                assert!(ballast.iter().all(|&byte| byte == 7));
                ran.set(ran.get() + n);
                drop(witness);
            })
        };
        drop(make());
        assert_eq!((ran.get(), dropped.get()), (0, 1));
        let moved = Box::new(make());
        moved.call(&5);
        assert_eq!((ran.get(), dropped.get()), (5, 2));
    }

    #[test]
    fn a_closure_of_any_size_is_run_or_dropped_and_not_both() {
        is_run_or_dropped_once::<0>();
        is_run_or_dropped_once::<8>();
        is_run_or_dropped_once::<9>();
        is_run_or_dropped_once::<1000>();
    }

    #[test]
    fn a_closure_without_size_and_one_of_odd_alignment_run() {
        #[repr(align(64))]
        struct Aligned(u8);
        let aligned = Aligned(3);
        InlineFn::new(|n: &u8| assert_eq!(*n, 1)).call(&1);
        InlineFn::new(move |n: &u8| {
            assert_eq!(*n, aligned.0);
            assert_eq!((&raw const aligned).addr() % 64, 0);
        })
        .call(&3);
    }

    #[test]
    fn a_closure_needs_to_be_dropped_if_it_holds_what_does_or_a_box() {
        let (held, large) = (Rc::new(1), [7u8; 1000]);
        assert!(InlineFn::new(move |_: &u8| drop(held)).needs_drop());
        assert!(InlineFn::new(move |_: &u8| assert_eq!(large[3], 7)).needs_drop());
        let three = 3;
        assert!(!InlineFn::new(move |n: &u8| assert_eq!(*n, three)).needs_drop());
    }

    #[test]
    fn what_a_closure_holds_is_dropped_when_it_panics() {
        let dropped = Rc::new(Cell::new(0));
        let witness = Witness(dropped.clone());
        let f = InlineFn::new(move |(): &()| {
            let _witness = &witness;
            panic!("on purpose");
        });
        assert!(catch_unwind(AssertUnwindSafe(|| f.call(&()))).is_err());
        assert_eq!(dropped.get(), 1);
    }
}
