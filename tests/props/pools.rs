//! Thread pools on a loop in memory, which runs their jobs itself, one step of the loop for each: programs of
//! submissions, cancellations and a shutdown, against a list of the jobs; and all orders of a few of them.
//!
//! A job whose step is dropped with its loop is taken over by a thread. So a program also ends with its loop
//! at any place.
//!
//! Invariants: P1, P4, P5.

use proptest::collection::vec;
use proptest::prelude::*;
use readily::blocking::{Lane, QueuedJobs, RunBlocking, Submit, SubmitError};
use readily::spi::BlockingJobs;
use readily::{
    JoinError, LoopHandle, RemoteHandle, ThreadPool, WeakHandle, gather, run_blocking, sleep, spawn,
};
use readily_testing::{SimLoop, orders, poll_once, wakers};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

/// The jobs that have run, in their order.
type Ran = Arc<Mutex<Vec<usize>>>;

type Job = Box<dyn FnOnce() -> usize + Send>;

/// The waiter of a job.
enum Waiter {
    Result(RunBlocking<usize>),
    Room(Box<Submit<Job, usize>>),
}

/// What has become of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Value,
    Panicked,
    Cancelled,
    /// The closure has come back.
    Returned,
}

/// A pool with two lanes, its jobs, and a model: which jobs wait in which lane.
struct Programme {
    sim: Option<SimLoop>,
    pool: ThreadPool,
    lanes: [Lane; 2],
    ran: Ran,
    waiters: BTreeMap<usize, Waiter>,
    ends: BTreeMap<usize, End>,
    /// The jobs of each lane that wait, the oldest first.
    queued: [Vec<usize>; 2],
    given_up: BTreeSet<usize>,
    closed: bool,
    count: usize,
}

/// How many jobs of a lane may wait.
const CAPACITY: usize = 2;

impl Programme {
    fn new(seed: Option<u64>) -> Self {
        let sim = match seed {
            Some(seed) => SimLoop::new(seed),
            None => SimLoop::with(readily_testing::Faults::default()),
        };
        let builder = ThreadPool::builder().max_threads(2).queue(CAPACITY);
        let pool = builder.build().unwrap();
        let lanes = [Lane::clone(&pool), pool.lane(1, CAPACITY).unwrap()];
        Self {
            sim: Some(sim),
            pool,
            lanes,
            ran: Ran::default(),
            waiters: BTreeMap::new(),
            ends: BTreeMap::new(),
            queued: [vec![], vec![]],
            given_up: BTreeSet::new(),
            closed: false,
            count: 0,
        }
    }

    /// A job that notes that it runs, and panics if its number is one of every fifth.
    fn job(&mut self) -> (usize, Job) {
        let (n, ran) = (self.count, Arc::clone(&self.ran));
        self.count += 1;
        let job = move || {
            ran.lock().unwrap().push(n);
            if n % 5 == 4 {
                std::panic::resume_unwind(Box::new("planted"));
            }
            n
        };
        (n, Box::new(job))
    }

    fn enter<R>(&mut self, f: impl FnOnce() -> R) -> R {
        match &mut self.sim {
            Some(sim) => {
                let _here = sim.event_loop().enter();
                f()
            }
            None => f(),
        }
    }

    fn run_blocking(&mut self, lane: usize) {
        let (n, job) = self.job();
        let handle = self.lanes[lane].clone();
        let job = self.enter(|| handle.run_blocking(job));
        if !self.closed {
            self.queued[lane].push(n);
        }
        self.waiters.insert(n, Waiter::Result(job));
    }

