//! A panic in each kind of user code that the loop calls, under each policy: the rest of the batch
//! runs, and the loop stays usable (R044, R045).
//!
//! Invariants: L6, L8.

use crate::support::{
    Count, Dropped, Log, collect_unhandled, command, fill, guard, listener, reset, strict_loop,
    strict_runner, tcp_pair, turn_times, turn_until,
};
use readily::event_loop::Accepted;
use readily::spi;
use readily::{
    Closures, Cx, EventLoop, Interest, JoinSet, PanicPolicy, TaskGroup, WeakHandle, spawn, wait_for,
};
use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

/// Where a panic can be planted. Each must lead to exactly one reported panic.
const PLACES: [&str; 14] = [
    "read",
    "write",
    "hangup",
    "default",
    "connect",
    "accept",
    "timer",
    "soon",
    "task",
    "sent",
    "destructor of a registration",
    "destructor of a closure",
    "destructor of a timer",
    "done-callback",
];

struct Panics(&'static str);

impl Drop for Panics {
    fn drop(&mut self) {
        panic!("planted: {}", self.0);
    }
}

/// Plants a panic; what is returned must stay alive until the turns are over.
#[allow(clippy::too_many_lines)]
fn plant(event_loop: &EventLoop, place: &'static str) -> Box<dyn std::any::Any> {
    let boom = move || panic!("planted: {place}");
    let (ours, theirs) = tcp_pair();
    let mut kept: Box<dyn std::any::Any> = Box::new(());
    match place {
        "read" => {
            (&theirs).write_all(b"x").unwrap();
            let callbacks = Closures::new().on_read(move |_| boom());
            event_loop
                .register(ours, Interest::READ, callbacks)
                .unwrap();
            kept = Box::new(theirs);
        }
        "write" => {
            let callbacks = Closures::new().on_write(move |_| boom());
            event_loop
                .register(ours, Interest::WRITE, callbacks)
                .unwrap();
            kept = Box::new(theirs);
        }
        "hangup" => {
            reset(theirs);
            let callbacks = Closures::new().on_hangup(move |_, _| boom());
            event_loop
                .register(ours, Interest::NONE, callbacks)
                .unwrap();
        }
        "default" => {
            socket2::SockRef::from(&theirs)
                .send_out_of_band(b"!")
                .unwrap();
            let callbacks = Closures::new().on_default(move |_, _| boom());
            event_loop
                .register(ours, Interest::PRIORITY, callbacks)
                .unwrap();
            kept = Box::new(theirs);
        }
        "connect" => {
            let (listener, addr) = listener();
            let callbacks = Closures::new().on_connect(move |_| boom());
            event_loop.connect(addr, callbacks).unwrap();
            kept = Box::new(listener);
        }
        "accept" => {
            let (listener, addr) = listener();
            let first = Count::default();
            event_loop
                .listen(listener, move |_, _| {
                    if first.add() == 1 {
                        boom();
                    }
                    None::<Closures>
                })
                .unwrap();
            kept = Box::new(TcpStream::connect(addr).unwrap());
        }
        "timer" => drop(event_loop.call_later(Duration::ZERO, move |_| boom())),
        "soon" => _ = event_loop.call_soon(move |_| boom()),
        "task" => drop(event_loop.spawn(async move { boom() })),
        "sent" => {
            let remote = event_loop.remote_handle();
            std::thread::spawn(move || remote.call_soon(move |_| boom()).unwrap())
                .join()
                .unwrap();
        }
        "destructor of a registration" => {
            let bomb = Panics(place);
            let callbacks = Closures::new().on_read(move |_| {
                let _mine = &bomb;
            });
            let key = event_loop
                .register(ours, Interest::NONE, callbacks)
                .unwrap();
            event_loop.call_soon(move |handle| handle.remove(key).unwrap());
        }
        "destructor of a closure" => {
            let bomb = Panics(place);
            let call = event_loop.call_soon(move |_| drop(bomb));
            event_loop.call_soon(|_| ());
            assert!(call.cancel());
        }
        "destructor of a timer" => {
            let bomb = Panics(place);
            let timer = event_loop.call_later(Duration::from_secs(9), move |_| drop(bomb));
            assert!(timer.cancel());
        }
        "done-callback" => {
            let task = event_loop.spawn(async {});
            task.add_done_callback(move |_| boom());
            drop(task);
        }
        _ => unreachable!("{place}"),
    }
    kept
}

/// The rest of the batch: one of each kind, all ready at the same time.
fn witnesses(event_loop: &EventLoop, log: &Log) -> Vec<UnixStream> {
    let kept = (0..3).map(|_| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (&theirs).write_all(b"x").unwrap();
        let note = log.clone();
        let read = Closures::new().on_read(move |cx| {
            note.note("read");
            cx.close();
        });
        event_loop.register(ours, Interest::READ, read).unwrap();
        let note = log.clone();
        event_loop.call_later(Duration::ZERO, move |_| note.note("timer"));
        let note = log.clone();
        event_loop.call_soon(move |_| note.note("soon"));
        let note = log.clone();
        drop(event_loop.spawn(async move { note.note("task") }));
        theirs
    });
    kept.collect()
}

