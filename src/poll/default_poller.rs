//! Selects the poller of this system. No other file of this crate depends on which system it is.
//!
//! Every other file here is compiled as a whole or not at all, and all pollers define the
//! same functions in the same order, so that two of them can be read side by side.
//!
//! In the notes this is "epoll on Linux, kqueue on macOS, and so on for others" ([N2]).
//!
//! [N2]: crate::book#n2

use std::ffi::OsString;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;
use std::time::Duration;

use super::choice::{self, Make, VARIABLE};
use super::{Event, Poller};

#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "epoll.rs"]
mod epoll;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub use epoll::EpollPoller;

/// The kqueue of `readily_testing::emulated`, for `.ci/kqueue-on-linux`.
#[doc(hidden)]
#[cfg(all(readily_emulated, target_os = "linux"))]
#[path = "../../testing/src/emulated/mod.rs"]
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
pub use kqueue::SystemKqueue;

#[cfg(any(target_os = "linux", target_os = "android"))]
/// The best poller of this system: epoll on Linux and Android, kqueue on macOS, iOS and the BSDs,
/// `poll(2)` elsewhere.
///
/// Each has `SystemPoller::new() -> io::Result<SystemPoller>`, and can be sent to another thread.
/// Unlike [`default`], it does not look at `READILY_POLLER`, and its calls are not dynamic.
pub type SystemPoller = EpollPoller;
#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
))]
/// The best poller of this system: kqueue.
///
/// It is made by `SystemPoller::new()`, and can be sent to another thread. Unlike [`default`], it
/// does not look at `READILY_POLLER`, and its calls are not dynamic.
pub type SystemPoller = super::kqueue::KqueuePoller<SystemKqueue>;
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
)))]
/// The best poller of this system: `poll(2)`.
///
/// It is made by `SystemPoller::new()`, and can be sent to another thread. Unlike [`default`], it
/// does not look at `READILY_POLLER`, and its calls are not dynamic.
pub type SystemPoller = super::poll2::PollPoller;

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
    ("kqueue", || Ok(Box::new(SystemPoller::new()?))),
    #[cfg(all(readily_emulated, target_os = "linux"))]
    ("kqueue-apple", || {
        Ok(Box::new(emulated::poller(
            readily_sys::kq_abi::Personality::Apple,
        )?))
    }),
    #[cfg(all(readily_emulated, target_os = "linux"))]
    ("kqueue-freebsd", || {
        Ok(Box::new(emulated::poller(
            readily_sys::kq_abi::Personality::FreeBsd,
        )?))
    }),
    #[cfg(all(readily_emulated, target_os = "linux"))]
    ("kqueue-netbsd", || {
        Ok(Box::new(emulated::poller(
            readily_sys::kq_abi::Personality::NetBsd,
        )?))
    }),
    ("poll", || Ok(Box::new(super::poll2::PollPoller::new()?))),
];

/// Makes the best poller of this system, or the one that `READILY_POLLER` names.
///
/// The variable `READILY_POLLER` may name another poller for a whole program, to test the program on
/// it: `epoll` or `poll` on Linux, `kqueue` or `poll` on a BSD. The variable is read once. It is
/// ignored by a program that runs with more rights than its caller has (set-user-id, capabilities), and
/// where a poller is passed to [`EventLoop::with`](crate::EventLoop::with).
///
/// `kqueue-apple`, `kqueue-freebsd` and `kqueue-netbsd` are the rules of a kqueue over Linux's own
/// descriptors, by the crate `readily-testing` (`readily_testing::emulated`). A program passes that
/// poller to [`EventLoop::with`](crate::EventLoop::with). Only in a checkout of the sources, and built
/// with `--cfg readily_emulated`, this function makes them by name.
///
/// # Errors
///
/// Too many descriptors, or no memory; `InvalidInput` for an unknown name, with a list of the known
/// ones.
pub fn default() -> io::Result<Box<dyn Poller>> {
    match named()? {
        Some(make) => make(),
        None => Ok(Box::new(SystemPoller::new()?)),
    }
}

/// The function that makes the poller that the environment names, if it names one.
fn named() -> io::Result<Option<Make>> {
    static NAME: OnceLock<Option<OsString>> = OnceLock::new();
    let name =
        NAME.get_or_init(|| std::env::var_os(VARIABLE).filter(|_| !readily_sys::is_secure()));
    choice::choose(name.as_deref(), NAMED)
}

/// The poller of a loop. That of the system is called without dynamic dispatch.
pub(crate) enum LoopPoller {
    System(SystemPoller),
    Other(Box<dyn Poller>),
}

impl LoopPoller {
    /// Makes the poller of [`default`].
    pub(crate) fn new() -> io::Result<Self> {
        Ok(match named()? {
            Some(make) => Self::Other(make()?),
            None => Self::System(SystemPoller::new()?),
        })
    }

    /// [`Poller::wait`], which each turn calls. The other methods are called through `Deref`. Whether the
    /// wait was notified, the loop's inbox knows.
    #[inline]
    pub(crate) fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        match self {
            Self::System(poller) => poller.wait(events, timeout).map(drop),
            Self::Other(poller) => poller.wait(events, timeout).map(drop),
        }
    }
}

impl Deref for LoopPoller {
    type Target = dyn Poller;

    #[inline]
    fn deref(&self) -> &Self::Target {
        match self {
            Self::System(poller) => poller,
            Self::Other(poller) => &**poller,
        }
    }
}

impl DerefMut for LoopPoller {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Self::System(poller) => poller,
            Self::Other(poller) => &mut **poller,
        }
    }
}
