//! What the sockets of datagrams have in common.
//!
//! An operation that succeeds says nothing about the next one, so a direction counts as ready until one
//! returns `WouldBlock`; and each is seen, so the kernel need not be asked in between (R132).
//!
//! In asyncio: `DatagramTransport`, `sock_recvfrom`, `sock_sendto`.

use super::socket::Socket;
use super::watched::{Direction, Watched};
use std::io;
use std::task::{Context, Poll};

#[doc(inline)]
pub use readily_sys::socket::datagram::Datagram;

/// The room of an operation that does not count bytes: any but none.
const ROOM: usize = 1;

impl Watched<Socket> {
    /// Waits for an operation of datagrams.
    pub(super) async fn each<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(&Socket) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut made = None;
        let mut run = |io: &Socket| {
            made = Some(operation(io)?);
            Ok(ROOM)
        };
        self.transfer(direction, ROOM, &mut run).await?;
        Ok(made.expect("the operation has succeeded"))
    }

    /// Polls an operation of datagrams.
    pub(super) fn poll_each<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut operation: impl FnMut(&Socket) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let mut made = None;
        let mut run = |io: &Socket| {
            made = Some(operation(io)?);
            Ok(ROOM)
        };
        let polled = self.poll_any(cx, direction, ROOM, &mut run);
        polled.map_ok(|_| made.expect("the operation has succeeded"))
    }
}

