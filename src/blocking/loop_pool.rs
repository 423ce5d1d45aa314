//! The pool of a loop: made at the first job, shut down with the loop.
//!
//! Closing the loop cancels the jobs that wait, and waits for those that run up to a limit; what is left
//! then is reported. It does not wait during a panic, whose message would come late (R242), nor on a
//! thread that turns another loop (N5).
//!
//! In asyncio: `loop.set_default_executor`, and `shutdown_default_executor` at the end of `run`.

use super::errors::{BuildError, StillRunning};
use super::job::{Job, Run};
use super::lane::Lane;
use super::pool::{QueuedJobs, ThreadPool};
use super::run_blocking::RunBlocking;
use crate::base::sync::start_thread;
use crate::event_loop::{Attachment, LoopHandle, Unhandled, WeakHandle, current};
use crate::task::{JoinError, Task};
use readily_sys::fork::ForkGuard;
use readily_sys::signal_mask::BlockedSignals;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How long the end of a loop waits for the jobs of its pool that run.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs `f` on a thread of the current loop's pool, so that the loop goes on meanwhile, and returns the
/// future of its result.
///
/// For code that blocks: files, name look-ups, databases without an asynchronous driver. The job is submitted
/// at once. A job that never ends (a watcher, a server) keeps a thread of the pool for ever: use
/// [`run_on_thread`] for it. `f` does not see the task-locals of the caller, except those that
/// [`TaskLocal::carry`](crate::task::TaskLocal::carry) passes to it.
///
/// # Panics
///
/// Outside a loop, because the pool is the loop's. A [`ThreadPool`] of your own can be used everywhere.
///
/// # Cancellation
///
/// Dropping the future before the job has started cancels it; a job that has started runs to its end: see
/// [`RunBlocking`].
///
/// # Examples
///
/// ```
/// use readily::{run, run_blocking};
///
/// let text = run(async {
///     let file = run_blocking(|| std::fs::read_to_string("Cargo.toml")).await;
///     file.expect("it does not panic")
/// })?;
/// assert!(text?.contains("[package]"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "to_thread")]
#[doc(alias = "run_in_executor")]
#[doc(alias = "spawn_blocking")]
#[doc(alias = "unblock")]
#[track_caller]
pub fn run_blocking<F, T>(f: F) -> RunBlocking<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let site = Location::caller();
    match current::with(|handle| handle.thread_pool().run_blocking_on(Some(handle), f, site)) {
        Some(job) => job,
        None => panic!(
            "no loop is running on this thread: use readily::run, or a ThreadPool of your own"
        ),
    }
}

/// Runs `f` on a thread of its own, outside all pools: for a job that takes long or never ends, and so would
/// keep a thread of a pool. The thread has this name, and ends with `f`.
///
/// It can be called on any thread, with a loop or without. The job starts at once, so a drop of the future
/// does not cancel it.
///
/// # Errors
///
/// That of starting a thread; `f` is lost then. `InvalidInput`, if the name contains a NUL character.
///
/// # Examples
///
/// ```
/// use readily::blocking::run_on_thread;
///
/// let sum = readily::run(async {
///     let job = run_on_thread("sums", || (1..=6).sum::<u32>())?;
///     Ok::<_, std::io::Error>(job.await.expect("it does not panic"))
/// })?;
/// assert_eq!(sum?, 21);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn run_on_thread<F, T>(name: &str, f: F) -> io::Result<RunBlocking<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if name.contains('\0') {
        let error = BuildError::InvalidName(name.to_owned());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
    }
    let job = Arc::new(Job::new(f, None, Location::caller()));
    let run = Arc::clone(&job);
    let _inherited = BlockedSignals::new(); // R254
    start_thread(thread::Builder::new().name(name.to_owned()), move || {
        run.run()
    })?;
    Ok(RunBlocking::on_thread(job, ForkGuard::new()?))
}

impl LoopHandle {
    /// Runs `f` on a thread of this loop's pool, and then calls `callback` with its result on the loop's thread.
    /// The loop's `run` does not return before that.
    ///
    /// The callback runs as a task, which is returned: cancelling it drops `callback`, and `f` if that has
    /// not started; dropping it detaches it.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::EventLoop;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.run_blocking_with(
    ///     || std::fs::metadata("Cargo.toml").is_ok_and(|data| data.is_file()),
    ///     |handle, is_file| {
    ///         assert!(is_file.expect("it does not panic"));
    ///         handle.stop();
    ///     },
    /// );
    /// event_loop.run()?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[doc(alias = "run_in_executor")]
    #[doc(alias = "uv_queue_work")]
    #[track_caller]
    pub fn run_blocking_with<F, T, C>(&self, f: F, callback: C) -> Task<()>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
        C: FnOnce(&Self, Result<T, JoinError>) + 'static,
    {
        let site = Location::caller();
        let job = self.thread_pool().run_blocking_on(Some(self), f, site);
        self.spawn_with_callback(job, callback, site)
    }

    /// Returns the pool of this loop, on which [`run_blocking`] runs its jobs; made at the first call.
    ///
    /// It ends with the loop: jobs that wait are cancelled, and for those that run the loop waits as long
    /// as [`set_shutdown_timeout`](Self::set_shutdown_timeout) allows.
    #[must_use]
    pub fn thread_pool(&self) -> ThreadPool {
        self.attached(LoopPool::default, LoopPool::get)
    }

