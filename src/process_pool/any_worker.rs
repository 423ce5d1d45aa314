//! A worker of a pool: a process, or, on a virtual kernel, a simulated one.
//!
//! asyncio has no counterpart.

use super::error::{JobError, StartError};
use super::frame::{self, write_frame};
use super::options::Options;
use super::simulated_worker::SimulatedWorker;
use super::wire::{Wire, decode_whole};
use super::worker::Program;
use super::worker_process::{Answer, WorkerProcess};
use crate::event_loop::current;
use crate::process::ChildHandle;

/// A worker, which runs one job at a time.
pub(super) struct AnyWorker {
    kind: Kind,
    /// The number of jobs that were sent to it.
    jobs: u64,
}

enum Kind {
    Process(WorkerProcess),
    Simulated(SimulatedWorker),
}

impl AnyWorker {
    /// Starts a worker, and waits until it is ready. `keep` gets the process.
    pub(super) async fn start(
        program: &Program,
        options: &Options,
        keep: impl FnOnce(ChildHandle),
    ) -> Result<Self, StartError> {
        let is_virtual = current::with(|handle| handle.kernel().is_some());
        let kind = match is_virtual {
            Some(true) => Kind::Simulated(SimulatedWorker::start(options).await?),
            _ => Kind::Process(WorkerProcess::start(program, options, keep).await?),
        };
        Ok(Self { kind, jobs: 0 })
    }

    /// Whether it still lives, as far as the system knows.
    pub(super) fn is_alive(&mut self) -> bool {
        match &mut self.kind {
            Kind::Process(process) => process.is_alive(),
            Kind::Simulated(_) => true,
        }
    }

    /// The number of jobs that were sent to it.
    pub(super) fn jobs(&self) -> u64 {
        self.jobs
    }

    /// Whether all that it has sent was asked for.
    pub(super) fn is_clean(&self) -> bool {
        match &self.kind {
            Kind::Process(process) => process.is_clean(),
            Kind::Simulated(_) => true,
        }
    }

    /// Sends a call, and waits for its end. After an error the worker is of no use, and has ended.
    ///
    /// # Cancellation
    ///
    /// The worker must be killed: it is in the middle of a job, or of a frame.
    pub(super) async fn call(&mut self, frame: &[u8], number: u64) -> Result<Answer, JobError> {
        self.jobs += 1;
        match &mut self.kind {
            Kind::Process(process) => process.call(frame, number).await,
            Kind::Simulated(worker) => worker.call(frame, number).await,
        }
    }

    /// Runs the initializer, the first job of this worker.
    pub(super) async fn initialize(&mut self, job: u32, limit: usize) -> Result<(), StartError> {
        let mut frame = Vec::new();
        let call = |out: &mut Vec<u8>| (0u64, job, ()).encode(out);
        write_frame(&mut frame, frame::Kind::Call, limit, call).expect("it is a few bytes");
        let failed = match self.call(&frame, 0).await {
            Ok(Answer::Done(result)) => match decode_whole(&result) {
                Ok(Ok(())) => {
                    self.jobs = 0; // it is not one of the program's jobs
                    return Ok(());
                }
                Ok(Err(text)) => JobError::NotSent(text),
                Err(error) => JobError::Result(error),
            },
            Ok(Answer::Panicked(text)) => JobError::Panicked(text),
            Ok(Answer::NotSent(text)) => JobError::NotSent(text),
            Err(error) => error,
        };
        self.kill().await;
        Err(StartError::Initializer(failed))
    }

    /// Kills the process, and those that its job has started, and waits for its end.
    pub(super) async fn kill(&mut self) {
        if let Kind::Process(process) = &mut self.kind {
            process.kill().await;
        }
    }
}
