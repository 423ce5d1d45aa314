//! The transport: the handle by which a program writes to a connection.
//!
//! The registration owns the descriptor and the protocol. The handle has the key of the registration, and the state
//! that both share (`shared.rs`). A method of the handle changes the state, and has the next step taken soon
//! (`Shared::step_soon`). It calls no method of the protocol.
//!
//! In asyncio: `BaseTransport`, `ReadTransport`, `WriteTransport`.

use super::shared::{Shared, WriteError};
use super::state::{Once, Phase, Start, State};
use crate::event_loop::{Key, LoopHandle};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

/// During a callback of its own connection a transport collects writes that are shorter than this, and sends them when
/// the callback returns.
const DIRECT: usize = 4 << 10;

/// Between two callbacks of its connection, a transport sends this many bytes without the buffer. Bytes beyond go into
/// the buffer, so that a protocol that writes until the buffer is above its mark comes to an end (D3), however fast
/// its peer reads.
const BURST: usize = 256 << 10;

/// The handle of a connection that has a [`Protocol`](super::Protocol): writes to it, pauses it and closes it.
///
/// A clone refers to the same connection. Dropping all clones does not end the connection. It lasts until
/// [`close`](Self::close), [`abort`](Self::abort), the end of the peer, an error, or the end of the loop.
///
/// Made by [`LoopHandle::create_server`], [`LoopHandle::create_connection`] and [`LoopHandle::create_transport`].
#[derive(Clone)]
pub struct Transport {
    pub(super) shared: Rc<Shared>,
}

impl Transport {
    pub(super) fn new(
        handle: &LoopHandle,
        start: Start,
        peer: Option<SocketAddr>,
        site: &'static Location<'static>,
    ) -> Self {
        Self {
            shared: Rc::new(Shared {
                handle: handle.weak_handle(),
                key: Cell::new(None),
                peer,
                state: RefCell::new(State::new(start)),
                is_running: Cell::new(false),
                is_queued: Cell::new(false),
                sent: Cell::new(0),
                site,
            }),
        }
    }

    /// Writes all of `bytes`, without waiting. Bytes that the socket does not accept go into the buffer of the
    /// transport, and are sent when there is room. Before the connection is established, all bytes go into the buffer.
    ///
    /// The size of the buffer is not limited. When it has risen above the [high mark](Self::set_write_buffer_limits),
    /// [`Protocol::pause_writing`](super::Protocol::pause_writing) is called; when it has come down to the low mark,
    /// `resume_writing`. In between, reading from this peer is paused by default. A program that does not write in
    /// answer to this peer should itself stop writing in between. To send a long answer, write until
    /// [`get_write_buffer_size`](Self::get_write_buffer_size) is above the high mark, and write the rest in
    /// `resume_writing`.
    ///
    /// In a callback of its own connection, short writes are collected, and sent together when the callback returns. The
    /// bytes of long writes go to the socket at once, up to 256 KiB between two callbacks of the connection; bytes
    /// beyond go into the buffer, so that other work gets its turn.
    ///
    /// # Errors
    ///
    /// [`WriteError`]: nothing was written. An error of the system is not returned: it ends the connection, and is
    /// passed to [`Protocol::connection_lost`](super::Protocol::connection_lost).
    #[doc(alias = "writelines")]
    pub fn write(&self, bytes: &[u8]) -> Result<(), WriteError> {
        let shared = &*self.shared;
        let tries = {
            let state = shared.state.borrow();
            if state.phase >= Phase::Closing {
                return Err(WriteError::Closing);
            }
            shared.ensure_usable()?;
            if state.end != Once::No {
                return Err(WriteError::AfterEof);
            }
            let collects = shared.is_running.get() && bytes.len() < DIRECT;
            state.sends() && !collects && shared.sent.get() < BURST
        };
        let mut rest = bytes;
        // The buffer is sent first. If the socket does not accept all of it, the new bytes must wait behind it.
        if tries && !bytes.is_empty() && shared.flush() {
            match shared.send(bytes) {
                Ok(n) => {
                    shared.sent.set(shared.sent.get() + n);
                    rest = &bytes[n..];
                }
                Err(error) => shared.end_with(Some(error)),
            }
        }
        if !rest.is_empty() && shared.state.borrow().phase < Phase::Closing {
            shared.state.borrow_mut().push(rest);
            shared.step_soon();
        }
        Ok(())
    }

    /// Shuts down the writing side when the buffer has been sent: the peer reads the end of the data. Reading goes on.
    /// Only a socket has a writing side of its own; on another descriptor this ends the connection with an error.
    ///
    /// # Errors
    ///
    /// [`WriteError`].
    pub fn write_eof(&self) -> Result<(), WriteError> {
        let mut state = self.shared.state.borrow_mut();
        if state.phase >= Phase::Closing {
            return Err(WriteError::Closing);
        }
        self.shared.ensure_usable()?;
        if state.end != Once::No {
            return Err(WriteError::AfterEof);
        }
        state.end = Once::Asked;
        drop(state);
        self.shared.step_soon();
        Ok(())
    }

    /// Closes the connection when the buffer has been sent. From now on nothing is read, and [`write`](Self::write)
    /// returns an error. A connection that is not established yet is established first if there is something to send,
    /// and otherwise ends. While the peer does not read, the connection stays open: set a [deadline](Self::set_deadline).
    ///
    /// If received bytes are unread at the close, the system sends the peer a reset, and the peer may lose the last
    /// bytes that were written. To prevent that, call [`write_eof`](Self::write_eof), and close
    /// in [`eof_received`](super::Protocol::eof_received).
    pub fn close(&self) {
        let closes = self.shared.state.borrow_mut().close();
        if closes {
            self.shared.step_soon();
        }
    }

