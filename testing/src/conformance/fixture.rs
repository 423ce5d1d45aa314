//! The fixture of a conformance test: a poller, its backend, and waits with a time limit.
//!
//! An operation that has to succeed panics on an error, with the line of the test, so that a test
//! contains nothing but its promise.

use super::{Backend, SystemBackend, TestFd};
use readily::clock::Clock;
use readily::poll::{Event, Poller, WaitResult};
use readily::{Interest, Readiness, Trigger};
use std::any::Any;
use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::time::Duration;

/// How long a [`Fixture`] waits for an event that has to come: long enough for a machine under load.
pub const GUARD: Duration = Duration::from_secs(20);

/// A poller, and the kernel whose descriptors it watches.
///
/// A poller of the system's descriptors converts into a fixture.
///
/// # Panics
///
/// All methods panic if a promise is broken or the kernel returns an error; the message has the
/// expectation.
///
/// # Examples
///
/// Check a promise of your own:
///
/// ```
/// use readily::poll::poll2::PollPoller;
/// use readily::{Interest, Readiness, Trigger};
/// use readily_testing::conformance::Fixture;
///
/// let mut fixture = Fixture::new(PollPoller::new()?);
/// let (here, there) = fixture.pair();
/// fixture.register(here.number(), 1, Interest::READ, Trigger::Level);
/// assert_eq!(fixture.now(), []);
/// there.put(b"a");
/// assert_eq!(fixture.next_for(1), Readiness::READ);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Fixture {
    poller: Box<dyn Poller>,
    backend: Box<dyn Backend>,
    clock: Box<dyn Clock>,
    urgent: bool,
}

impl<P: Poller + 'static> From<P> for Fixture {
    fn from(poller: P) -> Self {
        Self::new(poller)
    }
}

impl Fixture {
    /// Makes a fixture of a poller of the system's descriptors.
    #[must_use]
    #[track_caller]
    pub fn new(poller: impl Poller + 'static) -> Self {
        let other = poller.kernel().is_some();
        assert!(
            !other,
            "the poller watches another kernel: use `Fixture::on`"
        );
        Self::on(SystemBackend, poller)
    }

    /// Makes a fixture of a poller of another kernel's descriptors.
    #[must_use]
    pub fn on(backend: impl Backend + 'static, poller: impl Poller + 'static) -> Self {
        Self {
            urgent: poller.reports_urgent_data(),
            poller: Box::new(poller),
            clock: backend.clock(),
            backend: Box::new(backend),
        }
    }

    /// Marks the poller as one that does not report urgent data, such as a kqueue.
    #[must_use]
    pub fn without_urgent_data(mut self) -> Self {
        self.urgent = false;
        self
    }

    /// Whether the poller reports urgent data.
    #[must_use]
    pub fn has_urgent_data(&self) -> bool {
        self.urgent
    }

    /// The poller, for calls that may fail.
    pub fn poller(&mut self) -> &mut dyn Poller {
        &mut *self.poller
    }

    /// The kernel of the descriptors.
    #[must_use]
    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// The time of the backend's clock, from an arbitrary origin.
    #[must_use]
    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.clock.now_ns())
    }

    /// Stops virtual time, as [`Backend::hold`].
    #[must_use = "dropping the guard lets time advance again"]
    pub fn hold(&self) -> Box<dyn Any> {
        self.backend.hold()
    }
}

/// Registrations that have to succeed.
impl Fixture {
    /// Registers a descriptor, as [`Poller::register`].
    #[track_caller]
    pub fn register(&mut self, fd: RawFd, token: u64, interest: Interest, trigger: Trigger) {
        let answer = self.poller.register(fd, token, interest, trigger);
        answer.unwrap_or_else(|error| panic!("{fd} was not registered: {error}"));
    }

    /// Modifies a registration, as [`Poller::modify`].
    #[track_caller]
    pub fn modify(&mut self, fd: RawFd, token: u64, interest: Interest, trigger: Trigger) {
        let answer = self.poller.modify(fd, token, interest, trigger);
        answer.unwrap_or_else(|error| panic!("{fd} was not modified: {error}"));
    }

    /// Rearms a registration, as [`Poller::rearm`], in those directions that are in
    /// [`Poller::rearm_interest`].
    #[track_caller]
    pub fn rearm(&mut self, fd: RawFd, token: u64, directions: Interest) {
        let wanted = directions & self.poller.rearm_interest();
        if !wanted.is_empty() {
            self.rearm_anyway(fd, token, wanted);
        }
    }

    /// Rearms a registration, as [`Poller::rearm`], whether or not the poller needs that.
    #[track_caller]
    pub fn rearm_anyway(&mut self, fd: RawFd, token: u64, directions: Interest) {
        let answer = self.poller.rearm(fd, token, directions);
        answer.unwrap_or_else(|error| panic!("{fd} was not rearmed: {error}"));
    }

    /// Removes a registration, as [`Poller::remove`].
    #[track_caller]
    pub fn remove(&mut self, fd: RawFd) {
        let answer = self.poller.remove(fd);
        answer.unwrap_or_else(|error| panic!("{fd} was not removed: {error}"));
    }
}

