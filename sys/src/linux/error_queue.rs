//! A socket's error queue, for tests: what fills it though nothing is wrong, and what empties it.
//!
//! epoll reports an entry of the error queue as an error (`EPOLLERR`), and a loop must not take a
//! healthy connection for a broken one. These functions stand here for the reasons given in
//! `unix/for_tests.rs`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::unix::socket::set_option;
use crate::{cvt_size, new_fd, uninterrupted};

/// Sends without copying (`MSG_ZEROCOPY`); that it is done is put on the error queue.
///
/// # Errors
///
/// Those of `setsockopt(2)` and `send(2)`: this kind of socket cannot.
pub fn send_zerocopy(fd: BorrowedFd<'_>, bytes: &'static [u8]) -> io::Result<usize> {
    set_option(fd, libc::SO_ZEROCOPY, 1)?;
    let flags = libc::MSG_ZEROCOPY | new_fd::SEND_FLAGS;
    uninterrupted(|| {
        let (from, len) = (bytes.as_ptr().cast(), bytes.len());
        // SAFETY: the kernel reads `len` bytes of `bytes`, also after the call has returned: they
        // are never changed and never freed. The descriptor is borrowed, so it is open.
        cvt_size(unsafe { libc::send(fd.as_raw_fd(), from, len, flags) })
    })
}

/// Has the time of each packet that is sent put on the error queue (`SO_TIMESTAMPING`).
///
/// # Errors
///
/// Those of `setsockopt(2)`.
pub fn stamp_sends(fd: BorrowedFd<'_>) -> io::Result<()> {
    let stamps = libc::SOF_TIMESTAMPING_TX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
    set_option(fd, libc::SO_TIMESTAMPING, stamps as i32)
}

/// Takes one message off the error queue; whether there was one.
///
/// # Errors
///
/// Those of `recvmsg(2)`, except that there is none.
pub fn fetch(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut bytes = [0u8; 4096];
    let mut space = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: of a structure of numbers and pointers, all zero is a value: no name, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut space, 1);
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    let fetched = uninterrupted(|| {
        // SAFETY: `message` names one live local of its own length, and nothing else to be written
        // to; the descriptor is borrowed, so it is open.
        cvt_size(unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags) })
    });
    match fetched {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        answer => answer.map(|_| true),
    }
}
