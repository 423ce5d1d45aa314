//! One loop on each core: spawning, panics, the ends of cores and of groups, bad numbers, signals.
//!
//! A core that has to be blocked while something else happens waits for a channel of the test.
//!
//! Invariants: M1, M2, M3, M4.

#![allow(unsafe_code)] // one limit of the process

use crate::support::{guard, is_alone, strict_run};
use readily::cores::{
    BuildError, CoreEnd, Cores, CoresBuilder, ShutdownError, SpawnError, WhenCoreEnds, current,
};
use readily::{
    JoinError, PanicPolicy, Runner, ThreadPool, Unhandled, WeakHandle, sleep, spawn, yield_now,
};
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

/// The reports of all cores.
#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Vec<String>>>);

impl Reports {
    fn of(&self, builder: CoresBuilder) -> CoresBuilder {
        let Self(all) = self.clone();
        builder.on_unhandled(move |core, unhandled: &Unhandled| {
            all.lock().unwrap().push(format!("{core}: {unhandled}"));
        })
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Runs a future on a loop of this thread.
fn run<F: Future>(future: F) -> F::Output {
    strict_run(future).unwrap()
}

fn cores(count: usize) -> Cores {
    Cores::builder().count(count).build().unwrap()
}

/// Loops that let a panic end them.
fn fragile(count: usize) -> CoresBuilder {
    let options = |_| Runner::builder().panic_policy(PanicPolicy::Propagate);
    Cores::builder().count(count).loop_options(options)
}

/// Blocks a core until the sender is dropped; returns when it is blocked.
fn block(cores: &Cores, core: usize) -> Sender<()> {
    let (hold, held): (Sender<()>, Receiver<()>) = channel();
    let (begun, has_begun) = channel();
    let blocking = move || async move {
        begun.send(()).unwrap();
        let _dropped = held.recv();
    };
    drop(cores.spawn_on(core, blocking).unwrap());
    has_begun.recv().unwrap();
    hold
}

/// The number of threads of this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_future_that_is_not_send_runs_on_the_core_that_was_asked_for() {
    let _guard = guard!();
    let cores = Cores::builder().count(3).name("unit").build().unwrap();
    assert_eq!((cores.count(), cores.processor(0)), (3, None));
    for core in 0..3 {
        let mut task = cores
            .spawn_on(core, move || async move {
                let kept = Rc::new(core);
                yield_now().await;
                let here = current().expect("it is a core");
                assert_eq!((here.index(), here.cores().count()), (core, 3));
                (*kept, thread::current().name().map(str::to_owned))
            })
            .unwrap();
        let name = format!("unit-{core}");
        assert_eq!(task.wait().unwrap(), (core, Some(name)));
    }
    let next = |_| {
        let index = || async { current().unwrap().index() };
        cores.spawn(index).unwrap().wait().unwrap()
    };
    assert_eq!((0..7).map(next).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2, 0]);
    assert!(current().is_none());
    // A task of one core waits for one of another.
    let other = cores.handle();
    let sum = cores.spawn_on(0, move || async move {
        let there = other.spawn_on(1, || async { 20 }).unwrap();
        there.await.unwrap() + 1
    });
    assert_eq!(sum.unwrap().wait().unwrap(), 21);
}

/// R113: a panic has its payload, and ends nothing else. One that no waiter gets is reported.
#[test]
fn a_panic_comes_back_to_the_waiter_and_the_core_goes_on() {
    let _guard = guard!();
    let reports = Reports::default();
    let cores = reports.of(Cores::builder().count(2)).build().unwrap();
    let mut task = cores
        .spawn_on(1, || async { panic!("on purpose") })
        .unwrap();
    assert!(task.wait().unwrap_err().to_string().contains("on purpose"));
    let make = || -> std::future::Ready<()> { panic!("while it is made") };
    let error = cores.spawn_on(1, make).unwrap().wait().unwrap_err();
    assert!(error.to_string().contains("while it is made"));
    assert_eq!(reports.take(), [""; 0]);
    drop(cores.spawn_on(1, || async { panic!("detached") }).unwrap());
    let mut task = cores.spawn_on(1, || async { 21 }).unwrap();
    assert_eq!(task.wait().unwrap(), 21);
    let told = reports.take();
    assert!(told.len() == 1 && told[0].starts_with("1: "), "{told:?}");
    assert!(told[0].contains("detached"), "{told:?}");
    let never = cores.spawn_on(0, pending::<()>).unwrap();
    never.cancel_with("not needed");
    let error = run(never).unwrap_err();
    assert_eq!(error.reason(), Some("not needed"));
}

