//! A value with two owners, such as the two sides of a channel.
//!
//! An `Rc` counts its owners in two words, and its memory comes from the allocator. Here one flag
//! shows whether the other owner is gone, and the memory comes from the thread's
//! [cache](crate::block_cache) of freed blocks, so a channel that lives for one value is cheap to make.
//!
//! It makes no system call; it is in this crate because it needs `unsafe`.
//! Nothing in the notes; it is what makes a channel for one value cheap (N17).

use crate::block_cache;
use std::alloc::Layout;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::{NonNull, drop_in_place};

/// The allocation.
struct Shared<T> {
    /// Whether one of the owners is gone.
    is_last: Cell<bool>,
    value: T,
}

/// One of the two owners of a `T`. The value is dropped with the last of them.
pub struct Half<T> {
    /// From [`pair`]; there until both halves are dropped.
    shared: NonNull<Shared<T>>,
    /// Both halves are on one thread, and the last one drops a `T`.
    _owner: PhantomData<(*mut (), Shared<T>)>,
}

/// Stores `value` for two owners.
///
/// Aborts the process if there is no memory left, as `Box` does.
#[inline]
#[must_use]
pub fn pair<T>(value: T) -> (Half<T>, Half<T>) {
    let shared = block_cache::allocate(Layout::new::<Shared<T>>()).cast::<Shared<T>>();
    let is_last = Cell::new(false);
    // SAFETY: the block was allocated just now for such a value: it is aligned, large enough, and has
    // no other owner.
    unsafe { shared.write(Shared { is_last, value }) };
    let half = || Half {
        shared,
        _owner: PhantomData,
    };
    (half(), half())
}

impl<T> Deref for Half<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `pair` wrote it, and it is there until both halves are dropped; only shared
        // references are made before that.
        unsafe { &(*self.shared.as_ptr()).value }
    }
}

impl<T> Drop for Half<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: as above. The reference to the flag ends with this statement.
        let is_last = unsafe { (*self.shared.as_ptr()).is_last.replace(true) };
        if is_last {
            // SAFETY: the flag shows that the other half is dropped, and this one is being dropped.
            unsafe { free(self.shared) }
        }
    }
}

/// # Safety
///
/// `shared` is from [`pair`], both halves are dropped, and this is called once.
#[inline]
unsafe fn free<T>(shared: NonNull<Shared<T>>) {
    /// Frees the memory also if the destructor of the value panics.
    struct Block<T>(NonNull<Shared<T>>);
    impl<T> Drop for Block<T> {
        #[inline]
        fn drop(&mut self) {
            // SAFETY: `pair` allocated it with this layout, and by the contract of `free` no half is
            // left that could use it.
            unsafe { block_cache::free(self.0.cast(), Layout::new::<Shared<T>>()) }
        }
    }
    let _block = Block(shared);
    // SAFETY: by the contract it is there, no other code has a reference to it, and it is dropped once.
    unsafe { drop_in_place(shared.as_ptr()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::rc::Rc;

    #[test]
    fn the_value_is_dropped_with_the_last_of_its_owners() {
        let value = Rc::new(Cell::new(1));
        for first in [true, false] {
            let (one, other) = pair(Rc::clone(&value));
            one.set(2);
            assert_eq!(other.replace(1), 2, "it is one value");
            let last = match first {
                true => (drop(one), other).1,
                false => (drop(other), one).1,
            };
            assert_eq!(Rc::strong_count(&value), 2);
            assert_eq!(last.get(), 1);
            drop(last);
            assert_eq!(Rc::strong_count(&value), 1);
        }
    }

    #[test]
    fn a_value_of_any_size_and_alignment_has_two_owners() {
        #[repr(align(64))]
        struct Wide(u8);
        let (one, other) = pair(Wide(7));
        assert_eq!((one.0, other.0), (7, 7));
        drop(one);
        assert_eq!(std::ptr::from_ref(&*other).addr() % 64, 0);
        drop(other);
        drop(pair(()));
        let (one, other) = pair([1u8; 5000]);
        drop(other);
        assert_eq!(one[4999], 1);
    }

    #[test]
    fn a_destructor_may_panic_and_the_memory_is_freed_all_the_same() {
        struct Panics {
            _value: Rc<()>,
        }
        impl Drop for Panics {
            fn drop(&mut self) {
                resume_unwind(Box::new("as it goes"));
            }
        }
        let value = Rc::new(());
        let (one, other) = pair(Panics {
            _value: Rc::clone(&value),
        });
        drop(one);
        assert!(catch_unwind(AssertUnwindSafe(|| drop(other))).is_err());
        assert_eq!(Rc::strong_count(&value), 1, "the fields are dropped once");
    }
}
