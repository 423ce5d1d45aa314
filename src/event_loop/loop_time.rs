//! The time of a loop, and its armed timers.
//!
//! A delay is counted from a *fresh* reading of the clock; otherwise a timer armed after a long
//! callback would fire early (R075). The time of a turn is read once, at its first use.
//!
//! These are the *timers* of N1; in asyncio `loop.time` and `_scheduled`.

use crate::base::clock::{Clock, LAST, Monotonic, NEVER, nanos};
use crate::base::timer_heap::Timers;
use readily_sys::clock::monotonic_ns;
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant, SystemTime};

/// The number of the clock's origin. Deadlines up to nine years before it keep their order; an
/// earlier one counts as nine years.
const ORIGIN_NS: u64 = 1 << 58;

/// Where a loop reads the time.
pub(crate) enum TimeSource {
    /// The system's clock, which nearly every loop has, by its number: read without a dynamic call,
    /// and one subtraction makes the loop's time of it.
    System {
        clock: Monotonic,
        zero_ns: u64,
    },
    Other(Box<dyn Clock>),
}

impl TimeSource {
    /// The system's monotonic clock.
    pub(crate) fn system() -> Self {
        let clock = Monotonic::new();
        match clock.origin_ns() {
            Some(origin_ns) => Self::System {
                clock,
                zero_ns: origin_ns.wrapping_sub(ORIGIN_NS),
            },
            None => Self::Other(Box::new(clock)),
        }
    }

    /// The time, on the scale of [`ORIGIN_NS`].
    #[inline]
    fn now_ns(&self) -> u64 {
        match self {
            // The system counts less than 2⁶³ ns, so this is far from the end of the scale.
            Self::System { zero_ns, .. } => monotonic_ns().wrapping_sub(*zero_ns),
            Self::Other(clock) => clock.now_ns().saturating_add(ORIGIN_NS).min(LAST),
        }
    }

    fn clock(&self) -> &dyn Clock {
        match self {
            Self::System { clock, .. } => clock,
            Self::Other(clock) => &**clock,
        }
    }
}

/// The clock and the armed timers of a loop; a timer that is due returns its `A`.
pub(super) struct LoopTime<A> {
    clock: TimeSource,
    pub(super) timers: RefCell<Timers<A>>,
    /// The latest reading: if the clock steps back, this is returned instead (R073).
    latest_ns: Cell<u64>,
    /// The time of this turn, once it was read.
    turn_ns: Cell<Option<u64>>,
}

impl<A> LoopTime<A> {
    pub(super) fn new(clock: TimeSource) -> Self {
        let timers = RefCell::default();
        Self {
            clock,
            timers,
            latest_ns: Cell::new(ORIGIN_NS),
            turn_ns: Cell::new(None),
        }
    }

    /// The present time.
    #[inline]
    pub(super) fn fresh_ns(&self) -> u64 {
        let now = self.clock.now_ns();
        let now = now.max(self.latest_ns.get());
        self.latest_ns.set(now);
        now
    }

    /// The time of this turn, which is read at its first use.
    pub(super) fn turn_ns(&self) -> u64 {
        let now = self.turn_ns.get().unwrap_or_else(|| self.fresh_ns());
        self.turn_ns.set(Some(now));
        now
    }

    /// Begins a turn, whose time is read at its first use. L5: a timer that is armed from here on,
    /// also by a callback of an event, fires in a later one.
    #[inline]
    pub(super) fn begin_round(&self) {
        self.timers.borrow_mut().begin_round();
        self.begin_round_without_timers();
    }

    /// Begins a round in which no timer is armed: only the time changes.
    #[inline]
    pub(super) fn begin_round_without_timers(&self) {
        self.turn_ns.set(None);
    }

    /// The next deadline; timers that are armed for never do not count.
    #[inline]
    pub(super) fn next_ns(&self) -> Option<u64> {
        let next_ns = self.timers.borrow_mut().next_ns();
        next_ns.filter(|&next_ns| next_ns != NEVER)
    }

    /// C5: how long the loop may sleep, `None` for ever.
    #[inline]
    pub(super) fn until_next(&self) -> Option<Duration> {
        let next_ns = self.next_ns()?;
        Some(Duration::from_nanos(
            next_ns.saturating_sub(self.fresh_ns()),
        ))
    }

    /// The present time of day.
    pub(super) fn system_now(&self) -> SystemTime {
        self.clock.clock().system_now()
    }

    /// The time after `delay`, counted from now.
    #[inline(always)]
    pub(super) fn deadline_ns(&self, delay: Duration) -> u64 {
        self.fresh_ns().saturating_add(nanos(delay))
    }

    pub(super) fn len(&self) -> usize {
        self.timers.borrow().len()
    }

    pub(super) fn pop_any(&self) -> Option<A> {
        self.timers.borrow_mut().pop_any()
    }

    pub(super) fn verify(&self) {
        self.timers.borrow().verify();
    }

    pub(super) fn instant(&self, at_ns: u64) -> Instant {
        let origin = self.clock.clock().origin();
        let instant = match at_ns.checked_sub(ORIGIN_NS) {
            Some(since) => origin.checked_add(Duration::from_nanos(since)),
            None => origin.checked_sub(Duration::from_nanos(ORIGIN_NS - at_ns)),
        };
        instant.expect("an instant holds 575 years more, and an earlier one was made by the caller")
    }

    pub(super) fn at_ns(&self, when: Instant) -> u64 {
        let origin = self.clock.clock().origin();
        match when.checked_duration_since(origin) {
            Some(since) => nanos(since).saturating_add(ORIGIN_NS),
            None => ORIGIN_NS.saturating_sub(nanos(origin.saturating_duration_since(when))),
        }
    }
}

/// The first multiple of `step`, counted from the clock's origin, that is not before `at_ns`: later
/// by less than `step`. A deadline before the origin has passed, and is returned unchanged.
pub(super) fn round_up(at_ns: u64, step: u64) -> u64 {
    match at_ns.checked_sub(ORIGIN_NS) {
        Some(since) if step != 0 => {
            let rounded = since.div_ceil(step).saturating_mul(step);
            rounded.saturating_add(ORIGIN_NS)
        }
        _ => at_ns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C8: never earlier, and later by less than the slack.
    #[test]
    fn rounding_up_is_never_early_and_later_by_less_than_the_slack() {
        for since in 0..100 {
            let at = ORIGIN_NS + since;
            assert_eq!(round_up(at, 0), at);
            for slack in 1..20 {
                let rounded = round_up(at, slack);
                assert!(rounded >= at && rounded - at < slack);
                assert_eq!((rounded - ORIGIN_NS) % slack, 0);
            }
        }
        assert_eq!(round_up(ORIGIN_NS - 1, 7), ORIGIN_NS - 1, "it has passed");
        assert_eq!(round_up(NEVER, 7), NEVER);
        assert_eq!(round_up(NEVER - 1, NEVER), NEVER);
    }
}
