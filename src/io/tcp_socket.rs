//! A TCP socket before it is a connection or a listener: its options, and the address that it is bound to.
//!
//! In asyncio these are arguments of `create_connection` and `create_server` (`local_addr`, `reuse_address`,
//! `reuse_port`, `backlog`, `keep_alive`), or calls of `setsockopt` on a socket of the program's own.

use super::socket::{self, Socket};
use super::tcp::TcpStream;
use super::tcp_listener::TcpListener;
use crate::task::budget;
use readily_sys::socket::{self as sys, options};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::Location;
use std::pin::pin;

#[doc(inline)]
pub use readily_sys::socket::options::KeepAlive;

/// A TCP socket that is neither connected nor a listener, on the system's kernel only.
///
/// # Examples
///
/// ```
/// use readily::io::{KeepAlive, TcpSocket};
/// use std::time::Duration;
///
/// readily::run(async {
///     let socket = TcpSocket::new_v4()?;
///     socket.set_reuse_address(true)?;
///     socket.bind(([127, 0, 0, 1], 0))?;
///     let listener = socket.listen(1024)?;
///
///     let socket = TcpSocket::new_v4()?;
///     socket.set_nodelay(true)?;
///     socket.set_keep_alive(Some(KeepAlive {
///         idle: Duration::from_secs(60),
///         interval: Duration::from_secs(10),
///         count: 3,
///     }))?;
///     socket.bind(([127, 0, 0, 1], 0))?; // where the connection comes from
///     let from = socket.local_addr()?;
///     let _client = socket.connect(listener.local_addr()?).await?;
///     let (_server, peer) = listener.accept().await?;
///     assert_eq!(peer, from);
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "create_connection")]
#[doc(alias = "create_server")]
#[doc(alias = "setsockopt")]
#[derive(Debug)]
pub struct TcpSocket {
    fd: OwnedFd,
}

impl TcpSocket {
    /// Makes a socket for IPv4.
    ///
    /// # Errors
    ///
    /// As `socket(2)`; `Unsupported` on a loop of a virtual kernel.
    pub fn new_v4() -> io::Result<Self> {
        Self::new(false)
    }

    /// Makes a socket for IPv6.
    ///
    /// # Errors
    ///
    /// As [`new_v4`](Self::new_v4).
    pub fn new_v6() -> io::Result<Self> {
        Self::new(true)
    }

    fn new(is_v6: bool) -> io::Result<Self> {
        let socket = socket::of_the_system(|| options::new_tcp(is_v6))?;
        let fd = socket.into_system().ok_or(io::ErrorKind::Unsupported)?;
        Ok(Self { fd })
    }

    /// Binds the socket to `addr`: the address on which a listener listens, or the local address of a connection.
    /// Port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// As `bind(2)`.
    pub fn bind(&self, addr: impl Into<SocketAddr>) -> io::Result<()> {
        sys::bind(self.fd.as_fd(), &addr.into())
    }

    /// Returns the address to which the socket is bound.
    ///
    /// # Errors
    ///
    /// As `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_addr(self.fd.as_fd())
    }

    /// Makes the socket a listener, with room for `backlog` connections that wait to be accepted. The system has a
    /// limit of its own (`net.core.somaxconn`, `kern.ipc.somaxconn`).
    ///
    /// # Errors
    ///
    /// As `listen(2)`: `EADDRINUSE` also here, if another listener has the port. An error if no loop is running here.
    #[track_caller]
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        let site = Location::caller();
        sys::listen(self.fd.as_fd(), i32::try_from(backlog).unwrap_or(i32::MAX))?;
        TcpListener::made_here(Socket::System(self.fd), site)
    }

    /// Connects to `addr`.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::connect`]; `EADDRNOTAVAIL` if there is a connection between the same two addresses.
    ///
    /// # Cancellation
    ///
    /// As there.
    #[track_caller]
    pub fn connect(
        self,
        addr: impl Into<SocketAddr>,
    ) -> impl Future<Output = io::Result<TcpStream>> {
        let site = Location::caller(); // not known within the future
        async move {
            let connect = pin!(async {
                sys::connect_to(self.fd.as_fd(), &addr.into())?;
                TcpStream::connecting(Socket::System(self.fd), site).await
            });
            budget::composite(connect).await
        }
    }
}

/// # Options
///
/// Each fails as `setsockopt(2)` does, or `getsockopt(2)`.
#[allow(clippy::missing_errors_doc)] // above, for all
impl TcpSocket {
    /// Sets whether a listener may use an address that connections of an earlier listener still use (`SO_REUSEADDR`).
    /// [`TcpListener::bind`] sets this, too.
    pub fn set_reuse_address(&self, on: bool) -> io::Result<()> {
        options::set_reuse_address(self.fd.as_fd(), on)
    }

    /// Sets whether several sockets may share a port (`SO_REUSEPORT`). They must belong to one user, and each must
    /// set this before it is bound. Linux distributes connections among them; see
    /// [`cores::Distribution`](crate::cores::Distribution) for a server of one process.
    pub fn set_reuse_port(&self, on: bool) -> io::Result<()> {
        options::set_reuse_port(self.fd.as_fd(), on)
    }

    /// Sets whether an IPv6 socket refuses IPv4 connections (`IPV6_V6ONLY`). The default is the system's.
    pub fn set_only_v6(&self, on: bool) -> io::Result<()> {
        options::set_only_v6(self.fd.as_fd(), on)
    }

    /// Sets whether small writes are sent at once (`TCP_NODELAY`). By default they are not.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        readily_sys::with_std(self.fd.as_fd(), |tcp: &std::net::TcpStream| {
            tcp.set_nodelay(on)
        })
    }

    /// Sets whether an idle connection is probed, and when (`SO_KEEPALIVE` with its times), so that a peer that has
    /// vanished is noticed. With `None`, the default, it is not probed. A number that is out of range is
    /// `InvalidInput`. OpenBSD has no such times for one socket; there the error is `Unsupported`.
    pub fn set_keep_alive(&self, keep: Option<KeepAlive>) -> io::Result<()> {
        options::set_keep_alive(self.fd.as_fd(), keep)
    }

    /// Returns when an idle connection is probed; `None` if it is not probed.
    pub fn keep_alive(&self) -> io::Result<Option<KeepAlive>> {
        options::keep_alive(self.fd.as_fd())
    }

    /// Sets whether a close sends a reset, and discards bytes that are not sent yet (`SO_LINGER`
    /// of zero). A longer time is not offered, because the close would block the loop.
    #[doc(alias = "set_linger")]
    #[doc(alias = "SO_LINGER")]
    pub fn set_reset_on_close(&self, on: bool) -> io::Result<()> {
        options::set_reset_on_close(self.fd.as_fd(), on)
    }

    /// Sets the size of the send buffer in bytes (`SO_SNDBUF`). It is a hint for the system: Linux doubles
    /// it, and each system has limits.
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        options::set_send_buffer(self.fd.as_fd(), bytes)
    }

    /// Returns the size of the send buffer in bytes.
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        options::send_buffer(self.fd.as_fd())
    }

    /// Sets the size of the receive buffer in bytes (`SO_RCVBUF`), as
    /// [`set_send_buffer_size`](Self::set_send_buffer_size). If it is set before the connection is made, it limits the
    /// window of the connection.
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        options::set_recv_buffer(self.fd.as_fd(), bytes)
    }

    /// Returns the size of the receive buffer in bytes.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        options::recv_buffer(self.fd.as_fd())
    }
}

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
