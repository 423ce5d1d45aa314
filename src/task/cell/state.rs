//! The state of a task and its transitions, all of them on this page.
//!
//! The state is one word, which only the loop's thread changes, and one flag beside it, which any
//! thread may set: the flag is apart so that a transition of the word is a plain store, and not a
//! locked instruction. The word has three parts: the phase of the task's life, the contents of the
//! body behind the cell's header, and flags about the result.
//!
//! ```text
//! phase   Created, Suspended ── begin_poll ──▶ Running ── park ──▶ Suspended
//!                 │                               └── begin_end ──▶ Suspended, ending
//!                 └── cancel ──▶ ending ── complete ──▶ Done, Cancelled, Panicked
//!
//! body    Future ── begin_poll ──▶ Busy ── park ──▶ Future
//!           │                        └── end_poll, unwind ──▶ Output, Future
//!           └── take_future ──▶ Empty
//!         Output ── take_output ──▶ Empty ── put_output_back ──▶ Output
//! ```
//!
//! The safety of `cell.rs` rests on the transitions of the body. Only that module can call them, and
//! each that lends or takes the contents is refused unless they are there.
//!
//! In the notes: `done()`, `cancelled()` (N16). Rules: T1 to T4.

use crate::base::sync::AtomicBool;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

/// The state of a task ([T3]: a task ends in exactly one of the last three).
///
/// [T3]: crate::book::invariants#t3
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskState {
    /// Spawned, not polled yet.
    Created,
    /// Pending, until it is woken.
    Suspended,
    /// Being polled.
    Running,
    /// Returned a value.
    Done,
    /// Cancelled.
    Cancelled,
    /// Panicked.
    Panicked,
}

impl TaskState {
    /// Whether the task has ended: it returned, was cancelled, or panicked.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled | Self::Panicked)
    }
}

/// The contents of the cell's body.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Body {
    /// The future, to be polled or dropped.
    Future = 0,
    /// The future, which is being polled: no other code touches it.
    Busy = 1 << 3,
    /// The value that the future returned.
    Output = 2 << 3,
    /// Neither future nor value.
    Empty = 3 << 3,
}

/// The bits of the word that are the phase, a [`TaskState`], and those that are the body.
const PHASE: u16 = 7;
const BODY: u16 = 3 << 3;

/// The task has not ended, but its end has begun: its future is being dropped (T3).
const ENDING: u16 = 1 << 10;
/// The task was cancelled: if it is being polled, it ends when the poll returns.
const CANCELLED: u16 = 1 << 5;
/// T4: the result was delivered, or is being inspected.
const RESULT_TAKEN: u16 = 1 << 6;
/// No `Task` is left that may read the result.
const DETACHED: u16 = 1 << 7;
/// The result was inspected: a panic or an error in it need not be reported any more.
const SEEN: u16 = 1 << 8;
/// A done-callback may still inspect the result.
const VIEWED: u16 = 1 << 9;
/// The future is polled by its own caller, and not by the executor.
const MAIN: u16 = 1 << 11;

/// What a wake has to do.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// Queue the task.
    Queue,
    /// Nothing: the task is queued already.
    Nothing,
}

/// What a wake on the loop's thread has to do.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LocalWake {
    /// Queue the task.
    Queue,
    /// Nothing: the task is queued already.
    Nothing,
    /// It is a main task, or one that has ended or is ending.
    Rare,
}

/// Whether a poll begins.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BeginPoll {
    /// The caller polls the future.
    Begun,
    /// The future is being polled, or is gone.
    Refused,
}

/// What follows a poll that was pending.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Park {
    /// The task waits for its next wake.
    Parked,
    /// The task was cancelled during the poll: the caller ends it.
    Cancelled,
}

/// The outcome of a task whose future has returned.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BeginEnd {
    /// It is done.
    Returned,
    /// It was cancelled before its future returned.
    Cancelled,
}

/// What the caller of a cancellation has to do.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(in crate::task) enum Cancel {
    /// Drop the future, and complete the task.
    EndNow,
    /// Nothing more: the task is being polled, and ends when the poll returns.
    EndsAfterPoll,
    /// Nothing: the task has ended, is ending, or was cancelled before.
    Refused,
}

/// What the drop of a task's handle has to do.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(in crate::task) enum Detach {
    /// Drop the result, which no other code will take.
    DropResult,
    /// Nothing: there is no result yet, or it was taken, or a done-callback may still inspect it.
    Nothing,
}

