//! TCP as far as it is about two ends of a connection: addresses, connecting, accepting; and how ends of
//! streams are shut and closed, and what their peers then see.
//!
//! A connection is established when the listener's queue takes it. One that finds the queue full goes
//! on trying, like a client whose first packet was dropped. A shutdown and a close are as on Linux, or as on
//! the system whose kqueue the kernel has.
//!
//! In the notes: *connect ready*, and what comes before a *hangup* (N7).

use super::open_files::{Body, Listener, bits};
use super::os;
use super::streams::{Endpoint, Kind, State};
use super::table::Table;
use readily_sys::errno::{
    EADDRINUSE, EAGAIN, ECONNABORTED, ECONNREFUSED, ECONNRESET, EINVAL, EMFILE, ENOTCONN, EPIPE,
};
use readily_sys::kq_abi::Personality;
use std::io;
use std::net::{Shutdown, SocketAddr};

/// The first of the ports that are given out.
pub(super) const FIRST_PORT: u16 = 49_152;

impl Table {
    fn listener(&mut self, file: u64) -> &mut Listener {
        match &mut self.at(file).body {
            Body::Listener(listener) => listener,
            _ => unreachable!("it is a listener"),
        }
    }

    pub(super) fn bind(&mut self, mut addr: SocketAddr) -> io::Result<SocketAddr> {
        if addr.port() == 0 {
            // Each of them once: all may be taken.
            for _ in FIRST_PORT..=u16::MAX {
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
        let client = self.add(Body::Endpoint(Endpoint::new(Kind::Tcp)));
        let mut local = addr;
        local.set_port(self.next_port);
        self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
        let end = self.endpoint(client);
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
            let server = self.add(Body::Endpoint(Endpoint::connected(Kind::Tcp)));
            self.join(client, server);
            let end = self.endpoint(client);
            end.state = State::Connected;
            let (local, remote) = (end.local, end.remote);
            let end = self.endpoint(server);
            (end.local, end.remote) = (remote, local);
            self.listener(file).queue.push_back(server);
            self.wake(client, bits::OUT);
            self.wake(file, bits::IN);
        }
    }

    pub(super) fn refuse(&mut self, client: u64) {
        if self.get(client).is_none() {
            return;
        }
        let end = self.endpoint(client);
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
        if !self.listener(file).queue.is_empty() {
            // A kqueue tells of each that is left; epoll by the edge does not.
            self.touch(file, false);
        }
        let aborts = matches!(
            self.system,
            Some(Personality::FreeBsd | Personality::NetBsd)
        );
        if aborts && self.endpoint(end).error.is_some() {
            self.discard(end);
            self.let_in(file);
            return Err(os(ECONNABORTED));
        }
        let number = self.number(end);
        self.let_in(file);
        Ok((number, self.endpoint(end).remote))
    }
}

impl Table {
    pub(super) fn shutdown_stream(&mut self, file: u64, how: Shutdown) -> io::Result<()> {
        let end = self.endpoint(file);
        if !matches!(end.kind, Kind::Pair | Kind::Tcp) || end.state != State::Connected {
            return Err(os(ENOTCONN));
        }
        let (reads, writes) = match how {
            Shutdown::Read => (true, false),
            Shutdown::Write => (false, true),
            Shutdown::Both => (true, true),
        };
        end.read_shut |= reads;
        end.write_shut |= writes;
        let (kind, peer) = (end.kind, end.peer);
        // A peer is told that nobody reads by Unix sockets of Linux only.
        let tells = reads && kind == Kind::Pair && self.system.is_none();
        self.wake_shut(file, reads, writes);
        if let Some(peer) = peer {
            let other = self.endpoint(peer);
            other.read_shut |= writes;
            other.write_shut |= tells;
            self.wake_shut(peer, writes, tells);
        }
        Ok(())
    }

    /// The last descriptor of `end` is closed.
    pub(super) fn close_stream(&mut self, end: &Endpoint) {
        let Some(peer) = end.peer else { return };
        if !end.is_socket() {
            self.orphan_writers(peer);
        }
        let other = self.endpoint(peer);
        other.peer = None;
        let unread = !end.input.is_empty();
        let resets = match self.system {
            None | Some(Personality::Apple) => end.resets || unread,
            _ => end.resets,
        };
        let is_linux = self.system.is_none();
        let other = self.endpoint(peer);
        match end.kind {
            Kind::PipeReader | Kind::PipeWriter => {}
            Kind::Pair => {
                other.read_shut = true;
                other.write_shut = true;
                if unread && is_linux {
                    other.error = Some(ECONNRESET);
                }
            }
            Kind::Tcp if resets => {
                // After its end, a peer's reset is a broken pipe: that is how Linux has it.
                let error = if other.read_shut { EPIPE } else { ECONNRESET };
                other.fail(error);
            }
            Kind::Tcp => {
                other.read_shut = true;
                // Bytes that were never read go with the end that held them, which leaves room.
                return self.wake_shut(peer, true, unread);
            }
        }
        self.wake(peer, bits::ALL);
    }
}
