//! The interface between the loop and a task scheduler.
//!
//! The loop (layer 3) knows nothing of futures. A scheduler (layer 4) installs itself once; it owns
//! the tasks, and has a queue of those that are ready. The loop has the places of tasks and closures
//! in one order (`ready_queue.rs`), and calls the scheduler where it is a task's turn.
//!
//! As in asyncio, a step of a task is queued like a callback (N8, N15).

use super::loop_handle::LoopHandle;
use super::origin::Origin;
use super::rows::{Rows, TaskRow};
use std::any::Any;
use std::rc::Rc;
use std::task::Waker;

/// The task id of the main future, which the caller of the loop waits for.
pub(crate) const MAIN_TASK: u64 = u64::MAX;

/// A task scheduler on top of the loop.
pub(crate) trait Scheduler {
    /// Runs the first of the ready tasks, and possibly the tasks behind it in the batch. A task that
    /// has ended is ignored.
    fn run(&self, handle: &LoopHandle);

    /// Queues a task that another thread has woken, unless it is gone.
    fn queue(&self, task_id: u64);

    /// Shuffles the ready tasks: `order` has their old places in the new order.
    fn reorder(&self, order: &[usize]);

    /// Whether one of the ready tasks has not ended. One that has is no work.
    fn has_ready_task(&self) -> bool;

    /// Returns the name and site of the task that is being polled, for reports; [`Origin::Other`] if
    /// there is none.
    fn origin(&self) -> Origin;

    /// Returns the name and site of the first of the ready tasks.
    fn origin_of_next(&self) -> Origin;

    /// Returns the site of the future that ran last as [`MAIN_TASK`], for reports.
    fn origin_of_main(&self) -> Origin;

    /// Whether `waker` wakes a task or the main future of a scheduler of this kind. Such a waker is
    /// dropped without running user code.
    fn is_task_waker(&self, waker: &Waker) -> bool {
        let _ = waker;
        false
    }

    /// Shrinks the queue of ready tasks after a burst (R126).
    fn shrink(&self);

    /// Returns the number of tasks that are not done; [`EventLoop::run`](super::EventLoop::run)
    /// continues while there are any.
    fn task_count(&self) -> usize;

    /// Drops all tasks, on this thread, and returns their names.
    fn close(&self, handle: &LoopHandle) -> Vec<String>;

    /// Returns the scheduler as [`Any`], to downcast it.
    fn as_any(&self) -> &dyn Any;
}

impl LoopHandle {
    /// The origin of the main future, for reports.
    pub(super) fn main_origin(&self) -> Origin {
        let scheduler = self.scheduler.get();
        scheduler.map_or(Origin::Main { site: None }, |scheduler| {
            scheduler.origin_of_main()
        })
    }

    /// Drops a waker: with a guard, unless it is that of a task, as nearly all are.
    #[inline]
    pub(super) fn drop_waker(&self, waker: Waker) {
        let scheduler = self.scheduler.get();
        if scheduler.is_some_and(|scheduler| scheduler.is_task_waker(&waker)) {
            drop(waker);
        } else {
            self.drop_foreign_waker(waker);
        }
    }

    #[inline(never)]
    fn drop_foreign_waker(&self, waker: Waker) {
        self.drop_guarded(waker);
    }

    /// Returns the places of the tasks behind the one that runs, so that the scheduler runs a row of
    /// tasks without returning to the loop. In debug mode, where the loop times each poll, there are
    /// none.
    #[inline]
    pub(crate) fn take_task_row(&self) -> TaskRow<'_> {
        let left = match self.is_debug() {
            true => 0,
            false => self.ready.rows.take_tasks(),
        };
        TaskRow {
            rows: &self.ready.rows,
            left,
        }
    }

    /// Returns the scheduler of this loop, which the first call makes with `make`.
    #[inline]
    pub(crate) fn scheduler(&self, make: impl FnOnce() -> Box<dyn Scheduler>) -> &dyn Scheduler {
        &**self.scheduler.get_or_init(make)
    }

    /// Returns the order of the ready work, in which the scheduler adds the places of its tasks.
    pub(crate) fn rows(&self) -> &Rc<Rows> {
        &self.ready.rows
    }
}
