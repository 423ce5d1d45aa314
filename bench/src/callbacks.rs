//! Callback loops: the common traits, and the code for each peer, as its users would write it.
//!
//! Each closure holds one word and adds it to a counter, so that no closure is empty.

#[cfg(any(has_uv, has_ev, has_event))]
mod c;
mod calloop;
mod raw;
mod readily;
mod terse;

#[cfg(has_ev)]
pub use c::Ev;
#[cfg(has_event)]
pub use c::Event;
#[cfg(has_uv)]
pub use c::Uv;
pub use calloop::Calloop;
pub use raw::{Boxed, Raw};
pub use readily::Readily;
pub use terse::Terse;

use std::os::unix::net::UnixStream;
use std::time::Duration;

pub trait Callbacks: Sized {
    const NAME: &'static str;

    fn new() -> Self;

    /// Queues `n` closures, then runs all of them.
    fn soon(&mut self, n: u64);
    /// Queues a closure that queues the next one, `n` closures in all.
    fn chain(&mut self, n: u64);
}

/// A callback loop with timers.
pub trait Timed: Callbacks {
    /// Arms timers, then cancels all of them, in the order of arming.
    fn armed_and_cancelled(&mut self, delays: &[Duration]);
    /// Arms timers, then runs until all of them have fired.
    fn armed_and_fired(&mut self, delays: &[Duration]);
    /// The same; returns how late each timer fired, in nanoseconds.
    fn armed_and_late(&mut self, delays: &[Duration]) -> Vec<i64>;
}

/// A callback loop that watches sockets.
pub trait Watching: Callbacks {
    /// Registers each socket for reading, with a callback that holds one word, and turns the loop
    /// once. The registrations are not removed: their memory is measured.
    fn watch(&mut self, sockets: Vec<UnixStream>);
}
