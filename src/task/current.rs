//! The running task, and all others of the loop: `current_task`, `all_tasks`, and a task's
//! coroutine.
//!
//! A [`TaskRef`] is a reference to a task without the type of its result, so that tasks of all
//! kinds fit into one list. With it a task can be inspected, cancelled and waited for; the result
//! belongs to the `Task`.
//!
//! In the notes: `current_task()`, `all_tasks()`, `get_coro()` (N16, N18).

use super::cell::{Header, TaskPtr, TaskState};
use super::executor::Executor;
use super::join_error::Reason;
use super::unclaimed_panic::UnclaimedPanic;
use crate::event_loop::{LoopHandle, Origin, Payload, WeakHandle, current};
use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::Location;
use std::rc::Rc;

/// A reference to a task of any type: to inspect it, to cancel it, to wait for its end.
///
/// Two references are equal if they are of the same task, so a `TaskRef` can be an element of a
/// set. In asyncio a set keeps tasks alive, `background_tasks.add(task)`; here the loop does that,
/// and a set only lists them.
///
/// # Examples
///
/// ```
/// use readily::task::TaskRef;
/// use readily::{run, spawn, yield_now};
/// use std::cell::RefCell;
/// use std::collections::HashSet;
/// use std::rc::Rc;
///
/// run(async {
///     let background = Rc::new(RefCell::new(HashSet::<TaskRef>::new()));
///     for _ in 0..3 {
///         let task = spawn(yield_now());
///         background.borrow_mut().insert(task.task_ref());
///         // In asyncio: task.add_done_callback(background_tasks.discard)
///         let set = Rc::clone(&background);
///         task.add_done_callback(move |task| drop(set.borrow_mut().take(&task.task_ref())));
///     }
///     assert_eq!(background.borrow().len(), 3);
///     while !background.borrow().is_empty() {
///         yield_now().await;
///     }
/// })?;
/// # Ok::<(), readily::Error>(())
/// ```
#[doc(alias = "AbortHandle")]
#[derive(Clone)]
pub struct TaskRef {
    cell: TaskPtr,
}

impl TaskRef {
    pub(super) fn new(cell: TaskPtr) -> Self {
        Self { cell }
    }

    /// The name of the task. See [`Task::get_name`](crate::Task::get_name).
    #[must_use]
    pub fn get_name(&self) -> Rc<str> {
        self.cell.name()
    }

    /// Sets the name of the task, which reports show.
    pub fn set_name(&self, name: &str) {
        self.cell.set_name(name);
    }

    /// Whether the task has ended: it returned, was cancelled, or panicked.
    #[must_use]
    pub fn done(&self) -> bool {
        self.state().is_ended()
    }

