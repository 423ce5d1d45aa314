//! What the promises are tried with: a poller, what it stands on, and waits with a guard.
//!
//! What has to succeed panics here, with the line of the promise, so that a promise is left
//! with what it is about.

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

/// How long a [`Fixture`] waits for what has to come: long enough for a machine under load.
pub const GUARD: Duration = Duration::from_secs(20);

/// A poller, and the kernel whose descriptors it watches.
///
/// A poller over the system's own descriptors *is* a world: wherever one is asked for, it will
/// do.
///
/// # Panics
///
/// All methods, with what was expected, where a promise is broken or the kernel refuses.
///
/// # Examples
///
/// A promise of one's own:
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
    /// A poller over the system's own descriptors.
    #[must_use]
    #[track_caller]
    pub fn new(poller: impl Poller + 'static) -> Self {
        let other = poller.kernel().is_some();
        assert!(!other, "it watches another kernel: `World::on` that one");
        Self::on(SystemBackend, poller)
    }

    /// A poller over the descriptors of another kernel.
    #[must_use]
    pub fn on(backend: impl Backend + 'static, poller: impl Poller + 'static) -> Self {
        Self {
            urgent: poller.reports_urgent_data(),
            poller: Box::new(poller),
            clock: backend.clock(),
            backend: Box::new(backend),
        }
    }

    /// The same, of a poller that knows nothing of urgent data, as a kqueue does not.
    #[must_use]
    pub fn without_urgent_data(mut self) -> Self {
        self.urgent = false;
        self
    }

    /// Whether urgent data is told of.
    #[must_use]
    pub fn has_urgent_data(&self) -> bool {
        self.urgent
    }

    /// The poller itself, for calls that may fail.
    pub fn poller(&mut self) -> &mut dyn Poller {
        &mut *self.poller
    }

    /// What it stands on.
    #[must_use]
    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// What time it is there, counted from some moment.
    #[must_use]
    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.clock.now_ns())
    }

    /// As [`Backend::hold`].
    #[must_use = "dropping the guard lets time go on"]
    pub fn hold(&self) -> Box<dyn Any> {
        self.backend.hold()
    }
}

/// Registrations that have to succeed.
impl Fixture {
    /// As [`Poller::register`].
    #[track_caller]
    pub fn register(&mut self, fd: RawFd, token: u64, interest: Interest, trigger: Trigger) {
        let answer = self.poller.register(fd, token, interest, trigger);
        answer.unwrap_or_else(|error| panic!("{fd} was not registered: {error}"));
    }

    /// As [`Poller::modify`].
    #[track_caller]
    pub fn modify(&mut self, fd: RawFd, token: u64, interest: Interest, trigger: Trigger) {
        let answer = self.poller.modify(fd, token, interest, trigger);
        answer.unwrap_or_else(|error| panic!("{fd} was not modified: {error}"));
    }

    /// As [`Poller::rearm`], in those of the directions that [`Poller::rearm_interest`] names.
    #[track_caller]
    pub fn rearm(&mut self, fd: RawFd, token: u64, directions: Interest) {
        let wanted = directions & self.poller.rearm_interest();
        if !wanted.is_empty() {
            self.rearm_anyway(fd, token, wanted);
        }
    }

    /// As [`Poller::rearm`], also where it is not needed.
    #[track_caller]
    pub fn rearm_anyway(&mut self, fd: RawFd, token: u64, directions: Interest) {
        let answer = self.poller.rearm(fd, token, directions);
        answer.unwrap_or_else(|error| panic!("{fd} was not asked for again: {error}"));
    }

    /// As [`Poller::remove`].
    #[track_caller]
    pub fn remove(&mut self, fd: RawFd) {
        let answer = self.poller.remove(fd);
        answer.unwrap_or_else(|error| panic!("{fd} was not removed: {error}"));
    }
}

/// Waits that have to succeed.
impl Fixture {
    /// As [`Poller::wait`].
    #[track_caller]
    pub fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> WaitResult {
        let answer = self.poller.wait(events, timeout);
        answer.unwrap_or_else(|error| panic!("the wait failed: {error}"))
    }

    /// What is ready now.
    #[track_caller]
    pub fn now(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        self.wait(&mut events, Some(Duration::ZERO));
        each_once(&events);
        events
    }

    /// The next events: at least one, within the [`GUARD`].
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

    /// The next event, which is the only one, and for `token`.
    #[track_caller]
    pub fn next_for(&mut self, token: u64) -> Readiness {
        let events = self.next_events();
        let told: Vec<_> = events.iter().map(|event| event.token).collect();
        assert_eq!(told, [token], "{events:?}");
        events[0].ready
    }

    /// Waits until everything in `wanted` has been reported for `token`, which may take several
    /// events where the facts come about one after the other.
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

    /// The tokens of the next waits, until there are `count` of them: a poller may serve in small
    /// batches, but none may be left out for long.
    #[track_caller]
    pub fn tokens(&mut self, count: usize) -> HashSet<u64> {
        let mut tokens = HashSet::new();
        for _ in 0..count {
            if tokens.len() < count {
                tokens.extend(self.next_events().iter().map(|event| event.token));
            }
        }
        tokens
    }
}

/// An early return is allowed, but not often.
const MOST_WAITS: usize = 1000;

#[track_caller]
fn each_once(events: &[Event]) {
    let tokens: HashSet<_> = events.iter().map(|event| event.token).collect();
    let once = tokens.len() == events.len();
    assert!(once, "two events for one registration: {events:?}");
}

/// Descriptors, which the kernel has to make.
impl Fixture {
    /// As [`Backend::pair`].
    #[must_use]
    #[track_caller]
    pub fn pair(&self) -> (TestFd, TestFd) {
        self.backend.pair().expect("the kernel makes one")
    }

    /// As [`Backend::tcp`].
    #[must_use]
    #[track_caller]
    pub fn tcp(&self) -> (TestFd, TestFd) {
        self.backend.tcp().expect("the kernel makes one")
    }

    /// As [`Backend::pipe`].
    #[must_use]
    #[track_caller]
    pub fn pipe(&self) -> (TestFd, TestFd) {
        self.backend.pipe().expect("the kernel makes one")
    }

    /// As [`Backend::listener`].
    #[must_use]
    #[track_caller]
    pub fn listener(&self) -> (TestFd, SocketAddr) {
        self.backend.listener().expect("the kernel makes one")
    }

    /// As [`Backend::connect`].
    #[must_use]
    #[track_caller]
    pub fn connect(&self, addr: SocketAddr) -> TestFd {
        self.backend.connect(addr).expect("the kernel makes one")
    }

    /// As [`Backend::datagrams`].
    #[must_use]
    #[track_caller]
    pub fn datagrams(&self) -> (TestFd, TestFd) {
        self.backend.datagrams().expect("the kernel makes one")
    }

    /// As [`Backend::unconnected`].
    #[must_use]
    #[track_caller]
    pub fn unconnected(&self) -> TestFd {
        self.backend.unconnected().expect("the kernel makes one")
    }

    /// As [`Backend::unpollable`].
    #[must_use]
    #[track_caller]
    pub fn unpollable(&self) -> Vec<TestFd> {
        self.backend.unpollable().expect("the kernel has some")
    }

    /// As [`Backend::free_number`].
    #[must_use]
    pub fn free_number(&self) -> RawFd {
        self.backend.free_number()
    }

    /// As [`Backend::allow_many`].
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
