//! Futurelock detection in debug mode: a future keeps a grant that it does not take, while other
//! tasks wait for it.
//!
//! A lock, a permit, an item or a place in a queue is granted to the first waiting future, and
//! belongs to that future from then on. If the future was passed to a `select` by reference, lost,
//! and is kept without being polled, the waiters behind it do not get the grant. If its own task is
//! one of these waiters, that task waits for itself. Only dropping or polling the future helps, so
//! the loop can do no more than report it.
//!
//! Waits and grants are stored in a table of the thread, because a future may be dropped anywhere.
//! When debug mode is off, each wait and each grant costs one test of a flag.
//!
//! In asyncio the task that is woken takes the lock, so this cannot happen.

use super::current;
use super::loop_handle::LoopHandle;
use super::origin::Origin;
use super::report::{Futurelock, Unhandled};
use super::rows::Kind;
use readily_sys::sorted::SortedMap;
use std::cell::{Cell, RefCell};

/// On a busy loop, a grant that is not taken within this many turns is reported.
const FUTURELOCK_TURNS: u32 = 16;
/// At most this many waiters are named in a report.
const MAX_NAMED_WAITERS: usize = 8;

/// A wait queue, by its address, and the number of a ticket in it.
type At = (usize, u64);

/// A wait, or a grant that is not taken yet.
struct Wait {
    /// The loop of its task.
    home: *const LoopHandle,
    origin: Origin,
    /// For a grant: the number of turns since then, and whether it was reported.
    turns: u32,
    reported: bool,
}

#[derive(Default)]
struct Table {
    waits: SortedMap<At, Wait>,
    grants: SortedMap<At, Wait>,
}

thread_local! {
    /// Whether a loop of this thread has ever been in debug mode.
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static TABLE: RefCell<Table> = const {
        RefCell::new(Table {
            waits: SortedMap::new(),
            grants: SortedMap::new(),
        })
    };
}

/// Starts to record the waits and grants of this thread.
pub(super) fn watch() {
    let _ = WATCHED.try_with(|watched| watched.set(true));
}

#[inline]
pub(crate) fn is_watched() -> bool {
    WATCHED.try_with(Cell::get).unwrap_or(false)
}

fn with_table<R>(f: impl FnOnce(&mut Table) -> R) -> Option<R> {
    TABLE.try_with(|table| f(&mut table.borrow_mut())).ok()
}

/// Records that the polled task waits with this ticket, if its loop is in debug mode.
#[cold]
pub(crate) fn waits(queue: usize, ticket: u64) {
    let wait = current::with(|handle| {
        let home = std::ptr::from_ref(handle);
        let origin = handle.polled_origin().filter(|_| handle.is_debug())?;
        Some(Wait {
            home,
            origin,
            turns: 0,
            reported: false,
        })
    });
    if let Some(wait) = wait.flatten() {
        with_table(|table| table.waits.insert((queue, ticket), wait));
    }
}

/// Records that the wait with this ticket was granted.
#[cold]
pub(crate) fn granted(queue: usize, ticket: u64) {
    with_table(|table| {
        if let Some(wait) = table.waits.remove((queue, ticket)) {
            table.grants.insert((queue, ticket), wait);
        }
    });
}

/// Records that the waiter with this ticket has taken its grant, or has been cancelled.
#[cold]
pub(crate) fn leaves(queue: usize, ticket: u64) {
    with_table(|table| {
        table.waits.remove((queue, ticket));
        table.grants.remove((queue, ticket));
    });
}

impl Table {
    /// Called when a turn of `home` has ended. Returns the grants that keep other waiters waiting
    /// and were not reported yet.
    fn end_turn(&mut self, home: *const LoopHandle, is_idle: bool) -> Vec<Futurelock> {
        let mut found = Vec::new();
        let Self { waits, grants } = self;
        grants.visit_from((0, 0), &mut |(queue, _), grant| {
            if grant.home != home {
                return true;
            }
            grant.turns = grant.turns.saturating_add(1);
            // The grant has woken its task: if nothing is ready any more, that task has been polled.
            if grant.reported || !(is_idle || grant.turns >= FUTURELOCK_TURNS) {
                return true;
            }
            let mut waiting = Vec::new();
            waits.visit_from((queue, 0), &mut |(other, _), wait| {
                let is_behind = other == queue && waiting.len() < MAX_NAMED_WAITERS;
                if is_behind {
                    waiting.push(wait.origin.clone());
                }
                is_behind
            });
            if !waiting.is_empty() {
                grant.reported = true;
                found.push(Futurelock {
                    holder: grant.origin.clone(),
                    waiting,
                    turns: grant.turns,
                });
            }
            true
        });
        found
    }
}

impl LoopHandle {
    /// The origin of the task, or main future, that is being polled.
    fn polled_origin(&self) -> Option<Origin> {
        match self.ready.rows.current() {
            _ if !current::is_turning() => None,
            Kind::Closure => None,
            Kind::Main => Some(self.main_origin()),
            Kind::Task => self.scheduler.get().map(|scheduler| scheduler.origin()),
        }
    }

    /// Reports futurelocks. Called at the end of each turn in debug mode.
    pub(super) fn report_futurelocks(&self) {
        let is_idle = self.ready.is_empty();
        let found = with_table(|table| table.end_turn(std::ptr::from_ref(self), is_idle));
        for futurelock in found.into_iter().flatten() {
            self.report(&Unhandled::Futurelock(futurelock));
        }
    }
}
