//! Descriptors that were closed outside the loop: by code that does not own them.
//!
//! While a duplicate keeps the file open, epoll continues to report it, and no number is left by
//! which it could be removed or changed. There are three cases:
//!
//! - Removed, but still reported: this file. After a row of batches with such events only, the
//!   poller makes a new epoll instance with the registrations of the loop (as libev does).
//! - Registered, and an event is reported for an interest for which the program set no callback:
//!   `Cx::remove_interest` fails, and ends the registration.
//! - Registered, and a callback reads: the callback gets the error, mostly `EBADF`, and has to close
//!   the registration; otherwise the event repeats in each turn, and the loop does not detect that.
//!   If the number is that of another file by now, the callback reads that file. The loop cannot
//!   distinguish this. A source is edge-triggered: its next operation returns the error, and the
//!   event does not repeat.
//!
//! Without a duplicate, the kernel drops the file: epoll and kqueue report nothing more. `poll(2)`
//! watches numbers, and reports a closed one as a hangup. In the notes this is N7's reclaiming of
//! resources, for a descriptor that is gone already (R004, R168).

use super::loop_handle::LoopHandle;
use super::report::Unhandled;
use readily_sys::errno;
use std::io;

/// After this many batches in a row in which every event is for a removed registration, the loop
/// acts.
const STALE_TURNS: u32 = 64;

impl LoopHandle {
    /// Counts a dispatched batch, of whose `events` `stale` were for removed registrations.
    #[inline]
    pub(super) fn detect_stale_spin(&self, events: usize, stale: usize) {
        match stale != 0 && stale == events {
            true => self.count_stale_turn(),
            false => self.stale_turns.set(0),
        }
    }

    #[cold]
    fn count_stale_turn(&self) {
        let stale_turns = self.stale_turns.get().saturating_add(1);
        self.stale_turns.set(stale_turns);
        // Again after twice as many, if it did not help.
        if stale_turns >= STALE_TURNS && stale_turns.is_power_of_two() {
            self.remove_stale();
        }
    }

    #[cold]
    fn remove_stale(&self) {
        if self.stale_turns.get() == STALE_TURNS {
            self.report(&Unhandled::StaleDescriptor);
        }
        let watched = self.registry.watched();
        let rebuilt = self.poller.borrow_mut().rebuild(&watched);
        match rebuilt {
            Ok(true) => self.stale_turns.set(0),
            Ok(false) => {} // this poller has nothing to rebuild
            Err(error) => self.report(&Unhandled::Io {
                what: "rebuilding the poller without a descriptor that was closed outside the loop",
                error,
            }),
        }
    }
}

/// Whether a poller's `error` means that the number is not that of the registered file any more: the
/// number is closed, or is that of a file that is not registered or that cannot be registered.
pub(super) fn is_closed_outside(error: &io::Error) -> bool {
    const CLOSED: [i32; 3] = [errno::EBADF, errno::ENOENT, errno::EPERM];
    error.raw_os_error().is_some_and(|e| CLOSED.contains(&e))
}
