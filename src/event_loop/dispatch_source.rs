//! The event of a source: it is stored, and wakes the waiters.
//!
//! In the notes: what an event does for `await` (N7, N10). Rules: L1, L8.

use super::classify::Branch;
use super::dispatch::Running;
use super::loop_handle::LoopHandle;
use super::origin::Origin;
use super::panics::Payload;
use super::source_registration::RegisteredSource;
use crate::base::slab::SlabKey;
use crate::poll::Event;
use std::rc::Rc;

impl LoopHandle {
    /// Runs the event of a source.
    #[inline]
    pub(super) fn dispatch_source(&self, event: &Event, running: &mut Running) {
        let slot = SlabKey::from_bits(event.token());
        let Some(source) = self.registry.source(slot) else {
            return self.count_stale(event, running); // L1: its registration was removed
        };
        running.begin(event.token(), Branch::Default);
        if self.is_observed() {
            self.begin_branch(running);
        }
        let panic = source.on_event(event.ready());
        if panic.is_some() || self.is_observed() || self.check_after_call.get() {
            self.end_source_event(source, running, panic);
        }
    }

    #[cold]
    fn end_source_event(
        &self,
        source: Rc<dyn RegisteredSource>,
        running: &mut Running,
        panic: Option<Payload>,
    ) {
        let origin = source_origin(&*source);
        self.check_after_call.set(false);
        self.check_current(|| origin.clone());
        self.end_call(running.take_begun(), || origin.clone());
        if let Some(payload) = panic {
            self.apply_panic_policy(payload, origin);
        }
        // A woken waiter may have dropped the source: then this is its last reference.
        self.drop_guarded(source);
    }

    /// What is left to be done after the notifier of a user's poller has panicked in the event of a source.
    #[cold]
    pub(super) fn end_panicked_source(&self, running: &mut Running, payload: Payload) {
        match self.registry.source(running.slot()) {
            Some(source) => self.end_source_event(source, running, Some(payload)),
            None => self.apply_panic_policy(payload, Origin::Other),
        }
    }
}

fn source_origin(source: &dyn RegisteredSource) -> Origin {
    Origin::Callback {
        branch: Branch::Default,
        site: source.registration().site,
    }
}
