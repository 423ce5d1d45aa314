//! The handle of a task: await it, cancel it, inspect it.
//!
//! The loop owns its tasks, so dropping a handle detaches the task, which goes on (asyncio keeps
//! only weak references, and a task without a handle may vanish). Cancelling drops the future at
//! the point where it waits, at once if it is not running; no exception is raised in it that it
//! could swallow.
//!
//! In the notes: N13, N15, N16.

use super::budget;
use super::cell::{Detach, NewTask, TaskPtr, TaskState, TypedTask};
use super::current::{CoroutineInfo, TaskRef, assert_own_loop};
use super::executor::Executor;
use super::join::drop_unclaimed_on;
use super::join_error::JoinError;
use super::wait_queue::drop_waker;
use crate::event_loop::{LoopHandle, WeakHandle, current};
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

/// Runs `future` as a task of the loop that is running on this thread.
///
/// The future is polled for the first time after this call has returned, when the loop runs the work
/// that is queued ([`LoopHandle::call_soon`] describes in which turn), and goes on whether or not the
/// handle is kept. It need not be `Send`.
///
/// # Panics
///
/// Outside a loop, where no loop can run the task. Use [`run`](crate::run()), a callback,
/// [`EventLoop::enter`](crate::EventLoop::enter), or [`LoopHandle::spawn`].
///
/// # Examples
///
/// ```
/// readily::run(async {
///     let task = readily::spawn(async { 21 });
///     assert_eq!(task.await.unwrap(), 21);
/// })?;
/// # Ok::<(), readily::Error>(())
/// ```
#[doc(alias = "create_task")]
#[doc(alias = "ensure_future")]
#[doc(alias = "spawn_local")]
#[track_caller]
pub fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future<Output: 'static> + 'static,
{
    let site = Location::caller();
    // Before `with`: its closure would otherwise be as large as the future.
    let future = NewTask::new(future);
    match current::with(|handle| Task::spawn(handle, future, site)) {
        Some(task) => task,
        None => panic!("spawned outside a loop: use readily::run, or EventLoop::enter"),
    }
}

impl LoopHandle {
    /// Runs `future` as a task of this loop. See [`spawn`].
    #[doc(alias = "create_task")]
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future<Output: 'static> + 'static,
    {
        Task::spawn(self, NewTask::new(future), Location::caller())
    }

    /// The same with the line that reports name.
    pub(crate) fn spawn_at<F>(&self, future: F, site: &'static Location<'static>) -> Task<F::Output>
    where
        F: Future<Output: 'static> + 'static,
    {
        Task::spawn(self, NewTask::new(future), site)
    }
}

/// The handle of a task: a coroutine that runs on the loop, and its result.
///
/// Awaiting it gives the result, once. Dropping it detaches the task, so `spawn(future);` needs no
/// handle and causes no warning; a panic that no handle can take any more then follows the
/// [`PanicPolicy`](crate::PanicPolicy).
///
/// # Cancellation
///
/// Dropping a pending `.await` of `&mut task` loses nothing: the result is still there for the next
/// await.
#[doc(alias = "JoinHandle")]
pub struct Task<T: 'static> {
    pub(super) task: TypedTask<T>,
}

