//! The order of the ready work, as rows of closures and tasks.
//!
//! A row is consecutive work of one kind, so a queue of many tasks is one number here. The loop has
//! the closures, the scheduler has the tasks, each in this order. Both share these rows, so that a
//! wake needs neither a handle of the loop nor a call of it.
//!
//! In the notes: callbacks and coroutines, run in one order (N1). Rule: L5.

pub(super) use super::row::Detour;
pub(crate) use super::row::Kind;
use super::row::{Row, RowCell};
use crate::base::shrink;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// Something else than ready work may be in the next round: a timer is armed, or there is something to
/// report, to trace or to end. Or that is not known.
const UNKNOWN: u8 = 1;
/// The work of the next round may be of another kind than the row that runs, or of both.
const MIXED: u8 = 2;

/// The order of the ready work: rows of closures and tasks. The loop and its scheduler share it.
pub(crate) struct Rows {
    /// The row that runs: the rest of it. Empty between two rounds, unless a panic has ended one.
    row: RowCell,
    /// The rows between that one and the last.
    pub(super) rows: RefCell<VecDeque<Row>>,
    /// The number of closures and tasks in these.
    between: Cell<usize>,
    /// The number of these rows, from the front, that are for this round.
    batch_rows: Cell<usize>,
    /// The row at the end of the queue, which grows.
    last: RowCell,
    /// Whether a turn may have more to do than to dispatch events: see `turn.rs`.
    pub(super) attention: Cell<bool>,
    /// Why the next round may be no plain row: [`UNKNOWN`] and [`MIXED`].
    obstacles: Cell<u8>,
    /// The reasons why a push has to do more than to add work: the constants of [`Detour`].
    detours: Cell<u8>,
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            row: RowCell::default(),
            rows: RefCell::default(),
            between: Cell::new(0),
            batch_rows: Cell::new(0),
            last: RowCell::default(),
            attention: Cell::new(true),
            obstacles: Cell::new(UNKNOWN | MIXED),
            detours: Cell::new(0),
        }
    }
}

impl Rows {
    /// Adds the place of a closure or a task, which the caller queues.
    #[inline]
    pub(crate) fn push(&self, kind: Kind) {
        if self.last.kind.get() != kind {
            return self.push_to_new_row(kind);
        }
        self.last.len.set(self.last.len.get() + 1);
        self.attention.set(true);
    }

    /// Records that something else than ready work has to be done: the next turn or round is no short one.
    #[inline]
    pub(super) fn demand_attention(&self) {
        self.attention.set(true);
        self.add_obstacle(UNKNOWN);
    }

    #[inline]
    fn add_obstacle(&self, obstacle: u8) {
        self.obstacles.set(self.obstacles.get() | obstacle);
    }

    /// Whether nothing but ready work can be in the next round. `find_out` is asked if that is not known.
    #[inline]
    pub(super) fn is_plain(&self, find_out: impl FnOnce() -> bool) -> bool {
        if self.obstacles.get() & UNKNOWN != 0 && find_out() {
            self.obstacles.set(self.obstacles.get() & !UNKNOWN);
        }
        self.obstacles.get() & UNKNOWN == 0
    }

    /// Whether that is so, and all of the work is of the kind of the row that has just ended.
    #[inline]
    pub(super) fn is_plain_row(&self, find_out: impl FnOnce() -> bool) -> bool {
        self.obstacles.get() == 0 || self.is_plain_row_now(find_out)
    }

    #[inline(never)]
    fn is_plain_row_now(&self, find_out: impl FnOnce() -> bool) -> bool {
        if self.between.get() == 0 && self.last.kind.get() == self.row.kind.get() {
            self.obstacles.set(self.obstacles.get() & !MIXED);
        }
        self.is_plain(find_out) && self.obstacles.get() == 0
    }

    /// Whether a push has to do more than to add work, for any reason.
    #[inline]
    pub(super) fn has_detour(&self) -> bool {
        self.detours.get() != 0
    }

    /// Adds or removes a reason.
    #[inline]
    pub(super) fn set_detour(&self, detour: Detour, is_on: bool) {
        let others = self.detours.get() & !(detour as u8);
        self.detours.set(match is_on {
            true => others | detour as u8,
            false => others,
        });
    }

    /// Whether [`LoopHandle::notify_host`](super::LoopHandle) has to be called after a push.
    #[inline]
    pub(crate) fn host_waits(&self) -> bool {
        self.detours.get() & Detour::HostWaits as u8 != 0
    }

    /// The same behind work of another kind.
    // `extern "C"`, which does not unwind: the caller of a push has nothing to drop then. Only an
    // allocation of all memory could panic.
    #[cold]
    extern "C" fn push_to_new_row(&self, kind: Kind) {
        if self.last.len.get() != 0 {
            self.end_row();
        }
        self.add_obstacle(MIXED);
        self.last.set(Row { kind, len: 1 });
        self.attention.set(true);
    }

