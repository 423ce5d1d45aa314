//! Whether who was called is who should be, and whether the loop sleeps as long as it may.
//!
//! Each call is held against the next that should come (`next.rs`), when it comes: so the first
//! thing that goes wrong is what is told, with the rule that it breaks, and what came of it is not.
//!
//! Rules: L1 to L7, C1 to C3, C5, W1, T1, T2; in the notes, the loop of N7.

use super::model::{Call, Due, Id, Model, Phase};
use readily::clock::Clock;
use readily::event_loop::{Branch, Role};
use readily::poll::Event;
use std::time::Duration;

/// A rule that does not hold, and why one thinks so.
pub(super) struct Broken {
    pub(super) rule: &'static str,
    pub(super) what: String,
}

pub(super) fn broken(rule: &'static str, what: impl Into<String>) -> Broken {
    let what = what.into();
    Broken { rule, what }
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
    ) -> Result<(), Broken> {
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
                return Err(broken(self.rule(call, Some(next.call)), what));
            }
        }
        let what = format!("{} is called", self.past(call));
        Err(broken(self.rule(call, None), what))
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
    pub(super) fn asks(&self, timeout: Option<Duration>) -> Result<(), Broken> {
        let lives = |id: &Id| {
            let task = self.tasks.get(id);
            self.closures.contains(id) || task.is_some_and(|task| task.ended.is_none())
        };
        let zero = timeout == Some(Duration::ZERO);
        if self.rung && !zero {
            return Err(broken("W1", "somebody came, and the loop goes to sleep"));
        }
        let ready = self.run.is_some() || self.later.iter().any(lives);
        if ready && !zero {
            return Err(broken(
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
            return Err(broken("C5", what));
        }
        let idle = self.alone && !self.rung && !self.is_queued();
        if idle && asked < may {
            let what = format!("the loop may wait {}, and waits {}", long(may), long(asked));
            return Err(broken("C5", what));
        }
        Ok(())
    }

    /// What was cancelled may stand in a queue yet.
    fn is_queued(&self) -> bool {
        self.run.is_some() || self.ran || !self.later.is_empty()
    }

    /// L9: the loop begins a turn without a look at the kernel. Others may have reasons of their own.
    pub(super) fn goes_on(&self) -> Result<(), Broken> {
        match self.alone && !self.is_queued() {
            true => Err(broken(
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
    pub(super) fn ends(&mut self, refused: &dyn Fn(i32) -> bool) -> Result<(), Broken> {
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
                return Err(broken(rule, what));
            }
        }
        self.phase = Phase::Between;
        Ok(())
    }
}
