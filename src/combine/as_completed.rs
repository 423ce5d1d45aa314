//! `as_completed`: returns the outputs of several futures in the order in which they complete.
//!
//! `gather` returns all outputs at the end. `as_completed` returns each output when its future
//! completes, with the index of the future. The futures are polled only while the caller waits for
//! the next output; tasks go on between two waits as well.
//!
//! In asyncio: `as_completed`.

use super::poll_set::PollSet;
use crate::task::budget;
use std::fmt;
use std::future::poll_fn;

/// Runs all of `futures` at once, in the task that awaits, and gives their outputs in the order
/// in which they are done ([T8]).
///
/// Nothing runs before the first [`next`](AsCompleted::next). A future is polled only after it was
/// woken itself, so ten thousand futures cost ten thousand polls, not a hundred million. (Where
/// asyncio returns the task, this returns its position in the list, because a future need not be a
/// task.)
///
/// # Cancellation
///
/// Dropping it drops those that are not done. Tasks that were handed in go on, detached; lend
/// them (`tasks.iter_mut()`) to keep them.
///
/// # Examples
///
/// ```
/// use readily::{as_completed, run, sleep};
/// use std::time::Duration;
///
/// let order = run(async {
///     let naps = [30, 0, 10].map(|ms| sleep(Duration::from_millis(ms)));
///     let mut done = as_completed(naps);
///     let mut order = Vec::new();
///     while let Some((number, ())) = done.next().await {
///         order.push(number);
///     }
///     order
/// })?;
/// assert_eq!(order, [1, 2, 0]);
/// # Ok::<(), readily::Error>(())
/// ```
///
/// [T8]: crate::book::invariants#t8
#[doc(alias = "FuturesUnordered")]
pub fn as_completed<I>(futures: I) -> AsCompleted<<I::Item as IntoFuture>::IntoFuture>
where
    I: IntoIterator<Item: IntoFuture>,
{
    AsCompleted {
        set: PollSet::new(futures.into_iter().map(IntoFuture::into_future)),
    }
}

/// The outputs of [`as_completed`], which come one by one from [`next`](AsCompleted::next).
#[must_use = "nothing runs unless the next one is awaited"]
pub struct AsCompleted<F: Future> {
    set: PollSet<F>,
}

impl<F: Future> AsCompleted<F> {
    /// Waits for the next future that is done, and returns its position in the list, from zero, and its
    /// output. `None` when all outputs have been returned.
    ///
    /// # Panics
    ///
    /// If one of them panics. That one is gone; the others can still be had.
    ///
    /// # Cancellation
    ///
    /// Dropping it loses nothing: no output is taken before this returns it.
    pub async fn next(&mut self) -> Option<(usize, F::Output)> {
        let mut next = None;
        poll_fn(|cx| {
            budget::budgeted_composite(cx, |cx| {
                self.set.poll(cx, |index, output| {
                    next = Some((index, output));
                    false
                })
            })
        })
        .await;
        next
    }

    /// Returns how many outputs are still to come.
    #[must_use]
    pub fn left(&self) -> usize {
        self.set.left()
    }
}

impl<F: Future> fmt::Debug for AsCompleted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted")
            .field("left", &self.left())
            .finish_non_exhaustive()
    }
}
