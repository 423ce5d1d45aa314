//! Thread pools on real threads: jobs and their results, bounds, lanes, cancellations, and the end of a pool
//! and of a loop.
//!
//! A job that has to be there while something else happens waits at a gate, which the test opens.
//!
//! Invariants: P1, P2, P3, P4, P5. The faults are those of thread pools, R113 to R118 and R246 to R229.

use crate::support::{collect_unhandled, guard, strict_loop, strict_run, strict_runner};
use readily::blocking::{
    BuildError, Lane, QueuedJobs, RunBlocking, StillRunning, SubmitError, run_on_thread,
};
use readily::task::WaitError;
use readily::{
    EventLoop, JoinError, PanicPolicy, Runner, ThreadPool, Unhandled, gather, race, run_blocking,
    spawn, task_local, yield_now,
};
use readily_testing::wakers;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll};
use std::thread::{self, ThreadId};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

/// Where jobs wait until the test opens it.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<(bool, usize)>, Condvar)>);

impl Gate {
    /// A job that waits here, and returns its argument.
    fn job<T: Send + 'static>(&self, value: T) -> impl FnOnce() -> T + Send + 'static {
        let gate = self.clone();
        move || {
            let (state, changed) = &*gate.0;
            let mut state = state.lock().unwrap();
            state.1 += 1;
            changed.notify_all();
            drop(changed.wait_while(state, |state| !state.0).unwrap());
            value
        }
    }

    /// Waits until so many jobs have come.
    fn await_jobs(&self, count: usize) {
        let (state, changed) = &*self.0;
        let state = state.lock().unwrap();
        drop(changed.wait_while(state, |state| state.1 < count).unwrap());
    }

    fn open(&self) {
        let (state, changed) = &*self.0;
        state.lock().unwrap().0 = true;
        changed.notify_all();
    }
}

fn on_loop<F: Future>(future: F) -> F::Output {
    strict_run(future).expect("the loop runs")
}

fn pool(max_threads: usize) -> ThreadPool {
    ThreadPool::builder()
        .max_threads(max_threads)
        .build()
        .unwrap()
}

fn reason<T>(result: Result<T, JoinError>) -> String {
    match result {
        Ok(_) => panic!("it has run"),
        Err(error) => error.reason().expect("it was cancelled").to_owned(),
    }
}

/// Counts its drops, with the thread of the last.
#[derive(Clone, Default)]
struct Drops(Arc<Mutex<Vec<ThreadId>>>);

struct Dropped(Drops);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().push(thread::current().id());
    }
}

impl Drops {
    fn value(&self) -> Dropped {
        Dropped(self.clone())
    }

    fn threads(&self) -> Vec<ThreadId> {
        self.0.lock().unwrap().clone()
    }
}

/// Waits, in turns of the loop, until `done`.
async fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        yield_now().await;
    }
}

#[test]
fn a_job_runs_beside_the_loop_and_its_result_comes_back() {
    let _guard = guard!();
    let home = thread::current().id();
    let gate = Gate::default();
    let job = gate.job(21);
    let ended = on_loop(async move {
        let job = run_blocking(move || (job(), thread::current().id()));
        gate.await_jobs(1);
        // N5: the loop goes on while the job waits.
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(!job.done());
        gate.open();
        let (value, there) = job.await.unwrap();
        assert_ne!(there, home);
        value
    });
    assert_eq!(ended, 21);
}

/// P5: the results of many jobs reach the loop, and cost it at most a notification for each wait.
#[test]
fn the_results_of_many_jobs_come_back_each_to_its_waiter() {
    let _guard = guard!();
    on_loop(async {
        let jobs = (0..2000_u64).map(|n| run_blocking(move || n * n));
        let squares = gather(jobs).await;
        for (n, square) in squares.into_iter().enumerate() {
            assert_eq!(square.unwrap(), (n * n) as u64);
        }
    });
}

/// R113: the payload comes back to the waiter, and the thread goes on.
#[test]
fn a_panic_comes_back_with_its_payload_and_the_thread_stays() {
    let _guard = guard!();
    let pool = pool(1);
    let first = pool.run_blocking(|| thread::current().id()).wait().unwrap();
    for n in 0..5 {
        let mut panics = pool.run_blocking(move || -> () { std::panic::panic_any(n) });
        let Err(WaitError::Join(JoinError::Panicked(payload))) = panics.wait() else {
            panic!("it panicked");
        };
        assert_eq!(payload.downcast_ref(), Some(&n));
    }
    let last = pool.run_blocking(|| thread::current().id()).wait().unwrap();
    assert_eq!((first, pool.stats().threads), (last, 1));
}

