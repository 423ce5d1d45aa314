//! N12: one thread, and then several cores.
//!
//! The notes compare a coroutine with a goroutine. The first lines are what they say of a coroutine; the
//! others are what they say of a goroutine, by loops on several cores.

use crate::Page;
use readily::cores::{Cores, current};
use readily::{Runner, clock, gather, yield_now};
use std::hint::black_box;
use std::sync::mpsc::channel;
use std::time::Duration;

pub(crate) fn show(page: &mut Page, runner: &mut Runner) -> Result<(), Box<dyn std::error::Error>> {
    page.chapter("More than one core");
    one_thread(page, runner)?;
    let cores = Cores::builder().count(2).build()?;
    parallel(page, &cores)?;
    computing(page, &cores)?;
    let report = cores.shutdown(Duration::from_secs(60)).wait()?;
    page.line(
        "N12",
        "all cores end together",
        report.cores.len(),
        report.is_clean(),
    );
    Ok(())
}

fn one_thread(page: &mut Page, runner: &mut Runner) -> Result<(), readily::Error> {
    let thread = || async {
        yield_now().await;
        std::thread::current().id()
    };
    let ids = runner.run(gather((thread(), thread())))?;
    let count = if ids.0 == ids.1 { 1 } else { 2 };
    page.same("N12", "two coroutines run on this many threads", count, 1);
    // Blocks on purpose.
    #[allow(clippy::disallowed_methods)]
    let blocks = async { std::thread::sleep(Duration::from_millis(20)) };
    let since = runner.fresh_now();
    let waits = async {
        yield_now().await;
        readily::WeakHandle::current().and_then(|handle| handle.with(|handle| handle.fresh_now()))
    };
    let (waited, ()) = runner.run(gather((waits, blocks)))?;
    let waited = waited.unwrap_or(since) - since;
    page.line(
        "N12",
        "if one blocks the thread for 20 ms, the other waits",
        format!("{} ms", waited.as_millis()),
        waited >= Duration::from_millis(20),
    );
    Ok(())
}

/// A core is blocked until another one releases it, which it can only if both run at the same time.
fn parallel(page: &mut Page, cores: &Cores) -> Result<(), Box<dyn std::error::Error>> {
    let (release, is_released) = channel();
    let mut blocked = cores.spawn_on(0, move || async move {
        is_released
            .recv()
            .ok()
            .and(current())
            .map(|core| core.index())
    })?;
    let mut other = cores.spawn_on(1, move || async move {
        yield_now().await;
        release.send(()).is_ok()
    })?;
    let (core, sent) = (blocked.wait()?, other.wait()?);
    page.line(
        "N12",
        "on two cores one blocks, and the other goes on",
        "released by the other",
        sent && core == Some(0),
    );
    Ok(())
}

fn compute(rounds: u64) -> u64 {
    (0..rounds).fold(1, |sum, n| black_box(sum ^ n).wrapping_mul(0x100_0000_01b3))
}

fn computing(page: &mut Page, cores: &Cores) -> Result<(), Box<dyn std::error::Error>> {
    use clock::Clock;
    const ROUNDS: u64 = 2_000_000;
    let clock = clock::Monotonic::new();
    let run = |on: [usize; 2]| -> Result<_, Box<dyn std::error::Error>> {
        let begin = clock.now_ns();
        let [one, two] = on.map(|core| cores.spawn_on(core, || async { compute(ROUNDS) }));
        let sums = [one?.wait()?, two?.wait()?];
        Ok((sums, clock.now_ns() - begin))
    };
    let (expected, one_core) = run([0, 0])?;
    let (sums, two_cores) = run([0, 1])?;
    let ratio = two_cores as f64 / one_core as f64;
    // How much faster depends on the machine, and on what else it does.
    page.line(
        "N12",
        "two jobs that compute, on two cores",
        format!("{ratio:.2} of the time on one"),
        sums == expected,
    );
    Ok(())
}