/// Implements the methods of a socket of datagrams, a type with a field `source`, whose addresses are
/// `$Addr`; `$std` is the standard library's type.
macro_rules! datagram_socket {
    ($Socket:ident, $Addr:ty, $std:ty) => {
        /// # Receiving and sending
        impl $Socket {
            /// Waits for a datagram, and receives it. A datagram that is longer than `buffer` is truncated, and
            /// [`Datagram::is_truncated`] is set.
            ///
            /// # Errors
            ///
            /// As `recvmsg(2)`. A connected socket reports here, once, that the peer did not accept an earlier
            /// datagram (`ConnectionRefused`). The socket can be used after that: the next call waits again.
            ///
            /// # Cancellation
            ///
            /// Nothing is lost: either a datagram was received and this has returned, or none was.
            #[doc(alias = "sock_recvfrom")]
            #[doc(alias = "sock_recvfrom_into")]
            #[doc(alias = "error_received")]
            #[doc(alias = "recv")]
            pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<Datagram<$Addr>> {
                let receive = |io: &Socket| io.recv_datagram(buffer, false);
                self.source.each(Direction::Read, receive).await
            }

            /// Waits for a datagram, and copies it without removing it: the next call returns the same datagram.
            ///
            /// # Errors
            ///
            /// As [`recv_from`](Self::recv_from).
            ///
            /// # Cancellation
            ///
            /// Nothing is lost.
            pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<Datagram<$Addr>> {
                let receive = |io: &Socket| io.recv_datagram(buffer, true);
                self.source.each(Direction::Read, receive).await
            }

            /// Waits until there is room, and sends a datagram to the peer of [`connect`](Self::connect). It is sent
            /// whole, or not at all.
            ///
            /// # Errors
            ///
            /// As `send(2)`: `EMSGSIZE` if it is too long; `NotConnected` without a peer; `ConnectionRefused`, once, if
            /// the peer did not accept an earlier one.
            ///
            /// # Cancellation
            ///
            /// Either the datagram was sent and this has returned, or it was not.
            pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
                self.source
                    .each(Direction::Write, |io| io.write(bytes))
                    .await
            }

            /// Waits until a receive is worth trying. It may still return `WouldBlock`.
            ///
            /// # Errors
            ///
            /// As [`Async::readable`](super::Async::readable).
            ///
            /// # Cancellation
            ///
            /// Nothing is lost.
            pub async fn readable(&self) -> io::Result<()> {
                self.source.wait(Direction::Read).await
            }

            /// Waits until a send is worth trying. It may still return `WouldBlock`.
            ///
            /// # Errors
            ///
            /// As [`readable`](Self::readable).
            ///
            /// # Cancellation
            ///
            /// Nothing is lost.
            pub async fn writable(&self) -> io::Result<()> {
                self.source.wait(Direction::Write).await
            }

            /// Receives a datagram, without waiting.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if there is none; as [`recv_from`](Self::recv_from).
            pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<Datagram<$Addr>> {
                let receive = |io: &Socket| io.recv_datagram(buffer, false);
                self.source.try_io(Direction::Read, receive)
            }

            /// Sends a datagram to `to`, without waiting.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if there is no room; as [`send_to`](Self::send_to).
            pub fn try_send_to(&self, bytes: &[u8], to: &$Addr) -> io::Result<usize> {
                let send = |io: &Socket| io.send_datagram(bytes, to);
                self.source.try_io(Direction::Write, send)
            }

            /// Sends a datagram to the peer of [`connect`](Self::connect), without waiting.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if there is no room; as [`send`](Self::send).
            pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
                self.source.try_io(Direction::Write, |io| io.write(bytes))
            }

            /// Runs `operation`, which uses the descriptor, now and without waiting: see
            /// [`TcpStream::try_io`](super::TcpStream::try_io).
            ///
            /// # Errors
            ///
            /// The error of `operation`, or that of `fcntl(2)`.
            pub fn try_io<R>(
                &self,
                direction: Direction,
                operation: impl FnMut() -> io::Result<R>,
            ) -> io::Result<R> {
                self.source.try_outside(direction, operation)
            }

            /// Polls a receive. Of several tasks that poll, only the one that polled last is woken.
            ///
            /// # Errors
            ///
            /// As [`recv_from`](Self::recv_from).
            pub fn poll_recv_from(
                &self,
                cx: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<Datagram<$Addr>>> {
                let receive = |io: &Socket| io.recv_datagram(buffer, false);
                self.source.poll_each(cx, Direction::Read, receive)
            }

            /// Polls a send to the peer of [`connect`](Self::connect).
            ///
            /// # Errors
            ///
            /// As [`send`](Self::send).
            pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                self.source
                    .poll_each(cx, Direction::Write, |io| io.write(bytes))
            }

            /// Polls whether a receive is worth trying, as [`readable`](Self::readable).
            ///
            /// # Errors
            ///
            /// As [`readable`](Self::readable).
            pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.source.poll_ready(cx, Direction::Read)
            }

            /// Polls whether a send is worth trying, as [`writable`](Self::writable).
            ///
            /// # Errors
            ///
            /// As [`writable`](Self::writable).
            pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.source.poll_ready(cx, Direction::Write)
            }
        }

        /// # The socket
        impl $Socket {
            /// Makes a socket from one of the standard library, and makes it non-blocking.
            /// If it was blocking, it is made blocking again when this is dropped, so code that goes on using a
            /// duplicate must set `O_NONBLOCK` again. A socket that was non-blocking before stays so.
            ///
            /// # Errors
            ///
            /// As [`Async::new`](super::Async::new); `InvalidInput` for a socket of another kind;
            /// `Unsupported` on a loop of a virtual kernel.
            #[track_caller]
            pub fn from_std(socket: $std) -> io::Result<Self> {
                let site = Location::caller();
                let socket = socket::of_the_system(|| Ok(socket.into()))?;
                socket.check_datagram()?;
                let source = Watched::new_in_pieces(socket, FdState::Unknown, site)?;
                Ok(Self { source })
            }

            /// Of a socket that was made here: it is non-blocking.
            fn made(
                make: impl FnOnce() -> io::Result<OwnedFd>,
                site: &'static Location<'static>,
            ) -> io::Result<Self> {
                let socket = socket::of_the_system(make)?;
                let source = Watched::new_in_pieces(socket, FdState::MadeHere, site)?;
                Ok(Self { source })
            }

            /// Returns the local address.
            ///
            /// # Errors
            ///
            /// As `getsockname(2)`.
            pub fn local_addr(&self) -> io::Result<$Addr> {
                self.source.with_std(<$std>::local_addr)
            }

            /// Returns the address of the peer that [`connect`](Self::connect) has set.
            ///
            /// # Errors
            ///
            /// As `getpeername(2)`: `NotConnected` if there is none.
            pub fn peer_addr(&self) -> io::Result<$Addr> {
                self.source.with_std(<$std>::peer_addr)
            }

            /// Takes the pending error of the socket (`SO_ERROR`), if there is one.
            ///
            /// # Errors
            ///
            /// As `getsockopt(2)`.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                self.source.take_error()
            }
        }

        impl AsFd for $Socket {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.source.as_fd()
            }
        }
    };
}
pub(super) use datagram_socket;