/// A panic that no waiter takes follows the policy of the loop, whether the waiter goes before or after it.
#[test]
fn a_panic_that_no_waiter_takes_is_reported_on_the_loop() {
    let _guard = guard!();
    let mut runner = Runner::builder()
        .panic_policy(PanicPolicy::Isolate)
        .build()
        .unwrap();
    let reports = collect_unhandled(&runner);
    let gate = Gate::default();
    runner
        .run(async {
            let job = gate.job(());
            let later = run_blocking(move || {
                job();
                panic!("after its waiter")
            });
            gate.await_jobs(1);
            let before: RunBlocking<()> = run_blocking(|| panic!("before its waiter"));
            until(|| before.done()).await;
            drop((before, later));
            gate.open();
            until(|| reports.len() == 2).await;
        })
        .unwrap();
    let text = reports.text();
    for message in ["before its waiter", "after its waiter"] {
        assert!(text.contains(message), "{text}");
    }
    assert_eq!(text.matches("tests/it/pools.rs").count(), 2, "{text}");
}

/// R248: the first panic of a waker does not end the thread, and the next job runs.
#[test]
fn a_waker_that_panics_ends_no_thread() {
    let _guard = guard!();
    let pool = pool(1);
    for (_, waker) in wakers::hostile() {
        let gate = Gate::default();
        let mut job = pool.run_blocking(gate.job(7));
        gate.await_jobs(1);
        let polled = catch_unwind(AssertUnwindSafe(|| {
            Pin::new(&mut job).poll(&mut Context::from_waker(&waker))
        }));
        gate.open();
        if matches!(polled, Ok(Poll::Pending)) {
            assert_eq!(job.wait().unwrap(), 7);
        }
        assert_eq!(pool.run_blocking(|| 8).wait().unwrap(), 8);
        assert_eq!(pool.stats().threads, 1);
        std::mem::forget(waker); // the drop of some panics
    }
}

/// R251: what belongs to a job is gone when the job has ended, though its thread is idle.
#[test]
fn a_thread_keeps_nothing_of_its_last_job() {
    task_local! {
        static CARRIED: Arc<()>;
    }
    let _guard = guard!();
    let (pool, closures, results) = (pool(1), Drops::default(), Drops::default());
    let local = Arc::new(());
    let (closure, result) = (closures.value(), results.value());
    let carried = on_loop(CARRIED.scope(Arc::clone(&local), async {
        let job = CARRIED.carry(move || {
            let _owned = &closure;
            (CARRIED.with(Arc::strong_count), result)
        });
        let (count, result) = pool.run_blocking(job).await.unwrap();
        assert!(results.threads().is_empty());
        drop(result);
        count
    }));
    assert!(carried.is_some(), "it has the value");
    let mut without = pool.run_blocking(|| CARRIED.with(|_| ()).is_none());
    assert!(without.wait().unwrap());
    let there = pool.run_blocking(|| thread::current().id()).wait().unwrap();
    assert_eq!(closures.threads(), [there], "on the thread of the pool");
    assert_eq!(results.threads(), [thread::current().id()]);
    assert_eq!(Arc::strong_count(&local), 1);
}

/// P1, R246: of ten queued jobs nine are cancelled, and one runs. The closures are dropped at once, here.
#[test]
fn a_job_that_is_cancelled_while_it_is_queued_never_runs() {
    let _guard = guard!();
    let (pool, gate, drops) = (pool(1), Gate::default(), Drops::default());
    let ran = Arc::new(AtomicUsize::new(0));
    let mut busy = pool.run_blocking(gate.job(()));
    gate.await_jobs(1);
    let mut jobs: Vec<RunBlocking<()>> = Vec::new();
    for _ in 0..10 {
        let (ran, value) = (Arc::clone(&ran), drops.value());
        jobs.push(pool.run_blocking(move || {
            let _owned = value;
            ran.fetch_add(1, SeqCst);
        }));
    }
    let mut last = jobs.remove(4);
    assert_eq!(pool.stats().queued, 10);
    let (by_call, by_drop) = jobs.split_at_mut(0);
    assert!(by_call.is_empty());
    for job in by_drop.iter_mut().take(4) {
        let job = std::mem::replace(job, pool.run_blocking(|| ()));
        assert!(job.cancel(), "in time");
    }
    drop(jobs);
    assert_eq!(drops.threads(), vec![thread::current().id(); 9]);
    assert_eq!(pool.stats().queued, 1);
    gate.open();
    busy.wait().unwrap();
    last.wait().unwrap();
    assert_eq!(ran.load(SeqCst), 1);
    assert!(!pool.run_blocking(|| ()).cancel() || pool.stats().queued == 0);
}

