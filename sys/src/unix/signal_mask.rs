//! The signal mask of a thread, blocked for a moment: so that a new thread inherits it.
//!
//! The system may deliver a signal of the process to any thread that does not block it. A thread of a
//! pool is no place for a handler: its job is in the middle of something, and its stack may be small
//! (R254). A new thread begins with the mask of the thread that starts it, so the mask is set around
//! the start; set in the new thread itself, it would come too late for a signal at that moment.
//!
//! In the notes: the thread pool (N3).

use std::ffi::c_int;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// The signals that are about what the thread itself has done, and the one by which a profiler looks
/// at it: these stay as they are.
const KEPT: [c_int; 8] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGABRT,
    libc::SIGPROF,
];

/// Blocks the asynchronous signals on this thread until it is dropped.
pub struct BlockedSignals {
    before: Option<libc::sigset_t>,
    /// The mask is that of the thread which has set it.
    home: PhantomData<*const ()>,
}

impl BlockedSignals {
    /// Blocks them. A system that refuses this leaves the mask as it was.
    #[must_use]
    pub fn new() -> Self {
        Self {
            before: set_mask(libc::SIG_BLOCK, &asynchronous()),
            home: PhantomData,
        }
    }
}

impl Default for BlockedSignals {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            set_mask(libc::SIG_SETMASK, before);
        }
    }
}

/// All signals but those of [`KEPT`].
fn asynchronous() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: writes one set to the place that the pointer leads to, which is large enough for one.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: `sigfillset` has written it; it fails for an invalid pointer only.
    let mut set = unsafe { set.assume_init() };
    for signal in KEPT {
        // SAFETY: changes a set of ours; a number that is no signal would be an error, not more.
        unsafe { libc::sigdelset(&raw mut set, signal) };
    }
    set
}

/// Changes the mask of this thread, and returns the one from before.
fn set_mask(how: c_int, set: &libc::sigset_t) -> Option<libc::sigset_t> {
    let mut before = MaybeUninit::uninit();
    // Miri has no signals.
    if cfg!(miri) {
        return None;
    }
    // SAFETY: reads one set and writes one, through pointers to a set each.
    let refused = unsafe { libc::pthread_sigmask(how, set, before.as_mut_ptr()) } != 0;
    // SAFETY: a call that succeeds has written it.
    (!refused).then(|| unsafe { before.assume_init() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(signal: c_int) -> bool {
        let nothing = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: all zeros is the empty set of each system that is supported.
        let now = set_mask(libc::SIG_BLOCK, &unsafe { nothing.assume_init() }).unwrap();
        // SAFETY: reads a set of ours.
        unsafe { libc::sigismember(&raw const now, signal) == 1 }
    }

    #[test]
    fn a_thread_that_is_started_meanwhile_blocks_what_comes_from_outside_and_no_fault() {
        assert!(!blocks(libc::SIGUSR1));
        let blocked = BlockedSignals::new();
        let inner = std::thread::spawn(|| {
            let asynchronous = [libc::SIGUSR1, libc::SIGTERM, libc::SIGINT].map(blocks);
            (asynchronous, KEPT.map(blocks))
        });
        drop(blocked);
        assert_eq!(inner.join().unwrap(), ([true; 3], [false; 8]));
        assert!(!blocks(libc::SIGUSR1));
    }
}
