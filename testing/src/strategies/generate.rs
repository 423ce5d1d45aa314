//! Generates programs: first a setup in which much happens at once, then any operations.
//!
//! A uniform choice would spend most operations on empty slots. So a program begins with some
//! descriptors, most of them registered; a callback uses its own descriptor every other time; and
//! each program leaves out a random set of operations (*swarm testing*), because many bugs show only
//! when an operation that would repair the state does *not* happen. Operands are mostly near: the
//! callback's own descriptor, a slot in use, a number so small that it repeats. Two timers of a few
//! milliseconds are due together; two of any `u64` never are.

use super::op::{NAMES, Op, OpKind, SLOTS};
use super::program::Program;
use super::shrink::Shrinking;
use crate::rng::Rng;
use proptest::arbitrary::any;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use readily::{Interest, Trigger};

/// Generates programs of up to 80 operations on up to eight descriptors, the scripts of callbacks
/// included.
///
/// Choose the program after the faults: proptest shrinks the first choice first, and a program
/// shrinks further where no fault depends on the number of operations before it.
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
        Ok(Shrinking::new(generate(Entropy::Seed(Rng::seeded(seed)))))
    }
}

const TURN_OPS: &[OpKind] = &[
    OpKind::Turn,
    OpKind::Turn,
    OpKind::Turn,
    OpKind::Wait,
    OpKind::Sleep,
    OpKind::Run,
];

/// Operations that callbacks execute more often than others.
const COMMON: &[OpKind] = &[
    OpKind::Read,
    OpKind::Read,
    OpKind::Read,
    OpKind::Write,
    OpKind::Write,
    OpKind::Close,
    OpKind::Close,
    OpKind::Ignore,
];

const WAIT_OPS: &[OpKind] = &[OpKind::Park, OpKind::Nap, OpKind::Nap, OpKind::Join];

/// Operations that begin a program.
const OPENED_FIRST: &[OpKind] = &[
    OpKind::Pipe,
    OpKind::Pair,
    OpKind::Pair,
    OpKind::Tcp,
    OpKind::Tcp,
    OpKind::Listen,
    OpKind::Listen,
    OpKind::Datagrams,
];

/// The kind of code that executes an operation, which decides the choice of operations.
#[derive(Clone, Copy)]
pub(super) enum CallerKind {
    Test,
    /// The callback of the registration of this slot.
    Callback(usize),
    Closure,
    Timer,
    /// The task of this name.
    Task(usize),
}

/// Upper bound for the operations of a program, those in scripts included.
const MAX_OPS: usize = 80;

/// The source of choices.
pub(super) enum Entropy<'a> {
    Seed(Rng),
    /// One byte for each choice. Without bytes left, each choice is its first alternative.
    Bytes(&'a [u8]),
}

impl Entropy<'_> {
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

    /// A random set of 64 bits, of which three in four are set.
    fn swarm(&mut self) -> u64 {
        let mut half = || (0..8).fold(0, |half, _| half << 8 | self.below(256) as u64);
        half() | half()
    }

    fn is_exhausted(&self) -> bool {
        matches!(self, Self::Bytes([]))
    }
}

pub(super) fn generate(mut entropy: Entropy<'_>) -> Program {
    let mut generator = Generator {
        left: MAX_OPS / 4 + entropy.below(MAX_OPS - MAX_OPS / 4 + 1),
        swarm: entropy.swarm(),
        open: Vec::new(),
        listeners: Vec::new(),
        entropy,
    };
    let mut ops = generator.initial_ops();
    while generator.left > 0 && !generator.entropy.is_exhausted() {
        let kind = match generator.below(5) {
            0 | 1 => generator.pick(TURN_OPS),
            _ => generator.op_kind(CallerKind::Test),
        };
        ops.extend(generator.op(kind, CallerKind::Test, 0));
    }
    Program::of(ops)
}

pub(super) struct Generator<'a> {
    entropy: Entropy<'a>,
    pub(super) left: usize,
    /// The operations of this program, one bit for each kind; three of four are set.
    swarm: u64,
    /// Slots that are in use by now if no operation before was skipped or failed.
    pub(super) open: Vec<usize>,
    pub(super) listeners: Vec<usize>,
}

