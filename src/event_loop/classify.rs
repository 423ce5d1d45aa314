//! The classification of an event: which branches of the notes' table it takes.
//!
//! This is the left column of the notes' table (N7): connect ready, read ready, write ready,
//! hangup, anything else. It is a pure function of the registration's role and the reported
//! readiness, so a test can try every input.
//!
//! A hangup is only taken here, and may run later: while unread bytes are left, `hangup_action` in
//! `hangup.rs` delays it (L7).
//!
//! Rule: L4.

use crate::poll::Readiness;

/// The role of a registration, which decides the meaning of its readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// A listening socket: readable means that a connection can be accepted.
    Listener,
    /// An outgoing connection under way: writable means established, or refused.
    Connecting,
    /// A stream of bytes with an end.
    Stream,
    /// A datagram socket. There is no connection to hang up: the next receive returns an error, and
    /// the socket stays open (an ICMP answer must not close a server).
    Datagram,
}

/// The branches of the notes, numbered in the order in which they run: hangup is the last, because
/// it removes the registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Branch {
    /// A connection can be accepted, or an outgoing one is established or refused.
    Connect = 0,
    /// There are bytes to read, or the end of the data.
    Read = 1,
    /// There is room to write.
    Write = 2,
    /// Anything else: urgent data, an error that does not end the connection.
    Default = 3,
    /// Both directions have ended, or there is an error.
    Hangup = 4,
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

    /// Returns the name of the branch, for traces and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Read => "read",
            Self::Write => "write",
            Self::Default => "default",
            Self::Hangup => "hangup",
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

    pub(super) const fn contains(self, branch: Branch) -> bool {
        self.0 & (1 << branch as u8) != 0
    }

    /// Removes and returns the first branch that is in `active`; the branches before it are
    /// removed, too.
    #[inline]
    pub(super) fn next_in(&mut self, active: Self) -> Option<Branch> {
        if self.0 == 0 {
            return None;
        }
        let first = u32::from(self.0 & active.0).trailing_zeros();
        let branch = Branch::at(first)?;
        self.0 &= !1 << first;
        Some(branch)
    }
}

impl Iterator for Branches {
    type Item = Branch;

    #[inline]
    fn next(&mut self) -> Option<Branch> {
        self.next_in(*self)
    }
}

/// The branches for a role and a set of facts: the left column of the notes' table.
const fn branches_of(role: Role, ready: Readiness) -> Branches {
    let (read, write) = (
        ready.contains(Readiness::READ),
        ready.contains(Readiness::WRITE),
    );
    let connect = match role {
        Role::Listener => read,
        Role::Connecting => write,
        Role::Stream | Role::Datagram => false,
    };
    // Before a connection is established, its other readiness has no meaning.
    let flows = matches!(role, Role::Stream | Role::Datagram);
    let ends = !matches!(role, Role::Datagram) && ready.is_hangup();
    // An error while a side is open may not be one of the connection: an entry in the error queue.
    let open_error = ready.contains(Readiness::ERROR) && !ready.is_closed();
    let other = ready.contains(Readiness::PRIORITY) || open_error;
    Branches::NONE
        .with(connect, Branch::Connect)
        .with(read && flows, Branch::Read)
        .with(write && flows, Branch::Write)
        .with(other, Branch::Default)
        // After the others, so that bytes sent before the hangup are read before it is reported,
        // and urgent data is not lost.
        .with(ends, Branch::Hangup)
}

const ROLES: [Role; 4] = [
    Role::Listener,
    Role::Connecting,
    Role::Stream,
    Role::Datagram,
];
const FACTS: usize = 64;

/// [`branches_of`] for every input: a lookup is cheaper than the decision.
const TABLE: [[Branches; FACTS]; ROLES.len()] = {
    let mut decided = [[Branches(0); FACTS]; ROLES.len()];
    let mut at = 0;
    while at < ROLES.len() * FACTS {
        let (role, facts) = (ROLES[at / FACTS], at % FACTS);
        decided[role as usize][facts] = branches_of(role, Readiness::from_bits(facts as u8));
        at += 1;
    }
    decided
};

/// Returns the branches that an event takes, in the order in which they run ([L4]).
///
/// A half-closed peer is *readable*, not hung up. A refused connection takes the connect branch,
/// which reads `SO_ERROR`, and then the hangup branch. An error takes the hangup branch too, which
/// checks whether it ends the connection.
///
/// [L4]: crate::book::invariants#l4
#[inline]
pub(crate) fn classify(role: Role, ready: Readiness) -> Branches {
    TABLE[role as usize][ready.bits() as usize % FACTS]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L4, on every input there is: 4 roles, 64 sets of facts.
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
                };
                let got = [Branch::Connect, Branch::Read, Branch::Write, Branch::Hangup].map(takes);
                assert_eq!(got, expected, "{role:?} {ready:?}");
                let error = ready.contains(Readiness::ERROR);
                let other = ready.contains(Readiness::PRIORITY) || error && !ready.is_closed();
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
