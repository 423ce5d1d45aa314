//! The callback loops in C, `c/uv.c`, `c/ev.c` and `c/event.c`, as implementations of the traits.
//!
//! Their timers may fire early: libuv and libev measure a delay from the start of the turn, libevent
//! with a coarse clock.
#![allow(unsafe_code)] // calls C

use super::{Callbacks, Timed, Watching};
use std::ffi::c_void;
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr::NonNull;
use std::time::Duration;

fn nanos(delays: &[Duration]) -> Vec<u64> {
    delays.iter().map(|delay| delay.as_nanos() as u64).collect()
}

macro_rules! in_c {
    ($peer:ident, $name:literal, $new:ident, $free:ident, $soon:ident, $chain:ident,
     $cancelled:ident, $fired:ident, $late:ident, $watch:ident) => {
        unsafe extern "C" {
            fn $new() -> *mut c_void;
            fn $free(peer: *mut c_void);
            fn $soon(peer: *mut c_void, n: u64);
            fn $chain(peer: *mut c_void, n: u64);
            fn $cancelled(peer: *mut c_void, delays: *const u64, n: u64);
            fn $fired(peer: *mut c_void, delays: *const u64, n: u64);
            fn $late(peer: *mut c_void, delays: *const u64, n: u64, late: *mut i64);
            fn $watch(peer: *mut c_void, fds: *const RawFd, n: u64);
        }

        /// Created by the library's `new`, and freed only by `drop`.
        pub struct $peer(NonNull<c_void>);

        impl Drop for $peer {
            fn drop(&mut self) {
                // SAFETY: the pointer is from `new`, and is not used after this.
                unsafe { $free(self.0.as_ptr()) }
            }
        }

        impl Callbacks for $peer {
            const NAME: &'static str = $name;

            fn new() -> Self {
                // SAFETY: the function has no preconditions.
                Self(NonNull::new(unsafe { $new() }).expect("memory is available"))
            }

            fn soon(&mut self, n: u64) {
                // SAFETY: the pointer is from `new`, and `self` is borrowed mutably.
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
                // SAFETY: as above; the pointer and length are those of `delays`, which is only read.
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
                // SAFETY: as above; `late` has one element for each delay, and is not written to
                // after the call has returned.
                unsafe { $late(self.0.as_ptr(), delays.as_ptr(), n, late.as_mut_ptr()) }
                late
            }
        }

        impl Watching for $peer {
            fn watch(&mut self, sockets: Vec<UnixStream>) {
                let fds: Vec<RawFd> = sockets.into_iter().map(UnixStream::into_raw_fd).collect();
                // SAFETY: as above; the pointer and length are those of `fds`, which is only read.
                // The descriptors are open, and stay so.
                unsafe { $watch(self.0.as_ptr(), fds.as_ptr(), fds.len() as u64) }
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
    calls_uv_late,
    calls_uv_watch
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
    calls_ev_late,
    calls_ev_watch
);

#[cfg(has_event)]
in_c!(
    Event,
    "libevent",
    calls_event_new,
    calls_event_free,
    calls_event_soon,
    calls_event_chain,
    calls_event_cancelled,
    calls_event_fired,
    calls_event_late,
    calls_event_watch
);
