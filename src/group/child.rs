//! The handle of a child of a group, and the errors of a child.
//!
//! A child's value goes to the owner of the [`Child`], its error to the group. So a program need not
//! await each child only to learn that one has failed, and no failure is lost.
//!
//! In asyncio `TaskGroup.create_task` returns the task, and the errors are an `ExceptionGroup`.
//! Rule: G2.

use crate::event_loop::{Payload, stderr};
use crate::task::{Future, FutureError, TaskRef, TaskState};
use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The failure of one child of a group, or of the body.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ChildError<E> {
    /// It returned this error.
    #[error("{0}")]
    Failed(E),
    /// A child panicked, with this payload.
    #[error("a child panicked: {}", stderr::message(.0))]
    Panicked(Payload),
}

impl<E: fmt::Debug> fmt::Debug for ChildError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
            Self::Panicked(payload) => {
                let message = stderr::message(payload);
                f.debug_tuple("Panicked").field(&message).finish()
            }
        }
    }
}

/// The error of a group: all failures, in the order of time. There is none if the group was
/// [cancelled](crate::TaskGroup::cancel) and nothing failed.
#[doc(alias = "ExceptionGroup")]
#[derive(Debug)]
#[non_exhaustive]
pub struct GroupError<E> {
    /// Each failure, once ([G2]).
    ///
    /// [G2]: crate::book::invariants#g2
    pub errors: Vec<ChildError<E>>,
}

impl<E> GroupError<E> {
    /// Whether nothing failed: the group was cancelled before its body had returned a value.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.errors.is_empty()
    }
}

impl<E: fmt::Display> fmt::Display for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut errors = self.errors.iter();
        match errors.next() {
            Some(first) => write!(f, "{first}")?,
            None => return f.write_str("the group was cancelled"),
        }
        match errors.len() {
            0 => Ok(()),
            more => write!(f, " (and {more} more in the group)"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for GroupError<E> {}

/// Why a child gave no value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ChildFailed {
    /// The child was cancelled: alone, with its group, or because another child failed.
    #[error("the child was cancelled")]
    Cancelled,
    /// The child was cancelled with a reason.
    #[error("the child was cancelled: {0}")]
    CancelledFor(Cow<'static, str>),
    /// It returned an error or panicked. Its group has the error ([G2]).
    ///
    /// [G2]: crate::book::invariants#g2
    #[error("the child failed, and its group has the error")]
    Failed,
}

impl ChildFailed {
    /// Whether the child was cancelled, with a reason or without.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        !matches!(self, Self::Failed)
    }

    /// Returns the reason of the cancellation, if one was given.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::CancelledFor(reason) => Some(reason),
            Self::Cancelled | Self::Failed => None,
        }
    }

    fn of(task: &TaskRef) -> Self {
        // The future goes before the task has ended: a destructor may ask in between.
        match (task.state(), task.cancel_reason()) {
            (TaskState::Done | TaskState::Panicked, _) => Self::Failed,
            (_, Some(reason)) => Self::CancelledFor(reason),
            (TaskState::Running, None) => Self::Failed,
            (_, None) => Self::Cancelled,
        }
    }
}

/// The handle of a child of a group: awaiting it gives the child's value. Dropping the handle does not affect the
/// child.
///
/// # Cancellation
///
/// Dropping a pending `.await` of `&mut child` loses nothing.
pub struct Child<V: 'static> {
    value: Future<V>,
    task: TaskRef,
}

impl<V: 'static> Child<V> {
    pub(super) fn new(value: Future<V>, task: TaskRef) -> Self {
        Self { value, task }
    }

    /// Cancels this child only. Its group goes on: a child that was cancelled has not failed.
    ///
    /// `true` exactly if this call is what ends it. See [`Task::cancel`](crate::Task::cancel).
    pub fn cancel(&self) -> bool {
        self.task.cancel()
    }

    /// [`cancel`](Self::cancel) with a reason, which [`ChildFailed::CancelledFor`] and reports give. If
    /// the child was cancelled before, its reason stays as it was.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{TaskGroup, run};
    /// use std::future::pending;
    ///
    /// run(TaskGroup::<()>::run(async |group| {
    ///     let child = group.spawn(pending::<Result<u8, _>>());
    ///     assert!(!child.done());
    ///     assert!(child.cancel_with("no longer needed"));
    ///     assert!(child.done() && child.cancelled());
    ///     assert_eq!(child.await.unwrap_err().reason(), Some("no longer needed"));
    ///     Ok(())
    /// }))?.unwrap();
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn cancel_with(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        self.task.cancel_with(reason)
    }

    /// Returns the reason that was given to the call that cancelled the child, from that call on.
    #[must_use]
    pub fn cancel_reason(&self) -> Option<Cow<'static, str>> {
        self.task.cancel_reason()
    }

    /// Whether the child has ended, for whatever reason.
    #[must_use]
    pub fn done(&self) -> bool {
        self.task.done()
    }

    /// Whether the child was cancelled.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.task.cancelled()
    }

    /// Returns the state of the child's task.
    #[must_use]
    pub fn state(&self) -> TaskState {
        self.task.state()
    }

    /// Takes the value, without waiting for it: `None` while there is none, and if the value
    /// was taken before. Of a child that is [`done`](Self::done) there is one.
    ///
    /// # Errors
    ///
    /// [`ChildFailed`] inside, if the child was cancelled or has failed.
    pub fn result(&mut self) -> Option<Result<V, ChildFailed>> {
        let result = self.value.result()?;
        Some(self.value_unless_cancelled(result))
    }

    /// A child that cancelled itself and returned a value is cancelled, as every such task.
    fn value_unless_cancelled(&self, result: Result<V, FutureError>) -> Result<V, ChildFailed> {
        match result {
            Ok(value) if !self.task.cancelled() => Ok(value),
            _ => Err(ChildFailed::of(&self.task)),
        }
    }

    /// Returns a reference to the child's task without its value: to name the task, to inspect it, to cancel it.
    #[must_use]
    pub fn task_ref(&self) -> TaskRef {
        self.task.clone()
    }
}

impl<V: 'static> std::future::Future for Child<V> {
    type Output = Result<V, ChildFailed>;

    /// # Panics
    ///
    /// If the value was taken before, and in the child itself: it would wait for ever.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.value).poll(cx);
        if polled.is_pending() {
            self.task.assert_not_current();
        }
        Poll::Ready(self.value_unless_cancelled(ready!(polled)))
    }
}

impl<V: 'static> fmt::Debug for Child<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Child").field(&self.task).finish()
    }
}