    fn try_submit(&mut self, lane: usize) {
        let (n, job) = self.job();
        let handle = self.lanes[lane].clone();
        match self.enter(|| handle.try_submit(job)) {
            Ok(job) => {
                let has_room = self.queued[lane].len() < CAPACITY;
                assert!(
                    !self.closed && (has_room || self.sim.is_none()),
                    "it is full"
                );
                self.queued[lane].push(n);
                self.waiters.insert(n, Waiter::Result(job));
            }
            Err(SubmitError::Closed(_)) => {
                assert!(self.closed);
                self.ends.insert(n, End::Returned);
            }
            Err(SubmitError::Full(_)) => {
                let is_full = self.queued[lane].len() >= CAPACITY;
                assert!(is_full || self.sim.is_none(), "P4");
                self.ends.insert(n, End::Returned);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn submit(&mut self, lane: usize) {
        let (n, job) = self.job();
        let handle = self.lanes[lane].clone();
        let submit = Box::new(handle.submit(job));
        self.waiters.insert(n, Waiter::Room(submit));
        // The job takes its place when it is first polled.
        if !self.closed {
            self.queued[lane].push(n);
        }
        self.poll(n);
    }

    fn position(&self, n: usize) -> Option<(usize, usize)> {
        let place = |lane: usize| self.queued[lane].iter().position(|&other| other == n);
        (0..2).find_map(|lane| Some((lane, place(lane)?)))
    }

    /// Polls the waiter of a job, and notes the end.
    fn poll(&mut self, n: usize) {
        let Some(mut waiter) = self.waiters.remove(&n) else {
            return;
        };
        let (waker, _) = wakers::counting();
        let mut cx = Context::from_waker(&waker);
        if let Waiter::Room(submit) = &mut waiter {
            match self.enter(|| Pin::new(&mut **submit).poll(&mut cx)) {
                Poll::Pending => {
                    let place = self.position(n).map(|(_, place)| place);
                    let waits = place.is_some_and(|place| place >= CAPACITY);
                    assert!(waits || self.sim.is_none(), "P1: it has room");
                    self.waiters.insert(n, waiter);
                    return;
                }
                Poll::Ready(Err(SubmitError::Closed(_))) => {
                    assert!(self.closed && self.position(n).is_none());
                    self.ends.insert(n, End::Returned);
                    return;
                }
                Poll::Ready(Err(error)) => panic!("{error}"),
                Poll::Ready(Ok(job)) => waiter = Waiter::Result(job),
            }
        }
        let Waiter::Result(job) = &mut waiter else {
            return;
        };
        let end = match Pin::new(job).poll(&mut cx) {
            Poll::Pending => {
                assert!(self.position(n).is_some() || self.sim.is_none(), "P5");
                self.waiters.insert(n, waiter);
                return;
            }
            Poll::Ready(Ok(value)) => {
                assert_eq!(value, n);
                End::Value
            }
            Poll::Ready(Err(JoinError::Panicked(_))) => End::Panicked,
            Poll::Ready(Err(_)) => End::Cancelled,
        };
        self.ends.insert(n, end);
    }

    /// The waiter of a job goes.
    fn give_up(&mut self, nth: usize) {
        let Some(&n) = self.waiters.keys().nth(nth) else {
            return;
        };
        let Some(waiter) = self.waiters.remove(&n) else {
            return;
        };
        self.given_up.insert(n);
        let place = self.position(n);
        let removed = match waiter {
            Waiter::Result(job) => job.cancel(),
            Waiter::Room(submit) => {
                drop(submit);
                place.is_some()
            }
        };
        if self.sim.is_some() && !self.closed {
            assert_eq!(removed, place.is_some(), "P1: the call says which happened");
        }
        if let Some((lane, place)) = place.filter(|_| removed) {
            self.queued[lane].remove(place);
        }
    }

    /// Runs the steps that are queued: all jobs run.
    fn turn(&mut self) {
        let Some(sim) = &mut self.sim else { return };
        sim.event_loop().turn_now().expect("a turn succeeds");
        self.queued = [vec![], vec![]];
    }

    fn close(&mut self, queued: QueuedJobs) {
        self.pool.close(queued);
        self.closed = true;
        if queued == QueuedJobs::Cancel {
            self.queued = [vec![], vec![]];
        }
    }

    fn apply(&mut self, op: u8, n: usize) {
        match op {
            0 | 1 => self.run_blocking(n % 2),
            2 => self.try_submit(n % 2),
            3 => self.submit(n % 2),
            4 => self.give_up(n % self.waiters.len().max(1)),
            5 => self.turn(),
            6 => {
                let waiters: Vec<usize> = self.waiters.keys().copied().collect();
                waiters.into_iter().for_each(|n| self.poll(n));
            }
            7 if n == 0 => self.close(QueuedJobs::Run),
            7 if n == 1 => self.close(QueuedJobs::Cancel),
            // The loop ends: from here on threads run the jobs, at any time.
            8 if n == 0 => self.sim = None,
            _ => {}
        }
        if self.sim.is_some() {
            let queued: usize = self.queued.iter().map(Vec::len).sum();
            assert_eq!(self.pool.stats().queued, queued, "P1");
        }
    }

    /// Ends the pool, and compares.
    fn finish(mut self) {
        self.apply(5, 0);
        self.sim = None;
        self.pool
            .shutdown_blocking(QueuedJobs::Run, LONG)
            .expect("all jobs end");
        self.apply(6, 0);
        assert!(self.waiters.is_empty(), "P5: each waiter has its end");
        let ran = self.ran.lock().unwrap();
        let once: BTreeSet<usize> = ran.iter().copied().collect();
        assert_eq!(once.len(), ran.len(), "P1: once");
        for (n, end) in &self.ends {
            let has_run = once.contains(n);
            let expected = match end {
                End::Value => n % 5 != 4 && has_run,
                End::Panicked => n % 5 == 4 && has_run,
                End::Cancelled | End::Returned => !has_run,
            };
            assert!(expected, "P1: {n} {end:?}, and ran: {has_run}");
        }
        for n in 0..self.count {
            assert!(
                self.ends.contains_key(&n) || self.given_up.contains(&n),
                "P1: {n} is lost"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// P1, P5: each job runs once and its waiter gets the result, or it is cancelled, or its closure comes
    /// back, whatever the order, and whenever its waiter, the pool or the loop goes.
    #[test]
    fn every_job_of_a_pool_is_accounted_for_once(
        seed in proptest::option::of(0..9u64),
        ops in vec((0..9u8, 0..6usize), 0..48),
    ) {
        let mut programme = Programme::new(seed);
        for (op, n) in ops {
            programme.apply(op, n);
        }
        programme.finish();
    }

    /// P4: without a seed the jobs of a lane start in the order of their submissions, also those that
    /// waited for room.
    #[test]
    fn the_jobs_of_a_lane_start_in_their_order(
        jobs in vec((0..3usize, any::<bool>()), 0..24),
        capacity in 1..4usize,
    ) {
        let mut sim = SimLoop::with(readily_testing::Faults::default());
        let pool = ThreadPool::builder().max_threads(2).queue(capacity).build().unwrap();
        let lanes = [Lane::clone(&pool), pool.lane(1, 1).unwrap(), pool.lane(2, 2).unwrap()];
        let ran: Arc<Mutex<Vec<(usize, usize)>>> = Arc::default();
        let (all, also) = (jobs.len(), Arc::clone(&ran));
        let results = sim.run(async move {
            let mut waiting = Vec::new();
            for (n, (lane, gives_way)) in jobs.into_iter().enumerate() {
                let ran = Arc::clone(&also);
                waiting.push(lanes[lane].run_blocking(move || ran.lock().unwrap().push((lane, n))));
                if gives_way {
                    readily::yield_now().await;
                }
            }
            gather(waiting).await
        }).unwrap();
        prop_assert!(results.into_iter().all(|result| result.is_ok()), "P1");
        let ran = ran.lock().unwrap();
        prop_assert_eq!(ran.len(), all, "P1");
        for lane in 0..3 {
            let of: Vec<usize> = ran.iter().filter(|(of, _)| *of == lane).map(|(_, n)| *n).collect();
            prop_assert!(of.is_sorted(), "P4: {:?}", of);
        }
    }
}

/// P1, R114: every order of two submissions, of which the second waits for room, a cancellation, a turn of the
/// loop, the shutdown and the end of the loop.
#[test]
fn a_shutdown_at_every_place_leaves_no_job_unaccounted_for() {
    for how in [0, 1] {
        for order in orders(6) {
            let mut programme = Programme::new(None);
            for action in order {
                match action {
                    0 => programme.apply(0, 0),
                    1 => programme.apply(3, 0),
                    2 => programme.apply(4, 0),
                    3 => programme.apply(5, 0),
                    4 => programme.apply(7, how),
                    _ => programme.apply(8, 0),
                }
            }
            programme.finish();
        }
    }
}

/// The futures of a pool may be dropped after each of their polls.
#[test]
fn what_awaits_a_pool_may_be_dropped_everywhere() {
    let mut sim = SimLoop::new(3);
    let pool = ThreadPool::builder()
        .max_threads(1)
        .queue(1)
        .build()
        .unwrap();
    sim.drop_everywhere(|| {
        let pool = pool.clone();
        async move { pool.run_blocking(|| 7).await.unwrap() }
    });
    sim.drop_everywhere(|| {
        let pool = pool.clone();
        async move {
            let first = pool.run_blocking(|| 7);
            let second = pool.submit(|| 8).await.unwrap();
            gather([first, second]).await
        }
    });
    assert_eq!(pool.stats().queued, 0);
    let other = ThreadPool::new();
    sim.drop_everywhere(|| {
        let other = other.clone();
        async move { other.shutdown(QueuedJobs::Run, LONG).await.unwrap() }
    });
}

/// The seed decides in which order jobs run that threads could run at the same time.
#[test]
fn a_simulated_loop_runs_jobs_at_once_in_an_order_of_its_seed() {
    let order = |seed| {
        let (mut sim, ran) = (SimLoop::new(seed), Ran::default());
        let also = Arc::clone(&ran);
        sim.run(async move {
            let jobs = (0..6).map(|n| {
                let ran = Arc::clone(&also);
                run_blocking(move || ran.lock().unwrap().push(n))
            });
            gather(jobs).await
        })
        .unwrap();
        assert_eq!(sim.elapsed(), Duration::ZERO);
        let ran = ran.lock().unwrap();
        ran.clone()
    };
    assert_eq!(order(1), order(1));
    let orders: BTreeSet<Vec<usize>> = (0..40).map(order).collect();
    assert!(orders.len() > 10, "{orders:?}");
    for order in orders {
        assert_eq!(order.into_iter().collect::<BTreeSet<_>>().len(), 6, "P1");
    }
}

/// A step of a program whose jobs run on threads, while the time of the kernel stands still.
#[derive(Clone, Copy, Debug)]
enum Step {
    RunBlocking(usize),
    TrySubmit(usize),
    Submit(usize),
    WithCallback,
    GiveUp(usize),
    Await(usize),
    Sleep(u64),
    Close(QueuedJobs),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2_usize).prop_map(Step::RunBlocking),
        2 => (0..2_usize).prop_map(Step::TrySubmit),
        4 => (0..2_usize).prop_map(Step::Submit),
        2 => Just(Step::WithCallback),
        2 => any::<usize>().prop_map(Step::GiveUp),
        2 => any::<usize>().prop_map(Step::Await),
        3 => (1..9_u64).prop_map(Step::Sleep),
        1 => prop_oneof![Just(QueuedJobs::Run), Just(QueuedJobs::Cancel)].prop_map(Step::Close),
    ]
}

/// The jobs of a program on threads, and what is known of them.
struct OnThreads {
    pool: ThreadPool,
    lanes: [Lane; 2],
    waiters: Vec<Waiter>,
    count: usize,
    /// How many run at present.
    running: Arc<AtomicUsize>,
    /// How many callbacks are due, and were called.
    due: usize,
    called: Rc<Cell<usize>>,
}

impl OnThreads {
    fn new() -> Self {
        let builder = ThreadPool::builder().max_threads(2).queue(CAPACITY);
        let pool = builder.build().unwrap();
        Self {
            lanes: [Lane::clone(&pool), pool.lane(1, CAPACITY).unwrap()],
            pool,
            waiters: Vec::new(),
            count: 0,
            running: Arc::default(),
            due: 0,
            called: Rc::default(),
        }
    }

    /// A job that takes a while, in which its loop begins to wait.
    fn job(&mut self) -> Job {
        let (n, running) = (self.count, Arc::clone(&self.running));
        self.count += 1;
        Box::new(move || {
            running.fetch_add(1, SeqCst);
            (0..n % 4 * 20).for_each(|_| std::thread::yield_now());
            running.fetch_sub(1, SeqCst);
            n
        })
    }

    fn remove(&mut self, nth: usize) -> Option<Waiter> {
        let nth = nth.checked_rem(self.waiters.len())?;
        Some(self.waiters.remove(nth))
    }

    async fn apply(&mut self, step: Step) {
        match step {
            Step::RunBlocking(lane) => {
                let job = self.job();
                let job = self.lanes[lane].run_blocking(job);
                self.waiters.push(Waiter::Result(job));
            }
            Step::TrySubmit(lane) => {
                let job = self.job();
                let job = self.lanes[lane].try_submit(job);
                self.waiters.extend(job.ok().map(Waiter::Result));
            }
            Step::Submit(lane) => {
                let job = self.job();
                let mut submit = Box::new(self.lanes[lane].submit(job));
                match poll_once(&mut submit) {
                    Poll::Pending => self.waiters.push(Waiter::Room(submit)),
                    Poll::Ready(job) => self.waiters.extend(job.ok().map(Waiter::Result)),
                }
            }
            Step::WithCallback => {
                let (job, called) = (self.job(), Rc::clone(&self.called));
                let handle = WeakHandle::current().unwrap();
                handle.with(|handle| {
                    handle.set_thread_pool(self.pool.clone());
                    let count = move |_: &LoopHandle, _: Result<usize, JoinError>| {
                        called.set(called.get() + 1);
                    };
                    drop(handle.run_blocking_with(job, count));
                });
                self.due += 1;
            }
            Step::GiveUp(nth) => drop(self.remove(nth)),
            Step::Await(nth) => match self.remove(nth) {
                None => {}
                Some(Waiter::Result(job)) => drop(job.await),
                Some(Waiter::Room(submit)) => {
                    if let Ok(job) = submit.await {
                        drop(job.await);
                    }
                }
            },
            Step::Sleep(millis) => {
                sleep(Duration::from_millis(millis)).await;
                self.check_all_have_ended();
            }
            Step::Close(queued) => self.pool.close(queued),
        }
    }

    /// The time has moved, so no job that was submitted before waits or runs.
    fn check_all_have_ended(&mut self) {
        assert_eq!(self.running.load(SeqCst), 0);
        assert_eq!(self.called.get(), self.due);
        for waiter in std::mem::take(&mut self.waiters) {
            let job = match waiter {
                Waiter::Result(job) => Some(job),
                Waiter::Room(mut submit) => match poll_once(&mut submit) {
                    Poll::Pending => panic!("it waits for room"),
                    Poll::Ready(job) => job.ok(), // or the pool was shut down
                },
            };
            assert!(job.as_ref().is_none_or(RunBlocking::done));
            self.waiters.extend(job.map(Waiter::Result));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, max_shrink_iters: 8, ..ProptestConfig::default() })]

    /// R376: with threads the time moves only while no job waits or runs, whatever becomes of the jobs and of their
    /// waiters; and then it moves by what the program sleeps, and by no more.
    #[test]
    fn with_threads_the_time_moves_only_between_the_jobs(
        seed in any::<u64>(),
        steps in vec(step(), 0..40),
    ) {
        let mut sim = SimLoop::new(seed);
        sim.kernel().set_blocking_jobs(BlockingJobs::HoldTime);
        let slept: u64 = steps.iter().map(|step| match step {
            Step::Sleep(millis) => *millis,
            _ => 0,
        }).sum();
        sim.run(async move {
            let mut jobs = OnThreads::new();
            // There is always a time to which the clock could move.
            let ticking = spawn(async {
                loop {
                    sleep(Duration::from_millis(1)).await;
                }
            });
            for step in steps {
                jobs.apply(step).await;
            }
            while !jobs.waiters.is_empty() {
                jobs.apply(Step::Await(0)).await;
            }
            drop(ticking);
        }).unwrap();
        prop_assert_eq!(sim.elapsed(), Duration::from_millis(slept));
    }
}

/// R376: the time does not move between the end of a job and the wake of its waiter, however long the thread takes.
#[test]
fn the_time_stands_still_until_the_waiter_of_a_job_is_woken() {
    struct Probes(RemoteHandle);

    impl Wake for Probes {
        /// On the thread of the job: lets the loop turn many times before it wakes.
        fn wake(self: Arc<Self>) {
            for _ in 0..50 {
                let (here, answer) = std::sync::mpsc::channel();
                let answered = self.0.call_soon(move |_| here.send(()).unwrap());
                answered.unwrap();
                answer.recv().unwrap();
            }
            self.0.call_soon(|handle| handle.stop()).unwrap();
        }
    }

    let mut sim = SimLoop::new(1);
    sim.kernel().set_blocking_jobs(BlockingJobs::HoldTime);
    let event_loop = sim.event_loop();
    let waker = Waker::from(Arc::new(Probes(event_loop.remote_handle())));
    event_loop.call_later(LONG, |_| panic!("the time has moved"));
    let here = event_loop.enter();
    let (to_job, from_test) = std::sync::mpsc::channel::<()>();
    let mut job = run_blocking(move || from_test.recv().unwrap());
    let polled = Pin::new(&mut job).poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    drop(here);
    to_job.send(()).unwrap();
    event_loop.run().unwrap();
    assert!(job.done());
    assert_eq!(sim.elapsed(), Duration::ZERO);
}

/// With threads the time stands still until the job has returned, whether or not its waiter is still there.
#[test]
fn a_simulated_loop_with_threads_holds_its_time_until_the_job_returns() {
    for gives_up in [false, true] {
        let mut sim = SimLoop::new(1);
        sim.kernel().set_blocking_jobs(BlockingJobs::HoldTime);
        let ran = Arc::new(AtomicUsize::new(0));
        let also = Arc::clone(&ran);
        let clock = sim.kernel().clock();
        let before = sim
            .run(async move {
                let (to_job, from_test) = std::sync::mpsc::channel::<()>();
                let mut job = run_blocking(move || {
                    let _ = from_test.recv();
                    also.fetch_add(1, SeqCst)
                });
                let sleeps = spawn(sleep(LONG));
                let pending = poll_fn(|cx| Poll::Ready(Pin::new(&mut job).poll(cx))).await;
                assert!(pending.is_pending());
                for _ in 0..20 {
                    readily::yield_now().await;
                }
                use readily::clock::Clock;
                let before = clock.now_ns();
                drop(to_job);
                if gives_up {
                    drop(job);
                } else {
                    job.await.unwrap();
                    assert_eq!(clock.now_ns(), before, "the time stood still");
                }
                sleeps.await.unwrap();
                before
            })
            .unwrap();
        assert_eq!(before, 0);
        assert_eq!(sim.elapsed(), LONG, "and goes on");
        drop(sim);
        assert!(gives_up || ran.load(SeqCst) == 1);
    }
}
