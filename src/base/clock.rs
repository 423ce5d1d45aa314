//! The clocks of a loop: the system's monotonic clock, and one that a test advances.
//!
//! All code reads the time from a [`Clock`], so that in a test the time can stand still,
//! jump, or pass three centuries in a millisecond. The loop's own arithmetic is on
//! `u64` nanoseconds, and saturates: 2⁶⁴ ns are 584 years, and a
//! deadline beyond them is "never" ([R066]), not a panic and not "now".
//!
//! In the notes: the *timers* of "I/O, timers and callbacks" ([N1]).
//!
//! [R066]: crate::book::faults#r066
//! [N1]: crate::book#n1

use readily_sys::clock;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A deadline that is never reached.
pub const NEVER: u64 = u64::MAX;

/// The last moment that can be reached: what is due at [`NEVER`] is not due then.
pub const LAST: u64 = NEVER - 1;

/// Where the time comes from.
pub trait Clock {
    /// Nanoseconds since the clock's origin. The caller clamps a clock that steps back.
    fn now_ns(&self) -> u64;

    /// The moment at which [`Clock::now_ns`] was zero.
    fn origin(&self) -> Instant;

    /// The wall-clock time, a time that may be set, forward and back. A clock that
    /// knows none counts from 1970, so that a simulated run stays deterministic.
    fn system_now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.now_ns())
    }
}

/// `duration` in nanoseconds, [`NEVER`] if that does not fit.
#[must_use]
#[inline]
pub fn nanos(duration: Duration) -> u64 {
    const SECOND: u64 = 1_000_000_000;
    if duration.as_secs() < NEVER / SECOND {
        // One multiplication; a sum of `u128`s, or of checked parts, takes several times as much.
        duration.as_secs() * SECOND + u64::from(duration.subsec_nanos())
    } else {
        u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
    }
}

/// The system's monotonic clock. It stands still while the machine is suspended.
#[derive(Clone, Copy, Debug)]
pub struct Monotonic {
    origin: Instant,
    /// The system's count at the origin, where it is known. A difference of two counts is cheaper
    /// than one of two instants, and each timer needs one.
    origin_ns: Option<u64>,
}

impl Monotonic {
    /// The number of [`clock::monotonic_ns`] at the origin; `None` where it cannot be found.
    pub(crate) fn origin_ns(&self) -> Option<u64> {
        self.origin_ns
    }

    /// A clock whose origin is now.
    #[must_use]
    pub fn new() -> Self {
        let (origin, origin_ns) = clock::instant_and_ns();
        Self { origin, origin_ns }
    }
}

impl Default for Monotonic {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for Monotonic {
    #[inline]
    fn now_ns(&self) -> u64 {
        // `saturating`: some hypervisors have let the monotonic clock step back (R073).
        match self.origin_ns {
            Some(origin_ns) => clock::monotonic_ns().saturating_sub(origin_ns),
            None => nanos(instant_now().saturating_duration_since(self.origin)),
        }
    }

    fn origin(&self) -> Instant {
        self.origin
    }

    fn system_now(&self) -> SystemTime {
        wall_now()
    }
}

/// The one place where the clock on the wall is read.
#[allow(clippy::disallowed_methods)]
fn wall_now() -> SystemTime {
    SystemTime::now()
}

/// The one place where the real clock is read.
#[allow(clippy::disallowed_methods)]
fn instant_now() -> Instant {
    Instant::now()
}

/// A clock that is moved by hand. Clones share one time.
#[derive(Clone, Debug)]
pub struct Manual {
    origin: Instant,
    now_ns: Rc<Cell<u64>>,
    /// What the wall said when the time was zero.
    wall: Rc<Cell<SystemTime>>,
}

impl Manual {
    /// A clock that stands at zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            origin: instant_now(),
            now_ns: Rc::default(),
            wall: Rc::new(Cell::new(UNIX_EPOCH)),
        }
    }

    /// Moves the time forward by `by`; it stops at the end of time.
    pub fn advance(&self, by: Duration) {
        self.now_ns.set(self.now_ns.get().saturating_add(nanos(by)));
    }

    /// Sets the time, backwards too: hypervisors do it, so tests must be able to.
    pub fn set_ns(&self, now_ns: u64) {
        self.now_ns.set(now_ns);
    }

    /// Sets the clock on the wall, forward or back; it goes on from there with the time. Before
    /// that it counts from 1970.
    pub fn set_system(&self, now: SystemTime) {
        let since = Duration::from_nanos(self.now_ns.get());
        self.wall.set(now.checked_sub(since).unwrap_or(UNIX_EPOCH));
    }
}

impl Default for Manual {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for Manual {
    fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn origin(&self) -> Instant {
        self.origin
    }

    fn system_now(&self) -> SystemTime {
        let wall = self.wall.get();
        let since = Duration::from_nanos(self.now_ns.get());
        wall.checked_add(since).unwrap_or(wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_beyond_the_end_of_time_is_never() {
        assert_eq!(nanos(Duration::MAX), NEVER);
        assert_eq!(nanos(Duration::from_nanos(1)), 1);
        assert_eq!(nanos(Duration::from_nanos(LAST)), LAST);
        assert_eq!(
            nanos(Duration::from_nanos(NEVER) + Duration::from_nanos(1)),
            NEVER
        );
    }

    /// C1, for deadlines that are instants: the two ways to read it are one clock.
    #[test]
    fn the_monotonic_clock_is_that_of_the_instants() {
        let clock = Monotonic::new();
        for _ in 0..1000 {
            let before = instant_now();
            let now = clock.origin() + Duration::from_nanos(clock.now_ns());
            assert!(before <= now && now <= instant_now());
        }
    }

    #[test]
    fn the_monotonic_clock_does_not_run_backwards() {
        let clock = Monotonic::new();
        let readings: Vec<u64> = (0..1000).map(|_| clock.now_ns()).collect();
        assert!(readings.is_sorted());
    }

    #[test]
    fn clones_of_a_manual_clock_share_one_time() {
        let clock = Manual::new();
        clock.clone().advance(Duration::from_millis(3));
        assert_eq!(clock.now_ns(), 3_000_000);
        clock.advance(Duration::MAX);
        assert_eq!(clock.now_ns(), NEVER);
    }

    #[test]
    fn the_wall_is_set_forward_and_back_and_goes_on_with_the_time() {
        let clock = Manual::new();
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.system_now(), UNIX_EPOCH + Duration::from_secs(5));
        for at in [9_000, 3_000] {
            let at = UNIX_EPOCH + Duration::from_secs(at);
            clock.clone().set_system(at);
            assert_eq!(clock.system_now(), at);
            clock.advance(Duration::from_secs(1));
            assert_eq!(clock.system_now(), at + Duration::from_secs(1));
        }
    }
}
