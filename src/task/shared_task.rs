//! The result of a task for many waiters: each gets a clone of the value.
//!
//! A [`Task`] gives its result once, to one waiter. In asyncio several coroutines may await one task;
//! here they each have a clone of a [`SharedTask`]. It owns the task's handle. The first clone that asks
//! for the result after the end moves it out of the task's cell, into an `Rc`; the value is cloned
//! from there, outside of every borrow, because cloning it is user code. A panic payload cannot be
//! cloned, so each waiter gets its message, and the payload itself can be inspected.
//!
//! In asyncio: `await task` in several coroutines. In the notes: N15. Rule: T4.

use super::budget;
use super::cell::TaskState;
use super::current::TaskRef;
use super::done_task::DoneTask;
use super::handle::Task;
use super::join_error::JoinError;
use super::wait_done::WaitDone;
use crate::event_loop::stderr;
use crate::event_loop::user_code::drop_bounded;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Why a [`SharedTask`] gave no value: a [`JoinError`] that can be cloned, with the message of a panic
/// instead of its payload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SharedJoinError {
    /// The task was cancelled.
    #[error("the task was cancelled")]
    Cancelled,
    /// The task was cancelled for this reason.
    #[error("the task was cancelled: {0}")]
    CancelledFor(Cow<'static, str>),
    /// The task panicked with this message. [`SharedTask::with_result`] shows the payload.
    #[error("the task panicked: {0}")]
    Panicked(Rc<str>),
}

impl SharedJoinError {
    fn of(error: &JoinError) -> Self {
        match error {
            JoinError::Cancelled => Self::Cancelled,
            JoinError::CancelledFor(reason) => Self::CancelledFor(reason.clone()),
            JoinError::Panicked(payload) => Self::Panicked(stderr::message(payload).into()),
        }
    }

    /// Whether the task was cancelled, with a reason or without.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled | Self::CancelledFor(_))
    }

    /// The reason for the cancellation, if one was given.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::CancelledFor(reason) => Some(reason),
            Self::Cancelled | Self::Panicked(_) => None,
        }
    }

    /// Whether the task panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self, Self::Panicked(_))
    }
}

/// A task that many waiters can await; a clone refers to the same task. See [`Task::shared`].
///
/// Awaiting it gives a clone of the value, as often as it is awaited. A value that cannot be cloned is
/// inspected by [`with_result`](Self::with_result), after [`TaskRef::wait_done`]; or the task returns
/// an `Rc`.
///
/// When the last clone is dropped, the task is detached, and goes on. A panic that no clone has
/// received or inspected then follows the [`PanicPolicy`](crate::PanicPolicy).
///
/// # Cancellation
///
/// Dropping a pending `.await`, or one of several clones, changes nothing for the others, nor for the
/// task. To cancel the task, call [`cancel`](Self::cancel).
pub struct SharedTask<T: 'static> {
    shared: Rc<Shared<T>>,
    waiting: WaitDone,
}

struct Shared<T: 'static> {
    task: Task<T>,
    /// Filled by the first clone that asks after the end.
    result: OnceCell<Rc<Result<T, JoinError>>>,
}

impl<T: 'static> Shared<T> {
    /// The result that all clones share, once the task has ended.
    fn result(&self) -> Option<Rc<Result<T, JoinError>>> {
        if let Some(result) = self.result.get() {
            return Some(Rc::clone(result));
        }
        let result = Rc::new(self.task.take_result()?);
        // Done-callbacks that were added before still see the result.
        self.task.cell().share_result(&result);
        Some(Rc::clone(self.result.get_or_init(|| result)))
    }
}

impl<T: 'static> Task<T> {
    /// Converts the handle to one that many waiters can await: each gets a clone of the value.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::task::SharedJoinError;
    /// use readily::{gather, run, spawn};
    ///
    /// run(async {
    ///     let task = spawn(async { "for all" }).shared();
    ///     let other = task.clone();
    ///     let waits = spawn(other);
    ///     assert_eq!(gather((task.clone(), task)).await, (Ok("for all"), Ok("for all")));
    ///     assert_eq!(waits.await.unwrap(), Ok("for all"));
    ///
    ///     let task = spawn(std::future::pending::<()>()).shared();
    ///     task.cancel();
    ///     assert_eq!(task.clone().await, Err(SharedJoinError::Cancelled));
    /// })?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn shared(mut self) -> SharedTask<T> {
        // A waker left from an earlier poll of this handle belongs to a waiter that has given the
        // handle away.
        self.stop_listening();
        let waiting = WaitDone::new(self.task_ref());
        let result = OnceCell::new();
        SharedTask {
            shared: Rc::new(Shared { task: self, result }),
            waiting,
        }
    }
}

