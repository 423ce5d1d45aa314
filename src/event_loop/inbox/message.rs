//! A message of another thread to a loop.
//!
//! In asyncio: what `call_soon_threadsafe` queues.

use std::panic::Location;
use std::task::Waker;

/// A message to the loop with the handle `H`.
pub(in super::super) enum Message<H> {
    /// Call this closure on the loop's thread. The line that sent it also identifies it in a replay.
    Call(Box<dyn FnOnce(&H) + Send>, &'static Location<'static>),
    /// Wake the task of this waker. The number of the task identifies it in a replay.
    Wake(u64, Waker),
    /// Leave `run` after this turn.
    Stop,
}
