//! `wait_for`, `wait_until`: await a future for a limited time.
//!
//! The future is polled first and the limit after it, so a value that is ready when the time
//! runs out wins (T6). When the time has run out, the future is dropped before the caller continues.
//! The drop is the cancellation; asyncio must cancel the inner task and then wait for it.
//!
//! In the notes: N14.

use crate::task::budget;
use crate::task::lazy_timer::LazyTimer;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// The error of a limit: the time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the time ran out")]
#[doc(alias = "TimeoutError")]
pub struct Elapsed;

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

/// Waits for `future`, but no longer than `limit`.
///
/// When the limit has passed, `future` is dropped. If it is a coroutine, it is thereby cancelled
/// ([N14]). If it is a [`Task`](crate::Task), only the handle is dropped, and the task continues,
/// detached; to end the task, keep its [`task_ref`](crate::Task::task_ref) and cancel that. (asyncio
/// cancels the task.)
///
/// `limit` counts from the first poll on the loop's clock. The system may wake the loop a
/// little late, never early. When the time has come the future is polled once more, and what is
/// ready then wins, also if it came after the limit; a future that is ready on its first poll
/// wins even where `limit` is zero ([T6]).
///
/// The returned future is twice as large as `future`, like that of each function that takes a future
/// by value; with nested calls the size doubles each time. Pass a large future (some kilobytes) as
/// a `Box::pin`, or make it inside a [`timeout`](crate::timeout()), which contains it once.
///
/// # Errors
///
/// [`Elapsed`] if the time ran out. `future` is dropped *before* this returns, so whatever it
/// borrowed is free again.
///
/// # Panics
///
/// When it is polled outside a running loop, unless `future` is ready at once: there is no clock.
///
/// # Cancellation
///
/// Dropping the returned future drops `future`. No timer stays armed.
///
/// # Examples
///
/// ```
/// use readily::{Elapsed, run, sleep, wait_for};
/// use std::time::Duration;
///
/// let (short, long) = (Duration::from_millis(5), Duration::from_secs(50));
/// assert_eq!(run(wait_for(short, sleep(long)))?, Err(Elapsed));
/// assert_eq!(run(wait_for(long, async { "value" }))?, Ok("value"));
/// # Ok::<(), readily::Error>(())
/// ```
///
/// [N14]: crate::book#n14
/// [T6]: crate::book::invariants#t6
#[doc(alias = "move_on_after")]
pub fn wait_for<F>(limit: Duration, future: F) -> impl Future<Output = Result<F::Output, Elapsed>>
where
    F: IntoFuture,
{
    // A timer for a limit of zero, too: what an event would bring in the same turn wins.
    within(move || LazyTimer::after(limit), future)
}

/// Waits for `future`, but no longer than until `deadline` of the loop's clock; `None` is no limit.
///
/// Use it where several waits share one deadline: `let deadline = fresh_now() + limit`. For a deadline that moves, see
/// [`timeout_at`](crate::time::timeout_at()). Otherwise as [`wait_for`]: when the deadline has come, `future` is polled once
/// more, and a value that is ready then wins. A future that is ready on its first poll wins even if the deadline has
/// passed ([T6]).
///
/// In asyncio: `timeout_at` around one `await`.
///
/// # Errors
///
/// [`Elapsed`] if the deadline came first. `future` is dropped *before* this returns.
///
/// # Panics
///
/// When it is polled outside a running loop, unless `future` is ready at once or there is no deadline:
/// there is no clock.
///
/// # Cancellation
///
/// Dropping the returned future drops `future`. No timer stays armed.
///
/// # Examples
///
/// ```
/// use readily::time::fresh_now;
/// use readily::{Elapsed, run, sleep, wait_until};
/// use std::time::Duration;
///
/// run(async {
///     let deadline = fresh_now() + Duration::from_millis(5);
///     assert_eq!(wait_until(deadline, async { "value" }).await, Ok("value"));
///     // What is left of the same five milliseconds.
///     assert_eq!(wait_until(deadline, sleep(Duration::from_secs(50))).await, Err(Elapsed));
/// })?;
/// # Ok::<(), readily::Error>(())
/// ```
///
/// [T6]: crate::book::invariants#t6
#[doc(alias = "move_on_at")]
pub fn wait_until<F>(
    deadline: impl Into<Option<Instant>>,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>>
where
    F: IntoFuture,
{
    let timer = move || deadline.into().map_or_else(LazyTimer::never, LazyTimer::at);
    within(timer, future)
}

/// Both begin at the first poll. A closure for the alarm, because a parameter would be held twice.
async fn within<F>(timer: impl FnOnce() -> LazyTimer, future: F) -> Result<F::Output, Elapsed>
where
    F: IntoFuture,
{
    let mut future = pin!(Some(future.into_future()));
    let mut limit = timer();
    let result = poll_fn(|cx| poll_within(future.as_mut(), cx, |cx| limit.poll(cx))).await;
    // Before the caller hears of it: `async` would drop it after the return value is made.
    future.as_mut().set(None);
    result
}

/// Polls what is in `future`, and after it `limit`, whether the time is up: what is ready wins (T6).
pub(super) fn poll_within<F: Future>(
    future: Pin<&mut Option<F>>,
    cx: &mut Context<'_>,
    limit: impl FnOnce(&mut Context<'_>) -> Poll<()>,
) -> Poll<Result<F::Output, Elapsed>> {
    let mut inner = future.as_pin_mut().expect("polled until it is ready");
    if let Poll::Ready(output) = budget::budgeted_composite(cx, |cx| inner.as_mut().poll(cx)) {
        return Poll::Ready(Ok(output));
    }
    ready!(limit(cx));
    Poll::Ready(match budget::final_poll(inner, cx) {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => Err(Elapsed),
    })
}
