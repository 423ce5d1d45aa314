//! `gather`: awaits several futures at once and returns their results in the order of the futures.
//!
//! It takes an iterator, for futures of one type, or a tuple, for futures of different types.
//! `gather` waits for all and loses no result; `try_gather` returns the first error, and drops the
//! other futures at once. asyncio has one function with a flag for both, and leaves the others
//! running after an error, which surprises many of its users.
//!
//! In the notes: `gather(...)` (N11, N18). Rule: T5.

use super::poll_order::{PollOrder, PollRound};
use super::poll_set::PollSet;
use crate::task::budget;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};

/// Runs all of `futures` at once, in this task, and returns their outputs in the order in
/// which they were given ([T5]).
///
/// `futures` is anything that iterates over futures, or a tuple of up to eight. Of the first
/// the outputs come in a `Vec`, and each is polled only when it was woken itself; of the second
/// they come in a tuple, and all that are left are polled at each wake.
///
/// # Panics
///
/// If one of them panics; the others are dropped.
///
/// # Cancellation
///
/// Dropping it drops all of them, and the outputs of those that were done.
///
/// # Examples
///
/// ```
/// use readily::{gather, run};
///
/// let squares = run(async { gather((1..4).map(|n| async move { n * n })).await })?;
/// assert_eq!(squares, [1, 4, 9]);
/// let pair = run(async { gather((async { 1 }, async { "two" })).await })?;
/// assert_eq!(pair, (1, "two"));
/// # Ok::<(), readily::Error>(())
/// ```
///
/// [T5]: crate::book::invariants#t5
#[doc(alias = "join_all")]
pub fn gather<G, M>(futures: G) -> impl Future<Output = G::Output>
where
    G: Gather<M>,
{
    futures.gather()
}

/// Runs all of `futures` at once, in this task, until all are done or one fails.
///
/// A future fails if its own output is an `Err`. The output of a [`Task`](crate::Task) that returns a
/// `Result` is a `Result` *in* a `Result`. Only an `Err` of the outer one ends `try_gather`: the task
/// was cancelled or has panicked ([`JoinError`](crate::JoinError)). An `Err` of the inner one is a
/// value like any other. The tasks belong to the loop and run on, because dropping their handles does
/// not cancel them. To stop at the first error of a task, gather the futures themselves, or spawn
/// them in a [`TaskGroup`](crate::TaskGroup).
///
/// # Errors
///
/// The first error, in the order of time; all others are dropped before this returns.
///
/// # Panics
///
/// If one of them panics; the others are dropped.
///
/// # Cancellation
///
/// As [`gather`].
///
/// # Examples
///
/// ```
/// use readily::{run, sleep, try_gather};
/// use std::time::Duration;
///
/// let slow = async { Ok(sleep(Duration::from_secs(60)).await) };
/// let bad = async { Err("no") };
/// assert_eq!(run(async { try_gather((slow, bad)).await as Result<((), ()), _> })?, Err("no"));
/// # Ok::<(), readily::Error>(())
/// ```
///
/// With tasks that return a `Result`, the inner results are values:
///
/// ```
/// use readily::{run, spawn, try_gather};
///
/// let outputs = run(async {
///     let tasks = [Err("no"), Ok(1)].map(|result: Result<i32, &str>| spawn(async move { result }));
///     try_gather(tasks).await
/// })?;
/// assert_eq!(outputs.unwrap(), [Err("no"), Ok(1)]);
/// # Ok::<(), readily::Error>(())
/// ```
#[doc(alias = "try_join_all")]
pub fn try_gather<G, M>(futures: G) -> impl Future<Output = Result<G::Output, G::Error>>
where
    G: TryGather<M>,
{
    futures.try_gather()
}

/// The arguments of [`gather`]: an iterator or a tuple. `M` distinguishes the two, and is inferred.
pub trait Gather<M> {
    /// What comes of it.
    type Output;

    /// See [`gather`].
    fn gather(self) -> impl Future<Output = Self::Output>;
}

/// The arguments of [`try_gather`]: an iterator or a tuple. `M` distinguishes the two, and is inferred.
pub trait TryGather<M> {
    /// What comes of it, if all goes well.
    type Output;
    /// What ends it.
    type Error;

    /// See [`try_gather`].
    fn try_gather(self) -> impl Future<Output = Result<Self::Output, Self::Error>>;
}

/// Marks arguments that are iterators.
#[doc(hidden)]
pub struct Iterated;

/// Marks arguments that are tuples.
#[doc(hidden)]
pub struct Tuple;

impl<I> Gather<Iterated> for I
where
    I: IntoIterator<Item: IntoFuture>,
{
    type Output = Vec<<I::Item as IntoFuture>::Output>;

    async fn gather(self) -> Self::Output {
        let mut set = PollSet::new(self.into_iter().map(IntoFuture::into_future));
        let mut outputs: Vec<_> = (0..set.len()).map(|_| None).collect();
        poll_fn(|cx| {
            budget::budgeted_composite(cx, |cx| {
                set.poll(cx, |index, output| {
                    outputs[index] = Some(output);
                    true
                })
            })
        })
        .await;
        outputs.into_iter().flatten().collect()
    }
}