impl Generator<'_> {
    /// A number below `bound`, which is not zero.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.entropy.below(bound)
    }

    pub(super) fn one_in(&mut self, chance: usize) -> bool {
        self.below(chance) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Up to four pairs of descriptors or listeners, registrations for most of them, and some
    /// traffic.
    fn initial_ops(&mut self) -> Vec<Op> {
        let count = 1 + self.below(SLOTS / 2);
        let mut ops = Vec::new();
        for nth in 0..count {
            let kind = self.pick(OPENED_FIRST);
            let mut op = Op::new(kind);
            op.at = 2 * nth;
            op.to = if kind.takes('t') { op.at + 1 } else { 0 };
            self.record_opened(&op);
            ops.push(op);
        }
        self.left = self.left.saturating_sub(count);
        for slot in self.open.clone() {
            if !self.one_in(3) {
                ops.extend(self.registered(slot));
            }
        }
        ops.extend(self.initial_traffic());
        for kind in [
            OpKind::Arm,
            OpKind::Arm,
            OpKind::Arm,
            OpKind::Soon,
            OpKind::Spawn,
        ] {
            if self.is_enabled(kind) && self.one_in(3) {
                ops.extend(self.op(kind, CallerKind::Test, 0));
            }
        }
        ops
    }

    /// Connections to some listeners, bytes for some descriptors, and some descriptors closed after
    /// that.
    fn initial_traffic(&mut self) -> Vec<Op> {
        let mut ops = Vec::new();
        for slot in self.listeners.clone() {
            if self.one_in(2) {
                let mut op = Op::new(OpKind::Connect);
                op.at = slot;
                ops.extend(self.operands(op, CallerKind::Test, 0));
            }
        }
        for slot in self.open.clone() {
            let mut kinds = Vec::new();
            if self.one_in(3) {
                kinds.push(OpKind::Write);
            }
            if self.one_in(6) {
                kinds.push(self.pick(&[OpKind::Close, OpKind::Shut, OpKind::Reset]));
            }
            for kind in kinds {
                let mut op = Op::new(kind);
                op.at = slot;
                ops.extend(self.operands(op, CallerKind::Test, 0));
            }
        }
        ops
    }

    fn registered(&mut self, slot: usize) -> Option<Op> {
        let kind = match self.below(8) {
            0 => OpKind::Source,
            1..4 if self.listeners.contains(&slot) => OpKind::Serve,
            _ => OpKind::Register,
        };
        let mut op = Op::new(kind);
        op.at = slot;
        self.operands(op, CallerKind::Test, 0)
    }

    pub(super) fn record_opened(&mut self, op: &Op) {
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

    /// Whether this kind of operation is in the swarm of this program.
    fn is_enabled(&self, kind: OpKind) -> bool {
        let essential = matches!(kind, OpKind::Register | OpKind::Read | OpKind::Write);
        essential || self.swarm >> (kind as u32) & 1 == 1
    }

    pub(super) fn op_kind(&mut self, caller: CallerKind) -> OpKind {
        loop {
            let kind = match caller {
                CallerKind::Callback(own) if self.one_in(3) => {
                    match self.listeners.contains(&own) {
                        true => self.pick(&[OpKind::Accept, OpKind::Admit]),
                        false => self.pick(COMMON),
                    }
                }
                CallerKind::Task(_) if self.one_in(3) => self.pick(WAIT_OPS),
                // A timer that arms timers, and a closure that queues closures, test the limits of a
                // turn.
                CallerKind::Timer if self.one_in(3) => self.pick(&[OpKind::Arm, OpKind::Disarm]),
                CallerKind::Closure if self.one_in(3) => {
                    self.pick(&[OpKind::Soon, OpKind::TakeBack])
                }
                CallerKind::Test => OpKind::nth(self.below(256)),
                _ if self.one_in(16) => OpKind::Panic,
                _ => OpKind::nth(self.below(256)),
            };
            if self.is_enabled(kind) || self.entropy.is_exhausted() {
                return kind;
            }
        }
    }

    /// One operation with its operands and its script; `None` when the program is long enough.
    pub(super) fn op(&mut self, kind: OpKind, caller: CallerKind, depth: usize) -> Option<Op> {
        let mut op = Op::new(kind);
        if kind.takes('a') {
            op.at = self.slot(kind, caller);
        }
        self.operands(op, caller, depth)
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

/// Scripts nest up to this depth.
const MAX_DEPTH: usize = 3;

impl Generator<'_> {
    /// The operation with its operands after the first.
    pub(super) fn operands(&mut self, mut op: Op, caller: CallerKind, depth: usize) -> Option<Op> {
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
        if kind.takes('s') && depth < MAX_DEPTH {
            op.script = self.script(&op, caller, depth + 1);
        }
        self.record_opened(&op);
        Some(op)
    }

    /// The script of the callback, closure or task that an operation creates.
    fn script(&mut self, op: &Op, caller: CallerKind, depth: usize) -> Vec<Op> {
        let inner = match op.kind {
            OpKind::Register | OpKind::Source => CallerKind::Callback(op.at),
            OpKind::Connect | OpKind::Admit | OpKind::Serve => CallerKind::Callback(op.to),
            OpKind::Spawn => CallerKind::Task(op.at),
            OpKind::Arm => CallerKind::Timer,
            _ => CallerKind::Closure,
        };
        let max = match (inner, caller) {
            (CallerKind::Task(_), _) => 5,
            (_, CallerKind::Test) => 4,
            _ => 2,
        };
        let mut script = Vec::new();
        for _ in 0..self.below(max) {
            let kind = self.op_kind(inner);
            script.extend(self.op(kind, inner, depth));
        }
        script
    }

    /// The first operand: mostly the caller's own descriptor, or a slot in use.
    pub(super) fn slot(&mut self, kind: OpKind, caller: CallerKind) -> usize {
        let known = match kind {
            OpKind::Pipe | OpKind::Pair | OpKind::Tcp | OpKind::Datagrams => {
                return self.below(SLOTS / 2) * 2;
            }
            OpKind::Listen
            | OpKind::Timerfd
            | OpKind::Eventfd
            | OpKind::File
            | OpKind::Unconnected => {
                return self.free();
            }
            OpKind::Connect | OpKind::Accept | OpKind::Serve => self.listeners.clone(),
            _ if kind.has_name() => {
                return match caller {
                    CallerKind::Task(own) if self.one_in(3) => own,
                    _ => self.below(NAMES),
                };
            }
            _ => self.open.clone(),
        };
        match caller {
            CallerKind::Callback(own) if self.below(3) > 0 => own,
            _ if known.is_empty() || self.one_in(8) => self.below(SLOTS),
            _ => self.pick(&known),
        }
    }

    /// A slot that is mostly free.
    fn free(&mut self) -> usize {
        let is_free = |slot: &usize| !self.open.contains(slot);
        let free: Vec<usize> = (0..SLOTS).filter(is_free).collect();
        match free.is_empty() || self.one_in(4) {
            true => self.below(SLOTS),
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
