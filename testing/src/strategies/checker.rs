//! Computes the call that must come next, compares each call with it, and checks how long the loop
//! blocks.
//!
//! The model goes through the steps of a turn as the loop does: the poller's events with their
//! branches in the notes' order, then due timers, then the ready queue. It stops at the next call,
//! because the operations of that call may change all calls after it. Each call is compared when it
//! comes, so the first wrong call is reported, with the rule that it breaks.
//!
//! Rules: L1 to L7, C1 to C3, C5, W1, T1, T2; the loop of N7.

use super::model::{Call, Id, Model, Phase, TimerAction};
use readily::clock::{Clock, nanos};
use readily::event_loop::{Branch, Role};
use readily::poll::Event;
use readily::{Interest, Readiness, Trigger};
use std::time::Duration;

/// A rule that does not hold, and the evidence.
pub(super) struct RuleViolation {
    pub(super) rule: &'static str,
    pub(super) what: String,
}

pub(super) fn violation(rule: &'static str, what: impl Into<String>) -> RuleViolation {
    let what = what.into();
    RuleViolation { rule, what }
}

/// A duration as text.
fn duration_text(time: Duration) -> String {
    match time {
        Duration::MAX => "for ever".to_owned(),
        time => format!("for {time:?}"),
    }
}

/// The name of a branch.
pub(super) fn branch_name(branch: Branch) -> &'static str {
    match branch {
        Branch::Connect => "connect",
        Branch::Read => "read",
        Branch::Write => "write",
        Branch::Hangup => "hangup",
        Branch::Default => "default",
    }
}

impl Model {
    /// A call as text.
    pub(super) fn call_name(&self, call: Call) -> String {
        let name = &self.names[call.id()];
        match call {
            Call::Branch(_, branch) => format!("the {} callback of {name}", branch_name(branch)),
            _ => name.clone(),
        }
    }

    /// Checks a call: it must be the one that comes next.
    pub(super) fn check_call(
        &mut self,
        call: Call,
        refused: &dyn Fn(i32) -> bool,
    ) -> Result<(), RuleViolation> {
        self.current_call = Some(call);
        while let Some(next) = self.next(refused) {
            if call == next.call || Some(call) == next.alternative {
                self.current_call = None;
                self.apply_call(call);
                return Ok(());
            }
            if next.is_required {
                let (called, next_one) = (self.describe_call(call), self.call_name(next.call));
                let what = format!("{called} is called, where {next_one} should be called next");
                return Err(violation(self.broken_rule(call, Some(next.call)), what));
            }
        }
        let what = format!("{} is called", self.describe_call(call));
        Err(violation(self.broken_rule(call, None), what))
    }

    /// The changes that a call makes by itself, before its script.
    fn apply_call(&mut self, call: Call) {
        match call {
            Call::Branch(id, Branch::Hangup) => {
                let how = format!("hung up {}", self.when());
                self.remove(id, how);
            }
            Call::Branch(id, Branch::Connect) => {
                if let Some(registered) = self.registered.get_mut(&id) {
                    if registered.role == Some(Role::Connecting) {
                        registered.role = Some(Role::Stream);
                        // L10: the interest last asked for, before the connection was open.
                        registered.expected = registered.interest;
                    }
                }
            }
            _ => {}
        }
    }

    /// A call as text, with the end of its object if that has ended.
    fn describe_call(&self, call: Call) -> String {
        let call_name = self.call_name(call);
        match self.how_ended.get(&call.id()) {
            Some(how) => format!("{call_name}, which {how},"),
            None => call_name,
        }
    }

