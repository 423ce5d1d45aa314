//! The origin of a report: which callback, closure, timer or task has panicked or took too long.
//!
//! In a program with a thousand callbacks a report must name one of them. So each registration,
//! timer, closure and task stores the line that made it, which costs a pointer.
//!
//! In asyncio this is the *source traceback* of its debug mode.

use super::classify::Branch;
use std::fmt;
use std::net::SocketAddr;
use std::panic::Location;
use std::rc::Rc;

/// The callback, closure, timer or task that a report is about, and the line that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A callback of a registration.
    Callback {
        /// The branch of the callback.
        branch: Branch,
        /// Where it was registered.
        site: &'static Location<'static>,
    },
    /// A callback of an accepted connection.
    Accepted {
        /// The branch of the callback.
        branch: Branch,
        /// Where its listener was registered ([`LoopHandle::listen`](crate::LoopHandle::listen)), or the
        /// connection itself ([`Cx::register_accepted`](crate::Cx::register_accepted)).
        site: &'static Location<'static>,
        /// The address of the peer.
        peer: SocketAddr,
    },
    /// A closure of `call_soon`, also from another thread.
    Closure {
        /// Where it was queued or sent.
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
    /// The main future of a [`run`](crate::run()).
    Main {
        /// Where [`run`](crate::run()) was called; `None` if it is not known.
        site: Option<&'static Location<'static>>,
    },
    /// A destructor, or a waker.
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
