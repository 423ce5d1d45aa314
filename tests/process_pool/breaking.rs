//! What programs, jobs and systems do to a pool that they should not.
//!
//! The unsafe calls are those of jobs that do what only broken code does.
#![allow(unsafe_code)]

use super::{JOBS, build, has_ended, pool, signal, sleeps, square, with, worker_id};
use readily::process_pool::{
    Cancel, JobError, JobHandle, ProcessPool, Shutdown, StartError, WorkerOutput,
};
use readily::{EventLoop, all_tasks, gather, run, sleep, wait_for, yield_now};
use readily_testing::poll_once;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::time::Duration;

/// A guard against hanging, not a measure.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    wait_for(limit, what).await.expect("it hangs")
}

/// Waits until a worker runs the job.
async fn begun<T>(job: &JobHandle<T>) {
    soon(async {
        while !job.running() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// An initializer that never ends.
pub(super) fn never_ready((): ()) -> Result<(), String> {
    std::thread::sleep(Duration::from_secs(600));
    Ok(())
}

pub(super) fn a_worker_that_is_being_started_does_not_hold_up_a_shutdown() {
    let slow = ProcessPool::builder(JOBS)
        .workers(1)
        .initializer(never_ready);
    with(build(slow), async |pool| {
        let first = pool.submit(square, 1);
        let second = pool.submit(square, 2);
        soon(async {
            while pool.stats().workers == 0 {
                yield_now().await;
            }
        })
        .await;
        sleep(Duration::from_millis(50)).await;
        soon(pool.shutdown(Shutdown::Kill)).await;
        assert!(matches!(first.await, Err(JobError::ShutDown)));
        assert!(matches!(second.await, Err(JobError::ShutDown)));
    });
}

/// A job whose worker is being started waits for it, so a shutdown that kills removes it.
pub(super) fn a_shutdown_removes_the_job_that_a_worker_is_started_for() {
    let file = std::env::temp_dir().join(format!("readily-started-{}", std::process::id()));
    with(pool(1), async |pool| {
        let job = pool.submit(super::notes, (file.clone(), 1));
        yield_now().await;
        assert!(!job.running());
        soon(pool.shutdown(Shutdown::Kill)).await;
        assert!(matches!(job.await, Err(JobError::ShutDown)));
    });
    assert!(!file.exists());
}

/// A job that is cancelled, or whose handle is dropped, while its worker is started is not sent to it, and the next one
/// is.
pub(super) fn a_job_that_is_cancelled_while_its_worker_is_started_does_not_run() {
    let file = std::env::temp_dir().join(format!("readily-early-{}", std::process::id()));
    for is_dropped in [false, true] {
        with(pool(1), async |pool| {
            let job = pool.submit(super::notes, (file.clone(), 1));
            yield_now().await;
            assert!(!job.running());
            if is_dropped {
                drop(job);
            } else {
                assert!(job.cancel(Cancel::LetRun));
                assert!(matches!(soon(job).await, Err(JobError::Cancelled)));
            }
            assert_eq!(soon(pool.submit(square, 3)).await.unwrap(), 9);
            let stats = pool.stats();
            assert_eq!((stats.started, stats.died), (1, 0));
        });
    }
    assert!(!file.exists());
}

pub(super) fn dropping_the_pool_removes_the_job_that_a_worker_is_started_for() {
    let file = std::env::temp_dir().join(format!("readily-dropped-{}", std::process::id()));
    run(async {
        let pool = pool(1);
        let job = pool.submit(super::notes, (file.clone(), 1));
        yield_now().await;
        drop(pool);
        assert!(matches!(soon(job).await, Err(JobError::ShutDown)));
    })
    .unwrap();
    assert!(!file.exists());
}

pub(super) fn an_idle_worker_that_is_stopped_does_not_hold_up_a_shutdown() {
    with(pool(1), async |pool| {
        let id = soon(pool.submit(worker_id, ())).await.unwrap();
        signal("-STOP", id);
        soon(pool.shutdown(Shutdown::Kill)).await;
    });
    // And if a drain was given up before.
    with(pool(1), async |pool| {
        let id = soon(pool.submit(worker_id, ())).await.unwrap();
        signal("-STOP", id);
        // Whether it is given up in time is not what is tested: the worker may end before it stops.
        let drain = pool.shutdown(Shutdown::Drain);
        let _ = wait_for(Duration::from_millis(20), drain).await;
        soon(pool.shutdown(Shutdown::Kill)).await;
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    });
}

/// The file in which the workers of a process note their numbers.
fn list_of_workers(program: u32) -> PathBuf {
    std::env::temp_dir().join(format!("readily-hung-{program}"))
}

/// An initializer that notes the number of its worker, and never ends.
pub(super) fn hangs((): ()) -> Result<(), String> {
    let number = u64::from(std::process::id());
    super::notes((list_of_workers(parent_id()), number));
    never_ready(())
}

pub(super) fn a_worker_that_never_becomes_one_is_killed() {
    let limit = Duration::from_millis(300);
    let builder = ProcessPool::builder(JOBS).workers(1).initializer(hangs);
    with(build(builder.start_limit(limit)), async |pool| {
        let error = soon(pool.submit(square, 1)).await.unwrap_err();
        let JobError::Start(why) = &error else {
            panic!("{error}")
        };
        assert!(matches!(**why, StartError::TimedOut(_)), "{error}");
        let list = list_of_workers(std::process::id());
        let workers = std::fs::read_to_string(&list).unwrap();
        std::fs::remove_file(list).unwrap();
        for worker in workers.lines() {
            soon(async {
                while !has_ended(worker) {
                    sleep(Duration::from_millis(1)).await;
                }
            })
            .await;
        }
    });
}

/// A worker that a job stops never answers; cancelling kills it all the same.
pub(super) fn stops_itself((): ()) {
    signal("-STOP", std::process::id());
}

pub(super) fn a_job_that_stops_its_worker_can_be_killed() {
    with(pool(1), async |pool| {
        let stopped = pool.submit(stops_itself, ());
        begun(&stopped).await;
        sleep(Duration::from_millis(20)).await;
        assert!(stopped.cancel(Cancel::Kill));
        assert!(matches!(soon(stopped).await, Err(JobError::Cancelled)));
        assert_eq!(soon(pool.submit(square, 2)).await.unwrap(), 4);
    });
}

/// Closes each descriptor, as a daemon does.
pub(super) fn closes_all((): ()) -> u8 {
    for fd in 3..1024 {
        // SAFETY: the worker's own is closed behind its back, which is what this is about.
        let _ = unsafe { libc::close(fd) };
    }
    7
}

/// The same, and then opens a file, which has the number of the socket.
pub(super) fn closes_all_and_opens((): ()) -> u8 {
    closes_all(());
    let file = std::fs::File::open("/dev/zero").unwrap();
    std::mem::forget(file);
    7
}

pub(super) fn becomes_another_program((): ()) {
    let _ = Command::new("sleep").arg("600").exec();
}

pub(super) fn forks_and_returns((): ()) -> u32 {
    // SAFETY: the worker has a second thread, which does not matter to a child that only returns.
    let pid = unsafe { libc::fork() };
    if pid > 0 {
        let mut status = 0;
        // SAFETY: the child that was just made.
        let _ = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    }
    std::process::id()
}

pub(super) fn a_job_that_breaks_its_worker_harms_no_other() {
    with(pool(1), async |pool| {
        assert!(matches!(
            soon(pool.submit(closes_all, ())).await,
            Err(JobError::WorkerDied(_))
        ));
        assert_eq!(soon(pool.submit(square, 2)).await.unwrap(), 4);
        let error = soon(pool.submit(closes_all_and_opens, ()))
            .await
            .unwrap_err();
        assert!(matches!(error, JobError::WorkerDied(_)), "{error}");
        assert_eq!(soon(pool.submit(square, 2)).await.unwrap(), 4);
        let error = soon(pool.submit(becomes_another_program, ()))
            .await
            .unwrap_err();
        assert!(matches!(error, JobError::WorkerDied(_)), "{error}");
        assert_eq!(soon(pool.submit(square, 2)).await.unwrap(), 4);
        let me = soon(pool.submit(worker_id, ())).await.unwrap();
        assert_eq!(soon(pool.submit(forks_and_returns, ())).await.unwrap(), me);
        for number in 0..10 {
            assert_eq!(
                soon(pool.submit(square, number)).await.unwrap(),
                number * number
            );
        }
    });
}

pub(super) fn a_pool_serves_one_run_after_another() {
    let pool = pool(1);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(run(async { soon(pool.submit(worker_id, ())).await.unwrap() }).unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
    // A job that a run left in the queue, or on a worker.
    let (running, queued) = run(async {
        let jobs = (
            pool.submit(sleeps, Duration::from_secs(600)),
            pool.submit(square, 3),
        );
        begun(&jobs.0).await;
        jobs
    })
    .unwrap();
    run(async {
        assert!(matches!(soon(running).await, Err(JobError::ShutDown)));
        assert!(matches!(soon(queued).await, Err(JobError::ShutDown)));
        assert_eq!(soon(pool.submit(square, 4)).await.unwrap(), 16);
        soon(pool.shutdown(Shutdown::Drain)).await;
    })
    .unwrap();
}

/// The pool outlives its loop, its workers do not, and each loop that is closed looks for what is left of them.
pub(super) fn workers_end_with_the_loop_of_their_pool() {
    let pool = pool(2);
    let ids = run(async {
        let jobs = gather((pool.submit(worker_id, ()), pool.submit(worker_id, ())));
        let (one, other) = soon(jobs).await;
        [one.unwrap(), other.unwrap()]
    })
    .unwrap();
    assert_eq!(pool.stats().workers, 0);
    for id in ids {
        while Path::new(&format!("/proc/{id}")).exists() {
            drop(EventLoop::new().unwrap());
        }
    }
}

pub(super) fn a_pool_is_not_used_from_a_nested_loop() {
    with(pool(1), async |pool| {
        assert_eq!(soon(pool.submit(square, 3)).await.unwrap(), 9);
        let nested = EventLoop::new().unwrap();
        let entered = nested.enter();
        let refused = pool.try_submit(square, 3).unwrap_err().error;
        drop(entered);
        assert!(matches!(refused, JobError::OtherLoop), "{refused}");
        assert_eq!(soon(pool.submit(square, 3)).await.unwrap(), 9);
    });
}

/// A job that has a pool of its own.
pub(super) fn squares_in_a_pool(numbers: Vec<u64>) -> Vec<u64> {
    let pool = pool(2);
    run(async {
        let all = pool.map(square, numbers).collect().await.unwrap();
        pool.shutdown(Shutdown::Drain).await;
        all
    })
    .unwrap()
}

pub(super) fn a_job_may_have_a_pool_of_its_own() {
    with(pool(1), async |pool| {
        let all = soon(pool.submit(squares_in_a_pool, vec![1, 2, 3]))
            .await
            .unwrap();
        assert_eq!(all, [1, 4, 9]);
    });
}

pub(super) fn cancelling_all_tasks_ends_the_jobs_of_a_pool() {
    with(pool(1), async |pool| {
        let running = pool.submit(sleeps, Duration::from_secs(600));
        let queued = pool.submit(square, 2);
        begun(&running).await;
        let here = readily::current_task().unwrap();
        for task in all_tasks() {
            if task != here {
                task.cancel();
            }
        }
        assert!(matches!(soon(running).await, Err(JobError::Cancelled)));
        assert_eq!(soon(queued).await.unwrap(), 4);
        assert_eq!(soon(pool.submit(square, 3)).await.unwrap(), 9);
    });
}

/// Prints more than any pipe holds.
pub(super) fn prints_much((): ()) -> u8 {
    let line = "a line that nothing reads ".repeat(40);
    for _ in 0..4000 {
        println!("{line}");
    }
    7
}

pub(super) fn a_job_may_print_megabytes() {
    let quiet = ProcessPool::builder(JOBS)
        .workers(1)
        .stdout(WorkerOutput::Null);
    with(build(quiet), async |pool| {
        assert_eq!(soon(pool.submit(prints_much, ())).await.unwrap(), 7);
        assert_eq!(soon(pool.submit(square, 2)).await.unwrap(), 4);
    });
}

pub(super) fn many_workers_are_no_harm() {
    with(pool(1_000_000), async |pool| {
        assert_eq!(soon(pool.submit(square, 2)).await.unwrap(), 4);
        assert_eq!(pool.stats().started, 1);
        let endless = pool.map(square, 0..);
        assert!(
            format!("{endless:?}").contains("buffer: 256"),
            "{endless:?}"
        );
        assert_eq!(soon(endless.buffer(1).next()).await.unwrap().unwrap(), 0);
    });
}

/// The parts of this program that a test starts as a program of its own, and what they are to print.
pub(super) const PROGRAMS: [(&str, fn()); 5] = [
    ("--late", late),
    ("--forks", forks),
    ("--without-descriptors", without_descriptors),
    ("--retries", retries),
    ("--prints", prints),
];

/// Runs such a part, in a shell that starts it by `how`, and returns what it has printed.
fn program(part: &str, how: &str) -> String {
    let me = std::env::current_exe().unwrap();
    let ran = Command::new("sh")
        .args(["-c", how])
        .env("ME", me)
        .env("PART", part)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    String::from_utf8(ran.stdout).unwrap()
}

/// Set for a program whose workers do not get to `init`.
const LATE: &str = "READILY_LATE_INIT";

/// A worker of [`late`]: does something else before it would come to `init`.
pub(super) fn before_init() {
    let is_worker = std::env::args()
        .nth(1)
        .is_some_and(|first| first == "--readily-worker");
    if let (Some(list), true) = (std::env::var_os(LATE), is_worker) {
        super::notes((list.into(), u64::from(std::process::id())));
        // It has the output of the program, whose reader waits for both.
        let program = parent_id();
        while parent_id() == program {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn late() {
    let limit = Duration::from_millis(300);
    let builder = ProcessPool::builder(JOBS).workers(1).start_limit(limit);
    with(build(builder), async |pool| {
        let error = soon(pool.submit(square, 1)).await.unwrap_err();
        assert!(
            error.to_string().contains("is process_pool::init called"),
            "{error}"
        );
        // Looked at here, because the end of the pool kills what it has started.
        let workers = std::fs::read_to_string(std::env::var_os(LATE).unwrap()).unwrap();
        let all_have_ended = async {
            while !workers.lines().all(has_ended) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        soon(all_have_ended).await;
    });
    println!("refused");
}

pub(super) fn a_worker_that_does_not_get_to_init_is_killed() {
    let list = std::env::temp_dir().join(format!("readily-late-{}", std::process::id()));
    let how = format!("{LATE}={} exec \"$ME\" $PART", list.display());
    assert_eq!(program("--late", &how), "refused\n");
    let workers = std::fs::read_to_string(&list).unwrap();
    std::fs::remove_file(list).unwrap();
    assert_eq!(workers.lines().count(), 3);
}

fn forks() {
    with(pool(1), async |pool| {
        let id = soon(pool.submit(worker_id, ())).await.unwrap();
        // SAFETY: this process has one thread.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let refused = pool.try_submit(square, 3).unwrap_err().error;
            let is_right = matches!(refused, JobError::Forked);
            // What the drop of the pool does.
            let waits = poll_once(&mut pin!(pool.shutdown(Shutdown::Kill))).is_pending();
            // SAFETY: ends the child here.
            unsafe { libc::_exit(i32::from(!is_right) + 2 * i32::from(waits)) };
        }
        let mut status = 0;
        // SAFETY: the child that was just made.
        let _ = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0);
        assert_eq!(soon(pool.submit(worker_id, ())).await.unwrap(), id);
    });
    println!("forked");
}

pub(super) fn a_forked_child_is_refused_and_leaves_the_workers_alone() {
    assert_eq!(program("--forks", "exec \"$ME\" $PART"), "forked\n");
}

/// Sets the limit of open descriptors.
fn limit_descriptors(soft: libc::rlim_t) -> libc::rlim_t {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a place for it.
    assert_eq!(
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) },
        0
    );
    let before = limit.rlim_cur;
    limit.rlim_cur = soft;
    // SAFETY: it was set.
    assert_eq!(
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) },
        0
    );
    before
}

fn without_descriptors() {
    with(pool(2), async |pool| {
        let before = limit_descriptors(3);
        let jobs = gather((0..3).map(|number| pool.submit(square, number))).await;
        for job in jobs {
            let error = job.unwrap_err();
            assert!(error.to_string().contains("Too many open files"), "{error}");
        }
        limit_descriptors(before);
        assert_eq!(soon(pool.submit(square, 3)).await.unwrap(), 9);
    });
    println!("refused");
}

pub(super) fn without_descriptors_jobs_end_with_the_error_and_later_ones_run() {
    let how = "exec \"$ME\" $PART";
    assert_eq!(program("--without-descriptors", how), "refused\n");
}

/// A shortage that has ended: a job does not wait for the worker of another.
fn retries() {
    with(pool(2), async |pool| {
        let long = pool.submit(sleeps, Duration::from_secs(600));
        begun(&long).await;
        let before = limit_descriptors(3);
        let jobs: Vec<_> = (0..20).map(|number| pool.submit(square, number)).collect();
        sleep(Duration::from_millis(300)).await;
        assert!(!jobs[0].done() && pool.stats().workers == 2);
        limit_descriptors(before);
        for (number, job) in (0..).zip(jobs) {
            assert_eq!(soon(job).await.unwrap(), number * number);
        }
        assert!(long.running());
    });
    println!("retried");
}

pub(super) fn a_worker_that_the_system_refuses_is_started_later() {
    assert_eq!(program("--retries", "exec \"$ME\" $PART"), "retried\n");
}

fn prints() {
    with(pool(1), async |pool| {
        match soon(pool.submit(super::prints, ())).await {
            Ok(_) => println!("printed"),
            Err(JobError::Panicked(_)) => println!("panicked"),
            Err(error) => println!("{error}"),
        }
        assert_eq!(soon(pool.submit(square, 3)).await.unwrap(), 9);
    });
}

pub(super) fn closed_and_full_standard_streams_cost_no_worker() {
    let closed = program("--prints", "exec \"$ME\" $PART 2>&- <&-");
    assert_eq!(closed, "printed\n");
    // Printing to a full disk panics.
    let full = program("--prints", "exec \"$ME\" $PART 2>/dev/full");
    assert!(full == "panicked\n" || full == "printed\n", "{full}");
}

/// Starts a process, notes its number, and waits for it.
pub(super) fn has_a_child(list: PathBuf) {
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    super::notes((list, u64::from(child.id())));
    let _ = child.wait();
}

pub(super) fn the_processes_of_a_killed_job_are_killed_with_it() {
    let list = std::env::temp_dir().join(format!("readily-children-{}", std::process::id()));
    with(pool(1), async |pool| {
        let job = pool.submit(has_a_child, list.clone());
        let noted = async {
            loop {
                match std::fs::read_to_string(&list) {
                    Ok(text) if text.ends_with('\n') => break text,
                    _ => sleep(Duration::from_millis(1)).await,
                }
            }
        };
        let child = soon(noted).await;
        assert!(job.cancel(Cancel::Kill));
        assert!(matches!(soon(job).await, Err(JobError::Cancelled)));
        soon(async {
            while !has_ended(child.trim()) {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    });
    std::fs::remove_file(list).unwrap();
}

/// The tests of this page.
pub(super) fn all() -> Vec<(&'static str, fn())> {
    let all = tests![
        a_worker_that_is_being_started_does_not_hold_up_a_shutdown,
        a_shutdown_removes_the_job_that_a_worker_is_started_for,
        dropping_the_pool_removes_the_job_that_a_worker_is_started_for,
        a_job_that_is_cancelled_while_its_worker_is_started_does_not_run,
        an_idle_worker_that_is_stopped_does_not_hold_up_a_shutdown,
        a_worker_that_never_becomes_one_is_killed,
        a_job_that_stops_its_worker_can_be_killed,
        a_job_that_breaks_its_worker_harms_no_other,
        a_pool_serves_one_run_after_another,
        workers_end_with_the_loop_of_their_pool,
        a_pool_is_not_used_from_a_nested_loop,
        a_job_may_have_a_pool_of_its_own,
        cancelling_all_tasks_ends_the_jobs_of_a_pool,
        the_processes_of_a_killed_job_are_killed_with_it,
        a_job_may_print_megabytes,
        many_workers_are_no_harm,
        a_worker_that_does_not_get_to_init_is_killed,
        a_forked_child_is_refused_and_leaves_the_workers_alone,
        without_descriptors_jobs_end_with_the_error_and_later_ones_run,
        a_worker_that_the_system_refuses_is_started_later,
        closed_and_full_standard_streams_cost_no_worker,
    ];
    all.into()
}
