//! A row of ready work: how many closures, or how many tasks, one behind the other.
//!
//! The queue of the ready work is made of these (`rows.rs`).
//!
//! In the notes: callbacks and coroutines, run in one order (N1).

use std::cell::Cell;

/// A kind of ready work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
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
    pub(super) kind: Kind,
    pub(super) len: u32,
}

/// A row that changes. Its two parts apart, so that a place is added or taken in one of them.
pub(super) struct RowCell {
    pub(super) kind: Cell<Kind>,
    pub(super) len: Cell<u32>,
}

impl RowCell {
    pub(super) fn get(&self) -> Row {
        Row {
            kind: self.kind.get(),
            len: self.len.get(),
        }
    }

    #[inline]
    pub(super) fn set(&self, row: Row) {
        self.kind.set(row.kind);
        self.len.set(row.len);
    }
}

impl Default for RowCell {
    fn default() -> Self {
        Self {
            kind: Cell::new(Kind::Closure),
            len: Cell::new(0),
        }
    }
}

/// A reason why a push has to do more than to add work. All of them are bits of one number, so that a
/// push tests it once.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Detour {
    /// The loop's host may be asleep: no turn is running, and the loop was not notified since the last
    /// one. See `host.rs`.
    HostWaits = 1,
    /// The loop is closed, and refuses work.
    Closed = 2,
    /// The kernel of the loop is virtual, and decides whether there are messages.
    VirtualKernel = 4,
}