/// L6: the other events of the batch are dispatched, and the other closures and tasks run.
#[test]
fn a_panic_anywhere_leaves_the_turn_once_and_the_rest_is_served() {
    let _guard = guard!();
    for place in PLACES {
        let mut event_loop = strict_loop();
        let reports = collect_unhandled(&event_loop);
        let log = Log::default();
        let _peers = witnesses(&event_loop, &log);
        let _kept = plant(&event_loop, place);
        let _more = witnesses(&event_loop, &log);
        let mut panics = Vec::new();
        for _ in 0..6 {
            let turned = catch_unwind(AssertUnwindSafe(|| event_loop.turn_now()));
            match turned {
                Ok(turned) => turned.unwrap(),
                Err(payload) => panics.push(*payload.downcast::<String>().unwrap()),
            }
            spi::check_invariants(&event_loop);
        }
        assert_eq!(panics, [format!("planted: {place}")]);
        assert_eq!(
            log.len(),
            24,
            "{place}: the rest was served: {}",
            log.text()
        );
        assert_eq!(reports.len(), 0, "{place}: the only panic went out");
        // And it can be used again.
        let note = log.clone();
        event_loop.call_soon(move |handle| {
            note.note("again");
            handle.stop();
        });
        event_loop.run().unwrap();
        assert!(log.has("again"), "{place}");
    }
}

/// Also if work is ready, so that the next turn does not poll the kernel.
#[test]
fn a_panic_leaves_a_run_after_its_turn_and_before_the_next() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let log = Log::default();
    let (this, next) = (log.clone(), log.clone());
    event_loop.call_soon(move |handle| {
        handle.call_soon(move |_| next.note("next"));
        panic!("planted");
    });
    event_loop.call_soon(move |_| this.note("this"));
    let payload = catch_unwind(AssertUnwindSafe(|| event_loop.run())).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"planted"));
    assert_eq!(log.text(), "this");
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "this next");
}

/// Also if the loop had no work, so that it would sleep.
#[test]
fn a_panic_between_two_turns_leaves_the_next_one_at_once() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    event_loop.turn_now().unwrap();
    let bomb = Panics("between");
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let callbacks = Closures::new().on_read(move |_| {
        let _mine = &bomb;
    });
    let key = event_loop
        .register(ours, Interest::READ, callbacks)
        .unwrap();
    event_loop.remove(key).unwrap();
    let payload = catch_unwind(AssertUnwindSafe(|| event_loop.turn(None))).unwrap_err();
    assert_eq!(
        payload.downcast_ref::<String>().unwrap(),
        "planted: between"
    );
    assert_eq!(event_loop.registered(), 0);
}

