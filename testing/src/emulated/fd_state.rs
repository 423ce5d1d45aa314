//! Queries the state of a descriptor from Linux. No query changes that state.
//!
//! In the notes this is the *selector* of Linux (N2), under another one.

use readily_sys::facts::{self, File, Tcp};
use readily_sys::kq_abi::Filter;
use readily_sys::poll::{HUP, IN, OUT, PollSet, RDHUP};
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

/// The state of a descriptor, as Linux reports it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FdState {
    /// The bits that `poll(2)` returned.
    pub(super) bits: i16,
    /// Bytes to read; of a listener, connections to accept.
    pub(super) unread: usize,
    /// Bytes that can be written.
    pub(super) room: usize,
    pub(super) tcp: Option<Tcp>,
    pub(super) is_listener: bool,
    /// Of a Unix stream: it is connected, and its writing side is shut.
    pub(super) write_shut: bool,
}

impl FdState {
    pub(super) fn has(&self, bits: i16) -> bool {
        self.bits & bits != 0
    }

    /// Returns the count that an `EV_CLEAR` registration compares between waits, because epoll does
    /// not report its changes.
    pub(super) fn count(&self, filter: Filter) -> u64 {
        match (filter, self.is_listener, self.tcp) {
            (Filter::Read, true, _) => u64::try_from(self.unread).unwrap_or(u64::MAX),
            (Filter::Write, false, Some(tcp)) => tcp.acknowledged,
            _ => 0,
        }
    }
}

/// Queries descriptors, with a poll set that is reused.
#[derive(Debug)]
pub(super) struct FdInspector(PollSet);

impl Default for FdInspector {
    fn default() -> Self {
        let mut set = PollSet::new();
        set.push(-1, 0);
        Self(set)
    }
}

impl FdInspector {
    /// Returns the present state of `fd`.
    ///
    /// # Errors
    ///
    /// `EBADF` for a number that is not open.
    pub(super) fn inspect(&mut self, fd: RawFd, file: File) -> io::Result<FdState> {
        // The bits come first, so that the counts below are at least what the bits promise.
        self.0.set(0, fd, IN | OUT | RDHUP);
        let ready = loop {
            match self.0.wait(Some(Duration::ZERO)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        let bits = if ready == 0 { 0 } else { self.0.reported(0) };
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
        Ok(FdState {
            bits,
            unread,
            // Only sockets and pipes have a buffer size.
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
