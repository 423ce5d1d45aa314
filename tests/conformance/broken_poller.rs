//! A poller that passes each call on to another poller, with one bug.
//!
//! Each [`Bug`] has occurred in a poller, or is in the obvious code. One type has all bugs as small
//! conditions, so that the same code without a bug can be shown to break no promise.

use readily::poll::{Event, NOTIFIER, Notify, Poller, WaitResult, Watched};
use readily::spi::VirtualKernel;
use readily::{Interest, Readiness, Trigger};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The bug of a [`BrokenPoller`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    Correct,
    LevelIsEdge,
    EdgeIsLevel,
    OneShotIsLevel,
    OneShotIsEdge,
    DropsEveryOtherEdge,
    LosesEarlierEdges,
    ClaimsToRearm,
    RearmsAnything,
    ModifyReportsNothing,
    ModifyAddsInterest,
    ModifyKeepsToken,
    ModifyRegisters,
    ModifyNeverFails,
    NoInterestIsRead,
    AddsRead,
    AlwaysWritable,
    NeverWritable,
    SplitsDirections,
    TruncatesTokens,
    AcceptsNotifierToken,
    OneTokenForAll,
    KeepsFirstToken,
    ClearsEvents,
    RemovesNothing,
    RemovesAll,
    RemovesTwice,
    RegistersTwice,
    RefusesReusedNumbers,
    RefusesAll,
    AcceptsFiles,
    ServesLowestTokens,
    LosesALongBatch,
    HalfCloseIsFull,
    ErrorEverywhere,
    ClosedIsNotReadable,
    NoHangup,
    HangupsOfInterestOnly,
    HangupsOnce,
    UrgentEverywhere,
    UrgentNowhere,
    ZeroTimeoutWaits,
    NeverWaits,
    RoundsDown,
    CountsIn32Bits,
    NotifiesTwice,
    HidesNotifications,
    NotificationsAreEvents,
    NotifierDiesWithPoller,
    NotificationsDropEvents,
    ReturnsAnotherFd,
    NotifiesLate,
    RebuildsNothing,
    RebuildsWithItsOwnToken,
    NotifiesWhenRebuilt,
}

type PollerArgs = (u64, Interest, Trigger);

pub(crate) struct BrokenPoller<P> {
    poller: P,
    bug: Bug,
    registered: HashMap<RawFd, PollerArgs>,
    /// The first token of each number, for [`Bug::KeepsFirstToken`].
    first: HashMap<RawFd, u64>,
    edges: usize,
    /// The tokens whose hangup has been reported.
    hung_up: HashSet<u64>,
    was_notified: bool,
    late: bool,
    notifier: Arc<BugNotifier>,
    alive: Arc<()>,
    another: OwnedFd,
}

struct BugNotifier {
    bug: Bug,
    inner: Arc<dyn Notify>,
    notified: AtomicBool,
    alive: Weak<()>,
}

impl Notify for BugNotifier {
    fn notify(&self) {
        let dead = self.alive.strong_count() == 0;
        assert!(!(dead && self.bug == Bug::NotifierDiesWithPoller));
        self.notified.store(true, Ordering::SeqCst);
        self.inner.notify();
    }
}

impl<P: Poller> BrokenPoller<P> {
    pub(crate) fn new(poller: P, bug: Bug) -> Self {
        let null = File::open("/dev/null").unwrap();
        // SAFETY: has no effect on memory; the file is open.
        let another = unsafe { libc::dup(null.as_raw_fd()) };
        assert!(another >= 0);
        let alive = Arc::new(());
        let notifier = BugNotifier {
            bug,
            inner: poller.notifier(),
            notified: AtomicBool::new(false),
            alive: Arc::downgrade(&alive),
        };
        Self {
            poller,
            bug,
            registered: HashMap::new(),
            first: HashMap::new(),
            edges: 0,
            hung_up: HashSet::new(),
            was_notified: false,
            late: false,
            notifier: Arc::new(notifier),
            alive,
            // SAFETY: `dup` has just made this descriptor; it has no other owner.
            another: unsafe { OwnedFd::from_raw_fd(another) },
        }
    }

    /// The arguments that are passed on for these ones.
    fn changed_args(&mut self, fd: RawFd, (token, interest, trigger): PollerArgs) -> PollerArgs {
        let first = *self.first.entry(fd).or_insert(token);
        let token = match self.bug {
            Bug::TruncatesTokens => token & u64::from(u32::MAX),
            Bug::AcceptsNotifierToken if token == NOTIFIER => NOTIFIER - 1,
            Bug::OneTokenForAll => 1,
            Bug::KeepsFirstToken => first,
            _ => token,
        };
        let interest = match self.bug {
            Bug::NoInterestIsRead if interest.is_empty() => Interest::READ,
            Bug::AddsRead if !interest.is_empty() => interest | Interest::READ,
            _ => interest,
        };
        let trigger = match (self.bug, trigger) {
            (Bug::LevelIsEdge, Trigger::Level) | (Bug::OneShotIsEdge, Trigger::OneShot) => {
                Trigger::Edge
            }
            (Bug::EdgeIsLevel, Trigger::Edge) | (Bug::OneShotIsLevel, Trigger::OneShot) => {
                Trigger::Level
            }
            _ => trigger,
        };
        (token, interest, trigger)
    }

