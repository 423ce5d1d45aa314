//! Sockets of the local domain (`unix(7)`): made, bound, connected; and the credentials of the peer.
//!
//! In the notes: the same *connect* and *read* as a connection's (N7), inside one machine.

use super::connect;
use super::listen::bind_to;
use crate::unix::address::Address;
use crate::unix::nonblocking;
use crate::{cvt, new_fd};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::Path;

pub use crate::peer_cred::peer_cred;

/// The user and the process at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCred {
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
    /// The process, where the system reports it.
    pub pid: Option<i32>,
}

/// Makes a stream socket that is bound to `addr`, and is not a listener yet.
///
/// # Errors
///
/// `InvalidInput` for an address that no socket can be bound to; those of `socket(2)` and `bind(2)`.
pub fn bind_stream(addr: &SocketAddr) -> io::Result<OwnedFd> {
    let address = Address::from_unix(addr)?;
    let fd = new_fd::socket(libc::AF_UNIX, libc::SOCK_STREAM)?;
    bind_to(fd.as_fd(), &address)?;
    Ok(fd)
}

/// Begins to connect to `addr`; see [`connect_tcp`](super::connect_tcp).
///
/// # Errors
///
/// `InvalidInput` for an address that no socket can have; `WouldBlock` on Linux when the
/// listener's queue is full: then there is nothing to wait for, and one tries again later.
pub fn connect_stream(addr: &SocketAddr) -> io::Result<OwnedFd> {
    let address = Address::from_unix(addr)?;
    let fd = new_fd::socket(libc::AF_UNIX, libc::SOCK_STREAM)?;
    connect(fd.as_fd(), &address)?;
    Ok(fd)
}

/// Makes two streams that are connected to each other.
///
/// # Errors
///
/// Those of `socketpair(2)`.
pub fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (one, other) = UnixStream::pair()?;
    prepared(one.into(), other.into())
}

/// Makes two datagram sockets that are connected to each other.
///
/// # Errors
///
/// Those of `socketpair(2)`.
pub fn datagram_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (one, other) = UnixDatagram::pair()?;
    prepared(one.into(), other.into())
}

fn prepared(one: OwnedFd, other: OwnedFd) -> io::Result<(OwnedFd, OwnedFd)> {
    for fd in [&one, &other] {
        nonblocking::set(fd.as_fd())?;
        new_fd::suppress_sigpipe(fd.as_fd())?;
    }
    Ok((one, other))
}

/// Locks a folder among the programs that ask for the lock (`flock(2)`), until the file is closed.
///
/// # Errors
///
/// `WouldBlock` if another has it; those of `open(2)`.
pub fn lock_folder(path: &Path) -> io::Result<File> {
    let folder = File::open(path)?;
    lock(folder.as_fd())?;
    Ok(folder)
}

fn lock(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes two numbers, touches no memory; the descriptor is borrowed, so it is open.
    cvt(unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }).map(drop)
}
