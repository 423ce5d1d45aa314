//! Tools for tests of the `readily` event loop and of programs on it: a loop on a kernel in memory, and
//! wakers that misbehave.
//!
//! [`SimLoop`] runs servers, clients and callbacks in one thread and in virtual time, with faults that
//! a seed selects. It records a trace, which is the same for the same seed; a [`Transcript`] is a log
//! that the test itself writes. [`manual_poll()`], [`spy()`] and [`wakers`] test one future.
//! [`SimLoop::drop_everywhere`], [`orders`] and [`in_one_turn`] are exhaustive: a drop after each poll,
//! all orders of several actions. [`record()`] and [`replay()`] record a run and repeat it.
//! [`conformance`] tests a poller. The strategies for proptest, behind the feature of that name,
//! generate whole programs. The crate uses only public interfaces of the loop.

#![deny(unsafe_code)]

// The sources of `emulated` name this crate by `readily_testing`, because under a flag they are also
// compiled as a part of readily.
extern crate self as readily_testing;

pub mod conformance;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub mod emulated;
mod exhaustive;
mod fnv;
pub mod for_tests;
mod hostile_waker;
mod manual_poll;
mod replay;
mod rng;
mod sim;
mod sim_loop;
mod sim_signals;
mod spy;
mod stalled;
#[cfg(feature = "proptest")]
pub mod strategies;
#[cfg(feature = "proptest")]
mod tracing_poller;
mod transcript;
pub mod wakers;

pub use exhaustive::{Action, in_one_turn, orders};
pub use manual_poll::{ManualPoll, manual_poll};
pub use replay::{Recorder, ReplayError, Replayer, record, replay};
pub use sim::{Faults, Fd, Kernel, PauseGuard, Personality, SimChild, SimKqueue, SimPoller};
pub use sim_loop::SimLoop;
pub use spy::{Spy, SpyReport, Token, spy};
pub use stalled::Stalled;
pub use transcript::Transcript;

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Polls a future once, with a waker that does nothing.
///
/// ```
/// use readily_testing::poll_once;
/// use std::task::Poll;
///
/// assert_eq!(poll_once(&mut std::future::ready(3)), Poll::Ready(3));
/// assert_eq!(poll_once(&mut std::future::pending::<()>()), Poll::Pending);
/// ```
pub fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
