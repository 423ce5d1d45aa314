//! Where a scheduler is plugged into the loop: it owns jobs, the loop runs them in turn.
//!
//! The loop knows no future (layer 3); whoever does (layer 4) installs itself once and is
//! called back with a number for each job whose time has come. Jobs and closures share one
//! queue, so callbacks and coroutines run in one order.
//!
//! In asyncio a task's step is a callback like any other; so it is here (N8, N15).

use super::local::LoopHandle;
use super::origin::Origin;
use std::any::Any;
use std::rc::Rc;

/// A scheduler on top of the loop.
pub(crate) trait Scheduler {
    /// Runs one job, or that and those behind it. A number whose job is gone is ignored.
    fn run(&self, handle: &LoopHandle, task_id: u64);

    /// Who a job is, for reports; [`Origin::Other`] if it is gone.
    fn origin(&self, task_id: u64) -> Origin {
        let _ = task_id;
        Origin::Other
    }

    /// Who ran last as [`MAIN_TASK`](super::MAIN_TASK), for reports.
    fn origin_of_main(&self) -> Origin {
        Origin::Main { site: None }
    }

    /// Whether a job is not done yet: one that is ready, but has ended, is no work. `true` for a
    /// scheduler that does not know.
    fn is_alive(&self, task_id: u64) -> bool {
        let _ = task_id;
        true
    }

    /// How many jobs are not done yet; [`EventLoop::run`](super::EventLoop::run) goes on
    /// while there are any.
    fn task_count(&self) -> usize;

    /// Drops all jobs, on this thread, and names them.
    fn close(&self, handle: &LoopHandle) -> Vec<String>;

    /// For the scheduler to recognise itself.
    fn as_any(&self) -> &dyn Any;
}

impl LoopHandle {
    /// Who runs as the main future.
    pub(super) fn main_origin(&self) -> Origin {
        let scheduler = self.scheduler.get();
        scheduler.map_or(Origin::Main { site: None }, |scheduler| {
            scheduler.origin_of_main()
        })
    }

    /// The job that stands behind the one that has just run, for the scheduler, which has it run or
    /// loses it; `None` if somebody else is next, or if the loop takes the time of each. So that from
    /// task to task nobody comes back to the loop: 35 instructions less for each.
    #[inline]
    pub(crate) fn next_in_batch(&self) -> Option<u64> {
        if self.is_debug() {
            return None;
        }
        let task_id = self.ready.pop_task()?;
        self.trace_call("job", task_id);
        Some(task_id)
    }

    /// The scheduler of this loop, made by `make` when first asked for.
    #[inline]
    pub(crate) fn scheduler(&self, make: impl FnOnce() -> Rc<dyn Scheduler>) -> &Rc<dyn Scheduler> {
        self.scheduler.get_or_init(make)
    }

    /// Queues a new job, for a later turn ([L5]), behind what was sent before.
    ///
    /// [L5]: crate::book::invariants#l5
    #[inline]
    pub(crate) fn schedule_new(&self, task_id: u64) {
        self.receive_earlier();
        self.ready.push_new(task_id);
        self.notify_host();
    }

    /// Queues a job that was woken: in this turn, if an event or a timer woke it; else in the next.
    #[inline]
    pub(crate) fn schedule_woken(&self, task_id: u64) {
        self.ready.push_woken(task_id);
        self.notify_host();
    }
}
