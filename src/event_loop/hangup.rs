//! The hangup branch: when `on_hangup` runs, and what stays for a reader.
//!
//! The decision is [`hangup_action`], a pure function. A connection that has ended is reported once, after
//! the last byte has been offered to the read branch; the registration is removed before the callback
//! runs.
//!
//! In the notes: hangup, *cancel the registration, close the connection, reclaim its resources* (N7). Rule:
//! L7.

use super::classify::Role;
use super::loop_handle::{Callbacks, Cx, LoopHandle};
use super::registration::{Reasons, RegistrationState, effective};
use crate::poll::{Interest, Readiness, Trigger};
use std::io;

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
/// `available` is the number of unread bytes now, `unread_before` the number when the hangup
/// was last delayed. If they are equal, the callback was offered the bytes and read none, and the
/// hangup does not wait for it.
fn hangup_action(
    state: &RegistrationState,
    ready: Readiness,
    (available, unread_before): (u32, u32),
) -> HangupAction {
    let no_reader = state.reasons.contains(Reasons::NO_READER);
    if state.role != Role::Stream || available == 0 || no_reader {
        return HangupAction::Reclaim;
    }
    match state.interest.contains(Interest::READ) {
        true if available == unread_before => HangupAction::Reclaim,
        true => HangupAction::ReadFirst,
        // After an error nothing that is written can arrive, so there is no reason to wait for a
        // reader that may have paused until it can write.
        false if ready.contains(Readiness::ERROR) => HangupAction::Reclaim,
        false => HangupAction::Suspend,
    }
}

impl LoopHandle {
    /// Runs `on_hangup` if it is due, and delays it if bytes are left. An error while the sides are
    /// open is checked first, because it may not be the end.
    #[cold]
    pub(super) fn hangup_ready(
        &self,
        cx: &Cx<'_>,
        ready: Readiness,
        callbacks: &mut dyn Callbacks,
    ) {
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
        let unread = (available, cx.registration.unread_before());
        match hangup_action(&state, ready, unread) {
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
                cx.registration.set_unread_before(available);
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
        let state = |role, interest, unread_before, no_reader| {
            let state = RegistrationState {
                role,
                interest,
                trigger: Trigger::Level,
                reasons: Reasons::NONE.with(Reasons::NO_READER, no_reader),
            };
            (state, unread_before)
        };
        let (none, read) = (Interest::NONE, Interest::READ);
        let over = Readiness::READ_CLOSED | Readiness::WRITE_CLOSED;
        let reset = over | Readiness::ERROR;
        let stream = |interest, before| state(Role::Stream, interest, before, false);
        use HangupAction::{ReadFirst, Reclaim, Suspend};
        let cases = [
            (stream(read, 0), over, 0, Reclaim),
            (stream(read, 0), over, 10, ReadFirst),
            (stream(read, 10), over, 5, ReadFirst),
            (stream(read, 5), over, 5, Reclaim),
            (stream(none, 0), over, 5, Suspend),
            (stream(none, 0), over, 0, Reclaim),
            (stream(none, 0), reset, 5, Reclaim),
            (stream(read, 0), reset, 5, ReadFirst),
            (state(Role::Stream, none, 0, true), over, 5, Reclaim),
            (state(Role::Listener, read, 0, false), over, 5, Reclaim),
        ];
        for (n, ((state, before), ready, available, expected)) in cases.into_iter().enumerate() {
            assert_eq!(
                hangup_action(&state, ready, (available, before)),
                expected,
                "case {n}"
            );
        }
    }
}
