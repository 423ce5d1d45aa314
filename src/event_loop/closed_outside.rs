//! Stale descriptors: closed outside the loop, while their file stays open under another number.
//!
//! epoll continues to report such a file, and it cannot be removed any more: `EPOLL_CTL_DEL` needs
//! a number that still means that file. A loop without other events would spin for as long as the
//! file is open. So the loop gives the poller the list of its registrations, and the poller makes a
//! new epoll instance with these (as libev does).

use super::loop_handle::LoopHandle;
use super::unhandled::Unhandled;
use readily_sys::errno;
use std::io;

/// After this many batches in a row in which every event is for a removed registration, the loop
/// acts.
const TURNS: u32 = 64;

impl LoopHandle {
    /// Counts a dispatched batch, of whose `events` `stale` were for removed registrations.
    pub(super) fn detect_stale_spin(&self, events: u64, stale: u64) {
        let stale_turns = match stale == events {
            true => self.stale_turns.get().saturating_add(1),
            false => 0,
        };
        self.stale_turns.set(stale_turns);
        // Again after twice as many, if it did not help.
        if stale_turns >= TURNS && stale_turns.is_power_of_two() {
            self.remove_stale();
        }
    }

    #[cold]
    fn remove_stale(&self) {
        if self.stale_turns.get() == TURNS {
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

/// Whether a poller's `error` means that the number is not that of the registered file any more: it
/// is closed, or it is that of a file that is not registered, or that cannot be.
pub(super) fn is_closed_behind(error: &io::Error) -> bool {
    const CLOSED: [i32; 3] = [errno::EBADF, errno::ENOENT, errno::EPERM];
    error.raw_os_error().is_some_and(|e| CLOSED.contains(&e))
}
