//! From a program that fails to the shortest one that fails: cut, lift, round down, again.
//!
//! proptest's own shrinking goes through a list once and then through what its elements are made
//! of; what a callback does then keeps the length that chance gave it, and the iterations end
//! before the story is short. A program is data, so here it is cut as one would by hand: large
//! parts first, from the end, for nothing behind the failure matters; then single operations, at
//! any depth; then what is left is made plainer. And all again, until nothing helps.
//!
//! In the notes this is nothing.

use super::op::{Op, OpKind};
use super::program::Program;
use proptest::strategy::ValueTree;
use readily::{Interest, Trigger};

/// A program, and the way down to the shortest one that still fails.
#[derive(Debug)]
pub(super) struct Shrinking {
    /// The shortest that is known to fail.
    best: Program,
    /// The one that is being tried.
    tried: Option<Program>,
    pass: usize,
    nth: usize,
    /// Whether this round has got shorter anywhere.
    better: bool,
}

/// Makes the program smaller at its n-th place: `false` if there is no such place.
type Pass = fn(&mut Vec<Op>, usize) -> bool;

const PASSES: [Pass; 6] = [cut, drop_one, drop_guest, lift, empty, plain];

impl Shrinking {
    pub(super) fn new(program: Program) -> Self {
        Self {
            best: program,
            tried: None,
            pass: 0,
            nth: 0,
            better: false,
        }
    }

    /// Tries the next smaller program; `false` if there is none.
    fn advance(&mut self) -> bool {
        loop {
            let mut ops = self.best.ops().to_vec();
            if PASSES[self.pass](&mut ops, self.nth) {
                if ops != self.best.ops() {
                    self.tried = Some(Program::of(ops));
                    return true;
                }
                self.nth += 1;
                continue;
            }
            (self.pass, self.nth) = (self.pass + 1, 0);
            if self.pass == PASSES.len() {
                self.pass = 0;
                if !std::mem::take(&mut self.better) {
                    self.pass = PASSES.len() - 1;
                    self.nth = usize::MAX; // for whoever asks again
                    return false;
                }
            }
        }
    }
}

impl ValueTree for Shrinking {
    type Value = Program;

    fn current(&self) -> Program {
        self.tried.as_ref().unwrap_or(&self.best).clone()
    }

    /// What was tried fails too: from here on, at the same place, which is another one now.
    fn simplify(&mut self) -> bool {
        if let Some(tried) = self.tried.take() {
            self.best = tried;
            self.better = true;
        }
        self.advance()
    }

    /// What was tried does not fail: back, and on to the next place. Where there is none, the best
    /// is looked at once more: to say that there is no way back would end the shrinking of
    /// everything that was chosen together with the program.
    fn complicate(&mut self) -> bool {
        if self.tried.take().is_none() {
            return false;
        }
        self.nth += 1;
        let _tried = self.advance();
        true
    }
}

/// Cuts a run of operations out: halves first, then quarters, down to pairs, from the end.
fn cut(ops: &mut Vec<Op>, nth: usize) -> bool {
    let mut left = nth;
    let mut size = ops.len() / 2;
    while size > 1 {
        let places = ops.len().div_ceil(size);
        if left < places {
            let end = ops.len() - left * size;
            drop(ops.drain(end.saturating_sub(size)..end));
            return true;
        }
        left -= places;
        size /= 2;
    }
    false
}

/// Does something at the n-th operation, in the order in which they are written, from the end.
fn at(ops: &mut Vec<Op>, nth: &mut usize, does: &mut dyn FnMut(&mut Vec<Op>, usize)) -> bool {
    for place in (0..ops.len()).rev() {
        if at(&mut ops[place].script, nth, does) {
            return true;
        }
        if *nth == 0 {
            does(ops, place);
            return true;
        }
        *nth -= 1;
    }
    false
}

fn drop_one(ops: &mut Vec<Op>, mut nth: usize) -> bool {
    at(ops, &mut nth, &mut |ops, place| drop(ops.remove(place)))
}

/// Drops an operation, and lets the loop close what it accepts: what was dropped may have taken the
/// place of a connection.
fn drop_guest(ops: &mut Vec<Op>, nth: usize) -> bool {
    let serves = |op: &&mut Op| op.kind == OpKind::Serve && op.to != op.at;
    if !ops.iter_mut().any(|op| serves(&op)) || !drop_one(ops, nth) {
        return false;
    }
    ops.iter_mut().filter(serves).for_each(|op| op.to = op.at);
    true
}

/// Puts what a callback does in the place of what makes the callback.
fn lift(ops: &mut Vec<Op>, mut nth: usize) -> bool {
    at(ops, &mut nth, &mut |ops, place| {
        let script = std::mem::take(&mut ops[place].script);
        if !script.is_empty() {
            drop(ops.splice(place..=place, script));
        }
    })
}

fn empty(ops: &mut Vec<Op>, mut nth: usize) -> bool {
    at(ops, &mut nth, &mut |ops, place| ops[place].script.clear())
}

/// Ways to make one operation plainer.
const WAYS: usize = 9;

fn plain(ops: &mut Vec<Op>, nth: usize) -> bool {
    let (mut nth, way) = (nth / WAYS, nth % WAYS);
    at(ops, &mut nth, &mut |ops, place| {
        let op = &mut ops[place];
        match way {
            0 if op.kind.turns() => *op = Op::new(OpKind::Turn),
            1 => op.number = op.number.min(1),
            2 => op.number /= 2,
            3 => op.number = op.number.saturating_sub(1).max(op.number.min(1)),
            4 => op.trigger = Trigger::Level,
            5 if op.interest.contains(Interest::READ) => op.interest = Interest::READ,
            6 if op.interest.contains(Interest::BOTH) => op.interest = Interest::WRITE,
            7 => op.interest = op.interest.without(Interest::PRIORITY),
            8 => op.to = op.at, // where something is, so that nothing else has to be there
            _ => {}
        }
    })
}
