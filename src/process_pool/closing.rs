//! The end of a pool: what becomes of its calls, its tasks and its workers.
//!
//! In asyncio: `ProcessPoolExecutor.shutdown`.

use super::error::JobError;
use super::state::{Phase, Shared};
use crate::process::ChildHandle;
use crate::signal::Signal;
use crate::task::{Future, create_future};
use std::mem;

impl Shared {
    /// Refuses further calls.
    pub(super) fn close(&self) {
        self.state.borrow_mut().is_shut_down = true;
    }

    /// Ends the calls that wait for a worker and have no task.
    pub(super) fn end_queued(&self) {
        let queue = mem::take(&mut self.state.borrow_mut().queue);
        for call in queue {
            if call.is_queued() {
                call.end(Err(JobError::ShutDown));
            }
        }
    }

    /// Ends the calls that no worker has begun, and the tasks that start a worker for one.
    pub(super) fn end_waiting(&self) {
        self.end_queued();
        self.cancel_tasks(|phase| phase != Phase::Serving);
    }

    /// Ends all calls, and kills the workers.
    pub(super) fn end_all(&self) {
        self.end_queued();
        self.cancel_tasks(|_| true);
        let mut state = self.state.borrow_mut();
        let (idle, children) = (mem::take(&mut state.idle), state.children.clone());
        drop(state);
        for child in &children {
            // Refused if it has ended.
            let _ = child.signal_group(Signal::KILL);
        }
        drop(idle);
    }

    fn cancel_tasks(&self, which: impl Fn(Phase) -> bool) {
        let state = self.state.borrow();
        let chosen = state.tasks.iter().filter(|task| which(task.phase));
        let tasks: Vec<_> = chosen.filter_map(|task| task.task.clone()).collect();
        drop(state);
        for task in tasks {
            task.cancel();
        }
    }

    /// The future of the time when no worker has a task; `None` if that is now.
    pub(super) fn tasks_ended(&self) -> Option<Future<()>> {
        let mut state = self.state.borrow_mut();
        if state.tasks.is_empty() {
            return None;
        }
        let (promise, end) = create_future();
        state.waiting_for_end.push(promise);
        Some(end)
    }

    /// Closes the sockets of the idle workers, so that they end, and returns all processes.
    pub(super) fn close_idle(&self) -> Vec<ChildHandle> {
        let mut state = self.state.borrow_mut();
        let (idle, children) = (mem::take(&mut state.idle), state.children.clone());
        drop(state);
        drop(idle);
        children
    }
}
