//! `select`: waits for the first of several futures, and loses nothing of the others.
//!
//! A choice that is made again and again, as in the main loop of a program, must not restart its
//! futures each time: half of a message that was read would be lost. So the futures are made outside
//! and *lent*, and the unfinished ones continue in the next call where they stopped. There is no
//! macro; the result is matched like any value.

use super::gather::{Iterated, Tuple};
use super::poll_order::{PollOrder, choose};
use super::poll_set::PollSet;
use crate::task::budget;
use std::future::poll_fn;
use std::pin::pin;

/// The result of [`select`] for a pair: which of the two was done, and its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Either<A, B> {
    /// The first was done.
    Left(A),
    /// The second was done.
    Right(B),
}

impl<T> Either<T, T> {
    /// Returns the output, of either future.
    pub fn into_inner(self) -> T {
        match self {
            Self::Left(value) | Self::Right(value) => value,
        }
    }
}

/// Waits until one of `futures` is done, and returns its position and its output.
///
/// `futures` is a pair, which gives an [`Either`], or anything that iterates over futures, which
/// gives a number and an output. If several are ready at the same poll, the first in the list wins
/// ([T7]), so in a loop put the future first that must not wait for the others. If the budget runs
/// out during a poll, `select` behaves like [`race`](crate::race()).
///
/// What is handed in by value is dropped when it loses, as by [`race`](crate::race()). What is
/// lent is not: `&mut task`, `&mut future` of a type that is `Unpin`, and for a coroutine, which
/// is not, a `Pin<&mut _>` of [`std::pin::pin!`] with `as_mut()`, or a `Box::pin` as `&mut`. The
/// one that was done must not be lent again: its output has been taken.
///
/// # Panics
///
/// If one of them panics. If there are none: it would never end.
///
/// # Cancellation
///
/// Dropping it drops what was handed in by value. Nothing is lost of what was lent: no output is
/// taken before this returns it.
///
/// # Futurelock
///
/// A future that is lent, and then neither polled nor dropped, keeps what it was granted: a lock, a
/// permit, an item or room. All waiters behind it wait. If its own task is one of them, the task
/// waits for itself, for ever. So do not keep a lent `acquire`, `get`, `put` or `reserve` while you
/// wait for something else: drop it first, or hand it in by value. [Debug
/// mode](crate::LoopHandle::set_debug) reports such a future
/// ([`Unhandled::Futurelock`](crate::Unhandled::Futurelock)).
///
/// # Examples
///
/// ```
/// use readily_testing::SimLoop;
/// use readily::combine::Either;
/// use readily::{select, sleep};
/// use std::pin::pin;
/// use std::time::Duration;
///
/// let words = SimLoop::new(1).run(async {
///     let mut slow = pin!(async {
///         sleep(Duration::from_millis(5)).await; // would begin anew each time, were it not lent
///         "slow"
///     });
///     let mut words = Vec::new();
///     loop {
///         let tick = sleep(Duration::from_millis(2));
///         match select((slow.as_mut(), tick)).await {
///             Either::Left(word) => break words.push(word),
///             Either::Right(()) => words.push("tick"),
///         }
///     }
///     words
/// })?;
/// assert_eq!(words, ["tick", "tick", "slow"]);
/// # Ok::<(), readily::Error>(())
/// ```
///
/// [T7]: crate::book::invariants#t7
#[doc(alias = "select_biased")]
pub fn select<S, M>(futures: S) -> impl Future<Output = S::Output>
where
    S: Select<M>,
{
    futures.select()
}

/// The arguments of [`select`]: an iterator or a pair. `M` distinguishes the two, and is inferred.
pub trait Select<M> {
    /// Which was done, and its output.
    type Output;

    /// See [`select`].
    fn select(self) -> impl Future<Output = Self::Output>;
}

impl<A: IntoFuture, B: IntoFuture> Select<Tuple> for (A, B) {
    type Output = Either<A::Output, B::Output>;

    async fn select(self) -> Self::Output {
        // Taken apart first: of a pair that is moved from in parts, the whole would keep its place.
        let (left, right) = self;
        let mut left = pin!(Some(left.into_future()));
        let mut right = pin!(Some(right.into_future()));
        let mut order = PollOrder::fixed(0);
        let first = poll_fn(|cx| {
            choose(&mut order, 2, cx, |at, cx| match at {
                0 => {
                    let left = left.as_mut().as_pin_mut().expect("it is there");
                    left.poll(cx).map(Either::Left)
                }
                _ => {
                    let right = right.as_mut().as_pin_mut().expect("it is there");
                    right.poll(cx).map(Either::Right)
                }
            })
        })
        .await;
        left.set(None);
        right.set(None);
        first
    }
}

impl<I> Select<Iterated> for I
where
    I: IntoIterator<Item: IntoFuture>,
{
    type Output = (usize, <I::Item as IntoFuture>::Output);

    async fn select(self) -> Self::Output {
        let set = PollSet::new(self.into_iter().map(IntoFuture::into_future));
        assert!(set.len() > 0, "a choice of nothing would never be made");
        // T7: in the order of their numbers, and not of their wakes.
        let mut set = set.in_order_from(0);
        let mut first = None;
        poll_fn(|cx| {
            budget::budgeted_composite(cx, |cx| {
                set.poll(cx, |index, output| {
                    first = Some((index, output));
                    false
                })
            })
        })
        .await;
        drop(set);
        first.expect("a choice ends with one")
    }
}
