//! One poll of a task, as its cell and its executor see it.
//!
//! The cell reports how the poll goes, and the executor then ends the task with the error that is
//! recorded here. Rules: T3, F1.

use super::state::BeginEnd;
use super::task_list::CurrentTask;
use super::{Executor, TaskPtr};
use crate::event_loop::{LoopHandle, Payload};
use crate::task::budget;
use crate::task::join_error::JoinError;

/// One poll of a task: what the cell reports to the executor when the poll begins, when it returns,
/// and, if the task ends with it, when the future's destructor panics.
pub(in crate::task) struct PollCx<'a> {
    executor: &'a Executor,
    handle: &'a LoopHandle,
    /// The error with which the task ends.
    pub(in crate::task) error: Option<JoinError>,
}

impl<'a> PollCx<'a> {
    #[inline]
    pub(in crate::task) fn new(executor: &'a Executor, handle: &'a LoopHandle) -> Self {
        let error = None;
        Self {
            executor,
            handle,
            error,
        }
    }

    /// The poll begins. Returns the place of the current task.
    #[inline]
    pub(super) fn begin(&self, cell: &TaskPtr) -> &'a CurrentTask {
        budget::reset(); // F1
        cell.count_poll();
        &self.executor.current
    }

    /// The poll was ready, and the task ends here.
    pub(super) fn returned(&mut self, cell: &TaskPtr) {
        if cell.state().begin_end() == BeginEnd::Cancelled {
            self.error = Some(JoinError::Cancelled);
        }
        self.remove(cell);
    }

    /// The poll was pending, but the task was cancelled meanwhile and ends here.
    #[cold]
    pub(super) fn cancelled(&mut self, cell: &TaskPtr) {
        let _ = cell.state().begin_end();
        self.error = Some(JoinError::Cancelled);
        self.remove(cell);
    }

    /// Removes the task from the list, before its future is dropped. The caller of the poll has a
    /// reference.
    #[inline(always)] // at the end of a task that returns, and in a cold function
    fn remove(&self, cell: &TaskPtr) {
        self.executor.current.clear();
        budget::suspend();
        drop(cell.unlink());
    }

    /// The future of a task that ends panicked while it was dropped.
    #[cold]
    pub(super) fn panicked_in_drop(&mut self, cell: &TaskPtr, payload: Payload) {
        let error = self.error.take();
        self.error = error_after_drop(self.handle, cell, payload, error);
    }
}

/// The error of a task after the destructor of its future has panicked.
#[cold]
pub(in crate::task) fn error_after_drop(
    handle: &LoopHandle,
    cell: &TaskPtr,
    payload: Payload,
    error: Option<JoinError>,
) -> Option<JoinError> {
    // A cancelled future whose destructor panicked has not just been cancelled.
    if matches!(error, Some(JoinError::Cancelled)) {
        return Some(JoinError::Panicked(payload));
    }
    handle.apply_panic_policy(payload, cell.origin());
    error
}
