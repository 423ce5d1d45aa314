//! A host that has a loop of its own waits for one descriptor: it is readable whenever there is
//! anything to do.
//!
//! Events of the kernel and messages of other threads make the descriptor readable by themselves. Two
//! kinds of work do not, and are handled here. Work that the host gives the loop between two turns,
//! on the loop's own thread, notifies the loop, once in each pause. After a turn that leaves work an
//! edge-triggered host would wait for an edge that does not come, so such a turn notifies the loop at
//! its end. A loop whose descriptor no host has asked for pays nothing.
//!
//! Nothing in asyncio, whose loop is always the host; in the notes, the loop of N7 inside another.

use super::local::LoopHandle;
use crate::base::clock::NEVER;
use readily_sys::poll::is_readable;
use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// No kernel is asked for more at once: some refuse what they can not count. To come early is allowed.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What is known of the loop's host.
#[derive(Default)]
pub(super) struct Host {
    /// What it waits for, once it has asked.
    pub(super) fd: std::cell::OnceCell<OwnedFd>,
    /// Whether it may be asleep: no turn is going on, and nothing has rung since the last one.
    waits: Cell<bool>,
    /// Whether the next deadline is in the descriptor.
    has_deadline: Cell<bool>,
    /// For when that is armed; [`NEVER`] for not at all.
    armed_ns: Cell<u64>,
    /// How many events there had been when the host was last seen to.
    events: Cell<u64>,
}

impl LoopHandle {
    /// Something was added. If that was by the host, between two turns, it is to come back.
    #[inline]
    pub(super) fn notify_host(&self) {
        if self.host.waits.get() {
            self.call_host();
        }
    }

    /// The same for a timer, which is armed already: it is due before those that the host knows of.
    #[inline]
    pub(super) fn notify_host_of(&self, deadline_ns: u64) {
        if self.host.waits.get() && self.times.next_ns() == Some(deadline_ns) {
            self.call_host();
        }
    }

    #[cold]
    fn call_host(&self) {
        self.host.waits.set(false);
        self.inbox.notify();
    }

    /// A turn begins: what is added from here on is the turn's own affair.
    #[inline]
    pub(super) fn leave_host(&self) {
        self.host.waits.set(false);
    }

    /// From here on a host may wait for the descriptor instead of calling us: what has come already, and
    /// what is left, makes it readable.
    #[inline]
    pub(super) fn settle(&self) {
        self.inbox.notify_host();
        if let Some(fd) = self.host.fd.get() {
            self.settle_host(fd);
        }
    }

    #[cold]
    fn settle_host(&self, fd: &OwnedFd) {
        if self.turn.get().is_some() || self.closed.get() || self.inbox.forked() {
            return; // it asks in the middle of a turn, or has nothing to wait for
        }
        self.host.waits.set(true);
        if self.poller.borrow().needs_wait() {
            return self.call_host(); // it has more to do than its descriptor shows
        }
        let until = self.until_work();
        // Without an event there was nothing of which a part could be left.
        let events = self.stats.events.get();
        let may_be_more = self.host.events.replace(events) != events;
        // An error is for the next wait to tell.
        let is_more = || may_be_more && is_readable(fd.as_fd()).unwrap_or(true);
        if until == Some(Duration::ZERO) || is_more() {
            return self.call_host();
        }
        if self.host.has_deadline.get() {
            self.arm_host();
        }
    }

    fn arm_host(&self) {
        let next_ns = self.times.next_ns().unwrap_or(NEVER);
        if next_ns == self.host.armed_ns.get() {
            return; // it has not come yet, or it would be due
        }
        let until = self.times.until_next().map(|until| until.min(LONGEST));
        // What is cut short comes, and then is armed anew.
        let whole = until != Some(LONGEST);
        let armed = self.poller.borrow_mut().set_deadline(until);
        match armed {
            Ok(()) => self.host.armed_ns.set(if whole { next_ns } else { 0 }),
            // The host would sleep through it.
            Err(error) => {
                self.host.armed_ns.set(0);
                self.report(&super::Unhandled::Io {
                    what: "arming a host's deadline",
                    error,
                });
                self.call_host();
            }
        }
    }

    /// The descriptor for a host, made when it first asks.
    pub(super) fn host_fd(&self) -> Result<&OwnedFd, super::Error> {
        if let Some(fd) = self.host.fd.get() {
            return Ok(fd);
        }
        self.ensure_usable()?;
        let made = self.poller.borrow_mut().host_fd()?;
        let fd = self.host.fd.get_or_init(|| made);
        self.host.armed_ns.set(NEVER);
        // What there is already, it has not been told of.
        self.host.events.set(u64::MAX);
        self.settle_host(fd);
        Ok(fd)
    }

    /// The same, with the next deadline in it from now on.
    pub(super) fn host_fd_with_deadline(&self) -> Result<&OwnedFd, super::Error> {
        let fd = self.host_fd()?;
        if !self.host.has_deadline.get() {
            // Before the host relies on it: whether this can be.
            self.poller.borrow_mut().set_deadline(Some(LONGEST))?;
            self.host.armed_ns.set(0);
            self.host.has_deadline.set(true);
            self.settle_host(fd);
        }
        Ok(fd)
    }
}
