//! Between the poller's vocabulary and epoll's bits: two pure functions.
//!
//! In the notes: interest and readiness, of the selector (N2).

use crate::poll::{Interest, Readiness, Trigger};
use readily_sys::epoll;

/// The bits to ask epoll for.
pub(super) fn to_epoll(interest: Interest, trigger: Trigger) -> u32 {
    let mut bits = match trigger {
        Trigger::Level => 0,
        Trigger::Edge => epoll::ET,
        Trigger::OneShot => epoll::ONESHOT,
    };
    if interest.contains(Interest::READ) {
        // The half-close only with READ: a level-triggered writer that does not read would get the
        // report in every wait.
        bits |= epoll::IN | epoll::RDHUP;
    }
    if interest.contains(Interest::WRITE) {
        bits |= epoll::OUT;
    }
    if interest.contains(Interest::PRIORITY) {
        bits |= epoll::PRI;
    }
    bits
}

/// The readiness for epoll's bits.
///
/// `HUP` without `IN` counts as readable: an empty pipe whose writers are closed reports only that,
/// and a reader that waited for `IN` would sleep for ever.
///
/// A pipe whose readers are closed reports `OUT | ERR`. That does **not** become
/// `WRITE_CLOSED`: a datagram socket with a pending error reports the same, and can go on
/// writing. So the result is `ERROR`; the next write returns the error.
#[inline]
pub(super) fn from_epoll(bits: u32) -> Readiness {
    // The six bits that have a meaning, moved together: five are the lowest, RDHUP is far above.
    let facts = bits & LOW | (bits & epoll::RDHUP) >> RDHUP_DOWN;
    REPORTED[facts as usize]
}

const LOW: u32 = epoll::IN | epoll::PRI | epoll::OUT | epoll::ERR | epoll::HUP;
const RDHUP_DOWN: u32 = epoll::RDHUP.trailing_zeros() - LOW.trailing_ones();
const _: () = assert!(LOW == 31, "the five lowest");

/// [`facts_of`] for each set of the six bits.
const REPORTED: [Readiness; 64] = {
    let mut reported = [Readiness::NONE; 64];
    let mut facts = 0;
    while facts < 64 {
        let bits = facts as u32;
        reported[facts] = facts_of(bits & LOW | (bits & !LOW) << RDHUP_DOWN);
        facts += 1;
    }
    reported
};

/// The readiness for epoll's bits, computed.
const fn facts_of(bits: u32) -> Readiness {
    const READ: u8 = Readiness::READ.bits();
    const WRITE: u8 = Readiness::WRITE.bits();
    const READ_CLOSED: u8 = Readiness::READ_CLOSED.bits();
    const WRITE_CLOSED: u8 = Readiness::WRITE_CLOSED.bits();
    const MEANING: [(u32, u8); 6] = [
        (epoll::IN, READ),
        (epoll::PRI, Readiness::PRIORITY.bits()),
        (epoll::OUT, WRITE),
        (epoll::RDHUP, READ | READ_CLOSED),
        (epoll::HUP, READ | WRITE | READ_CLOSED | WRITE_CLOSED),
        (epoll::ERR, READ | WRITE | Readiness::ERROR.bits()),
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
