//! The end of a task: its outcome, and the notification of its waiters.
//!
//! The result waits in the task's cell (`cell.rs`), where its future was. The executor, which
//! completes the task, does not know the result's type; the handle, which takes the result, does.
//! Waiters are notified after the future has been dropped. A result that no handle or callback can
//! read any more is dropped; a panic among these is reported.
//!
//! In the notes: "a Task is a Future and more" (N15, N16). Rules: T3, T4.

use super::cell::TaskPtr;
use super::done::DoneCallbackKey;
use super::join_error::JoinError;
use super::unclaimed_panic::UnclaimedPanic;
use crate::event_loop::LoopHandle;
use crate::event_loop::panics::drop_quietly;

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
        done.schedule(handle, || cell.clone());
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

/// [`drop_unclaimed`], also where the loop is gone: then no other handle can have the result
/// either.
pub(super) fn drop_unclaimed_on(cell: &TaskPtr) {
    let home = cell.home();
    if home.with(|handle| drop_unclaimed(handle, cell)).is_some() {
        return;
    }
    match cell.take_result() {
        Some(Err(JoinError::Panicked(payload))) => {
            let unclaimed = UnclaimedPanic::of_task(cell, payload);
            if cell.state().is_seen() {
                drop_quietly(unclaimed.take());
            }
        }
        Some(Ok(())) => cell.drop_output(),
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
    callback: impl FnOnce(TaskPtr) + 'static,
) -> DoneCallbackKey {
    let done = cell.done_or_new();
    let key = done.add(callback);
    if cell.task_state().is_ended() {
        let scheduled = cell
            .home()
            .with(|handle| done.schedule(handle, || cell.clone()));
        if scheduled.is_none() {
            done.drop_all();
        }
    }
    key
}
