//! Direct reads of the system's clocks: std adds arithmetic, and rustix cannot read them under valgrind.
//!
//! Work is measured in CPU time of the process, which other processes do not affect. Waiting is
//! measured in wall time.
#![allow(unsafe_code)] // two clock reads

use std::time::Duration;

fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes to `now`, which outlives the call.
    unsafe { libc::clock_gettime(clock, &mut now) };
    now
}

/// Returns the nanoseconds since an arbitrary fixed moment.
pub fn monotonic_ns() -> u64 {
    let now = read(libc::CLOCK_MONOTONIC);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Returns the CPU time that all threads of this process have used.
pub fn worked() -> Duration {
    let now = read(libc::CLOCK_PROCESS_CPUTIME_ID);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
