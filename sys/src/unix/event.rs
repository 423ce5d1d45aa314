//! The event of a poller, where each poller translates what its kernel reports.
//!
//! In the notes this is the `(fd, event)` that a selector returns (N7).

use crate::readiness::Readiness;

/// One report of the kernel: the token of the registration, and its readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    token: u64,
    ready: Readiness,
}

impl Event {
    /// Makes an event, for those who write a poller.
    #[must_use]
    #[inline]
    pub const fn new(token: u64, ready: Readiness) -> Self {
        Self { token, ready }
    }

    /// Returns the number that the registration was made with.
    #[must_use]
    #[inline]
    pub const fn token(self) -> u64 {
        self.token
    }

    /// Returns the reported readiness.
    #[must_use]
    #[inline]
    pub const fn ready(self) -> Readiness {
        self.ready
    }

    /// Whether it reports [`Readiness::READ`] and nothing else, as nearly every event of a server
    /// does.
    #[must_use]
    #[inline]
    pub const fn is_only_read(self) -> bool {
        self.ready.bits() == Readiness::READ.bits()
    }
}
