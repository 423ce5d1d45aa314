//! The notifier of the epoll poller: how it ends a wait, and which wait reports a notification.
//!
//! A notification sets a flag, and then makes an event by a write to an eventfd. If the flag was set
//! already, it makes none, because one is on its way. So a wait looks for the event among those of the
//! descriptors only while the flag is set. It clears the flag when it reports the notification.
//!
//! The kernel queues the event behind those of the descriptors that are ready. With more of them than
//! one wait reports, it would come some waits later, and a program that serves each batch would act
//! late on what another thread has sent. Such a wait therefore reads the eventfd: its count shows
//! whether the event has been made (R210). To leave the event on its way would spare the read, but an
//! edge-triggered host needs a new one for each notification.
//!
//! In the notes it stands behind N1's callbacks from elsewhere.
//!
//! # Rules
//!
//! `notifier/models.rs` has the kernel's part, and checks them in every order.
//!
//! - **No notification is lost** (W1). Each time that the flag is set there is one write, and the flag
//!   is not cleared before the write was seen: its event has come, or its count was read. A thread that
//!   finds the flag set needs no write of its own: that one is not seen yet, so it ends the present wait
//!   or the next one. If it is not made yet, another thread is about to make it.
//! - **The caller gets no event of the notifier**: it comes only while the flag is set. At first that
//!   follows from the edge. A write queues one entry, and the next write is made after it has come.
//!   This ends with the first read of the eventfd, because the entry stays queued. A wait that meets
//!   this entry in the middle of a later write reports it, since the count is raised, and the write then
//!   queues a second one. From the first read on, each event is therefore read. Then the count is zero
//!   while the flag is not set, and the kernel drops an entry whose count is zero. (A pipe is always
//!   read.)
//! - **Memory order.** The wait gets an event through the lock of the kernel's queue, and then sees the
//!   flag, which was set before. An entry that was queued earlier shows only the count. So the count is
//!   raised behind a `Release` fence: a wait that sees the count sees the flag.
//! - **A fork.** The child neither waits nor notifies. A thread in the middle of a notification goes on in
//!   the parent only.
//! - **The count does not overflow**: there are never 2^64 - 1 notifications. A pipe has one byte.

use super::{Epoll, Event, NOTIFIER, Notify, check_owner, epoll};
use crate::base::sync::AtomicBool;
use readily_sys::fork::ForkGuard;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[cfg(all(loom, test))]
use {self::models::Notifier, loom::sync::atomic::fence};
#[cfg(not(all(loom, test)))]
use {readily_sys::Notifier, std::sync::atomic::fence};

#[cfg(all(loom, test))]
#[path = "notifier/models.rs"]
mod models;

/// What other threads have of it.
#[derive(Debug)]
struct SharedNotifier {
    notifier: Notifier,
    /// Whether a notification came that no wait has reported.
    is_set: AtomicBool,
    fork: ForkGuard,
}

impl Notify for SharedNotifier {
    fn notify(&self) {
        // In a child process this would wake the parent.
        if !self.fork.forked() && !self.is_set.swap(true, Ordering::AcqRel) {
            fence(Ordering::Release); // see the rules
            self.notifier.notify();
        }
    }
}

/// What the poller has of it.
#[derive(Debug)]
pub(super) struct Notifications {
    shared: Arc<SharedNotifier>,
    /// Whether each event is read: the eventfd has been read before, or is a pipe.
    drains: bool,
    /// The part of the eventfd's count that is of notifications that were reported.
    reported: u64,
}

impl Notifications {
    pub(super) fn new() -> io::Result<Self> {
        let shared = SharedNotifier {
            notifier: Notifier::new()?,
            is_set: AtomicBool::new(false),
            fork: ForkGuard::new()?,
        };
        Ok(Self {
            shared: Arc::new(shared),
            drains: Notifier::DRAINS,
            reported: 0,
        })
    }

