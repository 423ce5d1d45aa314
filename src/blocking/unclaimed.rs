//! A result that no waiter takes: dropped, or, if it is a panic, reported on the loop of the waiter.
//!
//! The waiter of a job may go while the job runs. The thread of the pool then has the result, and knows no
//! loop; the job remembers the one on which the waiter was dropped (P5).
//!
//! In asyncio: "Future exception was never retrieved".

use crate::event_loop::user_code::drop_bounded;
use crate::event_loop::{Inbox, Origin, Payload, current, stderr};
use crate::task::JoinError;
use crate::task::unclaimed_panic::UnclaimedPanic;
use std::panic::Location;
use std::sync::Arc;

/// Where a panic is reported that no waiter takes: the loop on which the waiter was dropped.
#[derive(Clone)]
pub(super) struct PanicHome(Option<Arc<Inbox>>);

impl PanicHome {
    pub(super) fn current() -> Self {
        Self(current::with(|handle| handle.inbox()))
    }

    /// Drops a result that no waiter takes, on this thread.
    pub(super) fn drop_result<T: 'static>(
        &self,
        result: Result<T, JoinError>,
        site: &'static Location<'static>,
    ) {
        match result {
            Err(JoinError::Panicked(payload)) => self.report(payload, site),
            other => drop_bounded(other),
        }
    }

    fn report(&self, payload: Payload, site: &'static Location<'static>) {
        match &self.0 {
            Some(inbox) => drop(UnclaimedPanic::of_closure(site, inbox, payload)),
            None => stderr::print_panic(payload, Origin::Closure { site }),
        }
    }
}
