//! Registering sources: what `register.rs` does for callbacks.
//!
//! In the notes: register, and cancel (N7). Rules: L1, L2, L8, S4.

use super::error::Error;
use super::loop_handle::LoopHandle;
use super::registration::FdState;
use super::registry::Key;
use super::source_registration::{RegisteredSource, SourceRegistration};
use crate::base::slab::SlabKey;
use crate::poll::Interest;
use std::rc::Rc;

impl LoopHandle {
    /// Registers a source, in the table and in the poller: both or neither.
    ///
    /// # Errors
    ///
    /// As [`register`](LoopHandle::register).
    pub(crate) fn add_source(
        &self,
        source: &Rc<impl RegisteredSource + 'static>,
        fd_state: FdState,
    ) -> Result<(), Error> {
        self.ensure_usable()?;
        // Before anything is borrowed: this may be user code (L8).
        let descriptor = source.fd_ref();
        let fd = self.check_new_fd(descriptor, fd_state)?;
        let inserted = self.registry.insert_source(source, fd);
        let slot = inserted.map_err(|other| self.already_registered(fd, other))?;
        let (interest, trigger) = (
            source.registration().interest.get(),
            source.registration().trigger,
        );
        let blocking = (fd_state == FdState::Unknown).then_some(descriptor);
        let held = self.watch(fd, slot, interest, trigger, blocking);
        match held {
            Ok(hold) => {
                source.registration().hold.set(hold);
                Ok(())
            }
            Err(error) => {
                drop(self.registry.remove_source(slot)); // `source` is another reference
                Err(Error::from_register(error, fd))
            }
        }
    }

    /// Ends the registration of a source; nothing if it has ended.
    pub(crate) fn remove_source(&self, registration: &SourceRegistration) {
        self.remove_source_at(registration.slot.get());
    }

    pub(super) fn remove_source_at(&self, slot: SlabKey) {
        if let Some(source) = self.take_source(slot) {
            // G5: the waiters that are woken may end other sources, and so on.
            self.run_bounded(move |handle| handle.end_source(source));
        }
    }

    /// Ends the registration of a source, and drops the loop's reference before this returns, however
    /// deep destructors are nested.
    pub(crate) fn remove_source_now(&self, registration: &SourceRegistration) {
        if let Some(source) = self.take_source(registration.slot.get()) {
            self.end_source(source);
        }
    }

    /// Whether a source is registered.
    pub(crate) fn has_source(&self, registration: &SourceRegistration) -> bool {
        self.registry.source(registration.slot.get()).is_some()
    }

    fn take_source(&self, slot: SlabKey) -> Option<Rc<dyn RegisteredSource>> {
        let source = self.registry.remove_source(slot)?;
        self.unwatch(source.registration().fd.get());
        self.notify_fd_waiters();
        Some(source)
    }

    fn end_source(&self, source: Rc<dyn RegisteredSource>) {
        let _here = self.enter_if_needed();
        self.guard(|| {
            if let Some(payload) = source.on_end() {
                std::panic::resume_unwind(payload);
            }
        });
        if let Some(hold) = source.registration().hold.take() {
            // R131: while it is open. This may be user code.
            self.guard(|| hold.release(source.fd_ref().as_fd()));
        }
        self.guard(|| drop(source));
    }

    /// The source with this key, which other code has from [`Error::AlreadyRegistered`].
    #[cold]
    pub(super) fn source(&self, key: Key) -> Result<Rc<dyn RegisteredSource>, Error> {
        let source = || self.registry.source(key.slot);
        let found = (key.loop_id == self.loop_id).then(source).flatten();
        found.ok_or(Error::UnknownKey(key))
    }

    /// [`interest_of`](LoopHandle::interest_of) for a source.
    #[cold]
    pub(super) fn interest_of_source(&self, key: Key) -> Result<Interest, Error> {
        Ok(self.source(key)?.registration().interest.get())
    }

    /// [`set_interest_of`](LoopHandle::set_interest_of) for a source.
    #[cold]
    pub(super) fn set_interest_of_source(&self, key: Key, interest: Interest) -> Result<(), Error> {
        let source = self.source(key)?;
        self.ensure_usable()?;
        let registration = source.registration();
        let (fd, token) = (registration.fd.get(), key.slot.to_bits());
        let mut poller = self.poller.borrow_mut();
        poller.modify(fd, token, interest, registration.trigger)?;
        registration.interest.set(interest);
        Ok(())
    }

    /// [`remove`](LoopHandle::remove) for a source.
    #[cold]
    pub(super) fn remove_source_of(&self, key: Key) -> Result<(), Error> {
        self.remove_source(self.source(key)?.registration());
        Ok(())
    }

    /// [`rearm`](LoopHandle::rearm) for a source.
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) fn rearm_source(
        &self,
        registration: &SourceRegistration,
        interest: Interest,
    ) -> Result<(), Error> {
        self.ensure_usable()?;
        let slot = registration.slot.get();
        if self.registry.source(slot).is_none() {
            return Err(Error::UnknownKey(self.key(slot)));
        }
        self.rearm_watched(registration.fd.get(), slot, interest)
    }

    /// Does not watch a source any more, until [`watch_source_for`](Self::watch_source_for). If that fails, it was
    /// closed outside the loop, and ends.
    #[cold]
    pub(crate) fn suspend_source(&self, registration: &SourceRegistration) {
        let key = self.key(registration.slot.get());
        if self.set_interest_of_source(key, Interest::NONE).is_err() {
            self.remove_source(registration);
        }
    }

    /// Watches a source in one more direction. What holds there now is reported, too.
    ///
    /// # Errors
    ///
    /// As [`set_interest_of`](LoopHandle::set_interest_of).
    pub(crate) fn watch_source_for(
        &self,
        registration: &SourceRegistration,
        direction: Interest,
    ) -> Result<(), Error> {
        let key = self.key(registration.slot.get());
        self.set_interest_of_source(key, registration.interest.get() | direction)
    }
}
