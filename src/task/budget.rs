//! A budget for each poll: the number of operations that a task may complete without yielding.
//!
//! A task that finds everything ready never waits, and keeps the loop from all other work: a reader
//! of a fast peer, say, or a consumer that feeds its own queue. So each operation that completes
//! takes one unit from the budget of the poll. When the budget is used up, the next operation
//! behaves once as if it were not ready, and queues its task again; the rest of the turn comes
//! first then: other tasks, timers, descriptors.
//!
//! A future of this crate counts whatever its end is: also an error, also a result that was there already, also a
//! transfer of nothing. One with parts counts once, unless a part of it has counted. So do the polls of transfers and
//! of waits. What never waits does not count: a `try_` method, the flush or the shutdown of a stream itself. Nor does
//! what only passes on the polls of a given future: [`unconstrained`], the scope of a task-local.
//!
//! asyncio has no such budget, and such a task starves the others there. In the notes: a coroutine
//! must yield (N10, N12).
//!
//! # Rule
//!
//! - **F1** In one poll a task completes at most [`BUDGET`] operations of the crate.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

/// The number of operations that a task completes in one poll before it must yield.
pub const BUDGET: u32 = 128;

/// No budget: the value outside the tasks of this crate.
const UNLIMITED: u32 = u32::MAX;

thread_local! {
    static LEFT: Cell<u32> = const { Cell::new(UNLIMITED) };
}

/// Sets the budget of this thread until it is dropped, which restores the previous one.
pub(crate) struct BudgetGuard {
    before: u32,
}

impl BudgetGuard {
    /// The full budget, for a poll by the loop.
    #[inline]
    pub(crate) fn full() -> Self {
        Self::of(BUDGET)
    }

    #[inline]
    fn of(budget: u32) -> Self {
        // A thread that is ending has no thread-locals any more, and no loop to be held up.
        let before = LEFT.try_with(|left| left.replace(budget));
        Self {
            before: before.unwrap_or(UNLIMITED),
        }
    }
}

impl Drop for BudgetGuard {
    #[inline]
    fn drop(&mut self) {
        let _ = LEFT.try_with(|left| left.set(self.before));
    }
}

/// Fills the budget at the start of the next poll in a batch.
#[inline]
pub(super) fn reset() {
    let _ = LEFT.try_with(|left| left.set(BUDGET));
}

/// Suspends counting until the next poll.
#[inline]
pub(super) fn suspend() {
    let _ = LEFT.try_with(|left| left.set(UNLIMITED));
}

/// Called before an operation is tried: pending if the budget is used up, with the task queued
/// again. It takes nothing from the budget, whether or not the operation then completes.
#[inline]
pub(crate) fn poll(cx: &mut Context<'_>) -> Poll<()> {
    if is_spent() {
        return reschedule(cx);
    }
    Poll::Ready(())
}

