//! A kernel that is not the system's own: one in memory, or one that a recording stands in for.
//!
//! A loop asks its poller which kernel it works on ([`Poller::kernel`](super::Poller::kernel));
//! where that is the system's, none of this is met. Elsewhere sockets come from a [`VirtualKernel`],
//! and their operations go to a [`VirtualFd`]. What else a turn depends on, and no descriptor
//! tells, is what other threads do: that is put to the kernel too, which may have it otherwise.
//!
//! In the notes this is one more thing that the selector stands on (N2).

use super::Readiness;
use readily_sys::socket;
use std::cell::OnceCell;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;

/// Where the sockets of a loop come from, if not from the system.
pub trait VirtualKernel {
    /// A TCP listener on `addr`, with room for `backlog` connections.
    ///
    /// # Errors
    ///
    /// As `bind(2)` and `listen(2)`.
    fn listen(&self, addr: SocketAddr, backlog: usize) -> io::Result<Rc<dyn VirtualFd>>;

    /// Begins to connect to `addr`; how it ended, the poller tells.
    ///
    /// # Errors
    ///
    /// As `socket(2)`.
    fn connect(&self, addr: SocketAddr) -> io::Result<Rc<dyn VirtualFd>>;

    /// Takes over a descriptor of the system.
    ///
    /// # Errors
    ///
    /// The descriptor, if this kernel has no use for it, as one in memory. Its poller then
    /// refuses to watch it.
    fn import(&self, fd: OwnedFd) -> Result<Rc<dyn VirtualFd>, OwnedFd> {
        Err(fd)
    }

    /// Something that came about in real time: how many letters other threads have sent, say.
    /// What is returned is what the loop takes it to be.
    fn replayed_or(&self, live: u64) -> u64 {
        live
    }

    /// Waits, in real time, until the notifier of this kernel's poller has rung; `false` if that
    /// is not to be expected. Only asked after [`VirtualKernel::replayed_or`] has promised what is not
    /// there yet.
    fn await_notification(&self) -> bool {
        false
    }

    /// The loop is about to call somebody: what for, and whose number in its table it is.
    fn trace_call(&self, what: &'static str, whose: u64) {
        let _ = (what, whose);
    }

    /// Whether what other threads do is written down, so that each wake of theirs must be seen.
    fn is_recording(&self) -> bool {
        false
    }

    /// A number that identifies this kernel, the same for all handles of it and for its descriptors
    /// ([`VirtualFd::kernel_identity`]); `None` if it need not be distinguished.
    fn identity(&self) -> Option<usize> {
        None
    }
}

/// What stands where a descriptor of the system is asked for, and there is none: a socket that is
/// connected to nobody, made when it is first asked for.
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
    /// By which the pollers of its kernel know it. It may be one that the system uses for another
    /// file.
    fn raw(&self) -> RawFd;
    /// As [`VirtualKernel::identity`] of its kernel: a loop on another one refuses it.
    fn kernel_identity(&self) -> Option<usize> {
        None
    }
    /// The system's descriptor behind it, or a placeholder, with which nothing can be done.
    fn as_fd(&self) -> BorrowedFd<'_>;
    fn kind(&self) -> socket::Kind;
    /// Sees to it that no operation waits; whether that was news.
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
    /// Returns the facts that hold now. Called when an error was reported, to tell an error that ends
    /// a connection from one that does not; `NONE` is right for a kernel that has only the former.
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
