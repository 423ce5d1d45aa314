//! Pollers: they watch descriptors for an interest, and report readiness.
//!
//! The notes call this the *selector* ([N2]): the loop waits for events through it.
//! [`Poller`] is the trait. Its implementations are epoll on Linux, kqueue on
//! macOS and the BSDs, and `poll(2)` for any other Unix.
//!
//! # A poller without a loop
//!
//! [`default_poller::SystemPoller`] is this system's poller, for programs that want `epoll(7)` or `kqueue(2)`
//! behind one interface and nothing more:
//!
//! ```
//! use readily::poll::Poller;
//! use readily::poll::default_poller::SystemPoller;
//! use readily::{Interest, Readiness, Trigger};
//! use std::io::Write;
//! use std::os::fd::AsRawFd;
//! use std::os::unix::net::UnixStream;
//! use std::time::Duration;
//!
//! let mut poller = SystemPoller::new()?;
//! let (here, mut there) = UnixStream::pair()?;
//! here.set_nonblocking(true)?;
//! poller.register(here.as_raw_fd(), 7, Interest::READ, Trigger::Level)?;
//!
//! // An event of the descriptor comes with the token of its registration.
//! there.write_all(b"hi")?;
//! let mut events = Vec::new();
//! poller.wait(&mut events, None)?;
//! assert_eq!((events[0].token(), events[0].ready()), (7, Readiness::READ));
//! poller.remove(here.as_raw_fd())?; // before it is closed
//!
//! // Another thread ends a wait. The result distinguishes a notification from a timeout.
//! let notifier = poller.notifier();
//! let thread = std::thread::spawn(move || notifier.notify());
//! events.clear();
//! assert!(poller.wait(&mut events, None)?.notified());
//! assert!(!poller.wait(&mut events, Some(Duration::from_millis(1)))?.notified());
//! assert!(events.is_empty());
//! # thread.join().unwrap();
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Two vocabularies
//!
//! *Interest* is what a program asks for, *readiness* is what the kernel reports. They are two types,
//! because they have different values: a program cannot ask for an error, and the kernel does not
//! report an "edge".
//!
//! [N2]: crate::book#n2

mod choice;
pub mod default_poller;
pub(crate) mod fd;
pub(crate) mod interest;
pub mod kqueue;
pub mod poll2;
pub(crate) mod virtual_child;
pub(crate) mod virtual_kernel;

pub(crate) use self::fd::{FdOwned, FdRef};
pub(crate) use self::interest::{Interest, Trigger};
pub(crate) use self::virtual_child::VirtualChild;
pub(crate) use self::virtual_kernel::{
    BlockingJobs, VirtualFd, VirtualKernel, VirtualProcess, WorkerEnd, WorkerStep,
};
#[doc(inline)]
pub use readily_sys::event::Event;
pub(crate) use readily_sys::readiness::Readiness;

use readily_sys::fork::ForkGuard;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What [`Poller::wait`] returns beside the events it appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitResult {
    notified: bool,
}

impl WaitResult {
    /// The result of a wait; `notified` is whether the wait has consumed a notification.
    #[must_use]
    pub const fn new(notified: bool) -> Self {
        Self { notified }
    }

    /// Returns whether another thread used the [notifier](Poller::notifier), during the wait or
    /// since the wait before.
    ///
    /// Each [`Notify::notify`] is reported by exactly one wait, however many events are ready; one wait
    /// may report several as one. If this is `false` and no event was appended, the timeout has passed,
    /// a signal has interrupted the wait, or a notification ended it that an earlier wait has reported.
    ///
    /// readily's own loop does not use it (it asks its inbox). It is for programs that use a poller
    /// alone, and the conformance suite checks it.
    #[must_use]
    pub const fn notified(self) -> bool {
        self.notified
    }
}

/// One wait of a poller of this crate appends at most this many events. It may append fewer than are
/// ready: on epoll and kqueue a wait has room for 64.
pub const MAX_EVENTS: usize = 2048;

/// The token that pollers keep for their own notifier; no registration may use it.
pub const NOTIFIER: u64 = u64::MAX;

/// Refuses the token that is the poller's own, [`NOTIFIER`]: for `register`, `modify`, `rearm` and
/// `rebuild` of a [`Poller`].
///
/// # Errors
///
/// `EINVAL`.
pub fn check_token(token: u64) -> io::Result<()> {
    match token {
        NOTIFIER => Err(io::Error::from_raw_os_error(readily_sys::errno::EINVAL)),
        _ => Ok(()),
    }
}

