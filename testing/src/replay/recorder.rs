//! The recorder: passes each operation on to the system, and writes the result down.
//!
//! A recorder wraps a poller, a clock and descriptors. Each of their methods calls the system, and passes
//! the result to [`Recorder::entry`]. Entries go to a buffer, and from there to the sink while nothing is
//! borrowed; an error of the sink does not disturb the loop, and is returned at the end.

use super::checksum;
use super::cursor::{HEADER, chunk};
use super::format::{Encode, Op};
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

/// The bytes that are buffered before they are written to the sink.
const BUFFER: usize = 64 * 1024;

struct Recording {
    buffer: Vec<u8>,
    /// Whether the header has been written.
    has_header: bool,
    /// Taken out while it is written to, because a sink is user code that may call the recorder.
    sink: Option<Box<dyn Write>>,
    error: Option<io::Error>,
    last_ns: u64,
    /// The numbers of the open descriptors that are recorded.
    fds: BTreeSet<RawFd>,
}

impl Recording {
    /// Takes the buffered entries as a chunk.
    fn take_chunk(&mut self) -> Vec<u8> {
        let entries = chunk(&std::mem::take(&mut self.buffer));
        match std::mem::replace(&mut self.has_header, true) {
            true => entries,
            false => [HEADER, &entries].concat(),
        }
    }
}

/// Records the results of a kernel's operations. Clones write to the same recording.
#[derive(Clone)]
pub struct Recorder(Rc<RefCell<Recording>>);

impl Recorder {
    /// Makes a recorder that writes to `sink`, in chunks of about 64 KiB.
    pub fn new(sink: impl Write + 'static) -> Self {
        Self(Rc::new(RefCell::new(Recording {
            buffer: Vec::new(),
            has_header: false,
            sink: Some(Box::new(sink)),
            error: None,
            last_ns: 0,
            fds: BTreeSet::new(),
        })))
    }

    /// Wraps `poller` so that its results are recorded, and those of the descriptors of its loop.
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
        Box::new(RecordedPoller { poller, recorder })
    }

    /// Wraps `clock` so that its readings are recorded.
    #[must_use]
    pub fn clock(&self, clock: Box<dyn Clock>) -> Box<dyn Clock> {
        let recorder = self.clone();
        Box::new(RecordedClock { clock, recorder })
    }

    /// Writes what is still in the buffer to the sink.
    ///
    /// # Errors
    ///
    /// The first error of the sink: the recording ends there.
    pub fn finish(&self) -> io::Result<()> {
        self.flush();
        match self.0.borrow_mut().error.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Whether the descriptor with this number is recorded.
    pub(super) fn has_fd(&self, number: RawFd) -> bool {
        self.0.borrow().fds.contains(&number)
    }

    pub(super) fn remove_fd(&self, number: RawFd) {
        self.0.borrow_mut().fds.remove(&number);
    }

    /// The nanoseconds from the last reading of the clock to this one.
    pub(super) fn since_last_ns(&self, now_ns: u64) -> i64 {
        let last_ns = std::mem::replace(&mut self.0.borrow_mut().last_ns, now_ns);
        now_ns.wrapping_sub(last_ns) as i64
    }

    fn flush(&self) {
        let mut recording = self.0.borrow_mut();
        let (bytes, sink) = (recording.take_chunk(), recording.sink.take());
        drop(recording);
        // No sink: it has failed, or is being written to by a caller of this call.
        let Some(mut sink) = sink else { return };
        let written = sink.write_all(&bytes).and_then(|()| sink.flush());
        let mut recording = self.0.borrow_mut();
        match written {
            Ok(()) => recording.sink = Some(sink),
            Err(error) => recording.error = Some(error),
        }
    }

    /// Records `op`, its arguments and its result, and returns the result.
    pub(super) fn entry<T: Encode>(&self, op: Op, args: &[i64], result: T) -> T {
        let mut recording = self.0.borrow_mut();
        if recording.sink.is_none() {
            return result;
        }
        let buffer = &mut recording.buffer;
        buffer.push(op.byte());
        args.iter().for_each(|arg| arg.put(buffer));
        result.put(buffer);
        let full = buffer.len() >= BUFFER;
        drop(recording);
        if full {
            self.flush();
        }
        result
    }

    pub(super) fn fd(&self, fd: OwnedFd) -> Rc<dyn VirtualFd> {
        self.0.borrow_mut().fds.insert(fd.as_raw_fd());
        Rc::new(RecordedFd::new(fd, self.clone()))
    }

    /// Records the number of a new descriptor.
    fn new_fd(&self, op: Op, new: io::Result<OwnedFd>) -> io::Result<Rc<dyn VirtualFd>> {
        let (number, fd) = match new {
            Ok(fd) => (Ok(fd.as_raw_fd()), Ok(fd)),
            Err(error) => (Err(clone_error(&error)), Err(error)),
        };
        drop(self.entry(op, &[], number));
        fd.map(|fd| self.fd(fd))
    }
}

