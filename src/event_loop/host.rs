//! Embedding: the descriptor that is readable when the loop has work, for a host with a loop of its
//! own.
//!
//! Events of the kernel and messages of other threads make the descriptor readable by themselves.
//! Three kinds of work do not, and are handled here. Work that the host adds between two turns, on
//! the loop's own thread, notifies the loop, once between two turns. After a turn that leaves work,
//! an edge-triggered host would wait for an edge that does not come, so such a turn notifies the
//! loop at its end. For the next deadline, if the host wants it, a timer of the kernel is armed in
//! the descriptor. A loop whose descriptor was not requested by a host pays nothing.
//!
//! asyncio has no counterpart, because its loop is always the host. In the notes: the loop of N7
//! inside another.

use super::loop_handle::LoopHandle;
use super::rows::Detour;
use crate::base::clock::NEVER;
use readily_sys::poll::is_readable;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The longest deadline that is armed in a kernel: some reject longer ones. It may expire early.
const LONGEST_HOST_DEADLINE: Duration = Duration::from_secs(24 * 3600);

impl LoopHandle {
    /// Notifies the host that work was added, if it may be asleep.
    #[inline]
    pub(crate) fn notify_host(&self) {
        if self.ready.rows.host_waits() {
            self.call_host();
        }
    }

    /// Notifies the host that a timer was armed, if it is now the next one.
    #[inline]
    pub(super) fn notify_host_of(&self, deadline_ns: u64) {
        if self.ready.rows.host_waits() && self.times.next_ns() == Some(deadline_ns) {
            self.call_host();
        }
    }

    #[cold]
    fn call_host(&self) {
        self.ready.rows.set_detour(Detour::HostWaits, false);
        self.inbox.notify();
    }

    /// Marks the begin of a turn: work that is added from here on does not notify the host.
    #[inline]
    pub(super) fn leave_host(&self) {
        self.ready.rows.set_detour(Detour::HostWaits, false);
    }

    /// Prepares for a host that waits for the descriptor: messages that have arrived already, and
    /// work that is left, make it readable.
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
            return; // in the middle of a turn, or on a loop that is of no use
        }
        self.ready.rows.set_detour(Detour::HostWaits, true);
        if self.poller.borrow().needs_wait() {
            return self.call_host(); // the poller has events that its descriptor does not show
        }
        let until = self.until_work();
        // Events can be left in the poller only if this turn has got some.
        let events = self.stats.events.get();
        let may_be_more = self.host.events.replace(events) != events;
        // The next wait will return the error.
        let is_more = || may_be_more && is_readable(fd.as_fd()).unwrap_or(true);
        if until == Some(Duration::ZERO) || is_more() {
            return self.call_host();
        }
        if self.host.has_deadline.get() {
            self.arm_host();
        }
    }

    /// How long the loop has no work unless an event or a message arrives; `None` for ever.
    /// Cancelled work that is still in the queue does not count.
    pub(super) fn until_work(&self) -> Option<Duration> {
        match self.is_pressed() || self.inbox.has_messages() || self.has_ready_work() {
            true => Some(Duration::ZERO),
            false => self.until_timer(None),
        }
    }

    /// Whether a closure that was not cancelled, or a task that has not ended, is ready.
    pub(super) fn has_ready_work(&self) -> bool {
        let has_task = || self.scheduler.get().is_some_and(|it| it.has_ready_task());
        !self.ready.is_empty() && (self.ready.has_call_or_main() || has_task())
    }

    fn arm_host(&self) {
        let next_ns = self.times.next_ns().unwrap_or(NEVER);
        if next_ns == self.host.armed_ns.get() {
            return; // armed already, and not expired: it would be due otherwise
        }
        let until = self
            .times
            .until_next()
            .map(|until| until.min(LONGEST_HOST_DEADLINE));
        // A deadline that is cut short expires early, and is then armed anew.
        let whole = until != Some(LONGEST_HOST_DEADLINE);
        let armed = self.poller.borrow_mut().set_deadline(until);
        match armed {
            Ok(()) => self.host.armed_ns.set(if whole { next_ns } else { 0 }),
            // The host would miss the deadline.
            Err(error) => {
                self.host.armed_ns.set(0);
                self.report(&super::Unhandled::Io {
                    what: "arming the deadline in the host's descriptor",
                    error,
                });
                self.call_host();
            }
        }
    }

    /// Returns the descriptor for a host, made at the first call.
    pub(super) fn host_fd(&self) -> Result<&OwnedFd, super::Error> {
        if let Some(fd) = self.host.fd.get() {
            return Ok(fd);
        }
        self.ensure_usable()?;
        let made = self.poller.borrow_mut().host_fd()?;
        let fd = self.host.fd.get_or_init(|| made);
        self.host.armed_ns.set(NEVER);
        // Events that came before this call have not been reported to the host.
        self.host.events.set(u64::MAX);
        self.settle_host(fd);
        Ok(fd)
    }

    /// Returns the descriptor for a host, which from now on also becomes readable at the next
    /// deadline.
    pub(super) fn host_fd_with_deadline(&self) -> Result<&OwnedFd, super::Error> {
        let fd = self.host_fd()?;
        if !self.host.has_deadline.get() {
            // Fails now if the poller cannot do this, before the host relies on it.
            self.poller
                .borrow_mut()
                .set_deadline(Some(LONGEST_HOST_DEADLINE))?;
            self.host.armed_ns.set(0);
            self.host.has_deadline.set(true);
            self.settle_host(fd);
        }
        Ok(fd)
    }
}
