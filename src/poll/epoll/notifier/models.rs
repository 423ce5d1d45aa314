//! The notifier of the epoll poller under loom: every order of a few steps on a few threads.
//!
//! [`Notifier`] is the kernel's part: an eventfd, and its entry in the queue of an epoll instance that
//! watches it edge-triggered, as Linux has them (`eventfd_write`, `ep_poll_callback` and
//! `ep_send_events`). A write raises the count and then queues the entry, under the eventfd's lock. A
//! wait takes the entry out of the queue, and then reads the count without that lock, so it may report
//! a write that has not queued the entry yet.
//!
//! A lost notification leaves the poller waiting for ever, which loom reports as a deadlock.

use super::{Epoll, Event, NOTIFIER, Notifications};
use crate::base::sync::{AtomicU32, AtomicUsize, Mutex, MutexGuard};
use crate::poll::Readiness;
use loom::sync::Condvar;
use loom::thread;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

#[derive(Debug)]
pub(super) struct Notifier {
    /// The lock of the eventfd.
    writing: Mutex<()>,
    count: AtomicUsize,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// Whether the entry of the eventfd is queued.
    has_entry: bool,
    /// A report for an edge-triggered host of the epoll instance.
    has_edge: bool,
}

impl Notifier {
    pub(super) const DRAINS: bool = false;

    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            writing: Mutex::new(()),
            count: AtomicUsize::new(0),
            queue: Mutex::new(Queue::default()),
            changed: Condvar::new(),
        })
    }

    fn eventfd(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().expect("nothing panics under the lock")
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing panics under the lock")
    }

    fn add_entry(&self) {
        let mut queue = self.queue();
        queue.has_entry = true;
        queue.has_edge = true;
        self.changed.notify_all();
    }

    pub(super) fn notify(&self) {
        let _eventfd = self.eventfd();
        // No order but that of the locks: the reader may have none of them.
        let count = self.count.load(Relaxed);
        self.count.store(count + 1, Relaxed);
        self.add_entry();
    }

    pub(super) fn drain(&self) -> u64 {
        let _eventfd = self.eventfd();
        self.count.swap(0, Relaxed) as u64
    }

    /// Whether a wait with a limit of zero reports the event.
    fn check(&self) -> bool {
        let had_entry = std::mem::take(&mut self.queue().has_entry);
        // `Acquire`: the wait takes more locks before it returns.
        had_entry && self.count.load(Acquire) > 0
    }

    /// A wait without a limit.
    fn wait(&self) -> bool {
        loop {
            if self.check() {
                return true;
            }
            self.sleep_until(|queue| queue.has_entry);
        }
    }

    fn sleep_until(&self, is_over: fn(&Queue) -> bool) {
        let mut queue = self.queue();
        while !is_over(&queue) {
            let changed = self.changed.wait(queue);
            queue = changed.expect("nothing panics under the lock");
        }
    }

    /// An edge-triggered host sleeps until the epoll instance has a new event.
    fn wait_for_edge(&self) {
        self.sleep_until(|queue| queue.has_edge);
        self.queue().has_edge = false;
    }

    /// Another epoll instance begins to watch the eventfd: it looks at the count.
    fn watch_anew(&self) {
        self.queue().has_entry = false;
        if self.count.load(Acquire) > 0 {
            self.add_entry();
        }
    }
}

impl AsFd for Notifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        unreachable!("a model has no descriptor")
    }
}

/// How long a wait lasts, and whether it has other events.
#[derive(Clone, Copy)]
enum Wait {
    /// Without a limit, and without other events.
    Sleep,
    /// Without events, or those of some descriptors.
    Check(usize),
    /// It has room for the events of descriptors only.
    Full,
}

/// A poller, and threads that notify it.
struct Fixture {
    notifications: Notifications,
    /// Raised before each notification, and seen by the wait that reports it.
    sent: Arc<AtomicU32>,
    seen: u32,
    /// How many waits have reported a notification.
    reports: u32,
    senders: Vec<thread::JoinHandle<()>>,
}

impl Fixture {
    fn new() -> Self {
        Self {
            notifications: Notifications::new().expect("a model has all descriptors"),
            sent: Arc::new(AtomicU32::new(0)),
            seen: 0,
            reports: 0,
            senders: Vec::new(),
        }
    }

