//! Ends a group before its children have ended, by its own `cancel`.
//!
//! [`TaskGroup::cancel`] cancels the children at once. The body is a future that another task polls, so
//! it is only marked, and that task drops it. A body that was dropped leaves no value:
//! [`TaskGroup::run_until_cancelled`] returns an `Option`.
//!
//! In asyncio this is `TaskGroup.cancel` (Python 3.15). Rules: G1, G2.

use super::child::GroupError;
use super::task_group::TaskGroup;
use std::borrow::Cow;

impl<E: 'static> TaskGroup<E> {
    /// Runs a group as [`run`](Self::run) does, for a group that may be [cancelled](Self::cancel): returns `None` if a
    /// cancellation has dropped `body`, and no error.
    ///
    /// # Errors
    ///
    /// [`GroupError`] with each error and each panic, as [`run`](Self::run), also of a group that was
    /// cancelled.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    ///
    /// # Cancellation
    ///
    /// As [`run`](Self::run).
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{TaskGroup, run, sleep};
    /// use std::time::Duration;
    ///
    /// let served = run(TaskGroup::<()>::run_until_cancelled(async |group| {
    ///     let services = group.clone();
    ///     group.spawn(async move {
    ///         sleep(Duration::from_millis(1)).await;
    ///         services.cancel(); // their purpose is fulfilled
    ///         Ok(())
    ///     });
    ///     sleep(Duration::from_secs(3600)).await; // ends here
    ///     Ok("an hour")
    /// }))?;
    /// assert_eq!(served.unwrap(), None);
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn run_until_cancelled<T, B>(
        body: B,
    ) -> impl Future<Output = Result<Option<T>, GroupError<E>>>
    where
        B: AsyncFnOnce(&Self) -> Result<T, E>,
    {
        Self::drive(true, body, value_unless_cancelled)
    }

    /// Ends the group: cancels all children, and the body too, if it has not returned. This is not an
    /// error: a body that returned first keeps its value, and
    /// [`run_until_cancelled`](Self::run_until_cancelled) returns `None` without one. Errors and
    /// panics of children, before and after this, are the group's as ever.
    ///
    /// The children are dropped where they wait before this returns, in the order of their making; a
    /// child that calls this is dropped at its next `.await`; if it returns before, its value is dropped,
    /// and its error is the group's. The body is dropped at its next
    /// `.await`, or when the task that runs the group is polled next.
    ///
    /// `true` exactly if this call is what ends the group: `false` if it was cancelled before, ends
    /// because a child has failed, or is over.
    ///
    /// In asyncio: `TaskGroup.cancel` (Python 3.15).
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{TaskGroup, run, yield_now};
    /// use std::future::pending;
    ///
    /// let value = run(TaskGroup::<()>::run(async |group| {
    ///     let child = group.spawn(pending::<Result<(), _>>());
    ///     yield_now().await;
    ///     assert!(group.cancel());
    ///     assert!(child.cancelled());
    ///     Ok("returned first") // no `.await` on the way
    /// }))?;
    /// assert_eq!(value.unwrap(), "returned first");
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn cancel(&self) -> bool {
        self.cancel_with("its group was cancelled")
    }

    /// [`cancel`](Self::cancel) with a reason, which the children's [`ChildFailed`](super::ChildFailed) and
    /// reports give. The group's own [`GroupError`] does not have it.
    pub fn cancel_with(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        if self.state.over.get() {
            return false;
        }
        self.state.cancelled.set(true);
        self.state.cancel(reason);
        // No child may have been left whose end wakes the task of the body.
        self.state.queue.wake();
        true
    }
}

fn value_unless_cancelled<T, E>(
    value: Option<T>,
    error: GroupError<E>,
) -> Result<Option<T>, GroupError<E>> {
    match error.errors.is_empty() {
        true => Ok(value),
        false => Err(error),
    }
}