impl<T: Clone + 'static> SharedTask<T> {
    /// A clone of the result, without waiting for it: `None` until the task is [`done`](Self::done),
    /// and if the result was taken before the task was shared.
    ///
    /// # Errors
    ///
    /// [`SharedJoinError`] inside, if the task was cancelled or has panicked.
    #[must_use]
    pub fn result(&self) -> Option<Result<T, SharedJoinError>> {
        // L8: nothing is borrowed while the value is cloned.
        let result = self.shared.result()?;
        Some(match &*result {
            Ok(value) => Ok(value.clone()),
            Err(error) => Err(SharedJoinError::of(error)),
        })
    }
}

impl<T: 'static> SharedTask<T> {
    /// Inspects the result: `None` until the task is [`done`](Self::done), and if the result was taken
    /// before the task was shared. A panic that was inspected is not reported.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{run, spawn};
    ///
    /// struct NoClone(u32);
    ///
    /// run(async {
    ///     let task = spawn(async { NoClone(7) }).shared();
    ///     task.task_ref().wait_done().await;
    ///     let seen = task.with_result(|result| result.as_ref().unwrap().0);
    ///     assert_eq!(seen, Some(7));
    /// })?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn with_result<R>(&self, f: impl FnOnce(&Result<T, JoinError>) -> R) -> Option<R> {
        let result = self.shared.result()?;
        Some(f(&result))
    }

    /// Whether the task has ended: it returned, was cancelled, or panicked.
    #[must_use]
    pub fn done(&self) -> bool {
        self.shared.task.done()
    }

    /// Whether the task was cancelled.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.shared.task.cancelled()
    }

    /// The state of the task.
    #[must_use]
    pub fn state(&self) -> TaskState {
        self.shared.task.state()
    }

    /// Cancels the task, for all waiters. See [`Task::cancel`].
    pub fn cancel(&self) -> bool {
        self.shared.task.cancel()
    }

    /// Cancels the task, for all waiters, with a reason. See [`Task::cancel_with`].
    pub fn cancel_with(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        self.shared.task.cancel_with(reason)
    }

    /// The reason given to the call that cancelled the task, from that call on.
    #[must_use]
    pub fn cancel_reason(&self) -> Option<Cow<'static, str>> {
        self.shared.task.cancel_reason()
    }

    /// A reference without the result: to name the task, to wait for its end, to store it in a set.
    #[must_use]
    pub fn task_ref(&self) -> TaskRef {
        self.shared.task.task_ref()
    }

    /// Schedules `callback` by `call_soon` when the task ends. See [`Task::add_done_callback`].
    #[track_caller]
    pub fn add_done_callback(
        &self,
        callback: impl FnOnce(&DoneTask<T>) + 'static,
    ) -> super::DoneCallbackKey {
        let key = self.shared.task.add_done_callback(callback);
        // Added after a waiter has received the result: the callback sees it all the same.
        if let Some(result) = self.shared.result.get() {
            self.shared.task.cell().share_result(result);
        }
        key
    }

    /// Removes a done-callback. See [`Task::remove_done_callback`].
    pub fn remove_done_callback(&self, key: super::DoneCallbackKey) -> bool {
        self.shared.task.remove_done_callback(key)
    }
}

impl<T: 'static> Clone for SharedTask<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Rc::clone(&self.shared),
            waiting: self.shared.task.task_ref().wait_done(),
        }
    }
}

impl<T: Clone + 'static> Future for SharedTask<T> {
    type Output = Result<T, SharedJoinError>;

    /// # Panics
    ///
    /// If the result was taken before the task was shared, and in the task itself: it would wait for
    /// ever. On another loop than that of the task, unless the task has ended.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        budget::budgeted(cx, |cx| {
            ready!(self.waiting.poll_done(cx));
            match self.result() {
                Some(result) => Poll::Ready(result),
                None => panic!(
                    "the result of {} was taken before",
                    self.shared.task.get_name()
                ),
            }
        })
    }
}

impl<T: 'static> Drop for Shared<T> {
    fn drop(&mut self) {
        // G5: the value may be the next one of its kind, and so on.
        if let Some(result) = self.result.take() {
            match self.task.home().upgrade() {
                Some(handle) => handle.drop_guarded(result),
                None => drop_bounded(result),
            }
        }
    }
}

impl<T: 'static> fmt::Debug for SharedTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedTask")
            .field(&self.shared.task)
            .finish()
    }
}
