//! System calls of the unit tests: a socket that lingers, a child process.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::cvt;

/// Lets `close(2)` take care of unsent bytes for so many seconds (`SO_LINGER`).
pub(crate) fn set_linger(fd: BorrowedFd<'_>, seconds: c_int) -> io::Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: seconds,
    };
    let len = size_of::<libc::linger>() as libc::socklen_t;
    let (number, from) = (fd.as_raw_fd(), (&raw const linger).cast());
    // SAFETY: `from` points to `len` bytes of a live local; the descriptor is borrowed, so it is
    // open.
    cvt(unsafe { libc::setsockopt(number, libc::SOL_SOCKET, libc::SO_LINGER, from, len) })?;
    Ok(())
}

/// Whether `says` returns true in a child of this process. One that hangs is ended by an alarm.
pub(crate) fn printed_in_a_child(says: impl FnOnce() -> bool) -> io::Result<bool> {
    // SAFETY: the child of this threaded process looks at memory, makes system calls and allocates, which
    // the C library allows in a child, and calls `_exit`: it waits for no lock of another thread.
    let pid = cvt(unsafe { libc::fork() })?;
    if pid == 0 {
        // SAFETY: takes a number; the signal ends this child and no other process.
        unsafe { libc::alarm(10) };
        let code = c_int::from(says());
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: `status` has space for the number that is written; the child is ours.
    cvt(unsafe { libc::waitpid(pid, &raw mut status, 0) })?;
    Ok(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 1)
}
