//! What a kqueue watches: a number and a filter, and what the filter finds.
//!
//! Plain data, and one function for each kind of file; who goes through the list, and what a
//! change does, is in `queue.rs`.

use super::ends::{End, Kind, State};
use super::files::{Body, bits};
use super::list::List;
use super::table::Table;
use std::collections::BTreeMap;

/// A registration's name: a number, and whether it is about writing.
pub(super) type NoteName = (i32, bool);

/// A registration.
pub(super) struct Note {
    pub(super) file: u64,
    pub(super) udata: u64,
    /// `EV_CLEAR`, `EV_DISPATCH`, `EV_ONESHOT`: as it was added first.
    pub(super) mode: u32,
    pub(super) enabled: bool,
    /// Whether it is on the list.
    pub(super) listed: bool,
}

/// What one kqueue watches.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) notes: BTreeMap<NoteName, Note>,
    pub(super) list: List<NoteName>,
}

impl Notes {
    pub(super) fn activate(&mut self, name: NoteName) {
        if let Some(note) = self.notes.get_mut(&name) {
            if note.enabled && !note.listed {
                note.listed = true;
                self.list.push_back(name);
            }
        }
    }

    /// Takes a registration out.
    pub(super) fn forget(&mut self, name: NoteName) -> Option<()> {
        if self.notes.remove(&name)?.listed {
            self.list.remove(name);
        }
        Some(())
    }
}

/// What a filter finds.
#[derive(Default)]
pub(super) struct Found {
    pub(super) holds: bool,
    pub(super) eof: bool,
    pub(super) error: u32,
    pub(super) data: i64,
}

impl Found {
    fn amount(data: usize) -> Self {
        Self {
            holds: data > 0,
            data: i64::try_from(data).unwrap_or(i64::MAX),
            ..Self::default()
        }
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

fn filter_of_end(end: &End, peer: Option<&End>, writes: bool) -> Found {
    match (end.kind, writes) {
        (Kind::PipeReader, false) => Found::amount(end.input.len()).or_end(peer.is_none(), None),
        (Kind::PipeWriter, true) => match peer {
            Some(reader) => Found::amount(reader.room()),
            None => Found::default().or_end(true, None),
        },
        // The wrong end is accepted, and silent.
        (Kind::PipeReader, true) | (Kind::PipeWriter, false) => Found::default(),
        _ if end.state != State::Connected => Found::default(),
        (_, false) => Found::amount(end.input.len()).or_end(end.read_shut, end.error),
        (_, true) => {
            let room = peer.map_or(End::ROOM, End::room);
            let room = if end.write_shut { 0 } else { room };
            Found::amount(room).or_end(end.write_shut, end.error)
        }
    }
}

impl Table {
    pub(super) fn filter(&self, file: u64, writes: bool, now_ns: u64) -> Found {
        let end_at = |file| match self.get(file).map(|file| &file.body) {
            Some(Body::End(end)) => Some(end),
            _ => None,
        };
        match self.get(file).map(|file| &file.body) {
            None => Found::default(),
            Some(Body::End(end)) => filter_of_end(end, end.peer.and_then(end_at), writes),
            Some(Body::Listener(listener)) if !writes => Found::amount(listener.queue.len()),
            Some(_) => {
                let bit = match writes {
                    true => bits::OUT,
                    false => bits::IN,
                };
                Found::amount(usize::from(self.bits(file, now_ns) & bit != 0))
            }
        }
    }

    /// Lets those registrations of `file` look again that are about this direction.
    pub(super) fn touch(&mut self, file: u64, writes: bool) {
        let Some(open) = self.get(file) else { return };
        if open.noted.is_empty() || !self.filter(file, writes, u64::MAX).holds {
            return;
        }
        for (queue, number) in open.noted.clone() {
            self.queues[queue].activate((number, writes));
        }
    }

    /// The number goes, and its registrations with it, whoever else has the file.
    pub(super) fn forget_notes(&mut self, number: i32, file: u64) {
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
