//! The system's clocks, read by hand: std's arithmetic is no limit, and rustix cannot under valgrind.
//!
//! Work is measured by what the process took of the processors, for who else runs on the machine takes
//! none of that; waiting, by the clock on the wall.
#![allow(unsafe_code)] // to read a clock, twice

use std::time::Duration;

fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes to `now`, which lives as long as the call.
    unsafe { libc::clock_gettime(clock, &mut now) };
    now
}

/// Since some moment in the past.
pub fn monotonic_ns() -> u64 {
    let now = read(libc::CLOCK_MONOTONIC);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// What all threads of this process have worked.
pub fn worked() -> Duration {
    let now = read(libc::CLOCK_PROCESS_CPUTIME_ID);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
