//! Promises about when a wait ends: its timeout, the notifier, and the loop of a host.
//!
//! A wait that is a little short makes a timer early (C1) or a loop spin; one that counts in 32
//! bits ends after some weeks. The longest is tried by ending it. A notification that is
//! lost is a loop that sleeps on while there is work; one that is reported twice is a loop that spins. What signals do is not tried
//! here, for a handler belongs to the whole process.
//!
//! In the notes this is the timeout of "wait for events with a timeout" (N7), and how N1's callbacks come in
//! from elsewhere (W1, W2, W3).

use super::{Fixture, GUARD};
use crate::for_tests;
use readily::poll::poll2::PollPoller;
use readily::{Interest, Readiness, Trigger};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

pub(super) fn a_zero_timeout_only_looks(mut fixture: Fixture) {
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

/// Rounding down would turn the last part of a millisecond into waits of no length at all,
/// thousands of them.
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

/// Milliseconds in 32 bits, as `epoll_wait(2)` counts them, are over after 24.8 days.
pub(super) fn a_timeout_of_many_days_lasts_until_a_notification(fixture: Fixture) {
    lasts_until_a_notification(fixture, Some(Duration::from_millis(1 << 31)));
}

pub(super) fn no_timeout_lasts_until_a_notification(fixture: Fixture) {
    lasts_until_a_notification(fixture, None);
}

fn lasts_until_a_notification(mut fixture: Fixture, timeout: Option<Duration>) {
    let rung = Arc::new(AtomicBool::new(false));
    let ringer = thread::spawn({
        let (rung, notifier) = (Arc::clone(&rung), fixture.poller().notifier());
        move || {
            // Time for the wait to begin. If it has not, the test shows less, not more.
            thread::park_timeout(Duration::from_millis(20));
            rung.store(true, Ordering::SeqCst);
            notifier.notify();
        }
    });
    let _time_stands_still = fixture.hold();
    let mut events = Vec::new();
    fixture.wait(&mut events, timeout);
    assert!(rung.load(Ordering::SeqCst), "it returned by itself");
    assert_eq!(events, []);
    ringer.join().expect("it only rings");
}

/// Waits, and fails if it was the guard that ended it.
fn wait_for_a_notification(fixture: &mut Fixture) {
    let (start, mut events) = (fixture.time(), Vec::new());
    let time_stands_still = fixture.hold();
    let result = fixture.wait(&mut events, Some(GUARD));
    drop(time_stands_still);
    assert!(fixture.time() - start < GUARD, "no ring came");
    assert_eq!(events, [], "a ring is no event");
    assert!(
        result.notified(),
        "the result does not say that a notification ended the wait"
    );
}

/// Fails if the next wait is ended by something before it is over.
fn nothing_rings(fixture: &mut Fixture) {
    let (start, mut events, limit) = (fixture.time(), Vec::new(), Duration::from_millis(5));
    let result = fixture.wait(&mut events, Some(limit));
    assert!(fixture.time() - start >= limit, "a ring was heard twice");
    assert_eq!(events, []);
    assert!(
        !result.notified(),
        "a wait without a notification says that there was one"
    );
}

pub(super) fn a_notification_before_the_wait_ends_it(mut fixture: Fixture) {
    let notifier = fixture.poller().notifier();
    for _ in 0..50 {
        notifier.notify();
        wait_for_a_notification(&mut fixture);
    }
    nothing_rings(&mut fixture);
}

pub(super) fn a_notification_during_the_wait_ends_it(mut fixture: Fixture) {
    let (notifier, heard) = (fixture.poller().notifier(), Heard::default());
    let ringer = thread::spawn({
        let heard = Arc::clone(&heard.0);
        move || {
            for n in 0..50 {
                notifier.notify();
                // The next ring only when this one has been heard: it comes at any time
                // from before the wait to the midst of it.
                while heard.load(Ordering::SeqCst) <= n {
                    thread::yield_now();
                }
            }
        }
    });
    for n in 1..=50 {
        wait_for_a_notification(&mut fixture);
        heard.0.store(n, Ordering::SeqCst);
    }
    ringer.join().expect("it only rings");
}

/// How many rings have been heard; all of them when it is dropped, also where the promise is
/// broken: the ringer would wait for ever.
#[derive(Default)]
struct Heard(Arc<AtomicUsize>);

impl Drop for Heard {
    fn drop(&mut self) {
        self.0.store(usize::MAX, Ordering::SeqCst);
    }
}

pub(super) fn many_notifications_between_two_waits_count_once(mut fixture: Fixture) {
    let notifier = fixture.poller().notifier();
    // More than a pipe holds: none of them may block.
    for _ in 0..70_000 {
        notifier.notify();
    }
    wait_for_a_notification(&mut fixture);
    nothing_rings(&mut fixture);
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
    // Whatever was done before the last wait began has been seen; the rest rings.
    loop {
        wait_for_a_notification(&mut fixture);
        if done.load(Ordering::SeqCst) == 4 * EACH {
            break;
        }
    }
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("it only rings"));
}

pub(super) fn a_notification_after_the_poller_has_gone_is_harmless(mut fixture: Fixture) {
    let notifier = fixture.poller().notifier();
    let elsewhere = Arc::clone(&notifier);
    drop(fixture);
    notifier.notify();
    thread::spawn(move || elsewhere.notify())
        .join()
        .expect("it only rings");
}

pub(super) fn a_notification_keeps_no_event_back(mut fixture: Fixture) {
    let (here, there) = fixture.pair();
    fixture.register(here.number(), 1, Interest::READ, Trigger::Edge);
    there.put(b"a");
    fixture.poller().notifier().notify();
    assert_eq!(fixture.next_for(1), Readiness::READ);
}

pub(super) fn a_host_sees_events_and_notifications_in_the_pollers_descriptor(mut fixture: Fixture) {
    let Some(fd) = fixture.poller().as_fd().map(|fd| fd.as_raw_fd()) else {
        return;
    };
    let mut host = Fixture::new(PollPoller::new().expect("poll(2) is everywhere"));
    host.register(fd, 7, Interest::READ, Trigger::Level);
    assert_eq!(host.now(), []);
    fixture.poller().notifier().notify();
    assert_eq!(host.next_for(7), Readiness::READ);
    assert_eq!(fixture.now(), []);
    assert_eq!(host.now(), [], "the ring has been heard");
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
    assert!(for_tests::closes_on_exec(fd).expect("it is open"));
}
