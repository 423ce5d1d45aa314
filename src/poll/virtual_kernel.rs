//! The interface to kernels other than the system's: a kernel in memory, or the replay of a recording.
//!
//! A loop asks its poller which kernel it works on ([`Poller::kernel`](super::Poller::kernel));
//! the system's needs none of this. On another kernel, sockets come from a [`VirtualKernel`], and their
//! operations go to a [`VirtualFd`]. A turn also depends on the messages of other threads: the loop
//! submits them to the kernel too, so that a replay can decide when they arrive.
//!
//! In the notes this is one more system below the selector (N2).

use super::Readiness;
use super::virtual_child::VirtualChild;
use readily_sys::socket;
use std::cell::OnceCell;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

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

    /// Makes two streams that are connected to each other, as `socketpair(2)`; by default refused as
    /// `Unsupported`.
    ///
    /// # Errors
    ///
    /// As `socketpair(2)`.
    #[allow(clippy::type_complexity)] // two descriptors
    fn pair(&self) -> io::Result<(Rc<dyn VirtualFd>, Rc<dyn VirtualFd>)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Returns the addresses of a host; by default refused as `Unsupported`.
    ///
    /// # Errors
    ///
    /// `NotFound`, if there is no such name.
    fn lookup_host(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let _ = name;
        Err(io::ErrorKind::Unsupported.into())
    }

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

    /// Returns where the jobs of thread pools run that a loop on this kernel submits.
    fn blocking_jobs(&self) -> BlockingJobs {
        BlockingJobs::OnThreads
    }

    /// Stops the time of this kernel for one job more, or for one job less: see
    /// [`BlockingJobs::HoldTime`].
    fn hold_time(&self, hold: bool) {
        let _ = hold;
    }

    /// Returns what the next step of a worker of a process pool is to be, whose loop is on this kernel: such a
    /// worker is simulated, and its jobs run in this process. `None` if there are no workers.
    fn worker_fate(&self, step: WorkerStep) -> Option<WorkerFate> {
        let _ = step;
        None
    }

    /// Starts a simulated child for a loop on this kernel. It has a pipe for each of its standard streams (input,
    /// output, errors) for which `piped` is set. `None` if there are no processes.
    fn start_child(
        &self,
        command: &Command,
        piped: [bool; 3],
    ) -> Option<io::Result<VirtualProcess>> {
        let _ = (command, piped);
        None
    }

    /// Returns a number that identifies this kernel, the same for all handles of it and for its descriptors
    /// ([`VirtualFd::kernel_identity`]); `None` if it need not be distinguished.
    fn identity(&self) -> Option<usize> {
        None
    }
}

/// A child that has been started: see [`VirtualKernel::start_child`].
#[derive(Debug)]
#[non_exhaustive]
pub struct VirtualProcess {
    /// The child.
    pub child: Rc<dyn VirtualChild>,
    /// The loop's ends of the pipes to its standard input, and from its standard output and its standard error.
    pub pipes: [Option<Rc<dyn VirtualFd>>; 3],
}

impl VirtualProcess {
    /// Returns a child with these pipes.
    #[must_use]
    pub fn new(child: Rc<dyn VirtualChild>, pipes: [Option<Rc<dyn VirtualFd>>; 3]) -> Self {
        Self { child, pipes }
    }
}

/// Where the jobs of thread pools run that a loop on a [`VirtualKernel`] submits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockingJobs {
    /// On the threads of the pool. The loop's time goes on meanwhile, as on the system's kernel.
    #[default]
    OnThreads,
    /// On the threads of the pool, and the time of the kernel stands still until they have returned.
    HoldTime,
    /// On the loop's own thread, at once, in an order that the seed of the loop chooses among those
    /// that threads could take. A job that waits for the loop would wait for ever.
    AtOnce,
}

/// A step of a simulated worker of a process pool: see [`VirtualKernel::worker_fate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerStep {
    /// It is started.
    Start,
    /// It gets a call, the first of which is the initializer, if there is one.
    Call,
}

