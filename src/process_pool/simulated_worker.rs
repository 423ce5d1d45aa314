//! A worker of a loop on a virtual kernel: no process, but a story of one.
//!
//! The kernel chooses what becomes of each start and of each call, and how long it takes: an answer, a
//! death before or after the job, garbage, or nothing at all. The job runs in this process, as a whole, at
//! the end of that time. Its argument and its result cross as bytes, as they do to a real worker.
//!
//! asyncio has no counterpart.

use super::error::{JobError, StartError};
use super::frame::FrameBuffer;
use super::jobs::JobTable;
use super::options::Options;
use super::worker::answer_call;
use super::worker_process::{Answer, answer_of};
use crate::event_loop::current;
use crate::poll::{WorkerEnd, WorkerStep};
use crate::process::ChildError;
use crate::time::sleep::sleep;
use readily_sys::errno;
use std::future::pending;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// A simulated process that runs one job at a time.
pub(super) struct SimulatedWorker {
    jobs: JobTable,
    limit: usize,
}

/// Waits until a step has ended, and returns how.
async fn step(step: WorkerStep) -> Option<WorkerEnd> {
    let fate = current::with(|handle| handle.kernel()?.worker_fate(step)).flatten()?;
    sleep(fate.after).await;
    Some(fate.end)
}

/// The status of a process that was killed.
fn killed() -> Option<ExitStatus> {
    Some(ExitStatus::from_raw(9))
}

impl SimulatedWorker {
    pub(super) async fn start(options: &Options) -> Result<Self, StartError> {
        match step(WorkerStep::Start).await {
            Some(WorkerEnd::Answers) => Ok(Self {
                jobs: options.jobs,
                limit: options.frame_limit,
            }),
            Some(WorkerEnd::Refused) => {
                let refused = io::Error::from_raw_os_error(errno::EAGAIN);
                Err(StartError::Spawn(refused.into()))
            }
            Some(WorkerEnd::Garbage) => Err(StartError::Refused("it is no worker".into())),
            Some(WorkerEnd::Hangs) => pending().await,
            Some(_) => Err(StartError::Ended(killed())),
            None => Err(StartError::Spawn(ChildError::NoProcesses)),
        }
    }

    /// As [`WorkerProcess::call`](super::worker_process::WorkerProcess::call).
    pub(super) async fn call(&mut self, frame: &[u8], number: u64) -> Result<Answer, JobError> {
        let end = step(WorkerStep::Call).await;
        match end {
            Some(WorkerEnd::Hangs) => pending().await,
            Some(WorkerEnd::Answers | WorkerEnd::DiesAfterJob | WorkerEnd::Garbage) => {}
            _ => return Err(JobError::WorkerDied(killed())),
        }
        let answer = self.run(frame, number);
        match end {
            Some(WorkerEnd::DiesAfterJob) => Err(JobError::WorkerDied(killed())),
            Some(WorkerEnd::Garbage) => Err(JobError::BadAnswer("it was asked for".into())),
            _ => answer.ok_or_else(|| JobError::BadAnswer("no answer to the call".into())),
        }
    }

    /// Runs a job, as a worker does.
    fn run(&self, frame: &[u8], number: u64) -> Option<Answer> {
        let (mut received, mut sent) = (FrameBuffer::default(), Vec::new());
        received.extend(frame);
        let (_, call) = received.next(self.limit).ok()??;
        answer_call(&self.jobs, self.limit, call, &mut sent).ok()?;
        let mut answers = FrameBuffer::default();
        answers.extend(&sent);
        let (kind, body) = answers.next(self.limit).ok()??;
        answer_of(&(kind, body.to_vec()), number)
    }
}
