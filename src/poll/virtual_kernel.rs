//! The interface to kernels other than the system's: a kernel in memory, or the replay of a recording.
//!
//! A loop asks its poller which kernel it works on ([`Poller::kernel`](super::Poller::kernel));
//! the system's needs none of this. On another kernel, sockets come from a [`VirtualKernel`], and their
//! operations go to a [`VirtualFd`]. A turn also depends on the messages of other threads: the loop
//! submits them to the kernel too, so that a replay can decide when they arrive.
//!
//! In the notes this is one more system below the selector (N2).

use super::Readiness;
use readily_sys::socket;
use std::cell::OnceCell;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;

/// A kernel other than the system's: it makes the sockets of a loop.
pub trait VirtualKernel {
    /// Makes a TCP listener on `addr`, with room for `backlog` connections.
    ///
    /// # Errors
    ///
    /// As `bind(2)` and `listen(2)`.
    fn listen(&self, addr: SocketAddr, backlog: usize) -> io::Result<Rc<dyn VirtualFd>>;

    /// Begins to connect to `addr`; the poller reports the end of the attempt.
    ///
    /// # Errors
    ///
    /// As `socket(2)`.
    fn connect(&self, addr: SocketAddr) -> io::Result<Rc<dyn VirtualFd>>;

    /// Takes over a descriptor of the system.
    ///
    /// # Errors
    ///
    /// The descriptor, if this kernel cannot use it, as a kernel in memory. Its poller then refuses
    /// to watch it.
    fn import(&self, fd: OwnedFd) -> Result<Rc<dyn VirtualFd>, OwnedFd> {
        Err(fd)
    }

    /// Passes a value that arose in real time to the kernel, for instance the number of messages that
    /// other threads have sent, and returns the value that the loop is to use.
    fn replayed_or(&self, live: u64) -> u64 {
        live
    }

    /// Waits, in real time, until the notifier of this kernel's poller is used; `false` if that is not
    /// to be expected. Called only after [`VirtualKernel::replayed_or`] has returned more than there is
    /// yet.
    fn await_notification(&self) -> bool {
        false
    }

    /// Called before the loop calls user code, with the branch and the number in the loop's table.
    fn trace_call(&self, what: &'static str, number: u64) {
        let _ = (what, number);
    }

    /// Whether the actions of other threads are recorded, so that each of their wakes must be a
    /// message.
    fn is_recording(&self) -> bool {
        false
    }

    /// Returns a number that identifies this kernel, the same for all handles of it and for its descriptors
    /// ([`VirtualFd::kernel_identity`]); `None` if it need not be distinguished.
    fn identity(&self) -> Option<usize> {
        None
    }
}

/// A placeholder for a descriptor of the system where there is none: an unconnected socket, made when it
/// is first requested.
#[derive(Debug, Default)]
pub struct Placeholder(OnceCell<OwnedFd>);

impl Placeholder {
    /// Returns the socket: what a [`VirtualFd`] without a descriptor of the system returns from
    /// [`VirtualFd::as_fd`].
    ///
    /// # Panics
    ///
    /// If the system has no descriptor left.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        let made = self.0.get_or_init(|| {
            let (one, _other) = UnixDatagram::pair().expect("the system has a descriptor");
            one.into()
        });
        made.as_fd()
    }
}

/// A descriptor of a [`VirtualKernel`]. Operations are those of [`FdRef`](super::FdRef), and fail as
/// they do. None ever waits: a kernel that uses the system's descriptors reads with
/// [`FdRef::try_read`](super::FdRef::try_read) and writes with
/// [`FdRef::try_write`](super::FdRef::try_write). Dropping it closes it.
#[allow(missing_docs)] // each is the system call of its name; see `FdRef`
#[allow(clippy::missing_errors_doc)]
pub trait VirtualFd: fmt::Debug {
    /// The number under which a poller of its kernel watches it. The system may use the same number
    /// for another file.
    fn raw(&self) -> RawFd;
    /// The [`VirtualKernel::identity`] of its kernel: a loop on another kernel refuses it.
    fn kernel_identity(&self) -> Option<usize> {
        None
    }
    /// The system's descriptor behind it, or a [`Placeholder`], which is of no use.
    fn as_fd(&self) -> BorrowedFd<'_>;
    fn kind(&self) -> socket::Kind;
    /// Makes operations not wait; returns whether that changed the descriptor.
    fn set_nonblocking(&self) -> io::Result<bool> {
        Ok(false)
    }
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }
    fn accept(&self) -> io::Result<(Rc<dyn VirtualFd>, Option<SocketAddr>)>;
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
    fn take_error(&self) -> io::Result<Option<io::Error>>;
    fn is_connected(&self) -> io::Result<bool>;
    fn readiness(&self) -> io::Result<Readiness>;
    /// Whether this is a socket before `connect(2)` that pollers report as hung up.
    fn is_unconnected(&self) -> io::Result<bool> {
        Ok(false)
    }
    fn bytes_available(&self) -> io::Result<usize>;
    fn peek(&self) -> io::Result<bool>;
    /// Returns the facts that hold now. Called when an error was reported, to distinguish an error
    /// that ends a connection from one that does not; `NONE` is right for a kernel that has only the former.
    fn facts(&self) -> io::Result<Readiness> {
        Ok(Readiness::NONE)
    }
    /// Whether this is a pipe: of descriptors that are not sockets, only a pipe has ended when it has
    /// an error.
    fn is_pipe(&self) -> io::Result<bool> {
        Ok(self.kind() == socket::Kind::Other)
    }
    fn local_addr(&self) -> io::Result<SocketAddr>;
    fn peer_addr(&self) -> io::Result<SocketAddr>;
    fn set_nodelay(&self, nodelay: bool) -> io::Result<()>;
}
