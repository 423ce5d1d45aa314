//! New descriptors, close-on-exec and non-blocking from birth. The twin of `apple/new_fd.rs`.
//!
//! Asking for the flags afterwards leaves a gap in which another thread's `fork` and `exec`
//! takes the descriptor along. These systems can do it in one step.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::unix::address::Address;
use crate::{cvt, uninterrupted};

/// Flags with which a write to a dead peer gives an error and not `SIGPIPE`, and to a full buffer one
/// instead of a wait for room.
pub const SEND_FLAGS: c_int = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
/// Whether a send waits for room in spite of them.
pub(crate) const SEND_WAITS: bool = false;

/// The flag with which descriptors that are received are close-on-exec.
pub(crate) const RECV_FDS_FLAGS: c_int = libc::MSG_CMSG_CLOEXEC;

/// Needs no call on these systems: there is the flag.
pub(crate) fn set_received_cloexec(_fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(())
}

/// Needs no call on these systems: each send has a flag.
pub(crate) fn suppress_sigpipe(_fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(())
}

/// Makes a socket.
pub(crate) fn socket(family: c_int, kind: c_int) -> io::Result<OwnedFd> {
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes three numbers, touches no memory.
    let fd = cvt(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: the kernel has just made this descriptor, and it has no other owner yet.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes the next connection of a listener, and stores the address of its peer.
#[inline]
pub(crate) fn accept(listener: BorrowedFd<'_>, peer: &mut Address) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let fd = uninterrupted(|| {
        let (to, len) = peer.parts_mut();
        // SAFETY: `to` points to `*len` bytes of `peer`, which is ours alone until the call
        // returns; the listener is borrowed, so it is open.
        cvt(unsafe { libc::accept4(listener.as_raw_fd(), to, len, flags) })
    })?;
    // SAFETY: the kernel has just made this descriptor, and it has no other owner yet.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a pipe: its reading and its writing end.
///
/// # Errors
///
/// Those of `pipe(2)`.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has space for the two numbers that are written.
    cvt(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
    // SAFETY: the kernel has just made this descriptor, and it has no other owner yet.
    let reader = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as above.
    let writer = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    Ok((reader, writer))
}
