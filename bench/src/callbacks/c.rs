//! Loops that are written in C: `c/uv.c` and `c/ev.c`, behind the traits.
//!
//! Both of them count time from the beginning of a turn, so their timers may be early.
#![allow(unsafe_code)] // there is no other way into C

use super::{Callbacks, Timed};
use std::ffi::c_void;
use std::ptr::NonNull;
use std::time::Duration;

fn nanos(delays: &[Duration]) -> Vec<u64> {
    delays.iter().map(|delay| delay.as_nanos() as u64).collect()
}

macro_rules! in_c {
    ($peer:ident, $name:literal, $new:ident, $free:ident, $soon:ident, $chain:ident,
     $cancelled:ident, $fired:ident, $late:ident) => {
        unsafe extern "C" {
            fn $new() -> *mut c_void;
            fn $free(peer: *mut c_void);
            fn $soon(peer: *mut c_void, n: u64);
            fn $chain(peer: *mut c_void, n: u64);
            fn $cancelled(peer: *mut c_void, delays: *const u64, n: u64);
            fn $fired(peer: *mut c_void, delays: *const u64, n: u64);
            fn $late(peer: *mut c_void, delays: *const u64, n: u64, late: *mut i64);
        }

        /// Made by its own `new`, freed by nobody but `drop`.
        pub struct $peer(NonNull<c_void>);

        impl Drop for $peer {
            fn drop(&mut self) {
                // SAFETY: it is of `new`, and this is the last that is done with it.
                unsafe { $free(self.0.as_ptr()) }
            }
        }

        impl Callbacks for $peer {
            const NAME: &'static str = $name;

            fn new() -> Self {
                // SAFETY: it asks for nothing.
                Self(NonNull::new(unsafe { $new() }).expect("memory"))
            }

            fn soon(&mut self, n: u64) {
                // SAFETY: it is of `new`, and ours alone.
                unsafe { $soon(self.0.as_ptr(), n) }
            }

            fn chain(&mut self, n: u64) {
                // SAFETY: as above.
                unsafe { $chain(self.0.as_ptr(), n) }
            }
        }

        impl Timed for $peer {
            fn armed_and_cancelled(&mut self, delays: &[Duration]) {
                let delays = nanos(delays);
                // SAFETY: as above; there are so many delays, and they are only read.
                unsafe { $cancelled(self.0.as_ptr(), delays.as_ptr(), delays.len() as u64) }
            }

            fn armed_and_fired(&mut self, delays: &[Duration]) {
                let delays = nanos(delays);
                // SAFETY: as above.
                unsafe { $fired(self.0.as_ptr(), delays.as_ptr(), delays.len() as u64) }
            }

            fn armed_and_late(&mut self, delays: &[Duration]) -> Vec<i64> {
                let (delays, mut late) = (nanos(delays), vec![0; delays.len()]);
                let n = delays.len() as u64;
                // SAFETY: as above; there is room for as many answers, and none is written
                // once this has returned.
                unsafe { $late(self.0.as_ptr(), delays.as_ptr(), n, late.as_mut_ptr()) }
                late
            }
        }
    };
}

#[cfg(has_uv)]
in_c!(
    Uv,
    "libuv",
    calls_uv_new,
    calls_uv_free,
    calls_uv_soon,
    calls_uv_chain,
    calls_uv_cancelled,
    calls_uv_fired,
    calls_uv_late
);

#[cfg(has_ev)]
in_c!(
    Ev,
    "libev",
    calls_ev_new,
    calls_ev_free,
    calls_ev_soon,
    calls_ev_chain,
    calls_ev_cancelled,
    calls_ev_fired,
    calls_ev_late
);
