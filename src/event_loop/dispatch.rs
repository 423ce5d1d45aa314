//! The notes' pseudocode: for each `(fd, event)`, the branch that belongs to it (N7).
//!
//! [`LoopHandle::dispatch`] is that table, five arms in the notes' order. Before each arm the
//! registration is looked up again, because the arm before may have removed it; while an
//! arm runs, its callbacks are out of the table. The two arms that are more than a call,
//! connecting and hanging up, stand below.
//!
//! Rules: L1, L2, L3, L4, L6, L7, L8.

use super::callbacks::Callbacks;
use super::classify::{Branch, Role, classify};
use super::cx::Cx;
use super::effective::{Reasons, effective};
use super::local::LoopHandle;
use super::origin::Origin;
use super::panics::Payload;
use super::registry::{Registration, RegistrationState};
use crate::base::slab::SlabKey;
use crate::poll::{Event, Interest, NOTIFIER, Readiness, Trigger};
use std::io;
use std::rc::Rc;

/// The events of a turn, and what is being done about them. It outlives a panic.
pub(super) struct Batch<'a> {
    events: &'a [Event],
    next: usize,
    /// Held here and not by whoever serves it: removed by its own callback, it is dropped under
    /// guard, and not while a panic unwinds.
    current: Option<Rc<Registration>>,
    running: (Branch, Option<u64>),
}

impl<'a> Batch<'a> {
    pub(super) fn new(events: &'a [Event]) -> Self {
        Self {
            events,
            next: 0,
            current: None,
            running: (Branch::Default, None),
        }
    }

    /// Of the event that is being served.
    fn token(&self) -> u64 {
        self.events[self.next - 1].token
    }

    pub(super) fn is_done(&self) -> bool {
        self.next >= self.events.len()
    }
}

impl LoopHandle {
    /// Takes, for each event, the branches of the notes' `for each (fd, event)` (N7); until the end,
    /// or until a callback panics.
    pub(super) fn dispatch(&self, batch: &mut Batch<'_>) {
        let Batch {
            events,
            next,
            current,
            running,
        } = batch;
        while let Some(&event) = events.get(*next) {
            *next += 1;
            let slot = SlabKey::from_bits(event.token);
            let Some(registration) = self.registry.get(slot) else {
                self.count_stale(event); // L1: whoever this event was for has gone
                continue;
            };
            let registration: &Registration = current.insert(registration);
            let state = registration.state.get();
            registration.spent.set(state.trigger == Trigger::OneShot);
            let mut branches = classify(state.role, event.ready);
            // L2: the branch before this one may have removed it, or taken its interest back.
            while let Some(branch) = branches.next_in(registration.active_branches.get()) {
                // L3: at work already? No turn is inside another, so this is never so.
                let Ok(mut callbacks) = registration.callbacks.try_borrow_mut() else {
                    continue;
                };
                let callbacks = &mut **callbacks;
                self.trace_call(branch.name(), event.token);
                let begun = self.begin_call();
                *running = (branch, begun);
                let cx = &Cx::new(self, slot, registration);
                match branch {
                    Branch::Connect => self.connect_ready(cx, callbacks),
                    Branch::Read => callbacks.on_read(cx),
                    Branch::Write => callbacks.on_write(cx),
                    Branch::Hangup => self.hangup_ready(cx, event.ready, callbacks),
                    Branch::Default => callbacks.on_default(cx, event.ready),
                }
                self.check_current(|| registration.origin(branch));
                self.end_call(begun, || registration.origin(branch));
            }
            let state = registration.state.get();
            if event.ready.is_hangup() || state.reasons.contains(Reasons::BY_EDGE) {
                self.calm(slot, registration, event.ready);
            }
            if registration.state.get().removed {
                if let Some(registration) = current.take() {
                    self.drop_registration(registration);
                }
            }
        }
    }

