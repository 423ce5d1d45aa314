//! Where a server of several cores listens, and how its connections come to the cores.
//!
//! The system has two ways to share one port between several loops, and neither is both fair and safe. The
//! third way is a core that accepts, and sends connections to the others. [`Distribution`] describes the cost of each.
//!
//! In the notes: "connect ready" (N7), on more than one core (N12).

use super::error::ListenError;
use crate::event_loop::BACKLOG;
use readily_sys::socket;
use std::fmt;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::AsFd;

/// How the connections of a server come to its cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Distribution {
    /// All cores wait for one listening socket, and each connection belongs to the core that accepts it. The default.
    ///
    /// A connection never waits for a core that is blocked or has ended: another core accepts it.
    /// A busy core accepts fewer connections. But each new connection ends the wait of every idle core,
    /// and all but one of them find nothing; and connections that are not alike may be spread unevenly.
    #[default]
    Shared,
    /// Each core has a listening socket of its own on the same port (`SO_REUSEPORT`; `SO_REUSEPORT_LB` on
    /// FreeBSD). The system chooses the socket by the addresses of the connection.
    ///
    /// A new connection wakes one core only, so this costs least at a high rate of connections. But the choice is a
    /// hash: if there are few connections, all of them may go to one core. A connection waits for its core even if
    /// others are idle. And closing one of the sockets resets the connections in its queue: a core that is shut down
    /// accepts them first, and a core that panics does not.
    #[doc(alias = "SO_REUSEPORT")]
    PerCore,
    /// One core accepts, and gives the connections to all cores in turn, itself included: each core gets the same
    /// number.
    ///
    /// Each connection for another core costs a message, and the core that accepts limits the rate of connections.
    RoundRobin,
    /// One core accepts, and gives each connection to the core with the fewest open connections.
    LeastConnections,
}

/// Where a server listens (an address, or a listening socket), and how connections come to the cores.
///
/// # Examples
///
/// ```
/// use readily::cores::{Distribution, ListenOptions};
///
/// let options = ListenOptions::new(([127, 0, 0, 1], 8080)).distribution(Distribution::RoundRobin);
/// ```
#[derive(Debug)]
#[must_use = "nothing listens before it is passed to `serve` or `listen`"]
pub struct ListenOptions {
    place: Place,
    distribution: Distribution,
    acceptor: usize,
    backlog: i32,
}

#[derive(Debug)]
enum Place {
    Addr(SocketAddr),
    Listener(net::TcpListener),
}

impl ListenOptions {
    fn at(place: Place) -> Self {
        Self {
            place,
            distribution: Distribution::default(),
            acceptor: 0,
            backlog: BACKLOG,
        }
    }

    /// Listens on `addr`; port 0 takes a free one, the same for all cores.
    pub fn new(addr: impl Into<SocketAddr>) -> Self {
        Self::at(Place::Addr(addr.into()))
    }

    /// Takes a listening socket over, for instance one that a supervisor has opened. It becomes
    /// non-blocking, and stays so. Not for [`Distribution::PerCore`].
    pub fn from_listener(listener: net::TcpListener) -> Self {
        Self::at(Place::Listener(listener))
    }

    /// Sets how connections come to the cores.
    pub fn distribution(mut self, distribution: Distribution) -> Self {
        self.distribution = distribution;
        self
    }

    /// Sets the core that accepts, for [`Distribution::RoundRobin`] and [`Distribution::LeastConnections`]; 0 by
    /// default.
    pub fn acceptor(mut self, core: usize) -> Self {
        self.acceptor = core;
        self
    }

    /// Sets how many connections may wait to be accepted, by default
    /// [`BACKLOG`]; a listening socket that is taken over keeps its own. The
    /// system may limit it further.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = i32::try_from(connections).unwrap_or(i32::MAX);
        self
    }

    /// Opens the listening sockets for so many cores.
    pub(super) fn open(&self, cores: usize) -> Result<Listeners, ListenError> {
        if self.hands_out() && self.acceptor >= cores {
            let core = self.acceptor;
            return Err(ListenError::NoSuchCore { core, count: cores });
        }
        let first = match (&self.place, self.distribution) {
            (Place::Addr(addr), Distribution::PerCore) => {
                let all = socket::listen_tcp_shared(addr, self.backlog, cores);
                let all = all.map_err(|error| match error.kind() {
                    io::ErrorKind::Unsupported => ListenError::PerCoreUnsupported,
                    _ => ListenError::Io(error),
                })?;
                let all = all.into_iter().map(net::TcpListener::from);
                return Listeners::new(all.map(Some).collect());
            }
            (Place::Listener(_), Distribution::PerCore) => {
                return Err(ListenError::PerCoreListener);
            }
            (Place::Addr(addr), _) => socket::listen_tcp(addr, self.backlog)?.into(),
            (Place::Listener(listener), _) => {
                if socket::kind(listener.as_fd()) != socket::Kind::Listener {
                    return Err(ListenError::NotListening);
                }
                // For all duplicates: none of them restores it.
                socket::set_nonblocking(listener.as_fd())?;
                listener.try_clone()?
            }
        };
        let mut all: Vec<Option<net::TcpListener>> = (0..cores).map(|_| None).collect();
        if self.hands_out() {
            all[self.acceptor] = Some(first);
            return Listeners::new(all);
        }
        for core in all.iter_mut().skip(1) {
            *core = Some(first.try_clone()?);
        }
        all[0] = Some(first);
        Listeners::new(all)
    }

    /// Whether one core accepts for all.
    pub(super) fn hands_out(&self) -> bool {
        matches!(
            self.distribution,
            Distribution::RoundRobin | Distribution::LeastConnections
        )
    }

    pub(super) fn how(&self) -> Distribution {
        self.distribution
    }
}

impl<A: Into<SocketAddr>> From<A> for ListenOptions {
    fn from(addr: A) -> Self {
        Self::new(addr)
    }
}

/// The listening sockets of a server: one for each core that accepts.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) by_core: Vec<Option<net::TcpListener>>,
    pub(super) addr: SocketAddr,
}

impl Listeners {
    fn new(by_core: Vec<Option<net::TcpListener>>) -> Result<Self, ListenError> {
        let first = by_core.iter().flatten().next();
        let addr = first.ok_or(ListenError::Ended)?.local_addr()?;
        Ok(Self { by_core, addr })
    }
}

/// A server that was not started, with its arguments.
#[non_exhaustive]
pub struct ServeError<S> {
    /// Why it was not started.
    pub reason: ListenError,
    /// Where it was to listen.
    pub listen: ListenOptions,
    /// The closure that would have made the server on each core.
    pub service: S,
}

impl<S> fmt::Debug for ServeError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeError")
            .field("reason", &self.reason)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

impl<S> fmt::Display for ServeError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<S> std::error::Error for ServeError<S> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}
