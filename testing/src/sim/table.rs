//! The tables of the kernel: from descriptor numbers to open files, and from files to their watchers.
//!
//! The rules are those of Unix: a new descriptor gets the lowest free number, several numbers may refer
//! to one file, and the file is closed with the last of them. A poller watches a *file* under a *number*,
//! so a file that stays open under another number is still reported (a duplicate: R004).

use super::faults::Faults;
use super::knotes::Knotes;
use super::net::FIRST_PORT;
use super::open_files::{Body, Datagrams, File, bits};
use super::streams::{self, Endpoint};
use super::virtual_wait::{REAL_TIMEOUT, Trace};
use super::watch_list::WatchList;
use super::{Kernel, os, workers::Workers};
use readily::spi::BlockingJobs;
use readily_sys::errno::{EBADF, EINVAL, EMFILE};
use readily_sys::kq_abi::Personality;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// A fast hasher: the keys are consecutive numbers, which no input controls.
#[derive(Default)]
pub(super) struct FileHasher(u64);

impl Hasher for FileHasher {
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

/// Returns the index of a number in the table; `None` for a descriptor of the system.
fn index_of(number: i32) -> Option<usize> {
    usize::try_from(number.checked_sub(Kernel::FIRST_NUMBER)?).ok()
}

pub(super) struct Table {
    /// The file of each number, from [`Kernel::FIRST_NUMBER`] on.
    numbers: Vec<Option<u64>>,
    open: usize,
    /// The free indices of `numbers`; the lowest is assigned next.
    free: BTreeSet<usize>,
    pub(super) files: HashMap<u64, File, BuildHasherDefault<FileHasher>>,
    next_file: u64,
    pub(super) limit: usize,
    pub(super) bound: BTreeMap<SocketAddr, u64>,
    pub(super) next_port: u16,
    /// The registrations of each poller, by its index.
    pub(super) watch_lists: Vec<WatchList>,
    /// The registrations of each kqueue, by its index.
    pub(super) kqueues: Vec<Knotes>,
    /// The system whose rules the sockets follow; `None` is Linux.
    pub(super) system: Option<Personality>,
    pub(super) faults: Faults,
    /// The timers that have not expired, by their due times.
    due: BTreeSet<(u64, u64)>,
    /// How many guards stop the time.
    pub(super) pauses: usize,
    /// Where the jobs of thread pools run.
    pub(super) blocking_jobs: BlockingJobs,
    pub(super) workers: Workers,
    /// How long a wait lasts, in real time, if only a notification can end it.
    pub(super) real_timeout: Duration,
    /// Whether the last wait found no event.
    pub(super) idle: bool,
    /// The trace, if it is recorded.
    pub(super) trace: Option<Trace>,
}

impl Table {
    pub(super) fn new(faults: Faults) -> Self {
        Self {
            numbers: Vec::new(),
            open: 0,
            free: BTreeSet::new(),
            files: HashMap::default(),
            next_file: 0,
            limit: Kernel::DEFAULT_LIMIT,
            bound: BTreeMap::new(),
            next_port: FIRST_PORT,
            watch_lists: Vec::new(),
            kqueues: Vec::new(),
            system: None,
            faults,
            due: BTreeSet::new(),
            pauses: 0,
            blocking_jobs: BlockingJobs::AtOnce,
            workers: Workers::default(),
            real_timeout: REAL_TIMEOUT,
            idle: false,
            trace: None,
        }
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Checks that `count` more descriptors are allowed.
    pub(super) fn check_limit(&self, count: usize) -> io::Result<()> {
        match self.open() + count <= self.limit {
            true => Ok(()),
            false => Err(os(EMFILE)),
        }
    }

    /// Whether `number` is within the limit of descriptors.
    pub(super) fn is_allowed(&self, number: i32) -> bool {
        index_of(number).is_some_and(|index| index < self.limit)
    }

    pub(super) fn add(&mut self, body: Body) -> u64 {
        let file = self.next_file;
        self.next_file += 1;
        let added = File {
            descriptors: 0,
            body,
            watchers: Vec::new(),
            knotes: Vec::new(),
        };
        self.files.insert(file, added);
        file
    }

    /// Assigns the lowest free number to `file`, and returns it.
    pub(super) fn assign_number(&mut self, file: u64) -> i32 {
        let free = self.free.first().copied().unwrap_or(self.numbers.len());
        let number = Kernel::FIRST_NUMBER + i32::try_from(free).expect("the limit is far below");
        self.assign(file, number);
        number
    }

    /// Assigns a number, which must be free, to `file`.
    pub(super) fn assign(&mut self, file: u64, number: i32) {
        let index = index_of(number).expect("the number is one of this kernel");
        let end = self.numbers.len();
        if end <= index {
            self.free.extend(end..index);
            self.numbers.resize(index + 1, None);
        } else {
            self.free.remove(&index);
        }
        self.numbers[index] = Some(file);
        self.open += 1;
        self.at(file).descriptors += 1;
    }

    /// Returns the file of a number.
    pub(super) fn file(&self, number: i32) -> io::Result<u64> {
        let file = index_of(number).and_then(|index| *self.numbers.get(index)?);
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
            _ => unreachable!("the file is an end of a stream or a pipe"),
        }
    }

