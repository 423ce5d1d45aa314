//! The process pool, with real workers. A worker is this program, started again, so `main` is ours, and the
//! tests are run by `libtest-mimic`.
//!
//! Rules: P6, P7, P8.

// Jobs block: that is what the pool is for. And a guard against hanging outside a loop reads the system's clock.
#![allow(clippy::disallowed_methods)]

/// The tests, with their names.
macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        [$((stringify!($test), $test as fn())),*]
    };
}

#[path = "process_pool/breaking.rs"]
mod breaking;

use libtest_mimic::{Arguments, Failed, Trial};
use readily::process_pool::{
    self, Cancel, JobError, JobTable, ProcessPool, ProcessPoolBuilder, Shutdown, StartError, Wire,
    WireError, WorkerOutput,
};
use readily::{gather, jobs, run, sleep};
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

fn square(number: u64) -> u64 {
    number * number
}

fn length(bytes: Vec<u8>) -> u64 {
    bytes.len() as u64
}

fn fill(len: u64) -> Vec<u8> {
    vec![7; len as usize]
}

fn fails(text: String) -> Result<(), String> {
    Err(text)
}

fn panics(text: String) {
    std::panic::resume_unwind(Box::new(text));
}

/// Ends the worker in the middle of a job.
fn ends(how: String) {
    match &*how {
        "exit 0" => std::process::exit(0),
        "exit 3" => std::process::exit(3),
        "abort" => std::process::abort(),
        _ => kill_self(),
    }
}

fn kill_self() {
    let id = std::process::id().to_string();
    let _ = std::process::Command::new("kill")
        .args(["-9", &id])
        .stderr(Stdio::null()) // of a second one
        .status();
    std::thread::sleep(Duration::from_secs(60));
}

fn sleeps(time: Duration) {
    std::thread::sleep(time);
}

fn worker_id((): ()) -> u32 {
    std::process::id()
}

/// Appends a line to a file, so that each run of a job is counted.
fn notes((file, number): (PathBuf, u64)) -> u64 {
    use std::io::Write;
    let file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(file);
    // One write: another worker appends, too.
    file.unwrap()
        .write_all(format!("{number}\n").as_bytes())
        .unwrap();
    number
}

/// The same; but some jobs kill their worker: before or after they have noted their number, or at some
/// moment after that, when it may be in the middle of its answer, or of another job.
fn notes_or_dies((file, number): (PathBuf, u64)) -> u64 {
    if number % 97 == 5 {
        kill_self();
    }
    if number % 29 == 11 {
        std::thread::spawn(move || {
            let moment = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54; // below 1024
            std::thread::sleep(Duration::from_micros(moment));
            kill_self();
        });
    }
    let noted = notes((file, number));
    if number % 101 == 7 {
        kill_self();
    }
    noted
}

/// Writes to standard output without a newline, and lets a child do the same.
fn prints((): ()) -> u8 {
    print!("half a line");
    let _ = std::process::Command::new("echo").arg("noise").status();
    let mut input = String::new();
    std::io::stdin().read_line(&mut input).unwrap() as u8
}

/// Starts a process that keeps what it inherits open, and dies.
fn leaves_a_grandchild((): ()) {
    let _ = std::process::Command::new("sleep").arg("600").spawn();
    kill_self();
}

fn not_in_the_table((): ()) {}

fn works((): ()) -> Result<(), String> {
    Ok(())
}

fn refuses((): ()) -> Result<(), String> {
    Err("no model".into())
}

const JOBS: JobTable = jobs![
    square,
    length,
    fill,
    fails,
    panics,
    ends,
    sleeps,
    worker_id,
    notes,
    prints,
    leaves_a_grandchild,
    notes_or_dies,
    halve,
    ten,
    shared_descriptors,
    process_group,
    slow_id,
    works,
    refuses,
    breaking::never_ready,
    breaking::hangs,
    breaking::stops_itself,
    breaking::closes_all,
    breaking::closes_all_and_opens,
    breaking::becomes_another_program,
    breaking::forks_and_returns,
    breaking::squares_in_a_pool,
    breaking::prints_much,
    breaking::has_a_child,
];