#[test]
fn an_isolated_panic_is_reported_once_and_the_loop_goes_on() {
    let _guard = guard!();
    for place in PLACES {
        let mut event_loop = strict_loop();
        event_loop.set_panic_policy(PanicPolicy::Isolate);
        let reports = collect_unhandled(&event_loop);
        let log = Log::default();
        let _kept = plant(&event_loop, place);
        let _peers = witnesses(&event_loop, &log);
        turn_times(&mut event_loop, 6);
        let expected = format!("panicked: planted: {place}");
        assert_eq!(reports.len(), 1, "{}", reports.text());
        assert!(reports.text().ends_with(&expected), "{}", reports.text());
        assert_eq!(log.len(), 12, "{place}: {}", log.text());
    }
}

#[test]
fn an_abort_ends_the_process_at_the_panic() {
    let name = "panics::an_abort_ends_the_process_at_the_panic";
    if std::env::var("READILY_IT_ALONE").as_deref() == Ok(name) {
        let place = std::env::var("PLACE").unwrap();
        let place = PLACES.into_iter().find(|one| *one == place).unwrap();
        let mut event_loop = strict_loop();
        event_loop.set_panic_policy(PanicPolicy::Abort);
        let _kept = plant(&event_loop, place);
        turn_times(&mut event_loop, 6);
        println!("it went on");
        return;
    }
    let _guard = guard!();
    for place in ["read", "task", "destructor of a registration"] {
        let output = command(name, None).env("PLACE", place).output().unwrap();
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{place}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains(&format!("planted: {place}")),
            "never silent: {said}"
        );
    }
}

#[test]
fn of_several_panics_in_a_turn_the_first_goes_out_and_the_others_are_reported() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let reports = collect_unhandled(&event_loop);
    for n in 0..4 {
        event_loop.call_soon(move |_| panic!("number {n}"));
    }
    let payload = catch_unwind(AssertUnwindSafe(|| event_loop.turn_now())).unwrap_err();
    assert_eq!(payload.downcast_ref::<String>().unwrap(), "number 0");
    let reports = reports.text();
    assert!(
        (1..4).all(|n| reports.contains(&format!("number {n}"))),
        "{reports}"
    );
    event_loop.turn_now().unwrap();
}

/// R045.
#[test]
fn a_hook_that_panics_is_reported_and_stays() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    event_loop.set_panic_policy(PanicPolicy::Isolate);
    let count = Count::default();
    let hook = count.clone();
    event_loop.on_unhandled(move |_| {
        assert!(hook.add() != 1, "the hook panics the first time");
    });
    for _ in 0..2 {
        event_loop.call_soon(|_| panic!("planted"));
    }
    turn_times(&mut event_loop, 2);
    assert_eq!(count.get(), 2);
}

/// A hook may be taken out and put back, and may take itself out.
#[test]
fn a_hook_is_returned_and_one_that_removes_itself_is_dropped() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    event_loop.set_panic_policy(PanicPolicy::Isolate);
    assert!(event_loop.take_unhandled_hook().is_none());
    let log = Log::default();
    let (inner, outer) = (log.clone(), log.clone());
    event_loop.on_unhandled(move |_| inner.note("inner"));
    let mut previous = event_loop.take_unhandled_hook().expect("it was set");
    assert!(event_loop.take_unhandled_hook().is_none());
    event_loop.on_unhandled(move |unhandled| {
        outer.note("outer");
        previous(unhandled);
    });
    event_loop.call_soon(|_| panic!("planted"));
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "outer inner");

    let (handle, once) = (event_loop.weak_handle(), Dropped(log.clone(), "dropped"));
    event_loop.on_unhandled(move |_| {
        once.0.note("once");
        let taken = handle.with(|handle| handle.take_unhandled_hook().is_none());
        assert_eq!(taken, Some(true), "it is running");
        once.0.note("still there");
    });
    for _ in 0..2 {
        event_loop.call_soon(|_| panic!("planted"));
    }
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "outer inner once still there dropped");
    assert!(event_loop.take_unhandled_hook().is_none());
}

