//! Two streams in memory that are connected to each other, for tests and for code that wants a stream.
//!
//! A stream is at home on the thread that made it, needs no loop, and costs no system call. Each direction is a
//! buffer of a fixed size: a writer waits while it is full, a reader while it is empty.
//!
//! In asyncio: `StreamReader.feed_data` and `feed_eof`.

use super::poll_read::PollRead;
use super::poll_write::PollWrite;
use crate::task::budget;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, Read};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// One direction.
#[derive(Debug)]
struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// The writing side has ended.
    has_ended: bool,
    /// The reading side is gone.
    is_broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn new(capacity: usize) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            bytes: VecDeque::new(),
            capacity,
            has_ended: false,
            is_broken: false,
            reader: None,
            writer: None,
        }))
    }
}

/// Wakes, or drops what was replaced: it may be user code, so the pipe is not borrowed (L8).
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// One of two connected streams in memory: see [`duplex`].
///
/// When it is dropped, the other stream reads the end, and its writes fail.
#[derive(Debug)]
pub struct DuplexStream {
    incoming: Rc<RefCell<Pipe>>,
    outgoing: Rc<RefCell<Pipe>>,
}

/// Makes two streams in memory that are connected to each other; each direction holds `capacity` bytes.
///
/// # Panics
///
/// If `capacity` is zero.
///
/// # Examples
///
/// ```
/// use readily::io::{BufReader, duplex};
///
/// readily::run(async {
///     let (here, mut there) = duplex(64);
///     there.write_all(b"a line\nand the rest").await?;
///     there.shutdown();
///     let mut reader = BufReader::new(here);
///     assert_eq!(reader.read_line().await?, Some("a line"));
///     assert_eq!(reader.read_line().await?, Some("and the rest"));
///     assert_eq!(reader.read_line().await?, None);
///     Ok::<_, std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "feed_data")]
#[doc(alias = "feed_eof")]
#[must_use]
pub fn duplex(capacity: usize) -> (DuplexStream, DuplexStream) {
    assert!(capacity != 0, "a stream holds at least one byte");
    let (one, other) = (Pipe::new(capacity), Pipe::new(capacity));
    let stream = |incoming: &Rc<_>, outgoing: &Rc<_>| DuplexStream {
        incoming: Rc::clone(incoming),
        outgoing: Rc::clone(outgoing),
    };
    (stream(&one, &other), stream(&other, &one))
}

impl DuplexStream {
    /// Waits until there are bytes, and reads them into `buffer`. Returns their number: zero at the end of the
    /// stream, or if `buffer` is empty.
    ///
    /// # Errors
    ///
    /// None: the result has the form of the other streams'.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: either bytes were read and this has returned, or none were.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buffer)).await
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if the other stream is gone, or this side has ended.
    ///
    /// # Cancellation
    ///
    /// Some of the bytes may have been written; their number is lost.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut left = bytes;
        loop {
            let n = poll_fn(|cx| self.poll_write(cx, left)).await?;
            left = &left[n..];
            if left.is_empty() {
                return Ok(());
            }
        }
    }

    /// Shuts down the writing side: the other stream reads the bytes that were written, and then the end.
    pub fn shutdown(&mut self) {
        let mut pipe = self.outgoing.borrow_mut();
        pipe.has_ended = true;
        let (reader, writer) = (pipe.reader.take(), pipe.writer.take());
        drop(pipe);
        wake(reader);
        wake(writer);
    }
}

impl PollRead for DuplexStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        budget::budgeted(cx, |cx| {
            let waker = cx.waker().clone();
            let mut pipe = self.incoming.borrow_mut();
            if pipe.bytes.is_empty() && !pipe.has_ended && !buffer.is_empty() {
                let before = pipe.reader.replace(waker);
                drop(pipe);
                drop(before);
                return Poll::Pending;
            }
            // Memory does not fail.
            let n = pipe.bytes.read(buffer)?;
            if pipe.bytes.is_empty() {
                pipe.bytes = VecDeque::new(); // R126
            }
            let writer = if n > 0 { pipe.writer.take() } else { None };
            drop(pipe);
            wake(writer);
            Poll::Ready(Ok(n))
        })
    }

    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        budget::budgeted(cx, |cx| {
            let waker = cx.waker().clone();
            let mut pipe = self.incoming.borrow_mut();
            if !pipe.bytes.is_empty() || pipe.has_ended {
                return Poll::Ready(Ok(()));
            }
            let before = pipe.reader.replace(waker);
            drop(pipe);
            drop(before);
            Poll::Pending
        })
    }
}

impl PollWrite for DuplexStream {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        budget::budgeted(cx, |cx| {
            if bytes.is_empty() {
                return Poll::Ready(Ok(0));
            }
            let waker = cx.waker().clone();
            let mut pipe = self.outgoing.borrow_mut();
            if pipe.is_broken || pipe.has_ended {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let n = bytes.len().min(pipe.capacity - pipe.bytes.len());
            if n == 0 {
                let before = pipe.writer.replace(waker);
                drop(pipe);
                drop(before);
                return Poll::Pending;
            }
            pipe.bytes.extend(&bytes[..n]);
            let reader = pipe.reader.take();
            drop(pipe);
            wake(reader);
            Poll::Ready(Ok(n))
        })
    }

    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shutdown();
        Poll::Ready(Ok(()))
    }
}

impl Drop for DuplexStream {
    fn drop(&mut self) {
        self.shutdown();
        let mut pipe = self.incoming.borrow_mut();
        pipe.is_broken = true;
        pipe.bytes = VecDeque::new();
        let (reader, writer) = (pipe.reader.take(), pipe.writer.take());
        drop(pipe);
        drop(reader);
        wake(writer);
    }
}
