//! The promise about signals: a wait that a signal ends is an early return and not an error.
//!
//! The promise is not in the public suite because a handler belongs to the whole process, and a
//! library must not install one in the tests of its users. The simulated kernel has no signals,
//! but a fault with the same effect (`Faults::early_return`).

use readily::poll::poll2::PollPoller;
use readily_testing::conformance::{Fixture, GUARD};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

#[test]
fn a_signal_is_an_early_return_from_the_best_poller_and_no_error() {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    keeps_the_promise(readily::poll::default_poller::EpollPoller::new().unwrap());
    #[cfg(any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly",
    ))]
    keeps_the_promise(readily::poll::kqueue::KqueuePoller::new().unwrap());
}

#[test]
fn a_signal_is_an_early_return_from_poll_and_no_error() {
    keeps_the_promise(PollPoller::new().unwrap());
}

fn keeps_the_promise(poller: impl Into<Fixture>) {
    extern "C" fn nothing(_: libc::c_int) {}
    let mut fixture = poller.into();
    let handler = nothing as extern "C" fn(libc::c_int);
    // SAFETY: the handler does nothing, which is async-signal-safe.
    unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
    // SAFETY: has no preconditions; returns the id of this thread.
    let target = unsafe { libc::pthread_self() } as usize;
    let done = Arc::new(AtomicBool::new(false));
    let sender = thread::spawn({
        let done = Arc::clone(&done);
        move || {
            while !done.load(Ordering::SeqCst) {
                // SAFETY: the target is alive, because it joins this thread before it ends.
                unsafe { libc::pthread_kill(target as libc::pthread_t, libc::SIGUSR1) };
                #[allow(clippy::disallowed_methods)]
                thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let _sender = Signals {
        done,
        sender: Some(sender),
    };
    for _ in 0..3 {
        let (start, mut events) = (fixture.time(), Vec::new());
        fixture.wait(&mut events, Some(GUARD));
        assert!(fixture.time() - start < GUARD, "no signal ended the wait");
        assert_eq!(events, [], "a signal is not an event");
    }
}

/// Stops the sender of signals when it is dropped, also after a panic: the target must be alive.
struct Signals {
    done: Arc<AtomicBool>,
    sender: Option<thread::JoinHandle<()>>,
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.done.store(true, Ordering::SeqCst);
        self.sender
            .take()
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
    }
}
