//! The jobs of one lane: those that wait for a thread, and behind them those that wait for room.
//!
//! The two lists are one queue with a mark in it: a job that waits for room moves up when one before it is
//! taken or cancelled, so no newcomer overtakes it (P4).
//!
//! asyncio's executor has one list, without a bound.

use crate::base::numbered::NumberedQueue;

pub(super) struct LaneQueue<J> {
    /// The jobs that wait for a thread: at most `capacity`.
    pub(super) jobs: NumberedQueue<J>,
    /// The jobs that wait for room in `jobs`, each with its waiter.
    pub(super) waiting: NumberedQueue<J>,
    pub(super) capacity: usize,
    pub(super) running: usize,
    pub(super) max_running: usize,
    /// No handle of the lane is left: it is used again when it is empty.
    pub(super) is_free: bool,
}

impl<J: Clone> LaneQueue<J> {
    pub(super) fn new(max_running: usize, capacity: usize) -> Self {
        Self {
            jobs: NumberedQueue::default(),
            waiting: NumberedQueue::default(),
            capacity,
            running: 0,
            max_running,
            is_free: false,
        }
    }

    /// How many of its jobs could run beside those that run (P2).
    pub(super) fn runnable(&self) -> usize {
        self.jobs.len().min(self.max_running - self.running)
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len() + self.waiting.len()
    }

    /// Moves a job that waits for room to the place that has become free.
    pub(super) fn fill(&mut self) -> Option<J> {
        if self.jobs.len() >= self.capacity {
            return None;
        }
        let (number, job) = self.waiting.pop_numbered()?;
        self.jobs.push(number, job.clone());
        Some(job)
    }
}