/// L8: the hook that is replaced has a destructor, and that calls back.
#[test]
fn a_hook_may_replace_itself_and_report_from_its_destructor() {
    let _guard = guard!();
    struct Reports(WeakHandle, Log);
    impl Drop for Reports {
        fn drop(&mut self) {
            self.1.note("dropped");
            self.0.with(|handle| {
                let log = self.1.clone();
                handle.on_unhandled(move |_| log.note("third"));
            });
        }
    }
    let mut event_loop = strict_loop();
    event_loop.set_panic_policy(PanicPolicy::Isolate);
    let log = Log::default();
    let (first, second) = (Reports(event_loop.weak_handle(), log.clone()), log.clone());
    event_loop.on_unhandled(move |_| {
        first.1.note("first");
        let second = second.clone();
        first
            .0
            .with(|handle| handle.on_unhandled(move |_| second.note("second")));
    });
    for _ in 0..2 {
        event_loop.call_soon(|_| panic!("planted"));
    }
    turn_times(&mut event_loop, 2);
    assert_eq!(log.text(), "first dropped third");
}

/// R057: wakers with code of another crate.
struct Hostile;

impl Wake for Hostile {
    fn wake(self: Arc<Self>) {
        panic!("planted: waker");
    }
}

#[test]
fn a_waker_that_panics_keeps_neither_the_other_direction_nor_the_callbacks_asleep() {
    let _guard = guard!();
    let mut runner = strict_runner();
    runner.set_panic_policy(PanicPolicy::Isolate);
    let reports = collect_unhandled(&runner);
    runner
        .run(async {
            let (a, b) = tcp_pair();
            // Fill the buffers, so that a writer waits; then a hostile reader waits, too.
            fill(&a);
            let stream = readily::io::TcpStream::from_std(a).unwrap();
            let block = vec![0; 1 << 16];
            let hostile = Waker::from(Arc::new(Hostile));
            let mut buffer = [0; 8];
            let mut reads = Box::pin(stream.read(&mut buffer));
            let polled = reads
                .as_mut()
                .poll(&mut std::task::Context::from_waker(&hostile));
            assert!(polled.is_pending());
            // One report, both directions: the peer takes all and answers.
            let peer = std::thread::spawn(move || {
                let mut b = b;
                b.write_all(b"x").unwrap();
                let mut sink = [0; 1 << 16];
                b.set_read_timeout(Some(Duration::from_millis(300)))
                    .unwrap();
                while Read::read(&mut b, &mut sink).is_ok_and(|n| n > 0) {}
                b
            });
            stream.write(&block).await.unwrap();
            drop(reads);
            let _b = peer.join().unwrap();
        })
        .unwrap();
    assert!(reports.len() <= 1, "{}", reports.text());
    // A future's done-callbacks, behind a hostile waiter.
    let log = Log::default();
    let (note, expected) = (log.clone(), reports.len() + 1);
    runner
        .run(async move {
            let (promise, mut future) = readily::task::create_future::<u8>();
            future.add_done_callback(move |_| note.note("done"));
            let hostile = Waker::from(Arc::new(Hostile));
            let polled =
                std::pin::Pin::new(&mut future).poll(&mut std::task::Context::from_waker(&hostile));
            assert!(polled.is_pending());
            let _panics_or_not = catch_unwind(AssertUnwindSafe(|| promise.set_result(1)));
            readily::yield_now().await;
            readily::yield_now().await;
        })
        .unwrap();
    assert_eq!(log.text(), "done");
    let _ = expected;
}

#[test]
fn a_source_that_is_closed_wakes_writers_though_a_reader_panics() {
    let _guard = guard!();
    let mut runner = strict_runner();
    runner.set_panic_policy(PanicPolicy::Isolate);
    let reports = collect_unhandled(&runner);
    let (a, _b) = tcp_pair();
    fill(&a);
    let woken = Arc::new(Noted::default());
    let stream = {
        let _here = runner.event_loop().enter();
        readily::io::TcpStream::from_std(a).unwrap()
    };
    runner.run(readily::yield_now()).unwrap();
    let (mut buffer, block) = ([0; 8], [0; 8]);
    let mut reads = Box::pin(stream.read(&mut buffer));
    let mut writes = Box::pin(stream.write(&block));
    let hostile = Waker::from(Arc::new(Hostile));
    let noted = Waker::from(Arc::clone(&woken));
    assert!(
        reads
            .as_mut()
            .poll(&mut std::task::Context::from_waker(&hostile))
            .is_pending()
    );
    assert!(
        writes
            .as_mut()
            .poll(&mut std::task::Context::from_waker(&noted))
            .is_pending()
    );
    drop(runner);
    assert!(woken.0.load(std::sync::atomic::Ordering::Relaxed), "S2");
    assert!(reports.len() <= 1);
}

