//! Which wait reports a notification, and whether the notifier's event is still to come.
//!
//! The kernel queues the notifier's event behind those of the descriptors that are ready. With more of
//! them than one wait reports, the event comes some waits later, and a program that serves each batch
//! would act late on what another thread has sent. So a notification also sets a flag, which each wait
//! reads. While it is not set, no event of the notifier is on its way, and a wait need not look for one
//! among the events of the descriptors.
//!
//! In the notes it stands behind N1's callbacks from elsewhere. Rule: W1.

use std::sync::atomic::{AtomicU8, Ordering};

/// A notification came that no wait has reported.
const UNREPORTED: u8 = 1;
/// One event of the notifier is on its way: from before it is made until a wait has found it.
const ON_ITS_WAY: u8 = 2;
/// The poller was rebuilt: events may come that no bit stands for.
const REBUILT: u8 = 4;

/// The state of a poller's notifier.
#[derive(Debug, Default)]
pub(super) struct NotifiedFlag(AtomicU8);

impl NotifiedFlag {
    /// Records a notification, before its event is made. Returns whether the caller has to make it:
    /// not if one is on its way already, which ends the present wait or the next one.
    #[must_use]
    pub(super) fn set(&self) -> bool {
        let before = self.0.fetch_or(UNREPORTED | ON_ITS_WAY, Ordering::AcqRel);
        before & ON_ITS_WAY == 0
    }

    /// Whether an event of the notifier may be among those of a wait.
    #[inline]
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// The notifier's event has come: whether the wait reports a notification. Not if an earlier wait
    /// has reported it (R210).
    pub(super) fn take_event(&self) -> bool {
        self.clear(UNREPORTED | ON_ITS_WAY)
    }

    /// The notifier's event has not come: whether the wait reports a notification nevertheless.
    pub(super) fn take_early(&self) -> bool {
        self.clear(UNREPORTED)
    }

    /// Returns whether there was a notification that no wait has reported.
    fn clear(&self, bits: u8) -> bool {
        self.0.fetch_and(!bits, Ordering::AcqRel) & UNREPORTED != 0
    }

    /// The poller was rebuilt, and the event that was on its way will not come, unless a thread has
    /// just been about to make it. Returns whether the caller has to make another one, for a
    /// notification that no wait has reported.
    #[must_use]
    pub(super) fn restart(&self) -> bool {
        self.0.fetch_or(REBUILT, Ordering::AcqRel);
        // One that comes from here on makes an event, if this bit is cleared before it.
        let before = self.0.fetch_and(!ON_ITS_WAY, Ordering::AcqRel);
        before & UNREPORTED != 0 && self.set()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_reported_once_whenever_its_event_comes() {
        let flag = NotifiedFlag::default();
        assert!(!flag.is_set() && !flag.take_early());
        assert!(flag.set(), "an event has to be made");
        assert!(flag.is_set());
        assert!(flag.take_event());
        assert!(!flag.is_set() && !flag.take_event());
        assert!(flag.set());
        assert!(flag.take_early() && !flag.take_early());
        assert!(flag.is_set(), "its event is on its way");
        assert!(!flag.take_event(), "it was reported before");
        // Two before the event comes, and one with it.
        assert!(flag.set() && flag.take_early());
        assert!(!flag.set(), "one is on its way");
        assert!(flag.take_early());
        assert!(!flag.set());
        assert!(flag.take_event(), "a new one is never held back");
        assert!(!flag.is_set());
    }

    #[test]
    fn an_event_that_is_lost_is_made_again_if_its_notification_was_not_reported() {
        let flag = NotifiedFlag::default();
        assert!(!flag.restart());
        assert!(flag.is_set(), "an event more may come at any time");
        assert!(!flag.take_event(), "it is not reported");
        assert!(flag.set() && flag.restart());
        assert!(flag.take_early() && !flag.restart());
        assert!(!flag.take_event());
        assert!(flag.set() && flag.take_early() && !flag.set());
        assert!(
            flag.restart(),
            "the second relied on the event of the first"
        );
        assert!(flag.take_event() && flag.is_set());
    }
}
