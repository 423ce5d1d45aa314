//! A TCP connection for coroutines.
//!
//! All its operations take `&self`, so that one task may read while another writes; what they
//! return is what the system returned, except that `WouldBlock` and `Interrupted` never reach
//! the caller.
//!
//! In the notes: the connection behind `await` (N4, N10); asyncio's `sock_recv`,
//! `sock_sendall`, `sock_connect`.

use super::socket::{self, Socket};
use super::tcp_split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use super::tcp_transfer::{Read, Write, WriteAll};
use super::watched::{Direction, Watched};
use crate::event_loop::FdState;
use crate::poll::VirtualFd;
use std::io;
use std::net::{self, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::Location;
use std::rc::Rc;

/// A TCP connection. Dropping it closes it, and ignores an error of `close(2)`, which for a socket
/// means nothing for the bytes.
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
    pub(super) source: Watched<Socket<net::TcpStream>>,
}

impl TcpStream {
    /// Connects to `addr`. There is no look-up of names here: it would block the loop ([N5]).
    ///
    /// # Errors
    ///
    /// As `connect(2)`: refused, unreachable, timed out; or no loop is running here.
    ///
    /// # Cancellation
    ///
    /// Dropping it closes the socket; the peer may see a connection that ends at once.
    ///
    /// [N5]: crate::book#n5
    #[doc(alias = "open_connection")]
    #[track_caller]
    pub fn connect(addr: impl Into<SocketAddr>) -> impl Future<Output = io::Result<Self>> {
        let site = Location::caller(); // not known within the future
        async move {
            let Self { source } = Self::made_here(socket::connect(addr.into())?, site)?;
            source
                .io(Direction::Write, |stream| {
                    // Writability is a hint; the socket's error decides, and its peer address proves it.
                    if let Some(error) = stream.take_error()? {
                        return Err(error);
                    }
                    match stream.is_connected()? {
                        true => Ok(()),
                        false => Err(io::ErrorKind::WouldBlock.into()),
                    }
                })
                .await?;
            Ok(Self { source })
        }
    }

    /// Takes a connection of the standard library over, and makes it non-blocking.
    /// If it was blocking, it is made blocking again when it is dropped, so a duplicate that is used on must
    /// set `O_NONBLOCK` again. One that was non-blocking before is left alone.
    ///
    /// # Errors
    ///
    /// As [`Source::new`](super::Source::new); [`Error::NotStream`](crate::Error::NotStream) for a listener, say.
    #[track_caller]
    pub fn from_std(stream: net::TcpStream) -> io::Result<Self> {
        Self::taken_over(socket::import(stream), Location::caller())
    }

    /// Makes a stream of a connection of another kernel: the kernel of the current loop's poller
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

    /// Of a socket that the loop made or accepted: it is non-blocking, and need not be checked.
    pub(super) fn made_here(
        socket: Socket<net::TcpStream>,
        site: &'static Location<'static>,
    ) -> io::Result<Self> {
        let source = Watched::new(socket, FdState::MadeHere, site)?;
        Ok(Self { source })
    }

    /// Of a connection that the loop of another thread has accepted.
    pub(crate) fn from_accepted(
        stream: net::TcpStream,
        site: &'static Location<'static>,
    ) -> io::Result<Self> {
        Self::made_here(Socket::System(stream), site)
    }

    /// Of a descriptor that the loop has not made: whatever it is (R211).
    fn taken_over(
        socket: Socket<net::TcpStream>,
        site: &'static Location<'static>,
    ) -> io::Result<Self> {
        let fd_state = socket.fd_state();
        let source = Watched::new(socket, fd_state, site)?;
        source.check_stream()?;
        Ok(Self { source })
    }

    /// Reads what is there, waiting until something is. Zero is the end of the stream, or an
    /// empty `buffer`.
    ///
    /// # Errors
    ///
    /// As `recv(2)`: a reset, for one.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: either bytes were read and this has returned, or none were.
    #[doc(alias = "sock_recv_into")]
    #[doc(alias = "sock_recv")]
    pub fn read(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        Read {
            wait: self.source.ready_wait(Direction::Read),
            buffer,
        }
    }

    /// Fills `buffer`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the stream ends before; as [`read`](TcpStream::read).
    ///
    /// # Cancellation
    ///
    /// Bytes that were read are at the front of `buffer`, but their number is lost.
    #[doc(alias = "readexactly")]
    pub async fn read_exact(&self, buffer: &mut [u8]) -> io::Result<()> {
        if buffer.is_empty() {
            return self.read(buffer).await.map(drop);
        }
        let mut done = 0;
        while done < buffer.len() {
            match self.read(&mut buffer[done..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => done += n,
            }
        }
        Ok(())
    }

    /// Writes as much of `bytes` as there is room for, waiting until there is some.
    ///
    /// # Errors
    ///
    /// As `send(2)`: `BrokenPipe` or a reset if the peer is gone. There is no `SIGPIPE`.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: either bytes were written and this has returned, or none were.
    pub fn write(&self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> {
        Write {
            wait: self.source.ready_wait(Direction::Write),
            bytes,
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// As [`write`](TcpStream::write); some of the bytes may have been written.
    ///
    /// # Cancellation
    ///
    /// Some of the bytes may have been written; their number is lost.
    #[doc(alias = "sock_sendall")]
    pub fn write_all(&self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> {
        WriteAll {
            wait: self.source.ready_wait(Direction::Write),
            bytes,
        }
    }

    /// Shuts one or both directions down. After the writing side, the peer reads the end;
    /// we go on reading.
    ///
    /// # Errors
    ///
    /// As `shutdown(2)`.
    #[doc(alias = "write_eof")]
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.source.shutdown(how)
    }

    /// The reading and the writing side, borrowed: for two futures of one task.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        ReadHalf::pair(self)
    }

    /// The reading and the writing side, owned: for two tasks. Dropping the writing side
    /// shuts it down.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        OwnedReadHalf::pair(Rc::new(self))
    }

    /// Our own address.
    ///
    /// # Errors
    ///
    /// As `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.local_addr()
    }

    /// The peer's address.
    ///
    /// # Errors
    ///
    /// As `getpeername(2)`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.peer_addr()
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.source.set_nodelay(nodelay)
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}
