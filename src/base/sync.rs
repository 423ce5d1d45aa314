//! What threads meet on: the standard library's, or loom's, which tries every order.
//!
//! The inbox, the wakers and a channel's mailbox are where threads meet. They take their flags
//! and their locks from here, so that their models (`models.rs` beside each, run by `.ci/loom`)
//! check the very code that runs. `Arc` stays the standard library's: no rule rests on a count of
//! references but that of a task's cell, which is our own.
//!
//! Not in the notes, whose threads only ever hand a result back (N3, N5); this is that way back.

// In tests only: who builds a program with this flag, for models of their own, wants our loop
// as it is.
#[cfg(all(loom, test))]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize},
};
#[cfg(not(all(loom, test)))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize},
};
