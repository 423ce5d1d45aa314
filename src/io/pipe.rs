//! Pipes and FIFOs for coroutines: the two ends, each in one direction.
//!
//! The ends are those of a child's standard streams, of [`pipe`], or of a FIFO. They have the reads and writes of a
//! [`TcpStream`](super::TcpStream): an operation returns what the system call returned, except
//! that `WouldBlock` and `Interrupted` never reach the caller, and dropping a wait loses nothing.
//!
//! A short read does not prove that nothing is left: a pipe in packet mode returns one packet at a time.
//! So a direction counts as ready until an operation returns `WouldBlock`.
//!
//! In asyncio: `connect_read_pipe`, `connect_write_pipe`. In the notes: the I/O of coroutines (N4, N10).

use super::check::{nothing, write_all};
use super::pipe_end::{PipeEnd, ReadSome, open};
use super::watched::{Direction, Io, Watched};
use crate::event_loop::FdState;
use crate::poll::{FdOwned, Readiness, VirtualFd};
use std::fs::OpenOptions;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::Location;
use std::path::Path;
use std::rc::Rc;

/// Makes a pipe, and returns both ends.
///
/// # Errors
///
/// If no descriptor is left; as [`PipeReader::new`].
///
/// # Examples
///
/// ```
/// use readily::io::pipe;
///
/// readily::run(async {
///     let (reader, writer) = pipe()?;
///     writer.write_all(b"hello").await?;
///     drop(writer); // the end of the stream
///     let mut all = Vec::new();
///     reader.read_to_end(&mut all, 1 << 20).await?;
///     assert_eq!(all, b"hello");
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let site = Location::caller();
    let (reader, writer) = readily_sys::pipe()?;
    let watch = |fd| PipeEnd::watch(PipeEnd::import(fd), FdState::NonBlocking, site);
    let (reader, writer) = (watch(reader)?, watch(writer)?);
    Ok((PipeReader { end: reader }, PipeWriter { end: writer }))
}

/// The reading end of a pipe or a FIFO. Dropping it closes it: without a reading end, a write at the other end fails.
#[derive(Debug)]
pub struct PipeReader {
    pub(super) end: Watched<PipeEnd>,
}

/// The writing end of a pipe or a FIFO. Dropping it closes it: the reader reaches the end when the last writing end is
/// closed.
#[derive(Debug)]
pub struct PipeWriter {
    pub(super) end: Watched<PipeEnd>,
}

impl PipeReader {
    /// Makes a reader from a reading end, such as a [`std::io::PipeReader`], a [`std::process::ChildStdout`] or the
    /// [`File`](std::fs::File) of a FIFO, and makes it non-blocking until this is dropped. The flag belongs to the open
    /// file: if the end is shared with other processes, it is non-blocking for them, too.
    ///
    /// # Errors
    ///
    /// As [`Async::new`](super::Async::new); [`Error::NotPipe`](crate::Error::NotPipe) for another kind of file.
    #[doc(alias = "connect_read_pipe")]
    #[track_caller]
    pub fn new(end: impl Into<OwnedFd>) -> io::Result<Self> {
        let fd = PipeEnd::import(end.into());
        let end = PipeEnd::watch(fd, FdState::Unknown, Location::caller())?;
        Ok(Self { end })
    }

