//! Open files of every kind, and the system calls that read, write and shut them. The ends of streams and
//! pipes are in `streams.rs`.
//!
//! Not in the notes; these are the things that a descriptor may lead to (N2).

use super::os;
use super::streams::Endpoint;
use super::table::Table;
use readily_sys::errno::{EAGAIN, ECONNREFUSED, EINVAL, ENOTCONN, ENOTSOCK, EPIPE};
use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr};

/// What a poller asks for and reports, as the bits of `poll(2)`.
pub(super) mod bits {
    pub(in crate::sim) const IN: u16 = 1;
    pub(in crate::sim) const PRI: u16 = 2;
    pub(in crate::sim) const OUT: u16 = 4;
    pub(in crate::sim) const ERR: u16 = 8;
    pub(in crate::sim) const HUP: u16 = 16;
    pub(in crate::sim) const RDHUP: u16 = 32;
    /// What is reported unasked.
    pub(in crate::sim) const UNASKED: u16 = ERR | HUP;
    pub(in crate::sim) const ALL: u16 = IN | PRI | OUT | RDHUP | UNASKED;
}

/// An open file: what several descriptors may share, and what pollers watch.
pub(super) struct File {
    /// How many descriptors lead here. A connection that waits to be accepted has none.
    pub(super) descriptors: usize,
    pub(super) body: Body,
    /// Who watches it: which poller, under which number.
    pub(super) watchers: Vec<(usize, i32)>,
    /// Which kqueue knows it, under which number.
    pub(super) noted: Vec<(usize, i32)>,
}

pub(super) enum Body {
    Endpoint(Endpoint),
    Listener(Listener),
    Datagrams(Datagrams),
    Regular { content: Vec<u8>, at: usize },
    Timer { due_ns: Option<u64> },
    Notifier { count: u64 },
}

/// A listening socket.
pub(super) struct Listener {
    pub(super) addr: SocketAddr,
    pub(super) backlog: usize,
    /// Our ends of connections that are through, and not yet accepted.
    pub(super) queue: VecDeque<u64>,
    /// Ends of clients that found the queue full: they go on trying.
    pub(super) waiting: VecDeque<u64>,
}

impl Listener {
    pub(super) fn new(addr: SocketAddr, backlog: usize) -> Self {
        Self {
            addr,
            backlog: backlog.max(1),
            queue: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }
}

/// One of two datagram sockets.
#[derive(Default)]
pub(super) struct Datagrams {
    pub(super) input: VecDeque<Vec<u8>>,
    pub(super) peer: Option<u64>,
    /// There was a peer, and it is closed: what is sent comes back as an error.
    pub(super) gone: bool,
    /// What came back, for the next operation to tell.
    pub(super) error: Option<i32>,
}

impl Datagrams {
    /// As many may wait to be read.
    pub(super) const ROOM: usize = 16;

    pub(super) fn to(peer: u64) -> Self {
        Self {
            peer: Some(peer),
            ..Self::default()
        }
    }
}

impl Table {
    pub(super) fn read(&mut self, file: u64, buffer: &mut [u8], now_ns: u64) -> io::Result<usize> {
        match &mut self.at(file).body {
            Body::Endpoint(_) => self.read_stream(file, buffer),
            Body::Listener(_) => Err(os(ENOTCONN)),
            Body::Datagrams(here) => {
                if let Some(error) = here.error.take() {
                    return Err(os(error));
                }
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
            Body::Endpoint(_) => self.write_stream(file, bytes),
            Body::Listener(_) => Err(os(EPIPE)),
            Body::Datagrams(here) => {
                if let Some(error) = here.error.take() {
                    return Err(os(error));
                }
                if here.gone {
                    // It is sent, and an answer comes that nobody is there.
                    here.error = Some(ECONNREFUSED);
                    self.wake(file, bits::ALL);
                    return Ok(bytes.len());
                }
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
            Body::Endpoint(_) => self.shutdown_stream(file, how),
            Body::Listener(_) | Body::Datagrams(_) => Err(os(ENOTCONN)),
            _ => Err(os(ENOTSOCK)),
        }
    }

    /// Lets so many bytes lie unread at the end with this number, if it is one. More room than
    /// before is told as if it had been read free (R024).
    pub(super) fn set_capacity(&mut self, number: i32, capacity: usize) {
        let Ok(file) = self.file(number) else { return };
        let Body::Endpoint(end) = &mut self.at(file).body else {
            return;
        };
        let wider = capacity > std::mem::replace(&mut end.capacity, capacity);
        let (roomy, peer) = (end.is_roomy(), end.peer);
        if let (true, Some(peer)) = (wider, peer) {
            self.touch(peer, true);
            if roomy {
                self.notify_of_room(peer);
            }
        }
    }
}

fn number_into(n: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let eight = buffer.first_chunk_mut::<8>().ok_or_else(|| os(EINVAL))?;
    *eight = n.to_ne_bytes();
    Ok(8)
}
