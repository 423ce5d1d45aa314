//! Promises about the end of a wait: its timeout, notifications, and a host that watches the poller.
//!
//! A wait that is a little short makes a timer early (C1) or a loop spin; a timeout that is counted in 32
//! bits ends after some weeks. The longest timeout is tested by ending it with a notification. A lost
//! notification leaves a loop asleep while it has work; one that is reported twice makes it spin. Signals
//! are not tested here, because a signal handler belongs to the whole process.
//!
//! In the notes: "wait for events with a timeout" (N7), and the callbacks from other threads (N1; W1, W2,
//! W3).

use super::{Fixture, GUARD};
use crate::for_tests;
use readily::poll::poll2::PollPoller;
use readily::{Interest, Readiness, Trigger};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

pub(super) fn a_zero_timeout_returns_at_once(mut fixture: Fixture) {
    let start = fixture.time();
    for _ in 0..100 {
        assert_eq!(fixture.now(), []);
    }
    assert!(fixture.time() - start < GUARD);
}

pub(super) fn a_timeout_is_never_early(mut fixture: Fixture) {
    let mut events = Vec::new();
    for micros in [
        0.001, 1.0, 300.0, 999.0, 1_000.0, 1_001.0, 1_500.0, 7_000.0, 30_250.0,
    ] {
        let limit = Duration::from_secs_f64(micros / 1e6);
        let start = fixture.time();
        fixture.wait(&mut events, Some(limit));
        let waited = fixture.time() - start;
        assert!(waited >= limit, "waited {waited:?} instead of {limit:?}");
        assert_eq!(events, []);
    }
}

/// A timeout that is rounded down would turn the last part of a millisecond into thousands of waits
/// with a zero timeout.
pub(super) fn a_deadline_is_reached_without_spinning(mut fixture: Fixture) {
    let mut events = Vec::new();
    for _ in 0..10 {
        let (deadline, mut waits) = (fixture.time() + Duration::from_micros(2_900), 0);
        while let Some(left) = deadline
            .checked_sub(fixture.time())
            .filter(|d| !d.is_zero())
        {
            fixture.wait(&mut events, Some(left));
            waits += 1;
            assert!(waits <= 3, "{waits} waits for one deadline");
        }
    }
}

pub(super) fn the_longest_timeout_lasts_until_a_notification(fixture: Fixture) {
    lasts_until_a_notification(fixture, Some(Duration::MAX));
}

/// Milliseconds in a signed 32-bit number, as in `epoll_wait(2)`, end after 24.8 days.
pub(super) fn a_timeout_of_many_days_lasts_until_a_notification(fixture: Fixture) {
    lasts_until_a_notification(fixture, Some(Duration::from_millis(1 << 31)));
}

pub(super) fn no_timeout_lasts_until_a_notification(fixture: Fixture) {
    lasts_until_a_notification(fixture, None);
}

fn lasts_until_a_notification(mut fixture: Fixture, timeout: Option<Duration>) {
    let notified = Arc::new(AtomicBool::new(false));
    let sender = thread::spawn({
        let (notified, notifier) = (Arc::clone(&notified), fixture.poller().notifier());
        move || {
            // Time for the wait to begin. If it has not, the test still passes.
            thread::park_timeout(Duration::from_millis(20));
            notified.store(true, Ordering::SeqCst);
            notifier.notify();
        }
    });
    let _time_stands_still = fixture.hold();
    let mut events = Vec::new();
    fixture.wait(&mut events, timeout);
    assert!(
        notified.load(Ordering::SeqCst),
        "the wait ended without the notification"
    );
    assert_eq!(events, []);
    sender.join().expect("the thread does not panic");
}

/// Waits for a notification, and fails if the guard ends the wait.
pub(super) fn wait_for_a_notification(fixture: &mut Fixture) {
    let (start, mut events) = (fixture.time(), Vec::new());
    let time_stands_still = fixture.hold();
    let result = fixture.wait(&mut events, Some(GUARD));
    drop(time_stands_still);
    assert!(fixture.time() - start < GUARD, "no notification came");
    assert_eq!(events, [], "a notification is not an event");
    assert!(
        result.notified(),
        "the result does not have the notification"
    );
}

/// Fails if the next wait ends before its timeout.
pub(super) fn no_notification_comes(fixture: &mut Fixture) {
    let (start, mut events, limit) = (fixture.time(), Vec::new(), Duration::from_millis(5));
    let result = fixture.wait(&mut events, Some(limit));
    assert!(
        fixture.time() - start >= limit,
        "a notification ended two waits"
    );
    assert_eq!(events, []);
    assert!(
        !result.notified(),
        "the result has a notification that was not sent"
    );
}

pub(super) fn a_notification_before_the_wait_ends_it(mut fixture: Fixture) {
    let notifier = fixture.poller().notifier();
    for _ in 0..50 {
        notifier.notify();
        wait_for_a_notification(&mut fixture);
    }
    no_notification_comes(&mut fixture);
}

