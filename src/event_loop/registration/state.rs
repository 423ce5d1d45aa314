//! The state of a registration, from which the poller's interest and the branches that may run are computed.
//!
//! The *effective interest* is what the poller is asked to watch. A connection under way is watched
//! for writing; a listener without descriptors is not watched for reading; a registration that would
//! report its end for ever is not in the poller; one with an error that does not end it is watched
//! edge-triggered. None of these changes the user's interest: the reasons are flags beside it, and
//! the effective interest is computed from both. When a reason ends, the interest that the user set
//! last applies.
//!
//! In the notes: *register interest* (N7). Rules: L2, L10.

use super::super::classify::{Branch, Branches, Role};
use crate::poll::{Interest, Trigger};

/// The loop's own reasons to pass another interest than the user's to the poller. (A connection
/// under way is one more, which its role represents.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(in super::super) struct Reasons(u8);

impl Reasons {
    pub(in super::super) const NONE: Self = Self(0);
    /// Out of the poller until the user sets an interest, because it would report its end for ever:
    /// a hangup and an error cannot be masked.
    pub(in super::super) const SUSPENDED: Self = Self(1);
    /// A listener for which the system has no descriptor: it is not watched for reading.
    pub(in super::super) const ACCEPT_PAUSED: Self = Self(2);

    /// It has an error that does not end it and was not fetched: it is watched edge-triggered.
    pub(in super::super) const BY_EDGE: Self = Self(4);
    /// The same, with a poller that has no edge trigger: it is out of the poller for a moment.
    pub(in super::super) const AWAY: Self = Self(8);
    /// Its number was closed outside the loop, and may be another file's: the loop does not close it.
    pub(in super::super) const LOST: Self = Self(16);
    /// L2: it is out of the table, and none of its callbacks runs any more.
    pub(in super::super) const REMOVED: Self = Self(32);

    /// Not one for the poller: no `on_read` was given, so unread bytes must not delay the hangup.
    pub(in super::super) const NO_READER: Self = Self(64);

    /// With either of these it is not in the poller.
    pub(in super::super) const SUSPENDED_OR_AWAY: Self = Self(Self::SUSPENDED.0 | Self::AWAY.0);

    /// After an event's branches, either of these has to be looked at.
    pub(in super::super) const BY_EDGE_OR_REMOVED: Self = Self(Self::BY_EDGE.0 | Self::REMOVED.0);

    /// Whether any of `reasons` holds.
    pub(in super::super) const fn any_of(self, reasons: Self) -> bool {
        self.0 & reasons.0 != 0
    }

    /// Whether `reason` holds, which is one.
    pub(in super::super) const fn contains(self, reason: Self) -> bool {
        self.any_of(reason)
    }

    /// Adds `reason` if `holds`, removes it otherwise.
    #[must_use]
    pub(in super::super) const fn with(self, reason: Self, holds: bool) -> Self {
        match holds {
            true => Self(self.0 | reason.0),
            false => Self(self.0 & !reason.0),
        }
    }
}

/// The state of a registration.
#[derive(Clone, Copy)]
pub(in super::super) struct RegistrationState {
    pub(in super::super) role: Role,
    /// The user's interest, which only the user changes (L10).
    pub(in super::super) interest: Interest,
    pub(in super::super) trigger: Trigger,
    /// The loop's reasons to pass another interest to the poller.
    pub(in super::super) reasons: Reasons,
}

impl RegistrationState {
    /// The branches that may run; none once the registration is removed (L2).
    #[inline]
    pub(in super::super) fn active_branches(&self) -> Branches {
        if self.reasons.contains(Reasons::REMOVED) {
            return Branches::NONE;
        }
        let watched = !self.reasons.contains(Reasons::SUSPENDED);
        let connect = match self.role {
            Role::Listener => self.interest.contains(Interest::READ),
            _ => watched,
        };
        let default = self.interest.contains(Interest::PRIORITY);
        Branches::NONE
            .with(connect, Branch::Connect)
            .with(self.interest.contains(Interest::READ), Branch::Read)
            .with(self.interest.contains(Interest::WRITE), Branch::Write)
            .with(watched, Branch::Hangup)
            .with(default, Branch::Default)
    }

    /// Whether the most frequent event, of bytes to read and nothing else, takes the read branch, and has
    /// nothing to be done before or after it. `active` are the active branches.
    #[inline]
    pub(in super::super) fn only_reads(&self, active: Branches) -> bool {
        if self.trigger == Trigger::OneShot || self.reasons.any_of(Reasons::BY_EDGE_OR_REMOVED) {
            return false;
        }
        let reads = matches!(self.role, Role::Stream | Role::Datagram);
        reads && active.contains(Branch::Read)
    }
}

/// The effective interest and trigger; `None` if the registration is not in the poller.
#[inline]
pub(in super::super) const fn effective(state: &RegistrationState) -> Option<(Interest, Trigger)> {
    if state.reasons.any_of(Reasons::SUSPENDED_OR_AWAY) {
        return None;
    }
    let trigger = match state.reasons.contains(Reasons::BY_EDGE) {
        true => Trigger::Edge,
        false => state.trigger,
    };
    let interest = match state.role {
        // A connection that is established, or refused, is reported as writable.
        Role::Connecting => Interest::WRITE,
        _ if state.reasons.contains(Reasons::ACCEPT_PAUSED) => {
            state.interest.without(Interest::READ)
        }
        _ => state.interest,
    };
    Some((interest, trigger))
}
