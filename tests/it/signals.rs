//! Signals: what a handler must not do, what a listener must not lose, and what is restored afterwards.
//!
//! Signals and their actions belong to the process, so each test has a process of its own. The unsafe
//! calls send signals, and read and set actions as other code of a process does.
//!
//! Invariants: P10, P11.
#![allow(unsafe_code)]

use crate::support::{
    Log, Process, collect_unhandled, command, descriptors_of, guard, runs_alone, strict_loop,
    strict_run, strict_runner, turn_times, turn_until,
};
use readily::event_loop::ExitReason;
use readily::poll::poll2::PollPoller;
use readily::signal::{Signal, SignalError, ctrl_c, signal};
use readily::{Error, EventLoop, PanicPolicy, Runner, race, run_blocking, spawn, yield_now};
use readily_testing::{SimLoop, poll_once};
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::pending;
use std::io::{BufRead, BufReader, Read, Write};
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::pin::pin;
use std::process::{Command, Stdio};
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

/// Sends a signal to this thread: its handler has run when this returns.
fn raise(signal: Signal) {
    // SAFETY: takes a number; the test has a handler, or expects the default action.
    assert_eq!(unsafe { libc::raise(signal.raw()) }, 0);
}

fn kill(pid: u32, signal: Signal) {
    // SAFETY: takes two numbers; the process is this one or a child that is not reaped.
    assert_eq!(
        unsafe { libc::kill(pid.try_into().unwrap(), signal.raw()) },
        0
    );
}

fn action(signal: Signal) -> libc::sigaction {
    let mut action = MaybeUninit::uninit();
    // SAFETY: changes nothing; `action` has space for what is written.
    unsafe { libc::sigaction(signal.raw(), ptr::null(), action.as_mut_ptr()) };
    // SAFETY: it was written: the number is that of a signal.
    unsafe { action.assume_init() }
}

fn set_action(signal: Signal, handler: libc::sighandler_t, flags: libc::c_int) {
    // SAFETY: all zeroes is an empty mask and no flags.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    (action.sa_sigaction, action.sa_flags) = (handler, flags);
    // SAFETY: the handler is one of this file's, which only count, or a constant.
    unsafe { libc::sigaction(signal.raw(), &raw const action, ptr::null_mut()) };
}

/// What identifies an action.
fn facts(signal: Signal) -> (libc::sighandler_t, libc::c_int) {
    let action = action(signal);
    (action.sa_sigaction, action.sa_flags & !0x0400_0000) // SA_RESTORER is the C library's
}

static FOREIGN: AtomicU32 = AtomicU32::new(0);

extern "C" fn plain(_: libc::c_int) {
    FOREIGN.fetch_add(1, Ordering::Relaxed);
}

extern "C" fn with_info(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    FOREIGN.fetch_add(1, Ordering::Relaxed);
}

fn plain_handler() -> libc::sighandler_t {
    plain as extern "C" fn(_) as libc::sighandler_t
}

/// The usual loop, and one whose poller is level-triggered underneath.
const LOOPS: [fn() -> EventLoop; 2] = [strict_loop, || {
    let clock = Box::new(readily::clock::Monotonic::new());
    let event_loop = EventLoop::with(Box::new(PollPoller::new().unwrap()), clock).unwrap();
    event_loop.set_panic_policy(PanicPolicy::Propagate);
    event_loop
}];

/// P10, R220, R221: the handler wakes the loop, and a signal before the wait is remembered.
#[test]
fn a_signal_is_heard_once_whenever_it_comes() {
    let _guard = guard!();
    for make in LOOPS {
        let mut runner = Runner::from(make());
        runner
            .run(async {
                let listener = signal(Signal::USR1).unwrap();
                for _ in 0..100 {
                    raise(Signal::USR1); // between two waits
                    raise(Signal::USR1);
                    listener.recv().await.unwrap();
                    yield_now().await;
                    assert!(!listener.try_recv(), "it is one");
                }
                let me = std::process::id();
                let sender = std::thread::spawn(move || kill(me, Signal::USR1));
                listener.recv().await.unwrap(); // in a wait
                sender.join().unwrap();
            })
            .unwrap();
    }
}

