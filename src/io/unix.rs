//! A connection of the local domain (`unix(7)`) for coroutines.
//!
//! It has the reads and writes of a [`TcpStream`](super::TcpStream). A read may return fewer bytes than have arrived,
//! without an error: it stops behind a message with descriptors. So a short read does not prove that nothing
//! is left, and a direction counts as ready until an operation returns `WouldBlock`.
//!
//! In the notes: the connection behind `await` (N4, N10); asyncio's `open_unix_connection`.

use super::byte_stream::byte_stream;
use super::socket::{self, Socket};
use super::watched::Watched;
use crate::event_loop::FdState;
use crate::poll::VirtualFd;
use crate::task::budget;
use crate::task::lazy_timer::LazyTimer;
use readily_sys::socket::{local, pass_fds};
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{self, SocketAddr};
use std::panic::Location;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

#[doc(inline)]
pub use readily_sys::socket::local::PeerCred;
#[doc(inline)]
pub use readily_sys::socket::pass_fds::Received as ReceivedFds;

/// A connected Unix socket (`unix(7)`). Dropping it closes it.
///
/// # Examples
///
/// ```
/// use readily::io::UnixStream;
///
/// readily::run(async {
///     let (here, there) = UnixStream::pair()?;
///     there.write_all(b"hello").await?;
///     let mut greeting = [0; 5];
///     here.read_exact(&mut greeting).await?;
///     assert_eq!(&greeting, b"hello");
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct UnixStream {
    pub(super) source: Watched<Socket>,
}

impl UnixStream {
    /// Connects to the listener at `path`. While the queue of the listener is full, this tries again after pauses
    /// that grow longer.
    ///
    /// # Errors
    ///
    /// As `connect(2)`: `NotFound`, or `ConnectionRefused` for a socket whose listener has gone; on the BSDs
    /// also if the queue is full. `InvalidInput` if the path is empty, has a zero byte, or is too long for a
    /// socket (more than 107 bytes on Linux, 103 on the BSDs and macOS). `Unsupported` on a loop of a virtual
    /// kernel. An error if no loop is running here.
    ///
    /// # Cancellation
    ///
    /// Dropping it closes the socket; the peer may see a connection that ends at once.
    #[doc(alias = "open_unix_connection")]
    #[doc(alias = "create_unix_connection")]
    #[track_caller]
    pub fn connect(path: impl AsRef<Path>) -> impl Future<Output = io::Result<Self>> {
        let addr = SocketAddr::from_pathname(path);
        let site = Location::caller(); // not known within the future
        async move {
            let connect = pin!(async { Self::connect_from(&addr?, site).await });
            budget::composite(connect).await
        }
    }

    /// Connects to a path or, on Linux, to an abstract name
    /// ([`SocketAddrExt::from_abstract_name`](std::os::linux::net::SocketAddrExt::from_abstract_name)).
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Cancellation
    ///
    /// As [`connect`](Self::connect).
    #[track_caller]
    pub fn connect_addr(addr: &SocketAddr) -> impl Future<Output = io::Result<Self>> {
        let site = Location::caller();
        async move { budget::composite(pin!(Self::connect_from(addr, site))).await }
    }

    async fn connect_from(addr: &SocketAddr, site: &'static Location<'static>) -> io::Result<Self> {
        // On Linux the listener's queue may be full, and no poller reports when it has room.
        let connect = || socket::of_the_system(|| local::connect_stream(addr));
        let socket = retry(connect).await?;
        let stream = Self::made_here(socket, site)?;
        if !stream.source.is_connected()? {
            stream.source.connected().await?;
        }
        Ok(stream)
    }

    /// Makes two streams that are connected to each other (`socketpair(2)`). On a loop of a virtual kernel both are
    /// sockets of that kernel.
    ///
    /// # Errors
    ///
    /// If no descriptor is left, or no loop is running here.
    #[doc(alias = "socketpair")]
    #[track_caller]
    pub fn pair() -> io::Result<(Self, Self)> {
        let site = Location::caller();
        let (one, other) = socket::pair()?;
        Ok((Self::made_here(one, site)?, Self::made_here(other, site)?))
    }

    /// Makes a stream from one of the standard library, and makes it non-blocking.
    /// If it was blocking, it is made blocking again when this is dropped, so code that goes on using a duplicate must
    /// set `O_NONBLOCK` again. A socket that was non-blocking before stays so.
    ///
    /// # Errors
    ///
    /// As [`Async::new`](super::Async::new); [`Error::NotStream`](crate::Error::NotStream), for instance for a
    /// listener.
    #[track_caller]
    pub fn from_std(stream: net::UnixStream) -> io::Result<Self> {
        Self::taken_over(socket::import(stream), Location::caller())
    }

    /// Makes a stream from a connection of a virtual kernel: the kernel of the current loop's poller
    /// ([`Poller::kernel`](crate::poll::Poller::kernel)).
    ///
    /// # Errors
    ///
    /// As [`UnixStream::from_std`]; [`Error::BadDescriptor`](crate::Error::BadDescriptor) if the current
    /// loop is on another kernel. The descriptor is dropped.
    #[track_caller]
    pub fn from_kernel(fd: Rc<dyn VirtualFd>) -> io::Result<Self> {
        Self::taken_over(Socket::Virtual(fd), Location::caller())
    }

