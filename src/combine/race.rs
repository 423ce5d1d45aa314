//! `race`: awaits several futures at once; the first to complete wins and the others are dropped.
//!
//! Futures that are ready at the same time are polled in a promised order: the first in the list wins
//! a tie. In a program's main loop that may starve the last one (R092), so `race_fair` begins with a
//! random one.

use super::gather::{Iterated, Tuple};
use super::poll_order::{PollOrder, choose};
use super::poll_set::PollSet;
use crate::event_loop::WeakHandle;
use crate::task::budget;
use std::future::poll_fn;
use std::pin::{Pin, pin};

/// Runs all of `futures` at once, in this task, until one is done, and returns its output; the
/// others are dropped before this returns.
///
/// `futures` is anything that iterates over futures, or a tuple of up to eight with one type of
/// output. Of those that are ready at the same poll the first named wins ([T7]), also where it was
/// the last to be woken; those behind it are then not polled. Of a list each is polled only when
/// it was woken itself.
///
/// A race whose budget is spent yields and polls no further future. A future that uses up the whole
/// budget in one poll without completing counts as not ready; the futures behind it are polled before
/// it then.
///
/// What a loser had done so far is lost with it. Where that matters, because it has read half a
/// line, lend it and use [`select`](crate::select()): `&mut future` is a future too.
///
/// # Panics
///
/// If one of them panics; the others are dropped. If there are none, because none could ever win.
///
/// # Cancellation
///
/// Dropping it drops all of them.
///
/// # Examples
///
/// ```
/// use readily::{race, run, sleep};
/// use std::time::Duration;
///
/// let after = |ms, word| async move {
///     sleep(Duration::from_millis(ms)).await;
///     word
/// };
/// assert_eq!(run(async { race((after(9000, "slow"), after(1, "quick"))).await })?, "quick");
/// assert_eq!(run(async { race([after(0, "first"), after(0, "second")]).await })?, "first");
/// # Ok::<(), readily::Error>(())
/// ```
///
/// [T7]: crate::book::invariants#t7
pub fn race<R, M>(futures: R) -> impl Future<Output = R::Output>
where
    R: Race<M>,
{
    futures.race_from(|_| 0)
}

/// As [`race`], but if several futures are ready, a random one wins: the polls of a round begin at a random future,
/// and go on from there in the order of the list.
///
/// So if a program repeats such a race in a loop, no ready future is passed over for ever. The random numbers
/// come from the event loop, or from the seed of [`shuffle_ready`](crate::spi::shuffle_ready)
/// if there is one: then each run of the program has the same ones. Outside an event loop this is [`race`].
///
/// # Panics
///
/// As [`race`].
///
/// # Cancellation
///
/// As [`race`].
///
/// # Examples
///
/// ```
/// use readily::combine::race_fair;
/// use readily::run;
/// use std::future::ready;
///
/// let wins = run(async {
///     let mut wins = [0, 0];
///     for _ in 0..1000 {
///         wins[race_fair((ready(0), ready(1))).await] += 1;
///     }
///     wins
/// })?;
/// assert!(wins.iter().all(|&n| n > 400), "{wins:?}");
/// # Ok::<(), readily::Error>(())
/// ```
pub fn race_fair<R, M>(futures: R) -> impl Future<Output = R::Output>
where
    R: Race<M>,
{
    futures.race_from(|n| {
        let drawn =
            WeakHandle::current().and_then(|weak| weak.with(|handle| handle.random_below(n)));
        drawn.unwrap_or(0)
    })
}

/// The arguments of [`race`]: an iterator or a tuple. `M` distinguishes the two, and is inferred.
pub trait Race<M> {
    /// The output of the winner.
    type Output;

    /// See [`race`]. `first` gets the number of futures, and returns the index to poll first.
    #[doc(hidden)]
    fn race_from(self, first: impl FnOnce(usize) -> usize) -> impl Future<Output = Self::Output>;
}

impl<I> Race<Iterated> for I
where
    I: IntoIterator<Item: IntoFuture>,
{
    type Output = <I::Item as IntoFuture>::Output;

    async fn race_from(self, first: impl FnOnce(usize) -> usize) -> Self::Output {
        let set = PollSet::new(self.into_iter().map(IntoFuture::into_future));
        assert!(set.len() > 0, "a race of no futures has no winner");
        let first = first(set.len());
        // T7: in the order of their numbers, and not of their wakes.
        let mut set = set.in_order_from(first);
        let mut winner = None;
        poll_fn(|cx| {
            budget::budgeted_composite(cx, |cx| {
                set.poll(cx, |_, output| {
                    winner = Some(output);
                    false
                })
            })
        })
        .await;
        // Here, not when the caller's scope ends: what they hold is free when it hears of it.
        drop(set);
        winner.expect("a race ends with a winner")
    }
}

/// One of several, each polled at each wake: first the one at `first`, then on and round.
async fn first_of<T>(futures: &mut [Pin<&mut dyn Future<Output = T>>], first: usize) -> T {
    let (mut order, many) = (PollOrder::fixed(first), futures.len());
    poll_fn(|cx| choose(&mut order, many, cx, |at, cx| futures[at].as_mut().poll(cx))).await
}

macro_rules! race_tuple {
    ($($future:ident)+) => {
        impl<Out, $($future: IntoFuture<Output = Out>),+> Race<Tuple> for ($($future,)+) {
            type Output = Out;

            #[allow(non_snake_case)]
            async fn race_from(self, first: impl FnOnce(usize) -> usize) -> Out {
                let ($($future,)+) = self;
                $(let mut $future = pin!(Some($future.into_future()));)+
                let output = {
                    let mut futures: Vec<Pin<&mut dyn Future<Output = Out>>> =
                        vec![$($future.as_mut().as_pin_mut().expect("it is there")),+];
                    let first = first(futures.len());
                    first_of(&mut futures, first).await
                };
                $($future.set(None);)+
                output
            }
        }
    };
}

race_tuple!(A);
race_tuple!(A B);
race_tuple!(A B C);
race_tuple!(A B C D);
race_tuple!(A B C D E);
race_tuple!(A B C D E F);
race_tuple!(A B C D E F G);
race_tuple!(A B C D E F G H);
