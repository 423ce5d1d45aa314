//! The bytes that a buffered reader has read ahead, and the search for a separator in them.
//!
//! This part does no I/O.

use super::check::check_read;
use std::ops::Range;

/// So much is read at once, as long as nothing larger is searched for.
pub(super) const CHUNK: usize = 8 << 10;

/// Bytes that were read and not consumed, and room for more.
#[derive(Debug, Default)]
pub(super) struct ReadBuffer {
    /// All of it is initialized; what is between `start` and `end` was read. No memory while nothing waits
    /// there and nothing comes.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl ReadBuffer {
    #[inline]
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn has_memory(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Bytes that were just consumed: they stay in place until the next call for [`room`](Self::room).
    pub(super) fn consumed(&self, len: usize) -> &[u8] {
        &self.bytes[self.start - len..self.start]
    }

    /// # Panics
    ///
    /// If there are not so many.
    #[inline]
    pub(super) fn consume(&mut self, len: usize) {
        assert!(len <= self.len(), "consumed {len} of {} bytes", self.len());
        self.start += len;
    }

    /// Frees the memory of an empty buffer (R126).
    pub(super) fn release(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Room for more bytes behind the others, so that there are at most `limit`. Empty exactly if there are
    /// as many already.
    pub(super) fn room(&mut self, limit: usize) -> &mut [u8] {
        if self.is_empty() && self.bytes.len() > CHUNK {
            self.release(); // a long line is over
        }
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
        if self.end == self.bytes.len() {
            self.make_room(limit);
        }
        let room = limit.saturating_sub(self.len());
        let end = self.bytes.len().min(self.end.saturating_add(room));
        &mut self.bytes[self.end..end]
    }

    /// Moves the bytes to the front if that gives half of the memory; else doubles it, up to the limit. So
    /// no byte is moved more than twice on average.
    fn make_room(&mut self, limit: usize) {
        if self.start != 0 && self.start >= self.bytes.len() / 2 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.len());
        } else {
            let most = limit.saturating_add(self.start);
            let len = self.bytes.len().saturating_mul(2).max(CHUNK).min(most);
            self.bytes.resize(len.max(self.end), 0);
        }
    }

    /// So many bytes were read into the room.
    ///
    /// # Panics
    ///
    /// If there was not so much (R125).
    pub(super) fn add(&mut self, len: usize, room: usize) {
        check_read(len, room);
        self.end += len;
    }
}

/// A search for the first of several separators, which looks at each byte once (R120).
pub(super) struct Search<'a> {
    separators: &'a [&'a [u8]],
    /// The bytes before this cannot begin a separator.
    scanned: usize,
}

impl<'a> Search<'a> {
    /// # Panics
    ///
    /// If there is no separator, or an empty one.
    pub(super) fn new(separators: &'a [&'a [u8]]) -> Self {
        let has_empty = separators.iter().any(|separator| separator.is_empty());
        assert!(
            !separators.is_empty() && !has_empty,
            "a separator has a byte"
        );
        Self {
            separators,
            scanned: 0,
        }
    }

    /// Where the separator is that ends first, if it is complete; of several that end there, the one
    /// that was named first.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<Range<usize>> {
        let mut first: Option<Range<usize>> = None;
        let mut longest = 0;
        for separator in self.separators {
            longest = longest.max(separator.len());
            let found = find(bytes, separator, self.scanned);
            if let Some(start) = found {
                let end = start + separator.len();
                if first.as_ref().is_none_or(|first| end < first.end) {
                    first = Some(start..end);
                }
            }
        }
        self.scanned = bytes.len().saturating_sub(longest - 1).max(self.scanned);
        first
    }
}

/// Where `separator` begins in `bytes`, at `from` or later.
fn find(bytes: &[u8], separator: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += readily_sys::find_byte(bytes.get(at..)?, separator[0])?;
        if bytes[at..].starts_with(separator) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn naive(bytes: &[u8], separators: &[&[u8]]) -> Option<Range<usize>> {
        (0..=bytes.len()).find_map(|end| {
            let is_end = |separator: &&&[u8]| bytes[..end].ends_with(separator);
            let separator = separators.iter().find(is_end)?;
            Some(end - separator.len()..end)
        })
    }

    proptest! {
        #[test]
        fn a_separator_is_found_wherever_the_pieces_are_cut(
            bytes in vec(0..3u8, 0..40),
            separators in vec(vec(0..3u8, 1..4), 1..4),
            pieces in vec(0..5usize, 1..20),
        ) {
            let separators: Vec<&[u8]> = separators.iter().map(|it| &**it).collect();
            let mut search = Search::new(&separators);
            let (mut len, mut found) = (0, None);
            for piece in pieces.iter().cycle().take(100).chain([&40]) {
                len = bytes.len().min(len + piece);
                found = search.find(&bytes[..len]);
                if found.is_some() {
                    break;
                }
            }
            prop_assert_eq!(found, naive(&bytes, &separators));
        }

        /// Against a queue of bytes; at no time more than the limit, and no memory for nothing.
        #[test]
        fn a_buffer_holds_what_was_read_and_not_consumed(
            limit in 1..30_000usize,
            steps in vec((any::<bool>(), 0..20_000usize), 0..60),
        ) {
            let (mut buffer, mut model) = (ReadBuffer::default(), VecDeque::new());
            let mut next = 0u8;
            for (reads, len) in steps {
                if reads {
                    let room = buffer.room(limit);
                    let n = len.min(room.len());
                    for byte in &mut room[..n] {
                        next = next.wrapping_add(1);
                        *byte = next;
                        model.push_back(next);
                    }
                    let room = room.len();
                    prop_assert_eq!(room == 0, model.len() - n == limit);
                    buffer.add(n, room);
                } else {
                    let n = len.min(model.len());
                    buffer.consume(n);
                    let consumed: Vec<u8> = model.drain(..n).collect();
                    prop_assert_eq!(buffer.consumed(n), consumed);
                }
                prop_assert!(buffer.len() <= limit);
                prop_assert_eq!(buffer.filled(), model.make_contiguous());
                prop_assert!(buffer.bytes.len() <= 2 * limit.max(CHUNK) + CHUNK);
            }
            buffer.consume(model.len());
            buffer.release();
            prop_assert!(!buffer.has_memory());
        }
    }

    /// R120: by the number of bytes that are looked at, which no clock is needed for.
    #[test]
    fn a_long_line_that_comes_byte_by_byte_is_searched_once() {
        let bytes = vec![b'x'; 1 << 20];
        let mut search = Search::new(&[b"\r\n"]);
        for len in 0..bytes.len() {
            assert_eq!(search.find(&bytes[..len]), None);
            assert!(search.scanned + 1 >= len);
        }
    }
}
