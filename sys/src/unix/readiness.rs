//! Readiness: what a poller reports of a descriptor.
//!
//! In the notes these are the events of the dispatch: connect, read, write, hangup (N7).

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// The conditions that the kernel reports for a descriptor: six separate facts.
///
/// Readiness is a hint. A *closed* side or an error is never reported wrongly, but may be missing
/// from a report. An operation after `READ` or `WRITE` may still return `WouldBlock`. A closed side
/// was closed when it was reported. A socket's side stays closed; a FIFO may get a new writer after
/// its end, and a terminal a new peer. Half-closing is not a hangup: if the peer shuts down its
/// writing side, the descriptor becomes *readable* (first the remaining bytes, then the end of the
/// data), with `READ_CLOSED`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Readiness(u8);

impl Readiness {
    /// No fact at all.
    pub const NONE: Self = Self(0);
    /// A read (or accept) would not block; it may return the end of the stream.
    pub const READ: Self = Self(1);
    /// A write would not block; it may return an error.
    pub const WRITE: Self = Self(2);
    /// No more bytes will come than are already in the receive buffer.
    pub const READ_CLOSED: Self = Self(4);
    /// Nothing that is written from now on will arrive.
    pub const WRITE_CLOSED: Self = Self(8);
    /// An error is pending; `SO_ERROR`, or the next operation, returns it. If both sides are open there
    /// may be none: Linux also reports an entry in a socket's error queue, or a change of a kernel
    /// file, in this way.
    pub const ERROR: Self = Self(16);
    /// Urgent data, or another exceptional condition (`POLLPRI`).
    pub const PRIORITY: Self = Self(32);

    /// Whether all of `other` is in `self`.
    #[must_use]
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is in `self`.
    #[must_use]
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// `self` without what is in `other`.
    #[must_use]
    #[inline]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether no fact is set.
    #[must_use]
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether both sides are closed.
    #[must_use]
    #[inline]
    pub const fn is_closed(self) -> bool {
        self.contains(Self(Self::READ_CLOSED.0 | Self::WRITE_CLOSED.0))
    }

    /// Whether the connection as a whole may be over: both sides closed, or an [`ERROR`](Self::ERROR).
    #[must_use]
    #[inline]
    pub const fn is_hangup(self) -> bool {
        self.is_closed() || self.contains(Self::ERROR)
    }

    /// The bits, for tables and traces. Bit 0 is `READ`, then in order of declaration.
    #[must_use]
    #[inline]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The facts with these bits; bits without a meaning are dropped.
    #[must_use]
    #[inline]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 63)
    }
}

impl BitOr for Readiness {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Readiness {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            "READ",
            "WRITE",
            "READ_CLOSED",
            "WRITE_CLOSED",
            "ERROR",
            "PRIORITY",
        ];
        write_flags(f, self.0, &names)
    }
}

/// Writes the names of the bits that are set, for a `Debug` of flags.
///
/// # Errors
///
/// Those of `f`.
pub fn write_flags(f: &mut fmt::Formatter<'_>, bits: u8, names: &[&str]) -> fmt::Result {
    if bits == 0 {
        return f.write_str("NONE");
    }
    let set = names
        .iter()
        .enumerate()
        .filter(|(bit, _)| bits & (1 << bit) != 0);
    for (n, (_, name)) in set.enumerate() {
        f.write_str(if n == 0 { "" } else { " | " })?;
        f.write_str(name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    #[test]
    fn an_event_has_the_token_and_the_readiness_that_it_was_made_with() {
        for bits in 0..64 {
            let ready = Readiness::from_bits(bits);
            for token in [0, u64::from(bits) << 40, u64::MAX] {
                let event = Event::new(token, ready);
                assert_eq!((event.token(), event.ready()), (token, ready));
                assert_eq!(event, Event::new(token, ready));
                assert_ne!(event, Event::new(token ^ 1, ready));
                assert_ne!(event, Event::new(token, Readiness::from_bits(bits ^ 1)));
                let written = format!("Event {{ token: {token}, ready: {ready:?} }}");
                assert_eq!(format!("{event:?}"), written);
            }
        }
    }
}