/// The state of a task.
pub(in crate::task) struct State {
    /// Whether the task is queued, or a message to queue it is on its way.
    queued: AtomicBool,
    /// For the loop's thread only. Atomic because the flag's other threads share this struct; a
    /// relaxed access costs no more than a plain one.
    word: AtomicU16,
}

impl State {
    /// The state of a task that is about to be queued for the first time.
    pub(super) fn new(is_main: bool) -> Self {
        let main = if is_main { MAIN } else { 0 };
        Self {
            queued: AtomicBool::new(true),
            word: AtomicU16::new(TaskState::Created as u16 | Body::Future as u16 | main),
        }
    }

    /// Whether this is a main task, whose future its own caller polls.
    #[inline]
    pub(in crate::task) fn is_main(&self) -> bool {
        self.has(MAIN)
    }

    #[inline]
    fn word(&self) -> u16 {
        self.word.load(Relaxed)
    }

    /// Replaces the bits of `part` by `value`.
    #[inline]
    fn replace(&self, part: u16, value: u16) {
        self.word.store(self.word() & !part | value, Relaxed);
    }

    #[inline]
    fn set(&self, flag: u16) {
        self.replace(0, flag);
    }

    #[inline]
    fn has(&self, flag: u16) -> bool {
        self.word() & flag != 0
    }

    #[inline]
    fn is_ended(word: u16) -> bool {
        word & PHASE >= TaskState::Done as u16
    }

    // The flag: a wake, on any thread, against the begin of a poll.

    /// T1: marks the task as queued.
    #[inline]
    pub(super) fn wake(&self) -> Wake {
        // `AcqRel`: see `waker.rs`.
        match self.queued.swap(true, AcqRel) {
            false => Wake::Queue,
            true => Wake::Nothing,
        }
    }

    /// T1: marks the task as queued, unless it has ended or is ending. Only the loop's thread calls
    /// this, and not for a main task: [`wake_rare`](Self::wake_rare) has those.
    #[inline]
    pub(super) fn wake_local(&self) -> LocalWake {
        // One comparison: the bit of a main task is above those of the body.
        match self.word() & (MAIN | BODY) <= Body::Busy as u16 {
            true if self.wake() == Wake::Queue => LocalWake::Queue,
            true => LocalWake::Nothing,
            false => LocalWake::Rare,
        }
    }

    /// The wake of a task that has ended or is ending, or of a main task; returns whether the main
    /// future is to be queued.
    pub(super) fn wake_rare(&self) -> bool {
        self.is_main() && self.is_alive() && self.wake() == Wake::Queue
    }

    /// T2: called before each poll, so that a wake during the poll queues the task once more.
    /// Returns whether the task was marked as queued.
    #[inline]
    pub(in crate::task) fn clear_queued(&self) -> bool {
        // `AcqRel`: the poll sees what the waking thread wrote before it set the flag.
        self.queued.swap(false, AcqRel)
    }

    // A poll, and its end.

    /// T1: a task is not polled twice at once, nor after its end.
    #[inline]
    pub(super) fn begin_poll(&self) -> BeginPoll {
        let word = self.word();
        if word & BODY != Body::Future as u16 {
            return BeginPoll::Refused;
        }
        let running = TaskState::Running as u16 | Body::Busy as u16;
        self.word.store(word & !PHASE | running, Relaxed);
        BeginPoll::Begun
    }

    /// After a poll that was pending.
    #[inline]
    pub(super) fn park(&self) -> Park {
        let word = self.word();
        if word & CANCELLED != 0 {
            return Park::Cancelled;
        }
        let suspended = TaskState::Suspended as u16 | Body::Future as u16;
        self.word.store(word & !(PHASE | BODY) | suspended, Relaxed);
        Park::Parked
    }

    /// T3: the last poll is over. The future is still to be dropped.
    #[inline]
    pub(super) fn begin_end(&self) -> BeginEnd {
        self.replace(PHASE, TaskState::Suspended as u16 | ENDING);
        match self.has(CANCELLED) {
            false => BeginEnd::Returned,
            true => BeginEnd::Cancelled,
        }
    }

    /// The poll panicked: the task ends. Its future is still to be dropped.
    pub(super) fn unwind(&self) {
        let ending = TaskState::Suspended as u16 | ENDING | Body::Future as u16;
        self.replace(PHASE | BODY, ending);
    }

    /// After the last poll: what is in the body then.
    #[inline]
    pub(super) fn end_poll(&self, body: Body) {
        self.replace(BODY, body as u16);
    }

    /// The poll of a main task begins. Its future is not in the cell.
    pub(in crate::task) fn begin_main_poll(&self) {
        self.replace(PHASE, TaskState::Running as u16);
    }

