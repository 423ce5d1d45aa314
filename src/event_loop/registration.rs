//! The effective interest: what the poller is asked to watch, computed from the user's interest and
//! the loop's own reasons.
//!
//! A connection under way is watched for writing; a listener without descriptors is not watched for
//! reading; a registration that would report its end for ever is not in the poller; one with an
//! error that does not end it is watched edge-triggered. None of these changes the user's interest:
//! the reasons are flags beside it, and the effective interest is computed from both. When a reason
//! ends, the interest that the user set last applies.
//!
//! In the notes: *register interest* (N7). Rule: L10.

use super::classify::Role;
use super::error::Error;
use super::loop_handle::LoopHandle;
use super::registry::RegistrationState;
use crate::base::slab::SlabKey;
use crate::poll::{Interest, Trigger};

/// The loop's own reasons to pass another interest than the user's to the poller. (A connection
/// under way is one more, which its role represents.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Reasons(u8);

impl Reasons {
    pub(super) const NONE: Self = Self(0);
    /// Out of the poller until the user sets an interest, because it would report its end for ever:
    /// a hangup and an error cannot be masked.
    pub(super) const SUSPENDED: Self = Self(1);
    /// A listener for which the system has no descriptor: it is not watched for reading.
    pub(super) const ACCEPT_PAUSED: Self = Self(2);

    /// It has an error that does not end it and was not fetched: it is watched edge-triggered.
    pub(super) const BY_EDGE: Self = Self(4);
    /// The same, with a poller that has no edge trigger: it is out of the poller for a moment.
    pub(super) const AWAY: Self = Self(8);
    /// Its number was closed outside the loop, and may be another file's: the loop does not close it.
    pub(super) const LOST: Self = Self(16);
    /// L2: it is out of the table, and none of its callbacks runs any more.
    pub(super) const REMOVED: Self = Self(32);

    /// After an event's branches, either of these has to be looked at.
    pub(super) const BY_EDGE_OR_REMOVED: Self = Self(Self::BY_EDGE.0 | Self::REMOVED.0);

    /// Whether any of `reasons` holds.
    pub(super) const fn any_of(self, reasons: Self) -> bool {
        self.0 & reasons.0 != 0
    }

    /// Whether `reason` holds, which is one.
    pub(super) const fn contains(self, reason: Self) -> bool {
        self.any_of(reason)
    }

    /// Adds `reason` if `holds`, removes it otherwise.
    #[must_use]
    pub(super) const fn with(self, reason: Self, holds: bool) -> Self {
        match holds {
            true => Self(self.0 | reason.0),
            false => Self(self.0 & !reason.0),
        }
    }
}

/// The effective interest and trigger; `None` if the registration is not in the poller.
pub(super) const fn effective(state: &RegistrationState) -> Option<(Interest, Trigger)> {
    if state.reasons.contains(Reasons::SUSPENDED) || state.reasons.contains(Reasons::AWAY) {
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

impl LoopHandle {
    /// Changes the state of a registration, and updates the poller: after registering, only this
    /// method does so. If the effective interest stays the same, the poller is called only to
    /// `rearm` it.
    ///
    /// # Errors
    ///
    /// Errors of the poller; the registration is unchanged. A removed registration is no error.
    #[inline]
    pub(super) fn change(
        &self,
        slot: SlabKey,
        rearm: bool,
        change: impl FnOnce(&mut RegistrationState),
    ) -> Result<(), Error> {
        let Some(old) = self.registry.state(slot) else {
            return Ok(());
        };
        let mut new = old;
        change(&mut new);
        self.change_to(slot, rearm, &old, &new)
    }

    fn change_to(
        &self,
        slot: SlabKey,
        rearm: bool,
        old: &RegistrationState,
        new: &RegistrationState,
    ) -> Result<(), Error> {
        self.ensure_usable()?;
        let (was, is) = (effective(old), effective(new));
        let (fd, token) = (old.fd, slot.to_bits());
        let mut poller = self.poller.borrow_mut();
        match (was, is) {
            (None, None) => {}
            // An error means that other code has closed the descriptor.
            (Some(_), None) => drop(poller.remove(fd)),
            (None, Some((interest, trigger))) => poller.register(fd, token, interest, trigger)?,
            (Some(_), Some(_)) if was == is && !rearm => {}
            (Some(_), Some((interest, trigger))) => poller.modify(fd, token, interest, trigger)?,
        }
        drop(poller);
        self.registry.set_state(slot, new);
        if rearm || was != is {
            self.registry.asked(slot);
        }
        Ok(())
    }
}
