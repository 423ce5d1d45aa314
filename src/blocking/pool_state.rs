//! The state of a pool under its lock: the jobs, and what each thread does; and its settings.
//!
//! What a thread does is for the statistics only. The decisions are made by the counts of the queue.
//!
//! asyncio's executor counts its threads.

use super::job::Run;
use super::queue::{Queue, Ticket};
use std::panic::Location;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

/// The settings of a pool.
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) max_threads: usize,
    pub(super) capacity: usize,
    pub(super) idle: Duration,
    pub(super) stack_size: Option<usize>,
}

/// The reason of a job that a shutdown has cancelled.
pub(super) const CANCELLED: &str = "the pool was shut down before the job started";

/// A job that was submitted.
#[derive(Clone, Copy)]
pub(super) struct Submitted {
    pub(super) ticket: Ticket,
    /// Whether it has room in the queue already.
    pub(super) has_room: bool,
}

/// A queued job, as the queue has it.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) job: Arc<dyn Run>,
    /// When it was submitted, if no thread was free for it.
    pub(super) since: Option<Instant>,
}

/// What a thread does.
#[derive(Clone, Copy)]
pub(super) enum Slot {
    /// There is no such thread.
    Free,
    Idle,
    Busy(&'static Location<'static>, Instant),
}

pub(super) struct State {
    pub(super) queue: Queue<Entry>,
    /// One for each thread, and for each simulated thread of a virtual kernel.
    pub(super) slots: Vec<Slot>,
    /// The wakers of those that wait for the end of the pool.
    pub(super) waiters: Vec<Waker>,
}

impl State {
    pub(super) fn free_slot(&mut self) -> usize {
        let free = |slot: &Slot| matches!(slot, Slot::Free);
        self.slots.iter().position(free).unwrap_or_else(|| {
            self.slots.push(Slot::Free);
            self.slots.len() - 1
        })
    }

    /// The wakers to wake after a change, if that was the last one.
    pub(super) fn ended(&mut self) -> Vec<Waker> {
        match self.queue.has_ended() {
            true => std::mem::take(&mut self.waiters),
            false => Vec::new(),
        }
    }
}

/// The time of the system's clock. A pool is no loop's, and its threads wait in real time, also for a loop
/// with another clock.
#[allow(clippy::disallowed_methods)]
pub(super) fn now() -> Instant {
    Instant::now()
}
