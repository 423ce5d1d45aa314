//! A turn that a panic ends in its middle: one that no catch of the loop's is around.
//!
//! Callbacks, tasks, destructors and hooks are called under a catch, and their panics leave the turn
//! whole. A clock or a poller of a user's may panic between two of them. What the turn leaves then would
//! be at odds with itself: a queue that is not empty, and a fence with nothing in front of it, over
//! which the loop would spin.
//!
//! The notes do not speak of it. Rules: L5, L6.

use super::{NEXT_CALL, ReadyQueue};
use crate::event_loop::local::LoopHandle;

impl ReadyQueue {
    /// What is left of the turn stands before what is for the next one.
    fn abandon(&self) {
        let mut order = self.entries.borrow_mut();
        let closures = self.run.take();
        if closures != 0 {
            order.push_front(NEXT_CALL);
            self.runs.borrow_mut().push_front(closures as u64);
        }
        order.append(&mut self.next_turn.borrow_mut());
        self.batch_len.set(0);
        self.collecting.take();
    }
}

/// A turn that is under way. Forgotten when it is whole; dropped, it leaves the rest to the next turn.
pub(in crate::event_loop) struct WholeTurn<'a>(pub(in crate::event_loop) &'a LoopHandle);

impl Drop for WholeTurn<'_> {
    #[cold]
    fn drop(&mut self) {
        self.0.ready.abandon();
        self.0.times.end_turn();
    }
}
