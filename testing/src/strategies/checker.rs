//! Which call should come next, whether each call is that one, and whether the loop sleeps as long as it may.
//!
//! A turn goes through its phases here as it does in the loop: the events of the poller, each branch in the
//! notes' order; what is due; what is ready. It goes no further than to the next call, for what is done there
//! may change the calls after it. Each call is compared when it comes: so the first thing that goes wrong is
//! what is reported, with the rule that it breaks.
//!
//! Rules: L1 to L7, C1 to C3, C5, W1, T1, T2; in the notes, the loop of N7.

use super::model::{Call, Due, Id, Model, Phase};
use readily::clock::{Clock, nanos};
use readily::event_loop::{Branch, Role};
use readily::poll::Event;
use readily::{Interest, Readiness, Trigger};
use std::time::Duration;

/// A rule that does not hold, and why one thinks so.
pub(super) struct RuleViolation {
    pub(super) rule: &'static str,
    pub(super) what: String,
}

pub(super) fn violation(rule: &'static str, what: impl Into<String>) -> RuleViolation {
    let what = what.into();
    RuleViolation { rule, what }
}

/// How long, in words.
fn long(time: Duration) -> String {
    match time {
        Duration::MAX => "for ever".to_owned(),
        time => format!("for {time:?}"),
    }
}

/// What a call is called.
pub(super) fn branch(kind: Branch) -> &'static str {
    match kind {
        Branch::Connect => "connect",
        Branch::Read => "read",
        Branch::Write => "write",
        Branch::Hangup => "hangup",
        Branch::Default => "default",
    }
}

impl Model {
    /// A call, by its name.
    pub(super) fn named(&self, call: Call) -> String {
        let name = &self.names[call.id()];
        match call {
            Call::Branch(_, kind) => format!("the {} callback of {name}", branch(kind)),
            _ => name.clone(),
        }
    }

    /// Somebody is called: was it his turn?
    pub(super) fn called(
        &mut self,
        call: Call,
        refused: &dyn Fn(i32) -> bool,
    ) -> Result<(), RuleViolation> {
        self.called = Some(call);
        while let Some(next) = self.next(refused) {
            if call == next.call || Some(call) == next.or {
                self.called = None;
                self.runs(call);
                return Ok(());
            }
            if next.must {
                let (called, next_one) = (self.past(call), self.named(next.call));
                let what = format!("{called} is called, where it was the turn of {next_one}");
                return Err(violation(self.rule(call, Some(next.call)), what));
            }
        }
        let what = format!("{} is called", self.past(call));
        Err(violation(self.rule(call, None), what))
    }

    /// What a call changes by itself.
    fn runs(&mut self, call: Call) {
        match call {
            Call::Branch(id, Branch::Hangup) => {
                let how = format!("hung up {}", self.when());
                self.remove(id, how);
            }
            Call::Branch(id, Branch::Connect) => {
                if let Some(registered) = self.registered.get_mut(&id) {
                    if registered.role == Role::Connecting {
                        registered.role = Role::Stream;
                        // L10: what was asked for last, before it was through.
                        registered.owed = registered.interest;
                    }
                }
            }
            _ => {}
        }
    }

    /// A call, by its name, and what became of whoever is called.
    fn past(&self, call: Call) -> String {
        let named = self.named(call);
        match self.ends.get(&call.id()) {
            Some(how) => format!("{named}, which {how},"),
            None => named,
        }
    }

