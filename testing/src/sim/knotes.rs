//! The registrations of a kqueue, each with a number and a filter, and the filter functions.
//!
//! There is one filter function for each kind of file. `kqueue.rs` applies changes and collects events.

use super::open_files::{Body, bits};
use super::streams::{Endpoint, Kind, State};
use super::table::Table;
use super::watch_list::ReadyList;
use readily_sys::kq_abi::{EV_ONESHOT, Personality};
use std::collections::BTreeMap;

/// The name of a registration: its number, and whether its filter is `EVFILT_WRITE`.
pub(super) type KnoteName = (i32, bool);

/// A registration.
pub(super) struct Knote {
    pub(super) file: u64,
    pub(super) udata: u64,
    /// `EV_CLEAR`, `EV_DISPATCH` and `EV_ONESHOT`, as in its first addition.
    pub(super) mode: u32,
    pub(super) enabled: bool,
    /// Changes of the file do not activate it any more.
    pub(super) is_detached: bool,
    /// The least amount that activates it (`NOTE_LOWAT`).
    pub(super) low_water: i64,
    /// Whether it is in the ready list.
    pub(super) is_ready: bool,
}

/// The registrations of one kqueue, and its ready list.
pub(super) struct Knotes {
    pub(super) personality: Personality,
    pub(super) knotes: BTreeMap<KnoteName, Knote>,
    pub(super) ready: ReadyList<KnoteName>,
    /// The only `EVFILT_TIMER` that the poller registers: its due time and its token.
    pub(super) timer: Option<(u64, u64)>,
}

impl Knotes {
    pub(super) fn new(personality: Personality) -> Self {
        Self {
            personality,
            knotes: BTreeMap::new(),
            ready: ReadyList::default(),
            timer: None,
        }
    }

    /// Activates a registration if the output of its filter does so.
    pub(super) fn evaluate(&mut self, name: KnoteName, output: &FilterOutput) {
        let holds = |knote: &Knote| output.activates(knote.low_water);
        if self.knotes.get(&name).is_some_and(holds) {
            self.activate(name);
        }
    }

    /// [`evaluate`](Self::evaluate) after a change of the file, to which a detached registration does not
    /// react.
    fn notify(&mut self, name: KnoteName, output: &FilterOutput) {
        if self
            .knotes
            .get(&name)
            .is_some_and(|knote| !knote.is_detached)
        {
            self.evaluate(name, output);
        }
    }

    fn activate(&mut self, name: KnoteName) {
        if let Some(knote) = self.knotes.get_mut(&name) {
            if knote.enabled && !knote.is_ready {
                knote.is_ready = true;
                self.ready.push_back(name);
            }
        }
    }

    /// Removes a registration.
    pub(super) fn remove(&mut self, name: KnoteName) -> Option<()> {
        if self.knotes.remove(&name)?.is_ready {
            self.ready.remove(name);
        }
        Some(())
    }
}

/// What a filter reports.
#[derive(Default)]
pub(super) struct FilterOutput {
    pub(super) holds: bool,
    /// An error is pending, which is no end.
    has_error: bool,
    pub(super) eof: bool,
    pub(super) error: u32,
    pub(super) data: i64,
    /// The largest low-water mark that counts.
    max_low_water: i64,
}

impl FilterOutput {
    /// Whether this activates a registration with a low-water mark.
    pub(super) fn activates(&self, low_water: i64) -> bool {
        self.holds && (self.eof || self.has_error || self.data >= low_water.min(self.max_low_water))
    }

    fn amount(data: usize) -> Self {
        Self {
            holds: data > 0,
            data: i64::try_from(data).unwrap_or(i64::MAX),
            ..Self::default()
        }
    }

    /// Sets the size of the buffer: on macOS a low-water mark is at most the size.
    fn with_buffer(self, size: usize, personality: Personality) -> Self {
        let max_low_water = match personality {
            Personality::Apple => i64::try_from(size).unwrap_or(i64::MAX),
            _ => i64::MAX,
        };
        Self {
            max_low_water,
            ..self
        }
    }

