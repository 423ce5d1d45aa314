//! A poller that hands everything on to another one, but for one thing that it does wrong.
//!
//! Each [`Way`] is a bug that a poller has had somewhere, or that the obvious code has. They are one
//! type with many small conditions, and not many types, so that an honest one can be made of the
//! same code and shown to break nothing.

use readily::poll::{Event, NOTIFIER, Notify, Poller, WaitResult};
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

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Honest,
    LevelIsEdge,
    EdgeIsLevel,
    OneShotIsLevel,
    OneShotIsEdge,
    DropsEveryOtherEdge,
    ForgetsWhatWasBefore,
    ClaimsToRearm,
    RearmsAnything,
    ModifyTellsNothing,
    ModifyAddsInterest,
    ModifyKeepsToken,
    ModifyRegisters,
    ModifyNeverFails,
    NoInterestIsRead,
    AddsRead,
    AlwaysWritable,
    NeverWritable,
    TellsEachDirectionApart,
    CutsTokens,
    TakesItsOwnToken,
    OneTokenForAll,
    OneTokenForANumber,
    ClearsTheList,
    RemovesNothing,
    RemovesAll,
    RemovesTwice,
    RegistersTwice,
    RemembersNumbers,
    RefusesAll,
    TakesFiles,
    ServesTheFirst,
    LosesALongBatch,
    HalfIsWhole,
    ErrorEverywhere,
    ClosedIsNotReadable,
    NoHangup,
    EndsOfWhatIsAsked,
    EndsOnce,
    UrgentEverywhere,
    UrgentNowhere,
    LooksForASecond,
    NeverWaits,
    RoundsDown,
    CountsIn32Bits,
    HearsTwice,
    HidesNotifications,
    RingsAreEvents,
    BellDiesWithThePoller,
    RingsDrownEvents,
    NamesAnotherDescriptor,
}

type Asked = (u64, Interest, Trigger);

pub(crate) struct Broken<P> {
    poller: P,
    way: Way,
    known: HashMap<RawFd, Asked>,
    /// The first token of each number, for those who keep it.
    first: HashMap<RawFd, u64>,
    edges: usize,
    /// The tokens whose end was told.
    ended: HashSet<u64>,
    echo: bool,
    notifier: Arc<Bell>,
    alive: Arc<()>,
    another: OwnedFd,
}

struct Bell {
    way: Way,
    inner: Arc<dyn Notify>,
    rung: AtomicBool,
    alive: Weak<()>,
}

impl Notify for Bell {
    fn notify(&self) {
        let dead = self.alive.strong_count() == 0;
        assert!(!(dead && self.way == Way::BellDiesWithThePoller));
        self.rung.store(true, Ordering::SeqCst);
        self.inner.notify();
    }
}

impl<P: Poller> Broken<P> {
    pub(crate) fn new(poller: P, way: Way) -> Self {
        let null = File::open("/dev/null").unwrap();
        // SAFETY: takes a number, touches no memory; the file is open.
        let another = unsafe { libc::dup(null.as_raw_fd()) };
        assert!(another >= 0);
        let alive = Arc::new(());
        let notifier = Bell {
            way,
            inner: poller.notifier(),
            rung: AtomicBool::new(false),
            alive: Arc::downgrade(&alive),
        };
        Self {
            poller,
            way,
            known: HashMap::new(),
            first: HashMap::new(),
            edges: 0,
            ended: HashSet::new(),
            echo: false,
            notifier: Arc::new(notifier),
            alive,
            // SAFETY: the kernel has just made this descriptor for us; it has no other owner.
            another: unsafe { OwnedFd::from_raw_fd(another) },
        }
    }

    /// What the other poller is asked, where this one is asked `token`, `interest`, `trigger`.
    fn asked(&mut self, fd: RawFd, (token, interest, trigger): Asked) -> Asked {
        let first = *self.first.entry(fd).or_insert(token);
        let token = match self.way {
            Way::CutsTokens => token & u64::from(u32::MAX),
            Way::TakesItsOwnToken if token == NOTIFIER => NOTIFIER - 1,
            Way::OneTokenForAll => 1,
            Way::OneTokenForANumber => first,
            _ => token,
        };
        let interest = match self.way {
            Way::NoInterestIsRead if interest.is_empty() => Interest::READ,
            Way::AddsRead if !interest.is_empty() => interest | Interest::READ,
            _ => interest,
        };
        let trigger = match (self.way, trigger) {
            (Way::LevelIsEdge, Trigger::Level) | (Way::OneShotIsEdge, Trigger::OneShot) => {
                Trigger::Edge
            }
            (Way::EdgeIsLevel, Trigger::Edge) | (Way::OneShotIsLevel, Trigger::OneShot) => {
                Trigger::Level
            }
            _ => trigger,
        };
        (token, interest, trigger)
    }

