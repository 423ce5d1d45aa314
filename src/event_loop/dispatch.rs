//! The notes' pseudocode: for each `(fd, event)`, the branch that belongs to it (N7).
//!
//! [`LoopHandle::dispatch`] is that table, with five arms. Before each arm the active branches of
//! the registration are read again, because the arm before may have removed it. While an arm runs,
//! the callbacks are borrowed, but the table is not. The two arms that are more than a call,
//! connect and hangup, are below.
//!
//! Rules: L1, L2, L3, L4, L6, L7, L8.

use super::callbacks::Callbacks;
use super::classify::{Branch, Role, classify};
use super::current;
use super::cx::Cx;
use super::effective::{Reasons, effective};
use super::loop_handle::LoopHandle;
use super::origin::Origin;
use super::panics::Payload;
use super::registry::{Registration, RegistrationState};
use crate::base::slab::SlabKey;
use crate::poll::{Event, Interest, NOTIFIER, Readiness, Trigger};
use std::io;
use std::rc::Rc;

/// The call of a callback that is being made, for the code that catches its panic.
pub(super) struct Running {
    token: u64,
    branch: Branch,
    /// When the call began, in debug mode.
    begun: Option<u64>,
}

impl Default for Running {
    fn default() -> Self {
        Self {
            token: NOTIFIER,
            branch: Branch::Default,
            begun: None,
        }
    }
}

impl LoopHandle {
    /// Runs the branches of one `(fd, event)`, one after the other.
    #[inline]
    pub(super) fn dispatch(&self, event: &Event, running: &mut Running) {
        // A reference of its own, because a callback may remove its registration. It is never the
        // last one (`drop_registration`), so a panic does not drop callbacks while it unwinds.
        let Some(registration) = self.registry.get(SlabKey::from_bits(event.token())) else {
            return self.count_stale(event); // L1: its registration was removed
        };
        let (state, ready) = (registration.state.get(), event.ready());
        let mut branches = classify(state.role, ready);
        if state.trigger == Trigger::OneShot {
            registration.spent.set(true);
        }
        running.token = event.token();
        // L2: the branch before this one may have removed the registration, or its interest.
        while let Some(branch) = branches.next_in(registration.active_branches.get()) {
            running.branch = branch;
            self.run_branch(branch, event, &registration, running);
        }
        let reasons = registration.state.get().reasons;
        if !ready.without(FLOW).is_empty() || reasons.any_of(Reasons::BY_EDGE_OR_REMOVED) {
            self.after_branches(registration, ready);
        }
    }

    /// Runs the branch that belongs to an event: the notes' table (N7).
    ///
    /// Not inlined, because in the loop over the branches the compiler loads the addresses of all five
    /// callbacks for the one that is called.
    #[inline(never)]
    fn run_branch(
        &self,
        branch: Branch,
        event: &Event,
        registration: &Registration,
        running: &mut Running,
    ) {
        // L3: no turn runs inside another, so the callbacks are never borrowed already.
        let Ok(mut callbacks) = registration.callbacks.try_borrow_mut() else {
            return;
        };
        let callbacks = &mut **callbacks;
        if self.is_observed() {
            self.begin_branch(running);
        }
        let cx = &Cx::new(self, registration);
        match branch {
            Branch::Connect => self.connect_ready(cx, callbacks),
            Branch::Read => callbacks.on_read(cx),
            Branch::Write => callbacks.on_write(cx),
            Branch::Default => callbacks.on_default(cx, event.ready()),
            Branch::Hangup => self.hangup_ready(cx, event.ready(), callbacks),
        }
        if self.is_observed() || !current::is(self) {
            self.end_branch(registration, running);
        }
    }

    /// Traces and times a call, if that is asked for.
    #[cold]
    fn begin_branch(&self, running: &mut Running) {
        self.trace_call(running.branch.name(), running.token);
        running.begun = self.begin_call();
    }

    /// Checks what a call has left, and ends its timing.
    #[cold]
    fn end_branch(&self, registration: &Registration, running: &mut Running) {
        let origin = || registration.origin(running.branch);
        self.check_current(origin);
        self.end_call(running.begun.take(), origin);
    }

    /// What is rarely needed after the branches of an event.
    #[cold]
    fn after_branches(&self, registration: Rc<Registration>, ready: Readiness) {
        let by_edge = |reasons: Reasons| reasons.contains(Reasons::BY_EDGE);
        if ready.is_hangup() || by_edge(registration.state.get().reasons) {
            self.handle_open_error(registration.slot(), &registration, ready);
        }
        if registration.state.get().reasons.contains(Reasons::REMOVED) {
            drop(registration);
            self.drop_removed();
        }
    }