    /// Closes the connection at once. Bytes in the buffer are lost.
    pub fn abort(&self) {
        self.shared.end_with(None);
    }

    /// Ends the connection at once, with an error.
    pub(super) fn fail(&self, error: io::Error) {
        self.shared.end_with(Some(error));
    }

    /// Whether the transport is closing, or the connection has ended.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.shared.state.borrow().phase >= Phase::Closing
    }

    /// Pauses reading: no bytes are passed to the protocol until [`resume_reading`](Self::resume_reading), not even
    /// bytes that have arrived already. When the buffers of the system are full, the peer cannot send more. Returns
    /// `false` if reading was paused before.
    pub fn pause_reading(&self) -> bool {
        self.set_paused(true)
    }

    /// Ends the pause of [`pause_reading`](Self::pause_reading). Returns `false` if reading was not paused.
    pub fn resume_reading(&self) -> bool {
        self.set_paused(false)
    }

    fn set_paused(&self, is_paused: bool) -> bool {
        let mut state = self.shared.state.borrow_mut();
        let before = std::mem::replace(&mut state.is_paused, is_paused);
        drop(state);
        if before != is_paused {
            self.shared.step_soon();
        }
        before != is_paused
    }

    /// Whether bytes of the peer are passed to the protocol as they arrive. `false` while reading is paused, before the
    /// connection is established, after the end of the data, and after a close.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        self.shared.state.borrow().reads()
    }

    /// Pauses reading because of the write buffer, independently of [`pause_reading`](Self::pause_reading).
    pub(super) fn hold_reading(&self, holds: bool) {
        self.shared.state.borrow_mut().is_held = holds;
        self.shared.step_soon();
    }

    /// Sets the low and the high mark of the write buffer. When the buffer has more than `high` bytes,
    /// `pause_writing` is called; when it is down to `low` bytes, `resume_writing`. With zero for both,
    /// `pause_writing` is called whenever bytes are left in the buffer. The default marks are 16 KiB and 64 KiB.
    ///
    /// # Panics
    ///
    /// If `low` is above `high`.
    pub fn set_write_buffer_limits(&self, low: usize, high: usize) {
        assert!(low <= high, "the low mark is not above the high one");
        let mut state = self.shared.state.borrow_mut();
        (state.low, state.high) = (low, high);
        state.check_mark();
        drop(state);
        self.shared.step_soon();
    }

    /// Returns the low and the high mark of the write buffer.
    #[must_use]
    pub fn get_write_buffer_limits(&self) -> (usize, usize) {
        let state = self.shared.state.borrow();
        (state.low, state.high)
    }

    /// Returns how many bytes wait to be written.
    #[must_use]
    pub fn get_write_buffer_size(&self) -> usize {
        self.shared.state.borrow().buffer.len()
    }

    /// Sets a deadline: when `after` has passed, [`Protocol::timed_out`](super::Protocol::timed_out) is called, once.
    /// A new deadline replaces the old one. So a protocol that sets a deadline whenever it receives bytes limits the
    /// time for which its peer may be silent. A [`close`](Self::close) keeps the deadline, which then limits the
    /// close. Has no effect once the connection has ended.
    #[track_caller]
    pub fn set_deadline(&self, after: Duration) {
        self.change_deadline(Some(after));
    }

    /// Clears the deadline.
    pub fn clear_deadline(&self) {
        self.change_deadline(None);
    }

    #[track_caller]
    fn change_deadline(&self, after: Option<Duration>) {
        if let (Some(handle), Some(key)) = (self.shared.open_loop(), self.shared.key.get()) {
            // An error means that the connection has ended.
            let _ = handle.set_deadline_of(key, after);
        }
    }

    /// Returns the address of the peer. `None` if the address is no IP address.
    #[doc(alias = "get_extra_info")]
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.shared.peer
    }

    /// Returns the local address of the socket.
    ///
    /// # Errors
    ///
    /// As `getsockname(2)`; `Unsupported` if the address is no IP address; `NotFound` once the connection has ended.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let not_found = || io::Error::from(io::ErrorKind::NotFound);
        let key = self.shared.key.get().ok_or_else(not_found)?;
        let handle = self.shared.open_loop().ok_or_else(not_found)?;
        handle.with_fd_of(key, |fd| fd.local_addr())
    }

    /// Returns the key of the registration; `None` once the connection has ended. If the registration is removed by its
    /// key, the protocol is dropped without further calls. [`LoopHandle::write_to`] with this key writes past the
    /// buffer of the transport.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.shared.key.get()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.shared.state.borrow().phase >= Phase::Ended
    }

    /// Asks the protocol, once, to end.
    pub(super) fn ask_to_drain(&self) {
        let mut state = self.shared.state.borrow_mut();
        if state.draining == Once::No {
            state.draining = Once::Asked;
            drop(state);
            self.shared.step_soon();
        }
    }
}

/// By identity: clones are the same transport.
impl PartialEq for Transport {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for Transport {}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Transport");
        shown.field("key", &self.shared.key.get());
        if let Ok(state) = self.shared.state.try_borrow() {
            shown.field("start", &state.start);
            shown.field("phase", &state.phase);
            shown.field("buffered", &state.buffer.len());
        }
        shown.finish_non_exhaustive()
    }
}
