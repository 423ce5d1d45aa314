//! The pool, as a program uses it.
//!
//! In asyncio: `ProcessPoolExecutor`. In the notes: the process pool (N3, N5, N6).

use super::call::{Call, JobHandle};
use super::error::{JobError, SubmitError};
use super::frame::{Kind, WriteError, write_frame};
use super::options::Options;
use super::state::Shared;
use super::wire::Wire;
use super::worker::Program;
use crate::event_loop::{LoopHandle, current};
use crate::task::budget;
use crate::task::handle::spawn;
use std::any::type_name;
use std::fmt;
use std::pin::pin;
use std::rc::Rc;

/// A pool of processes that run jobs, by default as many processes as there are cores.
///
/// The pool belongs to the loop on which its first job is submitted, and its workers end with that loop. After that
/// it may be used on another loop.
///
/// A worker is the program itself, started again ([`init`](super::init) turns it into a worker), and never a
/// fork of it. A job is a function of the program's table ([`jobs!`](crate::jobs)). Its argument and its
/// result cross as bytes ([`Wire`]).
///
/// If a worker ends in the middle of a job, for whatever reason, the job ends with
/// [`JobError::WorkerDied`], and the worker is replaced. Other jobs are not affected. No job is run twice ([P7]).
///
/// Dropping the pool ends its idle workers, and removes the jobs that wait for a worker. Jobs that run go
/// on. When the program ends, for whatever reason, all workers end.
///
/// # Examples
///
/// ```no_run
/// use readily::process_pool::{self, JobTable, ProcessPool};
/// use readily::{gather, jobs, run};
///
/// fn count_primes(below: u64) -> u64 {
///     (2..below).filter(|n| (2..*n).all(|d| n % d != 0)).count() as u64
/// }
///
/// const JOBS: JobTable = jobs![count_primes];
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     process_pool::init(JOBS); // a worker stays here
///     let pool = ProcessPool::new(JOBS)?;
///     let counts = run(async {
///         gather([10_000, 20_000].map(|below| pool.submit(count_primes, below))).await
///     })?;
///     assert!(counts[0].as_ref().unwrap() < counts[1].as_ref().unwrap());
///     Ok(())
/// }
/// ```
///
/// [P7]: crate::book::invariants#p7
#[doc(alias = "ProcessPoolExecutor")]
pub struct ProcessPool {
    shared: Rc<Shared>,
}

/// How a pool is doing: [`ProcessPool::stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessPoolStats {
    /// The jobs that wait for a worker.
    pub queued: usize,
    /// The jobs that workers run.
    pub running: usize,
    /// The workers that live, or are being started.
    pub workers: usize,
    /// The workers that were started so far.
    pub started: u64,
    /// The workers that ended in the middle of a job, or were killed for it.
    pub died: u64,
}

/// What [`ProcessPool::shutdown`] does with the jobs that have not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Shutdown {
    /// All of them run to their end.
    Drain,
    /// Jobs that wait are removed, and the workers of jobs that run are killed: both kinds of job end with
    /// [`JobError::ShutDown`].
    Kill,
}

impl ProcessPool {
    pub(super) fn with_options(program: &'static Program, options: Options) -> Self {
        Self {
            shared: Shared::new(program, options),
        }
    }

    /// Runs `job` with `argument` in a worker, as soon as one is idle. Jobs begin in the order in which
    /// they are submitted.
    ///
    /// The job is submitted by this call, not when the handle is awaited. If the job is refused, awaiting the handle
    /// gives the error; [`try_submit`](ProcessPool::try_submit) returns it at once, with the argument.
    ///
    /// # Panics
    ///
    /// Outside a loop.
    pub fn submit<F, I, O>(&self, job: F, argument: I) -> JobHandle<O>
    where
        F: Fn(I) -> O + 'static,
        I: Wire,
        O: Wire,
    {
        self.try_submit(job, argument).unwrap_or_else(|refused| {
            let (call, handle) = Call::new(0, Vec::new());
            call.end(Err(refused.error));
            handle
        })
    }

