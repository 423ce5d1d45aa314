//! Interest and trigger: what a poller is asked for, and how often it reports.
//!
//! Interest and [`Readiness`](crate::Readiness) are two types because they have different values: a
//! program cannot ask for an error, and a report has no trigger.
//!
//! In the notes these are the events of the dispatch: connect, read, write, hangup (N7).

use readily_sys::readiness::write_flags;
use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign};

/// The conditions that a registration asks for.
///
/// [`Interest::NONE`] is allowed: the poller still reports a hangup and an error. If bytes are
/// unread at a hangup without an error, the loop does not run `on_hangup`, but suspends the
/// registration until an interest is set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Interest(u8);

impl Interest {
    /// No condition: only a hangup and an error are reported.
    pub const NONE: Self = Self(0);
    /// There is something to read, to accept, or the end of the stream.
    pub const READ: Self = Self(1);
    /// There is room to write, or a connection is established.
    pub const WRITE: Self = Self(2);
    /// [`READ`](Self::READ) and [`WRITE`](Self::WRITE).
    pub const BOTH: Self = Self(3);
    /// Urgent data and other exceptional conditions (`POLLPRI`, an error that ends nothing); not on
    /// kqueue.
    pub const PRIORITY: Self = Self(4);

    /// Whether all of `other` is in `self`.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// `self` without what is in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// `self` and `other`.
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether this is [`Interest::NONE`].
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Interest {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Interest {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOrAssign for Interest {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_flags(f, self.0, &["READ", "WRITE", "PRIORITY"])
    }
}

/// How often a condition is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Trigger {
    /// In every wait, while the condition lasts. The notes assume this trigger.
    #[default]
    Level,
    /// When the condition begins. After a `WouldBlock` some pollers have to be rearmed: see
    /// [`Poller::rearm_interest`](crate::poll::Poller::rearm_interest).
    Edge,
    /// Once; then not again until [`Poller::modify`](crate::poll::Poller::modify).
    OneShot,
}
