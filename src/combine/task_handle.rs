//! The arguments of [`wait`](crate::wait()): a `Task`, whose value can be a failure, or a `TaskRef`.
//!
//! A list of `Task`s has one type of result; tasks of different types are waited for by their
//! `TaskRef`s. Both wait for the end only, and leave the result where it is.
//!
//! In asyncio a task has no type, and `wait` takes any.

use crate::task::{JoinError, Task, TaskRef, TaskState, WaitDone};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

mod sealed {
    pub trait Sealed {}
    impl<T: 'static> Sealed for super::Task<T> {}
    impl Sealed for super::TaskRef {}
}

/// A handle of a task that [`wait`](crate::wait()) accepts: [`Task`] or [`TaskRef`].
pub trait TaskHandle: sealed::Sealed + 'static {
    /// What [`Wait::failing_if`](super::Wait::failing_if) is shown of a task that returned: its value;
    /// for a [`TaskRef`], which does not know the value, the `TaskRef`.
    type Value: ?Sized;

    #[doc(hidden)]
    type Ended<'a>: Future<Output = bool>;

    /// The end, and whether it counts as a failure.
    #[doc(hidden)]
    fn ended<'a>(&'a mut self, failed: &'a dyn Fn(&Self::Value) -> bool) -> Self::Ended<'a>;

    #[doc(hidden)]
    fn has_ended(&self) -> bool;
}

impl<T: 'static> TaskHandle for Task<T> {
    type Value = T;
    type Ended<'a> = Ended<'a, T>;

    fn ended<'a>(&'a mut self, failed: &'a dyn Fn(&T) -> bool) -> Ended<'a, T> {
        Ended { task: self, failed }
    }

    fn has_ended(&self) -> bool {
        self.done()
    }
}

impl TaskHandle for TaskRef {
    type Value = Self;
    type Ended<'a> = EndedRef<'a>;

    fn ended<'a>(&'a mut self, failed: &'a dyn Fn(&Self) -> bool) -> EndedRef<'a> {
        let wait = self.wait_done();
        EndedRef {
            task: self,
            wait,
            failed,
        }
    }

    fn has_ended(&self) -> bool {
        self.done()
    }
}

/// The future of the end of a task, and of whether it failed. Does not take the result.
pub struct Ended<'a, T: 'static> {
    task: &'a mut Task<T>,
    failed: &'a dyn Fn(&T) -> bool,
}

impl<T: 'static> Future for Ended<'_, T> {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        ready!(self.task.poll_done(cx));
        let failed = self.task.peek_result(|result| match result {
            Ok(value) => (self.failed)(value),
            Err(JoinError::Panicked(_)) => true,
            Err(JoinError::Cancelled | JoinError::CancelledFor(_)) => false,
        });
        // `None`: it was taken before, by code that knows what it was.
        Poll::Ready(failed.unwrap_or(false))
    }
}

/// As [`Ended`], for a task without its type.
pub struct EndedRef<'a> {
    task: &'a TaskRef,
    wait: WaitDone,
    failed: &'a dyn Fn(&TaskRef) -> bool,
}

impl Future for EndedRef<'_> {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        Poll::Ready(match ready!(self.wait.poll_done(cx)) {
            TaskState::Panicked => true,
            TaskState::Done => (self.failed)(self.task),
            _ => false,
        })
    }
}
