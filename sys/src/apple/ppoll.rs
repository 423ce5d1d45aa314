//! `poll(2)` with a limit in nanoseconds. The twin of `unix/ppoll.rs`.
//!
//! Apple's systems have none, and NetBSD has it under this name since its tenth release.

use std::ffi::c_int;
use std::io;
use std::time::Duration;

/// `None`: the system cannot.
pub(crate) fn wait(_list: &mut [libc::pollfd], _limit: Duration) -> Option<io::Result<c_int>> {
    None
}
