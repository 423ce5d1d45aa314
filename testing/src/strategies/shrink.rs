//! Shrinks a failing program to a short one that still fails.
//!
//! proptest shrinks the length of a list first and its elements afterwards, once; so scripts keep the
//! length that they were generated with, and the iterations run out. This shrinker works on the
//! operations: it removes large runs first, from the end, because operations after the failure do not
//! matter; then single operations at any depth; then it simplifies the remaining operations. It
//! repeats all passes until none helps.

use super::op::{Op, OpKind};
use super::program::Program;
use proptest::strategy::ValueTree;
use readily::{Interest, Trigger};

/// The state of shrinking: the shortest failing program so far, and the next candidate.
#[derive(Debug)]
pub(super) struct Shrinking {
    /// The shortest program that is known to fail.
    best: Program,
    /// The candidate that is being run.
    tried: Option<Program>,
    pass: usize,
    nth: usize,
    /// Whether this round of passes has found a shorter program.
    is_shorter: bool,
}

/// Shrinks the program at its n-th position: `false` if there is no such position.
type Pass = fn(&mut Vec<Op>, usize) -> bool;

const PASSES: [Pass; 6] = [
    remove_run,
    remove_one,
    remove_one_and_slot,
    inline_script,
    clear_script,
    simplify_op,
];

impl Shrinking {
    pub(super) fn new(program: Program) -> Self {
        Self {
            best: program,
            tried: None,
            pass: 0,
            nth: 0,
            is_shorter: false,
        }
    }

    /// Makes the next candidate; `false` if there is none.
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
                if !std::mem::take(&mut self.is_shorter) {
                    self.pass = PASSES.len() - 1;
                    self.nth = usize::MAX; // so that further calls return `false` too
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

    /// The candidate fails too and becomes the best program. The same position now has another
    /// operation.
    fn simplify(&mut self) -> bool {
        if let Some(tried) = self.tried.take() {
            self.best = tried;
            self.is_shorter = true;
        }
        self.advance()
    }

    /// The candidate does not fail: goes on at the next position of the best program. At the last
    /// position this runs the best program once more, because `false` would end the shrinking of all
    /// values that were chosen together with the program.
    fn complicate(&mut self) -> bool {
        if self.tried.take().is_none() {
            return false;
        }
        self.nth += 1;
        let _tried = self.advance();
        true
    }
}

/// Removes a run of operations: halves first, then quarters, down to pairs, from the end.
fn remove_run(ops: &mut Vec<Op>, nth: usize) -> bool {
    let mut left = nth;
    let mut size = ops.len() / 2;
    while size > 1 {
        let runs = ops.len().div_ceil(size);
        if left < runs {
            let end = ops.len() - left * size;
            drop(ops.drain(end.saturating_sub(size)..end));
            return true;
        }
        left -= runs;
        size /= 2;
    }
    false
}

/// Edits the n-th operation, counted from the end of the text.
fn edit_nth(ops: &mut Vec<Op>, nth: &mut usize, edit: &mut dyn FnMut(&mut Vec<Op>, usize)) -> bool {
    for index in (0..ops.len()).rev() {
        if edit_nth(&mut ops[index].script, nth, edit) {
            return true;
        }
        if *nth == 0 {
            edit(ops, index);
            return true;
        }
        *nth -= 1;
    }
    false
}

fn remove_one(ops: &mut Vec<Op>, mut nth: usize) -> bool {
    edit_nth(ops, &mut nth, &mut |ops, index| drop(ops.remove(index)))
}

/// Removes an operation, and lets the loop close the connections that it accepts: the removed
/// operation may have put a descriptor into their slot.
fn remove_one_and_slot(ops: &mut Vec<Op>, nth: usize) -> bool {
    let accepts = |op: &&mut Op| op.kind == OpKind::Serve && op.to != op.at;
    if !ops.iter_mut().any(|op| accepts(&op)) || !remove_one(ops, nth) {
        return false;
    }
    ops.iter_mut().filter(accepts).for_each(|op| op.to = op.at);
    true
}

/// Replaces an operation by the operations of its script.
fn inline_script(ops: &mut Vec<Op>, mut nth: usize) -> bool {
    edit_nth(ops, &mut nth, &mut |ops, index| {
        let script = std::mem::take(&mut ops[index].script);
        if !script.is_empty() {
            drop(ops.splice(index..=index, script));
        }
    })
}

fn clear_script(ops: &mut Vec<Op>, mut nth: usize) -> bool {
    edit_nth(ops, &mut nth, &mut |ops, index| ops[index].script.clear())
}

/// Number of ways to simplify one operation.
const SIMPLIFICATIONS: usize = 9;

fn simplify_op(ops: &mut Vec<Op>, nth: usize) -> bool {
    let (mut nth, way) = (nth / SIMPLIFICATIONS, nth % SIMPLIFICATIONS);
    edit_nth(ops, &mut nth, &mut |ops, index| {
        let op = &mut ops[index];
        match way {
            0 if op.kind.is_turn() => *op = Op::new(OpKind::Turn),
            1 => op.number = op.number.min(1),
            2 => op.number /= 2,
            3 => op.number = op.number.saturating_sub(1).max(op.number.min(1)),
            4 => op.trigger = Trigger::Level,
            5 if op.interest.contains(Interest::READ) => op.interest = Interest::READ,
            6 if op.interest.contains(Interest::BOTH) => op.interest = Interest::WRITE,
            7 => op.interest = op.interest.without(Interest::PRIORITY),
            8 => op.to = op.at, // a slot in use, so that the program needs no other
            _ => {}
        }
    })
}
