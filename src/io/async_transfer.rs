//! Reads and writes of an [`Async`], if references to its value implement `Read` or `Write`.
//!
//! In asyncio: `loop.sock_recv` and `loop.sock_sendall`, which take sockets only. In the notes: the I/O of coroutines
//! (N4, N10).

use super::async_fd::{Async, System};
use super::check::{nothing, write_all};
use super::poll_read::PollRead;
use super::poll_write::PollWrite;
use super::watched::{Direction, Io};
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

/// Reads, if references to the value implement [`Read`].
impl<T: AsFd + 'static> Async<T>
where
    for<'a> &'a T: Read,
{
    /// Waits until there are bytes, and reads them into `buffer`. Returns their number: zero at the end, or if
    /// `buffer` is empty. `T` must not have a buffer of its own, as [`std::io::Stdin`] has: the kernel does not
    /// report bytes in it.
    ///
    /// # Errors
    ///
    /// The error of the read; as [`Async::readable`].
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

    /// Polls a read, as [`Async::read`]. Of several tasks that poll, only the one that polled last is woken.
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

/// Writes, if references to the value implement [`Write`].
impl<T: AsFd + 'static> Async<T>
where
    for<'a> &'a T: Write,
{
    /// Waits until there is room, writes as many of `bytes` as fit, and returns their number.
    ///
    /// # Errors
    ///
    /// The error of the write, for instance `BrokenPipe` or `StorageFull`; as [`Async::writable`].
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
    /// `WriteZero`, if a write accepts no byte; as [`Async::write`]. Some of `bytes` may have been written.
    ///
    /// # Cancellation
    ///
    /// Some of `bytes` may have been written; their number is lost.
    pub async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        write_all(bytes, async |left: &[u8]| self.write(left).await).await
    }

    /// Polls a write, as [`Async::write`]. Of several tasks that poll, only the one that polled last is woken.
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

    /// Shuts down the writing side of a socket. On another file this does nothing: its writing ends when it is closed.
    fn shutdown_write(&self) -> io::Result<()> {
        let fd = self.source.fd_ref();
        match fd.transfer().is_socket() {
            true => fd.shutdown(Shutdown::Write),
            false => Ok(()),
        }
    }
}

/// Implements the traits for an `Async`, and for a reference to one, so that one task may read while another writes.
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

            /// Calls `shutdown(2)` on a socket; does nothing on another file.
            fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.shutdown_write())
            }
        }
    )*};
}

streams!(Async<T>, &Async<T>);
