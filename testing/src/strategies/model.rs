//! What a loop should do, expressed more simply than the loop does it: two maps and a sorted list.
//!
//! The model does not predict a whole run beforehand. It receives what is done to the loop, and
//! what the poller reported, and works out only which call should come *next*; each call is compared with
//! that as it comes. So what a callback does counts for the very next branch, as it should, and the story
//! ends where the first thing went wrong. The changes stand in the order of the loop's own methods: register,
//! modify, remove; arm, disarm; call soon, send, spawn, wake, abort.
//!
//! Rules: L2, L5, T1, T3. The maps are registrations and tasks, the list is that of the timers (N1, N7, N15).

use crate::sim::Kernel;
use readily::clock::Clock;
use readily::event_loop::{Branch, Role};
use readily::poll::Event;
use readily::{Interest, Readiness, Trigger};
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

/// What is done to the loop, from outside or by a callback.
impl Model {
    /// Where in time we are, in words.
    pub(super) fn when(&self) -> String {
        match (self.phase, self.turns) {
            (Phase::Between, 0) => "before turn 1".to_owned(),
            (Phase::Between, turns) => format!("after turn {turns}"),
            (_, turns) => format!("in turn {turns}"),
        }
    }

    pub(super) fn stops(&mut self) {
        self.stop = true;
        if let Some(run) = &mut self.run {
            run.stop.get_or_insert(self.turns - run.begun);
        }
    }

    pub(super) fn begins_run(&mut self, most: u64) {
        self.limit = None;
        self.receive();
        self.run = Some(Run {
            begun: self.turns,
            most,
            // One that was asked for before leaves a run one turn.
            stop: self.stop.then_some(1),
        });
    }

    /// Whether a run goes on and should not.
    pub(super) fn runs_on(&self) -> bool {
        self.run
            .is_some_and(|run| self.turns - run.begun > run.most)
    }

    /// At the end of which of its turns a run should have stopped.
    pub(super) fn ends_run(&mut self) -> Option<u64> {
        (self.stop, self.ran) = (false, true);
        self.run.take()?.stop
    }

    pub(super) fn register(&mut self, id: Id, registered: Registered) {
        self.tokens.insert(registered.token, id);
        self.registered.insert(id, registered);
    }

    pub(super) fn modify(&mut self, id: Id, interest: Interest) {
        let Some(registered) = self.registered.get_mut(&id) else {
            return;
        };
        registered.parked &= interest.is_empty();
        registered.interest = interest;
        registered.owed = interest;
    }

    /// What is not asked for by the poller of a one-shot stays so.
    pub(super) fn ignore(&mut self, id: Id, interest: Interest) {
        let Some(registered) = self.registered.get_mut(&id) else {
            return;
        };
        let rest = registered.interest.without(interest);
        if registered.trigger == Trigger::OneShot {
            registered.interest = rest;
            registered.owed = registered.owed & rest;
            registered.shaky = true;
        } else {
            self.modify(id, rest);
        }
    }

    /// L2: from here on none of its callbacks runs.
    pub(super) fn remove(&mut self, id: Id, how: String) {
        self.registered.remove(&id);
        self.ends.insert(id, how);
    }

    fn deadline(&mut self, ms: usize) -> (u64, u64) {
        let ns = u64::try_from(ms).unwrap_or(0).saturating_mul(1_000_000);
        let armed = self.armed;
        self.armed += 1;
        (self.kernel.clock().now_ns().saturating_add(ns), armed)
    }

    pub(super) fn arm(&mut self, id: Id, ms: usize) {
        let at = self.deadline(ms);
        self.timers.insert(at, Due::Call(id));
    }

    /// Whether it was armed.
    pub(super) fn disarm(&mut self, id: Id) -> bool {
        let is_it = |due: &Due| matches!(due, Due::Call(other) if *other == id);
        let at = self.timers.iter().find(|(_, due)| is_it(due));
        let Some(at) = at.map(|(at, _)| *at) else {
            return false;
        };
        self.timers.remove(&at).is_some()
    }

