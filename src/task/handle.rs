//! The handle of a task: await it, cancel it, ask it.
//!
//! The loop owns its tasks, so dropping a handle detaches: the task goes on (asyncio keeps
//! only weak references, and tasks vanish). Cancelling drops the future where it waits, at
//! once if it is not running; there is no exception to catch, and nothing to swallow it.
//!
//! In the notes: N13, N15, N16.

use super::budget;
use super::cell::{NewTask, TaskPtr, TypedTask};
use super::current::{CoroutineInfo, TaskRef, assert_own_loop};
use super::done_task::disown_at;
use super::executor::Executor;
use super::join::{JoinError, Reason, TaskState};
use super::line::drop_waker;
use crate::base::slab::SlabKey;
use crate::event_loop::{LoopHandle, WeakHandle, current};
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

/// Runs `future` as a task of the loop that is running here.
///
/// It is polled for the first time in a later turn, and goes on whether or not the handle
/// is kept. It need not be `Send`.
///
/// # Panics
///
/// Outside a loop: there is nobody to run it. Use [`run`](crate::run()), a callback,
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
    // Before `with`, whose closure would else be as large as the future.
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
}

/// A coroutine that runs on the loop, and the way to its result.
///
/// Awaiting it gives the result, once. Dropping it detaches the task, so `spawn(future);` needs no
/// handle and is no warning; a panic that nobody
/// can see any more then follows the [`PanicPolicy`](crate::PanicPolicy).
///
/// # Cancellation
///
/// Dropping a pending `.await` of `&mut task` loses nothing: the result is still there for
/// the next one.
#[doc(alias = "JoinHandle")]
pub struct Task<T: 'static> {
    pub(super) task: TypedTask<T>,
    pub(super) handle: WeakHandle,
}

impl<T: 'static> Task<T> {
    /// Allocated by the caller: a large future is moved as seldom as can be.
    pub(super) fn spawn<F>(
        handle: &LoopHandle,
        future: NewTask<F>,
        site: &'static Location<'static>,
    ) -> Self
    where
        F: Future<Output = T> + 'static,
    {
        Self {
            task: Executor::of(handle).spawn(handle, future, site),
            handle: handle.weak_handle(),
        }
    }

    pub(super) fn cell(&self) -> &TaskPtr {
        self.task.cell()
    }

    /// Asks the task to end: its future is dropped where it waits, now, or, if it is the one
    /// that is running, when it next gives way. Who awaits it gets
    /// [`JoinError::Cancelled`].
    ///
    /// `true` exactly if this call is what ends it: `false` for a task that has ended, or
    /// was cancelled before.
    ///
    /// A future whose destructor cancels a task, whose destructor cancels another, and so on, is
    /// dropped from the seventeenth on when those around it are through: a chain of a million
    /// takes no more stack than one of sixteen ([G5]).
    ///
    /// [G5]: crate::book::invariants#g5
    #[doc(alias = "abort")]
    pub fn cancel(&self) -> bool {
        self.task_ref().cancel()
    }

    /// [`cancel`](Self::cancel), and says why: whoever awaits the task gets
    /// [`JoinError::CancelledFor`], and reports show it. Of a task that was cancelled before, the
    /// reason stays as it was.
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

    /// Why it was cancelled, if whoever did it said so; from that call on.
    #[must_use]
    pub fn cancel_reason(&self) -> Option<Cow<'static, str>> {
        self.cell().reason()
    }

    /// Whether the task has ended, in whichever way.
    #[doc(alias = "is_finished")]
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
        self.cell().task_state()
    }

    /// Takes the result, without waiting for it: `None` while there is none, and if it was
    /// taken before.
    #[doc(alias = "exception")]
    pub fn result(&mut self) -> Option<Result<T, JoinError>> {
        self.task.take()
    }

    /// Its name: what it was given, or `Task-1`, `Task-2`, … in the order of spawning.
    #[must_use]
    pub fn get_name(&self) -> Rc<str> {
        self.cell().name()
    }

    /// Gives it a name, to be seen in reports.
    pub fn set_name(&self, name: &str) {
        self.cell().set_name(name);
    }

    /// What it runs, and how far that has come.
    #[must_use]
    pub fn get_coro(&self) -> CoroutineInfo {
        self.task_ref().get_coro()
    }

    /// Takes the result for a handle of another kind.
    pub(super) fn take_result(&self) -> Option<Result<T, JoinError>> {
        self.task.take()
    }

    /// Wakes `waker` at the end, which has not come yet.
    pub(crate) fn listen(&mut self, waker: &Waker) {
        self.cell().wait(waker);
    }

    /// Removes the waker that was to be woken at the end.
    pub(crate) fn stop_listening(&mut self) {
        self.cell().take_waiter().into_iter().for_each(drop_waker);
    }

    /// Waits for its end, and leaves the result where it is.
    ///
    /// # Panics
    ///
    /// In the task itself: it would wait for ever.
    pub(crate) fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.done() {
            return Poll::Ready(());
        }
        // None but the one that is being polled can await itself.
        assert!(
            self.state() != TaskState::Running || !self.is_current(),
            "{} awaits itself",
            self.get_name()
        );
        assert_own_loop(&self.handle, self.cell());
        self.cell().wait(cx.waker());
        // Cloning the waker was somebody else's code, and may have ended the task.
        if self.done() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn is_current(&self) -> bool {
        let current = self.handle.with(|handle| Executor::of(handle).current());
        current.flatten().is_some_and(|it| it.is(self.cell()))
    }

    /// The task without its result: clonable, and the same for all types.
    #[doc(alias = "abort_handle")]
    #[must_use]
    pub fn task_ref(&self) -> TaskRef {
        TaskRef::new(self.cell().clone(), self.handle.clone())
    }
}

impl<T: 'static> Future for Task<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    ///
    /// If the result was taken before, and in the task itself: it would wait for ever. While
    /// another loop runs here than its own, which does not run meanwhile; not if it has ended.
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
        cell.state().detach();
        if cell.state().has_untaken_result() && !cell.state().is_viewed() {
            // A panic that was never looked at is told now. Of a viewed task the last view sees to it.
            disown_at(&self.handle, cell);
        }
        // Last: a waker may panic when it goes, and the end is told all the same.
        drop(cell.take_waiter());
    }
}

impl<T: 'static> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.task_ref().fmt(f)
    }
}

/// Ends a task from what is known of it without its type.
pub(super) fn cancel(handle: &LoopHandle, task_id: u64, reason: Option<Reason>) -> bool {
    Executor::of(handle).cancel(handle, SlabKey::from_bits(task_id), reason)
}
