//! The recorder: each operation goes to the system, and its answer is written down on the way back.
//!
//! It hands out a poller around a poller, a clock around a clock, and descriptors around descriptors. Each
//! of their methods asks the system, and gives the answer to [`Recorder::entry`]. Entries go to a buffer, and
//! from there to the sink, outside of any borrow; an error there does not disturb the loop, and is returned
//! at the end.
//!
//! Not in the notes.

use super::cursor::{HEADER, piece};
use super::format::{Encode, Op};
use super::sum;
use readily::clock::Clock;
use readily::poll::{Event, NOTIFIER, Notify, Poller, WaitResult};
use readily::spi::{FdOwned, FdRef, VirtualFd, VirtualKernel};
use readily::{Interest, Readiness, Trigger};
use readily_sys::nonblocking::{self, Hold};
use readily_sys::transfer::Transfer;
use readily_sys::{errno, socket};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
        let mut recording = self.0.borrow_mut();
        let (bytes, sink) = (recording.piece(), recording.sink.take());
        drop(recording);
        // Without a sink, it is being written to just now, further up the stack, or has failed.
        let Some(mut sink) = sink else { return };
        let written = sink.write_all(&bytes).and_then(|()| sink.flush());
        let mut recording = self.0.borrow_mut();
        match written {
            Ok(()) => recording.sink = Some(sink),
            Err(error) => recording.failed = Some(error),
        }
    }

    /// Writes down that `op` was done with `args`, and what came of it.
    pub(super) fn entry<T: Encode>(&self, op: Op, args: &[i64], answer: T) -> T {
        let mut recording = self.0.borrow_mut();
        if recording.sink.is_none() {
            return answer;
        }
        let buffer = &mut recording.buffer;
        buffer.push(op.byte());
        args.iter().for_each(|arg| arg.put(buffer));
        answer.put(buffer);
        let full = buffer.len() >= BUFFER;
        drop(recording);
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

pub(super) struct Recorded {
    pub(super) poller: Box<dyn Poller>,
    pub(super) recorder: Recorder,
}

impl Recorded {
    /// A descriptor that is not on tape: what is read from it would be missing in the replay.
    fn is_taped(&self, fd: RawFd) -> io::Result<()> {
        match self.recorder.has(fd) {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(errno::EBADF)),
        }
    }
}

/// What was asked of a poller, as numbers.
pub(super) fn asked(fd: RawFd, token: u64, interest: Interest, trigger: Trigger) -> [i64; 4] {
    let bit = |interest: Interest, of, bit: i64| i64::from(interest.contains(of)) * bit;
    let interest = bit(interest, Interest::READ, 1)
        | bit(interest, Interest::WRITE, 2)
        | bit(interest, Interest::PRIORITY, 4);
    [fd.into(), token as i64, interest, trigger as i64]
}

impl Poller for Recorded {
    fn register(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        let known = self.is_taped(fd);
        let done = known.and_then(|()| self.poller.register(fd, token, i, t));
        self.recorder
            .entry(Op::Register, &asked(fd, token, i, t), done)
    }

    fn modify(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        let done = self.poller.modify(fd, token, i, t);
        self.recorder
            .entry(Op::Modify, &asked(fd, token, i, t), done)
    }

    fn rearm(&mut self, fd: RawFd, token: u64, i: Interest) -> io::Result<()> {
        let done = self.poller.rearm(fd, token, i);
        let asked = asked(fd, token, i, Trigger::Edge);
        self.recorder.entry(Op::Rearm, &asked, done)
    }

    fn rearm_interest(&self) -> Interest {
        self.poller.rearm_interest()
    }

    fn reports_urgent_data(&self) -> bool {
        self.poller.reports_urgent_data()
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        let done = self.poller.remove(fd);
        self.recorder.entry(Op::Remove, &[fd.into()], done)
    }

    fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<WaitResult> {
        let before = events.len();
        let waited = self.poller.wait(events, timeout);
        let reported = waited.as_ref().map(|result| {
            let mut reported = events[before..].to_vec();
            // A notification is on the tape as the event that it is for the kernel.
            if result.notified() {
                reported.push(Event {
                    token: NOTIFIER,
                    ready: Readiness::NONE,
                });
            }
            reported
        });
        let reported = reported.map_err(same);
        drop(self.recorder.entry(Op::Wait, &[], reported));
        waited
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        self.poller.notifier()
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.poller.as_fd()
    }

    fn kernel(&self) -> Option<Rc<dyn VirtualKernel>> {
        Some(Rc::new(self.recorder.clone()))
    }
}

pub(super) struct RecordedClock {
    pub(super) clock: Box<dyn Clock>,
    pub(super) recorder: Recorder,
}

impl Clock for RecordedClock {
    fn now_ns(&self) -> u64 {
        let now_ns = self.clock.now_ns();
        self.recorder
            .entry(Op::Clock, &[], self.recorder.passed(now_ns));
        now_ns
    }

