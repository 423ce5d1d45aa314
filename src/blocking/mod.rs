//! Thread pools, for code that blocks ([N3], [N5]).
//!
//! No code may block the thread of a loop. Code that blocks runs on a thread of a pool, and a task awaits
//! its result: [`run_blocking`](crate::run_blocking()) uses the pool of the current loop, and a program can make a
//! [`ThreadPool`](crate::ThreadPool) for jobs that are to be kept apart.
//! A [`Lane`] is a queue of a pool with its own limit on the pool's threads. [`LoopHandle::run_blocking_with`] calls a
//! callback with the result.
//!
//! A job that computes for long uses a processor, which is then missing to the other threads of the program, also to
//! the loop ([N6]). For such work use a [`ProcessPool`](crate::process_pool::ProcessPool), or few threads.
//!
//! # On a virtual kernel
//!
//! A [`VirtualKernel`](crate::spi::VirtualKernel) decides where the jobs of its loop run
//! ([`BlockingJobs`](crate::spi::BlockingJobs)). The kernel of a `SimLoop` lets the loop run the jobs itself, in an
//! order that the seed selects; or it lets them run on threads, and stops the virtual time until they have returned.
//!
//! [`LoopHandle::run_blocking_with`]: crate::LoopHandle::run_blocking_with
//! [N3]: crate::book#n3
//! [N5]: crate::book#n5
//! [N6]: crate::book#n6

mod block_on;
mod builder;
mod errors;
mod hold_time;
mod inspect;
mod job;
mod lane;
mod lane_queue;
pub(crate) mod loop_pool;
pub(crate) mod pool;
mod pool_state;
mod queue;
mod recorded;
mod run_blocking;
mod simulated;
mod submit;
mod unclaimed;
mod workers;

#[cfg(all(loom, test))]
mod models;

pub use builder::ThreadPoolBuilder;
pub use errors::{BuildError, JobInfo, StillRunning, SubmitError};
pub use lane::Lane;
pub use loop_pool::run_on_thread;
pub use pool::{PoolStats, QueuedJobs};
pub use run_blocking::RunBlocking;
pub use submit::Submit;