#[test]
fn work_that_no_core_takes_comes_back() {
    let _guard = guard!();
    let cores = cores(2);
    let refused = cores.spawn_on(2, || async { 21 }).unwrap_err();
    assert!(matches!(
        refused,
        SpawnError::NoSuchCore {
            core: 2,
            count: 2,
            ..
        }
    ));
    assert_eq!(run(refused.into_inner()()), 21);
    assert!(cores.remote_handle(2).is_none() && cores.processor(2).is_none());
    assert!(cores.shutdown(LONG).wait().unwrap().is_clean());
    let refused = cores.spawn_on(1, || async { 22 }).unwrap_err();
    assert!(matches!(refused, SpawnError::Ended(_)), "{refused:?}");
    assert_eq!(run(refused.into_inner()()), 22);
    let refused = cores.spawn(|| async { 23 }).unwrap_err();
    assert_eq!(run(refused.into_inner()()), 23);
}

/// R249, R115. What was started is ended, and its threads and descriptors have gone.
#[test]
fn a_group_that_cannot_be_made_leaves_nothing_behind() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let build = |builder: CoresBuilder| builder.build().unwrap_err();
    let count = |count| build(Cores::builder().count(count));
    let (threads_before, descriptors_before) = (threads(), descriptors());
    assert!(matches!(count(0), BuildError::NoCores));
    let many = count(1_000_000);
    assert!(
        matches!(
            many,
            BuildError::TooMany {
                count: 1_000_000,
                ..
            }
        ),
        "{many}"
    );
    let named = build(Cores::builder().name("a\0b"));
    assert!(matches!(named, BuildError::InvalidName(_)), "{named}");
    if cfg!(target_os = "linux") {
        let pinned = build(Cores::builder().pin(true).count(1000));
        assert!(
            matches!(pinned, BuildError::TooFewProcessors { count: 1000, .. }),
            "{pinned}"
        );
    }
    let no_threads = |core| match core {
        2 => Runner::builder().thread_pool(ThreadPool::builder().max_threads(0)),
        _ => Runner::builder(),
    };
    let third = build(Cores::builder().count(4).loop_options(no_threads));
    assert!(matches!(third, BuildError::Loop { core: 2, .. }), "{third}");
    let panics = |core| match core {
        2 => panic!("on purpose"),
        _ => Runner::builder(),
    };
    let builder = Cores::builder().count(4).loop_options(panics);
    let panicked = catch_unwind(AssertUnwindSafe(|| builder.build())).unwrap_err();
    assert_eq!(panicked.downcast_ref(), Some(&"on purpose"));
    let huge = build(Cores::builder().count(2).stack_size(usize::MAX / 4));
    assert!(matches!(huge, BuildError::Thread { core: 0, .. }), "{huge}");
    assert_eq!(
        (threads(), descriptors()),
        (threads_before, descriptors_before)
    );
}

/// R115: the system refuses the thread of one core in the middle.
#[test]
#[cfg(target_os = "linux")]
fn a_thread_that_is_refused_ends_those_that_were_started() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let before = threads();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let size = size.and_then(|line| line.split_whitespace().next());
    let used: u64 = size.and_then(|kib| kib.parse().ok()).unwrap();
    let room = used * 1024 + (3 << 30);
    let limit = libc::rlimit {
        rlim_cur: room,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: reads one structure of ours.
    assert_eq!(
        unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) },
        0
    );
    let builder = Cores::builder().count(8).stack_size(1 << 30);
    let refused = builder.build().unwrap_err();
    assert!(
        matches!(refused, BuildError::Thread { core: 1.., .. }),
        "{refused}"
    );
    assert_eq!(threads(), before);
    let few = Cores::builder().count(2).build();
    assert!(few.unwrap().shutdown(LONG).wait().unwrap().is_clean());
}

/// R346: the processors are those that the process may use, and not the first ones of the machine.
#[test]
#[cfg(target_os = "linux")]
fn a_pinned_core_has_a_processor_that_the_process_may_use() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let list = || {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.unwrap().trim().to_owned()
    };
    let pinned = |count| Cores::builder().pin(true).count(count).build();
    let all = pinned(1).unwrap();
    let first = all.processor(0).unwrap();
    let mut seen = all.spawn_on(0, move || async move { list() }).unwrap();
    assert_eq!(seen.wait().unwrap(), first.to_string());
    drop(all);
    // Only the last processor of those that there are.
    let last = *readily_sys::affinity::allowed().unwrap().last().unwrap();
    readily_sys::affinity::pin(last).unwrap();
    let cores = Cores::builder().pin(true).build().unwrap();
    assert_eq!((cores.count(), cores.processor(0)), (1, Some(last)));
    let mut seen = cores.spawn_on(0, move || async move { list() }).unwrap();
    assert_eq!(seen.wait().unwrap(), last.to_string());
    let refused = pinned(2).unwrap_err();
    assert!(
        matches!(
            refused,
            BuildError::TooFewProcessors {
                count: 2,
                allowed: 1
            }
        ),
        "{refused}"
    );
}