    /// As [`submit`](ProcessPool::submit), but returns the error, with the argument, if the job is refused.
    ///
    /// # Errors
    ///
    /// [`JobError::UnknownJob`], [`JobError::Argument`], [`JobError::TooLong`], [`JobError::ShutDown`],
    /// [`JobError::OtherLoop`], [`JobError::Forked`], and [`JobError::Start`] if the pool can start no
    /// worker any more.
    ///
    /// # Panics
    ///
    /// Outside a loop, and if [`Wire::encode`] panics; then nothing was submitted.
    pub fn try_submit<F, I, O>(&self, job: F, argument: I) -> Result<JobHandle<O>, SubmitError<I>>
    where
        F: Fn(I) -> O + 'static,
        I: Wire,
        O: Wire,
    {
        let _ = job; // its type says which one it is
        match self.encode::<F, I>(&argument) {
            Ok((number, frame)) => {
                let (call, handle) = Call::new(number, frame);
                self.shared.dispatch(call);
                Ok(handle)
            }
            Err(error) => Err(SubmitError { error, argument }),
        }
    }

    /// Runs `job` with `argument` in a worker, and then calls `callback` with the result, on the current loop.
    ///
    /// # Panics
    ///
    /// Outside a loop.
    #[doc(alias = "add_done_callback")]
    pub fn submit_then<F, I, O>(
        &self,
        job: F,
        argument: I,
        callback: impl FnOnce(&LoopHandle, Result<O, JobError>) + 'static,
    ) where
        F: Fn(I) -> O + 'static,
        I: Wire,
        O: Wire + 'static,
    {
        let handle = self.submit(job, argument);
        drop(spawn(async move {
            let result = handle.await;
            current::with(|handle| callback(handle, result));
        }));
    }

    /// Returns how the pool is doing.
    #[must_use]
    pub fn stats(&self) -> ProcessPoolStats {
        let state = self.shared.state.borrow();
        ProcessPoolStats {
            queued: state.queue.iter().filter(|call| call.is_queued()).count(),
            running: state.tasks.iter().filter(|task| task.is_running()).count(),
            workers: state.tasks.len() + state.idle.len(),
            started: state.counts.started,
            died: state.counts.died,
        }
    }

    /// The largest number of workers.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.shared.options.workers
    }

    /// Refuses further jobs, and waits until the submitted jobs and all workers have ended. On another
    /// loop than that of the pool this does not wait.
    ///
    /// To limit the wait, await this within [`wait_for`](crate::wait_for()); if the limit passes, call `shutdown` again
    /// with [`Shutdown::Kill`].
    ///
    /// # Panics
    ///
    /// Outside a loop.
    ///
    /// # Cancellation
    ///
    /// The pool stays shut down, and its jobs end as they would. Call it again to wait.
    pub async fn shutdown(&self, jobs: Shutdown) {
        let shared = &*self.shared;
        shared.close();
        if jobs == Shutdown::Kill {
            shared.end_all();
        }
        let ends = pin!(async {
            if !shared.is_own_loop() {
                return;
            }
            if let Some(end) = shared.tasks_ended() {
                // An error if the loop closes, which ends the tasks.
                let _ = end.await;
            }
            // First close all, then wait, so that they end at the same time.
            for child in shared.close_idle() {
                let _ = child.wait().await;
            }
        });
        budget::composite(ends).await;
    }

    /// The number of the call, and its frame.
    fn encode<F: 'static, I: Wire>(&self, argument: &I) -> Result<(u64, Vec<u8>), JobError> {
        let shared = &self.shared;
        shared.check_open()?;
        let job = shared.options.jobs.find::<F>();
        let job = job.ok_or(JobError::UnknownJob(type_name::<F>()))?;
        let number = shared.calls.get() + 1;
        let (mut frame, limit) = (Vec::new(), shared.options.frame_limit);
        let written = write_frame(&mut frame, Kind::Call, limit, |out| {
            (number, job).encode(out)?;
            argument.encode(out)
        });
        written.map_err(|error| match error {
            WriteError::Body(error) => JobError::Argument(error),
            WriteError::TooLong(len) => JobError::TooLong { len, limit },
        })?;
        shared.calls.set(number);
        Ok((number, frame))
    }
}

impl Drop for ProcessPool {
    fn drop(&mut self) {
        self.shared.close();
        if !self.shared.is_home_gone() {
            self.shared.end_waiting();
        }
        drop(self.shared.close_idle());
    }
}

impl fmt::Debug for ProcessPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPool")
            .field("jobs", &self.shared.options.jobs)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