    /// Drops the events that are ready now.
    fn drop_events(&mut self) -> io::Result<()> {
        self.poller.wait(&mut Vec::new(), Some(Duration::ZERO))?;
        Ok(())
    }

    fn changed_timeout(&self, timeout: Option<Duration>) -> Option<Duration> {
        let limit = timeout.unwrap_or(Duration::MAX);
        match self.bug {
            Bug::ZeroTimeoutWaits if limit.is_zero() => Some(Duration::from_secs(1)),
            Bug::NeverWaits => Some(Duration::ZERO),
            Bug::RoundsDown if timeout.is_some() && limit < Duration::from_secs(1) => {
                Some(Duration::from_millis(limit.as_millis() as u64))
            }
            Bug::CountsIn32Bits if timeout.is_some() && limit.as_millis() > i32::MAX as u128 => {
                Some(Duration::ZERO)
            }
            _ => timeout,
        }
    }

    /// The readiness that is reported instead of `ready`.
    fn changed_readiness(&mut self, token: u64, ready: Readiness) -> Readiness {
        let closed = Readiness::READ_CLOSED;
        let registered = self.registered.values().find(|args| args.0 == token);
        let interest = registered.map_or(Interest::BOTH, |args| args.1);
        match self.bug {
            Bug::NeverWritable => ready.without(Readiness::WRITE),
            Bug::HalfCloseIsFull if ready.contains(closed) => ready | Readiness::WRITE_CLOSED,
            Bug::ErrorEverywhere => ready | Readiness::ERROR,
            Bug::ClosedIsNotReadable if ready.contains(closed) => ready.without(Readiness::READ),
            Bug::NoHangup => ready.without(Readiness::WRITE_CLOSED | Readiness::ERROR),
            Bug::HangupsOfInterestOnly => {
                let (reads, writes) = (Interest::READ, Interest::WRITE);
                let of_reading = Readiness::READ | Readiness::READ_CLOSED | Readiness::ERROR;
                let of_writing = Readiness::WRITE | Readiness::WRITE_CLOSED | Readiness::ERROR;
                match (interest.contains(reads), interest.contains(writes)) {
                    (true, true) => ready,
                    (true, false) => ready.without(of_writing),
                    (false, true) => ready.without(of_reading),
                    (false, false) => Readiness::NONE,
                }
            }
            Bug::HangupsOnce if ready.is_hangup() && !self.hung_up.insert(token) => Readiness::NONE,
            Bug::UrgentEverywhere => ready | Readiness::PRIORITY,
            Bug::UrgentNowhere => ready.without(Readiness::PRIORITY),
            _ => ready,
        }
    }

    fn trigger_of(&self, token: u64) -> Option<Trigger> {
        let mut all = self.registered.values();
        all.find(|args| args.0 == token).map(|args| args.2)
    }

    /// The events that are reported instead of `batch`.
    fn changed_batch(&mut self, mut batch: Vec<Event>, notified: bool) -> Vec<Event> {
        for event in &mut batch {
            let ready = self.changed_readiness(event.token(), event.ready());
            *event = Event::new(event.token(), ready);
        }
        batch.retain(|event| !event.ready().is_empty());
        match self.bug {
            Bug::DropsEveryOtherEdge => batch.retain(|event| {
                let is_edge = self.trigger_of(event.token()) == Some(Trigger::Edge);
                self.edges += usize::from(is_edge);
                !is_edge || self.edges % 2 == 1
            }),
            Bug::AlwaysWritable => {
                for (token, interest, _) in self.registered.values() {
                    let reported = batch.iter().any(|event| event.token() == *token);
                    if interest.contains(Interest::WRITE) && !reported {
                        let (token, ready) = (*token, Readiness::WRITE);
                        batch.push(Event::new(token, ready));
                    }
                }
            }
            Bug::SplitsDirections => {
                let split = |event: &Event| {
                    let write = event.ready().contains(Readiness::WRITE);
                    let rest = event.ready().without(Readiness::WRITE);
                    let both = [
                        rest,
                        if write {
                            Readiness::WRITE
                        } else {
                            Readiness::NONE
                        },
                    ];
                    let token = event.token();
                    both.map(|ready| Event::new(token, ready))
                };
                batch = batch.iter().flat_map(split).collect();
                batch.retain(|event| !event.ready().is_empty());
            }
            Bug::ServesLowestTokens => {
                batch.sort_by_key(|event| event.token());
                batch.truncate(64);
            }
            Bug::LosesALongBatch => batch.truncate(64),
            Bug::NotificationsDropEvents if notified => batch.clear(),
            Bug::NotificationsAreEvents if notified => {
                batch.push(Event::new(NOTIFIER, Readiness::READ))
            }
            _ => {}
        }
        batch
    }
}

