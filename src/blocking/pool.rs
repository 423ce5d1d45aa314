//! The handle of a pool: options, lanes, statistics, and the end.
//!
//! A pool without jobs has no thread. Nothing ends it but a call: a drop of its handles lets the queued jobs
//! run, because their waiters may still exist, and does not wait. A shutdown says what becomes of the
//! queued jobs, and how long to wait for those that run; a job that never ends cannot make it hang.
//!
//! In asyncio: `ThreadPoolExecutor`, `Executor.shutdown(wait, cancel_futures)`.

use super::block_on::block_on;
use super::errors::{BuildError, JobInfo, StillRunning};
use super::lane::Lane;
use super::pool_state::{Settings, now};
use super::workers::Workers;
use crate::event_loop::current;
use crate::task::budget;
use crate::task::lazy_timer::LazyTimer;
use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::task::Poll;
use std::time::Duration;

/// A pool of threads for code that blocks: files, name look-ups, other libraries.
///
/// The pool starts a thread when a job is submitted and no thread is idle, up to a limit. A thread ends after an idle
/// time. Jobs beyond the limit wait in a queue. Each loop has a default pool, which
/// [`run_blocking`](crate::run_blocking()) uses. A pool of your own keeps its jobs apart from others, and several
/// loops, and threads without loops, can use it. A clone is another handle to the same pool.
///
/// When the last handle and the last lane are dropped, queued jobs still run, and the threads end after
/// that. The drop does not wait for them; [`shutdown`](Self::shutdown) does. At the end of the process, jobs that
/// run are interrupted wherever they are.
///
/// If jobs wait for other jobs of their pool, the pool may come to a stop: each waiting job keeps a thread, and no
/// thread is left. [`RunBlocking::wait`](super::RunBlocking::wait) therefore returns an error in such a job.
///
/// # Examples
///
/// ```
/// use readily::blocking::QueuedJobs;
/// use readily::{ThreadPool, gather, run};
/// use std::time::Duration;
///
/// let pool = ThreadPool::builder().max_threads(2).name("files").build()?;
/// let sizes = run(async {
///     let size = |path| pool.run_blocking(move || std::fs::metadata(path).map(|data| data.len()));
///     let sizes = gather(["Cargo.toml", "/"].map(size)).await;
///     pool.shutdown(QueuedJobs::Run, Duration::from_secs(1)).await.expect("both have ended");
///     sizes
/// })?;
/// assert!(sizes.into_iter().all(|size| size.unwrap().is_ok()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "ThreadPoolExecutor")]
#[derive(Clone)]
pub struct ThreadPool {
    first: Lane,
}

/// What becomes of the jobs that have not started when a pool is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueuedJobs {
    /// They run.
    Run,
    /// They are cancelled: their waiters get [`JoinError::CancelledFor`](crate::JoinError::CancelledFor), and
    /// their closures are dropped on the thread that closes the pool.
    #[doc(alias = "cancel_futures")]
    Cancel,
}

/// The counts of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// The number of threads.
    pub threads: usize,
    /// The number of threads that have no job.
    pub idle_threads: usize,
    /// The number of jobs that wait for a thread, or for room in their lane.
    pub queued: usize,
    /// The jobs that run, the oldest first. A very old one may be a job that never ends: use
    /// [`run_on_thread`](super::run_on_thread) for such a job.
    pub running: Vec<JobInfo>,
    /// The job that has waited longest for a thread; `None` if none waits.
    pub waits_longest: Option<JobInfo>,
}

impl ThreadPool {
    pub(super) fn with(settings: Settings) -> Self {
        Self {
            first: Lane::first(Workers::new(settings)),
        }
    }

    /// Returns a new lane: at most `max_threads` of its jobs run at the same time, and at most `queue` wait
    /// for a thread. A free thread takes from the lanes in turn. The lane ends with its last handle, when its
    /// jobs have ended.
    ///
    /// # Errors
    ///
    /// [`BuildError`], if one of the numbers is zero. A `max_threads` above that of the pool counts as that of
    /// the pool.
    pub fn lane(&self, max_threads: usize, queue: usize) -> Result<Lane, BuildError> {
        check(max_threads, queue)?;
        let most = self.workers().settings().max_threads;
        Ok(self.first.add(max_threads.min(most), queue))
    }

