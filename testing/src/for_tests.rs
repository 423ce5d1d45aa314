//! Operations on descriptors that only tests need: a reset, urgent data, a chosen number.
//!
//! Some need a system call that the standard library does not have, so this is one of the two files of
//! this crate with unsafe code. The functions are safe: they borrow the descriptor that they change, a
//! new descriptor has one owner, and no other descriptor is closed.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use readily_sys::nonblocking;

/// Makes a pipe, and returns its reading and its writing end.
///
/// # Errors
///
/// If there are too many descriptors.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    readily_sys::pipe()
}

/// Clears `O_NONBLOCK`, as each process that shares the open file may do at any time.
///
/// # Errors
///
/// Those of `fcntl(2)`.
pub fn make_blocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    nonblocking::clear(fd)
}

/// Whether two descriptors share one open file; `None` if the system cannot compare them.
#[must_use]
pub fn is_same_file(fd: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Option<bool> {
    readily_sys::is_same_file(fd, other.as_raw_fd())
}

/// Makes a TCP socket that is not connected.
///
/// # Errors
///
/// If there are too many descriptors.
pub fn unconnected_tcp() -> io::Result<OwnedFd> {
    readily_sys::unconnected_tcp()
}

/// Closes a TCP connection with a reset instead of an end (`SO_LINGER` of zero).
///
/// # Errors
///
/// Those of `setsockopt(2)`; the descriptor is closed in any case.
pub fn reset(fd: OwnedFd) -> io::Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let len = size_of::<libc::linger>() as libc::socklen_t;
    let (number, from) = (fd.as_raw_fd(), (&raw const linger).cast());
    // SAFETY: `from` points to `len` bytes of a live local; the descriptor is owned, so it is open.
    cvt(unsafe { libc::setsockopt(number, libc::SOL_SOCKET, libc::SO_LINGER, from, len) })?;
    Ok(())
}

/// Sends one urgent byte (`MSG_OOB`).
///
/// # Errors
///
/// Those of `send(2)` except `EINTR`.
pub fn send_urgent(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = libc::MSG_OOB | readily_sys::SEND_FLAGS;
    loop {
        // SAFETY: one byte is read from a constant; the descriptor is borrowed, so it is open.
        let sent = unsafe { libc::send(fd.as_raw_fd(), [1u8].as_ptr().cast(), 1, flags) };
        if sent >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Duplicates a descriptor to a given number, which must be free. Unlike `dup2(2)`, this does not
/// close another descriptor.
///
/// # Errors
///
/// `AlreadyExists` for a number that is not free, `EINVAL` for one beyond the limit.
pub fn duplicate_at(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers, touches no memory; the descriptor is borrowed, so it is open.
    let made = cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, number) })?;
    // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
    let made = unsafe { OwnedFd::from_raw_fd(made) };
    // The call returns the first free number from `number` on.
    match made.as_raw_fd() == number {
        true => Ok(made),
        false => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

/// Whether `exec` closes the descriptor (`FD_CLOEXEC`).
///
/// # Errors
///
/// Those of `fcntl(2)`.
pub fn closes_on_exec(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: takes numbers, touches no memory; the descriptor is borrowed, so it is open.
    let flags = cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) })?;
    Ok(flags & libc::FD_CLOEXEC != 0)
}

/// Raises the soft limit of descriptors to `count`, or to the hard limit if that is less. Never lowers
/// it.
///
/// # Errors
///
/// Those of `setrlimit(2)`.
pub fn allow_descriptors(count: u32) -> io::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a live local with space for the structure that is written.
    cvt(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    let wanted = libc::rlim_t::from(count).min(limit.rlim_max);
    if limit.rlim_cur >= wanted {
        return Ok(());
    }
    limit.rlim_cur = wanted;
    // SAFETY: `limit` is a live local that is only read.
    cvt(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(())
}

/// Converts the result of a system call that returns minus one if it fails.
fn cvt(result: c_int) -> io::Result<c_int> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use readily_sys::{socket, transfer};
    use std::os::fd::AsFd;

    #[test]
    fn a_number_in_use_is_not_replaced() {
        let (reader, writer) = pipe().unwrap();
        let taken = duplicate_at(reader.as_fd(), writer.as_raw_fd()).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(transfer::write_waiting(writer.as_fd(), b"a").unwrap(), 1);
        allow_descriptors(2048).unwrap();
        let duplicate = duplicate_at(reader.as_fd(), 900).unwrap();
        assert_eq!(duplicate.as_raw_fd(), 900);
        assert!(closes_on_exec(duplicate.as_fd()).unwrap());
        assert_eq!(
            transfer::read_waiting(duplicate.as_fd(), &mut [0; 2]).unwrap(),
            1
        );
    }

    #[test]
    fn a_pipe_can_neither_be_reset_nor_get_urgent_data() {
        let (reader, writer) = pipe().unwrap();
        let no_socket = |result: io::Result<()>| result.unwrap_err().raw_os_error();
        assert_eq!(no_socket(send_urgent(writer.as_fd())), Some(libc::ENOTSOCK));
        assert_eq!(no_socket(reset(reader)), Some(libc::ENOTSOCK));
    }

    #[test]
    fn a_limit_is_raised_and_never_lowered() {
        allow_descriptors(2048).unwrap();
        allow_descriptors(1).unwrap();
        let socket = unconnected_tcp().unwrap();
        assert!(!socket::is_connected(socket.as_fd()).unwrap());
        assert!(duplicate_at(socket.as_fd(), 1500).is_ok());
    }
}