    fn kernel(&self) -> &Notifier {
        &self.notifications.shared.notifier
    }

    /// Starts a thread that sends `count` notifications.
    fn send(&mut self, count: u32) {
        let (sent, notifier) = (Arc::clone(&self.sent), self.notifications.notifier());
        let sender = move || {
            for _ in 0..count {
                sent.fetch_add(1, Relaxed);
                notifier.notify();
            }
        };
        self.senders.push(thread::spawn(sender));
    }

    fn join_senders(&mut self) {
        for sender in self.senders.drain(..) {
            sender.join().expect("a notification does not fail");
        }
    }

    /// `EpollPoller::wait`.
    fn wait(&mut self, wait: Wait) -> bool {
        let (others, has_event) = match wait {
            Wait::Sleep => (0, self.kernel().wait()),
            Wait::Check(others) => (others, self.kernel().check()),
            Wait::Full => (Epoll::ROOM, false),
        };
        let mut events = vec![Event::new(7, Readiness::READ); others];
        if has_event {
            events.push(Event::new(NOTIFIER, Readiness::READ));
        }
        let new = events.len();
        let notified = self.notifications.is_set() && self.notifications.take(&mut events, new);
        assert_eq!(events.len(), others, "the caller gets the notifier's event");
        if notified {
            self.seen = self.sent.load(Relaxed);
            self.reports += 1;
        }
        notified
    }

    /// Waits until it has seen the last of `count` notifications.
    fn wait_for(&mut self, count: u32) {
        while self.seen < count {
            self.wait(Wait::Sleep);
        }
    }

    /// The senders are done: at most one notification is left, and each was reported once.
    fn end(mut self, count: u32) {
        self.join_senders();
        self.wait(Wait::Check(0));
        assert!(!self.wait(Wait::Check(0)), "it reports one twice");
        assert!(self.reports <= count, "it reports one twice");
        assert_eq!(self.seen, count);
        // The next one would make no event.
        assert!(!self.notifications.is_set(), "one was not reported");
    }
}

/// W1: two threads, and a poller that sleeps.
#[test]
fn every_notification_ends_a_wait() {
    loom::model(|| {
        let mut poller = Fixture::new();
        poller.send(1);
        poller.send(2);
        poller.wait(Wait::Check(1));
        poller.wait_for(3);
        poller.end(3);
    });
}

/// R210: a full wait reports each notification that was sent before it, and the next one is new.
#[test]
fn a_full_wait_reports_a_notification_that_was_sent_before() {
    loom::model(|| {
        let mut poller = Fixture::new();
        poller.send(1);
        poller.join_senders();
        assert!(poller.wait(Wait::Full));
        assert!(!poller.wait(Wait::Full));
        poller.send(1);
        poller.wait(Wait::Full);
        poller.wait(Wait::Full);
        poller.end(2);
    });
}

/// R210: the entry of an event that was read stays in the queue, and the next notification meets it.
#[test]
fn an_event_that_was_read_is_not_made_by_the_next_notification_too() {
    loom::model(|| {
        let mut poller = Fixture::new();
        poller.send(1);
        poller.join_senders();
        assert!(poller.wait(Wait::Full));
        poller.send(2);
        poller.wait(Wait::Check(1));
        poller.wait_for(3);
        poller.end(3);
    });
}

/// R165: an edge-triggered host turns the loop once for each edge.
#[test]
fn an_edge_triggered_host_gets_an_edge_for_each_notification() {
    loom::model(|| {
        let mut poller = Fixture::new();
        poller.send(1);
        poller.send(1);
        let mut waits = [Wait::Full, Wait::Check(1)].into_iter();
        while poller.seen < 2 {
            poller.kernel().wait_for_edge();
            poller.wait(waits.next().unwrap_or(Wait::Check(0)));
        }
        poller.end(2);
    });
}

/// R168: notifications that meet a new epoll instance.
#[test]
fn a_new_epoll_instance_loses_no_notification_and_reports_none_twice() {
    loom::model(|| {
        let mut poller = Fixture::new();
        poller.send(1);
        poller.join_senders();
        assert!(poller.wait(Wait::Check(0)));
        poller.send(2);
        poller.kernel().watch_anew();
        poller.notifications.restart();
        poller.wait(Wait::Check(0));
        poller.wait_for(3);
        poller.end(3);
    });
}
