//! Why a child cannot be started, waited for, or sent a signal.
//!
//! In asyncio: `ProcessLookupError` and other exceptions of the system.

use crate::event_loop::Error;
use std::fmt;
use std::io;

/// The error of an operation on a child.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// The child has ended, and its status was taken, so its number may be that of another process.
    #[error("the child has ended")]
    Ended,
    /// The child has ended, and its status is lost: other code of this process has waited for it, or the
    /// process ignores SIGCHLD.
    #[error(
        "the child has ended, and its status is lost: other code has waited for it, or SIGCHLD is ignored"
    )]
    StatusLost,
    /// The child has no process group of its own: see [`Command::own_group`](super::Command::own_group).
    #[error("the child has no process group of its own")]
    NoGroup,
    /// The child has written more than [`Command::output_limit`](super::Command::output_limit) allows. It
    /// may still run.
    #[error("the child has written more than {limit} bytes to its {stream}")]
    TooMuchOutput {
        /// Where it has written.
        stream: ChildStream,
        /// The limit.
        limit: usize,
    },
    /// The loop is on a kernel in memory for which the test has set no programs, or on a replayed one.
    #[error("there are no processes on the kernel of this loop")]
    NoProcesses,
    /// The loop is closed, is another one than that of the child, or belongs to the parent process; or
    /// there is none.
    #[error(transparent)]
    Loop(Error),
    /// The system returned an error. For `spawn`, the program was not found or may not be executed, an
    /// argument has a NUL byte, or no process or descriptor is left.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A standard stream of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl fmt::Display for ChildStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stdout => "standard output",
            Self::Stderr => "standard error",
        })
    }
}

impl From<Error> for ChildError {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) => Self::Io(error),
            error => Self::Loop(error),
        }
    }
}

impl From<ChildError> for io::Error {
    fn from(error: ChildError) -> Self {
        match error {
            ChildError::Loop(error) => error.into_io(),
            ChildError::Io(error) => error,
            error => Self::other(error),
        }
    }
}