    /// What was sent before stands before what is queued now: closures for a later turn (L5), wakes
    /// as if they came now. A stop is for the next turn, too, wherever it waits.
    pub(super) fn receive(&mut self) {
        for id in std::mem::take(&mut self.letters) {
            match self.closures.contains(&id) {
                true => self.later.push_back(id),
                false => self.queue_woken(id),
            }
        }
    }

    /// L5: for a later turn.
    pub(super) fn soon(&mut self, id: Id) {
        self.receive();
        self.closures.insert(id);
        self.later.push_back(id);
    }

    /// From another thread: for the turn that finds it.
    pub(super) fn send(&mut self, id: Id) {
        self.closures.insert(id);
        self.sent.insert(id);
        self.letters.push(id);
        self.rung = true;
    }

    pub(super) fn spawn(&mut self, id: Id) {
        self.receive();
        let task = Tasked {
            woken: true,
            held: true,
            ..Tasked::default()
        };
        self.tasks.insert(id, task);
        self.later.push_back(id);
    }

    /// T1: in a queue at most once. From afar it goes through the inbox, whoever it is.
    pub(super) fn wake(&mut self, id: Id, afar: bool) {
        let task = self.tasks.entry(id).or_default();
        if std::mem::replace(&mut task.woken, true) {
            return;
        }
        if afar {
            self.letters.push(id);
            self.rung = true;
        } else {
            self.queue_woken(id);
        }
    }

    /// In this turn while events and timers are looked at, else in the next.
    fn queue_woken(&mut self, id: Id) {
        match self.phase {
            Phase::Events | Phase::Timers => self.now.push_back(id),
            Phase::Between | Phase::Ready => self.later.push_back(id),
        }
    }

    /// A timer for a task that is being polled.
    pub(super) fn nap(&mut self, id: Id, ms: usize) {
        let at = self.deadline(ms);
        self.timers.insert(at, Due::Wake(id));
        self.tasks.entry(id).or_default().nap = Some(at);
    }

    /// Whether its nap is over.
    pub(super) fn is_rested(&self, id: Id) -> bool {
        let nap = self.tasks.get(&id).and_then(|task| task.nap);
        nap.is_none_or(|at| !self.timers.contains_key(&at))
    }

    /// Whether this is what ends it. One that is `running` ends when its poll does.
    pub(super) fn abort(&mut self, id: Id, running: bool) -> bool {
        let task = self.tasks.entry(id).or_default();
        if task.ended.is_some() || task.cancelled {
            return false;
        }
        task.cancelled = true;
        if !running {
            self.end(id, End::Cancelled);
        }
        true
    }

    /// T3: its future goes, and what that held; then who awaits it is woken.
    pub(super) fn end(&mut self, id: Id, end: End) {
        let task = self.tasks.entry(id).or_default();
        task.ended = Some(end);
        let (nap, joiner, held) = (task.nap.take(), task.joiner, task.held);
        if let Some(at) = nap {
            self.timers.remove(&at);
        }
        let awaited = self
            .tasks
            .iter_mut()
            .find(|(_, task)| task.joiner == Some(id));
        if let Some(awaited) = awaited.map(|(awaited, _)| *awaited) {
            self.let_go(awaited);
        }
        self.panics += u64::from(!held && end == End::Panicked);
        if let Some(joiner) = joiner {
            self.wake(joiner, false);
        }
    }

    /// Nobody will take its result any more; a panic that nobody has seen is told.
    pub(super) fn let_go(&mut self, id: Id) {
        let task = self.tasks.entry(id).or_default();
        task.held = false;
        task.joiner = None;
        self.panics += u64::from(task.ended == Some(End::Panicked) && !task.taken);
        task.taken = true;
    }
}
