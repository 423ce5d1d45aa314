//! The options of a pool, and what a worker inherits.

use super::jobs::JobTable;
use crate::process::Command;
use std::num::NonZeroU64;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

/// Where a standard stream of the workers goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerOutput {
    /// To the program's standard error, so that the program's standard output has only what the program
    /// writes.
    #[default]
    StandardError,
    /// To the same stream of the program.
    Inherit,
    /// Nowhere.
    Null,
}

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) jobs: JobTable,
    pub(super) workers: usize,
    pub(super) frame_limit: usize,
    pub(super) jobs_per_worker: Option<NonZeroU64>,
    pub(super) memory_limit: Option<u64>,
    pub(super) job_limit: Option<Duration>,
    pub(super) start_limit: Duration,
    /// The number of the job that each worker runs first, and its name.
    pub(super) initializer: Option<(Option<u32>, &'static str)>,
    pub(super) stdout: WorkerOutput,
    pub(super) stderr: WorkerOutput,
}

impl Options {
    /// The default options.
    pub(super) fn new(jobs: JobTable) -> Self {
        Self {
            jobs,
            workers: thread::available_parallelism().map_or(1, usize::from),
            frame_limit: 64 << 20,
            jobs_per_worker: None,
            memory_limit: None,
            job_limit: None,
            start_limit: Duration::from_secs(30),
            initializer: None,
            stdout: WorkerOutput::StandardError,
            stderr: WorkerOutput::StandardError,
        }
    }

    /// Sets what a worker inherits.
    pub(super) fn set_streams(&self, command: &mut Command) {
        // B13: a group of its own, so that a terminal's interrupt does not end it in the middle of a job.
        command.own_group();
        if let Some(stdout) = self.stdout.stdio() {
            command.stdout(stdout);
        }
        if self.stderr == WorkerOutput::Null {
            command.stderr(Stdio::null());
        }
    }
}

impl WorkerOutput {
    fn stdio(self) -> Option<Stdio> {
        match self {
            Self::StandardError => Some(std::io::stderr().into()),
            Self::Inherit => None,
            Self::Null => Some(Stdio::null()),
        }
    }
}
