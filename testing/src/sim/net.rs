//! TCP connections: addresses, connecting, accepting; and the shutdown and the close of streams, with their
//! effects on the peer.
//!
//! A connection is established when the accept queue of the listener takes it. A client that finds the
//! queue full retries, like one whose first packet was dropped. A shutdown and a close are as on Linux, or
//! as on the system of the kernel's kqueue.
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

/// The first of the ports for listeners on port 0 and for clients.
pub(super) const FIRST_PORT: u16 = 49_152;

impl Table {
    fn listener(&mut self, file: u64) -> &mut Listener {
        match &mut self.at(file).body {
            Body::Listener(listener) => listener,
            _ => unreachable!("the file is a listener"),
        }
    }

    pub(super) fn bind(&mut self, mut addr: SocketAddr) -> io::Result<SocketAddr> {
        if addr.port() == 0 {
            // At most one round, because all ports may be in use.
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
                self.fill_accept_queue(file);
            }
        }
        client
    }

    /// Moves waiting clients into the accept queue of a listener, while it has room.
    fn fill_accept_queue(&mut self, file: u64) {
        loop {
            let listener = self.listener(file);
            if listener.queue.len() >= listener.backlog {
                return;
            }
            let Some(client) = listener.waiting.pop_front() else {
                return;
            };
            // The client has been closed.
            if self.get(client).is_none() {
                continue;
            }
            let server = self.add(Body::Endpoint(Endpoint::connected(Kind::Tcp)));
            self.connect_ends(client, server);
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

    /// Accepts the next connection of a listener, and returns its number and the address of its peer.
    pub(super) fn accept(&mut self, file: u64) -> io::Result<(i32, Option<SocketAddr>)> {
        let Body::Listener(listener) = &mut self.at(file).body else {
            return Err(os(EINVAL));
        };
        if listener.queue.is_empty() {
            return Err(os(EAGAIN));
        }
        let chance = self.faults.emfile;
        if self.faults.chance_256(chance) {
            return Err(os(EMFILE));
        }
        self.check_limit(1)?;
        let end = self.listener(file).queue.pop_front();
        let end = end.expect("the queue is not empty");
        if !self.listener(file).queue.is_empty() {
            // A kqueue reports the remaining connections again; an edge of epoll does not.
            self.run_filters(file, false);
        }
        let aborts = matches!(
            self.system,
            Some(Personality::FreeBsd | Personality::NetBsd)
        );
        if aborts && self.endpoint(end).error.is_some() {
            self.free_file(end);
            self.fill_accept_queue(file);
            return Err(os(ECONNABORTED));
        }
        let number = self.assign_number(end);
        self.fill_accept_queue(file);
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
        // Only Unix sockets of Linux report to the peer that the reading side was shut.
        let shuts_peer = reads && kind == Kind::Pair && self.system.is_none();
        self.wake_shutdown(file, reads, writes);
        if let Some(peer) = peer {
            let other = self.endpoint(peer);
            other.read_shut |= writes;
            other.write_shut |= shuts_peer;
            self.wake_shutdown(peer, writes, shuts_peer);
        }
        Ok(())
    }

    /// Updates the peer of `end` when its last descriptor is closed.
    pub(super) fn close_stream(&mut self, end: &Endpoint) {
        let Some(peer) = end.peer else { return };
        if !end.is_socket() {
            self.detach_write_filters(peer);
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
                // On Linux a reset after the end of the stream is `EPIPE`.
                let error = if other.read_shut { EPIPE } else { ECONNRESET };
                other.fail(error);
            }
            Kind::Tcp => {
                other.read_shut = true;
                // Unread bytes are dropped with the end that held them, which makes room.
                return self.wake_shutdown(peer, true, unread);
            }
        }
        self.wake(peer, bits::ALL);
    }
}
