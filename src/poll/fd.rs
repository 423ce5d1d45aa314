//! Descriptors of the system's kernel or of another one, and the operations on them.
//!
//! The loop and its sockets do their reading and writing through [`FdRef`], which is a descriptor
//! of the system or of another kernel ([`VirtualFd`]). One branch, which is always taken the
//! same way, precedes each system call; the code above does not depend on which kernel it is.

use super::{Readiness, VirtualFd, poll2};
use readily_sys::nonblocking::{self, Hold};
use readily_sys::poll::{FileKind, file_kind, is_always_ready, is_path_only};
use readily_sys::socket;
use readily_sys::transfer::{self, Transfer};
use readily_sys::with_std;
use std::cell::Cell;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

/// A descriptor of either kernel, borrowed.
#[derive(Clone, Copy, Debug)]
pub enum FdRef<'a> {
    /// The system's.
    System(BorrowedFd<'a>),
    /// Another kernel's: one in memory.
    Virtual(&'a dyn VirtualFd),
}

/// An accepted connection: a descriptor of the listener's kernel.
#[derive(Debug)]
pub enum FdOwned {
    /// The system's.
    System(OwnedFd),
    /// Another kernel's: one in memory.
    Virtual(Rc<dyn VirtualFd>),
}

impl<'a> FdRef<'a> {
    /// Returns the number under which a poller watches it.
    #[must_use]
    #[inline]
    pub fn raw(self) -> RawFd {
        match self {
            Self::System(fd) => fd.as_raw_fd(),
            Self::Virtual(fd) => fd.raw(),
        }
    }

    /// The system's descriptor; for a descriptor of another kernel a placeholder, an unconnected socket
    /// that is of no use.
    #[must_use]
    #[inline]
    pub fn as_fd(self) -> BorrowedFd<'a> {
        match self {
            Self::System(fd) => fd,
            Self::Virtual(fd) => fd.as_fd(),
        }
    }

    /// Returns the kind of the descriptor, as far as the loop distinguishes.
    #[must_use]
    #[inline]
    pub fn kind(self) -> socket::Kind {
        match self {
            Self::System(fd) => socket::kind(fd),
            Self::Virtual(fd) => fd.kind(),
        }
    }

    /// Makes operations not wait (`O_NONBLOCK`); returns whether that changed the descriptor. No
    /// operation on a descriptor of another kernel ever waits.
    ///
    /// # Errors
    ///
    /// As `fcntl(2)`.
    #[inline]
    pub fn set_nonblocking(self) -> io::Result<bool> {
        match self {
            Self::System(fd) => socket::set_nonblocking(fd),
            Self::Virtual(fd) => fd.set_nonblocking(),
        }
    }

    /// Makes it non-blocking, and records whether it was blocking; `None` for another kernel's.
    pub(crate) fn hold_nonblocking(self) -> io::Result<Option<Hold>> {
        match self {
            Self::System(fd) => nonblocking::hold(fd).map(Some),
            Self::Virtual(fd) => fd.set_nonblocking().map(|_| None),
        }
    }

    /// Returns which system calls read and write this descriptor without waiting.
    #[must_use]
    pub fn transfer(self) -> Transfer {
        match self {
            Self::System(fd) => Transfer::for_fd(fd),
            Self::Virtual(fd) if fd.kind() == socket::Kind::Other => Transfer::FILE,
            Self::Virtual(_) => Transfer::SOCKET,
        }
    }

    /// Reads without waiting, even if the descriptor is blocking. `known` caches which system calls
    /// work, and starts as [`FdRef::transfer`].
    ///
    /// # Errors
    ///
    /// As `recv(2)` or `read(2)`; `WouldBlock` if there is nothing.
    #[inline(always)]
    pub fn try_read(self, buffer: &mut [u8], known: &Cell<Transfer>) -> io::Result<usize> {
        match self {
            Self::System(fd) => transfer::read(fd, buffer, known),
            Self::Virtual(fd) => uninterrupted(|| fd.read(buffer)),
        }
    }

    /// Writes without waiting, even if the descriptor is blocking, and without `SIGPIPE` on sockets.
    ///
    /// # Errors
    ///
    /// As `send(2)` or `write(2)`; `WouldBlock` if there is no room.
    #[inline(always)]
    pub fn try_write(self, bytes: &[u8], known: &Cell<Transfer>) -> io::Result<usize> {
        match self {
            Self::System(fd) => transfer::write(fd, bytes, known),
            Self::Virtual(fd) if known.get().is_socket() => uninterrupted(|| fd.send(bytes)),
            Self::Virtual(fd) => uninterrupted(|| fd.write(bytes)),
        }
    }

    /// Reads (`read(2)`), and waits if the descriptor is blocking: see [`FdRef::try_read`].
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn read(self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::System(fd) => transfer::read_waiting(fd, buffer),
            Self::Virtual(fd) => uninterrupted(|| fd.read(buffer)),
        }
    }

    /// Writes (`write(2)`), and waits if the descriptor is blocking: see [`FdRef::try_write`].
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn write(self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::System(fd) => transfer::write_waiting(fd, bytes),
            Self::Virtual(fd) => uninterrupted(|| fd.write(bytes)),
        }
    }

    /// Writes to a socket without causing `SIGPIPE` (`send(2)`).
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn send(self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::System(fd) => socket::send(fd, bytes),
            Self::Virtual(fd) => uninterrupted(|| fd.send(bytes)),
        }
    }

    /// Accepts a connection (`accept(2)`), and returns it with its peer's address.
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn accept(self) -> io::Result<(FdOwned, Option<SocketAddr>)> {
        match self {
            Self::System(fd) => socket::accept(fd).map(|(fd, peer)| (FdOwned::System(fd), peer)),
            Self::Virtual(fd) => fd.accept().map(|(fd, peer)| (FdOwned::Virtual(fd), peer)),
        }
    }

    /// Shuts one or both directions down (`shutdown(2)`).
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn shutdown(self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::System(fd) => socket::shutdown(fd, how),
            Self::Virtual(fd) => fd.shutdown(how),
        }
    }

    /// Takes the pending error (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// As `getsockopt(2)`.
    #[inline]
    pub fn take_error(self) -> io::Result<Option<io::Error>> {
        match self {
            Self::System(fd) => socket::take_error(fd),
            Self::Virtual(fd) => fd.take_error(),
        }
    }

    /// Returns the facts that hold now, whatever has been reported before: one query of the kernel,
    /// without waiting.
    ///
    /// # Errors
    ///
    /// As `poll(2)`.
    #[inline]
    pub fn readiness(self) -> io::Result<Readiness> {
        match self {
            Self::System(fd) => poll2::look(fd),
            Self::Virtual(fd) => fd.readiness(),
        }
    }

    /// Whether this is a socket before `connect(2)` that pollers report as hung up.
    ///
    /// # Errors
    ///
    /// As `getpeername(2)`.
    pub fn is_unconnected(self) -> io::Result<bool> {
        match self {
            Self::System(fd) => socket::is_unconnected(fd),
            Self::Virtual(fd) => fd.is_unconnected(),
        }
    }

    /// Whether it has a peer.
    ///
    /// # Errors
    ///
    /// As `getpeername(2)`.
    #[inline]
    pub fn is_connected(self) -> io::Result<bool> {
        match self {
            Self::System(fd) => socket::is_connected(fd),
            Self::Virtual(fd) => fd.is_connected(),
        }
    }

    /// Returns the facts that hold now, each by itself: unlike in what a poller reports, an error
    /// does not imply that the descriptor is readable and writable. One query of the kernel, without
    /// waiting.
    ///
    /// # Errors
    ///
    /// As `poll(2)`.
    pub fn facts(self) -> io::Result<Readiness> {
        match self {
            Self::System(fd) => poll2::facts(fd),
            Self::Virtual(fd) => fd.facts(),
        }
    }

    /// Whether this is a pipe or a FIFO.
    ///
    /// # Errors
    ///
    /// As `fstat(2)`.
    pub fn is_pipe(self) -> io::Result<bool> {
        match self {
            Self::System(fd) => match file_kind(fd.as_raw_fd()) {
                Ok(kind) => Ok(kind == FileKind::Pipe),
                // A file that is always ready is no pipe.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
                Err(error) => Err(error),
            },
            Self::Virtual(fd) => fd.is_pipe(),
        }
    }

    /// Whether no operation on it ever waits: a regular file, a directory, a disk, or a device such as
    /// `/dev/null`. The poller of another kernel decides that for its descriptors.
    pub(crate) fn is_always_ready(self) -> bool {
        match self {
            Self::System(fd) => is_always_ready(fd.as_raw_fd()).unwrap_or(false),
            Self::Virtual(_) => false,
        }
    }

    /// Whether it only names a file, and cannot read or write it (`O_PATH`).
    pub(crate) fn is_path_only(self) -> bool {
        match self {
            Self::System(fd) => is_path_only(fd),
            Self::Virtual(_) => false,
        }
    }

    /// Returns the address of the peer (`getpeername(2)`).
    ///
    /// # Errors
    ///
    /// As `getpeername(2)`; `InvalidInput` if it is not an internet address.
    pub(crate) fn peer_addr(self) -> io::Result<SocketAddr> {
        match self {
            Self::System(fd) => with_std(fd, TcpStream::peer_addr),
            Self::Virtual(fd) => fd.peer_addr(),
        }
    }

    /// Returns the local address of the socket (`getsockname(2)`).
    ///
    /// # Errors
    ///
    /// As `getsockname(2)`; `Unsupported` if it is not an internet address.
    pub fn local_addr(self) -> io::Result<SocketAddr> {
        match self {
            Self::System(fd) => socket::local_addr(fd),
            Self::Virtual(fd) => fd.local_addr(),
        }
    }

    /// How many bytes could be read (`FIONREAD`).
    ///
    /// # Errors
    ///
    /// As `ioctl(2)`.
    #[inline]
    pub fn bytes_available(self) -> io::Result<usize> {
        match self {
            Self::System(fd) => socket::bytes_available(fd),
            Self::Virtual(fd) => fd.bytes_available(),
        }
    }

    /// Whether there is a byte to be read, also behind an urgent one.
    ///
    /// # Errors
    ///
    /// As `recv(2)`.
    #[inline]
    pub fn peek(self) -> io::Result<bool> {
        match self {
            Self::System(fd) => socket::peek(fd),
            Self::Virtual(fd) => fd.peek(),
        }
    }
}

/// Repeats a call that a signal interrupted, as the system's calls in `readily-sys` do. Not inlined, so
/// that reads from the system save no registers for it.
#[cold]
#[inline(never)]
fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
