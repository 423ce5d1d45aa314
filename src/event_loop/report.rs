//! The reports of failures that no call returns, and their messages.
//!
//! A report names a line of the program or an address, because a reader of the log needs that
//! first. A report of a failure that may happen a thousand times a second has a count of the
//! reports that were held back.
//!
//! In asyncio this is the `context` that its exception handler is called with.

use super::origin::Origin;
use super::panics::{PanicPolicy, Payload};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::panic::Location;
use std::time::Duration;

/// A report of a failure that no call could return.
#[derive(Debug)]
#[non_exhaustive]
pub enum Unhandled {
    /// A callback, a destructor or a detached task panicked, and the loop continues.
    Panic {
        /// The callback or task that panicked.
        origin: Origin,
        /// The message of the panic, if its payload is a string.
        message: String,
    },
    /// A detached task has returned an error: see
    /// [`Task::detach_reporting`](crate::Task::detach_reporting).
    TaskFailed {
        /// The task.
        origin: Origin,
        /// The `Display` of the error.
        error: String,
    },
    /// In debug mode: a call that took too long, and blocked the loop.
    Slow {
        /// The callback or task that was called.
        origin: Origin,
        /// How long it took.
        took: Duration,
    },
    /// In debug mode: a turn that took too long, though none of its calls did.
    SlowTurn {
        /// How long its calls took together.
        took: Duration,
        /// The number of calls.
        calls: u32,
        /// The call that took longest.
        longest: Origin,
    },
    /// In debug mode: a [`run`](crate::run()) waits, and nothing on its loop can end the wait. There
    /// is no timer, no descriptor, no [`RemoteHandle`](crate::RemoteHandle), no wait for a task of
    /// another loop, and no task is ready. Common causes are a lock that is acquired twice, a promise
    /// that is kept and never completed, or tasks that wait for each other. If another thread holds a
    /// waker of one of the tasks, this is a false alarm. Reported once for each run.
    Deadlock {
        /// The names of the tasks that wait.
        tasks: Vec<String>,
    },
    /// In debug mode: a future keeps a grant that others wait for, and is neither polled nor dropped.
    /// Reported once for each grant, when nothing else is ready, or after sixteen turns.
    Futurelock(Futurelock),
    /// A new connection could not be accepted: no descriptor or memory was left, or an error
    /// came again and again. The listener is paused, and tries again when a descriptor of this
    /// loop is closed, or after a while. Reported at once, and then at most once a second for each
    /// listener, because at the limit each connection that closes makes room for one more.
    AcceptPaused {
        /// The listener.
        fd: RawFd,
        /// Its internet address; `None` if it has none, as a Unix socket.
        addr: Option<SocketAddr>,
        /// `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`, or the error that came again and again.
        error: io::Error,
        /// How long until the next retry.
        retry: Duration,
        /// How many pauses of this listener were not reported, since the last one that was.
        held_back: u64,
    },
    /// A connection was accepted and could not be registered: the system has no memory for it, or has
    /// reached its limit of watches. The connection is closed, and the listener goes on. Reported as
    /// often as [`AcceptPaused`](Self::AcceptPaused).
    ConnectionLost {
        /// The listener.
        fd: RawFd,
        /// Its internet address; `None` if it has none.
        addr: Option<SocketAddr>,
        /// The peer of the connection.
        peer: Option<SocketAddr>,
        /// `ENOMEM`, `ENOSPC`.
        error: io::Error,
        /// How many lost connections of this listener were not reported, since the last one that was.
        held_back: u64,
    },
    /// A listener of [`LoopHandle::listen`](crate::LoopHandle::listen) cannot accept any more, and
    /// its registration has ended.
    ListenerFailed {
        /// The listener.
        fd: RawFd,
        /// Its internet address; `None` if it has none.
        addr: Option<SocketAddr>,
        /// The error of `accept(2)`.
        error: io::Error,
    },
    /// The system continues to report a descriptor that is not registered any more: it was closed
    /// outside the loop, while a duplicate of it, or a child process, kept its file open (epoll(7),
    /// question 6). On Linux the loop makes a new epoll instance without that descriptor; elsewhere
    /// the loop would spin while the descriptor is ready. Reported once for each.
    StaleDescriptor,
    /// A callback, or a poll of a task, has entered another loop and not left it before it returned:
    /// a guard of [`EventLoop::enter`](crate::EventLoop::enter) is held across an await, or was
    /// forgotten. Other code would then spawn, sleep and register on that loop. So this loop is made
    /// current again, and the guard has no effect any more.
    EnterHeld {
        /// The callback or task.
        origin: Origin,
    },
    /// Closing one of the loop's descriptors returned an error: `EIO`, `ENOSPC` or `EDQUOT` if bytes
    /// that were written before could not be stored, `EBADF` if other code had closed it already. The
    /// descriptor is not open any more, and is not closed again.
    CloseFailed {
        /// The number that it had.
        fd: RawFd,
        /// Where it was registered.
        site: &'static Location<'static>,
        /// The error of `close(2)`.
        error: io::Error,
    },
    /// The loop was closed while jobs of its thread pool still ran, and they did not end within the limit
    /// of [`LoopHandle::set_shutdown_timeout`](crate::LoopHandle::set_shutdown_timeout). They go on, unless
    /// the process ends.
    JobsLeft {
        /// Where the jobs were submitted, the oldest first.
        sites: Vec<&'static Location<'static>>,
        /// How long the loop has waited for them.
        waited: Duration,
    },
    /// A core has ended by itself, and not by a shutdown of its group: see
    /// [`CoresBuilder::when_core_ends`](crate::cores::CoresBuilder::when_core_ends).
    CoreEnded {
        /// The number of the core.
        core: usize,
        /// How it has ended.
        reason: String,
    },
    /// A system call that the loop made for itself failed.
    Io {
        /// What the loop was doing.
        what: &'static str,
        /// The error of the system.
        error: io::Error,
    },
}

