//! The notifier that ends a wait: an eventfd. The twin of `unix/pipe.rs`.
//!
//! One descriptor instead of a pipe's two, and a counter that takes any number of notifications.
//! An epoll that watches it by the edge need not read it: every write is a new edge.
//!
//! In the notes: N1's callbacks from other threads.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{cvt, cvt_size, uninterrupted};

/// A descriptor that becomes readable when it is notified.
#[derive(Debug)]
pub struct Notifier {
    fd: OwnedFd,
}

impl Notifier {
    /// Whether a notification has to be drained before the next one makes an edge.
    pub const DRAINS: bool = false;

    /// Makes a notifier that is not notified.
    ///
    /// # Errors
    ///
    /// Too many descriptors, or a sandbox without `eventfd2(2)`.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes two numbers, touches no memory.
        let fd = cvt(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the kernel has just made this descriptor, and it has no other owner yet.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd })
    }

    /// Notifies, from any thread. Never blocks.
    pub fn notify(&self) {
        let one = 1u64.to_ne_bytes();
        // The one error there is, `EAGAIN`, means that 2^64 - 2 notifications are pending.
        let _ = uninterrupted(|| {
            // SAFETY: `one` is alive and has the eight bytes that are named; the descriptor
            // is open for as long as `self` lives.
            cvt_size(unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) })
        });
    }

    /// Consumes all notifications so far, so that the descriptor is not readable any more. Returns how
    /// many there were.
    pub fn drain(&self) -> u64 {
        let mut count = [0u8; 8];
        // `EAGAIN` means that there was none, and leaves the zero.
        let _ = uninterrupted(|| {
            // SAFETY: `count` is ours alone and has space for the eight bytes that are
            // named; the descriptor is open for as long as `self` lives.
            cvt_size(unsafe {
                libc::read(self.fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len())
            })
        });
        u64::from_ne_bytes(count)
    }
}

impl AsFd for Notifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
