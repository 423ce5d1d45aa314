//! Debug mode: a grant that its future does not fetch, while others wait for the same thing.
//!
//! A lock, a permit, an item or a place in a queue is handed to the first in line, and belongs to that
//! future from then on. A future that is lent to a `select`, lost it, and is kept without being polled,
//! keeps what it is granted from all behind it; where its task is one of those, it waits for itself.
//! Dropping or polling the future is the only cure, so all that can be done is to name it.
//!
//! Waits and grants are noted in a table of the thread, for a future may be dropped anywhere. Off, it is
//! one look at a flag for each wait and each grant.
//!
//! asyncio has no lent futures; its locks are fetched by the task that is woken.

use super::current;
use super::local::LoopHandle;
use super::origin::Origin;
use super::ready::{MAIN_TASK, NEXT_CALL};
use super::unhandled::Unhandled;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;

/// So many turns may a loop that is busy take to poll a future that was granted something.
const TURNS: u32 = 16;
/// At most so many waiters are named in a report.
const NAMED: usize = 8;

/// A future that keeps a grant which it does not fetch: see [`Unhandled::Futurelock`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Futurelock {
    /// The task that polled the future when it began to wait.
    pub holder: Origin,
    /// The first tasks that wait behind the future, in their order; the holder may be one of them.
    pub waiting: Vec<Origin>,
    /// The number of turns since the future was granted what it does not fetch.
    pub turns: u32,
}

impl fmt::Display for Futurelock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a future that waits for a lock, a permit, an item or a place was granted it {} turns ago, and \
             is neither polled nor dropped by {}; behind it wait: ",
            self.turns, self.holder
        )?;
        for (n, origin) in self.waiting.iter().enumerate() {
            write!(f, "{}{origin}", if n > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

/// A line, by its address, and a place in it.
type At = (usize, u64);

/// A wait, or a grant that is not fetched yet.
struct Wait {
    /// The loop of its task.
    home: *const LoopHandle,
    origin: Origin,
    /// Of a grant: the number of turns since then, and whether it was reported.
    turns: u32,
    told: bool,
}

/// Both of one type: each type of tree takes as long to compile as two thousand lines of Rust.
#[derive(Default)]
struct Table {
    waits: BTreeMap<At, Wait>,
    grants: BTreeMap<At, Wait>,
}

thread_local! {
    /// Whether a loop of this thread has ever been in debug mode.
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static TABLE: RefCell<Table> = const {
        RefCell::new(Table {
            waits: BTreeMap::new(),
            grants: BTreeMap::new(),
        })
    };
}

/// From here on waits and grants of this thread are noted.
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

/// The task that is being polled waits at a place, if its loop is in debug mode.
#[cold]
pub(crate) fn waits(line: usize, place: u64) {
    let wait = current::with(|handle| {
        let home = std::ptr::from_ref(handle);
        let origin = handle.polled_origin().filter(|_| handle.is_debug())?;
        Some(Wait {
            home,
            origin,
            turns: 0,
            told: false,
        })
    });
    if let Some(wait) = wait.flatten() {
        with_table(|table| table.waits.insert((line, place), wait));
    }
}

/// What it waits for is granted to it.
#[cold]
pub(crate) fn granted(line: usize, place: u64) {
    with_table(|table| {
        if let Some(wait) = table.waits.remove(&(line, place)) {
            table.grants.insert((line, place), wait);
        }
    });
}

/// It has fetched its grant, or left.
#[cold]
pub(crate) fn leaves(line: usize, place: u64) {
    with_table(|table| {
        table.waits.remove(&(line, place));
        table.grants.remove(&(line, place));
    });
}

impl Table {
    /// A turn of `home` has ended: returns the grants that keep other waiters, and that were not
    /// reported yet.
    fn end_turn(&mut self, home: *const LoopHandle, is_idle: bool) -> Vec<Futurelock> {
        let mut found = Vec::new();
        for (&(line, _), grant) in &mut self.grants {
            if grant.home != home {
                continue;
            }
            grant.turns = grant.turns.saturating_add(1);
            // Its task was woken by the grant: where nothing is ready any more it has been polled.
            if grant.told || !(is_idle || grant.turns >= TURNS) {
                continue;
            }
            let behind = self.waits.range((line, 0)..=(line, u64::MAX)).take(NAMED);
            let waiting: Vec<_> = behind.map(|(_, wait)| wait.origin.clone()).collect();
            if waiting.is_empty() {
                continue;
            }
            grant.told = true;
            found.push(Futurelock {
                holder: grant.origin.clone(),
                waiting,
                turns: grant.turns,
            });
        }
        found
    }
}

impl LoopHandle {
    /// The task that is being polled, or the main future.
    fn polled_origin(&self) -> Option<Origin> {
        match self.ready.current() {
            _ if !current::is_turning() => None,
            NEXT_CALL => None,
            MAIN_TASK => Some(self.main_origin()),
            task_id => self
                .scheduler
                .get()
                .map(|scheduler| scheduler.origin(task_id)),
        }
    }

    /// In debug mode, at the end of a turn.
    pub(super) fn report_futurelocks(&self) {
        let is_idle = self.ready.is_empty();
        let found = with_table(|table| table.end_turn(std::ptr::from_ref(self), is_idle));
        for futurelock in found.into_iter().flatten() {
            self.report(&Unhandled::Futurelock(futurelock));
        }
    }
}
