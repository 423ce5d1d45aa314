//! The poller for every other Unix, over `poll(2)`.
//!
//! The kernel keeps nothing between two calls, so the registrations are kept here, and a wait is
//! linear in their number: acceptable for dozens, not for thousands. The kernel reports only states.
//! An edge is emulated: each direction that was reported is *muted* until it is rearmed, so
//! [`Poller::rearm_interest`] returns both.
//!
//! In the notes this is "and so on for others" ([N2]).
//!
//! [N2]: crate::book#n2

mod translate;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use crate::base::fd_table::FdTable;
use readily_sys::fork::ForkGuard;
use readily_sys::poll::{self, PollSet};
use readily_sys::{FileId, Notifier, errno};

use translate::{ASKED, bits, from_poll};
pub(super) use translate::{facts, look};

use super::{
    Event, Interest, MAX_EVENTS, Notify, Poller, Trigger, WaitResult, check_owner, check_token,
};

/// The [`Poller`] over `poll(2)`, for every Unix.
///
/// A wait is linear in the number of registrations, and passes descriptor numbers to the kernel: a
/// number that was closed without a removal is reported as ended, or for the file that has it now.
#[derive(Debug)]
pub struct PollPoller {
    /// The array that the kernel reads: the notifier first, then one for each of `entries`.
    set: PollSet,
    entries: Vec<Entry>,
    index: FdTable,
    /// Where the next wait begins, if the last one has not reported everything.
    next: usize,
    notifier: Arc<SharedNotifier>,
}

#[derive(Debug)]
struct SharedNotifier {
    notifier: Notifier,
    fork: ForkGuard,
}

