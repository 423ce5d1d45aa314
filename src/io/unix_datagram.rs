//! A socket of datagrams of the local domain (`unix(7)`) for coroutines.
//!
//! Datagrams are not lost: a sender waits while the queue of the receiver is full. If the sender is not connected
//! to the receiver, epoll reports the room in the sender's own buffer, and not in the receiver's queue: a wait for this
//! report would spin (R362).
//!
//! In asyncio: `create_datagram_endpoint` with `AF_UNIX`. In the notes: the I/O of coroutines (N4, N10).

use super::datagram::{Datagram, datagram_socket};
use super::socket::{self, Socket};
use super::socket_path;
use super::unix::retry;
use super::watched::{Direction, Watched};
use crate::event_loop::FdState;
use crate::task::budget;
use readily_sys::socket::local;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{self, SocketAddr};
use std::panic::Location;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll};

/// A Unix datagram socket (`unix(7)`), on the system's kernel only. Dropping it closes it, but does not remove its
/// path.
///
/// # Examples
///
/// ```
/// use readily::io::UnixDatagram;
///
/// readily::run(async {
///     let (here, there) = UnixDatagram::pair()?;
///     here.send(b"hello").await?;
///     let mut buffer = [0; 3];
///     let received = there.recv_from(&mut buffer).await?;
///     assert_eq!((received.len, received.is_truncated), (3, true));
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct UnixDatagram {
    pub(super) source: Watched<Socket>,
}

impl UnixDatagram {
    /// Binds a socket to `path`. Other processes can send to it at once, if the permissions of the directory and the
    /// umask allow it. If that matters, bind in a directory that only permitted users can enter.
    ///
    /// # Errors
    ///
    /// `AddrInUse` with a [`SocketPathError`](super::SocketPathError) that describes what exists at the path.
    /// `InvalidInput` if the path is empty: see [`unbound`](Self::unbound) and [`bind_addr`](Self::bind_addr). As
    /// `bind(2)`; `Unsupported` on a loop of a virtual kernel. An error if no loop is running here.
    #[track_caller]
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        socket_path::check_not_empty(path)?;
        let make = || match net::UnixDatagram::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                socket_path::explain(path)?;
                Err(error)
            }
            bound => nonblocking(bound?),
        };
        Self::made(make, Location::caller())
    }

    /// Binds a socket to a path or, on Linux, to an abstract name
    /// ([`SocketAddrExt::from_abstract_name`](std::os::linux::net::SocketAddrExt::from_abstract_name)). With the address
    /// of an empty path, Linux chooses an abstract name.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    #[track_caller]
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<Self> {
        match addr.as_pathname() {
            Some(path) => Self::bind(path),
            None => {
                let make = || nonblocking(net::UnixDatagram::bind_addr(addr)?);
                Self::made(make, Location::caller())
            }
        }
    }

    /// Makes a socket without a name. It can send, but other sockets cannot send to it by a name.
    ///
    /// # Errors
    ///
    /// If no descriptor is left; as [`bind`](Self::bind).
    #[track_caller]
    pub fn unbound() -> io::Result<Self> {
        let make = || nonblocking(net::UnixDatagram::unbound()?);
        Self::made(make, Location::caller())
    }

    /// Makes two sockets that are connected to each other (`socketpair(2)`).
    ///
    /// # Errors
    ///
    /// If no descriptor is left; as [`bind`](Self::bind).
    #[doc(alias = "socketpair")]
    #[track_caller]
    pub fn pair() -> io::Result<(Self, Self)> {
        let site = Location::caller();
        let (one, other) = local::datagram_pair()?;
        Ok((
            Self::made(|| Ok(one), site)?,
            Self::made(|| Ok(other), site)?,
        ))
    }

    /// Sets the peer, to which [`send`](Self::send) sends. A second call replaces the peer.
    ///
    /// # Errors
    ///
    /// As `connect(2)`: `NotFound`, or `ConnectionRefused` if no socket has the path any more.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        self.source
            .with_std(|socket: &net::UnixDatagram| socket.connect(path))
    }

    /// Sets the peer, as [`connect`](Self::connect) does, to a path or an abstract name.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn connect_addr(&self, addr: &SocketAddr) -> io::Result<()> {
        self.source
            .with_std(|socket: &net::UnixDatagram| socket.connect_addr(addr))
    }

    /// Waits until there is room, and sends a datagram to `to`. It is sent whole, or not at all. While the queue of
    /// the receiver is full, this tries again after pauses that grow up to 100 ms; [`send`](Self::send) on a
    /// connected socket is woken by an event instead.
    ///
    /// # Errors
    ///
    /// As `sendto(2)`: `EMSGSIZE` if it is too long; `NotFound`; `ConnectionRefused`. On the BSDs a full queue is
    /// an error, `ENOBUFS`.
    ///
    /// # Cancellation
    ///
    /// Either the datagram was sent and this has returned, or it was not.
    #[doc(alias = "sock_sendto")]
    pub async fn send_to(&self, bytes: &[u8], to: &SocketAddr) -> io::Result<usize> {
        budget::composite(pin!(retry(|| self.try_send_to(bytes, to)))).await
    }
}

fn nonblocking(socket: net::UnixDatagram) -> io::Result<OwnedFd> {
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

datagram_socket!(UnixDatagram, SocketAddr, net::UnixDatagram);
