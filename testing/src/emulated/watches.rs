//! When to look: two epolls, one for what can be read and one for room to write.
//!
//! Both are edge-triggered, and report only *that* something may have changed; the filters find what
//! holds. There are two, because one entry for both directions would report bytes to a registration
//! that waits for room. A number that was closed, or is another file's by now, is found by adding it
//! again: epoll knows a registration by number and file, and refuses a second one.
//!
//! In the notes this is the *selector* of Linux (N2), under another one.

use super::knotes::Name;
use readily_sys::epoll::{ET, Epoll, IN, OUT, RDHUP};
use readily_sys::errno::{EEXIST, EPERM};
use readily_sys::kq_abi::Filter;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

/// The token of whatever is ours; registrations are below.
const INNER: u64 = u64::MAX - 1;

#[derive(Debug)]
pub(super) struct Watches {
    read: Epoll,
    write: Epoll,
}

impl Watches {
    /// Both, watched by `outer`.
    pub(super) fn new(outer: &Epoll) -> io::Result<Self> {
        let (read, write) = (Epoll::new()?, Epoll::new()?);
        for epoll in [&read, &write] {
            outer.add(epoll.as_fd().as_raw_fd(), IN, INNER)?;
        }
        Ok(Self { read, write })
    }

    fn of(&self, filter: Filter) -> &Epoll {
        match filter {
            Filter::Write => &self.write,
            _ => &self.read,
        }
    }

    /// Watches; whether that is needed. What is ready by now is reported by [`Self::news`], too.
    pub(super) fn add(&self, (fd, filter): Name, generation: u32) -> io::Result<bool> {
        let bits = match filter {
            Filter::Write => OUT,
            _ => IN | RDHUP,
        };
        let token = u64::from(generation) << 32 | u64::from(fd.unsigned_abs());
        let epoll = self.of(filter);
        match epoll.add(fd, bits | ET, token) {
            Err(error) => match error.raw_os_error() {
                // Always ready, so there is nothing to wait for.
                Some(EPERM) => Ok(false),
                // The same file had been under this number when it was closed.
                Some(EEXIST) => epoll.modify(fd, bits | ET, token).map(|()| true),
                _ => Err(error),
            },
            Ok(()) => Ok(true),
        }
    }

    /// Stops watching. A number that has been closed cannot be named any more, and goes with its
    /// file; until then it may be reported, under a generation that is over.
    pub(super) fn remove(&self, (fd, filter): Name) {
        let _ = self.of(filter).delete(fd);
    }

    /// Whether the number is that file's for which it was added.
    pub(super) fn is_the_same(&self, (fd, filter): Name) -> bool {
        let epoll = self.of(filter);
        match epoll.add(fd, 0, 0) {
            Ok(()) => {
                let _ = epoll.delete(fd);
                false
            }
            Err(error) => error.raw_os_error() == Some(EEXIST),
        }
    }

    /// Appends what may have changed since this was asked last, with its generation.
    pub(super) fn news(&mut self, found: &mut Vec<(Name, u32)>) -> io::Result<()> {
        for (epoll, filter) in [
            (&mut self.read, Filter::Read),
            (&mut self.write, Filter::Write),
        ] {
            // Until a wait finds fewer than it has room for. One more wait, for nothing, would count as a
            // quiet one, and the buffer of a busy loop would shrink and grow for ever.
            loop {
                epoll.wait(Some(Duration::ZERO))?;
                found.extend(epoll.events().map(|(token, _)| {
                    let fd = RawFd::try_from(token & u64::from(u32::MAX)).unwrap_or(-1);
                    ((fd, filter), (token >> 32) as u32)
                }));
                if !epoll.is_filled() {
                    break;
                }
            }
        }
        Ok(())
    }
}
