//! A model of the loop that is simpler than the loop: two maps and a sorted list.
//!
//! The model does not predict a whole run, for which it would have to know what callbacks will do. It
//! receives each operation on the loop and each report of the poller, and computes only the call that
//! must come *next*; each call of the loop is compared with that. So an operation of a callback
//! counts for the next branch already, and the transcript ends at the first wrong call. The methods
//! follow those of the loop: register, modify, remove; arm, disarm; call soon, send, spawn, wake,
//! abort.
//!
//! Rules: L2, L5, T1, T3. The maps hold registrations and tasks, the list holds timers (N1, N7, N15).

use crate::sim::Kernel;
use readily::clock::Clock;
use readily::event_loop::{Branch, Role};
use readily::poll::Event;
use readily::{Interest, Readiness, Trigger};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// Identifies one registration, timer, closure or task. An id is never used again.
pub(super) type Id = usize;

/// One call of user code by the loop.
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
    pub(super) raw_fd: RawFd,
    pub(super) token: u64,
    /// `None` for a source.
    pub(super) role: Option<Role>,
    pub(super) interest: Interest,
    pub(super) trigger: Trigger,
    /// Whether the poller watches nothing: a hangup came before the last bytes were read, and there
    /// is no interest in reading.
    pub(super) suspended: bool,
    /// Number of unread bytes when they last delayed the hangup.
    pub(super) unread_at_hangup: usize,
    /// The directions that an edge-triggered or one-shot registration has yet to report.
    pub(super) expected: Interest,
    /// Whether the loop accepts at this listener.
    pub(super) is_accepting: bool,
    /// Whether the kernel has refused a change, so that the interest in the poller is uncertain.
    pub(super) is_uncertain: bool,
}

impl Registered {
    /// L10: the interest in the poller; `None` if the registration is not in it.
    pub(super) fn effective(&self) -> Option<Interest> {
        let interest = match self.role {
            Some(Role::Connecting) => Interest::WRITE,
            _ => self.interest,
        };
        (!self.suspended).then_some(interest)
    }
}

/// The end of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskEnd {
    Done,
    Cancelled,
    Panicked,
}

#[derive(Default)]
pub(super) struct ModelTask {
    /// Whether the task is in a queue, or in the inbox.
    pub(super) woken: bool,
    pub(super) ended: Option<TaskEnd>,
    /// Whether a handle exists that can take the result.
    pub(super) has_handle: bool,
    pub(super) taken: bool,
    /// The task that joins this one.
    pub(super) joiner: Option<Id>,
    /// The deadline and number of its timer, during a nap.
    pub(super) nap: Option<(u64, u64)>,
    /// Whether the task was cancelled during its poll.
    pub(super) cancelled: bool,
}

/// The effect of a timer.
#[derive(Clone, Copy)]
pub(super) enum TimerAction {
    Call(Id),
    Wake(Id),
}

/// A run of a future of the test.
#[derive(Clone, Copy)]
pub(super) struct Run {
    /// The number of turns before the run.
    pub(super) first_turn: u64,
    /// The number of turns that the run takes if nothing stops it.
    pub(super) max_turns: u64,
    /// The turn of the run at whose end a stop ends it.
    pub(super) stop: Option<u64>,
}

/// The step of the turn that the loop executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Between,
    Events,
    Timers,
    Ready,
}

pub(super) struct Model {
    pub(super) kernel: Kernel,
    /// Whether only the program uses this loop, so that the checks can be exact.
    pub(super) is_exclusive: bool,
    /// Whether tasks that are ready at the same time run in any order.
    pub(super) shuffled: bool,
    /// The call that is being checked.
    pub(super) current_call: Option<Call>,
    pub(super) registered: BTreeMap<Id, Registered>,
    pub(super) tokens: BTreeMap<u64, Id>,
    /// The tokens of events that the next wait reports although their registrations were removed.
    pub(super) late: BTreeSet<u64>,
    pub(super) tasks: BTreeMap<Id, ModelTask>,
    /// By deadline, then in the order of arming.
    pub(super) timers: BTreeMap<(u64, u64), TimerAction>,
    pub(super) closures: BTreeSet<Id>,
    /// The closures that another thread sent.
    pub(super) sent: BTreeSet<Id>,
    pub(super) this_turn: VecDeque<Id>,
    pub(super) next_turn: VecDeque<Id>,
    /// Closures and wakes that other threads have sent.
    pub(super) messages: Vec<Id>,
    pub(super) notified: bool,
    /// Whether a stop was requested on the loop's thread, or sent by another thread.
    pub(super) stop: bool,
    pub(super) stop_sent: bool,
    pub(super) phase: Phase,
    /// As the loop counts turns.
    pub(super) turns: u64,
    pub(super) limit: Option<Duration>,
    /// The time of this turn, once a callback has asked for the time.
    pub(super) turn_time: Option<Instant>,
    /// The run of a future of the test, which is ready in each turn.
    pub(super) run: Option<Run>,
    /// Whether a run has ended whose last wake may still be in the queue.
    pub(super) ran_future: bool,
    pub(super) batch: VecDeque<Event>,
    /// The branches left of the event that is being dispatched; its registration and its readiness.
    pub(super) branches: VecDeque<Branch>,
    pub(super) current_event: (Id, Readiness),
    pub(super) due: VecDeque<(u64, u64)>,
    pub(super) next_seq: u64,
    /// Timers with a lower number were armed before the wait of this turn ended.
    pub(super) seq_limit: u64,
    pub(super) stale: u64,
    /// Panics that must be reported to the hook.
    pub(super) panics: u64,
    /// The names of all objects by id, and how those ended that no longer exist.
    pub(super) names: Vec<String>,
    pub(super) how_ended: BTreeMap<Id, String>,
}

