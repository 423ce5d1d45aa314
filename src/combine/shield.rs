//! `shield`: work that goes on when its waiter is cancelled.
//!
//! Cancelling drops a future where it waits, and with it all that it contains. Work that must be
//! finished all the same, such as a half-written record, has to be a task of its own, because
//! dropping a task's handle detaches the task. `shield` makes such a task, and reports its failure if
//! no waiter is left.
//!
//! In asyncio: `shield`.

use crate::task::{JoinError, Task, TaskRef, spawn};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Runs `future` as a task that goes on when its waiter is dropped. The task starts like any other:
/// see [`spawn`]. `Shielded::from(task)` shields a task that exists already.
///
/// Awaiting the result gives the task's result. The task is shielded from the cancellation of its
/// waiter, not from [`TaskRef::cancel`], and not from the end of the loop.
///
/// # Panics
///
/// Outside a loop, as [`spawn`].
///
/// # Cancellation
///
/// Dropping it detaches the task: its value is dropped when it comes, a panic follows the
/// [`PanicPolicy`](crate::PanicPolicy), and an error is reported if
/// [`telling_errors`](Shielded::telling_errors) was asked for. To keep the result, lend it
/// (`&mut shielded`), or have the task back with [`into_task`](Shielded::into_task).
///
/// # Examples
///
/// ```
/// use readily::{run, shield, sleep, wait_for};
/// use std::{cell::Cell, rc::Rc, time::Duration};
///
/// let saved = Rc::new(Cell::new(false));
/// let saves = Rc::clone(&saved);
/// run(async {
///     let save = shield(async move {
///         sleep(Duration::from_millis(3)).await;
///         saves.set(true);
///     });
///     assert!(wait_for(Duration::from_millis(1), save).await.is_err());
///     assert!(!saved.get(), "given up, and under way");
///     sleep(Duration::from_millis(9)).await;
///     assert!(saved.get());
/// })?;
/// # Ok::<(), readily::Error>(())
/// ```
#[track_caller]
pub fn shield<F>(future: F) -> Shielded<F::Output>
where
    F: Future<Output: 'static> + 'static,
{
    spawn(future).into()
}

/// The future of [`shield`]: the task goes on when this is dropped.
#[must_use = "use `drop` to go on without waiting for it"]
pub struct Shielded<T: 'static> {
    /// `Some` until this is dropped.
    task: Option<Task<T>>,
    /// How the task is detached; if its result was taken, there is nothing to report.
    detach: Option<fn(Task<T>)>,
}

impl<T: 'static> From<Task<T>> for Shielded<T> {
    fn from(task: Task<T>) -> Self {
        Self {
            task: Some(task),
            detach: None,
        }
    }
}

impl<T: 'static> Shielded<T> {
    /// Returns a reference to the task without its result: to inspect, to name and to cancel the task.
    #[must_use]
    pub fn task_ref(&self) -> TaskRef {
        self.task.as_ref().expect("it is there").task_ref()
    }

    /// Whether the task has ended, in whichever way.
    #[must_use]
    pub fn done(&self) -> bool {
        self.task.as_ref().expect("it is there").done()
    }

    /// Whether the task was cancelled, by its [`TaskRef`]: dropping this does not cancel it.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.task.as_ref().expect("it is there").cancelled()
    }

    /// Takes the result, without waiting for it: `None` until the task is [`done`](Self::done), and if
    /// the result was taken before.
    ///
    /// # Errors
    ///
    /// [`JoinError`] inside, if the task was cancelled or has panicked.
    pub fn result(&mut self) -> Option<Result<T, JoinError>> {
        self.task.as_mut().expect("it is there").result()
    }

    /// Returns the handle of the task.
    pub fn into_task(mut self) -> Task<T> {
        self.task.take().expect("it is there")
    }
}

impl<T: 'static, E: fmt::Display + 'static> Shielded<Result<T, E>> {
    /// If this is dropped before it has returned the result of the task, reports an error of the task to
    /// [`on_unhandled`](crate::LoopHandle::on_unhandled), as [`Unhandled::TaskFailed`](crate::Unhandled::TaskFailed).
    pub fn telling_errors(mut self) -> Self {
        self.detach = Some(Task::detach_reporting);
        self
    }
}

impl<T: 'static> Future for Shielded<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    ///
    /// As that of [`Task`].
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let task = self.task.as_mut().expect("it is there");
        Pin::new(task).poll(cx)
    }
}

impl<T: 'static> Drop for Shielded<T> {
    fn drop(&mut self) {
        // T11. Without it, the handle is dropped, and the task goes on all the same.
        if let (Some(task), Some(detach)) = (self.task.take(), self.detach) {
            detach(task);
        }
    }
}

impl<T: 'static> fmt::Debug for Shielded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shielded").field(&self.task).finish()
    }
}
