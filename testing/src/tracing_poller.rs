//! A poller that wraps another one, and reports the calls of the loop and their results to a listener.
//!
//! The expected behaviour of a loop follows from the events that its poller reports. A kernel in memory
//! cannot know these, because the caller may put any poller on it. So this wrapper is the outermost
//! poller. It changes nothing until a listener is set.
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

/// A listener to the waits of the loop.
pub(super) trait TraceListener {
    /// The loop is about to wait. With a listener, a wait without a timeout becomes one with a timeout
    /// of zero.
    fn before_wait(&self, timeout: Option<Duration>);

    /// The wait has ended, and reported these events.
    fn after_wait(&self, events: &[Event]);
}

/// The token and the interest under which a number is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Registered {
    pub(super) token: u64,
    pub(super) interest: Interest,
}

#[derive(Default)]
struct TraceState {
    registered: BTreeMap<RawFd, Registered>,
    last: Option<RawFd>,
    refused: Option<RawFd>,
    listener: Option<Rc<dyn TraceListener>>,
    /// Events that the next wait reports first, besides its own.
    late: Vec<Event>,
}

/// The state of a [`TracingPoller`], for the test.
#[derive(Clone)]
pub(super) struct PollerTrace {
    state: Rc<RefCell<TraceState>>,
    notifications: Arc<AtomicUsize>,
}

impl PollerTrace {
    /// Wraps a poller.
    pub(super) fn around(poller: Box<dyn Poller>) -> (Box<dyn Poller>, Self) {
        let poller_trace = Self {
            state: Rc::default(),
            notifications: Arc::default(),
        };
        let tracing = TracingPoller {
            poller,
            poller_trace: poller_trace.clone(),
        };
        (Box::new(tracing), poller_trace)
    }

    pub(super) fn listen(&self, listener: Option<Rc<dyn TraceListener>>) {
        // The old listener is dropped after the borrow, because its drop may call this object.
        let _old = std::mem::replace(&mut self.state.borrow_mut().listener, listener);
    }

    /// Returns the registrations, by number.
    pub(super) fn registered(&self) -> Ref<'_, BTreeMap<RawFd, Registered>> {
        Ref::map(self.state.borrow(), |state| &state.registered)
    }

    /// Returns the number and the token of the last registration.
    pub(super) fn last(&self) -> Option<(RawFd, u64)> {
        let state = self.state.borrow();
        let number = state.last?;
        Some((number, state.registered.get(&number)?.token))
    }

    /// Whether the last change that failed was one of this number.
    pub(super) fn refused(&self, number: RawFd) -> bool {
        self.state.borrow().refused == Some(number)
    }

    /// Adds an event to the report of the next wait, as a poller may report a stale event.
    pub(super) fn report_late(&self, event: Event) {
        self.state.borrow_mut().late.push(event);
    }

    /// Returns the number of notifications since the last call.
    pub(super) fn take_notifications(&self) -> usize {
        self.notifications.swap(0, Ordering::SeqCst)
    }

    fn listener(&self) -> Option<Rc<dyn TraceListener>> {
        self.state.borrow().listener.clone()
    }
}

impl fmt::Debug for PollerTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollerTrace").finish_non_exhaustive()
    }
}

/// The poller between the loop and the wrapped poller.
struct TracingPoller {
    poller: Box<dyn Poller>,
    poller_trace: PollerTrace,
}

impl TracingPoller {
    /// Records the new interest of a number, or that its change failed.
    fn record(&self, fd: RawFd, registered: Registered, done: &io::Result<()>) {
        let mut state = self.poller_trace.state.borrow_mut();
        match done {
            Ok(()) => drop(state.registered.insert(fd, registered)),
            Err(_) => state.refused = Some(fd),
        }
    }
}

impl Poller for TracingPoller {
    fn register(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        let registered = self.poller.register(fd, token, i, t);
        self.record(fd, Registered { token, interest: i }, &registered);
        self.poller_trace.state.borrow_mut().last = Some(fd);
        registered
    }

    fn modify(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        let modified = self.poller.modify(fd, token, i, t);
        self.record(fd, Registered { token, interest: i }, &modified);
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
        self.poller_trace.state.borrow_mut().registered.remove(&fd);
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
        listener.before_wait(timeout);
        let before = events.len();
        let limit = Some(timeout.unwrap_or(Duration::ZERO));
        let result = self.poller.wait(events, limit)?;
        let late = std::mem::take(&mut self.poller_trace.state.borrow_mut().late);
        events.splice(before..before, late);
        listener.after_wait(&events[before..]);
        Ok(result)
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::new(CountingNotifier {
            inner: self.poller.notifier(),
            notifications: Arc::clone(&self.poller_trace.notifications),
        })
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.poller.as_fd()
    }

    fn kernel(&self) -> Option<Rc<dyn VirtualKernel>> {
        self.poller.kernel()
    }
}

/// A notifier that counts its notifications.
struct CountingNotifier {
    inner: Arc<dyn Notify>,
    notifications: Arc<AtomicUsize>,
}

impl Notify for CountingNotifier {
    fn notify(&self) {
        self.notifications.fetch_add(1, Ordering::SeqCst);
        self.inner.notify();
    }
}
