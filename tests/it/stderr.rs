//! Reports that cannot be written: standard error is full, closed, or a pipe without a reader (R141).
//!
//! Each test runs again in a process of its own, whose standard error is what it is about. Its panic
//! hook writes nothing; the one of the standard library ignores errors of writing.

use crate::support::{command, guard, tcp_pair};
use readily::clock::{Clock, Monotonic};
use readily::event_loop::ExitReason;
use readily::{
    Closures, EventLoop, Interest, LoopHandle, PanicPolicy, Runner, Unhandled, spawn, yield_now,
};
use std::cell::Cell;
use std::fs::File;
use std::future::pending;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Stdio;
use std::rc::Rc;
use std::time::{Duration, Instant};

struct Panics(&'static str);

impl Drop for Panics {
    fn drop(&mut self) {
        panic!("planted: {}", self.0);
    }
}

/// What a closure does that only has it.
fn holds(_bomb: &Panics) {}

/// Panics in each place of a loop; returns how much ran.
fn plant_everywhere(handle: &LoopHandle, ran: &Rc<Cell<u32>>) -> UnixStream {
    let counts = |ran: &Rc<Cell<u32>>| {
        let ran = Rc::clone(ran);
        move || ran.set(ran.get() + 1)
    };
    for _ in 0..2 {
        let (one, two, three) = (counts(ran), counts(ran), counts(ran));
        handle.call_soon(move |_| {
            one();
            panic!("a closure");
        });
        handle.call_later(Duration::ZERO, move |_| {
            two();
            panic!("a timer");
        });
        let bomb = Panics("a task's future");
        drop(handle.spawn(async move { holds(&bomb) }));
        drop(handle.spawn(async move {
            three();
            panic!("a task");
        }));
    }
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let (bomb, count) = (Panics("callbacks"), counts(ran));
    let callbacks = Closures::new().on_read(move |_| {
        let _bomb = &bomb;
        count();
        panic!("a callback");
    });
    handle.register(ours, Interest::READ, callbacks).unwrap();
    theirs
}

/// What is left when a loop ends, with destructors that panic.
fn leave_behind(handle: &LoopHandle) {
    for _ in 0..2 {
        let (bomb, other) = (Panics("a timer's closure"), Panics("a closure"));
        handle.call_later(Duration::from_secs(3600), move |_| drop(bomb));
        handle.call_soon(move |_| drop(other));
        let bomb = Panics("a task that waits");
        drop(handle.spawn(async move {
            let _bomb = bomb;
            pending::<()>().await;
        }));
        let (bomb, other) = (Panics("one branch"), Panics("another branch"));
        let callbacks = Closures::new()
            .on_read(move |_| holds(&bomb))
            .on_write(move |_| holds(&other));
        let (ours, _theirs) = tcp_pair();
        handle.register(ours, Interest::NONE, callbacks).unwrap();
    }
}

fn panic_and_go_on() {
    std::panic::set_hook(Box::new(|_| ()));
    // The output of the default hook, also in debug mode, and what a panicking hook leaves.
    for hook_panics in [false, true] {
        let mut event_loop = EventLoop::new().unwrap();
        event_loop.set_debug(true);
        event_loop.set_slow_callback(Duration::ZERO);
        if hook_panics {
            let bomb = Panics("the hook's own");
            event_loop.on_unhandled(move |_: &Unhandled| {
                let _bomb = &bomb;
                panic!("the hook");
            });
        }
        let ran = Rc::default();
        let _theirs = plant_everywhere(&event_loop, &ran);
        for _ in 0..2 {
            assert_eq!(event_loop.run().unwrap(), ExitReason::Idle);
            assert_eq!(ran.get(), 7);
        }
        leave_behind(&event_loop);
        let report = event_loop.close();
        assert_eq!((report.timers, report.registrations), (2, 2));
    }
    // A run of coroutines; its loop is dropped while its thread panics.
    let unwound = catch_unwind(|| {
        let mut runner = Runner::new().unwrap();
        let answer = runner.run(async {
            drop(spawn(async { panic!("detached") }));
            yield_now().await;
            yield_now().await;
            21
        });
        assert_eq!(answer.unwrap(), 21);
        leave_behind(&runner);
        std::panic::resume_unwind(Box::new("its own"));
    });
    let payload = unwound.map(drop).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"its own"));
}

