//! `wait`: until the first of several tasks has ended, or the first has failed, or all have.
//!
//! It ends nothing and takes no result: the tasks are the caller's before and after. They are
//! lent, as a list, and those that have ended are moved out of it at the very end, so a wait that
//! is dropped half-way has changed nothing. What is left in the list is what to wait for next.
//!
//! In asyncio: `wait`, with its three modes and its timeout.

use super::poll_set::PollSet;
use crate::task::alarm::LazyTimer;
use crate::task::{JoinError, Task, budget};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// What [`wait`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReturnWhen {
    /// The end of one, however it ended.
    FirstCompleted,
    /// Waits for the first task that fails, or for all to end. A panic is a failure; being cancelled
    /// is not.
    ///
    /// An `Err` is a value like any other, and **a failure only with [`Wait::failing_if`]**. Without
    /// that, a wait for tasks that return a `Result` ends when all have ended. For those, write
    /// `wait(&mut tasks, ReturnWhen::FirstException).failing_if(Result::is_err)`.
    FirstException,
    /// The end of all.
    AllCompleted,
}

/// Waits for `tasks` to end: the first of them, the first that fails, or all; with
/// [`limit`](Wait::limit) not longer than that. Returns those that have ended, in the order of the
/// list, and the list, which has the others.
///
/// With [`ReturnWhen::FirstException`], a task that returns an `Err` counts as failed only if
/// [`failing_if`](Wait::failing_if) says so.
///
/// Nothing is cancelled, also not at the limit, and no result is taken: ask each task, or await it,
/// which is then ready. Where several have ended, all are returned, whatever was waited for. An
/// empty list is returned at once. (asyncio returns two sets, which have no order, and refuses an
/// empty one.)
///
/// # Panics
///
/// If the task that waits is in the list: it would wait for ever. Outside a running loop, if there
/// is a limit.
///
/// # Cancellation
///
/// Dropping it loses nothing: all tasks are in the list, and none is told. No timer stays armed.
///
/// # Examples
///
/// ```
/// use readily_testing::SimLoop;
/// use readily::{ReturnWhen, sleep, spawn, wait};
/// use std::time::Duration;
///
/// let order = SimLoop::new(1).run(async {
///     let mut tasks: Vec<_> = [9, 1, 5]
///         .map(|ms| spawn(async move { sleep(Duration::from_millis(ms)).await; ms }))
///         .into();
///     let mut order = Vec::new();
///     while !tasks.is_empty() {
///         let (done, _pending) = wait(&mut tasks, ReturnWhen::FirstCompleted).await;
///         for task in done {
///             order.push(task.await.unwrap());
///         }
///     }
///     order
/// })?;
/// assert_eq!(order, [1, 5, 9]);
/// # Ok::<(), readily::Error>(())
/// ```
pub fn wait<T>(tasks: &mut Vec<Task<T>>, when: ReturnWhen) -> Wait<'_, T> {
    Wait {
        tasks,
        when,
        limit: None,
        failed: Box::new(|_| false),
    }
}

/// What [`wait`] returns: to be awaited.
#[must_use = "it does nothing unless it is awaited"]
pub struct Wait<'a, T: 'static> {
    tasks: &'a mut Vec<Task<T>>,
    when: ReturnWhen,
    limit: Option<Duration>,
    failed: Box<dyn Fn(&T) -> bool + 'a>,
}

impl<'a, T: 'static> Wait<'a, T> {
    /// Waits no longer than `limit`, counted from the first poll. Then it returns what has ended,
    /// which may be none; that the time was up is no error. A task that has ended by then is
    /// among them ([T6]).
    ///
    /// [T6]: crate::book::invariants#t6
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Takes it for a failure, beside a panic, if `failed` says so of a task's value: `Result::is_err`
    /// where that is a `Result`. It is asked once for each task.
    pub fn failing_if(mut self, failed: impl Fn(&T) -> bool + 'a) -> Self {
        self.failed = Box::new(failed);
        self
    }

    async fn run(self) -> (Vec<Task<T>>, &'a mut Vec<Task<T>>) {
        let Self {
            tasks,
            when,
            limit,
            failed,
        } = self;
        let failed = &*failed;
        let mut limit = limit.map_or_else(LazyTimer::never, LazyTimer::after);
        let mut set = PollSet::new(tasks.iter_mut().map(|task| Ended { task, failed }));
        poll_fn(|cx| {
            let polled = budget::budgeted_composite(cx, |cx| {
                set.poll(cx, |_, failed| match when {
                    ReturnWhen::FirstCompleted => false,
                    ReturnWhen::FirstException => !failed,
                    ReturnWhen::AllCompleted => true,
                })
            });
            match polled {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => limit.poll(cx),
            }
        })
        .await;
        drop(set);
        // T10: only now, and by who has ended, not by who was counted.
        let all = std::mem::take(tasks).into_iter();
        let (done, pending) = all.partition(Task::done);
        *tasks = pending;
        (done, tasks)
    }
}

impl<'a, T: 'static> IntoFuture for Wait<'a, T> {
    type Output = (Vec<Task<T>>, &'a mut Vec<Task<T>>);
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<T: 'static> fmt::Debug for Wait<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("tasks", &self.tasks)
            .field("when", &self.when)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// The end of a task, and whether it failed; its result stays where it is.
struct Ended<'a, T: 'static> {
    task: &'a mut Task<T>,
    failed: &'a dyn Fn(&T) -> bool,
}

impl<T: 'static> Future for Ended<'_, T> {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        ready!(self.task.poll_done(cx));
        let failed = self.task.peek_result(|result| match result {
            Ok(value) => (self.failed)(value),
            Err(JoinError::Panicked(_)) => true,
            Err(JoinError::Cancelled | JoinError::CancelledFor(_)) => false,
        });
        // `None`: it was taken before, and whoever took it knows.
        Poll::Ready(failed.unwrap_or(false))
    }
}
