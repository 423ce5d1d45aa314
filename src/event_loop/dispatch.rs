//! The notes' pseudocode: for each `(fd, event)`, the branch that belongs to it (N7).
//!
//! [`LoopHandle::dispatch`] is that table, with five arms. Before each arm the active branches of
//! the registration are read again, because the arm before may have removed it. While an arm runs,
//! the callbacks are borrowed, but the table is not. Two arms are more than a call: connect is below,
//! hangup in `hangup.rs`. An event that takes the read branch and needs nothing else goes a shorter way
//! to the same call: `run_only`.
//!
//! Rules: L1, L2, L3, L4, L6, L8.

use super::classify::{Branch, Role, classify};
use super::loop_handle::{Callbacks, Cx, LoopHandle, RegistrationRc};
use super::origin::Origin;
use super::panics::Payload;
use super::registration::{FLOW, Reasons, Registration, RegistrationState};
use super::registry::is_source;
use crate::base::slab::SlabKey;
use crate::poll::{Event, NOTIFIER, Readiness, Trigger};

/// The call of a callback that is being made, for the code that catches its panic.
pub(super) struct Running {
    token: u64,
    branch: Branch,
    /// When the call began, in debug mode.
    begun: Option<u64>,
    /// The number of events so far that were for removed registrations.
    pub(super) stale: usize,
}

impl Default for Running {
    fn default() -> Self {
        Self {
            token: NOTIFIER,
            branch: Branch::Default,
            begun: None,
            stale: 0,
        }
    }
}

impl Running {
    /// A call begins.
    #[inline]
    pub(super) fn begin(&mut self, token: u64, branch: Branch) {
        self.token = token;
        self.branch = branch;
    }

    /// The key of the registration.
    pub(super) fn slot(&self) -> SlabKey {
        SlabKey::from_bits(self.token)
    }

    /// When the call began, once, in debug mode.
    pub(super) fn take_begun(&mut self) -> Option<u64> {
        self.begun.take()
    }
}

/// What is reported when the peer has shut down its side, and not more.
const END_OF_DATA: Readiness =
    Readiness::from_bits(Readiness::READ.bits() | Readiness::READ_CLOSED.bits());

impl LoopHandle {
    /// Runs the branches of one `(fd, event)`, one after the other.
    #[inline]
    pub(super) fn dispatch(&self, event: &Event, running: &mut Running) {
        if is_source(event.token()) {
            return self.dispatch_source(event, running);
        }
        // A reference of its own, because a callback may remove its registration. It is never the
        // last one (`drop_registration`), so a panic does not drop callbacks while it unwinds.
        let Some(registration) = self.registry.get(SlabKey::from_bits(event.token())) else {
            return self.count_stale(event, running); // L1: its registration was removed
        };
        running.token = event.token();
        match registration.takes_only_read(*event) && !self.is_observed() {
            true => self.run_only(Branch::Read, registration, running),
            false => self.run_branches(event, registration, running),
        }
    }

    /// Runs the branches of an event, in order, and what is left to be done after them.
    #[inline(never)]
    fn run_branches(&self, event: &Event, registration: RegistrationRc, running: &mut Running) {
        if event.is_only_read() && registration.accepts() && !self.is_observed() {
            return self.run_only(Branch::Connect, registration, running);
        }
        let (state, ready) = (registration.state.get(), event.ready());
        // The peer has shut down its side: the read branch meets the end.
        if ready == END_OF_DATA && registration.only_reads.get() && !self.is_observed() {
            return self.run_only(Branch::Read, registration, running);
        }
        let mut branches = classify(state.role, ready);
        if state.trigger == Trigger::OneShot {
            registration.spent.set(true);
        }
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

    /// The same for an event that takes this branch and no other, *read* or *connect*, behind which nothing
    /// is to be done. Inlined, because most events only read.
    #[inline(always)]
    fn run_only(&self, branch: Branch, registration: RegistrationRc, running: &mut Running) {
        running.branch = branch;
        let Some(mut callbacks) = registration.borrow_tail() else {
            return; // L3, as below
        };
        let cx = Cx::new(self, &registration);
        match branch {
            Branch::Connect => callbacks.on_connect(&cx),
            _ => callbacks.on_read(&cx),
        }
        drop(callbacks);
        if self.check_after_call.get() {
            self.end_only_branch(registration, running);
        }
    }

    /// Each connection ends here, or in [`after_branches`](Self::after_branches).
    #[inline(never)]
    fn end_only_branch(&self, registration: RegistrationRc, running: &mut Running) {
        self.end_branch(&registration, running);
        if !registration.state.get().reasons.contains(Reasons::REMOVED) {
            return;
        }
        drop(registration);
        self.drop_removed();
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
        registration: &RegistrationRc,
        running: &mut Running,
    ) {
        // L3: no turn runs inside another, so the callbacks are never borrowed already.
        let Some(mut callbacks) = registration.borrow_tail() else {
            return;
        };
        let callbacks = &mut *callbacks;
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
        if self.is_observed() || self.check_after_call.get() {
            self.end_branch(registration, running);
        }
    }

    /// Traces and times a call, if that is asked for.
    #[cold]
    pub(super) fn begin_branch(&self, running: &mut Running) {
        self.trace_call(running.branch.name(), running.token);
        running.begun = self.begin_call();
    }

    /// Checks what a call has left, and ends its timing.
    #[inline]
    fn end_branch(&self, registration: &Registration, running: &mut Running) {
        let origin = || registration.origin(running.branch);
        self.check_after_call.set(false);
        self.check_current(origin);
        self.end_call(running.begun.take(), origin);
    }

    /// What is rarely needed after the branches of an event.
    #[cold]
    fn after_branches(&self, registration: RegistrationRc, ready: Readiness) {
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
        if is_source(running.token) {
            return self.end_panicked_source(running, payload);
        }
        let slot = SlabKey::from_bits(running.token);
        // If it is not in the table any more, its callback has removed it.
        let removed = || self.registry.take_removed();
        let Some(registration) = self.registry.get(slot).or_else(removed) else {
            return self.apply_panic_policy(payload, Origin::Other);
        };
        self.end_branch(&registration, running);
        let origin = registration.origin(running.branch);
        let role = registration.state.get().role;
        if role != Role::Listener {
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
    pub(super) fn count_stale(&self, event: &Event, running: &mut Running) {
        if event.token() == NOTIFIER {
            return;
        }
        running.stale += 1;
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
