//! A TCP connection for code that is polled.
//!
//! The operations of [`TcpStream`] are futures, each with a place among the waiters. A future that is
//! written by hand, or a library that defines its own trait of streams, has a `poll` function instead and
//! nothing to keep the place in. So the stream keeps one place in each direction for them. They cost no
//! allocation, and the same system calls as the futures.
//!
//! In the notes: `await` on a connection (N10), seen from the code that implements it.

use super::tcp::TcpStream;
use super::tcp_transfer::{Transfer, poll_read, poll_transfer, poll_write};
use super::watched::Direction;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::task::{Context, Poll};

/// # Operations that are polled
///
/// For futures written by hand, and for adapters to the stream traits of other crates. Of several tasks
/// that poll in one direction, the one that polled last is woken. The waits of the futures of this
/// type ([`TcpStream::read`], [`TcpStream::readable`]) are apart from these, and each of them is woken.
impl TcpStream {
    /// Polls a read. Zero is the end of the stream, or an empty `buffer`.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::read`].
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::io::{TcpListener, TcpStream};
    /// use std::future::poll_fn;
    ///
    /// readily::run(async {
    ///     let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
    ///     let here = TcpStream::connect(listener.local_addr()?).await?;
    ///     let (there, _) = listener.accept().await?;
    ///     poll_fn(|cx| there.poll_write(cx, b"hello")).await?;
    ///     let mut buffer = [0; 16];
    ///     let n = poll_fn(|cx| here.poll_read(cx, &mut buffer)).await?;
    ///     assert_eq!(&buffer[..n], b"hello");
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.source
            .poll_with(Direction::Read, |wait| poll_read(wait, cx, buffer))
    }

    /// Polls a read into memory that need not be initialized. When it is ready with a number, as many
    /// bytes at the front of `buffer` are initialized.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::read`].
    pub fn poll_read_uninit(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        let room = buffer.len();
        self.poll_any(cx, Direction::Read, room, &mut |io| io.read_uninit(buffer))
    }

    /// Polls a read into several buffers, one after the other, as `readv(2)`.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::read`].
    pub fn poll_read_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let room = self.source.room(buffers);
        self.poll_any(cx, Direction::Read, room, &mut |io| {
            io.read_vectored(buffers)
        })
    }

    /// Polls a read that leaves the bytes there: the next read returns them again.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::peek`].
    pub fn poll_peek(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.source.poll_with(Direction::Read, |wait| {
            wait.poll_io(cx, &mut |io| io.peek(buffer))
        })
    }

    /// Polls a write of as much of `bytes` as there is room for.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::write`].
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.source
            .poll_with(Direction::Write, |wait| poll_write(wait, cx, bytes))
    }

    /// Polls a write of several buffers, one after the other, as `writev(2)`.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::write`].
    pub fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let room = self.source.room(buffers);
        self.poll_any(cx, Direction::Write, room, &mut |io| {
            io.write_vectored(buffers)
        })
    }

    /// Polls a transfer of `room` bytes at most.
    fn poll_any(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        room: usize,
        transfer: &mut Transfer<'_>,
    ) -> Poll<io::Result<usize>> {
        self.source
            .poll_with(direction, |wait| poll_transfer(wait, cx, room, transfer))
    }

    /// Polls for a read being worth trying, as [`TcpStream::readable`].
    ///
    /// # Errors
    ///
    /// As [`TcpStream::readable`].
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.source.poll_ready(cx, Direction::Read)
    }

    /// Polls for a write being worth trying, as [`TcpStream::writable`].
    ///
    /// # Errors
    ///
    /// As [`TcpStream::readable`].
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.source.poll_ready(cx, Direction::Write)
    }
}
