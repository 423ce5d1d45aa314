//! Choosing a program: a small world that is lively at once, then anything.
//!
//! A uniform choice spends its operations on places where nothing is. So a program begins with
//! some descriptors, most of them registered; a callback looks at its own descriptor every other
//! time; and each program leaves some verbs out altogether (a *swarm*): what matters is often that
//! a thing does *not* happen, for else it would undo the harm.
//!
//! In the notes this is nothing.

use super::op::{NAMES, Op, PLACES, Verb};
use super::program::Program;
use super::shrink::Shrinking;
use crate::base::chance::Chance;
use crate::poll::{Interest, Trigger};
use proptest::arbitrary::any;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;

/// Programs of up to 64 operations on up to eight descriptors, with what callbacks do included.
///
/// # Examples
///
/// ```
/// use proptest::prelude::*;
/// use readily::testing::SimLoop;
/// use readily::testing::strategies::{faults, personality, program};
///
/// proptest! {
///     # #![proptest_config(ProptestConfig::with_cases(8))]
///     # /*
///     #[test]
///     # */
///     fn the_loop_keeps_its_rules(
///         program in program(),
///         faults in faults(),
///         system in personality(),
///     ) {
///         program.run(&mut SimLoop::on(system, faults))?;
///     }
/// }
/// # the_loop_keeps_its_rules();
/// ```
pub fn program() -> impl Strategy<Value = Program> + Clone {
    Programs
}

#[derive(Clone, Debug)]
struct Programs;

impl Strategy for Programs {
    type Tree = Shrinking;
    type Value = Program;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let seed = any::<u64>().new_tree(runner)?.current();
        Ok(Shrinking::new(choose(&mut Chance::seeded(seed))))
    }
}

const TURNING: &[Verb] = &[
    Verb::Turn,
    Verb::Turn,
    Verb::Turn,
    Verb::Wait,
    Verb::Sleep,
    Verb::Run,
];

const WAITING: &[Verb] = &[Verb::Park, Verb::Nap, Verb::Nap, Verb::Join];

/// What a program begins with.
const THINGS: &[Verb] = &[
    Verb::Pipe,
    Verb::Pair,
    Verb::Pair,
    Verb::Tcp,
    Verb::Tcp,
    Verb::Listen,
];

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

/// Who does something: it decides what that may be.
#[derive(Clone, Copy)]
enum Who {
    Test,
    /// The callback of what is at this place.
    Callback(usize),
    Closure,
    /// The task of this name.
    Task(usize),
}

/// As many operations a program has at most, with those of its scripts.
const MOST: usize = 64;

/// A script inside a script inside a script is the deepest.
const DEPTH: usize = 3;

fn choose(chance: &mut Chance) -> Program {
    let mut choice = Choice {
        left: MOST / 4 + chance.below(MOST - MOST / 4 + 1),
        swarm: (0..64).fold(0, |swarm, _| swarm << 1 | u64::from(chance.strikes(192))),
        open: Vec::new(),
        listeners: Vec::new(),
        chance,
    };
    let mut ops = choice.world();
    while choice.left > 0 {
        let verb = match choice.below(5) {
            0 | 1 => choice.pick(TURNING),
            _ => choice.verb(Who::Test),
        };
        ops.extend(choice.op(verb, Who::Test, 0));
    }
    Program::of(ops)
}

struct Choice<'a> {
    chance: &'a mut Chance,
    left: usize,
    /// Three verbs of four are in.
    swarm: u64,
    /// Where something may be open by now, if all goes well.
    open: Vec<usize>,
    listeners: Vec<usize>,
}

impl Choice<'_> {
    /// Below `bound`, which is not zero.
    fn below(&mut self, bound: usize) -> usize {
        self.chance.below(bound)
    }

    fn one_in(&mut self, chance: usize) -> bool {
        self.below(chance) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Up to four things, and callbacks for most of their ends.
    fn world(&mut self) -> Vec<Op> {
        let things = 1 + self.below(PLACES / 2);
        let mut ops = Vec::new();
        for thing in 0..things {
            let verb = self.pick(THINGS);
            let mut op = Op::new(verb);
            op.at = 2 * thing;
            op.to = if verb.takes('t') { op.at + 1 } else { 0 };
            self.opened(&op);
            ops.push(op);
        }
        self.left = self.left.saturating_sub(things);
        for place in self.open.clone() {
            if !self.one_in(3) {
                ops.extend(self.registered(place));
            }
        }
        ops
    }

    fn registered(&mut self, place: usize) -> Option<Op> {
        let mut op = Op::new(Verb::Register);
        op.at = place;
        self.operands(op, Who::Test, 0)
    }

    fn opened(&mut self, op: &Op) {
        match op.verb {
            Verb::Pipe | Verb::Pair | Verb::Tcp => self.open.extend([op.at, op.to]),
            Verb::Listen => {
                self.open.push(op.at);
                self.listeners.push(op.at);
            }
            Verb::Dup | Verb::Accept | Verb::Connect => self.open.push(op.to),
            _ => {}
        }
    }

    fn verb(&mut self, who: Who) -> Verb {
        loop {
            let verb = match who {
                Who::Callback(own) if self.one_in(3) => {
                    let usual = [Verb::Read, Verb::Read, Verb::Write, Verb::Close];
                    match self.listeners.contains(&own) {
                        true => Verb::Accept,
                        false => self.pick(&usual),
                    }
                }
                Who::Task(_) if self.one_in(3) => self.pick(WAITING),
                Who::Test => Verb::nth(self.below(usize::MAX)),
                _ if self.one_in(16) => Verb::Panic,
                _ => Verb::nth(self.below(usize::MAX)),
            };
            let essential = matches!(verb, Verb::Register | Verb::Read | Verb::Write);
            if essential || self.swarm >> (verb as u32) & 1 == 1 {
                return verb;
            }
        }
    }

    /// One operation with what belongs to it; `None` when enough is enough.
    fn op(&mut self, verb: Verb, who: Who, depth: usize) -> Option<Op> {
        let mut op = Op::new(verb);
        if verb.takes('a') {
            op.at = self.place(verb, who);
        }
        self.operands(op, who, depth)
    }

    /// Its operands but for the first.
    fn operands(&mut self, mut op: Op, who: Who, depth: usize) -> Option<Op> {
        self.left = self.left.checked_sub(1)?;
        let verb = op.verb;
        if verb.takes('t') {
            op.to = match verb {
                Verb::Pipe | Verb::Pair | Verb::Tcp => op.at ^ 1,
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
            Verb::Register => Who::Callback(op.at),
            Verb::Connect => Who::Callback(op.to),
            Verb::Spawn => Who::Task(op.at),
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
    fn place(&mut self, verb: Verb, who: Who) -> usize {
        let known = match verb {
            Verb::Pipe | Verb::Pair | Verb::Tcp => return self.below(PLACES / 2) * 2,
            Verb::Listen => return self.free(),
            Verb::Connect | Verb::Accept => self.listeners.clone(),
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
