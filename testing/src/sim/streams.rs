//! The ends of streams and pipes: bytes in buffers, and the many ways in which they end.
//!
//! Bytes lie where they will be read, so an end knows its own input, and asks its peer for room.
//! What becomes ready for whom is told to the table, which wakes the watchers.

use super::open_files::{Body, bits};
use super::os;
use super::table::Table;
use readily_sys::errno::{EAGAIN, EBADF, ENOTCONN, ENOTSOCK, EPIPE};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    PipeReader,
    PipeWriter,
    /// Of `socketpair(2)`.
    Pair,
    Tcp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Unconnected,
    Connecting,
    Connected,
}

/// One end.
pub(super) struct Endpoint {
    pub(super) kind: Kind,
    pub(super) state: State,
    /// What has arrived.
    pub(super) input: VecDeque<u8>,
    /// How much may.
    pub(super) capacity: usize,
    /// The other end; `None` if it is gone, or never was.
    pub(super) peer: Option<u64>,
    /// Nothing more will arrive than is in `input`.
    pub(super) read_shut: bool,
    /// Nothing more can be sent.
    pub(super) write_shut: bool,
    pub(super) error: Option<i32>,
    /// Somebody wrote and found no room (or not enough): he is to be told of some.
    pub(super) wants_room: bool,
    pub(super) urgent: bool,
    /// Closing it resets the connection (`SO_LINGER` of zero).
    pub(super) resets: bool,
    pub(super) local: Option<SocketAddr>,
    pub(super) remote: Option<SocketAddr>,
}

impl Endpoint {
    /// As much fits in, until it is told otherwise.
    pub(super) const ROOM: usize = 65_536;

    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            state: State::Unconnected,
            input: VecDeque::new(),
            capacity: Self::ROOM,
            peer: None,
            read_shut: false,
            write_shut: false,
            error: None,
            wants_room: false,
            urgent: false,
            resets: false,
            local: None,
            remote: None,
        }
    }

    pub(super) fn connected(kind: Kind) -> Self {
        Self {
            state: State::Connected,
            ..Self::new(kind)
        }
    }

    pub(super) fn is_socket(&self) -> bool {
        matches!(self.kind, Kind::Pair | Kind::Tcp)
    }

    pub(super) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.input.len())
    }

    /// Whether this much room is worth a report: a writer who is woken for each byte writes
    /// single bytes.
    pub(super) fn is_roomy(&self) -> bool {
        let (used, room) = (self.input.len(), self.room());
        match self.kind {
            Kind::PipeReader | Kind::PipeWriter => room > 0,
            Kind::Pair => used * 4 <= self.capacity, // unix_writable()
            Kind::Tcp => room > 0 && room * 2 >= used, // sk_stream_is_writeable()
        }
    }

    fn both_shut(&self) -> bool {
        self.read_shut && self.write_shut
    }

    /// Over with an error, both ways at once.
    pub(super) fn fail(&mut self, error: i32) {
        self.error = Some(error);
        self.read_shut = true;
        self.write_shut = true;
        self.peer = None;
    }
}

/// What `poll(2)` would say of `end`, whose peer is `peer`.
pub(super) fn bits_of(end: &Endpoint, peer: Option<&Endpoint>) -> u16 {
    let mut said = 0;
    let mut say = |bits, holds| said |= if holds { bits } else { 0 };
    match end.kind {
        Kind::PipeReader => {
            say(bits::IN, !end.input.is_empty());
            say(bits::HUP, peer.is_none());
        }
        Kind::PipeWriter => {
            say(bits::OUT, peer.is_none_or(Endpoint::is_roomy));
            say(bits::ERR, peer.is_none());
        }
        Kind::Pair | Kind::Tcp => {
            say(bits::ERR, end.error.is_some());
            match end.state {
                State::Unconnected => say(bits::OUT | bits::HUP, true),
                State::Connecting => return said,
                State::Connected => {}
            }
            say(bits::IN, !end.input.is_empty());
            say(bits::IN | bits::RDHUP, end.read_shut);
            say(bits::HUP, end.both_shut());
            say(bits::PRI, end.urgent);
            let gone = end.write_shut && end.kind == Kind::Tcp;
            // A peer that has gone takes everything, and answers with a reset.
            say(bits::OUT, gone || peer.is_none_or(Endpoint::is_roomy));
        }
    }
    said
}

