//! One registration: its descriptor, its callbacks, and its [state](RegistrationState).
//!
//! The callbacks are behind it in one block of memory ([`RegistrationRc`]), and are the parameter of that
//! type: nothing here knows the loop.
//!
//! In the notes: *register interest* (N7). Rules: L2, L3, L10.

mod state;

pub(super) use state::{Reasons, RegistrationState, effective};

use super::classify::{Branch, Branches, Role};
use super::descriptor::Descriptor;
use super::origin::Origin;
use crate::base::fd_slab::FdEntry;
use crate::base::slab::SlabKey;
use crate::poll::{Event, FdRef, Interest, Readiness, Trigger};
use readily_sys::nonblocking::Hold;
use readily_sys::tail_rc::TailRc;
use readily_sys::transfer::Transfer;
use std::cell::{Cell, OnceCell};
use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::panic::Location;

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
    pub(super) fn state(self) -> RegistrationState {
        let Self {
            role,
            interest,
            trigger,
            ..
        } = self;
        RegistrationState {
            role,
            interest,
            trigger,
            reasons: Reasons::NONE,
        }
    }
}

/// The facts for which nothing is left to be done after the branches.
pub(super) const FLOW: Readiness =
    Readiness::from_bits(Readiness::READ.bits() | Readiness::WRITE.bits());

/// Where a descriptor comes from. A descriptor has at most one of these, in seven bytes.
pub(super) enum Provenance {
    /// Accepted by a listener of this loop, from this peer: address and port. (One of IPv6 is in the box.)
    AcceptedV4([u8; 4], [u8; 2]),
    /// Made by other code: if its file was blocking, it is made blocking again in the end (R131).
    Held(Hold),
}

/// What few registrations have, in a box: a connection does with one word.
#[derive(Default)]
struct Rare {
    /// The descriptor, if it is not a socket that the registration owns, and its number.
    other: Option<(Descriptor, RawFd)>,
    /// The peer of a connection that was accepted by a listener of this loop.
    peer_v6: OnceCell<SocketAddrV6>,
    /// The number of its slot, if that is not the descriptor.
    slot: Cell<Option<u32>>,
    /// The number of unread bytes when the hangup was last delayed for them.
    unread_before: Cell<u32>,
}

/// A registration, with its callbacks as the tail. They are borrowed while one of them runs, so that none is
/// called inside another (L3); the table is not borrowed (L8).
pub(super) type RegistrationRc<C> = TailRc<Registration, C>;

/// A registration without its callbacks. `LoopHandle::drop_registration` drops those while the
/// descriptor is still open.
#[repr(C)] // what an event uses comes last, beside the counters and the callbacks
pub(super) struct Registration {
    /// Where it was registered, for reports.
    pub(super) site: &'static Location<'static>,
    rare: OnceCell<Box<Rare>>,
    /// Where the descriptor comes from, if that is known.
    pub(super) provenance: OnceCell<Provenance>,
    /// The system calls that read and write the descriptor without waiting (R130).
    pub(super) transfer: Cell<Transfer>,
    /// A socket that it owns. Nearly all are, and the others are in the box.
    socket: Option<OwnedFd>,
    /// That of its key in the table.
    generation: Cell<u32>,
    /// [`RegistrationState::only_reads`], cached.
    pub(super) only_reads: Cell<bool>,
    /// [`RegistrationState::active_branches`], cached, because it is read before each branch.
    pub(super) active_branches: Cell<Branches>,
    /// Whether this is a one-shot registration that was reported and not armed since.
    pub(super) spent: Cell<bool>,
    /// Whether it has a deadline, whose timer is in a table.
    pub(super) has_deadline: Cell<bool>,
    pub(super) state: Cell<RegistrationState>,
}

impl<C: ?Sized> FdEntry for RegistrationRc<C> {
    #[inline]
    fn generation(&self) -> u32 {
        self.generation.get()
    }
}

