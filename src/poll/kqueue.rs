//! The poller of macOS and the BSDs, over kqueue.
//!
//! A kqueue knows two registrations where we know one, and forgets them by itself when a
//! descriptor is closed. So there is a table here, which answers what the kernel cannot:
//! whether something is registered, and as what. Turning ours into theirs and back is in
//! `translate.rs`. Both are compiled and tested on every Unix, over any [`Queue`]; what
//! only a BSD can run is `system.rs` and the calls below it.
//!
//! In the notes this is the *selector* of macOS (N2).

mod translate;

use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use readily_sys::errno;
use readily_sys::kq_abi::Kevent;

use self::translate::{Changes, Outcome, Wanted};
use super::{AnyKernel, Event, Interest, NOTIFIER, Notify, Poller, Readiness, Trigger};

/// What lies below a [`KqueuePoller`]: the system's kqueue, or one in memory.
pub trait Queue {
    /// Applies at most four changes in order, and writes the error of each, or zero, to
    /// `errors`, which has the same length. Brings no events.
    ///
    /// # Errors
    ///
    /// That of the call as a whole.
    fn change(&mut self, changes: &[Kevent], errors: &mut [i32]) -> io::Result<()>;

    /// Waits, and appends events to `out`.
    ///
    /// # Errors
    ///
    /// `EINTR` after a signal; others are the queue's end.
    fn wait(&mut self, out: &mut Vec<Kevent>, timeout: Option<Duration>) -> io::Result<()>;

    /// Takes note that an event with the token [`NOTIFIER`] came.
    fn heard(&mut self);

    /// What ends a wait: it makes an event with the token [`NOTIFIER`].
    fn notifier(&self) -> Arc<dyn Notify>;

    /// The queue's own descriptor, if it has one.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Refuses what epoll would refuse: see [`readily_sys::poll::is_pollable`].
    ///
    /// # Errors
    ///
    /// `EPERM` or `EBADF`.
    fn is_pollable(&self, fd: RawFd) -> io::Result<()>;

    /// The kernel that it belongs to, where that is not the system's.
    fn kernel(&self) -> Option<Rc<dyn AnyKernel>> {
        None
    }
}

/// The [`Poller`] over a kqueue.
#[derive(Debug)]
pub struct KqueuePoller<Q> {
    queue: Q,
    entries: HashMap<RawFd, Entry>,
    /// Broken pipes that we have to report, as the kernel would not watch them.
    broken: Vec<RawFd>,
    /// The number of the wait that is going on; tells events of this one from older ones.
    batch: u64,
    list: Vec<Kevent>,
}

/// A registration. It dies with `remove`, or when the kernel is found not to know it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    wanted: Wanted,
    /// In which wait it was last reported, and at which place of the list.
    batch: u64,
    at: usize,
    /// A one-shot that has been reported. The other filter may still have something to say.
    spent: bool,
    /// The kernel would not watch it for writing: a pipe whose reader had gone.
    refused: bool,
}

impl<Q: Queue> KqueuePoller<Q> {
    /// Makes a poller over `queue` that watches nothing yet.
    #[must_use]
    pub fn over(queue: Q) -> Self {
        Self {
            queue,
            entries: HashMap::new(),
            broken: Vec::new(),
            batch: 0,
            list: Vec::new(),
        }
    }

    fn submit(&mut self, fd: RawFd, changes: &Changes) -> io::Result<()> {
        let mut errors = [0; 4];
        let errors = &mut errors[..changes.as_slice().len()];
        if changes.as_slice().is_empty() {
            return Ok(());
        }
        self.queue.change(changes.as_slice(), errors)?;
        // NetBSD says the same of a closed descriptor and of a pipe without a reader.
        let open = errors.contains(&errno::EBADF) && self.queue.is_pollable(fd).is_ok();
        match translate::outcome(changes, errors, open) {
            Outcome::Done => Ok(()),
            Outcome::Broken => {
                self.broken.push(fd);
                Ok(())
            }
            Outcome::Failed(code) => Err(io::Error::from_raw_os_error(code)),
        }
    }

    /// Puts `new` in the place of `old`, in the kernel and then here; or leaves both.
    fn replace(&mut self, fd: RawFd, old: Option<Wanted>, new: Wanted) -> io::Result<()> {
        let ident = ident(fd)?;
        self.broken.retain(|&broken| broken != fd);
        let changes = translate::changes(ident, old.as_ref(), Some(&new));
        if let Err(e) = self.submit(fd, &changes) {
            // The first filter may be in without the second. What is put back is put back as
            // far as it goes: the error to tell is the first one.
            let _ = self.submit(fd, &translate::undoing(ident, old.as_ref()));
            return Err(e);
        }
        self.entries.insert(
            fd,
            Entry {
                wanted: new,
                batch: 0,
                at: 0,
                spent: false,
                refused: self.broken.contains(&fd),
            },
        );
        Ok(())
    }

