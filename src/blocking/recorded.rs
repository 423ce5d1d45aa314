//! The end of a job on a loop that is recorded, or replayed.
//!
//! Whether a job has ended when its waiter looks depends on its thread. A recording has the answer, and the replay
//! gives the same one: it waits for a job that is late, and leaves the result of an early one until the recording
//! has its end. The wake of the waiter is a message of another thread in both, which has a place in the recording
//! as well.
//!
//! # Rules
//!
//! - **W4** A job has ended in a replay when it had ended in the recording.
//!
//! asyncio has no counterpart.

use super::block_on::block_on;
use super::job::Outcome;
use super::pool_state::now;
use crate::event_loop::{LoopHandle, current};
use crate::task::JoinError;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

/// How long a replay waits for a job that had ended in the recording. A job that the replay alone keeps from its end
/// is the first difference, which the replay then reports.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a job has ended, as the recording of the current loop has it; `None` without a recording. `live` is asked
/// only with one.
pub(super) fn has_ended(live: impl FnOnce() -> bool) -> Option<bool> {
    let recorded = |handle: &LoopHandle| handle.is_recording().then(|| handle.replayed_or(live()));
    current::with(recorded).flatten()
}

/// Polls a job whose loop is recorded or replayed, and whose end the recording has by now or has not. `has_wake` is
/// set when a thread has the waker, so that one wake comes for the end.
pub(super) fn poll<T>(
    job: &dyn Outcome<T>,
    has_wake: &mut bool,
    has_ended: bool,
    waker: &Waker,
) -> Option<Poll<Result<T, JoinError>>> {
    if has_ended {
        let wait = |waker: &Waker| match job.awaits(waker) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        };
        let _late = block_on(now().checked_add(PATIENCE), wait);
        return job.poll(waker);
    }
    // The thread of the job has the waker of an earlier poll, or gets this one.
    if !job.awaits(waker) && !*has_wake {
        wake_from_a_thread(waker.clone());
    }
    *has_wake = true;
    Some(Poll::Pending)
}

/// Wakes the waiter as the thread of its job would have done.
fn wake_from_a_thread(waker: Waker) {
    // Without a thread the message does not come, which the replay reports.
    let _started = thread::Builder::new().spawn(|| waker.wake());
}
