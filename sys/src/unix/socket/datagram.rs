//! Datagrams, received and sent without waiting, one at a time or many in one call.
//!
//! A datagram that is longer than its buffer is cut by the kernel, which reports that in a flag: here it is
//! always returned (R365).
//!
//! In the notes this is what "read ready" and "write ready" do (N7).

use super::bytes::message;
use crate::unix::address::{Address, SocketAddress};
use crate::unix::nonblocking;
use crate::{many, new_fd, transferred};
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The most datagrams of one call of [`recv_many`] or [`send_many`].
pub const MOST: usize = 64;

/// What was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram<A> {
    /// The number of bytes at the front of the buffer; zero is an empty datagram.
    pub len: usize,
    /// The sender.
    pub from: A,
    /// Whether the datagram was longer than the buffer. The rest of it is lost.
    pub is_truncated: bool,
}

/// Receives a datagram; with `keep` it stays to be received (`MSG_PEEK`).
///
/// # Errors
///
/// Those of `recvmsg(2)` except `EINTR`.
pub fn recv<A: SocketAddress>(
    fd: BorrowedFd<'_>,
    buf: &mut [u8],
    keep: bool,
) -> io::Result<Datagram<A>> {
    let mut from = Address::empty();
    let mut bufs = [IoSliceMut::new(buf)];
    let mut message = message(bufs.as_mut_ptr().cast(), 1);
    let flags = libc::MSG_DONTWAIT | if keep { libc::MSG_PEEK } else { 0 };
    let len = transferred(|| {
        message.msg_name = from.parts_mut().0.cast();
        message.msg_namelen = Address::ROOM;
        // SAFETY: the message has no control data; its vector is `bufs` and its address `from`, which are
        // ours alone for the call.
        unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags) }
    })?;
    from.set_len(message.msg_namelen);
    Ok(Datagram {
        len,
        from: A::of_address(&from)?,
        is_truncated: message.msg_flags & libc::MSG_TRUNC != 0,
    })
}

/// Sends a datagram.
///
/// # Errors
///
/// Those of `sendto(2)` except `EINTR`: `EMSGSIZE` if it is too long for the socket.
pub fn send_to<A: SocketAddress>(fd: BorrowedFd<'_>, bytes: &[u8], to: &A) -> io::Result<usize> {
    if new_fd::SEND_WAITS {
        nonblocking::ensure(fd)?;
    }
    let to = to.to_address()?;
    let (name, len) = to.parts();
    transferred(|| {
        let (from, size, flags) = (bytes.as_ptr().cast(), bytes.len(), new_fd::SEND_FLAGS);
        // SAFETY: `bytes` and `to` are borrowed for the call, and have the lengths that are named.
        unsafe { libc::sendto(fd.as_raw_fd(), from, size, flags, name, len) }
    })
}

/// Receives up to [`MOST`] datagrams, each into `room` bytes of `buf`, one behind the other; as many as are there,
/// and have room in `buf`. `received` is cleared first.
///
/// # Errors
///
/// Those of the first `recvmsg(2)`: `WouldBlock` if there is none. An error after a datagram is that of the
/// next call; where the system has no `recvmmsg(2)`, it is lost.
pub fn recv_many<A: SocketAddress>(
    fd: BorrowedFd<'_>,
    buf: &mut [u8],
    room: usize,
    received: &mut Vec<Datagram<A>>,
) -> io::Result<()> {
    received.clear();
    let bufs = buf.chunks_exact_mut(room.max(1)).take(MOST);
    many::recv_many(fd, bufs, received)
}

/// Sends datagrams in their order, up to [`MOST`] of them, and returns how many were sent.
///
/// # Errors
///
/// That of the first one: `WouldBlock` if there is no room. An error after a datagram that was sent is that of
/// the next call.
pub fn send_many<A: SocketAddress>(
    fd: BorrowedFd<'_>,
    datagrams: &[(&[u8], A)],
) -> io::Result<usize> {
    let datagrams = &datagrams[..datagrams.len().min(MOST)];
    if datagrams.is_empty() {
        return Ok(0);
    }
    if new_fd::SEND_WAITS {
        nonblocking::ensure(fd)?;
    }
    many::send_many(fd, datagrams)
}
