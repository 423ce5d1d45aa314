//! Reading and writing files with a flag per call that forbids waiting. The twin of `linux/nowait.rs`.
//!
//! There is none on this system.

use std::io;
use std::os::fd::BorrowedFd;

/// `None`: the system cannot.
pub(crate) fn read(_fd: BorrowedFd<'_>, _buf: &mut [u8]) -> Option<io::Result<usize>> {
    None
}

/// `None`: the system cannot.
pub(crate) fn write(_fd: BorrowedFd<'_>, _buf: &[u8]) -> Option<io::Result<usize>> {
    None
}