/// R118: the result of a job whose waiter has gone is dropped on the thread of the job.
#[test]
fn the_result_of_a_cancelled_job_is_dropped_where_it_ran() {
    let _guard = guard!();
    let (pool, gate, drops) = (pool(1), Gate::default(), Drops::default());
    let job = pool.run_blocking(gate.job(drops.value()));
    gate.await_jobs(1);
    assert!(!job.cancel(), "it runs");
    gate.open();
    let there = pool.run_blocking(|| thread::current().id()).wait().unwrap();
    assert_eq!(drops.threads(), [there]);
    // One that is there already is dropped with its future.
    let job = pool.run_blocking({
        let value = drops.value();
        move || value
    });
    pool.run_blocking(|| ()).wait().unwrap();
    assert!(job.done());
    drop(job);
    assert_eq!(drops.threads(), [there, thread::current().id()]);
}

/// P2, R245: the limit counts the jobs that run, and not those that are awaited.
#[test]
fn a_cancelled_await_makes_no_room_for_one_more_job() {
    let _guard = guard!();
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let pool = pool(2);
    on_loop(async {
        for _ in 0..100 {
            let (inside, most) = (Arc::clone(&inside), Arc::clone(&most));
            let job = pool.run_blocking(move || {
                most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                thread::yield_now();
                inside.fetch_sub(1, SeqCst);
            });
            race((async { drop(job.await) }, async { yield_now().await })).await;
        }
        pool.shutdown(QueuedJobs::Run, LONG).await.unwrap();
    });
    assert!(most.load(SeqCst) <= 2, "{most:?}");
}

/// R240: what would wait for itself is an error with both lines.
#[test]
fn a_job_that_would_wait_for_its_own_pool_is_refused_with_both_sites() {
    let _guard = guard!();
    let pool = pool(1);
    let inner = pool.clone();
    let line = line!() + 1;
    let mut outer = pool.run_blocking(move || inner.run_blocking(|| 7).wait());
    let error = outer.wait().unwrap().unwrap_err();
    let WaitError::OnPool { waiting, job } = error else {
        panic!("{error}");
    };
    assert_eq!((waiting.line(), job.line()), (line, line));
    let error = error.to_string();
    assert_eq!(error.matches("tests/it/pools.rs").count(), 2, "{error}");
    // A job of another pool may be waited for.
    let other = ThreadPool::new();
    let waits = pool
        .run_blocking(move || other.run_blocking(|| 7).wait().unwrap())
        .wait();
    assert_eq!(waits.unwrap(), 7);
}

/// R240: an await in a loop that the job runs keeps the thread as well.
#[test]
fn a_job_that_would_await_a_job_of_its_own_pool_is_refused_with_both_sites() {
    let _guard = guard!();
    let pool = pool(1);
    let inner = pool.clone();
    let mut outer = pool.run_blocking(move || on_loop(async { inner.run_blocking(|| 7).await }));
    let error = outer.wait().unwrap().unwrap_err().to_string();
    assert_eq!(error.matches("tests/it/pools.rs").count(), 2, "{error}");
    // The loop's own pool is another one.
    let waits = pool.run_blocking(|| on_loop(async { run_blocking(|| 7).await.unwrap() }));
    assert_eq!({ waits }.wait().unwrap(), 7);
}

/// R240: the same for room in the queue.
#[test]
fn a_job_does_not_wait_for_room_in_its_own_pool() {
    let _guard = guard!();
    let pool = (ThreadPool::builder().max_threads(1).queue(1).build()).unwrap();
    let inner = pool.clone();
    let mut outer = pool.run_blocking(move || {
        on_loop(async {
            let fits = inner.submit(|| 1).await.unwrap();
            let refused = inner.submit(|| 2).await.unwrap_err();
            assert!(matches!(refused, SubmitError::Full(_)), "{refused:?}");
            (fits, refused.into_inner()())
        })
    });
    let (fits, two) = outer.wait().unwrap();
    assert_eq!(({ fits }.wait().unwrap(), two), (1, 2));
}

/// N5: the thread of a loop must not block.
#[test]
fn a_thread_that_turns_a_loop_does_not_wait_for_a_job() {
    let _guard = guard!();
    let gate = Gate::default();
    on_loop(async {
        let mut job = run_blocking(gate.job(7));
        assert!(matches!(job.wait(), Err(WaitError::OnLoop)));
        gate.open();
        until(|| job.done()).await;
        assert_eq!(job.wait().unwrap(), 7, "it is there");
    });
    let pool = pool(1);
    let never = Gate::default();
    let mut job = pool.run_blocking(never.job(7));
    assert!(matches!(
        job.wait_for(Duration::ZERO),
        Err(WaitError::TimedOut)
    ));
    never.open();
    assert_eq!(job.wait_for(LONG).unwrap(), 7);
}

