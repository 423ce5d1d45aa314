//! Starting the worker of a task, and what becomes of its call if that fails.
//!
//! A system may refuse a process for a while. As long as another worker lives, the calls wait for that one,
//! and one task tries again from time to time; without a worker they end with the error. A worker that
//! starts and does not become ready is another matter: it is tried a few times in a row, and then the pool
//! is broken (B7).
//!
//! asyncio has no counterpart: there a pool is broken from the first failure on.

use super::any_worker::AnyWorker;
use super::call::Call;
use super::error::{JobError, StartError};
use super::state::{Phase, Shared};
use crate::time::wait_for::{Elapsed, wait_for};
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// After this many workers in a row that did not become ready, the pool starts no more (B7).
const FAILED_STARTS: u32 = 3;

/// After this many refused starts in a row, a start that another task has begun is no reason to wait.
const REFUSED_STARTS: u32 = 3;

/// How long a task waits after the system has refused it a process.
pub(super) const RETRY_DELAY: Duration = Duration::from_millis(100);

/// What has become of the start of a worker.
pub(super) enum Started {
    Worker(AnyWorker),
    /// The call is in the queue again. Other tasks have workers, and this one is to try later.
    Later,
    /// The call is in the queue again, or has ended, and this task is not needed.
    Never,
}

impl Shared {
    /// Starts a worker for `call`.
    pub(super) async fn start_worker(&self, number: u64, call: &Rc<Call>) -> Started {
        loop {
            self.set_phase(number, Phase::Starting);
            let error = match self.try_start().await {
                Ok(worker) => {
                    let mut state = self.state.borrow_mut();
                    (state.failed_starts, state.refused_starts) = (0, 0);
                    state.counts.started += 1;
                    drop(state);
                    self.set_phase(number, Phase::Serving);
                    return Started::Worker(worker);
                }
                Err(error) => error,
            };
            let is_refused = matches!(error, StartError::Spawn(_));
            let error = Arc::new(error);
            if !is_refused {
                let mut state = self.state.borrow_mut();
                state.failed_starts += 1;
                if state.failed_starts < FAILED_STARTS {
                    continue;
                }
                state.broken = Some(Arc::clone(&error));
            } else {
                self.state.borrow_mut().refused_starts += 1;
            }
            return self.start_failed(number, call, error);
        }
    }

    /// Finds another worker for the call, or ends all calls that wait.
    fn start_failed(&self, number: u64, call: &Rc<Call>, error: Arc<StartError>) -> Started {
        let mut ended = Vec::new();
        let mut state = self.state.borrow_mut();
        if let Some(worker) = state.take_idle(&mut ended) {
            drop(state);
            self.set_phase(number, Phase::Serving);
            return Started::Worker(worker);
        }
        let is_broken = state.broken.is_some();
        let others = state.tasks.iter().filter(|task| task.number != number);
        let mut others = others.map(|task| task.phase);
        // Tasks that are all refused must not wait for each other for ever.
        let starts_help = state.refused_starts <= REFUSED_STARTS;
        let has_hope = others.any(|phase| match phase {
            Phase::Serving => true,
            Phase::Starting => starts_help,
            Phase::Retrying => false,
        });
        if has_hope {
            let retries = !is_broken && !state.is_any(Phase::Retrying);
            state.queue.push_front(Rc::clone(call));
            if let Some(task) = state.task(number) {
                (task.call, task.phase) = (None, Phase::Retrying);
            }
            return match retries {
                true => Started::Later,
                false => Started::Never,
            };
        }
        if let Some(task) = state.task(number) {
            task.call = None;
        }
        let mut failed = vec![Rc::clone(call)];
        failed.extend(mem::take(&mut state.queue));
        drop(state);
        for call in failed {
            if call.is_queued() {
                call.end(Err(JobError::Start(Arc::clone(&error))));
            }
        }
        Started::Never
    }

    async fn try_start(&self) -> Result<AnyWorker, StartError> {
        let options = &self.options;
        let start = async {
            let keep = |child| {
                let children = &mut self.state.borrow_mut().children;
                children.retain(|child| child.id().is_some());
                children.push(child);
            };
            let mut worker = AnyWorker::start(self.program, options, keep).await?;
            if let Some((Some(job), _)) = options.initializer {
                worker.initialize(job, options.frame_limit).await?;
            }
            Ok(worker)
        };
        match wait_for(options.start_limit, start).await {
            Ok(started) => started,
            Err(Elapsed) => Err(StartError::TimedOut(options.start_limit)),
        }
    }
}
