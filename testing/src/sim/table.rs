//! The tables of the kernel: numbers lead to open files, and files to who watches them.
//!
//! As in the system's own: a number is the lowest that is free, several numbers may lead to one
//! file, and a file goes with the last of them. A poller watches a *file* under a *number*, so a
//! file that lives on under another number goes on being reported (R004).

use super::faults::Faults;
use super::knotes::Knotes;
use super::net::FIRST_PORT;
use super::open_files::{Body, Datagrams, File, bits};
use super::streams::{self, Endpoint};
use super::virtual_wait::{REAL_TIMEOUT, Trace};
use super::watch_list::WatchList;
use super::{DESCRIPTORS, FIRST_NUMBER, os};
use readily_sys::errno::{EBADF, EINVAL, EMFILE};
use readily_sys::kq_abi::Personality;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Files have small numbers that nobody chooses: to spread them is enough.
#[derive(Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Where a number stands in the table; `None` for one of the system's.
fn place(number: i32) -> Option<usize> {
    usize::try_from(number.checked_sub(FIRST_NUMBER)?).ok()
}

pub(super) struct Table {
    /// Which number leads to which file, from [`FIRST_NUMBER`] on.
    numbers: Vec<Option<u64>>,
    open: usize,
    /// The places in `numbers` that lead nowhere: the lowest is given out next.
    free: BTreeSet<usize>,
    pub(super) files: HashMap<u64, File, BuildHasherDefault<Spread>>,
    made: u64,
    pub(super) limit: usize,
    pub(super) bound: BTreeMap<SocketAddr, u64>,
    pub(super) next_port: u16,
    /// What each poller watches; its place is its name.
    pub(super) watches: Vec<WatchList>,
    /// The same for kqueues.
    pub(super) queues: Vec<Knotes>,
    /// The system whose sockets these are: Linux until a kqueue is made.
    pub(super) system: Option<Personality>,
    pub(super) faults: Faults,
    /// Timers that have not expired, the next one first.
    due: BTreeSet<(u64, u64)>,
    /// As many guards hold the time still.
    pub(super) pauses: usize,
    /// How long a wait lasts, in real time, where only a ring can end it.
    pub(super) real_timeout: Duration,
    /// Whether the last wait looked, and found nothing.
    pub(super) idle: bool,
    /// What has happened, if somebody wants to know.
    pub(super) trace: Option<Trace>,
}

