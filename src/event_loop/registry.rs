//! The callback table: maps a key to its registration and callbacks.
//!
//! A key is a slot number and a generation. The kernel returns it with every event. An event with
//! an old generation is for a registration that is gone, so a descriptor that is closed and a new
//! one under the same number cannot be confused. While a callback runs, the turn holds a reference
//! to its registration. So the table is never borrowed across user code, and a callback may change
//! it.
//!
//! In the notes this is "a map of callbacks" (N7). Rules: L1, L2, L3, L8.

use super::callbacks::Callbacks;
use super::classify::{Branch, Branches, Role};
use super::descriptor::Descriptor;
use super::origin::Origin;
use super::registration::{Reasons, effective};
use crate::base::fd_table::FdTable;
use crate::base::slab::{Slab, SlabKey};
use crate::base::timer_heap::TimerKey;
use crate::poll::{Event, FdRef, Interest, Readiness, Trigger, Watched};
use readily_sys::nonblocking::Hold;
use readily_sys::transfer::Transfer;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::panic::Location;
use std::rc::Rc;

/// Identifies a registration of one loop.
///
/// Keys are never reused: a call with the key of a removed registration, or of another loop,
/// returns [`Error::UnknownKey`](super::Error::UnknownKey).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub(super) slot: SlabKey,
    /// The loop: two loops may use the same slot and generation.
    pub(super) loop_id: u64,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.slot.to_bits();
        write!(f, "Key({}.{})", bits as u32, bits >> 32)
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
    fn active_branches(&self) -> Branches {
        if self.reasons.contains(Reasons::REMOVED) {
            return Branches::NONE;
        }
        let watched = !self.reasons.contains(Reasons::SUSPENDED);
        let connect = match self.role {
            Role::Listener => self.interest.contains(Interest::READ),
            _ => watched,
        };
        let default = match self.role {
            Role::Source => watched,
            _ => self.interest.contains(Interest::PRIORITY),
        };
        Branches::NONE
            .with(connect, Branch::Connect)
            .with(self.interest.contains(Interest::READ), Branch::Read)
            .with(self.interest.contains(Interest::WRITE), Branch::Write)
            .with(watched, Branch::Hangup)
            .with(default, Branch::Default)
    }

    /// The branch of the most frequent events: of bytes to read, and of any flow of a source. `None`
    /// if such an event takes other branches, or has something to be done before or after them.
    fn usual_branch(&self) -> Option<Branch> {
        if self.trigger == Trigger::OneShot || self.reasons.any_of(Reasons::BY_EDGE_OR_REMOVED) {
            return None;
        }
        let branch = match self.role {
            Role::Stream | Role::Datagram => Branch::Read,
            Role::Source => Branch::Default,
            Role::Listener | Role::Connecting => return None,
        };
        self.active_branches().contains(branch).then_some(branch)
    }
}

/// The facts for which nothing is left to be done after the branches.
pub(super) const FLOW: Readiness =
    Readiness::from_bits(Readiness::READ.bits() | Readiness::WRITE.bits());

/// Where a descriptor comes from. A descriptor has at most one of these.
pub(super) enum Provenance {
    /// Made by other code: if its file was blocking, it is made blocking again in the end (R131).
    Held(Hold),
    /// Accepted by a listener of this loop, from this peer.
    Accepted(SocketAddr),
}

/// The callbacks of a registration that the poller has not accepted yet: of no size, so that their box
/// allocates nothing.
struct NoCallbacks;

impl Callbacks for NoCallbacks {}

/// A registration. [`LoopHandle::drop_registration`] drops the callbacks while the descriptor is still
/// open.
///
/// [`LoopHandle::drop_registration`]: super::LoopHandle::drop_registration
pub(super) struct Registration {
    pub(super) state: Cell<RegistrationState>,
    /// [`RegistrationState::active_branches`], cached, because it is read before each branch.
    pub(super) active_branches: Cell<Branches>,
    /// [`RegistrationState::usual_branch`], cached.
    usual_branch: Cell<Option<Branch>>,
    /// The system calls that read and write the descriptor without waiting (R130).
    pub(super) transfer: Cell<Transfer>,
    /// Whether this is a one-shot registration that was reported and not armed since.
    pub(super) spent: Cell<bool>,
    /// Its key in the table.
    slot: Cell<SlabKey>,
    pub(super) fd: Descriptor,
    /// Where the descriptor comes from, if that is known.
    pub(super) provenance: OnceCell<Box<Provenance>>,
    /// Borrowed while one of the callbacks runs, so that none is called inside another (L3). The
    /// table is not borrowed (L8).
    pub(super) callbacks: RefCell<Box<dyn Callbacks>>,
}

