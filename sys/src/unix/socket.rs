//! The socket calls that a loop needs and the standard library lacks.
//!
//! `std` connects and accepts in blocking mode, hides the pending error of some kinds of
//! socket, and cannot say what kind a descriptor is. Everything made here is non-blocking
//! and close-on-exec; nothing here raises `SIGPIPE`; a signal never interrupts a call.
//!
//! In the notes this is what "connect ready" and "read ready" do (N7).

use std::ffi::c_int;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::unix::address::Address;
use crate::unix::{nonblocking, poll};
use crate::{cvt, new_fd};

mod bytes;

pub use bytes::{IOV_MAX, recv, recv_peek, recv_uninit, recv_vectored, send, send_vectored};

/// What a descriptor is, as far as a loop treats it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A socket with a connection: bytes, or packets in a row, and an end.
    Stream,
    /// A socket that carries packets without a connection; raw, netlink and packet sockets too.
    Datagram,
    /// A socket that connections are accepted from.
    Listener,
    /// Anything else: a pipe, a terminal, an eventfd.
    Other,
}

/// Returns what kind of file `fd` is.
#[must_use]
pub fn kind(fd: BorrowedFd<'_>) -> Kind {
    match option(fd, libc::SO_TYPE) {
        Ok(libc::SOCK_STREAM | libc::SOCK_SEQPACKET) if is_listener(fd) => Kind::Listener,
        Ok(libc::SOCK_STREAM | libc::SOCK_SEQPACKET) => Kind::Stream,
        // Raw, netlink and packet sockets too: no connection, so an error ends nothing.
        Ok(libc::SOCK_DGRAM | libc::SOCK_RAW | libc::SOCK_RDM) => Kind::Datagram,
        _ => Kind::Other,
    }
}

fn is_listener(fd: BorrowedFd<'_>) -> bool {
    option(fd, libc::SO_ACCEPTCONN).is_ok_and(|on| on != 0)
}

/// Makes `fd` non-blocking; `true` if it was not yet.
///
/// The flag belongs to the open file, not to the number: each owner of it (a duplicate, a
/// parent on the same terminal) is changed too. To put it back, there is [`crate::nonblocking::hold`].
///
/// # Errors
///
/// Those of `fcntl(2)`.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<bool> {
    nonblocking::set(fd)
}

/// Whether `fd` is a socket of whatever kind.
#[must_use]
pub fn is_socket(fd: BorrowedFd<'_>) -> bool {
    option(fd, libc::SO_TYPE).is_ok()
}

/// Takes the next connection of a listener; no address for unix sockets.
///
/// `accept(2)` has no flag that forbids waiting, and another process that shares the listener may
/// have made it blocking: the flag is checked first, and set again. A check of readiness would not
/// do, because another process may take the connection in between.
///
/// # Errors
///
/// `WouldBlock` when there is none, and all the others of `accept(2)` as they come: some
/// mean this connection only (`ECONNABORTED`), some the whole process (`EMFILE`).
#[inline]
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    nonblocking::ensure(listener)?;
    let mut peer = Address::empty();
    let fd = new_fd::accept(listener, &mut peer)?;
    Ok((fd, peer.to_std()))
}

/// Begins to connect to `addr`. It is through when the socket is writable, [`take_error`]
/// has nothing, as [`is_connected`] reports.
///
/// # Errors
///
/// What is known at once; the rest comes from [`take_error`].
pub fn connect_tcp(addr: &SocketAddr) -> io::Result<OwnedFd> {
    let fd = new_fd::socket(Address::from_std(addr).family(), libc::SOCK_STREAM)?;
    connect_to(fd.as_fd(), addr)?;
    Ok(fd)
}

/// Begins to connect a socket to `addr`: see [`connect_tcp`].
///
/// # Errors
///
/// As there.
pub fn connect_to(fd: BorrowedFd<'_>, addr: &SocketAddr) -> io::Result<()> {
    connect(fd, &Address::from_std(addr))
}

fn connect(fd: BorrowedFd<'_>, address: &Address) -> io::Result<()> {
    let (to, len) = address.parts();
    // SAFETY: `to` points to `len` bytes of `address`, which outlives the call; the
    // descriptor is borrowed, so it is open.
    match cvt(unsafe { libc::connect(fd.as_raw_fd(), to, len) }) {
        // After `EINTR` the kernel goes on connecting by itself; a second call would give
        // `EALREADY`.
        Err(e) if matches!(e.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => Ok(()),
        answer => answer.map(drop),
    }
}

/// Takes the socket's pending error (`SO_ERROR`): asked a second time, it is gone.
///
/// # Errors
///
/// Those of `getsockopt(2)`: `ENOTSOCK` for what is no socket.
pub fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    let code = option(fd, libc::SO_ERROR)?;
    Ok((code != 0).then(|| io::Error::from_raw_os_error(code)))
}

/// Whether the socket has a peer.
///
/// # Errors
///
/// Those of `getpeername(2)` except `ENOTCONN`, which is the answer *no*.
pub fn is_connected(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut peer = Address::empty();
    let (to, len) = peer.parts_mut();
    // SAFETY: `to` points to `*len` bytes of `peer`, which is ours alone until the call
    // returns; the descriptor is borrowed, so it is open.
    match cvt(unsafe { libc::getpeername(fd.as_raw_fd(), to, len) }) {
        Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(false),
        answer => answer.map(|_| true),
    }
}

