//! Reports name their cause: the callback, the timer, the closure or the task, and the line that made it;
//! debug mode also names what blocks the loop.

use crate::support::{
    self, Log, collect_unhandled, guard, manual_loop, strict_loop, strict_runner, turn_times,
};
use readily::clock::Manual;
use readily::event_loop::{Branch, Origin};
use readily::io::{Async, TcpListener, TcpStream};
use readily::poll::poll2::PollPoller;
use readily::{
    CancellationToken, Closures, Error, Interest, Lock, LoopHandle, PanicPolicy, Runner, Unhandled,
    WeakHandle, spawn, spi, yield_now,
};
use readily_testing::SimLoop;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::time::Duration;

const MILLI: Duration = Duration::from_millis(1);
/// Nothing is slow: a machine that is busy may stop a callback for as long as it likes.
const HOUR: Duration = Duration::from_secs(3600);

/// The origin, and the time it took if it was slow.
type Reported = (Origin, Option<Duration>);

/// The reports, as values.
fn watch(handle: &LoopHandle) -> Rc<RefCell<Vec<Reported>>> {
    let reports: Rc<RefCell<Vec<Reported>>> = Rc::default();
    let into = Rc::clone(&reports);
    handle.on_unhandled(move |unhandled| {
        into.borrow_mut().push(match unhandled {
            Unhandled::Slow { origin, took } => (origin.clone(), Some(*took)),
            Unhandled::Panic { origin, .. } => (origin.clone(), None),
            other => panic!("{other}"),
        });
    });
    reports
}

/// The line after the one that calls this.
#[track_caller]
fn next_line() -> u32 {
    Location::caller().line() + 1
}

fn line(origin: &Origin) -> u32 {
    match origin {
        Origin::Callback { site, .. }
        | Origin::Accepted { site, .. }
        | Origin::Closure { site }
        | Origin::Timer { site }
        | Origin::Task { site, .. } => {
            assert_eq!(site.file(), file!());
            site.line()
        }
        other => panic!("{other}"),
    }
}

/// Plants a callback, a timer, a closure and a task that run `action`; returns the line of each.
fn plant(sim: &mut SimLoop, action: Rc<dyn Fn()>) -> BTreeMap<&'static str, u32> {
    let (here, there) = sim.kernel().pair().unwrap();
    there.write(b"x").unwrap();
    let run = Rc::clone(&action);
    let callbacks = Closures::new().on_read(move |cx| {
        cx.close();
        run();
    });
    let read = next_line();
    sim.register(here, Interest::READ, callbacks).unwrap();
    let run = Rc::clone(&action);
    let timer = next_line();
    sim.call_later(Duration::ZERO, move |_| run());
    let run = Rc::clone(&action);
    let closure = next_line();
    sim.call_soon(move |_| run());
    let task = next_line();
    let task_ = sim.spawn(async move { action() });
    task_.set_name("worker");
    drop(task_);
    drop(there);
    [
        ("read", read),
        ("timer", timer),
        ("closure", closure),
        ("worker", task),
    ]
    .into()
}

/// The line of each; where tasks and closures stand to each other is the seed's.
fn lines_of(reports: &[Reported]) -> BTreeMap<&'static str, u32> {
    let kind = |(origin, _): &Reported| match origin {
        Origin::Callback {
            branch: Branch::Read,
            ..
        } => "read",
        Origin::Timer { .. } => "timer",
        Origin::Closure { .. } => "closure",
        Origin::Task { name, .. } if **name == *"worker" => "worker",
        other => panic!("{other}"),
    };
    reports
        .iter()
        .map(|one| (kind(one), line(&one.0)))
        .collect()
}

#[test]
fn a_slow_call_is_reported_with_its_task_and_the_line_that_made_it() {
    let mut sim = SimLoop::new(1);
    sim.set_debug(true);
    let reports = watch(&sim);
    let clock = sim.kernel().clock();
    let lines = plant(&mut sim, Rc::new(move || clock.advance(100 * MILLI)));
    sim.run_until_stalled().unwrap();
    let reports = reports.take();
    assert_eq!(lines_of(&reports), lines);
    assert!(reports.iter().all(|(_, took)| *took == Some(100 * MILLI)));
}

