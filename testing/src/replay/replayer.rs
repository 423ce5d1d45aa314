//! The replayer: stands in for the kernel, and answers from the recording.
//!
//! It hands out a poller, a clock and descriptors. Each operation must be the one that is next in the
//! recording, with the same numbers ([`Replayer::answer`]), and gets the answer that was given then. No time
//! passes and nothing is connected; what other threads of the program send is waited for, and taken in the
//! order in which it came. From the first difference on, every operation fails with it.
//!
//! Not in the notes.

use super::cursor::Cursor;
use super::format::{Encode, Op};
use super::recorder::asked;
use super::{ReplayError, sum};
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

/// How long another thread may take for what it did in the recording, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Playing {
    cursor: Cursor,
    entry: u64,
    now_ns: u64,
    error: Option<ReplayError>,
    trace: String,
    real_timeout: Duration,
}

pub(super) struct Inner {
    playing: RefCell<Playing>,
    pub(super) rearms: Interest,
    pub(super) reports_urgent_data: bool,
    pub(super) notifier: Arc<SimNotifier>,
    pub(super) origin: Instant,
    pub(super) placeholder: Placeholder,
}

/// Answers as a tape has it. Clones read the same tape.
#[derive(Clone)]
pub struct Replayer(pub(super) Rc<Inner>);

impl Replayer {
    /// Plays what a [`Recorder`](super::Recorder) wrote.
    ///
    /// # Errors
    ///
    /// [`ReplayError::NotARecording`]; [`ReplayError::Corrupt`] if a byte has changed, [`ReplayError::Ends`] if
    /// next to nothing is there.
    pub fn new(recording: Vec<u8>) -> Result<Self, ReplayError> {
        let mut cursor = Cursor::new(&recording)?;
        // The first entry: what the poller wants to be asked again for.
        if Op::of(cursor.byte()?) != Some(Op::Rearm) {
            return Err(ReplayError::NotARecording);
        }
        let mut rearms = Interest::NONE;
        for interest in [Interest::READ, Interest::WRITE] {
            if i64::get(&mut cursor)? != 0 {
                rearms |= interest;
            }
        }
        let reports_urgent_data = i64::get(&mut cursor)? != 0;
        Ok(Self(Rc::new(Inner {
            playing: RefCell::new(Playing {
                cursor,
                entry: 0,
                now_ns: 0,
                error: None,
                trace: String::new(),
                real_timeout: PATIENCE,
            }),
            rearms,
            reports_urgent_data,
            notifier: Arc::default(),
            origin: Monotonic::new().origin(),
            placeholder: Placeholder::default(),
        })))
    }

    /// The poller of the recording.
    #[must_use]
    pub fn poller(&self) -> Box<dyn Poller> {
        Box::new(self.clone())
    }

    /// Its clock.
    #[must_use]
    pub fn clock(&self) -> Box<dyn Clock> {
        Box::new(self.clone())
    }

    /// Whether the program did what it did in the recording, from its beginning to its end. To be
    /// asked when loop and streams have been dropped, if they were when the recording ended.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub fn finish(&self) -> Result<(), ReplayError> {
        let playing = self.0.playing.borrow();
        match &playing.error {
            Some(error) => Err(error.clone()),
            // It was played to where it was cut off, and there was more.
            None if playing.cursor.is_at_end() && playing.cursor.is_cut() => Err(ReplayError::Ends),
            None if !playing.cursor.is_at_end() => Err(ReplayError::EndsEarly {
                entry: playing.entry,
            }),
            None => Ok(()),
        }
    }

    /// Waits so long for what another thread sent in the recording; ten seconds unless told
    /// otherwise.
    pub fn set_real_timeout(&self, real_timeout: Duration) {
        self.0.playing.borrow_mut().real_timeout = real_timeout;
    }

    /// Who was called, a line for each: which branch of which registration, which task.
    #[must_use]
    pub fn trace(&self) -> String {
        self.0.playing.borrow().trace.clone()
    }

    /// What the tape has for `op` with `args`.
    pub(super) fn answer<T: Encode>(&self, op: Op, args: &[i64]) -> Result<T, ReplayError> {
        let mut playing = self.0.playing.borrow_mut();
        let playing = &mut *playing;
        if let Some(error) = &playing.error {
            return Err(error.clone());
        }
        let answer = playing.next(op, args);
        match &answer {
            Ok(_) => playing.entry += 1,
            Err(error) => playing.error = Some(error.clone()),
        }
        answer
    }

    /// The same, where the answer may be an error itself.
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

    /// The tape has what cannot be.
    pub(super) fn spoilt(&self) -> io::Error {
        let at = self.0.playing.borrow().cursor.at();
        self.diverge(ReplayError::Corrupt { at });
        io::Error::other(ReplayError::Corrupt { at })
    }

    /// The time, `passed` after the last reading.
    pub(super) fn later(&self, passed: i64) -> u64 {
        let mut playing = self.0.playing.borrow_mut();
        playing.now_ns = playing.now_ns.wrapping_add(passed as u64);
        playing.now_ns
    }

    fn diverge(&self, error: ReplayError) {
        self.0.playing.borrow_mut().error.get_or_insert(error);
    }
}

