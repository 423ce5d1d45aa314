//! The poller of macOS and the BSDs, over kqueue.
//!
//! A kqueue has two registrations where a poller has one, and removes them by itself when the
//! descriptor is closed. So this poller keeps a table, which answers what the kernel cannot: whether a
//! descriptor is registered, and with what interest. The translation between the two is in
//! `translate.rs`. Both are compiled and tested on every Unix, over any [`KqueueSys`]; only
//! `system.rs` and the calls below it need a BSD. Their functions are generic or `#[inline]`: where no
//! program makes such a poller they are checked, and not compiled to machine code.
//!
//! In the notes this is the *selector* of macOS ([N2]).
//!
//! [N2]: crate::book#n2

mod apply;
mod deadline;
mod entry;
mod events;
mod filters;
mod notified;
mod translate;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use readily_sys::errno;
use readily_sys::kq_abi::Kevent;
use readily_sys::poll::FileKind;

use self::apply::ident;
use self::entry::Entry;
use self::filters::{Known, Wanted};
use self::notified::{Notified, NotifiedFlag};
use super::{Event, Interest, Notify, Poller, Trigger, VirtualKernel, WaitResult, check_token};

/// What lies below a [`KqueuePoller`]: the system's kqueue, or one in memory.
pub trait KqueueSys {
    /// Applies at most four changes in order, and writes the error of each, or zero, to
    /// `errors`, which has the same length. Returns no events.
    ///
    /// # Errors
    ///
    /// The error of the call as a whole.
    fn change(&mut self, changes: &[Kevent], errors: &mut [i32]) -> io::Result<()>;

    /// Waits, and appends events to `out`.
    ///
    /// # Errors
    ///
    /// `EINTR` after a signal; after any other error the queue cannot be used.
    fn wait(&mut self, out: &mut Vec<Kevent>, timeout: Option<Duration>) -> io::Result<()>;

    /// Clears the notification, after an event with the token [`NOTIFIER`](super::NOTIFIER).
    fn clear_notification(&mut self);

    /// The notifier, which ends a wait by an event with the token [`NOTIFIER`](super::NOTIFIER).
    fn notifier(&self) -> Arc<dyn Notify>;

    /// The queue's own descriptor, if it has one.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;

    /// The kind of the file of `fd`. Refuses the files that epoll would refuse: see
    /// [`readily_sys::poll::file_kind`].
    ///
    /// # Errors
    ///
    /// `EPERM` or `EBADF`.
    fn file_kind(&self, fd: RawFd) -> io::Result<FileKind>;

    /// The kernel of the queue, if that is not the system's.
    fn kernel(&self) -> Option<Rc<dyn VirtualKernel>> {
        None
    }
}

/// The queue's notifier, with the flag of its notifications.
struct SharedNotifier {
    queue: Arc<dyn Notify>,
    flag: NotifiedFlag,
}

impl Notify for SharedNotifier {
    fn notify(&self) {
        self.flag.set();
        self.queue.notify();
    }
}

impl fmt::Debug for SharedNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedNotifier")
            .field("flag", &self.flag)
            .finish_non_exhaustive()
    }
}

/// The [`Poller`] over a kqueue.
#[derive(Debug)]
pub struct KqueuePoller<Q> {
    queue: Q,
    entries: HashMap<RawFd, Entry>,
    /// Descriptors whose end the poller repeats itself, because no filter does: see
    /// [`filters::repeats`].
    over: Vec<RawFd>,
    /// Descriptors whose last event may have changed which filters they need. The next wait checks
    /// them, because most have been removed by then.
    changed: Vec<RawFd>,
    notifier: Arc<SharedNotifier>,
    notified: Notified,
    /// The number of the present wait, which distinguishes its events from older ones.
    batch: u64,
    list: Vec<Kevent>,
}

impl<Q: KqueueSys> KqueuePoller<Q> {
    /// Makes a poller over `queue` that watches nothing yet.
    #[must_use]
    pub fn with(queue: Q) -> Self {
        let notifier = SharedNotifier {
            queue: queue.notifier(),
            flag: NotifiedFlag::default(),
        };
        Self {
            queue,
            notifier: Arc::new(notifier),
            notified: Notified::default(),
            entries: HashMap::new(),
            over: Vec::new(),
            changed: Vec::new(),
            batch: 0,
            list: Vec::new(),
        }
    }

