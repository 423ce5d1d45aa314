//! The errors of thread pools: a job was refused, a pool was not built, a shutdown has left jobs.
//!
//! The error of a refused job contains its closure. A job that was accepted and never ran, or that
//! panicked, is reported to its waiter as a [`JoinError`].
//!
//! In asyncio: `RuntimeError: cannot schedule new futures after shutdown`, and the warning of
//! `shutdown_default_executor` that its limit has passed.

use crate::task::JoinError;
use std::fmt;
use std::io;
use std::panic::Location;
use std::time::Duration;

/// Why a job was refused, with the closure that would have been the job.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError<F> {
    /// As many jobs wait as the pool or the lane allows.
    #[error("the queue of the pool is full")]
    Full(F),
    /// The pool was shut down.
    #[error("the pool was shut down")]
    Closed(F),
    /// This process is a forked child of the one that made the pool, and has none of its threads.
    #[error("the pool belongs to the parent of this process; make a new one after fork")]
    Forked(F),
    /// The pool has no thread, and the system refuses to start one.
    #[error("no thread can be started: {1}")]
    NoThread(F, #[source] io::Error),
}

impl<F> SubmitError<F> {
    /// Returns the closure.
    #[must_use]
    pub fn into_inner(self) -> F {
        match self {
            Self::Full(f) | Self::Closed(f) | Self::Forked(f) | Self::NoThread(f, _) => f,
        }
    }

    /// Replaces the closure.
    pub(super) fn with<G>(self, f: G) -> SubmitError<G> {
        match self {
            Self::Full(_) => SubmitError::Full(f),
            Self::Closed(_) => SubmitError::Closed(f),
            Self::Forked(_) => SubmitError::Forked(f),
            Self::NoThread(_, error) => SubmitError::NoThread(f, error),
        }
    }
}

impl SubmitError<()> {
    /// The error of a job that was refused, for its waiter.
    pub(super) fn into_join_error(self) -> JoinError {
        JoinError::CancelledFor(self.to_string().into())
    }
}

impl<F> fmt::Debug for SubmitError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("Full(..)"),
            Self::Closed(_) => f.write_str("Closed(..)"),
            Self::Forked(_) => f.write_str("Forked(..)"),
            Self::NoThread(_, error) => write!(f, "NoThread(.., {error:?})"),
        }
    }
}

/// Why a pool or a lane was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// With no thread, no job would ever run.
    #[error("a pool, or a lane of it, needs at least one thread")]
    NoThreads,
    /// With no room, no job would ever be accepted.
    #[error("the queue of a pool, or of a lane, needs room for at least one job")]
    NoRoom,
    /// The name of the threads has a NUL character.
    #[error("the name of a thread cannot contain a NUL character: {0:?}")]
    InvalidName(String),
}

/// A job that runs, or that waits for a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobInfo {
    /// Where it was submitted.
    pub site: &'static Location<'static>,
    /// How long it has been running, or waiting.
    pub age: Duration,
}

impl fmt::Display for JobInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { site, age } = self;
        write!(f, "the job submitted at {site}, for {age:?}")
    }
}

/// The jobs that were left when the limit of a shutdown had passed. They run on, and their waiters still
/// get their results. If there are none, all jobs have ended, and some threads have not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StillRunning {
    /// The jobs that run, the oldest first.
    pub running: Vec<JobInfo>,
    /// The number of jobs that still wait for a thread.
    pub queued: usize,
}

impl fmt::Display for StillRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { running, queued } = self;
        if running.is_empty() && *queued == 0 {
            return f.write_str("all jobs have ended, but not all threads");
        }
        write!(f, "{} jobs still run and {queued} wait", running.len())?;
        for job in running.iter().take(4) {
            write!(f, "; {job}")?;
        }
        Ok(())
    }
}

impl std::error::Error for StillRunning {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_pool_is_jobs_or_threads() {
        let left = |queued| StillRunning {
            running: Vec::new(),
            queued,
        };
        assert_eq!(left(2).to_string(), "0 jobs still run and 2 wait");
        let threads = "all jobs have ended, but not all threads";
        assert_eq!(left(0).to_string(), threads);
    }
}
