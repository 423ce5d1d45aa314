//! The poller of Linux, over epoll.
//!
//! The kernel keeps the registrations, so this poller keeps none: a copy of the kernel's table
//! would be wrong after the first descriptor that is closed without a removal. The rest is
//! translation, in two pure functions, which are tested on every combination of bits.
//!
//! In the notes this is the *selector* of Linux (N2).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use readily_sys::epoll::{self, Epoll};
use readily_sys::fork::ForkGuard;
use readily_sys::timer::Timer;
use readily_sys::{Notifier, errno};

use crate::poll::{
    Event, Interest, NOTIFIER, Notify, Poller, Readiness, Trigger, WaitResult, Watched,
    check_owner, check_token,
};

/// The [`Poller`] of Linux.
#[derive(Debug)]
pub struct EpollPoller {
    epoll: Epoll,
    notifier: Arc<SharedNotifier>,
    host: Option<Host>,
}

/// Notifies by a write to a descriptor that the poller watches.
#[derive(Debug)]
struct SharedNotifier {
    notifier: Notifier,
    fork: ForkGuard,
}

impl Notify for SharedNotifier {
    fn notify(&self) {
        // In a child process this would wake the parent.
        if !self.fork.forked() {
            self.notifier.notify();
        }
    }
}

impl SharedNotifier {
    /// Registers the notifier, edge-triggered: each write is a new edge, so it need not be read.
    fn watch(&self, epoll: &Epoll) -> io::Result<()> {
        let fd = self.notifier.as_fd().as_raw_fd();
        epoll.add(fd, epoll::IN | epoll::ET, NOTIFIER)
    }
}

/// The descriptor for a host: an epoll that contains the poller's, which may be replaced, and the
/// timer of the next deadline, if the host wants that. The loop never waits for this epoll, so its
/// entries are level-triggered.
#[derive(Debug)]
struct Host {
    outer: Epoll,
    timer: Option<Timer>,
}

impl Host {
    fn timer(&mut self) -> io::Result<&Timer> {
        if self.timer.is_none() {
            let timer = Timer::new()?;
            self.outer.add(timer.as_fd().as_raw_fd(), epoll::IN, 0)?;
            self.timer = Some(timer);
        }
        Ok(self.timer.as_ref().expect("it has just been made"))
    }
}

impl EpollPoller {
    /// Makes a poller that watches nothing yet.
    ///
    /// # Errors
    ///
    /// Too many descriptors, or no memory.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let notifier = SharedNotifier {
            notifier: Notifier::new()?,
            fork: ForkGuard::new()?,
        };
        notifier.watch(&epoll)?;
        Ok(Self {
            epoll,
            notifier: Arc::new(notifier),
            host: None,
        })
    }

    /// Refuses calls in a child process, which shares the kernel's table with its parent.
    #[inline]
    fn check_owner(&self) -> io::Result<()> {
        check_owner(&self.notifier.fork)
    }

    /// The host's epoll, made when it is first requested.
    fn host(&mut self) -> io::Result<&mut Host> {
        self.check_owner()?;
        if self.host.is_none() {
            let outer = Epoll::new()?;
            outer.add(self.epoll.as_fd().as_raw_fd(), epoll::IN, 0)?;
            self.host = Some(Host { outer, timer: None });
        }
        Ok(self.host.as_mut().expect("it has just been made"))
    }

    /// Removes the notifier's event, which the caller does not get.
    #[cold]
    fn remove_notifier_event(&self, events: &mut Vec<Event>) {
        events.retain(|event| event.token != NOTIFIER);
        if Notifier::DRAINS {
            self.notifier.notifier.drain();
        }
    }
}

impl Poller for EpollPoller {
    fn register(
        &mut self,
        fd: RawFd,
        token: u64,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()> {
        check_token(token)?;
        self.check_owner()?;
        self.epoll.add(fd, to_epoll(interest, trigger), token)
    }

    fn modify(
        &mut self,
        fd: RawFd,
        token: u64,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()> {
        check_token(token)?;
        self.check_owner()?;
        self.epoll.modify(fd, to_epoll(interest, trigger), token)
    }

    fn rearm(&mut self, fd: RawFd, token: u64, _interest: Interest) -> io::Result<()> {
        check_token(token)?;
        self.check_owner()?;
        // An edge needs no arming here. The call only has to return the error of a descriptor that
        // is not registered, which an addition detects: the kernel refuses a second registration.
        // The loop never calls this, see `rearm_interest`.
        match self.epoll.add(fd, 0, token) {
            Err(e) if e.raw_os_error() == Some(errno::EEXIST) => Ok(()),
            Err(e) => Err(e),
            Ok(()) => {
                self.epoll.delete(fd)?;
                Err(io::Error::from_raw_os_error(errno::ENOENT))
            }
        }
    }

    fn rearm_interest(&self) -> Interest {
        Interest::NONE
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        self.check_owner()?;
        self.epoll.delete(fd)
    }

    fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<WaitResult> {
        self.check_owner()?;
        match self.epoll.wait(timeout) {
            Err(e) if e.raw_os_error() == Some(errno::EINTR) => 0,
            answer => answer?,
        };
        let mut notified = false;
        // All events in one `extend`: a check for capacity before each, and a test that leaves one
        // out, would make the conversion half as expensive again.
        events.extend(self.epoll.events().map(|(token, bits)| {
            notified |= token == NOTIFIER;
            Event {
                token,
                ready: from_epoll(bits),
            }
        }));
        if notified {
            self.remove_notifier_event(events);
        }
        Ok(WaitResult::new(notified))
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.notifier) as Arc<dyn Notify>
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.as_fd())
    }