impl Registration {
    pub(super) fn new(state: RegistrationState, transfer: Transfer, fd: Descriptor) -> Self {
        Self {
            state: Cell::new(state),
            active_branches: Cell::new(state.active_branches()),
            usual_branch: Cell::new(state.usual_branch()),
            transfer: Cell::new(transfer),
            spent: Cell::new(false),
            slot: Cell::new(SlabKey::from_bits(0)),
            fd,
            provenance: OnceCell::new(),
            callbacks: RefCell::new(Box::new(NoCallbacks)),
        }
    }

    /// Sets the callbacks, once the poller has accepted the descriptor.
    pub(super) fn set_callbacks<C: Callbacks + 'static>(&self, callbacks: C) {
        self.callbacks.replace(Box::new(callbacks));
    }

    /// The branch that `event` takes, if that is the only one, and nothing else is to be done.
    ///
    /// It is what [`classify`](super::classify::classify) and the active branches say, in two
    /// comparisons.
    #[inline(always)]
    pub(super) fn only_branch(&self, event: Event) -> Option<Branch> {
        let is_flow = |ready: Readiness| !ready.is_empty() && ready.without(FLOW).is_empty();
        self.usual_branch.get().filter(|branch| match branch {
            Branch::Read => event.is_only_read(),
            _ => is_flow(event.ready()),
        })
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

    fn set_state(&self, state: &RegistrationState) {
        self.state.set(*state);
        self.active_branches.set(state.active_branches());
        self.usual_branch.set(state.usual_branch());
    }

    /// The origin of its callback, for reports.
    pub(super) fn origin(&self, branch: Branch) -> Origin {
        let site = self.state.get().site;
        match self.provenance.get().map(Box::as_ref) {
            Some(&Provenance::Accepted(peer)) => Origin::Accepted { branch, site, peer },
            _ => Origin::Callback { branch, site },
        }
    }
}

/// The table. Each method borrows it once, briefly, and never calls user code.
#[derive(Default)]
pub(super) struct Registry {
    slots: RefCell<Slab<Rc<Registration>>>,
    /// Maps a descriptor's number to its slot. With it a second registration of a descriptor is
    /// refused on every system (kqueue would silently overwrite the first). It cannot become stale:
    /// a registration owns its descriptor, and is removed from this map before that is closed.
    by_fd: RefCell<FdTable>,
    /// The timers of registrations with a deadline. A separate map, because most registrations have
    /// none.
    deadlines: RefCell<FdTable>,
    /// The registrations that one of their own callbacks has removed: they are dropped when that
    /// callback has returned (L3).
    removed: RefCell<Vec<Rc<Registration>>>,
}

impl Registry {
    /// The registration of `fd`, if there is one.
    pub(super) fn find(&self, fd: RawFd) -> Option<(SlabKey, RegistrationState)> {
        let key = SlabKey::from_bits(self.by_fd.borrow().get(fd)?);
        Some((key, self.state(key)?))
    }

    /// Adds a registration, before the poller is called with its key.
    pub(super) fn insert(&self, registration: Rc<Registration>) -> SlabKey {
        let fd = registration.state.get().fd;
        let mut slots = self.slots.borrow_mut();
        let key = slots.insert_with(|key| {
            registration.slot.set(key);
            registration
        });
        self.by_fd.borrow_mut().insert(fd, key.to_bits());
        key
    }

    /// Takes a registration out again: the poller has refused its descriptor.
    pub(super) fn rollback(&self, key: SlabKey, fd: RawFd) {
        let refused = self.slots.borrow_mut().remove(key);
        self.unmap_fd(fd);
        drop(refused); // the caller has another reference
    }

    fn unmap_fd(&self, fd: RawFd) {
        self.by_fd.borrow_mut().remove(fd);
    }

    /// Stores the timer of a deadline, for a descriptor that has none.
    pub(super) fn keep_deadline(&self, fd: RawFd, timer: TimerKey) {
        self.deadlines.borrow_mut().insert(fd, timer.to_bits());
    }

    pub(super) fn take_deadline(&self, fd: RawFd) -> Option<TimerKey> {
        let timer = self.deadlines.borrow_mut().remove(fd)?;
        Some(TimerKey::from_bits(timer))
    }

