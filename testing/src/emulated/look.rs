//! Asks Linux about a descriptor, and changes nothing by asking.
//!
//! In the notes this is the *selector* of Linux (N2), under another one.

use super::filters::Look;
use readily_sys::facts::{self, File};
use readily_sys::kq_abi::Filter;
use readily_sys::poll::{HUP, IN, OUT, PollSet, RDHUP};
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

/// Keeps what each question needs.
#[derive(Debug)]
pub(super) struct Looker(PollSet);

impl Default for Looker {
    fn default() -> Self {
        let mut set = PollSet::new();
        set.push(-1, 0);
        Self(set)
    }
}

impl Looker {
    /// # Errors
    ///
    /// `EBADF` for a number that is not open.
    pub(super) fn look(&mut self, fd: RawFd, file: File) -> io::Result<Look> {
        // First, so that what is counted below is there at least.
        self.0.set(0, fd, IN | OUT | RDHUP);
        let answered = loop {
            match self.0.wait(Some(Duration::ZERO)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                answer => break answer?,
            }
        };
        let bits = if answered == 0 { 0 } else { self.0.reported(0) };
        let is_socket = matches!(file, File::Tcp | File::UnixStream);
        let tcp = match file {
            File::Tcp => Some(facts::tcp(fd)?),
            _ => None,
        };
        let is_listener = is_socket && facts::is_listener(fd)?;
        let unread = match (is_listener, tcp) {
            (true, Some(tcp)) => usize::try_from(tcp.pending).unwrap_or(usize::MAX),
            (true, None) => 0,
            _ => facts::bytes_available(fd)?,
        };
        let used = match file {
            File::Pipe { .. } => unread,
            _ => facts::unsent(fd)?,
        };
        let is_connected = bits & HUP == 0 || bits & RDHUP != 0;
        Ok(Look {
            bits,
            unread,
            // What is neither a socket nor a pipe has no such number.
            room: facts::room(fd, file).map_or(0, |room| room.saturating_sub(used)),
            tcp,
            is_listener,
            write_shut: file == File::UnixStream
                && !is_listener
                && is_connected
                && facts::is_write_shut(fd).unwrap_or(false),
        })
    }
}

impl Look {
    /// What a registration by `EV_CLEAR` counts, as epoll does not report it.
    pub(super) fn counted(&self, filter: Filter) -> u64 {
        match (filter, self.is_listener, self.tcp) {
            (Filter::Read, true, _) => u64::try_from(self.unread).unwrap_or(u64::MAX),
            (Filter::Write, false, Some(tcp)) => tcp.acknowledged,
            _ => 0,
        }
    }
}
