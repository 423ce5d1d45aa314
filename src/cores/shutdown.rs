//! The wait for the end of all cores, for threads and for tasks of other loops.
//!
//! A shutdown is begun by the call that returns the [`Shutdown`], and not by its first poll; dropping it
//! does not take the shutdown back.
//!
//! In asyncio there is nothing like it; `shutdown_default_executor` waits for the threads of a pool.
//! Rule: M4.

use super::error::ShutdownError;
use super::group::Group;
use super::now;
use super::report::CoresReport;
use crate::task::budget;
use crate::task::lazy_timer::LazyTimer;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The future of the end of all cores, from [`CoresHandle::shutdown`](super::CoresHandle::shutdown) and
/// [`CoresHandle::ended`](super::CoresHandle::ended). Await it on a loop that is none of the cores, or
/// call [`wait`](Self::wait) on a thread without a loop.
///
/// # Cancellation
///
/// Dropping it loses nothing: a shutdown that has begun goes on.
#[must_use = "dropping it does not wait for the cores"]
pub struct Shutdown {
    group: Arc<Group>,
    /// How long to wait, at most.
    limit: Option<Duration>,
    timer: LazyTimer,
    /// Why the shutdown was not begun.
    refused: Option<ShutdownError>,
}

impl Shutdown {
    /// Begins a shutdown, unless the caller could not wait for it.
    pub(super) fn begin(group: &Arc<Group>, limit: Duration) -> Self {
        let refused = group.check_may_await().err();
        if refused.is_none() {
            group.ask_to_stop(limit);
        }
        let whole = limit.saturating_add(group.settings.grace);
        Self {
            group: Arc::clone(group),
            limit: Some(whole),
            timer: LazyTimer::after(whole),
            refused,
        }
    }

    /// Waits for the ends without asking for them.
    pub(super) fn ended(group: &Arc<Group>) -> Self {
        Self {
            group: Arc::clone(group),
            limit: None,
            timer: LazyTimer::never(),
            refused: None,
        }
    }

    /// Blocks this thread until all cores have ended, and returns the report. After the limit of the shutdown
    /// and the [grace](super::CoresBuilder::grace) this returns even if some cores have not ended.
    ///
    /// # Errors
    ///
    /// [`ShutdownError`], at once: [`OnCore`](ShutdownError::OnCore) on the thread of a core,
    /// [`OnLoop`](ShutdownError::OnLoop) where blocking would stop another loop, and
    /// [`Forked`](ShutdownError::Forked) in a child of the process that made the cores.
    pub fn wait(self) -> Result<CoresReport, ShutdownError> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        self.group.check_may_block()?;
        let until = self.limit.and_then(|limit| now().checked_add(limit));
        self.group.ends.wait(until);
        Ok(self.group.ends.report())
    }
}

impl Future for Shutdown {
    type Output = Result<CoresReport, ShutdownError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        budget::budgeted(cx, |cx| {
            if let Some(refused) = this.refused.take() {
                return Poll::Ready(Err(refused));
            }
            this.group.check_may_await()?;
            if this.group.ends.poll(cx.waker()).is_pending() && this.timer.poll(cx).is_pending() {
                return Poll::Pending;
            }
            Poll::Ready(Ok(this.group.ends.report()))
        })
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("limit", &self.limit)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}