impl<P: Poller> Poller for BrokenPoller<P> {
    fn register(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        if self.bug == Bug::RefusesAll {
            return Err(ErrorKind::OutOfMemory.into());
        }
        if self.bug == Bug::RefusesReusedNumbers && self.registered.contains_key(&fd) {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        let (token, i, t) = self.changed_args(fd, (token, i, t));
        let answer = self.poller.register(fd, token, i, t);
        let refused = answer.as_ref().map_err(io::Error::kind);
        let answer = match (self.bug, refused) {
            (Bug::RegistersTwice, Err(ErrorKind::AlreadyExists)) => {
                self.poller.modify(fd, token, i, t)
            }
            (Bug::AcceptsFiles, Err(ErrorKind::PermissionDenied)) => Ok(()),
            (Bug::LosesEarlierEdges, Ok(())) if t == Trigger::Edge => self.drop_events(),
            _ => answer,
        };
        if answer.is_ok() {
            self.registered.insert(fd, (token, i, t));
        }
        answer
    }

    fn modify(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        let (mut token, mut i, t) = self.changed_args(fd, (token, i, t));
        if let Some(before) = self.registered.get(&fd) {
            match self.bug {
                Bug::ModifyKeepsToken => token = before.0,
                Bug::ModifyAddsInterest => i |= before.1,
                _ => {}
            }
        }
        let answer = self.poller.modify(fd, token, i, t);
        let refused = answer.as_ref().map_err(io::Error::kind);
        let answer = match (self.bug, refused) {
            (Bug::ModifyRegisters, Err(ErrorKind::NotFound)) => {
                self.poller.register(fd, token, i, t)
            }
            (Bug::ModifyNeverFails, Err(_)) => Ok(()),
            (Bug::ModifyReportsNothing, Ok(())) if t != Trigger::Level => self.drop_events(),
            _ => answer,
        };
        if answer.is_ok() {
            self.registered.insert(fd, (token, i, t));
        }
        answer
    }

    fn rearm(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        match (self.bug, self.registered.get(&fd)) {
            (Bug::RearmsAnything, Some((.., trigger))) => {
                self.poller.modify(fd, token, interest, *trigger)
            }
            _ => self.poller.rearm(fd, token, interest),
        }
    }

    fn rearm_interest(&self) -> Interest {
        match self.bug {
            Bug::ClaimsToRearm => Interest::BOTH,
            _ => self.poller.rearm_interest(),
        }
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        if self.bug == Bug::RemovesNothing && self.registered.contains_key(&fd) {
            return Ok(());
        }
        if self.bug == Bug::RemovesAll && self.registered.contains_key(&fd) {
            for (fd, _) in mem::take(&mut self.registered) {
                let _ = self.poller.remove(fd);
            }
            return Ok(());
        }
        let answer = self.poller.remove(fd);
        if answer.is_ok() {
            self.registered.remove(&fd);
        }
        match self.bug {
            Bug::RemovesTwice => Ok(()),
            _ => answer,
        }
    }

    fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<WaitResult> {
        if self.bug == Bug::NotifiesTwice && mem::take(&mut self.was_notified) {
            return Ok(WaitResult::new(true));
        }
        let mut batch = Vec::new();
        let result = self
            .poller
            .wait(&mut batch, self.changed_timeout(timeout))?;
        let notified = self.notifier.notified.swap(false, Ordering::SeqCst);
        self.was_notified = notified;
        if self.bug == Bug::ClearsEvents {
            events.clear();
        }
        let batch = self.changed_batch(batch, notified);
        let is_long = batch.len() >= 64;
        events.extend(batch);
        Ok(WaitResult::new(match self.bug {
            Bug::HidesNotifications => false,
            Bug::NotifiesLate if is_long => {
                self.late |= result.notified();
                false
            }
            _ => result.notified() || mem::take(&mut self.late),
        }))
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        debug_assert_eq!(Arc::strong_count(&self.alive), 1);
        Arc::clone(&self.notifier) as Arc<dyn Notify>
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        match self.bug {
            Bug::ReturnsAnotherFd => Some(self.another.as_fd()),
            _ => self.poller.as_fd(),
        }
    }

    fn rebuild(&mut self, watched: &[Watched]) -> io::Result<bool> {
        match self.bug {
            Bug::RebuildsNothing => Ok(true),
            Bug::RebuildsWithItsOwnToken => Ok(false),
            Bug::NotifiesWhenRebuilt => {
                self.notifier.notify();
                self.poller.rebuild(watched)
            }
            _ => self.poller.rebuild(watched),
        }
    }

    fn kernel(&self) -> Option<Rc<dyn VirtualKernel>> {
        self.poller.kernel()
    }
}
