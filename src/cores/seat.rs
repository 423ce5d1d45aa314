//! The state of a core on its own thread: the request to stop, and when the core has to end.
//!
//! It is attached to the loop of the core, where the message of a shutdown finds it.
//!
//! Rule: M2.

use super::now;
use crate::event_loop::{Attachment, LoopHandle};
use crate::group::token::CancellationToken;
use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A limit that no clock can reach counts as this one.
const FAR: Duration = Duration::from_secs(1 << 32);

/// The state of a core. A clone is of the same core.
#[derive(Clone, Default)]
pub(super) struct Seat(Rc<State>);

#[derive(Default)]
struct State {
    stop: CancellationToken,
    /// The earliest limit of the shutdowns so far.
    deadline: Cell<Option<Instant>>,
}

impl Seat {
    /// Returns the state of the core that this loop is, made by the first call.
    pub(super) fn of(handle: &LoopHandle) -> Self {
        handle.attached(Self::default, Self::clone)
    }

    /// The token that a shutdown cancels.
    pub(super) fn stop_token(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// When the core has to end; `None` if no shutdown has begun.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.deadline.get()
    }

    /// M2: a shutdown has begun. The run of the loop returns after this turn, and the core goes on until
    /// it has no work left, or until its deadline.
    pub(super) fn stop(handle: &LoopHandle, limit: Duration) {
        let seat = Self::of(handle);
        let now = now();
        let until = now.checked_add(limit.min(FAR)).unwrap_or(now);
        let earliest = seat
            .deadline()
            .map_or(until, |deadline| deadline.min(until));
        if seat.0.deadline.replace(Some(earliest)).is_none() {
            seat.0.stop.cancel_with("the cores are shut down");
            handle.stop();
        }
    }
}

impl Attachment for Seat {
    fn close(&self) {}

    fn as_any(&self) -> &dyn Any {
        self
    }
}
