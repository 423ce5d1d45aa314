//! Stopping a loop; closing it, which cancels and drops everything that is left, in a documented
//! order; and closing one registration.
//!
//! Destructors are user code: they may wake, spawn, register and cancel while the loop is being
//! closed (R081). So the loop is marked closed first, each value is taken out of its cell before it
//! is dropped, and work that is added meanwhile is refused, or dropped at once. Descriptors are
//! closed in one place, so that every error of `close(2)` is reported.
//!
//! In the notes: reclaim its resources (N7); in asyncio, what `run` does at its end.

use super::current::CurrentGuard;
use super::descriptor::Descriptor;
use super::error::Error;
use super::loop_handle::{LoopHandle, Message, RegistrationRc};
use super::registration::{Provenance, Reasons};
use super::report::Unhandled;
use super::rows::Detour;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::Location;

/// The work that was left when a loop was closed.
///
/// It is counted before anything is dropped: a task that sleeps counts as a task, and its timer as
/// a timer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// The names of the tasks that were not done. They were cancelled.
    pub tasks: Vec<String>,
    /// The descriptors that were registered, with callbacks or for the sockets of coroutines.
    pub registrations: usize,
    /// The timers that were armed, by `call_later`, or for sleeps, limits and deadlines.
    pub timers: usize,
    /// The closures that were queued, by this thread or another.
    pub closures: usize,
}

impl LoopHandle {
    /// Stops the loop: [`EventLoop::run`](super::EventLoop::run) returns after the current turn.
    /// Called before a run, this ends the next run after one turn, which does not sleep. A
    /// [`run`](crate::run()) of a future returns [`Error::Stopped`].
    pub fn stop(&self) {
        self.stopping.set(true);
        self.ready.rows.demand_attention();
    }

    /// Whether the loop is closed, or being closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Fails if the loop is closed, or belongs to the parent process.
    #[inline]
    pub(crate) fn ensure_usable(&self) -> Result<(), Error> {
        if self.closed.get() {
            return Err(Error::Closed);
        }
        if self.inbox.forked() {
            Err(Error::Forked)
        } else {
            Ok(())
        }
    }

    /// Drops everything, in the order that [`EventLoop::close`](super::EventLoop::close) documents.
    /// The hook stays, because panics of destructors are still to be reported. A second call has no
    /// effect.
    pub(super) fn close_all(&self) -> CloseReport {
        if self.closed.replace(true) {
            return CloseReport::default();
        }
        self.ready.rows.set_detour(Detour::Closed, true);
        let Some(me) = self.weak_self.upgrade() else {
            return CloseReport::default();
        };
        let _here = CurrentGuard::enter(&me);
        let mut messages = self.inbox.close();
        messages.append(&mut self.held_back.take());
        let mut closures = self.ready.calls.keys().count();
        for message in &messages {
            closures += usize::from(matches!(message, Message::Call(..)));
        }
        // Before the first destructor: the drop of a future also drops its timers and sources.
        let mut report = CloseReport {
            tasks: Vec::new(),
            registrations: self.registry.len(),
            timers: self.times.len(),
            closures,
        };
        for message in messages {
            self.drop_guarded(message);
        }
        if let Some(scheduler) = self.scheduler.get() {
            report.tasks = scheduler.close(self);
        }
        while let Some(slot) = self.registry.first() {
            match self.deregister(slot) {
                Some(registration) => self.drop_registration(registration),
                None => self.remove_source_at(slot),
            }
        }
        while let Some(action) = self.times.pop_any() {
            self.drop_guarded(action);
        }
        while let Some(call) = self.ready.pop_call() {
            self.drop_guarded(call);
        }
        // One by one, like all the others: if two panic in one destructor, the second aborts the
        // process.
        while let Some(action) = self.pop_fd_waiter() {
            self.drop_guarded(action);
        }
        self.close_attachments();
        report
    }
}

// The end of one registration.
impl LoopHandle {
    /// Drops a registration that is out of the table and the poller: the callbacks, then the
    /// descriptor. Outside every borrow (L8). If one of its callbacks runs, it is dropped when that
    /// has returned (L3): see [`drop_removed`](Self::drop_removed).
    pub(super) fn drop_registration(&self, registration: RegistrationRc) {
        if !registration.is_unique() {
            return self.registry.keep_removed(registration);
        }
        // G5: the callbacks' destructors may remove another registration, and so on. Callbacks and
        // descriptor in one closure, so that the descriptor is not closed before callbacks whose drop
        // is queued.
        self.run_bounded(move |handle| handle.end_registration(registration));
    }

    fn end_registration(&self, registration: RegistrationRc) {
        let here = self.enter_if_needed();
        self.guard(|| registration.drop_tail());
        drop(here);
        self.caches_blocks.set(true);
        let Some(mut registration) = registration.into_header() else {
            return; // not reached: it was the only reference
        };
        let (site, state) = (registration.site, registration.state.get());
        let provenance = registration.provenance.take();
        let fd = registration.into_descriptor();
        if let Some(Provenance::Held(hold)) = provenance {
            // R131: while it is open. The owner of a shared descriptor is user code.
            self.guard(|| hold.release(fd.as_fd()));
        }
        match state.reasons.contains(Reasons::LOST) {
            true => self.drop_guarded(fd.forget()),
            false => self.close_descriptor(fd, site),
        }
    }

    /// Drops the registrations that one of their own callbacks has removed, after it has returned.
    #[inline]
    pub(super) fn drop_removed(&self) {
        while let Some(registration) = self.registry.take_removed() {
            // As `drop_registration`: this is the only reference.
            self.run_bounded(move |this| this.end_registration(registration));
        }
    }

    /// Closes an owned descriptor, and reports an error of that. Of a shared descriptor, drops one
    /// reference: its owner's destructor closes it, and is user code.
    pub(super) fn close_descriptor(&self, fd: Descriptor, site: &'static Location<'static>) {
        let owned = match fd.into_owned() {
            Ok(owned) => owned,
            Err(shared) => return self.drop_guarded(shared),
        };
        let fd = owned.as_raw_fd();
        if let Err(error) = readily_sys::close(owned) {
            self.report(&Unhandled::CloseFailed { fd, site, error });
        }
    }
}
