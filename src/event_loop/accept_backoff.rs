//! When a listener that could not accept tries again: the meaning of the error, the length of a pause,
//! and the waiters for a free descriptor.
//!
//! There are three kinds of errors of `accept(2)`: of one connection, which is skipped; a lack of
//! descriptors or memory, after which the listener pauses; and of the listener itself, which ends. A
//! pause ends after a while, or when this loop closes a descriptor. For the first a listener has a
//! timer; for the second it waits in a list of the loop. `accept.rs` (for callbacks) and
//! `io/listening.rs` (for coroutines) pause and report. The functions up to the list are pure: the
//! time is an argument.
//!
//! asyncio pauses for one second, whatever the error.

use super::action::DueAction;
use super::loop_handle::{Action, Call, LoopHandle};
use crate::base::slab::SlabKey;
use std::io;
use std::panic::Location;
use std::task::Waker;
use std::time::{Duration, Instant};

/// The meaning of an error of `accept(2)` for the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum AcceptError {
    /// No connection is waiting (any more).
    WouldBlock,
    /// One connection failed before it was accepted; there may be others.
    Connection,
    /// No descriptor or memory is left. Accepting again at once would fail again.
    OutOfResources,
    /// The listener itself failed, and cannot accept any more.
    Fatal,
}

impl AcceptError {
    /// Classifies an error of `accept(2)`.
    #[must_use]
    pub(crate) fn of(error: &io::Error) -> Self {
        use readily_sys::errno as sys;
        if error.kind() == io::ErrorKind::WouldBlock {
            return Self::WouldBlock;
        }
        match error.raw_os_error() {
            Some(sys::EMFILE | sys::ENFILE | sys::ENOBUFS | sys::ENOMEM) => Self::OutOfResources,
            Some(sys::EBADF | sys::EINVAL | sys::ENOTSOCK | sys::EOPNOTSUPP | sys::EFAULT) => {
                Self::Fatal
            }
            // Not an error of the system: the loop is gone, for instance.
            None if error.kind() != io::ErrorKind::ConnectionAborted => Self::Fatal,
            // ECONNABORTED, EPROTO, EPERM of a firewall, and on Linux any error that is pending on
            // the new connection already (accept(2), "Error handling").
            _ => Self::Connection,
        }
    }
}

/// Counts the connections of a listener that broke before they were accepted, since the last one
/// that was accepted.
///
/// Single broken connections are caused by their peers. An error that comes every time is not, for
/// instance a refusal by a sandbox, and would come again at once: the listener pauses (R212).
#[derive(Debug, Default)]
pub(crate) struct BrokenInARow(usize);

impl BrokenInARow {
    const MAX: usize = 64;

    /// Counts a broken connection. Returns whether the listener has to pause; then the next row
    /// begins.
    pub(crate) fn add(&mut self) -> bool {
        self.0 += 1;
        let is_full = self.0 == Self::MAX;
        if is_full {
            self.end_row();
        }
        is_full
    }

    /// A connection was accepted.
    pub(crate) fn end_row(&mut self) {
        self.0 = 0;
    }
}

/// The growing delay between two attempts of a listener that has run out of descriptors.
///
/// An accepted connection does not prove that descriptors are free again: at the limit each
/// connection that closes makes room for one. Only a second without a failure resets the wait.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
    /// When the last wait was to end.
    waits_until: Option<Instant>,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(10);
    pub(super) const LONGEST_ACCEPT_PAUSE: Duration = Duration::from_secs(1);
    /// After this long without a failure the next wait is the first again.
    const QUIET: Duration = Duration::from_secs(1);

    /// Returns how long to wait after a failure at `now`: 10 ms, twice as long each time, at most a
    /// second; 10 ms again after a second without a failure, counted from the end of the last wait.
    pub(crate) fn next_wait(&mut self, now: Instant) -> Duration {
        let quiet = |until: Instant| now.saturating_duration_since(until) >= Self::QUIET;
        if self.waits_until.is_some_and(quiet) {
            self.tries = 0;
        }
        let wait = Self::FIRST
            .saturating_mul(1 << self.tries.min(7))
            .min(Self::LONGEST_ACCEPT_PAUSE);
        self.tries += 1;
        self.waits_until = now.checked_add(wait);
        wait
    }
}

/// Limits the reports of a frequent failure to one a second.
#[derive(Debug, Default)]
pub(crate) struct ReportLimit {
    last: Option<Instant>,
    held_back: u64,
}

impl ReportLimit {
    const EACH: Duration = Duration::from_secs(1);

