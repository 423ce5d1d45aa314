//! The context of a callback: the methods of its loop, and I/O on its own descriptor.
//!
//! A `Cx` cannot turn the loop, because other callbacks would then run inside this one (L3). A `Cx`
//! cannot outlive the callback either; code that does keeps a [`WeakHandle`](super::WeakHandle) or
//! the [`Key`].
//!
//! In the notes a callback gets the descriptor (N7); here it gets a `Cx`.

use super::classify::Role;
use super::closed_outside::is_closed_outside;
use super::descriptor::Accepted;
use super::error::{Error, RegisterError};
use super::loop_handle::{Callbacks, Cx, LoopHandle, RegistrationRc};
use super::registration::{FdState, Reasons, RegisterOptions, Registration, RegistrationState};
use super::registry::Key;
use super::report::Unhandled;
use crate::base::slab::SlabKey;
use crate::poll::{FdRef, Interest, Trigger};
use readily_sys::socket;
use readily_sys::transfer::Transfer;
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::panic::Location;
use std::time::Duration;

impl<'a> Cx<'a> {
    #[inline]
    pub(super) fn new(handle: &'a LoopHandle, registration: &'a Registration) -> Self {
        Self {
            handle,
            registration,
        }
    }

    pub(super) fn slot(&self) -> SlabKey {
        self.registration.slot()
    }

    /// Returns the key of the registration that this callback belongs to.
    #[must_use]
    pub fn key(&self) -> Key {
        self.handle.key(self.slot())
    }

    /// Returns the descriptor of the registration, open at least until this callback returns. A
    /// descriptor of a virtual kernel gives a placeholder: see [`FdRef::as_fd`].
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'a> {
        self.fd_ref().as_fd()
    }

    /// Returns the descriptor of the registration, of the system or of a virtual kernel.
    #[must_use]
    #[inline]
    pub(crate) fn fd_ref(&self) -> FdRef<'a> {
        self.registration.fd_ref()
    }

    /// Returns the role of the registration. A connection that is established is a stream.
    #[must_use]
    pub fn role(&self) -> Role {
        self.registration.state.get().role
    }

    /// Reads without waiting, even if another process has made the shared open file blocking ([R130]).
    /// Returns the number of bytes; zero is the end of the data, unless `buffer` is empty.
    ///
    /// # Errors
    ///
    /// As `recv(2)` or `read(2)`; `WouldBlock` if there is nothing to read now.
    ///
    /// [R130]: crate::book::faults#r130
    #[doc(alias = "recv")]
    #[inline(always)] // a call would move its result through memory, which costs as much as this does
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.registration.socket() {
            Some(socket) => socket::recv(socket, buffer),
            None => self.read_other(buffer),
        }
    }

    #[cold] // beside sockets
    #[inline(never)]
    fn read_other(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fd_ref().try_read(buffer, &self.registration.transfer)
    }

    /// Writes as much as there is room for, without waiting, and returns the number of bytes. As
    /// with [`read`](Cx::read), that holds even if another process has made the file blocking. A
    /// socket raises no `SIGPIPE`.
    ///
    /// # Errors
    ///
    /// As `send(2)` or `write(2)`; `WouldBlock` if there is no room at all.
    #[doc(alias = "send")]
    #[inline(always)] // as above
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.registration.socket() {
            Some(socket) => socket::send(socket, bytes),
            None => self.write_other(bytes),
        }
    }

    #[cold] // beside sockets
    #[inline(never)]
    fn write_other(&self, bytes: &[u8]) -> io::Result<usize> {
        self.fd_ref().try_write(bytes, &self.registration.transfer)
    }

    /// Shuts down one or both directions of a socket.
    ///
    /// # Errors
    ///
    /// As `shutdown(2)`.
    #[doc(alias = "write_eof")]
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.fd_ref().shutdown(how)
    }

    /// Accepts a connection, non-blocking and close-on-exec.
    ///
    /// # Errors
    ///
    /// As `accept(2)`; `WouldBlock` if there is none.
    #[inline(always)] // as above
    pub fn accept(&self) -> io::Result<Accepted> {
        let (fd, peer) = self.fd_ref().accept()?;
        let fd = fd.into();
        Ok(Accepted { fd, peer })
    }

    /// Registers an accepted connection as a stream, level-triggered.
    ///
    /// # Errors
    ///
    /// As [`LoopHandle::register`].
    #[track_caller]
    pub fn register_accepted<C: Callbacks + 'static>(
        &self,
        accepted: Accepted,
        interest: Interest,
        callbacks: C,
    ) -> Result<Key, RegisterError<C>> {
        let site = Location::caller();
        let inserted = self.insert_accepted(site, accepted, interest, callbacks);
        inserted.map(|registration| self.handle.key(registration.slot()))
    }

    /// Returns the interest of this registration; none once it is removed.
    #[must_use]
    pub fn interest(&self) -> Interest {
        match self.is_removed() {
            true => Interest::NONE,
            false => self.registration.state.get().interest,
        }
    }

    /// Whether this registration owns a socket of the system, which is known without a system call.
    pub(crate) fn owns_socket(&self) -> bool {
        self.registration.socket().is_some()
    }

    /// Whether this registration is removed.
    pub(crate) fn is_removed(&self) -> bool {
        let reasons = self.registration.state.get().reasons;
        reasons.contains(Reasons::REMOVED)
    }

    /// Sets the interest of this registration.
    ///
    /// # Errors
    ///
    /// As [`LoopHandle::set_interest_of`].
    pub fn set_interest(&self, interest: Interest) -> Result<(), Error> {
        self.handle.set_interest_of(self.key(), interest)
    }

    /// Removes `interest` from the interest of this registration. An error of the system is
    /// reported through [`LoopHandle::on_unhandled`]; on a removed registration this does nothing.
    ///
    /// If the error means that the descriptor was closed outside the loop, the registration ends:
    /// otherwise its events and this error would repeat in each turn. The number, which may be
    /// another file's, is not closed.
    pub fn remove_interest(&self, interest: Interest) {
        // A one-shot registration that was reported is not reported again; `modify` would arm it.
        if self.registration.state.get().trigger == Trigger::OneShot {
            let without =
                |state: &mut RegistrationState| state.interest = state.interest.without(interest);
            self.handle.registry.update(self.slot(), without);
            return;
        }
        if let Err(Error::Io(error)) = self.set_interest(self.interest().without(interest)) {
            let is_lost = is_closed_outside(&error);
            if is_lost {
                let lost = |state: &mut RegistrationState| {
                    state.reasons = state.reasons.with(Reasons::LOST, true)
                };
                self.handle.registry.update(self.slot(), lost);
            }
            self.handle.report(&Unhandled::Io {
                what: "removing an interest",
                error,
            });
            if is_lost {
                self.close();
            }
        }
    }

    /// For a registration without a connect branch: a listener loses its interest in connections; an
    /// established connection has nothing to do yet.
    pub(super) fn ignore_connections(&self) {
        if self.role() == Role::Listener {
            self.remove_interest(Interest::READ);
        }
    }

    /// For a registration without a read branch: removes the interest in reading, and marks that
    /// unread bytes must not delay the hangup (as they do while a reader has paused).
    pub(super) fn ignore_reads(&self) {
        self.remove_interest(Interest::READ);
        self.handle.registry.update(self.slot(), |state| {
            state.reasons = state.reasons.with(Reasons::NO_READER, true);
        });
    }

    /// Sets a deadline for this registration: `after` from now, [`Callbacks::on_timeout`] runs, once.
    /// A deadline that was set before is replaced, so a callback that sets one at each read limits
    /// the silence of the peer. The deadline ends with the registration; on a removed registration
    /// this does nothing.
    #[doc(alias = "set_timeout")]
    #[track_caller]
    pub fn set_deadline(&self, after: Duration) {
        self.change_deadline(Some(after), Location::caller());
    }

    /// Clears the deadline of this registration.
    pub fn clear_deadline(&self) {
        self.change_deadline(None, Location::caller());
    }

    fn change_deadline(&self, after: Option<Duration>, site: &'static Location<'static>) {
        // A removed registration is about to be dropped, and its timer would be left behind.
        if !self.is_removed() {
            self.handle
                .arm_deadline(self.slot(), self.registration, after, site);
        }
    }

    /// Ends this registration: when the callback returns, its callbacks are dropped and its
    /// descriptor is closed. A second call has no effect.
    pub fn close(&self) {
        // Nothing is found by a second call.
        if let Some(registration) = self.handle.deregister(self.slot()) {
            // As `drop_registration`: one of its callbacks runs.
            self.handle.registry.keep_removed(registration);
        }
    }
}