    /// Removes a registration whose callback has panicked, because its state may be inconsistent. A
    /// listener stays: its callback panicked for one connection, and there are others.
    #[cold]
    pub(super) fn remove_panicked(&self, running: &mut Running, payload: Payload) {
        let slot = SlabKey::from_bits(running.token);
        // If it is not in the table any more, its callback has removed it.
        let removed = || self.registry.take_removed();
        let Some(registration) = self.registry.get(slot).or_else(removed) else {
            return self.apply_panic_policy(payload, Origin::Other);
        };
        self.end_branch(&registration, running);
        let origin = registration.origin(running.branch);
        let role = registration.state.get().role;
        if !matches!(role, Role::Listener | Role::Source) {
            // `registration` is another reference. Nothing is found if the callback has removed it.
            drop(self.deregister(slot));
        }
        if registration.state.get().reasons.contains(Reasons::REMOVED) {
            self.registry.keep_removed(registration);
        }
        // Before a panic of its destructors, so that the callback's panic is the first.
        self.apply_panic_policy(payload, origin);
        self.drop_removed();
    }

    /// L6: an event without a registration is counted; it is no panic, and no event of another
    /// registration.
    #[cold]
    fn count_stale(&self, event: &Event) {
        if event.token() == NOTIFIER {
            return;
        }
        self.stats.stale.set(self.stats.stale.get() + 1);
    }
}

// Connect ready.
impl LoopHandle {
    /// A listener accepts. For an outgoing connection, writable is only a hint and may be spurious:
    /// `SO_ERROR` has the error, and a peer address proves that the connection is established.
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
            Ok(false) => return, // a spurious report: the connection is still under way
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

/// The facts for which nothing is left to be done after the read and write branches.
const FLOW: Readiness = Readiness::from_bits(Readiness::READ.bits() | Readiness::WRITE.bits());

/// What to do after a hangup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HangupAction {
    /// No bytes are left to be read, or no callback reads them: call `on_hangup`, and reclaim.
    Reclaim,
    /// Bytes are left, and the callback reads them. The poller will report the hangup again, if
    /// necessary after arming it again.
    ReadFirst,
    /// Bytes are left, but reading is paused: out of the poller, until reading is resumed.
    Suspend,
}

/// L7: `on_hangup` runs after the last byte has been offered to the read branch.
///
/// `available` is the number of unread bytes now, `state.unread_before` the number when the hangup
/// was last delayed. If they are equal, the callback was offered the bytes and read none, and the
/// hangup does not wait for it.
fn hangup_action(state: &RegistrationState, ready: Readiness, available: u32) -> HangupAction {
    if state.role != Role::Stream || available == 0 || state.no_reader {
        return HangupAction::Reclaim;
    }
    match state.interest.contains(Interest::READ) {
        true if available == state.unread_before => HangupAction::Reclaim,
        true => HangupAction::ReadFirst,
        // After an error nothing that is written can arrive, so there is no reason to wait for a
        // reader that may have paused until it can write.
        false if ready.contains(Readiness::ERROR) => HangupAction::Reclaim,
        false => HangupAction::Suspend,
    }
}

// Hangup.
impl LoopHandle {
    /// Runs `on_hangup` if it is due, and delays it if bytes are left. An error while the sides are
    /// open is checked first, because it may not be the end.
    #[cold]
    fn hangup_ready(&self, cx: &Cx<'_>, ready: Readiness, callbacks: &mut dyn Callbacks) {
        if !ready.is_closed() && !cx.fd_ref().facts().is_ok_and(Readiness::is_closed) {
            return self.end_if_failed(cx, callbacks);
        }
        let Some(state) = self.registry.state(cx.slot()) else {
            return;
        };
        let available = match cx.fd_ref().bytes_available().unwrap_or(0) {
            // Linux does not count the bytes behind an urgent byte, so peek. Not after an error,
            // because the peek would consume it.
            0 if !ready.contains(Readiness::ERROR) => {
                usize::from(cx.fd_ref().peek().unwrap_or(false))
            }
            available => available,
        };
        let available = u32::try_from(available).unwrap_or(u32::MAX);
        match hangup_action(&state, ready, available) {
            HangupAction::Reclaim => {
                let error = if ready.contains(Readiness::ERROR) {
                    // If this fails, it is not a socket, and has no error to fetch.
                    cx.fd_ref().take_error().unwrap_or(None)
                } else {
                    None
                };
                self.reclaim(cx, callbacks, error);
            }
            HangupAction::ReadFirst => {
                self.registry
                    .update(cx.slot(), |state| state.unread_before = available);
                // A level-triggered event is reported again by itself. An edge-triggered one is
                // reported again after a change of interest. A one-shot registration is armed by its
                // owner.
                if effective(&state).is_some_and(|(_, trigger)| trigger == Trigger::Edge) {
                    if let Err(error) = self.change(cx.slot(), true, |_| {}) {
                        self.reclaim(cx, callbacks, into_io(error));
                    }
                }
            }
            HangupAction::Suspend => self.suspend(cx.slot()),
        }
    }

    /// The end of the notes' table: cancel the registration, close the connection, reclaim its
    /// resources; and call `on_hangup`. The callbacks are dropped, and the descriptor closed, when
    /// `dispatch` finds the registration removed.
    pub(super) fn reclaim(
        &self,
        cx: &Cx<'_>,
        callbacks: &mut dyn Callbacks,
        error: Option<io::Error>,
    ) {
        // L7: removed from the table and the poller first, so that `on_hangup` cannot run twice.
        if let Some(registration) = self.deregister(cx.slot()) {
            self.registry.keep_removed(registration);
        }
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
