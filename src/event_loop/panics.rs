//! What becomes of a panic in a callback or a task.
//!
//! It is caught where the loop calls out, so that the rest of the batch is still served
//! (L6) and every flag stands as it should; then it follows the policy. It is never silent:
//! the panic hook has printed it before we see it.
//!
//! The notes do not speak of it; asyncio keeps a callback's exception from the loop too.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a panic carries.
pub type Payload = Box<dyn Any + Send>;

/// What a loop does about a panic that nobody waits for: one in a callback, in a destructor,
/// or in a task whose [`Task`](crate::Task) handle has been dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PanicPolicy {
    /// Finish the turn, then unwind out of it with the first payload. The loop can be used
    /// again after that is caught. The default of a [`SimLoop`](crate::testing::SimLoop): an
    /// assertion that fails in a task fails the test.
    Propagate,
    /// Report it ([`Local::on_unhandled`](crate::Local::on_unhandled)) and go on without the one
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

/// Drops a value whose destructor may panic, a payload for one.
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(payload) = catch(|| drop(value)) {
        // A payload whose destructor panics: to drop what that throws might go on for ever.
        std::mem::forget(payload);
    }
}
