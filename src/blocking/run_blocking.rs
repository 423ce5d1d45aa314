//! The future of a job: awaits the result, or blocks a thread for it, or cancels the job.
//!
//! The future is not bound to a loop. The thread of the pool stores the result and wakes the waiter; the
//! wake of a task is a message of the inbox, so many results cost one notification. A thread that
//! turns a loop must not block (N5), and a thread of the pool would wait for itself (R240): there
//! `wait` returns an error.
//!
//! In asyncio this is the future that `run_in_executor` returns.

use super::block_on::block_on;
use super::errors::SubmitError;
use super::job::Outcome;
use super::pool_state::now;
use super::queue::Ticket;
use super::recorded;
use super::workers::Workers;
use crate::event_loop::{CrossLoopWait, current};
use crate::task::{JoinError, WaitError, budget};
use readily_sys::fork::ForkGuard;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The future of a job on a thread: awaiting it gives the closure's result, once. Returned by
/// [`run_blocking`](crate::run_blocking()) and [`Lane::submit`](super::Lane::submit).
///
/// The job was submitted before this was returned, and runs whether or not this is polled.
/// It can be awaited on any loop, and in any executor.
///
/// # Errors
///
/// [`JoinError::Panicked`] with the payload, if the closure panicked. [`JoinError::CancelledFor`], if it
/// never ran: the pool was shut down before or meanwhile, no thread could be started, or the pool belongs
/// to a parent process. Also if this is awaited in a loop that runs inside a job of the same pool: like
/// [`wait`](Self::wait) there, the await ends with an error, and the job is cancelled unless it runs already.
///
/// # Cancellation
///
/// Dropping this before the job has started removes the job from the queue: it never runs, and the closure
/// is dropped on the thread that drops this. A job that has started cannot be stopped: it runs to its end,
/// keeps its thread and counts in the lane's limit until then, and its result is dropped on that
/// thread. If the job has ended, and its result was not taken, the result is dropped with this. A panic that no
/// waiter takes is handled by the [`PanicPolicy`](crate::PanicPolicy) of the loop on which this was dropped.
///
/// Dropping a pending `.await` of `&mut job` loses nothing.
#[must_use = "dropping it cancels a job that has not started"]
pub struct RunBlocking<T: 'static> {
    state: State<T>,
    /// Counts the wait in debug mode, in which a loop that nothing can wake is reported.
    wait: Option<CrossLoopWait>,
    /// While a loop is recorded or replayed: a thread will wake the waiter at the end of the job.
    has_wake: bool,
}

enum State<T> {
    Submitted(Arc<dyn Outcome<T>>, Home),
    Refused(JoinError),
    Taken,
}

/// Where a job runs.
enum Home {
    Pool(Arc<Workers>, Ticket),
    /// A thread of its own.
    Thread(ForkGuard),
}

impl Home {
    /// Whether the job's thread is in a parent process. Asked before the lock of the job is taken, which
    /// that thread may have had at the fork (R253).
    fn forked(&self) -> bool {
        match self {
            Self::Pool(pool, _) => pool.forked(),
            Self::Thread(guard) => guard.forked(),
        }
    }
}

/// The result in a child of the process that made the pool.
fn in_a_fork() -> JoinError {
    SubmitError::Forked(()).into_join_error()
}

