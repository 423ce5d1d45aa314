//! A descriptor that was closed behind the loop's back, and whose file lives on under another number.
//!
//! epoll goes on reporting it, and it cannot be removed any more: `EPOLL_CTL_DEL` needs a number that
//! still means that file. A loop without other events would spin for as long as the file is open. So
//! the loop gives the poller the list of its registrations, and the poller makes a new epoll instance
//! with these (as libev does).

use super::local::LoopHandle;
use super::unhandled::Unhandled;
use readily_sys::errno;
use std::io;

/// So many batches in a row in which every event is for a registration that has gone are no accident.
const TURNS: u32 = 64;

impl LoopHandle {
    /// A batch has been dispatched: `stale` of its `events` were for registrations that have gone.
    pub(super) fn detect_stale_spin(&self, events: u64, stale: u64) {
        let stale_turns = match stale == events {
            true => self.stale_turns.get().saturating_add(1),
            false => 0,
        };
        self.stale_turns.set(stale_turns);
        // And again after twice as many, where it did not help.
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
            Ok(false) => {} // it has nothing that could be begun anew
            Err(error) => self.report(&Unhandled::Io {
                what: "making the poller anew, without a descriptor that was closed behind its back",
                error,
            }),
        }
    }
}

/// Whether a poller's `error` means that the number is not that of the registered file any more: it is
/// closed, or means a file that is not registered, or one that cannot be.
pub(super) fn is_closed_behind(error: &io::Error) -> bool {
    const CLOSED: [i32; 3] = [errno::EBADF, errno::ENOENT, errno::EPERM];
    error.raw_os_error().is_some_and(|e| CLOSED.contains(&e))
}
