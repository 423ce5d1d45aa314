//! Cross-loop waits: tasks of another loop that are awaited on this one.
//!
//! In debug mode a run that nothing on its loop can end is reported as a deadlock. A task of
//! another loop that is awaited here can end it, but has no timer, descriptor or `RemoteHandle` on
//! this loop. So each such wait is counted while its waker is stored in the other loop.
//!
//! In asyncio: `wrap_future`.

use super::current;
use super::inbox::Inbox;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Counts a wait of a task of this loop for another loop, until it is dropped.
pub(crate) struct CrossLoopWait(Arc<Inbox>);

impl CrossLoopWait {
    /// Counts a wait on this thread's current loop, if that is another one than the loop of `home`.
    pub(crate) fn new(home: &Arc<Inbox>) -> Option<Self> {
        let inbox = current::with(|handle| handle.inbox())?;
        if Arc::ptr_eq(&inbox, home) {
            return None;
        }
        inbox.cross_loop_waits.fetch_add(1, Ordering::Relaxed);
        Some(Self(inbox))
    }
}

impl Drop for CrossLoopWait {
    fn drop(&mut self) {
        // `Release`: a thread that reads zero also sees the wakes that happened before this.
        self.0.cross_loop_waits.fetch_sub(1, Ordering::Release);
    }
}

impl Inbox {
    /// Whether a task of this loop waits for another loop.
    pub(super) fn has_cross_loop_waits(&self) -> bool {
        self.cross_loop_waits.load(Ordering::Acquire) != 0
    }
}
