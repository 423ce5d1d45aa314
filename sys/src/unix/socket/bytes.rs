//! The bytes of a socket, received and sent without waiting: `recv(2)`, `send(2)` and their vectored forms.
//!
//! In the notes this is what "read ready" and "write ready" do (N7).

use crate::unix::nonblocking;
use crate::{new_fd, transferred};
use std::ffi::c_int;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The most buffers that one call looks at: the same number on each of our systems.
pub const IOV_MAX: usize = 1024;

/// Receives from a socket, without waiting even if it is blocking; zero is the end.
///
/// # Errors
///
/// Those of `recv(2)` except `EINTR`.
#[inline]
pub fn recv(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    recv_with(fd, buf, libc::MSG_DONTWAIT)
}

/// The same, and the bytes stay to be received (`MSG_PEEK`).
///
/// # Errors
///
/// Those of `recv(2)` except `EINTR`.
pub fn recv_peek(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    recv_with(fd, buf, libc::MSG_DONTWAIT | libc::MSG_PEEK)
}

#[inline]
fn recv_with(fd: BorrowedFd<'_>, buf: &mut [u8], flags: c_int) -> io::Result<usize> {
    transferred(move || {
        // SAFETY: `buf` is ours alone for the call, and has the length that is named.
        unsafe { libc::recv(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), flags) }
    })
}

/// As [`recv`], into memory that need not be initialized: the first bytes of `buf` are, as many as
/// this returns.
///
/// # Errors
///
/// Those of `recv(2)` except `EINTR`.
pub fn recv_uninit(fd: BorrowedFd<'_>, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    transferred(move || {
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: as in `recv_with`; the kernel writes to the buffer, and reads none of it.
        unsafe { libc::recv(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), flags) }
    })
}

/// As [`recv`], into several buffers, one after the other: the first `IOV_MAX` of them.
///
/// # Errors
///
/// Those of `recvmsg(2)` except `EINTR`.
pub fn recv_vectored(fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let mut message = message(bufs.as_mut_ptr().cast(), bufs.len());
    transferred(move || {
        // SAFETY: the message has no address and no control data, and its vector is `bufs`, which is
        // ours alone for the call: an `IoSliceMut` has the layout of an `iovec`.
        unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) }
    })
}

/// A message of nothing but these buffers.
pub(super) fn message(bufs: *mut libc::iovec, len: usize) -> libc::msghdr {
    // SAFETY: zeros are a message without address, buffers and control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = bufs;
    message.msg_iovlen = len.min(IOV_MAX) as _;
    message
}

/// Sends on a socket, without waiting even if it is blocking. A peer that has gone is the error
/// `BrokenPipe`, never a signal.
///
/// # Errors
///
/// Those of `send(2)` except `EINTR`.
#[inline]
pub fn send(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    let flags = new_fd::SEND_FLAGS;
    if new_fd::SEND_WAITS {
        nonblocking::ensure(fd)?;
    }
    transferred(move || {
        // SAFETY: `buf` is borrowed for the call, and has the length that is named.
        unsafe { libc::send(fd.as_raw_fd(), buf.as_ptr().cast(), buf.len(), flags) }
    })
}

/// As [`send`], from several buffers, one after the other: the first `IOV_MAX` of them.
///
/// # Errors
///
/// Those of `sendmsg(2)` except `EINTR`.
pub fn send_vectored(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    if new_fd::SEND_WAITS {
        nonblocking::ensure(fd)?;
    }
    let message = message(bufs.as_ptr().cast_mut().cast(), bufs.len());
    transferred(move || {
        // SAFETY: the message has no address and no control data, and its vector is `bufs`, which is
        // borrowed for the call, and only read: an `IoSlice` has the layout of an `iovec`.
        unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, new_fd::SEND_FLAGS) }
    })
}
