//! The changes of a kqueue: they add, modify and delete registrations, and return receipts.
//!
//! In the notes this is "register" and "cancel the registration" (N7), as a kqueue has them.

use super::EmulatedKqueue;
use super::collect::is_open;
use super::filters;
use super::knotes::{Knote, Name};
use readily_sys::errno::{EBADF, EINVAL, ELOOP, ENOENT, ENOMEM};
use readily_sys::facts;
use readily_sys::kq_abi::{EV_ADD, EV_DELETE, EV_DISABLE, EV_ENABLE, Filter, Kevent, Personality};
use std::io;
use std::os::fd::RawFd;

impl EmulatedKqueue {
    /// Applies one entry of a changelist, and returns its receipt.
    pub(super) fn apply(&mut self, change: &Kevent) -> Result<(), i32> {
        let fd = RawFd::try_from(change.ident).map_err(|_| EBADF)?;
        if !matches!(change.filter, Filter::Read | Filter::Write) {
            return Err(EINVAL);
        }
        let both = EV_ENABLE | EV_DISABLE;
        if change.flags & both == both && self.system == Personality::FreeBsd {
            return Err(EINVAL);
        }
        let (name, adds) = ((fd, change.filter), change.flags & EV_ADD != 0);
        self.remove_if_closed(fd);
        if facts::file(fd).is_err() {
            // macOS searches for the registration before it checks the number.
            let unknown = self.system == Personality::Apple && !adds;
            return Err(if unknown { ENOENT } else { EBADF });
        }
        if change.flags & EV_DELETE != 0 {
            return self.remove(name).ok_or(ENOENT);
        }
        if self.knotes.get(name).is_none() {
            if !adds {
                return Err(ENOENT);
            }
            self.attach(name, change)?;
        }
        if self.knotes.update(name, change) && self.evaluate(name).is_some_and(|it| it.holds) {
            self.knotes.activate(name);
        }
        Ok(())
    }

    fn attach(&mut self, name: Name, change: &Kevent) -> Result<(), i32> {
        let code = |error: io::Error| error.raw_os_error().unwrap_or(ENOMEM);
        let file = facts::file(name.0).map_err(code)?;
        let state = self.inspector.inspect(name.0, file).map_err(code)?;
        filters::attach(self.system, file, name.1, &state, change.fflags)?;
        self.last_generation = self.last_generation.wrapping_add(1);
        let mut knote = Knote::new(self.system, change, file, self.last_generation);
        knote.as_listener = state.is_listener;
        knote.last_count = state.count(name.1);
        let watched = self.epolls.add(name, self.last_generation).map_err(code);
        knote.is_watched = watched.map_err(|code| match code {
            // A cycle of descriptors, which epoll refuses: the queue itself, or a queue that contains it.
            ELOOP if self.is_itself(name.0) => EINVAL,
            code => code,
        })?;
        self.knotes.insert(name, knote);
        Ok(())
    }

    /// Whether this is the queue's own file. Only meaningful for a number that refers to a queue.
    fn is_itself(&self, fd: RawFd) -> bool {
        let refused = self.outer.add(fd, 0, 0);
        refused.is_err_and(|error| error.raw_os_error() == Some(EINVAL))
    }

    pub(super) fn remove(&mut self, name: Name) -> Option<()> {
        let knote = self.knotes.remove(name)?;
        if knote.is_watched {
            self.epolls.remove(name);
        }
        Some(())
    }

    /// Removes the registrations of a number that has been closed, as a BSD does at once. Linux does
    /// not report the close, so it is detected here.
    pub(super) fn remove_if_closed(&mut self, fd: RawFd) {
        for filter in [Filter::Read, Filter::Write] {
            let name = (fd, filter);
            let known = self.knotes.get(name);
            if known.is_some_and(|knote| !is_open(&self.epolls, name, knote)) {
                self.knotes.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
