//! The notifier that ends a wait on systems with nothing better: a pipe. The twin of `linux/notify.rs`.
//!
//! Both ends are non-blocking. A full pipe already carries a notification, so a byte that does not
//! fit may be dropped; but the pipe has to be drained, or it stays readable for ever.
//!
//! In the notes: N1's callbacks from other threads.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::{cvt_size, new_fd, uninterrupted};

/// A descriptor that becomes readable when it is notified.
#[derive(Debug)]
pub struct Notifier {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Notifier {
    /// Whether a notification has to be drained before the next one makes an edge.
    pub const DRAINS: bool = true;

    /// Makes a notifier that is not notified.
    ///
    /// # Errors
    ///
    /// Too many descriptors.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = new_fd::pipe()?;
        Ok(Self { reader, writer })
    }

    /// Notifies, from any thread. Never blocks.
    pub fn notify(&self) {
        // `EAGAIN`: it is full of notifications. Never `EPIPE`: the other end is open here.
        let _ = uninterrupted(|| {
            // SAFETY: one byte is read from a constant; the descriptor is open for as long
            // as `self` lives.
            cvt_size(unsafe { libc::write(self.writer.as_raw_fd(), [1u8].as_ptr().cast(), 1) })
        });
    }

    /// Consumes all notifications so far, so that the descriptor is not readable any more. Returns how
    /// many the pipe had room for.
    pub fn drain(&self) -> u64 {
        let mut taken = [0u8; 256];
        let take = |taken: &mut [u8; 256]| {
            // SAFETY: `taken` is ours alone and has space for the bytes that are named; the
            // descriptor is open for as long as `self` lives.
            cvt_size(unsafe {
                libc::read(
                    self.reader.as_raw_fd(),
                    taken.as_mut_ptr().cast(),
                    taken.len(),
                )
            })
        };
        let mut count = 0;
        loop {
            // An error is `EAGAIN`, and means that it is empty, as a short read does.
            let n = uninterrupted(|| take(&mut taken)).unwrap_or(0);
            count += n as u64;
            if n < taken.len() {
                return count;
            }
        }
    }
}

impl AsFd for Notifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::{self, PollSet};
    use std::time::Duration;

    #[test]
    fn a_notification_is_reported_until_drained_and_a_full_pipe_never_blocks() {
        let notifier = Notifier::new().unwrap();
        let mut set = PollSet::new();
        set.push(notifier.as_fd().as_raw_fd(), poll::IN);
        assert_eq!(set.wait(Some(Duration::ZERO)).unwrap(), 0);
        for _ in 0..100_000 {
            notifier.notify();
        }
        assert_eq!(set.wait(None).unwrap(), 1);
        assert_eq!(set.reported(0), poll::IN);
        assert!((1..=100_000).contains(&notifier.drain()));
        assert_eq!(notifier.drain(), 0);
        notifier.notify();
        assert_eq!(notifier.drain(), 1);
        assert_eq!(set.wait(Some(Duration::ZERO)).unwrap(), 0);
    }
}
