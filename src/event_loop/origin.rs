//! Who was running: for reports of a panic, or of a callback that takes too long.
//!
//! A message without a place is of no use in a program with a thousand callbacks. So each
//! registration, timer, closure and task remembers the line that made it, which costs a pointer.
//!
//! In asyncio this is the *source traceback* of its debug mode.

use super::classify::Branch;
use std::fmt;
use std::net::SocketAddr;
use std::panic::Location;
use std::rc::Rc;

/// Who was running, and where it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A callback of a registration.
    Callback {
        /// Which of them.
        branch: Branch,
        /// Where it was registered.
        site: &'static Location<'static>,
    },
    /// A callback of an accepted connection.
    Accepted {
        /// Which of them.
        branch: Branch,
        /// Where its listener was registered ([`LoopHandle::listen`](crate::LoopHandle::listen)), or the
        /// connection itself ([`Cx::register_accepted`](crate::Cx::register_accepted)).
        site: &'static Location<'static>,
        /// The other end.
        peer: SocketAddr,
    },
    /// A closure of `call_soon`, also from another thread.
    Closure {
        /// Where it was handed in.
        site: &'static Location<'static>,
    },
    /// A closure of `call_later` or `call_at`.
    Timer {
        /// Where it was armed.
        site: &'static Location<'static>,
    },
    /// A task.
    Task {
        /// Its name.
        name: Rc<str>,
        /// Where it was spawned.
        site: &'static Location<'static>,
    },
    /// The future that a [`run`](crate::run()) is for.
    Main {
        /// Where [`run`](crate::run()) was called; `None` if it is not known.
        site: Option<&'static Location<'static>>,
    },
    /// A destructor, or somebody's waker.
    Other,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Callback { branch, site } => {
                write!(f, "the {} callback registered at {site}", branch.name())
            }
            Self::Accepted { branch, site, peer } => {
                let name = branch.name();
                write!(
                    f,
                    "the {name} callback of the connection from {peer}, registered at {site}"
                )
            }
            Self::Closure { site } => write!(f, "the closure queued at {site}"),
            Self::Timer { site } => write!(f, "the timer armed at {site}"),
            Self::Task { name, site } => write!(f, "{name}, spawned at {site}"),
            Self::Main { site: Some(site) } => write!(f, "the main future, run at {site}"),
            Self::Main { site: None } => f.write_str("the main future"),
            Self::Other => f.write_str("a destructor or a waker"),
        }
    }
}
