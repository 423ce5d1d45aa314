//! The decisions of a pool in any order, on threads that are a list of states.
//!
//! Invariants: P1 to P4.

use super::*;
use crate::base::rng::Rng;
use std::collections::BTreeMap;

/// What a thread of the model does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Thread {
    Starting,
    Asleep,
    Busy {
        lane: usize,
        job: u32,
    },
    /// It has lost its job, and is about to look for one.
    Looks,
}

/// A queue, and threads that do what it says, one step at a time.
struct Model {
    queue: Queue<u32>,
    threads: Vec<Thread>,
    /// Notifications on their way to sleeping threads.
    notified: usize,
    /// The system refuses to start threads.
    refuses: bool,
    /// A start was refused, and its job waits for another thread.
    is_short: bool,
    limits: Vec<usize>,
    max: usize,
    /// The tickets of jobs that are not known to have ended.
    queued: BTreeMap<u32, Ticket>,
    ran: Vec<(usize, u32)>,
    ended: usize,
    submitted: u32,
}

impl Model {
    fn new(max: usize, limits: &[usize]) -> Self {
        let mut queue = Queue::new(max);
        for (lane, limit) in limits.iter().enumerate() {
            assert_eq!(queue.add_lane((*limit).min(max), 3), lane);
        }
        Self {
            queue,
            threads: Vec::new(),
            notified: 0,
            refuses: false,
            is_short: false,
            limits: limits.to_vec(),
            max,
            queued: BTreeMap::new(),
            ran: Vec::new(),
            ended: 0,
            submitted: 0,
        }
    }

    /// Whether the pool has no thread for its jobs.
    fn staff(&mut self) -> bool {
        match self.queue.need() {
            Need::Nothing => {}
            Need::Wake => self.notified += 1,
            Need::Start if self.refuses => {
                self.is_short = true;
                return self.queue.start_failed();
            }
            Need::Start => self.threads.push(Thread::Starting),
        }
        false
    }

    fn submit(&mut self, lane: usize, may_wait: bool) {
        let job = self.submitted;
        let Ok((ticket, _)) = self.queue.push(lane, job, may_wait) else {
            return;
        };
        if self.staff() {
            assert!(
                self.queue.cancel(ticket).is_some(),
                "R115: no thread has it"
            );
            assert!(self.threads.is_empty(), "R115");
            return;
        }
        self.submitted += 1;
        self.queued.insert(job, ticket);
    }

    /// One step of a thread; returns whether it ends.
    fn step(&mut self, nth: usize, timed_out: bool) -> bool {
        match self.threads[nth] {
            Thread::Starting => self.queue.arrive(),
            Thread::Busy { lane, .. } => {
                self.ended += 1;
                self.queue.finish(lane);
            }
            Thread::Looks => {}
            Thread::Asleep => {
                let is_notified = self.notified > 0;
                if !is_notified && !timed_out && !self.queue.is_closed() {
                    return false;
                }
                self.notified -= usize::from(is_notified && !timed_out);
                if !self.queue.consume_wake() {
                    let ends = timed_out || self.queue.is_closed();
                    if ends {
                        self.queue.leave_idle();
                    }
                    return ends;
                }
            }
        }
        self.threads[nth] = Thread::Looks;
        if let Some(Taken { job, lane, .. }) = self.queue.take() {
            assert!(self.queued.remove(&job).is_some(), "P1: it was queued");
            self.ran.push((lane, job));
            self.threads[nth] = Thread::Busy { lane, job };
            let _is_one_left = self.staff();
        } else if self.queue.is_closed() {
            self.queue.leave();
            return true;
        } else {
            self.queue.sleep();
            self.threads[nth] = Thread::Asleep;
        }
        false
    }