    fn origin(&self) -> Instant {
        self.clock.origin()
    }

    fn system_now(&self) -> SystemTime {
        let now = self.clock.system_now();
        // As it is played: whole nanoseconds since 1970, up to 2262.
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let since_ns = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
        self.recorder.entry(Op::Wall, &[], since_ns);
        UNIX_EPOCH + Duration::from_nanos(since_ns.unsigned_abs())
    }
}

#[derive(Debug)]
pub(super) struct RecordedFd {
    fd: OwnedFd,
    recorder: Recorder,
    transfer: Cell<Transfer>,
    hold: RefCell<Option<Hold>>,
}

impl RecordedFd {
    pub(super) fn new(fd: OwnedFd, recorder: Recorder) -> Self {
        Self {
            transfer: Cell::new(Transfer::for_fd(fd.as_fd())),
            fd,
            recorder,
            hold: RefCell::default(),
        }
    }

    fn release(&self) {
        if let Some(hold) = self.hold.take() {
            hold.release(self.fd.as_fd());
        }
    }

    fn any(&self) -> FdRef<'_> {
        FdRef::System(self.fd.as_fd())
    }

    fn entry<T: Encode>(&self, op: Op, answer: T) -> T {
        self.recorder
            .entry(op, &[self.fd.as_raw_fd().into()], answer)
    }

    fn wrote(&self, op: Op, bytes: &[u8], done: io::Result<usize>) -> io::Result<usize> {
        let args = [self.fd.as_raw_fd().into(), bytes.len() as i64, sum(bytes)];
        self.recorder.entry(op, &args, done)
    }

    /// The standard library's way to what has no call of ours.
    fn with_stream<R>(&self, does: impl FnOnce(&TcpStream) -> io::Result<R>) -> io::Result<R> {
        does(&TcpStream::from(self.fd.try_clone()?))
    }
}

impl Drop for RecordedFd {
    fn drop(&mut self) {
        self.recorder.forget(self.fd.as_raw_fd());
        self.release();
    }
}

impl VirtualFd for RecordedFd {
    fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn kind(&self) -> socket::Kind {
        self.entry(Op::Kind, self.any().kind())
    }

    fn set_nonblocking(&self) -> io::Result<bool> {
        self.release();
        let held = nonblocking::hold(self.fd.as_fd());
        let was_blocking = held.map(|hold| {
            let was_blocking = hold.was_blocking();
            *self.hold.borrow_mut() = Some(hold);
            was_blocking
        });
        self.entry(Op::Nonblocking, was_blocking)
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let args = [self.fd.as_raw_fd().into(), buffer.len() as i64];
        let done = self.any().try_read(buffer, &self.transfer);
        let done = done.map(|n| buffer[..n].to_vec());
        self.recorder.entry(Op::Read, &args, done).map(|b| b.len())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.any().try_write(bytes, &self.transfer);
        self.wrote(Op::Write, bytes, done)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.any().try_write(bytes, &self.transfer);
        self.wrote(Op::Send, bytes, done)
    }

    fn accept(&self) -> io::Result<(Rc<dyn VirtualFd>, Option<SocketAddr>)> {
        let (told, accepted) = match self.any().accept() {
            Ok((FdOwned::System(fd), peer)) => (Ok((fd.as_raw_fd(), peer)), Ok((fd, peer))),
            // A descriptor of the system accepts descriptors of the system.
            Ok((FdOwned::Virtual(fd), peer)) => return Ok((fd, peer)),
            Err(error) => (Err(same(&error)), Err(error)),
        };
        drop(self.entry(Op::Accept, told));
        accepted.map(|(fd, peer)| (self.recorder.fd(fd), peer))
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.entry(Op::Shutdown, self.any().shutdown(how))
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.entry(Op::TakeError, self.any().take_error())
    }

    fn is_connected(&self) -> io::Result<bool> {
        self.entry(Op::IsConnected, self.any().is_connected())
    }

    fn readiness(&self) -> io::Result<Readiness> {
        self.entry(Op::Readiness, self.any().readiness())
    }

    fn is_unconnected(&self) -> io::Result<bool> {
        self.entry(Op::IsUnconnected, self.any().is_unconnected())
    }

    fn bytes_available(&self) -> io::Result<usize> {
        self.entry(Op::Unread, self.any().bytes_available())
    }

    fn peek(&self) -> io::Result<bool> {
        self.entry(Op::Peek, self.any().peek())
    }

    fn facts(&self) -> io::Result<Readiness> {
        self.entry(Op::Facts, self.any().facts())
    }

    fn is_pipe(&self) -> io::Result<bool> {
        self.entry(Op::IsPipe, self.any().is_pipe())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.entry(Op::LocalAddr, self.with_stream(TcpStream::local_addr))
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.entry(Op::PeerAddr, self.with_stream(TcpStream::peer_addr))
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        let done = self.with_stream(|stream| stream.set_nodelay(nodelay));
        self.entry(Op::Nodelay, done)
    }
}
