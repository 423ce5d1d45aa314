//! How long a wait may last: never shorter than asked, and never for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::kit::{GUARD, World, now};

pub fn a_zero_timeout_only_looks(mut poller: World) {
    let start = poller.time();
    for _ in 0..100 {
        assert_eq!(now(&mut *poller), []);
    }
    assert!(poller.time() - start < GUARD);
}

pub fn a_timeout_is_never_early(mut poller: World) {
    let mut events = Vec::new();
    for micros in [
        0.001, 1.0, 300.0, 999.0, 1_000.0, 1_001.0, 1_500.0, 7_000.0, 30_250.0,
    ] {
        let limit = Duration::from_secs_f64(micros / 1e6);
        let start = poller.time();
        poller.wait(&mut events, Some(limit)).unwrap();
        let waited = poller.time() - start;
        assert!(waited >= limit, "waited {waited:?} instead of {limit:?}");
        assert_eq!(events, []);
    }
}

/// Rounding down would turn the last part of a millisecond into waits of no length at all,
/// thousands of them.
pub fn a_deadline_is_reached_without_spinning(mut poller: World) {
    let mut events = Vec::new();
    for _ in 0..10 {
        let (deadline, mut waits) = (poller.time() + Duration::from_micros(2_900), 0);
        while let Some(left) = deadline.checked_sub(poller.time()).filter(|d| !d.is_zero()) {
            poller.wait(&mut events, Some(left)).unwrap();
            waits += 1;
        }
        assert!(waits <= 3, "{waits} waits for one deadline");
    }
}

pub fn the_longest_timeout_lasts_until_a_ring(poller: World) {
    lasts_until_a_ring(poller, Some(Duration::MAX));
}

/// Milliseconds in 32 bits, as `epoll_wait(2)` counts them, are over after 24.8 days.
pub fn a_timeout_of_many_days_lasts_until_a_ring(poller: World) {
    lasts_until_a_ring(poller, Some(Duration::from_millis(1 << 31)));
}

pub fn no_timeout_lasts_until_a_ring(poller: World) {
    lasts_until_a_ring(poller, None);
}

fn lasts_until_a_ring(mut poller: World, timeout: Option<Duration>) {
    let rung = Arc::new(AtomicBool::new(false));
    let ringer = std::thread::spawn({
        let (rung, notifier) = (Arc::clone(&rung), poller.notifier());
        move || {
            // Time for the wait to begin. If it has not, the test shows less, not more.
            #[allow(clippy::disallowed_methods)]
            std::thread::sleep(Duration::from_millis(20));
            rung.store(true, Ordering::SeqCst);
            notifier.ring();
        }
    });
    let _time_stands_still = poller.hold();
    let mut events = Vec::new();
    poller.wait(&mut events, timeout).unwrap();
    assert!(rung.load(Ordering::SeqCst), "it returned by itself");
    assert_eq!(events, []);
    ringer.join().unwrap();
}
