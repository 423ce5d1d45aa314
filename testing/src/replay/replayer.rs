//! The replayer: takes the place of the kernel, and returns the recorded results.
//!
//! A replayer provides a poller, a clock and descriptors. Each operation must be the next one in the
//! recording, with the same arguments ([`Replayer::answer`]), and returns the recorded result. No time passes
//! and no connection is made; the replay waits for the messages of the program's other threads, and receives
//! them in the recorded order. After the first difference every operation fails with that error.

use super::cursor::Cursor;
use super::format::{Encode, Op};
use super::recorder::poller_args;
use super::{ReplayError, checksum};
use crate::sim::SimNotifier;
use readily::clock::{Clock, Monotonic};
use readily::poll::{Event, NOTIFIER, Notify, Poller, WaitResult};
use readily::spi::{Placeholder, VirtualFd, VirtualKernel};
use readily::{Interest, Readiness, Trigger};
use readily_sys::socket;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the replay waits for a message of another thread by default.
const REAL_TIMEOUT: Duration = Duration::from_secs(10);

/// The position of a replay in its recording.
pub(super) struct Progress {
    cursor: Cursor,
    entry: u64,
    now_ns: u64,
    error: Option<ReplayError>,
    trace: String,
    real_timeout: Duration,
}

pub(super) struct ReplayState {
    progress: RefCell<Progress>,
    pub(super) rearm_interest: Interest,
    pub(super) reports_urgent_data: bool,
    pub(super) notifier: Arc<SimNotifier>,
    pub(super) origin: Instant,
    pub(super) placeholder: Placeholder,
}

/// Returns the results of a recording. Clones read the same recording.
#[derive(Clone)]
pub struct Replayer(pub(super) Rc<ReplayState>);

impl Replayer {
    /// Makes a replayer of what a [`Recorder`](super::Recorder) has written.
    ///
    /// # Errors
    ///
    /// [`ReplayError::NotARecording`]; [`ReplayError::Corrupt`] if a byte has changed, [`ReplayError::Ends`] if
    /// the recording was truncated in its first entry.
    pub fn new(recording: Vec<u8>) -> Result<Self, ReplayError> {
        let mut cursor = Cursor::new(&recording)?;
        // The first entry has the properties of the poller.
        if Op::of(cursor.byte()?) != Some(Op::Rearm) {
            return Err(ReplayError::NotARecording);
        }
        let mut rearm_interest = Interest::NONE;
        for interest in [Interest::READ, Interest::WRITE] {
            if i64::get(&mut cursor)? != 0 {
                rearm_interest |= interest;
            }
        }
        let reports_urgent_data = i64::get(&mut cursor)? != 0;
        Ok(Self(Rc::new(ReplayState {
            progress: RefCell::new(Progress {
                cursor,
                entry: 0,
                now_ns: 0,
                error: None,
                trace: String::new(),
                real_timeout: REAL_TIMEOUT,
            }),
            rearm_interest,
            reports_urgent_data,
            notifier: Arc::default(),
            origin: Monotonic::new().origin(),
            placeholder: Placeholder::default(),
        })))
    }

    /// A poller that returns the recorded events.
    #[must_use]
    pub fn poller(&self) -> Box<dyn Poller> {
        Box::new(self.clone())
    }

    /// A clock that shows the recorded times.
    #[must_use]
    pub fn clock(&self) -> Box<dyn Clock> {
        Box::new(self.clone())
    }

    /// Checks that the program has done all that it did in the recording, and nothing else.
    ///
    /// Call it after the loop and its streams have been dropped, if they had been when the recording
    /// ended.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub fn finish(&self) -> Result<(), ReplayError> {
        let progress = self.0.progress.borrow();
        match &progress.error {
            Some(error) => Err(error.clone()),
            // Truncated, so the program of the recording had gone on.
            None if progress.cursor.is_at_end() && progress.cursor.is_truncated() => {
                Err(ReplayError::Ends)
            }
            None if !progress.cursor.is_at_end() => Err(ReplayError::EndsEarly {
                entry: progress.entry,
            }),
            None => Ok(()),
        }
    }

    /// Sets how long the replay waits for a message that another thread sent in the recording. The
    /// default is ten seconds.
    pub fn set_real_timeout(&self, real_timeout: Duration) {
        self.0.progress.borrow_mut().real_timeout = real_timeout;
    }

    /// The calls so far, one per line: the branch and its registration, or the task.
    #[must_use]
    pub fn trace(&self) -> String {
        self.0.progress.borrow().trace.clone()
    }

    /// The recorded result of `op`, which must be the next operation, with these arguments.
    pub(super) fn answer<T: Encode>(&self, op: Op, args: &[i64]) -> Result<T, ReplayError> {
        let mut progress = self.0.progress.borrow_mut();
        let progress = &mut *progress;
        if let Some(error) = &progress.error {
            return Err(error.clone());
        }
        let answer = progress.next(op, args);
        match &answer {
            Ok(_) => progress.entry += 1,
            Err(error) => progress.error = Some(error.clone()),
        }
        answer
    }

    /// As [`answer`](Self::answer), for an operation that may have failed in the recording.
    pub(super) fn result<T: Encode>(&self, op: Op, args: &[i64]) -> io::Result<T> {
        self.answer(op, args).map_err(io::Error::other)?
    }

    pub(super) fn fd(&self, number: RawFd, held: Option<OwnedFd>) -> Rc<dyn VirtualFd> {
        let replayer = self.clone();
        Rc::new(ReplayedFd {
            number,
            held,
            replayer,
        })
    }

    /// Reports a result that the operation cannot have had.
    pub(super) fn corrupt(&self) -> io::Error {
        let at = self.0.progress.borrow().cursor.at();
        self.diverge(ReplayError::Corrupt { at });
        io::Error::other(ReplayError::Corrupt { at })
    }

    /// Moves the clock on by `passed` nanoseconds, and returns its time.
    pub(super) fn advance_clock(&self, passed: i64) -> u64 {
        let mut progress = self.0.progress.borrow_mut();
        progress.now_ns = progress.now_ns.wrapping_add(passed as u64);
        progress.now_ns
    }

    fn diverge(&self, error: ReplayError) {
        self.0.progress.borrow_mut().error.get_or_insert(error);
    }
}