    fn check(&mut self) {
        let busy = |lane: usize| {
            let is =
                |thread: &&Thread| matches!(thread, Thread::Busy { lane: of, .. } if *of == lane);
            self.threads.iter().filter(is).count()
        };
        let (mut runnable, mut running) = (0, 0);
        for (lane, limit) in self.limits.iter().enumerate() {
            let limit = (*limit).min(self.max);
            assert!(busy(lane) <= limit, "P2");
            let queue = &self.queue.lanes[lane];
            assert_eq!(busy(lane), queue.running);
            assert!(queue.jobs.len() <= queue.capacity);
            assert!(queue.waiting.len() == 0 || queue.jobs.len() == queue.capacity);
            runnable += queue.jobs.len().min(limit - busy(lane));
            running += busy(lane);
        }
        assert!(
            self.threads.len() <= self.max && running <= self.threads.len(),
            "P2"
        );
        let threads = &self.queue.threads;
        assert_eq!(self.threads.len(), threads.all);
        let starting = self
            .threads
            .iter()
            .filter(|one| **one == Thread::Starting)
            .count();
        assert_eq!(starting, threads.starting);
        let asleep = self
            .threads
            .iter()
            .filter(|one| **one == Thread::Asleep)
            .count();
        assert_eq!(asleep, threads.idle + threads.woken, "R247");
        let is_staffed = runnable <= starting + threads.woken;
        let is_full = threads.idle == 0 && (threads.all == self.max || self.is_short);
        assert!(is_staffed || is_full, "P3: {runnable} could run");
        // A thread that was woken can be notified still, or is awake because its time was over.
        assert!(
            threads.woken <= self.notified || asleep == 0,
            "P3: a wake is lost"
        );
        assert!(
            self.queue.queued() == 0 || threads.all > 0,
            "R115: no thread is left"
        );
        assert_eq!(self.queue.queued(), self.queued.len(), "P1");
        self.is_short &= !is_staffed;
    }
}

/// P1 to P4, for any order of submissions, cancellations, steps of threads, idle times, refused starts
/// and the end.
#[test]
fn whatever_the_order_each_job_runs_once_or_is_returned_once_and_none_waits_in_vain() {
    let mut rng = Rng::seeded(11);
    for round in 0..400 {
        let max = 1 + rng.below(3);
        let limits: Vec<usize> = (0..1 + rng.below(3)).map(|_| 1 + rng.below(3)).collect();
        let mut model = Model::new(max, &limits);
        for _ in 0..120 {
            match rng.below(20) {
                0..6 => model.submit(rng.below(limits.len()), rng.below(2) == 0),
                6 => {
                    let nth = rng.below(model.queued.len() + 1);
                    let ticket = model.queued.iter().nth(nth).map(|(job, at)| (*job, *at));
                    if let Some((job, ticket)) = ticket {
                        let removed = model.queue.cancel(ticket).expect("it is queued");
                        assert_eq!(removed.job, job);
                        assert!(model.queue.cancel(ticket).is_none(), "P1: once");
                        model.queued.remove(&job);
                        let _is_one_left = model.staff();
                    }
                }
                7 => model.refuses = rng.below(3) == 0,
                8 if rng.below(30) == 0 => {
                    model.queue.close();
                    if rng.below(2) == 0 {
                        let removed = model.queue.drain();
                        assert_eq!(removed.len(), model.queued.len(), "P1");
                        model.queued.clear();
                    }
                }
                _ if model.threads.is_empty() => {}
                other => {
                    let nth = rng.below(model.threads.len());
                    if model.step(nth, other == 9) {
                        model.threads.remove(nth);
                    }
                }
            }
            model.check();
        }
        model.queue.close();
        for _ in 0..2000 {
            let Some(last) = model.threads.len().checked_sub(1) else {
                break;
            };
            let nth = rng.below(last + 1);
            if model.step(nth, false) {
                model.threads.remove(nth);
            }
            model.check();
        }
        assert!(
            model.queue.has_ended(),
            "round {round}: all threads have ended"
        );
        assert_eq!(model.ended, model.ran.len(), "P1");
        for lane in 0..limits.len() {
            let of = model.ran.iter().filter(|(of, _)| *of == lane);
            assert!(of.map(|(_, job)| job).is_sorted(), "P4");
        }
    }
}

#[test]
fn a_lane_is_used_again_when_its_last_job_has_returned() {
    let mut queue = Queue::new(4);
    assert_eq!(queue.add_lane(4, 1), 0);
    let lane = queue.add_lane(1, 1);
    assert!(queue.push(lane, 7, false).is_ok());
    queue.free_lane(lane);
    assert_eq!(queue.add_lane(1, 1), 2, "it has a job");
    let taken = queue.take().unwrap();
    assert_eq!(queue.add_lane(1, 1), 3, "its job runs");
    queue.finish(taken.lane);
    assert_eq!(queue.add_lane(1, 1), lane);
}

#[test]
fn a_free_thread_takes_from_the_lanes_in_turn() {
    let mut queue = Queue::new(8);
    for lane in [
        queue.add_lane(8, 9),
        queue.add_lane(8, 9),
        queue.add_lane(1, 9),
    ] {
        for n in 0..3 {
            assert!(queue.push(lane, 10 * lane + n, false).is_ok());
        }
    }
    let order = std::iter::from_fn(|| queue.take().map(|taken| taken.job));
    assert_eq!(order.collect::<Vec<_>>(), [0, 10, 20, 1, 11, 2, 12]);
    queue.finish(2);
    assert_eq!(queue.take().map(|taken| taken.job), Some(21));
}
