//! The pool under loom: its queue and its threads, a waiter that sleeps, cancellations and a shutdown.
//!
//! The code of the pool runs as it is, on threads of loom. Each model ends when all threads have ended, so
//! a thread that sleeps for ever, and a waiter that is not woken, are found as deadlocks. Time does not
//! pass in a model; a pool whose idle time is zero has threads that end as soon as they find no job.
//!
//! The models are of N5's thread pool.

use super::pool::{QueuedJobs, ThreadPool};
use super::run_blocking::RunBlocking;
use crate::task::JoinError;
use loom::sync::Notify;
use loom::thread;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Where a waiter sleeps until it is woken.
struct Bed(Notify);

impl Wake for Bed {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    let bed = Arc::new(Bed(Notify::new()));
    let waker = Waker::from(Arc::clone(&bed));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => bed.0.wait(),
        }
    }
}

fn pool(max_threads: usize, idle: Duration) -> ThreadPool {
    let builder = ThreadPool::builder().max_threads(max_threads);
    builder
        .idle_time(idle)
        .build()
        .expect("the numbers are not zero")
}

const IDLE: Duration = Duration::from_secs(1);

/// A counter that is not one of loom's: the models do not look for races in it.
fn counter() -> (Arc<AtomicUsize>, impl Fn() -> Box<dyn FnOnce() + Send>) {
    let count = Arc::new(AtomicUsize::new(0));
    let also = Arc::clone(&count);
    let job = move || {
        let count = Arc::clone(&also);
        let job: Box<dyn FnOnce() + Send> = Box::new(move || {
            count.fetch_add(1, SeqCst);
        });
        job
    };
    (count, job)
}

fn end(pool: &ThreadPool) {
    pool.close(QueuedJobs::Run);
    wait(std::future::poll_fn(|cx| {
        match pool.workers().poll_ended(cx.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }));
}

/// P1, P3, P5: two submitters, two threads, and a waiter that sleeps until its job has returned.
#[test]
fn every_job_runs_and_its_waiter_is_woken() {
    loom::model(|| {
        let pool = pool(2, IDLE);
        let other = thread::spawn({
            let pool = pool.clone();
            move || pool.run_blocking(|| 1)
        });
        let first = pool.run_blocking(|| 2);
        assert_eq!(wait(first).expect("it does not panic"), 2);
        let second = other.join().expect("a submission does not fail");
        assert_eq!(wait(second).expect("it does not panic"), 1);
        end(&pool);
    });
}

/// P3: three jobs for one thread, which sleeps between them, or does not.
#[test]
fn a_thread_that_is_about_to_sleep_does_not_miss_a_job() {
    loom::model(|| {
        let pool = pool(1, IDLE);
        let (count, job) = counter();
        let jobs: Vec<RunBlocking<()>> = (0..3).map(|_| pool.run_blocking(job())).collect();
        for job in jobs {
            wait(job).expect("it does not panic");
        }
        assert_eq!(count.load(SeqCst), 3);
        end(&pool);
    });
}

/// P3: a thread that has found no job ends, while another is submitted (R256).
#[test]
fn a_job_that_meets_the_end_of_the_last_thread_gets_another() {
    loom::model(|| {
        let pool = pool(1, Duration::ZERO);
        let first = pool.run_blocking(|| 1);
        let second = pool.run_blocking(|| 2);
        assert_eq!(wait(first).expect("it does not panic"), 1);
        let third = pool.run_blocking(|| 3);
        assert_eq!(wait(second).expect("it does not panic"), 2);
        assert_eq!(wait(third).expect("it does not panic"), 3);
        end(&pool);
    });
}

/// P1: of a job that a thread takes while its waiter cancels it, either the thread runs it, or the waiter
/// has removed it.
#[test]
fn a_cancelled_job_runs_or_is_removed_and_not_both() {
    loom::model(|| {
        let pool = pool(1, IDLE);
        let (count, job) = counter();
        let (first, second) = (pool.run_blocking(job()), pool.run_blocking(job()));
        let removed = usize::from(second.cancel()) + usize::from(first.cancel());
        end(&pool);
        assert_eq!(count.load(SeqCst) + removed, 2);
    });
}

/// P1: a job that is submitted while the pool is closed is refused, or cancelled, or runs, and its waiter
/// learns which.
#[test]
fn a_job_that_meets_the_shutdown_is_refused_cancelled_or_run() {
    loom::model(|| {
        let pool = pool(1, IDLE);
        let (count, job) = counter();
        let (late, early) = (job(), job());
        let submitter = thread::spawn({
            let pool = pool.clone();
            move || match pool.try_submit(late) {
                Ok(job) => wait(job).is_ok(),
                Err(refused) => {
                    drop(refused.into_inner());
                    false
                }
            }
        });
        let mut early = pool.run_blocking(early);
        pool.close(QueuedJobs::Cancel);
        let ran = match wait(Pin::new(&mut early)) {
            Ok(()) => true,
            Err(JoinError::CancelledFor(_)) => false,
            Err(error) => panic!("{error}"),
        };
        let also = submitter.join().expect("a submission does not panic");
        end(&pool);
        assert_eq!(count.load(SeqCst), usize::from(ran) + usize::from(also));
    });
}

/// P2, P3: two lanes of one pool, of which one has a limit of one.
#[test]
fn a_lane_at_its_limit_goes_on_when_its_job_has_returned() {
    loom::model(|| {
        let pool = pool(2, IDLE);
        let lane = pool.lane(1, 4).expect("the numbers are not zero");
        let inside = Arc::new(AtomicUsize::new(0));
        let job = || {
            let inside = Arc::clone(&inside);
            move || {
                assert_eq!(inside.fetch_add(1, SeqCst), 0, "P2");
                thread::yield_now();
                inside.fetch_sub(1, SeqCst);
            }
        };
        let jobs = [lane.run_blocking(job()), lane.run_blocking(job())];
        for job in jobs {
            wait(job).expect("P2");
        }
        end(&pool);
    });
}

/// P1: a job that waits for room in a queue of one has it when the job before it is taken or cancelled.
#[test]
fn a_submission_that_waits_for_room_is_woken() {
    loom::model(|| {
        let builder = ThreadPool::builder().max_threads(1).queue(1);
        let pool = builder.build().expect("the numbers are not zero");
        let (count, job) = counter();
        let jobs = [pool.run_blocking(job()), pool.run_blocking(job())];
        let third = wait(pool.submit(job())).expect("the pool is open");
        for job in jobs {
            wait(job).expect("it does not panic");
        }
        wait(third).expect("it does not panic");
        assert_eq!(count.load(SeqCst), 3);
        end(&pool);
    });
}