    /// A callback has panicked. What it left half-done is not called again. A listener is spared: its
    /// callback panicked over one connection, and there are others.
    #[cold]
    pub(super) fn remove_panicked(&self, batch: &mut Batch<'_>, payload: Payload) {
        let Some(registration) = batch.current.take() else {
            return self.note_panic(payload, Origin::Other);
        };
        let (branch, begun) = batch.running;
        let origin = registration.origin(branch);
        self.check_current(|| origin.clone());
        self.end_call(begun, || origin.clone());
        let role = registration.state.get().role;
        if !matches!(role, Role::Listener | Role::Source) {
            // We hold it too: it goes below.
            drop(self.deregister(SlabKey::from_bits(batch.token())));
        }
        // Before those of its destructors: of several it is the first.
        self.note_panic(payload, origin);
        self.drop_registration(registration);
    }

    /// L6: an event for nobody is counted, never a panic and never somebody else's.
    #[cold]
    fn count_stale(&self, event: Event) {
        if event.token == NOTIFIER {
            return;
        }
        self.stats.stale.set(self.stats.stale.get() + 1);
    }
}

// Connect ready.
impl LoopHandle {
    /// A listener accepts. An outgoing connection is asked what became of it: writable is
    /// only a hint, `SO_ERROR` tells, and a peer address proves it (the hint may be spurious).
    #[inline(never)]
    fn connect_ready(&self, cx: &Cx<'_>, callbacks: &mut dyn Callbacks) {
        if cx.role() != Role::Connecting {
            return callbacks.on_connect(cx);
        }
        match cx.fd_ref().take_error() {
            Ok(Some(error)) | Err(error) => return self.reclaim(cx, callbacks, Some(error)),
            Ok(None) => {}
        }
        match cx.fd_ref().is_connected() {
            Ok(true) => {}
            Ok(false) => return, // a spurious report: go on waiting
            Err(error) => return self.reclaim(cx, callbacks, Some(error)),
        }
        // N7: register read and write interest for the connection's descriptor.
        let through = |state: &mut RegistrationState| state.role = Role::Stream;
        match self.change(cx.slot(), false, through) {
            Ok(()) => callbacks.on_connect(cx),
            Err(super::Error::Io(error)) => self.reclaim(cx, callbacks, Some(error)),
            Err(_) => self.reclaim(cx, callbacks, None),
        }
    }
}

/// What to do about a hangup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HangupAction {
    /// Nothing is left to be read, or nobody wants it: tell, and reclaim.
    Reclaim,
    /// Bytes are left and wanted. The report will be repeated, unless it must be asked for.
    ReadFirst,
    /// Bytes are left, but reading is paused: out of the poller, until it goes on.
    Suspend,
}

/// L7: a hangup is told after the last byte has been offered to the read branch.
///
/// `unread` is what is left now, `state.unread` what was left when it was last put off: a reader
/// that was offered bytes and took none does not want them, and is not waited for.
fn hangup_action(state: &RegistrationState, ready: Readiness, available: u32) -> HangupAction {
    if state.role != Role::Stream || available == 0 || state.no_reader {
        return HangupAction::Reclaim;
    }
    match state.interest.contains(Interest::READ) {
        true if available == state.unread_before => HangupAction::Reclaim,
        true => HangupAction::ReadFirst,
        // What we would still write after an error could not arrive: there is no reason to
        // wait for a reader that may be waiting for just that room.
        false if ready.contains(Readiness::ERROR) => HangupAction::Reclaim,
        false => HangupAction::Suspend,
    }
}

