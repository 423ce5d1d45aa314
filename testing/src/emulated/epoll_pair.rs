//! Two epoll instances report which filters to evaluate: one watches for input, the other for room to
//! write.
//!
//! Both are edge-triggered, and report only *that* something may have changed; the filters compute the
//! state. There are two, because one entry for both directions would report input to a registration
//! that waits for room. A number that was closed, or refers to another file by now, is detected by
//! adding it again: epoll identifies a registration by number and file, and refuses a second one.
//!
//! In the notes this is the *selector* of Linux (N2), under another one.

use super::knotes::Name;
use readily_sys::epoll::{ET, Epoll, IN, OUT, RDHUP};
use readily_sys::errno::{EEXIST, EPERM};
use readily_sys::event::Event;
use readily_sys::kq_abi::Filter;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

/// The token of both instances in the outer epoll; no registration has it.
const INNER: u64 = u64::MAX - 1;

#[derive(Debug)]
pub(super) struct EpollPair {
    read: Epoll,
    write: Epoll,
    /// The events of one wait, reused.
    events: Vec<Event>,
}

impl EpollPair {
    /// Makes both instances, and has `outer` watch them.
    pub(super) fn new(outer: &Epoll) -> io::Result<Self> {
        let (read, write) = (Epoll::new()?, Epoll::new()?);
        for epoll in [&read, &write] {
            outer.add(epoll.as_fd().as_raw_fd(), IN, INNER)?;
        }
        Ok(Self {
            read,
            write,
            events: Vec::new(),
        })
    }

    fn of(&self, filter: Filter) -> &Epoll {
        match filter {
            Filter::Write => &self.write,
            _ => &self.read,
        }
    }

    /// Starts to watch a registration; `false` if epoll refuses the file because it is always
    /// ready. [`Self::changes`] also reports what is ready already.
    pub(super) fn add(&self, (fd, filter): Name, generation: u32) -> io::Result<bool> {
        let bits = match filter {
            Filter::Write => OUT,
            _ => IN | RDHUP,
        };
        let token = u64::from(generation) << 32 | u64::from(fd.unsigned_abs());
        let epoll = self.of(filter);
        match epoll.add(fd, bits | ET, token) {
            Err(error) => match error.raw_os_error() {
                // Always ready, so there is no change to wait for.
                Some(EPERM) => Ok(false),
                // The same file was registered under this number before the number was closed.
                Some(EEXIST) => epoll.modify(fd, bits | ET, token).map(|()| true),
                _ => Err(error),
            },
            Ok(()) => Ok(true),
        }
    }

    /// Stops watching a registration. If its number has been closed, epoll cannot remove the entry,
    /// which lives as long as the open file; until then it may be reported, under a stale generation.
    pub(super) fn remove(&self, (fd, filter): Name) {
        let _ = self.of(filter).delete(fd);
    }

    /// Whether the number still refers to the file for which it was added.
    pub(super) fn is_same_file(&self, (fd, filter): Name) -> bool {
        let epoll = self.of(filter);
        match epoll.add(fd, 0, 0) {
            Ok(()) => {
                let _ = epoll.delete(fd);
                false
            }
            Err(error) => error.raw_os_error() == Some(EEXIST),
        }
    }

    /// Appends the registrations that may have changed since the previous call, each with its
    /// generation.
    pub(super) fn changes(&mut self, changed: &mut Vec<(Name, u32)>) -> io::Result<()> {
        for (epoll, filter) in [
            (&mut self.read, Filter::Read),
            (&mut self.write, Filter::Write),
        ] {
            // Stop at the first wait that is not full: a further one would find nothing.
            let mut is_full = true;
            while is_full {
                self.events.clear();
                is_full = epoll.wait(&mut self.events, Some(Duration::ZERO))? == Epoll::ROOM;
                changed.extend(self.events.iter().map(|event| {
                    let fd = RawFd::try_from(event.token() & u64::from(u32::MAX)).unwrap_or(-1);
                    ((fd, filter), (event.token() >> 32) as u32)
                }));
            }
        }
        Ok(())
    }
}
