//! One registration: its descriptor, its callbacks, and its state, from which the poller's interest
//! and the branches that may run are computed.
//!
//! The *effective interest* is what the poller is asked to watch. A connection under way is watched
//! for writing; a listener without descriptors is not watched for reading; a registration that would
//! report its end for ever is not in the poller; one with an error that does not end it is watched
//! edge-triggered. None of these changes the user's interest: the reasons are flags beside it, and
//! the effective interest is computed from both. When a reason ends, the interest that the user set
//! last applies.
//!
//! The callbacks are behind it in one block of memory ([`RegistrationRc`]), and are the parameter of that
//! type: nothing here knows the loop.
//!
//! In the notes: *register interest* (N7). Rules: L2, L3, L10.

use super::classify::{Branch, Branches, Role};
use super::descriptor::Descriptor;
use super::origin::Origin;
use crate::base::slab::SlabKey;
use crate::poll::{Event, FdRef, Interest, Readiness, Trigger};
use readily_sys::nonblocking::Hold;
use readily_sys::tail_rc::TailRc;
use readily_sys::transfer::Transfer;
use std::cell::{Cell, OnceCell};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::RawFd;
use std::panic::Location;

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

    /// With either of these it is not in the poller.
    pub(super) const SUSPENDED_OR_AWAY: Self = Self(Self::SUSPENDED.0 | Self::AWAY.0);

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

/// The state of a registration.
#[derive(Clone, Copy)]
pub(super) struct RegistrationState {
    pub(super) fd: RawFd,
    pub(super) role: Role,
    /// The user's interest, which only the user changes (L10).
    pub(super) interest: Interest,
    pub(super) trigger: Trigger,
    /// The loop's reasons to pass another interest to the poller.
    pub(super) reasons: Reasons,
    /// No `on_read` was given, so unread bytes must not delay the hangup.
    pub(super) no_reader: bool,
    /// The number of unread bytes when the hangup was last delayed for them.
    pub(super) unread_before: u32,
    pub(super) site: &'static Location<'static>,
}

impl RegistrationState {
    /// The branches that may run; none once the registration is removed (L2).
    #[inline]
    pub(super) fn active_branches(&self) -> Branches {
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
    pub(super) fn only_reads(&self, active: Branches) -> bool {
        if self.trigger == Trigger::OneShot || self.reasons.any_of(Reasons::BY_EDGE_OR_REMOVED) {
            return false;
        }
        let reads = matches!(self.role, Role::Stream | Role::Datagram);
        reads && active.contains(Branch::Read)
    }
}

/// The effective interest and trigger; `None` if the registration is not in the poller.
#[inline]
pub(super) const fn effective(state: &RegistrationState) -> Option<(Interest, Trigger)> {
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

/// The parameters of a new registration.
#[derive(Clone, Copy)]
pub(super) struct RegisterOptions {
    pub(super) role: Role,
    pub(super) interest: Interest,
    pub(super) trigger: Trigger,
    /// What need not be checked or changed.
    pub(super) fd_state: FdState,
    /// The system calls by which callbacks read and write it.
    pub(super) transfer: Transfer,
}

/// What is known of the descriptor of a new registration. It saves system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FdState {
    Unknown,
    NonBlocking,
    /// Made by the loop: non-blocking, and listening, connected or connecting.
    MadeHere,
}

impl RegisterOptions {
    pub(super) fn state(self, fd: RawFd, site: &'static Location<'static>) -> RegistrationState {
        let Self {
            role,
            interest,
            trigger,
            ..
        } = self;
        RegistrationState {
            fd,
            role,
            interest,
            trigger,
            reasons: Reasons::NONE,
            no_reader: false,
            unread_before: 0,
            site,
        }
    }
}

/// The facts for which nothing is left to be done after the branches.
pub(super) const FLOW: Readiness =
    Readiness::from_bits(Readiness::READ.bits() | Readiness::WRITE.bits());

/// Where a descriptor comes from. A descriptor has at most one of these.
pub(super) enum Provenance {
    /// Accepted by a listener of this loop, from this peer.
    AcceptedV4(SocketAddrV4),
    /// The same. In a box, as the rarer and larger one.
    AcceptedV6(Box<SocketAddrV6>),
    /// Made by other code: if its file was blocking, it is made blocking again in the end (R131).
    Held(Hold),
}

impl From<SocketAddr> for Provenance {
    fn from(peer: SocketAddr) -> Self {
        match peer {
            SocketAddr::V4(peer) => Self::AcceptedV4(peer),
            SocketAddr::V6(peer) => Self::AcceptedV6(Box::new(peer)),
        }
    }
}

/// A registration, with its callbacks as the tail. They are borrowed while one of them runs, so that none is
/// called inside another (L3); the table is not borrowed (L8).
pub(super) type RegistrationRc<C> = TailRc<Registration, C>;

/// A registration without its callbacks. `LoopHandle::drop_registration` drops those while the
/// descriptor is still open.
#[repr(C)] // what an event uses comes first
pub(super) struct Registration {
    /// [`RegistrationState::only_reads`], cached.
    pub(super) only_reads: Cell<bool>,
    /// [`RegistrationState::active_branches`], cached, because it is read before each branch.
    pub(super) active_branches: Cell<Branches>,
    /// Whether this is a one-shot registration that was reported and not armed since.
    pub(super) spent: Cell<bool>,
    /// Whether it has a deadline, whose timer is in a table.
    pub(super) has_deadline: Cell<bool>,
    /// The system calls that read and write the descriptor without waiting (R130).
    pub(super) transfer: Cell<Transfer>,
    pub(super) fd: Descriptor,
    pub(super) state: Cell<RegistrationState>,
    /// Its key in the table.
    pub(super) slot: Cell<SlabKey>,
    /// Where the descriptor comes from, if that is known.
    pub(super) provenance: OnceCell<Provenance>,
}

impl Registration {
    #[inline]
    pub(super) fn new(state: RegistrationState, transfer: Transfer, fd: Descriptor) -> Self {
        let active = state.active_branches();
        Self {
            state: Cell::new(state),
            active_branches: Cell::new(active),
            only_reads: Cell::new(state.only_reads(active)),
            transfer: Cell::new(transfer),
            spent: Cell::new(false),
            has_deadline: Cell::new(false),
            slot: Cell::new(SlabKey::from_bits(0)),
            fd: match transfer.is_socket() {
                true => fd.known_as_socket(),
                false => fd,
            },
            provenance: OnceCell::new(),
        }
    }

