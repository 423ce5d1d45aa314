//! Waiting for the end of a task of any type, by any number of waiters.
//!
//! The [`Task`](crate::Task) has a slot of its own for its one waiter, in the part of the cell that
//! each task has. All others wait by a [`TaskRef`], in a list that few tasks have. None of these
//! waits touches the result.
//!
//! In asyncio: `wait` with one task. In the notes: N16.

use super::budget;
use super::cell::TaskState;
use super::current::TaskRef;
use super::waiters::WaiterKey;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

impl TaskRef {
    /// Waits for the end of the task, and returns how it ended. The result stays where it is, with the
    /// [`Task`](crate::Task), so any number of waiters may do this, beside the one that awaits the
    /// `Task`.
    ///
    /// # Panics
    ///
    /// When it is polled, in the task itself: it would wait for ever. On another loop than that of the
    /// task, unless the task has ended.
    ///
    /// # Cancellation
    ///
    /// Dropping it changes nothing for the task, nor for other waiters.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::task::TaskState;
    /// use readily::{gather, run, spawn};
    ///
    /// run(async {
    ///     let task = spawn(async { "value" });
    ///     let other = task.task_ref();
    ///     let states = gather((task.task_ref().wait_done(), other.wait_done())).await;
    ///     assert_eq!(states, (TaskState::Done, TaskState::Done));
    ///     assert_eq!(task.await.unwrap(), "value");
    /// })?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn wait_done(&self) -> WaitDone {
        WaitDone::new(self.clone())
    }
}

/// The future of [`TaskRef::wait_done`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct WaitDone {
    task: TaskRef,
    waiting: Option<WaiterKey>,
}

impl WaitDone {
    pub(super) fn new(task: TaskRef) -> Self {
        let waiting = None;
        Self { task, waiting }
    }

    /// Polls without budget, for combinators of several operations.
    pub(crate) fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<TaskState> {
        let Self { task, waiting } = self;
        if !task.done() {
            task.assert_not_current();
            task.assert_own_loop();
            task.cell().waiters_or_new().wait(waiting, cx.waker());
        }
        // Cloning the waker was user code, and may have ended the task.
        match task.state() {
            state if state.is_ended() => Poll::Ready(state),
            _ => Poll::Pending,
        }
    }
}

impl Future for WaitDone {
    type Output = TaskState;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TaskState> {
        budget::budgeted(cx, |cx| self.poll_done(cx))
    }
}

impl Drop for WaitDone {
    fn drop(&mut self) {
        // R090: no waker is left behind.
        if let Some(waiters) = self.task.cell().waiters() {
            waiters.leave(&mut self.waiting);
        }
    }
}

impl fmt::Debug for WaitDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WaitDone").field(&self.task).finish()
    }
}