impl<T: 'static> Task<T> {
    /// Spawns a future that the caller has allocated, so that a large one is moved as seldom as
    /// possible.
    pub(super) fn spawn<F>(
        handle: &LoopHandle,
        future: NewTask<F>,
        site: &'static Location<'static>,
    ) -> Self
    where
        F: Future<Output = T> + 'static,
    {
        Self {
            task: Executor::spawn(Executor::of(handle), handle, future, site),
        }
    }

    pub(super) fn cell(&self) -> &TaskPtr {
        self.task.cell()
    }

    pub(super) fn home(&self) -> &WeakHandle {
        self.cell().home()
    }

    /// Cancels the task: its future is dropped where it waits, now, or, if the task is running,
    /// when it next yields. Awaiting the task then gives [`JoinError::Cancelled`].
    ///
    /// A task that cancels itself while it runs, and then returns, is cancelled all the same: what it
    /// returned is dropped, a `Result` with an error in it too. A panic is kept, and so is the error of
    /// a child of a [`TaskGroup`](crate::TaskGroup), as asyncio keeps the exception that a cancelled
    /// task raises.
    ///
    /// `true` exactly if this call ends the task: `false` for a task that has ended, or was
    /// cancelled before.
    ///
    /// Dropping a future can cancel another task, and so on. Beyond 16 levels the drops are queued
    /// and run by the outermost one, so a chain of a million takes no more stack than one of
    /// sixteen ([G5]).
    ///
    /// [G5]: crate::book::invariants#g5
    #[doc(alias = "abort")]
    pub fn cancel(&self) -> bool {
        self.task_ref().cancel()
    }

    /// Cancels the task, as [`cancel`](Self::cancel) does, with a reason: awaiting the task then
    /// gives [`JoinError::CancelledFor`], and reports show the reason. If the task was cancelled
    /// before, its reason stays as it was.
    ///
    /// In asyncio this is the message of `Task.cancel(msg)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{run, spawn};
    /// use std::future::pending;
    ///
    /// let error = run(async {
    ///     let task = spawn(pending::<()>());
    ///     assert!(task.cancel_with("the client has gone"));
    ///     task.await.unwrap_err()
    /// })?;
    /// assert!(error.is_cancelled());
    /// assert_eq!(error.reason(), Some("the client has gone"));
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn cancel_with(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        self.task_ref().cancel_with(reason)
    }

    /// The reason given to the call that cancelled the task, from that call on.
    #[must_use]
    pub fn cancel_reason(&self) -> Option<Cow<'static, str>> {
        self.cell().reason()
    }

    /// Whether the task has ended: it returned, was cancelled, or panicked.
    #[doc(alias = "is_finished")]
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
        self.cell().task_state()
    }

    /// Takes the result, without waiting for it: `None` while there is none, and if it was
    /// taken before.
    #[doc(alias = "exception")]
    pub fn result(&mut self) -> Option<Result<T, JoinError>> {
        self.task.take()
    }

    /// The name of the task: the one that was set, or `Task-1`, `Task-2`, … in the order of
    /// spawning.
    #[must_use]
    pub fn get_name(&self) -> Rc<str> {
        self.cell().name()
    }

    /// Sets the name of the task, which reports show.
    pub fn set_name(&self, name: &str) {
        self.cell().set_name(name);
    }

    /// The coroutine of the task: its type, its state, and the number of polls so far.
    #[must_use]
    pub fn get_coro(&self) -> CoroutineInfo {
        self.task_ref().get_coro()
    }

    /// Takes the result for a handle of another kind.
    pub(super) fn take_result(&self) -> Option<Result<T, JoinError>> {
        self.task.take()
    }

    /// Stores the waker to wake at the end, which has not come yet.
    pub(crate) fn listen(&mut self, waker: &Waker) {
        self.cell().wait(waker);
    }

    /// Removes the waker that was to be woken at the end.
    pub(crate) fn stop_listening(&mut self) {
        self.cell().take_waiter().into_iter().for_each(drop_waker);
    }

    /// Polls for the end of the task, and leaves the result where it is.
    ///
    /// # Panics
    ///
    /// In the task itself: it would wait for ever.
    pub(crate) fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.done() {
            return Poll::Ready(());
        }
        // Only the task that is being polled can await itself.
        assert!(
            self.state() != TaskState::Running || !self.is_current(),
            "{} awaits itself",
            self.get_name()
        );
        assert_own_loop(self.cell());
        self.cell().wait(cx.waker());
        // Cloning the waker was user code, and may have ended the task.
        if self.done() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn is_current(&self) -> bool {
        let current = self.home().with(|handle| Executor::of(handle).current());
        current.flatten().is_some_and(|it| it.is(self.cell()))
    }

    /// A reference without the result: clonable, and of one type for all tasks.
    #[doc(alias = "abort_handle")]
    #[must_use]
    pub fn task_ref(&self) -> TaskRef {
        TaskRef::new(self.cell().clone())
    }
}

impl<T: 'static> Future for Task<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    ///
    /// If the result was taken before, and in the task itself: it would wait for ever. Also while
    /// another loop than the task's runs on this thread, unless the task has ended: the task's own
    /// loop does not run meanwhile.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        budget::budgeted(cx, |cx| {
            if let Some(result) = self.task.take() {
                return Poll::Ready(result);
            }
            assert!(
                !self.done(),
                "the result of {} was taken before",
                self.cell().name()
            );
            ready!(self.poll_done(cx));
            self.task.take().map_or(Poll::Pending, Poll::Ready)
        })
    }
}

impl<T: 'static> Drop for Task<T> {
    fn drop(&mut self) {
        let cell = self.cell();
        if cell.state().detach() == Detach::DropResult {
            // A panic that was never inspected is reported now, or, for a viewed task, with its
            // last view.
            drop_unclaimed_on(cell);
        }
        // Last: a waker may panic when it is dropped, and the panic of the task is reported all the
        // same.
        drop(cell.take_waiter());
    }
}

impl<T: 'static> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.task_ref().fmt(f)
    }
}