impl Progress {
    fn next<T: Encode>(&mut self, op: Op, args: &[i64]) -> Result<T, ReplayError> {
        let at = self.cursor.at();
        let recorded = Op::of(self.cursor.byte()?).ok_or(ReplayError::Corrupt { at })?;
        if recorded != op {
            return Err(self.other(recorded.name().into(), op.name().into()));
        }
        let expected: Result<Vec<i64>, _> =
            args.iter().map(|_| i64::get(&mut self.cursor)).collect();
        let expected = expected?;
        if expected != args {
            let with = |args: &[i64]| format!("{} with {args:?}", op.name());
            return Err(self.other(with(&expected), with(args)));
        }
        T::get(&mut self.cursor)
    }

    fn other(&self, recorded: String, done: String) -> ReplayError {
        ReplayError::Other {
            entry: self.entry,
            recorded,
            done,
        }
    }
}

impl fmt::Debug for Replayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let progress = self.0.progress.borrow();
        f.debug_struct("Replayer")
            .field("entry", &progress.entry)
            .field("error", &progress.error)
            .finish_non_exhaustive()
    }
}

impl VirtualKernel for Replayer {
    fn listen(&self, _addr: SocketAddr, _backlog: usize) -> io::Result<Rc<dyn VirtualFd>> {
        let number = self.result(Op::Listen, &[])?;
        Ok(self.fd(number, None))
    }

    fn connect(&self, _addr: SocketAddr) -> io::Result<Rc<dyn VirtualFd>> {
        let number = self.result(Op::Connect, &[])?;
        Ok(self.fd(number, None))
    }

    fn import(&self, fd: OwnedFd) -> Result<Rc<dyn VirtualFd>, OwnedFd> {
        match self.answer(Op::Import, &[]) {
            // Kept open, so that its peer does not notice a hangup that the recording does not have.
            Ok(number) => Ok(self.fd(number, Some(fd))),
            Err(_) => Err(fd),
        }
    }

    fn replayed_or(&self, live: u64) -> u64 {
        self.answer(Op::ReplayedOr, &[]).unwrap_or(live)
    }

    fn await_notification(&self) -> bool {
        let real_timeout = match &*self.0.progress.borrow() {
            Progress { error: Some(_), .. } => return false,
            progress => progress.real_timeout,
        };
        let notified = self.0.notifier.wait_for(real_timeout);
        if !notified {
            let entry = self.0.progress.borrow().entry;
            self.diverge(ReplayError::NothingSent { entry });
        }
        notified
    }

    fn trace_call(&self, what: &'static str, id: u64) {
        let recorded: Result<(Vec<u8>, u64), _> = self.answer(Op::TraceCall, &[]);
        let Ok((recorded, recorded_id)) = recorded else {
            return;
        };
        let mut progress = self.0.progress.borrow_mut();
        progress.trace += &format!("{what} {id:x}\n");
        if (&recorded[..], recorded_id) != (what.as_bytes(), id) {
            let recorded = format!(
                "a call of {} {recorded_id:x}",
                String::from_utf8_lossy(&recorded).escape_debug()
            );
            let other = progress.other(recorded, format!("a call of {what} {id:x}"));
            progress.error = Some(other);
        }
    }

    fn is_recording(&self) -> bool {
        true
    }
}

impl Poller for Replayer {
    fn register(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        self.result(Op::Register, &poller_args(fd, token, i, t))
    }

    fn modify(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        self.result(Op::Modify, &poller_args(fd, token, i, t))
    }

