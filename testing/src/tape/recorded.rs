//! What a recorder hands out: a poller, a clock and descriptors that write down what they tell.
//!
//! Each method asks the system, and gives the answer to [`Recorder::entry`] on its way back.

use super::format::OnTape;
use super::ops::Op;
use super::recorder::{Recorder, same};
use super::sum;
use readily::clock::Clock;
use readily::poll::{
    Event, FdOwned, FdRef, Interest, NOTIFIER, Notify, Poller, Readiness, Trigger, VirtualFd,
    VirtualKernel, WaitResult,
};
use readily_sys::nonblocking::{self, Hold};
use readily_sys::transfer::Transfer;
use readily_sys::{errno, socket};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

    fn entry<T: OnTape>(&self, op: Op, answer: T) -> T {
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