// Hangup.
impl LoopHandle {
    /// Reports the hangup if it is due, and puts it off if bytes are left. An error of open sides is
    /// looked at first: it need not be one.
    #[cold]
    fn hangup_ready(&self, cx: &Cx<'_>, ready: Readiness, callbacks: &mut dyn Callbacks) {
        if !ready.is_closed() && !cx.fd_ref().facts().is_ok_and(Readiness::is_closed) {
            return self.end_if_failed(cx, callbacks);
        }
        let Some(state) = self.registry.state(cx.slot()) else {
            return;
        };
        let available = match cx.fd_ref().bytes_available().unwrap_or(0) {
            // Linux does not count what stands behind an urgent byte. Not after an error,
            // which the look would take away.
            0 if !ready.contains(Readiness::ERROR) => {
                usize::from(cx.fd_ref().peek().unwrap_or(false))
            }
            available => available,
        };
        let available = u32::try_from(available).unwrap_or(u32::MAX);
        match hangup_action(&state, ready, available) {
            HangupAction::Reclaim => {
                let error = if ready.contains(Readiness::ERROR) {
                    // Not a socket: there is no error to be asked for.
                    cx.fd_ref().take_error().unwrap_or(None)
                } else {
                    None
                };
                self.reclaim(cx, callbacks, error);
            }
            HangupAction::ReadFirst => {
                self.registry
                    .update(cx.slot(), |state| state.unread_before = available);
                // A level is reported again by itself. An edge is not, but `modify` asks
                // anew; a one-shot one is asked for by its owner.
                if effective(&state).is_some_and(|(_, trigger)| trigger == Trigger::Edge) {
                    if let Err(error) = self.change(cx.slot(), true, |_| {}) {
                        self.reclaim(cx, callbacks, into_io(error));
                    }
                }
            }
            HangupAction::Suspend => self.suspend(cx.slot()),
        }
    }

    /// The notes' last words: cancel the registration, close the connection, reclaim its
    /// resources; and tell it. The callbacks are dropped, and the descriptor closed, when
    /// `dispatch` finds their line gone.
    pub(super) fn reclaim(
        &self,
        cx: &Cx<'_>,
        callbacks: &mut dyn Callbacks,
        error: Option<io::Error>,
    ) {
        // L7: out of table and poller first, so that this cannot happen twice.
        let _running = self.deregister(cx.slot());
        callbacks.on_hangup(cx, error);
    }
}

fn into_io(error: super::Error) -> Option<io::Error> {
    match error {
        super::Error::Io(error) => Some(error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L7, on every combination that matters.
    #[test]
    fn a_hangup_waits_exactly_for_bytes_that_may_still_be_read() {
        let state = |role, interest, available, no_reader| RegistrationState {
            fd: 0,
            role,
            interest,
            trigger: Trigger::Level,
            reasons: Reasons::NONE,
            no_reader,
            removed: false,
            unread_before: available,
            site: std::panic::Location::caller(),
        };
        let (none, read) = (Interest::NONE, Interest::READ);
        let over = Readiness::READ_CLOSED | Readiness::WRITE_CLOSED;
        let reset = over | Readiness::ERROR;
        let stream = |interest, before| state(Role::Stream, interest, before, false);
        assert_eq!(
            hangup_action(&stream(read, 0), over, 0),
            HangupAction::Reclaim
        );
        assert_eq!(
            hangup_action(&stream(read, 0), over, 10),
            HangupAction::ReadFirst
        );
        assert_eq!(
            hangup_action(&stream(read, 10), over, 5),
            HangupAction::ReadFirst
        );
        assert_eq!(
            hangup_action(&stream(read, 5), over, 5),
            HangupAction::Reclaim
        );
        assert_eq!(
            hangup_action(&stream(none, 0), over, 5),
            HangupAction::Suspend
        );
        assert_eq!(
            hangup_action(&stream(none, 0), over, 0),
            HangupAction::Reclaim
        );
        assert_eq!(
            hangup_action(&stream(none, 0), reset, 5),
            HangupAction::Reclaim
        );
        assert_eq!(
            hangup_action(&stream(read, 0), reset, 5),
            HangupAction::ReadFirst
        );
        assert_eq!(
            hangup_action(&state(Role::Stream, none, 0, true), over, 5),
            HangupAction::Reclaim
        );
        assert_eq!(
            hangup_action(&state(Role::Listener, read, 0, false), over, 5),
            HangupAction::Reclaim
        );
    }
}