/// A selector: it watches registered descriptors and returns their events.
///
/// Descriptors are numbers here, as they are for the kernel: the number of a closed descriptor
/// leads to an error or to an event that belongs to no registration, and is never a memory error.
/// The caller of [`register`](Poller::register) keeps the descriptor open until
/// [`remove`](Poller::remove).
///
/// # Errors
///
/// The same in every poller, and checked by one suite, which is public
/// (`readily_testing::conformance`):
///
/// | call | error |
/// |---|---|
/// | `register` of a registered descriptor | `EEXIST` (`AlreadyExists`) |
/// | `modify`, `rearm`, `remove` of a descriptor that is not registered | `ENOENT` (`NotFound`) |
/// | any, of a closed descriptor | `EBADF`; if it was registered when it was closed also `ENOENT`, or, from `remove`, none |
/// | `register` of a regular file or a directory | `EPERM` (`PermissionDenied`) |
/// | `register`, `modify`, `rearm` or `rebuild` with the token [`NOTIFIER`] | `EINVAL` (`InvalidInput`) |
///
/// A failed call changes nothing.
#[doc(alias = "Selector")]
pub trait Poller {
    /// Starts to watch `fd`. Each of its events has this `token`, which is not [`NOTIFIER`].
    fn register(
        &mut self,
        fd: RawFd,
        token: u64,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()>;

    /// Changes token, interest and trigger. A condition that already holds is reported again,
    /// whatever the trigger.
    fn modify(
        &mut self,
        fd: RawFd,
        token: u64,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()>;

    /// Rearms these directions of an edge-triggered registration and leaves the others as they are.
    /// The caller does this after a `WouldBlock` in a direction that [`Poller::rearm_interest`]
    /// returns; in other directions it is not needed, and does nothing or causes one more report.
    fn rearm(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()>;

    /// The directions in which an edge is reported only once per [`Poller::rearm`].
    ///
    /// None on epoll. `WRITE` on kqueue, which would otherwise report it with every
    /// acknowledgement from the peer. Both on `poll(2)`, which has no edges.
    fn rearm_interest(&self) -> Interest;

    /// Whether [`Interest::PRIORITY`] is reported. If not, as on kqueue, an urgent byte is not
    /// reported, but a read stops before it; so a short read does not prove that nothing is left.
    fn reports_urgent_data(&self) -> bool {
        true
    }

    /// Stops watching `fd`. To be called **before** it is closed: on epoll a registration outlives
    /// the close while a duplicate or a child process keeps the file open.
    fn remove(&mut self, fd: RawFd) -> io::Result<()>;

    /// Waits until an event is ready, the [notifier](Poller::notifier) is used, or `timeout` has
    /// passed.
    ///
    /// The events that are ready are appended to `events`: at most one for each registration, and
    /// at most [`MAX_EVENTS`] in all, in an order in which no registration is left out for ever.
    /// The next wait reports the rest. The poller reserves what room it needs in `events`; a caller that
    /// clears and keeps them spares each wait an allocation.
    ///
    /// `None` waits without a limit. The timeout is rounded up where the system counts in coarser
    /// units. A wait may return early without events: because of the notifier, which
    /// [`WaitResult::notified`] reports unless an earlier wait has, or because of a signal (`EINTR` is
    /// no error here). A caller with a deadline compares it with the clock and waits again.
    fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<WaitResult>;

    /// Returns the notifier, which ends a wait from another thread.
    fn notifier(&self) -> Arc<dyn Notify>;

    /// A descriptor that is readable while an event or a notification is pending, for hosts that
    /// have a loop of their own; `None` if the poller has none (`poll(2)`).
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Returns a descriptor for a host with a loop of its own, as [`as_fd`](Poller::as_fd), which
    /// stays the same even after [`rebuild`](Poller::rebuild).
    ///
    /// # Errors
    ///
    /// `Unsupported` if the poller has none; the system's error if it cannot make one.
    fn host_fd(&mut self) -> io::Result<OwnedFd> {
        match self.as_fd() {
            Some(fd) => fd.try_clone_to_owned(),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Makes the descriptor of [`host_fd`](Poller::host_fd) readable once `after` has passed, too;
    /// `None` clears that. It may come late by the system's resolution, and may end a wait without an
    /// event.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the poller has no such deadline.
    fn set_deadline(&mut self, after: Option<Duration>) -> io::Result<()> {
        let _ = after;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes the system watch `watched` and nothing else. For a descriptor that was closed outside
    /// the loop while a duplicate keeps its file open: the system would go on reporting it. An edge
    /// may be reported once more. Returns `false` if the poller does not support this, and then nothing
    /// has changed.
    ///
    /// What [`register`](Poller::register) would refuse as closed, as not pollable or as registered
    /// already is left out, without an error: of two entries for one descriptor the first counts.
    ///
    /// # Errors
    ///
    /// `EINVAL` if an entry has the token [`NOTIFIER`], else the system's error; then nothing has
    /// changed.
    fn rebuild(&mut self, watched: &[Watched]) -> io::Result<bool> {
        watched.iter().try_for_each(|it| check_token(it.token))?;
        Ok(false)
    }

    /// Whether the next [`wait`](Poller::wait) has something to do although [`as_fd`](Poller::as_fd)
    /// is not readable. Hosts that wait for that descriptor need this; a loop without a host calls
    /// `wait` anyway.
    fn needs_wait(&self) -> bool {
        false
    }

    /// The kernel of the watched descriptors, if that is not the system's.
    fn kernel(&self) -> Option<Rc<dyn VirtualKernel>> {
        None
    }
}

/// A registration, as [`Poller::register`] or the last [`Poller::modify`] has set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The descriptor's number.
    pub fd: RawFd,
    /// The token of its events.
    pub token: u64,
    /// The interest.
    pub interest: Interest,
    /// The trigger.
    pub trigger: Trigger,
}

/// Returns an error in a child of the process that made a poller: its kernel object is the parent's,
/// and the child would take the parent's wake-ups and registrations.
#[inline]
pub(crate) fn check_owner(fork: &ForkGuard) -> io::Result<()> {
    match fork.forked() {
        true => Err(forked_error()),
        false => Ok(()),
    }
}

#[cold]
fn forked_error() -> io::Error {
    io::Error::other("this poller belongs to the process that forked: make another one")
}

/// Ends a wait, from any thread, at any time, also before the wait has begun and after the poller
/// was dropped.
pub trait Notify: Send + Sync {
    /// Makes the present wait return, or else the next one. Never blocks; notifications between two
    /// waits count as one.
    fn notify(&self);
}
