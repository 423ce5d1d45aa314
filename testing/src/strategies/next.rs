//! Who should be called next.
//!
//! A turn goes through its phases here as it does in the loop: the events of the poller, each
//! branch in the notes' order; what is due; what is ready. It goes no further than to the next
//! call, for what is done there may change who comes after.
//!
//! Rules: L2, L4 to L7, C1 to C3; in the notes, the loop of N7.

use super::model::{Call, Due, Id, Model, Phase};
use readily::clock::{Clock, nanos};
use readily::event_loop::{Branch, Role};
use readily::poll::{Interest, Readiness, Trigger};

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
                let (holds, _) = self.kernel.look(registered.number).unwrap_or_default();
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
        let (_, unread) = self.kernel.look(registered.number).unwrap_or_default();
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
