//! Choosing the operands of an operation, and what is done by what it makes.
//!
//! Mostly what is near: one's own descriptor, a place where something is, a number so small that
//! it meets others. Two timers of a few milliseconds fall due together; two of any `u64` never do.
//!
//! In the notes this is nothing.

use super::generate::{Choice, Who};
use super::op::{NAMES, Op, PLACES, Verb};
use readily::poll::{Interest, Trigger};

const INTERESTS: &[Interest] = &[
    Interest::READ,
    Interest::READ,
    Interest::BOTH,
    Interest::WRITE,
    Interest::NONE,
];

const TRIGGERS: &[Trigger] = &[
    Trigger::Level,
    Trigger::Level,
    Trigger::Edge,
    Trigger::OneShot,
];

/// A script inside a script inside a script is the deepest.
const DEPTH: usize = 3;

impl Choice<'_> {
    /// Its operands but for the first.
    pub(super) fn operands(&mut self, mut op: Op, who: Who, depth: usize) -> Option<Op> {
        self.left = self.left.checked_sub(1)?;
        let verb = op.verb;
        if verb.takes('t') {
            op.to = match verb {
                Verb::Pipe | Verb::Pair | Verb::Tcp | Verb::Datagrams => op.at ^ 1,
                _ => self.free(),
            };
        }
        if verb.takes('n') {
            op.number = self.number(verb);
        }
        if verb.takes('i') {
            op.interest = self.pick(INTERESTS);
            if self.one_in(6) {
                op.interest |= Interest::PRIORITY;
            }
        }
        if verb.takes('g') {
            op.trigger = self.pick(TRIGGERS);
        }
        if verb.takes('s') && depth < DEPTH {
            op.script = self.script(&op, who, depth + 1);
        }
        self.opened(&op);
        Some(op)
    }

    /// What is done by the callback, closure or task that an operation makes.
    fn script(&mut self, op: &Op, who: Who, depth: usize) -> Vec<Op> {
        let whose = match op.verb {
            Verb::Register | Verb::Source => Who::Callback(op.at),
            Verb::Connect | Verb::Admit | Verb::Serve => Who::Callback(op.to),
            Verb::Spawn => Who::Task(op.at),
            Verb::Arm => Who::Timer,
            _ => Who::Closure,
        };
        let most = match (whose, who) {
            (Who::Task(_), _) => 5,
            (_, Who::Test) => 4,
            _ => 2,
        };
        let mut script = Vec::new();
        for _ in 0..self.below(most) {
            let verb = self.verb(whose);
            script.extend(self.op(verb, whose, depth));
        }
        script
    }

    /// Mostly one's own descriptor, or one that is there.
    pub(super) fn place(&mut self, verb: Verb, who: Who) -> usize {
        let known = match verb {
            Verb::Pipe | Verb::Pair | Verb::Tcp | Verb::Datagrams => {
                return self.below(PLACES / 2) * 2;
            }
            Verb::Listen | Verb::Timerfd | Verb::Eventfd | Verb::File | Verb::Unconnected => {
                return self.free();
            }
            Verb::Connect | Verb::Accept | Verb::Serve => self.listeners.clone(),
            _ if verb.names() => {
                return match who {
                    Who::Task(own) if self.one_in(3) => own,
                    _ => self.below(NAMES),
                };
            }
            _ => self.open.clone(),
        };
        match who {
            Who::Callback(own) if self.below(3) > 0 => own,
            _ if known.is_empty() || self.one_in(8) => self.below(PLACES),
            _ => self.pick(&known),
        }
    }

    /// Mostly a place where nothing is.
    fn free(&mut self) -> usize {
        let is_free = |place: &usize| !self.open.contains(place);
        let free: Vec<usize> = (0..PLACES).filter(is_free).collect();
        match free.is_empty() || self.one_in(4) {
            true => self.below(PLACES),
            false => self.pick(&free),
        }
    }

    fn number(&mut self, verb: Verb) -> usize {
        match verb {
            Verb::Read | Verb::Write => self.pick(&[0, 1, 2, 3, 5, 8, 100]),
            Verb::Narrow => self.pick(&[1, 2, 4, 16]),
            Verb::Run => self.below(4),
            _ => self.below(5),
        }
    }
}
