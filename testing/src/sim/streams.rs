//! The ends of streams and pipes: their buffers, and the ways in which they end.
//!
//! Bytes are in the buffer of the end that will read them, so each end has its own input, and its room to
//! write is that of the buffer of its peer. After each change the table wakes the watchers.

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

/// One end of a stream or pipe.
pub(super) struct Endpoint {
    pub(super) kind: Kind,
    pub(super) state: State,
    /// The bytes that have arrived.
    pub(super) input: VecDeque<u8>,
    /// How many bytes `input` can hold.
    pub(super) capacity: usize,
    /// The other end; `None` if it is closed, or there was none.
    pub(super) peer: Option<u64>,
    /// No more bytes will arrive after those in `input`.
    pub(super) read_shut: bool,
    /// No more bytes can be sent.
    pub(super) write_shut: bool,
    pub(super) error: Option<i32>,
    /// A write found no room or not enough, so the next room is reported (`SOCK_NOSPACE`).
    pub(super) no_space: bool,
    pub(super) urgent: bool,
    /// A close resets the connection (`SO_LINGER` of zero).
    pub(super) resets: bool,
    pub(super) local: Option<SocketAddr>,
    pub(super) remote: Option<SocketAddr>,
}

impl Endpoint {
    /// The default capacity in bytes.
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
            no_space: false,
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

    /// Whether there is enough room for a report. A writer that is woken for each free byte would write
    /// single bytes.
    pub(super) fn has_enough_room(&self) -> bool {
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

    /// Ends both directions with an error.
    pub(super) fn fail(&mut self, error: i32) {
        self.error = Some(error);
        self.read_shut = true;
        self.write_shut = true;
        self.peer = None;
    }
}

/// Returns the bits that `poll(2)` would report for `end`.
pub(super) fn bits_of(end: &Endpoint, peer: Option<&Endpoint>) -> u16 {
    let mut all = 0;
    let mut add = |bits, holds| all |= if holds { bits } else { 0 };
    match end.kind {
        Kind::PipeReader => {
            add(bits::IN, !end.input.is_empty());
            add(bits::HUP, peer.is_none());
        }
        Kind::PipeWriter => {
            add(bits::OUT, peer.is_none_or(Endpoint::has_enough_room));
            add(bits::ERR, peer.is_none());
        }
        Kind::Pair | Kind::Tcp => {
            add(bits::ERR, end.error.is_some());
            match end.state {
                State::Unconnected => add(bits::OUT | bits::HUP, true),
                State::Connecting => return all,
                State::Connected => {}
            }
            add(bits::IN, !end.input.is_empty());
            add(bits::IN | bits::RDHUP, end.read_shut);
            add(bits::HUP, end.both_shut());
            add(bits::PRI, end.urgent);
            let peer_closed = end.write_shut && end.kind == Kind::Tcp;
            // A closed peer accepts all bytes, and answers with a reset.
            add(
                bits::OUT,
                peer_closed || peer.is_none_or(Endpoint::has_enough_room),
            );
        }
    }
    all
}

impl Table {
    pub(super) fn connected(&mut self, kind: Kind) -> (u64, u64) {
        let one = self.add(Body::Endpoint(Endpoint::connected(kind)));
        let two = self.add(Body::Endpoint(Endpoint::connected(kind)));
        self.connect_ends(one, two);
        (one, two)
    }

    pub(super) fn pipe(&mut self) -> (u64, u64) {
        let reader = self.add(Body::Endpoint(Endpoint::connected(Kind::PipeReader)));
        let writer = self.add(Body::Endpoint(Endpoint::connected(Kind::PipeWriter)));
        self.connect_ends(reader, writer);
        (reader, writer)
    }

    pub(super) fn connect_ends(&mut self, one: u64, two: u64) {
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
            let at_end = end.read_shut || (end.kind == Kind::PipeReader && end.peer.is_none());
            return match (end.error.take(), end.state) {
                (Some(error), _) => Err(os(error)),
                _ if at_end || buffer.is_empty() => Ok(0),
                (None, State::Unconnected) => Err(os(ENOTCONN)),
                (None, _) => Err(os(EAGAIN)),
            };
        }
        for (to, from) in buffer.iter_mut().zip(end.input.drain(..n)) {
            *to = from;
        }
        end.urgent = false;
        let (has_room, peer) = (end.has_enough_room(), end.peer);
        if let Some(peer) = peer {
            // A kqueue reports each acknowledgement to writers, whether they wait for room or not.
            self.run_filters(peer, true);
            if has_room {
                self.notify_of_room(peer);
            }
        }
        Ok(n)
    }

    /// Copies what can be read, and leaves it there.
    pub(super) fn peek(&mut self, file: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.at(file).body {
            Body::Endpoint(end) if end.is_socket() => {
                let n = end.input.len().min(buffer.len());
                buffer
                    .iter_mut()
                    .zip(&end.input)
                    .for_each(|(to, from)| *to = *from);
                match n {
                    0 => self.read_stream(file, buffer), // the end, or an error
                    n => Ok(n),
                }
            }
            _ => Err(os(ENOTSOCK)),
        }
    }

    /// Reports room to the writers of `file`.
    pub(super) fn notify_of_room(&mut self, file: u64) {
        let end = self.endpoint(file);
        // Unix sockets report each room, TCP and pipes only after a write that found none.
        if end.kind == Kind::Pair || end.no_space {
            end.no_space = false;
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
        // On a BSD a Unix socket is not notified that its peer has shut its reading side down, and the
        // bytes that it sends are dropped.
        if end.kind == Kind::Pair && self.endpoint(peer).read_shut {
            return Ok(bytes.len());
        }
        let n = self.endpoint(peer).room().min(bytes.len());
        if n < bytes.len() {
            self.endpoint(file).no_space = true;
        }
        if n == 0 {
            return Err(os(EAGAIN));
        }
        self.endpoint(peer).input.extend(&bytes[..n]);
        self.wake(peer, bits::IN);
        Ok(n)
    }

    /// Writes to a closed peer: TCP accepts the bytes, and the peer answers with a reset; a pipe or a Unix
    /// socket fails at once.
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
