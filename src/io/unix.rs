//! A connection of the local domain (`unix(7)`) for coroutines.
//!
//! It is read and written as a [`TcpStream`](super::TcpStream) is. A read may return less than there is,
//! without an error: it stops behind a message with descriptors. So a short read does not prove that nothing
//! is left, and a direction counts as ready until an operation returns `WouldBlock`.
//!
//! In the notes: the connection behind `await` (N4, N10); asyncio's `open_unix_connection`.

use super::byte_stream::byte_stream;
use super::socket::{self, Socket};
use super::watched::Watched;
use crate::event_loop::FdState;
use crate::poll::VirtualFd;
use crate::task::lazy_timer::LazyTimer;
use readily_sys::socket::{local, pass_fds};
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{self, SocketAddr};
use std::panic::Location;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

#[doc(inline)]
pub use readily_sys::socket::local::PeerCred;
#[doc(inline)]
pub use readily_sys::socket::pass_fds::Received as ReceivedFds;

/// A connection inside one machine. Dropping it closes it.
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
    /// Connects to the listener at `path`. While its queue is full this waits, as `connect(2)` does, and
    /// tries again after a growing time.
    ///
    /// # Errors
    ///
    /// As `connect(2)`: `NotFound`, or `ConnectionRefused` for a socket whose listener has gone; on the BSDs
    /// also if the queue is full. `InvalidInput` if the path is empty, has a zero byte, or is longer than a
    /// socket's can be (107 bytes on Linux, 103 on the BSDs and macOS). `Unsupported` on a loop of another
    /// kernel than the system's. No loop is running here.
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
        async move { Self::connect_from(&addr?, site).await }
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
    /// As there.
    #[track_caller]
    pub fn connect_addr(addr: &SocketAddr) -> impl Future<Output = io::Result<Self>> {
        let site = Location::caller();
        async move { Self::connect_from(addr, site).await }
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

    /// Makes two streams that are connected to each other (`socketpair(2)`), on a loop of another kernel two of
    /// that kernel.
    ///
    /// # Errors
    ///
    /// Too many descriptors; or no loop is running here.
    #[doc(alias = "socketpair")]
    #[track_caller]
    pub fn pair() -> io::Result<(Self, Self)> {
        let site = Location::caller();
        let (one, other) = socket::pair()?;
        Ok((Self::made_here(one, site)?, Self::made_here(other, site)?))
    }

    /// Takes a connection of the standard library over, and makes it non-blocking.
    /// If it was blocking, it is made blocking again when it is dropped, so a duplicate that is used on must
    /// set `O_NONBLOCK` again. One that was non-blocking before is left alone.
    ///
    /// # Errors
    ///
    /// As [`Async::new`](super::Async::new); [`Error::NotStream`](crate::Error::NotStream) for a listener, say.
    #[track_caller]
    pub fn from_std(stream: net::UnixStream) -> io::Result<Self> {
        Self::taken_over(socket::import(stream), Location::caller())
    }

    /// Makes a stream of a connection of another kernel: the kernel of the current loop's poller
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

    /// Our own address: unnamed, unless the socket was bound.
    ///
    /// # Errors
    ///
    /// As `getsockname(2)`; `Unsupported` on another kernel than the system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.with_std(net::UnixStream::local_addr)
    }

    /// The peer's address: of a listener's connection that of the listener, else usually unnamed.
    ///
    /// # Errors
    ///
    /// As `getpeername(2)`; `Unsupported` on another kernel than the system's.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.with_std(net::UnixStream::peer_addr)
    }

    /// The user, the group and, on Linux, the process at the other end, as they were when it connected, or
    /// listened.
    ///
    /// # Errors
    ///
    /// As `getsockopt(2)` (`SO_PEERCRED`) or `getpeereid(3)`; `Unsupported` on another kernel than the system's.
    #[doc(alias = "SO_PEERCRED")]
    #[doc(alias = "getpeereid")]
    pub fn peer_cred(&self) -> io::Result<PeerCred> {
        self.source.peer_cred()
    }

    /// Sends as much of `bytes` as there is room for, waiting until there is some, and with the first of them
    /// duplicates of `fds` (`SCM_RIGHTS`). The descriptors are sent once this returns, also if it
    /// returns less than the length of `bytes`: send the rest without them, as with
    /// [`write_all`](Self::write_all).
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `bytes` is empty, or for more than 253 descriptors. As `sendmsg(2)`: `BrokenPipe` if the
    /// peer is gone. `Unsupported` on another kernel than the system's.
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
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let send = |io: &Socket| io.send_fds(bytes, fds);
        self.source.io(Direction::Write, send).await
    }

    /// Reads what is there, waiting until something is, and the descriptors that were sent with it, at most
    /// `limit` of them: the others are closed, and [`ReceivedFds::is_truncated`] is set. They are
    /// close-on-exec from the beginning; on macOS, which cannot do that, soon afterwards.
    ///
    /// A read of another method closes the descriptors that were sent with its bytes.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `buffer` is empty. As `recvmsg(2)`. `Unsupported` on another kernel than the system's.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: either bytes and descriptors were received and this has returned, or none were.
    #[doc(alias = "recv_fds")]
    pub async fn recv_with_fds(&self, buffer: &mut [u8], limit: usize) -> io::Result<ReceivedFds> {
        if buffer.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let receive = |io: &Socket| io.recv_fds(buffer, limit);
        self.source.io(Direction::Read, receive).await
    }
}

/// Tries until there is room at the other end, of which no poller reports anything, and waits a growing time
/// in between.
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
