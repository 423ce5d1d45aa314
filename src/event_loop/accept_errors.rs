//! What an error of `accept(2)` means for the listener, and how long it then pauses.
//!
//! Pure: who pauses, and who is told, is in `accept.rs` for callbacks and in
//! `io/tcp_listener.rs` for coroutines. The kinds are three: one connection's, which is skipped;
//! want of descriptors or memory, which needs time; and the listener's own.
//!
//! asyncio pauses for one second, whatever the error.

use std::io;
use std::time::Duration;

/// What an error of `accept(2)` means for the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptError {
    /// Nobody is there (any more).
    Nobody,
    /// This one connection failed before it was accepted; there may be others.
    Skip,
    /// No descriptor or memory is left. Accepting again at once would fail again.
    Exhausted,
    /// The listener itself.
    Broken,
}

impl AcceptError {
    /// Sorts an error of `accept(2)`.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        use readily_sys::errno as sys;
        if error.kind() == io::ErrorKind::WouldBlock {
            return Self::Nobody;
        }
        match error.raw_os_error() {
            Some(sys::EMFILE | sys::ENFILE | sys::ENOBUFS | sys::ENOMEM) => Self::Exhausted,
            Some(sys::EBADF | sys::EINVAL | sys::ENOTSOCK | sys::EOPNOTSUPP | sys::EFAULT) => {
                Self::Broken
            }
            // Not the system's: the loop has gone, for one, and will not come back.
            None if error.kind() != io::ErrorKind::ConnectionAborted => Self::Broken,
            // ECONNABORTED, EPROTO, EPERM of a firewall, and on Linux whatever error the new
            // connection has met already (accept(2), "Error handling").
            _ => Self::Skip,
        }
    }
}

/// The growing wait between two tries of a listener that has run out of descriptors.
#[derive(Debug, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(10);
    pub(super) const LONGEST: Duration = Duration::from_secs(1);

    /// How long to wait now: 10 ms, twice as long each time, at most a second.
    pub fn next_wait(&mut self) -> Duration {
        let wait = Self::FIRST
            .saturating_mul(1 << self.tries.min(7))
            .min(Self::LONGEST);
        self.tries += 1;
        wait
    }

    /// Whether this is the first wait since the last success: the one that is told.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.tries == 0
    }

    /// It worked.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use readily_sys::errno;

    #[test]
    fn the_waits_grow_up_to_a_second_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::default();
        assert!(backoff.is_first());
        let waits: Vec<u128> = (0..9).map(|_| backoff.next_wait().as_millis()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert!(!backoff.is_first());
        backoff.reset();
        assert_eq!(backoff.next_wait().as_millis(), 10);
    }

    #[test]
    fn errors_of_accept_are_sorted_by_what_they_mean_for_the_listener() {
        let of = |code| AcceptError::of(&io::Error::from_raw_os_error(code));
        assert_eq!(of(errno::EMFILE), AcceptError::Exhausted);
        assert_eq!(of(errno::ENOMEM), AcceptError::Exhausted);
        assert_eq!(of(errno::EINVAL), AcceptError::Broken);
        assert_eq!(of(errno::ECONNABORTED), AcceptError::Skip);
        assert_eq!(of(errno::EAGAIN), AcceptError::Nobody);
        let own = |kind| AcceptError::of(&io::Error::from(kind));
        assert_eq!(own(io::ErrorKind::ConnectionAborted), AcceptError::Skip);
        assert_eq!(own(io::ErrorKind::Other), AcceptError::Broken);
    }
}
