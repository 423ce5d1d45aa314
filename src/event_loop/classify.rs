//! Which branches of the notes one event takes, decided apart from taking them.
//!
//! This is the left column of the notes' table (N7): connect ready, read ready, write
//! ready, hangup, anything else. The decision is a pure function of what a registration is
//! for and what the kernel said, so a test can try every input there is.
//!
//! Rule: L4.

use crate::poll::Readiness;

/// What a registration is for; it decides what its readiness means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Connections arrive here: readable means "accept".
    Listener,
    /// An outgoing connection under way: writable means "through, or refused".
    Connecting,
    /// Bytes in, bytes out, an end.
    Stream,
    /// Datagrams. There is no connection to hang up: an error is for the next receive to
    /// tell, and the socket goes on (an ICMP answer must not close a server).
    Datagram,
    /// A descriptor that a coroutine waits on: its default action keeps the facts and wakes
    /// who waits. Nothing is decided for it, so nothing is lost on the way.
    Source,
}

/// The branches of the notes, in their order. Their numbers are the order in which they run: hangup
/// is the last, for it takes the registration away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Branch {
    /// A connection can be accepted, or our own is through or refused.
    Connect = 0,
    /// There are bytes, or the end of them.
    Read = 1,
    /// There is room.
    Write = 2,
    /// It is over in both directions, or in error.
    Hangup = 4,
    /// Anything else: urgent data, an error that ends nothing.
    Default = 3,
}

impl Branch {
    /// The inverse of `as u32`.
    #[inline]
    fn at(place: u32) -> Option<Self> {
        Some(match place {
            0 => Self::Connect,
            1 => Self::Read,
            2 => Self::Write,
            3 => Self::Default,
            4 => Self::Hangup,
            _ => return None,
        })
    }

    /// One word for it, for traces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Read => "read",
            Self::Write => "write",
            Self::Hangup => "hangup",
            Self::Default => "default",
        }
    }
}

/// The branches that one event takes, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Branches(u8);

impl Branches {
    /// No branch at all.
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn with(self, taken: bool, branch: Branch) -> Self {
        Self(self.0 | (taken as u8) << branch as u8)
    }

    /// The next one that is among `active`; it, and those that it passes over, are done with.
    #[inline]
    pub(super) fn next_in(&mut self, active: Self) -> Option<Branch> {
        while self.0 != 0 {
            let first = self.0.trailing_zeros();
            self.0 &= self.0 - 1;
            if active.0 >> first & 1 != 0 {
                return Branch::at(first);
            }
        }
        None
    }
}

impl Iterator for Branches {
    type Item = Branch;

    #[inline]
    fn next(&mut self) -> Option<Branch> {
        self.next_in(*self)
    }
}

/// The left column of the notes' table.
const fn decide(role: Role, ready: Readiness) -> Branches {
    let (read, write) = (
        ready.contains(Readiness::READ),
        ready.contains(Readiness::WRITE),
    );
    let connect = match role {
        Role::Listener => read,
        Role::Connecting => write,
        Role::Stream | Role::Datagram | Role::Source => false,
    };
    // Until it is through, a connection has nothing to read or write, whatever is said.
    let flows = matches!(role, Role::Stream | Role::Datagram);
    let ends = !matches!(role, Role::Datagram | Role::Source) && ready.is_hangup();
    let other = match role {
        Role::Source => !ready.is_empty(),
        // An error of open sides may be none of the connection's: something in the error queue.
        _ => {
            let open_error = ready.contains(Readiness::ERROR) && !ready.is_closed();
            ready.contains(Readiness::PRIORITY) || open_error
        }
    };
    Branches::NONE
        .with(connect, Branch::Connect)
        .with(read && flows, Branch::Read)
        .with(write && flows, Branch::Write)
        .with(other, Branch::Default)
        // After them, so that bytes sent before the hangup are read before it is reported, and
        // urgent data is not lost in it.
        .with(ends, Branch::Hangup)
}

const ROLES: [Role; 5] = [
    Role::Listener,
    Role::Connecting,
    Role::Stream,
    Role::Datagram,
    Role::Source,
];
const FACTS: usize = 64;

/// [`decide`] on every input there is. Looked up, it costs a tenth of what it costs worked out.
const TABLE: [[Branches; FACTS]; ROLES.len()] = {
    let mut decided = [[Branches(0); FACTS]; ROLES.len()];
    let mut at = 0;
    while at < ROLES.len() * FACTS {
        let (role, facts) = (ROLES[at / FACTS], at % FACTS);
        decided[role as usize][facts] = decide(role, Readiness::from_bits(facts as u8));
        at += 1;
    }
    decided
};

/// Splits one kernel event into the branches to take, in the order to take them ([L4]).
///
/// A half-closed peer is *readable*, not hung up. A refused connection takes the connect
/// branch, which asks `SO_ERROR`, and then the hangup branch. An error takes the hangup branch too,
/// which asks whether it is an end.
///
/// [L4]: crate::book::invariants#l4
#[inline]
pub(crate) fn classify(role: Role, ready: Readiness) -> Branches {
    TABLE[role as usize][ready.bits() as usize % FACTS]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L4, on every input there is: 5 roles, 64 sets of facts.
    #[test]
    fn every_event_takes_the_branches_of_the_notes_and_hangup_is_the_last() {
        for role in ROLES {
            for ready in (0..64).map(Readiness::from_bits) {
                let branches: Vec<Branch> = classify(role, ready).collect();
                assert!(
                    branches.is_sorted_by_key(|&branch| branch as u8),
                    "{role:?} {ready:?}"
                );
                let takes = |branch| branches.contains(&branch);
                let (read, write) = (
                    ready.contains(Readiness::READ),
                    ready.contains(Readiness::WRITE),
                );
                let expected = match role {
                    Role::Listener => [read, false, false, ready.is_hangup()],
                    Role::Connecting => [write, false, false, ready.is_hangup()],
                    Role::Stream => [false, read, write, ready.is_hangup()],
                    Role::Datagram => [false, read, write, false],
                    Role::Source => [false; 4],
                };
                let got = [Branch::Connect, Branch::Read, Branch::Write, Branch::Hangup].map(takes);
                assert_eq!(got, expected, "{role:?} {ready:?}");
                let other = match role {
                    Role::Source => ready != Readiness::NONE,
                    _ => {
                        let error = ready.contains(Readiness::ERROR);
                        ready.contains(Readiness::PRIORITY) || error && !ready.is_closed()
                    }
                };
                assert_eq!(takes(Branch::Default), other, "{role:?} {ready:?}");
            }
        }
    }

    #[test]
    fn a_half_closed_peer_is_readable_and_not_hung_up() {
        let half = Readiness::READ | Readiness::READ_CLOSED;
        assert_eq!(
            classify(Role::Stream, half).collect::<Vec<_>>(),
            [Branch::Read]
        );
    }
}
