//! The reads and writes of a stream socket, of whatever kind: as futures, polled, and tried.
//!
//! The public methods of the streams and of their halves are in `byte_stream.rs`, `stream_poll.rs`,
//! `stream_try.rs` and `half_methods.rs`. The polls of the futures are inlined into the task's own; only
//! the transfers are calls, compiled once.
//!
//! In the notes: `await` on a connection (N10); asyncio's `sock_recv`, `sock_sendall`.

use super::check::nothing;
use super::socket::Socket;
use super::watched::{Direction, Io, ReadyWait, Watched};
use crate::poll::FdRef;
use readily_sys::nonblocking;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

type Wait<'a> = ReadyWait<'a, Socket>;

#[inline(always)]
fn poll_read(
    wait: &mut Wait<'_>,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    match wait.waits_again(cx, Direction::Read, buffer.len()) {
        true => Poll::Pending,
        false => read(wait, cx, buffer),
    }
}

#[inline(never)]
fn read(wait: &mut Wait<'_>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
    match wait.try_transfer(Direction::Read, buffer.len(), |io| io.read(buffer)) {
        Ok(done) => Poll::Ready(Ok(done)),
        Err(error) => wait.finish_transfer(cx, buffer.len(), error, &mut |io| io.read(buffer)),
    }
}

#[inline(always)]
fn poll_write(wait: &mut Wait<'_>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    match wait.waits_again(cx, Direction::Write, bytes.len()) {
        true => Poll::Pending,
        false => write(wait, cx, bytes),
    }
}

#[inline(never)]
fn write(wait: &mut Wait<'_>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    match wait.try_transfer(Direction::Write, bytes.len(), |io| io.write(bytes)) {
        Ok(done) => Poll::Ready(Ok(done)),
        Err(error) => wait.finish_transfer(cx, bytes.len(), error, &mut |io| io.write(bytes)),
    }
}

/// A read or a write of another kind.
type Transfer<'a> = dyn FnMut(&Socket) -> io::Result<usize> + 'a;

/// The same for any other transfer, of `room` bytes at most.
fn poll_transfer(
    wait: &mut Wait<'_>,
    cx: &mut Context<'_>,
    room: usize,
    transfer: &mut Transfer<'_>,
) -> Poll<io::Result<usize>> {
    let direction = wait.direction();
    if wait.waits_again(cx, direction, room) {
        return Poll::Pending;
    }
    match wait.try_transfer(direction, room, &mut *transfer) {
        Ok(done) => Poll::Ready(Ok(done)),
        Err(error) => wait.finish_transfer(cx, room, error, transfer),
    }
}

/// See [`TcpStream::read`](super::TcpStream::read).
pub(super) struct Read<'s, 'a> {
    wait: Wait<'s>,
    buffer: &'a mut [u8],
}

impl Future for Read<'_, '_> {
    type Output = io::Result<usize>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { wait, buffer } = &mut *self;
        poll_read(wait, cx, buffer)
    }
}

/// See [`TcpStream::write`](super::TcpStream::write).
pub(super) struct Write<'s, 'a> {
    wait: Wait<'s>,
    bytes: &'a [u8],
}

impl Future for Write<'_, '_> {
    type Output = io::Result<usize>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { wait, bytes } = &mut *self;
        poll_write(wait, cx, bytes)
    }
}

/// See [`TcpStream::write_all`](super::TcpStream::write_all).
pub(super) struct WriteAll<'s, 'a> {
    wait: Wait<'s>,
    /// What is left to be written.
    bytes: &'a [u8],
}

