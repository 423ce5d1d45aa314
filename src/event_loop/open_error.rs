//! Errors of connections whose sides are open: whether they end the connection, and if not, how the
//! loop avoids spinning on them.
//!
//! epoll and `poll(2)` report `EPOLLERR` for more than a broken connection: a socket has an entry
//! in its error queue (a `MSG_ZEROCOPY` completion, a timestamp of `SO_TIMESTAMPING`), or a file of
//! `/proc` or `/sys` has changed. For a socket `SO_ERROR` decides: without an error there the
//! connection continues. Of other files, only the writing end of a pipe has ended.
//!
//! Such an error cannot be masked, and every level-triggered wait reports it until it is fetched.
//! So from the second report on the registration is edge-triggered, and as long as an interest of a
//! level-triggered user is ready, it is armed again: a new entry is reported, an old one is not,
//! and neither delays the data. With a poller that has no edge trigger, the registration is out of
//! the poller for a moment, unless an interest of the user is ready: then the level trigger reports
//! that at once.

use super::classify::Role;
use super::error::Error;
use super::loop_handle::{Callbacks, Cx, LoopHandle};
use super::registration::{Reasons, Registration, RegistrationState, effective};
use super::report::Unhandled;
use crate::base::slab::SlabKey;
use crate::poll::{FdRef, Interest, Readiness, Trigger};
use std::io;
use std::time::Duration;

/// Examines an error while the sides are open: `None` if it does not end the connection, else the
/// reason, if there is one.
fn ends_with(fd: FdRef<'_>) -> Option<Option<io::Error>> {
    match fd.take_error() {
        Ok(error) => error.map(Some),
        // Not a socket: the writing end of a pipe has lost its reader.
        Err(_) => fd.is_pipe().unwrap_or(false).then_some(None),
    }
}

/// How often `on_read` is called for the bytes that are left, if data arrives as fast as it is read.
const OFFERS: usize = 1024;

/// How long a registration with an error that is not fetched, and without other readiness, is out
/// of a poller that has no edge trigger.
const AWAY: Duration = Duration::from_millis(10);

/// What to do about an error that does not end the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OpenErrorAction {
    Keep,
    /// Watch the registration edge-triggered: the error was not fetched, and a level trigger would
    /// report it for ever.
    ToEdge,
    /// Take the registration out of the poller for a moment: the same, with a poller that has no
    /// edge trigger.
    Pause,
    /// Rearm the registration: an interest is still ready, which an edge trigger does not report
    /// again.
    ///
    /// No call could return an error of the poller here, so it is reported as [`Unhandled::Io`]. The
    /// registration is then unchanged, and its readiness is reported when more arrives, or when its
    /// owner sets the interest.
    Rearm,
    /// Watch the registration level-triggered again: the error has been fetched.
    ToLevel,
}

/// Decides from the readiness after the callbacks have run, and from whether the poller has `edges`.
fn open_error_action(state: &RegistrationState, facts: Readiness, edges: bool) -> OpenErrorAction {
    let interest = effective(state).map_or(Interest::NONE, |(interest, _)| interest);
    let pairs = [
        (Interest::READ, Readiness::READ),
        (Interest::WRITE, Readiness::WRITE),
    ];
    let mut pairs = pairs.into_iter();
    let holds = pairs.any(|(one, fact)| interest.contains(one) && facts.contains(fact));
    let by_edge = state.reasons.contains(Reasons::BY_EDGE);
    match (facts.contains(Readiness::ERROR), by_edge) {
        (false, false) => OpenErrorAction::Keep,
        (true, false) if edges => OpenErrorAction::ToEdge,
        // The level trigger reports it again at once.
        (true, false) if holds => OpenErrorAction::Keep,
        (true, false) => OpenErrorAction::Pause,
        (false, true) => OpenErrorAction::ToLevel,
        (true, true) if holds => OpenErrorAction::Rearm,
        (true, true) => OpenErrorAction::Keep,
    }
}

impl LoopHandle {
    /// Ends a registration whose sides are open, if its error is an end.
    pub(super) fn end_if_failed(&self, cx: &Cx<'_>, callbacks: &mut dyn Callbacks) {
        if let Some(error) = ends_with(cx.fd_ref()) {
            // L7: the bytes are offered here, because the system does not report the error a second
            // time.
            let mut left = 0;
            for _ in 0..OFFERS {
                let available = cx.fd_ref().bytes_available().unwrap_or(0);
                let reads = cx.role() == Role::Stream && cx.interest().contains(Interest::READ);
                if available == 0 || available == left || !reads {
                    break;
                }
                left = available;
                callbacks.on_read(cx);
            }
            if self.registry.state(cx.slot()).is_some() {
                self.reclaim(cx, callbacks, error);
            }
        }
    }

