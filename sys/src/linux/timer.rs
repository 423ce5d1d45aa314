//! A descriptor that becomes readable at a time: timerfd.
//!
//! The descriptor that a host waits for can include the loop's next deadline, and then the host need
//! not ask for it. Arming the timer again makes it unreadable, so it is never read.
//!
//! In the notes these are the *timers* of N1, as a host sees them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use crate::cvt;

/// Counts on the clock that `Instant` reads.
#[derive(Debug)]
pub struct Timer {
    fd: OwnedFd,
}

impl Timer {
    /// Makes one that is not armed.
    ///
    /// # Errors
    ///
    /// Too many descriptors, or a sandbox without `timerfd_create(2)`.
    pub fn new() -> io::Result<Self> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: takes two numbers, touches no memory.
        let fd = cvt(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
        // SAFETY: the kernel has just made this descriptor, and it has no other owner yet.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd })
    }

    /// Makes it readable once `after` has passed, and not before; `None` disarms it. Either way it is
    /// not readable from here on.
    ///
    /// # Errors
    ///
    /// None for a timer that is open.
    pub fn set(&self, after: Option<Duration>) -> io::Result<()> {
        // Zero would disarm it.
        let after = after.map_or(Duration::ZERO, |after| after.max(Duration::from_nanos(1)));
        let zero = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let value = libc::timespec {
            // Beyond 31 bits of seconds some targets wrap round; that is 68 years.
            tv_sec: i32::try_from(after.as_secs()).unwrap_or(i32::MAX).into(),
            tv_nsec: after.subsec_nanos() as _,
        };
        let spec = libc::itimerspec {
            it_interval: zero,
            it_value: value,
        };
        // SAFETY: `spec` is a live local that the kernel only reads; the old setting is not asked for,
        // for which a null pointer stands; the descriptor is open for as long as `self` lives.
        cvt(unsafe {
            libc::timerfd_settime(self.fd.as_raw_fd(), 0, &raw const spec, ptr::null_mut())
        })?;
        Ok(())
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::is_readable;

    #[test]
    fn it_is_readable_when_its_time_has_come_until_it_is_set_again() {
        let timer = Timer::new().unwrap();
        assert!(!is_readable(timer.as_fd()).unwrap());
        timer.set(Some(Duration::ZERO)).unwrap();
        let mut set = crate::poll::PollSet::new();
        set.push(timer.fd.as_raw_fd(), crate::poll::IN);
        assert_eq!(set.wait(None).unwrap(), 1);
        for after in [None, Some(Duration::from_secs(3600)), Some(Duration::MAX)] {
            timer.set(after).unwrap();
            assert!(!is_readable(timer.as_fd()).unwrap());
        }
    }
}
