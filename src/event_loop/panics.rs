//! What becomes of a panic in a callback or a task.
//!
//! It is caught where the loop calls out, so that the rest of the batch is still served
//! (L6) and every flag stands as it should; then it follows the policy. It is never silent:
//! the panic hook has printed it before we see it.
//!
//! The notes do not speak of it; asyncio keeps a callback's exception from the loop too.

use super::stderr::note_stray_panic;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a panic carries.
pub type Payload = Box<dyn Any + Send>;

/// What a loop does about a panic that nobody waits for: one in a callback, in a destructor,
/// or in a task whose [`Task`](crate::Task) handle has been dropped.
///
/// No policy holds for a panic in the program's panic hook ([`std::panic::set_hook`]): the standard library
/// aborts the process before the loop can catch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PanicPolicy {
    /// Finish the turn, then unwind out of it with the first payload. The loop can be used
    /// again after that is caught. The default of a [`SimLoop`](https://docs.rs/readily-testing): an
    /// assertion that fails in a task fails the test.
    Propagate,
    /// Report it ([`LoopHandle::on_unhandled`](crate::LoopHandle::on_unhandled)) and go on without the one
    /// that panicked: its registration or task is gone. The default: one connection with a bug
    /// does not end a server.
    #[default]
    Isolate,
    /// Abort the process, at once.
    Abort,
}

/// Runs `f` up to its end or its panic.
///
/// `AssertUnwindSafe`: what `f` may have left half-done is its own, and is dropped; the
/// loop's own cells are never borrowed while it runs (L8).
#[inline]
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(f))
}

/// Drops a value whose destructor may panic: above all a payload, which is user code like any
/// other. Dropped during a panic without this, one that panics aborts the process.
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(payload) = catch(|| drop(value)) {
        // A payload whose destructor panics: to drop what that throws might go on for ever.
        std::mem::forget(payload);
    }
}

/// The first panic of several calls that are all made, whatever happens in one of them (R057).
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

    /// Goes on with it. During another panic, out of whose destructors none may go, it is reported.
    #[inline]
    pub(crate) fn resume(self) {
        match self.take() {
            None => {}
            Some(payload) if std::thread::panicking() => note_stray_panic(payload),
            Some(payload) => std::panic::resume_unwind(payload),
        }
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