impl<T: 'static> RunBlocking<T> {
    pub(super) fn in_pool(job: Arc<dyn Outcome<T>>, pool: Arc<Workers>, ticket: Ticket) -> Self {
        Self::new(State::Submitted(job, Home::Pool(pool, ticket)))
    }

    pub(super) fn on_thread(job: Arc<dyn Outcome<T>>, fork: ForkGuard) -> Self {
        Self::new(State::Submitted(job, Home::Thread(fork)))
    }

    pub(super) fn refused(error: JoinError) -> Self {
        Self::new(State::Refused(error))
    }

    fn new(state: State<T>) -> Self {
        Self {
            state,
            wait: None,
            has_wake: false,
        }
    }

    /// Whether the job has ended, and its result can be taken without waiting.
    #[must_use]
    pub fn done(&self) -> bool {
        recorded::has_ended(|| self.is_done()).unwrap_or_else(|| self.is_done())
    }

    /// The same in real time, whatever a recording has.
    fn is_done(&self) -> bool {
        match &self.state {
            State::Submitted(job, home) => home.forked() || job.is_done(),
            State::Refused(_) | State::Taken => true,
        }
    }

    /// Cancels the job if it has not started, and returns whether it did: after `true` the job never runs. A job that
    /// runs already goes on, and its result is dropped, as when this is dropped.
    pub fn cancel(mut self) -> bool {
        self.give_up()
    }

    fn give_up(&mut self) -> bool {
        self.wait = None;
        match std::mem::replace(&mut self.state, State::Taken) {
            // The parent's thread may have the lock of the job. What this process has of it stays.
            State::Submitted(_, home) if home.forked() => true,
            State::Submitted(job, home) => {
                let removed = match &home {
                    Home::Pool(pool, ticket) => pool.cancel(*ticket),
                    Home::Thread(_) => false,
                };
                job.abandon(removed);
                removed
            }
            State::Refused(_) => true,
            State::Taken => false,
        }
    }

    /// Blocks this thread until the job has ended, and takes its result.
    ///
    /// # Errors
    ///
    /// [`WaitError::Join`] if the job panicked or never ran. [`WaitError::OnLoop`], at once, on a thread that turns a
    /// loop. [`WaitError::OnPool`], at once, in a job of the same pool: if all its threads waited like this one, the
    /// awaited job would never start.
    ///
    /// # Panics
    ///
    /// If the result was taken before.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::ThreadPool;
    ///
    /// let pool = ThreadPool::new();
    /// let mut job = pool.run_blocking(|| 21);
    /// assert_eq!(job.wait().unwrap(), 21);
    /// ```
    pub fn wait(&mut self) -> Result<T, WaitError> {
        self.wait_until(None)
    }

    /// Blocks this thread until the job has ended, but no longer than `limit` on the system's clock, and
    /// takes its result. If the job has ended already, its result is returned even if `limit` is zero.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait), and [`WaitError::TimedOut`] if the limit has passed.
    ///
    /// # Panics
    ///
    /// If the result was taken before.
    pub fn wait_for(&mut self, limit: Duration) -> Result<T, WaitError> {
        self.wait_until(now().checked_add(limit))
    }

    fn wait_until(&mut self, end: Option<Instant>) -> Result<T, WaitError> {
        if !self.done() {
            if current::is_turning() {
                return Err(WaitError::OnLoop);
            }
            if let Some(error) = self.in_own_pool() {
                return Err(error);
            }
        }
        let result = block_on(end, |waker| self.poll_result(waker));
        Ok(result.ok_or(WaitError::TimedOut)??)
    }

    /// R240: the error of a wait on a thread of the job's own pool.
    fn in_own_pool(&self) -> Option<WaitError> {
        let State::Submitted(job, Home::Pool(pool, _)) = &self.state else {
            return None;
        };
        let waiting = pool.current_job()?;
        let job = job.site();
        Some(WaitError::OnPool { waiting, job })
    }

    fn poll_result(&mut self, waker: &Waker) -> Poll<Result<T, JoinError>> {
        let result = match &mut self.state {
            State::Submitted(_, home) if home.forked() => Err(in_a_fork()),
            State::Submitted(job, _) => match poll_job(&**job, &mut self.has_wake, waker) {
                Some(Poll::Ready(result)) => result,
                Some(Poll::Pending) => {
                    if self.wait.is_none() {
                        self.wait = CrossLoopWait::for_a_thread();
                    }
                    return Poll::Pending;
                }
                None => unreachable!("only this takes the result, and it does so once"),
            },
            State::Refused(_) => {
                let State::Refused(error) = std::mem::replace(&mut self.state, State::Taken) else {
                    unreachable!("it was refused a line above");
                };
                return Poll::Ready(Err(error));
            }
            State::Taken => panic!("the result of this job was taken before"),
        };
        self.state = State::Taken;
        self.wait = None;
        Poll::Ready(result)
    }
}

impl<T: 'static> Future for RunBlocking<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    ///
    /// If the result was taken before.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = budget::budgeted(cx, |cx| self.poll_result(cx.waker()));
        match polled.is_pending().then(|| self.in_own_pool()).flatten() {
            Some(error) => {
                self.give_up();
                Poll::Ready(Err(JoinError::CancelledFor(error.to_string().into())))
            }
            None => polled,
        }
    }
}

impl<T: 'static> Drop for RunBlocking<T> {
    #[inline]
    fn drop(&mut self) {
        if !matches!(self.state, State::Taken) {
            self.give_up();
        }
    }
}

impl<T: 'static> fmt::Debug for RunBlocking<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let site: Option<&Location<'_>> = match &self.state {
            State::Submitted(job, _) => Some(job.site()),
            State::Refused(_) | State::Taken => None,
        };
        f.debug_struct("RunBlocking")
            .field("done", &self.is_done())
            .field("site", &site.map(ToString::to_string))
            .finish()
    }
}

/// W4: polls a job, and in a replay as the recording has it.
fn poll_job<T>(
    job: &dyn Outcome<T>,
    has_wake: &mut bool,
    waker: &Waker,
) -> Option<Poll<Result<T, JoinError>>> {
    match recorded::has_ended(|| job.is_done()) {
        None => job.poll(waker),
        Some(has_ended) => recorded::poll(job, has_wake, has_ended, waker),
    }
}
