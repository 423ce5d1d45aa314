//! A job of a pool: the closure, later its result, and the waker of its waiter, in one allocation.
//!
//! The pool sees a job as a [`Run`], and the waiter sees the same job as an [`Outcome`]. No user code
//! runs under the lock of a job: the closure and the result are taken out first, and wakers are cloned
//! before and woken after (L8).
//!
//! In asyncio this is the `_WorkItem` of `concurrent.futures`.
//!
//! # States
//!
//! *queued* (the closure) → *running* → *done* (the result) → *taken*. A job that is cancelled goes
//! from *queued* to *done*, and one whose waiter has gone from *running* to *taken*.
//!
//! # Rules
//!
//! - **P5** A job that has ended wakes its waiter, which gets the result once: the value, the panic, or why
//!   it never ran. If the waiter has gone, the result is dropped, and a panic is reported.

use super::hold_time::HoldTime;
use super::unclaimed::PanicHome;
use crate::base::sync::{Mutex, MutexGuard};
use crate::event_loop::panics::catch;
use crate::event_loop::user_code::drop_bounded;
use crate::task::JoinError;
use crate::task::wait_queue::{WakeBatch, drop_waker};
use std::panic::Location;
use std::sync::PoisonError;
use std::task::{Poll, Waker};

/// A job as its pool sees it.
pub(super) trait Run: Send + Sync {
    /// Runs the closure, and wakes the waiter. Does not panic.
    fn run(&self);

    /// Ends a job that was removed from its queue, as cancelled for this reason.
    fn refuse(&self, reason: &'static str);

    /// The job has got room in the queue.
    fn accept(&self);

    /// Where the job was submitted.
    fn site(&self) -> &'static Location<'static>;
}

/// A job as its waiter sees it.
pub(super) trait Outcome<T>: Send + Sync {
    /// Takes the result; while there is none, stores the waker. `None` if it was taken before.
    fn poll(&self, waker: &Waker) -> Option<Poll<Result<T, JoinError>>>;

    /// Whether the job has not ended. If so, stores the waker.
    fn awaits(&self, waker: &Waker) -> bool;

    /// Whether the job has ended.
    fn is_done(&self) -> bool;

    /// The waiter goes. `removed` if the job was taken out of its queue: then it will not run.
    fn abandon(&self, removed: bool);

    /// Where the job was submitted.
    fn site(&self) -> &'static Location<'static>;
}

enum Stage<F, T> {
    Queued(F),
    Running,
    Done(Result<T, JoinError>),
    Taken,
}

struct Cell<F, T> {
    stage: Stage<F, T>,
    waker: Option<Waker>,
    /// Whether the waiter waits for room in the queue, and has not been told of it.
    awaits_room: bool,
    /// Whether the job has room in the queue, or had it.
    has_room: bool,
    /// The waiter has gone: where a panic is reported.
    abandoned: Option<PanicHome>,
    /// Keeps the time of a virtual kernel from moving until the job has returned.
    hold: Option<HoldTime>,
}

impl<F, T> Cell<F, T> {
    fn is_pending(&self) -> bool {
        matches!(self.stage, Stage::Queued(_) | Stage::Running)
    }
}

/// A closure that runs on a thread of a pool, and its result.
pub(super) struct Job<F, T> {
    cell: Mutex<Cell<F, T>>,
    site: &'static Location<'static>,
}

impl<F, T> Job<F, T> {
    pub(super) fn new(f: F, hold: Option<HoldTime>, site: &'static Location<'static>) -> Self {
        Self {
            cell: Mutex::new(Cell {
                stage: Stage::Queued(f),
                waker: None,
                awaits_room: false,
                has_room: false,
                abandoned: None,
                hold,
            }),
            site,
        }
    }

    fn cell(&self) -> MutexGuard<'_, Cell<F, T>> {
        // The cell is consistent even if the lock is poisoned: no user code runs under it.
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the closure of a job that has not run and will not.
    pub(super) fn take_closure(&self) -> Option<F> {
        let cell = self.cell();
        Self::closure_of(cell)
    }

    /// The same in a child of the process that made the pool; `None` if a thread of the parent had the
    /// lock at the fork.
    pub(super) fn take_closure_in_child(&self) -> Option<F> {
        Self::closure_of(self.cell.try_lock().ok()?)
    }

    fn closure_of(mut cell: MutexGuard<'_, Cell<F, T>>) -> Option<F> {
        if !matches!(cell.stage, Stage::Queued(_)) {
            return None;
        }
        let stage = std::mem::replace(&mut cell.stage, Stage::Taken);
        let (waker, hold) = (cell.waker.take(), cell.hold.take());
        drop(cell);
        waker.into_iter().for_each(drop_waker);
        drop(hold);
        match stage {
            Stage::Queued(f) => Some(f),
            _ => None,
        }
    }