pub(super) fn a_notification_during_the_wait_ends_it(mut fixture: Fixture) {
    let (notifier, received) = (fixture.poller().notifier(), Received::default());
    let sender = thread::spawn({
        let received = Arc::clone(&received.0);
        move || {
            for n in 0..50 {
                notifier.notify();
                // Sent when the last one has been received, so that it comes at any time from
                // before the wait until the middle of it.
                while received.load(Ordering::SeqCst) <= n {
                    thread::yield_now();
                }
            }
        }
    });
    for n in 1..=50 {
        wait_for_a_notification(&mut fixture);
        received.0.store(n, Ordering::SeqCst);
    }
    sender.join().expect("the thread does not panic");
}

/// The count of received notifications. Dropping it sets the maximum, also if the promise is
/// broken, because the sender would wait forever otherwise.
#[derive(Default)]
struct Received(Arc<AtomicUsize>);

impl Drop for Received {
    fn drop(&mut self) {
        self.0.store(usize::MAX, Ordering::SeqCst);
    }
}

pub(super) fn many_notifications_between_two_waits_count_once(mut fixture: Fixture) {
    let notifier = fixture.poller().notifier();
    // More notifications than a pipe can hold bytes: `notify` must not block.
    for _ in 0..70_000 {
        notifier.notify();
    }
    wait_for_a_notification(&mut fixture);
    no_notification_comes(&mut fixture);
    notifier.notify();
    wait_for_a_notification(&mut fixture);
}

pub(super) fn notifications_of_many_threads_are_never_lost(mut fixture: Fixture) {
    const EACH: usize = 200;
    let done = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (done, notifier) = (Arc::clone(&done), fixture.poller().notifier());
            thread::spawn(move || {
                for _ in 0..EACH {
                    done.fetch_add(1, Ordering::SeqCst);
                    notifier.notify();
                }
            })
        })
        .collect();
    // Each increment is either visible before a wait begins or followed by a notification.
    loop {
        wait_for_a_notification(&mut fixture);
        if done.load(Ordering::SeqCst) == 4 * EACH {
            break;
        }
    }
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("the thread does not panic"));
}

pub(super) fn a_notification_after_the_poller_has_gone_is_harmless(mut fixture: Fixture) {
    let notifier = fixture.poller().notifier();
    let elsewhere = Arc::clone(&notifier);
    drop(fixture);
    notifier.notify();
    thread::spawn(move || elsewhere.notify())
        .join()
        .expect("the thread does not panic");
}

pub(super) fn a_notification_does_not_delay_an_event(mut fixture: Fixture) {
    let (here, there) = fixture.pair();
    fixture.register(here.number(), 1, Interest::READ, Trigger::Edge);
    there.put(b"a");
    fixture.poller().notifier().notify();
    assert_eq!(fixture.next_for(1), Readiness::READ);
}

/// The kernel has the notifier's event behind the others, and room for some of them.
pub(super) fn a_notification_is_reported_however_many_events_are_ready(mut fixture: Fixture) {
    fixture.allow_many();
    let all: Vec<_> = (0..300).map(|_| fixture.pair()).collect();
    for (token, (here, there)) in (0..).zip(&all) {
        fixture.register(here.number(), token, Interest::READ, Trigger::Level);
        there.put(b"a");
    }
    let (notifier, mut events) = (fixture.poller().notifier(), Vec::new());
    for _ in 0..3 {
        notifier.notify();
        let result = fixture.wait(&mut events, None);
        assert!(result.notified(), "a notification is reported late");
    }
    // Until the event has come that was not reported yet.
    for _ in &all {
        let result = fixture.wait(&mut events, Some(Duration::ZERO));
        assert!(!result.notified(), "a notification is reported twice");
    }
    for (here, _) in &all {
        here.take(1);
    }
    assert_eq!(fixture.now(), []);
    no_notification_comes(&mut fixture);
    notifier.notify();
    wait_for_a_notification(&mut fixture);
}

pub(super) fn a_host_sees_events_and_notifications_in_the_pollers_descriptor(mut fixture: Fixture) {
    let Some(fd) = fixture.poller().as_fd().map(|fd| fd.as_raw_fd()) else {
        return;
    };
    let mut host = Fixture::new(PollPoller::new().expect("every Unix has poll(2)"));
    host.register(fd, 7, Interest::READ, Trigger::Level);
    assert_eq!(host.now(), []);
    fixture.poller().notifier().notify();
    assert_eq!(host.next_for(7), Readiness::READ);
    assert_eq!(fixture.now(), []);
    assert_eq!(host.now(), [], "the notification has been consumed");
    let (here, there) = fixture.pair();
    fixture.register(here.number(), 1, Interest::READ, Trigger::Level);
    there.put(b"a");
    assert_eq!(host.next_for(7), Readiness::READ);
    assert_eq!(fixture.next_for(1), Readiness::READ);
    here.take(1);
    assert_eq!(fixture.now(), []);
    assert_eq!(host.now(), []);
}

pub(super) fn the_pollers_descriptor_does_not_survive_exec(mut fixture: Fixture) {
    let Some(fd) = fixture.poller().as_fd() else {
        return;
    };
    assert!(for_tests::closes_on_exec(fd).expect("the poller's descriptor is open"));
}