impl Future for WriteAll<'_, '_> {
    type Output = io::Result<()>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { wait, bytes } = &mut *self;
        loop {
            let written = ready!(poll_write(wait, cx, bytes))?;
            if written == 0 && !bytes.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *bytes = &bytes[written..];
            if bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// What awaits.
impl Watched<Socket> {
    /// Waits for the end of an attempt to connect.
    pub(super) async fn connected(&self) -> io::Result<()> {
        let look = |stream: &Socket| {
            // Writability is a hint; the socket's error decides, and its peer address proves it.
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
            match stream.is_connected()? {
                true => Ok(()),
                false => Err(io::ErrorKind::WouldBlock.into()),
            }
        };
        self.io(Direction::Write, look).await
    }

    #[inline]
    pub(super) fn read<'s, 'a>(&'s self, buffer: &'a mut [u8]) -> Read<'s, 'a> {
        Read {
            wait: self.ready_wait(Direction::Read),
            buffer,
        }
    }

    pub(super) async fn read_exact(&self, buffer: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        loop {
            match self.read(&mut buffer[done..]).await? {
                n if done + n == buffer.len() => return Ok(()),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => done += n,
            }
        }
    }

    #[inline]
    pub(super) fn write<'s, 'a>(&'s self, bytes: &'a [u8]) -> Write<'s, 'a> {
        Write {
            wait: self.ready_wait(Direction::Write),
            bytes,
        }
    }

    #[inline]
    pub(super) fn write_all<'s, 'a>(&'s self, bytes: &'a [u8]) -> WriteAll<'s, 'a> {
        WriteAll {
            wait: self.ready_wait(Direction::Write),
            bytes,
        }
    }

    /// Waits for a transfer of `room` bytes at most.
    pub(super) async fn transfer(
        &self,
        direction: Direction,
        room: usize,
        transfer: &mut Transfer<'_>,
    ) -> io::Result<usize> {
        let mut wait = self.ready_wait(direction);
        poll_fn(|cx| poll_transfer(&mut wait, cx, room, transfer)).await
    }

    pub(super) async fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let room = self.room(buffers);
        self.transfer(Direction::Read, room, &mut |io| io.read_vectored(buffers))
            .await
    }

    pub(super) async fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let room = self.room(buffers);
        self.transfer(Direction::Write, room, &mut |io| io.write_vectored(buffers))
            .await
    }

    pub(super) async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match buffer {
            [] => poll_fn(nothing).await,
            _ => self.io(Direction::Read, |io| io.peek(buffer)).await,
        }
    }
}

/// What is polled.
impl Watched<Socket> {
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(Direction::Read, |wait| poll_read(wait, cx, buffer))
    }

    pub(super) fn poll_read_uninit(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        let room = buffer.len();
        self.poll_any(cx, Direction::Read, room, &mut |io| io.read_uninit(buffer))
    }

    pub(super) fn poll_read_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let room = self.room(buffers);
        self.poll_any(cx, Direction::Read, room, &mut |io| {
            io.read_vectored(buffers)
        })
    }

    pub(super) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(Direction::Read, |wait| match buffer {
            [] => nothing(cx),
            _ => wait.poll_io(cx, &mut |io| io.peek(buffer)),
        })
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_with(Direction::Write, |wait| poll_write(wait, cx, bytes))
    }

    pub(super) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let room = self.room(buffers);
        self.poll_any(cx, Direction::Write, room, &mut |io| {
            io.write_vectored(buffers)
        })
    }

    /// Polls a transfer of `room` bytes at most.
    pub(super) fn poll_any(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        room: usize,
        transfer: &mut Transfer<'_>,
    ) -> Poll<io::Result<usize>> {
        self.poll_with(direction, |wait| poll_transfer(wait, cx, room, transfer))
    }
}

/// What does not wait.
impl Watched<Socket> {
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_transfer(Direction::Read, buffer.len(), |io| io.read(buffer))
    }

    pub(super) fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let room = self.room(buffers);
        self.try_transfer(Direction::Read, room, |io| io.read_vectored(buffers))
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_transfer(Direction::Write, bytes.len(), |io| io.write(bytes))
    }

    pub(super) fn try_write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let room = self.room(buffers);
        self.try_transfer(Direction::Write, room, |io| io.write_vectored(buffers))
    }

    /// An operation of the program's, which relies on `O_NONBLOCK`.
    pub(super) fn try_outside<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        self.try_io(direction, |io| {
            if let FdRef::System(fd) = io.fd_ref() {
                nonblocking::ensure(fd)?;
            }
            operation()
        })
    }
}