    /// Lets what is ready now go by.
    fn forget(&mut self) -> io::Result<()> {
        self.poller.wait(&mut Vec::new(), Some(Duration::ZERO))?;
        Ok(())
    }

    fn timeout(&self, asked: Option<Duration>) -> Option<Duration> {
        let limit = asked.unwrap_or(Duration::MAX);
        match self.way {
            Way::LooksForASecond if limit.is_zero() => Some(Duration::from_secs(1)),
            Way::NeverWaits => Some(Duration::ZERO),
            Way::RoundsDown if asked.is_some() && limit < Duration::from_secs(1) => {
                Some(Duration::from_millis(limit.as_millis() as u64))
            }
            Way::CountsIn32Bits if asked.is_some() && limit.as_millis() > i32::MAX as u128 => {
                Some(Duration::ZERO)
            }
            _ => asked,
        }
    }

    /// What becomes of one fact.
    fn said(&mut self, token: u64, ready: Readiness) -> Readiness {
        let closed = Readiness::READ_CLOSED;
        let asked = self.known.values().find(|asked| asked.0 == token);
        let interest = asked.map_or(Interest::BOTH, |asked| asked.1);
        match self.way {
            Way::NeverWritable => ready.without(Readiness::WRITE),
            Way::HalfIsWhole if ready.contains(closed) => ready | Readiness::WRITE_CLOSED,
            Way::ErrorEverywhere => ready | Readiness::ERROR,
            Way::ClosedIsNotReadable if ready.contains(closed) => ready.without(Readiness::READ),
            Way::NoHangup => ready.without(Readiness::WRITE_CLOSED | Readiness::ERROR),
            Way::EndsOfWhatIsAsked => {
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
            Way::EndsOnce if ready.is_hangup() && !self.ended.insert(token) => Readiness::NONE,
            Way::UrgentEverywhere => ready | Readiness::PRIORITY,
            Way::UrgentNowhere => ready.without(Readiness::PRIORITY),
            _ => ready,
        }
    }

    fn trigger_of(&self, token: u64) -> Option<Trigger> {
        let mut all = self.known.values();
        all.find(|asked| asked.0 == token).map(|asked| asked.2)
    }

    /// What becomes of a batch.
    fn told(&mut self, mut batch: Vec<Event>, rung: bool) -> Vec<Event> {
        for event in &mut batch {
            event.ready = self.said(event.token, event.ready);
        }
        batch.retain(|event| !event.ready.is_empty());
        match self.way {
            Way::DropsEveryOtherEdge => batch.retain(|event| {
                let is_edge = self.trigger_of(event.token) == Some(Trigger::Edge);
                self.edges += usize::from(is_edge);
                !is_edge || self.edges % 2 == 1
            }),
            Way::AlwaysWritable => {
                for (token, interest, _) in self.known.values() {
                    let told = batch.iter().any(|event| event.token == *token);
                    if interest.contains(Interest::WRITE) && !told {
                        let (token, ready) = (*token, Readiness::WRITE);
                        batch.push(Event { token, ready });
                    }
                }
            }
            Way::TellsEachDirectionApart => {
                let apart = |event: &Event| {
                    let write = event.ready.contains(Readiness::WRITE);
                    let rest = event.ready.without(Readiness::WRITE);
                    let both = [
                        rest,
                        if write {
                            Readiness::WRITE
                        } else {
                            Readiness::NONE
                        },
                    ];
                    let token = event.token;
                    both.map(|ready| Event { token, ready })
                };
                batch = batch.iter().flat_map(apart).collect();
                batch.retain(|event| !event.ready.is_empty());
            }
            Way::ServesTheFirst => {
                batch.sort_by_key(|event| event.token);
                batch.truncate(64);
            }
            Way::LosesALongBatch => batch.truncate(64),
            Way::RingsDrownEvents if rung => batch.clear(),
            Way::RingsAreEvents if rung => batch.push(Event {
                token: NOTIFIER,
                ready: Readiness::READ,
            }),
            _ => {}
        }
        batch
    }
}

impl<P: Poller> Poller for Broken<P> {
    fn register(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        if self.way == Way::RefusesAll {
            return Err(ErrorKind::OutOfMemory.into());
        }
        if self.way == Way::RemembersNumbers && self.known.contains_key(&fd) {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        let (token, i, t) = self.asked(fd, (token, i, t));
        let answer = self.poller.register(fd, token, i, t);
        let refused = answer.as_ref().map_err(io::Error::kind);
        let answer = match (self.way, refused) {
            (Way::RegistersTwice, Err(ErrorKind::AlreadyExists)) => {
                self.poller.modify(fd, token, i, t)
            }
            (Way::TakesFiles, Err(ErrorKind::PermissionDenied)) => Ok(()),
            (Way::ForgetsWhatWasBefore, Ok(())) if t == Trigger::Edge => self.forget(),
            _ => answer,
        };
        if answer.is_ok() {
            self.known.insert(fd, (token, i, t));
        }
        answer
    }

    fn modify(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        let (mut token, mut i, t) = self.asked(fd, (token, i, t));
        if let Some(before) = self.known.get(&fd) {
            match self.way {
                Way::ModifyKeepsToken => token = before.0,
                Way::ModifyAddsInterest => i |= before.1,
                _ => {}
            }
        }
        let answer = self.poller.modify(fd, token, i, t);
        let refused = answer.as_ref().map_err(io::Error::kind);
        let answer = match (self.way, refused) {
            (Way::ModifyRegisters, Err(ErrorKind::NotFound)) => {
                self.poller.register(fd, token, i, t)
            }
            (Way::ModifyNeverFails, Err(_)) => Ok(()),
            (Way::ModifyTellsNothing, Ok(())) if t != Trigger::Level => self.forget(),
            _ => answer,
        };
        if answer.is_ok() {
            self.known.insert(fd, (token, i, t));
        }
        answer
    }

    fn rearm(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        match (self.way, self.known.get(&fd)) {
            (Way::RearmsAnything, Some((.., trigger))) => {
                self.poller.modify(fd, token, interest, *trigger)
            }
            _ => self.poller.rearm(fd, token, interest),
        }
    }

    fn rearm_interest(&self) -> Interest {
        match self.way {
            Way::ClaimsToRearm => Interest::BOTH,
            _ => self.poller.rearm_interest(),
        }
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        if self.way == Way::RemovesNothing && self.known.contains_key(&fd) {
            return Ok(());
        }
        if self.way == Way::RemovesAll && self.known.contains_key(&fd) {
            for (fd, _) in mem::take(&mut self.known) {
                let _ = self.poller.remove(fd);
            }
            return Ok(());
        }
        let answer = self.poller.remove(fd);
        if answer.is_ok() {
            self.known.remove(&fd);
        }
        match self.way {
            Way::RemovesTwice => Ok(()),
            _ => answer,
        }
    }

    fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<WaitResult> {
        if self.way == Way::HearsTwice && mem::take(&mut self.echo) {
            return Ok(WaitResult::new(true));
        }
        let mut batch = Vec::new();
        let result = self.poller.wait(&mut batch, self.timeout(timeout))?;
        let rung = self.notifier.rung.swap(false, Ordering::SeqCst);
        self.echo = rung;
        if self.way == Way::ClearsTheList {
            events.clear();
        }
        events.extend(self.told(batch, rung));
        Ok(WaitResult::new(
            result.notified() && self.way != Way::HidesNotifications,
        ))
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        debug_assert_eq!(Arc::strong_count(&self.alive), 1);
        Arc::clone(&self.notifier) as Arc<dyn Notify>
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        match self.way {
            Way::NamesAnotherDescriptor => Some(self.another.as_fd()),
            _ => self.poller.as_fd(),
        }
    }

    fn kernel(&self) -> Option<Rc<dyn VirtualKernel>> {
        self.poller.kernel()
    }
}
