//! Where a system has no call that pins a thread to a processor (macOS, OpenBSD). The twin of
//! `linux/affinity.rs`.
//!
//! In the notes: several cores (N12).

use std::io;

/// Returns `Unsupported`: the system does not have it.
///
/// # Errors
///
/// Always.
pub fn allowed() -> io::Result<Vec<usize>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns `Unsupported`.
///
/// # Errors
///
/// Always.
pub fn pin(_cpu: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
