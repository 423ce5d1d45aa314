//! The events of one wait: what the kernel reports, and the ends that no filter repeats.
//!
//! In the notes this is `events = selector.wait(timeout)` (N7).

use super::{KqueuePoller, KqueueSys, filters, translate};
use crate::poll::{Event, MAX_EVENTS, NOTIFIER, Trigger};
use readily_sys::errno;
use readily_sys::kq_abi::{EV_ONESHOT, Kevent};
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

/// The most ends that one wait reports by itself. The kernel reports at most as many events.
pub(super) const MOST_OVER: usize = MAX_EVENTS / 2;

impl<Q: KqueueSys> KqueuePoller<Q> {
    /// Updates the registration from one event of the kernel, and reports it.
    fn handle_event(&mut self, event: &Kevent, events: &mut Vec<Event>) {
        let Ok(fd) = RawFd::try_from(event.ident) else {
            return;
        };
        let (Some(entry), Some(at)) = (self.entries.get_mut(&fd), filters::place(event.filter))
        else {
            return;
        };
        let ready = translate::from_kevent(event, entry.filters[at], &mut entry.known);
        if event.flags & EV_ONESHOT != 0 {
            // Not from this poller: FreeBSD drops the filter of a pipe whose other side is closed.
            entry.filters[at] = None;
        }
        if entry.takes_others() {
            self.changed.push(fd);
        }
        if ready.is_empty() {
            return; // an arrival where only the end is of interest
        }
        if filters::repeats(&entry.wanted, &entry.known, ready) {
            entry.last |= ready;
            if !self.over.contains(&fd) {
                self.over.push(fd);
            }
        }
        entry.report(self.batch, ready, events);
    }

    /// Waits in the kernel once; returns whether the wait reports a notification.
    pub(super) fn wait_once(
        &mut self,
        events: &mut Vec<Event>,
        limit: Option<Duration>,
    ) -> io::Result<bool> {
        if !self.changed.is_empty() {
            self.take_others();
        }
        let limit = match self.over.is_empty() {
            true => limit,
            false => Some(Duration::ZERO),
        };
        self.list.clear();
        match self.queue.wait(&mut self.list, limit) {
            Err(e) if e.raw_os_error() == Some(errno::EINTR) => return Ok(false),
            answer => answer?,
        }
        let mut has_event = false;
        for index in 0..self.list.len() {
            let event = self.list[index];
            if event.udata == NOTIFIER {
                self.queue.clear_notification();
                has_event = true;
            } else {
                self.handle_event(&event, events);
            }
        }
        if !self.over.is_empty() {
            self.report_over(events);
        }
        let flag = &self.notifier.flag;
        Ok(match has_event {
            true => self.notified.take_event(flag),
            // Without this the notifier's event waits behind those that had no room.
            false => !self.list.is_empty() && self.notified.take_early(flag),
        })
    }

    fn report_over(&mut self, events: &mut Vec<Event>) {
        let (entries, batch) = (&mut self.entries, self.batch);
        let (mut left, mut kept) = (MOST_OVER, 0);
        self.over.retain(|fd| {
            if left == 0 {
                return true;
            }
            let Some(entry) = entries.get_mut(fd) else {
                return false;
            };
            left -= 1;
            entry.report(batch, entry.last, events);
            let keep = entry.wanted.trigger == Trigger::Level;
            kept += usize::from(keep);
            keep
        });
        if left == 0 {
            // The next wait begins with the ends that did not fit into this one.
            self.over.rotate_left(kept);
        }
    }
}
