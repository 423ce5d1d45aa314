//! Bits of `poll(2)` that this system lacks. The twin of `linux/poll_bits.rs`.

/// No such bit here: the end of the stream is found by reading.
pub(crate) const RDHUP: i16 = 0;
