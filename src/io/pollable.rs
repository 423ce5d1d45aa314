//! Any kind of file: one that is watched, or one that is always ready.
//!
//! A poller has nothing to report of a regular file, a directory, a disk or `/dev/null`: each operation on it is done
//! at once. epoll refuses to watch them, `poll(2)` and a kqueue report some of them for ever. So they are not
//! registered, on any system, and an operation on one is only counted: after a budget of them the task yields (F1).
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

/// The number of bytes that one read or write of a file takes which is always ready: with a larger buffer it is short.
/// So the budget of a poll bounds the time until the task yields.
pub(super) const PIECE: usize = 1 << 16;

/// A descriptor of any kind, for coroutines.
pub(super) enum Pollable<T: Io> {
    Watched(Watched<T>),
    AlwaysReady(Box<T>),
}

impl<T: Io> Pollable<T> {
    /// Registers `io` with the loop that is running here, unless it is always ready.
    pub(super) fn new(
        io: T,
        fd_state: FdState,
        site: &'static Location<'static>,
    ) -> io::Result<Self> {
        if io.fd_ref().is_always_ready() {
            let usable = current::with(LoopHandle::ensure_usable);
            let usable = usable.unwrap_or(Err(Error::NoLoop));
            return match usable {
                Ok(()) => Ok(Self::AlwaysReady(Box::new(io))),
                Err(error) => Err(error.into_io()),
            };
        }
        let made = Watched::new_or_always_ready(io, fd_state, site)?;
        Ok(match made {
            Ok(watched) => Self::Watched(watched),
            Err(io) => Self::AlwaysReady(Box::new(io)),
        })
    }

    /// Whether nothing is waited for.
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

    /// [`Pollable::wait`], for a caller without a future: of several tasks the last one is woken.
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

    /// [`Async::io`](super::Async::io), for an operation that does not wait.
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

    /// The same for a transfer of bytes, before which the kernel need not be asked.
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

    /// [`Pollable::transfer`], for a caller without a future: of several tasks the last one is woken.
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

    /// [`Async::try_io`](super::Async::try_io), for an operation that does not wait.
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

    /// How much of a buffer of this length one read or write takes.
    pub(super) fn room(&self, len: usize) -> usize {
        match self {
            Self::Watched(_) => len,
            Self::AlwaysReady(_) => len.min(PIECE),
        }
    }

    /// Ends the registration, and returns what was watched.
    ///
    /// # Errors
    ///
    /// This, if the loop is dispatching its event.
    pub(super) fn into_inner(self) -> Result<T, Self> {
        match self {
            Self::Watched(watched) => watched.into_inner().map_err(Self::Watched),
            Self::AlwaysReady(io) => Ok(*io),
        }
    }

    /// The readiness that is known.
    pub(super) fn ready(&self) -> Readiness {
        match self {
            Self::Watched(watched) => watched.ready(),
            Self::AlwaysReady(_) => Readiness::READ | Readiness::WRITE,
        }
    }

    /// Whether it is registered, so that `O_NONBLOCK` is the loop's.
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

/// A wait that has nothing to wait for counts as an operation, too.
fn ready_at_once(cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    budget::budgeted(cx, |_| Poll::Ready(Ok(())))
}

/// Runs an operation on a file that is always ready. If it gives `WouldBlock`, that is the result: no event would end
/// a wait.
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
