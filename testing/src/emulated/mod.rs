//! A kqueue over Linux's own descriptors, with the rules of FreeBSD, macOS or NetBSD.
//!
//! The crate's kqueue poller runs on it, with real sockets and pipes, and so does everything above:
//! tests, examples, programs of users (`READILY_POLLER=kqueue-apple`). So the differences of a system
//! show on Linux first. [`LIMITS`] lists by name the differences that Linux does not let the
//! emulation show.
//!
//! epoll reports when something may have changed (`watches.rs`), queries that change nothing return
//! the state, the rules of three systems give what their filters would report (`filters.rs`), and a
//! table of registrations gives the events (`knotes.rs`). It is made to be right, and not to be fast:
//! an event costs some ten system calls.
//!
//! In the notes this is "kqueue on macOS" ([N2]), without one.
//!
//! [N2]: https://docs.rs/readily/latest/readily/book/index.html#n2

mod changes;
mod filters;
mod harvest;
mod knotes;
mod limits;
mod look;
mod watches;

pub use self::limits::{LIMITS, Limit};

use self::knotes::{Knotes, Name};
use self::look::Looker;
use self::watches::Watches;
use readily::poll::kqueue::{KqueuePoller, KqueueSys};
use readily::poll::{NOTIFIER, Notify};
use readily_sys::epoll::{self, Epoll};
use readily_sys::fork::ForkGuard;
use readily_sys::kq_abi::{EV_ADD, EV_CLEAR, Filter, Kevent, Personality};
use readily_sys::poll::FileKind;
use readily_sys::{Notifier, PipeNotifier, clock};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

/// At most so many events come with one wait.
const BATCH: usize = 1024;

/// The tokens of what the outer epoll watches beside the two inner ones.
const BELL: u64 = 0;
const READY: u64 = 1;

/// A kqueue over Linux's own descriptors: see the [module](self).
#[derive(Debug)]
pub struct EmulatedQueue {
    system: Personality,
    knotes: Knotes,
    watches: Watches,
    looker: Looker,
    /// The queue's own descriptor: readable while an event or a ring waits.
    outer: Epoll,
    /// Rung for as long as a harvest may find something.
    ready: Notifier,
    is_ready: bool,
    bell: Arc<Bell>,
    owner: ForkGuard,
    /// The generation of the latest registration.
    latest: u32,
    /// Lists that are kept, so that a wait allocates nothing.
    news: Vec<(Name, u32)>,
    counting: Vec<Name>,
}

/// What ends a wait: `EVFILT_USER` where the system has it, else a pipe that is watched.
#[derive(Debug)]
enum Bell {
    User(Notifier),
    Pipe(PipeNotifier),
}

impl Notify for Bell {
    fn notify(&self) {
        match self {
            Self::User(notifier) => notifier.notify(),
            Self::Pipe(notifier) => notifier.notify(),
        }
    }
}

/// Makes a kqueue poller over Linux's own descriptors, which watches nothing yet.
///
/// # Errors
///
/// Too many descriptors, no memory; `Unsupported` for a system other than FreeBSD, macOS and
/// NetBSD.
///
/// # Examples
///
/// What is reported of a peer that has gone, with interest in reading only: on Linux both sides
/// at once, on macOS the reading side first.
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
pub fn poller(system: Personality) -> io::Result<KqueuePoller<EmulatedQueue>> {
    EmulatedQueue::new(system).map(KqueuePoller::with)
}

impl EmulatedQueue {
    /// Makes a queue with the rules of `system`.
    ///
    /// # Errors
    ///
    /// As [`poller`].
    pub fn new(system: Personality) -> io::Result<Self> {
        let outer = Epoll::new()?;
        let bell = match system {
            Personality::Apple | Personality::FreeBsd => Bell::User(Notifier::new()?),
            Personality::NetBsd => Bell::Pipe(PipeNotifier::new()?),
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        let ready = Notifier::new()?;
        outer.add(ready.as_fd().as_raw_fd(), epoll::IN, READY)?;
        let mut queue = Self {
            system,
            knotes: Knotes::new(system),
            watches: Watches::new(&outer)?,
            looker: Looker::default(),
            outer,
            ready,
            is_ready: false,
            bell: Arc::new(bell),
            owner: ForkGuard::new()?,
            latest: 0,
            news: Vec::new(),
            counting: Vec::new(),
        };
        match &*Arc::clone(&queue.bell) {
            Bell::User(bell) => queue.outer.add(bell.as_fd().as_raw_fd(), epoll::IN, BELL)?,
            Bell::Pipe(bell) => queue.watch_bell(bell.as_fd().as_raw_fd())?,
        }
        Ok(queue)
    }

    fn watch_bell(&mut self, fd: RawFd) -> io::Result<()> {
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

    /// A child does not inherit a kqueue.
    fn check_owner(&self) -> io::Result<()> {
        if self.owner.forked() {
            let message = "this kqueue belongs to the process that forked: make another one";
            return Err(io::Error::other(message));
        }
        Ok(())
    }
}

impl KqueueSys for EmulatedQueue {
    fn change(&mut self, changes: &[Kevent], errors: &mut [i32]) -> io::Result<()> {
        self.check_owner()?;
        for (change, error) in changes.iter().zip(errors) {
            *error = self.apply(change).err().unwrap_or(0);
        }
        self.show();
        Ok(())
    }

    fn wait(&mut self, out: &mut Vec<Kevent>, timeout: Option<Duration>) -> io::Result<()> {
        self.check_owner()?;
        let begun = clock::monotonic_ns();
        loop {
            let gone = Duration::from_nanos(clock::monotonic_ns().saturating_sub(begun));
            let left = timeout.map(|timeout| timeout.saturating_sub(gone));
            if self.wait_once(out, left)? || left == Some(Duration::ZERO) {
                return Ok(());
            }
        }
    }

    fn clear_notification(&mut self) {
        if let Bell::Pipe(pipe) = &*self.bell {
            pipe.drain();
        }
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.bell) as Arc<dyn Notify>
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