#[derive(Default)]
struct Noted(std::sync::atomic::AtomicBool);

impl Wake for Noted {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn a_panic_in_a_held_task_belongs_to_its_holder() {
    let _guard = guard!();
    let mut runner = strict_runner();
    let reports = collect_unhandled(&runner);
    runner
        .run(async {
            let error = spawn(async { panic!("planted") }).await.unwrap_err();
            assert!(error.is_panic());
            assert_eq!(error.to_string(), "the task panicked: planted");
        })
        .unwrap();
    assert_eq!(reports.len(), 0);
}

#[test]
fn a_panic_that_was_not_retrieved_is_reported_when_its_handle_is_dropped() {
    let _guard = guard!();
    let mut runner = strict_runner();
    runner.set_panic_policy(PanicPolicy::Isolate);
    let reports = collect_unhandled(&runner);
    runner
        .run(async {
            let task = spawn(async { panic!("planted") });
            while !task.done() {
                readily::yield_now().await;
            }
            drop(task);
        })
        .unwrap();
    assert_reports(&reports.text(), "Task-2", "planted");
}

/// One report: the panic `message` of that task, which was spawned somewhere here.
#[track_caller]
fn assert_reports(reports: &str, task: &str, message: &str) {
    let start = format!("{task}, spawned at tests/it/panics.rs:");
    assert!(reports.starts_with(&start), "{reports}");
    let end = format!(" panicked: {message}");
    assert!(reports.ends_with(&end), "{reports}");
}

#[test]
fn a_panic_of_the_main_future_comes_out_of_run_whatever_the_policy() {
    let _guard = guard!();
    let mut runner = strict_runner();
    for policy in [PanicPolicy::Isolate, PanicPolicy::Propagate] {
        runner.set_panic_policy(policy);
        let run = AssertUnwindSafe(|| runner.run(async { panic!("planted") }));
        let payload = catch_unwind(run).map(drop).unwrap_err();
        assert_eq!(*payload.downcast_ref::<&str>().unwrap(), "planted");
        assert_eq!(
            runner.run(async { 21 }).unwrap(),
            21,
            "it can be used again"
        );
    }
}

/// The panic of a child that only its group has got.
#[test]
fn the_panic_of_a_child_whose_group_is_dropped_is_reported_with_its_name() {
    let _guard = guard!();
    let mut runner = strict_runner();
    runner.set_panic_policy(PanicPolicy::Isolate);
    let reports = collect_unhandled(&runner);
    let body = async |group: &TaskGroup<()>| -> Result<(), ()> {
        group.spawn(async { Ok(()) });
        group.spawn::<(), _>(async { panic!("planted") });
        pending().await
    };
    let limited = wait_for(Duration::from_millis(5), TaskGroup::collect(body));
    assert!(runner.run(limited).unwrap().is_err());
    assert_reports(&reports.text(), "Task-3", "planted");
}

/// The one that goes out of `close` has nowhere to go here.
#[test]
fn a_panic_pending_in_a_loop_that_is_dropped_is_reported() {
    let _guard = guard!();
    for main_panics in [false, true] {
        let mut runner = strict_runner();
        let reports = collect_unhandled(&runner);
        let run = catch_unwind(AssertUnwindSafe(move || {
            let run = runner.run(async {
                let held = Panics("task");
                drop(spawn(async move {
                    let _held = &held;
                    pending::<()>().await;
                }));
                let handle = WeakHandle::current().unwrap();
                handle.with(|handle| {
                    let held = Panics("timer");
                    handle.call_later(Duration::from_secs(9), move |_| drop(held));
                });
                readily::yield_now().await;
                assert!(!main_panics, "main");
            });
            drop(runner);
            run.is_ok()
        }));
        assert_eq!(run.is_ok(), !main_panics);
        let reports = reports.text();
        let start = "a destructor or a waker panicked: planted: timer";
        assert!(reports.starts_with(start), "{reports}");
        let (_, task) = reports
            .split_once(" Task-2, spawned at tests/it/panics.rs:")
            .expect(&reports);
        assert!(task.ends_with("planted: task"), "{reports}");
    }
}

/// The caller's own panic is propagated, whichever came first.
#[test]
fn of_a_main_future_and_a_task_that_panic_in_one_turn_the_task_is_reported() {
    let _guard = guard!();
    for main_is_first in [true, false] {
        for policy in [PanicPolicy::Isolate, PanicPolicy::Propagate] {
            let mut runner = strict_runner();
            runner.set_panic_policy(policy);
            let reports = collect_unhandled(&runner);
            let main = async {
                let task = async move {
                    if main_is_first {
                        readily::yield_now().await;
                    }
                    panic!("the task's");
                };
                drop(spawn(task));
                readily::yield_now().await;
                if main_is_first {
                    readily::yield_now().await;
                }
                panic!("the main future's")
            };
            let run = catch_unwind(AssertUnwindSafe(|| runner.run(main)));
            let payload = run.map(drop).unwrap_err();
            assert_eq!(
                *payload.downcast_ref::<&str>().unwrap(),
                "the main future's"
            );
            assert_eq!(reports.len(), 1, "{}", reports.text());
            assert!(reports.text().ends_with("the task's"), "{}", reports.text());
            assert_eq!(runner.run(async { 21 }).unwrap(), 21);
        }
    }
}

/// Also if no task is left that could get the first.
#[test]
#[allow(clippy::await_holding_refcell_ref)] // nothing else uses it meanwhile
fn of_several_panics_in_a_set_that_is_shut_down_the_first_goes_out_and_the_others_are_reported() {
    let _guard = guard!();
    for policy in [PanicPolicy::Isolate, PanicPolicy::Propagate] {
        let mut runner = strict_runner();
        runner.set_panic_policy(policy);
        let reports = collect_unhandled(&runner);
        let ended = runner.run(async {
            let mut set = JoinSet::new();
            for what in ["first", "second"] {
                set.spawn(async move { panic!("{what}") });
            }
            readily::yield_now().await;
            spawn(async move { set.shutdown().await }).await
        });
        let error = ended.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the task panicked: first");
        assert_reports(&reports.text(), "Task-3", "second");
    }
    let mut runner = strict_runner();
    runner.set_panic_policy(PanicPolicy::Isolate);
    let reports = collect_unhandled(&runner);
    runner
        .run(async {
            let set = Rc::new(RefCell::new(JoinSet::new()));
            set.borrow_mut().spawn(async { panic!("not given") });
            let own = Rc::clone(&set);
            // Cancels itself with the others, and waits for its own end.
            let shuts = async move { own.borrow_mut().shutdown().await };
            set.borrow_mut().spawn(shuts);
            for _ in 0..3 {
                readily::yield_now().await;
            }
        })
        .unwrap();
    assert_reports(&reports.text(), "Task-2", "not given");
}

/// Without a loop there is no hook: the report goes to standard error, as by default.
#[test]
fn a_panic_that_outlives_its_loop_is_printed_on_standard_error() {
    let name = "panics::a_panic_that_outlives_its_loop_is_printed_on_standard_error";
    if std::env::var("READILY_IT_ALONE").as_deref() == Ok(name) {
        let mut runner = strict_runner();
        let reports = collect_unhandled(&runner);
        let remote = runner.remote_handle();
        let far = remote.spawn(|| async { panic!("far") }).unwrap();
        let held = runner.run(async {
            let task = spawn(async { panic!("held") });
            let mut group = Box::pin(TaskGroup::<()>::collect(async |group| {
                group.spawn::<(), _>(async { panic!("child") });
                Ok(())
            }));
            let polled = poll_fn(|cx| Poll::Ready(group.as_mut().poll(cx).is_pending()));
            assert!(polled.await);
            readily::yield_now().await;
            readily::yield_now().await;
            // One that was looked at is not reported; an error that was not retrieved is, by its type.
            let seen = spawn(async { panic!("seen") });
            let mut failed = Box::pin(TaskGroup::<String>::collect(async |group| {
                group.spawn::<(), _>(async { Err("lost".to_owned()) });
                Ok(())
            }));
            let polled = poll_fn(|cx| Poll::Ready(failed.as_mut().poll(cx).is_pending()));
            assert!(polled.await);
            readily::yield_now().await;
            readily::yield_now().await;
            assert!(seen.with_result(|result| result.is_err()).unwrap());
            (task, group, seen, failed)
        });
        runner.close();
        drop((far, held));
        assert_eq!(reports.len(), 0, "{}", reports.text());
        return;
    }
    let _guard = guard!();
    let output = command(name, None).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    for (task, what) in [(2, "far"), (3, "held"), (4, "child")] {
        let start = format!("readily: Task-{task}, spawned at tests/it/panics.rs:");
        let end = format!("panicked: {what}");
        let is_it = |line: &str| line.starts_with(&start) && line.ends_with(&end);
        assert_eq!(said.lines().filter(|line| is_it(line)).count(), 1, "{said}");
    }
    assert!(!said.contains("panicked: seen"), "{said}");
    let failed =
        |line: &&str| line.starts_with("readily: Task-6,") && line.contains("failed: alloc::");
    assert_eq!(said.lines().filter(failed).count(), 1, "{said}");
}

/// R045: others are still dropped.
#[test]
fn destructors_that_panic_while_the_loop_closes_do_not_keep_others_from_running() {
    let _guard = guard!();
    let event_loop = strict_loop();
    let reports = collect_unhandled(&event_loop);
    let log = Log::default();
    let (_ours, mut peers) = ((), Vec::new());
    for _ in 0..2 {
        let (ours, theirs) = UnixStream::pair().unwrap();
        peers.push(theirs);
        let held = (Dropped(log.clone(), "registration"), Panics("registration"));
        let callbacks = Closures::new().on_read(move |_| {
            let _both = &held;
        });
        event_loop
            .register(ours, Interest::READ, callbacks)
            .unwrap();
        let held = (Dropped(log.clone(), "timer"), Panics("timer"));
        event_loop.call_later(Duration::from_secs(9), move |_| drop(held));
        let held = (Dropped(log.clone(), "soon"), Panics("soon"));
        event_loop.call_soon(move |_| drop(held));
        let held = (Dropped(log.clone(), "task"), Panics("task"));
        drop(event_loop.spawn(async move {
            let _both = &held;
            pending::<()>().await;
        }));
    }
    let payload = catch_unwind(AssertUnwindSafe(|| event_loop.close())).unwrap_err();
    assert_eq!(payload.downcast_ref::<String>().unwrap(), "planted: task");
    for what in ["registration", "timer", "soon", "task"] {
        assert_eq!(log.count(what), 2, "{what}");
    }
    assert_eq!(
        reports.len(),
        7,
        "one was propagated, the others were reported"
    );
}

#[test]
fn a_loop_that_is_dropped_during_a_panic_does_not_abort() {
    let _guard = guard!();
    let log = Log::default();
    let note = log.clone();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let event_loop = strict_loop();
        let dropped = Dropped(note, "dropped");
        event_loop.call_soon(move |_| drop(dropped));
        let bomb = Panics("while unwinding");
        event_loop.set_panic_policy(PanicPolicy::Isolate);
        std::mem::forget(bomb); // a second panic in flight aborts, by the language
        panic!("planted");
    }));
    assert!(unwound.is_err());
    assert_eq!(log.text(), "dropped");
}