/// M2: tasks that end by themselves do so; those that wait for the request to stop get it; and what is
/// left at the limit is dropped, and named.
#[test]
fn a_shutdown_lets_tasks_finish_and_names_those_that_are_left() {
    let _guard = guard!();
    let cores = cores(2);
    let mut finishes = cores
        .spawn_on(0, || async {
            let stop = current().unwrap().stop_token();
            stop.cancelled().await;
            // It goes on for a while after the request.
            sleep(20 * MS).await;
            spawn(async { 21 }).await.unwrap()
        })
        .unwrap();
    let mut left = cores
        .spawn_on(1, || async {
            readily::current_task().unwrap().set_name("endless");
            pending::<()>().await;
        })
        .unwrap();
    let mut begun = cores.spawn_on(1, || async {}).unwrap();
    begun.wait().unwrap();
    let report = cores.shutdown(200 * MS).wait().unwrap();
    assert_eq!(finishes.wait().unwrap(), 21);
    let error = left.wait().unwrap_err();
    assert!(
        matches!(&error, readily::task::WaitError::Join(JoinError::Cancelled)),
        "{error}"
    );
    assert!(report.cores[0].is_clean(), "{report}");
    assert_eq!(report.cores[1].end, CoreEnd::ShutDown);
    assert_eq!(report.tasks().collect::<Vec<_>>(), ["endless"]);
    assert!(!report.is_clean());
    // Again: the same report.
    assert_eq!(cores.shutdown(LONG).wait().unwrap(), report);
}

/// M2: callbacks are work, too, and hear of the request to stop by the token.
#[test]
fn a_shutdown_waits_for_callbacks_and_timers() {
    let _guard = guard!();
    let cores = cores(1);
    let (fired, has_fired) = channel();
    let remote = cores.remote_handle(0).unwrap();
    let arm = move |handle: &readily::LoopHandle| {
        let kept = handle.call_later(LONG, |_| {});
        current().unwrap().stop_token().on_cancel(move |handle| {
            kept.cancel();
            handle.call_later(10 * MS, move |_| fired.send(()).unwrap());
        });
    };
    remote.call_soon(arm).unwrap();
    assert!(cores.shutdown(LONG).wait().unwrap().is_clean());
    has_fired.recv().unwrap();
}

/// M2: between the last look at the inbox and the close of the loop nothing is accepted.
#[test]
fn a_shutdown_runs_each_closure_that_a_core_has_accepted() {
    let _guard = guard!();
    for _ in 0..100 {
        let cores = cores(1);
        let remote = cores.remote_handle(0).unwrap();
        cores.begin_shutdown(LONG);
        // Each comes when the one before has run, so that the core has nothing to do but to end.
        loop {
            let (run, has_run) = channel();
            if remote.call_soon(move |_| run.send(()).unwrap()).is_err() {
                break;
            }
            has_run.recv().expect("an accepted closure is called");
        }
        let report = cores.ended().wait().unwrap();
        assert!(report.is_clean(), "{report}");
    }
}

/// M2: the earliest limit counts, whichever call comes first.
#[test]
fn the_earliest_limit_of_several_shutdowns_counts() {
    let _guard = guard!();
    for limits in [[LONG, MS], [MS, LONG]] {
        let cores = cores(2);
        for core in 0..2 {
            drop(cores.spawn_on(core, pending::<()>).unwrap());
        }
        let [first, second] = limits.map(|limit| cores.shutdown(limit));
        let (first, second) = (first.wait().unwrap(), second.wait().unwrap());
        assert_eq!(first, second);
        assert_eq!(first.tasks().count(), 2);
    }
    // A limit that no clock reaches.
    let cores = cores(1);
    cores.begin_shutdown(Duration::MAX);
    assert!(cores.ended().wait().unwrap().is_clean());
}

