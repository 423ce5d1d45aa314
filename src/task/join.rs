//! The end of a task: its outcome, and the notification of its waiters.
//!
//! The result waits in the task's cell (`cell.rs`), where its future was. The executor, which
//! completes the task, does not know the result's type; the handle, which takes the result, does.
//! Waiters are notified after the future has been dropped. A result that no handle or callback can
//! read any more is dropped; a panic among these is reported.
//!
//! In the notes: "a Task is a Future and more" (N15, N16). Rules: T3, T4.

use super::cell::TaskPtr;
use super::current::TaskRef;
use super::done::DoneCallbackKey;
use crate::event_loop::panics::drop_quietly;
use crate::event_loop::{LoopHandle, Payload, stderr};
use std::borrow::Cow;
use std::fmt;

/// The reason given to the call that cancelled a task.
pub(crate) type Reason = Cow<'static, str>;

/// Why a task gave no value.
#[doc(alias = "CancelledError")]
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The task was cancelled: its future was dropped at the point where it waited.
    #[error("the task was cancelled")]
    Cancelled,
    /// The task was cancelled with this reason: see
    /// [`Task::cancel_with`](crate::Task::cancel_with).
    #[error("the task was cancelled: {0}")]
    CancelledFor(Cow<'static, str>),
    /// The task panicked with this payload.
    #[error("the task panicked: {}", stderr::message(.0))]
    Panicked(Payload),
}

impl JoinError {
    /// Whether the task was cancelled, with a reason or without.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled | Self::CancelledFor(_))
    }

    /// The reason for the cancellation, if one was given.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::CancelledFor(reason) => Some(reason),
            Self::Cancelled | Self::Panicked(_) => None,
        }
    }

    pub(super) fn into_reason(self) -> Option<Reason> {
        match self {
            Self::CancelledFor(reason) => Some(reason),
            Self::Cancelled | Self::Panicked(_) => None,
        }
    }

    /// Whether the task panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self, Self::Panicked(_))
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("Cancelled"),
            Self::CancelledFor(reason) => write!(f, "CancelledFor({reason:?})"),
            Self::Panicked(payload) => write!(f, "Panicked({:?})", stderr::message(payload)),
        }
    }
}

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

/// Receives a task's result as soon as there is one.
pub(super) type ResultSink = Box<dyn FnOnce(&LoopHandle, &TaskPtr)>;

/// Notifies the waiter of a task's handle of the end, and what few tasks have: a result sink,
/// done-callbacks, other waiters.
#[inline]
pub(super) fn notify_done(handle: &LoopHandle, cell: &TaskPtr) {
    match cell.has_rare_fields() {
        true => notify_all_done(handle, cell),
        false => wake_waiter(handle, cell),
    }
}

#[inline(never)]
fn notify_all_done(handle: &LoopHandle, cell: &TaskPtr) {
    if let Some(sink) = cell.take_result_sink() {
        handle.guard(|| sink(handle, cell));
    }
    // Queued before a waiter is woken: the waiter may take the result, and the callbacks are to see
    // it.
    if let Some(done) = cell.done() {
        done.schedule(handle, || TaskRef::new(cell.clone()));
    }
    wake_waiter(handle, cell);
    if let Some(waiters) = cell.waiters() {
        handle.guard(|| waiters.wake_all());
    }
}

#[inline]
fn wake_waiter(handle: &LoopHandle, cell: &TaskPtr) {
    if let Some(waiter) = cell.take_waiter() {
        handle.guard(|| waiter.wake());
    }
}

/// The result will not be taken: a panic that was not inspected is reported, any other result is
/// dropped.
pub(super) fn drop_unclaimed(handle: &LoopHandle, cell: &TaskPtr) {
    match cell.take_result() {
        Some(Err(JoinError::Panicked(payload))) if cell.state().is_seen() => {
            drop_quietly(payload);
        }
        Some(Err(JoinError::Panicked(payload))) => {
            handle.apply_panic_policy(payload, cell.origin())
        }
        Some(Ok(())) if cell.has_output_to_drop() => {
            // G5: a result may be the handle of a task that has ended too.
            handle.drop_guarded(OutputGuard(cell.clone()));
        }
        _ => {}
    }
}

/// Drops what a task has returned.
pub(super) struct OutputGuard(pub(super) TaskPtr);

impl Drop for OutputGuard {
    fn drop(&mut self) {
        self.0.drop_output();
    }
}

/// See [`Task::add_done_callback`](crate::Task::add_done_callback).
#[track_caller]
pub(super) fn add_done_callback(
    cell: &TaskPtr,
    callback: impl FnOnce(&TaskRef) + 'static,
) -> DoneCallbackKey {
    let done = cell.done_or_new();
    let key = done.add(callback);
    if cell.task_state().is_ended() {
        let ended = || TaskRef::new(cell.clone());
        if cell
            .home()
            .with(|handle| done.schedule(handle, ended))
            .is_none()
        {
            done.drop_all();
        }
    }
    key
}
