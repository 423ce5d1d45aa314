//! Any bytes, in any pieces, read as lines, frames and parts: each byte comes out once and in order, the limit
//! holds, and nothing panics.
//!
//! A part that cannot be read is an error that keeps its bytes; then one byte is skipped, so that every input
//! comes to its end.

use crate::List;
use arbitrary::Arbitrary;
use readily::io::{BufReader, LengthPrefix, PollRead, ReadError};
use std::io;
use std::task::{Context, Poll};

/// The input of [`reading`].
#[derive(Arbitrary, Clone, Debug)]
pub struct Reads {
    pub bytes: List<u8>,
    /// The lengths of the pieces in which the bytes come; zero: not yet.
    pub pieces: List<u8>,
    pub limit: u8,
    pub parts: List<Part>,
}

/// What to read next.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Part {
    Line,
    Until(u8, u8),
    Exactly(u8),
    Frame(u8),
    Consume(u8),
}

struct Pieces<'a> {
    left: &'a [u8],
    pieces: &'a [u8],
    next: usize,
    /// Whether the last poll was not ready: the next one is.
    has_waited: bool,
}

impl PollRead for Pieces<'_> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let piece = self.pieces.get(self.next % self.pieces.len().max(1));
        let piece = piece.map_or(1, |piece| usize::from(*piece));
        self.next += 1;
        if piece == 0 && !self.has_waited {
            self.has_waited = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.has_waited = false;
        let n = piece.max(1).min(buffer.len()).min(self.left.len());
        buffer[..n].copy_from_slice(&self.left[..n]);
        self.left = &self.left[n..];
        Poll::Ready(Ok(n))
    }
}

fn prefix(n: u8) -> LengthPrefix {
    match n % 5 {
        0 => LengthPrefix::U8,
        1 => LengthPrefix::U16,
        2 => LengthPrefix::U32,
        3 => LengthPrefix::U16Le,
        _ => LengthPrefix::U32Le,
    }
}

async fn read<R: PollRead>(reader: &mut BufReader<R>, part: Part) -> Result<(), ReadError> {
    match part {
        Part::Line => reader.read_line().await.map(drop),
        Part::Until(one, other) => {
            let separators: [&[u8]; 2] = [&[one], &[other, one]];
            let part = reader.read_until_any(&separators).await?;
            assert!(part.ends_with(&[one]), "a part ends with a separator");
            Ok(())
        }
        Part::Exactly(len) => {
            let len = usize::from(len);
            assert_eq!(reader.read_exactly(len).await?.len(), len);
            Ok(())
        }
        Part::Frame(n) => reader.read_frame(prefix(n)).await.map(drop),
        Part::Consume(n) => {
            let there = reader.fill_buf().await?.len();
            reader.consume(usize::from(n).min(there));
            Ok(())
        }
    }
}

/// Reads all of it.
///
/// # Panics
///
/// If a byte is lost, or comes twice, or the limit does not hold.
pub fn reading(input: &Reads) {
    let bytes = &input.bytes.0;
    let limit = usize::from(input.limit).max(1);
    let pieces = Pieces {
        left: bytes,
        pieces: &input.pieces.0,
        next: 0,
        has_waited: false,
    };
    let mut reader = BufReader::with_limit(pieces, limit);
    let all = async {
        let mut at = 0;
        let mut parts = input.parts.0.iter().copied().cycle();
        loop {
            let part = parts.next().unwrap_or(Part::Line);
            let outcome = read(&mut reader, part).await;
            let now = bytes.len() - reader.get_ref().left.len() - reader.buffer().len();
            assert!(now >= at, "no byte comes twice");
            assert!(bytes[now..].starts_with(reader.buffer()), "no byte is lost");
            assert!(reader.buffer().len() <= limit, "the limit holds");
            if outcome.is_err() {
                assert_eq!(now, at, "an error keeps the bytes");
            }
            at = now;
            // A step that did nothing skips a byte, and finds the end.
            let is_empty = reader.fill_buf().await.is_ok_and(<[u8]>::is_empty);
            if is_empty {
                return;
            }
            reader.consume(1);
            at += 1;
        }
    };
    readily::run(all).expect("a loop");
}
