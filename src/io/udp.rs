//! A UDP socket for coroutines.
//!
//! In asyncio: `create_datagram_endpoint`, `sock_recvfrom`, `sock_sendto`. In the notes: the I/O of coroutines
//! (N4, N10).

use super::datagram::{Datagram, datagram_socket};
use super::datagram_batch::RecvBatch;
use super::socket::{self, Socket};
use super::watched::{Direction, Watched};
use crate::event_loop::FdState;
use readily_sys::socket::datagram;
use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::Location;
use std::task::{Context, Poll};

/// A UDP socket, on the system's kernel only. Dropping it closes it.
///
/// # Examples
///
/// ```
/// use readily::io::UdpSocket;
///
/// readily::run(async {
///     let server = UdpSocket::bind(([127, 0, 0, 1], 0))?;
///     let client = UdpSocket::bind(([127, 0, 0, 1], 0))?;
///     client.send_to(b"hello", &server.local_addr()?).await?;
///     let mut buffer = [0; 512];
///     let request = server.recv_from(&mut buffer).await?;
///     assert_eq!(&buffer[..request.len], b"hello");
///     assert!(!request.is_truncated);
///     server.send_to(b"and back", &request.from).await?;
///     assert_eq!(client.recv_from(&mut buffer).await?.len, 8);
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct UdpSocket {
    pub(super) source: Watched<Socket>,
}

impl UdpSocket {
    /// Binds a socket to `addr`; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// As `bind(2)`; `Unsupported` on a loop of a virtual kernel. An error if no loop is running here.
    #[doc(alias = "create_datagram_endpoint")]
    #[track_caller]
    pub fn bind(addr: impl Into<SocketAddr>) -> io::Result<Self> {
        let addr = addr.into();
        let make = || {
            let socket = net::UdpSocket::bind(addr)?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        };
        Self::made(make, Location::caller())
    }

    /// Sets the peer: from now on the socket receives only datagrams of the peer, and [`send`](Self::send) sends to
    /// it. A second call replaces the peer. This sends nothing, and does not wait.
    ///
    /// # Errors
    ///
    /// As `connect(2)`.
    pub fn connect(&self, addr: impl Into<SocketAddr>) -> io::Result<()> {
        let addr = addr.into();
        self.source
            .with_std(|udp: &net::UdpSocket| udp.connect(addr))
    }

    /// Waits until there is room, and sends a datagram to `to`. It is sent whole, or not at all.
    ///
    /// # Errors
    ///
    /// As `sendto(2)`: `EMSGSIZE` if it is too long (65,507 bytes for IPv4). Nothing is reported if no socket is
    /// bound to `to`, unless this one is connected.
    ///
    /// # Cancellation
    ///
    /// Either the datagram was sent and this has returned, or it was not.
    #[doc(alias = "sock_sendto")]
    pub async fn send_to(&self, bytes: &[u8], to: &SocketAddr) -> io::Result<usize> {
        let send = |io: &Socket| io.send_datagram(bytes, to);
        self.source.each(Direction::Write, send).await
    }

    /// Polls a send to `to`.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to).
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        to: &SocketAddr,
    ) -> Poll<io::Result<usize>> {
        let send = |io: &Socket| io.send_datagram(bytes, to);
        self.source.poll_each(cx, Direction::Write, send)
    }

    /// Waits for a datagram, receives as many as have arrived and as `batch` has room for, and returns their number. On
    /// Linux, Android and FreeBSD this is one system call (`recvmmsg(2)`).
    ///
    /// # Errors
    ///
    /// As [`recv_from`](Self::recv_from). If an error follows a datagram, the next call returns it; on other systems,
    /// which receive the datagrams one by one, it is lost. After an error the batch is empty.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: either datagrams were received and this has returned, or none was.
    #[doc(alias = "recvmmsg")]
    pub async fn recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        let receive = |io: &Socket| batch.receive(io);
        self.source.each(Direction::Read, receive).await
    }

    /// Waits until there is room for the first datagram, sends datagrams in their order, and returns how many were
    /// sent: at least one, unless `datagrams` is empty, and at most 64. Call it again for the rest. On Linux, Android
    /// and FreeBSD this is one system call (`sendmmsg(2)`).
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to), for the first datagram: then none was sent. If another datagram fails, the call
    /// that begins with it returns the error.
    ///
    /// # Cancellation
    ///
    /// Either datagrams were sent and this has returned, or none was.
    #[doc(alias = "sendmmsg")]
    pub async fn send_batch(&self, datagrams: &[(&[u8], SocketAddr)]) -> io::Result<usize> {
        let send = |io: &Socket| datagram::send_many(io.as_fd(), datagrams);
        self.source.each(Direction::Write, send).await
    }
}

/// Implements options by the methods of the standard library's socket.
macro_rules! options {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $of:ty),*) -> $answer:ty;)*) => {
        /// # Options
        impl UdpSocket {$(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// As `setsockopt(2)` or `getsockopt(2)`.
            pub fn $name(&self, $($arg: $of),*) -> io::Result<$answer> {
                self.source.with_std(|udp: &net::UdpSocket| udp.$name($($arg),*))
            }
        )*}
    };
}

options! {
    /// Whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`). By default they may not.
    set_broadcast(on: bool) -> ();
    /// Whether datagrams may be sent to broadcast addresses.
    broadcast() -> bool;
    /// Sets how many routers a datagram may pass (`IP_TTL`), 1 to 255.
    set_ttl(ttl: u32) -> ();
    /// How many routers a datagram may pass.
    ttl() -> u32;
    /// Joins a group on the interface with this address; `0.0.0.0` leaves the choice to the system
    /// (`IP_ADD_MEMBERSHIP`).
    join_multicast_v4(group: &Ipv4Addr, interface: &Ipv4Addr) -> ();
    /// Leaves a group (`IP_DROP_MEMBERSHIP`).
    leave_multicast_v4(group: &Ipv4Addr, interface: &Ipv4Addr) -> ();
    /// Joins a group on the interface with this index; 0 leaves the choice to the system
    /// (`IPV6_ADD_MEMBERSHIP`).
    join_multicast_v6(group: &Ipv6Addr, interface: u32) -> ();
    /// Leaves a group (`IPV6_DROP_MEMBERSHIP`).
    leave_multicast_v6(group: &Ipv6Addr, interface: u32) -> ();
    /// Whether this machine receives, too, what is sent to a group (`IP_MULTICAST_LOOP`). By default it does.
    set_multicast_loop_v4(on: bool) -> ();
    /// The same for IPv6 (`IPV6_MULTICAST_LOOP`).
    set_multicast_loop_v6(on: bool) -> ();
    /// Sets how many routers a datagram to a group may pass (`IP_MULTICAST_TTL`), by default 1: none.
    set_multicast_ttl_v4(ttl: u32) -> ();
}

datagram_socket!(UdpSocket, SocketAddr, net::UdpSocket);
