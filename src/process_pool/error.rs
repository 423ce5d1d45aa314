//! Why a job gave no result.

use super::wire::WireError;
use crate::process::ChildError;
use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

/// The reason why a job gave no result.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The worker ended while it ran the job, or before it did: killed, by `exit`, or by a panic in a
    /// program that aborts. The job has run not at all, in part, or whole; it is not run again. There is no
    /// status if other code of this process has taken it, with `waitpid(2)` for any child.
    #[doc(alias = "BrokenProcessPool")]
    #[error("the worker ended during the job: {}", status_text(.0.as_ref()))]
    WorkerDied(Option<ExitStatus>),
    /// The worker sent bytes that are no answer, and was killed.
    #[error("the worker sent no valid answer: {0}")]
    BadAnswer(String),
    /// The job panicked, with this text. The worker goes on.
    #[error("the job panicked: {0}")]
    Panicked(String),
    /// The job ran longer than the pool's [limit](super::ProcessPoolBuilder::job_limit), and its worker was
    /// killed.
    #[error("the job ran longer than {0:?}")]
    TimedOut(Duration),
    /// The job was cancelled, or the task of its worker was, by code that cancels all tasks.
    #[error("the job was cancelled")]
    Cancelled,
    /// The argument could not be encoded. The job was not sent.
    #[error("the argument cannot be encoded: {0}")]
    Argument(WireError),
    /// The argument has more bytes than the pool's [limit](super::ProcessPoolBuilder::frame_limit). The job
    /// was not sent.
    #[error("the argument has {len} bytes, and the limit of the pool is {limit}")]
    TooLong {
        /// The length of the encoded argument.
        len: usize,
        /// The pool's limit.
        limit: usize,
    },
    /// The worker ran the job, or refused the argument, and could not send the result: this is its reason.
    #[error("{0}")]
    NotSent(String),
    /// The result cannot be decoded.
    #[error("the result cannot be decoded: {0}")]
    Result(WireError),
    /// The function is not in the pool's table of jobs.
    #[error("{0} is not in the pool's table of jobs")]
    UnknownJob(&'static str),
    /// No worker could be started.
    #[error("no worker could be started: {0}")]
    Start(Arc<StartError>),
    /// The pool has been shut down, or its loop was closed.
    #[error("the pool has been shut down")]
    ShutDown,
    /// The pool belongs to another loop of this thread, which has not ended, and does not turn while this
    /// one does.
    #[error("the pool belongs to another loop, which does not turn while this one does")]
    OtherLoop,
    /// The pool belongs to the process that this one was forked from.
    #[error("the pool belongs to the process that this one was forked from")]
    Forked,
}

/// The reason why a worker could not be started, or a pool not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// [`init`](super::init) was not called at the top of `main`, or could not find the program's file.
    #[error("process_pool::init was not called at the top of main")]
    NotInitialized,
    /// The program's executable could not be found.
    #[error("the program's executable cannot be found: {0}")]
    Executable(io::ErrorKind),
    /// The table is not the one that [`init`](super::init) was called with.
    #[error("process_pool::init was called with another table of jobs")]
    OtherJobs,
    /// A pool of no workers, or with a limit of no bytes.
    #[error("a pool needs at least one worker, and a limit of at least one byte")]
    Zero,
    /// The process could not be created.
    #[error("the process cannot be created: {0}")]
    Spawn(ChildError),
    /// The worker ended before it was ready.
    #[error("the worker ended before it was ready: {}", status_text(.0.as_ref()))]
    Ended(Option<ExitStatus>),
    /// The worker is another build of the program: its file was replaced.
    #[error("the worker is another build of the program: its file was replaced")]
    OtherBuild,
    /// The worker could not start, for this reason.
    #[error("the worker could not start: {0}")]
    Refused(String),
    /// The worker was not ready in time.
    #[error(
        "the worker was not ready after {0:?}: is process_pool::init called at the top of main?"
    )]
    TimedOut(Duration),
    /// The initializer of a worker failed.
    #[error("the initializer of the worker failed: {0}")]
    Initializer(JobError),
}

fn status_text(status: Option<&ExitStatus>) -> String {
    status.map_or_else(|| "its status is lost".into(), ToString::to_string)
}

/// A job that was refused, with its argument.
pub struct SubmitError<I> {
    /// Why it was refused.
    pub error: JobError,
    /// What was to be sent.
    pub argument: I,
}

impl<I> fmt::Debug for SubmitError<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmitError")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<I> fmt::Display for SubmitError<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<I> std::error::Error for SubmitError<I> {}