/// R252: a lane with stuck jobs keeps as many threads as its limit allows, and the others serve the rest.
#[test]
fn stuck_jobs_of_one_lane_leave_threads_to_the_others() {
    let _guard = guard!();
    let (pool, gate) = (pool(3), Gate::default());
    let names = pool.lane(2, 8).unwrap();
    let mut stuck: Vec<_> = (0..6).map(|_| names.run_blocking(gate.job(()))).collect();
    gate.await_jobs(2);
    for n in 0..20 {
        assert_eq!(pool.run_blocking(move || n).wait().unwrap(), n);
    }
    // The thread of the last job counts until it has come back.
    while pool.stats().running.len() > 2 {
        thread::yield_now();
    }
    assert_eq!(pool.stats().queued, 4, "P2");
    gate.open();
    for job in &mut stuck {
        job.wait().unwrap();
    }
}

/// R241: statistics show the oldest job, and how long the first of the queue has waited.
#[test]
fn the_statistics_show_which_job_keeps_the_others_waiting() {
    let _guard = guard!();
    let (pool, gate) = (pool(1), Gate::default());
    assert_eq!(pool.stats().running, []);
    let mut stuck = pool.run_blocking(gate.job(()));
    gate.await_jobs(1);
    let line = line!() + 1;
    let mut waits = pool.run_blocking(|| ());
    let stats = pool.stats();
    assert_eq!((stats.threads, stats.idle_threads, stats.queued), (1, 0, 1));
    assert_eq!(stats.running[0].site.line(), line - 3);
    let waiting = stats.waits_longest.expect("one waits");
    assert_eq!(waiting.site.line(), line);
    assert!(waiting.age <= stats.running[0].age);
    // R241: a job without an end has a thread of its own, which no limit counts.
    let mut alone = run_on_thread("watcher", || {
        let thread = thread::current();
        thread.name().map(str::to_owned)
    })
    .unwrap();
    assert_eq!(alone.wait().unwrap().as_deref(), Some("watcher"));
    assert!(run_on_thread("a\0b", || ()).is_err());
    gate.open();
    stuck.wait().unwrap();
    waits.wait().unwrap();
}

/// P4: the queue has its bound: a try is refused, a `submit` waits, and the order is that of the calls.
#[test]
fn a_full_queue_refuses_a_try_and_lets_a_submit_wait_for_room() {
    let _guard = guard!();
    let gate = Gate::default();
    let pool = ThreadPool::builder()
        .max_threads(1)
        .queue(2)
        .build()
        .unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let job = |n: u32| {
        let order = Arc::clone(&order);
        move || order.lock().unwrap().push(n)
    };
    on_loop(async {
        let busy = pool.run_blocking(gate.job(()));
        gate.await_jobs(1);
        let queued = [
            pool.try_submit(job(0)).unwrap(),
            pool.try_submit(job(1)).unwrap(),
        ];
        let refused = pool.try_submit(job(9)).unwrap_err();
        assert!(matches!(refused, SubmitError::Full(_)));
        let handle = pool.clone();
        let (two, four) = (job(2), job(4));
        let waits = spawn(async move { handle.submit(two).await });
        yield_now().await;
        let behind = pool.run_blocking(job(3));
        let mut given_up = pin!(pool.submit(four));
        let polled = std::future::poll_fn(|cx| Poll::Ready(given_up.as_mut().poll(cx))).await;
        assert!(polled.is_pending() && !waits.done());
        assert!(pool.try_submit(job(8)).is_err(), "P4: none overtakes");
        assert_eq!(pool.stats().queued, 5);
        given_up.set(pool.submit(job(7)));
        assert_eq!(pool.stats().queued, 4);
        gate.open();
        let accepted = waits.await.unwrap().unwrap();
        gather([accepted, behind]).await;
        drop(gather(queued).await);
        busy.await.unwrap();
    });
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
}

