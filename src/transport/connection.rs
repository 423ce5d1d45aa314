//! A connection: the callbacks of its registration, which call the protocol.
//!
//! Each callback handles its event, and then calls `settle`, which takes steps until `State::next_step` returns none,
//! and then sets the interest once. It calls `resume_writing` at most once: see [`Connection::settle`]. If a transport
//! is used outside of these callbacks, `Shared::step_soon` queues a call of `on_write`, without an event, so that
//! `settle` runs.
//!
//! In asyncio: `_SelectorSocketTransport`.

use super::handle::Transport;
use super::members::Member;
use super::protocol::Protocol;
use super::shared::{Shared, is_no_error};
use super::state::{Once, Phase, Start, Step};
use crate::event_loop::loop_handle::{Callbacks, Cx};
use crate::event_loop::{Attachment, LoopHandle};
use crate::poll::Interest;
use readily_sys::{errno, socket};
use std::any::Any;
use std::cell::Cell;
use std::io;
use std::rc::Rc;

/// The bytes that one read takes at most.
const READ_SIZE: usize = 64 << 10;

/// The buffer that all connections of a loop read into. A callback takes the buffer out of the cell while it reads.
#[derive(Clone, Default)]
pub(super) struct ReadBuffer(Rc<Cell<Vec<u8>>>);

impl ReadBuffer {
    pub(super) fn of(handle: &LoopHandle) -> Self {
        handle.attached(Self::default, Self::clone)
    }
}

impl Attachment for ReadBuffer {
    fn close(&self) {
        self.0.take();
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The callbacks of a connection.
pub(super) struct Connection<P> {
    pub(super) protocol: P,
    transport: Transport,
    buffer: ReadBuffer,
    _end: End,
}

/// Ends the transport when the registration is dropped, for whatever reason.
struct End {
    shared: Rc<Shared>,
    _member: Option<Member>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.shared.key.set(None);
        let mut state = self.shared.state.borrow_mut();
        state.end_with(None);
        state.phase = Phase::Lost;
    }
}

impl<P: Protocol> Connection<P> {
    pub(super) fn new(
        handle: &LoopHandle,
        protocol: P,
        transport: &Transport,
        member: Option<Member>,
    ) -> Self {
        Self {
            protocol,
            transport: transport.clone(),
            buffer: ReadBuffer::of(handle),
            _end: End {
                shared: Rc::clone(&transport.shared),
                _member: member,
            },
        }
    }

    fn shared(&self) -> &Shared {
        &self.transport.shared
    }

    fn begin(&self, cx: &Cx<'_>) {
        self.shared().key.set(Some(cx.key()));
        self.shared().is_running.set(true);
        self.shared().sent.set(0);
    }

    /// Reads once, and passes the bytes to the protocol. Returns their number.
    fn read(&mut self, cx: &Cx<'_>) -> usize {
        let place = self.protocol.get_buffer(&self.transport);
        // D2, L2: the protocol may have ended its connection there, or paused it.
        if self.transport.shared.is_removed(cx) || !self.transport.is_reading() {
            return 0;
        }
        let read = match place {
            Some([]) => Err(io::ErrorKind::InvalidInput.into()),
            Some(place) => {
                let read = cx.read(place);
                if let Ok(n @ 1..) = read {
                    self.protocol.buffer_updated(&self.transport, n);
                }
                read
            }
            None => self.read_shared(cx),
        };
        match read {
            Ok(0) => {
                self.shared().state.borrow_mut().has_end = true;
                self.protocol.eof_received(&self.transport);
                0
            }
            Ok(n) => n,
            Err(error) if is_no_error(&error) => 0,
            Err(error) => {
                self.transport.fail(broken_pipe(cx).unwrap_or(error));
                0
            }
        }
    }

    /// Reads into the buffer that the loop's connections share. The buffer is out of its cell meanwhile: code that
    /// reads inside this callback finds an empty one, and allocates.
    fn read_shared(&mut self, cx: &Cx<'_>) -> io::Result<usize> {
        let mut buffer = self.buffer.0.take();
        buffer.resize(READ_SIZE, 0);
        let read = cx.read(&mut buffer);
        if let Ok(n @ 1..) = read {
            self.protocol.data_received(&self.transport, &buffer[..n]);
        }
        self.buffer.0.set(buffer);
        read
    }

    /// Reads up to the end of the data, after a hangup.
    fn read_rest(&mut self, cx: &Cx<'_>) {
        let mut left = None;
        while self.transport.is_reading() {
            let n = self.read(cx);
            left = match left {
                _ if n == 0 => return,
                None => Some(bytes_left(cx)),
                Some(left) if n <= left => Some(left - n),
                Some(_) => return,
            };
        }
    }

