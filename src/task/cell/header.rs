//! The header of a task: all that does not depend on the types of its future and its result.
//!
//! Most of it is for the loop's thread, in plain cells; the fields that wakers touch are a separate
//! part (`waker.rs`). A million tasks have a million headers, so the fields that few tasks ever use
//! are in a box (`rare_fields.rs`).
//!
//! In the notes: the queries of a Task (N16). Rules: T3, T4.

use super::extra::Extra;
use super::loop_ref::LoopRef;
use super::rare_fields::{RareFields, ResultSink};
use super::state::{State, TaskState};
use super::waker::WakeState;
use super::{Executor, TaskPtr, Vtable};
use crate::event_loop::{Inbox, Origin, WeakHandle};
use crate::task::done::DoneList;
use crate::task::join_error::{JoinError, Reason};
use crate::task::waiters::WakerList;
use std::any::Any;
use std::cell::Cell;
use std::panic::Location;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

/// The part for the loop's thread.
pub(super) struct LocalPart {
    site: &'static Location<'static>,
    /// References to the cell on this thread.
    references: Cell<u32>,
    polls: Cell<u32>,
    /// The waker to wake at the end, and the rare fields.
    pub(super) extra: Extra<RareFields>,
    pub(super) links: Links,
}

/// The neighbours of a task in the list of its executor: for `task_list.rs` only.
#[derive(Default)]
pub(super) struct Links {
    pub(super) previous: Cell<Option<NonNull<Header>>>,
    pub(super) next: Cell<Option<NonNull<Header>>>,
}

/// The data that the loop gives a new task.
pub(in crate::task) struct SpawnInfo {
    pub(in crate::task) executor: LoopRef<Executor>,
    /// Whether the future is polled by its own caller.
    pub(in crate::task) is_main: bool,
    /// The serial number of the task on its loop, from 1.
    pub(in crate::task) number: u64,
    pub(in crate::task) site: &'static Location<'static>,
}

#[repr(C)]
pub(in crate::task) struct Header {
    pub(super) vtable: &'static Vtable,
    /// All that a waker touches, on any thread.
    pub(super) wake_state: WakeState,
    /// For the loop's thread only; dropped there, with the last reference.
    pub(super) local_part: LocalPart,
}

impl LocalPart {
    /// Adds a reference on this thread.
    #[inline]
    pub(super) fn inc_ref(&self) {
        let references = self.references.get().wrapping_add(1);
        self.references.set(references);
        if references == 0 {
            std::process::abort(); // as `Rc` does
        }
    }

    /// Removes a reference on this thread; `true` if it was the last one.
    #[must_use]
    #[inline]
    pub(super) fn dec_ref(&self) -> bool {
        self.references.set(self.references.get() - 1);
        self.references.get() == 0
    }
}

impl Header {
    pub(super) fn new(vtable: &'static Vtable, info: SpawnInfo) -> Self {
        Self {
            vtable,
            wake_state: WakeState::new(info.number, info.is_main, info.executor.into_ptr()),
            local_part: LocalPart {
                site: info.site,
                references: Cell::new(1),
                polls: Cell::new(0),
                extra: Extra::new(),
                links: Links::default(),
            },
        }
    }

    pub(in crate::task) fn state(&self) -> &State {
        &self.wake_state.state
    }

    #[inline]
    pub(in crate::task) fn task_state(&self) -> TaskState {
        self.state().task_state()
    }

    pub(in crate::task) fn inbox(&self) -> &Arc<Inbox> {
        self.wake_state.inbox()
    }

    /// A handle of the task's loop.
    pub(in crate::task) fn home(&self) -> &WeakHandle {
        self.executor().handle()
    }

    /// The serial number of the task on its loop, from 1.
    pub(in crate::task) fn number(&self) -> u64 {
        self.wake_state.number
    }

    pub(in crate::task) fn site(&self) -> &'static Location<'static> {
        self.local_part.site
    }