/// What a simulated worker of a process pool does, and how much later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerFate {
    /// How long it takes.
    pub after: Duration,
    /// What it does then.
    pub end: WorkerEnd,
}

impl WorkerFate {
    /// Returns the fate of a worker that does `end` after this time.
    #[must_use]
    pub fn new(end: WorkerEnd, after: Duration) -> Self {
        Self { after, end }
    }
}

/// What a simulated worker does at the end of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerEnd {
    /// It is ready, or it runs the job and answers.
    #[default]
    Answers,
    /// The system refuses the process (`EAGAIN`). A worker that runs dies.
    Refused,
    /// It dies before it is ready, or before it runs the job.
    Dies,
    /// It runs the job, and dies before it answers.
    DiesAfterJob,
    /// It runs the job, and sends something that is no answer.
    Garbage,
    /// It hangs.
    Hangs,
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
///
/// # Errors
///
/// Each method fails as the system call of which it takes the place, which its documentation names;
/// `WouldBlock` instead of waiting.
#[allow(clippy::missing_errors_doc)] // above, for all
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
    /// Which kind of descriptor this is: it decides which role a registration has.
    fn kind(&self) -> socket::Kind;
    /// Makes operations not wait; returns whether that changed the descriptor.
    fn set_nonblocking(&self) -> io::Result<bool> {
        Ok(false)
    }
    /// Reads what is there, as `recv(2)` or `read(2)`; zero is the end.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Reads into several buffers, one after the other, as `readv(2)`; by default into the first that is
    /// not empty.
    fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match buffers.iter_mut().find(|buffer| !buffer.is_empty()) {
            Some(buffer) => self.read(buffer),
            None => self.read(&mut []),
        }
    }
    /// Reads what is there, and leaves it there, as `recv(2)` with `MSG_PEEK`; by default refused as
    /// `Unsupported`.
    fn read_peek(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Writes as much as there is room for, as `write(2)`; to a socket without `SIGPIPE`.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Writes to a socket, as `send(2)`.
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }
    /// Writes from several buffers, one after the other, as `writev(2)`; by default from the
    /// first that is not empty.
    fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let buffer = buffers.iter().find(|buffer| !buffer.is_empty());
        self.write(buffer.map_or(&[], |buffer| buffer))
    }
    /// Accepts a connection of a listener, as `accept(2)`: the connection, and its peer's address if
    /// the peer has one.
    fn accept(&self) -> io::Result<(Rc<dyn VirtualFd>, Option<SocketAddr>)>;
    /// Ends one direction of a connection or both, as `shutdown(2)`.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
    /// Takes the pending error of a socket, as `SO_ERROR` of `getsockopt(2)`: a second call returns
    /// `None`. After a connection attempt this is its outcome.
    fn take_error(&self) -> io::Result<Option<io::Error>>;
    /// Whether the socket has a peer, as `getpeername(2)` shows it.
    fn is_connected(&self) -> io::Result<bool>;
    /// The facts that hold now, as a poller would report them, whatever has been reported before.
    fn readiness(&self) -> io::Result<Readiness>;
    /// Whether this is a socket before `connect(2)` that pollers report as hung up.
    fn is_unconnected(&self) -> io::Result<bool> {
        Ok(false)
    }
    /// How many bytes can be read at once, as `FIONREAD` of `ioctl(2)`; zero if that is not known.
    fn bytes_available(&self) -> io::Result<usize>;
    /// Whether there is a byte to be read, also behind an urgent one, as `recv(2)` with `MSG_PEEK`.
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
    /// The address of this socket, as `getsockname(2)`.
    fn local_addr(&self) -> io::Result<SocketAddr>;
    /// The address of its peer, as `getpeername(2)`.
    fn peer_addr(&self) -> io::Result<SocketAddr>;
    /// Sends small writes at once, as `TCP_NODELAY` of `setsockopt(2)`.
    fn set_nodelay(&self, nodelay: bool) -> io::Result<()>;
}
