//! Atomics and locks: the standard library's, or loom's, which tries every order of their operations.
//!
//! The inbox, the wakers, a channel's queue, a thread pool and epoll's notifier are shared between threads. They use the
//! atomics and the locks of this module, so that their models (`models.rs` beside each, run by `.ci/loom`) check
//! the code that runs. `Arc` is always the standard library's: the one reference count on which a
//! rule rests is that of a task, which is our own.
//!
//! In the notes this is how a thread returns a result (N3, N5).

// In tests only: a program that is built with this flag for models of its own needs our loop
// as it is.
#[cfg(all(loom, test))]
pub(crate) use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize},
};
#[cfg(not(all(loom, test)))]
pub(crate) use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize},
};

/// Starts a thread: one of loom's in a model, which has neither a name nor a stack size.
#[cfg(all(loom, test))]
pub(crate) fn start_thread(
    _builder: std::thread::Builder,
    run: impl FnOnce() + Send + 'static,
) -> std::io::Result<()> {
    drop(loom::thread::spawn(run));
    Ok(())
}

/// Starts a thread, which nothing joins.
#[cfg(not(all(loom, test)))]
pub(crate) fn start_thread(
    builder: std::thread::Builder,
    run: impl FnOnce() + Send + 'static,
) -> std::io::Result<()> {
    builder.spawn(run).map(drop)
}
