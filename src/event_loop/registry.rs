//! The callback table: a key for each registration, callbacks for each key.
//!
//! A key is a slot number and a generation. The kernel hands it back with every event, and
//! an event whose generation is old is somebody else's past: closing a descriptor and
//! opening another under the same number cannot mix the two up. What a callback needs is
//! held by the turn too while it runs, so the table is never borrowed across user code, and a
//! callback may do to it what it likes.
//!
//! In the notes this is "a map of callbacks" (N7). Rules: L1, L2, L3, L8.

use super::callbacks::Callbacks;
use super::classify::{Branch, Branches, Role};
use super::descriptor::Descriptor;
use super::effective::{Reasons, effective};
use super::origin::Origin;
use crate::base::int_hash::IntMap;
use crate::base::shrink;
use crate::base::slab::{Slab, SlabKey};
use crate::base::timer_heap::TimerKey;
use crate::poll::{Interest, Trigger, Watched};
use readily_sys::nonblocking::Hold;
use readily_sys::transfer::Transfer;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::panic::Location;
use std::rc::Rc;

/// Names a registration of one loop for as long as it lives.
///
/// Keys are never used again: a key whose registration has gone finds nothing, and a key of
/// another loop finds nothing either.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub(super) slot: SlabKey,
    /// Which loop: two loops may use the same slot and generation.
    pub(super) loop_id: u64,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.slot.to_bits();
        write!(f, "Key({}.{})", bits as u32, bits >> 32)
    }
}

/// What is known of a registration.
#[derive(Clone, Copy)]
pub(super) struct RegistrationState {
    pub(super) fd: RawFd,
    pub(super) role: Role,
    /// The interest of the user, which only the user changes (L10).
    pub(super) interest: Interest,
    pub(super) trigger: Trigger,
    /// Why the poller is asked for something else.
    pub(super) reasons: Reasons,
    /// It has no read branch: bytes that nobody will ever take do not hold a hangup up.
    pub(super) no_reader: bool,
    /// L2: out of the table. Whoever still holds it runs none of its callbacks any more.
    pub(super) removed: bool,
    /// How many bytes were left when the hangup was last put off for them.
    pub(super) unread_before: u32,
    pub(super) site: &'static Location<'static>,
}

impl RegistrationState {
    /// The branches that the registration asks for; none if it has gone (L2).
    fn active_branches(&self) -> Branches {
        if self.removed {
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
}

/// Where a descriptor comes from: what is known of one is not of the other.
pub(super) enum Provenance {
    /// Another owner: if the file was blocking, it is made blocking again in the end (R131).
    Held(Hold),
    /// A listener of this loop, with this peer.
    Accepted(SocketAddr),
}

/// A registration. Field order is drop order: callbacks first, while their descriptor is still open.
pub(super) struct Registration {
    /// Borrowed while one of them runs, so that they cannot be called in one another (L3); the table
    /// is not (L8).
    pub(super) callbacks: RefCell<Box<dyn Callbacks>>,
    pub(super) state: Cell<RegistrationState>,
    /// [`RegistrationState::active_branches`], asked before each branch.
    pub(super) active_branches: Cell<Branches>,
    /// By which calls it is read and written without waiting (R130).
    pub(super) transfer: Cell<Transfer>,
    /// Where it comes from, if that is known.
    pub(super) provenance: Option<Box<Provenance>>,
    /// A one-shot registration that was reported, and not asked for since.
    pub(super) spent: Cell<bool>,
    pub(super) fd: Descriptor,
}

impl Registration {
    fn set_line(&self, state: &RegistrationState) {
        self.state.set(*state);
        self.active_branches.set(state.active_branches());
    }

    /// Who its callback is, for reports.
    pub(super) fn origin(&self, branch: Branch) -> Origin {
        let site = self.state.get().site;
        match self.provenance.as_deref() {
            Some(&Provenance::Accepted(peer)) => Origin::Accepted { branch, site, peer },
            _ => Origin::Callback { branch, site },
        }
    }
}

/// The table. Each method borrows it once, briefly, and never calls out.
#[derive(Default)]
pub(super) struct Registry {
    /// `None` for a moment at the beginning: the poller is asked first, with the slot's key.
    slots: RefCell<Slab<Option<Rc<Registration>>>>,
    /// Which slot has a number. It tells a second registration from a first one on every
    /// system (kqueue would overwrite the first in silence), and it cannot go stale: a
    /// registration holds its descriptor, and leaves this map before it lets go of it.
    by_fd: RefCell<IntMap>,
    /// The timers of those that have a deadline. A table of its own: most have none, and pay nothing.
    deadlines: RefCell<IntMap>,
}

/// R126: by halves.
fn shrink(by_fd: &mut IntMap) {
    if by_fd.len() < shrink::shrink_below(by_fd.capacity()) {
        let half = by_fd.capacity() / 2;
        by_fd.shrink_to(half);
    }
}

impl Registry {
    /// The line that has `fd` already.
    pub(super) fn find(&self, fd: RawFd) -> Option<(SlabKey, RegistrationState)> {
        let key = SlabKey::from_bits(*self.by_fd.borrow().get(&fd)?);
        Some((key, self.state(key)?))
    }

    /// Keeps a place, to be filled once the poller has agreed.
    pub(super) fn reserve(&self, fd: RawFd) -> SlabKey {
        let key = self.slots.borrow_mut().insert(None);
        self.by_fd.borrow_mut().insert(fd, key.to_bits());
        key
    }

    /// The poller has not agreed.
    pub(super) fn rollback(&self, key: SlabKey, fd: RawFd) {
        self.slots.borrow_mut().remove(key);
        self.unmap_fd(fd);
    }

    fn unmap_fd(&self, fd: RawFd) {
        let mut by_fd = self.by_fd.borrow_mut();
        by_fd.remove(&fd);
        shrink(&mut by_fd);
    }

    /// Keeps the timer of a deadline, for a descriptor that has none.
    pub(super) fn keep_deadline(&self, fd: RawFd, timer: TimerKey) {
        self.deadlines.borrow_mut().insert(fd, timer.to_bits());
    }

    pub(super) fn take_deadline(&self, fd: RawFd) -> Option<TimerKey> {
        let mut deadlines = self.deadlines.borrow_mut();
        if deadlines.is_empty() {
            return None;
        }
        let timer = deadlines.remove(&fd);
        shrink(&mut deadlines);
        timer.map(TimerKey::from_bits)
    }

    /// The poller has agreed.
    pub(super) fn commit<C: Callbacks + 'static>(
        &self,
        key: SlabKey,
        state: RegistrationState,
        (transfer, provenance): (Transfer, Option<Provenance>),
        fd: Descriptor,
        callbacks: C,
    ) {
        let registration = Rc::new(Registration {
            callbacks: RefCell::new(Box::new(callbacks)),
            state: Cell::new(state),
            active_branches: Cell::new(state.active_branches()),
            transfer: Cell::new(transfer),
            provenance: provenance.map(Box::new),
            spent: Cell::new(false),
            fd,
        });
        if let Some(place) = self.slots.borrow_mut().get_mut(key) {
            *place = Some(registration);
        }
    }

    /// L1: the registration of `key`, and of no other.
    #[inline]
    pub(super) fn get(&self, key: SlabKey) -> Option<Rc<Registration>> {
        self.slots.borrow().get(key)?.clone()
    }

    pub(super) fn state(&self, key: SlabKey) -> Option<RegistrationState> {
        let slots = self.slots.borrow();
        Some(slots.get(key)?.as_ref()?.state.get())
    }

    /// Puts `state` in place of what was known of a registration, unless that has gone.
    pub(super) fn set_line(&self, key: SlabKey, state: &RegistrationState) {
        if let Some(Some(registration)) = self.slots.borrow().get(key) {
            registration.set_line(state);
        }
    }

    /// Changes a line in place, unless its registration has gone.
    #[inline]
    pub(super) fn update(&self, key: SlabKey, change: impl FnOnce(&mut RegistrationState)) {
        if let Some(mut state) = self.state(key) {
            change(&mut state);
            self.set_line(key, &state);
        }
    }

    /// The poller was asked for it anew.
    pub(super) fn asked(&self, key: SlabKey) {
        if let Some(Some(registration)) = self.slots.borrow().get(key) {
            registration.spent.set(false);
        }
    }

    /// What the poller watches, as it was last asked for it.
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
        let slots = self.slots.borrow();
        let all = slots.iter();
        all.filter_map(|(key, slot)| watched(key, slot.as_ref()?))
            .collect()
    }

