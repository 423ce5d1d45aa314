//! The filters of FreeBSD, macOS and NetBSD, as pure functions.
//!
//! A filter takes the state of a descriptor, as Linux has just reported it, and returns what
//! `EVFILT_READ` or `EVFILT_WRITE` of the emulated system would report. There are no system calls
//! here, so each rule can be tested on values and compared with the tables of `docs/platforms.md`.
//!
//! In the notes this is what "kqueue on macOS" hides (N2).

use super::fd_state::FdState;
use readily_sys::errno::{EBADF, ECONNREFUSED, ECONNRESET, EINVAL, EPIPE};
use readily_sys::facts::{File, TcpState};
use readily_sys::kq_abi::{Filter, NOTE_LOWAT, Personality};
use readily_sys::poll::{ERR, HUP, IN, OUT, RDHUP};

/// What a filter reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FilterOutput {
    /// The condition of the filter holds.
    pub(super) holds: bool,
    pub(super) eof: bool,
    /// The socket's error, as this process numbers them.
    pub(super) error: u32,
    pub(super) data: i64,
    /// The registration is removed when this is reported, as if it were a one-shot.
    pub(super) once: bool,
}

impl FilterOutput {
    const INACTIVE: Self = Self {
        holds: false,
        eof: false,
        error: 0,
        data: 0,
        once: false,
    };

    /// A count; `ready` is whether it is enough. If it is, the count is at least one, because Linux
    /// does not count everything.
    fn amount(data: usize, ready: bool) -> Self {
        let data = if ready { data.max(1) } else { data };
        Self {
            holds: ready,
            data: i64::try_from(data).unwrap_or(i64::MAX),
            ..Self::INACTIVE
        }
    }

    fn end(self, eof: bool, error: i32) -> Self {
        Self {
            holds: self.holds || eof,
            eof,
            error: if eof { error.unsigned_abs() } else { 0 },
            ..self
        }
    }

    /// Applies the low-water mark of `NOTE_LOWAT`, which does not hold an end back.
    pub(super) fn above(self, fflags: u32, low_water: i64) -> Self {
        let enough = fflags & NOTE_LOWAT == 0 || self.eof || self.data >= low_water;
        Self {
            holds: self.holds && enough,
            ..self
        }
    }
}

/// Returns what the filter of `system` reports. `as_listener` is whether the socket was listening when
/// the registration was made.
pub(super) fn evaluate(
    system: Personality,
    file: File,
    filter: Filter,
    state: &FdState,
    as_listener: bool,
) -> FilterOutput {
    let writes = filter == Filter::Write;
    match file {
        File::Pipe { reads, named, .. } if !writes => pipe_reading(system, state, reads, named),
        File::Pipe { writes, named, .. } => pipe_writing(system, state, writes, named),
        File::Tcp | File::UnixStream if state.is_listener => match (system, as_listener) {
            _ if writes => FilterOutput::INACTIVE,
            // NetBSD chooses the filter function when the registration is made.
            (Personality::NetBsd, false) => FilterOutput::INACTIVE,
            _ => FilterOutput::amount(state.unread, state.has(IN)),
        },
        File::Tcp => tcp(state, writes),
        File::UnixStream => unix(state, writes),
        // An error is no end, and `fflags` does not have it.
        File::Datagram => {
            let (amount, bit) = direction(state, writes);
            let eof = !writes && state.has(RDHUP);
            FilterOutput::amount(amount, state.has(bit | ERR)).end(eof, 0)
        }
        File::Device | File::Regular => FilterOutput::amount(1, true),
        File::Other => {
            let (amount, bit) = direction(state, writes);
            let eof = state.has(HUP) || !writes && state.has(RDHUP);
            FilterOutput::amount(amount, state.has(bit | ERR)).end(eof, 0)
        }
    }
}

fn direction(state: &FdState, writes: bool) -> (usize, i16) {
    match writes {
        true => (state.room, OUT),
        false => (state.unread, IN),
    }
}

/// `EVFILT_READ` of a pipe, on its reading or its writing end.
fn pipe_reading(system: Personality, state: &FdState, reads: bool, named: bool) -> FilterOutput {
    match reads {
        // A FIFO goes through the file system there, which has no end of file for it.
        true if named && system == Personality::Apple => {
            FilterOutput::amount(state.unread, state.has(IN))
        }
        true => FilterOutput::amount(state.unread, state.has(IN)).end(state.has(HUP), 0),
        false if named => FilterOutput::INACTIVE,
        // The writing end reports nothing while the pipe has a reader.
        false => FilterOutput::INACTIVE.end(state.has(ERR), 0),
    }
}