/// P10.
#[test]
fn callbacks_run_in_their_order_and_the_run_lasts_until_they_are_cancelled() {
    let _guard = guard!();
    for make in LOOPS {
        let (mut event_loop, log) = (make(), Log::default());
        let notes = ["one", "two", "three"].map(|name| {
            let log = log.clone();
            let noted = event_loop.on_signal(Signal::USR1, move |_| log.note(name));
            noted.unwrap()
        });
        raise(Signal::USR1);
        raise(Signal::USR1);
        turn_until(&mut event_loop, || log.len() > 0);
        turn_times(&mut event_loop, 3);
        assert_eq!(log.text(), "one two three");
        assert!(!event_loop.is_idle());
        assert!(notes[1].cancel() && !notes[1].cancel());
        raise(Signal::USR1);
        turn_until(&mut event_loop, || log.len() > 3);
        turn_times(&mut event_loop, 3);
        assert_eq!(log.text(), "one two three one three");
        assert!(notes.each_ref().map(|note| note.cancel()) == [true, false, true]);
        assert_eq!(event_loop.run().unwrap(), ExitReason::Idle);
    }
}

/// P10, R112: a hundred thousand signals; of each number the last is heard, and nothing overflows.
#[test]
fn a_storm_of_signals_loses_none_of_each_number() {
    let _guard = guard!();
    const NUMBERS: [Signal; 4] = [Signal::USR1, Signal::USR2, Signal::HUP, Signal::WINCH];
    let mut runner = strict_runner();
    let heard = runner
        .run(async {
            let listeners = NUMBERS.map(|number| signal(number).unwrap());
            let done = Arc::new(AtomicBool::new(false));
            let is_done = Arc::clone(&done);
            let storm = std::thread::spawn(move || {
                for n in 0..100_000 {
                    raise(NUMBERS[n % 4]);
                }
                is_done.store(true, Ordering::Release);
                raise(NUMBERS[0]); // for a receiver that has seen it unset
            });
            let mut heard = 0;
            while !done.load(Ordering::Acquire) {
                listeners[0].recv().await.unwrap();
                heard += 1;
            }
            storm.join().unwrap();
            // What has come last may still be in the pipe.
            for listener in &listeners[1..] {
                listener.recv().await.unwrap();
            }
            for listener in &listeners {
                raise(listener.signal());
                listener.recv().await.unwrap();
            }
            heard
        })
        .unwrap();
    assert!(heard > 0);
}

/// R111, R228. P11: the action is restored with the last listener of the process.
#[test]
fn three_loops_on_three_threads_hear_one_signal_once_each() {
    let _guard = guard!();
    let before = facts(Signal::USR1);
    let (ready, sent) = (Arc::new(Barrier::new(4)), Arc::new(Barrier::new(4)));
    let loops: Vec<_> = (0..3)
        .map(|_| {
            let (ready, sent) = (Arc::clone(&ready), Arc::clone(&sent));
            std::thread::spawn(move || {
                strict_run(async {
                    let listener = signal(Signal::USR1).unwrap();
                    ready.wait();
                    listener.recv().await.unwrap();
                    sent.wait();
                    for _ in 0..10 {
                        yield_now().await;
                    }
                    assert!(!listener.try_recv());
                })
                .unwrap();
            })
        })
        .collect();
    ready.wait();
    kill(std::process::id(), Signal::USR1);
    sent.wait();
    for each in loops {
        each.join().unwrap();
    }
    assert_eq!(facts(Signal::USR1), before);
}

