//! Open files of each kind, and the system calls that read, write and shut them down. The ends of streams
//! and pipes are in `streams.rs`.
//!
//! In the notes these are the files behind a descriptor (N2).

use super::os;
use super::streams::Endpoint;
use super::table::Table;
use readily_sys::errno::{EAGAIN, ECONNREFUSED, EINVAL, ENOTCONN, ENOTSOCK, EPIPE};
use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr};

/// Interest and reports of a poller, as the bits of `poll(2)`.
pub(super) mod bits {
    pub(in crate::sim) const IN: u16 = 1;
    pub(in crate::sim) const PRI: u16 = 2;
    pub(in crate::sim) const OUT: u16 = 4;
    pub(in crate::sim) const ERR: u16 = 8;
    pub(in crate::sim) const HUP: u16 = 16;
    pub(in crate::sim) const RDHUP: u16 = 32;
    /// The bits that are reported without interest in them.
    pub(in crate::sim) const ALWAYS: u16 = ERR | HUP;
    pub(in crate::sim) const ALL: u16 = IN | PRI | OUT | RDHUP | ALWAYS;
}

/// An open file, which several descriptors may share, and which pollers watch.
pub(super) struct File {
    /// How many descriptors refer to this file. A connection that waits to be accepted has none.
    pub(super) descriptors: usize,
    pub(super) body: Body,
    /// The pollers that watch this file, each with the number of the registration.
    pub(super) watchers: Vec<(usize, i32)>,
    /// The kqueues that watch this file, each with the number of the registration.
    pub(super) knotes: Vec<(usize, i32)>,
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
    /// The server ends of connections that are established and not yet accepted.
    pub(super) queue: VecDeque<u64>,
    /// The client ends of connections that wait for room in the queue.
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
    /// The peer has been closed, so the next datagram is answered with an error.
    pub(super) peer_closed: bool,
    /// The error of an earlier datagram, which the next operation returns.
    pub(super) error: Option<i32>,
}

impl Datagrams {
    /// The most datagrams that can wait to be read.
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
                if here.peer_closed {
                    // The datagram is sent, and an ICMP error comes back.
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

    /// Sets the capacity of a stream or pipe end. A larger capacity is reported as room, as after a read:
    /// interest in room must not be lost (R024).
    pub(super) fn set_capacity(&mut self, number: i32, capacity: usize) {
        let Ok(file) = self.file(number) else { return };
        let Body::Endpoint(end) = &mut self.at(file).body else {
            return;
        };
        let wider = capacity > std::mem::replace(&mut end.capacity, capacity);
        let (has_room, peer) = (end.has_enough_room(), end.peer);
        if let (true, Some(peer)) = (wider, peer) {
            self.run_filters(peer, true);
            if has_room {
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