impl Model {
    pub(super) fn new(kernel: Kernel, is_exclusive: bool, shuffled: bool) -> Self {
        Self {
            kernel,
            is_exclusive,
            shuffled,
            current_call: None,
            registered: BTreeMap::new(),
            tokens: BTreeMap::new(),
            late: BTreeSet::new(),
            tasks: BTreeMap::new(),
            timers: BTreeMap::new(),
            closures: BTreeSet::new(),
            sent: BTreeSet::new(),
            this_turn: VecDeque::new(),
            next_turn: VecDeque::new(),
            messages: Vec::new(),
            notified: false,
            stop: false,
            stop_sent: false,
            phase: Phase::Between,
            turns: 0,
            limit: None,
            turn_time: None,
            run: None,
            // A run before this program may have left a wake in the queue.
            ran_future: true,
            batch: VecDeque::new(),
            branches: VecDeque::new(),
            current_event: (0, Readiness::NONE),
            due: VecDeque::new(),
            next_seq: 0,
            seq_limit: 0,
            stale: 0,
            panics: 0,
            names: Vec::new(),
            how_ended: BTreeMap::new(),
        }
    }

    /// Assigns an id to a new object.
    pub(super) fn name(&mut self, name: String) -> Id {
        self.names.push(name);
        self.names.len() - 1
    }
}

/// Operations on the loop, from outside or by a callback.
impl Model {
    /// The current step as text.
    pub(super) fn when(&self) -> String {
        match (self.phase, self.turns) {
            (Phase::Between, 0) => "before turn 1".to_owned(),
            (Phase::Between, turns) => format!("after turn {turns}"),
            (_, turns) => format!("in turn {turns}"),
        }
    }

    pub(super) fn request_stop(&mut self) {
        self.stop = true;
        if let Some(run) = &mut self.run {
            run.stop.get_or_insert(self.turns - run.first_turn);
        }
    }

    pub(super) fn begin_run(&mut self, max_turns: u64) {
        self.limit = None;
        self.receive();
        self.run = Some(Run {
            first_turn: self.turns,
            max_turns,
            // A stop that was requested before the run leaves it one turn.
            stop: self.stop.then_some(1),
        });
    }

    /// Whether the run has taken more turns than it may.
    pub(super) fn is_run_overdue(&self) -> bool {
        self.run
            .is_some_and(|run| self.turns - run.first_turn > run.max_turns)
    }

    /// Ends the run, and returns the turn of it at whose end it should have stopped.
    pub(super) fn end_run(&mut self) -> Option<u64> {
        (self.stop, self.ran_future) = (false, true);
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
        registered.suspended &= interest.is_empty();
        registered.interest = interest;
        registered.expected = interest;
    }

    /// Removes an interest. The poller is not changed for a one-shot, which may be disarmed.
    pub(super) fn ignore(&mut self, id: Id, interest: Interest) {
        let Some(registered) = self.registered.get_mut(&id) else {
            return;
        };
        let rest = registered.interest.without(interest);
        if registered.trigger == Trigger::OneShot {
            registered.interest = rest;
            registered.expected = registered.expected & rest;
            registered.is_uncertain = true;
        } else {
            self.modify(id, rest);
        }
    }

    /// L2: no callback of the registration runs from here on.
    pub(super) fn remove(&mut self, id: Id, how: String) {
        self.registered.remove(&id);
        self.how_ended.insert(id, how);
    }

    fn deadline(&mut self, ms: usize) -> (u64, u64) {
        let ns = u64::try_from(ms).unwrap_or(0).saturating_mul(1_000_000);
        let seq = self.next_seq;
        self.next_seq += 1;
        (self.kernel.clock().now_ns().saturating_add(ns), seq)
    }

