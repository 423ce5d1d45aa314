//! Whether two numbers are the same open file. The twin of `linux/same_file.rs`.
//!
//! This system has no call for it.

use std::os::fd::{BorrowedFd, RawFd};

/// `None`: the system does not report it.
#[must_use]
pub fn is_same(_fd: BorrowedFd<'_>, _other: RawFd) -> Option<bool> {
    None
}