/// P11, R111: the whole action comes back, whatever it was.
#[test]
fn the_last_listener_restores_the_action_that_was_there() {
    let _guard = guard!();
    let info = with_info as extern "C" fn(_, _, _) as libc::sighandler_t;
    let cases = [
        (libc::SIG_DFL, 0),
        (libc::SIG_IGN, 0),
        (plain_handler(), 0),
        (plain_handler(), libc::SA_RESTART | libc::SA_RESETHAND),
        (info, libc::SA_SIGINFO | libc::SA_NODEFER | libc::SA_ONSTACK),
    ];
    strict_run(async {
        let _other = signal(Signal::WINCH).unwrap(); // so that the pipe stays
        for (handler, flags) in cases {
            set_action(Signal::USR2, handler, flags);
            let one = signal(Signal::USR2.even_if_ignored()).unwrap();
            let two = signal(Signal::USR2).unwrap();
            drop(one);
            raise(Signal::USR2);
            two.recv().await.unwrap();
            drop(two);
            assert_eq!(facts(Signal::USR2), (handler, flags));
        }
        // One that other code has installed since stays.
        let listener = signal(Signal::USR2).unwrap();
        set_action(Signal::USR2, plain_handler(), 0);
        drop(listener);
        assert_eq!(facts(Signal::USR2), (plain_handler(), 0));
    })
    .unwrap();
    assert_eq!(FOREIGN.load(Ordering::Relaxed), 0);
}

/// The descriptors that are pipes.
fn pipes() -> Vec<RawFd> {
    let is_pipe = |number: &RawFd| {
        let link = std::fs::read_link(format!("/proc/self/fd/{number}"));
        link.is_ok_and(|link| link.to_string_lossy().starts_with("pipe:"))
    };
    (0..100).filter(is_pipe).collect()
}

/// R224.
#[test]
fn the_handler_restarts_calls_and_uses_the_alternate_stack_and_keeps_errno() {
    let _guard = guard!();
    strict_run(async {
        let before = pipes();
        let _listener = signal(Signal::USR1).unwrap();
        let flags = action(Signal::USR1).sa_flags;
        for flag in [libc::SA_RESTART, libc::SA_ONSTACK, libc::SA_SIGINFO] {
            assert_eq!(flags & flag, flag);
        }
        // Its pipe has no reader any more, so that the handler's write fails.
        let reader = pipes().into_iter().find(|pipe| !before.contains(pipe));
        let null = File::open("/dev/null").unwrap();
        // SAFETY: both numbers are open; the loop finds another file behind one of them, as it would if
        // other code had closed it.
        assert!(unsafe { libc::dup2(null.as_raw_fd(), reader.unwrap()) } > 2);
        assert!(File::open("/there is none").is_err()); // ENOENT
        raise(Signal::USR1);
        let errno = std::io::Error::last_os_error();
        assert_eq!(errno.raw_os_error(), Some(libc::ENOENT));
    })
    .unwrap();
}

/// R223: a program under nohup goes on when its terminal closes, unless it asks.
#[test]
fn a_signal_that_was_ignored_stays_ignored_unless_it_is_asked_for() {
    let _guard = guard!();
    set_action(Signal::HUP, libc::SIG_IGN, 0);
    strict_run(async {
        let quiet = signal(Signal::HUP).unwrap();
        assert!(quiet.is_ignored());
        raise(Signal::HUP);
        yield_now().await;
        assert!(!quiet.try_recv());
        let loud = signal(Signal::HUP.even_if_ignored()).unwrap();
        assert!(!loud.is_ignored());
        raise(Signal::HUP);
        loud.recv().await.unwrap();
        drop((quiet, loud));
    })
    .unwrap();
    assert_eq!(facts(Signal::HUP), (libc::SIG_IGN, 0));
    let event_loop = strict_loop();
    let ignored = event_loop.on_signal(Signal::HUP, |_| unreachable!("it is ignored"));
    assert!(ignored.unwrap().is_ignored());
    raise(Signal::HUP);
    drop(event_loop);
    // Nothing of ours is ignored in a child.
    let mut strays = Command::new("cat");
    let listener = strict_loop();
    let _usr1 = listener.on_signal(Signal::USR1, |_| ()).unwrap();
    let status = strays.arg("/proc/self/status").output();
    if cfg!(target_os = "linux") {
        let status = String::from_utf8(status.unwrap().stdout).unwrap();
        let set = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
        };
        assert_eq!(set("SigIgn:") & (1 << (Signal::USR1.raw() - 1)), 0);
        assert_eq!((set("SigBlk:"), set("SigCgt:")), (0, 0));
    }
}

