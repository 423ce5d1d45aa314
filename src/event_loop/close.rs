//! The end of a loop: everything that is left is cancelled and dropped, in a stated order. And the
//! end of one registration, whose descriptor is closed in one place, so that errors are heard of.
//!
//! Destructors are user code: they may wake, spawn, register and cancel while the loop is
//! being emptied (R081). So it is marked closed first, each thing is taken out before it is
//! dropped, and what comes in meanwhile is refused, or dropped at once.
//!
//! In the notes: reclaim its resources (N7); in asyncio, what `run` does at its end.

use super::current::CurrentGuard;
use super::descriptor::Descriptor;
use super::effective::Reasons;
use super::inbox::Message;
use super::local::LoopHandle;
use super::registry::{Provenance, Registration};
use super::unhandled::Unhandled;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::Location;
use std::rc::Rc;

/// What was still there when a loop was closed, counted before anything of it was dropped: the
/// timer of a task that sleeps is there beside its task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// The jobs (tasks) that were not done, by name. They were cancelled.
    pub tasks: Vec<String>,
    /// Descriptors that were registered, by callbacks or by the sockets of coroutines.
    pub registrations: usize,
    /// Timers that were armed, by `call_later` or by what waits for a time.
    pub timers: usize,
    /// Closures that waited for their turn, from this thread or another.
    pub closures: usize,
}

impl LoopHandle {
    /// Empties everything, in the order that [`EventLoop::close`](super::EventLoop::close) states; what
    /// destructors panic with is still to be told, so the hook stays. Twice is harmless.
    pub(super) fn close_all(&self) -> CloseReport {
        if self.closed.replace(true) {
            return CloseReport::default();
        }
        let Some(me) = self.weak_self.upgrade() else {
            return CloseReport::default();
        };
        let _here = CurrentGuard::enter(&me);
        let mut messages = self.inbox.close();
        messages.append(&mut self.held_back.take());
        let sent = messages.iter().filter(|l| matches!(l, Message::Call(..)));
        // Before the first destructor: a future takes its own timers and sources with it.
        let mut report = CloseReport {
            tasks: Vec::new(),
            registrations: self.registry.len(),
            timers: self.times.len(),
            closures: sent.count() + self.ready.calls(),
        };
        for message in messages {
            self.drop_guarded(message);
        }
        if let Some(scheduler) = self.scheduler.get() {
            report.tasks = scheduler.close(self);
        }
        while let Some(slot) = self.registry.first() {
            if let Some(registration) = self.deregister(slot) {
                self.drop_registration(registration);
            }
        }
        while let Some(expiry) = self.times.pop_any() {
            self.drop_guarded(expiry);
        }
        while let Some(call) = self.ready.pop_call() {
            self.drop_guarded(call);
        }
        // One by one, as all the others: of two that panic in one destructor the second aborts.
        while let Some(expiry) = self.pop_fd_waiter() {
            self.drop_guarded(expiry);
        }
        report
    }
}

// The end of one registration.
impl LoopHandle {
    /// The last of a registration that is out of table and poller: callbacks, then descriptor.
    /// Outside every borrow (L8). Of one whose callback runs this is for whoever has called that (L3).
    pub(super) fn drop_registration(&self, registration: Rc<Registration>) {
        if let Ok(last) = Rc::try_unwrap(registration) {
            // G5: callbacks may remove the next one when they go, and so on. Both in one, so that
            // the descriptor does not close before callbacks that wait for their end.
            self.run_bounded(|handle| {
                let Registration {
                    callbacks,
                    state,
                    provenance,
                    fd,
                    ..
                } = last;
                handle.drop_now(callbacks);
                if let Some(Provenance::Held(hold)) = provenance.map(|provenance| *provenance) {
                    // R131: while it is open. The owner of a shared one is user code.
                    handle.guard(|| hold.release(fd.as_fd()));
                }
                let state = state.get();
                match state.reasons.contains(Reasons::LOST) {
                    true => handle.drop_guarded(fd.forget()),
                    false => handle.close_descriptor(fd, state.site),
                }
            });
        }
    }

    /// Closes what is the loop's own, and tells what the system says to it. Of what is shared,
    /// this drops one share: its owner's destructor closes it, and is user code.
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
