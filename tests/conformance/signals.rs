//! The promise about signals: a wait that one of them ends is an early return and no error.
//!
//! It stands apart from the others because a handler is the whole process's, and a library must
//! not install one in the tests of its users. A kernel in memory has no signals but as a fault
//! (`Faults::early_return`).

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
        let (start, mut events) = (fixture.time(), Vec::new());
        fixture.wait(&mut events, Some(GUARD));
        assert!(fixture.time() - start < GUARD, "no signal was heard");
        assert_eq!(events, [], "a signal is no event");
    }
}

/// Stops the sender of signals, also where the promise is broken: its target must be alive.
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
