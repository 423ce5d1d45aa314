//! What a change does: registrations made, changed and taken out, and with which receipt.
//!
//! In the notes this is "register" and "cancel the registration" (N7), as a kqueue has them.

use super::EmulatedQueue;
use super::filters;
use super::harvest::is_open;
use super::knotes::{Knote, Name};
use readily_sys::errno::{EBADF, EINVAL, ELOOP, ENOENT, ENOMEM};
use readily_sys::facts;
use readily_sys::kq_abi::{EV_ADD, EV_DELETE, EV_DISABLE, EV_ENABLE, Filter, Kevent, Personality};
use std::io;
use std::os::fd::RawFd;

impl EmulatedQueue {
    /// One entry of a changelist; its receipt.
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
        self.forget_if_closed(fd);
        if facts::file(fd).is_err() {
            // macOS looks for the registration first.
            let unknown = self.system == Personality::Apple && !adds;
            return Err(if unknown { ENOENT } else { EBADF });
        }
        if change.flags & EV_DELETE != 0 {
            return self.forget(name).ok_or(ENOENT);
        }
        if self.knotes.get(name).is_none() {
            if !adds {
                return Err(ENOENT);
            }
            self.attach(name, change)?;
        }
        if self.knotes.update(name, change) && self.look(name).is_some_and(|found| found.holds) {
            self.knotes.activate(name);
        }
        Ok(())
    }

    fn attach(&mut self, name: Name, change: &Kevent) -> Result<(), i32> {
        let code = |error: io::Error| error.raw_os_error().unwrap_or(ENOMEM);
        let file = facts::file(name.0).map_err(code)?;
        let look = self.looker.look(name.0, file).map_err(code)?;
        filters::attach(self.system, file, name.1, &look, change.fflags)?;
        self.latest = self.latest.wrapping_add(1);
        let mut knote = Knote::new(self.system, change, file, self.latest);
        knote.as_listener = look.is_listener;
        knote.counted = look.counted(name.1);
        let watched = self.watches.add(name, self.latest).map_err(code);
        knote.is_watched = watched.map_err(|code| match code {
            // epoll finds a ring in either case, as this queue has parts.
            ELOOP if self.is_itself(name.0) => EINVAL,
            code => code,
        })?;
        self.knotes.insert(name, knote);
        Ok(())
    }

    /// Whether this is the queue's own file; to be asked of a queue only.
    fn is_itself(&self, fd: RawFd) -> bool {
        let refused = self.outer.add(fd, 0, 0);
        refused.is_err_and(|error| error.raw_os_error() == Some(EINVAL))
    }

    pub(super) fn forget(&mut self, name: Name) -> Option<()> {
        let knote = self.knotes.forget(name)?;
        if knote.is_watched {
            self.watches.remove(name);
        }
        Some(())
    }

    /// Does what a BSD does when a number is closed. Linux does not report the close, so it is
    /// detected here.
    pub(super) fn forget_if_closed(&mut self, fd: RawFd) {
        for filter in [Filter::Read, Filter::Write] {
            let name = (fd, filter);
            let known = self.knotes.get(name);
            if known.is_some_and(|knote| !is_open(&self.watches, name, knote)) {
                self.knotes.forget(name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
