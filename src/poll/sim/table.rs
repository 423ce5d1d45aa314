//! The tables of the kernel: numbers lead to open files, and files to who watches them.
//!
//! As in the system's own: a number is the lowest that is free, several numbers may lead to one
//! file, and a file goes with the last of them. A poller watches a *file* under a *number*, so a
//! file that lives on under another number goes on being reported (R004).

use super::ends::{self, End, Kind, State};
use super::faults::Faults;
use super::files::{Body, Datagrams, File, Listener, bits};
use super::poller::Watch;
use super::{DESCRIPTORS, FIRST_NUMBER, os};
use readily_sys::errno::{
    EADDRINUSE, EAGAIN, EBADF, ECONNREFUSED, EINVAL, EMFILE, ENOTCONN, ENOTSOCK, EPIPE,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Shutdown, SocketAddr};

/// The first of the ports that are given out.
const FIRST_PORT: u16 = 49_152;

pub(super) struct Table {
    /// Which number leads to which file.
    numbers: BTreeMap<i32, u64>,
    files: BTreeMap<u64, File>,
    made: u64,
    pub(super) limit: usize,
    pub(super) bound: BTreeMap<SocketAddr, u64>,
    next_port: u16,
    /// What each poller watches; its place is its name.
    pub(super) watches: Vec<Watch>,
    pub(super) faults: Faults,
    /// Timers that have not expired, the next one first.
    due: BTreeSet<(u64, u64)>,
    /// As many guards hold the time still.
    pub(super) holds: usize,
    /// What has happened, if somebody wants to know.
    pub(super) trace: Option<String>,
}

impl Table {
    pub(super) fn new(faults: Faults) -> Self {
        Self {
            numbers: BTreeMap::new(),
            files: BTreeMap::new(),
            made: 0,
            limit: DESCRIPTORS,
            bound: BTreeMap::new(),
            next_port: FIRST_PORT,
            watches: Vec::new(),
            faults,
            due: BTreeSet::new(),
            holds: 0,
            trace: None,
        }
    }

