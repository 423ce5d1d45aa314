//! Safe system calls for the `readily` event loop: epoll, kqueue, `poll(2)`, the notifiers that
//! end their waits, signals, and the few socket calls that a loop needs.
//!
//! The `unsafe` code of the project is here, one operation to a block, each with its argument; the
//! exceptions are the allocation of a task, in the crate above, and two files of the tools for tests.
//! This crate knows no loop: its terms are descriptors, `u64` tokens, the kernel's own bits, and the
//! [readiness](readiness::Readiness) that these mean.
//!
//! *Safe* promises that no call here can touch memory it does not own, and that a
//! descriptor which is returned is owned by exactly one value and closed with it. Pollers
//! take plain numbers ([`RawFd`](std::os::fd::RawFd)), because a number is what the kernel
//! keeps: one that is closed, or means another file by now, costs a clear error or a stray
//! event, never memory. A function that reads, writes or changes a descriptor takes a
//! [`BorrowedFd`](std::os::fd::BorrowedFd). Every descriptor made here is close-on-exec,
//! from birth where the system can do that.
//!
//! In the notes this is "what the operating system offers" (N2). Such numbers are those of
//! [the book of `readily`](https://docs.rs/readily/latest/readily/book/index.html#the-notes).

// The one cfg ladder of this crate. Below it a file or a directory exists as a whole, or
// it does not; files of the same name in two directories hold the same functions.

mod unix;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;

#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
    all(target_os = "linux", readily_kqueue_extern),
))]
mod bsd;

#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
    all(target_os = "linux", readily_kqueue_extern),
))]
pub use bsd::kqueue;

#[cfg(not(target_vendor = "apple"))]
use unix::new_fd;

#[cfg(target_vendor = "apple")]
#[path = "apple/new_fd.rs"]
mod new_fd;

#[cfg(not(any(target_vendor = "apple", target_os = "netbsd")))]
use unix::ppoll;

#[cfg(any(target_vendor = "apple", target_os = "netbsd"))]
#[path = "apple/ppoll.rs"]
mod ppoll;

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
use unix::many;

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
#[path = "unix/many_by_one.rs"]
mod many;

#[cfg(target_os = "freebsd")]
#[path = "freebsd/affinity.rs"]
pub mod affinity;
#[cfg(target_os = "netbsd")]
#[path = "netbsd/affinity.rs"]
pub mod affinity;
#[cfg(any(
    target_vendor = "apple",
    target_os = "openbsd",
    target_os = "dragonfly"
))]
#[path = "unix/affinity.rs"]
pub mod affinity;

/// The option by which several listeners share a port, where the system distributes connections among
/// them.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "dragonfly"))]
const SHARED_PORT: Option<c_int> = Some(libc::SO_REUSEPORT);
#[cfg(target_os = "freebsd")]
const SHARED_PORT: Option<c_int> = Some(libc::SO_REUSEPORT_LB);
#[cfg(any(target_vendor = "apple", target_os = "netbsd", target_os = "openbsd"))]
const SHARED_PORT: Option<c_int> = None;

/// The options of a connection that is kept alive: the time until the first probe, that between two, and the
/// number of probes; where the system has them for each socket.
#[cfg(not(any(target_vendor = "apple", target_os = "openbsd")))]
const KEEP_ALIVE: Option<[c_int; 3]> =
    Some([libc::TCP_KEEPIDLE, libc::TCP_KEEPINTVL, libc::TCP_KEEPCNT]);
#[cfg(target_vendor = "apple")]
const KEEP_ALIVE: Option<[c_int; 3]> =
    Some([libc::TCP_KEEPALIVE, libc::TCP_KEEPINTVL, libc::TCP_KEEPCNT]);
#[cfg(target_os = "openbsd")]
const KEEP_ALIVE: Option<[c_int; 3]> = None;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub use linux::secure::is_secure;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub use linux::{affinity, epoll, error_queue, event, exit_fd, facts, timer};
#[cfg(any(target_os = "linux", target_os = "android"))]
use linux::{nowait, peer_cred, poll_bits, same_file, wipe};
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub use unix::event;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub use unix::secure::is_secure;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use unix::{nowait, peer_cred, poll_bits, same_file};

