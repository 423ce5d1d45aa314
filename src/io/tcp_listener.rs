//! A TCP listener for coroutines.
//!
//! In asyncio this is `sock_accept`, and `start_server`.

use super::listening::Listening;
use super::socket::{self, Socket};
use super::tcp::TcpStream;
use crate::poll::VirtualFd;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::Location;
use std::rc::Rc;

/// A listening TCP socket.
#[derive(Debug)]
pub struct TcpListener {
    pub(super) listening: Listening,
}

impl TcpListener {
    /// Listens on `addr`; port 0 takes a free one. The address can be used again at once
    /// after an earlier listener has gone (`SO_REUSEADDR`).
    ///
    /// # Errors
    ///
    /// As `bind(2)` and `listen(2)`. An error if no loop is running here.
    #[track_caller]
    pub fn bind(addr: impl Into<SocketAddr>) -> io::Result<Self> {
        let socket = socket::listen(addr.into())?;
        Self::made_here(socket, Location::caller())
    }

    /// Makes a listener from one of the standard library, and makes it non-blocking.
    /// If it was blocking, it is made blocking again when this is dropped, so code that goes on using a duplicate must
    /// set `O_NONBLOCK` again. A socket that was non-blocking before stays so.
    ///
    /// # Errors
    ///
    /// As [`Async::new`](super::Async::new); [`Error::NotListening`](crate::Error::NotListening).
    #[track_caller]
    pub fn from_std(listener: net::TcpListener) -> io::Result<Self> {
        Self::taken_over(socket::import(listener), Location::caller())
    }

    /// Makes a listener from a listening socket of a virtual kernel: the kernel of the current loop's
    /// poller ([`Poller::kernel`](crate::poll::Poller::kernel)).
    ///
    /// # Errors
    ///
    /// As [`TcpListener::from_std`]; [`Error::BadDescriptor`](crate::Error::BadDescriptor) if the
    /// current loop is on another kernel. The descriptor is dropped.
    #[track_caller]
    pub fn from_kernel(fd: Rc<dyn VirtualFd>) -> io::Result<Self> {
        Self::taken_over(Socket::Virtual(fd), Location::caller())
    }

    /// Of a socket that the loop made: it is non-blocking, and need not be checked.
    pub(super) fn made_here(socket: Socket, site: &'static Location<'static>) -> io::Result<Self> {
        let listening = Listening::made_here(socket, site)?;
        Ok(Self { listening })
    }

    fn taken_over(socket: Socket, site: &'static Location<'static>) -> io::Result<Self> {
        let listening = Listening::taken_over(socket, site)?;
        Ok(Self { listening })
    }

    /// Waits for a connection, and accepts it. While the process has no descriptor left, this waits until it has one.
    ///
    /// # Errors
    ///
    /// Errors of the listener itself; never those of one connection, nor a lack of descriptors.
    /// A connection that the system will not register (`ENOMEM`, `ENOSPC`) is closed and
    /// reported ([`LoopHandle::on_unhandled`](crate::LoopHandle::on_unhandled)).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: a connection is accepted only when this returns it.
    #[doc(alias = "sock_accept")]
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let site = self.listening.site;
        self.accept_with(|socket| TcpStream::accepted(socket, site))
            .await
    }

    /// As [`accept`](Self::accept), but does not register the connection: another loop does that.
    pub(crate) async fn accept_unregistered(&self) -> io::Result<(net::TcpStream, SocketAddr)> {
        self.accept_with(system).await
    }

    /// The same at once: `WouldBlock` if no connection waits.
    pub(crate) fn try_accept_unregistered(&self) -> io::Result<(net::TcpStream, SocketAddr)> {
        let (socket, peer) = self.listening.source.accept()?;
        let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
        Ok((system(socket)?, peer))
    }

    async fn accept_with<T>(
        &self,
        make: impl Fn(Socket) -> io::Result<T>,
    ) -> io::Result<(T, SocketAddr)> {
        let make = |socket, peer| match peer {
            Some(peer) => Ok(Some((make(socket)?, peer))),
            // Gone before it was accepted, and its address with it (some BSDs).
            None => Ok(None),
        };
        self.listening.accept(make).await
    }

    /// Returns the address on which the listener listens.
    ///
    /// # Errors
    ///
    /// As `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listening.source.local_addr()
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listening.source.as_fd()
    }
}

/// The system's socket, which can be sent to another thread.
fn system(socket: Socket) -> io::Result<net::TcpStream> {
    socket
        .into_system()
        .map(net::TcpStream::from)
        .ok_or_else(|| io::ErrorKind::Unsupported.into())
}
