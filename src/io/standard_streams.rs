//! The standard streams of the process, for coroutines.
//!
//! Each may be a terminal, a pipe, a FIFO, a socket or a file, and all work alike. No thread reads or writes in the
//! background, so nothing keeps a program from ending: not a terminal at which nothing is typed, and not a full pipe.
//!
//! In asyncio: `connect_read_pipe` with `sys.stdin`, which refuses files. In the notes: the I/O of coroutines (N4, N10).

use super::pipe_end::PipeEnd;
use super::pollable::Pollable;
use super::watched::{Direction, Io};
use crate::event_loop::{Error, FdState};
use crate::poll::{FdOwned, FdRef, VirtualFd};
use readily_sys::errno;
use readily_sys::standard_stream::{self, StandardStream};
use readily_sys::transfer::Transfer;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::panic::Location;
use std::rc::Rc;
use std::task::{Context, Poll};

/// One of them, of the system or of another kernel.
pub(super) struct StreamFd {
    fd: FdOwned,
    /// Which calls do not wait even if another process makes a shared open file blocking.
    known: Cell<Transfer>,
}

impl Io for StreamFd {
    fn fd_ref(&self) -> FdRef<'_> {
        match &self.fd {
            FdOwned::System(fd) => FdRef::System(fd.as_fd()),
            FdOwned::Virtual(fd) => FdRef::Virtual(&**fd),
        }
    }
}

/// What reads and writes a standard stream.
pub(super) struct Stream(pub(super) Pollable<StreamFd>);

impl Stream {
    /// Opens one of this process.
    pub(super) fn of_process(
        stream: StandardStream,
        site: &'static Location<'static>,
    ) -> io::Result<Self> {
        let (fd, is_own) =
            standard_stream::open(stream).map_err(|error| open_error(error, stream))?;
        let state = match is_own {
            true => FdState::NonBlocking,
            false => FdState::Unknown,
        };
        Self::of(PipeEnd::import(fd), state, site)
    }

    pub(super) fn of_kernel(
        fd: Rc<dyn VirtualFd>,
        site: &'static Location<'static>,
    ) -> io::Result<Self> {
        Self::of(FdOwned::Virtual(fd), FdState::NonBlocking, site)
    }

    fn of(fd: FdOwned, state: FdState, site: &'static Location<'static>) -> io::Result<Self> {
        let known = Cell::new(Transfer::FILE);
        let stream = StreamFd { fd, known };
        stream.known.set(stream.fd_ref().transfer());
        Pollable::new(stream, state, site).map(Self)
    }

    /// A read. A file that is always ready is read by a call that may wait for the disk: the one that does not wait
    /// fails if the bytes are not in memory, and nothing reports that they are.
    fn read_of<'a>(&self, buffer: &'a mut [u8]) -> impl FnMut(&StreamFd) -> io::Result<usize> + 'a {
        let (room, waits) = (self.0.room(buffer.len()), self.0.is_always_ready());
        move |stream| match waits {
            true => stream.fd_ref().read(&mut buffer[..room]),
            false => stream.fd_ref().try_read(buffer, &stream.known),
        }
    }

    pub(super) fn write_of<'a>(
        &self,
        bytes: &'a [u8],
    ) -> impl FnMut(&StreamFd) -> io::Result<usize> + 'a {
        let (room, waits) = (self.0.room(bytes.len()), self.0.is_always_ready());
        move |stream| match waits {
            true => stream.fd_ref().write(&bytes[..room]),
            false => stream.fd_ref().try_write(bytes, &stream.known),
        }
    }

    pub(super) fn fmt(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd = self.0.fd_ref().raw();
        let ready = self.0.ready();
        f.debug_struct(name)
            .field("fd", &fd)
            .field("ready", &ready)
            .finish()
    }
}

#[cold]
fn open_error(error: io::Error, stream: StandardStream) -> io::Error {
    match error.raw_os_error() {
        Some(errno::EBADF) => {
            let fd = stream as RawFd;
            Error::BadDescriptor { fd }.into_io()
        }
        _ => error,
    }
}