/// M1: a core whose thread is blocked is reported, and holds up no other.
#[test]
fn a_core_that_is_blocked_is_reported_and_does_not_make_a_shutdown_hang() {
    let _guard = guard!();
    let cores = Cores::builder().count(2).grace(50 * MS).build().unwrap();
    let hold = block(&cores, 1);
    let report = cores.shutdown(Duration::ZERO).wait().unwrap();
    assert!(report.cores[0].is_clean());
    assert_eq!(report.cores[1].end, CoreEnd::Running);
    assert_eq!(
        report.cores[1].to_string(),
        "core 1 has not ended; left: tasks 0, registrations 0, timers 0, closures 0"
    );
    // The same for a task that waits.
    let awaited = run(cores.shutdown(Duration::ZERO)).unwrap();
    assert_eq!(awaited, report);
    drop(hold);
    assert!(cores.ended().wait().unwrap().is_clean());
    // A drop does not hang either.
    let cores = Cores::builder().count(2).grace(50 * MS).build().unwrap();
    let hold = block(&cores, 0);
    drop(cores);
    drop(hold);
}

/// M4, R345.
#[test]
fn what_would_wait_for_itself_is_an_error() {
    let _guard = guard!();
    let cores = cores(2);
    let handle = cores.handle();
    let mut task = cores
        .spawn_on(0, move || async move {
            let own = |error: Result<_, ShutdownError>| matches!(error, Err(ShutdownError::OnCore));
            assert!(own(handle.shutdown(LONG).wait()));
            assert!(own(handle.shutdown(LONG).await));
            assert!(own(handle.ended().wait()));
            assert!(own(handle.ended().await));
            assert!(own(handle.run_until_signal(LONG)));
        })
        .unwrap();
    task.wait().unwrap();
    // It was not begun.
    let mut task = cores.spawn_on(1, || async { 21 }).unwrap();
    assert_eq!(task.wait().unwrap(), 21);
    run(async {
        let blocks = |error: Result<_, _>| matches!(error, Err(ShutdownError::OnLoop));
        assert!(blocks(cores.ended().wait()));
        assert!(blocks(cores.run_until_signal(LONG)));
        let handle = cores.handle();
        // Begun on a core, awaited here.
        cores
            .spawn_on(1, move || async move { handle.begin_shutdown(LONG) })
            .unwrap()
            .await
            .unwrap();
        assert!(cores.ended().await.unwrap().is_clean());
    });
}

/// R345: dropped on a core, on another loop, in a panic, and where all is well.
#[test]
fn dropping_the_cores_ends_them_and_does_not_hang_wherever_that_is() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let before = threads();
    let dropped = Arc::new(AtomicUsize::new(0));
    struct Count(Arc<AtomicUsize>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let busy = || {
        let cores = cores(2);
        for core in 0..2 {
            let count = Count(Arc::clone(&dropped));
            let task = move || async move {
                let _count = count;
                pending::<()>().await
            };
            drop(cores.spawn_on(core, task).unwrap());
        }
        cores
    };
    let here = busy();
    drop(here);
    assert_eq!((dropped.load(SeqCst), threads()), (2, before), "it joins");
    let cores = busy();
    let ended = cores.handle();
    let remote = cores.remote_handle(0).unwrap();
    remote.call_soon(move |_| drop(cores)).unwrap();
    ended.ended().wait().unwrap();
    let cores = busy();
    let ended = cores.handle();
    run(async move {
        drop(cores);
        ended.ended().await.unwrap()
    });
    let cores = busy();
    let ended = cores.handle();
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _cores = cores;
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    ended.ended().wait().unwrap();
    assert_eq!(dropped.load(SeqCst), 8);
}

/// M1, R343: the end of one core is reported, and ends the others, or not.
#[test]
fn a_core_that_panics_or_stops_ends_the_others_or_not() {
    let _guard = guard!();
    let ends: [(fn(), &str, CoreEnd); 2] = [
        (
            || panic!("on purpose"),
            "panicked: on purpose",
            CoreEnd::Panicked("on purpose".into()),
        ),
        (
            || {
                WeakHandle::current()
                    .unwrap()
                    .with(|handle| handle.stop())
                    .unwrap()
            },
            "was stopped",
            CoreEnd::Stopped,
        ),
    ];
    for (end, reason, expected) in ends {
        let reports = Reports::default();
        let cores = reports.of(fragile(3)).build().unwrap();
        let remote = cores.remote_handle(1).unwrap();
        remote.call_soon(move |_| end()).unwrap();
        let report = cores.ended().wait().unwrap();
        assert_eq!(report.cores[1].end, expected);
        assert!(report.cores[0].is_clean() && report.cores[2].is_clean());
        assert_eq!(reports.take(), [format!("1: core 1 {reason}")]);

        let continued = fragile(3).when_core_ends(WhenCoreEnds::Continue);
        let cores = reports.of(continued).build().unwrap();
        let remote = cores.remote_handle(1).unwrap();
        remote.call_soon(move |_| end()).unwrap();
        while !remote.is_closed() {
            thread::yield_now();
        }
        for core in [0, 2] {
            let mut task = cores.spawn_on(core, move || async move { core }).unwrap();
            assert_eq!(task.wait().unwrap(), core);
        }
        // A core that has ended is left out.
        let next = |_| {
            let index = || async { current().unwrap().index() };
            cores.spawn(index).unwrap().wait().unwrap()
        };
        let all: Vec<usize> = (0..6).map(next).collect();
        assert!(!all.contains(&1), "{all:?}");
        let report = cores.shutdown(LONG).wait().unwrap();
        assert_eq!(report.cores[1].end, expected);
        assert!(report.cores[0].is_clean() && report.cores[2].is_clean());
        assert_eq!(reports.take().len(), 1);
    }
}

