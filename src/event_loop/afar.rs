//! What is awaited here, and happens on another loop.
//!
//! A run that nothing on its loop can end is told of in debug mode. A task of another loop that is
//! awaited here can end it, and no timer, descriptor or `RemoteHandle` says so: whoever awaits one is
//! counted while his waker lies there.
//!
//! In asyncio this is `wrap_future`, of whose other side its loop knows nothing either.

use super::current;
use super::inbox::Inbox;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// While this lives, somebody on another thread may wake who waits on this loop.
pub(crate) struct CrossLoopWait(Arc<Inbox>);

impl CrossLoopWait {
    /// Of the loop that runs here, if that is another one than `home`'s.
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
        // `Release`: who wakes does so before, and that is seen by whoever sees none left.
        self.0.cross_loop_waits.fetch_sub(1, Ordering::Release);
    }
}

impl Inbox {
    /// Whether something is awaited here that another thread may still bring.
    pub(super) fn has_cross_loop_waits(&self) -> bool {
        self.cross_loop_waits.load(Ordering::Acquire) != 0
    }
}
