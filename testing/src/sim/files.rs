//! What can be open: everything but the ends of streams and pipes, which are in `ends.rs`.

use super::ends::End;
use std::collections::VecDeque;
use std::net::SocketAddr;

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
    End(End),
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
