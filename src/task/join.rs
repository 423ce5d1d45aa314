//! How a task ends, and who is told of it.
//!
//! The result waits in the task's cell (`cell.rs`), where its future was. The executor, which
//! settles it, does not know its type; the handle, which takes it out, does. Whoever is told is
//! told when the future is gone, and what nobody will ask for is dropped, or told in its stead.
//!
//! In the notes: "a Task is a Future and more" (N15, N16). Rules: T3, T4.

use super::cell::TaskPtr;
use super::current::TaskRef;
use super::done::DoneCallbackKey;
use crate::event_loop::panics::drop_quietly;
use crate::event_loop::{LoopHandle, Payload, WeakHandle, stderr};
use std::borrow::Cow;
use std::fmt;

/// Why a task was cancelled, in the words of whoever did it.
pub(crate) type Reason = Cow<'static, str>;

/// Why a task gave no value.
#[doc(alias = "CancelledError")]
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// It was cancelled: its future was dropped at the point where it waited.
    #[error("the task was cancelled")]
    Cancelled,
    /// The same, and whoever cancelled it said why: see [`Task::cancel_with`](crate::Task::cancel_with).
    #[error("the task was cancelled: {0}")]
    CancelledFor(Cow<'static, str>),
    /// It panicked, with this payload.
    #[error("the task panicked: {}", stderr::message(.0))]
    Panicked(Payload),
}

impl JoinError {
    /// Whether it was cancelled, with a reason or without.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled | Self::CancelledFor(_))
    }

    /// Why it was cancelled, if whoever did it said so.
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

    /// Whether it panicked.
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

/// Where a task stands ([T3]: it ends in exactly one of the last three).
///
/// [T3]: crate::book::invariants#t3
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskState {
    /// Spawned, not polled yet.
    Created,
    /// Gave way, and waits to be woken.
    Suspended,
    /// Being polled just now.
    Running,
    /// Returned a value.
    Done,
    /// Was cancelled.
    Cancelled,
    /// Panicked.
    Panicked,
}

impl TaskState {
    /// Whether it has ended, in whichever way.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled | Self::Panicked)
    }
}

/// Takes a task's result away when there is one.
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
    // Before a waiter is woken, which may take the result: the callbacks are to see it.
    if let Some(done) = cell.done() {
        done.schedule(handle, || TaskRef::new(cell.clone(), handle.weak_handle()));
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
        Some(Err(JoinError::Panicked(payload))) => handle.note_panic(payload, cell.origin()),
        Some(Ok(())) if cell.has_output_to_drop() => {
            // G5: a result may be the handle of a task that has ended too.
            handle.drop_guarded(OutputGuard(cell.clone()));
        }
        _ => {}
    }
}

/// What a task has returned, to be dropped with this.
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
    handle: &WeakHandle,
    callback: impl FnOnce(&TaskRef) + 'static,
) -> DoneCallbackKey {
    let done = cell.done_or_new();
    let key = done.add(callback);
    if cell.task_state().is_ended() {
        let ended = || TaskRef::new(cell.clone(), handle.clone());
        if handle.with(|handle| done.schedule(handle, ended)).is_none() {
            done.drop_all();
        }
    }
    key
}
