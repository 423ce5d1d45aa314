//! Not by chance, but all of them: each place at which a future may be dropped, each order in which
//! several things may happen in one turn.
//!
//! A future can be dropped wherever it waits, and what it waited on must be as before. A turn is
//! where races live on one thread: what falls into the same one may come in any order. Both are few
//! enough, in a small program, to be tried out.
//!
//! In the notes: cancelling (N14), and what happens between two `await`s (N10).

use super::sim_loop::SimLoop;
use super::stalled::Stalled;
use readily::WeakHandle;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

/// A future that takes more polls than this is not going to end.
const POLLS: u32 = 1000;

/// By how much the time is moved on before each of the first polls.
const STEP: Duration = Duration::from_micros(100);

/// After so many polls the steps are twice as long: a thousand polls come to
/// more than an hour, and the first ones are close together.
const DOUBLED: u32 = 50;

/// By how much the time is moved on before the n-th poll.
fn step(nth: u32) -> Duration {
    STEP * 2u32.pow(nth / DOUBLED)
}

impl SimLoop {
    /// Makes a future, polls it `n` times, drops it; for each `n` from zero on, until one ends by
    /// itself. Returns how many polls that took.
    ///
    /// Each is polled once in a turn, woken or not, and the time is moved before each poll: by
    /// 100 µs, and after each fifty polls by twice as much as before, so that a future may wait for
    /// more than an hour and is dropped at many places all the same. After each the loop is run until it is quiet; what must then be as before is for the
    /// caller to ask, in `make` or afterwards.
    ///
    /// # Panics
    ///
    /// If none ends within a thousand polls, in which somewhat less than an hour and a half goes by;
    /// if the loop is not quiet after one was dropped, or
    /// cannot be turned.
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
        for polls in 0..POLLS {
            let mut future = Box::pin(make());
            let clock = self.kernel().clock();
            let mut nth = 0;
            let ended = self.run(poll_fn(move |cx| {
                if nth == polls {
                    return Poll::Ready(false);
                }
                // Once more in the next turn, also if nobody else wakes it; and as that keeps time
                // from going on by itself, by hand.
                cx.waker().wake_by_ref();
                clock.advance(step(nth));
                nth += 1;
                future.as_mut().poll(cx).map(|_| true)
            }));
            let ended = ended.expect("the loop can be turned");
            let stalled = self.run_until_stalled().expect("the loop can be turned");
            assert_eq!(stalled, Stalled::Idle, "after a drop after {polls} polls");
            if ended {
                return polls;
            }
        }
        let time: Duration = (0..POLLS).map(step).sum();
        panic!(
            "it does not end within {POLLS} polls; {} s went by in these",
            time.as_secs()
        );
    }
}

/// All orders of `n` things: lists of the numbers below `n`. There are `n`! of them.
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

/// Something to be done.
pub type Action = Box<dyn FnOnce()>;

/// Does all of `deeds` in one turn of the loop, in this order: each by a closure that is queued
/// before the next one. A program for a search through all turns is: for each of [`orders`], make
/// the world anew, run it until it waits, queue its deeds, run on, look.
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
///     // Whichever came first: a value that is there wins (T6).
///     assert_eq!(waiting.result().unwrap().unwrap(), Ok(Ok(7)));
/// }
/// # Ok::<(), readily::Error>(())
/// ```
///
/// # Panics
///
/// If `order` is not an order of the deeds, or the loop has gone.
#[track_caller]
pub fn in_one_turn(handle: &WeakHandle, order: &[usize], deeds: Vec<Action>) {
    let mut deeds: Vec<_> = deeds.into_iter().map(Some).collect();
    assert_eq!(order.len(), deeds.len(), "an order of these deeds");
    for &nth in order {
        let deed = deeds[nth].take().expect("an order names each once");
        let queued = handle.with(|handle| handle.call_soon(move |_| deed()));
        queued.expect("the loop is there");
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
