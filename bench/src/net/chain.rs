//! A chain of socketpairs: each reader passes its byte on to the next pair.
//!
//! This is the benchmark that came with libev. Only a few of many pairs are active at a time, so it
//! shows the cost of the idle ones. An event is one byte read and, except for the last events, one byte
//! written. There are at least twice as many pairs as bytes, so that a byte does not catch up with
//! the one before it: two bytes read at once would be one event only.
//!
//! All peers write with a plain system call, because the buffer always has room for a byte. They
//! differ in how the reader is notified.

use crate::raw;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// The size of a read: more than is ever available.
pub const ROOM: usize = 16;

/// The input of a peer: the sockets to read from, and the shared state that passes the bytes on.
pub struct Chain {
    pub readers: Vec<UnixStream>,
    pub links: Rc<Links>,
}

pub struct Links {
    pub writers: Vec<UnixStream>,
    active: usize,
    total: usize,
    /// The number of bytes that are still to be written.
    left: Cell<usize>,
    /// The number of bytes that were read and not passed on, because the total was reached.
    kept: Cell<usize>,
    /// The number of bytes that were read together with another one.
    met: Cell<usize>,
    waiting: Cell<usize>,
    begun: Cell<Option<Instant>>,
    took: Cell<Option<Duration>>,
    waker: RefCell<Option<Waker>>,
}

impl Chain {
    /// Creates `pairs` pairs. At any time `active` of them have a byte, until `total` bytes have been read.
    pub fn new(pairs: usize, active: usize, total: usize) -> io::Result<Self> {
        let (mut readers, mut writers) = (Vec::new(), Vec::new());
        for _ in 0..pairs {
            let (reader, writer) = UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            writer.set_nonblocking(true)?;
            readers.push(reader);
            writers.push(writer);
        }
        let links = Links {
            writers,
            active,
            total,
            left: Cell::new(total - active),
            kept: Cell::new(0),
            met: Cell::new(0),
            waiting: Cell::new(0),
            begun: Cell::new(None),
            took: Cell::new(None),
            waker: RefCell::new(None),
        };
        Ok(Self {
            readers,
            links: Rc::new(links),
        })
    }
}

#[allow(clippy::disallowed_methods)] // measures wall time, outside any loop
impl Links {
    #[cfg_attr(not(any(has_uv, has_ev, has_event)), allow(dead_code))] // used by the peers in C, which have their own state
    pub fn size(&self) -> (usize, usize, usize) {
        (self.writers.len(), self.active, self.total)
    }

    /// Starts the clock and writes the first bytes.
    pub fn start(&self) -> io::Result<()> {
        self.begun.set(Some(Instant::now()));
        let apart = self.writers.len() / self.active;
        for n in 0..self.active {
            self.write(n * apart, b"e")?;
        }
        Ok(())
    }

    #[inline(always)]
    fn write(&self, at: usize, bytes: &[u8]) -> io::Result<()> {
        match raw::send(self.writers[at].as_raw_fd(), bytes)? {
            n if n == bytes.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    #[inline(always)]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.writers.len() {
            0
        } else {
            at + 1
        }
    }

    /// Passes on the bytes that pair `at` received. Returns whether these were the last ones.
    // Kept short, because this is measured together with each peer.
    #[inline(always)]
    pub fn pass(&self, at: usize, bytes: &[u8]) -> io::Result<bool> {
        let left = self.left.get();
        if bytes.len() != 1 || left == 0 {
            return self.pass_odd(at, bytes);
        }
        self.left.set(left - 1);
        self.write(self.after(at), bytes)?;
        Ok(false)
    }

    /// The same near the end, or if several bytes were read at once.
    #[cold]
    fn pass_odd(&self, at: usize, bytes: &[u8]) -> io::Result<bool> {
        let on = bytes.len().min(self.left.get());
        self.left.set(self.left.get() - on);
        self.kept.set(self.kept.get() + bytes.len() - on);
        self.met.set(self.met.get() + bytes.len().saturating_sub(1));
        if on > 0 {
            self.write(self.after(at), &bytes[..on])?;
        }
        if self.kept.get() < self.active {
            return Ok(false);
        }
        self.took.set(self.begun.get().map(|begun| begun.elapsed()));
        self.wake();
        Ok(true)
    }

    /// Reads the available bytes of pair `at`, without waiting, and passes them on.
    #[inline]
    pub fn turn(
        &self,
        at: usize,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        let mut buffer = [0; ROOM];
        match read(&mut buffer) {
            Ok(n) => self.pass(at, &buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub fn took(&self) -> io::Result<Duration> {
        if self.met.get() > self.total / 100 {
            let met = self.met.get();
            return Err(io::Error::other(format!(
                "{met} bytes were read together with another one"
            )));
        }
        let early = || io::Error::other("the chain ended early");
        self.took.get().ok_or_else(early)
    }

    /// Called by a coroutine that is about to wait for its first byte.
    pub fn wait_begins(&self) {
        self.waiting.set(self.waiting.get() + 1);
        if self.waiting.get() == self.writers.len() {
            self.wake();
        }
    }

    /// For coroutines: waits until all of them wait for a byte.
    pub async fn all_wait(&self) {
        self.until(|| self.waiting.get() == self.writers.len())
            .await;
    }

    /// For coroutines: waits until the last byte has been read.
    pub async fn end(&self) {
        self.until(|| self.took.get().is_some()).await;
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        poll_fn(|cx| {
            if condition() {
                return Poll::Ready(());
            }
            self.waker.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}
