//! The bits of `poll(2)`, and the interest and readiness that they stand for.

use crate::poll::{Interest, Readiness};
use readily_sys::poll;
use std::io;
use std::os::fd::BorrowedFd;

/// The bits of each direction.
pub(super) const ASKED: [(i16, Interest); 3] = [
    (poll::IN | poll::RDHUP, Interest::READ),
    (poll::OUT, Interest::WRITE),
    (poll::PRI, Interest::PRIORITY),
];

/// The bits to ask `poll(2)` for.
pub(super) fn bits(interest: Interest) -> i16 {
    let set = ASKED
        .iter()
        .filter(|(_, direction)| interest.contains(*direction));
    set.fold(0, |bits, (bit, _)| bits | bit)
}

/// The readiness for the bits of `poll(2)`, as for epoll, which inherited them. A number that is not
/// open is reported with every fact, so that each waiter gets an event.
pub(super) fn from_poll(bits: i16) -> Readiness {
    const READ: u8 = Readiness::READ.bits();
    const WRITE: u8 = Readiness::WRITE.bits();
    const READ_CLOSED: u8 = Readiness::READ_CLOSED.bits();
    const WRITE_CLOSED: u8 = Readiness::WRITE_CLOSED.bits();
    const ERROR: u8 = Readiness::ERROR.bits();
    const GONE: u8 = READ | WRITE | READ_CLOSED | WRITE_CLOSED;
    const MEANING: [(i16, Readiness); 7] = [
        (poll::IN, Readiness::READ),
        (poll::PRI, Readiness::PRIORITY),
        (poll::OUT, Readiness::WRITE),
        (poll::RDHUP, Readiness::from_bits(READ | READ_CLOSED)),
        (poll::HUP, Readiness::from_bits(GONE)),
        (poll::ERR, Readiness::from_bits(READ | WRITE | ERROR)),
        (poll::NVAL, Readiness::from_bits(GONE | ERROR)),
    ];
    let set = MEANING.iter().filter(|(bit, _)| bits & bit != 0);
    set.fold(Readiness::NONE, |ready, &(_, meaning)| ready | meaning)
}

/// The readiness of one descriptor now.
pub(in crate::poll) fn look(fd: BorrowedFd<'_>) -> io::Result<Readiness> {
    poll::look(fd, bits(Interest::BOTH | Interest::PRIORITY)).map(from_poll)
}

/// The facts of one descriptor now, without those that [`from_poll`] concludes from others: an error
/// alone does not mean that there are bytes or room.
pub(in crate::poll) fn facts(fd: BorrowedFd<'_>) -> io::Result<Readiness> {
    const GONE: u8 = Readiness::READ_CLOSED.bits() | Readiness::WRITE_CLOSED.bits();
    const MEANING: [(i16, Readiness); 6] = [
        (poll::IN, Readiness::READ),
        (poll::PRI, Readiness::PRIORITY),
        (poll::OUT, Readiness::WRITE),
        (poll::RDHUP, Readiness::READ_CLOSED),
        (poll::HUP, Readiness::from_bits(GONE)),
        (poll::ERR, Readiness::ERROR),
    ];
    let bits = poll::look(fd, bits(Interest::BOTH | Interest::PRIORITY))?;
    let set = MEANING.iter().filter(|(bit, _)| bits & bit != 0);
    Ok(set.fold(Readiness::NONE, |facts, &(_, meaning)| facts | meaning))
}
