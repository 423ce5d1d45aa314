//! The jobs of a pool, and its decisions: which job is next, and whether a thread is woken or started.
//!
//! A pool has one lock, and all of its decisions are made under it, by the methods of [`Queue`]. None
//! of them blocks, starts a thread or runs user code: each returns what its caller has to do. So
//! every order of submissions, cancellations, idle threads and a shutdown can be tried without a
//! thread (`tests/props/pools.rs`, through the pool; the tests below, through these methods).
//!
//! A lane is a queue of its own with a limit of its own. A thread takes from the lanes in turn, so a
//! lane whose jobs are slow keeps at most as many threads busy as its limit allows (N5).
//!
//! # Rules
//!
//! - **P1** A job that was accepted runs once, or is returned once: by `cancel`, or by `close`.
//! - **P2** Never more jobs run than the pool has threads, nor more of a lane than its limit. A job
//!   counts until it has returned, whether or not its waiter still exists.
//! - **P3** While a job could run, no thread sleeps that was not woken for it, and none is missing
//!   that may be started.
//! - **P4** The jobs of a lane start in the order in which they were submitted.

use super::lane_queue::LaneQueue;

/// Identifies a queued job: its lane, and a number that is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    lane: usize,
    number: u64,
}

/// What the caller has to do after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a job would wait for a thread that does not come"]
pub(super) enum Need {
    Nothing,
    /// Wake one idle thread: it is counted as woken already.
    Wake,
    /// Start one thread: it is counted as starting already.
    Start,
}

/// Why a job is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Closed,
}

/// A job to run.
pub(super) struct Taken<J> {
    pub(super) job: J,
    /// The lane, for [`Queue::finish`].
    pub(super) lane: usize,
    /// A job that waited for room, and has it now.
    pub(super) accepted: Option<J>,
}

/// What `cancel` has removed.
pub(super) struct Removed<J> {
    pub(super) job: J,
    /// A job that waited for room, and has it now.
    pub(super) accepted: Option<J>,
}

/// The number of threads in each state. Those in no other state run a job, or are about to look for one.
#[derive(Debug, Default)]
struct Threads {
    max: usize,
    all: usize,
    /// Started, and not yet running.
    starting: usize,
    /// Asleep.
    idle: usize,
    /// Woken, and not yet awake: counted neither as idle nor as busy.
    woken: usize,
}

/// The jobs of a pool, and the count of its threads.
pub(super) struct Queue<J> {
    lanes: Vec<LaneQueue<J>>,
    /// The lane from which the next job is taken, if it has one.
    next_lane: usize,
    next_number: u64,
    threads: Threads,
    closed: bool,
}

impl<J: Clone> Queue<J> {
    pub(super) fn new(max_threads: usize) -> Self {
        Self {
            lanes: Vec::new(),
            next_lane: 0,
            next_number: 0,
            threads: Threads {
                max: max_threads,
                ..Threads::default()
            },
            closed: false,
        }
    }

    /// Adds a lane, of whose jobs at most `max_running` run at the same time.
    pub(super) fn add_lane(&mut self, max_running: usize, capacity: usize) -> usize {
        let lane = LaneQueue::new(max_running, capacity);
        let is_unused = |lane: &LaneQueue<J>| lane.is_free && lane.len() + lane.running == 0;
        match self.lanes.iter().position(is_unused) {
            Some(at) => {
                self.lanes[at] = lane;
                at
            }
            None => {
                self.lanes.push(lane);
                self.lanes.len() - 1
            }
        }
    }

    /// No job is submitted to this lane any more.
    pub(super) fn free_lane(&mut self, lane: usize) {
        self.lanes[lane].is_free = true;
    }

    /// Adds a job, unless the queue is closed. If the lane is full, the job waits for room; if it
    /// must not, the queue returns it.
    pub(super) fn push(
        &mut self,
        lane: usize,
        job: J,
        may_wait: bool,
    ) -> Result<(Ticket, bool), (Refused, J)> {
        if self.closed {
            return Err((Refused::Closed, job));
        }
        let queue = &mut self.lanes[lane];
        let has_room = queue.jobs.len() < queue.capacity;
        if !has_room && !may_wait {
            return Err((Refused::Full, job));
        }
        let number = self.next_number;
        self.next_number += 1;
        match has_room {
            true => queue.jobs.push(number, job),
            false => queue.waiting.push(number, job),
        }
        Ok((Ticket { lane, number }, has_room))
    }

    /// Returns what has to be done for the jobs that could run (P3). Called after each change that
    /// may have made one runnable; one step is enough after one change.
    pub(super) fn need(&mut self) -> Need {
        let threads = &mut self.threads;
        let runnable: usize = self.lanes.iter().map(LaneQueue::runnable).sum();
        if runnable <= threads.woken + threads.starting {
            return Need::Nothing;
        }
        if threads.idle > 0 {
            threads.idle -= 1;
            threads.woken += 1;
            return Need::Wake;
        }
        if threads.all < threads.max {
            threads.all += 1;
            threads.starting += 1;
            return Need::Start;
        }
        Need::Nothing
    }