    fn known(&self, fd: RawFd) -> io::Result<Entry> {
        match self.entries.get(&fd) {
            Some(entry) => Ok(*entry),
            None => {
                // `EBADF`, if it is closed, is more precise than `ENOENT`.
                self.queue.file_kind(fd)?;
                Err(io::Error::from_raw_os_error(errno::ENOENT))
            }
        }
    }
}

impl<Q: KqueueSys> Poller for KqueuePoller<Q> {
    fn register(
        &mut self,
        fd: RawFd,
        token: u64,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()> {
        check_token(token)?;
        let mut known = Known::new(self.queue.file_kind(fd)?);
        if let Some(entry) = self.entries.get(&fd).copied() {
            if !self.is_gone(fd, &entry) {
                return Err(io::Error::from_raw_os_error(errno::EEXIST));
            }
            // Removed, so that an error does not restore it.
            self.entries.remove(&fd);
        }
        let wanted = Wanted {
            token,
            interest,
            trigger,
        };
        let added = self.replace(fd, Entry::new(wanted, known));
        match added {
            Err(error)
                if error.raw_os_error() == Some(errno::EINVAL)
                    && known.kind == FileKind::Device =>
            {
                // `/dev/tty` and `/dev/null` of macOS accept only a filter with a threshold of one
                // byte, which reports the same.
                known.by_the_byte = true;
                self.replace(fd, Entry::new(wanted, known))
            }
            added => added,
        }
    }

    fn modify(
        &mut self,
        fd: RawFd,
        token: u64,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()> {
        check_token(token)?;
        let old = self.known(fd)?;
        let wanted = Wanted {
            token,
            interest,
            trigger,
        };
        let known = Known {
            room_reported: false,
            ..old.known
        };
        let filters = old.filters;
        self.replace(
            fd,
            Entry {
                filters,
                ..Entry::new(wanted, known)
            },
        )
    }

    fn rearm(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        check_token(token)?;
        let mut entry = self.known(fd)?;
        if entry.wanted.trigger == Trigger::Edge {
            entry.wanted.token = token;
            if interest.contains(Interest::WRITE) {
                entry.known.room_reported = false;
            }
            self.put(fd, entry, interest & entry.wanted.interest)?;
        }
        Ok(())
    }

    fn rearm_interest(&self) -> Interest {
        Interest::WRITE
    }

    fn reports_urgent_data(&self) -> bool {
        false
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        let old = self.known(fd)?;
        // The entry first: whatever the kernel answers, this descriptor is reported no more.
        self.entries.remove(&fd);
        self.over.retain(|&over| over != fd);
        let (token, none) = (old.wanted.token, [None; 2]);
        let (known, anew) = (&old.known, Interest::NONE);
        let changes = translate::changes(ident(fd)?, token, known, old.filters, none, anew);
        let mut errors = [0; 4];
        let errors = &mut errors[..changes.as_slice().len()];
        if errors.is_empty() {
            return Ok(());
        }
        self.queue.change(changes.as_slice(), errors)?;
        match translate::outcome(&changes, errors, false, [none; 2]) {
            Ok(_) => Ok(()),
            Err(code) => Err(io::Error::from_raw_os_error(code)),
        }
    }

    fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<WaitResult> {
        self.batch += 1;
        let before = events.len();
        let mut notified = self.wait_once(events, timeout)?;
        if !self.changed.is_empty() && events.len() == before && !notified {
            // One side has ended. The filter for the other side, which the next call adds, decides
            // whether this is an event.
            notified = self.wait_once(events, Some(Duration::ZERO))?;
        }
        Ok(WaitResult::new(notified))
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.notifier) as Arc<dyn Notify>
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.queue.as_fd()
    }

    fn set_deadline(&mut self, after: Option<Duration>) -> io::Result<()> {
        deadline::set(&mut self.queue, after)
    }

    fn needs_wait(&self) -> bool {
        !self.changed.is_empty() || !self.over.is_empty()
    }

    fn kernel(&self) -> Option<Rc<dyn VirtualKernel>> {
        self.queue.kernel()
    }
}

#[cfg(test)]
mod tests;
