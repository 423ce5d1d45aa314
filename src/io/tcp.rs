//! A TCP connection for coroutines.
//!
//! All its operations take `&self`, so that one task may read while another writes; what they
//! return is what the system returned, except that `WouldBlock` and `Interrupted` never reach
//! the caller.
//!
//! In the notes: the connection behind `await` (N4, N10); asyncio's `sock_recv`,
//! `sock_sendall`, `sock_connect`.

use super::byte_stream::byte_stream;
use super::socket::{self, Socket};
use super::to_socket_addrs::{Target, ToSocketAddrs};
use super::watched::Watched;
use super::{connect, lookup};
use crate::event_loop::FdState;
use crate::poll::{Readiness, VirtualFd};
use crate::task::budget;
use crate::task::lazy_timer::LazyTimer;
use std::future::poll_fn;
use std::io;
use std::net::{self, SocketAddr};
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// A TCP connection. Dropping it closes it. An error of `close(2)` is ignored, because for a socket it does not
/// report whether the bytes have arrived.
///
/// # Examples
///
/// ```
/// use readily::io::{TcpListener, TcpStream};
///
/// readily::run(async {
///     let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
///     let addr = listener.local_addr()?;
///     let server = readily::spawn(async move {
///         let (stream, _peer) = listener.accept().await?;
///         stream.write_all(b"hello").await
///     });
///     let stream = TcpStream::connect(addr).await?;
///     let mut greeting = [0; 5];
///     stream.read_exact(&mut greeting).await?;
///     assert_eq!(&greeting, b"hello");
///     server.await.expect("it is not cancelled")
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TcpStream {
    pub(super) source: Watched<Socket>,
}

impl TcpStream {
    /// Connects to an address, to the first of several that answers, or to a host by its name.
    ///
    /// A name is looked up as by [`lookup_host`](super::lookup_host). Several addresses are tried as in RFC 8305
    /// (happy eyeballs): IPv4 and IPv6 addresses alternate, an attempt begins a quarter of a second after the one
    /// before, or at once when that has failed, and at most six attempts go on at a time.
    ///
    /// The only time limits are the system's, two minutes and more: use [`wait_for`](crate::wait_for()).
    ///
    /// # Errors
    ///
    /// As `connect(2)`: refused, unreachable, timed out. If several attempts have failed, the error contains a
    /// [`ConnectError`](super::ConnectError), and has the kind of the first failure. As
    /// [`lookup_host`](super::lookup_host). An error if no loop is running here.
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the sockets; a peer may get a connection that ends at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::io::{TcpListener, TcpStream};
    ///
    /// readily::run(async {
    ///     let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
    ///     let port = listener.local_addr()?.port();
    ///     let stream = TcpStream::connect(("localhost", port)).await?;
    ///     assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    ///     Ok::<_, std::io::Error>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "open_connection")]
    #[doc(alias = "create_connection")]
    #[track_caller]
    pub fn connect(to: impl ToSocketAddrs) -> impl Future<Output = io::Result<Self>> {
        let (target, site) = (to.target(), Location::caller()); // not known within the future
        async move {
            let connect = pin!(async {
                match target? {
                    Target::Addr(addr) => Self::connect_to(addr, site).await,
                    // Boxed, because it is rare, and large.
                    several => Box::pin(Self::connect_to_first(several, site)).await,
                }
            });
            budget::composite(connect).await
        }
    }

    async fn connect_to(addr: SocketAddr, site: &'static Location<'static>) -> io::Result<Self> {
        Self::connecting(socket::connect(addr)?, site).await
    }

    async fn connect_to_first(
        target: Target,
        site: &'static Location<'static>,
    ) -> io::Result<Self> {
        let addrs = lookup::addresses(target, site).await?;
        connect::first(addrs, |addr| Self::connect_to(addr, site)).await
    }

