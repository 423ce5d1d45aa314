//! Reads and writes of a connection, as futures.
//!
//! The polls are inlined into the task's own; only the transfers are calls, compiled once.
//!
//! In the notes: `await` on a connection (N10); asyncio's `sock_recv`, `sock_sendall`.

use super::socket::Socket;
use super::watched::{Direction, ReadyWait};
use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

type Wait<'a> = ReadyWait<'a, Socket<TcpStream>>;

#[inline(always)]
pub(super) fn poll_read(
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
pub(super) fn poll_write(
    wait: &mut Wait<'_>,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
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
pub(super) type Transfer<'a> = dyn FnMut(&Socket<TcpStream>) -> io::Result<usize> + 'a;

/// The same for any other transfer, of `room` bytes at most.
pub(super) fn poll_transfer(
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

/// [`TcpStream::read`](super::TcpStream::read).
pub(super) struct Read<'s, 'a> {
    pub(super) wait: Wait<'s>,
    pub(super) buffer: &'a mut [u8],
}

impl Future for Read<'_, '_> {
    type Output = io::Result<usize>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { wait, buffer } = &mut *self;
        poll_read(wait, cx, buffer)
    }
}

/// [`TcpStream::write`](super::TcpStream::write).
pub(super) struct Write<'s, 'a> {
    pub(super) wait: Wait<'s>,
    pub(super) bytes: &'a [u8],
}

impl Future for Write<'_, '_> {
    type Output = io::Result<usize>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { wait, bytes } = &mut *self;
        poll_write(wait, cx, bytes)
    }
}

/// [`TcpStream::write_all`](super::TcpStream::write_all).
pub(super) struct WriteAll<'s, 'a> {
    pub(super) wait: Wait<'s>,
    /// What is left to be written.
    pub(super) bytes: &'a [u8],
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