    /// R020: a hangup and an error cannot be masked. A registration that continues must not be
    /// reported for ever.
    #[cold]
    pub(super) fn handle_open_error(
        &self,
        slot: SlabKey,
        registration: &Registration,
        ready: Readiness,
    ) {
        let state = registration.state.get();
        if state.reasons.contains(Reasons::REMOVED) || effective(&state).is_none() {
            return;
        }
        if ready.is_closed() && state.role == Role::Datagram {
            // It has no hangup branch that would end it.
            let has_branch = state.interest.without(Interest::PRIORITY) != Interest::NONE;
            if !has_branch {
                return self.suspend(slot);
            }
        }
        // Edge-triggered and one-shot registrations are reported once anyway. A stream with closed
        // sides is about to end, by the level trigger that it was registered with.
        let by_edge = state.reasons.contains(Reasons::BY_EDGE);
        if state.trigger != Trigger::Level || ready.is_closed() && !by_edge {
            return;
        }
        let facts = registration.fd_ref().facts().unwrap_or_default();
        let edges = !self.rearm_interest().contains(Interest::READ);
        match open_error_action(&state, facts, edges) {
            OpenErrorAction::Keep => {}
            // A change of the trigger arms it again: readiness since the callbacks ran is reported.
            OpenErrorAction::ToEdge => self.set_reason(slot, Reasons::BY_EDGE, true),
            OpenErrorAction::Pause => self.send_away(slot),
            OpenErrorAction::Rearm => self.rearm_beside_error(slot),
            OpenErrorAction::ToLevel => self.set_reason(slot, Reasons::BY_EDGE, false),
        }
    }

    /// See [`OpenErrorAction::Rearm`].
    fn rearm_beside_error(&self, slot: SlabKey) {
        if let Err(Error::Io(error)) = self.change(slot, true, |_| {}) {
            self.report(&Unhandled::Io {
                what: "rearming a connection whose error was not fetched",
                error,
            });
        }
    }

    /// `poll(2)` has no edge trigger. Polling the registration now and then neither spins nor
    /// misses anything.
    fn send_away(&self, slot: SlabKey) {
        self.set_reason(slot, Reasons::AWAY, true);
        self.call_later(AWAY, move |handle| {
            handle.set_reason(slot, Reasons::AWAY, false)
        });
    }

    /// Removes a registration from the poller until its owner sets an interest.
    pub(super) fn suspend(&self, slot: SlabKey) {
        self.set_reason(slot, Reasons::SUSPENDED, true);
    }

    fn set_reason(&self, slot: SlabKey, reason: Reasons, holds: bool) {
        // Removing from the poller fails only if it is not in there. If another change fails, the
        // state is unchanged, and the next report tries again.
        let _ = self.change(slot, false, |state| {
            state.reasons = state.reasons.with(reason, holds)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On every set of facts, for each interest, with a level trigger and then with an edge trigger.
    #[test]
    fn an_error_that_is_not_fetched_is_asked_for_by_the_edge_and_what_holds_is_asked_for_again() {
        for facts in (0..64).map(Readiness::from_bits) {
            for interest in [
                Interest::NONE,
                Interest::READ,
                Interest::WRITE,
                Interest::BOTH,
            ] {
                let state = |by_edge| RegistrationState {
                    role: Role::Stream,
                    interest,
                    trigger: Trigger::Level,
                    reasons: Reasons::NONE.with(Reasons::BY_EDGE, by_edge),
                };
                let error = facts.contains(Readiness::ERROR);
                let reads = interest.contains(Interest::READ) && facts.contains(Readiness::READ);
                let writes = interest.contains(Interest::WRITE) && facts.contains(Readiness::WRITE);
                let first = if error {
                    OpenErrorAction::ToEdge
                } else {
                    OpenErrorAction::Keep
                };
                let shown = format!("{interest:?} {facts:?}");
                assert_eq!(
                    open_error_action(&state(false), facts, true),
                    first,
                    "{shown}"
                );
                let levels = match (error, reads || writes) {
                    (true, false) => OpenErrorAction::Pause,
                    _ => OpenErrorAction::Keep,
                };
                assert_eq!(
                    open_error_action(&state(false), facts, false),
                    levels,
                    "{shown}"
                );
                let then = match (error, reads || writes) {
                    (false, _) => OpenErrorAction::ToLevel,
                    (true, true) => OpenErrorAction::Rearm,
                    (true, false) => OpenErrorAction::Keep,
                };
                assert_eq!(
                    open_error_action(&state(true), facts, true),
                    then,
                    "{shown}"
                );
            }
        }
    }
}
