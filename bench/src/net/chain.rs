//! A chain of socketpairs: whoever gets a byte hands it on to the next pair.
//!
//! It is the benchmark that libev came with. Few of many pairs have something to say at a time, so
//! it shows what the others cost that are silent. One event is one byte read, and for all but
//! the last ones one written. There are at least twice as many pairs as bytes, so that none runs into
//! the one before it: two bytes read at once would be one event.
//!
//! All peers write by a plain call, for there is always room for a byte. What differs is how a
//! reader hears of it.

use crate::raw;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// As much as a reader takes at once: more than will ever be there.
pub const ROOM: usize = 16;

/// What a peer is given: the sides that it reads, and what is to be done with the bytes.
pub struct Chain {
    pub readers: Vec<UnixStream>,
    pub links: Rc<Links>,
}

pub struct Links {
    pub writers: Vec<UnixStream>,
    active: usize,
    total: usize,
    /// As many are still to be written.
    left: Cell<usize>,
    /// As many were read and not handed on, for there were enough.
    kept: Cell<usize>,
    /// As many came with another.
    met: Cell<usize>,
    waiting: Cell<usize>,
    begun: Cell<Option<Instant>>,
    took: Cell<Option<Duration>>,
    waker: RefCell<Option<Waker>>,
}

impl Chain {
    /// So many pairs, of which `active` have a byte at any time, until `total` bytes were read.
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

#[allow(clippy::disallowed_methods)] // the reader's clock, and no loop's
impl Links {
    #[cfg_attr(not(any(has_uv, has_ev)), allow(dead_code))] // what is in C counts for itself
    pub fn size(&self) -> (usize, usize, usize) {
        (self.writers.len(), self.active, self.total)
    }

    /// The first bytes, and the clock.
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

    /// Hands on what pair `at` got. Whether these were the last bytes.
    // What all peers have in common is kept short, for it is counted too.
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

    /// The same when the end is near, or where bytes have met.
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

    /// Reads what pair `at` has, without waiting, and hands it on.
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
            return Err(io::Error::other(format!("{met} bytes came with another")));
        }
        let early = || io::Error::other("it ended early");
        self.took.get().ok_or_else(early)
    }

    /// A coroutine is about to wait for its first byte.
    pub fn wait_begins(&self) {
        self.waiting.set(self.waiting.get() + 1);
        if self.waiting.get() == self.writers.len() {
            self.wake();
        }
    }

    /// For coroutines: until all of them wait.
    pub async fn all_wait(&self) {
        self.until(|| self.waiting.get() == self.writers.len())
            .await;
    }

    /// For coroutines: until the last byte was read.
    pub async fn end(&self) {
        self.until(|| self.took.get().is_some()).await;
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    async fn until(&self, is_so: impl Fn() -> bool) {
        poll_fn(|cx| {
            if is_so() {
                return Poll::Ready(());
            }
            self.waker.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}
