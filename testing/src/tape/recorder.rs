//! The recorder: everything goes to the system, and the answer is written down on its way back.
//!
//! It hands out a poller around a poller, a clock around a clock, and descriptors around descriptors
//! (`recorded.rs`). What is written goes to a buffer, and from there to whatever the tape is kept in, outside of any
//! borrow; an error there does not disturb the loop, and is told at the end.

use super::format::OnTape;
use super::ops::Op;
use super::recorded::{Recorded, RecordedClock, RecordedFd};
use super::reel::{HEADER, piece};
use readily::clock::Clock;
use readily::poll::{Interest, Poller, VirtualFd, VirtualKernel};
use readily_sys::socket;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;

/// So much is kept before it is handed on.
const BUFFER: usize = 64 * 1024;

struct Tape {
    buffer: Vec<u8>,
    /// Whether there is a header before the next piece.
    begun: bool,
    /// Out of its place while it is written to: it is somebody's code.
    sink: Option<Box<dyn Write>>,
    failed: Option<io::Error>,
    last_ns: u64,
    /// The descriptors that are on tape, by number.
    open: BTreeSet<RawFd>,
}

impl Tape {
    /// What is in the buffer, as it is written.
    fn piece(&mut self) -> Vec<u8> {
        let entries = piece(&std::mem::take(&mut self.buffer));
        match std::mem::replace(&mut self.begun, true) {
            true => entries,
            false => [HEADER, &entries].concat(),
        }
    }
}

/// Writes down what a kernel answers. Clones write to the same tape.
#[derive(Clone)]
pub struct Recorder(Rc<RefCell<Tape>>);

impl Recorder {
    /// A recorder that writes to `sink`, in pieces of about 64 KiB.
    pub fn new(sink: impl Write + 'static) -> Self {
        Self(Rc::new(RefCell::new(Tape {
            buffer: Vec::new(),
            begun: false,
            sink: Some(Box::new(sink)),
            failed: None,
            last_ns: 0,
            open: BTreeSet::new(),
        })))
    }

    /// `poller`, written down. A loop on it works on descriptors that are written down too.
    #[must_use]
    pub fn poller(&self, poller: Box<dyn Poller>) -> Box<dyn Poller> {
        let rearms = poller.rearm_interest();
        let bits = [
            rearms.contains(Interest::READ),
            rearms.contains(Interest::WRITE),
            poller.reports_urgent_data(),
        ];
        self.entry(Op::Rearm, &bits.map(i64::from), ());
        let recorder = self.clone();
        Box::new(Recorded { poller, recorder })
    }

    /// `clock`, written down.
    #[must_use]
    pub fn clock(&self, clock: Box<dyn Clock>) -> Box<dyn Clock> {
        let recorder = self.clone();
        Box::new(RecordedClock { clock, recorder })
    }

    /// Hands on what is still in the buffer.
    ///
    /// # Errors
    ///
    /// The first one of the sink: the tape ends there.
    pub fn finish(&self) -> io::Result<()> {
        self.hand_on();
        match self.0.borrow_mut().failed.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Whether the descriptor of this number is on tape.
    pub(super) fn has(&self, number: RawFd) -> bool {
        self.0.borrow().open.contains(&number)
    }

    pub(super) fn forget(&self, number: RawFd) {
        self.0.borrow_mut().open.remove(&number);
    }

    /// How much later than the last reading this one is.
    pub(super) fn passed(&self, now_ns: u64) -> i64 {
        let last_ns = std::mem::replace(&mut self.0.borrow_mut().last_ns, now_ns);
        now_ns.wrapping_sub(last_ns) as i64
    }

    fn hand_on(&self) {
        let mut tape = self.0.borrow_mut();
        let (bytes, sink) = (tape.piece(), tape.sink.take());
        drop(tape);
        // Without a sink, it is being written to just now, further up the stack, or has failed.
        let Some(mut sink) = sink else { return };
        let written = sink.write_all(&bytes).and_then(|()| sink.flush());
        let mut tape = self.0.borrow_mut();
        match written {
            Ok(()) => tape.sink = Some(sink),
            Err(error) => tape.failed = Some(error),
        }
    }

    /// Writes down that `op` was done with `args`, and what came of it.
    pub(super) fn entry<T: OnTape>(&self, op: Op, args: &[i64], answer: T) -> T {
        let mut tape = self.0.borrow_mut();
        if tape.sink.is_none() {
            return answer;
        }
        let buffer = &mut tape.buffer;
        buffer.push(op.byte());
        args.iter().for_each(|arg| arg.put(buffer));
        answer.put(buffer);
        let full = buffer.len() >= BUFFER;
        drop(tape);
        if full {
            self.hand_on();
        }
        answer
    }

    pub(super) fn fd(&self, fd: OwnedFd) -> Rc<dyn VirtualFd> {
        self.0.borrow_mut().open.insert(fd.as_raw_fd());
        Rc::new(RecordedFd::new(fd, self.clone()))
    }

    /// Writes down the number of a new descriptor.
    fn made(&self, op: Op, made: io::Result<OwnedFd>) -> io::Result<Rc<dyn VirtualFd>> {
        let (number, fd) = match made {
            Ok(fd) => (Ok(fd.as_raw_fd()), Ok(fd)),
            Err(error) => (Err(same(&error)), Err(error)),
        };
        drop(self.entry(op, &[], number));
        fd.map(|fd| self.fd(fd))
    }
}

/// Errors have no clones.
pub(super) fn same(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::other(error.to_string()),
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        if let Some(mut sink) = self.sink.take() {
            let bytes = self.piece();
            // Who wants to know how it went asks `finish`.
            let _ = sink.write_all(&bytes).and_then(|()| sink.flush());
        }
    }
}

impl VirtualKernel for Recorder {
    fn listen(&self, addr: SocketAddr, backlog: usize) -> io::Result<Rc<dyn VirtualFd>> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        self.made(Op::Listen, socket::listen_tcp(&addr, backlog))
    }

    fn connect(&self, addr: SocketAddr) -> io::Result<Rc<dyn VirtualFd>> {
        self.made(Op::Connect, socket::connect_tcp(&addr))
    }

    fn import(&self, fd: OwnedFd) -> Result<Rc<dyn VirtualFd>, OwnedFd> {
        self.entry(Op::Adopt, &[], fd.as_raw_fd());
        Ok(self.fd(fd))
    }

    fn replayed_or(&self, live: u64) -> u64 {
        self.entry(Op::Decide, &[], live)
    }

    fn trace_call(&self, what: &'static str, whose: u64) {
        self.entry(Op::Note, &[], (what.as_bytes().to_vec(), whose));
    }

    fn is_recording(&self) -> bool {
        true
    }
}