/// `io::Error` is not `Clone`: the same number, or else the same text.
pub(super) fn clone_error(error: &io::Error) -> io::Error {
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

impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(mut sink) = self.sink.take() {
            let bytes = self.take_chunk();
            // The error is lost here; a caller of `finish` gets it.
            let _ = sink.write_all(&bytes).and_then(|()| sink.flush());
        }
    }
}

impl VirtualKernel for Recorder {
    fn listen(&self, addr: SocketAddr, backlog: usize) -> io::Result<Rc<dyn VirtualFd>> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        self.new_fd(Op::Listen, socket::listen_tcp(&addr, backlog))
    }

    fn connect(&self, addr: SocketAddr) -> io::Result<Rc<dyn VirtualFd>> {
        self.new_fd(Op::Connect, socket::connect_tcp(&addr))
    }

    fn import(&self, fd: OwnedFd) -> Result<Rc<dyn VirtualFd>, OwnedFd> {
        self.entry(Op::Import, &[], fd.as_raw_fd());
        Ok(self.fd(fd))
    }

    fn replayed_or(&self, live: u64) -> u64 {
        self.entry(Op::ReplayedOr, &[], live)
    }

    fn trace_call(&self, what: &'static str, id: u64) {
        self.entry(Op::TraceCall, &[], (what.as_bytes().to_vec(), id));
    }

    fn is_recording(&self) -> bool {
        true
    }
}

pub(super) struct RecordedPoller {
    pub(super) poller: Box<dyn Poller>,
    pub(super) recorder: Recorder,
}

impl RecordedPoller {
    /// Refuses a descriptor that is not recorded: the bytes read from it would be missing in the replay.
    fn check_recorded(&self, fd: RawFd) -> io::Result<()> {
        match self.recorder.has_fd(fd) {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(errno::EBADF)),
        }
    }
}

/// The arguments of a call of a poller, as numbers.
pub(super) fn poller_args(fd: RawFd, token: u64, interest: Interest, trigger: Trigger) -> [i64; 4] {
    let bit = |interest: Interest, of, bit: i64| i64::from(interest.contains(of)) * bit;
    let interest = bit(interest, Interest::READ, 1)
        | bit(interest, Interest::WRITE, 2)
        | bit(interest, Interest::PRIORITY, 4);
    [fd.into(), token as i64, interest, trigger as i64]
}

impl Poller for RecordedPoller {
    fn register(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        let recorded = self.check_recorded(fd);
        let done = recorded.and_then(|()| self.poller.register(fd, token, i, t));
        self.recorder
            .entry(Op::Register, &poller_args(fd, token, i, t), done)
    }

    fn modify(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        let done = self.poller.modify(fd, token, i, t);
        self.recorder
            .entry(Op::Modify, &poller_args(fd, token, i, t), done)
    }

