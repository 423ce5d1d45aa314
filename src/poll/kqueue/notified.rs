//! Whether a wait reports a notification, even if the notifier's event has no room in the batch.
//!
//! The kernel queues the notifier's event behind those of the descriptors that are ready. With more of
//! them than one wait reports, the event comes some waits later, and a program that serves each batch
//! would act late on what another thread has sent. So each notification also sets a flag, which a wait
//! reads if the event may have had no room.
//!
//! In the notes it stands behind N1's callbacks from elsewhere. Rule: W1.

use std::sync::atomic::{AtomicBool, Ordering};

/// Set by each notification, before it makes its event.
#[derive(Debug, Default)]
pub(super) struct NotifiedFlag(AtomicBool);

impl NotifiedFlag {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether a notification came that no wait has reported.
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// A load first: no write to memory that other threads read, unless a notification came.
    fn take(&self) -> bool {
        self.is_set() && self.0.swap(false, Ordering::Acquire)
    }
}

/// What the waits of one poller have reported.
#[derive(Debug, Default)]
pub(super) struct Notified {
    /// A notification was reported, and its event has not come yet.
    is_early: bool,
}

impl Notified {
    /// The notifier's event has come: whether the wait reports a notification. Not if an earlier wait
    /// has reported it already (R210).
    pub(super) fn take_event(&mut self, flag: &NotifiedFlag) -> bool {
        flag.take() || !std::mem::take(&mut self.is_early)
    }

    /// There are other events, and perhaps more than fit: whether a notification came meanwhile.
    #[inline]
    pub(super) fn take_early(&mut self, flag: &NotifiedFlag) -> bool {
        let early = flag.take();
        self.is_early |= early;
        early
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_reported_once_whenever_its_event_comes() {
        let (flag, mut notified) = (NotifiedFlag::default(), Notified::default());
        assert!(!notified.take_early(&flag));
        flag.set();
        assert!(notified.take_event(&flag));
        // The event of a notification whose flag another event has taken is reported as ever.
        assert!(notified.take_event(&flag));
        flag.set();
        assert!(notified.take_early(&flag));
        assert!(!notified.take_early(&flag));
        assert!(!notified.take_event(&flag), "it was reported before");
        // Two before the event comes, and one with it.
        flag.set();
        assert!(notified.take_early(&flag));
        flag.set();
        assert!(notified.take_early(&flag));
        flag.set();
        assert!(notified.take_event(&flag));
        flag.set();
        assert!(notified.take_event(&flag), "a new one is never held back");
    }
}