    /// Closes the connection without a reset, so that the peer can read everything that was written: shuts down the
    /// writing side, and then reads and discards bytes until the peer has shut down its side. If a stream is dropped
    /// while received bytes are unread, the system resets the connection, and the peer may lose an answer that it has
    /// not read yet.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the peer has not ended its side within `limit`; the connection is closed then, as by a drop. As
    /// [`read`](Self::read); `NotConnected` if the peer has reset the connection.
    ///
    /// # Cancellation
    ///
    /// Dropping the future drops the stream.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::io::{TcpListener, TcpStream};
    /// use std::time::Duration;
    ///
    /// readily::run(async {
    ///     let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
    ///     let client = TcpStream::connect(listener.local_addr()?).await?;
    ///     client.write_all(b"a request that is refused unread").await?;
    ///     let (server, _) = listener.accept().await?;
    ///     server.write_all(b"no").await?;
    ///     let closing = readily::spawn(server.linger_close(Duration::from_secs(10)));
    ///     let mut answer = [0; 8];
    ///     assert_eq!(client.read(&mut answer).await?, 2);
    ///     drop(client);
    ///     closing.await.expect("it is not cancelled")
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "SO_LINGER")]
    #[doc(alias = "wait_closed")]
    pub async fn linger_close(self, limit: Duration) -> io::Result<()> {
        if let Err(error) = self.shutdown(Shutdown::Write) {
            budget::consume_budget().await; // F1
            return Err(error);
        }
        let mut timer = LazyTimer::after(limit);
        poll_fn(|cx| {
            let mut buffer = [0; 4096];
            // The budget ends the loop for a peer that sends without an end.
            while let Poll::Ready(n) = self.poll_read(cx, &mut buffer)? {
                if n == 0 {
                    return Poll::Ready(Ok(()));
                }
            }
            timer.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
        })
        .await
    }

    /// Waits for the end of an attempt to connect that was begun.
    pub(super) async fn connecting(
        socket: Socket,
        site: &'static Location<'static>,
    ) -> io::Result<Self> {
        let Self { source } = Self::made_here(socket, site)?;
        source.connected().await?;
        Ok(Self { source })
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
    pub fn from_std(stream: net::TcpStream) -> io::Result<Self> {
        Self::taken_over(socket::import(stream), Location::caller())
    }

    /// Makes a stream from a connection of a virtual kernel: the kernel of the current loop's poller
    /// ([`Poller::kernel`](crate::poll::Poller::kernel)).
    ///
    /// # Errors
    ///
    /// As [`TcpStream::from_std`]; [`Error::BadDescriptor`](crate::Error::BadDescriptor) if the current
    /// loop is on another kernel. The descriptor is dropped.
    #[track_caller]
    pub fn from_kernel(fd: Rc<dyn VirtualFd>) -> io::Result<Self> {
        Self::taken_over(Socket::Virtual(fd), Location::caller())
    }

    /// Of a connection that a listener of a loop has accepted.
    pub(super) fn accepted(socket: Socket, site: &'static Location<'static>) -> io::Result<Self> {
        let source = Watched::accepted(socket, Readiness::NONE, site)?;
        Ok(Self { source })
    }

    /// Of a socket that the loop made: it is non-blocking, and need not be checked.
    pub(super) fn made_here(socket: Socket, site: &'static Location<'static>) -> io::Result<Self> {
        let source = Watched::new(socket, FdState::MadeHere, site)?;
        Ok(Self { source })
    }

    /// Of a connection that the loop of another thread has accepted.
    pub(crate) fn from_accepted(
        stream: net::TcpStream,
        site: &'static Location<'static>,
    ) -> io::Result<Self> {
        Self::accepted(Socket::System(stream.into()), site)
    }

    /// Of a descriptor that the loop has not made: whatever it is (R211).
    fn taken_over(socket: Socket, site: &'static Location<'static>) -> io::Result<Self> {
        let fd_state = socket.fd_state();
        let source = Watched::new(socket, fd_state, site)?;
        source.check_stream()?;
        Ok(Self { source })
    }

    /// Returns the local address.
    ///
    /// # Errors
    ///
    /// As `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.local_addr()
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// As `getpeername(2)`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.peer_addr()
    }

    /// Sets whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.source.set_nodelay(nodelay)
    }
}

byte_stream!(
    TcpStream,
    "use readily::io::{TcpListener, TcpStream};",
    "    let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
    let here = TcpStream::connect(listener.local_addr()?).await?;
    let (there, _) = listener.accept().await?;"
);

/// What is asked of the connection and not of one of its sides: each half may.
macro_rules! of_the_connection {
    ($half:ty, $stream:tt) => {
        impl $half {
            /// See [`TcpStream::local_addr`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.$stream.local_addr()
            }

            /// See [`TcpStream::peer_addr`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.$stream.peer_addr()
            }

            /// See [`TcpStream::set_nodelay`]. It is an option of the connection, and so of both halves.
            ///
            /// # Errors
            ///
            /// As there.
            pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
                self.$stream.set_nodelay(nodelay)
            }
        }
    };
}

of_the_connection!(ReadHalf<'_>, 0);
of_the_connection!(OwnedReadHalf, 0);
of_the_connection!(WriteHalf<'_>, 0);
of_the_connection!(OwnedWriteHalf, stream);
