//! A registration of the kqueue poller: the interest, the known state, and the filters in the kernel.
//!
//! The kernel has two filters for one registration, and removes them by itself when the descriptor is
//! closed; so the entry keeps what the kernel cannot answer.
//!
//! In the notes this is an entry of the selector (N2).

use super::filters::{self, Filters, Known, Wanted};
use crate::poll::{Event, Readiness, Trigger};

/// A registration. It ends with `remove`, or when a probe shows that the kernel has lost it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) wanted: Wanted,
    pub(super) known: Known,
    /// Its filters in the kernel.
    pub(super) filters: Filters,
    /// The wait that last reported it, and its index in that wait's events.
    pub(super) batch: u64,
    pub(super) at: usize,
    /// Whether a one-shot registration has been reported. Its other filter may still be active.
    pub(super) spent: bool,
    /// The facts that are reported while its end is repeated.
    pub(super) last: Readiness,
}

impl Entry {
    #[inline]
    pub(super) fn new(wanted: Wanted, known: Known) -> Self {
        Self {
            wanted,
            known,
            filters: [None; 2],
            batch: 0,
            at: 0,
            spent: false,
            last: Readiness::NONE,
        }
    }

    /// Adds `ready` to the only event of this registration in this wait.
    #[inline]
    pub(super) fn report(&mut self, batch: u64, ready: Readiness, events: &mut Vec<Event>) {
        if self.batch == batch {
            let event = &mut events[self.at];
            *event = Event::new(event.token(), event.ready() | ready);
        } else if !self.spent {
            (self.batch, self.at) = (batch, events.len());
            self.spent = self.wanted.trigger == Trigger::OneShot;
            events.push(Event::new(self.wanted.token, ready));
        }
    }

    /// Whether it needs other filters than it has.
    #[inline]
    pub(super) fn takes_others(&self) -> bool {
        filters::may_take_others(&self.wanted, &self.known)
            && self.filters != filters::filters(&self.wanted, &self.known)
    }
}
