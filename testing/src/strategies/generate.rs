//! Choosing a program: a small world in which much happens at once, then anything.
//!
//! A uniform choice spends its operations on places where nothing is. So a program begins with
//! some descriptors, most of them registered; a callback uses its own descriptor every other
//! time; and each program leaves some verbs out altogether (a *swarm*): what matters is often that
//! a thing does *not* happen, for else it would undo the harm. Operands are mostly near: the callback's own
//! descriptor, a place where something is, a number so small that it meets others. Two timers of a few
//! milliseconds fall due together; two of any `u64` never do.
//!
//! In the notes this is nothing.

use super::op::{NAMES, Op, OpKind, PLACES};
use super::program::Program;
use super::shrink::Shrinking;
use crate::rng::Rng;
use proptest::arbitrary::any;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use readily::{Interest, Trigger};

/// Programs of up to 80 operations on up to eight descriptors, with what callbacks do included.
///
/// To be chosen after the faults: what is chosen first shrinks first, and a program loses more
/// where no fault depends on how many operations there are before it.
///
/// # Examples
///
/// ```
/// use proptest::prelude::*;
/// use readily_testing::SimLoop;
/// use readily_testing::strategies::{faults, personality, program};
///
/// proptest! {
///     # #![proptest_config(ProptestConfig::with_cases(8))]
///     # /*
///     #[test]
///     # */
///     fn the_loop_keeps_its_rules(
///         faults in faults(),
///         system in personality(),
///         program in program(),
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
        Ok(Shrinking::new(choose(Dice::Seed(Rng::seeded(seed)))))
    }
}

const TURNING: &[OpKind] = &[
    OpKind::Turn,
    OpKind::Turn,
    OpKind::Turn,
    OpKind::Wait,
    OpKind::Sleep,
    OpKind::Run,
];

/// What a callback mostly does.
const USUAL: &[OpKind] = &[
    OpKind::Read,
    OpKind::Read,
    OpKind::Read,
    OpKind::Write,
    OpKind::Write,
    OpKind::Close,
    OpKind::Close,
    OpKind::Ignore,
];

const WAITING: &[OpKind] = &[OpKind::Park, OpKind::Nap, OpKind::Nap, OpKind::Join];

/// What a program begins with.
const THINGS: &[OpKind] = &[
    OpKind::Pipe,
    OpKind::Pair,
    OpKind::Pair,
    OpKind::Tcp,
    OpKind::Tcp,
    OpKind::Listen,
    OpKind::Listen,
    OpKind::Datagrams,
];

/// Who does something: it decides what that may be.
#[derive(Clone, Copy)]
pub(super) enum Who {
    Test,
    /// The callback of what is at this place.
    Callback(usize),
    Closure,
    Timer,
    /// The task of this name.
    Task(usize),
}

/// As many operations a program has at most, with those of its scripts.
const MOST: usize = 80;

/// What decides.
pub(super) enum Dice<'a> {
    Seed(Rng),
    /// A byte for each choice. Where there are none left, the first of all that may be chosen.
    Bytes(&'a [u8]),
}

impl Dice<'_> {
    fn below(&mut self, bound: usize) -> usize {
        match self {
            Self::Seed(rng) => rng.below(bound),
            Self::Bytes(bytes) => {
                let Some((first, rest)) = bytes.split_first() else {
                    return 0;
                };
                *bytes = rest;
                usize::from(*first) % bound
            }
        }
    }

    /// 64 bits, of which three in four are set.
    fn swarm(&mut self) -> u64 {
        let mut half = || (0..8).fold(0, |half, _| half << 8 | self.below(256) as u64);
        half() | half()
    }

    fn is_spent(&self) -> bool {
        matches!(self, Self::Bytes([]))
    }
}

