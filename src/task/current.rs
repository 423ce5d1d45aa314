//! Who is running, and who else there is: `current_task`, `all_tasks`, and a task's coroutine.
//!
//! A [`TaskRef`] is a task without the type of its result, so that tasks of all kinds fit
//! into one list. It can ask, cancel, and wait for the end; the result belongs to the `Task`.
//!
//! In the notes: `current_task()`, `all_tasks()`, `get_coro()` (N16, N18).

use super::cell::{Header, TaskPtr};
use super::executor::Executor;
use super::handle;
use super::join::{Reason, TaskState};
use super::untold::UnclaimedPanic;
use crate::event_loop::{LoopHandle, Origin, Payload, WeakHandle, current};
use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::Location;
use std::rc::Rc;

/// A task of any type: to be asked and cancelled.
///
/// It can be an element of a set: two are equal if they are the same task. In asyncio a set keeps
/// tasks alive, `background_tasks.add(task)`; here the loop does, and a set is to know who is there.
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
    handle: WeakHandle,
}

impl TaskRef {
    pub(super) fn new(cell: TaskPtr, handle: WeakHandle) -> Self {
        Self { cell, handle }
    }

    /// Its name. See [`Task::get_name`](crate::Task::get_name).
    #[must_use]
    pub fn get_name(&self) -> Rc<str> {
        self.cell.name()
    }

    /// Gives it a name.
    pub fn set_name(&self, name: &str) {
        self.cell.set_name(name);
    }

    /// Whether it has ended, in whichever way.
    #[must_use]
    pub fn done(&self) -> bool {
        self.state().is_ended()
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.state() == TaskState::Cancelled
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> TaskState {
        self.cell.task_state()
    }

    /// Ends it. See [`Task::cancel`](crate::Task::cancel). The main task, whose future
    /// belongs to the caller of [`run`](crate::run()), ends by returning only: `false`.
    pub fn cancel(&self) -> bool {
        self.end(None)
    }

    /// Ends it, and says why. See [`Task::cancel_with`](crate::Task::cancel_with).
    pub fn cancel_with(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        self.end(Some(reason.into()))
    }

    fn end(&self, reason: Option<Reason>) -> bool {
        let task_id = self.cell.id();
        self.handle
            .with(|handle| handle::cancel(handle, task_id, reason))
            .unwrap_or(false)
    }

    /// Why it was cancelled, if whoever did it said so; from that call on.
    #[must_use]
    pub fn cancel_reason(&self) -> Option<Cow<'static, str>> {
        self.cell.reason()
    }

    /// Whether it is the one that is being polled: if it waits for its own end, that never comes.
    pub(crate) fn is_current(&self) -> bool {
        let is_it = |handle: &LoopHandle| {
            let current = Executor::of(handle).current();
            current.is_some_and(|current| current.is(&self.cell))
        };
        self.handle.with(is_it).unwrap_or(false)
    }

    /// Nobody may wait for itself: whoever tried would do so for ever (R097).
    #[track_caller]
    pub(crate) fn assert_not_current(&self) {
        assert!(!self.is_current(), "{} awaits itself", self.get_name());
    }

    #[track_caller]
    pub(crate) fn assert_own_loop(&self) {
        assert_own_loop(&self.handle, &self.cell);
    }

    pub(super) fn cell(&self) -> &TaskPtr {
        &self.cell
    }

    pub(super) fn home(&self) -> &WeakHandle {
        &self.handle
    }

    /// What it has panicked with, in safe keeping.
    pub(crate) fn unclaimed_panic(&self, payload: Payload) -> UnclaimedPanic {
        UnclaimedPanic::of_task(&self.cell, payload)
    }

    /// For reports.
    pub(crate) fn origin(&self) -> Origin {
        self.cell.origin()
    }

    /// The number under which its loop runs it.
    pub(super) fn id(&self) -> u64 {
        self.cell.id()
    }

    /// The how-manieth task of its loop this is.
    pub(crate) fn number(&self) -> u64 {
        self.cell.number()
    }

    /// What it runs, and how far that has come.
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

/// While another loop runs here, that of this task does not: whoever waited there would wait for as
/// long as that is so.
#[track_caller]
pub(super) fn assert_own_loop(home: &WeakHandle, head: &Header) {
    assert!(
        !home.is_other_loop(),
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
        // Where it lies, which is its own as long as this is there.
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

/// A task's coroutine, as it can be shown: the future itself belongs to the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoroutineInfo {
    /// The type of the future, as the compiler names it.
    pub type_name: &'static str,
    /// Where it was spawned.
    pub site: &'static Location<'static>,
    /// How often it has been polled.
    pub polls: u64,
    /// Where it stands.
    pub state: TaskState,
}

/// The task that is running here; `None` in a callback and outside a loop.
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
        Some(TaskRef::new(cell, handle.weak_handle()))
    })?
}

/// All tasks of this thread's loop that have not ended, in the order of their making; empty
/// outside a loop.
#[must_use]
pub fn all_tasks() -> Vec<TaskRef> {
    current::with(|handle| {
        let all = Executor::of(handle).all();
        all.into_iter()
            .map(|cell| TaskRef::new(cell, handle.weak_handle()))
            .collect()
    })
    .unwrap_or_default()
}