#[test]
fn what_is_fast_enough_or_not_asked_for_is_not_reported() {
    for (debug, millis) in [(true, 9), (false, 10_000)] {
        let mut sim = SimLoop::new(2);
        sim.set_debug(debug);
        sim.set_slow_callback(100 * MILLI);
        let reports = collect_unhandled(&sim);
        let clock = sim.kernel().clock();
        plant(&mut sim, Rc::new(move || clock.advance(millis * MILLI)));
        sim.run_until_stalled().unwrap();
        assert_eq!(reports.text(), "");
    }
}

#[test]
fn a_slow_turn_of_many_fast_calls_is_reported_with_the_longest() {
    let mut sim = SimLoop::new(3);
    sim.set_debug(true);
    let reports = collect_unhandled(&sim);
    let mut longest = 0;
    for n in 1..=5 {
        let clock = sim.kernel().clock();
        let took = if n == 3 { 60 } else { 20 };
        let here = next_line();
        sim.call_soon(move |_| clock.advance(took * MILLI));
        longest = here;
    }
    sim.run_until_stalled().unwrap();
    let expected = format!(
        "a slow turn, 140ms in 5 calls; the longest: the closure queued at {}:{longest}:13",
        file!()
    );
    assert_eq!(reports.text(), expected);
}

/// Also if the turn has nothing but events, and at once when debug mode is turned on.
#[test]
fn a_slow_turn_of_events_is_reported_each_time() {
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    event_loop.turn_now().unwrap();
    let reports = collect_unhandled(&event_loop);
    event_loop.set_debug(true);
    let mut peers = Vec::new();
    for _ in 0..5 {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let clock = clock.clone();
        let read = Closures::new().on_read(move |cx| {
            drop(cx.read(&mut [0; 64]));
            clock.advance(30 * MILLI);
        });
        event_loop.register(ours, Interest::READ, read).unwrap();
        peers.push(theirs);
    }
    for turn in 1..=3 {
        for peer in &mut peers {
            peer.write_all(b"x").unwrap();
        }
        turn_times(&mut event_loop, 1);
        assert_eq!(reports.len(), turn, "{}", reports.text());
    }
    let text = reports.text();
    assert!(text.starts_with("a slow turn, 150ms in 5 calls"), "{text}");
}

#[test]
fn a_panic_is_reported_with_its_task_and_the_line_that_made_it() {
    let mut sim = SimLoop::new(4);
    sim.set_panic_policy(PanicPolicy::Isolate);
    let reports = watch(&sim);
    let lines = plant(&mut sim, Rc::new(|| panic!("planted")));
    sim.run_until_stalled().unwrap();
    let reports = reports.take();
    assert_eq!(lines_of(&reports), lines);
}

/// The closure of another thread, and that of a done-callback, have the line that handed them in.
#[test]
fn closures_from_other_callers_are_reported_with_the_line_that_queued_them() {
    let mut sim = SimLoop::new(5);
    sim.set_panic_policy(PanicPolicy::Isolate);
    let reports = watch(&sim);
    let remote = sim.remote_handle();
    let sent = next_line();
    remote.call_soon(|_| panic!("planted")).unwrap();
    sim.run_until_stalled().unwrap();
    let task = sim.spawn(async {});
    let added = next_line();
    task.add_done_callback(|_| panic!("planted"));
    sim.run_until_stalled().unwrap();
    let lines: Vec<u32> = reports.take().iter().map(|(o, _)| line(o)).collect();
    assert_eq!(lines, [sent, added]);
}

/// Also of a task that has ended before it was cancelled or detached.
#[test]
fn the_error_of_a_detached_task_is_reported_once() {
    for late in [false, true] {
        let mut runner = strict_runner();
        runner.set_panic_policy(PanicPolicy::Isolate);
        let reports = collect_unhandled(&runner);
        runner
            .run(async {
                let error = spawn(async { Err::<(), _>("no such file") });
                let fine = spawn(async { Ok::<_, &str>(()) });
                let panics = spawn(async { panic!("planted") as Result<(), &str> });
                let cancelled = spawn(std::future::pending::<Result<(), &str>>());
                if late {
                    yield_now().await;
                }
                cancelled.cancel();
                for task in [error, fine, panics, cancelled] {
                    task.detach_reporting();
                }
                yield_now().await;
                yield_now().await;
            })
            .unwrap();
        let reports = reports.text();
        let lines: Vec<&str> = reports.split(" Task-").collect();
        assert_eq!(lines.len(), 2, "{reports}");
        assert!(lines[0].starts_with("Task-2, spawned at tests/it/reports.rs:"));
        assert!(lines[0].ends_with("failed: no such file"), "{reports}");
        assert!(lines[1].ends_with("panicked: planted"));
    }
}