/// A future that keeps a grant which it does not take: see [`Unhandled::Futurelock`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Futurelock {
    /// The task that polled the future when it began to wait.
    pub holder: Origin,
    /// The first tasks that wait behind the future, in their order; the holder may be one of them.
    pub waiting: Vec<Origin>,
    /// The number of turns since the grant.
    pub turns: u32,
}

impl fmt::Display for Futurelock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.turns == 1 { "" } else { "s" };
        write!(
            f,
            "futurelock: a lock, a permit, an item or a place was granted {} turn{plural} ago to a future that \
             is neither polled nor dropped by {}; waiting behind it: ",
            self.turns, self.holder
        )?;
        for (n, origin) in self.waiting.iter().enumerate() {
            write!(f, "{}{origin}", if n > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

/// A closure that receives the reports of a loop: see [`LoopHandle::take_unhandled_hook`](crate::LoopHandle::take_unhandled_hook).
pub type UnhandledHook = Box<dyn FnMut(&Unhandled)>;

/// The state of a loop's reports: policy, hook and pending panic.
#[derive(Default)]
pub(super) struct Reports {
    pub(super) policy: Cell<PanicPolicy>,
    pub(super) hook: RefCell<Option<UnhandledHook>>,
    /// How often the hook was set or taken. After a call the hook is put back only if this did not
    /// change meanwhile.
    pub(super) hook_changes: Cell<u64>,
    /// The panic that will be resumed at the end of this turn.
    pub(super) panic: Cell<Option<(Payload, Origin)>>,
    pub(super) has_panic: Cell<bool>,
}

impl Reports {
    #[inline]
    pub(super) fn has_panic(&self) -> bool {
        self.has_panic.get()
    }

    pub(super) fn take_panic(&self) -> Option<(Payload, Origin)> {
        self.has_panic.set(false);
        self.panic.take()
    }
}

impl fmt::Display for Unhandled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic { origin, message } => {
                write!(f, "{origin} panicked: {message}")
            }
            Self::TaskFailed { origin, error } => write!(f, "{origin} failed: {error}"),
            Self::Slow { origin, took } => write!(f, "slow, {took:?}: {origin}"),
            Self::SlowTurn {
                took,
                calls,
                longest,
            } => write!(
                f,
                "a slow turn, {took:?} in {calls} calls; the longest: {longest}"
            ),
            Self::Deadlock { tasks } => {
                f.write_str("deadlock: nothing on this loop can wake the waiting tasks: ")?;
                for (n, task) in tasks.iter().enumerate() {
                    write!(f, "{}{task}", if n > 0 { ", " } else { "" })?;
                }
                f.write_str(" (a false alarm if another thread holds a waker of one of them)")
            }
            Self::Futurelock(futurelock) => futurelock.fmt(f),
            Self::AcceptPaused {
                fd,
                addr,
                error,
                retry,
                held_back,
            } => {
                let listener = Listener(*fd, *addr);
                write!(f, "{listener} is paused, next try in {retry:?}: {error}")?;
                write_held_back(f, *held_back)
            }
            Self::ConnectionLost {
                fd,
                addr,
                peer,
                error,
                held_back,
            } => {
                let listener = Listener(*fd, *addr);
                write!(f, "{listener} has lost an accepted connection")?;
                if let Some(peer) = peer {
                    write!(f, " of {peer}")?;
                }
                write!(f, ", which could not be registered: {error}")?;
                write_held_back(f, *held_back)
            }
            Self::ListenerFailed { fd, addr, error } => {
                write!(f, "{} has ended: {error}", Listener(*fd, *addr))
            }
            Self::StaleDescriptor => f.write_str(
                "a registered descriptor was closed outside the loop while a duplicate of it is open, and \
                 the system continues to report it; remove a registration before closing its descriptor",
            ),
            Self::EnterHeld { origin } => write!(
                f,
                "{origin} returned without leaving the loop that it had entered; its guard of `enter` has \
                 no effect any more"
            ),
            Self::CloseFailed { fd, site, error } => {
                write!(f, "closing descriptor {fd}, registered at {site}, failed: {error}")
            }
            Self::JobsLeft { sites, waited } => {
                write!(f, "the loop was closed, and after {waited:?} jobs of its pool still ran: submitted at ")?;
                for (n, site) in sites.iter().enumerate() {
                    write!(f, "{}{site}", if n > 0 { ", " } else { "" })?;
                }
                Ok(())
            }
            Self::CoreEnded { core, reason } => write!(f, "core {core} {reason}"),
            Self::Io { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

/// A listener, as messages name it.
struct Listener(RawFd, Option<SocketAddr>);

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listener {}", self.0)?;
        match self.1 {
            Some(addr) => write!(f, " on {addr}"),
            None => Ok(()),
        }
    }
}

fn write_held_back(f: &mut fmt::Formatter<'_>, held_back: u64) -> fmt::Result {
    match held_back {
        0 => Ok(()),
        times => write!(f, " ({times} more since the last report)"),
    }
}
