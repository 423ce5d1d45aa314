//! The handle of a task on another thread's loop: await it, wait for it, cancel it.
//!
//! The state shared with the loop is in `remote_shared.rs`. A thread that turns a loop must not
//! block (N5), and the loop's own thread would wait for ever: on both, `wait` returns an error.
//!
//! In asyncio this is the `concurrent.futures.Future` that `run_coroutine_threadsafe` returns; in
//! the notes, the way back from other threads (N3, N5). Rule: G6.

use super::budget;
use super::current::{TaskRef, current_task};
use super::executor;
use super::join_error::{JoinError, Reason};
use super::remote_shared::{Failed, Inner, RemoteState, State};
use super::wait_queue::drop_waker;
use crate::event_loop::user_code::run_bounded;
use crate::event_loop::{CrossLoopWait, Inbox, LoopHandle, current};
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The reason why blocking on a remote task returned no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The task was cancelled, by a call or by the end of its loop, or it panicked.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The time limit passed. The task goes on, and can be waited for again.
    #[error("the time ran out, and the task goes on")]
    TimedOut,
    /// This thread turns a loop, the task's own or another: blocking would stop that loop.
    #[error("to wait here would block a loop: await the task instead")]
    OnLoop,
    /// This thread runs a job of the pool that the awaited job waits for: if each thread of the pool did
    /// so, no job would end.
    #[error(
        "the job submitted at {waiting} would block a thread of its pool to wait for the job submitted at \
         {job}, which needs such a thread"
    )]
    OnPool {
        /// Where the job was submitted that would wait.
        waiting: &'static Location<'static>,
        /// Where the awaited job was submitted.
        job: &'static Location<'static>,
    },
}

/// The result in a child of the loop's process, where no thread turns that loop.
fn in_a_fork() -> JoinError {
    JoinError::CancelledFor("its loop is that of a parent process".into())
}

/// The handle of a task that another thread spawned with
/// [`RemoteHandle::spawn`](crate::RemoteHandle::spawn). Awaiting it gives the result, once, on any
/// loop.
///
/// Dropping it detaches the task; a panic that no handle can take any more then follows the
/// [`PanicPolicy`](crate::PanicPolicy) of the task's loop. A remote task does not keep its loop
/// from ending.
///
/// In a forked child of the loop's process the loop does not exist: awaiting the task there gives
/// [`JoinError::CancelledFor`] at once, even if the result was there before the fork.
///
/// # Cancellation
///
/// Dropping a pending `.await` of `&mut task` loses nothing.
#[doc(alias = "wrap_future")]
pub struct RemoteTask<T: Send + 'static> {
    shared: Arc<RemoteState<T>>,
}