    /// Whether the kernel has lost this registration: its descriptor was closed behind our
    /// back, and the number is another file's now, or nobody's.
    fn is_gone(&mut self, fd: RawFd, entry: &Entry) -> bool {
        let Ok(ident) = ident(fd) else { return true };
        let mut asked = entry.wanted;
        if entry.refused {
            asked.interest = asked.interest.without(Interest::WRITE);
        }
        let probe = translate::probing(ident, &asked);
        let mut errors = [0; 4];
        let errors = &mut errors[..probe.as_slice().len()];
        // With no filter in the kernel there is nobody to ask.
        !errors.is_empty()
            && self.queue.change(probe.as_slice(), errors).is_ok()
            && errors
                .iter()
                .all(|&e| e == errno::ENOENT || e == errno::EBADF)
    }

    fn known(&self, fd: RawFd) -> io::Result<Wanted> {
        match self.entries.get(&fd) {
            Some(entry) => Ok(entry.wanted),
            None => {
                // A closed descriptor is the better thing to say.
                self.queue.is_pollable(fd)?;
                Err(io::Error::from_raw_os_error(errno::ENOENT))
            }
        }
    }

    /// Adds what is `ready` to the registration's event, its only one in this wait.
    fn report(&mut self, fd: RawFd, ready: Readiness, events: &mut Vec<Event>) {
        let Some(entry) = self.entries.get_mut(&fd) else {
            return;
        };
        if entry.batch == self.batch {
            events[entry.at].ready |= ready;
        } else if !entry.spent {
            (entry.batch, entry.at) = (self.batch, events.len());
            entry.spent = entry.wanted.trigger == Trigger::OneShot;
            events.push(Event {
                token: entry.wanted.token,
                ready,
            });
        }
    }

    fn report_broken(&mut self, events: &mut Vec<Event>) {
        let ready = Readiness::WRITE | Readiness::WRITE_CLOSED;
        for fd in std::mem::take(&mut self.broken) {
            self.report(fd, ready, events);
            let level = |entry: &Entry| entry.wanted.trigger == Trigger::Level;
            if self.entries.get(&fd).is_some_and(level) {
                self.broken.push(fd);
            }
        }
    }
}

impl<Q: Queue> Poller for KqueuePoller<Q> {
    fn register(
        &mut self,
        fd: RawFd,
        token: u64,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()> {
        debug_assert_ne!(token, NOTIFIER, "this token is the poller's own");
        self.queue.is_pollable(fd)?;
        if let Some(entry) = self.entries.get(&fd).copied() {
            if !self.is_gone(fd, &entry) {
                return Err(io::Error::from_raw_os_error(errno::EEXIST));
            }
        }
        self.replace(
            fd,
            None,
            Wanted {
                token,
                interest,
                trigger,
            },
        )
    }

    fn modify(
        &mut self,
        fd: RawFd,
        token: u64,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()> {
        debug_assert_ne!(token, NOTIFIER, "this token is the poller's own");
        let old = self.known(fd)?;
        self.replace(
            fd,
            Some(old),
            Wanted {
                token,
                interest,
                trigger,
            },
        )
    }

    fn rearm(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        let wanted = Wanted {
            token,
            ..self.known(fd)?
        };
        if wanted.trigger == Trigger::Edge {
            self.submit(fd, &translate::rearming(ident(fd)?, &wanted, interest))?;
            self.entries
                .entry(fd)
                .and_modify(|entry| entry.wanted = wanted);
        }
        Ok(())
    }

    fn rearms(&self) -> Interest {
        Interest::WRITE
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        let old = self.known(fd)?;
        // Ours first: whatever the kernel says, this descriptor is reported no more.
        self.entries.remove(&fd);
        self.broken.retain(|&broken| broken != fd);
        self.submit(fd, &translate::changes(ident(fd)?, Some(&old), None))
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = if self.broken.is_empty() {
            timeout
        } else {
            Some(Duration::ZERO)
        };
        self.batch += 1;
        self.list.clear();
        match self.queue.wait(&mut self.list, timeout) {
            Err(e) if e.raw_os_error() == Some(errno::EINTR) => return Ok(()),
            answer => answer?,
        }
        for index in 0..self.list.len() {
            let event = self.list[index];
            if event.udata == NOTIFIER {
                self.queue.heard();
            } else if let Ok(fd) = RawFd::try_from(event.ident) {
                self.report(fd, translate::reported(&event), events);
            }
        }
        self.report_broken(events);
        Ok(())
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        self.queue.notifier()
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.queue.as_fd()
    }

    fn kernel(&self) -> Option<Rc<dyn AnyKernel>> {
        self.queue.kernel()
    }
}

fn ident(fd: RawFd) -> io::Result<usize> {
    usize::try_from(fd).map_err(|_| io::Error::from_raw_os_error(errno::EBADF))
}

#[cfg(test)]
mod tests;
