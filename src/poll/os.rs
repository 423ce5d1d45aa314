//! Picks the poller of this system: the one place in this crate that asks which it is.
//!
//! Every other file here is compiled as a whole or not at all, and all pollers define the
//! same functions in the same order, so that two of them can be read side by side.
//!
//! In the notes this is "epoll on Linux, kqueue on macOS, and so on for others" (N2).

use std::io;

use super::Poller;

#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "epoll.rs"]
mod epoll;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub use epoll::EpollPoller;

#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
    all(target_os = "linux", readily_kqueue_extern),
))]
#[path = "kqueue/system.rs"]
mod kqueue;
#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
    all(target_os = "linux", readily_kqueue_extern),
))]
pub use kqueue::SystemQueue;

#[cfg(any(target_os = "linux", target_os = "android"))]
type Best = EpollPoller;
#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
))]
type Best = super::kqueue::KqueuePoller<SystemQueue>;
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
)))]
type Best = super::portable::PollPoller;

/// Makes the best poller that this system has.
///
/// # Errors
///
/// Too many descriptors, or no memory.
pub fn default() -> io::Result<Box<dyn Poller>> {
    Ok(Box::new(Best::new()?))
}