    /// Returns the counts of this pool. In a forked child of its process the pool has no threads, and all counts are
    /// zero.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let ((threads, idle_threads, queued), (running, waits_longest)) =
            match self.workers().forked() {
                true => Default::default(),
                false => (self.workers().counts(), self.workers().jobs()),
            };
        PoolStats {
            threads,
            idle_threads,
            queued,
            running,
            waits_longest,
        }
    }

    /// Closes the pool, without waiting: jobs that are submitted from now on are refused, and idle threads end.
    /// Jobs that run go on. A second call can still cancel the queued jobs.
    pub fn close(&self, queued: QueuedJobs) {
        self.workers().close(queued == QueuedJobs::Cancel);
    }

    /// Closes the pool, and waits until its jobs and its threads have ended, but no longer than `limit` on the
    /// loop's clock.
    ///
    /// # Errors
    ///
    /// [`StillRunning`], if the limit has passed. The jobs go on, and this can be called again.
    ///
    /// # Cancellation
    ///
    /// The pool is closed at the first poll, and stays closed.
    ///
    /// # Panics
    ///
    /// Outside a loop, where there is no clock: see [`shutdown_blocking`](Self::shutdown_blocking).
    #[doc(alias = "shutdown_default_executor")]
    pub async fn shutdown(&self, queued: QueuedJobs, limit: Duration) -> Result<(), StillRunning> {
        self.close(queued);
        let workers = self.workers();
        let mut timer = LazyTimer::after(limit);
        poll_fn(|cx| {
            budget::budgeted(cx, |cx| {
                if workers.forked() || workers.poll_ended(cx.waker()) {
                    return Poll::Ready(Ok(()));
                }
                timer.poll(cx).map(|()| Err(workers.still_running()))
            })
        })
        .await
    }

    /// Closes the pool as [`shutdown`](Self::shutdown) does, and blocks this thread until it has ended. On a thread
    /// that turns a loop, and on a thread of the pool, this does not wait: the limit counts as zero.
    ///
    /// # Errors
    ///
    /// [`StillRunning`], if the limit has passed.
    ///
    /// # Examples
    ///
    /// A job that never ends does not make it hang:
    ///
    /// ```
    /// use readily::ThreadPool;
    /// use readily::blocking::QueuedJobs;
    /// use std::time::Duration;
    ///
    /// let pool = ThreadPool::new();
    /// let never = pool.run_blocking(|| loop { std::thread::park() });
    /// while pool.stats().running.is_empty() {
    ///     std::thread::yield_now();
    /// }
    /// let left = pool.shutdown_blocking(QueuedJobs::Cancel, Duration::ZERO).unwrap_err();
    /// assert_eq!(left.running.len(), 1); // and where it was submitted
    /// # drop(never);
    /// ```
    pub fn shutdown_blocking(
        &self,
        queued: QueuedJobs,
        limit: Duration,
    ) -> Result<(), StillRunning> {
        self.close(queued);
        let workers = self.workers();
        if workers.forked() {
            return Ok(());
        }
        let may_block = !current::is_turning() && workers.current_job().is_none();
        let limit = if may_block { limit } else { Duration::ZERO };
        let ended = block_on(now().checked_add(limit), |waker| {
            match workers.poll_ended(waker) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        });
        ended.ok_or_else(|| workers.still_running())
    }
}

impl Deref for ThreadPool {
    type Target = Lane;

    fn deref(&self) -> &Lane {
        &self.first
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool")
            .field("name", &self.workers().settings().name)
            .finish_non_exhaustive()
    }
}

pub(super) fn check(max_threads: usize, capacity: usize) -> Result<(), BuildError> {
    match (max_threads, capacity) {
        (0, _) => Err(BuildError::NoThreads),
        (_, 0) => Err(BuildError::NoRoom),
        _ => Ok(()),
    }
}