    /// Returns whether a failure at `now` is reported, and if so, how many were held back since the
    /// last report.
    pub(crate) fn allows(&mut self, now: Instant) -> Option<u64> {
        let recent = |last: Instant| now.saturating_duration_since(last) < Self::EACH;
        if self.last.is_some_and(recent) {
            self.held_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

/// Identifies a wait for a free descriptor.
#[derive(Debug)]
pub struct FdWaitKey(SlabKey);

// The waiters for a free descriptor.
impl LoopHandle {
    /// Wakes `waker` once, when a descriptor of this loop is closed.
    pub(crate) fn wake_on_fd_close(&self, waker: Waker) -> FdWaitKey {
        FdWaitKey(self.fd_waiters.borrow_mut().insert(Action::wake(waker)))
    }

    /// Queues `call` once, when a descriptor of this loop is closed.
    #[track_caller]
    pub(super) fn call_on_fd_close(&self, call: impl FnOnce(&LoopHandle) + 'static) -> FdWaitKey {
        let action = Action::call(Call::new(Location::caller(), call));
        FdWaitKey(self.fd_waiters.borrow_mut().insert(action))
    }

    /// Cancels a wait of [`LoopHandle::wake_on_fd_close`].
    pub(crate) fn cancel_fd_wait(&self, key: FdWaitKey) {
        let action = self.fd_waiters.borrow_mut().remove(key.0);
        if let Some(action) = action {
            self.drop_guarded(action);
        }
    }

    /// Takes one waiter out of the list, for a caller that empties it.
    pub(super) fn pop_fd_waiter(&self) -> Option<Action> {
        let mut waiters = self.fd_waiters.borrow_mut();
        let first = waiters.first()?;
        waiters.remove(first)
    }

    /// Wakes the waiters, because a descriptor of this loop is about to be closed.
    #[inline]
    pub(super) fn notify_fd_waiters(&self) {
        // Nearly always there is no waiter.
        if !self.fd_waiters.borrow().is_empty() {
            self.notify_all_fd_waiters();
        }
    }

    #[cold]
    #[inline(never)]
    fn notify_all_fd_waiters(&self) {
        // Only the present waiters: one that waits again at once is for the next descriptor (L5).
        let mut waiting = Vec::new();
        for (key, _) in self.fd_waiters.borrow().iter() {
            waiting.push(key);
        }
        for key in waiting {
            let Some(action) = self.fd_waiters.borrow_mut().remove(key) else {
                continue; // a waker that ran before has cancelled it
            };
            match action.into_due() {
                // Queued and not called here: the descriptor is closed after this returns.
                DueAction::Call(call) => {
                    self.queue_call(call);
                }
                DueAction::Wake(waker) => self.guard(|| waker.wake()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::{Clock, Manual};
    use readily_sys::errno;

    /// R154.
    #[test]
    fn the_waits_grow_up_to_a_second_and_begin_anew_after_a_quiet_one() {
        let start = Manual::new().origin();
        let ms = Duration::from_millis;
        let mut backoff = Backoff::default();
        let mut now = start;
        let waits: Vec<u128> = (0..9)
            .map(|_| {
                let wait = backoff.next_wait(now);
                now += wait; // and then it fails again at once
                wait.as_millis()
            })
            .collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        now += ms(999);
        assert_eq!(
            backoff.next_wait(now),
            ms(1000),
            "not quiet for long enough"
        );
        now += ms(1000) + ms(1000);
        assert_eq!(backoff.next_wait(now), ms(10));
        // Accepting has worked in between; still there is no descriptor left.
        assert_eq!(backoff.next_wait(now + ms(1)), ms(20));
        assert_eq!(backoff.next_wait(now + ms(900)), ms(40));
    }

    /// R154.
    #[test]
    fn a_report_is_made_at_once_and_then_each_second_with_a_count_of_those_held_back() {
        let start = Manual::new().origin();
        let mut limit = ReportLimit::default();
        let mut admit = |ms| limit.allows(start + Duration::from_millis(ms));
        assert_eq!(admit(0), Some(0));
        assert_eq!([admit(0), admit(1), admit(999)], [None; 3]);
        assert_eq!(admit(1000), Some(3));
        assert_eq!(admit(1999), None);
        assert_eq!(admit(60_000), Some(1));
        assert_eq!(admit(61_000), Some(0));
    }

    /// R212.
    #[test]
    fn each_row_of_64_broken_connections_is_a_reason_to_pause_and_no_shorter_one() {
        let mut broken = BrokenInARow::default();
        let mut row = |len| (0..len).map(|_| broken.add()).collect::<Vec<bool>>();
        let full = [[false; 63].as_slice(), &[true]].concat();
        assert_eq!(row(64), full);
        assert_eq!(row(64), full, "a row ends with the pause");
        assert_eq!(row(63), full[..63]);
        broken.end_row();
        let mut row = |len| (0..len).map(|_| broken.add()).collect::<Vec<bool>>();
        assert_eq!(row(64), full, "a row ends with an accepted connection");
    }

    #[test]
    fn errors_of_accept_are_sorted_by_what_they_mean_for_the_listener() {
        let of = |code| AcceptError::of(&io::Error::from_raw_os_error(code));
        assert_eq!(of(errno::EMFILE), AcceptError::OutOfResources);
        assert_eq!(of(errno::ENOMEM), AcceptError::OutOfResources);
        assert_eq!(of(errno::EINVAL), AcceptError::Fatal);
        assert_eq!(of(errno::ECONNABORTED), AcceptError::Connection);
        assert_eq!(of(errno::EAGAIN), AcceptError::WouldBlock);
        let own = |kind| AcceptError::of(&io::Error::from(kind));
        assert_eq!(
            own(io::ErrorKind::ConnectionAborted),
            AcceptError::Connection
        );
        assert_eq!(own(io::ErrorKind::Other), AcceptError::Fatal);
    }
}
