//! For authors of pollers, kernels, futures with timers of their own, and tools for tests.
//!
//! A program that uses the loop needs none of this. It is public because parts of the loop can be
//! replaced from outside: a [`Poller`](crate::poll::Poller) may work on a [`VirtualKernel`] instead
//! of the system's, as that of the crate `readily-testing` does, and a future may wait for the
//! loop's timers without a task. A breaking change here is a breaking change of the crate.
//!
//! In the notes this is what a selector stands on ([N2]).
//!
//! [N2]: crate::book#n2

pub use crate::event_loop::accept_backoff::FdWaitKey;
pub use crate::event_loop::call_handles::{WakeTimer, WakeTimerState};
pub use crate::poll::fd::{FdOwned, FdRef};
pub use crate::poll::virtual_child::VirtualChild;
pub use crate::poll::virtual_kernel::{
    BlockingJobs, Placeholder, VirtualFd, VirtualKernel, VirtualProcess, WorkerEnd, WorkerFate,
    WorkerStep,
};
#[doc(inline)]
pub use readily_sys::socket::Kind as FdKind;
#[doc(inline)]
pub use readily_sys::transfer::Transfer;

use crate::event_loop::{Descriptor, FdState, Key, LoopHandle, RegisterError};
use crate::poll::{Interest, Readiness};
use crate::signal::Signal;
use std::panic::Location;
use std::task::Waker;
use std::time::{Duration, Instant};

/// Asserts that the tables of a loop agree with each other. For tests.
///
/// # Panics
///
/// If the tables do not agree.
pub fn check_invariants(handle: &LoopHandle) {
    handle.check_invariants();
}

/// Lets a seed select the order of the tasks that are ready in one turn, which the loop does not promise. For tests.
pub fn shuffle_ready(handle: &LoopHandle, seed: Option<u64>) {
    handle.shuffle_ready(seed);
}

/// Whether a seed selects the order of ready tasks: see [`shuffle_ready`].
#[must_use]
pub fn shuffles_ready(handle: &LoopHandle) -> bool {
    handle.shuffles_ready()
}

/// Registers a descriptor for a future of your own: edge-triggered, in both directions, until it is removed.
/// `on_event` runs for each event, with all its facts. Neither an event nor a panic of `on_event` closes the
/// descriptor; [`LoopHandle::remove`] does. Pass `is_nonblocking` if the descriptor is non-blocking already, to save
/// the system calls. An [`Async`](crate::io::Async) and the streams are registered in the same way.
///
/// # Errors
///
/// As [`LoopHandle::register`], with `on_event` in the place of the callbacks.
#[track_caller]
pub fn register_source<F>(
    handle: &LoopHandle,
    descriptor: impl Into<Descriptor>,
    is_nonblocking: bool,
    on_event: F,
) -> Result<Key, RegisterError<F>>
where
    F: FnMut(&LoopHandle, Readiness) + 'static,
{
    let fd_state = match is_nonblocking {
        true => FdState::NonBlocking,
        false => FdState::Unknown,
    };
    handle.register_source_from(Location::caller(), descriptor.into(), fd_state, on_event)
}

/// Returns the directions in which [`LoopHandle::rearm`] has an effect on this loop's poller:
/// [`Poller::rearm_interest`](crate::poll::Poller::rearm_interest).
#[must_use]
pub fn rearm_interest(handle: &LoopHandle) -> Interest {
    handle.rearm_interest()
}

/// Delivers a signal to the listeners of one loop, as if the process had received it, and returns how many
/// there are. For kernels in memory, on which a listener does not change the process. Listeners of other loops are not
/// notified.
///
/// # Panics
///
/// Resumes the first panic of a waker, after all listeners have been notified.
pub fn deliver_signal(handle: &LoopHandle, signal: Signal) -> usize {
    crate::signal::deliver(handle, signal)
}

/// Wakes `waker` after `delay`.
#[must_use]
pub fn wake_later(handle: &LoopHandle, delay: Duration, waker: Waker) -> WakeTimer {
    handle.wake_later(delay, waker)
}

/// Wakes `waker` at `when`.
#[must_use]
pub fn wake_at(handle: &LoopHandle, when: Instant, waker: Waker) -> WakeTimer {
    handle.wake_at(when, waker)
}

/// Wakes `waker` when the loop closes one of its descriptors: for an operation that has failed because the system has
/// no descriptor left.
pub fn wake_on_fd_close(handle: &LoopHandle, waker: Waker) -> FdWaitKey {
    handle.wake_on_fd_close(waker)
}

/// Cancels [`wake_on_fd_close`]: `waker` is dropped.
pub fn cancel_fd_wait(handle: &LoopHandle, key: FdWaitKey) {
    handle.cancel_fd_wait(key);
}