/// However soon the run ends after the task has, and if the loop is closed before it is called.
#[test]
fn the_error_of_a_task_is_reported_though_the_run_ends_with_it() {
    for turns in 0..4 {
        let mut runner = strict_runner();
        let reports = collect_unhandled(&runner);
        runner
            .run(async move {
                spawn(async { Err::<(), _>("no such file") }).detach_reporting();
                for _ in 0..turns {
                    yield_now().await;
                }
            })
            .unwrap();
        runner.close();
        // Without a turn it has never run, and was cancelled.
        assert_eq!(
            reports.len(),
            usize::from(turns > 0),
            "{turns} turns: {}",
            reports.text()
        );
    }
}

#[test]
fn a_runner_is_built_of_what_was_chosen() {
    let clock = Manual::new();
    let mut runner = Runner::builder()
        .poller(PollPoller::new().unwrap())
        .clock(clock.clone())
        .panic_policy(PanicPolicy::Isolate)
        .debug(true)
        .slow_callback(MILLI)
        .build()
        .unwrap();
    assert!(runner.event_loop().as_fd().is_err(), "poll(2) has none");
    assert!(runner.is_debug());
    let reports = collect_unhandled(&runner);
    runner.call_soon(move |_| clock.advance(MILLI));
    runner.call_soon(|_| panic!("planted"));
    runner.run(yield_now()).unwrap();
    assert_eq!(reports.len(), 2, "{}", reports.text());
}

/// The order of tasks is the seed's; without one they run in the order of spawning.
#[test]
fn a_runner_runs_tasks_in_the_order_of_its_seed() {
    let order = |seed: Option<u64>| {
        let builder = Runner::builder();
        let builder = match seed {
            Some(seed) => builder.seed(seed),
            None => builder,
        };
        let log = Log::default();
        let mut runner = builder.build().unwrap();
        for name in ["a", "b", "c"] {
            let log = log.clone();
            drop(runner.spawn(async move { log.note(name) }));
        }
        runner.run(yield_now()).unwrap();
        log.text()
    };
    assert_eq!(order(None), "a b c");
    let orders: std::collections::BTreeSet<_> = (0..100).map(|n| order(Some(n))).collect();
    assert_eq!(orders.len(), 6);
    assert_eq!(order(Some(7)), order(Some(7)));
}

#[test]
fn the_environment_turns_debug_mode_on() {
    let _guard = guard!();
    const ME: &str = "reports::the_environment_turns_debug_mode_on";
    if let Some(expected) = std::env::var_os("READILY_EXPECT") {
        let event_loop = strict_loop();
        assert_eq!(event_loop.is_debug(), expected == "on");
        return;
    }
    for (value, expected) in [("1", "on"), ("yes", "on"), ("0", "off"), ("", "off")] {
        let status = support::command(ME, None)
            .env("READILY_DEBUG", value)
            .env("READILY_EXPECT", expected)
            .status();
        assert!(status.unwrap().success(), "{value:?}");
    }
}

#[test]
fn a_main_future_that_takes_too_long_is_reported_too() {
    let mut sim = SimLoop::new(6);
    sim.set_debug(true);
    let reports = collect_unhandled(&sim);
    let clock = sim.kernel().clock();
    let line = next_line();
    sim.run(async {
        clock.advance(99 * MILLI);
        yield_now().await;
        clock.advance(100 * MILLI);
    })
    .unwrap();
    let expected = format!("slow, 100ms: the main future, run at {}:{line}:9", file!());
    assert_eq!(reports.text(), expected);
}

