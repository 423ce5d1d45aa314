//! What a loop should do, said more simply than the loop does it: two maps and a sorted list.
//!
//! The model is not asked for a whole run beforehand. It is told what is done to the loop, and
//! what the poller reported, and works out only who should be called *next*; each call is held
//! against that as it comes. So what a callback does counts for the very next branch, as it
//! should, and the story ends where the first thing went wrong.
//!
//! The maps are registrations and tasks, the list is that of the timers (N1, N7).

use crate::sim::Kernel;
use readily::event_loop::{Branch, Role};
use readily::poll::{Event, Interest, Readiness, Trigger};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// Names one thing that was made: a registration, a timer, a closure, a task. Never used again.
pub(super) type Id = usize;

/// One call of a callback, as the loop makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Branch(Id, Branch),
    Timer(Id),
    Closure(Id),
    Poll(Id),
}

impl Call {
    pub(super) fn id(self) -> Id {
        match self {
            Self::Branch(id, _) | Self::Timer(id) | Self::Closure(id) | Self::Poll(id) => id,
        }
    }
}

/// A registration.
pub(super) struct Registered {
    pub(super) number: RawFd,
    pub(super) token: u64,
    pub(super) role: Role,
    pub(super) interest: Interest,
    pub(super) trigger: Trigger,
    /// Out of the poller until it wants something: it has hung up over bytes that nobody reads.
    pub(super) parked: bool,
    /// How many bytes were left when its hangup was last put off for them.
    pub(super) left: usize,
    /// In which directions an edge or a one-shot, too, must be told.
    pub(super) owed: Interest,
    /// The loop accepts for it.
    pub(super) serves: bool,
    /// The kernel has refused it a change; what it is watched for is not certain any more.
    pub(super) shaky: bool,
}

impl Registered {
    /// L10: what the poller is asked for; `None` is out of it.
    pub(super) fn effective(&self) -> Option<Interest> {
        let interest = match self.role {
            Role::Connecting => Interest::WRITE,
            _ => self.interest,
        };
        (!self.parked).then_some(interest)
    }
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Done,
    Cancelled,
    Panicked,
}

#[derive(Default)]
pub(super) struct Tasked {
    /// Whether it stands in a queue, or will once the inbox is read.
    pub(super) woken: bool,
    pub(super) ended: Option<End>,
    /// Somebody can take its result.
    pub(super) held: bool,
    pub(super) taken: bool,
    /// Who awaits it.
    pub(super) joiner: Option<Id>,
    /// Its timer, while it naps.
    pub(super) nap: Option<(u64, u64)>,
    /// Cancelled while it ran.
    pub(super) cancelled: bool,
}

/// What a timer does.
#[derive(Clone, Copy)]
pub(super) enum Due {
    Call(Id),
    Wake(Id),
}

/// A run of a future.
#[derive(Clone, Copy)]
pub(super) struct Run {
    /// After which turn of the loop it began.
    pub(super) begun: u64,
    /// As many turns it takes if nobody stops it.
    pub(super) most: u64,
    /// At the end of which of its turns it is to stop.
    pub(super) stop: Option<u64>,
}

/// Where in a turn the loop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Between,
    Events,
    Timers,
    Ready,
}

pub(super) struct Model {
    pub(super) kernel: Kernel,
    /// Nobody else has anything on this loop.
    pub(super) alone: bool,
    /// Tasks that are ready at the same time run in any order.
    pub(super) shuffled: bool,
    /// Who is called, while it is looked for who should be.
    pub(super) called: Option<Call>,
    pub(super) registered: BTreeMap<Id, Registered>,
    pub(super) tokens: BTreeMap<u64, Id>,
    /// The tokens of events that the next wait reports late: their registrations have gone.
    pub(super) late: BTreeSet<u64>,
    pub(super) tasks: BTreeMap<Id, Tasked>,
    /// By deadline, and then by arming.
    pub(super) timers: BTreeMap<(u64, u64), Due>,
    pub(super) closures: BTreeSet<Id>,
    /// Those of them that came from another thread.
    pub(super) sent: BTreeSet<Id>,
    pub(super) now: VecDeque<Id>,
    pub(super) later: VecDeque<Id>,
    /// What other threads have sent.
    pub(super) letters: Vec<Id>,
    pub(super) rung: bool,
    /// The loop has been asked to stop, or a thread has sent that.
    pub(super) stop: bool,
    pub(super) stop_sent: bool,
    pub(super) phase: Phase,
    /// As the loop counts them.
    pub(super) turns: u64,
    pub(super) limit: Option<Duration>,
    /// What callbacks are told, once one has asked.
    pub(super) turn_time: Option<Instant>,
    /// While a future of the test's is being run, which is ready all the time.
    pub(super) run: Option<Run>,
    /// One was, and its last wake may stand in the queue yet.
    pub(super) ran: bool,
    pub(super) batch: VecDeque<Event>,
    /// The event that is being served: whose, what of it is left, what it said.
    pub(super) kinds: VecDeque<Branch>,
    pub(super) served: (Id, Readiness),
    pub(super) due: VecDeque<(u64, u64)>,
    pub(super) armed: u64,
    /// Armed before this turn's wait ended.
    pub(super) fence: u64,
    pub(super) stale: u64,
    /// Panics that nobody waits for.
    pub(super) panics: u64,
    /// The names of all things, by their ids, and how those ended that did.
    pub(super) names: Vec<String>,
    pub(super) ends: BTreeMap<Id, String>,
}

impl Model {
    pub(super) fn new(kernel: Kernel, alone: bool, shuffled: bool) -> Self {
        Self {
            kernel,
            alone,
            shuffled,
            called: None,
            registered: BTreeMap::new(),
            tokens: BTreeMap::new(),
            late: BTreeSet::new(),
            tasks: BTreeMap::new(),
            timers: BTreeMap::new(),
            closures: BTreeSet::new(),
            sent: BTreeSet::new(),
            now: VecDeque::new(),
            later: VecDeque::new(),
            letters: Vec::new(),
            rung: false,
            stop: false,
            stop_sent: false,
            phase: Phase::Between,
            turns: 0,
            limit: None,
            turn_time: None,
            run: None,
            // Nobody knows what was done before.
            ran: true,
            batch: VecDeque::new(),
            kinds: VecDeque::new(),
            served: (0, Readiness::NONE),
            due: VecDeque::new(),
            armed: 0,
            fence: 0,
            stale: 0,
            panics: 0,
            names: Vec::new(),
            ends: BTreeMap::new(),
        }
    }

    /// Gives the next thing its id.
    pub(super) fn name(&mut self, name: String) -> Id {
        self.names.push(name);
        self.names.len() - 1
    }
}