    fn host_fd(&mut self) -> io::Result<OwnedFd> {
        self.host()?.outer.as_fd().try_clone_to_owned()
    }

    fn set_deadline(&mut self, after: Option<Duration>) -> io::Result<()> {
        self.host()?.timer()?.set(after)
    }

    /// An entry whose descriptor was closed has no number any more by which it could be removed. So
    /// a new epoll instance is made, and the old one is closed with all its entries, as libev does.
    fn rebuild(&mut self, watched: &[Watched]) -> io::Result<bool> {
        const CLOSED_TOO: [i32; 3] = [errno::EBADF, errno::EPERM, errno::EEXIST];
        self.check_owner()?;
        let new = Epoll::new()?;
        self.notifier.watch(&new)?;
        for one in watched {
            match new.add(one.fd, to_epoll(one.interest, one.trigger), one.token) {
                // Closed outside the loop as well, or another file by now: it was not watched before.
                Err(e) if e.raw_os_error().is_some_and(|e| CLOSED_TOO.contains(&e)) => {}
                added => added?,
            }
        }
        if let Some(host) = &self.host {
            host.outer.add(new.as_fd().as_raw_fd(), epoll::IN, 0)?;
            // Closing it below does not remove it from the host's epoll if a child has a copy.
            let _ = host.outer.delete(self.epoll.as_fd().as_raw_fd());
        }
        self.epoll = new;
        Ok(true)
    }
}

/// The bits to ask epoll for.
fn to_epoll(interest: Interest, trigger: Trigger) -> u32 {
    let mut bits = match trigger {
        Trigger::Level => 0,
        Trigger::Edge => epoll::ET,
        Trigger::OneShot => epoll::ONESHOT,
    };
    if interest.contains(Interest::READ) {
        // The half-close only with READ: a level-triggered writer that does not read would get the
        // report in every wait.
        bits |= epoll::IN | epoll::RDHUP;
    }
    if interest.contains(Interest::WRITE) {
        bits |= epoll::OUT;
    }
    if interest.contains(Interest::PRIORITY) {
        bits |= epoll::PRI;
    }
    bits
}

/// The readiness for epoll's bits.
///
/// `HUP` without `IN` counts as readable: an empty pipe whose writers are closed reports only that,
/// and a reader that waited for `IN` would sleep for ever.
///
/// A pipe whose readers are closed reports `OUT | ERR`. That does **not** become
/// `WRITE_CLOSED`: a datagram socket with a pending error reports the same, and can go on
/// writing. So the result is `ERROR`; the next write returns the error.
#[inline]
fn from_epoll(bits: u32) -> Readiness {
    // The six bits that have a meaning, moved together: five are the lowest, RDHUP is far above.
    let facts = bits & LOW | (bits & epoll::RDHUP) >> RDHUP_DOWN;
    REPORTED[facts as usize]
}

const LOW: u32 = epoll::IN | epoll::PRI | epoll::OUT | epoll::ERR | epoll::HUP;
const RDHUP_DOWN: u32 = epoll::RDHUP.trailing_zeros() - LOW.trailing_ones();
const _: () = assert!(LOW == 31, "the five lowest");

/// [`facts_of`] for each set of the six bits.
const REPORTED: [Readiness; 64] = {
    let mut reported = [Readiness::NONE; 64];
    let mut facts = 0;
    while facts < 64 {
        let bits = facts as u32;
        reported[facts] = facts_of(bits & LOW | (bits & !LOW) << RDHUP_DOWN);
        facts += 1;
    }
    reported
};

/// The readiness for epoll's bits, computed.
const fn facts_of(bits: u32) -> Readiness {
    const READ: u8 = Readiness::READ.bits();
    const WRITE: u8 = Readiness::WRITE.bits();
    const READ_CLOSED: u8 = Readiness::READ_CLOSED.bits();
    const WRITE_CLOSED: u8 = Readiness::WRITE_CLOSED.bits();
    const MEANING: [(u32, u8); 6] = [
        (epoll::IN, READ),
        (epoll::PRI, Readiness::PRIORITY.bits()),
        (epoll::OUT, WRITE),
        (epoll::RDHUP, READ | READ_CLOSED),
        (epoll::HUP, READ | WRITE | READ_CLOSED | WRITE_CLOSED),
        (epoll::ERR, READ | WRITE | Readiness::ERROR.bits()),
    ];
    let mut ready = 0;
    let mut at = 0;
    while at < MEANING.len() {
        let (bit, facts) = MEANING[at];
        if bits & bit != 0 {
            ready |= facts;
        }
        at += 1;
    }
    Readiness::from_bits(ready)
}

#[cfg(test)]
#[path = "epoll/tests.rs"]
mod tests;
