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

/// No amount of bytes is as large.
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
        // Token and amount go along with every change, for every change replaces them.
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

    pub(super) fn as_slice(&self) -> &[Kevent] {
        &self.list[..self.len]
    }
}

fn flags(mode: Mode) -> u32 {
    match mode {
        Mode::Level => 0,
        Mode::Edge | Mode::End => EV_CLEAR,
        Mode::Dispatch => EV_DISPATCH,
    }
}

/// From how many bytes on a filter is to be activated, where that is not left to the system.
fn least(mode: Mode, known: &Known) -> Option<i64> {
    match (mode, known.kind) {
        _ if known.by_the_byte => Some(1),
        (Mode::End, FileKind::Socket) => Some(NO_AMOUNT),
        _ => None,
    }
}

/// The changes that lead from the filters that are there to others, and ask `anew` in these
/// directions.
///
/// Asking anew is an addition of what is there already: it looks at the state once more, which is
/// half of what `modify` is for. `EV_ENABLE` goes with it, as an addition alone does not bring
/// back what a dispatch has disabled.
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
            // An addition does not change the mode of what is there: take that out first.
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

/// A change that alters nothing, and fails with `ENOENT` where there is nothing to alter.
pub(super) fn probing(fd: usize, token: u64, known: &Known, filters: Filters) -> Changes {
    let mut changes = Changes::new();
    for at in [0, 1] {
        if let Some(mode) = filters[at] {
            changes.push(fd, at, 0, token, least(mode, known));
        }
    }
    changes
}

/// What the receipts of a changelist amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// What is in the kernel now.
    pub(super) filters: Filters,
    /// The kernel refused to watch the writing end of a pipe without a reader. The poller must report
    /// that the pipe has ended.
    pub(super) broken: bool,
    /// A filter that was for an end only was refused, and will be another time.
    pub(super) end_refused: bool,
}

/// Sums the receipts up, or gives the first real error. `open` says that the descriptor is open,
/// so that `EBADF` means something else; `from` is what was in the kernel.
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
            // Gone already: an end of file takes filters away on some systems, closing the
            // descriptor does on all.
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
                // One that was there already, and was only to be added again, is there still. Taken
                // for gone, it would lend its mode to the next filter, which never replaces it.
                outcome.filters[at] = from[at].filter(|_| from[at] == to[at]);
                outcome.end_refused |= code != errno::ENOMEM;
            }
            code => return Err(code),
        }
    }
    Ok(outcome)
}

/// What a kqueue event says, in our words. `mode` is how its filter is in the kernel; what is
/// known is brought up to date.
///
/// Each filter speaks of its own direction, and what the other one said last is remembered: where
/// both have ended, each event says so. In a pipe one end of file is both: the other side is gone
/// as a whole. So is what ends with an error in `fflags`, a broken connection; the error stays for
/// `SO_ERROR` or the next call.
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