    /// Whether a job of this lane would start without waiting for another one to return.
    pub(super) fn can_start(&self, lane: usize) -> bool {
        let Threads { idle, all, max, .. } = self.threads;
        let lane = &self.lanes[lane];
        (idle > 0 || all < max) && lane.runnable() + lane.running < lane.max_running
    }

    /// The thread of [`Need::Start`] could not be started. Returns whether the pool has no other.
    pub(super) fn start_failed(&mut self) -> bool {
        self.threads.starting -= 1;
        self.threads.all -= 1;
        self.threads.all == 0
    }

    /// A started thread runs.
    pub(super) fn arrive(&mut self) {
        self.threads.starting -= 1;
    }

    /// A thread found no job, and sleeps from now on.
    pub(super) fn sleep(&mut self) {
        self.threads.idle += 1;
    }

    /// A sleeping thread was woken by the system; `true` if it was woken for a job.
    pub(super) fn consume_wake(&mut self) -> bool {
        let was_woken = self.threads.woken > 0;
        self.threads.woken -= usize::from(was_woken);
        was_woken
    }

    /// A sleeping thread ends.
    pub(super) fn leave_idle(&mut self) {
        self.threads.idle -= 1;
        self.leave();
    }

    /// A thread that does not sleep ends.
    pub(super) fn leave(&mut self) {
        self.threads.all -= 1;
    }

    /// Takes the next job: of the lanes in turn, and of each lane the oldest (P4).
    pub(super) fn take(&mut self) -> Option<Taken<J>> {
        let mut lanes = (self.next_lane..self.lanes.len()).chain(0..self.next_lane);
        let lane = lanes.find(|lane| self.lanes[*lane].runnable() > 0)?;
        self.next_lane = if lane + 1 == self.lanes.len() {
            0
        } else {
            lane + 1
        };
        let queue = &mut self.lanes[lane];
        let job = queue.jobs.pop()?;
        queue.running += 1;
        let accepted = queue.fill();
        Some(Taken {
            job,
            lane,
            accepted,
        })
    }

    /// Takes a job that could run beside the others: `choose` returns a number below its argument.
    /// For the simulated threads of a virtual kernel, which finish their jobs in any order.
    pub(super) fn take_any(&mut self, mut choose: impl FnMut(usize) -> usize) -> Option<Taken<J>> {
        let max = self.threads.max;
        let lanes = self.lanes.iter().map(|lane| lane.runnable().min(max));
        let lanes: Vec<usize> = lanes.collect();
        let all: usize = lanes.iter().sum();
        let mut nth = if all == 0 { return None } else { choose(all) };
        let mut lane = 0;
        while nth >= lanes[lane] {
            nth -= lanes[lane];
            lane += 1;
        }
        let queue = &mut self.lanes[lane];
        let number = queue.jobs.number_of(nth)?;
        let job = queue.jobs.remove(number)?;
        queue.running += 1;
        let accepted = queue.fill();
        Some(Taken {
            job,
            lane,
            accepted,
        })
    }

    /// A job of this lane has returned.
    pub(super) fn finish(&mut self, lane: usize) {
        self.lanes[lane].running -= 1;
    }

    /// Removes a job that has not been taken (P1); `None` if it has.
    pub(super) fn cancel(&mut self, ticket: Ticket) -> Option<Removed<J>> {
        let queue = &mut self.lanes[ticket.lane];
        if let Some(job) = queue.waiting.remove(ticket.number) {
            return Some(Removed {
                job,
                accepted: None,
            });
        }
        let job = queue.jobs.remove(ticket.number)?;
        let accepted = queue.fill();
        Some(Removed { job, accepted })
    }

    /// Accepts no further job. Jobs that are queued still run.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Removes all jobs that have not been taken.
    pub(super) fn drain(&mut self) -> Vec<J> {
        let mut all = Vec::new();
        for lane in &mut self.lanes {
            all.extend(std::mem::take(&mut lane.jobs).into_entries());
            all.extend(std::mem::take(&mut lane.waiting).into_entries());
        }
        all
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether the pool is closed, no job is left and no thread.
    pub(super) fn has_ended(&self) -> bool {
        self.closed && self.threads.all == 0 && self.queued() + self.running() == 0
    }

    /// The number of jobs that wait, for a thread or for room.
    pub(super) fn queued(&self) -> usize {
        self.lanes.iter().map(LaneQueue::len).sum()
    }

    /// The number of jobs that run.
    pub(super) fn running(&self) -> usize {
        self.lanes.iter().map(|lane| lane.running).sum()
    }

    /// The number of threads, and of those that sleep.
    pub(super) fn threads(&self) -> (usize, usize) {
        (self.threads.all, self.threads.idle)
    }

    /// The oldest job of each lane that waits for a thread.
    pub(super) fn oldest(&self) -> impl Iterator<Item = &J> {
        self.lanes.iter().filter_map(|lane| lane.jobs.first())
    }
}

#[cfg(test)]
mod tests;
