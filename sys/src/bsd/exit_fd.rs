//! A descriptor that becomes readable when a process ends: a kqueue with one filter for it. The twin of
//! `linux/exit_fd.rs`.
//!
//! A kqueue can be watched by another one, and by `poll(2)`. With one for each child, an event of a
//! process is never confused with that of a descriptor of the same number.
//!
//! In the notes: other processes for work that would block the loop (N3, N5).

use std::ffi::c_int;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use crate::{child, cvt};

/// Readable once the process has ended. The status may be there a moment later.
#[derive(Debug)]
pub struct ExitFd {
    fd: OwnedFd,
    pid: u32,
}

impl ExitFd {
    /// Opens one for a child whose status has not been taken.
    ///
    /// # Errors
    ///
    /// Too many descriptors; `ESRCH` if it has ended already.
    pub fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: takes nothing, touches no memory.
        let fd = cvt(unsafe { libc::kqueue() })?;
        // SAFETY: the kernel has just made this descriptor, and it has no other owner yet.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // A child that is forked in between does not inherit a kqueue in any case.
        // SAFETY: takes numbers, touches no memory.
        cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
        // SAFETY: integers, arrays of them and a pointer, for all of which zero is a value.
        let mut change = unsafe { mem::zeroed::<libc::kevent>() };
        change.ident = pid as _;
        change.filter = libc::EVFILT_PROC as _;
        change.flags = libc::EV_ADD as _;
        change.fflags = libc::NOTE_EXIT as _;
        let (none, now) = (ptr::null_mut(), ptr::null());
        // SAFETY: one change is read from a live local, and there is no room for an event, so none is
        // written and an error is the call's own.
        cvt(unsafe { libc::kevent(fd.as_raw_fd(), &raw const change, 1, none, 0, now) })?;
        Ok(Self { fd, pid })
    }

    /// Takes the status of the process if it has ended, and frees its number; see
    /// [`take_status`](crate::child::take_status).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn take_status(&self) -> io::Result<Option<c_int>> {
        child::take_status(self.pid)
    }

    /// Sends a signal to the process, whose status must not have been taken.
    ///
    /// # Errors
    ///
    /// As [`send_signal`](crate::child::send_signal).
    pub fn send_signal(&self, signal: c_int) -> io::Result<()> {
        child::send_signal(self.pid, signal)
    }
}

impl AsFd for ExitFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
