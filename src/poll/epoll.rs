//! The poller of Linux, over epoll.
//!
//! The kernel keeps the registrations, so this poller keeps none: a copy of the kernel's table
//! would be wrong after the first descriptor that is closed without a removal. The rest is
//! translation: of an interest here, of the kernel's bits in [`Event::ready`].
//!
//! In the notes this is the *selector* of Linux (N2).

#[path = "epoll/notifier.rs"]
mod notifier;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use readily_sys::epoll::{self, Epoll};
use readily_sys::errno;
use readily_sys::timer::Timer;

use self::notifier::Notifications;
use crate::poll::{
    Event, Interest, NOTIFIER, Notify, Poller, Trigger, WaitResult, Watched, check_owner,
    check_token,
};

/// The [`Poller`] of Linux.
#[derive(Debug)]
pub struct EpollPoller {
    epoll: Epoll,
    notifications: Notifications,
    host: Option<Host>,
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
        let notifications = Notifications::new()?;
        notifications.watch(&epoll)?;
        Ok(Self {
            epoll,
            notifications,
            host: None,
        })
    }

    /// Refuses calls in a child process, which shares the kernel's table with its parent.
    #[inline]
    fn check_owner(&self) -> io::Result<()> {
        self.notifications.check_owner()
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
}

impl Poller for EpollPoller {
    #[inline]
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

    #[inline]
    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        self.check_owner()?;
        self.epoll.delete(fd)
    }

    // Shorter than the registers that a call saves.
    #[inline(always)]
    fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<WaitResult> {
        self.check_owner()?;
        let new = match self.epoll.wait(events, timeout) {
            Ok(new) => new,
            Err(error) => unless_interrupted(error)?,
        };
        // Nearly never, so nearly no wait has to look for the notifier among its events.
        let notified = self.notifications.is_set() && self.notifications.take(events, new);
        Ok(WaitResult::new(notified))
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        self.notifications.notifier()
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
        const LEFT_OUT: [i32; 3] = [errno::EBADF, errno::EPERM, errno::EEXIST];
        watched.iter().try_for_each(|it| check_token(it.token))?;
        self.check_owner()?;
        let new = Epoll::new()?;
        self.notifications.watch(&new)?;
        for one in watched {
            match new.add(one.fd, to_epoll(one.interest, one.trigger), one.token) {
                // Closed outside the loop as well, or another file by now: it was not watched before.
                Err(e) if e.raw_os_error().is_some_and(|e| LEFT_OUT.contains(&e)) => {}
                added => added?,
            }
        }
        if let Some(host) = &self.host {
            host.outer.add(new.as_fd().as_raw_fd(), epoll::IN, 0)?;
            // Closing it below does not remove it from the host's epoll if a child has a copy.
            let _ = host.outer.delete(self.epoll.as_fd().as_raw_fd());
        }
        self.epoll = new;
        self.notifications.restart();
        Ok(true)
    }
}

/// A signal is no error of a wait, which then has no events.
#[cold]
fn unless_interrupted(error: io::Error) -> io::Result<usize> {
    match error.raw_os_error() {
        Some(errno::EINTR) => Ok(0),
        _ => Err(error),
    }
}

/// The bits to ask epoll for.
#[inline]
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

#[cfg(test)]
#[path = "epoll/tests.rs"]
mod tests;
