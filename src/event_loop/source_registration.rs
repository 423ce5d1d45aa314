//! The registration of a source: a descriptor that coroutines wait for.
//!
//! All sources are registered in the same way, for life: in both directions, by the edge. All their
//! events do the same: they are stored, and the waiters are woken. So a source has no callbacks behind a
//! flag that says whether they run. Its registration is a part of it, and an event leads from the table
//! to the source in one step.
//!
//! In the notes: what the loop registers for `await` (N7, N10). Rule: L1.

use super::panics::Payload;
use crate::base::slab::SlabKey;
use crate::poll::{FdRef, Interest, Readiness, Trigger, Watched};
use readily_sys::nonblocking::Hold;
use std::cell::Cell;
use std::os::fd::RawFd;
use std::panic::Location;

/// A source, as the loop knows it.
pub(crate) trait RegisteredSource {
    /// Its registration, which is a part of it.
    fn registration(&self) -> &SourceRegistration;

    /// Its descriptor, the same each time. This may be user code.
    fn fd_ref(&self) -> FdRef<'_>;

    /// Stores what an event reports, and wakes the waiters. Returns the first panic of a waker.
    fn on_event(&self, ready: Readiness) -> Option<Payload>;

    /// The registration has ended: wakes all waiters. Returns the first panic of a waker.
    fn on_end(&self) -> Option<Payload>;
}

/// The registration of a source.
pub(crate) struct SourceRegistration {
    /// Its key in the table, with the mark of a source; [`SlabKey::NONE`] before it is registered.
    pub(super) slot: Cell<SlabKey>,
    pub(super) fd: Cell<RawFd>,
    pub(super) interest: Cell<Interest>,
    pub(super) trigger: Trigger,
    pub(super) site: &'static Location<'static>,
    /// If its file was blocking, it is made blocking again in the end (R131).
    pub(super) hold: Cell<Option<Hold>>,
}

/// How a source is watched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    interest: Interest,
    trigger: Trigger,
}

impl Watch {
    /// In both directions, for each change.
    pub(crate) const BOTH: Self = Self::by_edge(Interest::BOTH.with(Interest::PRIORITY));
    /// A connection that has room: it is watched for writing once it has not.
    pub(crate) const WITH_ROOM: Self = Self::by_edge(Interest::READ.with(Interest::PRIORITY));
    /// A descriptor that is only read: not every system can watch it for writing.
    pub(crate) const READING: Self = Self::by_edge(Interest::READ);
    /// A listener. It is reported as long as a connection waits, so that the kernel need not be asked for more after
    /// each of them; while no task accepts, it is not watched.
    pub(crate) const LISTENER: Self = Self {
        interest: Interest::READ,
        trigger: Trigger::Level,
    };

    const fn by_edge(interest: Interest) -> Self {
        Self {
            interest,
            trigger: Trigger::Edge,
        }
    }
}

impl SourceRegistration {
    /// Of a source that was made at `site`, and is not registered yet.
    #[inline]
    pub(crate) fn new(watch: Watch, site: &'static Location<'static>) -> Self {
        Self {
            slot: Cell::new(SlabKey::NONE),
            fd: Cell::new(-1),
            interest: Cell::new(watch.interest),
            trigger: watch.trigger,
            site,
            hold: Cell::new(None),
        }
    }

    /// In which directions the poller has to be asked when they have proved not to be ready, where it wants to be
    /// asked for an edge in `of_poller`.
    pub(crate) fn rearm_interest(&self, of_poller: Interest) -> Interest {
        match self.trigger {
            Trigger::Level => Interest::NONE,
            _ => of_poller | Interest::BOTH.without(self.interest.get()),
        }
    }

    /// Whether it is watched in this direction.
    pub(crate) fn is_watched_for(&self, direction: Interest) -> bool {
        self.interest.get().contains(direction)
    }

    /// What the poller was asked to watch.
    pub(super) fn watched(&self) -> Watched {
        Watched {
            fd: self.fd.get(),
            token: self.slot.get().to_bits(),
            interest: self.interest.get(),
            trigger: self.trigger,
        }
    }
}
