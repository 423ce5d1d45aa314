//! What a kqueue watches: a number and a filter, and what the filter finds.
//!
//! Plain data, and one function for each kind of file; who goes through the list, and what a
//! change does, is in `queue.rs`.

use super::open_files::{Body, bits};
use super::streams::{Endpoint, Kind, State};
use super::table::Table;
use super::watch_list::ReadyList;
use readily_sys::kq_abi::{EV_ONESHOT, Personality};
use std::collections::BTreeMap;

/// A registration's name: a number, and whether it is about writing.
pub(super) type KnoteName = (i32, bool);

/// A registration.
pub(super) struct Knote {
    pub(super) file: u64,
    pub(super) udata: u64,
    /// `EV_CLEAR`, `EV_DISPATCH`, `EV_ONESHOT`: as it was added first.
    pub(super) mode: u32,
    pub(super) enabled: bool,
    /// No news reaches it any more.
    pub(super) deaf: bool,
    /// The least amount that counts (`NOTE_LOWAT`).
    pub(super) least: i64,
    /// Whether it is on the list.
    pub(super) listed: bool,
}

/// What one kqueue watches.
pub(super) struct Knotes {
    pub(super) personality: Personality,
    pub(super) knotes: BTreeMap<KnoteName, Knote>,
    pub(super) list: ReadyList<KnoteName>,
    /// `EVFILT_TIMER`: when it is due, and its token. Ours is the only one.
    pub(super) timer: Option<(u64, u64)>,
}

impl Knotes {
    pub(super) fn new(personality: Personality) -> Self {
        Self {
            personality,
            knotes: BTreeMap::new(),
            list: ReadyList::default(),
            timer: None,
        }
    }

    /// Puts a registration on the list, if what its filter has found activates it.
    pub(super) fn evaluate(&mut self, name: KnoteName, found: &Found) {
        let holds = |note: &Knote| found.activates(note.least);
        if self.knotes.get(&name).is_some_and(holds) {
            self.activate(name);
        }
    }

    /// [`evaluate`](Self::evaluate) for news of the file, to which a deaf registration does not react.
    fn tell(&mut self, name: KnoteName, found: &Found) {
        if self.knotes.get(&name).is_some_and(|note| !note.deaf) {
            self.evaluate(name, found);
        }
    }

    fn activate(&mut self, name: KnoteName) {
        if let Some(note) = self.knotes.get_mut(&name) {
            if note.enabled && !note.listed {
                note.listed = true;
                self.list.push_back(name);
            }
        }
    }

    /// Takes a registration out.
    pub(super) fn forget(&mut self, name: KnoteName) -> Option<()> {
        if self.knotes.remove(&name)?.listed {
            self.list.remove(name);
        }
        Some(())
    }
}

/// What a filter finds.
#[derive(Default)]
pub(super) struct Found {
    pub(super) holds: bool,
    /// An error waits, which is no end.
    failed: bool,
    pub(super) eof: bool,
    pub(super) error: u32,
    pub(super) data: i64,
    /// A larger amount than this is never asked for.
    most: i64,
}

impl Found {
    /// Whether it activates a registration that counts from `least` on.
    pub(super) fn activates(&self, least: i64) -> bool {
        self.holds && (self.eof || self.failed || self.data >= least.min(self.most))
    }

    fn amount(data: usize) -> Self {
        Self {
            holds: data > 0,
            data: i64::try_from(data).unwrap_or(i64::MAX),
            ..Self::default()
        }
    }

    /// The same of a buffer of this size: macOS does not ask for more than fits in.
    fn of(self, size: usize, personality: Personality) -> Self {
        let most = match personality {
            Personality::Apple => i64::try_from(size).unwrap_or(i64::MAX),
            _ => i64::MAX,
        };
        Self { most, ..self }
    }

    /// The same where the direction may be at its end.
    fn or_end(self, eof: bool, error: Option<i32>) -> Self {
        Self {
            holds: self.holds || eof || error.is_some(),
            eof,
            error: if eof {
                error.unwrap_or(0).unsigned_abs()
            } else {
                0
            },
            ..self
        }
    }
}

