//! A budget for each poll: so many times may a task go on without giving way.
//!
//! A task that finds everything ready never waits, and so the loop never gets to anybody else: a
//! reader of a fast peer, a consumer that feeds its own queue. So each operation that completes
//! takes one from the budget of the poll, and where there is none left, the next one behaves as if
//! it were not ready, once, and has its task queued again. The rest of the turn comes first then:
//! others, timers, descriptors.
//!
//! asyncio has nothing of the kind, and starves. In the notes: a coroutine must give way (N10, N12).
//!
//! # Rule
//!
//! - **F1** In one poll a task completes at most [`BUDGET`] operations of the crate.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

/// How many operations a task completes in one poll, before it gives way.
pub const BUDGET: u32 = 128;

/// Where nobody counts: outside of a task of ours.
const UNLIMITED: u32 = u32::MAX;

thread_local! {
    static LEFT: Cell<u32> = const { Cell::new(UNLIMITED) };
}

/// While it lives, this thread has this budget; afterwards the one it had.
pub(crate) struct BudgetGuard {
    before: u32,
}

impl BudgetGuard {
    /// That of a poll by the loop.
    #[inline]
    pub(crate) fn full() -> Self {
        Self::of(BUDGET)
    }

    #[inline]
    fn of(budget: u32) -> Self {
        // A thread that is ending has no locals any more, and no loop to be held up.
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

/// The next poll of a row of them begins.
#[inline]
pub(super) fn reset() {
    let _ = LEFT.try_with(|left| left.set(BUDGET));
}

/// Until the next one nobody counts.
#[inline]
pub(super) fn suspend() {
    let _ = LEFT.try_with(|left| left.set(UNLIMITED));
}

/// To be asked before an operation is tried: pending if the budget is used up, with the task
/// queued again. Whether or not the operation then completes, this takes nothing.
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

/// To be said when an operation has completed.
#[inline]
pub(crate) fn consume() {
    let _ = LEFT.try_with(|left| {
        if left.get() != UNLIMITED {
            left.set(left.get().saturating_sub(1));
        }
    });
}

/// Polls an operation that counts, if there is something left for it.
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

/// Polls what is made of other operations. Its end counts as one, unless theirs have: else what is
/// ready at once and made of nothing that counts would never give way.
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

/// Whether nothing is left: what is pending may be so for that reason only.
#[inline]
pub(crate) fn is_spent() -> bool {
    LEFT.try_with(Cell::get).is_ok_and(|left| left == 0)
}

fn with_unlimited<R>(f: impl FnOnce() -> R) -> R {
    let _allowance = BudgetGuard::of(UNLIMITED);
    f()
}

/// Polls `future`, whose time is up and which was pending, once more, if that may have been for want
/// of budget only: what is ready wins over a limit (T6). With one budget more, and not without any:
/// what is always ready would never come back.
pub(crate) fn final_poll<F: Future>(future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    match is_spent() {
        true => {
            let _once = BudgetGuard::full();
            future.poll(cx)
        }
        false => Poll::Pending,
    }
}

/// Takes one from the budget of this poll, and gives way if there is none: for loops of one's own
/// that do much without awaiting anything of this crate. What awaits our sockets, queues and
/// futures needs no help.
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

/// `future` without a budget: it may go on for as long as it finds everything ready. For what is
/// short, and must not be interrupted by others; it is not made faster by it.
///
/// # Cancellation
///
/// What dropping `future` loses.
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
            assert!(is_spent());
        }
        assert!(!is_spent());
    }
}
