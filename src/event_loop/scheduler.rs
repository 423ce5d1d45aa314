//! The interface between the loop and a task scheduler.
//!
//! The loop (layer 3) knows nothing of futures. A scheduler (layer 4) installs itself once; it owns
//! the tasks, and the loop calls it with the id of each task that is to run. Tasks and closures
//! share one queue, so callbacks and coroutines run in one order.
//!
//! As in asyncio, a step of a task is queued like a callback (N8, N15).

use super::loop_handle::LoopHandle;
use super::origin::Origin;
use std::any::Any;
use std::rc::Rc;
use std::task::Waker;

/// A task scheduler on top of the loop.
pub(crate) trait Scheduler {
    /// Runs the task `task_id`, and possibly the tasks behind it in the batch. The id of a task
    /// that is gone is ignored.
    fn run(&self, handle: &LoopHandle, task_id: u64);

    /// Returns the name and site of a task, for reports; [`Origin::Other`] if it is gone.
    fn origin(&self, task_id: u64) -> Origin {
        let _ = task_id;
        Origin::Other
    }

    /// Returns the site of the future that ran last as [`MAIN_TASK`](super::MAIN_TASK), for reports.
    fn origin_of_main(&self) -> Origin {
        Origin::Main { site: None }
    }

    /// Whether a task is not done yet. A task in the queue that has ended is no work. The default
    /// is `true`.
    fn is_alive(&self, task_id: u64) -> bool {
        let _ = task_id;
        true
    }

    /// Whether `waker` wakes a task or the main future of a scheduler of this kind. Such a waker is
    /// dropped without running user code.
    fn is_task_waker(&self, waker: &Waker) -> bool {
        let _ = waker;
        false
    }

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

    /// Pops the task behind the one that has just run, so that the scheduler runs a row of tasks
    /// without returning to the loop. The scheduler must run it. `None` if the next entry is not a
    /// task, or in debug mode, where the loop times each poll.
    #[inline]
    pub(crate) fn next_in_batch(&self) -> Option<u64> {
        if self.is_debug() {
            return None;
        }
        let task_id = self.ready.pop_task()?;
        self.trace_call("job", task_id);
        Some(task_id)
    }

    /// Returns the scheduler of this loop, which the first call makes with `make`.
    #[inline]
    pub(crate) fn scheduler(&self, make: impl FnOnce() -> Rc<dyn Scheduler>) -> &Rc<dyn Scheduler> {
        self.scheduler.get_or_init(make)
    }

    /// Queues a new task, behind the messages that were sent before. Its first poll is in this turn
    /// or in the next one, as of all queued work ([L5]).
    ///
    /// [L5]: crate::book::invariants#l5
    #[inline]
    pub(crate) fn schedule_new(&self, task_id: u64) {
        self.receive_earlier();
        self.schedule_woken(task_id);
    }

    /// Queues a task that was woken, behind the work that is queued.
    #[inline]
    pub(crate) fn schedule_woken(&self, task_id: u64) {
        self.ready.push_task(task_id);
        self.attention.set(true);
        self.notify_host();
    }
}
