//! N3, N5, N6: work that blocks goes to threads, work that computes to processes.

use super::Page;
use readily::process_pool::{self, JobTable, ProcessPool, Shutdown};
use readily::{Runner, gather, jobs, run_blocking, sleep, spawn};
use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What workers can do.
const JOBS: JobTable = jobs![count_primes];

/// How much is counted, and in how many parts.
const BELOW: u64 = 60_000;
const PARTS: u64 = 4;

/// Returns the number of primes of `from..to`.
fn count_primes((from, to): (u64, u64)) -> u64 {
    let is_prime = |n: &u64| (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0);
    (from.max(2)..to).filter(is_prime).count() as u64
}

fn parts() -> impl Iterator<Item = (u64, u64)> {
    let step = BELOW / PARTS;
    (0..PARTS).map(move |part| (part * step, (part + 1) * step))
}

/// Runs `work`, and returns its output, how long it took, and how often the loop ran another task meanwhile.
async fn watched<T>(work: impl Future<Output = T>) -> (T, Duration, u32) {
    let ticks = Rc::new(Cell::new(0));
    let ticking = spawn({
        let ticks = Rc::clone(&ticks);
        async move {
            loop {
                sleep(Duration::from_micros(100)).await;
                ticks.set(ticks.get() + 1);
            }
        }
    });
    #[allow(clippy::disallowed_methods)] // the figures are of real time
    let begun = Instant::now();
    let output = work.await;
    let took = begun.elapsed();
    ticking.cancel();
    (output, took, ticks.get())
}

/// Shows the pools. `init` has been called.
pub(crate) fn show(page: &mut Page, runner: &mut Runner) -> Result<(), Box<dyn Error>> {
    page.chapter("Pools");
    let lengths = runner.run(async {
        gather(["Cargo", "loop"].map(|text| run_blocking(move || text.len()))).await
    })?;
    let sum: usize = lengths.into_iter().map(|length| length.unwrap_or(0)).sum();
    page.same(
        "N3",
        "a thread pool makes ordinary functions awaitable",
        sum,
        9,
    );

    #[allow(clippy::disallowed_methods)] // it blocks on purpose
    let pause = || std::thread::sleep(Duration::from_millis(20));
    let (_, _, blocked) = runner.run(watched(async { pause() }))?;
    let (_, _, free) = runner.run(async { watched(run_blocking(pause)).await })?;
    let saw = format!("{blocked} ticks blocked, {free} with a thread");
    page.line(
        "N5",
        "code that blocks stops the loop, a thread does not",
        saw,
        blocked == 0 && free > 0,
    );

    let pool = ProcessPool::new(JOBS)?;
    let (alone, alone_took, _) =
        runner.run(watched(async { parts().map(count_primes).sum::<u64>() }))?;
    let (in_pool, pool_took, free) = runner.run(async {
        let warm = pool.submit(count_primes, (0, 10)).await;
        assert!(warm.is_ok(), "{warm:?}");
        let all = watched(pool.map(count_primes, parts()).collect::<Vec<u64>>()).await;
        pool.shutdown(Shutdown::Drain).await;
        all
    })?;
    let in_pool: u64 = in_pool?.into_iter().sum();
    let saw = format!("{in_pool} primes, {free} ticks meanwhile");
    page.line(
        "N6",
        "CPU-heavy work in a process pool, the loop is free",
        saw,
        in_pool == alone && free > 0,
    );
    let saw = format!(
        "{:.1} ms alone, {:.1} ms on {}",
        alone_took.as_secs_f64() * 1e3,
        pool_took.as_secs_f64() * 1e3,
        pool.workers(),
    );
    page.line("N6", "and it uses all cores", saw, true);
    Ok(())
}

/// Stays here in a worker.
pub(crate) fn init() {
    process_pool::init(JOBS);
}