    /// Which rule a call breaks that is not the next.
    fn rule(&self, call: Call, next: Option<Call>) -> &'static str {
        match (call, next) {
            (Call::Branch(id, Branch::Hangup), _) if !self.registered.contains_key(&id) => "L7",
            (Call::Branch(id, _), _) if !self.registered.contains_key(&id) => "L2",
            (Call::Branch(one, _), Some(Call::Branch(other, _))) if one == other => "L4",
            (Call::Branch(id, Branch::Hangup), _) if id == self.served.0 => "L7",
            (Call::Branch(id, _), _) if id == self.served.0 => "L4",
            (Call::Branch(..), _) => "L1",
            (Call::Timer(id), _) if self.ends.contains_key(&id) => "C3",
            (Call::Timer(_), Some(Call::Timer(_))) => "C2",
            (Call::Timer(id), _) if self.is_due(id) => "L5",
            (Call::Timer(_), _) => "C1",
            (Call::Closure(_), _) => "L5",
            (Call::Poll(_), _) => "T1",
        }
    }

    /// Whether a timer that is armed could fire, were it not for the turn in which it was armed.
    fn is_due(&self, id: Id) -> bool {
        let now_ns = self.kernel.clock().now_ns();
        let mut timers = self.timers.range(..=(now_ns, u64::MAX));
        timers.any(|(_, due)| matches!(due, Due::Call(other) if *other == id))
    }

    /// The loop is about to wait: C5, W1.
    pub(super) fn asks(&self, timeout: Option<Duration>) -> Result<(), RuleViolation> {
        let lives = |id: &Id| {
            let task = self.tasks.get(id);
            self.closures.contains(id) || task.is_some_and(|task| task.ended.is_none())
        };
        let zero = timeout == Some(Duration::ZERO);
        if self.rung && !zero {
            return Err(violation("W1", "somebody came, and the loop goes to sleep"));
        }
        let ready = self.run.is_some() || self.later.iter().any(lives);
        if ready && !zero {
            return Err(violation(
                "C5",
                "something is ready, and the loop goes to sleep",
            ));
        }
        let now_ns = self.kernel.clock().now_ns();
        let next = self.timers.first_key_value().map(|(at, _)| at.0);
        let next = next.map(|ns| Duration::from_nanos(ns.saturating_sub(now_ns)));
        let most = match (self.limit, next) {
            (Some(limit), Some(next)) => Some(limit.min(next)),
            (limit, next) => limit.or(next),
        };
        let may = most.unwrap_or(Duration::MAX);
        let asked = timeout.unwrap_or(Duration::MAX);
        if asked > may {
            let (may, asked) = (long(may), long(asked));
            let what = format!("the loop may wait {may} and waits {asked}");
            return Err(violation("C5", what));
        }
        let idle = self.alone && !self.rung && !self.is_queued();
        if idle && asked < may {
            let what = format!("the loop may wait {}, and waits {}", long(may), long(asked));
            return Err(violation("C5", what));
        }
        Ok(())
    }

    /// What was cancelled may stand in a queue yet.
    fn is_queued(&self) -> bool {
        self.run.is_some() || self.ran || !self.later.is_empty()
    }

    /// L9: the loop begins a turn without a look at the kernel. Others may have reasons of their own.
    pub(super) fn goes_on(&self) -> Result<(), RuleViolation> {
        match self.alone && !self.is_queued() {
            true => Err(violation(
                "L9",
                "nothing is ready, and the poller is not asked",
            )),
            false => Ok(()),
        }
    }

    /// A turn begins, with these events.
    pub(super) fn begins(&mut self, events: &[Event]) {
        self.phase = Phase::Events;
        self.turn_time = None;
        self.turns += 1;
        self.fence = self.armed;
        self.now = std::mem::take(&mut self.later);
        self.ran = false;
        if std::mem::take(&mut self.rung) {
            self.now.extend(self.letters.drain(..));
            if std::mem::take(&mut self.stop_sent) {
                self.stops();
            }
        }
        self.batch = events.iter().copied().collect();
    }

    /// The turn is over: was anybody passed over?
    pub(super) fn ends(&mut self, refused: &dyn Fn(i32) -> bool) -> Result<(), RuleViolation> {
        while let Some(next) = self.next(refused) {
            if next.must {
                let rule = match next.call {
                    Call::Branch(_, Branch::Hangup) => "L7",
                    Call::Branch(..) => "L6",
                    Call::Timer(_) => "C2",
                    Call::Closure(_) => "L5",
                    Call::Poll(_) => "T2",
                };
                let what = format!("{} should have been called", self.named(next.call));
                return Err(violation(rule, what));
            }
        }
        self.phase = Phase::Between;
        Ok(())
    }
}

/// A call that should come.
pub(super) struct Next {
    pub(super) call: Call,
    /// Another one that may come instead.
    pub(super) or: Option<Call>,
    /// Whether it has to.
    pub(super) must: bool,
}

impl Next {
    fn must(call: Call) -> Self {
        Self {
            call,
            or: None,
            must: true,
        }
    }
}

/// L4: the order of the notes, and the end last.
const ORDER: [Branch; 5] = [
    Branch::Connect,
    Branch::Read,
    Branch::Write,
    Branch::Default,
    Branch::Hangup,
];

/// Whether an event of this kind is in what was reported for this role.
fn is_in(kind: Branch, role: Role, ready: Readiness) -> bool {
    let flows = matches!(role, Role::Stream | Role::Datagram);
    match kind {
        Branch::Connect if role == Role::Listener => ready.contains(Readiness::READ),
        Branch::Connect => role == Role::Connecting && ready.contains(Readiness::WRITE),
        Branch::Read => flows && ready.contains(Readiness::READ),
        Branch::Write => flows && ready.contains(Readiness::WRITE),
        Branch::Hangup => !matches!(role, Role::Datagram | Role::Source) && ready.is_hangup(),
        Branch::Default if role == Role::Source => !ready.is_empty(),
        Branch::Default => {
            let open_error = ready.contains(Readiness::ERROR) && !ready.is_closed();
            ready.contains(Readiness::PRIORITY) || open_error
        }
    }
}

impl Model {
    /// Goes on to the next call that should come; `None` at the end of the turn. `refused` says
    /// of a number whether the poller has refused it something.
    pub(super) fn next(&mut self, refused: &dyn Fn(i32) -> bool) -> Option<Next> {
        loop {
            match self.phase {
                Phase::Between => return None,
                Phase::Events => match self.next_branch(refused) {
                    Some(next) => return Some(next),
                    None => self.expire(),
                },
                Phase::Timers => {
                    let Some(at) = self.due.pop_front() else {
                        self.phase = Phase::Ready;
                        continue;
                    };
                    match self.timers.remove(&at) {
                        Some(Due::Call(id)) => return Some(Next::must(Call::Timer(id))),
                        Some(Due::Wake(id)) => self.wake(id, false),
                        None => {} // C3: cancelled by one that was due with it
                    }
                }
                Phase::Ready => {
                    let id = self.next_ready()?;
                    if self.closures.remove(&id) {
                        return Some(Next::must(Call::Closure(id)));
                    }
                    if let Some(task) = self.tasks.get_mut(&id) {
                        if task.ended.is_none() {
                            task.woken = false;
                            return Some(Next::must(Call::Poll(id)));
                        }
                    }
                }
            }
        }
    }

