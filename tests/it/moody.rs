//! The system's poller, which on request refuses a call or reports spurious events.
//!
//! The kernel does both, but seldom and not on request: it refuses a registration when memory or
//! `max_user_watches` run out, and readiness may be gone before it is used.

use readily::clock::Monotonic;
use readily::poll::{Event, Notify, Poller, WaitResult};
use readily::{EventLoop, Interest, Readiness, Trigger};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The errors of the next calls; `None` leaves them to the system.
#[derive(Default)]
pub(crate) struct Mood {
    pub(crate) register: Cell<Option<i32>>,
    pub(crate) modify: Cell<Option<i32>>,
    pub(crate) rearm: Cell<Option<i32>>,
    /// Readiness that the next wait reports for each registered descriptor, besides the true one.
    pub(crate) lie: Cell<Option<Readiness>>,
    /// The registered descriptors, and their tokens.
    known: RefCell<BTreeMap<RawFd, u64>>,
}

impl Mood {
    pub(crate) fn known(&self) -> usize {
        self.known.borrow().len()
    }
}

pub(crate) struct Moody {
    poller: Box<dyn Poller>,
    mood: Rc<Mood>,
}

/// A loop on `poller` with a mood.
pub(crate) fn moody_on(poller: Box<dyn Poller>) -> (EventLoop, Rc<Mood>) {
    let mood = Rc::<Mood>::default();
    let moody = Moody {
        poller,
        mood: Rc::clone(&mood),
    };
    let event_loop = EventLoop::with(Box::new(moody), Box::new(Monotonic::new()));
    let event_loop = event_loop.expect("there is memory");
    event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
    (event_loop, mood)
}

/// A loop on the system's own poller, with a mood.
pub(crate) fn moody() -> (EventLoop, Rc<Mood>) {
    moody_on(readily::poll::default_poller::default().expect("there are descriptors"))
}

fn refused(code: &Cell<Option<i32>>) -> io::Result<()> {
    match code.get() {
        Some(code) => Err(io::Error::from_raw_os_error(code)),
        None => Ok(()),
    }
}

impl Poller for Moody {
    fn register(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        refused(&self.mood.register)?;
        self.poller.register(fd, token, i, t)?;
        self.mood.known.borrow_mut().insert(fd, token);
        Ok(())
    }

    fn modify(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        refused(&self.mood.modify)?;
        self.poller.modify(fd, token, i, t)
    }

    fn rearm(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        refused(&self.mood.rearm)?;
        self.poller.rearm(fd, token, interest)
    }

    fn rearm_interest(&self) -> Interest {
        self.poller.rearm_interest()
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        self.mood.known.borrow_mut().remove(&fd);
        self.poller.remove(fd)
    }

    fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<WaitResult> {
        let Some(ready) = self.mood.lie.take() else {
            return self.poller.wait(events, timeout);
        };
        // At most one event for each registration, so that the batch has no other events of it.
        let known = self.mood.known.borrow();
        events.extend(known.values().map(|&token| Event::new(token, ready)));
        Ok(WaitResult::new(false))
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        self.poller.notifier()
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.poller.as_fd()
    }
}