impl Table {
    pub(super) fn new(faults: Faults) -> Self {
        Self {
            numbers: Vec::new(),
            open: 0,
            free: BTreeSet::new(),
            files: HashMap::default(),
            made: 0,
            limit: DESCRIPTORS,
            bound: BTreeMap::new(),
            next_port: FIRST_PORT,
            watches: Vec::new(),
            queues: Vec::new(),
            system: None,
            faults,
            due: BTreeSet::new(),
            pauses: 0,
            real_timeout: REAL_TIMEOUT,
            idle: false,
            trace: None,
        }
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    pub(super) fn room_for(&self, count: usize) -> io::Result<()> {
        match self.open() + count <= self.limit {
            true => Ok(()),
            false => Err(os(EMFILE)),
        }
    }

    /// Whether `number` is one that may be given out.
    pub(super) fn is_allowed(&self, number: i32) -> bool {
        place(number).is_some_and(|place| place < self.limit)
    }

    pub(super) fn add(&mut self, body: Body) -> u64 {
        let file = self.made;
        self.made += 1;
        let added = File {
            descriptors: 0,
            body,
            watchers: Vec::new(),
            noted: Vec::new(),
        };
        self.files.insert(file, added);
        file
    }

    /// Gives `file` the lowest number that is free.
    pub(super) fn number(&mut self, file: u64) -> i32 {
        let free = self.free.first().copied().unwrap_or(self.numbers.len());
        let number = FIRST_NUMBER + i32::try_from(free).expect("the limit is far below");
        self.give(file, number);
        number
    }

    /// Gives `file` this number, which nobody has.
    pub(super) fn give(&mut self, file: u64, number: i32) {
        let place = place(number).expect("it is a number of ours");
        let end = self.numbers.len();
        if end <= place {
            self.free.extend(end..place);
            self.numbers.resize(place + 1, None);
        } else {
            self.free.remove(&place);
        }
        self.numbers[place] = Some(file);
        self.open += 1;
        self.at(file).descriptors += 1;
    }

    /// Which file `number` leads to.
    pub(super) fn file(&self, number: i32) -> io::Result<u64> {
        let file = place(number).and_then(|place| *self.numbers.get(place)?);
        file.ok_or_else(|| os(EBADF))
    }

    pub(super) fn at(&mut self, file: u64) -> &mut File {
        self.files.get_mut(&file).expect("the file is open")
    }

    pub(super) fn get(&self, file: u64) -> Option<&File> {
        self.files.get(&file)
    }

    pub(super) fn endpoint(&mut self, file: u64) -> &mut Endpoint {
        match &mut self.at(file).body {
            Body::Endpoint(end) => end,
            _ => unreachable!("it is the end of a stream or a pipe"),
        }
    }

    pub(super) fn datagrams(&mut self, file: u64) -> &mut Datagrams {
        match &mut self.at(file).body {
            Body::Datagrams(datagrams) => datagrams,
            _ => unreachable!("it is a datagram socket"),
        }
    }

    /// What `poll(2)` would say of it.
    pub(super) fn bits(&self, file: u64, now_ns: u64) -> u16 {
        let end_at = |file| match self.get(file).map(|file| &file.body) {
            Some(Body::Endpoint(end)) => Some(end),
            _ => None,
        };
        let Some(file) = self.get(file) else { return 0 };
        let either = |bits, holds| if holds { bits } else { 0 };
        match &file.body {
            Body::Endpoint(end) => streams::bits_of(end, end.peer.and_then(end_at)),
            Body::Listener(listener) => either(bits::IN, !listener.queue.is_empty()),
            Body::Datagrams(here) => {
                let there = here.peer.and_then(|peer| self.get(peer));
                let room = match there.map(|file| &file.body) {
                    Some(Body::Datagrams(there)) => there.input.len() < Datagrams::ROOM,
                    _ => true,
                };
                either(bits::IN, !here.input.is_empty())
                    | either(bits::OUT, room)
                    | either(bits::ERR, here.error.is_some())
            }
            Body::Regular { .. } => bits::IN | bits::OUT,
            Body::Timer { due_ns } => either(bits::IN, due_ns.is_some_and(|due| due <= now_ns)),
            Body::Notifier { count } => either(bits::IN, *count > 0) | bits::OUT,
        }
    }

    /// The same for a poller that asks for `events`. One that finds no room is told of some later,
    /// as who wrote in vain is: `tcp_poll()` leaves the same mark as `tcp_sendmsg()`.
    pub(super) fn bits_for(&mut self, events: u16, file: u64, now_ns: u64) -> u16 {
        let said = self.bits(file, now_ns);
        if events & bits::OUT & !said != 0 {
            if let Some(Body::Endpoint(end)) = self.files.get_mut(&file).map(|file| &mut file.body)
            {
                end.wants_room = true;
            }
        }
        said
    }

    /// Closes a number, and the file with its last one.
    pub(super) fn close(&mut self, number: i32) {
        let Some(place) = place(number) else { return };
        let Some(file) = self.numbers.get_mut(place).and_then(Option::take) else {
            return;
        };
        self.free.insert(place);
        self.open -= 1;
        self.remove_knotes(number, file);
        let open = self.at(file);
        open.descriptors -= 1;
        if open.descriptors == 0 {
            self.discard(file);
        }
    }

    pub(super) fn discard(&mut self, file: u64) {
        let Some(gone) = self.files.remove(&file) else {
            return;
        };
        for (poller, number) in gone.watchers {
            self.watches[poller].forget((number, file));
        }
        match gone.body {
            Body::Endpoint(end) => self.close_stream(&end),
            Body::Datagrams(datagrams) => {
                if let Some(peer) = datagrams.peer {
                    let there = self.datagrams(peer);
                    (there.peer, there.gone) = (None, true);
                    self.wake(peer, bits::OUT);
                }
            }
            Body::Listener(listener) => {
                self.bound.remove(&listener.addr);
                for end in listener.queue {
                    self.endpoint(end).resets = true;
                    self.discard(end);
                }
                for client in listener.waiting {
                    self.refuse(client);
                }
            }
            Body::Timer { due_ns } => {
                if let Some(due) = due_ns {
                    self.due.remove(&(due, file));
                }
            }
            Body::Regular { .. } | Body::Notifier { .. } => {}
        }
    }

    /// Sets a timer to a moment, or stops it.
    pub(super) fn set_timer(&mut self, file: u64, new_ns: Option<u64>) -> io::Result<()> {
        let Body::Timer { due_ns } = &mut self.at(file).body else {
            return Err(os(EINVAL));
        };
        let old = std::mem::replace(due_ns, new_ns);
        // In this order: both may be the same moment.
        if let Some(old) = old {
            self.due.remove(&(old, file));
        }
        self.due.extend(new_ns.map(|new| (new, file)));
        Ok(())
    }

    /// The next moment at which something comes about by itself.
    pub(super) fn next_due(&self) -> Option<u64> {
        let timers = self.queues.iter().filter_map(|queue| queue.timer);
        let all = timers.chain(self.due.first().copied());
        all.map(|(due, _)| due).min()
    }

    /// Tells of the timers that have become due.
    pub(super) fn notify_of_timers(&mut self, now_ns: u64) {
        while let Some(&(due, file)) = self.due.first() {
            if due > now_ns {
                return;
            }
            self.due.pop_first();
            self.wake(file, bits::IN);
        }
    }

    /// Adds a line to the trace, if there is one.
    pub(super) fn trace_line(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.add(line);
        }
    }
}
