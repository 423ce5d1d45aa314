//! N3–N14: coroutines, await, gather, timeouts.

use crate::Page;
use readily::task::create_future;
use readily::{Elapsed, Runner, gather, iscoroutinefunction, sleep, spawn, wait_for, yield_now};
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Returns the time of the system's clock. The measured durations must not depend on the loop's clock.
#[allow(clippy::disallowed_methods)]
fn wall() -> Instant {
    Instant::now()
}

async fn test_return() -> i32 {
    21
}

pub(crate) fn show(page: &mut Page, runner: &mut Runner) -> Result<(), readily::Error> {
    page.chapter("Coroutines");
    many_at_once(page, runner)?;
    calling_runs_nothing(page, runner)?;
    ten_sleeps(page, runner)?;
    let value = runner.run(async { test_return().await })?;
    page.same(
        "N11",
        "a return value comes back through await: 21",
        value,
        21,
    );
    yielding(page, runner)?;
    threads(page, runner)?;
    page.chapter("await");
    three_kinds(page, runner)?;
    timeout(page, runner)
}

/// N4: a coroutine is much cheaper than a thread.
fn many_at_once(page: &mut Page, runner: &mut Runner) -> Result<(), readily::Error> {
    const MANY: usize = 100_000;
    let before = wall();
    let sum = runner.run(async {
        let tasks: Vec<_> = (0..MANY)
            .map(|_| spawn(async { yield_now().await }))
            .collect();
        gather(tasks)
            .await
            .into_iter()
            .filter(Result::is_ok)
            .count()
    })?;
    let took = before.elapsed().as_millis();
    let saw = format!("{sum} at once in {took} ms");
    page.line("N4", "a great many can exist at once", saw, sum == MANY);
    Ok(())
}

/// N9: a coroutine must be awaited, within a running loop.
fn calling_runs_nothing(page: &mut Page, runner: &mut Runner) -> Result<(), readily::Error> {
    let ran = Cell::new(false);
    let coroutine = async { ran.set(true) };
    let saw = if ran.get() { "it ran" } else { "nothing ran" };
    page.same("N9", "calling a coroutine runs nothing", saw, "nothing ran");
    runner.run(coroutine)?;
    let saw = if ran.get() { "it ran" } else { "nothing ran" };
    page.same(
        "N9",
        "it must be awaited, within a running loop",
        saw,
        "it ran",
    );
    let answers = [
        iscoroutinefunction!(test_return),
        iscoroutinefunction!(yielding),
    ];
    let saw = format!("{answers:?}");
    page.line(
        "N18",
        "iscoroutinefunction(f), for a coroutine and a function",
        saw,
        answers == [true, false],
    );
    Ok(())
}

/// N11: ten sleeps of one second take one second.
fn ten_sleeps(page: &mut Page, runner: &mut Runner) -> Result<(), readily::Error> {
    let before = wall();
    runner.run(gather((0..10).map(|_| sleep(SECOND))))?;
    let took = before.elapsed();
    let saw = format!("{} ms", took.as_millis());
    // A timer never fires early. How late it fires depends on the machine; sleeps one after another
    // would take at least two seconds.
    let right = took >= SECOND && took < 2 * SECOND;
    page.line(
        "N11",
        "ten sleeps of one second, gathered: 1039 ms",
        saw,
        right,
    );
    Ok(())
}

/// N10: a coroutine that would block lets the other coroutines run.
fn yielding(page: &mut Page, runner: &mut Runner) -> Result<(), readily::Error> {
    let log = Cell::new(String::new());
    let say = async |letters: &str| {
        for letter in letters.chars() {
            log.set(log.take() + &letter.to_string());
            yield_now().await;
        }
    };
    runner.run(gather((say("ace"), say("bdf"))))?;
    page.same(
        "N10",
        "await gives the others the processor",
        &*log.take(),
        "abcdef",
    );
    Ok(())
}

/// Runs blocking code on a thread of its own. The thread sends the result back and wakes the task.
async fn on_thread<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut f = Some(f);
    poll_fn(|cx| {
        if let Some(f) = f.take() {
            let (sender, waker) = (sender.clone(), cx.waker().clone());
            std::thread::spawn(move || {
                let _ignored_if_dropped = sender.send(f());
                waker.wake();
            });
        }
        receiver.try_recv().map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// N5: blocking code runs on another thread, and the loop continues meanwhile.
fn threads(page: &mut Page, runner: &mut Runner) -> Result<(), readily::Error> {
    let ticks = Cell::new(0_u32);
    let mut ticking = pin!(async {
        loop {
            ticks.set(ticks.get() + 1);
            sleep(Duration::from_micros(100)).await;
        }
    });
    // Blocks on purpose. On the loop's thread it would stop all coroutines.
    #[allow(clippy::disallowed_methods)]
    let mut blocking = pin!(on_thread(|| std::thread::sleep(Duration::from_millis(20))));
    runner.run(poll_fn(|cx| {
        let _never = ticking.as_mut().poll(cx);
        blocking.as_mut().poll(cx)
    }))?;
    let saw = format!("{} ticks meanwhile", ticks.get());
    page.line(
        "N5",
        "blocking code goes to a thread, the loop goes on",
        saw,
        ticks.get() > 1,
    );
    Ok(())
}

/// N13: await takes a coroutine, a Task and a Future.
fn three_kinds(page: &mut Page, runner: &mut Runner) -> Result<(), readily::Error> {
    let values = runner.run(async {
        let (promise, future) = create_future();
        readily::WeakHandle::current()
            .expect("a loop is running")
            .with(|handle| {
                handle.call_soon(move |_| promise.set_result(3).expect("this is the only promise"))
            });
        let task = spawn(async { 2 });
        [
            async { 1 }.await,
            task.await.unwrap_or(0),
            future.await.unwrap_or(0),
        ]
    })?;
    let saw = format!("{values:?}");
    page.line(
        "N13",
        "await takes a coroutine, a Task and a Future",
        saw,
        values == [1, 2, 3],
    );
    Ok(())
}

/// N14: wait_for(sleep(5), timeout=2).
fn timeout(page: &mut Page, runner: &mut Runner) -> Result<(), readily::Error> {
    struct Dropped<'a>(&'a Cell<bool>);
    impl Drop for Dropped<'_> {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let cancelled = Cell::new(false);
    let inner = async {
        let _inside = Dropped(&cancelled);
        sleep(5 * SECOND).await;
    };
    let before = wall();
    let result = runner.run(wait_for(2 * SECOND, inner))?;
    let took = before.elapsed();
    let saw = format!("{} after {} ms", Elapsed, took.as_millis());
    let right = result == Err(Elapsed) && took >= 2 * SECOND && took < 4 * SECOND;
    page.line(
        "N14",
        "wait_for(sleep(5), timeout=2): TimeoutError after 2 s",
        saw,
        right,
    );
    let saw = if cancelled.get() {
        "dropped"
    } else {
        "still there"
    };
    page.same("N14", "the inner coroutine is cancelled", saw, "dropped");
    Ok(())
}
