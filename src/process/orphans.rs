//! The children that closed loops have left: one list for the process, which each loop looks through.
//!
//! Each entry is one child by its number or its descriptor. A wait for any child would take the status of
//! other code's children.
//!
//! In asyncio a child watcher outlives its loop.

use crate::event_loop::after_each_close;
use readily_sys::child;
use readily_sys::exit_fd::ExitFd;
use std::sync::{Mutex, PoisonError, TryLockError};

/// A child without a loop.
pub(super) struct Orphan {
    pub(super) pid: u32,
    pub(super) exit_fd: Option<ExitFd>,
    /// The process whose child it is: a forked child has a copy of the list.
    pub(super) parent: u32,
}

static ORPHANS: Mutex<Vec<Orphan>> = Mutex::new(Vec::new());

/// Adds a child that has not ended.
pub(super) fn add(orphan: Orphan) {
    after_each_close(reap);
    // If a fork has copied a locked list, the child remains a zombie until this process ends.
    match ORPHANS.try_lock() {
        Ok(mut orphans) => orphans.push(orphan),
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().push(orphan),
        Err(TryLockError::WouldBlock) if orphan.parent == std::process::id() => {
            let mut orphans = ORPHANS.lock().unwrap_or_else(PoisonError::into_inner);
            orphans.push(orphan);
        }
        Err(TryLockError::WouldBlock) => {}
    }
}

/// Takes the status of those that have ended. Never waits: another thread may be at it.
pub(super) fn reap() {
    let mut orphans = match ORPHANS.try_lock() {
        Ok(orphans) => orphans,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    if !orphans.is_empty() {
        let here = std::process::id();
        orphans.retain(|orphan| orphan.parent == here && !orphan.has_gone());
    }
}

impl Orphan {
    /// Whether it has ended, or is no child of this process any more.
    fn has_gone(&self) -> bool {
        let status = match &self.exit_fd {
            Some(exit_fd) => exit_fd.take_status(),
            None => child::take_status(self.pid),
        };
        !matches!(status, Ok(None))
    }
}