impl Deref for Cx<'_> {
    type Target = LoopHandle;

    fn deref(&self) -> &LoopHandle {
        self.handle
    }
}

impl fmt::Debug for Cx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx")
            .field("key", &self.key())
            .field("role", &self.role())
            .finish()
    }
}

impl LoopHandle {
    /// Registers a connection that a listener has accepted, and runs its `on_open`. If it cannot be
    /// registered, it is closed.
    pub(crate) fn open_accepted<C: Callbacks + 'static>(
        &self,
        site: &'static Location<'static>,
        accepted: Accepted,
        callbacks: C,
    ) -> io::Result<()> {
        let interest = callbacks.interest();
        match self.insert_accepted(site, accepted, interest, callbacks) {
            Ok(registration) => {
                self.open(registration);
                Ok(())
            }
            Err(refused) => Err(refused.error.into_io()),
        }
    }

    /// Registers an accepted connection; reports name the line that made the listener. Returns the
    /// registration.
    pub(super) fn insert_accepted<C: Callbacks + 'static>(
        &self,
        site: &'static Location<'static>,
        accepted: Accepted,
        interest: Interest,
        callbacks: C,
    ) -> Result<RegistrationRc, RegisterError<C>> {
        let options = RegisterOptions {
            role: Role::Stream,
            interest,
            trigger: Trigger::Level,
            fd_state: FdState::MadeHere,
            transfer: Transfer::SOCKET,
        };
        let Accepted { fd, peer } = accepted;
        self.insert_from((site, peer), options, fd, callbacks)
    }
}