fn pool(workers: usize) -> ProcessPool {
    build(ProcessPool::builder(JOBS).workers(workers))
}

fn build(builder: ProcessPoolBuilder) -> ProcessPool {
    builder.build().unwrap()
}

/// Runs `test` on a loop, and ends the pool's workers.
fn with(pool: ProcessPool, test: impl AsyncFnOnce(&ProcessPool)) {
    run(async {
        test(&pool).await;
        pool.shutdown(Shutdown::Kill).await;
        assert_eq!(pool.stats().workers, 0);
    })
    .unwrap();
}

fn a_job_gives_its_result() {
    with(pool(1), async |pool| {
        assert_eq!(pool.submit(square, 12).await.unwrap(), 144);
        assert_eq!(
            pool.submit(length, vec![0; 100_000]).await.unwrap(),
            100_000
        );
        assert_eq!(
            pool.submit(fails, "no".into()).await.unwrap(),
            Err("no".into())
        );
        assert_eq!(pool.stats().started, 1);
    });
}

fn jobs_run_at_the_same_time_and_no_more_than_workers() {
    with(pool(2), async |pool| {
        let ids = gather((0..6).map(|_| pool.submit(worker_id, ()))).await;
        let mut ids: Vec<_> = ids.into_iter().map(Result::unwrap).collect();
        ids.sort_unstable();
        ids.dedup();
        assert!((1..=2).contains(&ids.len()), "{ids:?}");
        assert!(pool.stats().started <= 2);
    });
}

fn map_keeps_the_order_and_draws_no_more_than_its_buffer() {
    with(pool(2), async |pool| {
        let drawn = std::cell::Cell::new(0);
        let numbers = (0u64..).inspect(|_| drawn.set(drawn.get() + 1));
        let mut squares = pool.map(square, numbers).buffer(5);
        for number in 0..10 {
            assert_eq!(squares.next().await.unwrap().unwrap(), number * number);
        }
        assert_eq!(drawn.get(), 14);
        drop(squares);
        let all: Vec<u64> = pool.map(square, 0..100).collect().await.unwrap();
        assert_eq!(all, (0..100).map(|n| n * n).collect::<Vec<_>>());
    });
}

fn a_panic_is_the_jobs_and_its_worker_goes_on() {
    with(pool(1), async |pool| {
        let panicked = pool.submit(panics, "planted".into()).await.unwrap_err();
        assert!(matches!(&panicked, JobError::Panicked(text) if text == "planted"));
        assert_eq!(pool.submit(square, 3).await.unwrap(), 9);
        assert_eq!(pool.stats().started, 1);
    });
}

fn any_end_of_a_worker_ends_its_job_alone() {
    with(pool(1), async |pool| {
        for (how, text) in [
            ("exit 0", "exit status: 0"),
            ("exit 3", "exit status: 3"),
            ("abort", "signal: 6"),
            ("kill", "signal: 9"),
        ] {
            let ended = pool.submit(ends, how.into());
            let next = pool.submit(square, 5);
            let error = ended.await.unwrap_err();
            assert!(matches!(error, JobError::WorkerDied(_)), "{error:?}");
            assert!(error.to_string().contains(text), "{error}");
            assert_eq!(next.await.unwrap(), 25);
        }
        assert_eq!((pool.stats().started, pool.stats().died), (5, 4));
    });
}

fn a_death_is_seen_though_a_grandchild_lives() {
    with(pool(1), async |pool| {
        let error = pool.submit(leaves_a_grandchild, ()).await.unwrap_err();
        assert!(matches!(error, JobError::WorkerDied(_)), "{error:?}");
    });
}

fn what_a_job_prints_does_not_disturb_the_protocol() {
    with(pool(1), async |pool| {
        assert_eq!(pool.submit(prints, ()).await.unwrap(), 0);
        assert_eq!(pool.submit(square, 2).await.unwrap(), 4);
    });
}

