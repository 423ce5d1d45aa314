//! Waiting for time: `sleep`, `wait_for`, `yield_now`.
//!
//! A sleep is a timer of the loop that wakes a waker; a limit is a sleep that is polled
//! after what it limits, so that a value that is there wins (T6).
//!
//! In the notes: N11, N14, N18.

mod sleep;
mod wait_for;

pub use sleep::{Sleep, sleep, yield_now};
pub use wait_for::{Elapsed, wait_for};
