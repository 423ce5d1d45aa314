//! The main task: the caller's own future, polled in line with the loop's tasks.
//!
//! It may borrow from its caller's stack, so the executor cannot own it. It stands in the
//! queue under a number of its own, and whoever turns the loop polls it when that number
//! comes up. To everybody else it is a task like the others: it has a name, it is the
//! current one while it runs, `all_tasks` lists it.
//!
//! In the notes: `run(coroutine)`, the one entry point of a program (N18).

use super::cell::TypedTask;
use super::executor::Executor;
use super::join::{TaskState, notify_done};
use crate::base::slab::SlabKey;
use crate::event_loop::{LoopHandle, MAIN_TASK};
use std::cell::Cell;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A caller's future as a task of a loop; see
/// [`EventLoop::turn_with`](crate::EventLoop::turn_with). Dropping it ends the task.
pub(crate) struct MainTask<'a> {
    handle: &'a LoopHandle,
    executor: &'a Executor,
    key: SlabKey,
    task: TypedTask<()>,
    /// How it ends if it ends now.
    end: Cell<TaskState>,
    /// In which turn it was polled last.
    turn: Cell<u64>,
}

impl<'a> MainTask<'a> {
    /// Enters a task for a future of type `F` and queues its first poll.
    #[must_use]
    #[track_caller]
    pub(crate) fn new<F: Future>(handle: &'a LoopHandle) -> Self {
        let executor = Executor::of(handle);
        let (key, task) = executor.adopt_main::<F>(handle, Location::caller());
        handle.schedule_new(MAIN_TASK);
        Self {
            handle,
            executor,
            key,
            task,
            end: Cell::new(TaskState::Cancelled),
            turn: Cell::new(0),
        }
    }

    /// Polls the future as this task.
    pub(crate) fn poll<F: Future>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        // L5: all main tasks have one number, and an older one's may stand in the queue before
        // ours. If we have been polled for that, and woken since, our own comes in the next turn.
        let turn = self.handle.stats().turns;
        if self.turn.get() == turn {
            return Poll::Pending;
        }
        // T1: the number in the queue may be an older waker's, of a main task before this one.
        // Where a tape runs, other threads leave the flag alone: a poll too many does no harm.
        let cell = self.task.cell();
        if !cell.clear_queued() && !cell.is_recording() {
            return Poll::Pending;
        }
        self.turn.set(turn);
        self.end.set(TaskState::Panicked);
        let polled = self.executor.poll_main(self.key, cell, || {
            cell.with_waker(|waker| future.poll(&mut Context::from_waker(waker)))
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
        self.executor.release_main(self.key, self.end.get());
        notify_done(self.handle, self.task.cell());
    }
}
