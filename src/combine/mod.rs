//! Several futures at once, in one task: `gather` and `try_gather`.
//!
//! They poll their futures inside the task that awaits them, so these may borrow from it and
//! end with it; whoever wants them to go on alone spawns them first.
//!
//! In the notes: ten coroutines that each sleep one second, gathered, take one (N11).

mod gather;
mod many;

pub use gather::{Gather, TryGather, gather, try_gather};
