//! A pool of processes, for work that needs a processor for long.
//!
//! A loop has one thread, and a coroutine that computes delays all others. A [`ProcessPool`] runs such
//! work in other processes, on other cores. Each is the same program, started again, with its own memory. So a job that
//! leaks, crashes or is killed affects no other job.
//!
//! A program needs three things: a table of its jobs ([`jobs!`](crate::jobs)), [`init`] at the top
//! of `main`, and a pool.
//!
//! In asyncio: `run_in_executor` with a `ProcessPoolExecutor`. In the notes: [N3], [N5], [N6].
//!
//! [N3]: crate::book#n3
//! [N5]: crate::book#n5
//! [N6]: crate::book#n6

mod any_worker;
mod builder;
mod call;
mod closing;
mod dispatch;
mod error;
mod frame;
mod jobs;
mod map;
mod options;
mod pool;
mod simulated_worker;
mod starting;
mod state;
mod wire;
mod worker;
mod worker_process;

pub use builder::ProcessPoolBuilder;
pub use call::{Cancel, JobHandle};
pub use error::{JobError, StartError, SubmitError};
pub use jobs::{CallError, Job, JobTable, JobType, call_job};
pub use map::Map;
pub use options::WorkerOutput;
pub use pool::{ProcessPool, ProcessPoolStats, Shutdown};
pub use wire::{Wire, WireError};
pub use worker::init;