fn frames_beyond_the_limit_are_refused_on_both_sides() {
    let limit = 100_000;
    with(
        build(ProcessPool::builder(JOBS).workers(1).frame_limit(limit)),
        async |pool| {
            let refused = pool.try_submit(length, vec![1; limit]).unwrap_err();
            assert!(matches!(refused.error, JobError::TooLong { len, .. } if len > limit));
            assert_eq!(refused.argument.len(), limit);
            let error = pool.submit(fill, limit as u64).await.unwrap_err();
            assert!(matches!(error, JobError::NotSent(_)), "{error:?}");
            assert_eq!(pool.submit(fill, 90_000).await.unwrap().len(), 90_000);
            assert_eq!(pool.stats().started, 1);
        },
    );
}

fn a_cancelled_job_does_not_run_or_is_killed_or_runs_on() {
    let file = std::env::temp_dir().join(format!("readily-cancel-{}", std::process::id()));
    with(pool(1), async |pool| {
        let running = pool.submit(sleeps, Duration::from_secs(60));
        let queued = pool.submit(notes, (file.clone(), 1));
        let dropped = pool.submit(notes, (file.clone(), 2));
        while !running.running() {
            sleep(Duration::from_millis(1)).await;
        }
        drop(dropped);
        assert!(queued.cancel(Cancel::LetRun));
        assert!(!running.cancel(Cancel::LetRun));
        assert!(!running.done() || running.running());
        assert!(matches!(queued.await, Err(JobError::Cancelled)));
        assert!(running.cancel(Cancel::Kill));
        assert!(matches!(running.await, Err(JobError::Cancelled)));
        assert_eq!(pool.submit(square, 2).await.unwrap(), 4);
        assert_eq!((pool.stats().started, pool.stats().died), (2, 1));
    });
    assert!(!file.exists());
}

fn a_job_beyond_the_time_limit_is_killed() {
    let limit = Duration::from_millis(50);
    with(
        build(ProcessPool::builder(JOBS).workers(1).job_limit(limit)),
        async |pool| {
            let error = pool
                .submit(sleeps, Duration::from_secs(600))
                .await
                .unwrap_err();
            assert!(matches!(error, JobError::TimedOut(it) if it == limit));
        },
    );
}

fn a_worker_is_replaced_after_its_jobs() {
    let jobs = NonZeroU64::new(2).unwrap();
    with(
        build(ProcessPool::builder(JOBS).workers(1).jobs_per_worker(jobs)),
        async |pool| {
            let ids = gather((0..10).map(|_| pool.submit(worker_id, ()))).await;
            let mut ids: Vec<_> = ids.into_iter().map(Result::unwrap).collect();
            ids.dedup();
            assert_eq!(ids.len(), 5);
            assert_eq!((pool.stats().started, pool.stats().died), (5, 0));
        },
    );
}

fn the_memory_of_a_worker_is_limited() {
    with(
        build(
            ProcessPool::builder(JOBS)
                .workers(1)
                .memory_limit(1 << 30)
                .stderr(WorkerOutput::Null),
        ),
        async |pool| {
            let error = pool.submit(fill, 1 << 40).await.unwrap_err();
            assert!(
                matches!(error, JobError::WorkerDied(_) | JobError::Panicked(_)),
                "{error:?}"
            );
            assert_eq!(pool.submit(square, 2).await.unwrap(), 4);
        },
    );
}

fn an_initializer_runs_first_or_the_pool_is_broken() {
    with(
        build(ProcessPool::builder(JOBS).workers(1).initializer(works)),
        async |pool| {
            assert_eq!(pool.submit(square, 2).await.unwrap(), 4);
        },
    );
    with(
        build(ProcessPool::builder(JOBS).workers(2).initializer(refuses)),
        async |pool| {
            let error = pool.submit(square, 2).await.unwrap_err();
            assert!(error.to_string().contains("no model"), "{error}");
            let again = pool.try_submit(square, 2).unwrap_err();
            assert!(matches!(again.error, JobError::Start(_)));
        },
    );
}

