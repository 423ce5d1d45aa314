//! A buffered reader: bytes up to a separator, lines, exact numbers of bytes.
//!
//! Its bytes are in the reader and not in the futures, so a future that is dropped loses none of them, and an
//! error keeps them. There is a limit to them. While it waits with none, it has no memory for them.
//!
//! In asyncio: `StreamReader`. In the notes: `await reader.readline()` (N10).

use super::poll_read::PollRead;
use super::read_buffer::{ReadBuffer, Search};
use super::read_error::ReadError;
use crate::task::budget;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

/// The limit of a reader that was made without one: that of asyncio.
pub const DEFAULT_LIMIT: usize = 64 << 10;

/// Reads a stream in parts that end with a separator, or have a size.
///
/// # Examples
///
/// A server that answers each line:
///
/// ```
/// use readily::io::{BufReader, TcpListener, TcpStream};
///
/// readily::run(async {
///     let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
///     let addr = listener.local_addr()?;
///     let server = readily::spawn(async move {
///         let (stream, _) = listener.accept().await?;
///         let mut reader = BufReader::new(&stream);
///         while let Some(line) = reader.read_line().await? {
///             stream.write_all(line.to_uppercase().as_bytes()).await?;
///         }
///         std::io::Result::Ok(())
///     });
///     let client = TcpStream::connect(addr).await?;
///     client.write_all(b"one\r\ntwo\nthree").await?;
///     client.shutdown(std::net::Shutdown::Write)?;
///     let mut answer = [0; 11];
///     client.read_exact(&mut answer).await?;
///     assert_eq!(&answer, b"ONETWOTHREE");
///     server.await.expect("it is not cancelled")
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "StreamReader")]
#[derive(Debug)]
pub struct BufReader<R> {
    pub(super) stream: R,
    pub(super) buffer: ReadBuffer,
    limit: usize,
}

impl<R: PollRead> BufReader<R> {
    /// Makes a reader with the limit [`DEFAULT_LIMIT`].
    pub fn new(stream: R) -> Self {
        Self::with_limit(stream, DEFAULT_LIMIT)
    }

    /// Makes a reader that buffers at most `limit` bytes, so a part cannot be longer.
    ///
    /// # Panics
    ///
    /// If `limit` is zero.
    pub fn with_limit(stream: R, limit: usize) -> Self {
        assert!(limit != 0, "a reader keeps at least one byte");
        Self {
            stream,
            buffer: ReadBuffer::default(),
            limit,
        }
    }

    /// Returns the bytes that were read from the stream and not consumed.
    pub fn buffer(&self) -> &[u8] {
        self.buffer.filled()
    }

    /// Removes bytes from the front of [`buffer`](BufReader::buffer).
    ///
    /// # Panics
    ///
    /// If the buffer has fewer bytes.
    pub fn consume(&mut self, len: usize) {
        self.buffer.consume(len);
    }

    /// Returns the stream.
    pub fn get_ref(&self) -> &R {
        &self.stream
    }

