//! What a callback may do: everything the loop offers, and I/O on its own descriptor.
//!
//! There is no method to turn the loop (L3): a callback that could would run others inside
//! itself. There is no way to keep a `Cx` either; what outlives the callback takes a
//! [`WeakHandle`](super::WeakHandle) or its [`Key`].
//!
//! In the notes a callback is handed the descriptor (N7); here it is handed this.

use super::accept::Accepted;
use super::callbacks::Callbacks;
use super::classify::Role;
use super::effective::Reasons;
use super::error::{Error, RegisterError};
use super::local::LoopHandle;
use super::register::RegisterOptions;
use super::registry::{Key, Registration, RegistrationState};
use super::stale::is_closed_behind;
use super::unhandled::Unhandled;
use crate::base::slab::SlabKey;
use crate::poll::{FdRef, Interest, Trigger};
use readily_sys::transfer::Transfer;
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::panic::Location;
use std::time::Duration;

/// What a callback is called with: its loop, its key, its descriptor.
///
/// Dereferences to [`LoopHandle`], for everything that is not about this registration.
pub struct Cx<'a> {
    handle: &'a LoopHandle,
    slot: SlabKey,
    registration: &'a Registration,
}

impl<'a> Cx<'a> {
    #[inline]
    pub(super) fn new(
        handle: &'a LoopHandle,
        slot: SlabKey,
        registration: &'a Registration,
    ) -> Self {
        Self {
            handle,
            slot,
            registration,
        }
    }

    pub(super) fn slot(&self) -> SlabKey {
        self.slot
    }

    /// The registration that this callback belongs to.
    #[must_use]
    pub fn key(&self) -> Key {
        self.handle.key(self.slot)
    }

    /// Its descriptor, open at least until this callback returns. (Of one in memory, a
    /// placeholder: see [`FdRef::as_fd`].)
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'a> {
        self.fd_ref().as_fd()
    }

    /// Its descriptor, of whichever kernel it is.
    #[must_use]
    #[inline]
    pub fn fd_ref(&self) -> FdRef<'a> {
        self.registration.fd.fd_ref()
    }

    /// What the registration is for. A connection that is through is a stream.
    #[must_use]
    pub fn role(&self) -> Role {
        self.registration.state.get().role
    }

    /// Reads without waiting, even if another process has made the shared open file blocking ([R130]).
    /// Zero is the end, unless `buffer` is empty.
    ///
    /// # Errors
    ///
    /// As `recv(2)` or `read(2)`; `WouldBlock` if there is nothing to read now.
    ///
    /// [R130]: crate::book::faults#r130
    #[doc(alias = "recv")]
    #[inline]
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fd_ref().try_read(buffer, &self.registration.transfer)
    }

    /// Writes as much as there is room for, without waiting, as [`read`](Cx::read) does, and without
    /// `SIGPIPE` on sockets.
    ///
    /// # Errors
    ///
    /// As `send(2)` or `write(2)`; `WouldBlock` if there is no room at all.
    #[doc(alias = "send")]
    #[inline]
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.fd_ref().try_write(bytes, &self.registration.transfer)
    }

    /// Shuts one or both directions of a socket down.
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
        self.insert_accepted(Location::caller(), accepted, interest, callbacks)
    }

    /// The same for a listener: reports name the line that made it.
    pub(super) fn insert_accepted<C: Callbacks + 'static>(
        &self,
        site: &'static Location<'static>,
        accepted: Accepted,
        interest: Interest,
        callbacks: C,
    ) -> Result<Key, RegisterError<C>> {
        let options = RegisterOptions {
            role: Role::Stream,
            interest,
            trigger: Trigger::Level,
            nonblocking: true,
            transfer: Transfer::SOCKET,
        };
        let Accepted { fd, peer } = accepted;
        self.handle
            .insert_from((site, peer), options, fd, callbacks)
    }

    /// What this registration asks for; nothing once it is removed.
    #[must_use]
    pub fn interest(&self) -> Interest {
        self.handle
            .interest_of(self.key())
            .unwrap_or(Interest::NONE)
    }

    /// Asks for this from now on.
    ///
    /// # Errors
    ///
    /// As [`LoopHandle::modify`].
    pub fn set_interest(&self, interest: Interest) -> Result<(), Error> {
        self.handle.modify(self.key(), interest)
    }

    /// Asks no more for `interest`. A refusal of the system is reported by
    /// [`LoopHandle::on_unhandled`]; on a removed registration this does nothing.
    ///
    /// If it is refused because the descriptor was closed outside the loop, the registration ends: the
    /// file that it was for would be reported, and this refused, for ever. The number, which may be
    /// another file's, is not closed.
    pub fn remove_interest(&self, interest: Interest) {
        // A one-shot that has spoken is silent as it is; to modify it would arm it again.
        if self.registration.state.get().trigger == Trigger::OneShot {
            let without =
                |state: &mut RegistrationState| state.interest = state.interest.without(interest);
            self.handle.registry.update(self.slot, without);
            return;
        }
        if let Err(Error::Io(error)) = self.set_interest(self.interest().without(interest)) {
            let is_lost = is_closed_behind(&error);
            if is_lost {
                let lost = |state: &mut RegistrationState| {
                    state.reasons = state.reasons.with(Reasons::LOST, true)
                };
                self.handle.registry.update(self.slot, lost);
            }
            self.handle.report(&Unhandled::Io {
                what: "taking back an interest",
                error,
            });
            if is_lost {
                self.close();
            }
        }
    }

    /// There is no read branch: takes the interest back, and lets no unread byte hold a
    /// hangup up (as one would for a reader that has paused).
    pub(super) fn ignore_reads(&self) {
        self.remove_interest(Interest::READ);
        self.handle
            .registry
            .update(self.slot, |state| state.no_reader = true);
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
        // One that is gone is on its way out of the loop, and would leave a timer behind.
        if !self.registration.state.get().removed {
            self.handle
                .arm_deadline(self.slot, self.registration, after, site);
        }
    }

    /// Ends this registration: when the callback returns, it is dropped and its descriptor
    /// closed. Twice is harmless.
    pub fn close(&self) {
        // An unknown key is the second time.
        let _ = self.handle.remove(self.key());
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
