//! A kqueue over Linux's own descriptors, with the rules of FreeBSD, macOS or NetBSD.
//!
//! The crate's kqueue poller runs on it, with real sockets and pipes, and so does everything above:
//! tests, examples, programs of users (`READILY_POLLER=kqueue-apple`). So the differences of a system
//! show on Linux first. [`LIMITS`] lists by name the differences that Linux does not let the
//! emulation show.
//!
//! Two epoll instances report when something may have changed (`epoll_pair.rs`), queries return the
//! state of a descriptor without a change (`fd_state.rs`), the rules of the three systems compute what
//! their filters would report (`filters.rs`), and a table of registrations makes the events from that
//! (`knotes.rs`). The emulation is written for correctness, not for speed: each event costs about ten
//! system calls.
//!
//! In the notes this is "kqueue on macOS" ([N2]), without one.
//!
//! [N2]: https://docs.rs/readily/latest/readily/book/index.html#n2

mod changes;
mod collect;
mod epoll_pair;
mod fd_state;
mod filters;
mod knotes;
mod limits;

pub use self::limits::{LIMITS, Limit};

use self::epoll_pair::EpollPair;
use self::fd_state::FdInspector;
use self::knotes::{Knotes, Name};
use readily::poll::kqueue::{KqueuePoller, KqueueSys};
use readily::poll::{Event, NOTIFIER, Notify};
use readily_sys::epoll::{self, Epoll};
use readily_sys::fork::ForkGuard;
use readily_sys::kq_abi::{EV_ADD, EV_CLEAR, Filter, Kevent, Personality};
use readily_sys::poll::FileKind;
use readily_sys::{Notifier, PipeNotifier, clock};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

/// The most events that one wait returns.
const BATCH: usize = 1024;

/// The tokens in the outer epoll, beside those of the two inner ones.
const NOTIFIER_TOKEN: u64 = 0;
const READY_TOKEN: u64 = 1;

/// A kqueue over Linux's own descriptors: see the [module](self).
#[derive(Debug)]
pub struct EmulatedKqueue {
    system: Personality,
    knotes: Knotes,
    epolls: EpollPair,
    inspector: FdInspector,
    /// The queue's own descriptor: readable while an event or a notification is pending.
    outer: Epoll,
    /// Notified while registrations are queued, so that `outer` is readable.
    ready: Notifier,
    is_ready: bool,
    notifier: Arc<QueueNotifier>,
    owner: ForkGuard,
    /// The generation of the latest registration.
    last_generation: u32,
    /// Buffers that are reused, so that a wait does not allocate.
    events: Vec<Event>,
    changed: Vec<(Name, u32)>,
    counted: Vec<Name>,
}

/// Ends a wait from another thread: with `EVFILT_USER` where the system has it, else with a pipe that
/// the queue watches.
#[derive(Debug)]
enum QueueNotifier {
    User(Notifier),
    Pipe(PipeNotifier),
}

impl Notify for QueueNotifier {
    fn notify(&self) {
        match self {
            Self::User(notifier) => notifier.notify(),
            Self::Pipe(notifier) => notifier.notify(),
        }
    }
}

/// Makes a kqueue poller over Linux's own descriptors, without registrations.
///
/// # Errors
///
/// If there are too many descriptors or no memory is left; `Unsupported` for a system other than
/// FreeBSD, macOS and NetBSD.
///
/// # Examples
///
/// The events after a peer has closed, with interest in reading only: Linux reports both sides at
/// once, macOS the reading side first.
///
/// ```
/// use readily::poll::default_poller::EpollPoller;
/// use readily::{Interest, Trigger};
/// use readily_testing::{Personality, emulated};
/// use readily_testing::conformance::Fixture;
///
/// let epoll = Fixture::new(EpollPoller::new()?);
/// let kqueue = Fixture::new(emulated::poller(Personality::Apple)?);
/// let [on_linux, on_a_mac] = [epoll, kqueue].map(|mut fixture| {
///     let (here, there) = fixture.pair();
///     fixture.register(here.number(), 1, Interest::READ, Trigger::Level);
///     drop(there);
///     [(); 2].map(|()| fixture.next_for(1).is_hangup())
/// });
/// assert_eq!((on_linux, on_a_mac), ([true, true], [false, true]));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn poller(system: Personality) -> io::Result<KqueuePoller<EmulatedKqueue>> {
    EmulatedKqueue::new(system).map(KqueuePoller::with)
}