    /// The rule that a wrong call breaks.
    fn broken_rule(&self, call: Call, next: Option<Call>) -> &'static str {
        match (call, next) {
            (Call::Branch(id, Branch::Hangup), _) if !self.registered.contains_key(&id) => "L7",
            (Call::Branch(id, _), _) if !self.registered.contains_key(&id) => "L2",
            (Call::Branch(one, _), Some(Call::Branch(other, _))) if one == other => "L4",
            (Call::Branch(id, Branch::Hangup), _) if id == self.current_event.0 => "L7",
            (Call::Branch(id, _), _) if id == self.current_event.0 => "L4",
            (Call::Branch(..), _) => "L1",
            (Call::Timer(id), _) if self.how_ended.contains_key(&id) => "C3",
            (Call::Timer(_), Some(Call::Timer(_))) => "C2",
            (Call::Timer(id), _) if self.is_due(id) => "L5",
            (Call::Timer(_), _) => "C1",
            (Call::Closure(_), _) => "L5",
            (Call::Poll(_), _) => "T1",
        }
    }

    /// Whether a timer is armed and past its deadline, and waits only for the next turn.
    fn is_due(&self, id: Id) -> bool {
        let now_ns = self.kernel.clock().now_ns();
        let mut timers = self.timers.range(..=(now_ns, u64::MAX));
        timers.any(|(_, due)| matches!(due, TimerAction::Call(other) if *other == id))
    }

    /// Checks the timeout of a wait: C5, W1.
    pub(super) fn check_wait(&self, timeout: Option<Duration>) -> Result<(), RuleViolation> {
        let lives = |id: &Id| {
            let task = self.tasks.get(id);
            self.closures.contains(id) || task.is_some_and(|task| task.ended.is_none())
        };
        let zero = timeout == Some(Duration::ZERO);
        if self.notified && !zero {
            return Err(violation(
                "W1",
                "another thread has sent a message, and the loop blocks",
            ));
        }
        let ready = self.run.is_some() || self.next_turn.iter().any(lives);
        if ready && !zero {
            return Err(violation(
                "C5",
                "the ready queue is not empty, and the loop blocks",
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
            let (may, asked) = (duration_text(may), duration_text(asked));
            let what = format!("the loop may wait {may}, and waits {asked}");
            return Err(violation("C5", what));
        }
        let idle = self.is_exclusive && !self.notified && !self.is_queued();
        if idle && asked < may {
            let what = format!(
                "the loop may wait {}, and waits {}",
                duration_text(may),
                duration_text(asked)
            );
            return Err(violation("C5", what));
        }
        Ok(())
    }

    /// Whether a queue may hold work, which may have been cancelled.
    fn is_queued(&self) -> bool {
        self.run.is_some() || self.ran_future || !self.next_turn.is_empty()
    }

    /// L9: the loop begins a turn without asking the poller. On a shared loop it may have other
    /// reasons.
    pub(super) fn check_skipped_poll(&self) -> Result<(), RuleViolation> {
        match self.is_exclusive && !self.is_queued() {
            true => Err(violation(
                "L9",
                "nothing is ready, and the poller is not asked",
            )),
            false => Ok(()),
        }
    }

    /// Begins a turn with these events.
    pub(super) fn begin_turn(&mut self, events: &[Event]) {
        self.phase = Phase::Events;
        self.turn_time = None;
        self.turns += 1;
        self.seq_limit = self.next_seq;
        self.this_turn = std::mem::take(&mut self.next_turn);
        self.ran_future = false;
        if std::mem::take(&mut self.notified) {
            self.receive();
        }
        self.batch = events.iter().copied().collect();
    }

    /// Ends the turn: no call may be missing.
    pub(super) fn end_turn(&mut self, refused: &dyn Fn(i32) -> bool) -> Result<(), RuleViolation> {
        while let Some(next) = self.next(refused) {
            if next.is_required {
                let rule = match next.call {
                    Call::Branch(_, Branch::Hangup) => "L7",
                    Call::Branch(..) => "L6",
                    Call::Timer(_) => "C2",
                    Call::Closure(_) => "L5",
                    Call::Poll(_) => "T2",
                };
                let what = format!("{} should have been called", self.call_name(next.call));
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
    /// Another call that may come instead.
    pub(super) alternative: Option<Call>,
    /// Whether the call must come.
    pub(super) is_required: bool,
}

impl Next {
    fn required(call: Call) -> Self {
        Self {
            call,
            alternative: None,
            is_required: true,
        }
    }
}

/// L4: the order of the notes, with the hangup last.
const BRANCH_ORDER: [Branch; 5] = [
    Branch::Connect,
    Branch::Read,
    Branch::Write,
    Branch::Default,
    Branch::Hangup,
];

/// Whether a registration of this role has this branch for this readiness. A source has the default
/// branch for each event.
fn applies(branch: Branch, role: Option<Role>, ready: Readiness) -> bool {
    let Some(role) = role else {
        return branch == Branch::Default;
    };
    let flows = matches!(role, Role::Stream | Role::Datagram);
    match branch {
        Branch::Connect if role == Role::Listener => ready.contains(Readiness::READ),
        Branch::Connect => role == Role::Connecting && ready.contains(Readiness::WRITE),
        Branch::Read => flows && ready.contains(Readiness::READ),
        Branch::Write => flows && ready.contains(Readiness::WRITE),
        Branch::Hangup => role != Role::Datagram && ready.is_hangup(),
        Branch::Default => {
            let open_error = ready.contains(Readiness::ERROR) && !ready.is_closed();
            ready.contains(Readiness::PRIORITY) || open_error
        }
    }
}

impl Model {
    /// Advances to the next call that should come; `None` at the end of the turn. `refused` returns
    /// whether the poller has refused a change of a descriptor.
    pub(super) fn next(&mut self, refused: &dyn Fn(i32) -> bool) -> Option<Next> {
        loop {
            match self.phase {
                Phase::Between => return None,
                Phase::Events => match self.next_branch(refused) {
                    Some(next) => return Some(next),
                    None => self.collect_due(),
                },
                Phase::Timers => {
                    let Some(at) = self.due.pop_front() else {
                        self.phase = Phase::Ready;
                        continue;
                    };
                    match self.timers.remove(&at) {
                        Some(TimerAction::Call(id)) => {
                            return Some(Next::required(Call::Timer(id)));
                        }
                        Some(TimerAction::Wake(id)) => self.wake(id, false),
                        None => {} // C3: cancelled by another timer of this turn
                    }
                }
                Phase::Ready => {
                    let id = self.next_ready()?;
                    if self.closures.remove(&id) {
                        return Some(Next::required(Call::Closure(id)));
                    }
                    if let Some(task) = self.tasks.get_mut(&id) {
                        task.woken = false;
                        if task.ended.is_none() {
                            return Some(Next::required(Call::Poll(id)));
                        }
                    }
                }
            }
        }
    }

    /// Takes the next closure or task from the ready queue, in order. On a loop that shuffles it,
    /// takes the one that was called: any task, but only the first closure.
    fn next_ready(&mut self) -> Option<Id> {
        let first = |ids: &Self| {
            ids.this_turn
                .iter()
                .position(|id| ids.closures.contains(id))
        };
        let index = match self.current_call {
            Some(Call::Poll(id)) => self.this_turn.iter().position(|&other| other == id),
            Some(Call::Closure(id)) => first(self).filter(|&index| self.this_turn[index] == id),
            _ => None,
        };
        self.this_turn
            .remove(index.filter(|_| self.shuffled).unwrap_or(0))
    }

    /// C1, C2, L5: the timers that are due now and were armed before this turn, in order.
    fn collect_due(&mut self) {
        let clock = self.kernel.clock();
        let turn_ns = self.turn_time.map(|at| nanos(at - clock.origin()));
        let now_ns = turn_ns.unwrap_or_else(|| clock.now_ns());
        let due = self.timers.range(..=(now_ns, u64::MAX)).map(|(at, _)| *at);
        self.due = due.filter(|&(_, seq)| seq < self.seq_limit).collect();
        self.phase = Phase::Timers;
    }

    fn next_branch(&mut self, refused: &dyn Fn(i32) -> bool) -> Option<Next> {
        loop {
            let Some(branch) = self.branches.pop_front() else {
                self.next_event()?;
                continue;
            };
            let id = self.current_event.0;
            let Some(registered) = self.registered.get(&id) else {
                self.branches.clear(); // L2
                continue;
            };
            let call = Call::Branch(id, branch);
            let wants = |interest| registered.interest.contains(interest);
            let wanted = match branch {
                Branch::Read => wants(Interest::READ),
                Branch::Write => wants(Interest::WRITE),
                Branch::Default if registered.role.is_none() => true,
                Branch::Default => wants(Interest::PRIORITY),
                Branch::Connect if registered.is_accepting => false, // the loop accepts, and calls no script
                Branch::Connect if registered.role == Some(Role::Listener) => wants(Interest::READ),
                Branch::Connect | Branch::Hangup => !registered.suspended,
            };
            if !wanted {
                continue;
            }
            if branch == Branch::Connect && registered.role == Some(Role::Connecting) {
                let (holds, _) = self.kernel.inspect(registered.raw_fd).unwrap_or_default();
                if !holds.intersects(Readiness::WRITE | Readiness::ERROR) {
                    continue; // spurious: the connection is still in progress
                }
                // The socket decides whether the connection is open or was refused.
                let alternative = Some(Call::Branch(id, Branch::Hangup));
                return Some(Next {
                    alternative,
                    ..Next::required(call)
                });
            }
            if branch != Branch::Hangup {
                return Some(Next::required(call));
            }
            if let Some(next) = self.next_hangup(id, refused) {
                return Some(next);
            }
        }
    }

    /// Begins to dispatch the next event, if there is one.
    fn next_event(&mut self) -> Option<()> {
        let event = self.batch.pop_front()?;
        let Some(&id) = self.tokens.get(&event.token()) else {
            return Some(()); // an event of a registration outside the program
        };
        match self.registered.get(&id) {
            None => self.stale += 1, // L6
            Some(registered) => {
                let branches = BRANCH_ORDER.iter().copied();
                let branches =
                    branches.filter(|&branch| applies(branch, registered.role, event.ready()));
                self.branches = branches.collect();
                self.current_event = (id, event.ready());
            }
        }
        Some(())
    }

    /// L7: the hangup callback runs when no unread byte is left that the registration may read.
    fn next_hangup(&mut self, id: Id, refused: &dyn Fn(i32) -> bool) -> Option<Next> {
        let registered = self.registered.get_mut(&id)?;
        let required = Next::required(Call::Branch(id, Branch::Hangup));
        let (_, unread) = self.kernel.inspect(registered.raw_fd).unwrap_or_default();
        if registered.role != Some(Role::Stream) || unread == 0 {
            return Some(required);
        }
        if !registered.interest.contains(Interest::READ) {
            // A paused reader delays the hangup, unless the connection has failed.
            if self.current_event.1.contains(Readiness::ERROR) {
                return Some(required);
            }
            registered.suspended = true;
            return None;
        }
        // A reader that took none of the bytes does not want them.
        if std::mem::replace(&mut registered.unread_at_hangup, unread) == unread {
            return Some(required);
        }
        if registered.trigger != Trigger::Edge {
            return None;
        }
        // An edge must be rearmed, which the kernel may refuse.
        registered.expected = registered.interest;
        let is_required = false;
        refused(registered.raw_fd).then_some(Next {
            is_required,
            ..required
        })
    }
}
