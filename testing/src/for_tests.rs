//! What tests do to descriptors and programs do not: a reset, a number of one's choice.
//!
//! Some need a call that the standard library has not, so this file has unsafe code, as only one other
//! of this crate has. The functions are safe: the descriptor that is changed is borrowed, a descriptor
//! that is made has one owner, and no other descriptor is closed.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use readily_sys::nonblocking;

/// Makes a pipe: its reading and its writing end.
///
/// # Errors
///
/// Too many descriptors.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    readily_sys::pipe()
}

/// Makes `fd` wait, as whoever shares its open file may do at any time.
///
/// # Errors
///
/// Those of `fcntl(2)`.
pub fn make_blocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    nonblocking::clear(fd)
}

/// Whether both are one open file; `None` if the system does not say.
#[must_use]
pub fn is_same_file(fd: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Option<bool> {
    readily_sys::is_same_file(fd, other.as_raw_fd())
}

/// Makes a TCP socket that is connected to nobody.
///
/// # Errors
///
/// Too many descriptors.
pub fn unconnected_tcp() -> io::Result<OwnedFd> {
    readily_sys::unconnected_tcp()
}

/// Closes a connection with a reset instead of an end (`SO_LINGER` of zero).
///
/// # Errors
///
/// Those of `setsockopt(2)`; closed it is all the same.
pub fn reset(fd: OwnedFd) -> io::Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let len = size_of::<libc::linger>() as libc::socklen_t;
    let (number, from) = (fd.as_raw_fd(), (&raw const linger).cast());
    // SAFETY: `from` points to `len` bytes of a live local; the descriptor is ours, so it is open.
    cvt(unsafe { libc::setsockopt(number, libc::SOL_SOCKET, libc::SO_LINGER, from, len) })?;
    Ok(())
}

/// Sends one byte out of band (`MSG_OOB`).
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

/// Makes another descriptor for the same open file, under this number, which is free. Not
/// `dup2(2)`: that would close the number's owner behind its back.
///
/// # Errors
///
/// `AlreadyExists` for a number that is not free, `EINVAL` for one beyond the limit.
pub fn duplicate_at(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers, touches no memory; the descriptor is borrowed, so it is open.
    let made = cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, number) })?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else has it.
    let made = unsafe { OwnedFd::from_raw_fd(made) };
    // The call gives the first free number from there on.
    match made.as_raw_fd() == number {
        true => Ok(made),
        false => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

/// Whether it is closed by `exec`.
///
/// # Errors
///
/// Those of `fcntl(2)`.
pub fn closes_on_exec(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: takes numbers, touches no memory; the descriptor is borrowed, so it is open.
    let flags = cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) })?;
    Ok(flags & libc::FD_CLOEXEC != 0)
}

/// Allows this process `count` descriptors, or as many as it may be allowed, where that is more
/// than now.
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

/// The result of a call that returns minus one if it has failed.
fn cvt(answer: c_int) -> io::Result<c_int> {
    match answer {
        -1 => Err(io::Error::last_os_error()),
        answer => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use readily_sys::{socket, transfer};
    use std::os::fd::AsFd;

    #[test]
    fn a_number_that_is_taken_is_not_taken_over() {
        let (reader, writer) = pipe().unwrap();
        let taken = duplicate_at(reader.as_fd(), writer.as_raw_fd()).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(transfer::write_waiting(writer.as_fd(), b"a").unwrap(), 1);
        allow_descriptors(2048).unwrap();
        let twin = duplicate_at(reader.as_fd(), 900).unwrap();
        assert_eq!(twin.as_raw_fd(), 900);
        assert!(closes_on_exec(twin.as_fd()).unwrap());
        assert_eq!(
            transfer::read_waiting(twin.as_fd(), &mut [0; 2]).unwrap(),
            1
        );
    }

    #[test]
    fn what_is_no_socket_can_neither_be_reset_nor_sent_to() {
        let (reader, writer) = pipe().unwrap();
        let no_socket = |answer: io::Result<()>| answer.unwrap_err().raw_os_error();
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
