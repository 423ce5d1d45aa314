//! `JoinSet`: tasks of one type, whose results are returned one by one as the tasks end.
//!
//! It is for many tasks of one kind, such as the connections of a server or pages to be fetched: the
//! program acts on each result as it comes, and need not keep a list of handles. The set owns its
//! tasks: dropping the set cancels those that are left, so no task outlives it.
//!
//! The name is tokio's; asyncio has `as_completed` and sets of tasks kept by hand. Rule: G3.

use super::completion_queue::{CompletionQueue, Waiting};
use crate::event_loop::LoopHandle;
use crate::task::budget;
use crate::task::unclaimed_panic::UnclaimedPanic;
use crate::task::{JoinError, Task, TaskRef, spawn};
use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;

/// A set of tasks whose results are taken in the order in which the tasks end.
///
/// Dropping the set cancels the tasks that have not ended. See the [module](crate::group).
///
/// # Examples
///
/// ```
/// use readily::{JoinSet, run, sleep};
/// use std::time::Duration;
///
/// let order = run(async {
///     let mut set = JoinSet::new();
///     for ms in [3, 1, 2] {
///         set.spawn(async move {
///             sleep(Duration::from_millis(5 * ms)).await;
///             ms
///         });
///     }
///     let mut order = Vec::new();
///     while let Some(ended) = set.join_next().await {
///         order.push(ended.expect("no task is cancelled"));
///     }
///     order
/// })?;
/// assert_eq!(order, [1, 2, 3]);
/// # Ok::<(), readily::Error>(())
/// ```
#[must_use = "dropping a set cancels its tasks"]
pub struct JoinSet<T: 'static> {
    queue: CompletionQueue<T>,
}

impl<T: 'static> Default for JoinSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: 'static> JoinSet<T> {
    /// Creates an empty set. This needs no loop.
    pub fn new() -> Self {
        Self {
            queue: CompletionQueue::default(),
        }
    }

    /// Runs `future` as a task of the current loop, and adds the task to this set.
    ///
    /// # Panics
    ///
    /// Outside a loop, as [`spawn`](crate::spawn()).
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F) -> TaskRef
    where
        F: Future<Output = T> + 'static,
    {
        self.insert(spawn(future))
    }

    /// As [`spawn`](Self::spawn), but on the loop of `handle`, for instance in a callback.
    #[track_caller]
    pub fn spawn_on<F>(&mut self, handle: &LoopHandle, future: F) -> TaskRef
    where
        F: Future<Output = T> + 'static,
    {
        self.insert(handle.spawn(future))
    }

    /// Adds a task that exists already. The set never returns a task whose result was taken before.
    pub fn insert(&mut self, task: Task<T>) -> TaskRef {
        let known = task.task_ref();
        self.queue.add(task);
        known
    }

    /// Returns the number of tasks whose results were not taken yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for the next task to end, and takes its result out of the set; `None` if the set is
    /// empty. Results come in the order in which the tasks ended ([G3]).
    ///
    /// # Errors
    ///
    /// [`JoinError`] inside, for a task that panicked or was cancelled.
    ///
    /// # Panics
    ///
    /// In the last task of the set, unless that was cancelled: it would wait for itself, for ever.
    /// On another loop than that of the tasks, which do not run meanwhile.
    ///
    /// # Cancellation
    ///
    /// Dropping it loses nothing: a result is taken only when it is returned.
    ///
    /// [G3]: crate::book::invariants#g3
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.next().await.map(|(_, result)| result)
    }

    async fn next(&mut self) -> Option<(TaskRef, Result<T, JoinError>)> {
        let waiting = Waiting(&self.queue);
        poll_fn(|cx| {
            let polled = budget::budgeted(cx, |cx| waiting.0.poll_next(cx));
            if polled.is_pending() {
                waiting.0.assert_can_complete();
            }
            polled
        })
        .await
    }

    /// As [`join_next`](Self::join_next), without waiting: returns `None` also if no task has ended.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.queue.pop().map(|(_, result)| result)
    }

    /// Cancels all tasks that have not ended. They stay in the set, and [`join_next`](Self::join_next) returns their
    /// ends.
    #[doc(alias = "abort_all")]
    pub fn cancel_all(&mut self) {
        self.cancel_all_with("its set was cancelled");
    }

    /// As [`cancel_all`](Self::cancel_all), with a reason for [`JoinError::reason`].
    pub fn cancel_all_with(&mut self, reason: impl Into<Cow<'static, str>>) {
        self.queue.cancel(reason.into());
    }

    /// Cancels all tasks and waits until none is left. A task is dropped when it is cancelled, except
    /// the running one: a task of the set that calls this is cancelled too, and ends here.
    ///
    /// Their results are dropped.
    ///
    /// # Panics
    ///
    /// With the first panic of a task or a destructor that was not taken yet, when all have ended. The
    /// other panics are reported ([`LoopHandle::on_unhandled`]).
    ///
    /// # Cancellation
    ///
    /// They are cancelled all the same; what panicked meanwhile follows the policy.
    pub async fn shutdown(&mut self) {
        self.cancel_all();
        // Reported, if this future is dropped before the panic is thrown.
        let mut first: Option<UnclaimedPanic> = None;
        while let Some((task, ended)) = self.next().await {
            if let Err(JoinError::Panicked(payload)) = ended {
                let unclaimed = task.unclaimed_panic(payload);
                match first {
                    None => first = Some(unclaimed),
                    Some(_) => unclaimed.report(),
                }
            }
        }
        if let Some(first) = first {
            std::panic::resume_unwind(first.take());
        }
    }

    /// Detaches all tasks, which go on, and leaves the set empty. The results of tasks that have ended are dropped.
    pub fn detach_all(&mut self) {
        drop(self.queue.take());
    }
}

impl<T: 'static, F> Extend<F> for JoinSet<T>
where
    F: Future<Output = T> + 'static,
{
    fn extend<I: IntoIterator<Item = F>>(&mut self, futures: I) {
        futures.into_iter().for_each(|future| {
            self.spawn(future);
        });
    }
}

impl<T: 'static> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("len", &self.len()).finish()
    }
}