    /// The poll of a main task is over.
    pub(in crate::task) fn park_main(&self) {
        self.replace(PHASE, TaskState::Suspended as u16);
    }

    /// Cancels the task, once.
    pub(in crate::task) fn cancel(&self) -> Cancel {
        if self.has(CANCELLED | ENDING) || self.task_state().is_ended() {
            return Cancel::Refused;
        }
        self.set(CANCELLED);
        if self.task_state() == TaskState::Running {
            return Cancel::EndsAfterPoll;
        }
        self.set(ENDING);
        Cancel::EndNow
    }

    /// Takes back the cancellation of a task that is being polled: its result is kept.
    pub(in crate::task) fn revoke_cancel(&self) {
        self.replace(CANCELLED, 0);
    }

    /// T3: the task has ended, in this state.
    #[inline]
    pub(in crate::task) fn complete(&self, end: TaskState) {
        self.replace(PHASE | ENDING, end as u16);
    }

    /// The state that the task's handle shows.
    #[inline]
    pub(in crate::task) fn task_state(&self) -> TaskState {
        use TaskState::{Cancelled, Created, Done, Panicked, Running, Suspended};
        const STATES: [TaskState; 8] = [
            Created, Suspended, Running, Done, Cancelled, Panicked, Panicked, Panicked,
        ];
        STATES[usize::from(self.word() & PHASE)]
    }

    // The body. `true`: the caller, and no other code, may now touch what was there.

    /// Whether the future is there.
    #[inline]
    pub(in crate::task) fn is_alive(&self) -> bool {
        self.word() & BODY <= Body::Busy as u16
    }

    #[inline]
    pub(super) fn is(&self, body: Body) -> bool {
        self.word() & BODY == body as u16
    }

    #[must_use]
    #[inline]
    fn move_body(&self, from: Body, to: Body) -> bool {
        let is_there = self.is(from);
        if is_there {
            self.replace(BODY, to as u16);
        }
        is_there
    }

    /// The future, to drop it.
    #[must_use]
    pub(super) fn take_future(&self) -> bool {
        self.move_body(Body::Future, Body::Empty)
    }

    /// The output, to move it out or to drop it.
    #[must_use]
    #[inline]
    pub(super) fn take_output(&self) -> bool {
        self.move_body(Body::Output, Body::Empty)
    }

    /// The place of an output that was taken, to move it back.
    #[must_use]
    pub(super) fn put_output_back(&self) -> bool {
        self.move_body(Body::Empty, Body::Output)
    }

    // The result, and the code that may read it.

    /// T4: takes the result, once. Returns how the task ended; `None` while it has not, and if the
    /// result was taken.
    #[inline]
    pub(in crate::task) fn take_result(&self) -> Option<TaskState> {
        if !self.has_untaken_result() {
            return None;
        }
        self.set(RESULT_TAKEN);
        Some(self.task_state())
    }

    /// Undoes a [`take_result`](Self::take_result).
    pub(super) fn put_result_back(&self) {
        self.replace(RESULT_TAKEN, 0);
    }

    /// Whether the task has ended and its result has not been taken.
    #[inline]
    pub(in crate::task) fn has_untaken_result(&self) -> bool {
        let word = self.word();
        Self::is_ended(word) && word & RESULT_TAKEN == 0
    }

    /// The handle of the task is dropped.
    #[inline]
    pub(in crate::task) fn detach(&self) -> Detach {
        self.set(DETACHED);
        match self.has_untaken_result() && !self.has(VIEWED) {
            true => Detach::DropResult,
            false => Detach::Nothing,
        }
    }

    #[inline]
    pub(in crate::task) fn is_detached(&self) -> bool {
        self.has(DETACHED)
    }

    /// Whether neither a `Task` nor a done-callback may read the result.
    #[inline]
    pub(in crate::task) fn is_unwatched(&self) -> bool {
        self.word() & (DETACHED | VIEWED) == DETACHED
    }

    pub(in crate::task) fn is_viewed(&self) -> bool {
        self.has(VIEWED)
    }

    pub(super) fn set_viewed(&self, viewed: bool) {
        self.replace(VIEWED, if viewed { VIEWED } else { 0 });
    }

    pub(in crate::task) fn is_seen(&self) -> bool {
        self.has(SEEN)
    }

    /// Marks the result as inspected.
    pub(in crate::task) fn see(&self) {
        self.set(SEEN);
    }
}

#[cfg(test)]
mod tests;
