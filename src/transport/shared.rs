//! The data that a connection and its transports share: the state, and the key of the registration.
//!
//! Any code on the thread of the loop may use a transport. If a callback of the connection is running, it takes the
//! next steps when it ends; otherwise a call of `on_write` is queued ([`Shared::step_soon`]). The state is never
//! borrowed across a call of the kernel, because the kernel may be code of the program (L8).

use super::state::{Once, Phase, Start, State};
use crate::event_loop::loop_handle::Cx;
use crate::event_loop::{Error, Key, LoopHandle, WeakHandle};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::panic::Location;
use std::rc::Rc;

/// The error of [`Transport::write`](super::Transport::write) and [`Transport::write_eof`](super::Transport::write_eof): nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The transport is closing, or the connection has ended.
    #[error("the transport closes, or its connection has ended")]
    Closing,
    /// [`Transport::write_eof`](super::Transport::write_eof) was called before.
    #[error("the end was written before: no bytes can follow it")]
    AfterEof,
    /// This process is a child of the one that made the loop: the connection is the parent's.
    #[error("the connection is one of the parent process")]
    Forked,
}

/// What a registration and its transports share.
pub(super) struct Shared {
    pub(super) handle: WeakHandle,
    /// `None` before the registration is made.
    pub(super) key: Cell<Option<Key>>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) state: RefCell<State>,
    /// A callback of the connection is running; it takes the next steps when it ends.
    pub(super) is_running: Cell<bool>,
    /// A call of `on_write` is queued.
    pub(super) is_queued: Cell<bool>,
    /// The bytes that `write` has sent itself since the last callback of the connection.
    pub(super) sent: Cell<usize>,
    /// The line of code that made the connection, or the server.
    pub(super) site: &'static Location<'static>,
}

impl Shared {
    pub(super) fn open_loop(&self) -> Option<Rc<LoopHandle>> {
        self.handle.upgrade_open()
    }

    /// Fails if the loop is closed, or belongs to the parent process.
    pub(super) fn ensure_usable(&self) -> Result<(), WriteError> {
        match self.handle.with(LoopHandle::ensure_usable) {
            Some(Ok(())) => Ok(()),
            Some(Err(Error::Forked)) => Err(WriteError::Forked),
            _ => Err(WriteError::Closing),
        }
    }

    /// Whether the program has removed the registration by its key, in the callback that runs. From then on nothing of
    /// the protocol is called (L2). `false` in a hangup: there the loop has removed it.
    pub(super) fn is_removed(&self, cx: &Cx<'_>) -> bool {
        cx.is_removed() && self.key.get().is_some()
    }

    /// Sends as many of `bytes` as the socket accepts, and returns how many.
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let (Some(handle), Some(key)) = (self.open_loop(), self.key.get()) else {
            return Ok(0);
        };
        match handle.write_to(key, bytes) {
            Err(error) if is_no_error(&error) => Ok(0),
            sent => sent,
        }
    }

    /// Has the next steps taken: by the running callback when it ends, or by a call of `on_write` that this queues.
    pub(super) fn step_soon(&self) {
        // While it connects, its first callback takes the steps.
        let waits = {
            let state = self.state.borrow();
            state.start == Start::Connecting && state.phase < Phase::Ended
        };
        if waits || self.is_running.get() || self.is_queued.get() {
            return;
        }
        if let (Some(handle), Some(key)) = (self.open_loop(), self.key.get()) {
            self.is_queued.set(true);
            handle.call_write_soon(key, self.site);
        }
    }

    pub(super) fn end_with(&self, error: Option<io::Error>) {
        let ends = self.state.borrow_mut().end_with(error);
        if ends {
            self.step_soon();
        }
    }

    /// Sends from the buffer, once; bytes that the socket does not accept stay there. Returns whether another send is
    /// worth trying: the buffer is empty.
    pub(super) fn flush(&self) -> bool {
        let mut state = self.state.borrow_mut();
        if !state.sends() || state.buffer.is_empty() {
            return true;
        }
        // L8: the kernel may be code of the program.
        let buffer = std::mem::take(&mut state.buffer);
        drop(state);
        let sent = self.send(buffer.as_slice());
        let mut state = self.state.borrow_mut();
        state.buffer = buffer;
        match sent {
            Ok(n) => state.buffer.take(n),
            Err(error) => drop(state.end_with(Some(error))),
        }
        state.buffer.is_empty()
    }

    pub(super) fn shut_down_writing(&self) {
        self.state.borrow_mut().end = Once::Done;
        let (Some(handle), Some(key)) = (self.open_loop(), self.key.get()) else {
            return;
        };
        if let Err(error) = handle.shutdown_of(key, Shutdown::Write) {
            self.state.borrow_mut().end_with(Some(error));
        }
    }
}

/// Whether a read or a write may be tried again.
pub(super) fn is_no_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
