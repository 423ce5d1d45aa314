//! Promises about how long a wait lasts: never shorter than asked, and never for ever.
//!
//! A wait that is a little short makes a timer early (C1) or a loop spin; one that counts in 32
//! bits ends after some weeks. The longest is tried by ending it.
//!
//! In the notes this is the timeout of "wait for events with a timeout" (N7).

use super::{GUARD, World};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

pub(super) fn a_zero_timeout_only_looks(mut world: World) {
    let start = world.time();
    for _ in 0..100 {
        assert_eq!(world.now(), []);
    }
    assert!(world.time() - start < GUARD);
}

pub(super) fn a_timeout_is_never_early(mut world: World) {
    let mut events = Vec::new();
    for micros in [
        0.001, 1.0, 300.0, 999.0, 1_000.0, 1_001.0, 1_500.0, 7_000.0, 30_250.0,
    ] {
        let limit = Duration::from_secs_f64(micros / 1e6);
        let start = world.time();
        world.wait(&mut events, Some(limit));
        let waited = world.time() - start;
        assert!(waited >= limit, "waited {waited:?} instead of {limit:?}");
        assert_eq!(events, []);
    }
}

/// Rounding down would turn the last part of a millisecond into waits of no length at all,
/// thousands of them.
pub(super) fn a_deadline_is_reached_without_spinning(mut world: World) {
    let mut events = Vec::new();
    for _ in 0..10 {
        let (deadline, mut waits) = (world.time() + Duration::from_micros(2_900), 0);
        while let Some(left) = deadline.checked_sub(world.time()).filter(|d| !d.is_zero()) {
            world.wait(&mut events, Some(left));
            waits += 1;
            assert!(waits <= 3, "{waits} waits for one deadline");
        }
    }
}

pub(super) fn the_longest_timeout_lasts_until_a_notification(world: World) {
    lasts_until_a_notification(world, Some(Duration::MAX));
}

/// Milliseconds in 32 bits, as `epoll_wait(2)` counts them, are over after 24.8 days.
pub(super) fn a_timeout_of_many_days_lasts_until_a_notification(world: World) {
    lasts_until_a_notification(world, Some(Duration::from_millis(1 << 31)));
}

pub(super) fn no_timeout_lasts_until_a_notification(world: World) {
    lasts_until_a_notification(world, None);
}

fn lasts_until_a_notification(mut world: World, timeout: Option<Duration>) {
    let rung = Arc::new(AtomicBool::new(false));
    let ringer = thread::spawn({
        let (rung, notifier) = (Arc::clone(&rung), world.poller().notifier());
        move || {
            // Time for the wait to begin. If it has not, the test shows less, not more.
            thread::park_timeout(Duration::from_millis(20));
            rung.store(true, Ordering::SeqCst);
            notifier.notify();
        }
    });
    let _time_stands_still = world.hold();
    let mut events = Vec::new();
    world.wait(&mut events, timeout);
    assert!(rung.load(Ordering::SeqCst), "it returned by itself");
    assert_eq!(events, []);
    ringer.join().expect("it only rings");
}
