//! Bits of `poll(2)` that only Linux has. The twin of `unix/poll_bits.rs`.

/// The peer has shut down its writing half.
pub(crate) const RDHUP: i16 = libc::POLLRDHUP;
