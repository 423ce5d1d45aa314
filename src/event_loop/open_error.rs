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

use super::callbacks::Callbacks;
use super::classify::Role;
use super::cx::Cx;
use super::effective::{Reasons, effective};
use super::loop_handle::LoopHandle;
use super::registry::{Registration, RegistrationState};
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
enum Calm {
    Leave,
    /// The error is still there, and a level trigger would report it for ever.
    ByEdge,
    /// The same, with a poller that has no edge trigger.
    Away,
    /// An interest is still ready, which an edge trigger does not report again: arm it again.
    AskAnew,
    /// The error has been fetched.
    ByLevel,
}

/// Decides from the readiness after the callbacks have run, and from whether the poller has `edges`.
fn calm(state: &RegistrationState, facts: Readiness, edges: bool) -> Calm {
    let interest = effective(state).map_or(Interest::NONE, |(interest, _)| interest);
    let pairs = [
        (Interest::READ, Readiness::READ),
        (Interest::WRITE, Readiness::WRITE),
    ];
    let mut pairs = pairs.into_iter();
    let holds = pairs.any(|(one, fact)| interest.contains(one) && facts.contains(fact));
    let by_edge = state.reasons.contains(Reasons::BY_EDGE);
    match (facts.contains(Readiness::ERROR), by_edge) {
        (false, false) => Calm::Leave,
        (true, false) if edges => Calm::ByEdge,
        // The level trigger reports it again at once.
        (true, false) if holds => Calm::Leave,
        (true, false) => Calm::Away,
        (false, true) => Calm::ByLevel,
        (true, true) if holds => Calm::AskAnew,
        (true, true) => Calm::Leave,
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
    pub(super) fn calm(&self, slot: SlabKey, registration: &Registration, ready: Readiness) {
        let state = registration.state.get();
        if state.removed || effective(&state).is_none() {
            return;
        }
        if ready.is_closed() && state.role == Role::Datagram {
            // It has no hangup branch that would end it.
            let heard = state.interest.without(Interest::PRIORITY) != Interest::NONE;
            if !heard {
                return self.suspend(slot);
            }
        }
        // Edge-triggered and one-shot registrations are reported once anyway. A stream with closed
        // sides is about to end, by the level trigger that it was registered with.
        let by_edge = state.reasons.contains(Reasons::BY_EDGE);
        if state.trigger != Trigger::Level || ready.is_closed() && !by_edge {
            return;
        }
        let facts = registration.fd.fd_ref().facts().unwrap_or_default();
        let edges = !self.rearm_interest().contains(Interest::READ);
        match calm(&state, facts, edges) {
            Calm::Leave => {}
            // A change of the trigger arms it again: readiness since the callbacks ran is reported.
            Calm::ByEdge => self.set_reason(slot, Reasons::BY_EDGE, true),
            Calm::Away => self.send_away(slot),
            Calm::AskAnew => drop(self.change(slot, true, |_| {})),
            Calm::ByLevel => self.set_reason(slot, Reasons::BY_EDGE, false),
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
                    fd: 0,
                    role: Role::Stream,
                    interest,
                    trigger: Trigger::Level,
                    reasons: Reasons::NONE.with(Reasons::BY_EDGE, by_edge),
                    no_reader: false,
                    removed: false,
                    unread_before: 0,
                    site: std::panic::Location::caller(),
                };
                let error = facts.contains(Readiness::ERROR);
                let reads = interest.contains(Interest::READ) && facts.contains(Readiness::READ);
                let writes = interest.contains(Interest::WRITE) && facts.contains(Readiness::WRITE);
                let first = if error { Calm::ByEdge } else { Calm::Leave };
                let shown = format!("{interest:?} {facts:?}");
                assert_eq!(calm(&state(false), facts, true), first, "{shown}");
                let levels = match (error, reads || writes) {
                    (true, false) => Calm::Away,
                    _ => Calm::Leave,
                };
                assert_eq!(calm(&state(false), facts, false), levels, "{shown}");
                let then = match (error, reads || writes) {
                    (false, _) => Calm::ByLevel,
                    (true, true) => Calm::AskAnew,
                    (true, false) => Calm::Leave,
                };
                assert_eq!(calm(&state(true), facts, true), then, "{shown}");
            }
        }
    }
}
