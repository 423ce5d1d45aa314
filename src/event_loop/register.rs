//! Registering descriptors in the table and in the poller, modifying and removing them.
//!
//! A registration is in both or in neither, even if a step fails, and it is removed from the poller
//! before its descriptor can close (R004). If a call fails, its arguments are returned in the
//! error.
//!
//! In the notes: register read and write interest, register callbacks, cancel (N7). Rules:
//! L1, L2, L8.

use super::classify::Role;
use super::descriptor::{Descriptor, belongs_to};
use super::error::{Error, RegisterError};
use super::loop_handle::{Callbacks, LoopHandle, RegistrationRc};
use super::registration::{
    FdState, Provenance, Reasons, RegisterOptions, Registration, RegistrationState, effective,
};
use super::registry::{Key, is_source};
use crate::base::slab::SlabKey;
use crate::poll::{FdOwned, FdRef, Interest, Trigger};
use readily_sys::nonblocking::Hold;
use readily_sys::socket;
use readily_sys::tail_rc::NewTailRc;
use readily_sys::transfer::Transfer;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::panic::Location;

/// A registration whose callbacks, of the type `C`, are not stored yet.
type NewRegistration<C> = NewTailRc<Registration, dyn Callbacks, C>;

impl LoopHandle {
    /// Registers a descriptor with its callbacks, level-triggered.
    ///
    /// From now on the loop owns the descriptor: it is made non-blocking, and closed when the
    /// registration ends. A descriptor that was blocking is made blocking again before it is
    /// closed, because other processes may share the open file (a parent on the same terminal, for
    /// instance). A duplicate that is still in use must then set `O_NONBLOCK` again. To keep the
    /// flag, set it before the descriptor is registered: then the loop does not change it.
    ///
    /// The kind of the descriptor decides its role: a listening socket takes the connect branch, a
    /// datagram socket is never hung up, everything else is a stream.
    ///
    /// # Errors
    ///
    /// Each with the descriptor and the callbacks: [`Error::AlreadyRegistered`],
    /// [`Error::NotPollable`], [`Error::NotConnected`], [`Error::BadDescriptor`], [`Error::Closed`],
    /// [`Error::Forked`], [`Error::Io`].
    #[doc(alias = "add_reader")]
    #[doc(alias = "add_writer")]
    #[doc(alias = "insert_source")]
    #[track_caller]
    pub fn register<C: Callbacks + 'static>(
        &self,
        descriptor: impl Into<Descriptor>,
        interest: Interest,
        callbacks: C,
    ) -> Result<Key, RegisterError<C>> {
        self.register_with(descriptor, interest, Trigger::Level, callbacks)
    }

    /// Registers a descriptor as [`register`](LoopHandle::register) does, with the given trigger.
    ///
    /// An edge-triggered callback reads or writes until `WouldBlock`, and then calls
    /// [`LoopHandle::rearm`]. A one-shot registration is reported once, and then again after
    /// [`LoopHandle::set_interest_of`].
    ///
    /// # Errors
    ///
    /// As [`register`](LoopHandle::register).
    #[track_caller]
    pub fn register_with<C: Callbacks + 'static>(
        &self,
        descriptor: impl Into<Descriptor>,
        interest: Interest,
        trigger: Trigger,
        callbacks: C,
    ) -> Result<Key, RegisterError<C>> {
        let descriptor = descriptor.into().on(self.kernel());
        let kind = descriptor.fd_ref().kind();
        let role = match kind {
            socket::Kind::Listener => Role::Listener,
            socket::Kind::Datagram => Role::Datagram,
            socket::Kind::Stream | socket::Kind::Other => Role::Stream,
        };
        let options = RegisterOptions {
            role,
            interest,
            trigger,
            fd_state: FdState::Unknown,
            transfer: descriptor.fd_ref().transfer(),
        };
        self.insert(options, descriptor, callbacks)
    }

    /// Begins to connect to `addr`, and registers the connection.
    ///
    /// When the connection is established, [`Callbacks::on_connect`] runs, once, and the
    /// registration is a stream. Its interest is then the one that
    /// [`Callbacks::connected_interest`] returned, or that [`LoopHandle::set_interest_of`] has set
    /// meanwhile. If the connection is refused, [`Callbacks::on_hangup`] runs with the reason.
    ///
    /// # Errors
    ///
    /// As [`register`](LoopHandle::register); if the system refuses the connection at once,
    /// [`Error::Io`] with the callbacks but without a descriptor.
    #[doc(alias = "sock_connect")]
    #[track_caller]
    pub fn connect<C: Callbacks + 'static>(
        &self,
        addr: SocketAddr,
        callbacks: C,
    ) -> Result<Key, RegisterError<C>> {
        let begun = match &self.kernel {
            Some(kernel) => kernel.connect(addr).map(FdOwned::Virtual),
            None => socket::connect_tcp(&addr).map(FdOwned::System),
        };
        let fd = match begun {
            Ok(fd) => fd,
            Err(error) => {
                return Err(RegisterError {
                    error: Error::Io(error),
                    descriptor: None,
                    callbacks,
                });
            }
        };
        let options = RegisterOptions {
            role: Role::Connecting,
            interest: callbacks.connected_interest(),
            trigger: Trigger::Level,
            fd_state: FdState::MadeHere,
            transfer: Transfer::SOCKET,
        };
        self.insert(options, fd.into(), callbacks)
    }

    /// Returns the interest of `key`, as it was last set by [`LoopHandle::register`], [`LoopHandle::set_interest_of`] or
    /// a callback.
    ///
    /// The interest that is passed to the poller may differ for reasons of the loop's own, which
    /// change nothing here: a connection under way is watched until it is established, a listener
    /// that has run out of descriptors is paused, and a registration that would report its end for
    /// ever is suspended.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownKey`].
    pub fn interest_of(&self, key: Key) -> Result<Interest, Error> {
        if is_source(key.slot.to_bits()) {
            return self.interest_of_source(key);
        }
        Ok(self.registration_state(key)?.interest)
    }

    /// Sets the interest of `key`, and arms an edge-triggered or one-shot registration again.
    ///
    /// It may be called at any time. While a connection is under way, this sets the interest that
    /// the stream will have once it is established; `on_connect` still runs. A listener that the
    /// loop has paused for lack of descriptors stays paused until the loop resumes it, and then has
    /// the interest that was set last.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownKey`], [`Error::Closed`], [`Error::Forked`], [`Error::Io`]; the
    /// registration is as it was.
    #[doc(alias = "modify")]
    #[doc(alias = "reregister")]
    pub fn set_interest_of(&self, key: Key, interest: Interest) -> Result<(), Error> {
        if is_source(key.slot.to_bits()) {
            return self.set_interest_of_source(key, interest);
        }
        // A level-triggered registration is reported again by itself.
        let rearm = self.registration_state(key)?.trigger != Trigger::Level;
        // A registration without interest may have been suspended, because its end would have been
        // reported for ever. With an interest it returns to the poller. Also with one in writing:
        // the write then reports that the peer is gone.
        let back = !interest.is_empty();
        self.change(key.slot, rearm, |state| {
            state.interest = interest;
            if back {
                state.reasons = state.reasons.with(Reasons::SUSPENDED, false);
            }
        })
    }

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
        let Some((fd, old)) = self.registry.fd_and_state(slot) else {
            return Ok(());
        };
        let mut new = old;
        change(&mut new);
        self.change_to((fd, slot), rearm, &old, &new)
    }

    fn change_to(
        &self,
        (fd, slot): (RawFd, SlabKey),
        rearm: bool,
        old: &RegistrationState,
        new: &RegistrationState,
    ) -> Result<(), Error> {
        self.ensure_usable()?;
        let (was, is) = (effective(old), effective(new));
        let token = slot.to_bits();
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

    /// Arms these directions of an edge-triggered registration again. Needed after a `WouldBlock`
    /// for the directions that the poller returns from
    /// [`Poller::rearm_interest`](crate::poll::Poller::rearm_interest); without effect and cost for
    /// others.
    ///
    /// # Errors
    ///
    /// As [`set_interest_of`](LoopHandle::set_interest_of).
    pub fn rearm(&self, key: Key, interest: Interest) -> Result<(), Error> {
        if is_source(key.slot.to_bits()) {
            return self.rearm_source(self.source(key)?.registration(), interest);
        }
        let (fd, state) = self.fd_and_state(key)?;
        self.ensure_usable()?;
        if effective(&state).is_none() {
            return Ok(()); // it is not in the poller
        }
        self.rearm_watched(fd, key.slot, interest)
    }

    /// Arms those of the directions that the poller returns from `rearm_interest`.
    pub(super) fn rearm_watched(
        &self,
        fd: RawFd,
        slot: SlabKey,
        interest: Interest,
    ) -> Result<(), Error> {
        let mut poller = self.poller.borrow_mut();
        let needed = interest & poller.rearm_interest();
        if !needed.is_empty() {
            poller.rearm(fd, slot.to_bits(), needed)?;
        }
        Ok(())
    }

    /// Returns the directions for which [`LoopHandle::rearm`] has an effect with this loop's poller.
    #[must_use]
    pub(crate) fn rearm_interest(&self) -> Interest {
        self.poller.borrow().rearm_interest()
    }

    /// Whether this loop's poller reports an urgent byte: as
    /// [`Poller::reports_urgent_data`](crate::poll::Poller::reports_urgent_data).
    #[must_use]
    pub(crate) fn reports_urgent_data(&self) -> bool {
        self.poller.borrow().reports_urgent_data()
    }

    /// Ends a registration: removes it from the poller, drops its callbacks and closes its
    /// descriptor.
    ///
    /// After this none of its callbacks runs, not even for an event that was reported already
    /// ([L2]). Called from one of them, the callbacks are dropped and the descriptor is closed when
    /// that callback returns.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownKey`] if it was removed before.
    ///
    /// [L2]: crate::book::invariants#l2
    #[doc(alias = "remove_reader")]
    #[doc(alias = "remove_writer")]
    #[doc(alias = "deregister")]
    #[doc(alias = "unregister")]
    pub fn remove(&self, key: Key) -> Result<(), Error> {
        if is_source(key.slot.to_bits()) {
            return self.remove_source_of(key);
        }
        self.registration_state(key)?;
        if let Some(registration) = self.deregister(key.slot) {
            self.drop_registration(registration);
        }
        Ok(())
    }

    /// Removes a registration from the table and the poller. The caller drops the result outside
    /// every borrow (L8).
    pub(super) fn deregister(&self, slot: SlabKey) -> Option<RegistrationRc> {
        let registration = self.registry.remove(slot)?;
        self.check_after_call.set(true); // it may be that of the callback that runs
        self.cancel_deadline(&registration);
        let state = registration.state.get();
        if effective(&state).is_some() {
            self.unwatch(registration.number());
        }
        self.notify_fd_waiters();
        Some(registration)
    }

    /// Removes a descriptor from the poller, before it closes: if a duplicate or a child keeps its
    /// description open, epoll would continue to report it (R004). An error means that other code has
    /// closed it already; then there is nothing to undo.
    #[inline]
    pub(super) fn unwatch(&self, fd: RawFd) {
        // In a fork the poller is shared with the parent, whose registration this is.
        if !self.inbox.forked() {
            let _ = self.poller.borrow_mut().remove(fd);
        }
    }

    pub(super) fn registration_state(&self, key: Key) -> Result<RegistrationState, Error> {
        self.fd_and_state(key).map(|(_, state)| state)
    }

    /// The number and the state of a registration.
    fn fd_and_state(&self, key: Key) -> Result<(RawFd, RegistrationState), Error> {
        let found = if key.loop_id == self.loop_id {
            self.registry.fd_and_state(key.slot)
        } else {
            None
        };
        found.ok_or(Error::UnknownKey(key))
    }

    /// Adds a registration to the poller and to the table: both or neither.
    #[track_caller]
    pub(super) fn insert<C: Callbacks + 'static>(
        &self,
        options: RegisterOptions,
        descriptor: Descriptor,
        callbacks: C,
    ) -> Result<Key, RegisterError<C>> {
        let from = (Location::caller(), None);
        let inserted = self.insert_from(from, options, descriptor, callbacks);
        inserted.map(|registration| self.key(registration.slot()))
    }

    /// [`insert`](Self::insert) with the line, and the peer, that reports name. Returns the registration.
    #[inline]
    pub(super) fn insert_from<C: Callbacks + 'static>(
        &self,
        from: (&'static Location<'static>, Option<SocketAddr>),
        options: RegisterOptions,
        descriptor: Descriptor,
        callbacks: C,
    ) -> Result<RegistrationRc, RegisterError<C>> {
        if NewRegistration::<C>::FITS {
            return self.insert_inline(from, options, descriptor, callbacks);
        }
        let boxed = self.insert_inline(from, options, descriptor, Box::new(callbacks));
        boxed.map_err(|refused| RegisterError {
            error: refused.error,
            descriptor: refused.descriptor,
            callbacks: *refused.callbacks,
        })
    }

    /// The same for callbacks that have a place in the block of their registration.
    #[inline]
    fn insert_inline<C: Callbacks + 'static>(
        &self,
        (site, peer): (&'static Location<'static>, Option<SocketAddr>),
        options: RegisterOptions,
        descriptor: Descriptor,
        callbacks: C,
    ) -> Result<RegistrationRc, RegisterError<C>> {
        let fd = match self.check_new(options, &descriptor) {
            Ok(fd) => fd,
            Err(error) => {
                return Err(RegisterError {
                    error,
                    descriptor: Some(descriptor),
                    callbacks,
                });
            }
        };
        let new = Registration::new(options.state(), options.transfer, (descriptor, fd), site);
        let new = NewRegistration::<C>::new(new, callbacks, |block| block);
        match self.add(new.shared(), options, peer) {
            Ok(()) => Ok(new.into_shared()),
            Err(error) => {
                let (callbacks, refused) = new.into_parts();
                Err(RegisterError {
                    error,
                    descriptor: refused.map(Registration::into_descriptor),
                    callbacks,
                })
            }
        }
    }

    /// Refuses a descriptor that cannot be registered, before anything is changed. Returns its number.
    #[inline]
    fn check_new(&self, options: RegisterOptions, descriptor: &Descriptor) -> Result<RawFd, Error> {
        self.ensure_usable()?;
        // Before anything is borrowed: the owner of a shared descriptor is user code (L8).
        self.check_new_fd(descriptor.fd_ref(), options.fd_state)
    }

    /// The same for any registration. Returns the number.
    #[inline]
    pub(super) fn check_new_fd(
        &self,
        descriptor: FdRef<'_>,
        fd_state: FdState,
    ) -> Result<RawFd, Error> {
        let fd = descriptor.raw();
        if !belongs_to(descriptor, self.kernel()) {
            return Err(Error::BadDescriptor { fd });
        }
        // R133: only for a descriptor that the loop has not made. A number that is not open is refused
        // by the poller, one that is registered already by the table.
        let made_here = fd_state == FdState::MadeHere;
        if !made_here && descriptor.is_unconnected().unwrap_or(false) {
            return Err(Error::NotConnected { fd });
        }
        Ok(fd)
    }

    /// The error for a descriptor whose number is registered under the key `slot`.
    #[cold]
    pub(super) fn already_registered(&self, fd: RawFd, slot: SlabKey) -> Error {
        match self.registry.find(fd) {
            Some((_, site)) => Error::AlreadyRegistered {
                fd,
                key: self.key(slot),
                site,
            },
            None => Error::BadDescriptor { fd },
        }
    }

    /// Adds a new registration to the table and the poller: both or neither.
    fn add(
        &self,
        new: &RegistrationRc,
        options: RegisterOptions,
        peer: Option<SocketAddr>,
    ) -> Result<(), Error> {
        let (fd, state) = (new.number(), new.state.get());
        let flags_unknown = options.fd_state == FdState::Unknown;
        let borrowed = flags_unknown.then(|| new.fd_ref());
        if let Some(borrowed) = borrowed {
            // The owner of a shared descriptor is user code, called before anything is borrowed (L8).
            // It may return another number this time.
            if borrowed.raw() != fd {
                return Err(Error::BadDescriptor { fd });
            }
        }
        let inserted = self.registry.insert(new.clone());
        let slot = inserted.map_err(|other| self.already_registered(fd, other))?;
        let (interest, trigger) = effective(&state).unwrap_or((state.interest, state.trigger));
        match self.watch(fd, slot, interest, trigger, borrowed) {
            Ok(Some(hold)) => {
                let _ = new.provenance.set(Provenance::Held(hold)); // it is new, so it has none
            }
            Ok(None) => {
                if let Some(peer) = peer {
                    new.set_peer(peer);
                }
            }
            Err(error) => {
                self.registry.rollback(slot);
                return Err(Error::from_register(error, fd));
            }
        }
        Ok(())
    }

    /// Adds a descriptor to the poller, and makes `blocking`, which is the same if it may be blocking,
    /// non-blocking: both or neither.
    #[inline(always)] // a call would move the result through memory
    pub(super) fn watch(
        &self,
        fd: RawFd,
        slot: SlabKey,
        interest: Interest,
        trigger: Trigger,
        blocking: Option<FdRef<'_>>,
    ) -> io::Result<Option<Hold>> {
        let mut poller = self.poller.borrow_mut();
        poller.register(fd, slot.to_bits(), interest, trigger)?;
        // After the poller has accepted it, so that a refused descriptor keeps its flags.
        let Some(blocking) = blocking else {
            return Ok(None);
        };
        blocking.hold_nonblocking().inspect_err(|_| {
            let _ = poller.remove(fd);
        })
    }

    pub(super) fn key(&self, slot: SlabKey) -> Key {
        Key {
            slot,
            loop_id: self.loop_id,
        }
    }
}