/// Standard input, for coroutines: see [`stdin`].
pub struct Stdin {
    stream: Stream,
}

/// Returns the standard input of this process, whatever it is: a terminal, a pipe, a FIFO, a socket, a file or
/// `/dev/null`. Read lines from it by [`BufReader`](super::BufReader).
///
/// - **A file, `/dev/null`:** [always ready](super::Async#files-that-are-always-ready), and not registered.
/// - **A terminal, a pipe:** opened once more, so that `O_NONBLOCK` is set for this program alone: the shell's open
///   file stays blocking, and so do `println!` and the programs that this one has started. Where that is not possible
///   (a terminal of another user; pipes on other systems than Linux), and for a FIFO or a socket, the open file is
///   shared, and is non-blocking until the `Stdin` is dropped.
/// - **Closed:** an error, also if number 0 is a file by now that this program has opened. (A Rust program in whose
///   start it was closed has `/dev/null` there: the standard library opens that.)
///
/// Each call has a descriptor of its own, which dropping it closes; number 0 stays open. Bytes that
/// [`std::io::stdin`] has in its buffer are not seen.
///
/// The end of the input is a read of zero bytes. A terminal can be read on after that (Ctrl-D ends a read, and not
/// the terminal). While this process is in the background, a read from a terminal stops it by SIGTTIN, as any
/// program, and goes on when the process comes to the foreground; if it ignores the signal, the read fails with `EIO`.
/// A wait does not stop it: only what is typed for it ends the wait.
///
/// # Errors
///
/// [`Error::BadDescriptor`] in an `io::Error` if it is closed; as
/// [`Async::new`](super::Async::new).
///
/// # Examples
///
/// ```no_run
/// use readily::io::{BufReader, stdin};
///
/// readily::run(async {
///     let mut input = BufReader::new(stdin()?);
///     while let Some(line) = input.read_line().await? {
///         println!("{} bytes", line.len());
///     }
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn stdin() -> io::Result<Stdin> {
    let stream = Stream::of_process(StandardStream::Input, Location::caller())?;
    Ok(Stdin { stream })
}

impl Stdin {
    /// Makes one of a descriptor of another kernel: that of the current loop's poller.
    ///
    /// # Errors
    ///
    /// As [`stdin`].
    #[track_caller]
    pub fn from_kernel(fd: Rc<dyn VirtualFd>) -> io::Result<Self> {
        let stream = Stream::of_kernel(fd, Location::caller())?;
        Ok(Self { stream })
    }

    /// Whether no read ever waits: it is a file, or a device such as `/dev/null`. See
    /// [`Async`](super::Async#files-that-are-always-ready).
    #[must_use]
    pub fn is_always_ready(&self) -> bool {
        self.stream.0.is_always_ready()
    }

    /// Reads what is there, waiting until something is. Zero is the end of the input, or an empty `buffer`.
    ///
    /// # Errors
    ///
    /// As `read(2)`.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: either bytes were read and this has returned, or none were.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read_of(buffer);
        self.stream.0.transfer(Direction::Read, read).await
    }

    /// Waits until a read is worth trying.
    ///
    /// # Errors
    ///
    /// As [`Async::readable`](super::Async::readable).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn readable(&self) -> io::Result<()> {
        self.stream.0.wait(Direction::Read).await
    }

    /// Reads what is there, without waiting, unless for a disk.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing is there; as [`Stdin::read`].
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read_of(buffer);
        self.stream.0.try_io(Direction::Read, read)
    }

    /// Polls a read. Of several tasks that poll, the one that polled last is woken.
    ///
    /// # Errors
    ///
    /// As [`Stdin::read`].
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = self.stream.read_of(buffer);
        self.stream.0.poll_transfer(cx, Direction::Read, read)
    }

    /// Polls for a read being worth trying, as [`Stdin::readable`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.0.poll_ready(cx, Direction::Read)
    }
}

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt("Stdin", f)
    }
}