/// `EVFILT_WRITE` of a pipe, on its writing or its reading end.
fn pipe_writing(system: Personality, state: &FdState, writes: bool, named: bool) -> FilterOutput {
    let dead = state.has(if writes { ERR } else { HUP });
    match (system, writes) {
        (Personality::Apple, true) if named => FilterOutput::amount(state.room, state.has(OUT)),
        (_, false) if named => FilterOutput::INACTIVE,
        // Pipes of FreeBSD are bidirectional; and when one end closes, the list of its knotes is cleared.
        (Personality::FreeBsd, _) => FilterOutput {
            once: dead && !named,
            ..FilterOutput::amount(state.room, !writes || state.has(OUT)).end(dead, 0)
        },
        (_, true) => FilterOutput::amount(state.room, state.has(OUT)).end(dead, 0),
        (Personality::Apple, false) => FilterOutput::INACTIVE.end(dead, 0),
        (_, false) => FilterOutput::INACTIVE,
    }
}

fn tcp(state: &FdState, writes: bool) -> FilterOutput {
    let Some(tcp) = state.tcp else {
        return FilterOutput::INACTIVE;
    };
    let over = tcp.state == TcpState::Closed && state.has(RDHUP);
    // The error itself is not read: reading it would clear it.
    let error = match (state.has(ERR), tcp.was_connected) {
        (false, _) => 0,
        (true, true) => ECONNRESET,
        (true, false) => ECONNREFUSED,
    };
    if !over && matches!(tcp.state, TcpState::Connecting | TcpState::Closed) {
        return FilterOutput::INACTIVE;
    }
    match writes {
        false => FilterOutput::amount(
            state.unread,
            state.has(IN) && (state.unread > 0 || !state.has(RDHUP)),
        )
        .end(state.has(RDHUP), error),
        true if over || tcp.state == TcpState::WriteShut => FilterOutput::INACTIVE.end(true, error),
        true => FilterOutput::amount(state.room, state.has(OUT)),
    }
}

fn unix(state: &FdState, writes: bool) -> FilterOutput {
    // Never connected: `HUP` without a shutdown of either side.
    if state.has(HUP) && !state.has(RDHUP) {
        return FilterOutput::INACTIVE;
    }
    match writes {
        // Only Linux reports `ECONNRESET` for a Unix peer that leaves bytes unread; elsewhere it is an
        // end.
        false => FilterOutput::amount(state.unread, state.unread > 0).end(state.has(RDHUP), 0),
        true if state.write_shut => FilterOutput::INACTIVE.end(true, 0),
        true => FilterOutput::amount(state.room, state.has(OUT)),
    }
}

/// Checks whether a registration can be made; the error is that of the system.
pub(super) fn attach(
    system: Personality,
    file: File,
    filter: Filter,
    state: &FdState,
    fflags: u32,
) -> Result<(), i32> {
    match (file, filter, system) {
        // macOS reports the end instead.
        (
            File::Pipe { writes, named, .. },
            Filter::Write,
            Personality::FreeBsd | Personality::NetBsd,
        ) if !named && state.has(if writes { ERR } else { HUP }) => {
            Err(if system == Personality::NetBsd {
                EBADF
            } else {
                EPIPE
            })
        }
        (File::Device, _, Personality::Apple) if fflags & NOTE_LOWAT == 0 => Err(EINVAL),
        // FreeBSD's null device has no filters; NetBSD's is always ready.
        (File::Device, _, Personality::FreeBsd) => Err(EINVAL),
        (File::Regular, ..) => Err(EINVAL),
        _ => Ok(()),
    }
}

/// Whether a registration misses the end that epoll reports: NetBSD wakes the writers of a pipe before
/// it marks the end, so a full pipe has nothing to report at that moment, and is not evaluated again.
pub(super) fn misses_end(system: Personality, file: File, filter: Filter, state: &FdState) -> bool {
    let writes_to_pipe = matches!(file, File::Pipe { writes: true, .. }) && filter == Filter::Write;
    system == Personality::NetBsd && writes_to_pipe && state.has(ERR) && !state.has(OUT)
}

#[cfg(test)]
mod tests;