/// Whether `fd` is a socket before `connect(2)` that the system reports as hung up: on Linux, a TCP
/// or Unix stream. A socket that has ended is readable too, one that failed has an error, and one
/// that is connecting reports nothing yet.
///
/// # Errors
///
/// Those of `getpeername(2)` and `poll(2)`, except that `fd` is no socket.
pub fn is_unconnected(fd: BorrowedFd<'_>) -> io::Result<bool> {
    if poll::look(fd, poll::IN | poll::OUT | poll::RDHUP)? != poll::OUT | poll::HUP {
        return Ok(false);
    }
    match is_connected(fd) {
        Err(e) if e.raw_os_error() == Some(libc::ENOTSOCK) => Ok(false),
        connected => connected.map(|connected| !connected),
    }
}

/// The socket's own address.
///
/// # Errors
///
/// Those of `getsockname(2)`; `Unsupported` where it is no address of the internet.
pub fn local_addr(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let mut own = Address::empty();
    let (to, len) = own.parts_mut();
    // SAFETY: `to` points to `*len` bytes of `own`, which is ours alone until the call returns;
    // the descriptor is borrowed, so it is open.
    cvt(unsafe { libc::getsockname(fd.as_raw_fd(), to, len) })?;
    let unsupported = "the local address is not one of the internet";
    own.to_std()
        .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, unsupported))
}

/// How many bytes can be read at once; zero where the system does not report it. For a datagram
/// socket Linux counts the next packet, others the whole queue.
///
/// # Errors
///
/// Those of `FIONREAD`, except that it does not apply.
pub fn bytes_available(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: c_int = 0;
    // SAFETY: `FIONREAD` writes one `int`, and `count` is one; the descriptor is open.
    match cvt(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) }) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL)) => Ok(0),
        Err(e) => Err(e),
        // Linux counts at either end of a pipe what lies in it.
        Ok(_) if count > 0 && is_write_only(fd) => Ok(0),
        Ok(_) => Ok(usize::try_from(count).unwrap_or(0)),
    }
}

fn is_write_only(fd: BorrowedFd<'_>) -> bool {
    nonblocking::flags(fd).is_ok_and(|flags| flags & libc::O_ACCMODE == libc::O_WRONLY)
}

/// Whether a byte can be received at once, without receiving it. Linux counts in [`bytes_available`]
/// no further than to an urgent byte; this looks behind it.
///
/// # Errors
///
/// Those of `recv(2)` except `EINTR`: `WouldBlock` if there is none just now, `ENOTSOCK`. A
/// pending error of the socket is taken by this call.
pub fn peek(fd: BorrowedFd<'_>) -> io::Result<bool> {
    recv_peek(fd, &mut [0]).map(|n| n > 0)
}

/// Closes one or both directions of a connection.
///
/// # Errors
///
/// `NotConnected`, or `ENOTSOCK`.
pub fn shutdown(fd: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Read => libc::SHUT_RD,
        Shutdown::Write => libc::SHUT_WR,
        Shutdown::Both => libc::SHUT_RDWR,
    };
    // SAFETY: takes two numbers, touches no memory; the descriptor is borrowed, so it is open.
    cvt(unsafe { libc::shutdown(fd.as_raw_fd(), how) })?;
    Ok(())
}

/// Whether `close(2)` has been asked to wait for unsent bytes (`SO_LINGER`).
pub(crate) fn lingers(fd: BorrowedFd<'_>) -> bool {
    let unasked = libc::linger {
        l_onoff: 0,
        l_linger: 0,
    };
    option_as(fd, libc::SO_LINGER, unasked)
        .is_ok_and(|linger| linger.l_onoff != 0 && linger.l_linger != 0)
}

fn option(fd: BorrowedFd<'_>, name: c_int) -> io::Result<c_int> {
    option_as(fd, name, 0)
}

/// An option whose value is a `T`, of plain numbers.
pub(crate) fn option_as<T: Copy>(fd: BorrowedFd<'_>, name: c_int, value: T) -> io::Result<T> {
    option_of(fd, libc::SOL_SOCKET, name, value)
}

/// The same of a protocol.
fn option_of<T: Copy>(
    fd: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    mut value: T,
) -> io::Result<T> {
    let mut len = size_of::<T>() as libc::socklen_t;
    let (to, len) = ((&raw mut value).cast(), &raw mut len);
    // SAFETY: `to` and `len` point to live locals, and `len` is the size of the value; any bytes
    // are a value of it; the descriptor is borrowed, so it is open.
    cvt(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, to, len) })?;
    Ok(value)
}

pub(crate) fn set_option(fd: BorrowedFd<'_>, name: c_int, value: c_int) -> io::Result<()> {
    set_option_of(fd, libc::SOL_SOCKET, name, value)
}

/// An option of a protocol, whose value is a `T`, of plain numbers.
fn set_option_of<T: Copy>(
    fd: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: T,
) -> io::Result<()> {
    let (from, len) = ((&raw const value).cast(), size_of::<T>() as libc::socklen_t);
    // SAFETY: `from` points to `len` bytes of a live local; the descriptor is borrowed, so it
    // is open.
    cvt(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, from, len) })?;
    Ok(())
}

pub mod datagram;
mod listen;
pub mod local;
pub mod options;
pub mod pass_fds;

pub use listen::{bind, listen, listen_tcp, listen_tcp_shared};

#[cfg(test)]
mod tests;