    /// Ends the last row, unless it is empty.
    #[inline(never)]
    fn end_row(&self) {
        let last = self.last.get();
        self.last.len.set(0);
        if last.len != 0 {
            self.between.set(self.between.get() + last.len as usize);
            self.rows.borrow_mut().push_back(last);
        }
    }

    /// Everything in the queue is the batch of this round. `false` if it is more than one row.
    #[inline]
    pub(super) fn begin_batch_of_one_row(&self) -> bool {
        let is_one = self.row.len.get() == 0 && self.between.get() == 0;
        if is_one {
            self.row.set(self.last.get());
            self.last.len.set(0);
        }
        is_one
    }

    /// The same, however many rows there are.
    pub(super) fn begin_batch(&self) {
        self.add_obstacle(MIXED);
        self.end_row();
        let mut rows = self.rows.borrow_mut();
        // Left of a batch that a panic has ended.
        let left = self.row.get();
        if left.len != 0 {
            self.row.len.set(0);
            self.between.set(self.between.get() + left.len as usize);
            rows.push_front(left);
        }
        self.batch_rows.set(rows.len());
    }

    /// The number of places of the last row. If [`is_plain_row`](Self::is_plain_row), the next round has
    /// these alone.
    #[inline]
    pub(super) fn last_len(&self) -> u32 {
        self.last.len.get()
    }

    /// Takes all places of the last row.
    #[inline]
    pub(super) fn take_last(&self) {
        self.last.len.set(0);
    }

    /// Takes the next place of this batch.
    #[inline]
    pub(super) fn pop(&self) -> Option<Kind> {
        (self.pop_same() || self.pop_next_row()).then(|| self.row.kind.get())
    }

    /// Takes the next place of the row that the last one was of; `false` at its end.
    #[inline]
    pub(super) fn pop_same(&self) -> bool {
        // Not `len - u32::from(len != 0)`: optimized, compilers before the fix of
        // rust-lang/rust#158206 drop the comparison, and with it the subtraction.
        match self.row.len.get() {
            0 => false,
            len => {
                self.row.len.set(len - 1);
                true
            }
        }
    }

    /// Takes all places of the row that the last one was of. Returns their number.
    #[inline]
    pub(super) fn take_same(&self) -> u32 {
        self.row.len.replace(0)
    }

    /// Gives back the last places that were taken.
    #[inline]
    pub(super) fn give_back(&self, count: u32) {
        self.row.len.set(count);
    }

    /// Takes the first place of the next row; `false` at the end of the batch.
    #[inline]
    fn pop_next_row(&self) -> bool {
        self.batch_rows.get() != 0 && self.begin_next_row()
    }

    /// Whether nothing is left of this batch.
    #[inline]
    pub(super) fn is_batch_over(&self) -> bool {
        self.row.len.get() == 0 && self.batch_rows.get() == 0
    }

    /// Takes the first place of a batch that has begun, if that is a task's.
    pub(super) fn pop_task(&self) -> bool {
        self.row.kind.get() == Kind::Task && self.pop_same()
    }

    #[inline(never)]
    fn begin_next_row(&self) -> bool {
        self.add_obstacle(MIXED);
        self.batch_rows.set(self.batch_rows.get() - 1);
        let Some(row) = self.rows.borrow_mut().pop_front() else {
            return false;
        };
        self.between.set(self.between.get() - row.len as usize);
        self.row.set(row);
        self.pop_same()
    }

    /// The kind of the work that was popped last.
    #[inline]
    pub(super) fn current(&self) -> Kind {
        self.row.kind.get()
    }

    /// Shrinks after a burst (R126).
    #[inline]
    pub(super) fn shrink(&self) {
        shrink::shrink(&mut *self.rows.borrow_mut());
    }

    /// The number of closures and tasks.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.row.len.get() as usize + self.between.get() + self.last.len.get() as usize
    }

    pub(super) fn has_main(&self) -> bool {
        let is_main = |row: &Row| row.kind == Kind::Main && row.len != 0;
        let is_at_end = is_main(&self.row.get()) || is_main(&self.last.get());
        is_at_end || self.rows.borrow().iter().any(is_main)
    }

    /// Takes the whole batch, one entry for each place: a task's has its number among the tasks.
    pub(super) fn take_batch(&self) -> Vec<(Kind, Option<usize>)> {
        let mut each = Vec::new();
        let mut tasks = 0..;
        self.between.set(0);
        for row in self.rows.take() {
            each.extend((0..row.len).map(|_| match row.kind {
                Kind::Task => (row.kind, tasks.next()),
                _ => (row.kind, None),
            }));
        }
        each
    }
}
