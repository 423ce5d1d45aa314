//! A turn that ends in its middle, by a panic outside of every `catch_unwind` of the loop.
//!
//! Callbacks, tasks, destructors and hooks run inside a `catch_unwind`, and a turn continues after
//! their panics. But a user's clock or poller may panic between two of them. Without this module
//! the ready queue would be inconsistent after that: entries, but none in the batch, so that the
//! loop would spin.
//!
//! Rules: L5, L6.

use super::{NEXT_CALL, ReadyQueue};
use crate::event_loop::loop_handle::LoopHandle;

impl ReadyQueue {
    /// Puts the rest of this turn in front of the work for the next one.
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

/// Guards a turn. It is forgotten when the turn is complete; if it is dropped, the rest of the turn
/// is left to the next one.
pub(in crate::event_loop) struct WholeTurn<'a>(pub(in crate::event_loop) &'a LoopHandle);

impl Drop for WholeTurn<'_> {
    #[cold]
    fn drop(&mut self) {
        self.0.ready.abandon();
        self.0.times.end_turn();
    }
}
