//! Signals: one handler for the process, which writes a byte to the pipe of each loop that listens.
//!
//! A signal may interrupt a thread anywhere, also inside the allocator or under a lock. So the handler
//! only changes atomics, writes to pipes and restores `errno`. It finds the loops in a list of slots
//! that only grows: a loop that listens takes a free slot, and gives it back later. A slot has one
//! pending bit for each number. The handler writes the number as a byte if it has set the bit; the loop
//! clears the bit after it has read the byte. So a pipe holds at most one byte of each number, and can
//! not overflow, however many signals arrive.
//!
//! A loop that leaves first closes its slot to handlers, and then waits until none is inside. So no
//! handler writes to a number that is closed, or by then another file's.
//!
//! The first listener of a number installs the handler, and the last one restores what was there, unless
//! other code has installed its own since. A forked child has a copy of all this, but shares the pipes
//! with its parent. There the handler writes nothing: a signal whose action was the default before has
//! that effect again.
//!
//! In the notes: one more thing that a loop waits for (N1); in asyncio, `add_signal_handler`.

mod handler;
mod slots;
mod table;

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::io;
use std::os::fd::OwnedFd;
use std::process;
use std::sync::atomic::Ordering;

use crate::new_fd;
use slots::{Slot, slots};
use table::table;

pub use handler::{end_process, is_any_blocked, is_blocked};
pub(crate) use handler::{set_default, unblock_all};
pub use slots::MAX;
pub use table::{SecondEnds, WhenIgnored};

pub use libc::{
    SIGABRT, SIGALRM, SIGBUS, SIGCHLD, SIGCONT, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGIO, SIGKILL,
    SIGPIPE, SIGPROF, SIGQUIT, SIGSEGV, SIGSTOP, SIGSYS, SIGTERM, SIGTRAP, SIGTSTP, SIGTTIN,
    SIGTTOU, SIGURG, SIGUSR1, SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU, SIGXFSZ,
};

/// The signals of one loop: it has a slot, and the writing end of a pipe.
#[derive(Debug)]
pub struct Subscription {
    slot: &'static Slot,
    /// The numbers, and whether the handler is installed for them.
    numbers: BTreeMap<c_int, bool>,
    process: u32,
    _writer: OwnedFd,
}

impl Subscription {
    /// Makes a subscription without signals, and the reading end of its pipe, which is non-blocking. Each
    /// byte is the number of a signal. The reading end must stay open until the subscription is dropped:
    /// otherwise the handler would cause `SIGPIPE`.
    ///
    /// # Errors
    ///
    /// Too many descriptors; or in a forked child, if the parent was changing its signals at the fork.
    pub fn new() -> io::Result<(Self, OwnedFd)> {
        let (reader, writer) = new_fd::pipe()?;
        let table = table()?;
        let is_free = |slot: &&'static Slot| !slot.taken.load(Ordering::Acquire);
        let slot = slots().find(is_free).unwrap_or_else(|| {
            let last = slots().last().expect("there is a first one");
            last.next.get_or_init(|| Box::new(Slot::new()))
        });
        slot.taken.store(true, Ordering::Release);
        slot.open(&writer);
        drop(table);
        let subscription = Self {
            slot,
            numbers: BTreeMap::new(),
            process: process::id(),
            _writer: writer,
        };
        Ok((subscription, reader))
    }

    /// Listens for a number from 1 to [`MAX`]. Returns whether it is heard; it is not if the process
    /// ignores it and goes on to. A number that is heard is left as it is.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a number that the system does not have, or keeps for itself.
    pub fn add(&mut self, number: c_int, ignored: WhenIgnored) -> io::Result<bool> {
        if self.hears(number) {
            return Ok(true);
        }
        let mut table = table()?;
        // Before the handler is installed, so that the first signal is not lost.
        self.slot.wanted.set(number);
        let is_heard = table.install(number, ignored);
        if !matches!(is_heard, Ok(true)) {
            self.slot.wanted.clear(number);
        }
        let is_heard = is_heard?;
        self.numbers.insert(number, is_heard);
        Ok(is_heard)
    }

    /// Whether a number was added, and is heard.
    #[must_use]
    pub fn hears(&self, number: c_int) -> bool {
        self.numbers.get(&number) == Some(&true)
    }

    /// Stops listening for a number. What is pending is forgotten.
    pub fn remove(&mut self, number: c_int) {
        let is_heard = self.numbers.remove(&number);
        if self.process != process::id() {
            return;
        }
        let Ok(mut table) = table() else { return };
        self.slot.wanted.clear(number);
        self.slot.pending.clear(number);
        if is_heard == Some(true) {
            table.uninstall(number);
        }
    }

    /// Takes the pending bit of a number that was read; `false` if the byte is one from before the number
    /// was removed. A signal that comes later is one more byte.
    #[must_use]
    pub fn take(&self, number: c_int) -> bool {
        self.slot.pending.clear(number)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        while let Some((&number, _)) = self.numbers.first_key_value() {
            self.remove(number);
        }
        // In a forked child the slot may be another's by now.
        if self.process == process::id() {
            self.slot.close();
            self.slot.taken.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::read_waiting;
    use std::os::fd::AsFd;

    /// R112. On a number that no other test uses; the handler is called by `raise`, on this thread.
    #[test]
    fn a_pipe_has_one_byte_of_each_number_however_many_come() {
        let (mut subscription, reader) = Subscription::new().unwrap();
        assert!(subscription.add(SIGWINCH, WhenIgnored::Keep).unwrap());
        let raise = || {
            // SAFETY: takes a number, which has a handler.
            unsafe { libc::raise(SIGWINCH) };
        };
        let mut bytes = [0; 16];
        for _ in 0..3 {
            for _ in 0..100_000 {
                raise();
            }
            assert_eq!(read_waiting(reader.as_fd(), &mut bytes).unwrap(), 1);
            assert_eq!(c_int::from(bytes[0]), SIGWINCH);
            raise(); // folded into the one that was read, which is delivered after this
            assert!(subscription.take(SIGWINCH) && !subscription.take(SIGWINCH));
            assert!(read_waiting(reader.as_fd(), &mut bytes).is_err());
        }
        subscription.remove(SIGWINCH);
        assert!(!subscription.hears(SIGWINCH));
    }
}