    /// Opens a FIFO for reading, without waiting for a writer. A read waits for the first writer (on Linux; another
    /// system may report the end at once). When the last writer has closed its end, reads return zero until there is
    /// another writer. To keep the FIFO from ending, open it for writing as well.
    ///
    /// # Errors
    ///
    /// As `open(2)` and [`PipeReader::new`].
    #[track_caller]
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::new(open(path.as_ref(), OpenOptions::new().read(true))?)
    }

    /// Makes a reader from an end of a virtual kernel: the kernel of the current loop's poller.
    ///
    /// # Errors
    ///
    /// As [`PipeReader::new`].
    #[track_caller]
    pub fn from_kernel(fd: Rc<dyn VirtualFd>) -> io::Result<Self> {
        let (fd, state) = (FdOwned::Virtual(fd), FdState::NonBlocking);
        let end = PipeEnd::watch(fd, state, Location::caller())?;
        Ok(Self { end })
    }

    /// Waits until there are bytes, and reads them into `buffer`. Returns their number: zero at the end of the
    /// stream, or if `buffer` is empty.
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
        let read = |end: &PipeEnd| end.fd_ref().try_read(buffer, &end.known);
        self.end.io(Direction::Read, read).await
    }

    /// Reads until `buffer` is full.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the stream ends before; as [`read`](PipeReader::read).
    ///
    /// # Cancellation
    ///
    /// Bytes that were read are at the front of `buffer`, but their number is lost.
    pub async fn read_exact(&self, buffer: &mut [u8]) -> io::Result<()> {
        let mut left = buffer;
        loop {
            let n = self.read(left).await?;
            if n == 0 && !left.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left = &mut left[n..];
            if left.is_empty() {
                return Ok(());
            }
        }
    }

    /// Appends to `into` all bytes up to the end of the stream, and returns their number.
    ///
    /// # Errors
    ///
    /// `FileTooLarge` if there are more than `limit` bytes; then the first `limit` bytes are in `into`, and the others
    /// can still be read. As [`read`](PipeReader::read).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: bytes that were read are in `into`, and another call goes on.
    pub async fn read_to_end(&self, into: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
        let before = into.len();
        loop {
            let left = limit.saturating_sub(into.len() - before);
            match self.read_some(into, left).await? {
                ReadSome::Bytes => {}
                ReadSome::End => return Ok(into.len() - before),
                ReadSome::TooMany => return Err(io::ErrorKind::FileTooLarge.into()),
            }
        }
    }

    /// Appends what is there, up to `limit` bytes; waits until there is something.
    pub(crate) async fn read_some(&self, into: &mut Vec<u8>, limit: usize) -> io::Result<ReadSome> {
        let read = |end: &PipeEnd| end.read_some(into, limit);
        self.end.io(Direction::Read, read).await
    }

    /// The same without waiting: `WouldBlock` if there is nothing.
    pub(crate) fn try_read_some(&self, into: &mut Vec<u8>, limit: usize) -> io::Result<ReadSome> {
        let read = |end: &PipeEnd| end.read_some(into, limit);
        self.end.try_io(Direction::Read, read)
    }
}

impl PipeWriter {
    /// Makes a writer from a writing end, as [`PipeReader::new`] makes a reader.
    ///
    /// # Errors
    ///
    /// As [`PipeReader::new`].
    #[doc(alias = "connect_write_pipe")]
    #[track_caller]
    pub fn new(end: impl Into<OwnedFd>) -> io::Result<Self> {
        let fd = PipeEnd::import(end.into());
        let end = PipeEnd::watch(fd, FdState::Unknown, Location::caller())?;
        Ok(Self { end })
    }

    /// Opens a FIFO for writing.
    ///
    /// # Errors
    ///
    /// `ENXIO` if there is no reader. As `open(2)` and [`PipeWriter::new`].
    #[track_caller]
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::new(open(path.as_ref(), OpenOptions::new().write(true))?)
    }

    /// Makes a writer from an end of a virtual kernel: the kernel of the current loop's poller.
    ///
    /// # Errors
    ///
    /// As [`PipeWriter::new`].
    #[track_caller]
    pub fn from_kernel(fd: Rc<dyn VirtualFd>) -> io::Result<Self> {
        let (fd, state) = (FdOwned::Virtual(fd), FdState::NonBlocking);
        let end = PipeEnd::watch(fd, state, Location::caller())?;
        Ok(Self { end })
    }

    /// Waits until there is room, writes as many of `bytes` as fit, and returns their number. Without bytes it returns
    /// zero at once.
    ///
    /// # Errors
    ///
    /// As `write(2)`: `BrokenPipe` if the reader has gone. The system also raises `SIGPIPE` then, which the
    /// Rust runtime ignores; a library in another program may have to ignore it itself.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: either bytes were written and this has returned, or none were.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return poll_fn(nothing).await;
        }
        let write = |end: &PipeEnd| end.fd_ref().try_write(bytes, &end.known);
        self.end.io(Direction::Write, write).await
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// As [`write`](PipeWriter::write); some of the bytes may have been written.
    ///
    /// # Cancellation
    ///
    /// Some of the bytes may have been written; their number is lost.
    pub async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        write_all(bytes, async |left: &[u8]| self.write(left).await).await
    }

    /// Waits until all reading ends are closed, for a program that has nothing to write.
    ///
    /// # Errors
    ///
    /// As [`Async::readable`](super::Async::readable).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn closed(&self) -> io::Result<()> {
        // A writing end is readable only as an effect of the error that means this.
        let look = |end: &PipeEnd| match end.fd_ref().facts()?.intersects(GONE) {
            true => Ok(()),
            false => Err(io::ErrorKind::WouldBlock.into()),
        };
        self.end.io(Direction::Read, look).await
    }
}

/// What a writing end reports when its reader has gone.
const GONE: Readiness =
    Readiness::from_bits(Readiness::ERROR.bits() | Readiness::WRITE_CLOSED.bits());

impl AsFd for PipeReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.fd_ref().as_fd()
    }
}

impl AsFd for PipeWriter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.fd_ref().as_fd()
    }
}