pub(super) fn choose(mut dice: Dice<'_>) -> Program {
    let mut choice = Choice {
        left: MOST / 4 + dice.below(MOST - MOST / 4 + 1),
        swarm: dice.swarm(),
        open: Vec::new(),
        listeners: Vec::new(),
        dice,
    };
    let mut ops = choice.world();
    while choice.left > 0 && !choice.dice.is_spent() {
        let kind = match choice.below(5) {
            0 | 1 => choice.pick(TURNING),
            _ => choice.verb(Who::Test),
        };
        ops.extend(choice.op(kind, Who::Test, 0));
    }
    Program::of(ops)
}

pub(super) struct Choice<'a> {
    dice: Dice<'a>,
    pub(super) left: usize,
    /// Three verbs of four are in.
    swarm: u64,
    /// Where something may be open by now, if all goes well.
    pub(super) open: Vec<usize>,
    pub(super) listeners: Vec<usize>,
}

impl Choice<'_> {
    /// Below `bound`, which is not zero.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.dice.below(bound)
    }

    pub(super) fn one_in(&mut self, chance: usize) -> bool {
        self.below(chance) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Up to four things, callbacks for most of their ends, and something under way.
    fn world(&mut self) -> Vec<Op> {
        let things = 1 + self.below(PLACES / 2);
        let mut ops = Vec::new();
        for thing in 0..things {
            let kind = self.pick(THINGS);
            let mut op = Op::new(kind);
            op.at = 2 * thing;
            op.to = if kind.takes('t') { op.at + 1 } else { 0 };
            self.opened(&op);
            ops.push(op);
        }
        self.left = self.left.saturating_sub(things);
        for place in self.open.clone() {
            if !self.one_in(3) {
                ops.extend(self.registered(place));
            }
        }
        ops.extend(self.under_way());
        for kind in [
            OpKind::Arm,
            OpKind::Arm,
            OpKind::Arm,
            OpKind::Soon,
            OpKind::Spawn,
        ] {
            if self.is_in(kind) && self.one_in(3) {
                ops.extend(self.op(kind, Who::Test, 0));
            }
        }
        ops
    }

    /// Connections to some listeners, bytes for some ends, and some ends closed behind them.
    fn under_way(&mut self) -> Vec<Op> {
        let mut ops = Vec::new();
        for place in self.listeners.clone() {
            if self.one_in(2) {
                let mut op = Op::new(OpKind::Connect);
                op.at = place;
                ops.extend(self.operands(op, Who::Test, 0));
            }
        }
        for place in self.open.clone() {
            let mut verbs = Vec::new();
            if self.one_in(3) {
                verbs.push(OpKind::Write);
            }
            if self.one_in(6) {
                verbs.push(self.pick(&[OpKind::Close, OpKind::Shut, OpKind::Reset]));
            }
            for kind in verbs {
                let mut op = Op::new(kind);
                op.at = place;
                ops.extend(self.operands(op, Who::Test, 0));
            }
        }
        ops
    }

    fn registered(&mut self, place: usize) -> Option<Op> {
        let kind = match self.below(8) {
            0 => OpKind::Source,
            1..4 if self.listeners.contains(&place) => OpKind::Serve,
            _ => OpKind::Register,
        };
        let mut op = Op::new(kind);
        op.at = place;
        self.operands(op, Who::Test, 0)
    }

    pub(super) fn opened(&mut self, op: &Op) {
        match op.kind {
            OpKind::Pipe | OpKind::Pair | OpKind::Tcp | OpKind::Datagrams => {
                self.open.extend([op.at, op.to]);
            }
            OpKind::Timerfd | OpKind::Eventfd | OpKind::File | OpKind::Unconnected => {
                self.open.push(op.at)
            }
            OpKind::Listen => {
                self.open.push(op.at);
                self.listeners.push(op.at);
            }
            OpKind::Dup | OpKind::Accept | OpKind::Admit | OpKind::Connect => self.open.push(op.to),
            _ => {}
        }
    }

    /// Whether this program has this verb.
    fn is_in(&self, kind: OpKind) -> bool {
        let essential = matches!(kind, OpKind::Register | OpKind::Read | OpKind::Write);
        essential || self.swarm >> (kind as u32) & 1 == 1
    }

    pub(super) fn verb(&mut self, who: Who) -> OpKind {
        loop {
            let kind = match who {
                Who::Callback(own) if self.one_in(3) => match self.listeners.contains(&own) {
                    true => self.pick(&[OpKind::Accept, OpKind::Admit]),
                    false => self.pick(USUAL),
                },
                Who::Task(_) if self.one_in(3) => self.pick(WAITING),
                // What is done to others of one's own kind is where one's turn is not over.
                Who::Timer if self.one_in(3) => self.pick(&[OpKind::Arm, OpKind::Disarm]),
                Who::Closure if self.one_in(3) => self.pick(&[OpKind::Soon, OpKind::TakeBack]),
                Who::Test => OpKind::nth(self.below(256)),
                _ if self.one_in(16) => OpKind::Panic,
                _ => OpKind::nth(self.below(256)),
            };
            if self.is_in(kind) || self.dice.is_spent() {
                return kind;
            }
        }
    }

    /// One operation with what belongs to it; `None` when enough is enough.
    pub(super) fn op(&mut self, kind: OpKind, who: Who, depth: usize) -> Option<Op> {
        let mut op = Op::new(kind);
        if kind.takes('a') {
            op.at = self.place(kind, who);
        }
        self.operands(op, who, depth)
    }
}

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
        let kind = op.kind;
        if kind.takes('t') {
            op.to = match kind {
                OpKind::Pipe | OpKind::Pair | OpKind::Tcp | OpKind::Datagrams => op.at ^ 1,
                _ => self.free(),
            };
        }
        if kind.takes('n') {
            op.number = self.number(kind);
        }
        if kind.takes('i') {
            op.interest = self.pick(INTERESTS);
            if self.one_in(6) {
                op.interest |= Interest::PRIORITY;
            }
        }
        if kind.takes('g') {
            op.trigger = self.pick(TRIGGERS);
        }
        if kind.takes('s') && depth < DEPTH {
            op.script = self.script(&op, who, depth + 1);
        }
        self.opened(&op);
        Some(op)
    }

    /// What is done by the callback, closure or task that an operation makes.
    fn script(&mut self, op: &Op, who: Who, depth: usize) -> Vec<Op> {
        let whose = match op.kind {
            OpKind::Register | OpKind::Source => Who::Callback(op.at),
            OpKind::Connect | OpKind::Admit | OpKind::Serve => Who::Callback(op.to),
            OpKind::Spawn => Who::Task(op.at),
            OpKind::Arm => Who::Timer,
            _ => Who::Closure,
        };
        let most = match (whose, who) {
            (Who::Task(_), _) => 5,
            (_, Who::Test) => 4,
            _ => 2,
        };
        let mut script = Vec::new();
        for _ in 0..self.below(most) {
            let kind = self.verb(whose);
            script.extend(self.op(kind, whose, depth));
        }
        script
    }

    /// Mostly one's own descriptor, or one that is there.
    pub(super) fn place(&mut self, kind: OpKind, who: Who) -> usize {
        let known = match kind {
            OpKind::Pipe | OpKind::Pair | OpKind::Tcp | OpKind::Datagrams => {
                return self.below(PLACES / 2) * 2;
            }
            OpKind::Listen
            | OpKind::Timerfd
            | OpKind::Eventfd
            | OpKind::File
            | OpKind::Unconnected => {
                return self.free();
            }
            OpKind::Connect | OpKind::Accept | OpKind::Serve => self.listeners.clone(),
            _ if kind.names() => {
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

    fn number(&mut self, kind: OpKind) -> usize {
        match kind {
            OpKind::Read | OpKind::Write => self.pick(&[0, 1, 2, 3, 5, 8, 100]),
            OpKind::Narrow => self.pick(&[1, 2, 4, 16]),
            OpKind::Run => self.below(4),
            _ => self.below(5),
        }
    }
}
