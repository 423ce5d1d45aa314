//! The monotonic clock, as a number.
//!
//! `Instant` reads the same clock, but gives only differences, each by two calls that are not
//! inlined. An event loop computes in nanoseconds, so this module reads the number itself, and finds
//! the difference to `Instant` once.
//!
//! In the notes this is the *timers* of "I/O, timers and callbacks" (N1).

use std::time::{Duration, Instant};

const SECOND_NS: u64 = 1_000_000_000;

/// `CLOCK_MONOTONIC` in nanoseconds; from when they count is the system's business.
#[must_use]
#[inline]
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a live local, which the kernel fills, or leaves if it does not know the
    // clock; POSIX has every system know it that has timers.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    (now.tv_sec as u64)
        .wrapping_mul(SECOND_NS)
        .wrapping_add(now.tv_nsec as u64)
}

/// An [`Instant`], and what [`monotonic_ns`] was then, exactly; `None` where `Instant` reads
/// another clock, or keeps it in another way than is known here.
#[must_use]
#[allow(clippy::disallowed_methods)] // the system's clock is read here
pub fn instant_and_ns() -> (Instant, Option<u64>) {
    let before = monotonic_ns();
    let instant = Instant::now();
    let after = monotonic_ns();
    // That it lies between two readings a hundred nanoseconds apart is no accident.
    let ns = since_least(instant).filter(|ns| (before..=after).contains(ns));
    (instant, ns)
}

/// Nanoseconds since zero, of an instant that counts seconds in an `i64`: by how much it is later
/// than the least that there is, 2⁶³ seconds before zero.
fn since_least(instant: Instant) -> Option<u64> {
    let mut most = Duration::ZERO;
    for bit in (0..94).rev() {
        let step = match bit < 30 {
            true => Duration::from_nanos(1 << bit),
            false => Duration::from_secs(1 << (bit - 30)),
        };
        let more = most.checked_add(step);
        if let Some(more) = more.filter(|&more| instant.checked_sub(more).is_some()) {
            most = more;
        }
    }
    let seconds = most.as_secs().checked_sub(1 << 63)?;
    let ns = seconds.checked_mul(SECOND_NS)?;
    ns.checked_add(u64::from(most.subsec_nanos()))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // see above
mod tests {
    use super::*;

    #[test]
    fn the_number_goes_on_as_the_instant_does() {
        let (origin, Some(ns)) = instant_and_ns() else {
            assert_ne!(std::env::consts::OS, "linux", "Linux has one clock");
            return;
        };
        for _ in 0..1_000 {
            let before = monotonic_ns();
            let between = origin.elapsed().as_nanos() as u64 + ns;
            let after = monotonic_ns();
            assert!((before..=after).contains(&between));
        }
    }
}
