//! The callback table: maps a key to its registration and callbacks.
//!
//! A key is a slot number and a generation. The kernel returns it with every event. An event with
//! an old generation is for a registration that is gone, so a descriptor that is closed and a new
//! one under the same number cannot be confused. While a callback runs, the turn holds a reference
//! to its registration. So the table is never borrowed across user code, and a callback may change
//! it.
//!
//! In the notes this is "a map of callbacks" (N7). Rules: L1, L2, L3, L8.

use super::registration::{Reasons, Registration, RegistrationRc, RegistrationState, effective};
use super::source_registration::RegisteredSource;
use crate::base::fd_slab::{FdEntry, FdSlab};
use crate::base::fd_table::FdTable;
use crate::base::slab::SlabKey;
use crate::base::timer_heap::TimerKey;
use crate::poll::{Interest, Watched};
use std::cell::{Cell, RefCell};
use std::fmt;
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

/// The mark of a source in the bits of its key, which is the highest bit of the slot's number: a key
/// without it is that of a registration with callbacks.
const SOURCE_MARK: u64 = 1 << 31;

fn marked(key: SlabKey) -> SlabKey {
    SlabKey::from_bits(key.to_bits() | SOURCE_MARK)
}

#[inline]
fn unmarked(key: SlabKey) -> Option<SlabKey> {
    is_source(key.to_bits()).then(|| SlabKey::from_bits(key.to_bits() & !SOURCE_MARK))
}

/// Whether a token is that of a source.
#[inline]
pub(super) fn is_source(token: u64) -> bool {
    token & SOURCE_MARK != 0
}

/// The table is borrowed across a call (L8). Out of line, so that a look-up needs no place in the source for the
/// message of a panic.
#[cold]
#[inline(never)]
fn is_borrowed() -> ! {
    panic!("the table of registrations is borrowed");
}

/// A source in its table.
struct SourceEntry {
    generation: u32,
    source: Rc<dyn RegisteredSource>,
}

impl SourceEntry {
    fn fd(&self) -> RawFd {
        self.source.registration().fd.get()
    }
}

/// The registration of a source has its key too, but each event would call a function to reach it.
impl FdEntry for SourceEntry {
    #[inline]
    fn generation(&self) -> u32 {
        self.generation
    }
}

/// The table of registrations with callbacks of the type `C`. Each method borrows it once, briefly, and
/// never calls user code.
pub(super) struct Registry<C: ?Sized> {
    ///
    /// They are by descriptor, so that a second registration of one is refused on every system (kqueue would
    /// silently overwrite the first). That cannot become stale: a registration owns its descriptor, and is
    /// removed from this table before that is closed.
    slots: RefCell<FdSlab<RegistrationRc<C>>>,
    /// The sources, under keys with a mark.
    sources: RefCell<FdSlab<SourceEntry>>,
    /// The number of both.
    len: Cell<usize>,
    /// The timers of registrations with a deadline. A separate map, because most registrations have
    /// none.
    deadlines: RefCell<FdTable>,
    /// The registrations that one of their own callbacks has removed: they are dropped when that
    /// callback has returned (L3).
    removed: RefCell<Vec<RegistrationRc<C>>>,
    /// The latest of them: nearly always it is the only one.
    last_removed: Cell<Option<RegistrationRc<C>>>,
}

impl<C: ?Sized> Default for Registry<C> {
    fn default() -> Self {
        Self {
            slots: RefCell::default(),
            sources: RefCell::default(),
            len: Cell::new(0),
            deadlines: RefCell::default(),
            removed: RefCell::default(),
            last_removed: Cell::new(None),
        }
    }
}

impl<C: ?Sized> Registry<C> {
    /// The key of `fd`, and the line that registered it, if that is registered.
    pub(super) fn find(&self, fd: RawFd) -> Option<(SlabKey, &'static Location<'static>)> {
        let source = self.sources.borrow().key_of(fd).map(marked);
        if let Some(key) = source {
            return Some((key, self.source(key)?.registration().site));
        }
        let key = self.slots.borrow().key_of(fd)?;
        Some((key, self.slots.borrow().get(key)?.site))
    }