    fn rearm(&mut self, fd: RawFd, token: u64, i: Interest) -> io::Result<()> {
        self.result(Op::Rearm, &poller_args(fd, token, i, Trigger::Edge))
    }

    fn rearm_interest(&self) -> Interest {
        self.0.rearm_interest
    }

    fn reports_urgent_data(&self) -> bool {
        self.0.reports_urgent_data
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        self.result(Op::Remove, &[fd.into()])
    }

    fn wait(
        &mut self,
        events: &mut Vec<Event>,
        _timeout: Option<Duration>,
    ) -> io::Result<WaitResult> {
        let mut reported: Vec<Event> = self.result(Op::Wait, &[])?;
        let notified = reported
            .last()
            .is_some_and(|event| event.token() == NOTIFIER);
        reported.truncate(reported.len() - usize::from(notified));
        events.append(&mut reported);
        Ok(WaitResult::new(notified))
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.0.notifier) as Arc<dyn Notify>
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn kernel(&self) -> Option<Rc<dyn VirtualKernel>> {
        Some(Rc::new(self.clone()))
    }
}

impl Clock for Replayer {
    fn now_ns(&self) -> u64 {
        // No time passes after the first difference.
        let passed: i64 = self.answer(Op::Clock, &[]).unwrap_or(0);
        self.advance_clock(passed)
    }

    fn origin(&self) -> Instant {
        self.0.origin
    }

    fn system_now(&self) -> SystemTime {
        let since_ns: i64 = self.answer(Op::SystemClock, &[]).unwrap_or(0);
        UNIX_EPOCH + Duration::from_nanos(since_ns.unsigned_abs())
    }
}

pub(super) struct ReplayedFd {
    pub(super) number: RawFd,
    pub(super) held: Option<OwnedFd>,
    pub(super) replayer: Replayer,
}

impl ReplayedFd {
    fn result<T: Encode>(&self, op: Op) -> io::Result<T> {
        self.replayer.result(op, &[self.number.into()])
    }

    fn read_result(&self, op: Op, buffer: &mut [u8]) -> io::Result<usize> {
        let args = [self.number.into(), buffer.len() as i64];
        let bytes: Vec<u8> = self.replayer.result(op, &args)?;
        match buffer.get_mut(..bytes.len()) {
            Some(room) => room.copy_from_slice(&bytes),
            None => return Err(self.replayer.corrupt()),
        }
        Ok(bytes.len())
    }

    fn write_result(&self, op: Op, bytes: &[u8]) -> io::Result<usize> {
        let args = [self.number.into(), bytes.len() as i64, checksum(bytes)];
        let n = self.replayer.result(op, &args)?;
        // The caller slices its buffer at this count, and may do so unchecked.
        match n <= bytes.len() {
            true => Ok(n),
            false => Err(self.replayer.corrupt()),
        }
    }
}

impl fmt::Debug for ReplayedFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplayedFd({})", self.number)
    }
}

impl VirtualFd for ReplayedFd {
    fn raw(&self) -> RawFd {
        self.number
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.held {
            Some(fd) => fd.as_fd(),
            None => self.replayer.0.placeholder.as_fd(),
        }
    }

    fn kind(&self) -> socket::Kind {
        let kind = self.replayer.answer(Op::Kind, &[self.number.into()]);
        kind.unwrap_or(socket::Kind::Other)
    }

    fn set_nonblocking(&self) -> io::Result<bool> {
        self.result(Op::Nonblocking)
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_result(Op::Read, buffer)
    }

    fn read_peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_result(Op::ReadPeek, buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write_result(Op::Write, bytes)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write_result(Op::Send, bytes)
    }

    fn accept(&self) -> io::Result<(Rc<dyn VirtualFd>, Option<SocketAddr>)> {
        let (number, peer) = self.result(Op::Accept)?;
        Ok((self.replayer.fd(number, None), peer))
    }

    fn shutdown(&self, _how: Shutdown) -> io::Result<()> {
        self.result(Op::Shutdown)
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.result(Op::TakeError)
    }

    fn is_connected(&self) -> io::Result<bool> {
        self.result(Op::IsConnected)
    }

    fn readiness(&self) -> io::Result<Readiness> {
        self.result(Op::Readiness)
    }

    fn is_unconnected(&self) -> io::Result<bool> {
        self.result(Op::IsUnconnected)
    }

    fn bytes_available(&self) -> io::Result<usize> {
        self.result(Op::BytesAvailable)
    }

    fn peek(&self) -> io::Result<bool> {
        self.result(Op::Peek)
    }

    fn facts(&self) -> io::Result<Readiness> {
        self.result(Op::Facts)
    }

    fn is_pipe(&self) -> io::Result<bool> {
        self.result(Op::IsPipe)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.result(Op::LocalAddr)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.result(Op::PeerAddr)
    }

    fn set_nodelay(&self, _nodelay: bool) -> io::Result<()> {
        self.result(Op::Nodelay)
    }
}