    /// Whether the task was cancelled.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.state() == TaskState::Cancelled
    }

    /// The state of the task.
    #[must_use]
    pub fn state(&self) -> TaskState {
        self.cell.task_state()
    }

    /// Cancels the task. See [`Task::cancel`](crate::Task::cancel). `false` for the main task: its
    /// future belongs to the caller of [`run`](crate::run()), so it ends only by returning.
    pub fn cancel(&self) -> bool {
        self.end(None)
    }

    /// Cancels the task with a reason. See [`Task::cancel_with`](crate::Task::cancel_with).
    pub fn cancel_with(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        self.end(Some(reason.into()))
    }

    fn end(&self, reason: Option<Reason>) -> bool {
        self.home()
            .with(|handle| Executor::cancel(handle, &self.cell, reason))
            .unwrap_or(false)
    }

    /// The reason given to the call that cancelled the task, from that call on.
    #[must_use]
    pub fn cancel_reason(&self) -> Option<Cow<'static, str>> {
        self.cell.reason()
    }

    /// Whether this task is being polled now: if it waits for its own end, that never comes.
    pub(crate) fn is_current(&self) -> bool {
        let is_it = |handle: &LoopHandle| {
            let current = Executor::of(handle).current();
            current.is_some_and(|current| current.is(&self.cell))
        };
        self.home().with(is_it).unwrap_or(false)
    }

    /// R097: a task that waits for itself would wait for ever, so this panics.
    #[track_caller]
    pub(crate) fn assert_not_current(&self) {
        assert!(!self.is_current(), "{} awaits itself", self.get_name());
    }

    #[track_caller]
    pub(crate) fn assert_own_loop(&self) {
        assert_own_loop(&self.cell);
    }

    pub(super) fn cell(&self) -> &TaskPtr {
        &self.cell
    }

    pub(super) fn home(&self) -> &WeakHandle {
        self.cell.home()
    }

    /// The task's panic payload, which is reported if it is dropped unread.
    pub(crate) fn unclaimed_panic(&self, payload: Payload) -> UnclaimedPanic {
        UnclaimedPanic::of_task(&self.cell, payload)
    }

    /// The origin that reports show.
    pub(crate) fn origin(&self) -> Origin {
        self.cell.origin()
    }

    /// The serial number of the task on its loop, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.cell.number()
    }

    /// The coroutine of the task: its type, its state, and the number of polls so far.
    #[must_use]
    pub fn get_coro(&self) -> CoroutineInfo {
        let head = &*self.cell;
        CoroutineInfo {
            type_name: head.type_name(),
            site: head.site(),
            polls: head.polls(),
            state: self.state(),
        }
    }
}

/// Panics if another loop than the task's runs on this thread: the task's own loop cannot run
/// meanwhile, so waiting would block.
#[track_caller]
#[inline]
pub(super) fn assert_own_loop(head: &Header) {
    assert!(
        !head.home().is_other_loop(),
        "{} belongs to another loop than the one that awaits it",
        head.name()
    );
}

impl PartialEq for TaskRef {
    fn eq(&self, other: &Self) -> bool {
        self.cell.is(&other.cell)
    }
}

impl Eq for TaskRef {}

impl Hash for TaskRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The address of the cell, which is unique as long as this reference exists.
        self.cell.address().hash(state);
    }
}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, state, site) = (self.get_name(), self.state(), self.cell.site());
        match self.cancel_reason() {
            Some(reason) => write!(f, "<Task {name:?} {state:?} ({reason}) at {site}>"),
            None => write!(f, "<Task {name:?} {state:?} at {site}>"),
        }
    }
}

/// Facts about a task's coroutine; the future itself belongs to the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoroutineInfo {
    /// The type of the future, as the compiler names it.
    pub type_name: &'static str,
    /// The line that spawned the task.
    pub site: &'static Location<'static>,
    /// The number of polls so far.
    pub polls: u64,
    /// The state of the task.
    pub state: TaskState,
}

/// Returns the task that is being polled on this thread; `None` in a callback and outside a loop.
///
/// ```
/// readily::run(async {
///     assert_eq!(&*readily::current_task().unwrap().get_name(), "Task-1");
/// })?;
/// assert!(readily::current_task().is_none());
/// # Ok::<(), readily::Error>(())
/// ```
#[must_use]
pub fn current_task() -> Option<TaskRef> {
    current::with(|handle| {
        let cell = Executor::of(handle).current()?;
        Some(TaskRef::new(cell))
    })?
}

/// Revokes a cancellation of the running task, whose result, which it is about to return, is kept (G2).
/// In asyncio a task that is cancelled and then raises another exception ends with that exception.
pub(crate) fn keep_result() {
    current::with(|handle| {
        if let Some(cell) = Executor::of(handle).current() {
            cell.state().revoke_cancel();
        }
    });
}

/// Returns all tasks of this thread's loop that have not ended, in the order of creation; no tasks
/// outside a loop.
#[must_use]
pub fn all_tasks() -> Vec<TaskRef> {
    current::with(|handle| {
        let mut all = Vec::new();
        for cell in Executor::of(handle).all() {
            all.push(TaskRef::new(cell));
        }
        all
    })
    .unwrap_or_default()
}
