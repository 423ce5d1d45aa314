//! Panics of callbacks and tasks.
//!
//! The loop catches a panic where it calls user code, so that the rest of the batch is still
//! dispatched (L6) and the loop's state stays consistent. Then `apply_panic_policy` in `unhandled.rs`
//! applies the [`PanicPolicy`]: it reports the panic, keeps it for the end of the turn, or aborts. A
//! panic is never silent: the program's panic hook has run before the loop catches it.
//!
//! asyncio catches a callback's exceptions in its loop, too.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The payload of a panic.
pub type Payload = Box<dyn Any + Send>;

/// What a loop does after a panic that no caller can receive: in a callback, in a destructor, or in
/// a task whose [`Task`](crate::Task) handle has been dropped.
///
/// A panic in the program's panic hook ([`std::panic::set_hook`]) is not covered: the standard
/// library aborts the process before the loop can catch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PanicPolicy {
    /// Finish the turn, then unwind out of it with the first payload. The loop can be used again
    /// after the unwinding is caught. The default of a
    /// [`SimLoop`](https://docs.rs/readily-testing), so that an assertion that fails in a task
    /// fails the test.
    Propagate,
    /// Report the panic ([`LoopHandle::on_unhandled`](crate::LoopHandle::on_unhandled)), remove the
    /// registration or task that panicked, and continue. The default, so that a bug in one
    /// connection does not end a server.
    #[default]
    Isolate,
    /// Abort the process at once.
    Abort,
}

/// Runs `f`, and returns its result or its panic.
///
/// `AssertUnwindSafe`: state that `f` may have left inconsistent belongs to `f`, and is dropped;
/// the loop's own cells are never borrowed while `f` runs (L8).
#[inline]
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(f))
}

/// Drops a value whose destructor may panic, for instance a payload. Without this, a destructor
/// that panics during another panic aborts the process.
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(payload) = catch(|| drop(value)) {
        // The payload's destructor has panicked; dropping the new payload might panic again, for
        // ever.
        std::mem::forget(payload);
    }
}

/// The first panic of several calls, which are all made even if one of them panics (R057).
#[derive(Default)]
pub(crate) struct FirstPanic(Option<Payload>);

impl FirstPanic {
    #[inline]
    pub(crate) fn run(&mut self, f: impl FnOnce()) {
        if let Err(payload) = catch(f) {
            self.keep(payload);
        }
    }

    #[cold]
    pub(crate) fn keep(&mut self, payload: Payload) {
        match self.0 {
            None => self.0 = Some(payload),
            Some(_) => drop_quietly(payload),
        }
    }

    #[inline]
    pub(crate) fn take(mut self) -> Option<Payload> {
        self.0.take()
    }
}

impl Drop for FirstPanic {
    #[inline]
    fn drop(&mut self) {
        if let Some(payload) = self.0.take() {
            drop_quietly(payload);
        }
    }
}
