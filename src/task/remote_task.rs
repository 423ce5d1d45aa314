//! A task of another thread's loop, as seen from afar: await it, wait for it, cancel it.
//!
//! What it shares with the loop is in `remote_shared.rs`. A thread that turns a loop must not wait (N5), and the loop's own
//! thread would wait for ever: both are told so.
//!
//! In asyncio this is the `concurrent.futures.Future` that `run_coroutine_threadsafe` returns; in
//! the notes, the way back from other threads (N3, N5). Rule: G6.

use super::budget;
use super::join::{JoinError, Reason};
use super::line::drop_waker;
use super::remote::{assert_not_current, cancel};
use super::remote_shared::{Failed, Inner, RemoteState, State};
use crate::event_loop::depth::run_bounded;
use crate::event_loop::{CrossLoopWait, current};
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

/// Why waiting on a plain thread gave no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The task was cancelled, by somebody or by the end of its loop, or it panicked.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The time ran out. The task goes on, and can be waited for again.
    #[error("the time ran out, and the task goes on")]
    TimedOut,
    /// This thread is the loop's own, or turns another one: it would wait for itself, or keep that
    /// one from all else.
    #[error("to wait here would block a loop: await the task instead")]
    OnLoop,
}

/// What is told in a child of the loop's process, where nobody turns that loop.
fn in_a_fork() -> JoinError {
    JoinError::CancelledFor("its loop is that of a parent process".into())
}

/// A task that runs on a loop, for the thread that has sent it there: see
/// [`RemoteHandle::spawn`](crate::RemoteHandle::spawn). Awaiting it gives the result, once, on whichever loop.
///
/// Dropping it detaches the task; a panic that nobody can see any more then follows the
/// [`PanicPolicy`](crate::PanicPolicy) of its loop. It does not keep that loop from ending.
///
/// In a child of the loop's process, forked and not executed anew, the loop has gone: awaiting it
/// gives [`JoinError::CancelledFor`], at once, whatever was there.
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
    /// [`WaitError::Join`] if it was cancelled or panicked, or its loop has gone, as it has in a child
    /// of its process: there it is told at once, and nothing is taken; [`WaitError::OnLoop`], at once, where waiting would block a loop, this one or another.
    ///
    /// # Panics
    ///
    /// If the result was taken before.
    pub fn wait(&mut self) -> Result<T, WaitError> {
        self.wait_up_to(None)
    }

    /// The same, but no longer than `limit` on the system's clock. A result that is there wins over
    /// a limit of zero.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait), and [`WaitError::TimedOut`].
    ///
    /// # Panics
    ///
    /// If the result was taken before.
    pub fn wait_for(&mut self, limit: Duration) -> Result<T, WaitError> {
        self.wait_up_to(Some(limit))
    }

    fn wait_up_to(&mut self, limit: Option<Duration>) -> Result<T, WaitError> {
        // Before the lock: who held it may be in the parent only.
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

    /// Whether it has ended, in whichever way. In a child of its loop's process it has.
    #[must_use]
    pub fn done(&self) -> bool {
        self.shared.home.forked() || self.shared.inner().is_settled()
    }

    /// Whether it was cancelled, also after its result was taken. A call of [`cancel`](Self::cancel)
    /// may have come too late. In a child of its loop's process it was.
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
    /// let mut task = event_loop.remote().spawn(|| async { 21 }).unwrap();
    /// assert!(task.result().is_none());
    /// event_loop.run()?;
    /// assert!(task.done() && !task.cancelled());
    /// assert_eq!(task.result().unwrap().unwrap(), 21);
    /// assert!(task.result().is_none(), "it was taken");
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn result(&mut self) -> Option<Result<T, JoinError>> {
        // Before the lock: who held it may be in the parent only.
        if self.shared.home.forked() {
            return Some(Err(in_a_fork()));
        }
        let taken = self.shared.inner().take();
        Some(taken.ok()??.map_err(Failed::into_error))
    }

    /// Asks the loop to cancel the task, soon. How it has ended is told by the result: it may be
    /// done before the loop reads this.
    #[track_caller]
    pub fn cancel(&self) {
        self.end(None);
    }

    /// The same with a reason, for [`JoinError::reason`].
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
            State::Runs(task_id) => {
                let task_id = *task_id;
                drop(inner);
                self.shared
                    .home
                    .send_call(move |handle| cancel(handle, task_id, reason), site);
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
        // Cloned before the lock, and what it replaces dropped after it (L8).
        let waker = (cx.waker().clone(), CrossLoopWait::new(&self.shared.home));
        let mut inner = self.shared.inner();
        let taken = inner.take();
        let unused = match taken {
            Ok(None) => inner.waker.replace(waker),
            _ => Some(waker),
        };
        let task_id = match inner.state {
            State::Runs(task_id) => Some(task_id),
            _ => None,
        };
        drop(inner);
        if let Some((waker, _afar)) = unused {
            drop_waker(waker);
        }
        if let Some(task_id) = task_id.filter(|_| self.shared.home.is_loop_thread()) {
            assert_not_current(&self.shared.home, task_id);
        }
        match taken {
            Ok(Some(result)) => Poll::Ready(result.map_err(Failed::into_error)),
            Ok(None) => Poll::Pending,
            Err(()) => panic!("the result of this task was taken before"),
        }
    }
}

impl<T: Send + 'static> Drop for RemoteTask<T> {
    fn drop(&mut self) {
        if self.shared.home.forked() {
            return; // the other side is in the parent
        }
        let mut inner = self.shared.inner();
        inner.held = false;
        let (waker, left) = (inner.waker.take(), inner.take());
        drop(inner);
        // L8: not under the lock.
        if let Some((waker, _afar)) = waker {
            drop_waker(waker);
        }
        // A panic that was never looked at is told at home. G5: a result may be the handle of another
        // remote task.
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
