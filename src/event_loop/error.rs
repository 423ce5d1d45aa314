//! The errors of calls on the loop, and the arguments that come back with them.
//!
//! If a call fails, its arguments are returned in the error: a registration that fails returns its
//! descriptor and its callbacks, a closed loop returns the closure. I/O on a stream does not use
//! these types; it returns the system's `io::Error`.

use super::descriptor::Descriptor;
use super::registry::Key;
use readily_sys::errno;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::panic::Location;

/// The error of a call on a loop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key's registration was removed, or belongs to another loop.
    #[error("no registration for {0:?}: it was removed, or belongs to another loop")]
    UnknownKey(Key),
    /// The descriptor is registered with this loop already; that registration is unharmed.
    #[error("descriptor {fd} is registered already, as {key:?} at {site}")]
    AlreadyRegistered {
        /// The descriptor's number.
        fd: RawFd,
        /// The registration that has it.
        key: Key,
        /// Where that registration was made.
        site: &'static Location<'static>,
    },
    /// The system cannot wait for this kind of descriptor: it is always ready.
    #[error(
        "descriptor {fd} cannot be waited for: it is always ready, \
         as a regular file, a directory or a device like /dev/null is"
    )]
    NotPollable {
        /// The descriptor's number.
        fd: RawFd,
    },
    /// The descriptor is not a listening socket: `listen(2)` has not been called on it.
    #[error("descriptor {fd} is not a listening socket: call listen(2) first, or use listen_tcp")]
    NotListening {
        /// The descriptor's number.
        fd: RawFd,
    },
    /// The descriptor is not a stream socket, so it cannot be a
    /// [`TcpStream`](crate::io::TcpStream).
    #[error(
        "descriptor {fd} is not a connection: it is a listener, a datagram socket or no socket"
    )]
    NotStream {
        /// The descriptor's number.
        fd: RawFd,
    },
    /// The descriptor is not a pipe or a FIFO, so it cannot be a [`PipeReader`](crate::io::PipeReader) or a
    /// [`PipeWriter`](crate::io::PipeWriter).
    #[error("descriptor {fd} is not a pipe or a FIFO")]
    NotPipe {
        /// The descriptor's number.
        fd: RawFd,
    },
    /// The socket is not connected, and no connect is under way. Systems report such a socket as
    /// hung up, so the registration would end at once. Call `connect(2)` first, or use
    /// [`LoopHandle::connect`](super::LoopHandle::connect) or [`TcpStream::connect`](crate::io::TcpStream::connect).
    #[error(
        "descriptor {fd} is a socket that is not connected: call connect(2) before it is registered"
    )]
    NotConnected {
        /// The descriptor's number.
        fd: RawFd,
    },
    /// The descriptor is not open, or belongs to another kernel than the loop's: a loop on a
    /// virtual kernel cannot watch the system's descriptors, and the other way round.
    #[error("descriptor {fd} is not open, or belongs to another kernel than the loop's")]
    BadDescriptor {
        /// The descriptor's number.
        fd: RawFd,
    },
    /// The loop is turning already. Its own callbacks and tasks cannot turn it.
    #[error("the loop is turning already; its own callbacks and tasks cannot turn it")]
    Nested,
    /// Another loop is turning on this thread, and a turn that may sleep would block it ([N5]): a run,
    /// or a turn whose limit is not zero. [`EventLoop::turn_now`](super::EventLoop::turn_now) is
    /// allowed.
    ///
    /// [N5]: crate::book#n5
    #[error("another loop is turning on this thread, which this would block; turn_now does not")]
    WouldBlockLoop,
    /// No loop is turning on this thread, and none was entered.
    #[error("no loop is running on this thread: call this inside `run`, or enter a loop first")]
    NoLoop,
    /// The awaited object belongs to another loop than the current one of this thread, and that
    /// loop could not wake the waiting task.
    #[error("the awaited object belongs to another loop than the one that runs on this thread")]
    OtherLoop,
    /// The loop was stopped before the future of its run was done.
    #[error("the loop was stopped before the future was done")]
    Stopped,
    /// SIGINT has cancelled the future of a run: see
    /// [`RunnerBuilder::cancel_on_sigint`](crate::RunnerBuilder::cancel_on_sigint).
    #[error("the run was cancelled by SIGINT")]
    Interrupted,
    /// This process is a fork of the one that made the loop, and shares its kernel queue.
    #[error("this loop belongs to the parent of this process; make a new one after fork")]
    Forked,
    /// The loop is closed, or being closed.
    #[error("the loop is closed")]
    Closed,
    /// The system returned an error; nothing was changed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Error {
    /// Converts an error of [`Poller::register`](crate::poll::Poller::register) for `fd`.
    pub(super) fn from_register(error: io::Error, fd: RawFd) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPollable { fd },
            _ if error.raw_os_error() == Some(errno::EBADF) => Self::BadDescriptor { fd },
            _ => Self::Io(error),
        }
    }

    /// Returns the kind of the `io::Error` that the constructors of an [`Async`](crate::io::Async) or
    /// a [`TcpStream`](crate::io::TcpStream) make of this error:
    ///
    /// | error | kind |
    /// |---|---|
    /// | [`AlreadyRegistered`](Self::AlreadyRegistered) | `AlreadyExists` |
    /// | [`NotPollable`](Self::NotPollable) | `PermissionDenied`, as the system's `EPERM` |
    /// | [`NotConnected`](Self::NotConnected) | `NotConnected` |
    /// | [`NotListening`](Self::NotListening), [`NotStream`](Self::NotStream), [`NotPipe`](Self::NotPipe), [`BadDescriptor`](Self::BadDescriptor) | `InvalidInput` |
    /// | [`UnknownKey`](Self::UnknownKey) | `NotFound` |
    /// | [`Io`](Self::Io) | that of the error |
    /// | all others | `Other` |
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::AlreadyRegistered { .. } => io::ErrorKind::AlreadyExists,
            Self::NotPollable { .. } => io::ErrorKind::PermissionDenied,
            Self::NotConnected { .. } => io::ErrorKind::NotConnected,
            Self::NotListening { .. }
            | Self::NotStream { .. }
            | Self::NotPipe { .. }
            | Self::BadDescriptor { .. } => io::ErrorKind::InvalidInput,
            Self::UnknownKey(_) => io::ErrorKind::NotFound,
            Self::Io(error) => error.kind(),
            _ => io::ErrorKind::Other,
        }
    }

    /// Converts to an `io::Error` of the same [kind](Self::kind), for operations on streams.
    pub(crate) fn into_io(self) -> io::Error {
        match self {
            Self::Io(error) => error,
            other => io::Error::new(other.kind(), other),
        }
    }
}

/// The error of a registration that failed, with its descriptor and its callbacks.
#[non_exhaustive]
pub struct RegisterError<C> {
    /// Why the registration failed.
    pub error: Error,
    /// The descriptor, still open and unchanged; `None` if none had been made yet
    /// ([`LoopHandle::connect`](super::LoopHandle::connect)).
    pub descriptor: Option<Descriptor>,
    /// The callbacks.
    pub callbacks: C,
}

impl<C> fmt::Debug for RegisterError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisterError")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<C> fmt::Display for RegisterError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<C> std::error::Error for RegisterError<C> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl<C> From<RegisterError<C>> for Error {
    /// Keeps the reason and drops the rest, for `?`.
    fn from(refused: RegisterError<C>) -> Self {
        refused.error
    }
}

/// The error of a call on a closed loop, with the argument of the call.
pub struct LoopClosed<T>(pub T);

impl<T> fmt::Debug for LoopClosed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoopClosed(..)")
    }
}

impl<T> fmt::Display for LoopClosed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the loop is closed")
    }
}

impl<T> std::error::Error for LoopClosed<T> {}

impl<T> From<LoopClosed<T>> for Error {
    fn from(_: LoopClosed<T>) -> Self {
        Self::Closed
    }
}