    /// Whether `event` is a call of `on_read`, and nothing else is to be done.
    ///
    /// It is what [`classify`](super::classify::classify) and the active branches say, in two
    /// comparisons.
    #[inline(always)]
    pub(super) fn takes_only_read(&self, event: Event) -> bool {
        self.only_reads.get() && event.is_only_read()
    }

    /// Whether it is a listener that accepts now. Then an event of [`Readiness::READ`] takes the connect branch,
    /// and nothing is to be done before or after it.
    #[inline]
    pub(super) fn accepts(&self) -> bool {
        let state = self.state.get();
        let is_plain = state.trigger == Trigger::Level && state.reasons == Reasons::NONE;
        is_plain && state.role == Role::Listener && state.interest.contains(Interest::READ)
    }

    /// Its key in the table.
    #[inline]
    pub(super) fn slot(&self) -> SlabKey {
        self.slot.get()
    }

    /// Its descriptor.
    #[inline]
    pub(super) fn fd_ref(&self) -> FdRef<'_> {
        self.fd.fd_ref()
    }

    pub(super) fn set_state(&self, state: &RegistrationState) {
        self.state.set(*state);
        let active = state.active_branches();
        self.active_branches.set(active);
        self.only_reads.set(state.only_reads(active));
    }

    /// L2: it is out of the table, and none of its branches runs from here on.
    pub(super) fn set_removed(&self) {
        let mut state = self.state.get();
        state.reasons = state.reasons.with(Reasons::REMOVED, true);
        self.state.set(state);
        self.active_branches.set(Branches::NONE);
        self.only_reads.set(false);
    }

    /// The origin of its callback, for reports.
    pub(super) fn origin(&self, branch: Branch) -> Origin {
        let site = self.state.get().site;
        let peer = match self.provenance.get() {
            Some(Provenance::AcceptedV4(peer)) => SocketAddr::V4(*peer),
            Some(Provenance::AcceptedV6(peer)) => SocketAddr::V6(**peer),
            _ => return Origin::Callback { branch, site },
        };
        Origin::Accepted { branch, site, peer }
    }
}

#[cfg(test)]
mod tests;
