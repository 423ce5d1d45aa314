//! What the poller is asked for: the user's interest, and the loop's own reasons beside it.
//!
//! A connection under way is asked for writing, a listener without descriptors for nothing, a
//! registration that would report its end for ever is out of the poller, and one with an error that
//! ends nothing is asked for by the edge. None of these changes what
//! the user asked for: the reasons are flags beside the interest, and what the poller is asked for is
//! computed from both. When a reason goes, the user's last word is what remains.
//!
//! In the notes: *register interest* (N7). Rule: L10.

use super::classify::Role;
use super::error::Error;
use super::local::LoopHandle;
use super::registry::RegistrationState;
use crate::base::slab::SlabKey;
use crate::poll::{Interest, Trigger};

/// The loop's own reasons to ask the poller for something else than the user's interest.
/// (That a connection is under way is one more, and is its role.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Reasons(u8);

impl Reasons {
    pub(super) const NONE: Self = Self(0);
    /// Out of the poller until the user asks for something: it would report its end for ever. A
    /// hangup and an error cannot be masked.
    pub(super) const SUSPENDED: Self = Self(1);
    /// A listener for which the system has no descriptor: it is not asked for reading.
    pub(super) const ACCEPT_PAUSED: Self = Self(2);

    /// An error that ends nothing, and that is not fetched: it is asked for by the edge.
    pub(super) const BY_EDGE: Self = Self(4);
    /// The same, where the poller knows no edges: out of the poller for a moment.
    pub(super) const AWAY: Self = Self(8);
    /// Its number was closed outside the loop, and may be another file's: the loop does not close it.
    pub(super) const LOST: Self = Self(16);

    pub(super) const fn contains(self, reason: Self) -> bool {
        self.0 & reason.0 != 0
    }

    /// With `reason` where `holds`, and without it elsewhere.
    #[must_use]
    pub(super) const fn with(self, reason: Self, holds: bool) -> Self {
        match holds {
            true => Self(self.0 | reason.0),
            false => Self(self.0 & !reason.0),
        }
    }
}

/// What the poller is asked for; `None` is out of it.
pub(super) const fn effective(state: &RegistrationState) -> Option<(Interest, Trigger)> {
    if state.reasons.contains(Reasons::SUSPENDED) || state.reasons.contains(Reasons::AWAY) {
        return None;
    }
    let trigger = match state.reasons.contains(Reasons::BY_EDGE) {
        true => Trigger::Edge,
        false => state.trigger,
    };
    let interest = match state.role {
        // Writable is how the system reports that it is through, whatever is wanted of it then.
        Role::Connecting => Interest::WRITE,
        _ if state.reasons.contains(Reasons::ACCEPT_PAUSED) => {
            state.interest.without(Interest::READ)
        }
        _ => state.interest,
    };
    Some((interest, trigger))
}

impl LoopHandle {
    /// Changes a registration, and brings the poller in line with it: the one place where that is
    /// done after it was registered. Where what is asked for stays the same, the poller is called
    /// only to `ask_anew`.
    ///
    /// # Errors
    ///
    /// What the poller says; the registration is as it was. A registration that has gone is none.
    #[inline]
    pub(super) fn change(
        &self,
        slot: SlabKey,
        ask_anew: bool,
        change: impl FnOnce(&mut RegistrationState),
    ) -> Result<(), Error> {
        let Some(old) = self.registry.state(slot) else {
            return Ok(());
        };
        let mut new = old;
        change(&mut new);
        self.change_to(slot, ask_anew, &old, &new)
    }

    fn change_to(
        &self,
        slot: SlabKey,
        ask_anew: bool,
        old: &RegistrationState,
        new: &RegistrationState,
    ) -> Result<(), Error> {
        self.ensure_usable()?;
        let (was, is) = (effective(old), effective(new));
        let (fd, token) = (old.fd, slot.to_bits());
        let mut poller = self.poller.borrow_mut();
        match (was, is) {
            (None, None) => {}
            // An error means that it is gone already: closed behind our back.
            (Some(_), None) => drop(poller.remove(fd)),
            (None, Some((interest, trigger))) => poller.register(fd, token, interest, trigger)?,
            (Some(_), Some(_)) if was == is && !ask_anew => {}
            (Some(_), Some((interest, trigger))) => poller.modify(fd, token, interest, trigger)?,
        }
        drop(poller);
        self.registry.set_line(slot, new);
        if ask_anew || was != is {
            self.registry.asked(slot);
        }
        Ok(())
    }
}