    pub(super) fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.shared) as Arc<dyn Notify>
    }

    /// Refuses calls in a child process, which shares the kernel's table with its parent.
    #[inline]
    pub(super) fn check_owner(&self) -> io::Result<()> {
        check_owner(&self.shared.fork)
    }

    /// Registers the notifier, edge-triggered.
    pub(super) fn watch(&self, epoll: &Epoll) -> io::Result<()> {
        let fd = self.shared.notifier.as_fd().as_raw_fd();
        epoll.add(fd, epoll::IN | epoll::ET, NOTIFIER)
    }

    /// Whether the notifier's event may be among those of a wait. `Relaxed`, because the kernel orders the
    /// wait after the notification: see the rules.
    #[inline]
    pub(super) fn is_set(&self) -> bool {
        self.shared.is_set.load(Ordering::Relaxed)
    }

    /// Removes the notifier's event from the `new` last of `events`, because the caller does not get it.
    /// Returns whether the wait reports a notification.
    #[cold]
    pub(super) fn take(&mut self, events: &mut Vec<Event>, new: usize) -> bool {
        let before = events.len() - new;
        let mut new_events = events[before..].iter();
        let is_seen = match new_events.position(|event| event.token() == NOTIFIER) {
            Some(at) => {
                events.remove(before + at);
                self.reported += 1;
                if self.drains {
                    self.drain();
                }
                true
            }
            // All events had room. The write was not made before the wait, so the next one reports it.
            None if new < Epoll::ROOM => false,
            // False if a thread is about to write.
            None => self.drain(),
        };
        // After the read, which would take the count of a thread that finds the flag cleared. `AcqRel`:
        // the caller sees what each notifying thread has written before, and such a thread writes after
        // the read.
        is_seen && self.shared.is_set.swap(false, Ordering::AcqRel)
    }

    /// Moves on to a new epoll, which watches the notifier already. It has taken the count of all earlier
    /// notifications for one that has just come. The flag is still set if there is one to report, so no
    /// other thread writes between the read and the write.
    pub(super) fn restart(&mut self) {
        if self.drain() {
            self.shared.notifier.notify();
        }
    }

    /// Reads the eventfd, so that it makes no event. Returns whether it would have made one that was
    /// not reported.
    fn drain(&mut self) -> bool {
        self.drains = true;
        self.shared.notifier.drain() > mem::take(&mut self.reported)
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::{Notifier, Ordering};
    use std::os::unix::net::UnixStream;

    fn waited(poller: &mut EpollPoller, events: &mut Vec<Event>) -> bool {
        let zero = Some(Duration::ZERO);
        poller.wait(events, zero).unwrap().notified()
    }

    #[test]
    fn notifications_that_no_wait_has_reported_make_one_event() {
        let mut poller = EpollPoller::new().unwrap();
        let mut events = Vec::new();
        for _ in 0..3 {
            for _ in 0..5 {
                poller.notifier().notify();
            }
            assert!(waited(&mut poller, &mut events));
            assert!(!waited(&mut poller, &mut events));
        }
        // The five of a round were one write, and a wait has read it only if it is a pipe's.
        let count = poller.notifications.shared.notifier.drain();
        assert_eq!(count, if Notifier::DRAINS { 0 } else { 3 });
        assert_eq!(events, []);
    }

    /// A thread has set the flag, and is not yet about to write.
    #[test]
    fn an_event_that_is_not_made_yet_is_reported_when_it_comes() {
        let mut poller = EpollPoller::new().unwrap();
        let mut events = Vec::new();
        for rebuilds in [false, true] {
            poller.notifier().notify();
            assert!(waited(&mut poller, &mut events));
            let shared = Arc::clone(&poller.notifications.shared);
            shared.is_set.store(true, Ordering::Relaxed);
            assert!(!waited(&mut poller, &mut events));
            if rebuilds {
                assert!(poller.rebuild(&[]).unwrap());
                assert!(!waited(&mut poller, &mut events));
            }
            shared.notifier.notify();
            assert!(waited(&mut poller, &mut events));
            assert!(!waited(&mut poller, &mut events));
        }
        assert_eq!(events, []);
    }

    /// So many descriptors that a wait for them is full.
    fn ready(poller: &mut EpollPoller) -> Vec<UnixStream> {
        let (here, there) = UnixStream::pair().unwrap();
        drop(there);
        let clone = |_| here.try_clone().unwrap();
        let all: Vec<_> = (0..Epoll::ROOM).map(clone).collect();
        for one in &all {
            let (fd, trigger) = (one.as_raw_fd(), Trigger::Level);
            poller.register(fd, 7, Interest::READ, trigger).unwrap();
        }
        all
    }

    #[test]
    fn a_full_wait_leaves_an_event_that_is_not_made_yet_to_a_later_one() {
        let mut poller = EpollPoller::new().unwrap();
        let (mut events, _ready) = (Vec::new(), ready(&mut poller));
        let shared = Arc::clone(&poller.notifications.shared);
        shared.is_set.store(true, Ordering::Relaxed);
        assert!(!waited(&mut poller, &mut events));
        assert_eq!(events.len(), Epoll::ROOM);
        shared.notifier.notify();
        assert!(waited(&mut poller, &mut events));
        assert!(!waited(&mut poller, &mut events));
    }

    /// The entry of the event that was read may still be queued.
    #[test]
    fn each_event_is_read_once_one_has_been() {
        for rebuilds in [false, true] {
            let mut poller = EpollPoller::new().unwrap();
            let notifier = poller.notifier();
            let (mut events, ready) = (Vec::new(), ready(&mut poller));
            if rebuilds {
                assert!(poller.rebuild(&[]).unwrap());
            } else {
                notifier.notify();
                assert!(waited(&mut poller, &mut events));
                ready
                    .iter()
                    .for_each(|one| poller.remove(one.as_raw_fd()).unwrap());
            }
            events.clear();
            for _ in 0..2 {
                notifier.notify();
                assert!(waited(&mut poller, &mut events));
                assert_eq!(poller.notifications.shared.notifier.drain(), 0);
            }
            assert_eq!(events, []);
        }
    }
}
