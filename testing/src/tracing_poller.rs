//! A poller that lets somebody hear what the loop asks of it, and what it answers.
//!
//! What a loop should do follows from what it was told; a kernel in memory could say what *it*
//! told, but between the two may stand a poller of somebody else's. So this one stands next to
//! the loop, outside everything, changes nothing, and is silent until somebody listens.
//!
//! In the notes this is the edge between "the loop" and "the selector" (N2).

use readily::poll::{Event, Notify, Poller, WaitResult};
use readily::spi::VirtualKernel;
use readily::{Interest, Trigger};
use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Who hears of each wait.
pub(super) trait TraceListener {
    /// The loop is about to wait. Nobody sleeps while somebody listens: a wait without a limit is
    /// made one that does not wait.
    fn asks(&self, timeout: Option<Duration>);

    /// The wait is over, and these were reported.
    fn told(&self, events: &[Event]);
}

/// What is registered under a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) token: u64,
    pub(super) interest: Interest,
}

#[derive(Default)]
struct TraceState {
    known: BTreeMap<RawFd, Asked>,
    last: Option<RawFd>,
    refused: Option<RawFd>,
    listener: Option<Rc<dyn TraceListener>>,
    /// Events that the next wait reports besides, and first.
    late: Vec<Event>,
}

/// The listening side.
#[derive(Clone)]
pub(super) struct PollerTrace {
    said: Rc<RefCell<TraceState>>,
    rings: Arc<AtomicUsize>,
}

impl PollerTrace {
    /// Puts itself around `poller`.
    pub(super) fn around(poller: Box<dyn Poller>) -> (Box<dyn Poller>, Self) {
        let poller_trace = Self {
            said: Rc::default(),
            rings: Arc::default(),
        };
        let between = TracingPoller {
            poller,
            poller_trace: poller_trace.clone(),
        };
        (Box::new(between), poller_trace)
    }

    pub(super) fn listen(&self, listener: Option<Rc<dyn TraceListener>>) {
        // What is replaced goes after the borrow: its owner may be asked something as it goes.
        let _before = std::mem::replace(&mut self.said.borrow_mut().listener, listener);
    }

    /// What is registered, by number.
    pub(super) fn known(&self) -> Ref<'_, BTreeMap<RawFd, Asked>> {
        Ref::map(self.said.borrow(), |said| &said.known)
    }

    /// What was registered last: its number and its token.
    pub(super) fn last(&self) -> Option<(RawFd, u64)> {
        let said = self.said.borrow();
        let number = said.last?;
        Some((number, said.known.get(&number)?.token))
    }

    /// Whether the last change that was refused was one of this number's.
    pub(super) fn refused(&self, number: RawFd) -> bool {
        self.said.borrow().refused == Some(number)
    }

    /// Reports `event` in the next wait too, as a poller does that is behind.
    pub(super) fn report_late(&self, event: Event) {
        self.said.borrow_mut().late.push(event);
    }

    /// How often the bell was rung since this was last asked.
    pub(super) fn rings(&self) -> usize {
        self.rings.swap(0, Ordering::SeqCst)
    }

    fn listener(&self) -> Option<Rc<dyn TraceListener>> {
        self.said.borrow().listener.clone()
    }
}

impl fmt::Debug for PollerTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollerTrace").finish_non_exhaustive()
    }
}

/// What stands between loop and poller.
struct TracingPoller {
    poller: Box<dyn Poller>,
    poller_trace: PollerTrace,
}

impl TracingPoller {
    /// Keeps who was refused, or what is asked for from now on.
    fn note(&self, fd: RawFd, asked: Asked, done: &io::Result<()>) {
        let mut said = self.poller_trace.said.borrow_mut();
        match done {
            Ok(()) => drop(said.known.insert(fd, asked)),
            Err(_) => said.refused = Some(fd),
        }
    }
}

impl Poller for TracingPoller {
    fn register(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        let registered = self.poller.register(fd, token, i, t);
        self.note(fd, Asked { token, interest: i }, &registered);
        self.poller_trace.said.borrow_mut().last = Some(fd);
        registered
    }

    fn modify(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        let modified = self.poller.modify(fd, token, i, t);
        self.note(fd, Asked { token, interest: i }, &modified);
        modified
    }

    fn rearm(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.poller.rearm(fd, token, interest)
    }

    fn reports_urgent_data(&self) -> bool {
        self.poller.reports_urgent_data()
    }

    fn rearm_interest(&self) -> Interest {
        self.poller.rearm_interest()
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        self.poller_trace.said.borrow_mut().known.remove(&fd);
        self.poller.remove(fd)
    }

    fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<WaitResult> {
        let Some(listener) = self.poller_trace.listener() else {
            return self.poller.wait(events, timeout);
        };
        listener.asks(timeout);
        let before = events.len();
        let limit = Some(timeout.unwrap_or(Duration::ZERO));
        let result = self.poller.wait(events, limit)?;
        let late = std::mem::take(&mut self.poller_trace.said.borrow_mut().late);
        events.splice(before..before, late);
        listener.told(&events[before..]);
        Ok(result)
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::new(CountingNotifier {
            bell: self.poller.notifier(),
            rings: Arc::clone(&self.poller_trace.rings),
        })
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.poller.as_fd()
    }

    fn kernel(&self) -> Option<Rc<dyn VirtualKernel>> {
        self.poller.kernel()
    }
}

/// A bell whose rings are counted.
struct CountingNotifier {
    bell: Arc<dyn Notify>,
    rings: Arc<AtomicUsize>,
}

impl Notify for CountingNotifier {
    fn notify(&self) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        self.bell.notify();
    }
}
