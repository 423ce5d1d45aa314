//! Rounds in which only the ready work can do anything: they begin inside the batch before them.
//!
//! The steps of such a round, other than its batch, would do nothing, so they are skipped. Where the
//! next batch begins with tasks, the scheduler goes on with them, and does not return to the loop: a
//! hand-over from task to task is then one check of the conditions below.
//!
//! In the notes: *callbacks* and coroutines, run in one order (N1). Rules: L5, L9, W1.

use super::loop_handle::LoopHandle;

impl LoopHandle {
    /// Begins the next round inside the batch, if nothing can be in it but the work that is ready: no timer, no
    /// message, nothing to report or to trace. Then the other steps of a round do nothing.
    #[inline]
    pub(super) fn begin_plain_round(&self) -> bool {
        let ready = self.ready.len();
        let is_plain = ready != 0
            && ready <= self.calls_left.get()
            && !self.is_observed()
            && !self.is_pressed()
            && !self.stopping.get()
            && self.inbox.is_awake()
            && !self.inbox.forked()
            && self.times.timers.borrow().is_empty();
        if is_plain {
            self.times.begin_round_without_timers();
            self.stats.turns.set(self.stats.turns.get() + 1);
            self.begin_batch();
        }
        is_plain
    }

    /// Takes the next place of the row of tasks that runs. At the end of the batch this begins the next
    /// round, if that is a plain one and begins with tasks, so that the scheduler goes on with them.
    #[inline]
    pub(crate) fn next_task(&self) -> bool {
        self.ready.rows.pop_same() || self.begin_row_of_round()
    }

    #[inline]
    fn begin_row_of_round(&self) -> bool {
        let rows = &self.ready.rows;
        rows.is_batch_over() && self.begin_plain_round() && rows.pop_task()
    }
}