    /// Adds a source, before the poller is called with its key.
    ///
    /// # Errors
    ///
    /// The key that its descriptor is registered under already.
    pub(super) fn insert_source(
        &self,
        source: &Rc<impl RegisteredSource + 'static>,
        fd: RawFd,
    ) -> Result<SlabKey, SlabKey> {
        if let Some(other) = self.slots.borrow_mut().key_of(fd) {
            return Err(other);
        }
        let inserted = self.sources.borrow_mut().insert_with(fd, |key| {
            let registration = source.registration();
            registration.slot.set(marked(key));
            registration.fd.set(fd);
            SourceEntry {
                generation: key.generation(),
                source: Rc::<_>::clone(source) as Rc<dyn RegisteredSource>,
            }
        });
        self.count(inserted.map(marked).map_err(marked))
    }

    /// Counts what was inserted.
    #[inline(always)]
    fn count<E>(&self, inserted: Result<SlabKey, E>) -> Result<SlabKey, E> {
        if inserted.is_ok() {
            self.len.set(self.len.get() + 1);
        }
        inserted
    }

    /// L1: the source with exactly this `key`.
    #[inline]
    pub(super) fn source(&self, key: SlabKey) -> Option<Rc<dyn RegisteredSource>> {
        // As in `get`.
        let sources = self.sources.borrow_mut();
        Some(Rc::clone(&sources.get(unmarked(key)?)?.source))
    }

    /// Removes a source. The caller drops it outside every borrow (L8).
    #[must_use = "it is dropped outside the borrow (L8)"]
    pub(super) fn remove_source(&self, key: SlabKey) -> Option<Rc<dyn RegisteredSource>> {
        let mut sources = self.sources.borrow_mut();
        let entry = sources.remove(unmarked(key)?, SourceEntry::fd)?;
        self.len.set(self.len.get() - 1);
        Some(entry.source)
    }

    /// Adds a registration, before the poller is called with its key.
    ///
    /// # Errors
    ///
    /// The key that its descriptor is registered under already.
    #[inline]
    pub(super) fn insert(&self, registration: RegistrationRc<C>) -> Result<SlabKey, SlabKey> {
        let fd = registration.number();
        if let Some(other) = self.sources.borrow_mut().key_of(fd) {
            return Err(marked(other));
        }
        // If it is refused, the caller has another reference.
        let inserted = self.slots.borrow_mut().insert_with(fd, |key| {
            registration.set_slot(key);
            registration
        });
        self.count(inserted)
    }

    /// Takes a registration out again: the poller has refused its descriptor.
    pub(super) fn rollback(&self, key: SlabKey) {
        drop(self.take(key)); // the caller has another reference
    }

    #[inline(always)]
    fn take(&self, key: SlabKey) -> Option<RegistrationRc<C>> {
        let fd_of = |registration: &RegistrationRc<C>| registration.number();
        let taken = self.slots.borrow_mut().remove(key, fd_of)?;
        self.len.set(self.len.get() - 1);
        Some(taken)
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
    pub(super) fn get(&self, key: SlabKey) -> Option<RegistrationRc<C>> {
        // Each event does this: an exclusive borrow is begun and ended in fewer instructions than a shared one.
        match self.slots.try_borrow_mut() {
            Ok(slots) => slots.get(key).cloned(),
            Err(_) => is_borrowed(),
        }
    }

    pub(super) fn state(&self, key: SlabKey) -> Option<RegistrationState> {
        self.fd_and_state(key).map(|(_, state)| state)
    }

    #[inline]
    pub(super) fn fd_and_state(&self, key: SlabKey) -> Option<(RawFd, RegistrationState)> {
        let slots = self.slots.borrow();
        let registration = slots.get(key)?;
        Some((registration.number(), registration.state.get()))
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
                fd: registration.number(),
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
        for (_, source) in self.sources.borrow().iter() {
            all.push(source.source.registration().watched());
        }
        all
    }

    /// Removes a registration. The caller drops it outside every borrow (L8).
    #[must_use = "it is dropped outside the borrow (L8)"]
    #[inline]
    pub(super) fn remove(&self, key: SlabKey) -> Option<RegistrationRc<C>> {
        let registration = self.take(key)?;
        registration.set_removed();
        Some(registration)
    }

    /// Keeps a removed registration until its running callback has returned.
    #[inline]
    pub(super) fn keep_removed(&self, registration: RegistrationRc<C>) {
        if let Some(before) = self.last_removed.replace(Some(registration)) {
            self.removed.borrow_mut().push(before);
        }
    }

    /// Takes out a kept registration whose callback has returned.
    #[inline]
    pub(super) fn take_removed(&self) -> Option<RegistrationRc<C>> {
        match self.last_removed.take() {
            Some(last) if last.is_unique() => Some(last),
            None if self.removed.borrow_mut().is_empty() => None,
            last => self.take_earlier_removed(last),
        }
    }

    #[inline(never)]
    fn take_earlier_removed(&self, last: Option<RegistrationRc<C>>) -> Option<RegistrationRc<C>> {
        self.last_removed.set(last);
        let mut removed = self.removed.borrow_mut();
        let place = removed.iter().position(RegistrationRc::is_unique)?;
        Some(removed.swap_remove(place))
    }

    /// The number of registrations, each of which has one descriptor.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len.get()
    }

