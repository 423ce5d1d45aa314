//! What the model makes of what is done to the loop.
//!
//! Each is a line or two, in the order of the loop's own methods: register, modify, remove; arm,
//! disarm; call soon, send, spawn, wake, abort. Whether the loop did the same shows in what it
//! calls, and in what it says (whether a cancel was one).
//!
//! Rules: L2, L5, T1, T3; in the notes, what may be asked of a loop (N1, N7, N15).

use super::model::{Due, End, Id, Model, Phase, Registered, Run, Tasked};
use readily::clock::Clock;
use readily::poll::{Interest, Trigger};

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
