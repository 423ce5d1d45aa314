//! Doing what a script says: to the loop, to the model, and in words.
//!
//! What does not fit is left out: a read where nothing is open, a listener that is to be written
//! to. That keeps every list of operations a program, so that any part of one may be cut out; and
//! no condition of an operation is written down twice, in a strategy and here.
//!
//! In the notes these are the things that a callback may do (N7).

use super::actor::Actor;
use super::op::{Op, Verb};
use super::stage::Stage;
use std::rc::Rc;
use std::time::Duration;

impl Stage {
    /// Does all of it; `false` if the last thing done was a panic.
    pub(super) fn perform_all(self: &Rc<Self>, actor: &Actor<'_>, script: &[Op]) -> bool {
        script.iter().all(|op| self.perform(actor, op))
    }

    /// Does one thing. `false` says that whoever does it is to panic now.
    pub(super) fn perform(self: &Rc<Self>, actor: &Actor<'_>, op: &Op) -> bool {
        if self.is_over() || (self.quiet.get() && actor.is_inside()) {
            return true;
        }
        match op.verb {
            Verb::Panic if actor.is_inside() => {
                actor.says(self, "panics");
                return false;
            }
            Verb::Pass => {
                actor.says(self, format!("takes {} ms", op.number));
                let time = Duration::from_millis(op.number as u64);
                self.kernel.clock().advance(time);
            }
            Verb::Nearly => {
                actor.says(self, format!("takes nearly {} ms", op.number));
                let time = Duration::from_millis(op.number as u64);
                let time = time.saturating_sub(Duration::from_nanos(1));
                self.kernel.clock().advance(time);
            }
            Verb::Stop => {
                actor.says(self, "stops the loop");
                self.model.borrow_mut().stops();
                actor.handle.stop();
            }
            _ => {
                // `None`: it did not fit.
                let _done = self
                    .to_descriptors(actor, op)
                    .or_else(|| self.to_work(actor, op))
                    .or_else(|| self.from_afar(actor, op));
            }
        }
        true
    }
}