fn filter_of_end(end: &Endpoint, peer: Option<&Endpoint>, writes: bool, on: Personality) -> Found {
    match (end.kind, writes) {
        // The reading side of either end hears that the other end is gone.
        (Kind::PipeReader | Kind::PipeWriter, false) => {
            Found::amount(end.input.len()).or_end(peer.is_none(), None)
        }
        (Kind::PipeWriter, true) => match peer {
            Some(reader) => Found::amount(reader.room()),
            None => Found::default().or_end(true, None),
        },
        // The wrong end is accepted. FreeBSD's pipes go both ways; on NetBSD it stays silent, for
        // the end that closes forgets who has asked it for room.
        (Kind::PipeReader, true) => match (on, peer) {
            (Personality::NetBsd, _) => Found::default(),
            (_, None) => Found::default().or_end(true, None),
            (Personality::FreeBsd, _) => Found::amount(Endpoint::ROOM),
            _ => Found::default(),
        },
        _ if end.state != State::Connected => Found::default(),
        (_, false) => Found::amount(end.input.len())
            .of(end.capacity, on)
            .or_end(end.read_shut, end.error),
        (_, true) => {
            let room = peer.map_or(Endpoint::ROOM, Endpoint::room);
            let room = if end.write_shut { 0 } else { room };
            Found::amount(room)
                .of(peer.map_or(Endpoint::ROOM, |peer| peer.capacity), on)
                .or_end(end.write_shut, end.error)
        }
    }
}

impl Table {
    pub(super) fn filter(&self, file: u64, writes: bool, now_ns: u64, on: Personality) -> Found {
        let end_at = |file| match self.get(file).map(|file| &file.body) {
            Some(Body::Endpoint(end)) => Some(end),
            _ => None,
        };
        match self.get(file).map(|file| &file.body) {
            None => Found::default(),
            Some(Body::Endpoint(end)) => filter_of_end(end, end.peer.and_then(end_at), writes, on),
            Some(Body::Listener(listener)) if !writes => Found::amount(listener.queue.len()),
            Some(Body::Datagrams(datagrams)) if datagrams.error.is_some() => Found {
                holds: true,
                failed: true,
                ..Found::default()
            },
            Some(_) => {
                let bit = match writes {
                    true => bits::OUT,
                    false => bits::IN,
                };
                Found::amount(usize::from(self.bits(file, now_ns) & bit != 0))
            }
        }
    }

    /// A side of a pipe has gone: what becomes of the filters that ask the other one, `file`, for
    /// room. They hang on the side that goes.
    pub(super) fn orphan_writers(&mut self, file: u64) {
        let noted = self.get(file).map_or(Vec::new(), |open| open.noted.clone());
        for (queue, number) in noted {
            let queue = &mut self.queues[queue];
            let Some(note) = queue.knotes.get_mut(&(number, true)) else {
                continue;
            };
            match queue.personality {
                // Told once more, and dropped with that.
                Personality::FreeBsd => note.mode |= EV_ONESHOT,
                // Woken before the end is to be seen, and then forgotten: who has had room is on
                // the list and comes to see the end; who has had none does not.
                Personality::NetBsd => note.deaf = true,
                _ => {}
            }
        }
    }

    /// Lets those registrations of `file` look again that are about this direction.
    pub(super) fn touch(&mut self, file: u64, writes: bool) {
        let Some(open) = self.get(file) else { return };
        for (queue, number) in open.noted.clone() {
            let on = self.queues[queue].personality;
            let found = self.filter(file, writes, u64::MAX, on);
            self.queues[queue].tell((number, writes), &found);
        }
    }

    /// The number goes, and its registrations with it, whoever else has the file.
    pub(super) fn remove_knotes(&mut self, number: i32, file: u64) {
        let Some(open) = self.get(file) else { return };
        let of_number = open.noted.iter().filter(|(_, noted)| *noted == number);
        let queues: Vec<usize> = of_number.map(|(queue, _)| *queue).collect();
        self.at(file).noted.retain(|(_, noted)| *noted != number);
        for queue in queues {
            for writes in [false, true] {
                self.queues[queue].forget((number, writes));
            }
        }
    }
}
