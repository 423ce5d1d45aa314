//! The conformance suite on each poller of `readily`.
//!
//! The suite is public (`readily_testing::conformance`), and the macro makes a test of each promise:
//! a failure is reported as `epoll::a_level_event_repeats_until_drained`. This file adds the promise
//! about signals, which needs a process of its own, and broken pollers that the suite must detect.
//!
//! In the notes: what the operating system offers to the loop (N2).

// Sends a signal with `pthread_kill`, and makes a descriptor that survives `exec`.
#![allow(unsafe_code)]

#[path = "conformance/broken.rs"]
mod broken;
#[path = "conformance/signals.rs"]
mod signals;

use readily::poll::poll2::PollPoller;
use readily_testing::conformance::Fixture;
use readily_testing::poller_conformance;
use readily_testing::{Kernel, Personality};

#[cfg(any(target_os = "linux", target_os = "android"))]
use readily::poll::default_poller::EpollPoller;
#[cfg(any(target_os = "linux", target_os = "android"))]
poller_conformance! { epoll => EpollPoller::new().unwrap() }

#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
))]
poller_conformance! { kqueue => {
    let poller = readily::poll::kqueue::KqueuePoller::new().unwrap();
    Fixture::new(poller)
} }

poller_conformance! { portable => PollPoller::new().unwrap() }

poller_conformance! { sim => {
    let kernel = Kernel::new();
    Fixture::on(kernel.clone(), kernel.poller())
} }

/// The kqueue poller over a simulated kqueue.
fn kqueue_as_on(system: Personality) -> Fixture {
    let kernel = Kernel::new();
    Fixture::on(kernel.clone(), kernel.kqueue(system))
}

poller_conformance! { kqueue_as_on_freebsd => kqueue_as_on(Personality::FreeBsd) }

poller_conformance! { kqueue_as_on_macos => kqueue_as_on(Personality::Apple) }

poller_conformance! { kqueue_as_on_netbsd => kqueue_as_on(Personality::NetBsd) }

/// The kqueue poller over an emulated kqueue of Linux's descriptors.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn emulated(system: Personality) -> Fixture {
    let poller = readily_testing::emulated::poller(system).unwrap();
    Fixture::new(poller)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
poller_conformance! { emulated_as_on_freebsd => emulated(Personality::FreeBsd) }

#[cfg(any(target_os = "linux", target_os = "android"))]
poller_conformance! { emulated_as_on_macos => emulated(Personality::Apple) }

#[cfg(any(target_os = "linux", target_os = "android"))]
poller_conformance! { emulated_as_on_netbsd => emulated(Personality::NetBsd) }
