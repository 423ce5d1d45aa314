//! What ends a wait from outside: the notifier, a signal, and the host's own loop.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use readily::poll::portable::PollPoller;
use readily::poll::{Interest, Poller as _, Readiness, Trigger};

use super::kit::{GUARD, World, next_for, now};

/// Waits, and fails if it was the guard that ended it.
fn wait_for_a_ring(poller: &mut World) {
    let (start, mut events) = (poller.time(), Vec::new());
    let time_stands_still = poller.hold();
    poller.wait(&mut events, Some(GUARD)).unwrap();
    drop(time_stands_still);
    assert!(poller.time() - start < GUARD, "no ring came");
    assert_eq!(events, [], "a ring is no event");
}

/// Fails if the next wait is ended by something before it is over.
fn nothing_rings(poller: &mut World) {
    let (start, mut events, limit) = (poller.time(), Vec::new(), Duration::from_millis(5));
    poller.wait(&mut events, Some(limit)).unwrap();
    assert!(poller.time() - start >= limit, "a ring was heard twice");
    assert_eq!(events, []);
}

pub fn a_ring_before_the_wait_ends_it(mut poller: World) {
    let notifier = poller.notifier();
    for _ in 0..50 {
        notifier.ring();
        wait_for_a_ring(&mut poller);
    }
    nothing_rings(&mut poller);
}

pub fn a_ring_during_the_wait_ends_it(mut poller: World) {
    let (notifier, heard) = (poller.notifier(), Arc::new(AtomicUsize::new(0)));
    let ringer = thread::spawn({
        let heard = Arc::clone(&heard);
        move || {
            for n in 0..50 {
                notifier.ring();
                // The next ring only when this one has been heard: it comes at any time
                // from before the wait to the midst of it.
                while heard.load(Ordering::SeqCst) <= n {
                    thread::yield_now();
                }
            }
        }
    });
    for n in 1..=50 {
        wait_for_a_ring(&mut poller);
        heard.store(n, Ordering::SeqCst);
    }
    ringer.join().unwrap();
}

pub fn many_rings_between_two_waits_count_once(mut poller: World) {
    let notifier = poller.notifier();
    // More than a pipe holds: none of them may block.
    for _ in 0..70_000 {
        notifier.ring();
    }
    wait_for_a_ring(&mut poller);
    nothing_rings(&mut poller);
    notifier.ring();
    wait_for_a_ring(&mut poller);
}

pub fn rings_of_many_threads_are_never_lost(mut poller: World) {
    const EACH: usize = 200;
    let done = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (done, notifier) = (Arc::clone(&done), poller.notifier());
            thread::spawn(move || {
                for _ in 0..EACH {
                    done.fetch_add(1, Ordering::SeqCst);
                    notifier.ring();
                }
            })
        })
        .collect();
    // Whatever was done before the last wait began has been seen; the rest rings.
    while done.load(Ordering::SeqCst) < 4 * EACH {
        wait_for_a_ring(&mut poller);
    }
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

pub fn a_ring_after_the_poller_has_gone_is_harmless(poller: World) {
    let notifier = poller.notifier();
    let elsewhere = Arc::clone(&notifier);
    drop(poller);
    notifier.ring();
    thread::spawn(move || elsewhere.ring()).join().unwrap();
}

pub fn a_ring_keeps_no_event_back(mut poller: World) {
    let (here, there) = poller.pair();
    poller
        .register(here.number(), 1, Interest::READ, Trigger::Edge)
        .unwrap();
    (&there).write_all(b"a").unwrap();
    poller.notifier().ring();
    assert_eq!(next_for(&mut *poller, 1), Readiness::READ);
}

pub fn a_host_sees_events_and_rings_in_the_pollers_descriptor(mut poller: World) {
    let Some(fd) = poller.as_fd().map(|fd| fd.as_raw_fd()) else {
        return;
    };
    let mut host = PollPoller::new().unwrap();
    host.register(fd, 7, Interest::READ, Trigger::Level)
        .unwrap();
    assert_eq!(now(&mut host), []);
    poller.notifier().ring();
    assert_eq!(next_for(&mut host, 7), Readiness::READ);
    assert_eq!(now(&mut *poller), []);
    assert_eq!(now(&mut host), [], "the ring has been heard");
    let (here, there) = poller.pair();
    poller
        .register(here.number(), 1, Interest::READ, Trigger::Level)
        .unwrap();
    (&there).write_all(b"a").unwrap();
    assert_eq!(next_for(&mut host, 7), Readiness::READ);
    assert_eq!(next_for(&mut *poller, 1), Readiness::READ);
    (&here).read_exact(&mut [0]).unwrap();
    assert_eq!(now(&mut *poller), []);
    assert_eq!(now(&mut host), []);
}

pub fn the_pollers_descriptor_does_not_survive_exec(poller: World) {
    let Some(fd) = poller.as_fd().map(|fd| fd.as_raw_fd()) else {
        return;
    };
    // SAFETY: takes numbers, touches no memory.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    assert_ne!(flags & libc::FD_CLOEXEC, 0);
}

pub fn a_signal_is_an_early_return_and_no_error(mut poller: World) {
    if poller.is_in_memory() {
        return; // it hears of no signals but as a fault: see `Faults::early_return`
    }
    extern "C" fn nothing(_: libc::c_int) {}
    let handler = nothing as extern "C" fn(libc::c_int);
    // SAFETY: the handler does nothing at all, which is allowed in any place.
    unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
    // SAFETY: asks for this thread's own name.
    let me = unsafe { libc::pthread_self() } as usize;
    let over = Arc::new(AtomicBool::new(false));
    let sender = thread::spawn({
        let over = Arc::clone(&over);
        move || {
            while !over.load(Ordering::SeqCst) {
                // SAFETY: that thread is alive, for it joins this one before it ends.
                unsafe { libc::pthread_kill(me as libc::pthread_t, libc::SIGUSR1) };
                #[allow(clippy::disallowed_methods)]
                thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let _sender = Signals {
        over,
        sender: Some(sender),
    };
    for _ in 0..3 {
        wait_for_a_ring(&mut poller);
    }
}

/// Stops the sender of signals, also where a promise is broken: its target must be alive.
struct Signals {
    over: Arc<AtomicBool>,
    sender: Option<thread::JoinHandle<()>>,
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        self.sender
            .take()
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
    }
}