    fn rearm(&mut self, fd: RawFd, token: u64, i: Interest) -> io::Result<()> {
        let done = self.poller.rearm(fd, token, i);
        let args = poller_args(fd, token, i, Trigger::Edge);
        self.recorder.entry(Op::Rearm, &args, done)
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
            // A notification is recorded as an event, which it is for the kernel.
            if result.notified() {
                reported.push(Event::new(NOTIFIER, Readiness::NONE));
            }
            reported
        });
        let reported = reported.map_err(clone_error);
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
            .entry(Op::Clock, &[], self.recorder.since_last_ns(now_ns));
        now_ns
    }

    fn origin(&self) -> Instant {
        self.clock.origin()
    }

    fn system_now(&self) -> SystemTime {
        let now = self.clock.system_now();
        // The same time as in the replay: whole nanoseconds since 1970, up to 2262.
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let since_ns = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
        self.recorder.entry(Op::SystemClock, &[], since_ns);
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

    fn fd_ref(&self) -> FdRef<'_> {
        FdRef::System(self.fd.as_fd())
    }

    fn entry<T: Encode>(&self, op: Op, result: T) -> T {
        self.recorder
            .entry(op, &[self.fd.as_raw_fd().into()], result)
    }

    fn write_entry(&self, op: Op, bytes: &[u8], done: io::Result<usize>) -> io::Result<usize> {
        let args = [
            self.fd.as_raw_fd().into(),
            bytes.len() as i64,
            checksum(bytes),
        ];
        self.recorder.entry(op, &args, done)
    }

    /// Calls the standard library for the operations that `readily-sys` has no call for.
    fn with_stream<R>(&self, does: impl FnOnce(&TcpStream) -> io::Result<R>) -> io::Result<R> {
        does(&TcpStream::from(self.fd.try_clone()?))
    }
}

impl Drop for RecordedFd {
    fn drop(&mut self) {
        self.recorder.remove_fd(self.fd.as_raw_fd());
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
        self.entry(Op::Kind, self.fd_ref().kind())
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
        let done = self.fd_ref().try_read(buffer, &self.transfer);
        let done = done.map(|n| buffer[..n].to_vec());
        self.recorder.entry(Op::Read, &args, done).map(|b| b.len())
    }

    fn read_peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let args = [self.fd.as_raw_fd().into(), buffer.len() as i64];
        let done = socket::recv_peek(self.fd.as_fd(), buffer);
        let done = done.map(|n| buffer[..n].to_vec());
        let peeked = self.recorder.entry(Op::ReadPeek, &args, done);
        peeked.map(|bytes| bytes.len())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.fd_ref().try_write(bytes, &self.transfer);
        self.write_entry(Op::Write, bytes, done)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.fd_ref().try_write(bytes, &self.transfer);
        self.write_entry(Op::Send, bytes, done)
    }

    fn accept(&self) -> io::Result<(Rc<dyn VirtualFd>, Option<SocketAddr>)> {
        let (recorded, accepted) = match self.fd_ref().accept() {
            Ok((FdOwned::System(fd), peer)) => (Ok((fd.as_raw_fd(), peer)), Ok((fd, peer))),
            // Does not happen: a listener of the system accepts descriptors of the system.
            Ok((FdOwned::Virtual(fd), peer)) => return Ok((fd, peer)),
            Err(error) => (Err(clone_error(&error)), Err(error)),
        };
        drop(self.entry(Op::Accept, recorded));
        accepted.map(|(fd, peer)| (self.recorder.fd(fd), peer))
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.entry(Op::Shutdown, self.fd_ref().shutdown(how))
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.entry(Op::TakeError, self.fd_ref().take_error())
    }

    fn is_connected(&self) -> io::Result<bool> {
        self.entry(Op::IsConnected, self.fd_ref().is_connected())
    }

    fn readiness(&self) -> io::Result<Readiness> {
        self.entry(Op::Readiness, self.fd_ref().readiness())
    }

    fn is_unconnected(&self) -> io::Result<bool> {
        self.entry(Op::IsUnconnected, self.fd_ref().is_unconnected())
    }

    fn bytes_available(&self) -> io::Result<usize> {
        self.entry(Op::BytesAvailable, self.fd_ref().bytes_available())
    }

    fn peek(&self) -> io::Result<bool> {
        self.entry(Op::Peek, self.fd_ref().peek())
    }

    fn facts(&self) -> io::Result<Readiness> {
        self.entry(Op::Facts, self.fd_ref().facts())
    }

    fn is_pipe(&self) -> io::Result<bool> {
        self.entry(Op::IsPipe, self.fd_ref().is_pipe())
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
