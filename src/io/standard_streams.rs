//! The standard streams of the process, for coroutines.
//!
//! Each may be a terminal, a pipe, a FIFO, a socket or a file; the functions are the same for all. No thread reads or
//! writes in the background. So a program can end while no input is typed at its terminal, or while its output pipe is
//! full.
//!
//! In asyncio: `connect_read_pipe` with `sys.stdin`, which refuses files. In the notes: the I/O of coroutines (N4, N10).

use super::check::nothing;
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
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::panic::Location;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The descriptor of a standard stream, of the system or of a virtual kernel.
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

/// A standard stream, for reads and for writes.
pub(super) struct Stream(pub(super) Pollable<StreamFd>);

impl Stream {
    /// Opens a standard stream of this process.
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

    /// A read. A file that is always ready is read by a call that may wait for the disk. A call that does not wait
    /// would fail while the bytes are not in memory, and no event would report when they are.
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

/// Returns the standard input of this process, for coroutines: a terminal, a pipe, a FIFO, a socket, a file or
/// `/dev/null`. To read lines, wrap it in a [`BufReader`](super::BufReader).
///
/// - **A file, `/dev/null`** is [always ready](super::Async#files-that-are-always-ready), and is not registered.
/// - **A terminal, a pipe** is opened a second time, so that `O_NONBLOCK` is set for this program alone. The open
///   file that the shell shares stays blocking, and so do `println!` and the programs that this one has started.
///   Where a second open is not possible (a terminal of another user; pipes on other systems than Linux), and for a
///   FIFO or a socket, the open file is shared, and is non-blocking until the `Stdin` is dropped.
/// - **A closed standard input** is an error, also if this program has opened another file since, which has the
///   number 0 now. (If the standard input is closed when a Rust program starts, the standard library opens
///   `/dev/null` as number 0.)
///
/// Each call returns a `Stdin` with a descriptor of its own, which is closed when the `Stdin` is dropped; number 0
/// stays open. Bytes in the buffer of [`std::io::stdin`] are not read.
///
/// The end of the input is a read of zero bytes. A terminal can be read again after that: Ctrl-D ends a read, and not
/// the terminal. If this process is in the background, a read from a terminal stops the process by SIGTTIN, as in any
/// program, and the read goes on when the process comes to the foreground. If the process ignores the signal, the
/// read fails with `EIO`. Waiting for input does not stop the process.
///
/// # Errors
///
/// [`Error::BadDescriptor`] in an `io::Error` if the standard input is closed; as
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
    /// Makes a `Stdin` from a descriptor of a virtual kernel: the kernel of the current loop's poller.
    ///
    /// # Errors
    ///
    /// As [`stdin`].
    #[track_caller]
    pub fn from_kernel(fd: Rc<dyn VirtualFd>) -> io::Result<Self> {
        let stream = Stream::of_kernel(fd, Location::caller())?;
        Ok(Self { stream })
    }

    /// Whether this is a file, or a device such as `/dev/null`, whose reads never wait. See
    /// [`Async`](super::Async#files-that-are-always-ready).
    #[must_use]
    pub fn is_always_ready(&self) -> bool {
        self.stream.0.is_always_ready()
    }

    /// Waits until there are bytes, and reads them into `buffer`. Returns their number: zero at the end of the input,
    /// or if `buffer` is empty.
    ///
    /// # Errors
    ///
    /// As `read(2)`.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: either bytes were read and this has returned, or none were.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return poll_fn(nothing).await;
        }
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

    /// Reads the bytes that are there, without waiting for more. A read of a file may wait for the disk.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing is there; as [`Stdin::read`].
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = self.stream.read_of(buffer);
        self.stream.0.try_io(Direction::Read, read)
    }

    /// Polls a read. Of several tasks that poll, only the one that polled last is woken.
    ///
    /// # Errors
    ///
    /// As [`Stdin::read`].
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return nothing(cx);
        }
        let read = self.stream.read_of(buffer);
        self.stream.0.poll_transfer(cx, Direction::Read, read)
    }

    /// Polls whether a read is worth trying, as [`Stdin::readable`].
    ///
    /// # Errors
    ///
    /// As [`Stdin::readable`].
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.0.poll_ready(cx, Direction::Read)
    }
}

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt("Stdin", f)
    }
}