    /// What is ready, first come, first served. Where that is left to chance, whoever is called
    /// comes first: any task, but of the closures only the first.
    fn next_ready(&mut self) -> Option<Id> {
        let first = |ids: &Self| ids.now.iter().position(|id| ids.closures.contains(id));
        let place = match self.called {
            Some(Call::Poll(id)) => self.now.iter().position(|&other| other == id),
            Some(Call::Closure(id)) => first(self).filter(|&place| self.now[place] == id),
            _ => None,
        };
        self.now
            .remove(place.filter(|_| self.shuffled).unwrap_or(0))
    }

    /// C1, C2, L5: what is due now and was armed before this turn, in order.
    fn expire(&mut self) {
        let clock = self.kernel.clock();
        let turn_ns = self.turn_time.map(|at| nanos(at - clock.origin()));
        let now_ns = turn_ns.unwrap_or_else(|| clock.now_ns());
        let due = self.timers.range(..=(now_ns, u64::MAX)).map(|(at, _)| *at);
        self.due = due.filter(|&(_, armed)| armed < self.fence).collect();
        self.phase = Phase::Timers;
    }

    fn next_branch(&mut self, refused: &dyn Fn(i32) -> bool) -> Option<Next> {
        loop {
            let Some(kind) = self.kinds.pop_front() else {
                self.next_event()?;
                continue;
            };
            let id = self.served.0;
            let Some(registered) = self.registered.get(&id) else {
                self.kinds.clear(); // L2
                continue;
            };
            let call = Call::Branch(id, kind);
            let asks = |interest| registered.interest.contains(interest);
            let wanted = match kind {
                Branch::Read => asks(Interest::READ),
                Branch::Write => asks(Interest::WRITE),
                Branch::Default if registered.role == Role::Source => !registered.parked,
                Branch::Default => asks(Interest::PRIORITY),
                Branch::Connect if registered.serves => false, // no script is called
                Branch::Connect if registered.role == Role::Listener => asks(Interest::READ),
                Branch::Connect | Branch::Hangup => !registered.parked,
            };
            if !wanted {
                continue;
            }
            if kind == Branch::Connect && registered.role == Role::Connecting {
                let (holds, _) = self.kernel.inspect(registered.number).unwrap_or_default();
                if !holds.intersects(Readiness::WRITE | Readiness::ERROR) {
                    continue; // a false alarm: it is under way yet
                }
                // Through, or refused: the socket says which.
                let or = Some(Call::Branch(id, Branch::Hangup));
                return Some(Next {
                    or,
                    ..Next::must(call)
                });
            }
            if kind != Branch::Hangup {
                return Some(Next::must(call));
            }
            if let Some(next) = self.hangup(id, refused) {
                return Some(next);
            }
        }
    }

    /// Begins to serve the next event, if there is one and it is for somebody.
    fn next_event(&mut self) -> Option<()> {
        let event = self.batch.pop_front()?;
        let Some(&id) = self.tokens.get(&event.token) else {
            return Some(()); // somebody else's, who shares the loop with us
        };
        match self.registered.get(&id) {
            None => self.stale += 1, // L6
            Some(registered) => {
                let kinds = ORDER.iter().copied();
                let kinds = kinds.filter(|&kind| is_in(kind, registered.role, event.ready));
                self.kinds = kinds.collect();
                self.served = (id, event.ready);
            }
        }
        Some(())
    }

    /// L7: a hangup is told when no byte is left that somebody may read.
    fn hangup(&mut self, id: Id, refused: &dyn Fn(i32) -> bool) -> Option<Next> {
        let registered = self.registered.get_mut(&id)?;
        let told = Next::must(Call::Branch(id, Branch::Hangup));
        let (_, unread) = self.kernel.inspect(registered.number).unwrap_or_default();
        if registered.role != Role::Stream || unread == 0 {
            return Some(told);
        }
        if !registered.interest.contains(Interest::READ) {
            // Who has paused is waited for, unless nothing can be sent any more.
            if self.served.1.contains(Readiness::ERROR) {
                return Some(told);
            }
            registered.parked = true;
            return None;
        }
        // Who was offered bytes and took none does not want them.
        if std::mem::replace(&mut registered.left, unread) == unread {
            return Some(told);
        }
        if registered.trigger != Trigger::Edge {
            return None;
        }
        // An edge has to be asked for once more, and that may be refused.
        registered.owed = registered.interest;
        let must = false;
        refused(registered.number).then_some(Next { must, ..told })
    }
}
