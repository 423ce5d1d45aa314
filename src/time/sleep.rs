//! `sleep`: a timer that wakes the task that awaits it.
//!
//! The timer (`task/lazy_timer.rs`) is armed at the first poll. A sleep that need not be exact can
//! have slack, so that many sleeps end in one turn.
//!
//! In the notes: `sleep(seconds)` (N11, N18).

use crate::event_loop::{LoopHandle, WeakHandle};
use crate::task::budget;
use crate::task::lazy_timer::LazyTimer;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Waits for `delay`, counted from the first poll, on the loop's clock.
///
/// A sleep never ends early; it ends late if the loop is busy. A delay of zero yields once, like
/// [`yield_now`], and arms no timer. A delay beyond 575 years never ends.
///
/// # Panics
///
/// When polled outside a loop: there is no clock to ask. When polled again on another loop than
/// before, or after its loop was closed: it would never end.
///
/// # Cancellation
///
/// Dropping it disarms its timer. Nothing is lost but the time.
///
/// # Examples
///
/// ```
/// use readily::{run, sleep};
/// use std::time::Duration;
///
/// run(async { sleep(Duration::from_millis(5)).await })?;
/// # Ok::<(), readily::Error>(())
/// ```
#[doc(alias = "delay")]
pub fn sleep(delay: Duration) -> Sleep {
    let timer = match delay.is_zero() {
        true => LazyTimer::yield_once(),
        false => LazyTimer::after(delay),
    };
    Sleep { timer }
}

/// Waits until `when` on the loop's clock; if that time has passed, yields once.
///
/// It is never early. The loop's clock has no dates and times of day: for these see
/// [`sleep_until_system`](crate::time::sleep_until_system).
///
/// # Panics
///
/// As [`sleep`].
///
/// # Cancellation
///
/// As [`sleep`].
///
/// # Examples
///
/// ```
/// use readily::time::{fresh_now, sleep_until};
/// use readily::run;
/// use std::time::Duration;
///
/// run(async {
///     let when = fresh_now() + Duration::from_millis(2);
///     sleep_until(when).await;
///     assert!(fresh_now() >= when);
/// })?;
/// # Ok::<(), readily::Error>(())
/// ```
#[doc(alias = "delay_until")]
pub fn sleep_until(when: Instant) -> Sleep {
    Sleep {
        timer: LazyTimer::at(when),
    }
}

/// Returns the present time on the clock of the current loop, for [`sleep_until`], `timeout_at`
/// and `interval_at`.
///
/// # Panics
///
/// Outside a loop: there is no clock to ask.
#[doc(alias = "time")]
#[must_use]
pub fn fresh_now() -> Instant {
    let weak = WeakHandle::current()
        .expect("asked for the time outside a loop: use readily::run, or EventLoop::enter");
    weak.with(LoopHandle::fresh_now)
        .expect("the current loop is there")
}

/// The future of [`sleep`] and [`sleep_until`].
#[derive(Debug)]
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    timer: LazyTimer,
}

impl Sleep {
    /// Allows the sleep to be late by up to `slack`, so that it ends together with others ([C8]). Call this before
    /// the first poll; afterwards it has no effect.
    ///
    /// The end is rounded up to a multiple of `slack` on the loop's clock. For instance, if a thousand
    /// connections have a limit of a minute and a slack of a second, all that time out within one
    /// second do so in one turn, and the loop wakes once. This also works for different slacks, if one is a multiple
    /// of the other.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily_testing::SimLoop;
    /// use readily::{gather, sleep};
    /// use std::time::Duration;
    ///
    /// let mut sim = SimLoop::new(1);
    /// let second = Duration::from_secs(1);
    /// let naps = (1..900).map(|ms| sleep(Duration::from_millis(ms)).slack(second));
    /// sim.run(gather(naps))?;
    /// assert_eq!(sim.elapsed(), second);
    /// assert!(sim.stats().turns < 5); // and not 900
    /// # Ok::<(), readily::Error>(())
    /// ```
    ///
    /// [C8]: crate::book::invariants#c8
    pub fn slack(mut self, slack: Duration) -> Self {
        self.timer = self.timer.with_slack(slack);
        self
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.timer.has_elapsed() {
            return budget::budgeted(cx, |_| Poll::Ready(())); // F1
        }
        self.timer.poll(cx)
    }
}

/// Yields once: every other ready task runs before this one continues ([N10]).
///
/// # Cancellation
///
/// Nothing is lost.
///
/// # Examples
///
/// ```
/// use readily::{gather, run, yield_now};
/// use std::cell::RefCell;
///
/// let seen = RefCell::new(String::new());
/// let say = async |word: &str| {
///     for letter in word.chars() {
///         seen.borrow_mut().push(letter);
///         yield_now().await;
///     }
/// };
/// run(async { gather((say("ace"), say("bdf"))).await })?;
/// assert_eq!(*seen.borrow(), "abcdef");
/// # Ok::<(), readily::Error>(())
/// ```
///
/// [N10]: crate::book#n10
#[doc(alias = "checkpoint")]
pub async fn yield_now() {
    let mut gave_way = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut gave_way, true) {
            return Poll::Ready(());
        }
        // To the back of the queue: the next poll is in a later turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
