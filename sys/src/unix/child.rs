//! Child processes by number: their status, signals to them, and what they inherit.
//!
//! Each call names one child. A wait for any child would take the status of children that belong to
//! other code. A number stays that of the child until its status has been taken, so the owner must not
//! send a signal after that; numbers below 2, which mean groups, all processes or the first one, are
//! refused.
//!
//! In the notes: other processes for work that would block the loop (N3, N5).

use std::ffi::c_int;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::unix::signal;
use crate::{cvt, uninterrupted};

/// Takes the status of a child that has ended, and frees its number; `None` if it has not ended. Never
/// blocks.
///
/// # Errors
///
/// `ECHILD` if it is no child of this process, or other code has taken its status.
pub fn take_status(pid: u32) -> io::Result<Option<c_int>> {
    let pid = checked(pid)?;
    let mut status = 0;
    let found = uninterrupted(|| {
        // SAFETY: `status` has space for the number that is written; `pid` is one process, not a group.
        cvt(unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) })
    })?;
    Ok((found != 0).then_some(status))
}

/// Whether a child has ended. Its status is still to be taken.
///
/// # Errors
///
/// As [`take_status`].
pub fn has_ended(pid: u32) -> io::Result<bool> {
    let pid = checked(pid)?;
    // SAFETY: numbers and null pointers, for which zero is a value.
    let mut info = unsafe { std::mem::zeroed::<libc::siginfo_t>() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    uninterrupted(|| {
        // SAFETY: `info` has space for what is written; `pid` is one process.
        cvt(unsafe { libc::waitid(libc::P_PID, pid as _, &raw mut info, flags) })
    })?;
    // Not written if no child has ended.
    Ok(info.si_signo != 0)
}

/// Sends a signal to a child whose status has not been taken.
///
/// # Errors
///
/// `EINVAL` for a number below 2 or an unknown signal, `EPERM`, `ESRCH`.
pub fn send_signal(pid: u32, signal: c_int) -> io::Result<()> {
    let pid = checked(pid)?;
    // SAFETY: takes two numbers; the first is one process.
    cvt(unsafe { libc::kill(pid, signal) })?;
    Ok(())
}

/// Sends a signal to the process group that a child leads, and whose status has not been taken.
///
/// # Errors
///
/// As [`send_signal`]; `ESRCH` if the child leads none.
pub fn send_signal_to_group(leader: u32, signal: c_int) -> io::Result<()> {
    let leader = checked(leader)?;
    // SAFETY: takes two numbers; the first is a group above 1.
    cvt(unsafe { libc::killpg(leader, signal) })?;
    Ok(())
}

fn checked(pid: u32) -> io::Result<libc::pid_t> {
    match libc::pid_t::try_from(pid) {
        Ok(pid) if pid > 1 => Ok(pid),
        _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

/// Lets the child start with the default action of every signal. Without this it inherits which signals
/// are ignored. The system's fast way to start a process is not taken then.
pub fn reset_actions(command: &mut Command) {
    let reset = || {
        for number in 1..=signal::MAX {
            signal::set_default(number);
        }
        Ok(())
    };
    // SAFETY: between fork and exec only calls are allowed that are safe in a handler: `sigaction(2)` is one,
    // and nothing here allocates or locks.
    unsafe { command.pre_exec(reset) };
}

/// Lets the child start with an empty signal mask: without this it inherits that of the thread. The system's fast
/// way to start a process is not taken then.
pub fn reset_mask(command: &mut Command) {
    let reset = || {
        signal::unblock_all();
        Ok(())
    };
    // SAFETY: as above: `pthread_sigmask(3)` is safe in a handler.
    unsafe { command.pre_exec(reset) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_means_more_than_one_process_is_refused() {
        for pid in [0, 1, u32::MAX, i32::MAX as u32 + 1] {
            for refused in [
                take_status(pid).map(drop),
                has_ended(pid).map(drop),
                send_signal(pid, 0),
                send_signal_to_group(pid, 0),
            ] {
                assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EINVAL));
            }
        }
    }

    #[test]
    fn a_status_is_taken_once_and_after_that_there_is_no_child() {
        let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        let pid = child.id();
        while !has_ended(pid).unwrap() {
            std::thread::yield_now();
        }
        send_signal(pid, 0).unwrap(); // a zombie has its number still
        assert_eq!(take_status(pid).unwrap(), Some(3 << 8));
        let lost = take_status(pid).unwrap_err();
        assert_eq!(lost.raw_os_error(), Some(libc::ECHILD));
        assert!(child.wait().is_err());
    }
}
