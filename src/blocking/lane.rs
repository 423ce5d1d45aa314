//! A lane of a pool: a queue of its own, with a limit of its own on the pool's threads.
//!
//! A job is submitted to a lane. On a virtual kernel the kernel decides where the job runs: on a thread,
//! with its time standing still meanwhile, or in the loop itself, one step of the loop for each job.
//!
//! In the notes: the thread pool (N3, N5). libuv has one slow lane, of half of its threads.

use super::errors::SubmitError;
use super::hold_time::HoldTime;
use super::job::{Job, Run};
use super::pool_state::Submitted;
use super::run_blocking::RunBlocking;
use super::workers::Workers;
use crate::event_loop::{LoopHandle, current};
use crate::poll::BlockingJobs;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// A queue of a [`ThreadPool`](crate::ThreadPool) with its own limit: at most so many of its jobs run at the same time,
/// and the other threads of the pool are left to other lanes.
///
/// A clone is another handle to the same lane. A pool dereferences to its first lane, whose limit is
/// that of the pool.
///
/// # Examples
///
/// Slow name look-ups keep two of four threads, and no more:
///
/// ```
/// use readily::{ThreadPool, run};
/// use std::net::ToSocketAddrs;
///
/// let pool = ThreadPool::builder().max_threads(4).build()?;
/// let names = pool.lane(2, 64)?;
/// let addrs = run(async {
///     let resolve = || ("127.0.0.1", 80).to_socket_addrs().map(|addrs| addrs.count());
///     names.run_blocking(resolve).await
/// })?;
/// assert_eq!(addrs??, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Lane {
    shared: Arc<Shared>,
}

/// What the handles of a lane share.
struct Shared {
    lane: usize,
    pool: Arc<Owner>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.pool.workers.free_lane(self.lane);
    }
}

/// What the lanes of a pool share. With the last one, the pool accepts no further job; those that are
/// queued still run, because their waiters may still exist.
struct Owner {
    workers: Arc<Workers>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.workers.close(false);
    }
}

impl Lane {
    /// The first lane of a new pool.
    pub(super) fn first(workers: Arc<Workers>) -> Self {
        let pool = Arc::new(Owner { workers });
        Self {
            shared: Arc::new(Shared { lane: 0, pool }),
        }
    }

    /// A new lane of the same pool.
    pub(super) fn add(&self, max_threads: usize, capacity: usize) -> Self {
        let pool = Arc::clone(&self.shared.pool);
        let lane = pool.workers.add_lane(max_threads, capacity);
        Self {
            shared: Arc::new(Shared { lane, pool }),
        }
    }

    pub(super) fn workers(&self) -> &Arc<Workers> {
        &self.shared.pool.workers
    }