    pub(super) fn datagrams(&mut self, file: u64) -> &mut Datagrams {
        match &mut self.at(file).body {
            Body::Datagrams(datagrams) => datagrams,
            _ => unreachable!("the file is a datagram socket"),
        }
    }

    /// Returns the bits that `poll(2)` would report for `file`.
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

    /// [`bits`](Self::bits) for a poller with interest in `events`. If the poller finds no room, it gets a
    /// report of later room, as after a failed write: `tcp_poll()` sets the same flag as `tcp_sendmsg()`.
    pub(super) fn bits_for(&mut self, events: u16, file: u64, now_ns: u64) -> u16 {
        let bits = self.bits(file, now_ns);
        if events & bits::OUT & !bits != 0 {
            if let Some(Body::Endpoint(end)) = self.files.get_mut(&file).map(|file| &mut file.body)
            {
                end.no_space = true;
            }
        }
        bits
    }

    /// Closes a number, and the file with its last number.
    pub(super) fn close(&mut self, number: i32) {
        let Some(index) = index_of(number) else {
            return;
        };
        let Some(file) = self.numbers.get_mut(index).and_then(Option::take) else {
            return;
        };
        self.free.insert(index);
        self.open -= 1;
        self.remove_knotes(number, file);
        let open = self.at(file);
        open.descriptors -= 1;
        if open.descriptors == 0 {
            self.free_file(file);
        }
    }

    /// Removes a file that has no descriptor any more, and updates its peers and watchers.
    pub(super) fn free_file(&mut self, file: u64) {
        let Some(closed) = self.files.remove(&file) else {
            return;
        };
        for (poller, number) in closed.watchers {
            self.watch_lists[poller].remove((number, file));
        }
        match closed.body {
            Body::Endpoint(end) => self.close_stream(&end),
            Body::Datagrams(datagrams) => {
                if let Some(peer) = datagrams.peer {
                    let there = self.datagrams(peer);
                    (there.peer, there.peer_closed) = (None, true);
                    self.wake(peer, bits::OUT);
                }
            }
            Body::Listener(listener) => {
                self.bound.remove(&listener.addr);
                for end in listener.queue {
                    self.endpoint(end).resets = true;
                    self.free_file(end);
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

    /// Sets the due time of a timer, or stops it.
    pub(super) fn set_timer(&mut self, file: u64, new_ns: Option<u64>) -> io::Result<()> {
        let Body::Timer { due_ns } = &mut self.at(file).body else {
            return Err(os(EINVAL));
        };
        let old = std::mem::replace(due_ns, new_ns);
        // In this order, because both times may be equal.
        if let Some(old) = old {
            self.due.remove(&(old, file));
        }
        self.due.extend(new_ns.map(|new| (new, file)));
        Ok(())
    }

    /// Returns the time at which the next timer expires.
    pub(super) fn next_due(&self) -> Option<u64> {
        let timers = self.kqueues.iter().filter_map(|queue| queue.timer);
        let all = timers.chain(self.due.first().copied());
        all.map(|(due, _)| due).min()
    }

    /// Wakes the watchers of the timers that have expired.
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
