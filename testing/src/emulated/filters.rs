//! What a filter finds: the rules of three systems, as a pure function.
//!
//! In: what Linux says of a descriptor, asked a moment ago. Out: what `EVFILT_READ` or
//! `EVFILT_WRITE` of FreeBSD, macOS or NetBSD would say of it. No call is made here, so that each
//! rule is tried on values, and read beside the tables of `docs/platforms.md`.
//!
//! In the notes this is what "kqueue on macOS" hides (N2).

use readily_sys::errno::{EBADF, ECONNREFUSED, ECONNRESET, EINVAL, EPIPE};
use readily_sys::facts::{File, Tcp, TcpState};
use readily_sys::kq_abi::{Filter, NOTE_LOWAT, Personality};
use readily_sys::poll::{ERR, HUP, IN, OUT, RDHUP};

/// What Linux says of a descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    /// The answer of `poll(2)`.
    pub(super) bits: i16,
    /// Bytes to read; of a listener, connections to accept.
    pub(super) unread: usize,
    /// Bytes that can be written.
    pub(super) room: usize,
    pub(super) tcp: Option<Tcp>,
    pub(super) is_listener: bool,
    /// Of a Unix stream: it is connected, and its writing side is shut.
    pub(super) write_shut: bool,
}

impl Look {
    fn has(&self, bits: i16) -> bool {
        self.bits & bits != 0
    }
}

/// What a filter finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) holds: bool,
    pub(super) eof: bool,
    /// The socket's error, as this process numbers them.
    pub(super) error: u32,
    pub(super) data: i64,
    /// The registration goes once this is reported, as if it were a one-shot.
    pub(super) once: bool,
}

impl Found {
    const NOTHING: Self = Self {
        holds: false,
        eof: false,
        error: 0,
        data: 0,
        once: false,
    };

