//! The queue of calls, and the tasks that run them on workers.
//!
//! A call that finds an idle worker, or room for another, goes there at once; other calls are queued. For
//! each worker that runs a call there is one task, which takes the next call from the queue when that one
//! has ended. An idle worker has no task, so that idle workers do not keep a loop running.
//!
//! In the notes: CPU-heavy work goes to a process pool (N3, N5, N6).
//!
//! # Rules
//!
//! - **P6** Each call ends once: with its result, or with the reason why there is none.
//! - **P7** A call that a worker may have begun is never run again.
//! - **P8** At most as many calls run at once as the pool has workers.

use super::call::{Call, Outcome};
use super::error::{JobError, StartError};
use super::options::Options;
use super::worker::Program;
use super::worker_process::{Answer, WorkerProcess};
use crate::combine::select::{Either, select};
use crate::task::handle::spawn;
use crate::task::{Future, Promise, create_future};
use crate::time::wait_for::{Elapsed, wait_for};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::pending;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;

/// After this many workers in a row that did not become ready, the pool starts no more (B7).
const FAILED_STARTS: u32 = 3;

/// What the pool and the tasks of its workers share.
pub(super) struct Shared {
    pub(super) program: &'static Program,
    pub(super) options: Options,
    /// The number of calls so far.
    pub(super) calls: Cell<u64>,
    pub(super) state: RefCell<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// The calls that wait for a worker, and some that were cancelled meanwhile.
    pub(super) queue: VecDeque<Rc<Call>>,
    pub(super) idle: Vec<WorkerProcess>,
    /// The number of tasks, each of which starts a worker or runs a call on one.
    pub(super) busy: usize,
    /// The calls that workers run.
    pub(super) running: Vec<Rc<Call>>,
    /// How many workers in a row have not become ready.
    failed_starts: u32,
    /// The reason why no more workers are started.
    broken: Option<Arc<StartError>>,
    pub(super) is_shut_down: bool,
    /// Settled when no worker is busy.
    waiting_for_end: Vec<Promise<()>>,
    pub(super) counts: Counts,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) started: u64,
    pub(super) died: u64,
}

impl Shared {
    pub(super) fn check_open(&self) -> Result<(), JobError> {
        let state = self.state.borrow();
        match &state.broken {
            _ if state.is_shut_down => Err(JobError::ShutDown),
            Some(error) => Err(JobError::Start(Arc::clone(error))),
            None => Ok(()),
        }
    }

    /// Gives a call to a worker, or queues it.
    pub(super) fn dispatch(self: &Rc<Self>, call: Rc<Call>) {
        let mut state = self.state.borrow_mut();
        let mut worker = None;
        let mut ended = Vec::new();
        while let Some(mut idle) = state.idle.pop() {
            match idle.is_alive() {
                true => {
                    worker = Some(idle);
                    break;
                }
                false => ended.push(idle),
            }
        }
        // P8
        if worker.is_none() && state.busy >= self.options.workers {
            return state.queue.push_back(call);
        }
        state.busy += 1;
        drop(state);
        drop(ended);
        drop(spawn(Rc::clone(self).serve(worker, call)));
    }

    /// The task of a worker: runs the call, and then those that are queued.
    async fn serve(self: Rc<Self>, mut worker: Option<WorkerProcess>, mut call: Rc<Call>) {
        let _busy = BusyGuard(&self);
        loop {
            let Some(mut process) = (match worker.take() {
                Some(process) => Some(process),
                None => self.start_worker(&call).await,
            }) else {
                return;
            };
            let lives = match call.begin() {
                Some((frame, stopped)) => {
                    self.state.borrow_mut().running.push(Rc::clone(&call));
                    let _running = RunningGuard(&self, &call);
                    let (outcome, lives) = self.run(&mut process, &call, frame, stopped).await;
                    call.end(outcome);
                    lives
                }
                None => true,
            };
            let is_worn = self.options.jobs_per_worker;
            let is_worn = is_worn.is_some_and(|jobs| process.jobs() >= jobs.get());
            if !lives || is_worn {
                drop(process);
            } else {
                worker = Some(process);
            }
            match self.next_call() {
                Some(next) => call = next,
                None => return self.park(worker),
            }
        }
    }

    fn next_call(&self) -> Option<Rc<Call>> {
        let queue = &mut self.state.borrow_mut().queue;
        while let Some(call) = queue.pop_front() {
            if call.is_queued() {
                return Some(call);
            }
        }
        None
    }