    /// Returns the stream. Bytes that are read from it directly are missing in the reader.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.stream
    }

    /// Takes the stream back. The bytes of [`buffer`](BufReader::buffer) are lost.
    pub fn into_inner(self) -> R {
        self.stream
    }

    /// Waits until the buffer has bytes, and returns them; at the end of the stream there are none. They stay in the
    /// buffer until they are [consumed](BufReader::consume).
    ///
    /// # Errors
    ///
    /// Those of the stream.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn fill_buf(&mut self) -> io::Result<&[u8]> {
        poll_fn(|cx| budget::budgeted_composite(cx, |cx| self.poll_some(cx))).await?;
        Ok(self.buffer.filled())
    }

    /// Reads up to and including `separator`, and returns these bytes. The slice is in the buffer of the reader, and
    /// valid until the reader is used again.
    ///
    /// # Errors
    ///
    /// [`ReadError`]: the bytes stay in the reader.
    ///
    /// # Panics
    ///
    /// If `separator` is empty.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: another call goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::io::{BufReader, ReadError};
    ///
    /// readily::run(async {
    ///     let mut reader = BufReader::new(&b"name: value\r\n\r\nrest"[..]);
    ///     assert_eq!(reader.read_until(b": ").await?, b"name: ");
    ///     assert_eq!(reader.read_until(b"\r\n\r\n").await?, b"value\r\n\r\n");
    ///     let error = reader.read_until(b"\n").await.unwrap_err();
    ///     assert!(matches!(error, ReadError::Incomplete { read: 4 }));
    ///     assert_eq!(reader.buffer(), b"rest");
    ///     Ok::<(), ReadError>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "readuntil")]
    pub async fn read_until(&mut self, separator: &[u8]) -> Result<&[u8], ReadError> {
        self.read_until_any(&[separator]).await
    }

    /// Reads up to and including the first of several separators, and returns these bytes. The first separator is the
    /// one that ends first; of several that end at the same byte, the first in the list.
    ///
    /// # Errors
    ///
    /// As [`BufReader::read_until`].
    ///
    /// # Panics
    ///
    /// If there is no separator, or an empty one.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: another call goes on.
    pub async fn read_until_any(&mut self, separators: &[&[u8]]) -> Result<&[u8], ReadError> {
        let mut search = Search::new(separators);
        let found = match self.find(&mut search) {
            Some(end) => Some(end),
            None => poll_fn(|cx| self.poll_find(cx, &mut search)).await?,
        };
        let read = self.buffer.len();
        let end = found.ok_or(ReadError::Incomplete { read })?;
        Ok(self.take(end))
    }

    /// Finds a separator in the bytes that are there, unless the budget is used up.
    #[inline]
    fn find(&self, search: &mut Search<'_>) -> Option<usize> {
        if budget::is_spent() {
            return None;
        }
        let found = search.find(self.buffer.filled())?;
        budget::consume(); // F1
        Some(found.end)
    }

    /// Polls until a separator is found, or the stream is at its end: then `None`.
    fn poll_find(
        &mut self,
        cx: &mut Context<'_>,
        search: &mut Search<'_>,
    ) -> Poll<Result<Option<usize>, ReadError>> {
        budget::budgeted_composite(cx, |cx| {
            loop {
                if let Some(found) = search.find(self.buffer.filled()) {
                    return Poll::Ready(Ok(Some(found.end)));
                }
                if !ready!(self.poll_more(cx))? {
                    return Poll::Ready(Ok(None));
                }
            }
        })
    }

    /// Reads a line, and returns it without its end, which is `\n` or `\r\n`. The last line may have no end. Returns
    /// `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// [`ReadError`]: the bytes stay in the reader.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: another call goes on.
    #[doc(alias = "readline")]
    pub async fn read_line(&mut self) -> Result<Option<&str>, ReadError> {
        let mut search = Search::new(&[b"\n"]);
        let found = match self.find(&mut search) {
            Some(end) => Some(end),
            None => poll_fn(|cx| self.poll_find(cx, &mut search)).await?,
        };
        let len = found.unwrap_or(self.buffer.len());
        if len == 0 {
            return Ok(None);
        }
        let line = &self.buffer.filled()[..len];
        if std::str::from_utf8(line).is_err() {
            return Err(ReadError::NotUtf8 { len });
        }
        let line = self.take(len);
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok(std::str::from_utf8(line).ok())
    }

    /// Reads exactly `len` bytes, and returns them. The slice is in the reader, and valid until it is used
    /// again.
    ///
    /// # Errors
    ///
    /// [`ReadError`]: the bytes stay in the reader. `TooLong` if `len` is more than the limit.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: another call goes on.
    #[doc(alias = "readexactly")]
    pub async fn read_exactly(&mut self, len: usize) -> Result<&[u8], ReadError> {
        poll_fn(|cx| budget::budgeted_composite(cx, |cx| self.poll_fill_to(cx, len))).await?;
        Ok(self.take(len))
    }

    /// Polls until there are so many bytes in the buffer.
    pub(super) fn poll_fill_to(
        &mut self,
        cx: &mut Context<'_>,
        len: usize,
    ) -> Poll<Result<(), ReadError>> {
        if len > self.limit {
            return Poll::Ready(Err(ReadError::TooLong { limit: self.limit }));
        }
        while self.buffer.len() < len {
            if !ready!(self.poll_more(cx))? {
                let read = self.buffer.len();
                return Poll::Ready(Err(ReadError::Incomplete { read }));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Consumes bytes, and returns them.
    pub(super) fn take(&mut self, len: usize) -> &[u8] {
        self.buffer.consume(len);
        self.buffer.consumed(len)
    }

    /// Polls until there are bytes in the buffer; `false` at the end of the stream.
    pub(super) fn poll_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let is_filled = !self.buffer.is_empty() || ready!(self.poll_fill(cx))? > 0;
        Poll::Ready(Ok(is_filled))
    }

    /// Polls until there are more bytes in the buffer; `false` at the end of the stream.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, ReadError>> {
        if self.buffer.len() >= self.limit {
            return Poll::Ready(Err(ReadError::TooLong { limit: self.limit }));
        }
        let n = ready!(self.poll_fill(cx))?;
        Poll::Ready(Ok(n > 0))
    }

    /// Polls a read behind the bytes that are there. A reader that is empty and waits has no memory.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.buffer.has_memory() {
            ready!(self.stream.poll_read_ready(cx))?;
        }
        let room = self.buffer.room(self.limit);
        let len = room.len();
        match self.stream.poll_read(cx, room) {
            Poll::Ready(Ok(n)) => {
                self.buffer.add(n, len);
                Poll::Ready(Ok(n))
            }
            other => {
                self.buffer.release();
                other
            }
        }
    }
}