#[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
use libc::__errno as errno_location;
#[cfg(any(target_os = "linux", target_os = "dragonfly"))]
use libc::__errno_location as errno_location;
#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
use libc::__error as errno_location;

#[cfg(target_os = "freebsd")]
use libc::INHERIT_ZERO;
#[cfg(any(target_os = "netbsd", target_os = "openbsd"))]
use libc::MAP_INHERIT_ZERO as INHERIT_ZERO;

#[cfg(any(target_os = "freebsd", target_os = "netbsd", target_os = "openbsd"))]
#[path = "bsd/wipe.rs"]
mod wipe;
#[cfg(any(target_vendor = "apple", target_os = "dragonfly"))]
#[path = "unix/no_wipe.rs"]
mod wipe;

#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(readily_force_pipe)
))]
pub use linux::notify::Notifier;
#[cfg(not(all(
    any(target_os = "linux", target_os = "android"),
    not(readily_force_pipe)
)))]
pub use unix::pipe::Notifier;

#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
))]
#[path = "bsd/exit_fd.rs"]
pub mod exit_fd;

use unix::wipe_on_fork;

pub use unix::pipe::Notifier as PipeNotifier;

pub mod block_cache;
pub mod fn_queue;
pub mod inline_fn;
pub mod kq_abi;
pub mod pair;
pub mod ring_queue;
pub mod sorted;
pub mod tail_rc;
pub use new_fd::{SEND_FLAGS, pipe};
pub use same_file::is_same as is_same_file;
pub use unix::address::SocketAddress;
pub use unix::close::close;
pub use unix::file_id::FileId;
pub use unix::find_byte::find_byte;
pub use unix::with_std::{StdSocket, with_std};
pub use unix::{
    child, clock, fork, names, nonblocking, poll, readiness, signal, signal_mask, socket,
    standard_stream, transfer, worker,
};

/// Opens a file without waiting: for a FIFO whose other end is not open.
pub use libc::O_NONBLOCK;

/// The error numbers that pollers return, so that the crates above do not need `libc` for them.
pub mod errno {
    pub use libc::{
        EADDRINUSE, EAGAIN, EBADF, ECHILD, ECONNABORTED, ECONNREFUSED, ECONNRESET, EEXIST, EFAULT,
        EINTR, EINVAL, ELOOP, EMFILE, ENFILE, ENOBUFS, ENOENT, ENOMEM, ENOSYS, ENOTCONN, ENOTSOCK,
        EOPNOTSUPP, EPERM, EPIPE, EPROTOTYPE, ESRCH,
    };
}

use std::ffi::c_int;
use std::io;
use std::os::fd::OwnedFd;

/// Makes a TCP socket (IPv4) that is neither connected nor bound, as every new socket here:
/// close-on-exec and non-blocking.
///
/// # Errors
///
/// Those of `socket(2)`.
pub fn unconnected_tcp() -> io::Result<OwnedFd> {
    new_fd::socket(libc::AF_INET, libc::SOCK_STREAM)
}

/// Takes a call's answer: minus one means that `errno` has the reason.
#[inline]
fn cvt(answer: c_int) -> io::Result<c_int> {
    if answer == -1 {
        Err(last_error())
    } else {
        Ok(answer)
    }
}

/// The same for calls that count bytes.
#[inline]
fn cvt_size(answer: isize) -> io::Result<usize> {
    usize::try_from(answer).map_err(|_| last_error())
}

/// Out of the way of calls that succeed.
#[cold]
fn last_error() -> io::Error {
    io::Error::last_os_error()
}

/// Repeats a call for as long as a signal breaks it off. Only for calls that cannot block:
/// a wait has a deadline, and starting it again would start that again too.
#[inline]
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.raw_os_error() == Some(libc::EINTR) => {}
            done => return done,
        }
    }
}

/// [`uninterrupted`], for calls that count bytes. What is not through at the first try stands by
/// itself, and so do the registers that it needs: that makes a read eight instructions shorter.
#[inline]
fn transferred(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    match usize::try_from(call()) {
        Ok(count) => Ok(count),
        Err(_) => transferred_again(call),
    }
}

/// The same for a call that has just failed.
#[cold]
#[inline(never)]
fn transferred_again(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    match last_error() {
        error if error.raw_os_error() == Some(libc::EINTR) => uninterrupted(|| cvt_size(call())),
        error => Err(error),
    }
}
