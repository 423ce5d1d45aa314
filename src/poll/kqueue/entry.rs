//! A registration of the kqueue poller: the interest, the known state, and the filters in the kernel.
//!
//! The kernel has two filters for one registration, and removes them by itself when the descriptor is
//! closed; so the entry keeps what the kernel cannot answer.
//!
//! In the notes this is an entry of the selector's (N2).

use super::filters::{self, Filters, Known, Wanted};
use crate::poll::{Event, Readiness, Trigger};

/// A registration. It dies with `remove`, or when the kernel is found not to know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) wanted: Wanted,
    pub(super) known: Known,
    /// What of it is in the kernel.
    pub(super) filters: Filters,
    /// In which wait it was last reported, and at which place of the list.
    pub(super) batch: u64,
    pub(super) at: usize,
    /// A one-shot that has been reported. The other filter may still have something to say.
    pub(super) spent: bool,
    /// What is said of it while it is among those that are over.
    pub(super) last: Readiness,
}

impl Entry {
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

    /// Adds what is `ready` to the registration's event, its only one in this wait.
    pub(super) fn report(&mut self, batch: u64, ready: Readiness, events: &mut Vec<Event>) {
        if self.batch == batch {
            events[self.at].ready |= ready;
        } else if !self.spent {
            (self.batch, self.at) = (batch, events.len());
            self.spent = self.wanted.trigger == Trigger::OneShot;
            events.push(Event {
                token: self.wanted.token,
                ready,
            });
        }
    }

    /// Whether it is to have other filters than it has.
    pub(super) fn takes_others(&self) -> bool {
        filters::may_take_others(&self.wanted, &self.known)
            && self.filters != filters::filters(&self.wanted, &self.known)
    }
}
