//! The time of a virtual kernel stands still while a job of its loop runs on a thread.
//!
//! The kernel belongs to the thread of its loop, so the end of a job is a message to the loop. It comes after
//! the wake of the waiter: otherwise the time could move before the waiter has the result.
//!
//! asyncio has no counterpart.

use crate::event_loop::{Inbox, LoopHandle};
use crate::poll::BlockingJobs;
use std::panic::Location;
use std::sync::Arc;

/// Keeps the time of a virtual kernel from moving until it is dropped, on any thread.
pub(super) struct HoldTime(Arc<Inbox>);

impl HoldTime {
    /// Stops the time of the loop's kernel for a job, if the kernel wants that.
    pub(super) fn for_job(handle: Option<&LoopHandle>) -> Option<Self> {
        let handle = handle?;
        let kernel = handle.kernel()?;
        (kernel.blocking_jobs() == BlockingJobs::HoldTime).then(|| {
            kernel.hold_time(true);
            Self(handle.inbox())
        })
    }
}

impl Drop for HoldTime {
    #[track_caller]
    fn drop(&mut self) {
        let site = Location::caller();
        self.0.send_call(
            |handle| {
                if let Some(kernel) = handle.kernel() {
                    kernel.hold_time(false);
                }
            },
            site,
        );
    }
}
