//! The state of a group, and its end if its future is dropped.
//!
//! In asyncio this is a part of `TaskGroup`. Rules: G1, G2.

use super::child::ChildError;
use super::completion_queue::CompletionQueue;
use crate::event_loop::{Origin, Unhandled, WeakHandle};
use crate::task::{JoinError, TaskRef};
use std::any::type_name;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};

pub(super) struct GroupState<E: 'static> {
    pub(super) queue: CompletionQueue<Result<(), E>>,
    /// Each with where it came from, for a report if the group is dropped.
    pub(super) errors: RefCell<Vec<(Origin, ChildError<E>)>>,
    /// It takes no more children.
    pub(super) over: Cell<bool>,
    /// By [`TaskGroup::cancel`](crate::TaskGroup::cancel), so the body is to be dropped.
    pub(super) cancelled: Cell<bool>,
}

impl<E: 'static> GroupState<E> {
    pub(super) fn new() -> Self {
        Self {
            queue: CompletionQueue::default(),
            errors: RefCell::default(),
            over: Cell::new(false),
            cancelled: Cell::new(false),
        }
    }

    /// Takes the results of all that have ended (G2).
    pub(super) fn collect(&self) {
        while let Some(ended) = self.queue.pop() {
            let (task, ended) = ended;
            match ended {
                Ok(Ok(())) | Err(JoinError::Cancelled | JoinError::CancelledFor(_)) => {}
                Ok(Err(error)) => self.fail(Some(task), ChildError::Failed(error)),
                Err(JoinError::Panicked(payload)) => {
                    self.fail(Some(task), ChildError::Panicked(payload));
                }
            }
        }
    }

    /// A child has failed, or the task that runs the body.
    pub(super) fn fail(&self, task: Option<TaskRef>, error: ChildError<E>) {
        let origin = task.map_or(Origin::Other, |task| task.origin());
        self.errors.borrow_mut().push((origin, error));
    }

    pub(super) fn has_failed(&self) -> bool {
        !self.errors.borrow().is_empty()
    }

    pub(super) fn cancel(&self, reason: impl Into<Cow<'static, str>>) {
        self.over.set(true);
        self.queue.cancel(reason.into());
    }
}

/// The end of a group, however it comes: also if its future is dropped, or its body panics.
pub(super) struct LeaveGuard<'a, E: 'static> {
    pub(super) state: &'a GroupState<E>,
    pub(super) home: Option<WeakHandle>,
}

impl<E: 'static> Drop for LeaveGuard<'_, E> {
    fn drop(&mut self) {
        self.state.cancel("its group was dropped");
        self.state.collect();
        let errors = self.state.errors.take();
        let Some(home) = &self.home else {
            return; // outside a loop it had no children
        };
        let dropped = |_: &E| format!("{}, and its group was dropped with it", type_name::<E>());
        // Only those that are being polled are left: they end when they next give way, or fail.
        for child in self.state.queue.take() {
            child.detach_reporting_as(dropped);
        }
        for (origin, error) in errors {
            // No caller is left to receive it, and neither a panic nor an error must be silent.
            match error {
                ChildError::Panicked(payload) => home.apply_panic_policy(payload, origin),
                ChildError::Failed(error) => {
                    home.report(&Unhandled::TaskFailed {
                        origin,
                        error: dropped(&error),
                    });
                    home.with(|handle| handle.drop_guarded(error));
                }
            }
        }
    }
}