impl<I, T, E> TryGather<Iterated> for I
where
    I: IntoIterator<Item: IntoFuture<Output = Result<T, E>>>,
{
    type Output = Vec<T>;
    type Error = E;

    async fn try_gather(self) -> Result<Vec<T>, E> {
        let mut set = PollSet::new(self.into_iter().map(IntoFuture::into_future));
        let mut outputs: Vec<Option<T>> = (0..set.len()).map(|_| None).collect();
        let mut failed = None;
        poll_fn(|cx| {
            budget::budgeted_composite(cx, |cx| {
                set.poll(cx, |index, output| {
                    match output {
                        Ok(output) => outputs[index] = Some(output),
                        Err(error) => failed = Some(error),
                    }
                    failed.is_none()
                })
            })
        })
        .await;
        // Here, not when the caller's scope ends: what they hold is free when it hears of it.
        drop(set);
        match failed {
            Some(error) => Err(error),
            None => Ok(outputs.into_iter().flatten().collect()),
        }
    }
}

/// The result of one round over a tuple: the failure that ended it, or the end if none is `left`.
fn finish<R>(pass: PollRound<R>, left: bool, cx: &mut Context<'_>) -> Poll<Option<R>> {
    match pass {
        PollRound::Ended(failure) => Poll::Ready(Some(failure)),
        _ if !left => Poll::Ready(None),
        PollRound::All => Poll::Pending,
        PollRound::Spent => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }
}

macro_rules! gather_tuple {
    ($many:literal: $($at:literal $future:ident $output:ident $ok:ident),+) => {
        impl<$($future: IntoFuture),+> Gather<Tuple> for ($($future,)+) {
            type Output = ($($future::Output,)+);

            #[allow(non_snake_case)]
            async fn gather(self) -> Self::Output {
                let ($($future,)+) = self;
                $(let mut $future = pin!(Some($future.into_future()));)+
                $(let mut $output = None;)+
                let mut order = PollOrder::unordered();
                poll_fn(|cx| {
                    budget::budgeted_composite(cx, |cx| {
                        let pass = order.poll_round($many, |at| {
                            match at {
                                $($at => if let Some(future) = $future.as_mut().as_pin_mut() {
                                    if let Poll::Ready(output) = future.poll(cx) {
                                        $output = Some(output);
                                        $future.set(None);
                                    }
                                })+
                                _ => {}
                            }
                            Poll::<()>::Pending
                        });
                        let left = $($output.is_none())||+;
                        finish(pass, left, cx).map(|_| ())
                    })
                })
                .await;
                ($($output.expect("it is done"),)+)
            }
        }

        impl<Failure, $($ok, $future),+> TryGather<Tuple> for ($($future,)+)
        where
            $($future: IntoFuture<Output = Result<$ok, Failure>>),+
        {
            type Output = ($($ok,)+);
            type Error = Failure;

            #[allow(non_snake_case)]
            async fn try_gather(self) -> Result<Self::Output, Failure> {
                let ($($future,)+) = self;
                $(let mut $future = pin!(Some($future.into_future()));)+
                $(let mut $output = None;)+
                let mut order = PollOrder::fixed(0);
                let failed = poll_fn(|cx| {
                    budget::budgeted_composite(cx, |cx| {
                        let pass = order.poll_round($many, |at| {
                            match at {
                                $($at => if let Some(future) = $future.as_mut().as_pin_mut() {
                                    match future.poll(cx) {
                                        Poll::Ready(Ok(output)) => {
                                            $output = Some(output);
                                            $future.set(None);
                                        }
                                        Poll::Ready(Err(error)) => return Poll::Ready(error),
                                        Poll::Pending => {}
                                    }
                                })+
                                _ => {}
                            }
                            Poll::Pending
                        });
                        let left = $($output.is_none())||+;
                        finish(pass, left, cx)
                    })
                })
                .await;
                $($future.set(None);)+
                match failed {
                    Some(error) => Err(error),
                    None => Ok(($($output.expect("it is done"),)+)),
                }
            }
        }
    };
}

gather_tuple!(1: 0 A OutA OkA);
gather_tuple!(2: 0 A OutA OkA, 1 B OutB OkB);
gather_tuple!(3: 0 A OutA OkA, 1 B OutB OkB, 2 C OutC OkC);
gather_tuple!(4: 0 A OutA OkA, 1 B OutB OkB, 2 C OutC OkC, 3 D OutD OkD);
gather_tuple!(5: 0 A OutA OkA, 1 B OutB OkB, 2 C OutC OkC, 3 D OutD OkD, 4 E OutE OkE);
gather_tuple!(6: 0 A OutA OkA, 1 B OutB OkB, 2 C OutC OkC, 3 D OutD OkD, 4 E OutE OkE, 5 F OutF OkF);
gather_tuple!(7: 0 A OutA OkA, 1 B OutB OkB, 2 C OutC OkC, 3 D OutD OkD, 4 E OutE OkE, 5 F OutF OkF, 6 G OutG OkG);
gather_tuple!(8: 0 A OutA OkA, 1 B OutB OkB, 2 C OutC OkC, 3 D OutD OkD, 4 E OutE OkE, 5 F OutF OkF, 6 G OutG OkG, 7 H OutH OkH);