impl Playing {
    fn next<T: Encode>(&mut self, op: Op, args: &[i64]) -> Result<T, ReplayError> {
        let at = self.cursor.at();
        let recorded = Op::of(self.cursor.byte()?).ok_or(ReplayError::Corrupt { at })?;
        if recorded != op {
            return Err(self.other(recorded.name().into(), op.name().into()));
        }
        let before: Result<Vec<i64>, _> = args.iter().map(|_| i64::get(&mut self.cursor)).collect();
        let before = before?;
        if before != args {
            let with = |args: &[i64]| format!("{} with {args:?}", op.name());
            return Err(self.other(with(&before), with(args)));
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
        let playing = self.0.playing.borrow();
        f.debug_struct("Replayer")
            .field("entry", &playing.entry)
            .field("diverged", &playing.error)
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
        match self.answer(Op::Adopt, &[]) {
            // Kept open: whoever has its other end is to see no difference.
            Ok(number) => Ok(self.fd(number, Some(fd))),
            Err(_) => Err(fd),
        }
    }

    fn replayed_or(&self, live: u64) -> u64 {
        self.answer(Op::Decide, &[]).unwrap_or(live)
    }

    fn await_notification(&self) -> bool {
        let real_timeout = match &*self.0.playing.borrow() {
            Playing { error: Some(_), .. } => return false,
            playing => playing.real_timeout,
        };
        let rung = self.0.notifier.wait_for(real_timeout);
        if !rung {
            let entry = self.0.playing.borrow().entry;
            self.diverge(ReplayError::NothingSent { entry });
        }
        rung
    }

    fn trace_call(&self, what: &'static str, whose: u64) {
        let recorded: Result<(Vec<u8>, u64), _> = self.answer(Op::Note, &[]);
        let Ok((before, of)) = recorded else { return };
        let mut playing = self.0.playing.borrow_mut();
        playing.trace += &format!("{what} {whose:x}\n");
        if (&before[..], of) != (what.as_bytes(), whose) {
            let before = format!(
                "a call of {} {of:x}",
                String::from_utf8_lossy(&before).escape_debug()
            );
            let other = playing.other(before, format!("one of {what} {whose:x}"));
            playing.error = Some(other);
        }
    }

    fn is_recording(&self) -> bool {
        true
    }
}

impl Poller for Replayer {
    fn register(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        self.result(Op::Register, &asked(fd, token, i, t))
    }

    fn modify(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        self.result(Op::Modify, &asked(fd, token, i, t))
    }

    fn rearm(&mut self, fd: RawFd, token: u64, i: Interest) -> io::Result<()> {
        self.result(Op::Rearm, &asked(fd, token, i, Trigger::Edge))
    }

    fn rearm_interest(&self) -> Interest {
        self.0.rearms
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
        let notified = reported.last().is_some_and(|event| event.token == NOTIFIER);
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
        // Time stands still where the tape has nothing to say.
        let passed: i64 = self.answer(Op::Clock, &[]).unwrap_or(0);
        self.later(passed)
    }

    fn origin(&self) -> Instant {
        self.0.origin
    }

    fn system_now(&self) -> SystemTime {
        let since_ns: i64 = self.answer(Op::Wall, &[]).unwrap_or(0);
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

    fn wrote(&self, op: Op, bytes: &[u8]) -> io::Result<usize> {
        let args = [self.number.into(), bytes.len() as i64, sum(bytes)];
        let n = self.replayer.result(op, &args)?;
        // Whoever wrote goes on behind these bytes, and may believe that they are there.
        match n <= bytes.len() {
            true => Ok(n),
            false => Err(self.replayer.spoilt()),
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
        let args = [self.number.into(), buffer.len() as i64];
        let bytes: Vec<u8> = self.replayer.result(Op::Read, &args)?;
        match buffer.get_mut(..bytes.len()) {
            Some(room) => room.copy_from_slice(&bytes),
            None => return Err(self.replayer.spoilt()),
        }
        Ok(bytes.len())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.wrote(Op::Write, bytes)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.wrote(Op::Send, bytes)
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
        self.result(Op::Unread)
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