/// A lock that is taken twice: nothing on the loop can help. Another thread then does.
#[test]
fn a_run_that_nothing_can_end_is_reported_once_in_debug_mode() {
    let _guard = guard!();
    for debug in [true, false] {
        let mut runner = Runner::builder()
            .debug(debug)
            .slow_callback(HOUR)
            .build()
            .unwrap();
        let log = Log::default();
        let (note, (sender, receiver)) = (log.clone(), mpsc::channel());
        let say = sender.clone();
        runner.on_unhandled(move |what| {
            note.note(what);
            say.send(()).unwrap();
        });
        if !debug {
            sender.send(()).unwrap();
        }
        let (give, take) = mpsc::channel::<Waker>();
        // The first wake comes after the report, the second when it waits again.
        let thread = std::thread::spawn(move || {
            let first = take.recv().unwrap();
            receiver.recv().unwrap();
            first.wake();
            let second = take.recv().unwrap();
            // Time enough for what must not come.
            let again = receiver.recv_timeout(100 * MILLI);
            second.wake();
            assert!(again.is_err(), "it is reported twice");
        });
        runner
            .run(async {
                let lock = Lock::new(());
                let holder = spawn(async move {
                    let _first = lock.acquire().await;
                    let _second = lock.acquire().await;
                });
                holder.set_name("twice");
                let mut polls = 0;
                poll_fn(|cx| {
                    polls += 1;
                    // The last one is not taken.
                    let _sent = give.send(cx.waker().clone());
                    match polls {
                        3 => Poll::Ready(()),
                        _ => Poll::Pending,
                    }
                })
                .await;
            })
            .unwrap();
        thread.join().unwrap();
        let expected = "deadlock: nothing on this loop can wake the waiting tasks: Task-1, twice \
                        (a false alarm if another thread holds a waker of one of them)";
        assert_eq!(log.text(), if debug { expected } else { "" });
    }
}

/// Awaited here, it is woken by another loop; of one's own loop it is not.
#[test]
fn a_run_that_awaits_a_task_of_another_loop_is_not_reported() {
    let _guard = guard!();
    let (to_us, remotes) = mpsc::channel();
    let home = std::thread::spawn(move || {
        let mut runner = strict_runner();
        to_us.send(runner.remote_handle()).unwrap();
        runner.run(std::future::pending::<()>()).is_err()
    });
    let remote = remotes.recv().unwrap();
    let mut runner = Runner::builder().debug(true).build().unwrap();
    runner.set_slow_callback(HOUR);
    let (sender, receiver) = mpsc::channel();
    runner.on_unhandled(move |what| sender.send(what.to_string()).unwrap());
    // Time enough for what must not come.
    let waits = move || async move { (receiver.recv_timeout(100 * MILLI), receiver) };
    let ended = runner.run(async { remote.spawn(waits).unwrap().await });
    let (received, again) = ended.unwrap().unwrap();
    assert_eq!(received, Err(mpsc::RecvTimeoutError::Timeout));
    // By now the other loop has nothing to do with it any more.
    remote.spawn(|| async {}).unwrap().wait().unwrap();
    // One that is not awaited any more can end nothing; nor can one of the same loop.
    let handle = runner.weak_handle();
    runner.on_unhandled(move |_| {
        handle.with(LoopHandle::stop);
    });
    let gone = runner.run(async {
        let mut task = remote.spawn(std::future::pending::<()>).unwrap();
        let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut task).poll(cx).is_pending()));
        assert!(polled.await);
        drop(task);
        std::future::pending::<()>().await;
    });
    assert!(matches!(gone, Err(Error::Stopped)));
    let own = runner.run(async {
        let handle = WeakHandle::current().unwrap();
        let remote = handle.with(LoopHandle::remote_handle).unwrap();
        let task = remote.spawn(std::future::pending::<()>).unwrap();
        drop(remote);
        task.await.unwrap();
    });
    assert!(matches!(own, Err(Error::Stopped)));
    assert!(again.try_recv().is_err(), "nothing else was reported");
    remote.stop().unwrap();
    assert!(home.join().unwrap());
}

/// A timer, a descriptor, a remote: each of them may.
#[test]
fn a_run_that_something_may_still_end_is_not_reported() {
    let _guard = guard!();
    let mut runner = Runner::builder()
        .debug(true)
        .slow_callback(HOUR)
        .build()
        .unwrap();
    let reports = collect_unhandled(&runner);
    runner
        .run(async {
            readily::sleep(MILLI).await;
            let (ours, theirs) = UnixStream::pair().unwrap();
            let source = Async::new(ours).unwrap();
            let thread = std::thread::spawn(move || drop(theirs));
            source.readable().await.unwrap();
            thread.join().unwrap();
            drop(source);
            let (sender, mut receiver) = readily::sync::channel::unbounded();
            let thread = std::thread::spawn(move || sender.send(1));
            assert_eq!(receiver.recv().await, Ok(1));
            thread.join().unwrap().unwrap();
        })
        .unwrap();
    assert_eq!(reports.text(), "");
}

