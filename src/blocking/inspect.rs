//! What a pool is doing: its jobs with their ages, its counts, and whether it has ended.
//!
//! An age is that of the system's clock: a job of a thread runs in real time.
//!
//! asyncio's executor has none of this.

use super::errors::{JobInfo, StillRunning};
use super::pool_state::{Slot, now};
use super::workers::Workers;
use std::task::Waker;

impl Workers {
    /// Stores a waker that is woken when the pool has ended; `true` if it has.
    pub(super) fn poll_ended(&self, waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut state = self.state();
        let has_ended = state.queue.has_ended();
        if !has_ended && !state.waiters.iter().any(|kept| kept.will_wake(&waker)) {
            state.waiters.push(waker);
        }
        has_ended
    }

    /// The jobs that are left.
    pub(super) fn still_running(&self) -> StillRunning {
        let (running, _) = self.jobs();
        let queued = self.state().queue.queued();
        StillRunning { running, queued }
    }

    /// The jobs that run, the oldest first; and the one that has waited longest for a thread.
    pub(super) fn jobs(&self) -> (Vec<JobInfo>, Option<JobInfo>) {
        let now = now();
        let info = |site, since| JobInfo {
            site,
            age: now.saturating_duration_since(since),
        };
        let state = self.state();
        let busy = state.slots.iter().filter_map(|slot| match slot {
            Slot::Busy(site, since) => Some(info(*site, *since)),
            Slot::Free | Slot::Idle => None,
        });
        let mut running: Vec<JobInfo> = busy.collect();
        let waiting = state.queue.oldest().filter_map(|entry| {
            let since = entry.since?;
            Some(info(entry.job.site(), since))
        });
        let oldest = waiting.max_by_key(|job| job.age);
        drop(state);
        running.sort_by_key(|job| std::cmp::Reverse(job.age));
        (running, oldest)
    }

    /// The number of threads, of those that are idle, and of the jobs that wait.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let state = self.state();
        let (threads, idle) = state.queue.threads();
        (threads, idle, state.queue.queued())
    }
}
