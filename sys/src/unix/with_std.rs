//! The standard library's methods of a socket, for a descriptor that another value owns.
//!
//! The loop owns its sockets as descriptors. Addresses and options of a socket are then still those that
//! the standard library reads and sets.
//!
//! In the notes this is what stands below a connection (N7).

use std::mem::ManuallyDrop;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

/// A type of the standard library that has a descriptor and nothing else.
pub trait StdSocket: From<OwnedFd> + sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! std_sockets {
    ($($of:ty),*) => {$(
        impl sealed::Sealed for $of {}
        impl StdSocket for $of {}
    )*};
}

std_sockets!(
    TcpStream,
    TcpListener,
    UdpSocket,
    UnixStream,
    UnixListener,
    UnixDatagram
);

/// Calls `operation` with `fd` as a socket of the standard library. On a descriptor of another kind the
/// operation fails as its system call does.
#[inline]
pub fn with_std<S: StdSocket, R>(fd: BorrowedFd<'_>, operation: impl FnOnce(&S) -> R) -> R {
    // SAFETY: the descriptor is borrowed, so it is open until `operation` has returned. It is never closed
    // through this value: the standard library's socket keeps it as it is, is not dropped, and is only lent.
    let socket = ManuallyDrop::new(S::from(unsafe { OwnedFd::from_raw_fd(fd.as_raw_fd()) }));
    operation(&socket)
}
