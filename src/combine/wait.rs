//! `wait`: waits until the first of several tasks has ended, or the first has failed, or all have
//! ended.
//!
//! It cancels no task and takes no result: the tasks remain the caller's. The caller lends a list of
//! tasks, and the tasks that have ended are moved out of it at the very end, so a wait that is dropped
//! half-way has changed nothing. The tasks left in the list are those to wait for next.
//!
//! In asyncio: `wait`, with its three modes and its timeout.

use super::poll_set::PollSet;
use super::task_handle::TaskHandle;
use crate::task::budget;
use crate::task::lazy_timer::LazyTimer;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// The condition that ends a [`wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReturnWhen {
    /// Waits for the first task to end, with or without a failure.
    FirstCompleted,
    /// Waits for the first task that fails, or for all to end. A panic is a failure; being cancelled
    /// is not.
    ///
    /// An `Err` is a value like any other, and **a failure only with [`Wait::failing_if`]**. Without
    /// that, a wait for tasks that return a `Result` ends when all have ended. For those, write
    /// `wait(&mut tasks, ReturnWhen::FirstException).failing_if(Result::is_err)`.
    FirstException,
    /// Waits for all tasks to end.
    AllCompleted,
}

/// Waits until the first of `tasks` ends, the first fails, or all have ended, and no longer than
/// [`limit`](Wait::limit). Returns the tasks that have ended, in the order of the list, and the
/// list of the remaining tasks.
///
/// With [`ReturnWhen::FirstException`], a task that returns an `Err` counts as failed only if
/// [`failing_if`](Wait::failing_if) says so.
///
/// No task is cancelled, not even at the limit, and no result is taken: get it from each task, or
/// await the task, which is then ready. If several tasks have ended, all of them are returned in
/// each mode. An empty list is returned at once. (asyncio returns two sets, which have no order,
/// and refuses an empty one.)
///
/// # Panics
///
/// If the task that waits is in the list: it would wait for ever. Outside a running loop, if there
/// is a limit.
///
/// # Cancellation
///
/// Dropping it loses nothing: all tasks are in the list, and none is cancelled. No timer stays armed.
///
/// # Examples
///
/// ```
/// use readily_testing::SimLoop;
/// use readily::combine::ReturnWhen;
/// use readily::{sleep, spawn, wait};
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
///
/// Tasks of different types, by their [`TaskRef`](crate::task::TaskRef)s:
///
/// ```
/// use readily::combine::ReturnWhen;
/// use readily::{run, spawn, wait};
/// use std::future::pending;
///
/// run(async {
///     let (number, never) = (spawn(async { 7 }), spawn(pending::<String>()));
///     let mut tasks = vec![number.task_ref(), never.task_ref()];
///     let (done, pending) = wait(&mut tasks, ReturnWhen::FirstCompleted).await;
///     assert_eq!(done, [number.task_ref()]);
///     assert_eq!(*pending, [never.task_ref()]);
///     assert_eq!(number.await.unwrap(), 7);
/// })?;
/// # Ok::<(), readily::Error>(())
/// ```
pub fn wait<K: TaskHandle>(tasks: &mut Vec<K>, when: ReturnWhen) -> Wait<'_, K> {
    Wait {
        tasks,
        when,
        limit: None,
        failed: Box::new(|_| false),
    }
}

/// Whether a value counts as a failure.
type Failing<'a, V> = Box<dyn Fn(&V) -> bool + 'a>;

/// The future of [`wait`].
#[must_use = "it does nothing unless it is awaited"]
pub struct Wait<'a, K: TaskHandle> {
    tasks: &'a mut Vec<K>,
    when: ReturnWhen,
    limit: Option<Duration>,
    failed: Failing<'a, K::Value>,
}

impl<'a, K: TaskHandle> Wait<'a, K> {
    /// Limits the wait to `limit`, counted from the first poll. When the limit has passed, the wait returns the tasks
    /// that have ended, perhaps none; this is no error. A task that has ended by then is always among them ([T6]).
    ///
    /// [T6]: crate::book::invariants#t6
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Counts a task as failed also if `failed` returns `true` for its value: use `Result::is_err`
    /// if the value is a `Result`. `failed` is called once for each task.
    pub fn failing_if(mut self, failed: impl Fn(&K::Value) -> bool + 'a) -> Self {
        self.failed = Box::new(failed);
        self
    }

    async fn run(self) -> (Vec<K>, &'a mut Vec<K>) {
        let Self {
            tasks,
            when,
            limit,
            failed,
        } = self;
        let failed = &*failed;
        let mut limit = limit.map_or_else(LazyTimer::never, LazyTimer::after);
        let mut set = PollSet::new(tasks.iter_mut().map(|task| task.ended(failed)));
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
        // Only now, and by which tasks have ended, not by which were counted (T10).
        let all = std::mem::take(tasks).into_iter();
        let (done, pending) = all.partition(K::has_ended);
        *tasks = pending;
        (done, tasks)
    }
}

impl<'a, K: TaskHandle> IntoFuture for Wait<'a, K> {
    type Output = (Vec<K>, &'a mut Vec<K>);
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<K: TaskHandle + fmt::Debug> fmt::Debug for Wait<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("tasks", &self.tasks)
            .field("when", &self.when)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