    /// The type name of the future.
    pub(in crate::task) fn type_name(&self) -> &'static str {
        (self.vtable.type_name)()
    }

    pub(in crate::task) fn is_recording(&self) -> bool {
        self.wake_state.is_recording()
    }

    pub(super) fn rare(&self) -> &RareFields {
        self.local_part.extra.get_or_init(|waiter| RareFields {
            waiter: Cell::new(waiter),
            ..RareFields::default()
        })
    }

    /// Whether any of the rare fields may be in use.
    #[inline]
    pub(in crate::task) fn has_rare_fields(&self) -> bool {
        self.local_part.extra.get().is_some()
    }

    #[inline]
    pub(in crate::task) fn count_poll(&self) {
        let polls = &self.local_part.polls;
        if let Some(count) = polls.get().checked_add(1) {
            polls.set(count);
        }
    }

    pub(in crate::task) fn polls(&self) -> u64 {
        self.local_part.polls.get().into()
    }

    /// The origin that reports show.
    pub(in crate::task) fn origin(&self) -> Origin {
        Origin::Task {
            name: self.name(),
            site: self.local_part.site,
        }
    }

    pub(in crate::task) fn name(&self) -> Rc<str> {
        let given = self.local_part.extra.get();
        match given.and_then(|extra| extra.name.borrow().clone()) {
            Some(name) => name,
            None => format!("Task-{}", self.number()).into(),
        }
    }

    pub(in crate::task) fn set_name(&self, name: &str) {
        *self.rare().name.borrow_mut() = Some(name.into());
    }

    pub(in crate::task) fn reason(&self) -> Option<Reason> {
        self.local_part.extra.get()?.reason.borrow().clone()
    }

    pub(in crate::task) fn set_reason(&self, reason: Option<Reason>) {
        if reason.is_some() {
            *self.rare().reason.borrow_mut() = reason;
        }
    }

    pub(in crate::task) fn set_result_sink(&self, sink: ResultSink) {
        self.rare().result_sink.set(Some(sink));
    }

    pub(in crate::task) fn take_result_sink(&self) -> Option<ResultSink> {
        self.local_part.extra.get()?.result_sink.take()
    }

    /// The done-callbacks, if there ever were any.
    pub(in crate::task) fn done(&self) -> Option<&DoneList<TaskPtr>> {
        Some(&self.local_part.extra.get()?.done)
    }

    pub(in crate::task) fn done_or_new(&self) -> &DoneList<TaskPtr> {
        &self.rare().done
    }

    /// The waiters without a `Task`, if there ever were any.
    pub(in crate::task) fn waiters(&self) -> Option<&WakerList> {
        Some(&self.local_part.extra.get()?.waiters)
    }

    pub(in crate::task) fn waiters_or_new(&self) -> &WakerList {
        &self.rare().waiters
    }

    /// Adds a done-callback that may inspect the result.
    pub(in crate::task) fn add_view(&self) {
        self.rare().views.add();
        self.state().set_viewed(true);
    }

    /// Removes a view; `true` if it was the last one.
    pub(in crate::task) fn drop_view(&self) -> bool {
        let is_last = self.rare().views.remove();
        self.state().set_viewed(!is_last);
        is_last
    }

    /// Stores the result that a `SharedTask` has taken: the views keep seeing it.
    pub(in crate::task) fn share_result<R: 'static>(&self, result: &Rc<R>) {
        if self.state().is_viewed() {
            self.rare().views.share(Rc::<R>::clone(result));
        }
    }

    pub(in crate::task) fn shared_result<R: 'static>(&self) -> Option<Rc<R>> {
        self.local_part.extra.get()?.views.shared()?.downcast().ok()
    }

    pub(in crate::task) fn take_shared_result(&self) -> Option<Rc<dyn Any>> {
        self.local_part.extra.get()?.views.take_shared()
    }

    /// T3: ends the task, once, without a value.
    pub(in crate::task) fn fail(&self, error: JoinError) {
        self.state().complete(match error {
            JoinError::Panicked(payload) => {
                self.rare().payload.set(Some(payload));
                TaskState::Panicked
            }
            JoinError::Cancelled | JoinError::CancelledFor(_) => TaskState::Cancelled,
        });
    }

    /// T4: takes the outcome, once; `None` while there is none, and after it was taken.
    #[inline]
    pub(in crate::task) fn take_result(&self) -> Option<Result<(), JoinError>> {
        match self.state().take_result()? {
            TaskState::Done => Some(Ok(())),
            state => Some(Err(self.error(state))),
        }
    }

    /// The error of a task that gave no value.
    #[cold]
    fn error(&self, state: TaskState) -> JoinError {
        if state == TaskState::Panicked {
            let payload = self.rare().payload.take();
            return JoinError::Panicked(payload.expect("it is there until it is delivered"));
        }
        match self.reason() {
            Some(reason) => JoinError::CancelledFor(reason),
            None => JoinError::Cancelled,
        }
    }

    /// Undoes a [`take_result`](Self::take_result).
    pub(super) fn put_back(&self, end: Result<(), JoinError>) {
        if let Err(JoinError::Panicked(payload)) = end {
            self.rare().payload.set(Some(payload));
        }
        self.state().put_result_back();
    }
}