fn shutdown_drains_or_kills() {
    with(pool(1), async |pool| {
        let jobs: Vec<_> = (0..5).map(|n| pool.submit(square, n)).collect();
        pool.shutdown(Shutdown::Drain).await;
        for (n, job) in (0..).zip(jobs) {
            assert!(job.done());
            assert_eq!(job.await.unwrap(), n * n);
        }
        let refused = pool.try_submit(square, 9).unwrap_err();
        assert!(matches!(refused.error, JobError::ShutDown));
        assert_eq!(refused.argument, 9);
    });
    with(pool(1), async |pool| {
        let running = pool.submit(sleeps, Duration::from_secs(600));
        let queued = pool.submit(square, 1);
        while !running.running() {
            sleep(Duration::from_millis(1)).await;
        }
        pool.shutdown(Shutdown::Kill).await;
        assert!(matches!(running.await, Err(JobError::ShutDown)));
        assert!(matches!(queued.await, Err(JobError::ShutDown)));
    });
}

fn a_function_outside_the_table_and_another_table_are_refused() {
    with(pool(1), async |pool| {
        let refused = pool.try_submit(not_in_the_table, ()).unwrap_err();
        assert!(matches!(refused.error, JobError::UnknownJob(_)));
    });
    let other = ProcessPool::new(jobs![square]).unwrap_err();
    assert!(matches!(other, StartError::OtherJobs));
    let none = ProcessPool::builder(JOBS).workers(0).build().unwrap_err();
    assert!(matches!(none, StartError::Zero));
}

fn a_callback_gets_the_result() {
    with(pool(1), async |pool| {
        let (promise, result) = readily::task::create_future();
        pool.submit_then(square, 9, move |_, result| {
            let _ = promise.set_result(result);
        });
        assert_eq!(result.await.unwrap().unwrap(), 81);
    });
}

/// P6, P7: each job that gave its number has run once, and no job has run twice.
fn whenever_workers_are_killed_each_job_is_accounted_for_once() {
    let file = std::env::temp_dir().join(format!("readily-kills-{}", std::process::id()));
    let jobs = 10_000;
    let (mut done, mut died) = (HashSet::new(), 0);
    with(pool(2), async |pool| {
        let numbers = (0..jobs).map(|number| (file.clone(), number));
        let mut results = pool.map(notes_or_dies, numbers).buffer(7);
        for number in 0..jobs {
            match results.next().await.unwrap() {
                Ok(result) => {
                    assert_eq!(result, number);
                    done.insert(number);
                }
                Err(JobError::WorkerDied(_)) => died += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(results.next().await.is_none());
        assert_eq!(pool.stats().died, died);
    });
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let mut numbers: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    let ran = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), ran, "a job has run twice");
    assert_eq!(done.len() as u64 + died, jobs);
    done.retain(|number| numbers.binary_search(number).is_err());
    assert!(done.is_empty(), "{done:?} have results, and have not run");
    assert!(died > 100, "{died} died");
}

/// A value that cannot be encoded if it is odd, nor decoded if it is a multiple of ten.
struct Picky(u64);

impl Wire for Picky {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        match self.0 % 2 {
            0 => self.0.encode(out),
            _ => Err(WireError::other("it is odd")),
        }
    }

    fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
        match u64::decode(from)? {
            number if number % 10 == 0 => Err(WireError::other("it is a multiple of ten")),
            number => Ok(Self(number)),
        }
    }
}

fn halve(Picky(number): Picky) -> Picky {
    Picky(number / 2)
}

fn an_argument_that_cannot_be_encoded_comes_back() {
    with(pool(1), async |pool| {
        let refused = pool.try_submit(halve, Picky(3)).unwrap_err();
        assert!(matches!(refused.error, JobError::Argument(_)));
        assert_eq!(refused.argument.0, 3);
        assert_eq!(pool.submit(halve, Picky(8)).await.unwrap().0, 4);
        // Neither the argument, nor the result, in the worker; nor the result, here.
        for (number, text) in [(10, "argument"), (6, "result"), (40_u64, "argument")] {
            let error = pool.submit(halve, Picky(number)).await.err().unwrap();
            assert!(
                matches!(&error, JobError::NotSent(it) if it.contains(text)),
                "{error}"
            );
        }
        let error = pool.submit(ten, ()).await.err().unwrap();
        assert!(matches!(error, JobError::Result(_)), "{error}");
        assert_eq!(pool.stats().started, 1);
    });
}