    /// Sets whether the direction is at its end, and the error of that end.
    fn with_end(self, eof: bool, error: Option<i32>) -> Self {
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

fn filter_of_endpoint(
    end: &Endpoint,
    peer: Option<&Endpoint>,
    writes: bool,
    on: Personality,
) -> FilterOutput {
    match (end.kind, writes) {
        // A reading filter on either end of a pipe reports that the other end is closed.
        (Kind::PipeReader | Kind::PipeWriter, false) => {
            FilterOutput::amount(end.input.len()).with_end(peer.is_none(), None)
        }
        (Kind::PipeWriter, true) => match peer {
            Some(reader) => FilterOutput::amount(reader.room()),
            None => FilterOutput::default().with_end(true, None),
        },
        // A writing filter on the reading end is accepted. Pipes of FreeBSD are bidirectional. On NetBSD
        // the filter reports nothing, because the closing end drops the filters that wait for room in it.
        (Kind::PipeReader, true) => match (on, peer) {
            (Personality::NetBsd, _) => FilterOutput::default(),
            (_, None) => FilterOutput::default().with_end(true, None),
            (Personality::FreeBsd, _) => FilterOutput::amount(Endpoint::ROOM),
            _ => FilterOutput::default(),
        },
        _ if end.state != State::Connected => FilterOutput::default(),
        (_, false) => FilterOutput::amount(end.input.len())
            .with_buffer(end.capacity, on)
            .with_end(end.read_shut, end.error),
        (_, true) => {
            let room = peer.map_or(Endpoint::ROOM, Endpoint::room);
            let room = if end.write_shut { 0 } else { room };
            FilterOutput::amount(room)
                .with_buffer(peer.map_or(Endpoint::ROOM, |peer| peer.capacity), on)
                .with_end(end.write_shut, end.error)
        }
    }
}

impl Table {
    pub(super) fn filter(
        &self,
        file: u64,
        writes: bool,
        now_ns: u64,
        on: Personality,
    ) -> FilterOutput {
        let end_at = |file| match self.get(file).map(|file| &file.body) {
            Some(Body::Endpoint(end)) => Some(end),
            _ => None,
        };
        match self.get(file).map(|file| &file.body) {
            None => FilterOutput::default(),
            Some(Body::Endpoint(end)) => {
                filter_of_endpoint(end, end.peer.and_then(end_at), writes, on)
            }
            Some(Body::Listener(listener)) if !writes => FilterOutput::amount(listener.queue.len()),
            Some(Body::Datagrams(datagrams)) if datagrams.error.is_some() => FilterOutput {
                holds: true,
                has_error: true,
                ..FilterOutput::default()
            },
            Some(_) => {
                let bit = match writes {
                    true => bits::OUT,
                    false => bits::IN,
                };
                FilterOutput::amount(usize::from(self.bits(file, now_ns) & bit != 0))
            }
        }
    }

    /// Updates the writing filters of `file` when the other end of its pipe is closed. In a BSD the list
    /// of these filters belongs to the closed end.
    pub(super) fn detach_write_filters(&mut self, file: u64) {
        let knotes = self
            .get(file)
            .map_or(Vec::new(), |open| open.knotes.clone());
        for (queue, number) in knotes {
            let queue = &mut self.kqueues[queue];
            let Some(knote) = queue.knotes.get_mut(&(number, true)) else {
                continue;
            };
            match queue.personality {
                // Reported once more, and removed with that report.
                Personality::FreeBsd => knote.mode |= EV_ONESHOT,
                // Woken before the end is marked, and then detached. A filter that had room is in the
                // ready list, and reports the end when it is collected; a filter without room does not.
                Personality::NetBsd => knote.is_detached = true,
                _ => {}
            }
        }
    }

    /// Evaluates the filters of `file` for one direction, as `KNOTE()` does in a BSD.
    pub(super) fn run_filters(&mut self, file: u64, writes: bool) {
        let Some(open) = self.get(file) else { return };
        for (queue, number) in open.knotes.clone() {
            let on = self.kqueues[queue].personality;
            let output = self.filter(file, writes, u64::MAX, on);
            self.kqueues[queue].notify((number, writes), &output);
        }
    }

    /// Removes the registrations of a number that is closed, even if the file stays open under another.
    pub(super) fn remove_knotes(&mut self, number: i32, file: u64) {
        let Some(open) = self.get(file) else { return };
        let of_number = open.knotes.iter().filter(|(_, other)| *other == number);
        let queues: Vec<usize> = of_number.map(|(queue, _)| *queue).collect();
        self.at(file).knotes.retain(|(_, other)| *other != number);
        for queue in queues {
            for writes in [false, true] {
                self.kqueues[queue].remove((number, writes));
            }
        }
    }
}
