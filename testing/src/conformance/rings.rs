//! Promises about what ends a wait from outside: the notifier, and the host's own loop.
//!
//! A ring that is lost is a loop that sleeps on while there is work; one that is heard twice is a
//! loop that spins. What signals do is not tried here: a handler is the whole process's.
//!
//! In the notes this is how N1's callbacks come in from elsewhere (W1, W2, W3).

use super::{GUARD, World};
use crate::for_tests;
use readily::poll::poll2::PollPoller;
use readily::poll::{Interest, Readiness, Trigger};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Waits, and fails if it was the guard that ended it.
fn wait_for_a_notification(world: &mut World) {
    let (start, mut events) = (world.time(), Vec::new());
    let time_stands_still = world.hold();
    let result = world.wait(&mut events, Some(GUARD));
    drop(time_stands_still);
    assert!(world.time() - start < GUARD, "no ring came");
    assert_eq!(events, [], "a ring is no event");
    assert!(
        result.notified(),
        "the result does not say that a notification ended the wait"
    );
}

/// Fails if the next wait is ended by something before it is over.
fn nothing_rings(world: &mut World) {
    let (start, mut events, limit) = (world.time(), Vec::new(), Duration::from_millis(5));
    let result = world.wait(&mut events, Some(limit));
    assert!(world.time() - start >= limit, "a ring was heard twice");
    assert_eq!(events, []);
    assert!(
        !result.notified(),
        "a wait without a notification says that there was one"
    );
}

pub(super) fn a_notification_before_the_wait_ends_it(mut world: World) {
    let notifier = world.poller().notifier();
    for _ in 0..50 {
        notifier.notify();
        wait_for_a_notification(&mut world);
    }
    nothing_rings(&mut world);
}

pub(super) fn a_notification_during_the_wait_ends_it(mut world: World) {
    let (notifier, heard) = (world.poller().notifier(), Heard::default());
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
        wait_for_a_notification(&mut world);
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

pub(super) fn many_notifications_between_two_waits_count_once(mut world: World) {
    let notifier = world.poller().notifier();
    // More than a pipe holds: none of them may block.
    for _ in 0..70_000 {
        notifier.notify();
    }
    wait_for_a_notification(&mut world);
    nothing_rings(&mut world);
    notifier.notify();
    wait_for_a_notification(&mut world);
}

pub(super) fn notifications_of_many_threads_are_never_lost(mut world: World) {
    const EACH: usize = 200;
    let done = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (done, notifier) = (Arc::clone(&done), world.poller().notifier());
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
        wait_for_a_notification(&mut world);
        if done.load(Ordering::SeqCst) == 4 * EACH {
            break;
        }
    }
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("it only rings"));
}

pub(super) fn a_notification_after_the_poller_has_gone_is_harmless(mut world: World) {
    let notifier = world.poller().notifier();
    let elsewhere = Arc::clone(&notifier);
    drop(world);
    notifier.notify();
    thread::spawn(move || elsewhere.notify())
        .join()
        .expect("it only rings");
}

pub(super) fn a_notification_keeps_no_event_back(mut world: World) {
    let (here, there) = world.pair();
    world.register(here.number(), 1, Interest::READ, Trigger::Edge);
    there.put(b"a");
    world.poller().notifier().notify();
    assert_eq!(world.next_for(1), Readiness::READ);
}

pub(super) fn a_host_sees_events_and_notifications_in_the_pollers_descriptor(mut world: World) {
    let Some(fd) = world.poller().as_fd().map(|fd| fd.as_raw_fd()) else {
        return;
    };
    let mut host = World::new(PollPoller::new().expect("poll(2) is everywhere"));
    host.register(fd, 7, Interest::READ, Trigger::Level);
    assert_eq!(host.now(), []);
    world.poller().notifier().notify();
    assert_eq!(host.next_for(7), Readiness::READ);
    assert_eq!(world.now(), []);
    assert_eq!(host.now(), [], "the ring has been heard");
    let (here, there) = world.pair();
    world.register(here.number(), 1, Interest::READ, Trigger::Level);
    there.put(b"a");
    assert_eq!(host.next_for(7), Readiness::READ);
    assert_eq!(world.next_for(1), Readiness::READ);
    here.take(1);
    assert_eq!(world.now(), []);
    assert_eq!(host.now(), []);
}

pub(super) fn the_pollers_descriptor_does_not_survive_exec(mut world: World) {
    let Some(fd) = world.poller().as_fd() else {
        return;
    };
    assert!(for_tests::closes_on_exec(fd).expect("it is open"));
}