/// Waits that have to succeed.
impl Fixture {
    /// Waits for events, as [`Poller::wait`].
    #[track_caller]
    pub fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> WaitResult {
        let answer = self.poller.wait(events, timeout);
        answer.unwrap_or_else(|error| panic!("the wait failed: {error}"))
    }

    /// Returns the events that are ready now.
    #[track_caller]
    pub fn now(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        self.wait(&mut events, Some(Duration::ZERO));
        each_once(&events);
        events
    }

    /// Waits for the next events: at least one, within the [`GUARD`].
    #[track_caller]
    pub fn next_events(&mut self) -> Vec<Event> {
        let (mut events, deadline) = (Vec::new(), self.time() + GUARD);
        for _ in 0..MOST_WAITS {
            self.wait(&mut events, Some(GUARD));
            if !events.is_empty() || self.time() >= deadline {
                break;
            }
        }
        assert!(!events.is_empty(), "no event within {GUARD:?}");
        each_once(&events);
        events
    }

    /// Waits for the next event, which must be the only one and have this token.
    #[track_caller]
    pub fn next_for(&mut self, token: u64) -> Readiness {
        let events = self.next_events();
        let reported: Vec<_> = events.iter().map(|event| event.token()).collect();
        assert_eq!(reported, [token], "{events:?}");
        events[0].ready()
    }

    /// Waits until everything in `wanted` has been reported for `token`: in one event, or in several
    /// that follow each other.
    #[track_caller]
    pub fn until(&mut self, token: u64, wanted: Readiness) -> Readiness {
        let mut all = Readiness::NONE;
        for _ in 0..MOST_WAITS {
            if all.contains(wanted) {
                return all;
            }
            all |= self.next_for(token);
        }
        panic!("{wanted:?} was never reported, only {all:?}");
    }

    /// Waits until events with `count` different tokens have come, at most `count` times.
    ///
    /// A poller may return small batches, but must not leave out a descriptor for long.
    #[track_caller]
    pub fn tokens(&mut self, count: usize) -> HashSet<u64> {
        let mut tokens = HashSet::new();
        for _ in 0..count {
            if tokens.len() < count {
                tokens.extend(self.next_events().iter().map(|event| event.token()));
            }
        }
        tokens
    }
}

/// The waits for one event: an early return is allowed, but not often.
const MOST_WAITS: usize = 1000;

#[track_caller]
fn each_once(events: &[Event]) {
    let tokens: HashSet<_> = events.iter().map(|event| event.token()).collect();
    let once = tokens.len() == events.len();
    assert!(once, "two events for one registration: {events:?}");
}

/// Descriptors that the kernel has to make.
impl Fixture {
    /// Makes two connected stream sockets, as [`Backend::pair`].
    #[must_use]
    #[track_caller]
    pub fn pair(&self) -> (TestFd, TestFd) {
        self.backend.pair().expect("the call succeeds")
    }

    /// Makes two connected TCP sockets, as [`Backend::tcp`].
    #[must_use]
    #[track_caller]
    pub fn tcp(&self) -> (TestFd, TestFd) {
        self.backend.tcp().expect("the call succeeds")
    }

    /// Makes a pipe, as [`Backend::pipe`].
    #[must_use]
    #[track_caller]
    pub fn pipe(&self) -> (TestFd, TestFd) {
        self.backend.pipe().expect("the call succeeds")
    }

    /// Makes a TCP listener, as [`Backend::listener`].
    #[must_use]
    #[track_caller]
    pub fn listener(&self) -> (TestFd, SocketAddr) {
        self.backend.listener().expect("the call succeeds")
    }

    /// Makes a TCP socket that has begun to connect, as [`Backend::connect`].
    #[must_use]
    #[track_caller]
    pub fn connect(&self, addr: SocketAddr) -> TestFd {
        self.backend.connect(addr).expect("the call succeeds")
    }

    /// Makes two connected datagram sockets, as [`Backend::datagrams`].
    #[must_use]
    #[track_caller]
    pub fn datagrams(&self) -> (TestFd, TestFd) {
        self.backend.datagrams().expect("the call succeeds")
    }

    /// Makes a TCP socket that has not been connected, as [`Backend::unconnected`].
    #[must_use]
    #[track_caller]
    pub fn unconnected(&self) -> TestFd {
        self.backend.unconnected().expect("the call succeeds")
    }

    /// Opens files that pollers refuse, as [`Backend::unpollable`].
    #[must_use]
    #[track_caller]
    pub fn unpollable(&self) -> Vec<TestFd> {
        self.backend.unpollable().expect("the call succeeds")
    }

    /// Returns a closed descriptor number, as [`Backend::free_number`].
    #[must_use]
    pub fn free_number(&self) -> RawFd {
        self.backend.free_number()
    }

    /// Raises the limit of open descriptors, as [`Backend::allow_many`].
    #[track_caller]
    pub fn allow_many(&self) {
        let answer = self.backend.allow_many();
        answer.expect("the kernel allows a thousand descriptors");
    }
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture")
            .field("urgent", &self.urgent)
            .finish_non_exhaustive()
    }
}
