//! `interval`: one tick for each period, and three policies for missed ticks.
//!
//! A `sleep` in a loop drifts: each round takes longer by the work it does. The ticks of an interval
//! do not: each is due a whole number of periods after the first, however late the tick before it was
//! taken. If ticks were missed, because the program was busy or the machine asleep, a policy decides.
//! By default they are skipped, because a hundred ticks at once are of no use (R074).

use crate::base::clock::nanos;
use crate::event_loop::WeakHandle;
use crate::task::lazy_timer::LazyTimer;
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

/// What an [`Interval`] does after it has missed ticks.
#[doc(alias = "MissedTickBehavior")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum MissedTick {
    /// Skips the missed ticks: the next tick is the first of the series that is still to come.
    #[default]
    Skip,
    /// Begins a new series: the next tick is one period after the late tick was taken.
    Delay,
    /// Makes up for all missed ticks, one in each turn.
    Burst,
}

/// How long after a tick's own moment the next one is, in nanoseconds: it was taken `late`.
fn until_next(missed: MissedTick, late: u64, period: u64) -> u64 {
    match missed {
        MissedTick::Burst => period,
        MissedTick::Delay => late.saturating_add(period),
        MissedTick::Skip => (late / period).saturating_add(1).saturating_mul(period),
    }
}

/// Returns an [`Interval`] that ticks once each `period`; the first tick comes after one period.
/// For a first tick at once use [`interval_at`].
///
/// The time counts from the first poll of the first [`tick`](Interval::tick), on the loop's clock.
/// A period of zero is one nanosecond: there is a tick in each turn.
///
/// # Cancellation
///
/// Dropping it leaves no timer. See [`tick`](Interval::tick).
///
/// # Examples
///
/// ```
/// use readily::{interval, run};
/// use std::time::Duration;
///
/// let period = Duration::from_millis(2);
/// run(async {
///     let mut ticks = interval(period);
///     let first = ticks.tick().await;
///     assert!(ticks.tick().await >= first + period);
/// })?;
/// # Ok::<(), readily::Error>(())
/// ```
pub fn interval(period: Duration) -> Interval {
    Interval::new(Next::AfterOne, period)
}

/// Returns an [`Interval`] that ticks at `start`, and then once each `period`. If `start` has passed, the first tick
/// comes at once, and the ticks between `start` and now count as missed.
///
/// # Cancellation
///
/// As [`interval`].
///
/// # Examples
///
/// ```
/// use readily::time::{fresh_now, interval_at};
/// use readily::run;
/// use std::time::Duration;
///
/// run(async {
///     let now = fresh_now();
///     let mut ticks = interval_at(now, Duration::from_millis(2));
///     assert_eq!(ticks.tick().await, now);
/// })?;
/// # Ok::<(), readily::Error>(())
/// ```
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    Interval::new(Next::At(start), period)
}

#[derive(Clone, Copy, Debug)]
enum Next {
    /// One period after it is first asked.
    AfterOne,
    At(Instant),
    /// Beyond the end of time.
    Never,
}

/// A source of ticks, made by [`interval`] or [`interval_at`].
#[derive(Debug)]
#[must_use = "it does nothing unless its ticks are awaited"]
pub struct Interval {
    period: Duration,
    missed: MissedTick,
    next: Next,
    /// The time of the turn in which it has ticked last.
    ticked: Option<Instant>,
}

impl Interval {
    fn new(next: Next, period: Duration) -> Self {
        Self {
            period: period.max(Duration::from_nanos(1)),
            missed: MissedTick::default(),
            next,
            ticked: None,
        }
    }

    /// Sets what happens after missed ticks; by default they are skipped.
    pub fn missed(mut self, missed: MissedTick) -> Self {
        self.missed = missed;
        self
    }

    /// Returns the period.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Waits for the next tick, and returns the time at which the tick was due, which may be earlier than the present
    /// time.
    ///
    /// A tick is never early ([C6]). If a tick is due when this is first polled, this returns at once, so that a
    /// `select` or a `race` with ready futures does not pass it over for ever. There is at most one tick in a turn.
    ///
    /// # Panics
    ///
    /// Outside a running loop: there is no clock to ask.
    ///
    /// # Cancellation
    ///
    /// Dropping it loses no tick, and leaves no timer.
    ///
    /// [C6]: crate::book::invariants#c6
    pub async fn tick(&mut self) -> Instant {
        let mut timer = None;
        poll_fn(|cx| {
            let weak = WeakHandle::current()
                .expect("an interval outside a loop: use readily::run, or EventLoop::enter");
            let handle = weak.upgrade().expect("the current loop is there");
            let next = match self.next {
                Next::At(next) => next,
                Next::Never => return Poll::Pending,
                Next::AfterOne => {
                    let first = handle.deadline(self.period);
                    self.next = first.map_or(Next::Never, Next::At);
                    match first {
                        Some(first) => first,
                        None => return Poll::Pending,
                    }
                }
            };
            let now = handle.now();
            let at_once = now >= next && self.ticked != Some(now);
            if !at_once {
                let timer = timer.get_or_insert_with(|| LazyTimer::at(next));
                if timer.poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            self.ticked = Some(now);
            let late = nanos(handle.fresh_now().saturating_duration_since(next));
            let after = until_next(self.missed, late, nanos(self.period));
            self.next = next
                .checked_add(Duration::from_nanos(after))
                .map_or(Next::Never, Next::At);
            Poll::Ready(next)
        })
        .await
    }

    /// Begins a new series: the next tick is one period from now. Outside a loop, which has no clock, the period counts
    /// from the first poll of the next [`tick`](Interval::tick).
    pub fn reset(&mut self) {
        let now =
            WeakHandle::current().and_then(|weak| weak.with(|handle| handle.deadline(self.period)));
        self.next = match now {
            Some(Some(next)) => Next::At(next),
            Some(None) => Next::Never,
            None => Next::AfterOne,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C6: the next one is later than now but for `Burst`; where nothing was missed all three agree.
    #[test]
    fn the_next_tick_is_of_the_series_and_not_in_the_past() {
        for late in 0..50 {
            for period in 1..12 {
                let skip = until_next(MissedTick::Skip, late, period);
                assert!(skip > late && skip - late <= period && skip % period == 0);
                assert_eq!(until_next(MissedTick::Delay, late, period), late + period);
                assert_eq!(until_next(MissedTick::Burst, late, period), period);
                if late < period {
                    assert_eq!(skip, period);
                }
            }
        }
        assert_eq!(until_next(MissedTick::Skip, u64::MAX, 1), u64::MAX);
        assert_eq!(until_next(MissedTick::Delay, u64::MAX, u64::MAX), u64::MAX);
    }
}
