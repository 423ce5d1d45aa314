//! The order of the ready work, as rows of closures and tasks.
//!
//! A row is consecutive work of one kind, so a queue of many tasks is one number here. The loop has
//! the closures, the scheduler has the tasks, each in this order. Both share these rows, so that a
//! wake needs neither a handle of the loop nor a call of it.
//!
//! In the notes: callbacks and coroutines, run in one order (N1). Rule: L5.

use crate::base::shrink;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// A kind of ready work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Closure,
    /// A task of the scheduler.
    Task,
    /// The main future, which the caller of the loop waits for.
    Main,
}

/// Consecutive work of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    kind: Kind,
    len: u32,
}

impl Row {
    const EMPTY: Self = Self {
        kind: Kind::Closure,
        len: 0,
    };
}

/// The order of the ready work: rows of closures and tasks. The loop and its scheduler share it.
pub(crate) struct Rows {
    /// The row that runs: the rest of it. Empty between two rounds, unless a panic has ended one.
    row: Cell<Row>,
    /// The rows between that one and the last.
    pub(super) rows: RefCell<VecDeque<Row>>,
    /// The number of these, from the front, that are for this round.
    batch_rows: Cell<usize>,
    /// The row at the end of the queue, which grows.
    last: Cell<Row>,
    /// The number of closures and tasks in all rows.
    len: Cell<usize>,
    /// Whether a turn may have more to do than to dispatch events: see `turn.rs`.
    pub(super) attention: Cell<bool>,
    /// Whether the loop's host may be asleep: no turn is running, and the loop was not notified since
    /// the last one. See `host.rs`.
    pub(super) host_waits: Cell<bool>,
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            row: Cell::new(Row::EMPTY),
            rows: RefCell::default(),
            batch_rows: Cell::new(0),
            last: Cell::new(Row::EMPTY),
            len: Cell::new(0),
            attention: Cell::new(true),
            host_waits: Cell::new(false),
        }
    }
}

impl Rows {
    /// Adds the place of a closure or a task, which the caller queues.
    #[inline]
    pub(crate) fn push(&self, kind: Kind) {
        let mut last = self.last.get();
        if last.kind != kind {
            if last.len != 0 {
                self.end_row();
            }
            last = Row { kind, len: 0 };
        }
        last.len += 1;
        self.last.set(last);
        self.len.set(self.len.get() + 1);
        self.attention.set(true);
    }

    /// Whether [`LoopHandle::notify_host`](super::LoopHandle) has to be called after a push.
    #[inline]
    pub(crate) fn host_waits(&self) -> bool {
        self.host_waits.get()
    }

    /// Ends the last row, unless it is empty.
    #[inline(never)]
    fn end_row(&self) {
        let last = self.last.replace(Row::EMPTY);
        if last.len != 0 {
            self.rows.borrow_mut().push_back(last);
        }
    }

    /// Everything in the queue is the batch of this round. `false` if it is more than one row.
    #[inline]
    pub(super) fn begin_batch_of_one_row(&self) -> bool {
        let only = self.last.get();
        let is_one = only.len as usize == self.len.get();
        if is_one {
            self.row.set(only);
            self.last.set(Row { len: 0, ..only });
        }
        is_one
    }

    /// The same, however many rows there are.
    pub(super) fn begin_batch(&self) {
        self.end_row();
        let mut rows = self.rows.borrow_mut();
        // Left of a batch that a panic has ended.
        let left = self.row.replace(Row::EMPTY);
        if left.len != 0 {
            rows.push_front(left);
        }
        self.batch_rows.set(rows.len());
    }

    /// Takes the next place of this batch.
    #[inline]
    pub(super) fn pop(&self) -> Option<Kind> {
        let mut row = self.row.get();
        if row.len == 0 {
            if self.batch_rows.get() == 0 {
                return None;
            }
            row = self.next_row()?;
        }
        row.len -= 1;
        self.row.set(row);
        self.len.set(self.len.get() - 1);
        Some(row.kind)
    }

    /// Whether nothing is left of this batch.
    #[inline]
    pub(super) fn is_batch_over(&self) -> bool {
        self.row.get().len == 0 && self.batch_rows.get() == 0
    }

    #[inline(never)]
    fn next_row(&self) -> Option<Row> {
        let left = self.batch_rows.get().checked_sub(1)?;
        self.batch_rows.set(left);
        self.rows.borrow_mut().pop_front()
    }

    /// Takes the places of this batch right behind the one that was popped, if they are of tasks.
    #[inline]
    pub(super) fn take_tasks(&self) -> u32 {
        let row = self.row.get();
        if row.kind != Kind::Task {
            return 0;
        }
        self.row.set(Row { len: 0, ..row });
        self.len.set(self.len.get() - row.len as usize);
        row.len
    }

    /// The kind of the work that was popped last.
    #[inline]
    pub(super) fn current(&self) -> Kind {
        self.row.get().kind
    }

    /// Shrinks after a burst (R126).
    #[inline]
    pub(super) fn shrink(&self) {
        shrink::shrink(&mut *self.rows.borrow_mut());
    }

    /// The number of closures and tasks.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len.get()
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
        self.len.set(0);
        for row in self.rows.take() {
            each.extend((0..row.len).map(|_| match row.kind {
                Kind::Task => (row.kind, tasks.next()),
                _ => (row.kind, None),
            }));
        }
        each
    }
}

/// Consecutive tasks that the scheduler runs. What is left of them when a panic ends that, for they
/// run in the same batch (L6), goes back into the queue.
pub(crate) struct TaskRow<'a> {
    pub(super) rows: &'a Rows,
    pub(super) left: u32,
}

impl TaskRow<'_> {
    /// Takes the next place; `false` if there is none.
    #[inline]
    pub(super) fn next(&mut self) -> bool {
        // Not `self.left -= u32::from(has_next)`: optimized, compilers before the fix of
        // rust-lang/rust#158206 drop the comparison, and with it the subtraction.
        match self.left {
            0 => false,
            left => {
                self.left = left - 1;
                true
            }
        }
    }
}

impl Drop for TaskRow<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.left != 0 {
            self.rows.row.set(Row {
                kind: Kind::Task,
                len: self.left,
            });
            self.rows.len.set(self.rows.len.get() + self.left as usize);
        }
    }
}
