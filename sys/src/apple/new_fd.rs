//! New descriptors, close-on-exec and non-blocking. The twin of `unix/new_fd.rs`.
//!
//! Apple's systems have neither `accept4(2)` nor `pipe2(2)` nor flags for `socket(2)`, so
//! the flags come one call later, and a `fork` with `exec` on another thread can fall into
//! the gap. They also lack `MSG_NOSIGNAL`: the option is set once, when a socket is made.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::unix::address::Address;
use crate::unix::socket::{set_nonblocking, set_option};
use crate::{cvt, uninterrupted};

/// No flag of a write suppresses the signal here: `SO_NOSIGPIPE` is set on the socket.
pub const SEND_FLAGS: c_int = libc::MSG_DONTWAIT;
/// A send to a full buffer waits in spite of `MSG_DONTWAIT`: the kernel looks at the socket's own state
/// (`SS_NBIO`) and at a flag that programs cannot give (`MSG_NBIO`).
pub(crate) const SEND_WAITS: bool = true;

/// There is no flag with which descriptors that are received are close-on-exec.
pub(crate) const RECV_FDS_FLAGS: c_int = 0;

/// Makes a descriptor that was received close-on-exec.
pub(crate) fn set_received_cloexec(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_cloexec(fd)
}

fn set_cloexec(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes numbers, touches no memory; the descriptor is borrowed, so it is open.
    cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) }).map(drop)
}

/// Lets writes to a dead peer give an error and not a signal.
pub(crate) fn suppress_sigpipe(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option(fd, libc::SO_NOSIGPIPE, 1)
}

/// Makes a socket.
pub(crate) fn socket(family: c_int, kind: c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes three numbers, touches no memory.
    let fd = cvt(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: the kernel has just made this descriptor, and it has no other owner yet.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    prepare(&fd)?;
    suppress_sigpipe(fd.as_fd())?;
    Ok(fd)
}

/// Takes the next connection of a listener, and the address of its peer.
pub(crate) fn accept(listener: BorrowedFd<'_>, peer: &mut Address) -> io::Result<OwnedFd> {
    let fd = uninterrupted(|| {
        let (to, len) = peer.parts_mut();
        // SAFETY: `to` points to `*len` bytes of `peer`, which is ours alone until the call
        // returns; the listener is borrowed, so it is open.
        cvt(unsafe { libc::accept(listener.as_raw_fd(), to, len) })
    })?;
    // SAFETY: the kernel has just made this descriptor, and it has no other owner yet.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    prepare(&fd)?;
    // `EINVAL` where the peer has gone already; then a write gives `EPIPE` without a signal
    // only if the program ignores it, as every Rust program does.
    let _ = suppress_sigpipe(fd.as_fd());
    Ok(fd)
}

/// Makes a pipe: its reading and its writing end.
///
/// # Errors
///
/// Those of `pipe(2)`.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has space for the two numbers that are written.
    cvt(unsafe { libc::pipe(ends.as_mut_ptr()) })?;
    // SAFETY: the kernel has just made this descriptor, and it has no other owner yet.
    let reader = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as above.
    let writer = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    prepare(&reader)?;
    prepare(&writer)?;
    Ok((reader, writer))
}

fn prepare(fd: &OwnedFd) -> io::Result<()> {
    set_cloexec(fd.as_fd())?;
    set_nonblocking(fd.as_fd())?;
    Ok(())
}
