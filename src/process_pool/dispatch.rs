//! Which worker runs which call: the queue, and the tasks of the workers.
//!
//! A call that finds an idle worker, or room for another, goes there at once; other calls are queued. For
//! each worker that runs a call there is one task, which takes the next call from the queue when that one
//! has ended. An idle worker has no task, so that idle workers do not keep a loop running.
//!
//! A task may be cancelled at any point: by a shutdown, by the end of the loop, or by a program that
//! cancels all tasks. Its guard ends the call that it has taken, and lets another task go on with the queue.
//!
//! In the notes: CPU-heavy work goes to a process pool (N3, N5, N6).
//!
//! # Rules
//!
//! - **P6** Each call ends once: with its result, or with the reason why there is none.
//! - **P7** A call that a worker may have begun is never run again.
//! - **P8** At most as many calls run at once as the pool has workers.

use super::any_worker::AnyWorker;
use super::call::{Call, Outcome};
use super::error::JobError;
use super::starting::{RETRY_DELAY, Started};
use super::state::{Phase, Shared, WorkerTask};
use super::worker_process::Answer;
use crate::combine::select::{Either, select};
use crate::task::handle::spawn;
use crate::time::sleep::sleep;
use crate::time::wait_for::wait_for;
use std::mem;
use std::rc::Rc;

impl Shared {
    /// Gives a call to a worker, or queues it.
    pub(super) fn dispatch(self: &Rc<Self>, call: Rc<Call>) {
        self.state.borrow_mut().queue.push_back(call);
        self.assign();
    }

    /// Gives the calls that wait to idle workers, and to new ones as long as there is room.
    pub(super) fn assign(self: &Rc<Self>) {
        loop {
            let mut state = self.state.borrow_mut();
            // P8. While the system refuses processes, one task tries.
            let may_start =
                state.tasks.len() < self.options.workers && !state.is_any(Phase::Retrying);
            if !may_start && state.idle.is_empty() {
                return;
            }
            let Some(call) = state.next_call() else {
                return;
            };
            let mut ended = Vec::new();
            let worker = state.take_idle(&mut ended);
            if worker.is_none() && !may_start {
                state.queue.push_front(call);
                return;
            }
            state.last_task += 1;
            let number = state.last_task;
            state.tasks.push(WorkerTask {
                number,
                task: None,
                call: Some(Rc::clone(&call)),
                phase: match worker {
                    Some(_) => Phase::Serving,
                    None => Phase::Starting,
                },
            });
            drop(state);
            drop(ended);
            let guard = TaskGuard {
                shared: Rc::clone(self),
                number,
                has_finished: false,
            };
            let task = spawn(serve(guard, worker, call)).task_ref();
            if let Some(entry) = self.state.borrow_mut().task(number) {
                entry.task = Some(task);
            }
        }
    }

    /// Takes the next call from the queue for a task.
    fn next_call(&self, number: u64) -> Option<Rc<Call>> {
        let mut state = self.state.borrow_mut();
        let next = state.next_call();
        if let Some(task) = state.task(number) {
            task.call.clone_from(&next);
        }
        next
    }

    /// Sets what a task does.
    pub(super) fn set_phase(&self, number: u64, phase: Phase) {
        if let Some(task) = self.state.borrow_mut().task(number) {
            task.phase = phase;
        }
    }

    /// Leaves a worker idle, unless no call can come.
    fn park(&self, worker: Option<AnyWorker>) {
        let mut state = self.state.borrow_mut();
        if let (Some(worker), false) = (worker, state.is_shut_down) {
            state.idle.push(worker);
        }
    }

    /// Runs a call on a worker. Returns its outcome, and whether the worker can be used further.
    async fn run(&self, worker: &mut AnyWorker, call: &Call, frame: Vec<u8>) -> (Outcome, bool) {
        let limited = async {
            let answer = worker.call(&frame, call.number);
            match self.options.job_limit {
                Some(limit) => wait_for(limit, answer)
                    .await
                    .unwrap_or(Err(JobError::TimedOut(limit))),
                None => answer.await,
            }
        };
        let answer = match select((limited, call.stopped())).await {
            Either::Left(answer) => answer,
            Either::Right(()) => Err(JobError::Cancelled), // the call has the reason
        };
        match answer {
            Ok(Answer::Done(result)) => (Ok(result), true),
            Ok(Answer::Panicked(text)) => (Err(JobError::Panicked(text)), true),
            Ok(Answer::NotSent(text)) => (Err(JobError::NotSent(text)), true),
            Err(error) => {
                // Nothing if it has ended by itself.
                worker.kill().await;
                self.state.borrow_mut().counts.died += 1;
                (Err(error), false)
            }
        }
    }
}

/// The task of a worker: runs the call, and then those that are queued.
async fn serve(mut guard: TaskGuard, mut worker: Option<AnyWorker>, mut call: Rc<Call>) {
    let (shared, number) = (Rc::clone(&guard.shared), guard.number);
    loop {
        let started = match worker.take() {
            Some(process) => Started::Worker(process),
            None => shared.start_worker(number, &call).await,
        };
        match started {
            Started::Worker(mut process) => {
                let lives = match call.begin() {
                    Some(frame) => {
                        let (outcome, lives) = shared.run(&mut process, &call, frame).await;
                        call.end(outcome);
                        lives
                    }
                    None => true,
                };
                let is_worn = shared.options.jobs_per_worker;
                let is_worn = is_worn.is_some_and(|jobs| process.jobs() >= jobs.get());
                if lives && !is_worn && process.is_clean() {
                    worker = Some(process);
                }
            }
            Started::Later => sleep(RETRY_DELAY).await,
            Started::Never => break,
        }
        match shared.next_call(number) {
            Some(next) => call = next,
            None => break,
        }
    }
    shared.park(worker);
    guard.has_finished = true;
}

/// Ends a task of a worker, wherever it was dropped.
struct TaskGuard {
    shared: Rc<Shared>,
    number: u64,
    /// Whether it has come to its end: it has no call then.
    has_finished: bool,
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        let shared = &self.shared;
        let mut state = shared.state.borrow_mut();
        let place = state.tasks.iter().position(|it| it.number == self.number);
        let ended = place.map(|place| state.tasks.swap_remove(place));
        let ended = ended.filter(|_| !self.has_finished);
        state.counts.died += u64::from(ended.as_ref().is_some_and(WorkerTask::is_running));
        let call = ended.and_then(|task| task.call);
        let is_shut_down = state.is_shut_down;
        drop(state);
        if let Some(call) = call {
            call.end(Err(match is_shut_down || shared.is_home_gone() {
                true => JobError::ShutDown,
                false => JobError::Cancelled,
            }));
        }
        if !self.has_finished {
            match shared.is_home_gone() {
                true => shared.end_queued(),
                false => shared.assign(),
            }
        }
        let mut state = shared.state.borrow_mut();
        if state.tasks.is_empty() {
            let waiting = mem::take(&mut state.waiting_for_end);
            drop(state);
            for promise in waiting {
                let _ = promise.set_result(());
            }
        }
    }
}
