//! What a worker process does to itself: its standard streams, its memory, its end.
//!
//! In the notes: the process pool (N3, N6).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{cvt, uninterrupted};

/// A standard stream of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandardStream {
    /// Descriptor 0.
    Input,
    /// Descriptor 1.
    Output,
}

/// Replaces a standard stream by a duplicate of `with`. The file that it was is closed.
///
/// # Errors
///
/// Those of `dup2(2)`.
pub fn replace_standard_stream(stream: StandardStream, with: BorrowedFd<'_>) -> io::Result<()> {
    let number = match stream {
        StandardStream::Input => libc::STDIN_FILENO,
        StandardStream::Output => libc::STDOUT_FILENO,
    };
    // SAFETY: takes two numbers, touches no memory. The first is open, for it is borrowed. The second is
    // a standard stream, which no value owns: the standard library uses it by its number.
    uninterrupted(|| cvt(unsafe { libc::dup2(with.as_raw_fd(), number) })).map(drop)
}

/// Bounds the address space of the process: an allocation beyond it fails. A lower limit stays.
///
/// # Errors
///
/// Those of `getrlimit(2)` and `setrlimit(2)`.
pub fn limit_memory(bytes: u64) -> io::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid for writing, and the system writes no more than it.
    cvt(unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) })?;
    // The type is unsigned with 64 bits on most systems, and signed on FreeBSD.
    let bytes = libc::rlim_t::try_from(bytes).unwrap_or(libc::rlim_t::MAX);
    limit.rlim_cur = bytes.min(limit.rlim_cur);
    // SAFETY: `limit` is valid for reading, and the system only reads it.
    cvt(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }).map(drop)
}

/// Ends the process now: no destructor runs, no other thread is waited for, no buffer is written.
pub fn exit_now(status: u8) -> ! {
    // SAFETY: takes a number, and does not return.
    unsafe { libc::_exit(i32::from(status)) }
}