#[cold]
fn reschedule(cx: &mut Context<'_>) -> Poll<()> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Takes one unit from the budget, when an operation has completed.
#[inline]
pub(crate) fn consume() {
    let _ = LEFT.try_with(|left| {
        if left.get() != UNLIMITED {
            left.set(left.get().saturating_sub(1));
        }
    });
}

/// Takes one unit from the budget, before an operation is tried; `false` if it is used up.
#[inline]
pub(crate) fn take() -> bool {
    LEFT.try_with(|left| {
        let before = left.get();
        if before != UNLIMITED && before != 0 {
            left.set(before - 1);
        }
        before != 0
    })
    .unwrap_or(true)
}

/// Gives the unit back that [`take`] took, because the operation has not completed.
#[cold]
pub(crate) fn give_back() {
    let _ = LEFT.try_with(|left| {
        if left.get() != UNLIMITED {
            left.set(left.get() + 1);
        }
    });
}

/// Polls an operation that takes one unit, unless the budget is used up.
#[inline]
pub(crate) fn budgeted<R>(
    cx: &mut Context<'_>,
    operation: impl FnOnce(&mut Context<'_>) -> Poll<R>,
) -> Poll<R> {
    ready!(poll(cx));
    let result = ready!(operation(cx));
    consume();
    Poll::Ready(result)
}

/// Polls a combinator of other operations, or an operation that may be served from memory. Its completion takes one unit, unless theirs have taken
/// some: otherwise a combinator that is ready at once, over parts that take nothing, would never
/// yield.
#[inline]
pub(crate) fn budgeted_composite<R>(
    cx: &mut Context<'_>,
    operation: impl FnOnce(&mut Context<'_>) -> Poll<R>,
) -> Poll<R> {
    ready!(poll(cx));
    let before = LEFT.try_with(Cell::get);
    let result = ready!(operation(cx));
    if LEFT.try_with(Cell::get) == before {
        consume();
    }
    Poll::Ready(result)
}

/// Awaits a coroutine whose parts may all be left out, because it fails before, or has nothing to do: its completion
/// counts as that of a combinator.
pub(crate) async fn composite<F: Future>(mut operation: Pin<&mut F>) -> F::Output {
    poll_fn(|cx| budgeted_composite(cx, |cx| operation.as_mut().poll(cx))).await
}

/// Whether the budget is used up, which may be the only reason for a pending result.
#[inline]
pub(crate) fn is_spent() -> bool {
    LEFT.try_with(Cell::get).is_ok_and(|left| left == 0)
}

fn with_unlimited<R>(f: impl FnOnce() -> R) -> R {
    let _budget = BudgetGuard::of(UNLIMITED);
    f()
}

/// Polls `future` once more after its time limit has passed, if it may have been pending only for
/// want of budget: a ready result wins over a limit (T6). The poll has one full budget and not an
/// unlimited one, with which a future that is always ready would never return.
pub(crate) fn final_poll<F: Future>(future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    match is_spent() {
        true => {
            let _once = BudgetGuard::full();
            future.poll(cx)
        }
        false => Poll::Pending,
    }
}

/// Takes one unit from the budget of this poll, and yields if none is left. For a program's own
/// loops that do much without awaiting anything of this crate; awaiting its sockets, queues and
/// futures takes budget already.
///
/// # Cancellation
///
/// Nothing is lost.
///
/// # Examples
///
/// ```
/// use readily::task::consume_budget;
/// use readily::{run, sleep, spawn};
/// use std::time::Duration;
///
/// run(async {
///     let busy = spawn(async {
///         loop {
///             // A step of a long computation.
///             consume_budget().await;
///         }
///     });
///     sleep(Duration::from_millis(1)).await; // it comes back
///     busy.cancel();
/// })?;
/// # Ok::<(), readily::Error>(())
/// ```
pub async fn consume_budget() {
    poll_fn(|cx| budgeted(cx, |_| Poll::Ready(()))).await;
}

/// Runs `future` without a budget: it may go on as long as it finds everything ready. For short
/// work that must not be interrupted by other tasks; this does not make it faster.
///
/// # Cancellation
///
/// Dropping it loses what dropping `future` loses.
///
/// # Examples
///
/// ```
/// use readily::task::{BUDGET, consume_budget, unconstrained};
/// use readily::{run, spawn, yield_now};
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// run(async {
///     let (count, done) = (Rc::new(Cell::new(0)), 10 * BUDGET);
///     let counts = Rc::clone(&count);
///     let task = spawn(unconstrained(async move {
///         for _ in 0..done {
///             consume_budget().await;
///             counts.set(counts.get() + 1);
///         }
///     }));
///     yield_now().await;
///     assert_eq!(count.get(), done); // in one go
///     task.await.unwrap();
/// })?;
/// # Ok::<(), readily::Error>(())
/// ```
pub async fn unconstrained<F: IntoFuture>(future: F) -> F::Output {
    let mut future = pin!(future.into_future());
    poll_fn(|cx| with_unlimited(|| Pin::as_mut(&mut future).poll(cx))).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn a_budget_ends_is_full_again_in_the_next_poll_and_is_unlimited_outside() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut rounds = |limit: u32| {
            (0..limit)
                .take_while(|_| {
                    let ready = poll(&mut cx).is_ready();
                    if ready {
                        consume();
                    }
                    ready
                })
                .count()
        };
        assert_eq!(rounds(1000), 1000);
        for _ in 0..2 {
            let _poll = BudgetGuard::full();
            assert_eq!(rounds(1000), BUDGET as usize);
            assert!(is_spent());
            assert_eq!(with_unlimited(|| rounds(1000)), 1000);
            assert!(is_spent() && !take());
            give_back();
            assert!(take() && is_spent());
        }
        assert!(!is_spent() && take());
        give_back();
        assert!(!is_spent());
    }
}
