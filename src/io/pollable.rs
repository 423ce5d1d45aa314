//! A file of any kind: one that the poller watches, or one that is always ready.
//!
//! An operation on a regular file, a directory, a disk or `/dev/null` never has to wait for an event. epoll refuses
//! to watch such a file; `poll(2)` and kqueue report some of them in every wait. So they are not registered, on any
//! system. Their operations count against the budget of the task, which therefore yields now and then (F1).
//!
//! In the notes: the I/O of coroutines, where `await` lets other tasks run (N4, N10).

use super::watched::{Direction, Io, Watched};
use crate::event_loop::{Error, FdState, LoopHandle, current};
use crate::poll::Readiness;
use crate::task::budget;
use std::future::poll_fn;
use std::io;
use std::ops::Deref;
use std::panic::Location;
use std::task::{Context, Poll};

/// The most bytes that one read or write of an always ready file transfers: with a larger buffer it is a short one.
/// So the budget of a poll bounds the time until the task yields.
pub(super) const PIECE: usize = 1 << 16;

/// A file of any kind, for coroutines.
pub(super) enum Pollable<T: Io> {
    Watched(Watched<T>),
    AlwaysReady(Box<T>),
}

impl<T: Io> Pollable<T> {
    /// Registers `io` with the current loop, unless it is always ready.
    pub(super) fn new(
        io: T,
        fd_state: FdState,
        site: &'static Location<'static>,
    ) -> io::Result<Self> {
        if io.fd_ref().is_always_ready() {
            let usable = current::with(LoopHandle::ensure_usable);
            let usable = usable.unwrap_or(Err(Error::NoLoop));
            return match usable {
                Ok(()) => Self::always_ready(io),
                Err(error) => Err(error.into_io()),
            };
        }
        let made = Watched::new_or_always_ready(io, fd_state, site)?;
        match made {
            Ok(watched) => Ok(Self::Watched(watched)),
            Err(io) => Self::always_ready(io),
        }
    }

    /// Wraps a file that is not registered.
    ///
    /// # Errors
    ///
    /// `BadDescriptor` for a descriptor without operations, which a poller would refuse.
    fn always_ready(io: T) -> io::Result<Self> {
        let fd = io.fd_ref();
        match fd.is_path_only() {
            true => Err(Error::BadDescriptor { fd: fd.raw() }.into_io()),
            false => Ok(Self::AlwaysReady(Box::new(io))),
        }
    }

    /// Whether no operation waits.
    pub(super) fn is_always_ready(&self) -> bool {
        matches!(self, Self::AlwaysReady(_))
    }

    /// Waits until an operation is worth trying.
    pub(super) async fn wait(&self, direction: Direction) -> io::Result<()> {
        match self {
            Self::Watched(watched) => watched.wait(direction).await,
            Self::AlwaysReady(_) => poll_fn(ready_at_once).await,
        }
    }

    /// [`Pollable::wait`] as a poll function: of several tasks only the one that polled last is woken.
    pub(super) fn poll_ready(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Watched(watched) => watched.poll_ready(cx, direction),
            Self::AlwaysReady(_) => ready_at_once(cx),
        }
    }

    /// Implements [`Async::io`](super::Async::io).
    pub(super) async fn io<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        match self {
            Self::Watched(watched) => watched.io(direction, operation).await,
            Self::AlwaysReady(io) => poll_fn(|cx| run_at_once(cx, &**io, &mut operation)).await,
        }
    }

    /// As [`Pollable::io`], for a read or a write of bytes, before which the kernel need not be asked.
    pub(super) async fn transfer<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        match self {
            Self::Watched(watched) => watched.transfer_with(direction, operation).await,
            Self::AlwaysReady(io) => poll_fn(|cx| run_at_once(cx, &**io, &mut operation)).await,
        }
    }

    /// [`Pollable::transfer`] as a poll function: of several tasks only the one that polled last is woken.
    pub(super) fn poll_transfer<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        match self {
            Self::Watched(watched) => {
                watched.poll_with(direction, |wait| wait.poll_transfer(cx, &mut operation))
            }
            Self::AlwaysReady(io) => run_at_once(cx, &**io, &mut operation),
        }
    }

    /// Implements [`Async::try_io`](super::Async::try_io).
    pub(super) fn try_io<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        match self {
            Self::Watched(watched) => watched.try_io(direction, operation),
            Self::AlwaysReady(io) => run(&**io, &mut operation),
        }
    }

    /// How many bytes of a buffer of this length one read or write may transfer.
    pub(super) fn room(&self, len: usize) -> usize {
        match self {
            Self::Watched(_) => len,
            Self::AlwaysReady(_) => len.min(PIECE),
        }
    }

    /// Ends the registration, and returns the wrapped value.
    ///
    /// # Errors
    ///
    /// Returns `self` if the loop is dispatching an event of the registration.
    pub(super) fn into_inner(self) -> Result<T, Self> {
        match self {
            Self::Watched(watched) => watched.into_inner().map_err(Self::Watched),
            Self::AlwaysReady(io) => Ok(*io),
        }
    }

    /// The last known readiness.
    pub(super) fn ready(&self) -> Readiness {
        match self {
            Self::Watched(watched) => watched.ready(),
            Self::AlwaysReady(_) => Readiness::READ | Readiness::WRITE,
        }
    }

    /// Whether the file is registered, so that the loop has set `O_NONBLOCK`.
    pub(super) fn is_registered(&self) -> bool {
        matches!(self, Self::Watched(watched) if !watched.is_closed())
    }
}

impl<T: Io> Deref for Pollable<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Watched(watched) => watched,
            Self::AlwaysReady(io) => io,
        }
    }
}

/// A wait that ends at once; it counts as an operation, too.
fn ready_at_once(cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    budget::budgeted(cx, |_| Poll::Ready(Ok(())))
}

/// Runs an operation on a file that is always ready. A `WouldBlock` is returned, because no event would end a wait.
fn run_at_once<T, R>(
    cx: &mut Context<'_>,
    io: &T,
    operation: &mut impl FnMut(&T) -> io::Result<R>,
) -> Poll<io::Result<R>> {
    budget::budgeted(cx, |_| Poll::Ready(run(io, operation)))
}

fn run<T, R>(io: &T, operation: &mut impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
    loop {
        match operation(io) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
