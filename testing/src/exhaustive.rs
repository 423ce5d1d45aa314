//! Exhaustive tests: a drop of a future after each of its polls, and all orders of several actions in
//! one turn.
//!
//! A future can be dropped wherever it waits, and must then leave everything as it was. On one thread,
//! races are between the events of one turn, which may come in any order. A small program has so few
//! of both that a test can try them all.
//!
//! In the notes: cancelling (N14), and what happens between two `await`s (N10).

use super::sim_loop::SimLoop;
use super::stalled::Stalled;
use readily::WeakHandle;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

/// The most polls that a future may take.
const MAX_POLLS: u32 = 1000;

/// The time that passes before each of the first polls.
const STEP: Duration = Duration::from_micros(100);

/// The number of polls after which the step doubles, so that the first polls are close together and
/// all of them take more than an hour.
const DOUBLE_AFTER: u32 = 50;

/// The time that passes before the n-th poll.
fn step(nth: u32) -> Duration {
    STEP * 2u32.pow(nth / DOUBLE_AFTER)
}

impl SimLoop {
    /// Makes a future, polls it `n` times and drops it, for each `n` from zero on, until a future
    /// completes. Returns how many polls that took.
    ///
    /// A future is polled once per turn, woken or not. The time moves before each poll, by 100 µs at
    /// first and by twice as much after each fifty polls, so that a future may wait for more than an
    /// hour and is still dropped at many places. After each drop the loop runs until it is idle. What
    /// must then be as before, the caller checks in `make` or afterwards.
    ///
    /// # Panics
    ///
    /// If no future completes within a thousand polls, which take somewhat less than an hour and a
    /// half; if the loop is not idle after a drop; if a turn fails.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::sleep;
    /// use readily_testing::SimLoop;
    /// use std::time::Duration;
    ///
    /// let mut sim = SimLoop::new(1);
    /// let polls = sim.drop_everywhere(|| sleep(Duration::from_micros(300)));
    /// assert!(polls > 1, "it waits");
    /// assert_eq!(sim.event_loop().next_deadline(), None, "no timer is left");
    /// ```
    #[track_caller]
    pub fn drop_everywhere<F>(&mut self, mut make: impl FnMut() -> F) -> u32
    where
        F: Future + 'static,
    {
        for polls in 0..MAX_POLLS {
            let mut future = Box::pin(make());
            let clock = self.kernel().clock();
            let mut nth = 0;
            let ended = self.run(poll_fn(move |cx| {
                if nth == polls {
                    return Poll::Ready(false);
                }
                // The task polls once per turn, whether or not the future wakes it. A woken task keeps
                // the time from moving by itself, so it is moved here.
                cx.waker().wake_by_ref();
                clock.advance(step(nth));
                nth += 1;
                future.as_mut().poll(cx).map(|_| true)
            }));
            let ended = ended.expect("a turn succeeds");
            let stalled = self.run_until_stalled().expect("a turn succeeds");
            assert_eq!(
                stalled,
                Stalled::Idle,
                "the loop is busy after a drop after {polls} polls"
            );
            if ended {
                return polls;
            }
        }
        let time: Duration = (0..MAX_POLLS).map(step).sum();
        panic!(
            "the future does not complete within {MAX_POLLS} polls; {} s went by in these",
            time.as_secs()
        );
    }
}

/// Returns all `n`! permutations of the numbers below `n`.
///
/// ```
/// assert_eq!(readily_testing::orders(2), [[1, 0], [0, 1]]);
/// assert_eq!(readily_testing::orders(4).len(), 24);
/// ```
#[must_use]
pub fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(n - 1);
    let with = |order: &Vec<usize>| {
        let order = order.clone();
        (0..n).map(move |at| {
            let mut longer = order.clone();
            longer.insert(at, n - 1);
            longer
        })
    };
    shorter.iter().flat_map(with).collect()
}

/// An action of [`in_one_turn`].
pub type Action = Box<dyn FnOnce()>;

/// Runs all of `actions` in one turn of the loop, in the given order.
///
/// Each action becomes a closure in the queue of the loop. An exhaustive test makes a new loop for each
/// of [`orders`], runs it until it waits, queues the actions, runs it on, and checks the result.
///
/// # Examples
///
/// ```
/// use readily_testing::{Action, SimLoop, in_one_turn, orders};
/// use readily::task::create_future;
/// use readily::{Elapsed, spawn, wait_for};
/// use std::time::Duration;
///
/// let limit = Duration::from_secs(1);
/// for order in orders(2) {
///     let mut sim = SimLoop::new(1);
///     let here = sim.event_loop().enter();
///     let (promise, future) = create_future();
///     let mut waiting = spawn(wait_for(limit, future));
///     drop(here);
///     sim.run_until_stalled()?;
///     let clock = sim.kernel().clock();
///     let value: Action = Box::new(move || promise.set_result(7).unwrap());
///     let late: Action = Box::new(move || clock.advance(limit));
///     in_one_turn(&sim.weak_handle(), &order, vec![value, late]);
///     sim.run_until_stalled()?;
///     // In both orders: a value that is there wins over the timeout (T6).
///     assert_eq!(waiting.result().unwrap().unwrap(), Ok(Ok(7)));
/// }
/// # Ok::<(), readily::Error>(())
/// ```
///
/// # Panics
///
/// If `order` is not a permutation of the indices of `actions`, or the loop is closed.
#[track_caller]
pub fn in_one_turn(handle: &WeakHandle, order: &[usize], actions: Vec<Action>) {
    let mut actions: Vec<_> = actions.into_iter().map(Some).collect();
    assert_eq!(
        order.len(),
        actions.len(),
        "`order` has as many indices as there are actions"
    );
    for &nth in order {
        let action = actions[nth].take().expect("`order` has each index once");
        let queued = handle.with(|handle| handle.call_soon(move |_| action()));
        queued.expect("the loop is open");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn there_are_as_many_orders_as_there_should_be() {
        let all = orders(4);
        let distinct: BTreeSet<_> = all.iter().collect();
        assert_eq!((all.len(), distinct.len()), (24, 24));
    }
}
