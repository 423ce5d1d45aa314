//! Decides which filters a registration takes: those for its interest, and those that report the end.
//!
//! epoll reports a hangup unasked. A kqueue has no such report: a filter reports the end of its own
//! direction, and a hangup is the end of both. So a direction without interest may have a filter too,
//! of which only the end is reported. The decision uses plain values only, so that a test tries every
//! input.
//!
//! In the notes this is the *hangup* of N7, on the systems that do not have it.

use readily_sys::kq_abi::Filter;
use readily_sys::poll::FileKind;

use crate::poll::{Interest, Readiness, Trigger};

/// The parameters of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) token: u64,
    pub(super) interest: Interest,
    pub(super) trigger: Trigger,
}

/// The known state of a registered descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) kind: FileKind,
    /// The sides that have ended, from the last event of each filter: `READ_CLOSED`, `WRITE_CLOSED`.
    pub(super) ended: Readiness,
    /// Room was reported by a filter that the report disabled, and was not rearmed.
    pub(super) room_reported: bool,
    /// The kernel refused a filter that was only for an end. It is not tried again.
    pub(super) end_refused: bool,
    /// A device that macOS watches only from one byte on.
    pub(super) by_the_byte: bool,
}

impl Known {
    #[inline]
    pub(super) fn new(kind: FileKind) -> Self {
        Self {
            kind,
            ended: Readiness::NONE,
            room_reported: false,
            end_refused: false,
            by_the_byte: false,
        }
    }

    /// Whether both sides have ended.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.ended.contains(CLOSED)
    }
}

/// The mode of a filter in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Level,
    Edge,
    /// Reported once, and then disabled.
    Dispatch,
    /// Without interest in this direction: only its end is reported. On sockets no number of bytes
    /// activates the filter; on other files each arrival does, and is dropped.
    End,
}

/// The filters of a descriptor: for reading, for writing.
pub(super) type Filters = [Option<Mode>; 2];

/// A filter, with its interest and the facts that it reports.
pub(super) struct Direction {
    pub(super) filter: Filter,
    pub(super) interest: Interest,
    pub(super) ready: Readiness,
    pub(super) closed: Readiness,
}

pub(super) const DIRECTIONS: [Direction; 2] = [
    Direction {
        filter: Filter::Read,
        interest: Interest::READ,
        ready: Readiness::READ,
        closed: Readiness::READ_CLOSED,
    },
    Direction {
        filter: Filter::Write,
        interest: Interest::WRITE,
        ready: Readiness::WRITE,
        closed: Readiness::WRITE_CLOSED,
    },
];

/// Both sides have ended.
pub(super) const CLOSED: Readiness =
    Readiness::from_bits(Readiness::READ_CLOSED.bits() | Readiness::WRITE_CLOSED.bits());

/// The facts of a descriptor whose both sides have ended.
pub(super) const OVER: Readiness =
    Readiness::from_bits(CLOSED.bits() | Readiness::READ.bits() | Readiness::WRITE.bits());

/// The index of a filter in [`Filters`]; `None` for a filter without a descriptor.
#[inline]
pub(super) fn place(filter: Filter) -> Option<usize> {
    match filter {
        Filter::Read => Some(0),
        Filter::Write => Some(1),
        Filter::User | Filter::Timer | Filter::Other(_) => None,
    }
}

/// The mode of a filter for a trigger.
///
/// The edge of `Write` is a dispatch and not `EV_CLEAR`, which would report with every
/// acknowledgement from the peer, on connections that were never full. `EV_ONESHOT` is not used,
/// because it reports conditions that no longer hold; the kernel checks a dispatch once more.
#[inline]
fn mode(at: usize, trigger: Trigger) -> Mode {
    match (trigger, DIRECTIONS[at].filter) {
        (Trigger::Level, _) => Mode::Level,
        (Trigger::Edge, Filter::Read) => Mode::Edge,
        (Trigger::Edge, _) | (Trigger::OneShot, _) => Mode::Dispatch,
    }
}

/// Whether an edge of room was reported, which has disabled its filter; the disabled filter does not
/// report the end of writing either.
#[inline]
fn is_room_disabled(wanted: &Wanted, known: &Known) -> bool {
    known.room_reported
        && wanted.trigger == Trigger::Edge
        && wanted.interest.contains(Interest::WRITE)
}

/// The filters that a registration takes, in its known state.
///
/// A filter reports the end of its own direction only, and a hangup is both ends. So a direction
/// without interest is watched for its end in three cases: once the other one has ended; where no
/// other filter would report anything; and at the reading side of a pipe, because NetBSD does not
/// report to the writer of a full pipe that its reader has gone.
#[inline]
pub(super) fn filters(wanted: &Wanted, known: &Known) -> Filters {
    let is_pipe = known.kind == FileKind::Pipe;
    let disabled = is_room_disabled(wanted, known);
    let silent = !wanted.interest.contains(Interest::WRITE) || disabled;
    [0, 1].map(|at| {
        let (own, other) = (&DIRECTIONS[at], &DIRECTIONS[1 - at]);
        let other_ended = known.ended.contains(other.closed) && !is_pipe;
        let (takes, watched) = match own.filter {
            Filter::Read => (true, other_ended || silent || is_pipe),
            _ => (!(disabled && other_ended), other_ended),
        };
        match takes && wanted.interest.contains(own.interest) {
            true => Some(mode(at, wanted.trigger)),
            false => (watched && !known.end_refused).then_some(Mode::End),
        }
    })
}

/// Whether an event may have changed which filters are needed. Not after both sides have ended:
/// nothing else can be reported then.
#[inline]
pub(super) fn may_take_others(wanted: &Wanted, known: &Known) -> bool {
    match known.ended.intersects(CLOSED) {
        true => !known.is_over(),
        false => is_room_disabled(wanted, known) && !wanted.interest.contains(Interest::READ),
    }
}

/// Whether the poller has to repeat an end, because the trigger is level and no filter repeats it.
/// The filter for reading repeats its end; that for writing does too, but not on a pipe of FreeBSD
/// and NetBSD.
#[inline]
pub(super) fn repeats(wanted: &Wanted, known: &Known, ready: Readiness) -> bool {
    let silent = match wanted.interest & Interest::BOTH {
        Interest::NONE => true,
        Interest::WRITE => known.kind == FileKind::Pipe,
        _ => false,
    };
    silent && wanted.trigger == Trigger::Level && ready.is_hangup()
}

#[cfg(test)]
pub(super) mod tests;