/// R144: the line of the program's own `listen`, or of its own registration, and the address of the
/// peer: also when the peer has gone.
#[test]
fn the_panic_of_an_accepted_connection_names_the_listen_and_the_peer() {
    let _guard = guard!();
    for (manual_poll, resets) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut event_loop = strict_loop();
        event_loop.set_panic_policy(PanicPolicy::Isolate);
        let reports = watch(&event_loop);
        let (listener, addr) = support::listener();
        let callbacks = move || match resets {
            false => Closures::new().on_read(|_| panic!("planted")),
            true => Closures::new().on_hangup(|_, _| panic!("planted")),
        };
        let made = if manual_poll {
            let accepts = Closures::new().on_connect(move |cx| {
                let accepted = cx.accept().unwrap();
                drop(cx.register_accepted(accepted, Interest::READ, callbacks()));
            });
            let listens = event_loop.register(listener, Interest::READ, accepts);
            listens.map(|_| line!() - 3).unwrap()
        } else {
            let listens = event_loop.listen(listener, move |_, _| Some(callbacks()));
            listens.map(|_| line!() - 1).unwrap()
        };
        let mut client = std::net::TcpStream::connect(addr).unwrap();
        let peer = client.local_addr().unwrap();
        while event_loop.registered() < 2 {
            event_loop.turn(None).unwrap();
        }
        match resets {
            false => client.write_all(b"x").unwrap(),
            true => support::reset(client),
        }
        support::turn_until(&mut event_loop, || !reports.borrow().is_empty());
        let reports = reports.take();
        let [(origin, None)] = &reports[..] else {
            panic!("{reports:?}");
        };
        let Origin::Accepted {
            branch,
            site,
            peer: named,
            ..
        } = origin
        else {
            panic!("{origin}");
        };
        assert_eq!((*named, site.file(), site.line()), (peer, file!(), made));
        assert_eq!(*branch, if resets { Branch::Hangup } else { Branch::Read });
        let said = format!(
            "the {} callback of the connection from {peer}, registered at {site}",
            branch.name()
        );
        assert_eq!(origin.to_string(), said);
    }
}

/// An error that cannot even be shown.
struct Unspeakable;

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("planted")
    }
}

/// A second registration of `io` is refused, with the line of the first.
fn is_registered_at<T: AsFd + 'static>(io: Rc<T>, made: u32) {
    let again = WeakHandle::current().unwrap().with(|handle| {
        let again = handle.register(io, Interest::READ, Closures::new());
        again.map_err(|refused| refused.error)
    });
    match again.unwrap().unwrap_err() {
        Error::AlreadyRegistered { site, .. } => {
            assert_eq!((site.file(), site.line()), (file!(), made));
        }
        other => panic!("{other}"),
    }
}

/// R144: each report, and each error that has a line, names one of the program's.
#[test]
fn nothing_that_the_program_registers_is_named_by_a_line_of_this_crate() {
    let _guard = guard!();
    let mut runner = strict_runner();
    runner.set_panic_policy(PanicPolicy::Isolate);
    let reports = watch(&runner);
    runner
        .run(async {
            let at = next_line();
            let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
            let addr = listener.local_addr().unwrap();
            let connects = next_line();
            let connecting = TcpStream::connect(addr);
            let ours = connecting.await.unwrap();
            let (theirs, _) = listener.accept().await.unwrap();
            is_registered_at(Rc::new(listener), at);
            is_registered_at(Rc::new(theirs), at);
            is_registered_at(Rc::new(ours), connects);
            let pipe = Rc::new(UnixStream::pair().unwrap().0);
            let made = next_line();
            let _source = Async::new(Rc::clone(&pipe)).unwrap();
            is_registered_at(pipe, made);
            let end = Rc::new(UnixStream::pair().unwrap().0);
            let fd = Rc::clone(&end);
            let made = next_line();
            let register = |handle: &LoopHandle| spi::register_source(handle, fd, true, |_, _| {});
            WeakHandle::current()
                .unwrap()
                .with(register)
                .unwrap()
                .unwrap();
            is_registered_at(end, made);
            let token = CancellationToken::new();
            let at = next_line();
            token.on_cancel(|_| panic!("planted"));
            token.cancel();
            let (promise, future) = readily::task::create_future();
            let done = next_line();
            future.add_done_callback(|_| panic!("planted"));
            promise.set_result(()).unwrap();
            let detached = next_line();
            spawn(async { Err::<(), _>(Unspeakable) }).detach_reporting();
            for _ in 0..3 {
                yield_now().await;
            }
            let reports: Vec<_> = reports.take().iter().map(|one| line(&one.0)).collect();
            assert_eq!(reports, [at, done, detached]);
        })
        .unwrap();
}
