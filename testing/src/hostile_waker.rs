//! A waker that runs arbitrary code when it is cloned.
//!
//! A waker made with `std::task::Wake` can run arbitrary code when it is woken and when it is dropped;
//! its clone only increments a count. A waker with its own `RawWakerVTable` can run code in its clone
//! too, and each owner of wakers must survive that: code that calls back while a borrow is held (R055),
//! code that panics (R057). So the tools for tests need such a waker. This is the only `RawWakerVTable`
//! of this crate.

#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};

/// The behaviour of a hostile waker. Each method runs on the stack of the code that uses the waker.
pub(crate) trait Hostile: Send + Sync + 'static {
    /// The waker is cloned. Returns the clone, which may be any waker.
    fn on_clone(self: &Arc<Self>) -> Waker;

    /// The waker is woken.
    fn on_wake(&self);

    /// The waker is dropped, or consumed by a wake.
    fn on_drop(&self);
}

/// Makes a waker with this behaviour.
pub(crate) fn waker<O: Hostile>(behaviour: Arc<O>) -> Waker {
    let data = Arc::into_raw(behaviour).cast::<()>();
    let raw = RawWaker::new(data, &Table::<O>::TABLE);
    // SAFETY:
    // - `data` is an `Arc<O>` that this waker owns a count of, and `O` is `Send`, `Sync` and
    //   `'static`, so it may be used on any thread and for any time;
    // - each function of the table fulfils its contract in `RawWakerVTable`: see there.
    unsafe { Waker::from_raw(raw) }
}

struct Table<O>(std::marker::PhantomData<O>);

impl<O: Hostile> Table<O> {
    const TABLE: RawWakerVTable =
        RawWakerVTable::new(Self::clone, Self::wake, Self::wake_by_ref, Self::drop);

    /// Borrows the count that belongs to the waker.
    ///
    /// # Safety
    ///
    /// `data` is that of a waker of [`waker`], which owns its count for as long as the result is
    /// used.
    unsafe fn borrow(data: *const ()) -> ManuallyDrop<Arc<O>> {
        // SAFETY: by the contract `data` came out of `Arc::<O>::into_raw` in `waker`, and the waker
        // owns a count of it, which it keeps, because this `Arc` is not dropped.
        ManuallyDrop::new(unsafe { Arc::from_raw(data.cast::<O>()) })
    }

    /// # Safety
    ///
    /// As `RawWakerVTable` requires: called with a waker's own pointer, while that waker exists.
    unsafe fn clone(data: *const ()) -> RawWaker {
        // SAFETY: the waker that is cloned outlives this call.
        let behaviour = unsafe { Self::borrow(data) };
        // The parts of a waker that owns itself; the behaviour decides which waker that is.
        let waker = ManuallyDrop::new(behaviour.on_clone());
        RawWaker::new(waker.data(), waker.vtable())
    }

    /// # Safety
    ///
    /// As `RawWakerVTable` requires: called with a waker's own pointer, which this call consumes.
    unsafe fn wake(data: *const ()) {
        // SAFETY: this call consumes the waker, and its count with it.
        let consumed = Consumed(unsafe { Arc::from_raw(data.cast::<O>()) });
        // `on_drop` runs even if `on_wake` panics.
        consumed.0.on_wake();
    }

    /// # Safety
    ///
    /// As `RawWakerVTable` requires: called with a waker's own pointer, while that waker exists.
    unsafe fn wake_by_ref(data: *const ()) {
        // SAFETY: the waker that is woken outlives this call.
        let behaviour = unsafe { Self::borrow(data) };
        behaviour.on_wake();
    }

    /// # Safety
    ///
    /// As `RawWakerVTable` requires: called with a waker's own pointer, which this call consumes.
    unsafe fn drop(data: *const ()) {
        // SAFETY: this call consumes the waker, and its count with it.
        drop(Consumed(unsafe { Arc::from_raw(data.cast::<O>()) }));
    }
}

/// The count of a consumed waker.
struct Consumed<O: Hostile>(Arc<O>);

impl<O: Hostile> Drop for Consumed<O> {
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
    fn a_hostile_waker_runs_a_method_for_each_use_and_is_freed() {
        let log = Arc::new(Log(Mutex::default()));
        let one = waker(Arc::clone(&log));
        let two = one.clone();
        assert!(one.will_wake(&two));
        one.wake_by_ref();
        one.wake();
        drop(two);
        let calls = log.0.lock().unwrap().join(" ");
        assert_eq!(calls, "clone wake wake drop drop");
        assert_eq!(Arc::strong_count(&log), 1);
    }

    /// A waker whose clone is a different waker.
    struct Substituted;

    impl Hostile for Substituted {
        fn on_clone(self: &Arc<Self>) -> Waker {
            Waker::noop().clone()
        }

        fn on_wake(&self) {}

        fn on_drop(&self) {
            panic!("a waker panics when it is dropped");
        }
    }

    #[test]
    fn a_clone_may_be_another_waker_and_a_drop_that_panics_frees_its_count() {
        let behaviour = Arc::new(Substituted);
        let one = waker(Arc::clone(&behaviour));
        assert!(!one.will_wake(&one.clone()));
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(one)));
        assert!(dropped.is_err());
        assert_eq!(Arc::strong_count(&behaviour), 1);
    }
}
