//! A queue of bytes: appended at the end, taken from the front.
//!
//! It is what a peer that reads slowly costs. Bytes that were taken leave a gap in front of the others, which is
//! closed when it is half of the buffer: so no byte is moved more than once on average.
//!
//! In asyncio: the `bytearray` of a transport.

/// An empty buffer of more bytes is freed.
const KEPT: usize = 16 << 10;

/// Bytes that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct ByteQueue {
    bytes: Vec<u8>,
    /// The bytes before this are taken.
    start: usize,
}

impl ByteQueue {
    /// Appends all of `bytes`.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.start >= self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// All bytes, the oldest first.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Takes `n` bytes from the front, which are there. An empty buffer that is large is freed (R126).
    pub(crate) fn take(&mut self, n: usize) {
        debug_assert!(n <= self.len(), "no more is taken than there is");
        self.start += n;
        if self.start == self.bytes.len() {
            self.clear();
        }
    }

    /// Discards all bytes.
    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes.
    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        self.bytes.drain(..self.start);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteQueue, KEPT};

    #[test]
    fn bytes_come_out_as_they_went_in_and_a_large_buffer_is_freed() {
        let (mut queue, mut model) = (ByteQueue::default(), Vec::new());
        for round in 0..200_usize {
            let bytes: Vec<u8> = (0..round * 7 % 400).map(|n| (round ^ n) as u8).collect();
            queue.push(&bytes);
            model.extend_from_slice(&bytes);
            let n = round * 13 % (model.len() + 1);
            queue.take(n);
            model.drain(..n);
            assert_eq!(queue.as_slice(), model);
            assert_eq!(
                (queue.len(), queue.is_empty()),
                (model.len(), model.is_empty())
            );
            let held = queue.bytes.capacity();
            assert!(
                held <= (4 * model.len()).max(KEPT),
                "{held} bytes for {}",
                model.len()
            );
        }
        queue.push(&[1; 2 * KEPT]);
        queue.take(1);
        queue.take(queue.len());
        assert_eq!(queue.bytes.capacity(), 0);
        queue.push(b"abc");
        queue.take(1);
        assert_eq!(queue.into_vec(), b"bc");
    }
}
