//! Reads and writes that never wait, whatever the state of `O_NONBLOCK`.
//!
//! The flag was set once, and another process that shares the open file may have cleared it since:
//! then `read(2)` blocks the whole loop. So each call forbids waiting by a flag of its own. Sockets
//! have a flag for that (`MSG_DONTWAIT`). Other files have one on Linux (`RWF_NOWAIT`: pipes since
//! 6.5), if the file's driver supports it. Without either, the flag is checked before each call, and
//! set again if it is gone: one `fcntl(2)` more, and a gap of a microsecond between the two.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::unix::{nonblocking, socket};
use crate::{nowait, transferred};

/// By which calls a descriptor is read and written: what is known of it so far. One byte, because each registration
/// has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer(u8);

impl Transfer {
    /// A socket's.
    pub const SOCKET: Self = Self(1);
    /// Anything else's.
    pub const FILE: Self = Self(0);

    /// The system has refused to read with `RWF_NOWAIT`.
    const READ_REFUSED: u8 = 2;
    /// The same for writing.
    const WRITE_REFUSED: u8 = 4;

    const fn has_refused(self, what: u8) -> bool {
        self.0 & what != 0
    }

    /// Whether it is a socket's.
    #[must_use]
    #[inline]
    pub const fn is_socket(self) -> bool {
        self.0 == Self::SOCKET.0
    }

    /// What `fd` needs.
    #[must_use]
    pub fn for_fd(fd: BorrowedFd<'_>) -> Self {
        match socket::is_socket(fd) {
            true => Self::SOCKET,
            false => Self::FILE,
        }
    }
}

/// Reads; zero is the end.
///
/// # Errors
///
/// Those of `recv(2)` or `read(2)` except `EINTR`; `WouldBlock` if there is nothing, also where `fd` is
/// blocking.
#[inline]
pub fn read(fd: BorrowedFd<'_>, buf: &mut [u8], known: &Cell<Transfer>) -> io::Result<usize> {
    match known.get().is_socket() {
        true => socket::recv(fd, buf),
        false => read_file(fd, buf, known),
    }
}

/// Writes. On a pipe without a reader this raises `SIGPIPE`, on a socket it does not.
///
/// # Errors
///
/// Those of `send(2)` or `write(2)` except `EINTR`; `WouldBlock` if there is no room, also where `fd` is
/// blocking.
#[inline]
pub fn write(fd: BorrowedFd<'_>, buf: &[u8], known: &Cell<Transfer>) -> io::Result<usize> {
    match known.get().is_socket() {
        true => socket::send(fd, buf),
        false => write_file(fd, buf, known),
    }
}

#[inline(never)]
fn read_file(fd: BorrowedFd<'_>, buf: &mut [u8], known: &Cell<Transfer>) -> io::Result<usize> {
    let now = known.get();
    if !now.has_refused(Transfer::READ_REFUSED) {
        if let Some(done) = nowait::read(fd, buf) {
            return done;
        }
        known.set(Transfer(now.0 | Transfer::READ_REFUSED));
    }
    nonblocking::ensure(fd)?;
    read_waiting(fd, buf)
}

#[inline(never)]
fn write_file(fd: BorrowedFd<'_>, buf: &[u8], known: &Cell<Transfer>) -> io::Result<usize> {
    let now = known.get();
    if !now.has_refused(Transfer::WRITE_REFUSED) {
        if let Some(done) = nowait::write(fd, buf) {
            return done;
        }
        known.set(Transfer(now.0 | Transfer::WRITE_REFUSED));
    }
    nonblocking::ensure(fd)?;
    write_waiting(fd, buf)
}

/// Reads from any descriptor, and waits if it is blocking; zero is the end.
///
/// # Errors
///
/// Those of `read(2)` except `EINTR`.
#[inline]
pub fn read_waiting(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    transferred(|| {
        // SAFETY: `buf` is ours alone for the call, and has the length that is named.
        unsafe { libc::read(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) }
    })
}

/// Writes to any descriptor, and waits if it is blocking. On a pipe without a reader this raises `SIGPIPE`, which a Rust
/// program ignores; embedded in another, that program decides. Sockets: [`socket::send`].
///
/// # Errors
///
/// Those of `write(2)` except `EINTR`.
#[inline]
pub fn write_waiting(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    transferred(|| {
        // SAFETY: `buf` is borrowed for the call, and has the length that is named.
        unsafe { libc::write(fd.as_raw_fd(), buf.as_ptr().cast(), buf.len()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    /// What is tried here must fail and not block: each file is blocking.
    fn would_block(done: io::Result<usize>) -> bool {
        done.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    #[test]
    fn a_blocking_socket_is_read_and_written_without_waiting() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let known = Cell::new(Transfer::for_fd(ours.as_fd()));
        assert_eq!(known.get(), Transfer::SOCKET);
        assert!(would_block(read(ours.as_fd(), &mut [0; 8], &known)));
        while write(ours.as_fd(), &[0; 4096], &known).is_ok() {}
        assert!(would_block(write(ours.as_fd(), &[0; 4096], &known)));
    }

    #[test]
    fn a_blocking_pipe_is_read_and_written_without_waiting() {
        for refused in [0, Transfer::READ_REFUSED | Transfer::WRITE_REFUSED] {
            let (reader, writer) = crate::new_fd::pipe().unwrap();
            nonblocking::clear(reader.as_fd()).unwrap();
            nonblocking::clear(writer.as_fd()).unwrap();
            let known = Cell::new(Transfer(Transfer::for_fd(reader.as_fd()).0 | refused));
            assert!(would_block(read(reader.as_fd(), &mut [0; 8], &known)));
            while write(writer.as_fd(), &[0; 65536], &known).is_ok() {}
            assert!(would_block(write(writer.as_fd(), &[0; 65536], &known)));
            assert_eq!(read(reader.as_fd(), &mut [0; 8], &known).unwrap(), 8);
            drop(writer);
            while read(reader.as_fd(), &mut [0; 65536], &known).unwrap() > 0 {}
        }
    }
}
