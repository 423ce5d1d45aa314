//! Translates one registration into two filters of a kqueue, and their events back.
//!
//! All functions take and return plain values, so that rules which otherwise only a real BSD could show
//! are tested anywhere: the flags of each trigger, the errors to ignore, the undoing of a half-done
//! change, the meaning of an end of file. `filters.rs` decides which filters there are.
//!
//! In the notes this is what "kqueue on macOS" hides (N2).

use readily_sys::errno;
use readily_sys::kq_abi::{
    EV_ADD, EV_CLEAR, EV_DELETE, EV_DISPATCH, EV_ENABLE, EV_EOF, EV_RECEIPT, Filter, Kevent,
    NOTE_LOWAT,
};
use readily_sys::poll::FileKind;

use super::filters::{CLOSED, DIRECTIONS, Filters, Known, Mode, OVER, place};
use crate::poll::{Interest, Readiness};

/// A changelist: at most a removal and an addition for each of two filters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changes {
    list: [Kevent; 4],
    len: usize,
}

/// A threshold that no number of bytes reaches.
const NO_AMOUNT: i64 = i32::MAX as i64;

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

    fn push(&mut self, fd: usize, at: usize, flags: u32, udata: u64, least: Option<i64>) {
        // Each change has the token and the threshold, because it replaces both.
        self.list[self.len] = Kevent {
            ident: fd,
            filter: DIRECTIONS[at].filter,
            flags: flags | EV_RECEIPT,
            fflags: if least.is_some() { NOTE_LOWAT } else { 0 },
            data: least.unwrap_or(0),
            udata,
        };
        self.len += 1;
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[Kevent] {
        &self.list[..self.len]
    }
}

#[inline]
fn flags(mode: Mode) -> u32 {
    match mode {
        Mode::Level => 0,
        Mode::Edge | Mode::End => EV_CLEAR,
        Mode::Dispatch => EV_DISPATCH,
    }
}

/// The number of bytes that activates a filter; `None` leaves it to the system.
#[inline]
fn least(mode: Mode, known: &Known) -> Option<i64> {
    match (mode, known.kind) {
        _ if known.by_the_byte => Some(1),
        (Mode::End, FileKind::Socket) => Some(NO_AMOUNT),
        _ => None,
    }
}

/// The changes from the filters `from` to the filters `to`; filters in the directions `anew` are added
/// again even if they are the same.
///
/// Adding a filter again makes the kernel check its condition once more, which `modify` requires.
/// `EV_ENABLE` is set too, because an addition alone does not enable a filter that a dispatch has
/// disabled.
#[inline]
pub(super) fn changes(
    fd: usize,
    token: u64,
    known: &Known,
    from: Filters,
    to: Filters,
    anew: Interest,
) -> Changes {
    let mut changes = Changes::new();
    for at in [0, 1] {
        let differs = from[at] != to[at];
        if differs && from[at].is_some() {
            // An addition does not change the mode of an existing filter: delete that first.
            changes.push(fd, at, EV_DELETE, token, None);
        }
        if let Some(mode) = to[at] {
            if differs || anew.contains(DIRECTIONS[at].interest) {
                let flags = EV_ADD | EV_ENABLE | flags(mode);
                changes.push(fd, at, flags, token, least(mode, known));
            }
        }
    }
    changes
}

/// The changes that restore the old filters after a failure half-way. The state is unknown by then, so
/// all filters are removed first, and errors are ignored.
#[inline]
pub(super) fn undoing(fd: usize, token: u64, known: &Known, old: Filters) -> Changes {
    let mut changes = Changes::new();
    for at in [0, 1] {
        changes.push(fd, at, EV_DELETE, 0, None);
        if let Some(mode) = old[at] {
            changes.push(fd, at, EV_ADD | flags(mode), token, least(mode, known));
        }
    }
    changes
}

/// Changes that alter nothing, and fail with `ENOENT` if the filter does not exist.
#[inline]
pub(super) fn probing(fd: usize, token: u64, known: &Known, filters: Filters) -> Changes {
    let mut changes = Changes::new();
    for at in [0, 1] {
        if let Some(mode) = filters[at] {
            changes.push(fd, at, 0, token, least(mode, known));
        }
    }
    changes
}

/// The result of a changelist, from its receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The filters in the kernel now.
    pub(super) filters: Filters,
    /// The kernel refused to watch the writing end of a pipe without a reader. The poller must report
    /// that the pipe has ended.
    pub(super) broken: bool,
    /// A filter that was only for an end was refused, and would be refused again.
    pub(super) end_refused: bool,
}

/// Sums the receipts up, or returns the first error that counts. `open`: the descriptor is open, so
/// `EBADF` has another cause; `from`: the filters that were in the kernel.
#[inline]
pub(super) fn outcome(
    changes: &Changes,
    errors: &[i32],
    open: bool,
    [from, to]: [Filters; 2],
) -> Result<Outcome, i32> {
    let mut outcome = Outcome {
        filters: to,
        broken: false,
        end_refused: false,
    };
    for (change, &error) in changes.as_slice().iter().zip(errors) {
        let deleting = change.flags & EV_DELETE != 0;
        let at = usize::from(change.filter == Filter::Write);
        match error {
            0 => {}
            // Deleted already: an end of file deletes filters on some systems, closing the descriptor
            // does on all.
            errno::ENOENT | errno::EBADF if deleting => {}
            errno::EPIPE if !deleting => {
                outcome.broken = true;
                outcome.filters[at] = None;
            }
            errno::EBADF if open && change.filter == Filter::Write => {
                outcome.broken = true;
                outcome.filters[at] = None;
            }
            errno::EBADF => return Err(errno::EBADF),
            // A registration does not fail for a filter that its caller did not ask for.
            code if !deleting && to[at] == Some(Mode::End) => {
                // A filter that was only to be added again is still there. If it were recorded as
                // deleted, the next filter would be added without a deletion, and get its mode.
                outcome.filters[at] = from[at].filter(|_| from[at] == to[at]);
                outcome.end_refused |= code != errno::ENOMEM;
            }
            code => return Err(code),
        }
    }
    Ok(outcome)
}

/// The readiness for a kqueue event. `mode` is the mode of its filter in the kernel; `known` is
/// updated.
///
/// Each filter reports its own direction, and `known` has the last report of the other one: after
/// both have ended, each event reports both ends. On a pipe one end of file ends both directions,
/// because the other side is closed as a whole. An end with an error in `fflags` is a broken
/// connection and ends both, too; `SO_ERROR` or the next call returns the error.
#[inline]
pub(super) fn from_kevent(event: &Kevent, mode: Option<Mode>, known: &mut Known) -> Readiness {
    let Some(at) = place(event.filter) else {
        return Readiness::NONE;
    };
    let own = &DIRECTIONS[at];
    let eof = event.flags & EV_EOF != 0;
    let side = match known.kind {
        FileKind::Pipe => CLOSED,
        _ => own.closed,
    };
    known.ended = match eof {
        true => known.ended | side,
        false => known.ended.without(side),
    };
    let wants = !matches!(mode, None | Some(Mode::End));
    known.room_reported |= mode == Some(Mode::Dispatch) && own.filter == Filter::Write;
    let mut ready = match wants {
        true => own.ready,
        false => Readiness::NONE,
    };
    if eof {
        if wants {
            ready |= own.closed;
        }
        if event.fflags != 0 {
            // The connection is over as a whole, as with epoll, whatever the interest.
            known.ended = CLOSED;
            ready |= Readiness::ERROR;
        }
        if known.is_over() {
            ready |= OVER;
        }
    }
    ready
}

#[cfg(test)]
mod tests;