fn ten((): ()) -> Picky {
    Picky(10)
}

fn a_stopped_worker_does_not_hold_up_a_shutdown() {
    with(pool(1), async |pool| {
        let id = pool.submit(worker_id, ()).await.unwrap();
        signal("-STOP", id);
        let large = pool.submit(length, vec![0; 4 << 20]);
        while !large.running() {
            sleep(Duration::from_millis(1)).await;
        }
        pool.shutdown(Shutdown::Kill).await;
        assert!(matches!(large.await, Err(JobError::ShutDown)));
    });
}

fn signal(signal: &str, id: u32) {
    let sent = std::process::Command::new("kill")
        .args([signal, &id.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

fn an_idle_worker_that_was_killed_is_replaced() {
    with(pool(1), async |pool| {
        let id = pool.submit(worker_id, ()).await.unwrap();
        signal("-KILL", id);
        // Until the loop has taken its status: a process whose threads are still ending is not ended.
        while Path::new(&format!("/proc/{id}")).exists() {
            sleep(Duration::from_millis(1)).await;
        }
        assert_ne!(pool.submit(worker_id, ()).await.unwrap(), id);
        assert_eq!(pool.stats().died, 0);
    });
}

/// The descriptors of a worker that lead to a pipe, a socket or a loop: its own socket is one.
fn shared_descriptors((): ()) -> u64 {
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    let is_shared = |link: &PathBuf| {
        let link = link.to_string_lossy();
        link.starts_with("socket:") || link.starts_with("anon_inode:")
    };
    links.filter(is_shared).count() as u64
}

fn a_worker_has_no_descriptor_of_the_program() {
    with(pool(2), async |pool| {
        let both = gather([(); 2].map(|()| pool.submit(sleeps, Duration::from_millis(20)))).await;
        assert!(both.into_iter().all(|slept| slept.is_ok()));
        // What the test's own parent has passed on is the same in each process.
        let before = shared_descriptors(());
        assert!(before > 1, "this process has a loop and two workers");
        let inherited = count_inherited();
        assert_eq!(
            pool.submit(shared_descriptors, ()).await.unwrap(),
            inherited + 1
        );
    });
}

/// How many of such descriptors a child of this process has that is no worker.
fn count_inherited() -> u64 {
    let script = "ls -l /proc/self/fd | grep -cE '(socket|anon_inode):' || true";
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap()
}

fn process_group((): ()) -> Vec<String> {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    [std::process::id().to_string()]
        .into_iter()
        .chain(fields.skip(2).take(1).map(str::to_owned))
        .collect()
}

fn workers_have_process_groups_of_their_own() {
    with(pool(1), async |pool| {
        let ids = pool.submit(process_group, ()).await.unwrap();
        assert_eq!(ids[0], ids[1]);
    });
}

/// Runs this program again with a pool of its own, in which one worker computes and one is idle; prints
/// the ids of both, and waits.
fn program_with_workers() -> ! {
    run(async {
        let pool = pool(2);
        let ids = gather([(); 2].map(|()| pool.submit(slow_id, ()))).await;
        let busy = pool.submit(sleeps, Duration::from_secs(600));
        while !busy.running() {
            sleep(Duration::from_millis(1)).await;
        }
        let ids: Vec<_> = ids.into_iter().map(|id| id.unwrap().to_string()).collect();
        println!("{}", ids.join(" "));
        sleep(Duration::from_secs(600)).await;
    })
    .unwrap();
    std::process::exit(1);
}

fn slow_id((): ()) -> u32 {
    std::thread::sleep(Duration::from_millis(100)); // so that there is a second worker
    std::process::id()
}

const WITH_WORKERS: &str = "--program-with-workers";

/// Starts [`program_with_workers`], and returns it and the ids of its workers.
fn start_program(path: &Path) -> (std::process::Child, Vec<String>) {
    let mut program = std::process::Command::new(path)
        .arg(WITH_WORKERS)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = program.stdout.as_mut().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    (
        program,
        line.split_whitespace().map(str::to_owned).collect(),
    )
}

fn has_ended(id: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

fn workers_end_with_the_program_busy_or_idle() {
    let (mut program, workers) = start_program(&std::env::current_exe().unwrap());
    assert_eq!(workers.len(), 2);
    program.kill().unwrap();
    program.wait().unwrap();
    // A guard against hanging, not a measure.
    let begun = std::time::Instant::now();
    while !workers.iter().all(|id| has_ended(id)) {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "{workers:?} go on"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn a_replaced_program_starts_its_own_workers() {
    let copy = std::env::temp_dir().join(format!("readily-replaced-{}", std::process::id()));
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let mut program = std::process::Command::new(&copy)
        .arg(REPLACED)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::fs::remove_file(&copy).unwrap();
    std::fs::write(&copy, "not a program").unwrap();
    drop(program.stdin.take()); // go
    let mut said = String::new();
    program
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(program.wait().unwrap().success());
    assert_eq!(said, "49\n");
    std::fs::remove_file(&copy).unwrap();
}

const REPLACED: &str = "--replaced-program";

/// Waits until its file was replaced, and then needs a worker.
fn replaced_program() -> ! {
    std::io::stdin().read_to_string(&mut String::new()).unwrap();
    with(pool(1), async |pool| {
        println!("{}", pool.submit(square, 7).await.unwrap())
    });
    std::process::exit(0);
}

fn trial(name: String, test: fn()) -> Trial {
    Trial::test(name, move || {
        test();
        Ok::<(), Failed>(())
    })
}

fn main() {
    breaking::before_init();
    process_pool::init(JOBS);
    let part = std::env::args().nth(1);
    let mut parts = breaking::PROGRAMS.into_iter();
    if let Some((_, run)) = parts.find(|(name, _)| part.as_deref() == Some(name)) {
        return run();
    }
    match std::env::args().nth(1).as_deref() {
        Some(WITH_WORKERS) => program_with_workers(),
        Some(REPLACED) => replaced_program(),
        _ => {}
    }
    let tests = tests![
        an_argument_that_cannot_be_encoded_comes_back,
        a_stopped_worker_does_not_hold_up_a_shutdown,
        an_idle_worker_that_was_killed_is_replaced,
        a_worker_has_no_descriptor_of_the_program,
        workers_have_process_groups_of_their_own,
        workers_end_with_the_program_busy_or_idle,
        a_replaced_program_starts_its_own_workers,
        a_callback_gets_the_result,
        whenever_workers_are_killed_each_job_is_accounted_for_once,
        a_job_gives_its_result,
        jobs_run_at_the_same_time_and_no_more_than_workers,
        map_keeps_the_order_and_draws_no_more_than_its_buffer,
        a_panic_is_the_jobs_and_its_worker_goes_on,
        any_end_of_a_worker_ends_its_job_alone,
        a_death_is_seen_though_a_grandchild_lives,
        what_a_job_prints_does_not_disturb_the_protocol,
        frames_beyond_the_limit_are_refused_on_both_sides,
        a_cancelled_job_does_not_run_or_is_killed_or_runs_on,
        a_job_beyond_the_time_limit_is_killed,
        a_worker_is_replaced_after_its_jobs,
        the_memory_of_a_worker_is_limited,
        an_initializer_runs_first_or_the_pool_is_broken,
        shutdown_drains_or_kills,
        a_function_outside_the_table_and_another_table_are_refused,
    ];
    let here = tests
        .into_iter()
        .map(|(name, test)| trial(name.into(), test));
    let breaking = breaking::all().into_iter();
    let breaking = breaking.map(|(name, test)| trial(format!("breaking::{name}"), test));
    libtest_mimic::run(&Arguments::from_args(), here.chain(breaking).collect()).exit();
}
