//! The state of a task, in three bytes, for the loop's thread only.
//!
//! The public state, the stage of the body behind the cell's header, and some flags. They fill a
//! gap beside the wakers' flag and count; a field of their own would cost each of a million tasks
//! eight bytes.
//!
//! In the notes: `done()`, `cancelled()` (N16). Rules: T3, T4.

use crate::task::join::TaskState;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// The contents of the cell's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The future, to be polled or dropped.
    Future,
    /// The future, which is being polled: no other code touches it.
    Busy,
    /// The value that the future returned.
    Output,
    /// Neither future nor value.
    Empty,
}

/// T4: the result was delivered, or is being inspected.
const RESULT_TAKEN: u8 = 1;
/// The task was cancelled while it was running: the future is dropped when its poll returns.
const CANCELLED: u8 = 2;
/// No `Task` is left that may read the result.
const DETACHED: u8 = 4;
/// The result was inspected: a panic or an error in it need not be reported any more.
const SEEN: u8 = 8;
/// A done-callback may still inspect the result.
const VIEWED: u8 = 16;

/// The state of a task, for the loop's thread only.
///
/// The fields are atomics only because these three bytes fill a gap in the part that is shared with
/// other threads; a relaxed load costs no more than a plain one.
#[derive(Default)]
pub(in crate::task) struct State {
    task_state: AtomicU8,
    stage: AtomicU8,
    flags: AtomicU8,
}

impl State {
    #[inline]
    pub(in crate::task) fn task_state(&self) -> TaskState {
        match self.task_state.load(Relaxed) {
            0 => TaskState::Created,
            1 => TaskState::Suspended,
            2 => TaskState::Running,
            3 => TaskState::Done,
            4 => TaskState::Cancelled,
            _ => TaskState::Panicked,
        }
    }

    #[inline]
    pub(in crate::task) fn set_task_state(&self, state: TaskState) {
        self.task_state.store(state as u8, Relaxed);
    }

    #[inline]
    pub(super) fn stage(&self) -> Stage {
        match self.stage.load(Relaxed) {
            0 => Stage::Future,
            1 => Stage::Busy,
            2 => Stage::Output,
            _ => Stage::Empty,
        }
    }

    #[inline]
    pub(super) fn set_stage(&self, stage: Stage) {
        self.stage.store(stage as u8, Relaxed);
    }

    /// Moves the stage from `before` to `after`; `false`, without effect, if the stage is not
    /// `before`.
    #[inline]
    pub(super) fn transition(&self, before: Stage, after: Stage) -> bool {
        let is_so = self.stage() == before;
        if is_so {
            self.set_stage(after);
        }
        is_so
    }

    #[inline]
    fn has_flag(&self, flag: u8) -> bool {
        self.flags.load(Relaxed) & flag != 0
    }

    #[inline]
    fn set_flag(&self, flag: u8, set: bool) {
        let others = self.flags.load(Relaxed) & !flag;
        self.flags
            .store(if set { others | flag } else { others }, Relaxed);
    }

    /// Whether the task has ended and its result has not been taken.
    #[inline]
    pub(in crate::task) fn has_untaken_result(&self) -> bool {
        self.task_state().is_ended() && !self.has_flag(RESULT_TAKEN)
    }

    #[inline]
    pub(in crate::task) fn is_cancelled(&self) -> bool {
        self.has_flag(CANCELLED)
    }

    pub(in crate::task) fn cancel(&self) {
        self.set_flag(CANCELLED, true);
    }

    pub(in crate::task) fn revoke_cancel(&self) {
        self.set_flag(CANCELLED, false);
    }

    pub(in crate::task) fn is_seen(&self) -> bool {
        self.has_flag(SEEN)
    }

    pub(in crate::task) fn see(&self) {
        self.set_flag(SEEN, true);
    }

    pub(in crate::task) fn is_detached(&self) -> bool {
        self.has_flag(DETACHED)
    }

    /// Whether neither a `Task` nor a done-callback may read the result.
    pub(in crate::task) fn is_unwatched(&self) -> bool {
        self.flags.load(Relaxed) & (DETACHED | VIEWED) == DETACHED
    }

    pub(in crate::task) fn is_viewed(&self) -> bool {
        self.has_flag(VIEWED)
    }

    pub(super) fn set_viewed(&self, viewed: bool) {
        self.set_flag(VIEWED, viewed);
    }

    pub(in crate::task) fn detach(&self) {
        self.set_flag(DETACHED, true);
    }

    #[inline]
    pub(super) fn set_result_taken(&self, taken: bool) {
        self.set_flag(RESULT_TAKEN, taken);
    }
}
