//! The transport: the end of a connection that a program writes to.
//!
//! It is a handle that is cloned at will. The registration owns the descriptor and the protocol; the handle has its
//! key, and the state that both share (`shared.rs`). A method changes the state, and asks for the next step. It
//! calls no method of the protocol.
//!
//! In asyncio: `BaseTransport`, `ReadTransport`, `WriteTransport`.

use super::shared::Shared;
use super::state::{Once, Phase, State};
use crate::event_loop::{Key, LoopHandle};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

/// Inside a callback of its own a transport collects writes that are shorter than this, and sends them at its end.
const DIRECT: usize = 4 << 10;

/// A connection, to write to, to pause and to close, for the thread of its loop.
///
/// Clones are the same transport. Dropping all of them ends nothing: the connection lasts until
/// [`close`](Self::close), [`abort`](Self::abort), the end of the peer, an error, or the end of the loop.
///
/// Made by [`LoopHandle::create_server`], [`LoopHandle::create_connection`] and [`LoopHandle::create_transport`].
#[derive(Clone)]
pub struct Transport {
    pub(super) shared: Rc<Shared>,
}

/// Nothing was written: why a transport accepts no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The transport closes, or the connection has ended.
    #[error("the transport closes, or its connection has ended")]
    Closing,
    /// [`Transport::write_eof`] was called before.
    #[error("the end was written before: no bytes can follow it")]
    AfterEof,
}

impl Transport {
    pub(super) fn new(
        handle: &LoopHandle,
        phase: Phase,
        peer: Option<SocketAddr>,
        site: &'static Location<'static>,
    ) -> Self {
        Self {
            shared: Rc::new(Shared {
                handle: handle.weak_handle(),
                key: Cell::new(None),
                peer,
                state: RefCell::new(State::new(phase)),
                is_running: Cell::new(false),
                is_queued: Cell::new(false),
                site,
            }),
        }
    }

    /// Writes all of `bytes`, without waiting: what the socket does not take is kept in the buffer, and written
    /// when there is room. Before the connection is established all is kept.
    ///
    /// The buffer has no limit. Once it has risen above its high mark, [`Protocol::pause_writing`](super::Protocol::pause_writing) is
    /// called, and later `resume_writing`. A program whose writes do not come from this peer stops them in between. One
    /// that has much to say may write until [`get_write_buffer_size`](Self::get_write_buffer_size) is above the mark, and go on
    /// in `resume_writing`.
    ///
    /// In a callback of its own connection, short writes are collected, and sent together when the callback returns.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; then nothing was written. An error of the system ends the connection, and is passed to
    /// [`Protocol::connection_lost`](super::Protocol::connection_lost).
    #[doc(alias = "writelines")]
    pub fn write(&self, bytes: &[u8]) -> Result<(), WriteError> {
        let shared = &*self.shared;
        let tries = {
            let state = shared.state.borrow();
            if state.phase >= Phase::Closing || shared.handle.is_closed() {
                return Err(WriteError::Closing);
            }
            if state.end != Once::No {
                return Err(WriteError::AfterEof);
            }
            state.sends() && (!shared.is_running.get() || bytes.len() >= DIRECT)
        };
        let mut rest = bytes;
        // What waits is sent before, and if the socket does not take all of it, nothing follows.
        if tries && !bytes.is_empty() && shared.flush() {
            match shared.send(bytes) {
                Ok(n) => rest = &bytes[n..],
                Err(error) => shared.end_with(Some(error)),
            }
        }
        if !rest.is_empty() && shared.state.borrow().phase < Phase::Closing {
            shared.state.borrow_mut().push(rest);
            shared.step_soon();
        }
        Ok(())
    }

    /// Ends what this side writes, after what is in the buffer: the peer reads the end of the data. Reading goes on.
    /// Only a socket has two sides; for other descriptors this is an error that ends the connection.
    ///
    /// # Errors
    ///
    /// [`WriteError`].
    pub fn write_eof(&self) -> Result<(), WriteError> {
        let mut state = self.shared.state.borrow_mut();
        if state.phase >= Phase::Closing {
            return Err(WriteError::Closing);
        }
        if state.end != Once::No {
            return Err(WriteError::AfterEof);
        }
        state.end = Once::Asked;
        drop(state);
        self.shared.step_soon();
        Ok(())
    }

    /// Closes the connection when what is in the buffer is written. Nothing more is read, and nothing more is
    /// accepted. A peer that does not read makes this wait: set a [deadline](Self::set_deadline).
    ///
    /// If the peer has sent bytes that were not read, the system sends it a reset, by which it may lose the
    /// end of what was written. A protocol that cannot rule that out uses [`write_eof`](Self::write_eof), and closes
    /// after [`eof_received`](super::Protocol::eof_received).
    pub fn close(&self) {
        let closes = self.shared.state.borrow_mut().close();
        if closes {
            self.shared.step_soon();
        }
    }

    /// Closes the connection at once. What is in the buffer is lost.
    pub fn abort(&self) {
        self.shared.end_with(None);
    }

    /// Ends the connection at once, with an error.
    pub(super) fn fail(&self, error: io::Error) {
        self.shared.end_with(Some(error));
    }

    /// Whether the transport closes, or the connection has ended.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.shared.state.borrow().phase >= Phase::Closing
    }

    /// Reads no more from the peer, from now on: no bytes are passed to the protocol that are not there already.
    /// Its writes wait when the buffers of the system are full. `false` if it was paused before.
    pub fn pause_reading(&self) -> bool {
        self.set_paused(true)
    }

    /// Reads on. `false` if it was not paused.
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

    /// Whether bytes of the peer are passed to the protocol as they come: not while reading is paused, before the
    /// connection is established, nor after its end.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        self.shared.state.borrow().reads()
    }

    /// The same pause for a reason of the buffer, apart from that of the program.
    pub(super) fn hold_reading(&self, holds: bool) {
        self.shared.state.borrow_mut().is_held = holds;
        self.shared.step_soon();
    }

    /// Sets the marks of the buffer: above `high` bytes `pause_writing` is called, and at `low` again `resume_writing`. With
    /// zero for both, it pauses whenever the socket does not take all. The marks are 16 KiB and 64 KiB at first.
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

    /// Returns the low and the high mark.
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

    /// Sets a deadline: `after` from now, [`Protocol::timed_out`](super::Protocol::timed_out) is called, once. A deadline that was
    /// set before is replaced, so a protocol that sets one whenever it receives bytes limits the silence of its
    /// peer. It is left in place by a [`close`](Self::close), and limits that too. Without effect once the connection
    /// has ended.
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

    /// Returns the address of the peer; `None` if it has none, as that of a Unix socket.
    #[doc(alias = "get_extra_info")]
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.shared.peer
    }

    /// Returns the address of this side.
    ///
    /// # Errors
    ///
    /// As `getsockname(2)`; `NotFound` once the connection has ended.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let not_found = || io::Error::from(io::ErrorKind::NotFound);
        let key = self.shared.key.get().ok_or_else(not_found)?;
        let handle = self.shared.open_loop().ok_or_else(not_found)?;
        handle.with_fd_of(key, |fd| fd.local_addr())
    }

    /// Returns the key of the registration; `None` once the connection has ended.
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
            shown.field("phase", &state.phase);
            shown.field("buffered", &state.buffer.len());
        }
        shown.finish_non_exhaustive()
    }
}
