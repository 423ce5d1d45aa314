//! The event of a poller, in the layout in which epoll writes it.
//!
//! A wait lets the kernel write into the caller's buffer, and nothing goes through its events before
//! the caller does. So an event keeps the kernel's bits, and translates them when it is asked for its
//! readiness.
//!
//! In the notes this is the `(fd, event)` that a selector returns (N7).

use super::epoll::{ERR, HUP, IN, OUT, PRI, RDHUP};
use crate::readiness::Readiness;
use std::fmt;

/// One report of the kernel: the token of the registration, and its readiness.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Event(libc::epoll_event);

impl Event {
    /// Makes an event, for those who write a poller.
    #[must_use]
    #[inline]
    pub const fn new(token: u64, ready: Readiness) -> Self {
        let facts = ready.bits() as u32;
        let events = match facts {
            IN => IN, // as the kernel writes it, for `is_only_read`
            _ => facts & LOW | (facts & !LOW) << HIGH_SHIFT | MADE,
        };
        Self(libc::epoll_event { events, u64: token })
    }

    /// Returns the number that the registration was made with.
    #[must_use]
    #[inline]
    pub const fn token(self) -> u64 {
        self.0.u64
    }

    /// Returns the reported readiness.
    #[must_use]
    #[inline]
    pub const fn ready(self) -> Readiness {
        from_bits(self.0.events)
    }

    /// Whether it reports [`Readiness::READ`] and nothing else, as nearly every event of a server
    /// does.
    #[must_use]
    #[inline]
    pub const fn is_only_read(self) -> bool {
        self.0.events == IN
    }
}

impl PartialEq for Event {
    /// Whether token and readiness are the same, whatever the bits that stand for the readiness.
    fn eq(&self, other: &Self) -> bool {
        self.token() == other.token() && self.ready() == other.ready()
    }
}

impl Eq for Event {}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("token", &self.token())
            .field("ready", &self.ready())
            .finish()
    }
}

/// The bits that have a meaning, moved together: five are the lowest, the other two are far above.
const LOW: u32 = IN | PRI | OUT | ERR | HUP;
const HIGH: u32 = RDHUP | MADE;
const HIGH_SHIFT: u32 = RDHUP.trailing_zeros() - LOW.trailing_ones();

/// Marks the event of another poller: the other six bits are those of its readiness, in their order.
/// The kernel never reports this bit, because no registration asks for it.
const MADE: u32 = RDHUP << 1;

const _: () = assert!(LOW == 31, "the five lowest");
const _: () = assert!(IN == Readiness::READ.bits() as u32, "for `is_only_read`");

/// The readiness for epoll's bits.
///
/// `HUP` without `IN` counts as readable: an empty pipe whose writers are closed reports only that,
/// and a reader that waited for `IN` would sleep for ever.
///
/// A pipe whose readers are closed reports `OUT | ERR`. That does **not** become
/// `WRITE_CLOSED`: a datagram socket with a pending error reports the same, and can go on
/// writing. So the result is `ERROR`; the next write returns the error.
#[inline]
const fn from_bits(bits: u32) -> Readiness {
    READINESS[(bits & LOW | (bits & HIGH) >> HIGH_SHIFT) as usize]
}

/// The readiness for each set of the seven bits: first as the kernel means them ([`facts_of`]), then
/// as [`Event::new`] has written them.
const READINESS: [Readiness; 128] = {
    let mut readiness = [Readiness::NONE; 128];
    let mut set = 0;
    while set < 64 {
        let bits = set as u32;
        readiness[set] = facts_of(bits & LOW | (bits & !LOW) << HIGH_SHIFT);
        readiness[64 + set] = Readiness::from_bits(set as u8);
        set += 1;
    }
    readiness
};

/// The readiness for epoll's bits, computed.
const fn facts_of(bits: u32) -> Readiness {
    const READ: u8 = Readiness::READ.bits();
    const WRITE: u8 = Readiness::WRITE.bits();
    const READ_CLOSED: u8 = Readiness::READ_CLOSED.bits();
    const WRITE_CLOSED: u8 = Readiness::WRITE_CLOSED.bits();
    const MEANING: [(u32, u8); 6] = [
        (IN, READ),
        (PRI, Readiness::PRIORITY.bits()),
        (OUT, WRITE),
        (RDHUP, READ | READ_CLOSED),
        (HUP, READ | WRITE | READ_CLOSED | WRITE_CLOSED),
        (ERR, READ | WRITE | Readiness::ERROR.bits()),
    ];
    let mut ready = 0;
    let mut at = 0;
    while at < MEANING.len() {
        let (bit, facts) = MEANING[at];
        if bits & bit != 0 {
            ready |= facts;
        }
        at += 1;
    }
    Readiness::from_bits(ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BITS: [u32; 6] = [IN, PRI, OUT, RDHUP, HUP, ERR];

    /// Each set of bits, as the kernel may report it.
    fn sets() -> impl Iterator<Item = Vec<u32>> {
        (0..1 << BITS.len()).map(|set: u32| {
            let chosen = (0..BITS.len()).filter(|n| set & (1 << n) != 0);
            chosen.map(|n| BITS[n]).collect()
        })
    }

    fn sum(bits: &[u32]) -> u32 {
        bits.iter().fold(0, |sum, bit| sum | bit)
    }

    #[test]
    fn each_bit_has_its_meaning() {
        let (read, write) = (Readiness::READ, Readiness::WRITE);
        let closed = Readiness::READ_CLOSED | Readiness::WRITE_CLOSED;
        assert_eq!(from_bits(IN), read);
        assert_eq!(from_bits(PRI), Readiness::PRIORITY);
        assert_eq!(from_bits(OUT), write);
        assert_eq!(from_bits(RDHUP), read | Readiness::READ_CLOSED);
        assert_eq!(from_bits(HUP), read | write | closed);
        assert_eq!(from_bits(ERR), read | write | Readiness::ERROR);
    }

    #[test]
    fn every_combination_of_bits_is_the_sum_of_its_bits() {
        for bits in sets() {
            let each = bits.iter().map(|&bit| from_bits(bit));
            let facts = each.fold(Readiness::NONE, |facts, fact| facts | fact);
            assert_eq!(from_bits(sum(&bits)), facts);
        }
    }

    #[test]
    fn an_event_that_only_reports_read_is_found() {
        for bits in sets() {
            let bits = sum(&bits);
            let event = Event(libc::epoll_event {
                events: bits,
                u64: 7,
            });
            let expected = event.ready() == Readiness::READ;
            assert_eq!(event.is_only_read(), expected, "{bits:#x}");
            let made = Event::new(7, event.ready());
            assert_eq!(made.is_only_read(), expected, "{made:?}");
        }
    }

    #[test]
    fn only_a_hangup_or_an_error_is_a_hangup() {
        for bits in sets() {
            let bits = sum(&bits);
            let expected = bits & (HUP | ERR) != 0;
            assert_eq!(from_bits(bits).is_hangup(), expected, "{bits:#x}");
        }
    }

    /// The bits by which a registration is asked for, which some kernels might report.
    #[test]
    fn bits_without_a_meaning_change_nothing() {
        for bits in sets() {
            let bits = sum(&bits);
            assert_eq!(from_bits(bits | !(LOW | HIGH)), from_bits(bits));
        }
    }
}