    /// Sends from the buffer, takes steps until there is none, and sets the interest.
    ///
    /// D3: calls `resume_writing` at most once. A protocol that goes on writing there fills the buffer again, and while
    /// the socket accepts all of it, another `resume_writing` is due each time: that one waits for the next event of
    /// the descriptor, so that the loop gets to its other work in between.
    fn settle(&mut self, cx: &Cx<'_>) {
        if self.shared().is_removed(cx) {
            return;
        }
        let mut has_room = self.shared().flush();
        let mut has_resumed = false;
        loop {
            let step = self.shared().state.borrow().next_step();
            let Some(step) = step else { break };
            let resumes = step == Step::ResumeWriting;
            if resumes && has_resumed {
                break;
            }
            has_resumed |= resumes;
            self.take(step);
            if step == Step::ConnectionLost {
                return cx.close();
            }
            if self.shared().is_removed(cx) {
                return;
            }
            has_room = has_room && self.shared().flush();
        }
        self.shared().is_running.set(false);
        let wanted = self.shared().state.borrow().interest();
        if cx.interest() != wanted {
            if let Err(error) = cx.set_interest(wanted) {
                self.transport.fail(error.into_io());
            }
        }
    }

    fn take(&mut self, step: Step) {
        let (protocol, transport) = (&mut self.protocol, &self.transport);
        let state = &transport.shared.state;
        match step {
            Step::ConnectionMade => {
                state.borrow_mut().start = Start::Made;
                protocol.connection_made(transport);
            }
            Step::ServerDraining => {
                state.borrow_mut().draining = Once::Done;
                protocol.server_draining(transport);
            }
            Step::PauseWriting => {
                state.borrow_mut().is_writing_paused = true;
                protocol.pause_writing(transport);
            }
            Step::ResumeWriting => {
                state.borrow_mut().resume();
                protocol.resume_writing(transport);
            }
            Step::ShutDownWriting => transport.shared.shut_down_writing(),
            Step::ConnectionLost => self.lose(),
        }
    }

    /// Calls `connection_made` if that was not done yet: the connection has ended, or its deadline has passed, before
    /// its first callback.
    fn make(&mut self) {
        let is_new = self.shared().state.borrow().start == Start::New;
        if is_new {
            self.take(Step::ConnectionMade);
        }
    }

    /// Calls `connection_lost`.
    fn lose(&mut self) {
        let mut state = self.shared().state.borrow_mut();
        state.end_with(None); // if it is closing, and the buffer is empty
        state.phase = Phase::Lost;
        let error = state.error.take();
        drop(state);
        self.shared().key.set(None);
        self.protocol.connection_lost(&self.transport, error);
    }
}

impl<P: Protocol> Callbacks for Connection<P> {
    fn connected_interest(&self) -> Interest {
        self.interest()
    }

    fn on_open(&mut self, cx: &Cx<'_>) {
        self.begin(cx);
        self.settle(cx);
    }

    fn on_connect(&mut self, cx: &Cx<'_>) {
        self.begin(cx);
        // The program may have ended it before it was established: then it is only lost.
        let mut state = self.shared().state.borrow_mut();
        if state.phase < Phase::Ended {
            state.start = Start::New;
        }
        drop(state);
        self.settle(cx);
    }

    fn on_read(&mut self, cx: &Cx<'_>) {
        self.begin(cx);
        // The program may have paused reading since the kernel reported the event.
        if self.transport.is_reading() {
            self.read(cx);
        }
        self.settle(cx);
    }

    fn on_write(&mut self, cx: &Cx<'_>) {
        self.begin(cx);
        self.shared().is_queued.set(false);
        self.settle(cx);
    }

    fn on_timeout(&mut self, cx: &Cx<'_>) {
        self.begin(cx);
        self.make();
        if !self.transport.has_ended() && !self.shared().is_removed(cx) {
            self.protocol.timed_out(&self.transport);
        }
        self.settle(cx);
    }

    fn on_hangup(&mut self, cx: &Cx<'_>, error: Option<io::Error>) {
        self.begin(cx);
        // The registration is removed: bytes that are written from here on are lost.
        self.shared().key.set(None);
        self.make();
        let error = error.or_else(|| broken_pipe(cx));
        // Both sides have ended. No more bytes come, so the rest is read here, up to the end of the data.
        if error.is_none() {
            self.read_rest(cx);
        }
        self.shared().state.borrow_mut().end_with(error);
        self.lose();
    }
}

/// The reason why the writing end of a pipe hangs up: its reader has gone. The system reports none, and a descriptor that
/// is open for writing only has no data whose end could be read.
fn broken_pipe(cx: &Cx<'_>) -> Option<io::Error> {
    let refusal = || cx.read(&mut []).err()?.raw_os_error();
    let is_other = !cx.owns_socket() && cx.fd_ref().kind() == socket::Kind::Other;
    let is_writer = is_other && refusal() == Some(errno::EBADF);
    is_writer.then(|| io::ErrorKind::BrokenPipe.into())
}

/// How many bytes there are up to the end of the data, at most. A FIFO may have a new writer by now, whose bytes would
/// never end; those that come from now on are lost with the descriptor.
fn bytes_left(cx: &Cx<'_>) -> usize {
    match !cx.owns_socket() && cx.fd_ref().is_pipe().unwrap_or(false) {
        true => cx.fd_ref().bytes_available().unwrap_or(0),
        false => usize::MAX,
    }
}
