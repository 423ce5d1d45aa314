//! The builder of a pool.

use super::error::{JobError, StartError};
use super::jobs::JobTable;
use super::options::{Options, WorkerOutput};
use super::pool::ProcessPool;
use super::worker::program;
use std::any::type_name;
use std::num::NonZeroU64;
use std::time::Duration;

/// Options for a new [`ProcessPool`]: see [`ProcessPool::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing is made before `build`"]
pub struct ProcessPoolBuilder(Options);

impl ProcessPool {
    /// Makes a pool with the default options: [`ProcessPool::builder`].
    ///
    /// # Errors
    ///
    /// As [`ProcessPoolBuilder::build`].
    pub fn new(jobs: JobTable) -> Result<Self, StartError> {
        Self::builder(jobs).build()
    }

    /// Returns a builder for a pool with other options. `jobs` is the table that
    /// [`init`](super::init) was called with.
    pub fn builder(jobs: JobTable) -> ProcessPoolBuilder {
        ProcessPoolBuilder(Options::new(jobs))
    }
}

impl ProcessPoolBuilder {
    /// Sets the largest number of workers: by default
    /// [`available_parallelism`](std::thread::available_parallelism), which respects affinity and quotas. A
    /// worker is started when a job finds no idle one.
    #[doc(alias = "max_workers")]
    pub fn workers(mut self, count: usize) -> Self {
        self.0.workers = count;
        self
    }

    /// Sets the largest size of an encoded argument, and of an encoded result, in bytes: by default 64 MiB. The pool
    /// refuses a larger argument, and the worker a larger result, before it is sent.
    pub fn frame_limit(mut self, bytes: usize) -> Self {
        self.0.frame_limit = bytes;
        self
    }

    /// Replaces each worker after this many jobs, for jobs that leak memory. By default workers are not replaced.
    #[doc(alias = "max_tasks_per_child")]
    pub fn jobs_per_worker(mut self, jobs: NonZeroU64) -> Self {
        self.0.jobs_per_worker = Some(jobs);
        self
    }

    /// Bounds the address space of each worker (`RLIMIT_AS`, see `setrlimit(2)`), in bytes. An allocation
    /// beyond it fails, which ends most programs: the job gets
    /// [`JobError::WorkerDied`], or
    /// [`JobError::Panicked`].
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.0.memory_limit = Some(bytes);
        self
    }

    /// Limits the running time of a job: when `limit` has passed, its worker is killed, and the job ends with
    /// [`JobError::TimedOut`]. By default there is no limit. The time in the
    /// queue does not count.
    pub fn job_limit(mut self, limit: Duration) -> Self {
        self.0.job_limit = Some(limit);
        self
    }

    /// Sets how long a worker may take until it is ready: by default 30 s.
    pub fn start_limit(mut self, limit: Duration) -> Self {
        self.0.start_limit = limit;
        self
    }

    /// Lets each worker run this function, which is in the table of jobs, before its first job: to load a
    /// model, for instance. A worker whose initializer fails is not used.
    pub fn initializer<F>(mut self, job: F) -> Self
    where
        F: Fn(()) -> Result<(), String> + 'static,
    {
        let _ = job; // its type says which one it is
        self.0.initializer = Some((self.0.jobs.find::<F>(), type_name::<F>()));
        self
    }

    /// Sets where the standard output of the jobs goes: by default to the program's standard error.
    pub fn stdout(mut self, output: WorkerOutput) -> Self {
        self.0.stdout = output;
        self
    }

    /// Sets where the standard error of the jobs goes: by default to that of the program.
    pub fn stderr(mut self, output: WorkerOutput) -> Self {
        self.0.stderr = output;
        self
    }

    /// Makes the pool. No worker is started yet.
    ///
    /// # Errors
    ///
    /// [`StartError::NotInitialized`] if [`init`](super::init) was not called at the top of `main`,
    /// [`StartError::OtherJobs`] if it was called with another table, [`StartError::Executable`] if the
    /// program's file was not found then, and [`StartError::Zero`].
    pub fn build(self) -> Result<ProcessPool, StartError> {
        let Self(options) = self;
        let program = match program() {
            None => return Err(StartError::NotInitialized),
            Some(Err(kind)) => return Err(StartError::Executable(*kind)),
            Some(Ok(program)) => program,
        };
        if program.build.jobs != options.jobs.sum() {
            return Err(StartError::OtherJobs);
        }
        if options.workers == 0 || options.frame_limit == 0 {
            return Err(StartError::Zero);
        }
        if let Some((None, name)) = options.initializer {
            let unknown = JobError::UnknownJob(name);
            return Err(StartError::Initializer(unknown));
        }
        Ok(ProcessPool::with_options(program, options))
    }
}
