//! `TaskGroup`: a scope that returns when all of its tasks have ended, with all of their errors.
//!
//! Tasks that are spawned and forgotten outlive their purpose, and their errors are lost. A group is a
//! scope around them: the first child that fails cancels the others and the body, the group's error
//! holds all failures, and a cancelled group cancels its children. `collect` is the same, except that
//! a failure cancels nothing: all children run to their ends.
//!
//! In asyncio this is `TaskGroup`. Rules: G1, G2.

use super::child::{Child, ChildError, GroupError};
use super::group_state::{GroupState, LeaveGuard};
use crate::event_loop::WeakHandle;
use crate::task::{budget, create_future, current_task, keep_result, spawn};
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A scope of tasks, which returns when all of them have ended, with all of their errors.
///
/// A clone refers to the same group, so that a child can spawn further children.
#[doc(alias = "Nursery")]
pub struct TaskGroup<E: 'static> {
    pub(super) state: Rc<GroupState<E>>,
}

impl<E: 'static> TaskGroup<E> {
    /// Runs `body`, and the children that it spawns, until all have ended ([G1]). When the first of them
    /// fails, child or body, all others are cancelled: each is dropped at its `await`.
    ///
    /// `body` may borrow from its surroundings. Children may not: they are tasks of the loop, and
    /// if this future is leaked they go on, so they own what they need (an `Rc` will do). For
    /// parts that borrow there is [`try_gather`](crate::try_gather), which polls them in place.
    ///
    /// A child that was cancelled on its own has not failed.
    ///
    /// # Errors
    ///
    /// [`GroupError`] with each error and each panic of a child, and the error of `body`, in the
    /// order in which they came ([G2]). What `body` returned is dropped then. If there was none, and
    /// the group was [cancelled](Self::cancel) before `body` returned, an error
    /// [without errors](GroupError::is_cancelled).
    ///
    /// # Panics
    ///
    /// If `body` panics: the children are cancelled then. Outside a loop, if it spawns.
    ///
    /// # Cancellation
    ///
    /// Dropping the future drops `body` and cancels the children at once; a child that drops the future itself ends when
    /// it next yields, and cannot prevent that. Errors that children had returned are reported, by their type (`E` needs
    /// no `Display`), as [`Unhandled::TaskFailed`](crate::Unhandled::TaskFailed); panics follow the
    /// [`PanicPolicy`](crate::PanicPolicy).
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{TaskGroup, run, sleep};
    /// use std::time::Duration;
    ///
    /// let both = run(TaskGroup::run(async |group| {
    ///     let one = group.spawn(async { Ok::<_, &str>(1) });
    ///     let two = group.spawn(async { Ok(2) });
    ///     Ok((one.await, two.await))
    /// }))?;
    /// assert_eq!(both.unwrap(), (Ok(1), Ok(2)));
    ///
    /// let failed = run(TaskGroup::run(async |group| {
    ///     group.spawn(async { Err::<(), _>("no") });
    ///     sleep(Duration::from_secs(3600)).await; // is not waited for
    ///     Ok(())
    /// }))?;
    /// assert_eq!(failed.unwrap_err().to_string(), "no");
    /// # Ok::<(), readily::Error>(())
    /// ```
    ///
    /// [G1]: crate::book::invariants#g1
    /// [G2]: crate::book::invariants#g2
    pub fn run<T, B>(body: B) -> impl Future<Output = Result<T, GroupError<E>>>
    where
        B: AsyncFnOnce(&Self) -> Result<T, E>,
    {
        Self::drive(true, body, value_or_error)
    }

    /// Runs `body`, and the children that it spawns, until all have ended, as [`run`](Self::run) does; but a failure
    /// does not cancel the others. Returns all errors ([G1], [G2]).
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    ///
    /// # Cancellation
    ///
    /// As [`run`](Self::run). The report of an error that is dropped names the type of the error, and
    /// not its text, because `E` needs no `Display`.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{TaskGroup, run};
    ///
    /// let all = run(TaskGroup::collect(async |group| {
    ///     for n in 1..=3 {
    ///         group.spawn(async move { if n == 2 { Ok(()) } else { Err(n) } });
    ///     }
    ///     Ok(())
    /// }))?;
    /// assert_eq!(all.unwrap_err().errors.len(), 2);
    /// # Ok::<(), readily::Error>(())
    /// ```
    ///
    /// [G1]: crate::book::invariants#g1
    /// [G2]: crate::book::invariants#g2
    pub fn collect<T, B>(body: B) -> impl Future<Output = Result<T, GroupError<E>>>
    where
        B: AsyncFnOnce(&Self) -> Result<T, E>,
    {
        Self::drive(false, body, value_or_error)
    }

    pub(super) async fn drive<T, B, R>(
        first_ends_all: bool,
        body: B,
        outcome: fn(Option<T>, GroupError<E>) -> R,
    ) -> R
    where
        B: AsyncFnOnce(&Self) -> Result<T, E>,
    {
        let group = Self {
            state: Rc::new(GroupState::new()),
        };
        let state = Rc::clone(&group.state);
        let home = WeakHandle::current();
        let _left = LeaveGuard {
            state: &state,
            home,
        };
        let mut value = None;
        let mut body = pin!(Some(body(&group)));
        let mut step = |cx: &mut Context<'_>| {
            // Before anything is polled: each task that ends from here on wakes this one.
            state.queue.set_waker(cx.waker());
            loop {
                state.collect();
                if first_ends_all && state.has_failed() && !state.over.get() {
                    // As when this is dropped: first the body, then the children.
                    state.over.set(true);
                    body.set(None);
                    state.cancel("another of its group failed");
                    continue; // they have ended meanwhile
                }
                if state.cancelled.get() {
                    body.set(None);
                    state.collect(); // its destructors may have ended others
                }
                let Some(running) = body.as_mut().as_pin_mut() else {
                    break;
                };
                let Poll::Ready(ended) = running.poll(cx) else {
                    if state.cancelled.get() {
                        continue; // by the body itself, which is dropped where it waits
                    }
                    return Poll::Pending;
                };
                body.set(None);
                match ended {
                    Ok(output) => value = Some(output),
                    Err(error) => state.fail(current_task(), ChildError::Failed(error)),
                }
            }
            // G1: not before the last child.
            match state.queue.len() {
                0 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        };
        poll_fn(|cx| budget::budgeted_composite(cx, &mut step)).await;
        let errors = state.errors.take().into_iter().map(|it| it.1).collect();
        outcome(value, GroupError { errors })
    }

    /// Spawns `future` as a child: a task of the loop, whose error or panic goes to the group. The
    /// [`Child`] returns its value, and may be dropped.
    ///
    /// A group that has ended, or ends because a child has failed, accepts no child: `future` is
    /// dropped, and the child counts as cancelled.
    ///
    /// # Panics
    ///
    /// Outside a loop.
    #[doc(alias = "create_task")]
    #[track_caller]
    pub fn spawn<V, F>(&self, future: F) -> Child<V>
    where
        V: 'static,
        F: Future<Output = Result<V, E>> + 'static,
    {
        let (promise, value) = create_future();
        let task = spawn(async move {
            match future.await {
                Ok(value) => {
                    // Refused if the handle has cancelled the child, and then takes no value.
                    let _ = promise.set_result(value);
                    Ok(())
                }
                Err(error) => {
                    // Its waiter may be user code, which may cancel the child.
                    drop(promise);
                    keep_result();
                    Err(error)
                }
            }
        });
        let child = Child::new(value, task.task_ref());
        if self.state.over.get() {
            task.cancel_with("its group is over");
            drop(task);
        } else {
            self.state.queue.add(task);
        }
        child
    }

    /// Returns the number of children whose ends the group has not handled yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.queue.len()
    }

    /// Whether [`len`](Self::len) is zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn value_or_error<T, E>(value: Option<T>, error: GroupError<E>) -> Result<T, GroupError<E>> {
    match value {
        Some(value) if error.errors.is_empty() => Ok(value),
        _ => Err(error),
    }
}

impl<E: 'static> Clone for TaskGroup<E> {
    fn clone(&self) -> Self {
        Self {
            state: Rc::clone(&self.state),
        }
    }
}

impl<E: 'static> fmt::Debug for TaskGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, over) = (self.len(), self.state.over.get());
        f.debug_struct("TaskGroup")
            .field("len", &len)
            .field("over", &over)
            .finish()
    }
}