impl<T: Send + 'static> RemoteTask<T> {
    pub(super) fn new(shared: Arc<RemoteState<T>>) -> Self {
        Self { shared }
    }

    /// Blocks this thread until the task has ended, and takes its result.
    ///
    /// # Errors
    ///
    /// [`WaitError::Join`] if the task was cancelled or panicked, or its loop is gone; in a forked
    /// child of the loop's process this is returned at once, and the result is not taken.
    /// [`WaitError::OnLoop`], at once, where waiting would block a loop, the task's own or another.
    ///
    /// # Panics
    ///
    /// If the result was taken before.
    pub fn wait(&mut self) -> Result<T, WaitError> {
        self.wait_up_to(None)
    }

    /// Blocks this thread until the task has ended, but no longer than `limit` on the system's
    /// clock, and takes its result. A result that is there wins over a limit of zero.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait), and [`WaitError::TimedOut`] if the limit has passed.
    ///
    /// # Panics
    ///
    /// If the result was taken before.
    pub fn wait_for(&mut self, limit: Duration) -> Result<T, WaitError> {
        self.wait_up_to(Some(limit))
    }

    fn wait_up_to(&mut self, limit: Option<Duration>) -> Result<T, WaitError> {
        // Before the lock: the thread that holds it may exist in the parent process only.
        if self.shared.home.forked() {
            return Err(in_a_fork().into());
        }
        let mut inner = self.shared.inner();
        if !inner.is_settled() {
            if self.shared.home.is_loop_thread() || current::is_turning() {
                return Err(WaitError::OnLoop);
            }
            let settled = &self.shared.settled;
            let pending = |inner: &mut Inner<T>| !inner.is_settled();
            inner = match limit {
                None => settled
                    .wait_while(inner, pending)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(limit) => {
                    let waited = settled.wait_timeout_while(inner, limit, pending);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        let taken = inner.take();
        drop(inner);
        match taken {
            Ok(Some(result)) => Ok(result.map_err(Failed::into_error)?),
            Ok(None) => Err(WaitError::TimedOut),
            Err(()) => panic!("the result of this task was taken before"),
        }
    }

    /// Whether the task has ended: it returned, was cancelled, or panicked. In a forked child of
    /// its loop's process this is `true`.
    #[must_use]
    pub fn done(&self) -> bool {
        self.shared.home.forked() || self.shared.inner().is_settled()
    }

    /// Whether the task was cancelled, also after its result was taken. A call of
    /// [`cancel`](Self::cancel) may have come too late. In a forked child of its loop's process
    /// this is `true`.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.shared.home.forked() || self.shared.inner().cancelled
    }

    /// Takes the result, without waiting for it: `None` until the task is [`done`](Self::done), and if
    /// the result was taken before. It may be called on any thread.
    ///
    /// # Errors
    ///
    /// [`JoinError`] inside, if the task was cancelled or panicked, or its loop has gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::EventLoop;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let mut task = event_loop.remote_handle().spawn(|| async { 21 }).unwrap();
    /// assert!(task.result().is_none());
    /// event_loop.run()?;
    /// assert!(task.done() && !task.cancelled());
    /// assert_eq!(task.result().unwrap().unwrap(), 21);
    /// assert!(task.result().is_none(), "it was taken");
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn result(&mut self) -> Option<Result<T, JoinError>> {
        // Before the lock: the thread that holds it may exist in the parent process only.
        if self.shared.home.forked() {
            return Some(Err(in_a_fork()));
        }
        let taken = self.shared.inner().take();
        Some(taken.ok()??.map_err(Failed::into_error))
    }

    /// Asks the loop to cancel the task, soon. The result shows how the task has ended: it may be
    /// done before the loop reads this request.
    #[track_caller]
    pub fn cancel(&self) {
        self.end(None);
    }

    /// Asks the loop to cancel the task, soon, with a reason for [`JoinError::reason`].
    #[track_caller]
    pub fn cancel_with(&self, reason: impl Into<Cow<'static, str>>) {
        self.end(Some(reason.into()));
    }

    #[track_caller]
    fn end(&self, reason: Option<Reason>) {
        let site = Location::caller();
        if self.shared.home.forked() {
            return;
        }
        let mut inner = self.shared.inner();
        match &mut inner.state {
            State::Sent(Some(_)) | State::Settled(_) | State::Taken => {}
            State::Sent(cancelled) => {
                *cancelled = Some(reason.map_or(JoinError::Cancelled, JoinError::CancelledFor));
            }
            State::Runs(waker) => {
                let waker = waker.clone();
                drop(inner);
                let cancel = move |handle: &LoopHandle| {
                    executor::cancel(handle, &waker, reason);
                };
                self.shared.home.send_call(cancel, site);
            }
        }
    }
}

impl<T: Send + 'static> Future for RemoteTask<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    ///
    /// If the result was taken before, and in the task itself: it would wait for ever.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        budget::budgeted(cx, |cx| self.poll_result(cx))
    }
}

impl<T: Send + 'static> RemoteTask<T> {
    fn poll_result(&self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        if self.shared.home.forked() {
            return Poll::Ready(Err(in_a_fork()));
        }
        // Cloned before the lock, and the replaced one dropped after it (L8).
        let waker = (cx.waker().clone(), CrossLoopWait::new(&self.shared.home));
        let mut inner = self.shared.inner();
        let taken = inner.take();
        let unused = match taken {
            Ok(None) => inner.waker.replace(waker),
            _ => Some(waker),
        };
        let running = match &inner.state {
            State::Runs(running) if self.shared.home.is_loop_thread() => Some(running.clone()),
            _ => None,
        };
        drop(inner);
        if let Some((waker, _cross_loop)) = unused {
            drop_waker(waker);
        }
        if let Some(running) = running {
            assert_not_current(&self.shared.home, &running);
        }
        match taken {
            Ok(Some(result)) => Poll::Ready(result.map_err(Failed::into_error)),
            Ok(None) => Poll::Pending,
            Err(()) => panic!("the result of this task was taken before"),
        }
    }
}

/// R097: panics if this is the waker of the current task, which would wait for itself for ever.
/// The check is made only on the thread of this inbox.
#[track_caller]
fn assert_not_current(home: &Arc<Inbox>, waker: &Waker) {
    // Another loop of this thread may have a task with the same id.
    if current::is_own_thread(home) {
        let is_it = |task: &TaskRef| task.cell().waker().will_wake(waker);
        let task = current_task().filter(is_it);
        task.inspect(TaskRef::assert_not_current);
    }
}

impl<T: Send + 'static> Drop for RemoteTask<T> {
    fn drop(&mut self) {
        if self.shared.home.forked() {
            return; // the loop's side exists in the parent process only
        }
        let mut inner = self.shared.inner();
        inner.held = false;
        let (waker, left) = (inner.waker.take(), inner.take());
        drop(inner);
        // L8: not under the lock.
        if let Some((waker, _cross_loop)) = waker {
            drop_waker(waker);
        }
        // A panic that was never inspected is reported on its loop. G5: a result may be the handle
        // of another remote task.
        run_bounded(move || drop(left));
    }
}

impl<T: Send + 'static> fmt::Debug for RemoteTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTask")
            .field("done", &self.done())
            .finish()
    }
}
