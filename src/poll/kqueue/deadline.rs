//! A host's deadline in a kqueue: a timer beside what is watched.
//!
//! It is reported with the notifier's token, and so is not an event of a registration; a wait for the
//! queue takes it out. Not every system restarts a timer that is added again, so it is deleted first.
//!
//! In the notes these are the *timers* of N1, as a host sees them.

use super::Queue;
use crate::poll::NOTIFIER;
use readily_sys::errno;
use readily_sys::kq_abi::{EV_ADD, EV_DELETE, EV_ONESHOT, Filter, Kevent};
use std::io;
use std::time::Duration;

/// Milliseconds, rounded up: that every kqueue can count in.
fn millis(after: Duration) -> i64 {
    i64::try_from(after.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

/// See [`Poller::set_deadline`](crate::poll::Poller::set_deadline).
pub(super) fn set(queue: &mut impl Queue, after: Option<Duration>) -> io::Result<()> {
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
    // What was not there need not go.
    match errors[1] {
        0 => Ok(()),
        errno::EINVAL => Err(io::ErrorKind::Unsupported.into()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use crate::poll::Poller;
    use crate::poll::sim::Kernel;
    use readily_sys::kq_abi::Personality;

    #[test]
    fn a_deadline_ends_a_wait_once_and_is_moved_and_taken_back() {
        for system in [
            Personality::Apple,
            Personality::FreeBsd,
            Personality::NetBsd,
        ] {
            let kernel = Kernel::new();
            let mut poller = kernel.kqueue(system);
            let mut events = Vec::new();
            let mut waits = |poller: &mut dyn Poller, limit: u64| {
                let before = kernel.clock().now_ns();
                poller
                    .wait(&mut events, Some(Duration::from_secs(limit)))
                    .unwrap();
                assert!(events.is_empty(), "it is nobody's event");
                Duration::from_nanos(kernel.clock().now_ns() - before)
            };
            let second = Duration::from_secs(1);
            poller.set_deadline(Some(3 * second)).unwrap();
            poller.set_deadline(Some(2 * second)).unwrap();
            assert_eq!(waits(&mut poller, 9), 2 * second, "the last word counts");
            assert_eq!(
                waits(&mut poller, 9),
                9 * second,
                "it has come, and is gone"
            );
            poller.set_deadline(Some(second)).unwrap();
            poller.set_deadline(None).unwrap();
            poller.set_deadline(None).unwrap();
            assert_eq!(waits(&mut poller, 9), 9 * second, "it was taken back");
            poller.set_deadline(Some(Duration::from_nanos(1))).unwrap();
            assert_eq!(
                waits(&mut poller, 9),
                Duration::from_millis(1),
                "rounded up"
            );
            poller.set_deadline(Some(Duration::ZERO)).unwrap();
            assert_eq!(waits(&mut poller, 9), Duration::ZERO);
        }
    }
}