/// P1: a closure comes back from a pool that is shut down while it waits for room, or before.
#[test]
fn a_pool_that_is_shut_down_gives_closures_back() {
    let _guard = guard!();
    let gate = Gate::default();
    let pool = ThreadPool::builder()
        .max_threads(1)
        .queue(1)
        .build()
        .unwrap();
    on_loop(async {
        let busy = pool.run_blocking(gate.job(()));
        gate.await_jobs(1);
        let queued = pool.run_blocking(|| ());
        let handle = pool.clone();
        let waits = spawn(async move { handle.submit(|| 7).await.map(drop) });
        yield_now().await;
        pool.close(QueuedJobs::Cancel);
        let Err(SubmitError::Closed(seven)) = waits.await.unwrap() else {
            panic!("the pool is closed");
        };
        assert_eq!(seven(), 7);
        assert!(reason(queued.await).contains("shut down"));
        let Err(SubmitError::Closed(eight)) = pool.submit(|| 8).await else {
            panic!("the pool is closed");
        };
        assert_eq!(pool.try_submit(eight).unwrap_err().into_inner()(), 8);
        assert!(reason(pool.run_blocking(|| 9).await).contains("shut down"));
        gate.open();
        busy.await.unwrap();
    });
}

/// R114: a thousand queued jobs, and a shutdown at any moment: each has run or is cancelled, and the threads
/// end.
#[test]
fn whenever_a_pool_is_shut_down_each_queued_job_runs_or_is_cancelled() {
    let _guard = guard!();
    for (round, how) in [QueuedJobs::Run, QueuedJobs::Cancel]
        .into_iter()
        .cycle()
        .take(30)
        .enumerate()
    {
        let pool = pool(1 + round % 3);
        let ran = Arc::new(AtomicUsize::new(0));
        let mut jobs: Vec<RunBlocking<()>> = Vec::new();
        let closer = thread::spawn({
            let (pool, ran) = (pool.clone(), Arc::clone(&ran));
            move || {
                while ran.load(SeqCst) < 7 * round {
                    thread::yield_now();
                }
                pool.shutdown_blocking(how, LONG).unwrap();
            }
        });
        for _ in 0..1000 {
            let ran = Arc::clone(&ran);
            jobs.push(pool.run_blocking(move || {
                ran.fetch_add(1, SeqCst);
            }));
        }
        closer.join().unwrap();
        let ended = jobs.into_iter().filter_map(|mut job| match job.wait() {
            Ok(()) => Some(()),
            Err(WaitError::Join(JoinError::CancelledFor(_))) => None,
            Err(error) => panic!("{error}"),
        });
        assert_eq!(ended.count(), ran.load(SeqCst));
        assert_eq!(pool.stats().threads, 0);
    }
}

/// R244: four threads and destructors submit while the pool is shut down: what was accepted has run or is
/// cancelled.
#[test]
fn what_is_submitted_during_a_shutdown_is_accepted_or_comes_back() {
    struct Submits(
        ThreadPool,
        Arc<AtomicUsize>,
        Arc<Mutex<Vec<RunBlocking<()>>>>,
    );
    impl Drop for Submits {
        fn drop(&mut self) {
            let ran = Arc::clone(&self.1);
            let job = self.0.try_submit(move || {
                ran.fetch_add(1, SeqCst);
            });
            self.2.lock().unwrap().extend(job);
        }
    }
    let _guard = guard!();
    for round in 0..20 {
        let (pool, ran) = (pool(2), Arc::new(AtomicUsize::new(0)));
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let submitters: Vec<_> = (0..4)
            .map(|_| {
                let (pool, ran) = (pool.clone(), Arc::clone(&ran));
                let accepted = Arc::clone(&accepted);
                thread::spawn(move || {
                    for _ in 0..200 {
                        let again = Submits(pool.clone(), Arc::clone(&ran), Arc::clone(&accepted));
                        let job = pool.try_submit({
                            let ran = Arc::clone(&ran);
                            move || {
                                let _again = again;
                                ran.fetch_add(1, SeqCst);
                            }
                        });
                        match job {
                            Ok(job) => accepted.lock().unwrap().push(job),
                            Err(refused) => drop(refused),
                        }
                    }
                })
            })
            .collect();
        while ran.load(SeqCst) < 10 * round {
            thread::yield_now();
        }
        pool.shutdown_blocking(QueuedJobs::Cancel, LONG).unwrap();
        for submitter in submitters {
            submitter.join().unwrap();
        }
        let mut jobs = std::mem::take(&mut *accepted.lock().unwrap());
        let ended = jobs.iter_mut().filter_map(|job| job.wait().ok()).count();
        assert_eq!(ended, ran.load(SeqCst), "P1");
    }
}