    /// A count, of which `ready` says that it is enough. At least one then: Linux cannot count
    /// everything.
    fn amount(data: usize, ready: bool) -> Self {
        let data = if ready { data.max(1) } else { data };
        Self {
            holds: ready,
            data: i64::try_from(data).unwrap_or(i64::MAX),
            ..Self::NOTHING
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

    /// Applies the low-water mark of `NOTE_LOWAT`; an end is reported all the same.
    pub(super) fn above(self, fflags: u32, least: i64) -> Self {
        let enough = fflags & NOTE_LOWAT == 0 || self.eof || self.data >= least;
        Self {
            holds: self.holds && enough,
            ..self
        }
    }
}

/// What the filter of `system` finds. `as_listener` says whether the socket was listening when the
/// registration was made.
pub(super) fn found(
    system: Personality,
    file: File,
    filter: Filter,
    look: &Look,
    as_listener: bool,
) -> Found {
    let writes = filter == Filter::Write;
    match file {
        File::Pipe { reads, named, .. } if !writes => pipe_reading(system, look, reads, named),
        File::Pipe { writes, named, .. } => pipe_writing(system, look, writes, named),
        File::Tcp | File::UnixStream if look.is_listener => match (system, as_listener) {
            _ if writes => Found::NOTHING,
            // It chooses the filter when a registration is made.
            (Personality::NetBsd, false) => Found::NOTHING,
            _ => Found::amount(look.unread, look.has(IN)),
        },
        File::Tcp => tcp(look, writes),
        File::UnixStream => unix(look, writes),
        // An error is no end, and is not named.
        File::Datagram => {
            let (amount, bit) = direction(look, writes);
            let eof = !writes && look.has(RDHUP);
            Found::amount(amount, look.has(bit | ERR)).end(eof, 0)
        }
        File::Device | File::Regular => Found::amount(1, true),
        File::Other => {
            let (amount, bit) = direction(look, writes);
            let eof = look.has(HUP) || !writes && look.has(RDHUP);
            Found::amount(amount, look.has(bit | ERR)).end(eof, 0)
        }
    }
}

fn direction(look: &Look, writes: bool) -> (usize, i16) {
    match writes {
        true => (look.room, OUT),
        false => (look.unread, IN),
    }
}

/// Reading from a pipe, also of the end that one writes to.
fn pipe_reading(system: Personality, look: &Look, reads: bool, named: bool) -> Found {
    match reads {
        // It goes through the file system there, which knows no end.
        true if named && system == Personality::Apple => Found::amount(look.unread, look.has(IN)),
        true => Found::amount(look.unread, look.has(IN)).end(look.has(HUP), 0),
        false if named => Found::NOTHING,
        // The wrong end is silent for as long as the pipe lives.
        false => Found::NOTHING.end(look.has(ERR), 0),
    }
}

/// Writing to a pipe, also of the end that one reads from.
fn pipe_writing(system: Personality, look: &Look, writes: bool, named: bool) -> Found {
    let dead = look.has(if writes { ERR } else { HUP });
    match (system, writes) {
        (Personality::Apple, true) if named => Found::amount(look.room, look.has(OUT)),
        (_, false) if named => Found::NOTHING,
        // Its pipes go both ways; and it clears the list of those who watch one that dies.
        (Personality::FreeBsd, _) => Found {
            once: dead && !named,
            ..Found::amount(look.room, !writes || look.has(OUT)).end(dead, 0)
        },
        (_, true) => Found::amount(look.room, look.has(OUT)).end(dead, 0),
        (Personality::Apple, false) => Found::NOTHING.end(dead, 0),
        (_, false) => Found::NOTHING,
    }
}

fn tcp(look: &Look, writes: bool) -> Found {
    let Some(tcp) = look.tcp else {
        return Found::NOTHING;
    };
    let over = tcp.state == TcpState::Closed && look.has(RDHUP);
    // What kind of error waits is not asked: that would take it.
    let error = match (look.has(ERR), tcp.was_connected) {
        (false, _) => 0,
        (true, true) => ECONNRESET,
        (true, false) => ECONNREFUSED,
    };
    if !over && matches!(tcp.state, TcpState::Connecting | TcpState::Closed) {
        return Found::NOTHING;
    }
    match writes {
        false => Found::amount(
            look.unread,
            look.has(IN) && (look.unread > 0 || !look.has(RDHUP)),
        )
        .end(look.has(RDHUP), error),
        true if over || tcp.state == TcpState::WriteShut => Found::NOTHING.end(true, error),
        true => Found::amount(look.room, look.has(OUT)),
    }
}

fn unix(look: &Look, writes: bool) -> Found {
    // Never connected: shut on no side, and hung up.
    if look.has(HUP) && !look.has(RDHUP) {
        return Found::NOTHING;
    }
    match writes {
        // `ECONNRESET` is Linux's own word for a peer that leaves something unread; elsewhere it
        // is an end.
        false => Found::amount(look.unread, look.unread > 0).end(look.has(RDHUP), 0),
        true if look.write_shut => Found::NOTHING.end(true, 0),
        true => Found::amount(look.room, look.has(OUT)),
    }
}

/// Whether a registration can be made, and the error if not.
pub(super) fn attach(
    system: Personality,
    file: File,
    filter: Filter,
    look: &Look,
    fflags: u32,
) -> Result<(), i32> {
    match (file, filter, system) {
        // On Apple's the end is reported instead.
        (
            File::Pipe { writes, named, .. },
            Filter::Write,
            Personality::FreeBsd | Personality::NetBsd,
        ) if !named && look.has(if writes { ERR } else { HUP }) => {
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

/// Whether a registration misses what epoll reports: NetBSD wakes the writers of a pipe before it
/// marks the end, so for a full pipe there is nothing to report then, nor later.
pub(super) fn is_deaf(system: Personality, file: File, filter: Filter, look: &Look) -> bool {
    let writes_to_pipe = matches!(file, File::Pipe { writes: true, .. }) && filter == Filter::Write;
    system == Personality::NetBsd && writes_to_pipe && look.has(ERR) && !look.has(OUT)
}

#[cfg(test)]
mod tests;
