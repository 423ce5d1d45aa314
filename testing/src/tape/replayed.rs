//! What a replayer hands out: a poller, a clock and descriptors that answer from the tape.
//!
//! Each method asks [`Replayer::answer`] for the next entry, which must be its own.

use super::format::OnTape;
use super::ops::Op;
use super::recorded::asked;
use super::replayer::Replayer;
use super::sum;
use readily::clock::Clock;
use readily::poll::{
    Event, Interest, NOTIFIER, Notify, Poller, Readiness, Trigger, VirtualFd, VirtualKernel,
    WaitResult,
};
use readily_sys::socket;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
        Arc::clone(&self.0.bell) as Arc<dyn Notify>
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
    fn result<T: OnTape>(&self, op: Op) -> io::Result<T> {
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
