//! A waker that runs somebody's code when it is cloned.
//!
//! The standard library's safe way to a waker, `std::task::Wake`, runs code of its maker when it is
//! woken and when it is dropped; its clone is a count. A waker made by hand runs code then too, and
//! whoever keeps wakers must survive it (R055, R057). So the tools for tests need one, and this is
//! the one place where a table of functions is made by hand.

#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};

/// What an odd waker does, on the stack of whoever makes it do so.
pub(crate) trait Hostile: Send + Sync + 'static {
    /// It was cloned: what the clone is to be. A waker that was handed in for it may be any.
    fn on_clone(self: &Arc<Self>) -> Waker;

    /// It was woken.
    fn on_wake(&self);

    /// It was dropped, or used up by a wake.
    fn on_drop(&self);
}

/// A waker that does what `odd` says.
pub(crate) fn waker<O: Hostile>(odd: Arc<O>) -> Waker {
    let data = Arc::into_raw(odd).cast::<()>();
    let raw = RawWaker::new(data, &Table::<O>::TABLE);
    // SAFETY:
    // - `data` is an `Arc<O>` that this waker owns a count of, and `O` is `Send`, `Sync` and
    //   `'static`, so it may be used on any thread and for any time;
    // - each function of the table keeps to what `RawWakerVTable` says of it: see there.
    unsafe { Waker::from_raw(raw) }
}

struct Table<O>(std::marker::PhantomData<O>);

impl<O: Hostile> Table<O> {
    const TABLE: RawWakerVTable =
        RawWakerVTable::new(Self::clone, Self::wake, Self::wake_by_ref, Self::drop);

    /// The count that belongs to the waker, lent.
    ///
    /// # Safety
    ///
    /// `data` is that of a waker of [`waker`], which owns its count for as long as the result is
    /// used.
    unsafe fn lend(data: *const ()) -> ManuallyDrop<Arc<O>> {
        // SAFETY: by the contract `data` came out of `Arc::<O>::into_raw` in `waker`, and the waker
        // owns a count of it, which is left to it: this one is not dropped.
        ManuallyDrop::new(unsafe { Arc::from_raw(data.cast::<O>()) })
    }

    /// # Safety
    ///
    /// As `RawWaker` has it: called with a waker's own pointer, while there is that waker.
    unsafe fn clone(data: *const ()) -> RawWaker {
        // SAFETY: the waker that is cloned outlives this call.
        let odd = unsafe { Self::lend(data) };
        // What the clone is, is for `odd` to say: the parts of a waker that owns itself.
        let waker = ManuallyDrop::new(odd.on_clone());
        RawWaker::new(waker.data(), waker.vtable())
    }

    /// # Safety
    ///
    /// As `RawWaker` has it: called with a waker's own pointer, which is used up.
    unsafe fn wake(data: *const ()) {
        // SAFETY: the waker is used up by this call, and so is its count.
        let taken = Taken(unsafe { Arc::from_raw(data.cast::<O>()) });
        // A drop that panics must not keep the other from being done.
        taken.0.on_wake();
    }

    /// # Safety
    ///
    /// As `RawWaker` has it: called with a waker's own pointer, while there is that waker.
    unsafe fn wake_by_ref(data: *const ()) {
        // SAFETY: the waker that is woken outlives this call.
        let odd = unsafe { Self::lend(data) };
        odd.on_wake();
    }

    /// # Safety
    ///
    /// As `RawWaker` has it: called with a waker's own pointer, which is used up.
    unsafe fn drop(data: *const ()) {
        // SAFETY: the waker is used up by this call, and so is its count.
        drop(Taken(unsafe { Arc::from_raw(data.cast::<O>()) }));
    }
}

/// The count of a waker that is used up.
struct Taken<O: Hostile>(Arc<O>);

impl<O: Hostile> Drop for Taken<O> {
    fn drop(&mut self) {
        self.0.on_drop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    struct Log(Mutex<Vec<&'static str>>);

    impl Hostile for Log {
        fn on_clone(self: &Arc<Self>) -> Waker {
            self.0.lock().unwrap().push("clone");
            waker(Arc::clone(self))
        }

        fn on_wake(&self) {
            self.0.lock().unwrap().push("wake");
        }

        fn on_drop(&self) {
            self.0.lock().unwrap().push("drop");
        }
    }

    #[test]
    fn a_hostile_waker_notes_all_that_is_done_with_it_and_is_freed() {
        let log = Arc::new(Log(Mutex::default()));
        let one = waker(Arc::clone(&log));
        let two = one.clone();
        assert!(one.will_wake(&two));
        one.wake_by_ref();
        one.wake();
        drop(two);
        let said = log.0.lock().unwrap().join(" ");
        assert_eq!(said, "clone wake wake drop drop");
        assert_eq!(Arc::strong_count(&log), 1);
    }

    /// A clone that is another waker altogether.
    struct Changeling;

    impl Hostile for Changeling {
        fn on_clone(self: &Arc<Self>) -> Waker {
            Waker::noop().clone()
        }

        fn on_wake(&self) {}

        fn on_drop(&self) {
            panic!("a waker panics when it is dropped");
        }
    }

    #[test]
    fn a_clone_may_be_another_and_a_drop_that_panics_frees_it() {
        let odd = Arc::new(Changeling);
        let one = waker(Arc::clone(&odd));
        assert!(!one.will_wake(&one.clone()));
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(one)));
        assert!(dropped.is_err());
        assert_eq!(Arc::strong_count(&odd), 1);
    }
}