    /// Makes `pool` the pool of this loop. It may serve other loops, too: the end of this loop does not shut
    /// it down. Jobs of the pool from before go on.
    #[doc(alias = "set_default_executor")]
    pub fn set_thread_pool(&self, pool: ThreadPool) {
        let before = self.attached(LoopPool::default, |own| own.replace(pool, false));
        drop(before);
    }

    /// Makes `pool` the pool of this loop, which shuts it down at its end.
    pub(crate) fn own_thread_pool(&self, pool: ThreadPool) {
        let before = self.attached(LoopPool::default, |own| own.replace(pool, true));
        drop(before);
    }

    /// Runs a name look-up in the pool, in a lane of its own.
    pub(crate) fn run_lookup<F, T>(&self, f: F, site: &'static Location<'static>) -> RunBlocking<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let lane = self.attached(LoopPool::default, LoopPool::lookups);
        lane.run_blocking_on(Some(self), f, site)
    }

    /// Sets how long closing this loop waits for the jobs of its pool that still run; five seconds by
    /// default. Those that are left then are reported as
    /// [`Unhandled::JobsLeft`]. Closing does not wait while a panic unwinds, nor
    /// on a thread that turns another loop.
    pub fn set_shutdown_timeout(&self, limit: Duration) {
        self.attached(LoopPool::default, |own| own.limit.set(limit));
    }
}

/// How many name look-ups run at once; in a small pool only half of its threads, so that slow ones leave
/// the others to files.
const LOOKUP_THREADS: usize = 8;
/// How many more wait in front of those that only keep their place.
const LOOKUP_QUEUE: usize = 1024;

/// What a loop has of its pool.
struct LoopPool {
    pool: RefCell<Option<ThreadPool>>,
    /// The lane of the pool for name look-ups, made at the first one.
    lookups: RefCell<Option<Lane>>,
    /// Whether the pool ends with the loop.
    is_owned: Cell<bool>,
    limit: Cell<Duration>,
}

impl Default for LoopPool {
    fn default() -> Self {
        Self {
            pool: RefCell::default(),
            lookups: RefCell::default(),
            is_owned: Cell::new(true),
            limit: Cell::new(SHUTDOWN_TIMEOUT),
        }
    }
}

impl LoopPool {
    fn get(&self) -> ThreadPool {
        let mut pool = self.pool.borrow_mut();
        pool.get_or_insert_with(ThreadPool::new).clone()
    }

    fn replace(&self, pool: ThreadPool, is_owned: bool) -> (Option<ThreadPool>, Option<Lane>) {
        self.is_owned.set(is_owned);
        (self.pool.replace(Some(pool)), self.lookups.take())
    }

    fn lookups(&self) -> Lane {
        let pool = self.get();
        let half = pool.workers().settings().max_threads / 2;
        let mut lane = self.lookups.borrow_mut();
        let make = || pool.add(half.clamp(1, LOOKUP_THREADS), LOOKUP_QUEUE);
        lane.get_or_insert_with(make).clone()
    }
}

impl Attachment for LoopPool {
    fn close(&self) {
        let (pool, _lookups) = (self.pool.take(), self.lookups.take());
        let Some(pool) = pool.filter(|_| self.is_owned.get()) else {
            return;
        };
        let limit = match thread::panicking() {
            true => Duration::ZERO,
            false => self.limit.get(),
        };
        if let Err(left) = pool.shutdown_blocking(QueuedJobs::Cancel, limit) {
            report(left, limit);
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn report(left: StillRunning, waited: Duration) {
    let sites = left.running.iter().map(|job| job.site).collect();
    let left = Unhandled::JobsLeft { sites, waited };
    if let Some(handle) = WeakHandle::current() {
        handle.report(&left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::run;
    use crate::time::wait_for::wait_for;
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    /// Look-ups that hang take half of the threads: files are read meanwhile, and more look-ups wait.
    #[test]
    fn slow_name_lookups_leave_threads_to_other_jobs() {
        let pool = ThreadPool::builder().max_threads(2).build().unwrap();
        run(async {
            let here = WeakHandle::current().unwrap();
            here.with(|handle| handle.set_thread_pool(pool.clone()));
            let (unblock, blocked) = channel::<()>();
            let blocked = Arc::new(Mutex::new(blocked));
            let site = Location::caller();
            let slow: Vec<_> = (0..3)
                .map(|_| {
                    let blocked = Arc::clone(&blocked);
                    let wait = move || blocked.lock().is_ok_and(|blocked| blocked.recv().is_ok());
                    here.with(|handle| handle.run_lookup(wait, site))
                })
                .collect();
            // A thread that has ended one of these takes a look-up, if it may.
            for n in 0..3 {
                let job = wait_for(Duration::from_secs(60), run_blocking(move || n)).await;
                assert_eq!(job.expect("a look-up has both threads").unwrap(), n);
            }
            // The latest job may count yet: it does until its thread has seen to what follows.
            let running = pool.stats().running;
            assert_eq!(running.iter().filter(|job| job.site == site).count(), 1);
            drop(unblock);
            for lookup in slow.into_iter().flatten() {
                assert!(!lookup.await.unwrap());
            }
        })
        .unwrap();
    }
}