impl Notify for SharedNotifier {
    fn notify(&self) {
        // In a child process this would wake the parent.
        if !self.fork.forked() {
            self.notifier.notify();
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    fd: RawFd,
    /// The file that had the number when it was registered.
    id: FileId,
    token: u64,
    interest: Interest,
    trigger: Trigger,
    /// Directions of an edge that have been reported, and not rearmed since.
    muted: Interest,
    /// Whether an event was reported since the entry was last armed.
    reported: bool,
    /// Whether the kernel has reported that the number is not open.
    dead: bool,
}

impl Entry {
    const fn new(fd: RawFd, id: FileId, token: u64, interest: Interest, trigger: Trigger) -> Self {
        Self {
            fd,
            id,
            token,
            interest,
            trigger,
            muted: Interest::NONE,
            reported: false,
            dead: false,
        }
    }

    /// Whether the kernel must ignore this entry. The kernel reports hangups and errors even without
    /// interest, so an entry that has been reported would end every wait with the same report.
    fn is_silent(&self) -> bool {
        let edge = self.reported && self.interest.without(self.muted).is_empty();
        match self.trigger {
            _ if self.dead => true,
            Trigger::Level => false,
            Trigger::Edge => edge,
            Trigger::OneShot => self.reported,
        }
    }

    /// Records that `bits` were reported.
    fn report(&mut self, bits: i16) {
        self.reported = true;
        self.dead |= bits & poll::NVAL != 0;
        for (bit, direction) in ASKED {
            if bits & bit != 0 {
                self.muted |= direction;
            }
        }
        if bits & (poll::HUP | poll::ERR) != 0 {
            self.muted = Interest::BOTH | Interest::PRIORITY;
        }
    }
}

impl PollPoller {
    /// Makes a poller that watches nothing yet.
    ///
    /// # Errors
    ///
    /// Too many descriptors.
    pub fn new() -> io::Result<Self> {
        let notifier = SharedNotifier {
            notifier: Notifier::new()?,
            fork: ForkGuard::new()?,
        };
        let mut set = PollSet::new();
        set.push(notifier.notifier.as_fd().as_raw_fd(), poll::IN);
        Ok(Self {
            set,
            entries: Vec::new(),
            index: FdTable::default(),
            next: 0,
            notifier: Arc::new(notifier),
        })
    }

    fn known(&self, fd: RawFd) -> io::Result<usize> {
        match self.index.get(fd) {
            Some(at) => Ok(at as usize),
            None => {
                // `EBADF`, if it is closed, is more precise than `ENOENT`.
                poll::is_pollable(fd)?;
                Err(io::Error::from_raw_os_error(errno::ENOENT))
            }
        }
    }

    /// Appends an event for each of the `ready` entries that the kernel reports, at most `most`.
    /// Begins behind the last entry of a wait that had more, so that no entry is left out for ever.
    fn collect(&mut self, events: &mut Vec<Event>, ready: usize, most: usize) {
        let len = self.entries.len();
        let mut left = ready.min(most);
        let mut at = std::mem::take(&mut self.next);
        for _ in 0..len {
            if left == 0 {
                break;
            }
            if at >= len {
                at = 0;
            }
            let bits = self.set.reported(at + 1);
            if bits != 0 {
                left -= 1;
                let entry = &mut self.entries[at];
                events.push(Event::new(entry.token, from_poll(bits)));
                entry.report(bits);
                self.sync(at);
            }
            at += 1;
        }
        if ready > most {
            self.next = at;
        }
    }

    /// Updates the kernel's entry from this one.
    fn sync(&mut self, at: usize) {
        let entry = self.entries[at];
        let fd = if entry.is_silent() { -1 } else { entry.fd };
        let asked = match entry.trigger {
            Trigger::Edge => entry.interest.without(entry.muted),
            Trigger::Level | Trigger::OneShot => entry.interest,
        };
        self.set.set(at + 1, fd, bits(asked));
    }
}

impl Poller for PollPoller {
    fn register(
        &mut self,
        fd: RawFd,
        token: u64,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()> {
        check_token(token)?;
        let id = poll::pollable_id(fd)?;
        let entry = Entry::new(fd, id, token, interest, trigger);
        let at = self.index.get(fd).map(|at| at as usize);
        match at.map(|at| (at, self.entries[at])) {
            // Closed outside the loop: the kernel has reported it, or the number has another file.
            Some((at, old)) if old.dead || old.id != id => {
                self.entries[at] = entry;
                self.sync(at);
            }
            Some(_) => return Err(io::Error::from_raw_os_error(errno::EEXIST)),
            None => {
                self.index.insert(fd, self.entries.len() as u64);
                self.entries.push(entry);
                self.set.push(fd, bits(interest));
            }
        }
        Ok(())
    }

    fn modify(
        &mut self,
        fd: RawFd,
        token: u64,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()> {
        check_token(token)?;
        let at = self.known(fd)?;
        // The kernel would detect only in the next wait that the number is closed, and never that it
        // is another file's by now.
        let id = poll::pollable_id(fd)?;
        if self.entries[at].id != id {
            return Err(io::Error::from_raw_os_error(errno::ENOENT));
        }
        self.entries[at] = Entry::new(fd, id, token, interest, trigger);
        self.sync(at);
        Ok(())
    }

    fn rearm(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        check_token(token)?;
        let at = self.known(fd)?;
        let entry = &mut self.entries[at];
        if entry.trigger == Trigger::Edge {
            entry.token = token;
            entry.reported &= interest.is_empty();
            entry.muted = entry.muted.without(interest);
            self.sync(at);
        }
        Ok(())
    }

    fn rearm_interest(&self) -> Interest {
        Interest::BOTH
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        let at = self.known(fd)?;
        self.index.remove(fd);
        self.entries.swap_remove(at);
        self.set.swap_remove(at + 1);
        if let Some(moved) = self.entries.get(at) {
            self.index.insert(moved.fd, at as u64);
        }
        Ok(())
    }

    fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<WaitResult> {
        // In a child process the notifier is the parent's, and the child would take its notifications.
        check_owner(&self.notifier.fork)?;
        let mut left = match self.set.wait(timeout) {
            Err(e) if e.raw_os_error() == Some(errno::EINTR) => {
                return Ok(WaitResult::new(false));
            }
            answer => answer?,
        };
        let notified = self.set.reported(0) != 0;
        if notified {
            // The kernel reports the state and not an edge, so every kind of notifier has to be
            // drained.
            self.notifier.notifier.drain();
            left -= 1;
        }
        self.collect(events, left, MAX_EVENTS);
        Ok(WaitResult::new(notified))
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.notifier) as Arc<dyn Notify>
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[cfg(test)]
mod tests;