#[test]
fn what_cannot_be_caught_is_a_typed_error_that_leaves_nothing() {
    let _guard = guard!();
    strict_run(async {
        let before = descriptors_of("self");
        for uncatchable in [Signal::KILL, Signal::STOP] {
            let refused = signal(uncatchable).unwrap_err();
            assert!(matches!(refused, SignalError::Uncatchable(_)), "{refused}");
        }
        for fault in [Signal::SEGV, Signal::BUS, Signal::ILL, Signal::FPE] {
            let refused = signal(fault).unwrap_err();
            assert!(matches!(refused, SignalError::Fault(_)), "{refused}");
        }
        // 32 is the C library's on Linux, and 127 does not exist there.
        for number in [32, 127] {
            let refused = signal(Signal::from_raw(number).unwrap()).unwrap_err();
            assert!(matches!(refused, SignalError::Reserved(_)), "{refused}");
        }
        assert!(matches!(
            Signal::from_raw(128),
            Err(SignalError::Unknown(128))
        ));
        assert_eq!(descriptors_of("self"), before);
    })
    .unwrap();
    let outside = signal(Signal::TERM).unwrap_err();
    assert!(matches!(outside, SignalError::Loop(Error::NoLoop)));
}

/// R227.
#[test]
fn a_signal_that_this_thread_blocks_is_refused() {
    let _guard = guard!();
    let before = facts(Signal::USR1);
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: makes an empty set of it.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: it is initialized.
    unsafe { libc::sigaddset(set.as_mut_ptr(), Signal::USR1.raw()) };
    // SAFETY: the set is initialized, and the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut()) };
    strict_run(async {
        let refused = signal(Signal::USR1).unwrap_err();
        assert!(matches!(refused, SignalError::Blocked(Signal::USR1)));
    })
    .unwrap();
    assert_eq!(facts(Signal::USR1), before);
}

/// P10, R226: raised and removed in one turn, and removed by another listener of the same signal.
#[test]
fn a_removed_listener_hears_nothing_more_though_a_signal_is_pending() {
    let _guard = guard!();
    for make in LOOPS {
        let (mut event_loop, log) = (make(), Log::default());
        let _other = event_loop.on_signal(Signal::WINCH, |_| ()); // so that the pipe stays
        let note = log.clone();
        let late = event_loop.on_signal(Signal::USR1, move |_| note.note("late"));
        raise(Signal::USR1);
        assert!(late.unwrap().cancel());
        // The byte of the signal before must not reach a listener that comes after it.
        let note = log.clone();
        let next = event_loop.on_signal(Signal::USR1, move |_| note.note("next"));
        turn_times(&mut event_loop, 3);
        assert_eq!(log.text(), "");
        let victim = Rc::new(Cell::new(None));
        let (of_first, note) = (Rc::clone(&victim), log.clone());
        let first = event_loop.on_signal(Signal::USR2, move |_| {
            let victim: readily::signal::SignalCallback = of_first.take().unwrap();
            assert!(victim.cancel());
            note.note("first");
        });
        let note = log.clone();
        let second = event_loop.on_signal(Signal::USR2, move |_| note.note("second"));
        victim.set(Some(second.unwrap()));
        raise(Signal::USR2);
        turn_until(&mut event_loop, || log.len() > 0);
        turn_times(&mut event_loop, 3);
        assert_eq!(log.text(), "first");
        drop((first, next));
    }
}

#[test]
fn a_callback_that_panics_is_reported_and_removed_and_the_others_hear() {
    let _guard = guard!();
    let mut event_loop = EventLoop::new().unwrap();
    event_loop.set_panic_policy(PanicPolicy::Isolate);
    let (log, reports) = (Log::default(), collect_unhandled(&event_loop));
    let bad = event_loop.on_signal(Signal::USR1, |_| panic!("a bug"));
    let note = log.clone();
    let _good = event_loop.on_signal(Signal::USR1, move |_| note.note("good"));
    for heard in 1..=2 {
        raise(Signal::USR1);
        turn_until(&mut event_loop, || log.len() == heard);
    }
    assert_eq!(reports.len(), 1);
    assert!(reports.text().contains("a bug") && reports.text().contains("signals.rs"));
    assert!(!bad.unwrap().cancel(), "it was removed");
}