/// R242: a job that never ends does not keep a shutdown from returning, which says which job it is.
#[test]
fn a_shutdown_with_a_limit_returns_and_names_what_still_runs() {
    let _guard = guard!();
    let (pool, gate) = (pool(1), Gate::default());
    let line = line!() + 1;
    let never = pool.run_blocking(gate.job(7));
    gate.await_jobs(1);
    let queued = pool.run_blocking(|| 8);
    on_loop(async {
        let left = pool
            .shutdown(QueuedJobs::Run, Duration::from_millis(1))
            .await;
        let left: StillRunning = left.unwrap_err();
        assert_eq!((left.running.len(), left.queued), (1, 1));
        assert_eq!(left.running[0].site.line(), line);
        assert!(left.to_string().contains("tests/it/pools.rs"), "{left}");
        // A blocking shutdown on the thread of a loop does not wait.
        assert!(pool.shutdown_blocking(QueuedJobs::Cancel, LONG).is_err());
        assert!(reason(queued.await).contains("shut down"), "P1");
        gate.open();
        assert_eq!(never.await.unwrap(), 7, "its waiter still gets it");
        pool.shutdown(QueuedJobs::Cancel, LONG).await.unwrap();
    });
}

/// R114: handles that are dropped let the queued jobs run, and do not wait.
#[test]
fn a_pool_whose_handles_are_gone_runs_what_is_queued() {
    let _guard = guard!();
    let (gate, ran) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let mut jobs = Vec::new();
    let lane: Lane = {
        let pool = pool(1);
        jobs.push(pool.run_blocking(gate.job(())));
        for _ in 0..10 {
            let ran = Arc::clone(&ran);
            jobs.push(pool.run_blocking(move || {
                ran.fetch_add(1, SeqCst);
            }));
        }
        pool.lane(1, 1).unwrap()
    };
    jobs.push(lane.run_blocking(|| ()));
    drop(lane);
    gate.open();
    for mut job in jobs {
        job.wait().unwrap();
    }
    assert_eq!(ran.load(SeqCst), 10);
}

#[test]
fn numbers_that_make_no_pool_are_refused_and_large_ones_are_no_harm() {
    let _guard = guard!();
    let builder = ThreadPool::builder;
    assert_eq!(
        builder().max_threads(0).build().unwrap_err(),
        BuildError::NoThreads
    );
    assert_eq!(builder().queue(0).build().unwrap_err(), BuildError::NoRoom);
    let named = builder().name("a\0b").build();
    assert!(matches!(named, Err(BuildError::InvalidName(_))));
    let invalid = Runner::builder()
        .thread_pool(builder().max_threads(0))
        .build();
    assert!(
        invalid
            .unwrap_err()
            .to_string()
            .contains("at least one thread")
    );
    let many = builder()
        .max_threads(1_000_000)
        .queue(usize::MAX)
        .build()
        .unwrap();
    assert_eq!(many.lane(0, 1).unwrap_err(), BuildError::NoThreads);
    assert_eq!(many.lane(1, 0).unwrap_err(), BuildError::NoRoom);
    let lane = many.lane(usize::MAX, 1).unwrap();
    assert_eq!(lane.run_blocking(|| 7).wait().unwrap(), 7);
    assert_eq!(many.stats().threads, 1, "as many as there is work for");
}

/// R115: a thread that the system refuses is an error of the submission, if the pool has no other; the next
/// one may succeed.
#[test]
fn a_thread_that_cannot_be_started_is_an_error_and_not_a_job_that_nothing_runs() {
    let _guard = guard!();
    let pool = ThreadPool::builder().stack_size(1 << 60).build().unwrap();
    for _ in 0..2 {
        let refused = pool.try_submit(|| 7).unwrap_err();
        assert!(matches!(refused, SubmitError::NoThread(..)), "{refused:?}");
        assert_eq!(refused.into_inner()(), 7);
        let mut job = pool.run_blocking(|| 7);
        let error = job.wait().unwrap_err();
        assert!(
            error.to_string().contains("no thread can be started"),
            "{error}"
        );
    }
    let stats = pool.stats();
    assert_eq!((stats.threads, stats.queued), (0, 0));
    on_loop(async {
        assert!(matches!(
            pool.submit(|| 7).await,
            Err(SubmitError::NoThread(..))
        ));
        pool.shutdown(QueuedJobs::Run, LONG).await.unwrap();
    });
}

