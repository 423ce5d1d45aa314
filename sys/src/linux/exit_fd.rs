//! A descriptor that becomes readable when a process ends: pidfd. The twin of `bsd/exit_fd.rs`.
//!
//! It stands for the process and not for its number, so that neither a signal nor a wait can reach
//! another process that has got the number since.
//!
//! In the notes: other processes for work that would block the loop (N3, N5).

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use crate::{cvt, uninterrupted};

/// Readable once the process has ended.
#[derive(Debug)]
pub struct ExitFd {
    fd: OwnedFd,
}

impl ExitFd {
    /// Opens one for a child whose status has not been taken.
    ///
    /// # Errors
    ///
    /// Too many descriptors; a system before Linux 5.3, or a sandbox, without `pidfd_open(2)`.
    pub fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: takes two numbers, touches no memory. It is close-on-exec.
        let fd = cvt(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as c_int)?;
        // SAFETY: the kernel has just made this descriptor, and it has no other owner yet.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd })
    }

    /// Takes the status of the process if it has ended, and frees its number; see
    /// [`take_status`](crate::child::take_status).
    ///
    /// # Errors
    ///
    /// As there. `EINVAL` before Linux 5.4.
    pub fn take_status(&self) -> io::Result<Option<c_int>> {
        // SAFETY: numbers and null pointers, for which zero is a value.
        let mut info = unsafe { std::mem::zeroed::<libc::siginfo_t>() };
        let (fd, flags) = (self.fd.as_raw_fd(), libc::WEXITED | libc::WNOHANG);
        uninterrupted(|| {
            // SAFETY: `info` has space for what is written; the descriptor is open.
            cvt(unsafe { libc::waitid(libc::P_PIDFD, fd as _, &raw mut info, flags) })
        })?;
        if info.si_signo == 0 {
            return Ok(None);
        }
        // SAFETY: the call has written the fields of a child's end.
        let status = unsafe { info.si_status() };
        Ok(Some(match info.si_code {
            libc::CLD_EXITED => (status & 0xff) << 8,
            libc::CLD_DUMPED => status | 0x80,
            _ => status,
        }))
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    ///
    /// `ESRCH` if its status was taken; `EINVAL` for an unknown signal; `EPERM`.
    pub fn send_signal(&self, signal: c_int) -> io::Result<()> {
        let fd = self.fd.as_raw_fd();
        let info = ptr::null::<libc::siginfo_t>();
        // SAFETY: takes numbers, and a null pointer, which stands for what `kill(2)` sends.
        let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, info, 0) };
        cvt(sent as c_int)?;
        Ok(())
    }
}

impl AsFd for ExitFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, ExitStatus};

    fn end_of(command: &str) -> ExitStatus {
        #[allow(clippy::zombie_processes)] // its status is taken by the descriptor
        let child = Command::new("sh").args(["-c", command]).spawn().unwrap();
        let fd = ExitFd::open(child.id()).unwrap();
        let mut set = crate::poll::PollSet::new();
        set.push(fd.as_fd().as_raw_fd(), crate::poll::IN);
        assert_eq!(set.wait(None).unwrap(), 1);
        let status = fd.take_status().unwrap().expect("it has ended");
        assert_eq!(
            fd.take_status().unwrap_err().raw_os_error(),
            Some(libc::ECHILD)
        );
        let late = fd.send_signal(libc::SIGKILL).unwrap_err();
        assert_eq!(late.raw_os_error(), Some(libc::ESRCH));
        ExitStatus::from_raw(status)
    }

    #[test]
    fn a_status_is_that_of_waitpid() {
        assert_eq!(end_of("exit 0").code(), Some(0));
        assert_eq!(end_of("exit 255").code(), Some(255));
        assert_eq!(end_of("kill -TERM $$").signal(), Some(libc::SIGTERM));
        let aborted = end_of("ulimit -c 0; kill -ABRT $$");
        assert_eq!(
            (aborted.signal(), aborted.core_dumped()),
            (Some(libc::SIGABRT), false)
        );
    }

    #[test]
    fn a_process_that_runs_is_not_readable_and_is_sent_signals() {
        #[allow(clippy::zombie_processes)] // as above
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let fd = ExitFd::open(child.id()).unwrap();
        assert_eq!(fd.take_status().unwrap(), None);
        assert!(!crate::poll::is_readable(fd.as_fd()).unwrap());
        fd.send_signal(libc::SIGKILL).unwrap();
        let status = loop {
            if let Some(status) = fd.take_status().unwrap() {
                break ExitStatus::from_raw(status);
            }
            std::thread::yield_now();
        };
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    }
}