impl Table {
    pub(super) fn connected(&mut self, kind: Kind) -> (u64, u64) {
        let one = self.add(Body::Endpoint(Endpoint::connected(kind)));
        let two = self.add(Body::Endpoint(Endpoint::connected(kind)));
        self.join(one, two);
        (one, two)
    }

    pub(super) fn pipe(&mut self) -> (u64, u64) {
        let reader = self.add(Body::Endpoint(Endpoint::connected(Kind::PipeReader)));
        let writer = self.add(Body::Endpoint(Endpoint::connected(Kind::PipeWriter)));
        self.join(reader, writer);
        (reader, writer)
    }

    pub(super) fn join(&mut self, one: u64, two: u64) {
        self.endpoint(one).peer = Some(two);
        self.endpoint(two).peer = Some(one);
    }

    pub(super) fn read_stream(&mut self, file: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.endpoint(file);
        if end.kind == Kind::PipeWriter {
            return Err(os(EBADF));
        }
        let n = end.input.len().min(buffer.len());
        if n == 0 {
            let over = end.read_shut || (end.kind == Kind::PipeReader && end.peer.is_none());
            return match (end.error.take(), end.state) {
                (Some(error), _) => Err(os(error)),
                _ if over || buffer.is_empty() => Ok(0),
                (None, State::Unconnected) => Err(os(ENOTCONN)),
                (None, _) => Err(os(EAGAIN)),
            };
        }
        for (to, from) in buffer.iter_mut().zip(end.input.drain(..n)) {
            *to = from;
        }
        end.urgent = false;
        let (roomy, peer) = (end.is_roomy(), end.peer);
        if let Some(peer) = peer {
            // kqueue tells writers of every acknowledgement, whether they wait for room or not.
            self.touch(peer, true);
            if roomy {
                self.notify_of_room(peer);
            }
        }
        Ok(n)
    }

    /// Room has been made for what `file` writes.
    pub(super) fn notify_of_room(&mut self, file: u64) {
        let end = self.endpoint(file);
        // Unix sockets tell of all room, TCP and pipes only who has asked for some.
        if end.kind == Kind::Pair || end.wants_room {
            end.wants_room = false;
            self.wake(file, bits::OUT);
        }
    }

    pub(super) fn write_stream(&mut self, file: u64, bytes: &[u8]) -> io::Result<usize> {
        let end = self.endpoint(file);
        match (end.kind, end.state) {
            (Kind::PipeReader, _) => return Err(os(EBADF)),
            (Kind::Tcp, State::Connecting) => return Err(os(EAGAIN)),
            (Kind::Tcp, State::Unconnected) => return Err(os(EPIPE)),
            _ => {}
        }
        if let (Kind::Tcp, Some(error)) = (end.kind, end.error) {
            end.error = None;
            return Err(os(error));
        }
        if end.write_shut {
            return Err(os(EPIPE));
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        let Some(peer) = end.peer else {
            return self.write_without_a_reader(file, bytes.len());
        };
        // On a BSD it goes unnoticed that a Unix peer has shut its reading down, and what it is
        // sent is thrown away.
        if end.kind == Kind::Pair && self.endpoint(peer).read_shut {
            return Ok(bytes.len());
        }
        let n = self.endpoint(peer).room().min(bytes.len());
        if n < bytes.len() {
            self.endpoint(file).wants_room = true;
        }
        if n == 0 {
            return Err(os(EAGAIN));
        }
        self.endpoint(peer).input.extend(&bytes[..n]);
        self.wake(peer, bits::IN);
        Ok(n)
    }

    /// A peer that has closed takes what is sent, and answers with a reset; a pipe says so at
    /// once.
    fn write_without_a_reader(&mut self, file: u64, len: usize) -> io::Result<usize> {
        let end = self.endpoint(file);
        if end.kind != Kind::Tcp {
            return Err(os(EPIPE));
        }
        end.fail(EPIPE);
        self.wake(file, bits::ALL);
        Ok(len)
    }

    pub(super) fn send_urgent(&mut self, file: u64) -> io::Result<()> {
        let peer = match &self.at(file).body {
            Body::Endpoint(end) if end.is_socket() => end.peer.ok_or_else(|| os(EPIPE))?,
            _ => return Err(os(ENOTSOCK)),
        };
        self.endpoint(peer).urgent = true;
        self.wake(peer, bits::PRI);
        Ok(())
    }
}