    /// Runs `f` on a thread of the pool, and returns the future of its result. If the queue of the lane is full, the
    /// job waits behind it.
    ///
    /// It can be called on any thread, with a loop or without.
    #[doc(alias = "to_thread")]
    #[doc(alias = "run_in_executor")]
    #[doc(alias = "spawn_blocking")]
    #[track_caller]
    pub fn run_blocking<F, T>(&self, f: F) -> RunBlocking<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let site = Location::caller();
        with_current(|handle| self.run_blocking_on(handle, f, site))
    }

    /// [`run_blocking`](Self::run_blocking) for a job of this loop.
    pub(crate) fn run_blocking_on<F, T>(
        &self,
        handle: Option<&LoopHandle>,
        f: F,
        site: &'static Location<'static>,
    ) -> RunBlocking<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let job = Arc::new(Job::new(f, HoldTime::for_job(handle), site));
        match self.queue(handle, Arc::clone(&job) as Arc<dyn Run>, true) {
            Ok(submitted) => self.future(job, submitted),
            Err(refused) => RunBlocking::refused(refused.into_join_error()),
        }
    }

    /// Submits `f` if there is room for a job, without waiting. Returns the future of the result.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] with `f` in it.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::ThreadPool;
    /// use readily::blocking::{QueuedJobs, SubmitError};
    ///
    /// let pool = ThreadPool::new();
    /// assert_eq!(pool.try_submit(|| 21).unwrap().wait().unwrap(), 21);
    /// pool.close(QueuedJobs::Cancel);
    /// let refused = pool.try_submit(|| 21).unwrap_err();
    /// assert!(matches!(refused, SubmitError::Closed(_)));
    /// assert_eq!(refused.into_inner()(), 21);
    /// ```
    #[track_caller]
    pub fn try_submit<F, T>(&self, f: F) -> Result<RunBlocking<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.try_submit_at(f, Location::caller())
    }

    pub(super) fn try_submit_at<F, T>(
        &self,
        f: F,
        site: &'static Location<'static>,
    ) -> Result<RunBlocking<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        with_current(|handle| {
            let job = Arc::new(Job::new(f, HoldTime::for_job(handle), site));
            match self.queue(handle, Arc::clone(&job) as Arc<dyn Run>, false) {
                Ok(submitted) => Ok(self.future(job, submitted)),
                Err(refused) => Err(give_back(&job, refused)),
            }
        })
    }

    /// Submits a job, which waits for room if the queue is full. The job wakes its waiter when there is room.
    pub(super) fn submit_waiting<F, T>(
        &self,
        f: F,
        site: &'static Location<'static>,
    ) -> Result<WaitingJob<F, T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        with_current(|handle| {
            let job = Arc::new(Job::new(f, HoldTime::for_job(handle), site));
            job.await_room();
            match self.queue(handle, Arc::clone(&job) as Arc<dyn Run>, true) {
                Ok(submitted) if submitted.has_room && !job.confirm_room() => {
                    Err(give_back(&job, SubmitError::Closed(())))
                }
                Ok(submitted) => {
                    let future = self.future(Arc::clone(&job), submitted);
                    Ok(WaitingJob {
                        job,
                        future,
                        has_room: submitted.has_room,
                    })
                }
                Err(refused) => Err(give_back(&job, refused)),
            }
        })
    }

    fn future<F, T>(&self, job: Arc<Job<F, T>>, submitted: Submitted) -> RunBlocking<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        RunBlocking::in_pool(job, Arc::clone(self.workers()), submitted.ticket)
    }

    fn queue(
        &self,
        handle: Option<&LoopHandle>,
        job: Arc<dyn Run>,
        may_wait: bool,
    ) -> Result<Submitted, SubmitError<()>> {
        let (workers, lane) = (self.workers(), self.shared.lane);
        let Some(handle) = handle.filter(|handle| jobs_of(handle) == BlockingJobs::AtOnce) else {
            return workers.submit(lane, job, may_wait);
        };
        workers.submit_simulated(handle, lane, job, may_wait)
    }
}

/// A job that may wait for room in its queue.
pub(super) struct WaitingJob<F, T: 'static> {
    pub(super) job: Arc<Job<F, T>>,
    pub(super) future: RunBlocking<T>,
    pub(super) has_room: bool,
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("pool", &self.workers().settings().name)
            .field("lane", &self.shared.lane)
            .finish()
    }
}

/// Where the jobs of this loop run.
fn jobs_of(handle: &LoopHandle) -> BlockingJobs {
    let kernel = handle.kernel();
    kernel.map_or(BlockingJobs::OnThreads, |kernel| kernel.blocking_jobs())
}

/// Calls `f` with the current loop of this thread, if there is one.
fn with_current<R>(f: impl FnOnce(Option<&LoopHandle>) -> R) -> R {
    let mut f = Some(f);
    let called = current::with(|handle| f.take().map(|f| f(Some(handle))));
    match (called.flatten(), f) {
        (Some(result), _) => result,
        (None, Some(f)) => f(None),
        (None, None) => unreachable!("it was called, and has returned"),
    }
}

/// Takes the closure out of a job that was refused.
fn give_back<F, T>(job: &Job<F, T>, refused: SubmitError<()>) -> SubmitError<F> {
    let f = job.take_closure();
    refused.with(f.expect("a job that was refused has not run"))
}
