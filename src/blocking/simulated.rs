//! Simulated threads: the jobs of a pool run on the thread of a loop on a virtual kernel, one step of the loop
//! for each.
//!
//! A step runs one of the jobs that threads could run now, chosen by the loop's seed. A test is then
//! deterministic, and its time does not move while a job waits for its step.
//!
//! asyncio has no counterpart.

use super::errors::SubmitError;
use super::job::Run;
use super::pool_state::Submitted;
use super::workers::Workers;
use crate::event_loop::LoopHandle;
use std::sync::Arc;

impl Workers {
    /// Queues a job for a simulated thread: one step of the loop.
    pub(super) fn submit_simulated(
        self: &Arc<Self>,
        handle: &LoopHandle,
        lane: usize,
        job: Arc<dyn Run>,
        may_wait: bool,
    ) -> Result<Submitted, SubmitError<()>> {
        let (state, submitted) = self.push(lane, job, may_wait)?;
        drop(state);
        let mut step = Step(Some(Arc::clone(self)));
        handle.call_soon(move |handle| {
            if let Some(workers) = step.0.take() {
                workers.run_simulated(handle);
            }
        });
        Ok(submitted)
    }

    /// Runs one of the jobs that threads could run now, on this thread.
    fn run_simulated(self: &Arc<Self>, handle: &LoopHandle) {
        if self.forked() {
            return;
        }
        let mut state = self.state();
        let choose = |bound| match handle.shuffles_ready() {
            true => handle.random_below(bound),
            false => 0,
        };
        let Some(taken) = state.queue.take_any(choose) else {
            return; // cancelled, or run by a thread of another loop's job
        };
        let slot = state.free_slot();
        let state = self.run(state, slot, taken, false);
        self.end(state, slot);
    }

    /// The loop has ended before it ran a job: threads take over.
    fn take_over(self: &Arc<Self>) {
        if self.forked() {
            return;
        }
        let mut state = self.state();
        let wake = self.staff(&mut state).unwrap_or(false);
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }
}

/// One job for a simulated thread. If the loop ends before it runs, a thread takes the job.
struct Step(Option<Arc<Workers>>);

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(workers) = self.0.take() {
            workers.take_over();
        }
    }
}
