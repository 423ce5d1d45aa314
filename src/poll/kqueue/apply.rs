//! Applies the filters of a registration in the kernel: all of them, or none.
//!
//! `filters.rs` decides which filters a registration takes, and `translate.rs` makes the changes; this
//! file applies them, and undoes them if the kernel refuses one of them.
//!
//! In the notes: register, change and cancel (N7).

use std::io;
use std::os::fd::RawFd;

use readily_sys::errno;

use super::entry::Entry;
use super::filters::{CLOSED, OVER, filters};
use super::{KqueuePoller, KqueueSys, translate};
use crate::poll::Interest;

impl<Q: KqueueSys> KqueuePoller<Q> {
    /// Replaces the filters in the kernel by those that `entry` takes, adds those in the directions
    /// `anew` again, and stores the entry; or, on an error, restores the old state.
    pub(super) fn put(&mut self, fd: RawFd, mut entry: Entry, anew: Interest) -> io::Result<()> {
        let (ident, token) = (ident(fd)?, entry.wanted.token);
        let (from, to) = (entry.filters, filters(&entry.wanted, &entry.known));
        let changes = translate::changes(ident, token, &entry.known, from, to, anew);
        let mut errors = [0; 4];
        let errors = &mut errors[..changes.as_slice().len()];
        let mut changed = match errors.is_empty() {
            true => Ok(()),
            false => self.queue.change(changes.as_slice(), errors),
        };
        if changed.is_ok() {
            // NetBSD returns the same error for a closed descriptor and for a pipe without a reader.
            let open = errors.contains(&errno::EBADF) && self.queue.file_kind(fd).is_ok();
            match translate::outcome(&changes, errors, open, [from, to]) {
                Ok(outcome) => {
                    entry.filters = outcome.filters;
                    entry.known.end_refused |= outcome.end_refused;
                    if outcome.broken {
                        entry.known.ended = CLOSED;
                        entry.last = OVER;
                        self.over.push(fd);
                    }
                    self.entries.insert(fd, entry);
                }
                Err(code) => changed = Err(io::Error::from_raw_os_error(code)),
            }
        }
        if changed.is_err() {
            // The first filter may have been added without the second. The old filters are restored
            // as far as possible; the first error is returned.
            let old = self.entries.get(&fd).unwrap_or(&entry);
            let undoing = translate::undoing(ident, old.wanted.token, &old.known, from);
            let mut errors = [0; 4];
            let errors = &mut errors[..undoing.as_slice().len()];
            let _ = self.queue.change(undoing.as_slice(), errors);
        }
        changed
    }

    /// Like [`put`](Self::put), with all filters added again: the old state is discarded.
    pub(super) fn replace(&mut self, fd: RawFd, entry: Entry) -> io::Result<()> {
        let was_over = self.over.contains(&fd);
        self.over.retain(|&over| over != fd);
        let put = self.put(fd, entry, Interest::BOTH);
        if put.is_err() && was_over {
            self.over.push(fd);
        }
        put
    }

    /// Whether the kernel has lost this registration: its descriptor was closed outside the loop, and
    /// the number is another file's now, or is not open.
    pub(super) fn is_gone(&mut self, fd: RawFd, entry: &Entry) -> bool {
        let Ok(ident) = ident(fd) else { return true };
        let probe = translate::probing(ident, entry.wanted.token, &entry.known, entry.filters);
        let mut errors = [0; 4];
        let errors = &mut errors[..probe.as_slice().len()];
        // With no filter in the kernel there is nothing to probe.
        !errors.is_empty()
            && self.queue.change(probe.as_slice(), errors).is_ok()
            && errors
                .iter()
                .all(|&e| e == errno::ENOENT || e == errno::EBADF)
    }

    /// Changes the filters of the descriptors whose last event asks for it, if they are still registered.
    #[cold]
    pub(super) fn take_others(&mut self) {
        for fd in std::mem::take(&mut self.changed) {
            let Some(&entry) = self.entries.get(&fd) else {
                continue;
            };
            if !entry.takes_others() {
                continue;
            }
            // The caller did not ask for these filters, so it gets no error. Without memory the next wait
            // tries again.
            let put = self.put(fd, entry, Interest::NONE);
            let Some(entry) = self.entries.get_mut(&fd) else {
                continue;
            };
            let no_memory = |error: &io::Error| error.raw_os_error() == Some(errno::ENOMEM);
            entry.known.end_refused |= put.is_err_and(|error| !no_memory(&error));
            if entry.takes_others() {
                self.changed.push(fd);
            }
        }
    }
}

#[inline]
pub(super) fn ident(fd: RawFd) -> io::Result<usize> {
    usize::try_from(fd).map_err(|_| io::Error::from_raw_os_error(errno::EBADF))
}

#[cfg(test)]
mod tests;