    pub(super) fn arm(&mut self, id: Id, ms: usize) {
        let at = self.deadline(ms);
        self.timers.insert(at, TimerAction::Call(id));
    }

    /// Cancels a timer, and returns whether it was armed.
    pub(super) fn disarm(&mut self, id: Id) -> bool {
        let is_it = |due: &TimerAction| matches!(due, TimerAction::Call(other) if *other == id);
        let at = self.timers.iter().find(|(_, due)| is_it(due));
        let Some(at) = at.map(|(at, _)| *at) else {
            return false;
        };
        self.timers.remove(&at).is_some()
    }

    /// Messages of other threads go before work that is queued now. A stop among them is queued, too. The
    /// wake of a task that has ended is not, and its mark stays.
    pub(super) fn receive(&mut self) {
        for id in std::mem::take(&mut self.messages) {
            if self.tasks.get(&id).is_none_or(|task| task.ended.is_none()) {
                self.queue(id);
            }
        }
        let is_before_ready = matches!(self.phase, Phase::Events | Phase::Timers);
        if is_before_ready && std::mem::take(&mut self.stop_sent) {
            self.request_stop();
        }
    }

    /// Queues a closure of the loop's thread.
    pub(super) fn soon(&mut self, id: Id) {
        self.receive();
        self.closures.insert(id);
        self.queue(id);
    }

    /// Queues a closure of another thread for the turn that receives it.
    pub(super) fn send(&mut self, id: Id) {
        self.closures.insert(id);
        self.sent.insert(id);
        self.messages.push(id);
        self.notified = true;
    }

    pub(super) fn spawn(&mut self, id: Id) {
        self.receive();
        let task = ModelTask {
            woken: true,
            has_handle: true,
            ..ModelTask::default()
        };
        self.tasks.insert(id, task);
        self.queue(id);
    }

    /// T1: a task is in a queue at most once. A remote wake goes through the inbox, also if the task
    /// has ended meanwhile, which another thread cannot see.
    pub(super) fn wake(&mut self, id: Id, remote: bool) {
        let task = self.tasks.entry(id).or_default();
        if !remote && task.ended.is_some() {
            return;
        }
        if std::mem::replace(&mut task.woken, true) {
            return;
        }
        if remote {
            self.messages.push(id);
            self.notified = true;
        } else {
            self.queue(id);
        }
    }

    /// L5: queues work for this turn before its ready step, else for the next turn.
    fn queue(&mut self, id: Id) {
        match self.phase {
            Phase::Events | Phase::Timers => self.this_turn.push_back(id),
            Phase::Between | Phase::Ready => self.next_turn.push_back(id),
        }
    }

    /// Arms the timer of a task that is being polled.
    pub(super) fn nap(&mut self, id: Id, ms: usize) {
        let at = self.deadline(ms);
        self.timers.insert(at, TimerAction::Wake(id));
        self.tasks.entry(id).or_default().nap = Some(at);
    }

    /// Whether the timer of the nap has fired.
    pub(super) fn is_nap_over(&self, id: Id) -> bool {
        let nap = self.tasks.get(&id).and_then(|task| task.nap);
        nap.is_none_or(|at| !self.timers.contains_key(&at))
    }

    /// Cancels a task, and returns whether this call ends it. A `running` task ends with its poll.
    pub(super) fn abort(&mut self, id: Id, running: bool) -> bool {
        let task = self.tasks.entry(id).or_default();
        if task.ended.is_some() || task.cancelled {
            return false;
        }
        task.cancelled = true;
        if !running {
            self.end(id, TaskEnd::Cancelled);
        }
        true
    }

    /// T3: the future and what it holds is dropped, then the joiner is woken.
    pub(super) fn end(&mut self, id: Id, end: TaskEnd) {
        let task = self.tasks.entry(id).or_default();
        task.ended = Some(end);
        let (nap, joiner, has_handle) = (task.nap.take(), task.joiner, task.has_handle);
        if let Some(at) = nap {
            self.timers.remove(&at);
        }
        let awaited = self
            .tasks
            .iter_mut()
            .find(|(_, task)| task.joiner == Some(id));
        if let Some(awaited) = awaited.map(|(awaited, _)| *awaited) {
            self.drop_handle(awaited);
        }
        self.panics += u64::from(!has_handle && end == TaskEnd::Panicked);
        if let Some(joiner) = joiner {
            self.wake(joiner, false);
        }
    }

    /// Drops the handle of a task. A panic that was not taken must be reported now.
    pub(super) fn drop_handle(&mut self, id: Id) {
        let task = self.tasks.entry(id).or_default();
        task.has_handle = false;
        task.joiner = None;
        self.panics += u64::from(task.ended == Some(TaskEnd::Panicked) && !task.taken);
        task.taken = true;
    }
}