impl Registration {
    /// A registration of `descriptor`, whose number is `fd`, at `site`.
    #[inline]
    pub(super) fn new(
        state: RegistrationState,
        transfer: Transfer,
        (descriptor, fd): (Descriptor, RawFd),
        site: &'static Location<'static>,
    ) -> Self {
        let active = state.active_branches();
        let socket = match transfer.is_socket() {
            true => descriptor.into_owned(),
            false => Err(descriptor),
        };
        let (socket, rare) = match socket {
            Ok(socket) => (Some(socket), OnceCell::new()),
            Err(other) => (None, Rare::with_other(other, fd).into()),
        };
        Self {
            site,
            rare,
            provenance: OnceCell::new(),
            transfer: Cell::new(transfer),
            socket,
            generation: Cell::new(0),
            only_reads: Cell::new(state.only_reads(active)),
            active_branches: Cell::new(active),
            spent: Cell::new(false),
            has_deadline: Cell::new(false),
            state: Cell::new(state),
        }
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    /// A descriptor that is not a socket which it owns, and its number.
    #[inline(never)]
    fn other(&self) -> &(Descriptor, RawFd) {
        let other = self.rare.get().and_then(|rare| rare.other.as_ref());
        other.expect("what is not a socket is in the box")
    }

    /// The number of its descriptor.
    #[inline]
    pub(super) fn number(&self) -> RawFd {
        match &self.socket {
            Some(socket) => socket.as_raw_fd(),
            None => self.other().1,
        }
    }

    /// The system's descriptor, if this owns one that is known to be a socket.
    #[inline]
    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(OwnedFd::as_fd)
    }

    /// Its descriptor, which is taken out.
    pub(super) fn into_descriptor(self) -> Descriptor {
        if let Some(socket) = self.socket {
            return socket.into();
        }
        let other = self.rare.into_inner().and_then(|rare| rare.other);
        other.expect("what is not a socket is in the box").0
    }

    /// Notes its key in the table.
    #[inline]
    pub(super) fn set_slot(&self, key: SlabKey) {
        self.generation.set(key.generation());
        if key.slot() != self.number() as u32 as usize {
            self.rare().slot.set(Some(key.slot() as u32));
        }
    }

    /// Notes from which peer a listener has accepted it. It is new, so it has no provenance.
    pub(super) fn set_peer(&self, peer: SocketAddr) {
        match peer {
            SocketAddr::V4(peer) => {
                let (ip, port) = (peer.ip().octets(), peer.port().to_ne_bytes());
                let _ = self.provenance.set(Provenance::AcceptedV4(ip, port));
            }
            SocketAddr::V6(peer) => {
                let _ = self.rare().peer_v6.set(peer);
            }
        }
    }

    fn peer(&self) -> Option<SocketAddr> {
        if let Some(&Provenance::AcceptedV4(ip, port)) = self.provenance.get() {
            return Some((ip, u16::from_ne_bytes(port)).into());
        }
        self.rare.get()?.peer_v6.get().map(|&peer| peer.into())
    }

    /// The number of unread bytes when the hangup was last delayed for them.
    pub(super) fn unread_before(&self) -> u32 {
        self.rare.get().map_or(0, |rare| rare.unread_before.get())
    }

    pub(super) fn set_unread_before(&self, available: u32) {
        self.rare().unread_before.set(available);
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
        let other = self.rare.get().and_then(|rare| rare.slot.get());
        let index = other.unwrap_or_else(|| self.number() as u32);
        SlabKey::new(index, self.generation.get())
    }

    /// Its descriptor.
    #[inline]
    pub(super) fn fd_ref(&self) -> FdRef<'_> {
        match &self.socket {
            Some(socket) => FdRef::System(socket.as_fd()),
            None => self.other().0.fd_ref(),
        }
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
        let site = self.site;
        match self.peer() {
            Some(peer) => Origin::Accepted { branch, site, peer },
            None => Origin::Callback { branch, site },
        }
    }
}

impl Rare {
    #[cold]
    fn with_other(descriptor: Descriptor, fd: RawFd) -> Box<Self> {
        Box::new(Self {
            other: Some((descriptor, fd)),
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests;
