//! Frames: a length, and as many bytes.
//!
//! The limit of the reader is that of a frame, its length included, and is checked before memory is asked for:
//! a length that a peer sends is only believed up to it.
//!
//! In asyncio: `readexactly` twice.

use super::buf_reader::BufReader;
use super::buf_writer::BufWriter;
use super::poll_read::PollRead;
use super::poll_write::PollWrite;
use super::read_error::ReadError;
use crate::task::budget;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

/// The length field in front of a frame: its size and byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LengthPrefix {
    /// One byte.
    U8,
    /// Two bytes, the high one first.
    U16,
    /// Four bytes, the highest first.
    U32,
    /// Two bytes, the low one first.
    U16Le,
    /// Four bytes, the lowest first.
    U32Le,
}

impl LengthPrefix {
    /// The number of bytes that it takes.
    fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::U16Le => 2,
            Self::U32 | Self::U32Le => 4,
        }
    }

    fn is_little(self) -> bool {
        matches!(self, Self::U16Le | Self::U32Le)
    }

    fn decode(self, prefix: &[u8]) -> usize {
        let number = |all: usize, byte: &u8| all << 8 | usize::from(*byte);
        match self.is_little() {
            true => prefix.iter().rev().fold(0, number),
            false => prefix.iter().fold(0, number),
        }
    }

    /// The bytes of the number; `None` if it does not fit.
    fn encode(self, len: usize) -> Option<([u8; 4], usize)> {
        let size = self.size();
        let len = u32::try_from(len).ok()?;
        if u64::from(len) >> (8 * size) != 0 {
            return None;
        }
        let mut bytes = len.to_le_bytes();
        if !self.is_little() {
            bytes[..size].reverse();
        }
        Some((bytes, size))
    }
}

impl<R: PollRead> BufReader<R> {
    /// Reads a frame, and returns it without its length; `None` at the end of the stream, if no frame has begun.
    ///
    /// # Errors
    ///
    /// [`ReadError::Incomplete`] if the stream ends in the middle of a frame. [`ReadError::TooLong`] if the frame and its
    /// length are longer than the limit of the reader: only a caller who knows how can skip it. As the
    /// stream. The bytes stay in the reader.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: the bytes that have come are in the reader, and the next call goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::io::{BufReader, BufWriter, LengthPrefix};
    ///
    /// readily::run(async {
    ///     let mut writer = BufWriter::new(Vec::new());
    ///     writer.write_frame(LengthPrefix::U16, b"one").await?;
    ///     writer.write_frame(LengthPrefix::U16, b"").await?;
    ///     writer.flush().await?;
    ///     let bytes = writer.into_parts().0;
    ///     assert_eq!(bytes, b"\x00\x03one\x00\x00");
    ///     let mut reader = BufReader::new(&bytes[..]);
    ///     assert_eq!(reader.read_frame(LengthPrefix::U16).await?, Some(&b"one"[..]));
    ///     assert_eq!(reader.read_frame(LengthPrefix::U16).await?, Some(&b""[..]));
    ///     assert_eq!(reader.read_frame(LengthPrefix::U16).await?, None);
    ///     Ok::<_, std::io::Error>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn read_frame(&mut self, prefix: LengthPrefix) -> Result<Option<&[u8]>, ReadError> {
        let frame = poll_fn(|cx| budget::budgeted_composite(cx, |cx| self.poll_frame(cx, prefix)));
        let Some(len) = frame.await? else {
            return Ok(None);
        };
        Ok(Some(&self.take(len)[prefix.size()..]))
    }

    /// Polls until a frame is in the buffer, and returns its length, that of its prefix included.
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        prefix: LengthPrefix,
    ) -> Poll<Result<Option<usize>, ReadError>> {
        let size = prefix.size();
        if !ready!(self.poll_some(cx))? {
            return Poll::Ready(Ok(None));
        }
        ready!(self.poll_fill_to(cx, size))?;
        let len = prefix.decode(&self.buffer()[..size]);
        let len = size.saturating_add(len);
        ready!(self.poll_fill_to(cx, len))?;
        Poll::Ready(Ok(Some(len)))
    }
}

impl<W: PollWrite> BufWriter<W> {
    /// Appends a frame: the length of `bytes`, and `bytes`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the length does not fit in the prefix; as [`write_all`](Self::write_all). Then nothing is
    /// appended.
    ///
    /// # Cancellation
    ///
    /// All or nothing, as [`write_all`](Self::write_all).
    pub async fn write_frame(&mut self, prefix: LengthPrefix, bytes: &[u8]) -> io::Result<()> {
        let Some((number, size)) = prefix.encode(bytes.len()) else {
            budget::consume_budget().await; // F1
            let message = "the frame is longer than its prefix can say";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        self.drain().await?;
        self.append(&number[..size]);
        self.append(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [LengthPrefix; 5] = [
        LengthPrefix::U8,
        LengthPrefix::U16,
        LengthPrefix::U32,
        LengthPrefix::U16Le,
        LengthPrefix::U32Le,
    ];

    #[test]
    fn each_length_that_fits_comes_back_and_no_other_is_written() {
        for prefix in ALL {
            let largest = 256_usize.pow(u32::try_from(prefix.size()).unwrap()) - 1;
            for len in [
                0,
                1,
                254,
                255,
                256,
                0x1234,
                0xfffe,
                0xffff,
                0x1_0000,
                0x0123_4567,
            ] {
                match prefix.encode(len) {
                    Some((bytes, size)) => {
                        assert!(len <= largest);
                        assert_eq!(prefix.decode(&bytes[..size]), len, "{prefix:?}");
                    }
                    None => assert!(len > largest, "{prefix:?} {len}"),
                }
            }
            assert!(prefix.encode(largest).is_some());
            assert!(prefix.encode(largest + 1).is_none());
        }
    }

    #[test]
    fn the_order_of_the_bytes_is_that_of_the_name() {
        assert_eq!(LengthPrefix::U16.encode(0x0102), Some(([1, 2, 0, 0], 2)));
        assert_eq!(LengthPrefix::U16Le.encode(0x0102), Some(([2, 1, 0, 0], 2)));
        assert_eq!(LengthPrefix::U32.encode(1), Some(([0, 0, 0, 1], 4)));
        assert_eq!(LengthPrefix::U32Le.encode(1), Some(([1, 0, 0, 0], 4)));
    }
}