    pub(super) fn open(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn room_for(&self, count: usize) -> io::Result<()> {
        match self.open() + count <= self.limit {
            true => Ok(()),
            false => Err(os(EMFILE)),
        }
    }

    pub(super) fn add(&mut self, body: Body) -> u64 {
        let file = self.made;
        self.made += 1;
        let added = File {
            descriptors: 0,
            body,
            watchers: Vec::new(),
        };
        self.files.insert(file, added);
        file
    }

    /// Gives `file` the lowest number that is free.
    pub(super) fn number(&mut self, file: u64) -> i32 {
        let taken = self.numbers.keys();
        let number = (FIRST_NUMBER..)
            .zip(taken)
            .find_map(|(free, &taken)| (free != taken).then_some(free))
            .unwrap_or(FIRST_NUMBER + self.numbers.len() as i32);
        self.give(file, number);
        number
    }

    /// Gives `file` this number, which nobody has.
    pub(super) fn give(&mut self, file: u64, number: i32) {
        self.numbers.insert(number, file);
        self.at(file).descriptors += 1;
    }

    /// Which file `number` leads to.
    pub(super) fn file(&self, number: i32) -> io::Result<u64> {
        self.numbers.get(&number).copied().ok_or_else(|| os(EBADF))
    }

    pub(super) fn at(&mut self, file: u64) -> &mut File {
        self.files.get_mut(&file).expect("the file is open")
    }

    pub(super) fn get(&self, file: u64) -> Option<&File> {
        self.files.get(&file)
    }

    pub(super) fn end(&mut self, file: u64) -> &mut End {
        match &mut self.at(file).body {
            Body::End(end) => end,
            _ => unreachable!("it is the end of a stream or a pipe"),
        }
    }

    pub(super) fn datagrams(&mut self, file: u64) -> &mut Datagrams {
        match &mut self.at(file).body {
            Body::Datagrams(datagrams) => datagrams,
            _ => unreachable!("it is a datagram socket"),
        }
    }

    fn listener(&mut self, file: u64) -> &mut Listener {
        match &mut self.at(file).body {
            Body::Listener(listener) => listener,
            _ => unreachable!("it is a listener"),
        }
    }

    /// What `poll(2)` would say of it.
    pub(super) fn bits(&self, file: u64, now_ns: u64) -> u16 {
        let end_at = |file| match self.get(file).map(|file| &file.body) {
            Some(Body::End(end)) => Some(end),
            _ => None,
        };
        let Some(file) = self.get(file) else { return 0 };
        let either = |bits, holds| if holds { bits } else { 0 };
        match &file.body {
            Body::End(end) => ends::bits_of(end, end.peer.and_then(end_at)),
            Body::Listener(listener) => either(bits::IN, !listener.queue.is_empty()),
            Body::Datagrams(here) => {
                let there = here.peer.and_then(|peer| self.get(peer));
                let room = match there.map(|file| &file.body) {
                    Some(Body::Datagrams(there)) => there.input.len() < Datagrams::ROOM,
                    _ => true,
                };
                either(bits::IN, !here.input.is_empty()) | either(bits::OUT, room)
            }
            Body::Regular { .. } => bits::IN | bits::OUT,
            Body::Timer { due_ns } => either(bits::IN, due_ns.is_some_and(|due| due <= now_ns)),
            Body::Notifier { count } => either(bits::IN, *count > 0) | bits::OUT,
        }
    }

    /// Tells all who watch `file` that something of `bits` may have come about.
    pub(super) fn wake(&mut self, file: u64, bits: u16) {
        let Some(open) = self.files.get(&file) else {
            return;
        };
        for &(poller, number) in &open.watchers {
            self.watches[poller].wake((number, file), bits);
        }
    }

    /// Closes a number, and the file with its last one.
    pub(super) fn close(&mut self, number: i32) {
        let Some(file) = self.numbers.remove(&number) else {
            return;
        };
        let open = self.at(file);
        open.descriptors -= 1;
        if open.descriptors == 0 {
            self.discard(file);
        }
    }

    fn discard(&mut self, file: u64) {
        let Some(gone) = self.files.remove(&file) else {
            return;
        };
        for (poller, number) in gone.watchers {
            self.watches[poller].forget((number, file));
        }
        match gone.body {
            Body::End(end) => self.close_end(&end),
            Body::Datagrams(datagrams) => {
                if let Some(peer) = datagrams.peer {
                    self.datagrams(peer).peer = None;
                    self.wake(peer, bits::OUT);
                }
            }
            Body::Listener(listener) => {
                self.bound.remove(&listener.addr);
                for end in listener.queue {
                    self.end(end).resets = true;
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

    pub(super) fn bind(&mut self, mut addr: SocketAddr) -> io::Result<SocketAddr> {
        if addr.port() == 0 {
            loop {
                addr.set_port(self.next_port);
                self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
                if !self.bound.contains_key(&addr) {
                    break;
                }
            }
        }
        match self.bound.contains_key(&addr) {
            true => Err(os(EADDRINUSE)),
            false => Ok(addr),
        }
    }

    pub(super) fn connect(&mut self, addr: SocketAddr) -> u64 {
        let client = self.add(Body::End(End::new(Kind::Tcp)));
        let mut local = addr;
        local.set_port(self.next_port);
        self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
        let end = self.end(client);
        end.state = State::Connecting;
        (end.local, end.remote) = (Some(local), Some(addr));
        match self.bound.get(&addr).copied() {
            None => self.refuse(client),
            Some(file) => {
                self.listener(file).waiting.push_back(client);
                self.let_in(file);
            }
        }
        client
    }

    /// Lets those in who wait before the queue of a listener.
    fn let_in(&mut self, file: u64) {
        loop {
            let listener = self.listener(file);
            if listener.queue.len() >= listener.backlog {
                return;
            }
            let Some(client) = listener.waiting.pop_front() else {
                return;
            };
            // One that gave up has gone.
            if self.get(client).is_none() {
                continue;
            }
            let server = self.add(Body::End(End::connected(Kind::Tcp)));
            self.join(client, server);
            let end = self.end(client);
            end.state = State::Connected;
            let (local, remote) = (end.local, end.remote);
            let end = self.end(server);
            (end.local, end.remote) = (remote, local);
            self.listener(file).queue.push_back(server);
            self.wake(client, bits::OUT);
            self.wake(file, bits::IN);
        }
    }

    fn refuse(&mut self, client: u64) {
        if self.get(client).is_none() {
            return;
        }
        let end = self.end(client);
        end.state = State::Connected;
        end.fail(ECONNREFUSED);
        self.wake(client, bits::ALL);
    }

    /// The next connection of a listener: its number, and whose it is.
    pub(super) fn accept(&mut self, file: u64) -> io::Result<(i32, Option<SocketAddr>)> {
        let Body::Listener(listener) = &mut self.at(file).body else {
            return Err(os(EINVAL));
        };
        if listener.queue.is_empty() {
            return Err(os(EAGAIN));
        }
        let chance = self.faults.emfile;
        if self.faults.strikes(chance) {
            return Err(os(EMFILE));
        }
        self.room_for(1)?;
        let end = self.listener(file).queue.pop_front();
        let end = end.expect("it was there a moment ago");
        let number = self.number(end);
        self.let_in(file);
        Ok((number, self.end(end).remote))
    }

    pub(super) fn read(&mut self, file: u64, buffer: &mut [u8], now_ns: u64) -> io::Result<usize> {
        match &mut self.at(file).body {
            Body::End(_) => self.read_end(file, buffer),
            Body::Listener(_) => Err(os(ENOTCONN)),
            Body::Datagrams(here) => {
                let datagram = here.input.pop_front().ok_or_else(|| os(EAGAIN))?;
                let n = datagram.len().min(buffer.len());
                buffer[..n].copy_from_slice(&datagram[..n]);
                if let Some(peer) = here.peer {
                    self.wake(peer, bits::OUT);
                }
                Ok(n)
            }
            Body::Regular { content, at } => {
                let rest = &content[(*at).min(content.len())..];
                let n = rest.len().min(buffer.len());
                buffer[..n].copy_from_slice(&rest[..n]);
                *at += n;
                Ok(n)
            }
            Body::Timer { due_ns } => match due_ns {
                Some(due) if *due <= now_ns => {
                    *due_ns = None;
                    number_into(1, buffer)
                }
                _ => Err(os(EAGAIN)),
            },
            Body::Notifier { count: 0 } => Err(os(EAGAIN)),
            Body::Notifier { count } => {
                let n = std::mem::take(count);
                self.wake(file, bits::OUT);
                number_into(n, buffer)
            }
        }
    }

    pub(super) fn write(&mut self, file: u64, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.at(file).body {
            Body::End(_) => self.write_end(file, bytes),
            Body::Listener(_) => Err(os(EPIPE)),
            Body::Datagrams(here) => {
                let peer = here.peer.ok_or_else(|| os(ECONNREFUSED))?;
                let there = self.datagrams(peer);
                if there.input.len() >= Datagrams::ROOM {
                    return Err(os(EAGAIN));
                }
                there.input.push_back(bytes.to_vec());
                self.wake(peer, bits::IN);
                Ok(bytes.len())
            }
            Body::Regular { content, at } => {
                content.truncate(*at);
                content.extend_from_slice(bytes);
                *at = content.len();
                Ok(bytes.len())
            }
            Body::Timer { .. } => Err(os(EINVAL)),
            Body::Notifier { count } => {
                let eight = bytes.first_chunk::<8>().ok_or_else(|| os(EINVAL))?;
                *count = count.saturating_add(u64::from_ne_bytes(*eight));
                self.wake(file, bits::IN);
                Ok(8)
            }
        }
    }

    pub(super) fn shutdown(&mut self, file: u64, how: Shutdown) -> io::Result<()> {
        match &self.at(file).body {
            Body::End(_) => self.shutdown_end(file, how),
            Body::Listener(_) | Body::Datagrams(_) => Err(os(ENOTCONN)),
            _ => Err(os(ENOTSOCK)),
        }
    }

    /// Sets a timer to a moment, or stops it.
    pub(super) fn set_timer(&mut self, file: u64, new_ns: Option<u64>) -> io::Result<()> {
        let Body::Timer { due_ns } = &mut self.at(file).body else {
            return Err(os(EINVAL));
        };
        let old = std::mem::replace(due_ns, new_ns);
        self.due.extend(new_ns.map(|new| (new, file)));
        if let Some(old) = old {
            self.due.remove(&(old, file));
        }
        Ok(())
    }

    /// The next moment at which something comes about by itself.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.due.first().map(|&(due, _)| due)
    }

    /// Tells of the timers that have become due.
    pub(super) fn tell_of_timers(&mut self, now_ns: u64) {
        while let Some(&(due, file)) = self.due.first() {
            if due > now_ns {
                return;
            }
            self.due.pop_first();
            self.wake(file, bits::IN);
        }
    }

    /// Adds a line to the trace, if there is one.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push_str(&line());
            trace.push('\n');
        }
    }
}

fn number_into(n: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let eight = buffer.first_chunk_mut::<8>().ok_or_else(|| os(EINVAL))?;
    *eight = n.to_ne_bytes();
    Ok(8)
}