    fn park(&self, worker: Option<WorkerProcess>) {
        let mut state = self.state.borrow_mut();
        // The pool may have been dropped: then no call comes.
        if let (Some(worker), false) = (worker, state.is_shut_down && state.queue.is_empty()) {
            state.idle.push(worker);
        }
    }

    /// Runs a call on a worker. Returns its outcome, and whether the worker can be used further.
    async fn run(
        &self,
        worker: &mut WorkerProcess,
        call: &Call,
        frame: Vec<u8>,
        stopped: Future<JobError>,
    ) -> (Outcome, bool) {
        let stopped = async {
            match stopped.await {
                Ok(reason) => reason,
                Err(_) => pending().await,
            }
        };
        let limited = async {
            let answer = worker.call(&frame, call.number);
            match self.options.job_limit {
                Some(limit) => wait_for(limit, answer)
                    .await
                    .unwrap_or(Err(JobError::TimedOut(limit))),
                None => answer.await,
            }
        };
        let answer = match select((limited, stopped)).await {
            Either::Left(answer) => answer,
            Either::Right(reason) => Err(reason),
        };
        match answer {
            Ok(Answer::Done(result)) => (Ok(result), true),
            Ok(Answer::Panicked(text)) => (Err(JobError::Panicked(text)), true),
            Ok(Answer::NotSent(text)) => (Err(JobError::NotSent(text)), true),
            Err(error) => {
                // Nothing if it has ended by itself.
                let _ = worker.kill().await;
                self.state.borrow_mut().counts.died += 1;
                (Err(error), false)
            }
        }
    }

    /// Starts a worker for `call`. If that fails, the call is for another worker; or, if there is none, it
    /// has the error, as all calls that wait.
    async fn start_worker(&self, call: &Rc<Call>) -> Option<WorkerProcess> {
        loop {
            let error = match self.try_start().await {
                Ok(worker) => {
                    let mut state = self.state.borrow_mut();
                    state.failed_starts = 0;
                    state.counts.started += 1;
                    return Some(worker);
                }
                Err(error) => error,
            };
            let cannot_create = matches!(error, StartError::Spawn(_));
            let error = Arc::new(error);
            let mut state = self.state.borrow_mut();
            if !cannot_create {
                state.failed_starts += 1;
                if state.failed_starts < FAILED_STARTS {
                    continue;
                }
                state.broken = Some(Arc::clone(&error));
            }
            let mut failed = Vec::new();
            if state.busy > 1 {
                // Another worker's task takes it.
                state.queue.push_front(Rc::clone(call));
            } else {
                failed.push(Rc::clone(call));
                failed.extend(mem::take(&mut state.queue));
            }
            drop(state);
            for call in failed {
                if call.is_queued() {
                    call.end(Err(JobError::Start(Arc::clone(&error))));
                }
            }
            return None;
        }
    }

    async fn try_start(&self) -> Result<WorkerProcess, StartError> {
        let options = &self.options;
        let start = async {
            let mut worker = WorkerProcess::start(self.program, options).await?;
            if let Some((Some(job), _)) = options.initializer {
                worker.initialize(job).await?;
            }
            Ok(worker)
        };
        match wait_for(options.start_limit, start).await {
            Ok(started) => started,
            Err(Elapsed) => Err(StartError::TimedOut(options.start_limit)),
        }
    }

    /// Ends all calls.
    pub(super) fn stop_all(&self) {
        let mut state = self.state.borrow_mut();
        let queue = mem::take(&mut state.queue);
        let running = state.running.clone();
        drop(state);
        for call in queue.iter().chain(&running) {
            call.stop(JobError::ShutDown);
        }
    }

    /// The future of the time when no worker is busy; `None` if that is now.
    pub(super) fn end(&self) -> Option<Future<()>> {
        let mut state = self.state.borrow_mut();
        if state.busy == 0 {
            return None;
        }
        let (promise, end) = create_future();
        state.waiting_for_end.push(promise);
        Some(end)
    }
}

/// A call that a worker runs.
struct RunningGuard<'a>(&'a Shared, &'a Rc<Call>);

impl Drop for RunningGuard<'_> {
    fn drop(&mut self) {
        let running = &mut self.0.state.borrow_mut().running;
        running.retain(|call| !Rc::ptr_eq(call, self.1));
    }
}

/// A task of a worker.
struct BusyGuard<'a>(&'a Shared);

impl Drop for BusyGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.borrow_mut();
        state.busy -= 1;
        if state.busy == 0 {
            let waiting = mem::take(&mut state.waiting_for_end);
            drop(state);
            for promise in waiting {
                let _ = promise.set_result(());
            }
        }
    }
}