/// R140: each client sends a byte, and the code that serves the second one panics, in a program that
/// does not set a panic policy.
#[test]
fn a_connection_that_panics_does_not_end_the_server() {
    let _guard = guard!();
    let serve = |byte: u8| {
        assert_ne!(byte, 1, "planted");
        byte
    };
    // By callbacks.
    let mut event_loop = EventLoop::new().unwrap();
    let reports = collect_unhandled(&event_loop);
    let (listener, addr) = listener();
    let accept = move |_: &Cx<'_>, _: &Accepted| {
        Some(Closures::new().on_read(move |cx| {
            let mut byte = [0];
            if cx.read(&mut byte).is_ok_and(|n| n == 1) {
                drop(cx.write(&[serve(byte[0])]));
            }
            cx.close();
        }))
    };
    let key = event_loop.listen(listener, accept).unwrap();
    let clients = std::thread::spawn(move || {
        let ask = |n: u8| {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.write_all(&[n]).unwrap();
            let mut answer = Vec::new();
            stream
                .read_to_end(&mut answer)
                .map(|_| answer)
                .unwrap_or_default()
        };
        [0, 1, 2].map(ask)
    });
    turn_until(&mut event_loop, || clients.is_finished());
    assert_eq!(clients.join().unwrap(), [vec![0], vec![], vec![2]]);
    event_loop.remove(key).unwrap();
    assert_eq!((reports.len(), event_loop.registered()), (1, 0));
    // By coroutines.
    let answers = readily::run(async {
        let listener = readily::io::TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        drop(spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(spawn(async move {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).await.unwrap();
                    stream.write_all(&[serve(byte[0])]).await.unwrap();
                }));
            }
        }));
        let mut answers = Vec::new();
        for n in 0..3 {
            let stream = readily::io::TcpStream::connect(addr).await.unwrap();
            stream.write_all(&[n]).await.unwrap();
            answers.push(stream.read(&mut [0]).await.unwrap_or(0));
        }
        answers
    });
    assert_eq!(answers.unwrap(), [1, 0, 1]);
}

