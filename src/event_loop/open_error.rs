//! An error of a connection whose sides are open: is it an end, and if not, how not to spin on it?
//!
//! epoll and `poll(2)` report `EPOLLERR` for more than a broken connection: a socket has something in
//! its error queue (a `MSG_ZEROCOPY` completion, a timestamp of `SO_TIMESTAMPING`), or a file of
//! `/proc` or `/sys` has changed. A socket is asked (`SO_ERROR`): without an error it goes on. Of
//! what is no socket, only the writing end of a pipe is over.
//!
//! Such an error cannot be masked, and is reported by every level-triggered wait until it is fetched.
//! So from the second report on the registration is edge-triggered, and the interest of a
//! level-triggered user is asked for again as long as it holds: a new entry is reported, an old one
//! is not, and no byte waits for either. A poller without edges is left out for a moment, unless an
//! interest of the user holds: then its level reports that at once.

use super::callbacks::Callbacks;
use super::classify::Role;
use super::cx::Cx;
use super::effective::{Reasons, effective};
use super::local::LoopHandle;
use super::registry::{Registration, RegistrationState};
use crate::base::slab::SlabKey;
use crate::poll::{FdRef, Interest, Readiness, Trigger};
use std::io;
use std::time::Duration;

/// An error of open sides: `None` if it ends nothing, else why it is over, where there is a why.
fn ends_with(fd: FdRef<'_>) -> Option<Option<io::Error>> {
    match fd.take_error() {
        Ok(error) => error.map(Some),
        // No socket: an end whose reader has gone.
        Err(_) => fd.is_pipe().unwrap_or(false).then_some(None),
    }
}

/// How often a reader is offered what is left, if data comes as fast as it is read.
const OFFERS: usize = 1024;

/// How long a registration with an error that is not fetched, and with nothing else to report, is out
/// of a poller without edges.
const AWAY: Duration = Duration::from_millis(10);

/// What is to be done about an error that ends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calm {
    Leave,
    /// It is there yet, and by the level it would be reported for ever.
    ByEdge,
    /// The same, where the poller knows no edges.
    Away,
    /// By the edge what still holds is not reported again: ask anew.
    AskAnew,
    /// It has been fetched.
    ByLevel,
}

/// `facts` holds just now, after the callbacks have run; the poller knows `edges`, or not.
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
        // The level reports it again, and at once.
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
            // L7. The system has told its error, and does not repeat it: there is no later.
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

    /// R020: a hangup and an error cannot be masked. A registration that goes on must not get one for
    /// ever.
    #[cold]
    pub(super) fn calm(&self, slot: SlabKey, registration: &Registration, ready: Readiness) {
        let state = registration.state.get();
        if state.removed || effective(&state).is_none() {
            return;
        }
        if ready.is_closed() && state.role == Role::Datagram {
            // It has no hangup branch in which it could end.
            let heard = state.interest.without(Interest::PRIORITY) != Interest::NONE;
            if !heard {
                return self.suspend(slot);
            }
        }
        // An edge and a one-shot are reported once as it is. A stream with closed sides is on its way
        // out, by the level that it was registered by.
        let by_edge = state.reasons.contains(Reasons::BY_EDGE);
        if state.trigger != Trigger::Level || ready.is_closed() && !by_edge {
            return;
        }
        let facts = registration.fd.fd_ref().facts().unwrap_or_default();
        let edges = !self.rearm_interest().contains(Interest::READ);
        match calm(&state, facts, edges) {
            Calm::Leave => {}
            // To change the trigger asks anew: what came since the callbacks ran is reported.
            Calm::ByEdge => self.set_reason(slot, Reasons::BY_EDGE, true),
            Calm::Away => self.send_away(slot),
            Calm::AskAnew => drop(self.change(slot, true, |_| {})),
            Calm::ByLevel => self.set_reason(slot, Reasons::BY_EDGE, false),
        }
    }

    /// `poll(2)` has no edges. A look now and then neither spins nor forgets anything.
    fn send_away(&self, slot: SlabKey) {
        self.set_reason(slot, Reasons::AWAY, true);
        self.call_later(AWAY, move |handle| {
            handle.set_reason(slot, Reasons::AWAY, false)
        });
    }

    /// Out of the poller, until its owner asks for something.
    pub(super) fn suspend(&self, slot: SlabKey) {
        self.set_reason(slot, Reasons::SUSPENDED, true);
    }

    fn set_reason(&self, slot: SlabKey, reason: Reasons, holds: bool) {
        // To take something out of the poller is refused only where it is out of it already. A
        // refusal to ask otherwise leaves it as it is, and the next report tries again.
        let _ = self.change(slot, false, |state| {
            state.reasons = state.reasons.with(reason, holds)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On every set of facts, for each interest, before and after it was asked for by the edge.
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