    /// Of a connection that the loop has accepted.
    pub(super) fn accepted(socket: Socket, site: &'static Location<'static>) -> io::Result<Self> {
        let source = Watched::accepted(socket, Watched::<Socket>::IN_PIECES, site)?;
        Ok(Self { source })
    }

    /// Of a socket that the loop made: it is non-blocking, and need not be checked.
    pub(super) fn made_here(socket: Socket, site: &'static Location<'static>) -> io::Result<Self> {
        let source = Watched::new_in_pieces(socket, FdState::MadeHere, site)?;
        Ok(Self { source })
    }

    /// Of a descriptor that the loop has not made: whatever it is (R211).
    fn taken_over(socket: Socket, site: &'static Location<'static>) -> io::Result<Self> {
        let fd_state = socket.fd_state();
        let source = Watched::new_in_pieces(socket, fd_state, site)?;
        source.check_stream()?;
        Ok(Self { source })
    }

    /// Returns the local address: unnamed, unless the socket was bound.
    ///
    /// # Errors
    ///
    /// As `getsockname(2)`; `Unsupported` on a virtual kernel.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.with_std(net::UnixStream::local_addr)
    }

    /// Returns the address of the peer. A client gets the address of the listener; the address of a client is
    /// usually unnamed.
    ///
    /// # Errors
    ///
    /// As `getpeername(2)`; `Unsupported` on a virtual kernel.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.with_std(net::UnixStream::peer_addr)
    }

    /// Returns the user, the group and, on Linux, the process id of the peer, as they were when the peer called
    /// `connect(2)` or `listen(2)`.
    ///
    /// # Errors
    ///
    /// As `getsockopt(2)` (`SO_PEERCRED`) or `getpeereid(3)`; `Unsupported` on a virtual kernel.
    #[doc(alias = "SO_PEERCRED")]
    #[doc(alias = "getpeereid")]
    pub fn peer_cred(&self) -> io::Result<PeerCred> {
        self.source.peer_cred()
    }

    /// Waits until there is room, sends as many of `bytes` as fit, and with the first of them
    /// duplicates of `fds` (`SCM_RIGHTS`). When this returns, the descriptors have been sent, even if it
    /// returns less than the length of `bytes`: then send the rest of the bytes without descriptors, for instance by
    /// [`write_all`](Self::write_all).
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `bytes` is empty, or for more than 253 descriptors. As `sendmsg(2)`: `BrokenPipe` if the
    /// peer is gone. `Unsupported` on a virtual kernel.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: either bytes and descriptors were sent and this has returned, or none were.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::io::UnixStream;
    /// use std::os::fd::AsFd;
    ///
    /// readily::run(async {
    ///     let (here, there) = UnixStream::pair()?;
    ///     let (reader, writer) = std::io::pipe()?;
    ///     here.send_with_fds(b"a pipe", &[reader.as_fd()]).await?;
    ///     let mut buffer = [0; 16];
    ///     let received = there.recv_with_fds(&mut buffer, 1).await?;
    ///     assert_eq!((received.bytes, received.fds.len()), (6, 1));
    ///     # drop(writer);
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "send_fds")]
    #[doc(alias = "SCM_RIGHTS")]
    pub async fn send_with_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        if bytes.is_empty() || fds.len() > pass_fds::MAX_FDS {
            budget::consume_budget().await; // F1
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let send = |io: &Socket| io.send_fds(bytes, fds);
        self.source.io(Direction::Write, send).await
    }

    /// Waits until there are bytes, reads them, and receives at most `limit` of the descriptors that were sent with
    /// them. Further descriptors are closed, and [`ReceivedFds::is_truncated`] is set. The received descriptors are
    /// close-on-exec from the beginning; on macOS, which cannot do that, soon afterwards.
    ///
    /// The other read methods close the descriptors that were sent with their bytes.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `buffer` is empty. As `recvmsg(2)`. `Unsupported` on a virtual kernel.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: either bytes and descriptors were received and this has returned, or none were.
    #[doc(alias = "recv_fds")]
    pub async fn recv_with_fds(&self, buffer: &mut [u8], limit: usize) -> io::Result<ReceivedFds> {
        if buffer.is_empty() {
            budget::consume_budget().await; // F1
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let receive = |io: &Socket| io.recv_fds(buffer, limit);
        self.source.io(Direction::Read, receive).await
    }
}

/// Tries until there is room at the other end, with pauses that grow longer: no poller reports that room.
pub(super) async fn retry<R>(mut attempt: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    const LONGEST_WAIT: Duration = Duration::from_millis(100);
    let mut wait = Duration::from_millis(1);
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut timer = LazyTimer::after(wait);
                poll_fn(|cx| timer.poll(cx)).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            done => return done,
        }
    }
}

impl TryFrom<OwnedFd> for UnixStream {
    type Error = io::Error;

    /// As [`UnixStream::from_std`].
    #[track_caller]
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        Self::from_std(fd.into())
    }
}

byte_stream!(
    UnixStream,
    "use readily::io::UnixStream;",
    "    let (here, there) = UnixStream::pair()?;"
);
