//! The main task: the caller's own future, polled in turn with the loop's tasks.
//!
//! The future may borrow from its caller's stack, so the executor cannot own it. The main task is
//! queued under a task id of its own, and the code that turns the loop polls the future when that
//! id comes up. In all else it is a task like the others: it has a name, it is the current task
//! while it runs, and `all_tasks` lists it.
//!
//! In the notes: `run(coroutine)`, the one entry point of a program (N18).

use super::cell::{TaskState, TypedTask};
use super::executor::Executor;
use super::join::notify_done;
use crate::event_loop::LoopHandle;
use std::cell::Cell;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A caller's future as a task of a loop. Dropping it ends the task. See
/// [`EventLoop::turn_with`](crate::EventLoop::turn_with).
pub(crate) struct MainTask<'a> {
    handle: &'a LoopHandle,
    executor: &'a Executor,
    task: TypedTask<()>,
    /// The state in which the task ends if it is dropped now.
    end: Cell<TaskState>,
    /// The turn of the last poll.
    turn: Cell<u64>,
}

impl<'a> MainTask<'a> {
    /// Creates the main task for a future of type `F` and queues its first poll.
    #[must_use]
    #[track_caller]
    pub(crate) fn new<F: Future>(handle: &'a LoopHandle) -> Self {
        let executor = Executor::of(handle);
        let task = Executor::adopt_main::<F>(executor, Location::caller());
        handle.receive_earlier(); // they are before it
        executor.push_main();
        Self {
            handle,
            executor,
            task,
            end: Cell::new(TaskState::Cancelled),
            turn: Cell::new(0),
        }
    }

    /// Polls the future as the current task.
    pub(crate) fn poll<F: Future>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        // L5: all main tasks share one id, and the entry of an older one may be queued before that
        // of this one. A task that was polled for that entry, and woken since, is polled again in
        // the next turn.
        let turn = self.handle.turns();
        if self.turn.get() == turn {
            return Poll::Pending;
        }
        // T1: the queued id may come from a waker of an earlier main task. While a recording runs,
        // other threads leave the flag alone: a spurious poll does no harm.
        let cell = self.task.cell();
        if !cell.state().clear_queued() && !cell.is_recording() {
            return Poll::Pending;
        }
        self.turn.set(turn);
        self.end.set(TaskState::Panicked);
        let polled = self.executor.poll_main(cell, || {
            future.poll(&mut Context::from_waker(&cell.waker()))
        });
        self.end.set(match polled {
            Poll::Ready(_) => TaskState::Done,
            Poll::Pending => TaskState::Cancelled,
        });
        polled
    }
}

impl Drop for MainTask<'_> {
    fn drop(&mut self) {
        self.executor.release_main(self.task.cell(), self.end.get());
        notify_done(self.handle, self.task.cell());
    }
}