#[test]
fn a_listener_survives_the_panic_of_its_callback() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    event_loop.set_panic_policy(PanicPolicy::Isolate);
    let reports = collect_unhandled(&event_loop);
    let (listener, addr) = listener();
    let count = Count::default();
    let accepted = count.clone();
    event_loop
        .listen(listener, move |_, _| {
            assert!(accepted.add() % 2 == 0, "planted");
            None::<Closures>
        })
        .unwrap();
    let _clients: Vec<_> = (0..6).map(|_| TcpStream::connect(addr).unwrap()).collect();
    while count.get() < 6 {
        event_loop.turn(Some(Duration::from_millis(20))).unwrap();
    }
    assert_eq!((reports.len(), event_loop.registered()), (3, 1));
    assert_eq!(
        reports.text().matches("the connect callback").count(),
        3,
        "{reports:?}"
    );
}

#[test]
fn a_task_that_panics_on_its_nth_poll_is_dropped_then() {
    let _guard = guard!();
    let mut runner = strict_runner();
    let log = Log::default();
    let held = Dropped(log.clone(), "dropped");
    runner
        .run(async {
            let mut polls = 0;
            let task = spawn(poll_fn(move |cx| {
                let _mine = &held;
                polls += 1;
                assert!(polls < 3, "planted");
                cx.waker().wake_by_ref();
                Poll::<()>::Pending
            }));
            assert!(task.await.unwrap_err().is_panic());
        })
        .unwrap();
    assert_eq!(log.text(), "dropped");
}

/// A waker of another crate, with a destructor that panics.
struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("planted: a waker is dropped");
    }
}

impl Wake for PanicsInDrop {
    fn wake(self: Arc<Self>) {
        drop(self);
    }
}

/// A waker that is not a task's is dropped with a guard, also where most wakers are those of tasks.
#[test]
fn a_waker_that_panics_when_it_is_dropped_with_its_timer_is_reported() {
    let _guard = guard!();
    let mut runner = strict_runner();
    runner.set_panic_policy(PanicPolicy::Isolate);
    let reports = collect_unhandled(&runner);
    let went_on = runner.run(async {
        let waker = Waker::from(Arc::new(PanicsInDrop));
        let handle = WeakHandle::current().unwrap();
        let timer = handle.with(|handle| spi::wake_later(handle, Duration::from_secs(3600), waker));
        drop(timer);
        true
    });
    assert_eq!((went_on.unwrap(), reports.len()), (true, 1));
}
