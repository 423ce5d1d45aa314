//! Thread pools, for code that blocks ([N3], [N5]).
//!
//! A loop must never be blocked, by any code. What blocks runs on a thread of a pool, and the loop awaits
//! its result: [`run_blocking`](crate::run_blocking()) uses the pool of the current loop, and a
//! [`ThreadPool`](crate::ThreadPool) can be made for jobs that are to be kept apart.
//! A [`Lane`] of a pool has a limit of its own on the pool's threads. [`LoopHandle::run_blocking_with`] calls a
//! callback with the result.
//!
//! For work that keeps a processor busy a pool of threads is enough only as far as the other threads of the
//! program can do without that processor ([N6]).
//!
//! # On a virtual kernel
//!
//! A loop on a [`VirtualKernel`](crate::spi::VirtualKernel) asks it where its jobs run
//! ([`BlockingJobs`](crate::spi::BlockingJobs)). That of a `SimLoop` runs them at once, in an order of the
//! seed; or on threads, and its time stands still until they have returned.
//!
//! [`LoopHandle::run_blocking_with`]: crate::LoopHandle::run_blocking_with
//! [N3]: crate::book#n3
//! [N5]: crate::book#n5
//! [N6]: crate::book#n6

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
