//! Reads and writes of any descriptor, by the standard library's traits.
//!
//! In asyncio: `loop.sock_recv` and `loop.sock_sendall`, which take sockets only. In the notes: the I/O of coroutines
//! (N4, N10).

use super::async_fd::{Async, System};
use super::check::written;
use super::poll_read::PollRead;
use super::poll_write::PollWrite;
use super::watched::{Direction, Io};
use crate::task::budget;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

/// Reads, of what can be read by reference.
impl<T: AsFd + 'static> Async<T>
where
    for<'a> &'a T: Read,
{
    /// Reads what is there, waiting until something is. Zero is the end, or an empty `buffer`. `T` must keep no bytes
    /// back, as [`std::io::Stdin`] does in its buffer: while there are some, nothing reports that.
    ///
    /// # Errors
    ///
    /// Those of the read; as [`Async::readable`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: either bytes were read and this has returned, or none were.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::io::{Async, BufReader};
    /// use std::os::unix::net::UnixStream;
    ///
    /// readily::run(async {
    ///     let (ours, theirs) = UnixStream::pair()?;
    ///     let (ours, theirs) = (Async::new(ours)?, Async::new(theirs)?);
    ///     theirs.write_all(b"hello\nworld\n").await?;
    ///     let mut ours = BufReader::new(ours);
    ///     assert_eq!(ours.read_line().await?, Some("hello"));
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = self.source.room(buffer.len());
        let buffer = &mut buffer[..room];
        let read = |System(io): &System<T>| self.operate(io, &mut |mut io| io.read(buffer));
        match room {
            0 => poll_fn(nothing).await,
            _ => self.source.transfer(Direction::Read, read).await,
        }
    }

    /// Polls a read, as [`Async::read`]. Of several tasks that poll, the one that polled last is woken.
    ///
    /// # Errors
    ///
    /// As [`Async::read`].
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let room = self.source.room(buffer.len());
        let buffer = &mut buffer[..room];
        let read = |System(io): &System<T>| self.operate(io, &mut |mut io| io.read(buffer));
        match room {
            0 => nothing(cx),
            _ => self.source.poll_transfer(cx, Direction::Read, read),
        }
    }
}

/// Writes, to what can be written to by reference.
impl<T: AsFd + 'static> Async<T>
where
    for<'a> &'a T: Write,
{
    /// Writes as much of `bytes` as there is room for, waiting until there is some.
    ///
    /// # Errors
    ///
    /// Those of the write: `BrokenPipe`, for one, or `StorageFull`; as [`Async::writable`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: either bytes were written and this has returned, or none were.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..self.source.room(bytes.len())];
        let write = |System(io): &System<T>| self.operate(io, &mut |mut io| io.write(bytes));
        match bytes {
            [] => poll_fn(nothing).await,
            _ => self.source.transfer(Direction::Write, write).await,
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// `WriteZero`, if a write takes nothing; as [`Async::write`]. Some of `bytes` may have been written.
    ///
    /// # Cancellation
    ///
    /// Some of `bytes` may have been written; it is lost how many.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = self.write(bytes).await?;
            bytes = &bytes[written(n, bytes.len())?..];
        }
        Ok(())
    }

    /// Polls a write, as [`Async::write`]. Of several tasks that poll, the one that polled last is woken.
    ///
    /// # Errors
    ///
    /// As [`Async::write`].
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let bytes = &bytes[..self.source.room(bytes.len())];
        let write = |System(io): &System<T>| self.operate(io, &mut |mut io| io.write(bytes));
        match bytes {
            [] => nothing(cx),
            _ => self.source.poll_transfer(cx, Direction::Write, write),
        }
    }

    /// Ends the writing side of a socket. That of another file ends when it is closed.
    fn shutdown_write(&self) -> io::Result<()> {
        let fd = self.source.fd_ref();
        match fd.transfer().is_socket() {
            true => fd.shutdown(Shutdown::Write),
            false => Ok(()),
        }
    }
}

/// A transfer of no bytes waits for nothing.
fn nothing(cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    budget::budgeted(cx, |_| Poll::Ready(Ok(0)))
}

/// Implements the traits; for a borrowed one, too, so that one task may read while another writes.
macro_rules! streams {
    ($($of:ty),*) => {$(
        impl<T: AsFd + 'static> PollRead for $of
        where
            for<'a> &'a T: Read,
        {
            fn poll_read(
                &mut self,
                cx: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                Async::poll_read(self, cx, buffer)
            }

            fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_readable(cx)
            }
        }

        impl<T: AsFd + 'static> PollWrite for $of
        where
            for<'a> &'a T: Write,
        {
            fn poll_write(
                &mut self,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                Async::poll_write(self, cx, bytes)
            }

            /// As `shutdown(2)`, if it is a socket.
            fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.shutdown_write())
            }
        }
    )*};
}

streams!(Async<T>, &Async<T>);
