//! From one registration of ours to two of kqueue's, and back.
//!
//! Everything here takes and returns plain values, so that the rules that only a real BSD
//! could show otherwise are tested anywhere: which flags stand for which trigger, which
//! errors are none, how a half-done change is undone, what an end of file means.
//!
//! In the notes this is what "kqueue on macOS" hides (N2).

use readily_sys::errno;
use readily_sys::kq_abi::{
    EV_ADD, EV_CLEAR, EV_DELETE, EV_DISPATCH, EV_ENABLE, EV_EOF, EV_RECEIPT, Filter, Kevent,
};

use crate::poll::{Interest, Readiness, Trigger};

/// What is wanted for a descriptor, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) token: u64,
    pub(super) interest: Interest,
    pub(super) trigger: Trigger,
}

/// A changelist: at most a removal and an addition for each of two filters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changes {
    list: [Kevent; 4],
    len: usize,
}

const FILTERS: [(Filter, Interest); 2] = [
    (Filter::Read, Interest::READ),
    (Filter::Write, Interest::WRITE),
];

impl Changes {
    fn new() -> Self {
        let none = Kevent {
            ident: 0,
            filter: Filter::Read,
            flags: 0,
            fflags: 0,
            data: 0,
            udata: 0,
        };
        Self {
            list: [none; 4],
            len: 0,
        }
    }

    fn push(&mut self, fd: usize, filter: Filter, flags: u32, udata: u64) {
        // The token goes along with every change, for every change replaces it.
        let flags = flags | EV_RECEIPT;
        self.list[self.len] = Kevent {
            ident: fd,
            filter,
            flags,
            fflags: 0,
            data: 0,
            udata,
        };
        self.len += 1;
    }

    pub(super) fn as_slice(&self) -> &[Kevent] {
        &self.list[..self.len]
    }
}

/// How a trigger is said to a filter.
///
/// The edge of `Write` is a dispatch and not `EV_CLEAR`: that would report with every
/// acknowledgement from the peer, on connections that were never full. `EV_ONESHOT` is not
/// used at all, for it reports conditions that have gone meanwhile; a dispatch is checked
/// once more.
fn mode(filter: Filter, trigger: Trigger) -> u32 {
    match (trigger, filter) {
        (Trigger::Level, _) => 0,
        (Trigger::Edge, Filter::Read) => EV_CLEAR,
        (Trigger::Edge, _) | (Trigger::OneShot, _) => EV_DISPATCH,
    }
}

/// The changes that lead from what is registered to what is wanted.
///
/// What is wanted is always added, also where it is there already: that looks at the state
/// anew, which is half of what `modify` is for. `EV_ENABLE` goes with it, as an addition
/// alone does not bring back what a dispatch has disabled.
pub(super) fn changes(fd: usize, old: Option<&Wanted>, new: Option<&Wanted>) -> Changes {
    let mut changes = Changes::new();
    for (filter, bit) in FILTERS {
        let was = old.filter(|wanted| wanted.interest.contains(bit));
        let is = new.filter(|wanted| wanted.interest.contains(bit));
        let (was_mode, is_mode) = (
            was.map(|w| mode(filter, w.trigger)),
            is.map(|w| mode(filter, w.trigger)),
        );
        if let Some(was) = was.filter(|_| was_mode != is_mode) {
            // An addition does not change the mode of what is there: take that out first.
            changes.push(fd, filter, EV_DELETE, was.token);
        }
        if let (Some(is), Some(mode)) = (is, is_mode) {
            changes.push(fd, filter, EV_ADD | EV_ENABLE | mode, is.token);
        }
    }
    changes
}

/// The changes that ask anew for some directions of what is registered.
pub(super) fn rearming(fd: usize, wanted: &Wanted, directions: Interest) -> Changes {
    let mut changes = Changes::new();
    for (filter, bit) in FILTERS {
        if directions.contains(bit) && wanted.interest.contains(bit) {
            changes.push(
                fd,
                filter,
                EV_ADD | EV_ENABLE | mode(filter, wanted.trigger),
                wanted.token,
            );
        }
    }
    changes
}

/// The changes that, after a failure half-way, restore what was. Nobody knows what is there
/// by then, so all is taken out first, and errors are of no interest.
pub(super) fn undoing(fd: usize, old: Option<&Wanted>) -> Changes {
    let mut changes = Changes::new();
    for (filter, bit) in FILTERS {
        changes.push(fd, filter, EV_DELETE, 0);
        if let Some(old) = old.filter(|wanted| wanted.interest.contains(bit)) {
            changes.push(fd, filter, EV_ADD | mode(filter, old.trigger), old.token);
        }
    }
    changes
}

/// A change that alters nothing, and fails with `ENOENT` where there is nothing to alter.
pub(super) fn probing(fd: usize, wanted: &Wanted) -> Changes {
    let mut changes = Changes::new();
    for (filter, bit) in FILTERS {
        if wanted.interest.contains(bit) {
            changes.push(fd, filter, 0, wanted.token);
        }
    }
    changes
}

/// What the receipts of a changelist amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// Done, but the kernel refused to watch a pipe for writing, whose reader has gone. It
    /// is for us to report that it is closed.
    Broken,
    /// The first real error.
    Failed(i32),
}

/// Sums the receipts up. `open` says that the descriptor is open, so that `EBADF` means something
/// else.
pub(super) fn outcome(changes: &Changes, errors: &[i32], open: bool) -> Outcome {
    let mut outcome = Outcome::Done;
    for (change, &error) in changes.as_slice().iter().zip(errors) {
        let deleting = change.flags & EV_DELETE != 0;
        match error {
            0 => {}
            // Gone already: an end of file takes filters away on some systems, closing the
            // descriptor does on all.
            errno::ENOENT | errno::EBADF if deleting => {}
            errno::EPIPE if !deleting => outcome = Outcome::Broken,
            errno::EBADF if open && change.filter == Filter::Write => outcome = Outcome::Broken,
            code => return Outcome::Failed(code),
        }
    }
    outcome
}

/// What a kqueue event says, in our words.
///
/// Each filter speaks of its own direction only. An end of file with an error in `fflags`
/// is a broken connection, and the error stays for `SO_ERROR` or the next call.
pub(super) fn reported(event: &Kevent) -> Readiness {
    let eof = event.flags & EV_EOF != 0;
    let (ready, closed) = match event.filter {
        Filter::Read => (Readiness::READ, Readiness::READ_CLOSED),
        Filter::Write => (Readiness::WRITE, Readiness::WRITE_CLOSED),
        Filter::User | Filter::Other(_) => return Readiness::NONE,
    };
    match (eof, event.fflags) {
        (false, _) => ready,
        (true, 0) => ready | closed,
        // As with epoll, an error ends the waiting in both directions.
        (true, _) => closed | Readiness::ERROR | Readiness::READ | Readiness::WRITE,
    }
}

#[cfg(test)]
mod tests;
