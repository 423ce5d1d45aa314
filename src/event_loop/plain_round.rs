//! Rounds in which only the ready work can do anything: they begin inside the batch before them.
//!
//! The steps of such a round, other than its batch, would do nothing, so they are skipped. Where the
//! next batch begins with tasks, the scheduler goes on with them, and does not return to the loop: a
//! hand-over from task to task is then one check of the conditions below.
//!
//! In the notes: *callbacks* and coroutines, run in one order (N1). Rules: L5, L9, W1.

use super::loop_handle::LoopHandle;
use super::rows::Rows;

impl LoopHandle {
    /// Begins the next round inside the batch, if nothing can be in it but the work that is ready: no timer, no
    /// message, nothing to report or to trace. Then the other steps of a round do nothing.
    #[inline]
    pub(super) fn begin_plain_round(&self) -> bool {
        let (ready, left) = (self.ready.len(), self.calls_left.get());
        let is_plain = ready != 0
            && ready <= left
            && self.ready.rows.is_plain(|| self.has_only_ready_work())
            && self.is_undisturbed();
        if is_plain {
            self.ready.begin_plain_batch();
            self.count_plain_round(left - ready);
        }
        is_plain
    }

    /// The same for a round that has only work of the kind of the row that has just ended. Takes its places
    /// out of the queue, and returns their number; zero if the round is not such a one.
    #[inline]
    pub(super) fn begin_plain_row(&self) -> u32 {
        let rows: &Rows = &self.ready.rows;
        let (ready, left) = (rows.last_len(), self.calls_left.get());
        let is_plain = ready != 0
            && ready as usize <= left
            && rows.is_plain_row(|| self.has_only_ready_work())
            && self.is_undisturbed();
        if !is_plain {
            return 0;
        }
        rows.take_last();
        self.count_plain_round(left - ready as usize);
        ready
    }

    /// A plain round begins, which leaves so many calls to the batch.
    #[inline]
    fn count_plain_round(&self, calls_left: usize) {
        self.times.begin_round_without_timers();
        self.stats.rounds.set(self.stats.rounds.get() + 1);
        self.calls_left.set(calls_left);
    }

    /// Whether no message has come, and this is still the process of the loop: other threads and processes
    /// change that.
    #[inline]
    fn is_undisturbed(&self) -> bool {
        self.inbox.is_awake() && !self.inbox.forked()
    }

    /// Whatever makes this `false` calls `demand_attention`.
    #[inline(never)]
    fn has_only_ready_work(&self) -> bool {
        let ends = self.is_pressed() || self.stopping.get();
        let is_odd = self.is_observed() || self.shuffles_ready();
        !ends && !is_odd && self.times.timers.borrow().is_empty()
    }

    /// Takes the next place of the row of tasks that runs. At the end of the batch this begins the next
    /// round, if that is a plain one and begins with tasks, so that the scheduler goes on with them.
    #[inline]
    pub(crate) fn next_task(&self) -> bool {
        self.ready.rows.pop_same() || self.begin_row_of_round()
    }

    #[inline]
    fn begin_row_of_round(&self) -> bool {
        match self.begin_plain_row() {
            0 => self.begin_mixed_round(),
            len => {
                self.ready.rows.give_back(len - 1);
                true
            }
        }
    }

    /// The next round may begin with tasks, and have something else behind them.
    #[inline(never)]
    fn begin_mixed_round(&self) -> bool {
        let rows = &self.ready.rows;
        rows.is_batch_over() && self.begin_plain_round() && rows.pop_task()
    }
}
