//! A host's deadline in a kqueue: a timer beside the watched descriptors.
//!
//! It is reported with the notifier's token, so it is not an event of a registration; a wait for the
//! queue removes it. Not every system restarts a timer that is added again, so it is deleted first.
//!
//! In the notes these are the *timers* of N1, as a host sees them.

use super::KqueueSys;
use crate::poll::NOTIFIER;
use readily_sys::errno;
use readily_sys::kq_abi::{EV_ADD, EV_DELETE, EV_ONESHOT, Filter, Kevent};
use std::io;
use std::time::Duration;

/// Milliseconds, rounded up: the unit that every kqueue has.
fn millis(after: Duration) -> i64 {
    i64::try_from(after.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

/// See [`Poller::set_deadline`](crate::poll::Poller::set_deadline).
pub(super) fn set(queue: &mut impl KqueueSys, after: Option<Duration>) -> io::Result<()> {
    let timer = |flags, data| Kevent {
        ident: 0,
        filter: Filter::Timer,
        flags,
        fflags: 0,
        data,
        udata: NOTIFIER,
    };
    let added = timer(EV_ADD | EV_ONESHOT, after.map_or(0, millis));
    let changes = &[timer(EV_DELETE, 0), added][..1 + usize::from(after.is_some())];
    let mut errors = [0; 2];
    queue.change(changes, &mut errors[..changes.len()])?;
    // The error of the removal is ignored: mostly there was no timer.
    match errors[1] {
        0 => Ok(()),
        errno::EINVAL => Err(io::ErrorKind::Unsupported.into()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