/// M1: a panic while the loop is closed, and one while it drains.
#[test]
fn a_core_that_panics_at_its_end_is_reported() {
    let _guard = guard!();
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in a destructor");
        }
    }
    let reports = Reports::default();
    let cores = reports.of(fragile(2)).build().unwrap();
    let kept = || async {
        let _panics = Panics;
        pending::<()>().await
    };
    drop(cores.spawn_on(0, kept).unwrap());
    let drains = || async {
        current().unwrap().stop_token().cancelled().await;
        drop(spawn(async { panic!("while it drains") }));
        pending::<()>().await
    };
    drop(cores.spawn_on(1, drains).unwrap());
    let report = cores.shutdown(50 * MS).wait().unwrap();
    let end = |core: usize| report.cores[core].end.to_string();
    assert_eq!(end(0), "panicked: in a destructor");
    assert_eq!(end(1), "panicked: while it drains");
    assert_eq!(reports.take().len(), 2);
    // A hook that panics hides no end.
    let panics = fragile(2).on_unhandled(|_, _| panic!("in the hook"));
    let cores = panics.build().unwrap();
    let remote = cores.remote_handle(1).unwrap();
    remote.call_soon(|_| panic!("on purpose")).unwrap();
    let report = cores.ended().wait().unwrap();
    assert_eq!(report.cores[1].end.to_string(), "panicked: on purpose");
}

/// M2, R344: whenever a shutdown comes, each task that was accepted ends, and its sender hears of it.
#[test]
fn a_shutdown_at_any_moment_loses_no_task() {
    let _guard = guard!();
    for round in 0..60 {
        let cores = cores(2);
        let senders: Vec<_> = (0..2)
            .map(|_| {
                let handle = cores.handle();
                thread::spawn(move || {
                    let mut tasks = Vec::new();
                    for n in 0..2000 {
                        let task = move || async move {
                            yield_now().await;
                            n
                        };
                        match handle.spawn(task) {
                            Ok(task) => tasks.push((n, task)),
                            Err(refused) => {
                                assert!(matches!(refused, SpawnError::Ended(_)));
                                break;
                            }
                        }
                    }
                    tasks
                })
            })
            .collect();
        for _ in 0..round * 20 {
            std::hint::spin_loop();
        }
        let report = cores.shutdown(LONG).wait().unwrap();
        assert!(
            report
                .cores
                .iter()
                .all(|core| core.end == CoreEnd::ShutDown)
        );
        for sender in senders {
            for (n, mut task) in sender.join().unwrap() {
                // Sent, and the loop was closed before it read the message.
                match task.wait() {
                    Ok(value) => assert_eq!(value, n),
                    Err(error) => assert!(error.to_string().contains("closed"), "{error}"),
                }
            }
        }
    }
}

/// M3: all waiters of all kinds are woken by the last end.
#[test]
fn every_waiter_is_woken_when_the_last_core_has_ended() {
    let _guard = guard!();
    let cores = cores(2);
    let (waits, waiting) = channel();
    let waiters: Vec<_> = (0..4)
        .map(|n| {
            let (handle, waits) = (cores.handle(), waits.clone());
            thread::spawn(move || match n % 2 {
                0 => handle.ended().wait().unwrap(),
                _ => {
                    let mut ended = pin!(handle.ended());
                    let ended = poll_fn(|cx| {
                        let polled = ended.as_mut().poll(cx);
                        waits.send(()).unwrap();
                        polled
                    });
                    run(ended).unwrap()
                }
            })
        })
        .collect();
    // The tasks wait, or they would not need the wake.
    (0..2).for_each(|_| waiting.recv().unwrap());
    cores.begin_shutdown(LONG);
    for waiter in waiters {
        assert!(waiter.join().unwrap().is_clean());
    }
}