impl EmulatedKqueue {
    /// Makes a queue with the rules of `system`.
    ///
    /// # Errors
    ///
    /// As [`poller`].
    pub fn new(system: Personality) -> io::Result<Self> {
        let outer = Epoll::new()?;
        let notifier = match system {
            Personality::Apple | Personality::FreeBsd => QueueNotifier::User(Notifier::new()?),
            Personality::NetBsd => QueueNotifier::Pipe(PipeNotifier::new()?),
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        let ready = Notifier::new()?;
        outer.add(ready.as_fd().as_raw_fd(), epoll::IN, READY_TOKEN)?;
        let mut queue = Self {
            system,
            knotes: Knotes::new(system),
            epolls: EpollPair::new(&outer)?,
            inspector: FdInspector::default(),
            outer,
            ready,
            is_ready: false,
            notifier: Arc::new(notifier),
            owner: ForkGuard::new()?,
            last_generation: 0,
            events: Vec::new(),
            changed: Vec::new(),
            counted: Vec::new(),
        };
        match &*Arc::clone(&queue.notifier) {
            QueueNotifier::User(notifier) => {
                let fd = notifier.as_fd().as_raw_fd();
                queue.outer.add(fd, epoll::IN, NOTIFIER_TOKEN)?;
            }
            QueueNotifier::Pipe(pipe) => queue.watch_pipe(pipe.as_fd().as_raw_fd())?,
        }
        Ok(queue)
    }

    fn watch_pipe(&mut self, fd: RawFd) -> io::Result<()> {
        let change = Kevent {
            ident: usize::try_from(fd).unwrap_or(usize::MAX),
            filter: Filter::Read,
            flags: EV_ADD | EV_CLEAR,
            fflags: 0,
            data: 0,
            udata: NOTIFIER,
        };
        self.apply(&change).map_err(io::Error::from_raw_os_error)
    }

    /// Fails in a forked child, because a child does not inherit a kqueue.
    fn check_owner(&self) -> io::Result<()> {
        if self.owner.forked() {
            let message = "this kqueue belongs to the process that forked: make another one";
            return Err(io::Error::other(message));
        }
        Ok(())
    }
}

impl KqueueSys for EmulatedKqueue {
    fn change(&mut self, changes: &[Kevent], errors: &mut [i32]) -> io::Result<()> {
        self.check_owner()?;
        for (change, error) in changes.iter().zip(errors) {
            *error = self.apply(change).err().unwrap_or(0);
        }
        self.update_readiness();
        Ok(())
    }

    fn wait(&mut self, out: &mut Vec<Kevent>, timeout: Option<Duration>) -> io::Result<()> {
        self.check_owner()?;
        let begun = clock::monotonic_ns();
        loop {
            let elapsed = Duration::from_nanos(clock::monotonic_ns().saturating_sub(begun));
            let left = timeout.map(|timeout| timeout.saturating_sub(elapsed));
            if self.wait_once(out, left)? || left == Some(Duration::ZERO) {
                return Ok(());
            }
        }
    }

    fn clear_notification(&mut self) {
        if let QueueNotifier::Pipe(pipe) = &*self.notifier {
            pipe.drain();
        }
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.notifier) as Arc<dyn Notify>
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.outer.as_fd())
    }

    fn file_kind(&self, fd: RawFd) -> io::Result<FileKind> {
        readily_sys::poll::file_kind(fd)
    }
}

#[cfg(test)]
mod tests;