/// Runs the calling test again with this standard error, and returns whether it succeeded.
fn succeeds_with(test: &str, stderr: Stdio) {
    let output = command(test, None).stderr(stderr).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}: {said}", output.status);
    assert!(said.contains("1 passed"), "{said}");
}

/// A standard error whose reader has gone.
fn without_reader() -> Stdio {
    let (_reader, writer) = UnixStream::pair().unwrap();
    OwnedFd::from(writer).into()
}

#[test]
fn a_report_that_cannot_be_written_is_lost_and_nothing_else() {
    let name = "stderr::a_report_that_cannot_be_written_is_lost_and_nothing_else";
    if std::env::var("READILY_IT_ALONE").as_deref() == Ok(name) {
        return panic_and_go_on();
    }
    let _guard = guard!();
    succeeds_with(name, without_reader());
    #[cfg(target_os = "linux")]
    succeeds_with(name, File::create("/dev/full").unwrap().into());
    // Read only: each write is refused.
    succeeds_with(name, File::open("/dev/null").unwrap().into());
}

/// The same, as a shell closes it: `2>&-`.
#[test]
fn a_closed_standard_error_is_no_panic() {
    let name = "stderr::a_closed_standard_error_is_no_panic";
    if std::env::var("READILY_IT_ALONE").as_deref() == Ok(name) {
        return panic_and_go_on();
    }
    let _guard = guard!();
    let inner = command(name, None);
    let mut outer = std::process::Command::new("sh");
    outer.args(["-c", "exec \"$0\" \"$@\" 2>&-"]);
    outer.arg(inner.get_program()).args(inner.get_args());
    let output = outer.env("READILY_IT_ALONE", name).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

/// A clock that panics at its readings of these numbers, counted down.
#[derive(Clone)]
struct Fails(Monotonic, Rc<Cell<i64>>, i64);

const FOR_EVER: i64 = i64::MAX;

impl Clock for Fails {
    fn now_ns(&self) -> u64 {
        let left = self.1.get() - 1;
        self.1.set(left);
        assert!(left >= 0 || left < -self.2, "planted: the clock");
        self.0.now_ns()
    }

    fn origin(&self) -> Instant {
        self.0.origin()
    }
}

/// R141: a panic that is none of a callback's, between any two calls of a turn, and a second one where
/// the first is dealt with. The next run does what is left, and ends.
#[test]
fn a_panic_between_two_calls_leaves_the_rest_of_the_turn_to_the_next() {
    let _guard = guard!();
    for times in [1, 2, FOR_EVER] {
        let mut left = 0;
        for n in 0.. {
            let fails = Rc::new(Cell::new(i64::MAX));
            let clock = Fails(Monotonic::new(), Rc::clone(&fails), times);
            let poller = readily::poll::default_poller::default().unwrap();
            let mut event_loop = EventLoop::with(poller, Box::new(clock)).unwrap();
            event_loop.set_panic_policy(PanicPolicy::Propagate);
            event_loop.set_debug(true); // so that the clock is read around each call
            let ran = Rc::new(Cell::new(0));
            let counts = |ran: &Rc<Cell<u32>>| {
                let ran = Rc::clone(ran);
                move || ran.set(ran.get() + 1)
            };
            for _ in 0..3 {
                let (task, timer) = (counts(&ran), counts(&ran));
                drop(event_loop.spawn(async move { task() }));
                event_loop.call_later(Duration::ZERO, move |_| timer());
            }
            for _ in 0..3 {
                let soon = counts(&ran); // three in a row have one entry
                event_loop.call_soon(move |_| soon());
            }
            fails.set(n);
            // A clock that fails for ever ends the run, and is not read for ever.
            if catch_unwind(AssertUnwindSafe(|| event_loop.run())).is_ok() {
                assert!(n > 9, "{n}");
                break;
            }
            fails.set(i64::MAX);
            left += usize::from(ran.get() < 9);
            assert_eq!(event_loop.run().unwrap(), ExitReason::Idle);
            assert_eq!(ran.get(), 9, "after {n}, {times}");
        }
        assert!(left > 0, "{times}");
    }
}