    pub(super) fn first(&self) -> Option<SlabKey> {
        let source = || self.sources.borrow_mut().first().map(marked);
        let slot = self.slots.borrow_mut().first();
        slot.or_else(source)
    }

    pub(super) fn verify(&self) {
        let slots = self.slots.borrow();
        slots.verify(|registration| registration.number());
        let sources = self.sources.borrow();
        sources.verify(SourceEntry::fd);
        let len = slots.len() + sources.len();
        assert_eq!(len, self.len.get(), "the registrations are counted");
        let deadlines = self.deadlines.borrow();
        deadlines.each_fd(&mut |fd| {
            let owned = slots.key_of(fd).is_some();
            assert!(owned, "each deadline belongs to a registration");
        });
        for (key, source) in sources.iter() {
            let registration = source.source.registration();
            assert_eq!(registration.slot.get(), marked(key));
            let other = slots.key_of(registration.fd.get());
            assert_eq!(other, None, "a descriptor is registered once");
        }
        for (key, registration) in slots.iter() {
            let state = registration.state.get();
            assert_eq!(registration.slot(), key);
            let removed = state.reasons.contains(Reasons::REMOVED);
            assert!(!removed, "a removed registration is not in the table");
            assert_eq!(
                registration.active_branches.get(),
                state.active_branches(),
                "the cached branches are up to date"
            );
            assert_eq!(
                registration.only_reads.get(),
                state.only_reads(state.active_branches()),
                "the cached answer for most events is up to date"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::shrink;
    use crate::event_loop::Role;
    use crate::poll::Trigger;
    use readily_sys::tail_rc::NewTailRc;
    use readily_sys::transfer::Transfer;
    use std::panic::Location;

    /// R126.
    #[test]
    fn the_room_of_many_deadlines_is_given_back_when_they_go() {
        let registry = Registry::<()>::default();
        for fd in 0..10_000 {
            registry.keep_deadline(fd, TimerKey::from_bits(fd as u64));
        }
        for fd in 0..10_000 {
            let timer = registry.take_deadline(fd).map(TimerKey::to_bits);
            assert_eq!((timer, registry.take_deadline(fd)), (Some(fd as u64), None));
        }
        assert!(registry.deadlines.borrow().room() <= shrink::MIN_CAPACITY);
    }

    /// R126.
    #[test]
    fn the_room_of_many_numbers_is_given_back_when_they_go() {
        let registry = Registry::<()>::default();
        let (end, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let end = Rc::new(end);
        let insert = |fd| {
            let state = RegistrationState {
                role: Role::Stream,
                interest: Interest::NONE,
                trigger: Trigger::Level,
                reasons: Reasons::NONE,
            };
            let (end, site) = (Rc::clone(&end).into(), Location::caller());
            let new = Registration::new(state, Transfer::SOCKET, (end, fd), site);
            let new = NewTailRc::<_, (), ()>::new(new, (), |block| block);
            registry.insert(new.into_shared()).unwrap()
        };
        let keys: Vec<_> = (0..10_000).map(|fd| (insert(fd), fd)).collect();
        registry.verify();
        for (key, fd) in keys {
            assert_eq!(registry.slots.borrow().key_of(fd), Some(key));
            registry.rollback(key);
        }
        assert!(registry.slots.borrow().room() <= 8 * shrink::MIN_CAPACITY);
        registry.verify();
    }
}
