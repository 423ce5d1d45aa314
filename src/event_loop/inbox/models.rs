//! The inbox under loom: every order of a few steps on a few threads.
//!
//! A test with real threads sees only the orders that the machine happens to take. loom tries every
//! order with up to three preemptions, and every value that a relaxed load may return. A lost wake
//! leaves a thread waiting for ever, which loom reports as a deadlock.
//!
//! The models are of N5's way back from a thread. [`Fixture`] is the loop's side, with the steps of
//! `turn.rs`, on a notifier in place of the kernel.

use super::super::error::LoopClosed;
use super::super::loop_handle::{Inbox, Message};
use super::super::remote::RemoteHandle;
use super::super::weak_handle::WeakHandle;
use crate::base::sync::{AtomicUsize, Mutex, MutexGuard};
use crate::base::unique_id;
use crate::poll::Notify;
use loom::sync::Condvar;
use loom::thread;
use readily_sys::fork::ForkGuard;
use std::rc::Weak;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

/// A model of an eventfd: notifications add up, and one wait consumes them all.
struct ModelNotifier {
    waiting: Mutex<Notifications>,
    notified: Condvar,
}

#[derive(Default)]
struct Notifications {
    /// Not consumed yet.
    waiting: usize,
    /// Since the start.
    paid: usize,
}

impl ModelNotifier {
    fn notifications(&self) -> MutexGuard<'_, Notifications> {
        self.waiting.lock().expect("nothing panics under the lock")
    }

    /// A wait without a limit.
    fn wait(&self) {
        let mut notifications = self.notifications();
        while notifications.waiting == 0 {
            notifications = self
                .notified
                .wait(notifications)
                .expect("nothing panics under the lock");
        }
        notifications.waiting = 0;
    }

    /// A wait with a limit of zero.
    fn check(&self) {
        self.notifications().waiting = 0;
    }
}

impl Notify for ModelNotifier {
    fn notify(&self) {
        let mut notifications = self.notifications();
        notifications.waiting += 1;
        notifications.paid += 1;
        drop(notifications);
        self.notified.notify_one();
    }
}

/// The loop's side of an inbox, without a kernel, timers or callbacks.
pub(crate) struct Fixture {
    inbox: Arc<Inbox>,
    notifier: Arc<ModelNotifier>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let notifier = Arc::new(ModelNotifier {
            waiting: Mutex::new(Notifications::default()),
            notified: Condvar::new(),
        });
        let fork = ForkGuard::new().expect("it falls back on the process id");
        let inbox = Arc::new(Inbox::new(
            unique_id::next(),
            Arc::<ModelNotifier>::clone(&notifier),
            fork,
            false,
        ));
        Self { inbox, notifier }
    }

    pub(crate) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    /// A handle of no loop.
    pub(crate) fn weak_handle(&self) -> WeakHandle {
        WeakHandle::new(Weak::new())
    }

    /// Whether no message is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.inbox.is_empty()
    }

    /// `LoopHandle::wait` with nothing else to do: whether the inbox is to be read.
    fn wait(&self) -> bool {
        if self.inbox.fall_asleep() {
            self.notifier.wait();
        } else {
            self.notifier.check();
        }
        // A loop that has only events stays asleep: `begin_turn`.
        self.inbox.is_notified() && self.inbox.wake_up()
    }

    /// `LoopHandle::wait` with something else to do.
    fn check(&self) -> bool {
        self.notifier.check();
        self.inbox.wake_up()
    }

    /// `LoopHandle::receive_messages`.
    fn read(&self, notified: bool) -> Vec<Message> {
        let mut messages = Vec::new();
        if notified {
            self.inbox.drain(&mut messages);
        }
        messages
    }

    /// The tasks that were woken, after a turn that waits for a notification.
    pub(crate) fn woken(&self) -> Vec<u64> {
        let notified = self.wait();
        task_ids(&self.read(notified))
    }
}

/// A wake of the task with this number.
fn wake(number: u64) -> Message {
    Message::Wake(number, Waker::noop().clone())
}

fn task_ids(messages: &[Message]) -> Vec<u64> {
    let task_id = |message: &Message| match message {
        Message::Wake(number, _) => *number,
        _ => panic!("only task ids were sent"),
    };
    messages.iter().map(task_id).collect()
}

/// W1, W2: two senders, and a loop that sleeps until it has both messages.
#[test]
fn every_message_is_read_and_a_sleep_pays_one_notification() {
    loom::model(|| {
        let home = Fixture::new();
        let senders = [1, 2].map(|task_id| {
            let inbox = home.inbox();
            thread::spawn(move || assert!(inbox.send(wake(task_id))))
        });
        let (mut got, mut waits) = (Vec::new(), 0);
        while got.len() < 2 {
            got.extend(home.woken());
            waits += 1;
        }
        for sender in senders {
            sender.join().expect("the message was taken");
        }
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        assert!(
            home.notifier.notifications().paid <= waits,
            "W2: one notification for each wait"
        );
    });
}