    /// L1: the registration with exactly this `key`.
    #[inline]
    pub(super) fn get(&self, key: SlabKey) -> Option<Rc<Registration>> {
        self.slots.borrow().get(key).cloned()
    }

    pub(super) fn state(&self, key: SlabKey) -> Option<RegistrationState> {
        let slots = self.slots.borrow();
        Some(slots.get(key)?.state.get())
    }

    /// Replaces the state of a registration, unless that is removed.
    pub(super) fn set_state(&self, key: SlabKey, state: &RegistrationState) {
        if let Some(registration) = self.slots.borrow().get(key) {
            registration.set_state(state);
        }
    }

    /// Changes the state of a registration, unless that is removed.
    #[inline]
    pub(super) fn update(&self, key: SlabKey, change: impl FnOnce(&mut RegistrationState)) {
        if let Some(mut state) = self.state(key) {
            change(&mut state);
            self.set_state(key, &state);
        }
    }

    /// Notes that the poller has armed a registration again.
    pub(super) fn asked(&self, key: SlabKey) {
        if let Some(registration) = self.slots.borrow().get(key) {
            registration.spent.set(false);
        }
    }

    /// The registrations as the poller was last asked to watch them.
    pub(super) fn watched(&self) -> Vec<Watched> {
        let watched = |key: SlabKey, registration: &Registration| {
            let state = registration.state.get();
            let (interest, trigger) = effective(&state)?;
            let interest = match registration.spent.get() {
                true => Interest::NONE,
                false => interest,
            };
            Some(Watched {
                fd: state.fd,
                token: key.to_bits(),
                interest,
                trigger,
            })
        };
        let mut all = Vec::new();
        for (key, registration) in self.slots.borrow().iter() {
            if let Some(watched) = watched(key, registration) {
                all.push(watched);
            }
        }
        all
    }

    /// Removes a registration. The caller drops it outside every borrow (L8).
    #[must_use = "it is dropped outside the borrow (L8)"]
    pub(super) fn remove(&self, key: SlabKey) -> Option<Rc<Registration>> {
        let registration = self.slots.borrow_mut().remove(key)?;
        let state = registration.state.get();
        registration.set_state(&RegistrationState {
            reasons: state.reasons.with(Reasons::REMOVED, true),
            ..state
        });
        self.unmap_fd(state.fd);
        Some(registration)
    }

    /// Keeps a removed registration until its running callback has returned.
    #[cold]
    pub(super) fn keep_removed(&self, registration: Rc<Registration>) {
        self.removed.borrow_mut().push(registration);
    }

    /// Takes out a kept registration whose callback has returned.
    #[cold]
    pub(super) fn take_removed(&self) -> Option<Rc<Registration>> {
        let mut removed = self.removed.borrow_mut();
        let has_returned = |registration: &Rc<_>| Rc::strong_count(registration) == 1;
        let place = removed.iter().position(has_returned)?;
        Some(removed.swap_remove(place))
    }

    pub(super) fn len(&self) -> usize {
        self.slots.borrow().len()
    }

    pub(super) fn first(&self) -> Option<SlabKey> {
        self.slots.borrow_mut().first()
    }

    pub(super) fn verify(&self) {
        let slots = self.slots.borrow();
        slots.verify();
        let by_fd = self.by_fd.borrow();
        by_fd.verify();
        assert_eq!(
            slots.len(),
            by_fd.len(),
            "each registration has one descriptor in the map"
        );
        let deadlines = self.deadlines.borrow();
        deadlines.each_fd(&mut |fd| {
            let owned = by_fd.get(fd).is_some();
            assert!(owned, "each deadline belongs to a registration");
        });
        for (key, registration) in slots.iter() {
            let state = registration.state.get();
            assert_eq!(registration.slot(), key);
            assert_eq!(
                by_fd.get(state.fd),
                Some(key.to_bits()),
                "the map has the slot of each descriptor"
            );
            let removed = state.reasons.contains(Reasons::REMOVED);
            assert!(!removed, "a removed registration is not in the table");
            assert_eq!(
                registration.active_branches.get(),
                state.active_branches(),
                "the cached branches are up to date"
            );
            assert_eq!(
                registration.usual_branch.get(),
                state.usual_branch(),
                "the cached branch of most events is up to date"
            );
        }
    }
}

#[cfg(test)]
mod tests;
