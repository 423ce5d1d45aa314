//! Process pools on a loop in memory, whose workers are simulated: programs of submissions, cancellations,
//! drops and a shutdown, while workers die, hang, send garbage or cannot be started, in any order; against
//! what is known of each job.
//!
//! The jobs run in this process, so each run of one is noted.
//!
//! Invariants: P6, P7, P8.

use proptest::collection::vec;
use proptest::prelude::*;
use readily::process_pool::{self, Cancel, JobError, JobHandle, JobTable, ProcessPool, Shutdown};
use readily::spi::{WorkerEnd, WorkerFate, WorkerStep};
use readily::{all_tasks, current_task, jobs, sleep, yield_now};
use readily_testing::SimLoop;
use std::cell::{Cell, RefCell};
use std::num::NonZeroU64;
use std::time::Duration;

thread_local! {
    /// The jobs that have run, in their order.
    static RAN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Notes that it runs, and panics if its number is one of every seventh.
fn job(number: u64) -> u64 {
    RAN.with_borrow_mut(|ran| ran.push(number));
    if number % 7 == 6 {
        std::panic::resume_unwind(Box::new("planted"));
    }
    number
}

const JOBS: JobTable = jobs![job];

const LIMIT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
enum Step {
    Submit,
    Cancel(usize, Cancel),
    DropHandle(usize),
    Turn,
    Wait(u64),
    CancelTasks,
    Shutdown(Shutdown),
    DropPool,
}

fn step() -> impl Strategy<Value = Step> {
    let cancel = prop_oneof![Just(Cancel::Kill), Just(Cancel::LetRun)];
    prop_oneof![
        12 => Just(Step::Submit),
        3 => (any::<usize>(), cancel).prop_map(|(which, how)| Step::Cancel(which, how)),
        2 => any::<usize>().prop_map(Step::DropHandle),
        4 => Just(Step::Turn),
        4 => (0..2000_u64).prop_map(Step::Wait),
        1 => Just(Step::CancelTasks),
        1 => Just(Step::Shutdown(Shutdown::Drain)),
        1 => Just(Step::Shutdown(Shutdown::Kill)),
        1 => Just(Step::DropPool),
    ]
}

fn fate() -> impl Strategy<Value = WorkerFate> {
    let end = prop_oneof![
        12 => Just(WorkerEnd::Answers),
        1 => Just(WorkerEnd::Refused),
        1 => Just(WorkerEnd::Dies),
        1 => Just(WorkerEnd::DiesAfterJob),
        1 => Just(WorkerEnd::Garbage),
        1 => Just(WorkerEnd::Hangs),
    ];
    (end, 0..1500_u64).prop_map(|(end, after)| WorkerFate::new(end, Duration::from_millis(after)))
}

/// A program, and what becomes of the workers, which begins again when it has ended.
#[derive(Clone, Debug)]
struct Program {
    workers: usize,
    jobs_per_worker: Option<NonZeroU64>,
    steps: Vec<Step>,
    starts: Vec<WorkerFate>,
    calls: Vec<WorkerFate>,
}

fn program() -> impl Strategy<Value = Program> {
    let jobs_per_worker =
        proptest::option::of((1..4_u64).prop_map(|n| NonZeroU64::new(n).unwrap()));
    let fates = || vec(fate(), 1..12);
    let parts = (
        1..4_usize,
        jobs_per_worker,
        vec(step(), 1..40),
        fates(),
        fates(),
    );
    parts.prop_map(|(workers, jobs_per_worker, steps, starts, calls)| Program {
        workers,
        jobs_per_worker,
        steps,
        starts,
        calls,
    })
}

/// What is known of a job.
struct Known {
    handle: Option<JobHandle<u64>>,
    /// A call of `cancel` has returned `true`.
    is_cancelled: bool,
    /// No worker had begun it when it was given up: it must never run.
    must_not_run: bool,
    let_run: bool,
}

impl Program {
    fn has(&self, fates: &[WorkerFate], ends: &[WorkerEnd]) -> bool {
        fates.iter().any(|fate| ends.contains(&fate.end))
    }

    /// Whether a job may end with this error, given what has happened.
    fn allows(
        &self,
        error: &JobError,
        known: &Known,
        is_closed: bool,
        are_cancelled: bool,
    ) -> bool {
        use WorkerEnd::*;
        match error {
            JobError::Cancelled => known.is_cancelled || known.let_run || are_cancelled,
            JobError::ShutDown => is_closed,
            JobError::WorkerDied(_) => self.has(&self.calls, &[Dies, DiesAfterJob, Refused]),
            JobError::BadAnswer(_) => self.has(&self.calls, &[Garbage]),
            JobError::TimedOut(limit) => *limit == LIMIT && self.has(&self.calls, &[Hangs]),
            JobError::Start(_) => {
                self.has(&self.starts, &[Dies, DiesAfterJob, Refused, Garbage, Hangs])
            }
            _ => false,
        }
    }

    fn run(self) {
        process_pool::init(JOBS);
        RAN.take();
        let mut sim = SimLoop::new(3);
        let (starts, calls) = (self.starts.clone(), self.calls.clone());
        let (started, called) = (Cell::new(0), Cell::new(0));
        sim.kernel().set_workers(move |step| {
            let (fates, count) = match step {
                WorkerStep::Start => (&starts, &started),
                _ => (&calls, &called),
            };
            let place = count.replace(count.get() + 1);
            fates[place % fates.len()]
        });
        sim.run(async move { self.steps().await }).unwrap();
    }

    async fn steps(self) {
        let builder = ProcessPool::builder(JOBS)
            .workers(self.workers)
            .job_limit(LIMIT);
        let builder = builder.start_limit(LIMIT);
        let builder = match self.jobs_per_worker {
            Some(jobs) => builder.jobs_per_worker(jobs),
            None => builder,
        };
        let mut pool = Some(builder.build().unwrap());
        let mut all: Vec<Known> = Vec::new();
        let (mut is_closed, mut are_cancelled) = (false, false);
        for step in self.steps.clone() {
            let chosen = |which: usize, all: &[Known]| which % all.len().max(1);
            match step {
                Step::Submit => {
                    let Some(pool) = &pool else { continue };
                    let number = all.len() as u64;
                    all.push(Known {
                        handle: Some(pool.submit(job, number)),
                        is_cancelled: false,
                        must_not_run: false,
                        let_run: false,
                    });
                }
                Step::Cancel(which, how) => {
                    let place = chosen(which, &all);
                    let Some(known) = all.get_mut(place) else {
                        continue;
                    };
                    let Some(handle) = &known.handle else {
                        continue;
                    };
                    let (was_running, was_done) = (handle.running(), handle.done());
                    let will_not_run = handle.cancel(how);
                    // One that runs on, although it was cancelled, can still be killed.
                    assert!(!(will_not_run && was_done) || known.let_run, "it was done");
                    known.is_cancelled |= will_not_run;
                    known.must_not_run |= will_not_run && !was_running;
                    known.let_run |= was_running && how == Cancel::LetRun;
                }
                Step::DropHandle(which) => {
                    let place = chosen(which, &all);
                    let Some(known) = all.get_mut(place) else {
                        continue;
                    };
                    if let Some(handle) = known.handle.take() {
                        known.must_not_run |= !handle.running() && !handle.done();
                    }
                }
                Step::Turn => yield_now().await,
                Step::Wait(millis) => sleep(Duration::from_millis(millis)).await,
                Step::CancelTasks => {
                    let here = current_task().unwrap();
                    are_cancelled = true;
                    for task in all_tasks() {
                        if task != here {
                            task.cancel();
                        }
                    }
                }
                Step::Shutdown(how) => {
                    let Some(pool) = &pool else { continue };
                    is_closed = true;
                    pool.shutdown(how).await;
                    let stats = pool.stats();
                    assert_eq!((stats.queued, stats.running, stats.workers), (0, 0, 0));
                }
                Step::DropPool => {
                    is_closed = true;
                    pool = None;
                }
            }
            if let Some(pool) = &pool {
                let stats = pool.stats();
                assert!(stats.running <= self.workers && stats.workers <= self.workers);
            }
        }
        if let Some(pool) = &pool {
            pool.shutdown(Shutdown::Drain).await;
        }
        for (number, known) in (0..).zip(&mut all) {
            let Some(handle) = known.handle.take() else {
                continue;
            };
            let result = handle.await;
            let runs = RAN.with_borrow(|ran| ran.iter().filter(|ran| **ran == number).count());
            match result {
                Ok(value) => assert_eq!((value, runs, known.is_cancelled), (number, 1, false)),
                Err(JobError::Panicked(_)) => {
                    assert_eq!((number % 7, runs, known.is_cancelled), (6, 1, false));
                }
                Err(error) => assert!(
                    self.allows(&error, known, is_closed, are_cancelled),
                    "job {number}: {error}"
                ),
            }
        }
        // Those that go on without a handle.
        drop(pool);
        sleep(Duration::from_secs(100)).await;
        RAN.with_borrow(|ran| {
            for (number, known) in (0..).zip(&all) {
                let runs = ran.iter().filter(|ran| **ran == number).count();
                assert!(runs <= 1, "job {number} has run {runs} times");
                assert!(!known.must_not_run || runs == 0, "job {number} has run");
            }
        });
    }
}

/// P6: each of the two saw that the other one was starting, and tried again.
#[test]
fn two_workers_that_are_refused_in_turn_for_ever_end_their_jobs() {
    let fate = |end, millis| vec![WorkerFate::new(end, Duration::from_millis(millis))];
    let program = Program {
        workers: 2,
        jobs_per_worker: None,
        steps: vec![Step::Submit, Step::Wait(350), Step::Submit],
        starts: fate(WorkerEnd::Refused, 700),
        calls: fate(WorkerEnd::Answers, 1),
    };
    program.run();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// P6, P7, P8.
    #[test]
    fn each_job_ends_once_and_runs_at_most_once_whatever_becomes_of_the_workers(
        program in program()
    ) {
        program.run();
    }
}
