//! How ends are shut and closed, and what their peers come to know of it: as on Linux, or as on the
//! system whose kqueue there is.
//!
//! In the notes it is what comes before a *hangup* (N7).

use super::ends::{End, Kind, State};
use super::files::bits;
use super::os;
use super::table::Table;
use readily_sys::errno::{ECONNRESET, ENOTCONN, EPIPE};
use readily_sys::kq_abi::Personality;
use std::io;
use std::net::Shutdown;

impl Table {
    pub(super) fn shutdown_end(&mut self, file: u64, how: Shutdown) -> io::Result<()> {
        let end = self.end(file);
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
            let other = self.end(peer);
            other.read_shut |= writes;
            other.write_shut |= tells;
            self.wake_shut(peer, writes, tells);
        }
        Ok(())
    }

    /// The last descriptor of `end` is closed.
    pub(super) fn close_end(&mut self, end: &End) {
        let Some(peer) = end.peer else { return };
        if !end.is_socket() {
            self.orphan_writers(peer);
        }
        let other = self.end(peer);
        other.peer = None;
        let unread = !end.input.is_empty();
        let resets = match self.system {
            None | Some(Personality::Apple) => end.resets || unread,
            _ => end.resets,
        };
        let is_linux = self.system.is_none();
        let other = self.end(peer);
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
