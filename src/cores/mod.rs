//! One loop on each core, for servers that need more than one processor ([N12]).
//!
//! A loop is one thread, so it uses one core. [`Cores`] runs several loops, each on a thread of its own,
//! and shares nothing between them: a task stays on the core on which it was spawned, and its data may
//! be an `Rc`. Work goes to a core as a closure that makes a future there
//! ([`spawn_on`](CoresHandle::spawn_on)).
//!
//! There is no work stealing: an idle core does not take tasks from a busy one. With many short and similar
//! connections each core has enough work all the same, and the tasks need no locks and keep their data in the cache of
//! one core. If a few tasks need very different amounts of computation,
//! a runtime that moves tasks between threads, such as tokio, uses the cores better; its futures must be
//! `Send`. The [chapter](crate::book::ch13_cores) compares them.
//!
//! # Examples
//!
//! ```
//! use readily::cores::Cores;
//! use std::time::Duration;
//!
//! let cores = Cores::builder().count(2).build()?;
//! let mut sums = Vec::new();
//! for core in 0..2 {
//!     let sum = move || async move { (0..=core as u64 * 10).sum::<u64>() };
//!     sums.push(cores.spawn_on(core, sum)?);
//! }
//! let sums: Result<Vec<u64>, _> = sums.into_iter().map(|mut sum| sum.wait()).collect();
//! assert_eq!(sums?, [0, 55]);
//! let report = cores.shutdown(Duration::from_secs(1)).wait()?;
//! assert!(report.is_clean());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [N12]: crate::book#n12

mod accept;
mod builder;
mod connections;
mod core;
mod ends;
mod error;
mod group;
mod handle;
mod listen;
mod open;
mod report;
mod seat;
mod server;
mod shutdown;
mod start;

#[cfg(all(loom, test))]
mod models;

pub use builder::CoresBuilder;
pub use connections::CoreConnections;
pub use core::{Core, current};
pub use error::{BuildError, ListenError, ShutdownError, SpawnError};
pub use group::WhenCoreEnds;
pub use handle::{Cores, CoresHandle};
pub use listen::{Distribution, ListenOptions, ServeError};
pub use report::{CoreEnd, CoreReport, CoresReport};
pub use server::Server;
pub use shutdown::Shutdown;

/// The time of the system's clock: threads wait for each other in real time, whatever clocks the loops have.
fn now() -> std::time::Instant {
    use crate::base::clock::{Clock, Monotonic};
    Monotonic::new().origin()
}
