//! Picks the poller of this system: the one place in this crate that asks which it is.
//!
//! Every other file here is compiled as a whole or not at all, and all pollers define the
//! same functions in the same order, so that two of them can be read side by side.
//!
//! In the notes this is "epoll on Linux, kqueue on macOS, and so on for others" ([N2]).
//!
//! [N2]: crate::book#n2

use std::ffi::OsString;
use std::io;
use std::sync::OnceLock;

#[cfg(any(target_os = "linux", target_os = "android"))]
use readily_sys::kq_abi::Personality;

use super::Poller;
use super::choice::{self, Make, VARIABLE};

#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "epoll.rs"]
mod epoll;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub use epoll::EpollPoller;

#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "emulated/mod.rs"]
pub mod emulated;

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

/// The pollers that [`VARIABLE`] may name.
const NAMED: &[(&str, Make)] = &[
    #[cfg(any(target_os = "linux", target_os = "android"))]
    ("epoll", || Ok(Box::new(EpollPoller::new()?))),
    #[cfg(any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly",
    ))]
    ("kqueue", || Ok(Box::new(Best::new()?))),
    #[cfg(any(target_os = "linux", target_os = "android"))]
    ("kqueue-apple", || emulated::boxed(Personality::Apple)),
    #[cfg(any(target_os = "linux", target_os = "android"))]
    ("kqueue-freebsd", || emulated::boxed(Personality::FreeBsd)),
    #[cfg(any(target_os = "linux", target_os = "android"))]
    ("kqueue-netbsd", || emulated::boxed(Personality::NetBsd)),
    ("poll", || Ok(Box::new(super::portable::PollPoller::new()?))),
];

/// Makes the best poller of this system, or the one that `READILY_POLLER` names.
///
/// The variable `READILY_POLLER` may name another poller for a whole program, to test the program on
/// it: `epoll`, `poll`, and on Linux `kqueue-apple`, `kqueue-freebsd` and `kqueue-netbsd`, which
/// follow [`EmulatedQueue`](super::os::emulated::EmulatedQueue)'s rules; on a BSD `kqueue` and
/// `poll`. The variable is read once. It is ignored by a program that runs with more rights than its
/// caller has (set-user-id, capabilities), and where a poller is passed to
/// [`EventLoop::with`](crate::EventLoop::with).
///
/// # Errors
///
/// Too many descriptors, or no memory; `InvalidInput` for an unknown name, with a list of the known
/// ones.
pub fn default() -> io::Result<Box<dyn Poller>> {
    static NAME: OnceLock<Option<OsString>> = OnceLock::new();
    let name =
        NAME.get_or_init(|| std::env::var_os(VARIABLE).filter(|_| !readily_sys::is_secure()));
    match choice::choose(name.as_deref(), NAMED)? {
        Some(make) => make(),
        None => Ok(Box::new(Best::new()?)),
    }
}