/// P11: the end of the loop is that of its listeners.
#[test]
fn a_loop_that_closes_restores_the_actions_and_its_listeners_say_so() {
    let _guard = guard!();
    let (usr1, usr2) = (facts(Signal::USR1), facts(Signal::USR2));
    let before = descriptors_of("self");
    for make in LOOPS {
        let event_loop = make();
        let here = event_loop.enter();
        let listener = signal(Signal::USR1).unwrap();
        let callback = event_loop.on_signal(Signal::USR2, |_| unreachable!());
        drop(here);
        raise(Signal::USR2);
        let report = event_loop.close();
        assert_eq!(report.registrations, 1, "the pipe");
        assert_eq!((facts(Signal::USR1), facts(Signal::USR2)), (usr1, usr2));
        assert_eq!(descriptors_of("self"), before);
        assert!(!callback.unwrap().cancel());
        let mut closed = pin!(listener.recv());
        match poll_once(&mut closed) {
            std::task::Poll::Ready(Err(Error::Closed)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Listeners come and go while signals arrive on another thread: no handler writes to a descriptor that is
/// by then another's.
#[test]
fn no_handler_writes_to_a_descriptor_after_its_listener_has_gone() {
    let _guard = guard!();
    let event_loop = strict_loop();
    let keeper = strict_loop();
    let _heard = keeper.on_signal(Signal::USR1, |_| ()).unwrap(); // so that no signal ends the process
    let done = Arc::new(AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    let storm = std::thread::spawn(move || {
        while !is_done.load(Ordering::Relaxed) {
            raise(Signal::USR1);
        }
    });
    for _ in 0..2000 {
        let heard = event_loop.on_signal(Signal::USR1, |_| ()).unwrap();
        assert!(heard.cancel());
        // The same two numbers, most likely.
        let (mut reader, writer) = std::io::pipe().unwrap();
        drop(writer);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, []);
        let (mut reader, writer) = std::io::pipe().unwrap();
        std::thread::yield_now();
        drop(writer);
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, []);
    }
    done.store(true, Ordering::Relaxed);
    storm.join().unwrap();
}

fn fork() -> Option<libc::pid_t> {
    // SAFETY: the test runs alone; the other threads (harness and guard) are parked, and hold no lock that
    // the child takes.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    (pid != 0).then_some(pid)
}

fn end_child(code: i32) -> ! {
    // SAFETY: ends the child, without the parent's destructors.
    unsafe { libc::_exit(code) };
}

fn wait_for(pid: libc::pid_t) -> std::process::ExitStatus {
    let mut status = 0;
    // SAFETY: `status` has space for the number; the child is ours.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    std::process::ExitStatus::from_raw(status)
}

/// R108, R225: what a child receives does not reach the parent, and has the effect that it had before.
#[test]
fn a_signal_for_a_forked_child_does_not_reach_the_parent() {
    let _guard = guard!();
    let mut runner = strict_runner();
    let listener = runner.run(async { signal(Signal::USR1).unwrap() }).unwrap();
    let event_loop = runner.event_loop();
    let Some(pid) = fork() else {
        raise(Signal::USR1);
        end_child(7); // not reached: the default action ends a process
    };
    assert_eq!(wait_for(pid).signal(), Some(libc::SIGUSR1));
    turn_times(event_loop, 3);
    assert!(!listener.try_recv());
    // A listener of the parent says so in the child, and one of the child's own hears.
    let Some(pid) = fork() else {
        let mut inherited = pin!(listener.recv());
        let is_forked = matches!(
            poll_once(&mut inherited),
            std::task::Poll::Ready(Err(Error::Forked))
        );
        let refused = event_loop.on_signal(Signal::USR2, |_| ());
        let is_refused = matches!(refused, Err(SignalError::Loop(Error::Forked)));
        let own = strict_run(async {
            let own = signal(Signal::USR2).unwrap();
            raise(Signal::USR2);
            own.recv().await.is_ok()
        });
        let restored = facts(Signal::USR1).0 == libc::SIG_DFL;
        end_child(i32::from(
            is_forked && is_refused && own.unwrap() && restored,
        ));
    };
    assert_eq!(wait_for(pid).code(), Some(1));
    turn_times(event_loop, 3);
    assert!(!listener.try_recv());
    raise(Signal::USR1);
    turn_until(event_loop, || listener.try_recv());
}

/// A process that is this test again, without a guard; what it prints, line by line.
fn part(test: &str) -> (Process, impl Iterator<Item = String>) {
    let mut process = Process::start(&mut command(test, None));
    let output = process.child.stdout.take().unwrap();
    let lines = BufReader::new(output).lines().map(Result::unwrap);
    (process, lines)
}

fn say(what: &str) {
    println!("{what}");
    std::io::stdout().flush().unwrap();
}

struct NeverDropped;

impl Drop for NeverDropped {
    fn drop(&mut self) {
        say("dropped");
        loop {
            std::thread::park();
        }
    }
}

/// R231: the first SIGINT drops the future; the second ends the process although a destructor is stuck.
#[test]
fn a_second_sigint_ends_a_program_that_the_first_could_not() {
    const NAME: &str = "signals::a_second_sigint_ends_a_program_that_the_first_could_not";
    if runs_alone() {
        let mut runner = Runner::builder().cancel_on_sigint(true).build().unwrap();
        let ended = runner.run(async {
            let _stuck = NeverDropped;
            say("ready");
            pending::<()>().await;
        });
        unreachable!("{ended:?}");
    }
    let _guard = guard!();
    let (mut process, mut lines) = part(NAME);
    assert!(lines.any(|line| line.ends_with("ready")));
    kill(process.child.id(), Signal::INT);
    assert!(lines.any(|line| line == "dropped"));
    kill(process.child.id(), Signal::INT);
    assert_eq!(process.wait().0.signal(), Some(libc::SIGINT));
}

/// R243: the end of the run waits for its job, and the second SIGINT does not.
#[test]
fn a_second_sigint_ends_a_program_whose_run_waits_for_a_blocking_job() {
    const NAME: &str = "signals::a_second_sigint_ends_a_program_whose_run_waits_for_a_blocking_job";
    if runs_alone() {
        let builder = Runner::builder().cancel_on_sigint(true);
        let long = Duration::from_secs(3600);
        let mut runner = builder.shutdown_timeout(long).build().unwrap();
        let ended = runner.run(async {
            run_blocking(|| -> u8 {
                say("ready");
                loop {
                    std::thread::park();
                }
            })
            .await
        });
        assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
        say("cancelled");
        drop(runner);
        unreachable!("the job does not end");
    }
    let _guard = guard!();
    let (mut process, mut lines) = part(NAME);
    assert!(lines.any(|line| line.ends_with("ready")));
    kill(process.child.id(), Signal::INT);
    assert!(lines.any(|line| line == "cancelled"));
    kill(process.child.id(), Signal::INT);
    assert_eq!(process.wait().0.signal(), Some(libc::SIGINT));
}

#[test]
fn the_first_sigint_cancels_the_future_of_a_run_and_a_later_run_has_one_too() {
    let _guard = guard!();
    let before = facts(Signal::INT);
    let mut runner = Runner::builder().cancel_on_sigint(true).build().unwrap();
    for _ in 0..3 {
        let log = Log::default();
        let dropped = crate::support::Dropped(log.clone(), "dropped");
        let ended = runner.run(async {
            let _dropped = dropped;
            raise(Signal::INT);
            pending::<()>().await;
        });
        assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
        assert_eq!(log.text(), "dropped");
        assert_eq!(facts(Signal::INT), before);
    }
    // A future that is done first has its output, and a task can see to SIGINT itself.
    assert_eq!(runner.run(async { 21 }).unwrap(), 21);
    drop(runner);
    let mut plain = strict_runner();
    let heard = plain.run(async {
        let ctrl_c = spawn(ctrl_c());
        yield_now().await;
        raise(Signal::INT);
        ctrl_c.await.unwrap().unwrap();
    });
    heard.unwrap();
    assert_eq!(facts(Signal::INT), before);
}

/// R222: the parent sees the reason.
#[test]
fn a_program_can_end_by_the_signal_that_it_has_caught() {
    const NAME: &str = "signals::a_program_can_end_by_the_signal_that_it_has_caught";
    if runs_alone() {
        strict_run(async {
            let term = signal(Signal::TERM).unwrap();
            say("ready");
            term.recv().await.unwrap();
            Signal::TERM.end_process();
        })
        .unwrap();
    }
    let _guard = guard!();
    let (mut process, mut lines) = part(NAME);
    assert!(lines.any(|line| line.ends_with("ready")));
    kill(process.child.id(), Signal::TERM);
    assert_eq!(process.wait().0.signal(), Some(libc::SIGTERM));
}

/// On a kernel in memory a test sends the signals, and the process has none of them.
#[test]
fn a_simulated_loop_is_sent_signals_by_its_test() {
    let _guard = guard!();
    let before = facts(Signal::TERM);
    let mut sim = SimLoop::new(3);
    assert_eq!(sim.deliver_signal(Signal::TERM), 0);
    let log = Log::default();
    let note = log.clone();
    let callback = sim.on_signal(Signal::TERM, move |_| note.note("callback"));
    sim.call_later(Duration::from_secs(60), |handle| {
        assert_eq!(readily::spi::deliver_signal(handle, Signal::TERM), 3);
    });
    sim.run(async {
        let (one, two) = (signal(Signal::TERM), signal(Signal::TERM));
        one.unwrap().recv().await.unwrap();
        two.unwrap().recv().await.unwrap();
        let other = signal(Signal::HUP).unwrap();
        race((
            async { other.recv().await.unwrap() },
            readily::sleep(Duration::from_secs(1)),
        ))
        .await;
        assert!(signal(Signal::KILL).is_err());
    })
    .unwrap();
    assert_eq!(sim.elapsed(), Duration::from_secs(61));
    assert_eq!(log.text(), "callback");
    assert!(callback.unwrap().cancel());
    assert_eq!(facts(Signal::TERM), before);
}

/// A recording in memory.
#[derive(Clone, Default)]
struct Memory(Rc<RefCell<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The numbers are bytes of a descriptor, so a recording has them.
#[test]
fn signals_are_replayed_as_they_came() {
    let _guard = guard!();
    async fn program(live: bool) -> u32 {
        let (one, two) = (signal(Signal::USR1).unwrap(), signal(Signal::USR2).unwrap());
        let mut order = 0;
        for number in [Signal::USR1, Signal::USR2, Signal::USR2, Signal::USR1] {
            if live {
                raise(number);
            }
            let first = race((async { one.recv().await.map(|()| 1).unwrap() }, async {
                two.recv().await.map(|()| 2).unwrap()
            }));
            order = order * 10 + first.await;
        }
        order
    }
    let memory = Memory::default();
    let (event_loop, recorder) = readily_testing::record(memory.clone()).unwrap();
    let mut runner = Runner::from(event_loop);
    assert_eq!(runner.run(program(true)).unwrap(), 1221);
    runner.close();
    recorder.finish().unwrap();
    let (event_loop, replayer) = readily_testing::replay(memory.0.take()).unwrap();
    let mut runner = Runner::from(event_loop);
    assert_eq!(runner.run(program(false)).unwrap(), 1221);
    runner.close();
    replayer.finish().unwrap();
}

/// The pipe of the handler takes one of their numbers.
#[test]
fn closed_standard_streams_are_not_written_to() {
    const NAME: &str = "signals::closed_standard_streams_are_not_written_to";
    if runs_alone() {
        strict_run(async {
            let usr1 = signal(Signal::USR1).unwrap();
            raise(Signal::USR1);
            usr1.recv().await.unwrap();
        })
        .unwrap();
        return;
    }
    let _guard = guard!();
    let mut inner = command(NAME, None);
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" <&- >&- 2>&-"]);
    shell.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        shell.env(name, value.unwrap());
    }
    let _ = inner.stdin(Stdio::null());
    shell.process_group(0);
    assert!(shell.status().unwrap().success());
}