    /// Takes a registration out for good. It is dropped outside every borrow (L8), by whoever holds
    /// it last.
    #[must_use = "it is dropped outside the borrow (L8)"]
    pub(super) fn remove(&self, key: SlabKey) -> Option<Rc<Registration>> {
        let registration = self.slots.borrow_mut().remove(key)??;
        let state = registration.state.get();
        registration.set_line(&RegistrationState {
            removed: true,
            ..state
        });
        self.unmap_fd(state.fd);
        Some(registration)
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
        assert_eq!(
            slots.len(),
            by_fd.len(),
            "one descriptor for each registration"
        );
        let deadlines = self.deadlines.borrow();
        let owned = deadlines.keys().all(|fd| by_fd.contains_key(fd));
        assert!(owned, "a deadline is gone with its registration");
        for (key, slot) in slots.iter() {
            let state = slot
                .as_ref()
                .expect("no place is empty for long")
                .state
                .get();
            assert_eq!(
                by_fd.get(&state.fd),
                Some(&key.to_bits()),
                "the map leads to the slot"
            );
            assert!(!state.removed, "what is gone is not in the table");
            let active = slot
                .as_ref()
                .map(|registration| registration.active_branches.get());
            assert_eq!(
                active,
                Some(state.active_branches()),
                "what is wanted is worked out"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With its two counts, the whole of a block of the allocator's.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_registration_is_as_small_as_it_was() {
        let counts = 2 * size_of::<usize>();
        assert_eq!(size_of::<Registration>() + counts, 104);
    }

    /// R126.
    #[test]
    fn the_room_of_many_deadlines_is_given_back_when_they_go() {
        let registry = Registry::default();
        for fd in 0..10_000 {
            registry.keep_deadline(fd, TimerKey::from_bits(fd as u64));
        }
        for fd in 0..10_000 {
            let timer = registry.take_deadline(fd).map(TimerKey::to_bits);
            assert_eq!((timer, registry.take_deadline(fd)), (Some(fd as u64), None));
        }
        assert!(registry.deadlines.borrow().capacity() <= shrink::MIN_CAPACITY);
    }

    /// R126.
    #[test]
    fn the_room_of_many_numbers_is_given_back_when_they_go() {
        let registry = Registry::default();
        let keys: Vec<_> = (0..10_000).map(|fd| (registry.reserve(fd), fd)).collect();
        for (key, fd) in keys {
            registry.rollback(key, fd);
        }
        assert!(registry.by_fd.borrow().capacity() <= shrink::MIN_CAPACITY);
        registry.verify();
    }
}
