//! A TCP connection for code that waits and tries in two steps, that has several buffers, or that looks ahead.
//!
//! In the notes: the I/O of coroutines (N4, N10).

use super::tcp::TcpStream;
use super::tcp_transfer::{Transfer, poll_transfer};
use super::watched::{Direction, Io};
use crate::poll::FdRef;
use readily_sys::nonblocking;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};

/// # Operations that do not wait
///
/// To be tried after [`TcpStream::readable`] or [`TcpStream::writable`], or at any time. A server of many
/// connections that are idle needs a buffer only while it reads, then.
impl TcpStream {
    /// Waits until a read is worth trying: bytes have come, or the end, or an error. The read may still
    /// return `WouldBlock`.
    ///
    /// # Errors
    ///
    /// If the loop has been closed ([`Error::Closed`](crate::Error::Closed)), or is another than the one that runs
    /// here ([`Error::OtherLoop`](crate::Error::OtherLoop)).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::io::{TcpListener, TcpStream};
    /// use std::io::ErrorKind::WouldBlock;
    ///
    /// readily::run(async {
    ///     let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
    ///     let here = TcpStream::connect(listener.local_addr()?).await?;
    ///     let (there, _) = listener.accept().await?;
    ///     there.write_all(b"hello").await?;
    ///     let bytes = loop {
    ///         here.readable().await?; // without a buffer
    ///         let mut buffer = [0; 512];
    ///         match here.try_read(&mut buffer) {
    ///             Err(error) if error.kind() == WouldBlock => continue,
    ///             read => break buffer[..read?].to_vec(),
    ///         }
    ///     };
    ///     assert_eq!(bytes, b"hello");
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn readable(&self) -> io::Result<()> {
        self.source.wait(Direction::Read).await
    }

    /// Waits until a write is worth trying: there is room, or an error. The write may still return
    /// `WouldBlock`.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::readable`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn writable(&self) -> io::Result<()> {
        self.source.wait(Direction::Write).await
    }

    /// Reads what is there, without waiting. Zero is the end of the stream, or an empty `buffer`.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing is there; as [`TcpStream::read`].
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.source
            .try_transfer(Direction::Read, buffer.len(), |io| io.read(buffer))
    }

    /// Reads into several buffers, one after the other, without waiting.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::try_read`].
    pub fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let room = self.source.room(buffers);
        self.source
            .try_transfer(Direction::Read, room, |io| io.read_vectored(buffers))
    }

    /// Writes as much of `bytes` as there is room for, without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room; as [`TcpStream::write`].
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.source
            .try_transfer(Direction::Write, bytes.len(), |io| io.write(bytes))
    }

    /// Writes several buffers, one after the other, as far as there is room, without waiting.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::try_write`].
    pub fn try_write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let room = self.source.room(buffers);
        self.source
            .try_transfer(Direction::Write, room, |io| io.write_vectored(buffers))
    }

    /// Runs `operation`, which uses the descriptor ([`AsFd`](std::os::fd::AsFd)), now and without waiting; again
    /// only if a signal interrupted it. After a `WouldBlock` the next wait lasts until the kernel reports
    /// something new.
    ///
    /// `O_NONBLOCK` is set again first, if another process that shares the open file has cleared it.
    ///
    /// # Errors
    ///
    /// The error of `operation`, or that of `fcntl(2)`.
    pub fn try_io<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        self.source.try_io(direction, |io| {
            if let FdRef::System(fd) = io.fd_ref() {
                nonblocking::ensure(fd)?;
            }
            operation()
        })
    }
}

/// # Several buffers, and bytes that stay
impl TcpStream {
    /// Waits for a transfer of `room` bytes at most.
    async fn transfer(
        &self,
        direction: Direction,
        room: usize,
        transfer: &mut Transfer<'_>,
    ) -> io::Result<usize> {
        let mut wait = self.source.ready_wait(direction);
        poll_fn(|cx| poll_transfer(&mut wait, cx, room, transfer)).await
    }

    /// Reads what is there into several buffers, one after the other, waiting until something is.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::read`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: either bytes were read and this has returned, or none were.
    pub async fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let room = self.source.room(buffers);
        self.transfer(Direction::Read, room, &mut |io| io.read_vectored(buffers))
            .await
    }

    /// Writes as much of several buffers, one after the other, as there is room for, waiting until there
    /// is some.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::write`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: either bytes were written and this has returned, or none were.
    pub async fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let room = self.source.room(buffers);
        self.transfer(Direction::Write, room, &mut |io| io.write_vectored(buffers))
            .await
    }

    /// Reads what is there, waiting until something is, and leaves it there: the next read returns the
    /// same bytes. Zero is the end of the stream, or an empty `buffer`.
    ///
    /// A second call returns at once if the first one's bytes were not read, also if no more have come.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::read`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.source.io(Direction::Read, |io| io.peek(buffer)).await
    }
}
