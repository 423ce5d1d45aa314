//! Loops of callbacks: what they have in common, and each as its users would write it.
//!
//! All of them count what was called, so that a closure has something to do and to hold: a word.

#[cfg(any(has_uv, has_ev))]
mod c;
mod calloop;
mod raw;
mod readily;

#[cfg(has_ev)]
pub use c::Ev;
#[cfg(has_uv)]
pub use c::Uv;
pub use calloop::Calloop;
pub use raw::{Boxed, Raw};
pub use readily::Readily;

use std::time::Duration;

pub trait Callbacks: Sized {
    const NAME: &'static str;

    fn new() -> Self;

    /// Queues `n` closures at once, and runs all.
    fn soon(&mut self, n: u64);
    /// Queues one that queues the next, `n` times in all.
    fn chain(&mut self, n: u64);
}

/// With timers.
pub trait Timed: Callbacks {
    /// Arms timers, and cancels all, in the order of arming.
    fn armed_and_cancelled(&mut self, delays: &[Duration]);
    /// Arms timers, and runs until all have fired.
    fn armed_and_fired(&mut self, delays: &[Duration]);
    /// The same; each says how many nanoseconds late it was.
    fn armed_and_late(&mut self, delays: &[Duration]) -> Vec<i64>;
}
