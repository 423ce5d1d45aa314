//! The errors of a group of loops: it was not made, work was refused, a thread may not wait.
//!
//! An error of refused work contains the work.

use crate::event_loop::Error;
use crate::signal::SignalError;
use std::fmt;
use std::io;

/// Why the loops were not made. Those that had been started are ended, and their threads joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A group of no loops was asked for.
    #[error("a group needs at least one core")]
    NoCores,
    /// More loops were asked for than any machine can run.
    #[error("{count} cores are more than the {most} that a group may have")]
    TooMany {
        /// How many were asked for.
        count: usize,
        /// How many a group may have.
        most: usize,
    },
    /// Each loop was to be pinned to a processor of its own, and the process may use fewer.
    #[error("{count} cores cannot be pinned: this process may use {allowed} processors")]
    TooFewProcessors {
        /// How many loops were asked for.
        count: usize,
        /// How many processors the process may use (`sched_getaffinity(2)`).
        allowed: usize,
    },
    /// The name of the threads contains a NUL character.
    #[error("the name of a thread cannot contain a NUL character: {0:?}")]
    InvalidName(String),
    /// This system cannot pin a thread to a processor.
    #[error("this system cannot pin a thread to a processor")]
    PinUnsupported,
    /// The system refuses to pin a thread.
    #[error("core {core} cannot be pinned: {error}")]
    Pin {
        /// The loop whose thread it is.
        core: usize,
        /// The error of `sched_setaffinity(2)`, or of its counterpart.
        error: io::Error,
    },
    /// The system refuses a thread.
    #[error("no thread can be started for core {core}: {error}")]
    Thread {
        /// The loop that has no thread.
        core: usize,
        /// The error of `pthread_create(3)`.
        error: io::Error,
    },
    /// A loop could not be made on its thread.
    #[error("the loop of core {core} cannot be made: {error}")]
    Loop {
        /// The loop.
        core: usize,
        /// The error of [`RunnerBuilder::build`](crate::RunnerBuilder::build).
        error: Error,
    },
}

/// Why work was not sent to a core, with the closure that would have made the future.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError<M> {
    /// The group has no core with this number.
    #[error("there is no core {core}: the group has {count}, from 0")]
    NoSuchCore {
        /// The closure.
        make: M,
        /// The number that was asked for.
        core: usize,
        /// How many cores the group has.
        count: usize,
    },
    /// The loop of the core has ended.
    #[error("the loop of this core has ended")]
    Ended(M),
    /// This process is a fork of the one that made the group, and has none of its threads.
    #[error("the cores belong to the parent of this process; make new ones after fork")]
    Forked(M),
}

impl<M> SpawnError<M> {
    /// Returns the closure.
    #[must_use]
    pub fn into_inner(self) -> M {
        match self {
            Self::NoSuchCore { make, .. } | Self::Ended(make) | Self::Forked(make) => make,
        }
    }
}

impl<M> fmt::Debug for SpawnError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchCore { core, count, .. } => f
                .debug_struct("NoSuchCore")
                .field("core", core)
                .field("count", count)
                .finish_non_exhaustive(),
            Self::Ended(_) => f.write_str("Ended(..)"),
            Self::Forked(_) => f.write_str("Forked(..)"),
        }
    }
}

/// Why a thread may not wait for the end of the cores.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// This is the thread of one of the cores: it would wait for its own end.
    /// [`CoresHandle::begin_shutdown`](super::CoresHandle::begin_shutdown) does not wait.
    #[error("a task of a core would wait for its own end; begin_shutdown does not wait")]
    OnCore,
    /// This thread turns a loop, which blocking would stop. Await the shutdown instead.
    #[error("to wait here would block a loop: await the shutdown instead")]
    OnLoop,
    /// This process is a fork of the one that made the group, and has none of its threads.
    #[error("the cores belong to the parent of this process; make new ones after fork")]
    Forked,
    /// The loop that waits for signals cannot be made or run.
    #[error(transparent)]
    Loop(#[from] Error),
    /// SIGINT or SIGTERM cannot be listened for.
    #[error(transparent)]
    Signal(#[from] SignalError),
}

/// Why a server was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The error of `socket(2)`, `bind(2)` or `listen(2)`: the port is in use, for instance.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The descriptor is not a listening socket.
    #[error("the descriptor is not a listening socket: call listen(2) first")]
    NotListening,
    /// This system gives all connections of a port to one of its sockets: see
    /// [`Distribution::PerCore`](super::Distribution::PerCore).
    #[error("this system does not distribute connections among listeners of one port")]
    PerCoreUnsupported,
    /// A socket for each core was asked for, and one that is open already was given.
    #[error(
        "listeners of each core cannot be made of a socket that is open already; pass its address"
    )]
    PerCoreListener,
    /// The core that is to accept does not exist.
    #[error("there is no core {core} to accept: the group has {count}, from 0")]
    NoSuchCore {
        /// The number that was asked for.
        core: usize,
        /// How many cores the group has.
        count: usize,
    },
    /// All cores have ended.
    #[error("all cores have ended")]
    Ended,
    /// This process is a fork of the one that made the group, and has none of its threads.
    #[error("the cores belong to the parent of this process; make new ones after fork")]
    Forked,
}
