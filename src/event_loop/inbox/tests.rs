//! The states of the inbox, and the inbox in a child process.

use super::*;
use crate::base::unique_id;

impl<H> Inbox<H> {
    /// An inbox of a loop of the parent process.
    pub(crate) fn of_the_parent() -> Self {
        struct Silent;
        impl Notify for Silent {
            fn notify(&self) {
                unreachable!("a child does not wake its parent");
            }
        }
        Self::new(
            unique_id::next(),
            Arc::new(Silent),
            ForkGuard::of_the_parent(),
            false,
        )
    }
}

/// W2: a loop with work needs no notification; one that dispatches events is notified as in the wait.
#[test]
fn only_a_loop_that_sleeps_or_dispatches_events_is_notified() {
    struct Counted(AtomicUsize);
    impl Notify for Counted {
        fn notify(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let counted = Arc::new(Counted(AtomicUsize::new(0)));
    let fork = ForkGuard::new().unwrap();
    let notifier = Arc::clone(&counted) as Arc<dyn Notify>;
    let inbox = Inbox::<()>::new(unique_id::next(), notifier, fork, false);
    let notifications = || counted.0.swap(0, Ordering::Relaxed);

    // Asleep: the wait, and the events that it has reported.
    assert!(inbox.fall_asleep() && !inbox.is_notified());
    inbox.notify();
    inbox.notify();
    assert_eq!(notifications(), 1);
    assert!(!inbox.fall_asleep(), "the next wait does not sleep");
    assert!(inbox.is_notified() && inbox.has_used_notifier());
    assert!(inbox.wake_up() && !inbox.wake_up());

    // Awake, after a notification or because there is work.
    for _ in 0..2 {
        inbox.notify();
        assert_eq!(notifications(), 0);
        assert!(!inbox.fall_asleep() && inbox.wake_up());
        assert!(inbox.fall_asleep());
        inbox.stay_awake();
        assert!(!inbox.has_used_notifier());
    }

    // A notification that came before stays.
    assert!(inbox.fall_asleep());
    inbox.notify();
    inbox.stay_awake();
    assert_eq!(notifications(), 1);
    assert!(inbox.has_used_notifier() && inbox.wake_up());

    // A host is notified of what came before, unless the notifier was used for it.
    for (is_asleep, expected) in [(false, 1), (true, 0)] {
        assert!(!is_asleep || inbox.fall_asleep());
        inbox.notify();
        notifications();
        for expected in [expected, 0] {
            inbox.notify_host();
            assert_eq!(notifications(), expected, "{is_asleep}");
        }
        assert!(!inbox.fall_asleep() && inbox.wake_up());
    }
}

/// R197. The lock is held at the fork by another thread, which the child does not have.
#[test]
fn a_child_of_the_loops_process_does_not_wait_for_the_lock() {
    let inbox = Inbox::<()>::of_the_parent();
    let mut queue = inbox.queue();
    queue.messages.push(Message::Stop);
    let mut into = Vec::new();
    inbox.drain(&mut into);
    assert!(into.is_empty() && inbox.is_empty());
    assert!(inbox.is_closed() && !inbox.send(Message::Stop));
    assert_eq!(inbox.close().len(), 0);
    drop(queue);
    assert_eq!(inbox.close().len(), 1, "the lock was free at the fork");
}