/// P3: threads come with the jobs, are used again, and end after the idle time.
#[test]
fn threads_are_started_for_jobs_named_and_end_when_they_are_idle() {
    let _guard = guard!();
    let builder = ThreadPool::builder().max_threads(3).name("works");
    let pool = builder.idle_time(Duration::ZERO).build().unwrap();
    assert_eq!(pool.stats().threads, 0);
    let gate = Gate::default();
    let mut jobs: Vec<_> = (0..3).map(|_| pool.run_blocking(gate.job(()))).collect();
    gate.await_jobs(3);
    assert_eq!(pool.stats().threads, 3);
    let mut name = pool.run_blocking(|| thread::current().name().map(str::to_owned));
    gate.open();
    let name = name.wait().unwrap().unwrap();
    assert!(
        ["works-0", "works-1", "works-2"].contains(&&*name),
        "{name}"
    );
    for job in &mut jobs {
        job.wait().unwrap();
    }
    while pool.stats().threads > 0 {
        thread::yield_now();
    }
    assert_eq!(
        pool.run_blocking(|| 7).wait().unwrap(),
        7,
        "R256: a new one comes"
    );
}

/// R254: a thread of a pool blocks the signals of the process, so no handler runs there.
#[cfg(target_os = "linux")]
#[test]
fn a_thread_of_a_pool_takes_no_signal_of_the_process() {
    let _guard = guard!();
    let blocked = || {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("SigBlk:"))
            .unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    let bit = |signal: i32| 1_u64 << (signal - 1);
    let mask = pool(1).run_blocking(blocked).wait().unwrap();
    for signal in [
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGUSR1,
        libc::SIGCHLD,
        libc::SIGALRM,
    ] {
        assert!(mask & bit(signal) != 0, "{signal}");
    }
    assert!(mask & bit(libc::SIGSEGV) == 0);
    let alone = run_on_thread("alone", blocked).unwrap().wait().unwrap();
    assert_eq!(alone, mask);
    assert!(blocked() & bit(libc::SIGTERM) == 0, "ours is as it was");
}

/// R255: a chain of jobs, each submitted by the end of the last: a run ends after the last callback.
#[test]
fn a_run_ends_after_the_last_job_of_a_chain_of_callbacks() {
    fn next(handle: &readily::LoopHandle, left: u32, ended: Rc<Cell<u32>>) {
        handle.run_blocking_with(
            move || left - 1,
            move |handle, left| {
                ended.set(ended.get() + 1);
                match left.unwrap() {
                    0 => {}
                    left => next(handle, left, ended),
                }
            },
        );
    }
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let ended = Rc::new(Cell::new(0));
    next(&event_loop, 1000, Rc::clone(&ended));
    event_loop.run().unwrap();
    assert_eq!(ended.get(), 1000);
}

#[test]
fn a_callback_gets_the_result_or_is_dropped_with_its_job() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    event_loop.set_thread_pool(pool(1));
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (gate, drops) = (Gate::default(), Drops::default());
    let note = |name: &'static str| {
        let seen = Rc::clone(&seen);
        move |_: &readily::LoopHandle, result: Result<(), JoinError>| {
            seen.borrow_mut().push((name, result.is_ok()));
        }
    };
    event_loop.run_blocking_with(gate.job(()), note("first"));
    let value = drops.value();
    let queued = event_loop.run_blocking_with(move || drop(value), note("cancelled"));
    event_loop.run_blocking_with(|| panic!("on purpose"), note("panics"));
    event_loop.turn_now().unwrap();
    queued.cancel();
    assert_eq!(
        drops.threads(),
        [thread::current().id()],
        "it has not started"
    );
    gate.open();
    event_loop.run().unwrap();
    assert_eq!(*seen.borrow(), [("first", true), ("panics", false)]);
}

/// In debug mode a run that waits for a thread is no deadlock.
#[test]
fn a_loop_that_waits_for_a_job_is_not_reported_as_a_deadlock() {
    let _guard = guard!();
    let mut runner = Runner::builder().debug(true).build().unwrap();
    runner.set_slow_callback(LONG);
    let reports = collect_unhandled(&runner);
    let gate = Gate::default();
    let (opens, job) = (gate.clone(), gate.job(7));
    let ended = runner.run(async move {
        let job = run_blocking(job);
        let opener = thread::spawn(move || opens.open());
        let ended = job.await.unwrap();
        opener.join().unwrap();
        ended
    });
    assert_eq!((ended.unwrap(), reports.len()), (7, 0));
}