/// W1: a wake without a message, while the loop turns or sleeps. Writes of the waking thread before
/// the wake are seen, without a lock between the two.
#[test]
fn a_wake_without_a_message_ends_the_wait_and_shows_what_was_written() {
    loom::model(|| {
        let home = Fixture::new();
        let written = Arc::new(AtomicUsize::new(0));
        let remote = RemoteHandle::new(home.inbox());
        let waker = thread::spawn({
            let written = Arc::clone(&written);
            move || {
                written.store(1, Relaxed);
                remote.wake();
            }
        });
        // The first turn does not sleep; the wake may come in the middle of it.
        let mut notified = home.check();
        while !notified {
            notified = home.wait();
        }
        assert_eq!(written.load(Relaxed), 1);
        waker.join().expect("a wake does not fail");
    });
}

/// W1: a wait that ends for another reason than the notifier, with a notification in the middle.
#[test]
fn a_notification_that_meets_the_end_of_a_sleep_is_not_lost() {
    loom::model(|| {
        let home = Fixture::new();
        let sender = thread::spawn({
            let inbox = home.inbox();
            move || assert!(inbox.send(wake(1)))
        });
        // Awake, then asleep, then woken by a timer.
        let notified = home.check();
        let mut got = home.read(notified);
        home.inbox.fall_asleep();
        home.inbox.stay_awake(); // an event has made a task ready
        home.inbox.fall_asleep();
        let notified = home.check();
        got.append(&mut home.read(notified));
        while got.is_empty() {
            let notified = home.wait();
            got = home.read(notified);
        }
        sender.join().expect("the message was taken");
        assert_eq!(task_ids(&got), [1]);
    });
}

/// W1: a host that waits for the descriptor itself, and turns the loop when it is readable.
#[test]
fn a_host_is_called_for_what_came_during_its_turn() {
    loom::model(|| {
        let home = Fixture::new();
        let senders = [1, 2].map(|task_id| {
            let inbox = home.inbox();
            thread::spawn(move || assert!(inbox.send(wake(task_id))))
        });
        let mut got = 0;
        loop {
            // `turn_now`, and `notify_host` at its end.
            let notified = home.check();
            got += home.read(notified).len();
            home.inbox.notify_host();
            if got == 2 {
                break;
            }
            home.notifier.wait();
        }
        for sender in senders {
            sender.join().expect("the message was taken");
        }
    });
}

/// W3: exactly one of these happens: a message is read, or dropped by the loop that closes, or
/// returned to its sender.
#[test]
fn a_loop_that_closes_reads_a_message_or_gives_it_back() {
    loom::model(|| {
        let home = Fixture::new();
        let remote = RemoteHandle::new(home.inbox());
        let caller = thread::spawn(move || match remote.call_soon_with(7, |_, _| ()) {
            Ok(()) => 1,
            Err(LoopClosed(seven)) => {
                assert_eq!(seven, 7);
                assert!(remote.is_closed(), "it does not open again");
                0
            }
        });
        let waker = thread::spawn({
            let inbox = home.inbox();
            move || usize::from(inbox.send(wake(1)))
        });
        let notified = home.check();
        let read = home.read(notified).len();
        let dropped = home.inbox.close().len();
        let taken = [caller, waker].map(|sender| sender.join().expect("it is safe"));
        assert_eq!(taken.iter().sum::<usize>(), read + dropped);
        assert!(home.is_empty(), "a closed loop keeps no message");
        assert!(!home.inbox.send(Message::Stop));
    });
}

/// M2: between the last look of a core at its inbox and the close nothing is accepted.
#[test]
fn a_loop_that_closes_its_drained_inbox_has_read_what_it_accepted() {
    loom::model(|| {
        let home = Fixture::new();
        let (inbox, mut read) = (home.inbox(), 0);
        let caller = thread::spawn(move || [1, 2].map(|task_id| inbox.send(wake(task_id))));
        while !home.inbox.close_if_empty() {
            read += home.woken().len();
        }
        let accepted = caller.join().expect("a send does not fail");
        assert_eq!(accepted.iter().filter(|sent| **sent).count(), read, "M2");
    });
}

/// Dropping the last `RemoteHandle` ends the wait of `run`, and its message is not missed.
#[test]
fn the_last_remote_leaves_its_message_and_ends_the_wait() {
    loom::model(|| {
        let home = Fixture::new();
        let remote = RemoteHandle::new(home.inbox());
        let sender = thread::spawn(move || {
            assert!(remote.stop().is_ok());
            drop(remote);
        });
        let mut got = 0;
        // `EventLoop::is_idle`, in its order.
        while home.inbox.has_remotes() || !home.inbox.is_empty() {
            let notified = home.wait();
            got += home.read(notified).len();
        }
        assert_eq!(got, 1);
        sender.join().expect("a stop does not fail");
    });
}
