//! The argument of a done-callback: the task that has ended, with its result by reference.
//!
//! The [`Task`] owns the result. A callback may inspect it, so it must not be dropped before the
//! callbacks have run, even if the handle was dropped long ago. On the other hand, a panic that
//! neither a callback nor the handle has seen must be reported. So each callback counts as a view
//! of the task: the result of a detached task is dropped, or reported, with the last of its views.
//!
//! In asyncio a done-callback is called with the task. In the notes: N16. Rule: T4.

use super::DoneCallbackKey;
use super::cell::{TaskPtr, TypedTask};
use super::current::TaskRef;
use super::handle::Task;
use super::join::{self, drop_unclaimed_on};
use super::join_error::JoinError;
use super::peek::peek_result;
use crate::event_loop::user_code::drop_bounded;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// A task that has ended, as a done-callback sees it: a [`TaskRef`] with the result by reference. See
/// [`Task::add_done_callback`].
pub struct DoneTask<T: 'static> {
    task: TaskRef,
    _result: PhantomData<fn() -> T>,
}

impl<T: 'static> DoneTask<T> {
    fn new(cell: TaskPtr) -> Self {
        cell.add_view();
        Self {
            task: TaskRef::new(cell),
            _result: PhantomData,
        }
    }

    /// Inspects the result: the value, or that the task was cancelled or has panicked. `None` if the
    /// result was taken before; while `f` runs, it counts as taken.
    ///
    /// A callback that was added before the task ended sees the result before the code that awaits
    /// the task takes it, unless that code was woken for another reason as well. Where both must
    /// have it, [`Task::shared`] leaves it in its place.
    ///
    /// A result that was inspected counts as retrieved: a panic in it is not reported when the task is
    /// dropped, nor an error by [`detach_reporting`](Task::detach_reporting).
    ///
    /// In asyncio: `task.result()` and `task.exception()`.
    pub fn with_result<R>(&self, f: impl FnOnce(&Result<T, JoinError>) -> R) -> Option<R> {
        let cell = self.task.cell();
        let seen = |result: &_| {
            cell.state().see();
            f(result)
        };
        match cell.shared_result::<Result<T, JoinError>>() {
            Some(shared) => Some(seen(&shared)),
            None => peek_result(&TypedTask::<T>::of(cell)?, seen),
        }
    }

    /// The task without its result, which outlives the callback.
    #[must_use]
    pub fn task_ref(&self) -> TaskRef {
        self.task.clone()
    }
}

impl<T: 'static> Deref for DoneTask<T> {
    type Target = TaskRef;

    fn deref(&self) -> &TaskRef {
        &self.task
    }
}

impl<T: 'static> Drop for DoneTask<T> {
    fn drop(&mut self) {
        let cell = self.task.cell();
        if !cell.drop_view() {
            return; // other views are left
        }
        let shared = cell.take_shared_result();
        if cell.state().is_detached() && cell.state().has_untaken_result() {
            drop_unclaimed_on(cell);
        }
        if let Some(shared) = shared {
            match self.task.home().upgrade() {
                Some(handle) => handle.drop_guarded(shared),
                None => drop_bounded(shared),
            }
        }
    }
}

impl<T: 'static> fmt::Debug for DoneTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.task.fmt(f)
    }
}

impl<T: 'static> Task<T> {
    /// Schedules `callback` by `call_soon` when the task ends, or now if it has ended. The callback
    /// gets the task: its state, and by [`DoneTask::with_result`] its result. Callbacks run in the
    /// order in which they were added, and are queued before the code that awaits the task is
    /// woken.
    ///
    /// A closed loop runs no callbacks: those of tasks that end with the loop are dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{run, spawn, yield_now};
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    ///
    /// let seen = Rc::new(Cell::new(0));
    /// let sees = Rc::clone(&seen);
    /// run(async move {
    ///     let task = spawn(async { 21 });
    ///     // In asyncio: task.add_done_callback(lambda task: sees(task.result()))
    ///     task.add_done_callback(move |task| {
    ///         assert!(task.done() && !task.cancelled());
    ///         task.with_result(|result| sees.set(*result.as_ref().unwrap()));
    ///     });
    ///     assert_eq!(task.await.unwrap(), 21); // the value itself
    /// })?;
    /// assert_eq!(seen.get(), 21);
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[track_caller]
    pub fn add_done_callback(
        &self,
        callback: impl FnOnce(&DoneTask<T>) + 'static,
    ) -> DoneCallbackKey {
        let view = DoneTask::new(self.cell().clone());
        join::add_done_callback(self.cell(), move |_| callback(&view))
    }

    /// Removes a done-callback; `false` if it has been queued already, or was removed before.
    pub fn remove_done_callback(&self, key: DoneCallbackKey) -> bool {
        let done = self.cell().done();
        done.is_some_and(|done| done.remove(self.home(), key))
    }
}

impl TaskRef {
    /// Schedules `callback` by `call_soon` when the task ends, or now if it has ended. See
    /// [`Task::add_done_callback`], whose callback also sees the result.
    #[track_caller]
    pub fn add_done_callback(&self, callback: impl FnOnce(&Self) + 'static) -> DoneCallbackKey {
        join::add_done_callback(self.cell(), move |cell| callback(&Self::new(cell)))
    }

    /// Removes a done-callback; `false` if it has been queued already, or was removed before.
    pub fn remove_done_callback(&self, key: DoneCallbackKey) -> bool {
        let done = self.cell().done();
        done.is_some_and(|done| done.remove(self.home(), key))
    }
}