/// R243: the end of a loop cancels the jobs that wait, and waits for those that run, up to its limit; then it
/// reports them.
#[test]
fn a_loop_that_ends_waits_for_running_jobs_up_to_its_limit() {
    let _guard = guard!();
    let queue = || ThreadPool::builder().max_threads(1);
    for opens in [true, false] {
        let limit = if opens {
            LONG
        } else {
            Duration::from_millis(1)
        };
        let builder = Runner::builder()
            .thread_pool(queue())
            .shutdown_timeout(limit);
        let mut runner = builder.build().unwrap();
        let reports = collect_unhandled(&runner);
        let (gate, ran) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
        let pool = runner.thread_pool();
        let also = Arc::clone(&ran);
        let line = line!() + 1;
        let running = pool.run_blocking(gate.job(()));
        gate.await_jobs(1);
        let mut queued = pool.run_blocking(move || also.fetch_add(1, SeqCst));
        runner.run(async {}).unwrap();
        let opener = opens.then(|| {
            let (gate, pool) = (gate.clone(), pool.clone());
            thread::spawn(move || {
                // When the loop has begun to end, it has cancelled the queued job.
                while pool.try_submit(|| ()).is_ok() {
                    thread::yield_now();
                }
                gate.open();
            })
        });
        drop(runner);
        assert_eq!(running.done(), opens);
        match opens {
            true => assert_eq!(reports.text(), ""),
            false => {
                let site = format!("tests/it/pools.rs:{line}:");
                assert!(reports.text().contains(&site), "{}", reports.text());
            }
        }
        if let Some(opener) = opener {
            opener.join().unwrap();
        }
        assert!(
            matches!(
                queued.wait(),
                Err(WaitError::Join(JoinError::CancelledFor(_)))
            ) || opens
        );
        gate.open();
        pool.shutdown_blocking(QueuedJobs::Cancel, LONG).unwrap();
    }
}

/// R250: idle threads do not keep a loop, or the process, from ending.
#[test]
fn idle_threads_do_not_delay_the_end() {
    let _guard = guard!();
    let pool = ThreadPool::builder().idle_time(LONG);
    let builder = Runner::builder().thread_pool(pool).shutdown_timeout(LONG);
    let mut runner = builder.build().unwrap();
    runner
        .run(gather((0..8).map(|_| run_blocking(|| ()))))
        .unwrap();
    let pool = runner.thread_pool();
    assert!(pool.stats().threads > 0);
    drop(runner);
    assert_eq!(pool.stats().threads, 0);
}

/// R242: a panic of the main future leaves the run at once, though a job still runs.
#[test]
fn a_panic_of_the_main_future_does_not_wait_for_a_job() {
    let _guard = guard!();
    let gate = Gate::default();
    let inside = gate.clone();
    let job = gate.job(());
    let unwound = catch_unwind(move || {
        readily::run(async move {
            let _job = run_blocking(job);
            inside.await_jobs(1);
            panic!("on purpose");
        })
    });
    assert_eq!(unwound.unwrap_err().downcast_ref(), Some(&"on purpose"));
    gate.open();
}

/// A pool that several loops share goes on when one of them ends.
#[test]
fn a_shared_pool_outlives_a_loop_that_uses_it() {
    let _guard = guard!();
    let pool = pool(2);
    for n in 0..3 {
        let runner = strict_runner();
        runner.set_thread_pool(pool.clone());
        let mut runner = runner;
        assert_eq!(
            runner
                .run(async move { run_blocking(move || n).await })
                .unwrap()
                .unwrap(),
            n
        );
        drop(runner.close());
    }
    assert_eq!(pool.run_blocking(|| 7).wait().unwrap(), 7);
}

#[test]
fn a_job_outside_a_loop_needs_a_pool_of_its_own() {
    let _guard = guard!();
    let panicked = catch_unwind(|| run_blocking(|| 7)).unwrap_err();
    let message = panicked.downcast_ref::<&str>().expect("a text");
    assert!(message.contains("ThreadPool"), "{message}");
    // On another thread, awaited on a loop that has nothing to do with it.
    let pool = ThreadPool::new();
    let job = thread::spawn(move || pool.run_blocking(|| 7))
        .join()
        .unwrap();
    assert_eq!(on_loop(job).unwrap(), 7);
}

/// Values that are not `Send` stay on the loop; the future of a job is.
#[test]
fn the_future_of_a_job_may_go_to_another_thread() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let _guard = guard!();
    let mut event_loop = EventLoop::new().unwrap();
    let job = is_send(event_loop.thread_pool().run_blocking(|| vec![7]));
    let waits = thread::spawn(move || {
        let mut job = job;
        job.wait().unwrap()
    });
    assert_eq!(waits.join().unwrap(), [7]);
    event_loop.run().unwrap();
}

#[test]
fn unhandled_jobs_have_a_text() {
    let _guard = guard!();
    let sites = vec![std::panic::Location::caller()];
    let waited = Duration::from_secs(5);
    let text = Unhandled::JobsLeft { sites, waited }.to_string();
    assert!(
        text.contains("5s") && text.contains("tests/it/pools.rs"),
        "{text}"
    );
}
