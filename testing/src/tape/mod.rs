//! A run of a loop on tape: written down as it happens, and played again without a kernel.
//!
//! A loop does the same when it is told the same: what its poller reported, what the clock said,
//! what each operation on a descriptor gave, and what other threads sent. A [`Recorder`] stands
//! between a loop and a real kernel and writes these down; a [`Replayer`] stands in for the kernel
//! and answers from the tape. The callbacks are those of the program, in the same order; the bug
//! that came once a month comes each time.
//!
//! Both are a [`VirtualKernel`](readily::poll::VirtualKernel) with a poller and a clock, so the loop does not know
//! of them. In the notes this is nothing.

use crate::fnv;

mod diverged;
mod format;
mod ops;
mod recorded;
mod recorder;
mod reel;
mod replayed;
mod replayer;

pub use diverged::Diverged;
pub use recorder::Recorder;
pub use replayer::Replayer;

/// A short sum of what was written, so that a replay which writes something else is found.
fn sum(bytes: &[u8]) -> i64 {
    fnv::sum(bytes.iter().copied()).into()
}
