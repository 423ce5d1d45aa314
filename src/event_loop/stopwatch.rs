//! The stopwatch of debug mode: how long the calls of a turn took, and which of them are reported.
//!
//! The time is an argument, so nothing here reads a clock. Many calls may be slow together though
//! none of them is: the turn is reported then, with the longest of them.
//!
//! In asyncio: `loop.slow_callback_duration`.

use super::origin::Origin;
use super::report::Unhandled;
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// A call that takes this long is reported, unless another limit is set; as in asyncio.
const SLOW: Duration = Duration::from_millis(100);

/// The calls of this turn that were timed.
pub(super) struct Stopwatch {
    /// Whether calls are timed.
    pub(super) on: Cell<bool>,
    /// The duration from which a call, or the calls of a turn, are slow.
    pub(super) slow: Cell<Duration>,
    /// The calls of this turn that were not slow: their number, their total time, and the longest.
    calls: Cell<u32>,
    total: Cell<Duration>,
    longest: RefCell<Option<(Duration, Origin)>>,
}

impl Default for Stopwatch {
    fn default() -> Self {
        Self {
            on: Cell::new(false),
            slow: Cell::new(SLOW),
            calls: Cell::new(0),
            total: Cell::new(Duration::ZERO),
            longest: RefCell::new(None),
        }
    }
}

impl Stopwatch {
    /// Turns it on or off.
    pub(super) fn set(&self, on: bool) {
        self.on.set(on);
        // The counts of a turn in which it is turned off must not add to a later one.
        self.calls.set(0);
        self.total.set(Duration::ZERO);
        self.longest.take();
    }

    /// Adds a call; returns a report if it was slow.
    pub(super) fn add_call(&self, took: Duration, origin: Origin) -> Option<Unhandled> {
        if took >= self.slow.get() {
            return Some(Unhandled::Slow { origin, took });
        }
        self.calls.set(self.calls.get() + 1);
        self.total.set(self.total.get() + took);
        let mut longest = self.longest.borrow_mut();
        if longest.as_ref().is_none_or(|(longest, _)| took > *longest) {
            *longest = Some((took, origin));
        }
        None
    }

    /// Ends the turn; returns a report if its calls were slow together.
    pub(super) fn end_turn(&self) -> Option<Unhandled> {
        let (calls, took) = (self.calls.take(), self.total.take());
        let (_, longest) = self.longest.take()?;
        (took >= self.slow.get() && calls > 1).then_some(Unhandled::SlowTurn {
            took,
            calls,
            longest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_are_slow_together_are_reported_with_the_longest() {
        let stopwatch = Stopwatch::default();
        stopwatch.slow.set(Duration::from_millis(10));
        let add = |ms, site| {
            let origin = Origin::Main { site };
            stopwatch.add_call(Duration::from_millis(ms), origin)
        };
        let here = Some(std::panic::Location::caller());
        assert!(matches!(add(10, None), Some(Unhandled::Slow { .. })));
        assert!(add(9, None).is_none() && stopwatch.end_turn().is_none());
        assert!(add(1, None).is_none() && add(7, here).is_none());
        assert!(stopwatch.end_turn().is_none(), "8 ms, in two calls");
        assert!(add(3, None).is_none() && add(7, here).is_none());
        let Some(Unhandled::SlowTurn {
            took,
            calls,
            longest,
        }) = stopwatch.end_turn()
        else {
            panic!("10 ms, in two calls");
        };
        assert_eq!((took, calls), (Duration::from_millis(10), 2));
        assert_eq!(longest, Origin::Main { site: here });
        assert!(add(9, None).is_none());
        stopwatch.set(false);
        assert!(add(9, None).is_none() && stopwatch.end_turn().is_none());
    }
}