    /// Whether the job has got room in its queue; while it has not, stores the waker. `None` if the
    /// pool was shut down before.
    pub(super) fn poll_room(&self, waker: &Waker) -> Poll<Option<()>> {
        // Cloned before the lock, and the replaced one dropped after it (L8).
        let waker = waker.clone();
        let mut cell = self.cell();
        let polled = match (&cell.stage, cell.has_room, cell.awaits_room) {
            (_, true, _) => Poll::Ready(Some(())),
            (Stage::Queued(_), false, true) => Poll::Pending,
            _ => Poll::Ready(None),
        };
        let unused = match polled {
            Poll::Pending => cell.waker.replace(waker),
            Poll::Ready(_) => Some(waker),
        };
        drop(cell);
        unused.into_iter().for_each(drop_waker);
        polled
    }

    /// The waiter waits until the job has room in its queue.
    pub(super) fn await_room(&self) {
        self.cell().awaits_room = true;
    }

    /// The job had room at once; `false` if a shutdown has refused it meanwhile.
    pub(super) fn confirm_room(&self) -> bool {
        let mut cell = self.cell();
        cell.has_room = cell.awaits_room;
        cell.has_room
    }
}

fn wake(waker: Option<Waker>) {
    let mut batch = WakeBatch::default();
    waker.into_iter().for_each(|waker| batch.wake(waker));
    batch.report();
}

impl<F, T> Run for Job<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    fn run(&self) {
        let mut cell = self.cell();
        let stage = std::mem::replace(&mut cell.stage, Stage::Running);
        let Stage::Queued(f) = stage else {
            cell.stage = stage;
            return;
        };
        drop(cell);
        // The closure is dropped inside, with what it owns: a destructor may panic, too.
        let result = catch(f).map_err(JoinError::Panicked);
        let mut cell = self.cell();
        let hold = cell.hold.take();
        match cell.abandoned.take() {
            None => {
                cell.stage = Stage::Done(result); // P5
                let waker = cell.waker.take();
                drop(cell);
                wake(waker); // R248: its panic does not reach the pool's thread
            }
            Some(home) => {
                cell.stage = Stage::Taken;
                drop(cell);
                home.drop_result(result, self.site);
            }
        }
        // After the wake: the loop must not move its time before it has the result.
        drop(hold);
    }

    fn refuse(&self, reason: &'static str) {
        let mut cell = self.cell();
        if cell.awaits_room && !cell.has_room {
            // The waiter takes the closure back.
            cell.awaits_room = false;
            let (waker, hold) = (cell.waker.take(), cell.hold.take());
            drop(cell);
            wake(waker);
            return drop(hold); // the waiter may not look at it for a long time
        }
        let error = Stage::Done(Err(JoinError::CancelledFor(reason.into())));
        let stage = std::mem::replace(&mut cell.stage, error);
        let (waker, hold) = (cell.waker.take(), cell.hold.take());
        drop(cell);
        drop_bounded(stage);
        wake(waker);
        drop(hold);
    }

    fn accept(&self) {
        let mut cell = self.cell();
        cell.has_room = true;
        let waker = match cell.awaits_room {
            true => cell.waker.take(),
            false => None,
        };
        drop(cell);
        wake(waker);
    }

    fn site(&self) -> &'static Location<'static> {
        self.site
    }
}

impl<F, T> Outcome<T> for Job<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    fn poll(&self, waker: &Waker) -> Option<Poll<Result<T, JoinError>>> {
        let mut cell = self.cell();
        if cell.is_pending() {
            let kept = cell.waker.as_ref();
            if kept.is_some_and(|kept| kept.will_wake(waker)) {
                return Some(Poll::Pending);
            }
            drop(cell);
            if self.awaits(waker) {
                return Some(Poll::Pending);
            }
            cell = self.cell();
        }
        match std::mem::replace(&mut cell.stage, Stage::Taken) {
            Stage::Done(result) => Some(Poll::Ready(result)),
            _ => None,
        }
    }

    fn awaits(&self, waker: &Waker) -> bool {
        // Cloning is user code: not under the lock (L8).
        let waker = waker.clone();
        let mut cell = self.cell();
        let is_pending = cell.is_pending();
        let unused = match is_pending {
            true => cell.waker.replace(waker),
            false => Some(waker),
        };
        drop(cell);
        unused.into_iter().for_each(drop_waker);
        is_pending
    }

    fn is_done(&self) -> bool {
        !self.cell().is_pending()
    }

    fn abandon(&self, removed: bool) {
        let home = PanicHome::current();
        let mut cell = self.cell();
        let waker = cell.waker.take();
        let (left, hold) = match removed || !cell.is_pending() {
            true => (
                std::mem::replace(&mut cell.stage, Stage::Taken),
                cell.hold.take(),
            ),
            false => {
                cell.abandoned = Some(home.clone());
                (Stage::Taken, None)
            }
        };
        drop(cell);
        waker.into_iter().for_each(drop_waker);
        match left {
            Stage::Queued(f) => drop_bounded(f),
            Stage::Done(result) => home.drop_result(result, self.site),
            Stage::Running | Stage::Taken => {}
        }
        drop(hold);
    }

    fn site(&self) -> &'static Location<'static> {
        self.site
    }
}
