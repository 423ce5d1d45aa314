//! Operations on a loop that need unsafe calls: a fork, and a descriptor that is closed or replaced
//! behind its back.
//!
//! Each test runs in a process of its own with one thread, so that the child may do more than
//! `_exit`. The other tests are compiled without unsafe code.
#![allow(unsafe_code)]

use crate::support::{
    Log, collect_unhandled, guard, is_alone, is_nonblocking, strict_loop, strict_run,
    strict_runner, turn_times, turn_until,
};
use readily::blocking::{QueuedJobs, SubmitError};
use readily::cores::{Core, Cores, ListenError, ShutdownError, SpawnError};
use readily::event_loop::ExitReason;
use readily::io::TcpStream;
use readily::poll::Poller;
use readily::poll::poll2::PollPoller;
use readily::spi;
use readily::task::WaitError;
use readily::transport::{Protocol, Transport, WriteError};
use readily::{Closures, Error, EventLoop, Interest, JoinError, ThreadPool, wait_for};
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Forks this process: `None` in the child.
fn fork() -> Option<libc::pid_t> {
    // SAFETY: the test runs alone, in a process whose other threads (the test harness and the
    // guard) hold no lock that the child takes: they are parked.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    (pid != 0).then_some(pid)
}

fn end_child(code: i32) -> ! {
    // SAFETY: ends the child, without the parent's destructors.
    unsafe { libc::_exit(code) };
}

/// Waits for the end of a child; its exit status.
fn wait_for_child(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: `status` has space for the number that is written; the child is ours.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert!(libc::WIFEXITED(status), "the child crashed: {status}");
    libc::WEXITSTATUS(status)
}

/// Runs `child` in a fork of this process; its exit status.
fn in_a_fork(child: impl FnOnce() -> i32) -> i32 {
    match fork() {
        None => end_child(child()),
        Some(pid) => wait_for_child(pid),
    }
}

fn strict_loop_over(poller: impl Poller + 'static) -> EventLoop {
    let clock = Box::new(readily::clock::Monotonic::new());
    let event_loop = EventLoop::with(Box::new(poller), clock).unwrap();
    event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
    event_loop
}

/// The usual one, and one that watches numbers and not files on every system.
const LOOPS: [fn() -> EventLoop; 2] =
    [strict_loop, || strict_loop_over(PollPoller::new().unwrap())];

/// R108.
#[test]
fn in_a_fork_the_loop_says_so_and_its_end_takes_nothing_from_the_parent() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let event_loop = strict_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let duplicate = ours.try_clone().unwrap();
    let log = Log::default();
    let note = log.clone();
    let read = Closures::new().on_read(move |cx| {
        note.note("read");
        cx.remove_interest(Interest::READ);
    });
    let key = event_loop.register(ours, Interest::READ, read).unwrap();
    let remote = event_loop.remote_handle();
    let mut event_loop = Some(event_loop);
    let code = in_a_fork(|| {
        let mut child = event_loop.take().unwrap();
        let forked = |error: Error| matches!(error, Error::Forked);
        let (a, _b) = UnixStream::pair().unwrap();
        let results = [
            child.turn_now().is_err_and(forked),
            child.run().is_err_and(forked),
            child
                .set_interest_of(key, Interest::BOTH)
                .is_err_and(forked),
            child
                .register(a, Interest::READ, Closures::new())
                .is_err_and(|refused| forked(refused.error)),
            child.remove(key).is_ok(),
            remote.call_soon(|_| ()).is_err(),
            remote.stop().is_err(),
            remote.is_closed(),
        ];
        drop(child);
        // A loop of its own works in the child.
        let fresh = strict_run(async { 21 }).is_ok_and(|n| n == 21);
        i32::from(results == [true; 8] && fresh)
    });
    assert_eq!(code, 1);
    assert!(is_nonblocking(&duplicate), "the parent still has it (R131)");
    let mut event_loop = event_loop.expect("the child had a copy");
    theirs.write_all(b"x").unwrap();
    turn_until(&mut event_loop, || log.len() > 0);
    assert_eq!(log.text(), "read");
}

/// In the child the run has failed with that turn; in the parent it has gone on to the next one.
fn the_run_ended_in_the_child(
    ran: Result<ExitReason, Error>,
    child: Option<libc::pid_t>,
    log: &Log,
) {
    let Some(child) = child else {
        let is_forked = matches!(ran, Err(Error::Forked));
        end_child(i32::from(is_forked && log.len() == 0));
    };
    assert_eq!(wait_for_child(child), 1);
    assert_eq!(ran.unwrap(), ExitReason::Idle);
    assert_eq!(log.text(), "next turn");
}

/// R169: also if work is ready, so that the next turn does not poll the kernel.
#[test]
fn a_run_whose_callback_forks_ends_in_the_child_with_that_turn() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (log, child) = (Log::default(), Rc::new(Cell::new(None)));
    let (note, forked) = (log.clone(), Rc::clone(&child));
    event_loop.call_soon(move |handle| {
        handle.call_soon(move |_| note.note("next turn"));
        forked.set(fork());
    });
    let ran = event_loop.run();
    the_run_ended_in_the_child(ran, child.get(), &log);
}

/// The same in the callback of an event, after which a run has nothing to do but to wait again.
#[test]
fn a_run_that_is_forked_in_the_callback_of_an_event_ends_in_the_child() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(b"ab").unwrap();
    let (log, child) = (Log::default(), Rc::new(Cell::new(None)));
    let (note, forked) = (log.clone(), Rc::clone(&child));
    let read = Closures::new().on_read(move |cx| {
        let mut byte = [0];
        assert_eq!(cx.read(&mut byte).unwrap(), 1);
        if byte == *b"a" {
            return forked.set(fork());
        }
        note.note("next turn");
        cx.close();
    });
    event_loop.register(theirs, Interest::READ, read).unwrap();
    let ran = event_loop.run();
    the_run_ended_in_the_child(ran, child.get(), &log);
}

/// R108: the loop belongs to the parent and does not run here, so awaiting or joining fails.
#[test]
fn in_a_fork_a_remote_task_says_that_its_loop_is_the_parents() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let (to_us, remotes) = channel();
    let home = std::thread::spawn(move || {
        let mut runner = strict_runner();
        to_us.send(runner.remote_handle()).unwrap();
        runner.run(pending::<()>()).is_err()
    });
    let remote = remotes.recv().unwrap();
    let mut task = Some(remote.spawn(pending::<()>).unwrap());
    let over = remote.spawn(|| async {}).unwrap();
    // They have been made by now: what is sent comes in order.
    remote.spawn(|| async {}).unwrap().wait().unwrap();
    let mut over = Some(over);
    let code = in_a_fork(|| {
        let (mut task, mut over) = (task.take().unwrap(), over.take().unwrap());
        let is_reported = |error: &JoinError| {
            let reason = error.reason().unwrap_or_default();
            reason == "its loop is that of a parent process"
        };
        let gone = |waited: Result<(), WaitError>| matches!(waited, Err(WaitError::Join(error)) if is_reported(&error));
        if !gone(task.wait_for(Duration::from_millis(200))) {
            return 2; // without a limit it would wait for ever
        }
        let awaited = strict_run(wait_for(Duration::from_secs(5), &mut task)).unwrap();
        task.cancel();
        let results = [
            awaited.is_ok_and(|ended| ended.is_err_and(|error| is_reported(&error))),
            gone(task.wait()),
            task.done(),
            gone(over.wait()),
        ];
        drop(task);
        i32::from(results == [true; 4])
    });
    assert_eq!(code, 1);
    over.take().unwrap().wait().unwrap();
    let mut task = task.expect("the child had a copy");
    assert!(!task.done(), "the parent does not see the child's task end");
    task.cancel();
    assert!(matches!(
        task.wait(),
        Err(WaitError::Join(JoinError::Cancelled))
    ));
    remote.stop().unwrap();
    assert!(home.join().unwrap());
}

/// R253: a child of the process that made a pool has none of its threads: its calls are errors that return the
/// closure, and its destructors join nothing.
#[test]
fn in_a_fork_a_pool_says_so_and_waits_for_no_thread() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let mut pool = Some(ThreadPool::new());
    let (open, gate) = channel::<()>();
    let (started, has_started) = channel();
    let job = pool.as_ref().unwrap().run_blocking(move || {
        started.send(()).unwrap();
        gate.recv().is_ok()
    });
    let mut running = Some(job);
    has_started.recv().unwrap();
    let code = in_a_fork(|| {
        let (pool, mut running) = (pool.take().unwrap(), running.take().unwrap());
        let mut own = pool.run_blocking(|| 7);
        let refused = pool.try_submit(|| 7).map_err(SubmitError::into_inner);
        let is_cancelled = |error| matches!(error, WaitError::Join(JoinError::CancelledFor(_)));
        let results = [
            refused.is_err_and(|seven| seven() == 7),
            matches!(pool.try_submit(|| 7), Err(SubmitError::Forked(_))),
            own.wait().is_err_and(is_cancelled),
            running.done() && running.wait().is_err_and(is_cancelled),
            pool.stats().threads == 0,
            pool.shutdown_blocking(QueuedJobs::Run, Duration::MAX)
                .is_ok(),
        ];
        drop((own, running));
        pool.close(QueuedJobs::Cancel);
        drop(pool);
        let failed = results.iter().position(|holds| !holds);
        failed.map_or(0, |nth| nth as i32 + 1)
    });
    assert_eq!(code, 0);
    open.send(()).unwrap();
    assert!(
        running.unwrap().wait().unwrap(),
        "the parent's pool goes on"
    );
    assert_eq!(pool.unwrap().run_blocking(|| 7).wait().unwrap(), 7);
}

/// R004: the number is another file's, the file has another number, and the kernel goes on.
#[test]
#[cfg(target_os = "linux")]
fn a_file_that_lives_on_under_another_number_is_reported_once_and_disturbs_no_other() {
    use readily::poll::default_poller::EpollPoller;
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    // Only epoll watches the file; kqueue and poll(2) watch the number.
    let mut event_loop = strict_loop_over(EpollPoller::new().unwrap());
    let reports = collect_unhandled(&event_loop);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let duplicate = ours.try_clone().unwrap();
    let (other, _other_peer) = UnixStream::pair().unwrap();
    let number = ours.as_raw_fd();
    let key = event_loop.register(ours, Interest::READ, Closures::new());
    // SAFETY: two numbers of open descriptors; the owner of `number` does not notice.
    assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
    event_loop.remove(key.unwrap()).unwrap();
    theirs.write_all(b"x").unwrap();
    turn_times(&mut event_loop, 200);
    assert_eq!(reports.len(), 1, "{}", reports.text());
    assert!(reports.text().contains("closed outside the loop"));
    // From then on there is a new epoll instance, and it is not in that.
    assert_eq!(event_loop.stats().stale, 64);
    let turns = crate::support::turns_in(&mut event_loop, Duration::from_millis(30));
    assert!(turns < 5, "{turns} turns");
    // Another one is reported too.
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let _second = ours.try_clone().unwrap();
    let number = ours.as_raw_fd();
    let key = event_loop.register(ours, Interest::READ, Closures::new());
    // SAFETY: as above.
    assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
    event_loop.remove(key.unwrap()).unwrap();
    theirs.write_all(b"x").unwrap();
    turn_times(&mut event_loop, 100);
    assert_eq!(reports.len(), 2, "{}", reports.text());
    assert_eq!(event_loop.stats().stale, 128);
    drop(duplicate);
}

/// R168: still registered, and no callback reads: the interest cannot be taken back, for no number
/// means the file any more.
#[test]
#[cfg(target_os = "linux")]
fn a_registration_whose_descriptor_was_closed_outside_the_loop_ends_and_closes_no_other() {
    use readily::poll::default_poller::EpollPoller;
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let pollers: [fn() -> EventLoop; 2] = [
        || strict_loop_over(EpollPoller::new().unwrap()),
        || strict_loop_over(PollPoller::new().unwrap()),
    ];
    for new_loop in pollers {
        for (interest, is_used_again) in [
            (Interest::READ, false),
            (Interest::READ, true),
            (Interest::WRITE, false),
            (Interest::WRITE, true),
        ] {
            let mut event_loop = new_loop();
            let reports = collect_unhandled(&event_loop);
            let (other, mut peer) = UnixStream::pair().unwrap();
            let heard = Log::default();
            let noted = heard.clone();
            let read = Closures::new().on_read(move |cx| {
                let _ = cx.read(&mut [0; 8]);
                noted.note("other");
            });
            event_loop.register(other, Interest::READ, read).unwrap();
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let _twin = ours.try_clone().unwrap();
            let null = std::fs::File::open("/dev/null").unwrap();
            let number = ours.as_raw_fd();
            let key = event_loop
                .register(ours, interest, Closures::new())
                .unwrap();
            // SAFETY: a number; its owner, the loop, finds out what has become of it.
            assert_eq!(unsafe { libc::close(number) }, 0);
            if is_used_again {
                // SAFETY: two numbers, of which the second is free.
                assert_eq!(unsafe { libc::dup2(null.as_raw_fd(), number) }, number);
            }
            theirs.write_all(b"x").unwrap();
            turn_times(&mut event_loop, 100);
            let events = event_loop.stats().events;
            turn_times(&mut event_loop, 50);
            let what = format!("{interest:?} {is_used_again} {events}: {}", reports.text());
            assert_eq!(event_loop.stats().events, events, "it rests: {what}");
            assert!(
                reports.text().matches("removing an interest").count() <= 1,
                "{what}"
            );
            assert!(reports.len() <= 2, "{what}");
            assert!(event_loop.interest_of(key).is_err(), "{what}");
            peer.write_all(b"y").unwrap();
            turn_times(&mut event_loop, 2);
            assert_eq!(heard.text(), "other", "{what}");
            drop(event_loop);
            if is_used_again {
                // SAFETY: a number, asked about; what it means is this test's, and is closed here.
                let closed = unsafe { libc::close(number) };
                assert_eq!(closed, 0, "the number is not the loop's to close: {what}");
            }
        }
    }
}

/// R004, R168: what is registered stays so, as it was; and the host's descriptor is the same.
#[test]
#[cfg(target_os = "linux")]
fn a_file_that_lives_on_takes_nothing_from_the_registrations_and_the_host() {
    use readily::Trigger::{self, Edge, Level, OneShot};
    use readily::poll::default_poller::EpollPoller;
    use readily_sys::epoll::{ET, Epoll, IN};
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let mut event_loop = strict_loop_over(EpollPoller::new().unwrap());
    let reports = collect_unhandled(&event_loop);
    let mut host = Epoll::new().unwrap();
    let fd = event_loop.as_fd_with_deadline().unwrap().as_raw_fd();
    host.add(fd, IN | ET, 7).unwrap();
    let log = Log::default();
    let registered = |name: &'static str, interest, trigger: Trigger| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let note = log.clone();
        let read = Closures::new().on_read(move |cx| {
            if cx.read(&mut [0; 8]).is_ok() {
                note.note(name);
            }
        });
        let key = event_loop.register_with(ours, interest, trigger, read);
        (key.unwrap(), theirs)
    };
    let mut all = [
        registered("level", Interest::READ, Level),
        registered("edge", Interest::READ, Edge),
        registered("armed", Interest::READ, OneShot),
        registered("spent", Interest::READ, OneShot),
        registered("paused", Interest::NONE, Level),
    ];
    let (ours, mut of_the_source) = UnixStream::pair().unwrap();
    let source = {
        let _here = event_loop.enter();
        readily::io::Async::new(ours).unwrap()
    };
    all[3].1.write_all(b"x").unwrap();
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "spent");

    let closed_behind_its_back = |event_loop: &mut EventLoop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let duplicate = ours.try_clone().unwrap();
        let number = ours.as_raw_fd();
        let key = event_loop.register(ours, Interest::READ, Closures::new());
        // SAFETY: a number. Its owner, the loop, reports that it was closed already.
        assert_eq!(unsafe { libc::close(number) }, 0);
        event_loop.remove(key.unwrap()).unwrap();
        theirs.write_all(b"x").unwrap();
        turn_times(event_loop, 70);
        (duplicate, theirs)
    };
    let _first = closed_behind_its_back(&mut event_loop);
    assert_eq!(event_loop.stats().stale, 64);
    assert_eq!(reports.len(), 2, "{}", reports.text());
    assert!(reports.text().contains("closed outside the loop"));

    // The host has taken the events up to here.
    host.wait(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
    assert_eq!(host.wait(&mut Vec::new(), Some(Duration::ZERO)).unwrap(), 0);
    let mut readable = std::pin::pin!(source.readable());
    let mut is_readable = |event_loop: &EventLoop| {
        let _here = event_loop.enter();
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        readable.as_mut().poll(&mut cx).is_ready()
    };
    assert!(!is_readable(&event_loop));
    of_the_source.write_all(b"y").unwrap();
    for (_, theirs) in &mut all {
        theirs.write_all(b"y").unwrap();
    }
    assert_eq!(
        host.wait(&mut Vec::new(), None).unwrap(),
        1,
        "its descriptor is the same"
    );
    turn_times(&mut event_loop, 2);
    assert!(is_readable(&event_loop));
    assert_eq!(log.len(), 4, "{}", log.text());
    for name in ["level", "edge", "armed"] {
        assert!(log.has(name), "{name} of {}", log.text());
    }
    // A reported one-shot is silent until it is rearmed.
    event_loop
        .set_interest_of(all[3].0, Interest::READ)
        .unwrap();
    event_loop
        .set_interest_of(all[4].0, Interest::READ)
        .unwrap();
    assert_eq!(host.wait(&mut Vec::new(), None).unwrap(), 1);
    turn_times(&mut event_loop, 1);
    assert_eq!((log.count("spent"), log.count("paused")), (2, 1));
    // One that was asked for again is armed, also in the next instance.
    event_loop
        .set_interest_of(all[3].0, Interest::READ)
        .unwrap();
    let _second = closed_behind_its_back(&mut event_loop);
    assert_eq!(event_loop.stats().stale, 128);
    all[3].1.write_all(b"z").unwrap();
    turn_times(&mut event_loop, 1);
    assert_eq!(log.count("spent"), 3);
    // Notifications of other threads and timers arrive through it as well.
    let remote = event_loop.remote_handle();
    let sends = move || remote.call_soon(|_| ()).is_ok();
    assert!(std::thread::spawn(sends).join().unwrap());
    assert_eq!(host.wait(&mut Vec::new(), None).unwrap(), 1);
    turn_times(&mut event_loop, 2);
    event_loop.call_later(Duration::from_millis(1), |_| ());
    turn_times(&mut event_loop, 1);
    host.wait(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
    while event_loop.next_deadline().is_some() {
        assert_eq!(host.wait(&mut Vec::new(), None).unwrap(), 1);
        turn_times(&mut event_loop, 1);
    }
}

/// R169: a poller without a loop, that a child of its process has, too.
#[test]
#[cfg(target_os = "linux")]
fn in_a_fork_a_bare_poller_says_so_and_takes_nothing_from_the_parent() {
    use readily::Trigger;
    use readily::poll::Event;
    use readily::poll::default_poller::EpollPoller;
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let now = Some(Duration::ZERO);
    let tokens = |events: Vec<Event>| events.iter().map(|event| event.token()).collect::<Vec<_>>();
    let makes: [fn() -> Box<dyn Poller>; 2] = [
        || Box::new(EpollPoller::new().unwrap()),
        || Box::new(PollPoller::new().unwrap()),
    ];
    for (name, make) in ["epoll", "poll"].into_iter().zip(makes) {
        let mut poller = make();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (other, _peer) = UnixStream::pair().unwrap();
        let fd = ours.as_raw_fd();
        let once = Trigger::OneShot;
        poller.register(fd, 3, Interest::READ, once).unwrap();
        theirs.write_all(b"x").unwrap();
        let is_epoll = name == "epoll";
        let code = in_a_fork(|| {
            let mut events = Vec::new();
            let waited = poller.wait(&mut events, now).is_err() && events.is_empty();
            let (number, level) = (other.as_raw_fd(), Trigger::Level);
            let refused = [
                poller.modify(fd, 4, Interest::NONE, level).is_err(),
                poller.rearm(fd, 3, Interest::READ).is_err(),
                poller.remove(fd).is_err(),
                poller.register(number, 5, Interest::READ, level).is_err(),
                poller.host_fd().is_err(),
                poller.set_deadline(now).is_err(),
                poller.rebuild(&[]).is_err(),
            ];
            // One of its own works.
            let fresh = make().register(number, 5, Interest::READ, level);
            i32::from(waited && fresh.is_ok() && (!is_epoll || refused == [true; 7]))
        });
        assert_eq!(code, 1, "{name}");
        let mut events = Vec::new();
        poller.wait(&mut events, None).unwrap();
        assert_eq!(tokens(events), [3], "{name}: the child has not taken it");
        let rings = || {
            poller.notifier().notify();
            1
        };
        assert_eq!(in_a_fork(rings), 1);
        if let Some(fd) = poller.as_fd() {
            let rung = readily_sys::poll::is_readable(fd).unwrap();
            assert!(!rung, "nor has it rung");
        }
        poller.modify(fd, 3, Interest::READ, once).unwrap();
        let mut events = Vec::new();
        poller.wait(&mut events, None).unwrap();
        assert_eq!(tokens(events), [3], "{name}: it is registered as it was");
    }
}

/// R005, R006: closed behind the loop's back, and the number is another file by now.
#[test]
fn a_number_that_was_changed_behind_the_loops_back_can_be_removed_and_used_again() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    for make in LOOPS {
        let mut event_loop = make();
        // poll(2) alone has no descriptor. It is given numbers, and reports what has the number by then.
        let watches_numbers = event_loop.as_fd().is_err();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (other, mut other_peer) = UnixStream::pair().unwrap();
        let number = ours.as_raw_fd();
        let log = Log::default();
        let stray = log.clone();
        let read = Closures::new().on_read(move |_| stray.note("STRAY"));
        let key = event_loop.register(ours, Interest::READ, read).unwrap();
        // SAFETY: two numbers of open descriptors. `number` stays open, and stays owned by the
        // registration; it is another file now, which that owner does not notice.
        assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
        assert_eq!(
            (&theirs).write(b"x").unwrap_err().kind(),
            std::io::ErrorKind::BrokenPipe
        );
        other_peer.write_all(b"x").unwrap();
        turn_times(&mut event_loop, 3);
        let strays = if watches_numbers { 3 } else { 0 };
        assert_eq!(log.len(), strays, "{}", log.text());
        event_loop.remove(key).unwrap();
        spi::check_invariants(&event_loop);
        let note = log.clone();
        let read = Closures::new().on_read(move |cx| {
            note.note("read");
            cx.close();
        });
        event_loop.register(other, Interest::READ, read).unwrap();
        turn_until(&mut event_loop, || log.has("read"));
        assert_eq!((log.len(), log.count("read")), (strays + 1, 1));
    }
}

/// R009: other code closes the descriptor first. However the registration ends, that is reported once,
/// with the place where it was made; and what has the number by then is left alone.
#[test]
fn a_descriptor_that_other_code_has_closed_is_reported_at_its_end() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    type End = fn(EventLoop, readily::Key, UnixStream);
    let ends: [(&str, End); 4] = [
        ("removed", |event_loop, key, _| {
            event_loop.remove(key).unwrap();
        }),
        ("removed in a turn", |mut event_loop, key, _| {
            // poll(2) reports that the number is closed, which is the end of the registration already.
            event_loop.call_soon(move |handle| match handle.remove(key) {
                Ok(()) | Err(Error::UnknownKey(_)) => {}
                Err(error) => panic!("{error}"),
            });
            turn_times(&mut event_loop, 2);
            assert_eq!(event_loop.registered(), 0);
        }),
        ("the loop is closed", |event_loop, _, _| {
            assert_eq!(event_loop.close().registrations, 1);
        }),
        ("the loop is dropped", |event_loop, _, _| drop(event_loop)),
    ];
    for ((what, end), make) in ends
        .into_iter()
        .flat_map(|end| LOOPS.map(|make| (end, make)))
    {
        let event_loop = make();
        let reports = collect_unhandled(&event_loop);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let number = ours.as_raw_fd();
        // It does not take the interest back, which would be an error of its own.
        let read = Closures::new().on_read(|_| ());
        let key = event_loop.register(ours, Interest::READ, read);
        // SAFETY: a number; its owner is the loop, which is not handed it again by us.
        assert_eq!(unsafe { libc::close(number) }, 0);
        end(event_loop, key.unwrap(), theirs);
        assert_eq!(reports.len(), 1, "{what}: {}", reports.text());
        let expected = format!("closing descriptor {number}, registered at tests/it/forked.rs:");
        assert!(reports.text().starts_with(&expected), "{}", reports.text());
        assert!(reports.text().contains("os error 9"), "{}", reports.text());
    }
}

/// R168, R004: the event repeats in each turn until the callback closes the registration.
#[test]
#[cfg(target_os = "linux")]
fn a_callback_that_reads_a_descriptor_closed_outside_the_loop_gets_the_error_in_each_turn() {
    use readily::poll::default_poller::EpollPoller;
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let mut event_loop = strict_loop_over(EpollPoller::new().unwrap());
    let reports = collect_unhandled(&event_loop);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let _twin = ours.try_clone().unwrap();
    let number = ours.as_raw_fd();
    let log = Log::default();
    let note = log.clone();
    let read = Closures::new().on_read(move |cx| {
        let error = cx.read(&mut [0; 8]).unwrap_err();
        note.note(error.raw_os_error().unwrap());
        if note.len() == 100 {
            cx.close();
        }
    });
    event_loop.register(ours, Interest::READ, read).unwrap();
    // SAFETY: a number; its owner, the loop, finds out what has become of it.
    assert_eq!(unsafe { libc::close(number) }, 0);
    theirs.write_all(b"x").unwrap();
    turn_times(&mut event_loop, 99);
    assert_eq!(log.text(), vec!["9"; 99].join(" "), "EBADF");
    assert_eq!(reports.text(), "", "it is not detected");
    turn_times(&mut event_loop, 300);
    assert_eq!((log.len(), event_loop.registered()), (100, 0));
    let text = reports.text();
    assert!(text.contains("closing descriptor"), "{text}");
    let events = event_loop.stats().events;
    turn_times(&mut event_loop, 50);
    assert_eq!(event_loop.stats().events, events, "{text}");
}

/// R168: a source is edge-triggered, so the event does not repeat. A kqueue has forgotten the descriptor
/// by then, and reports nothing.
#[test]
#[cfg(target_os = "linux")]
fn a_source_whose_descriptor_was_closed_outside_the_loop_gets_the_error_and_does_not_spin() {
    use readily::Runner;
    use readily::io::{Async, Direction};
    use readily::poll::default_poller::EpollPoller;
    use std::io::Read;
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let epoll = strict_loop_over(EpollPoller::new().unwrap());
    let poll = strict_loop_over(PollPoller::new().unwrap());
    for event_loop in [epoll, poll] {
        let mut runner = Runner::from(event_loop);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let twin = ours.try_clone().unwrap();
        let number = ours.as_raw_fd();
        let run = runner.run(async {
            let source = Async::new(ours).unwrap();
            let read = |mut socket: &UnixStream| socket.read(&mut [0; 8]);
            let waits = wait_for(Duration::from_millis(1), source.io(Direction::Read, read));
            assert!(waits.await.is_err(), "there is nothing to read yet");
            // SAFETY: a number; its owner, the source, finds out what has become of it.
            assert_eq!(unsafe { libc::close(number) }, 0);
            theirs.write_all(b"x").unwrap();
            let error = source.io(Direction::Read, read).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EBADF));
            let turns = |handle: &readily::LoopHandle| handle.stats().turns;
            let handle = readily::WeakHandle::current().unwrap();
            let before = handle.with(turns).unwrap();
            readily::sleep(Duration::from_millis(20)).await;
            let spent = handle.with(turns).unwrap() - before;
            assert!(spent < 10, "{spent} turns");
            // The standard library aborts if an owned descriptor is closed already.
            // SAFETY: two numbers, of which the second is free, and is the source's to close.
            assert_eq!(unsafe { libc::dup2(twin.as_raw_fd(), number) }, number);
        });
        run.unwrap();
    }
}

/// The branch of the dispatcher: it runs with the descriptor out of the table.
#[test]
fn a_callback_that_closes_its_own_descriptor_causes_one_report() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    for panics in [false, true] {
        let mut event_loop = strict_loop();
        event_loop.set_panic_policy(readily::PanicPolicy::Isolate);
        let reports = collect_unhandled(&event_loop);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let read = Closures::new().on_read(move |cx| {
            // SAFETY: a number; its owner is the loop, which is not handed it again by us.
            assert_eq!(unsafe { libc::close(cx.fd().as_raw_fd()) }, 0);
            match panics {
                true => panic!("on purpose"),
                false => cx.close(),
            }
        });
        event_loop.register(ours, Interest::READ, read).unwrap();
        theirs.write_all(b"x").unwrap();
        turn_times(&mut event_loop, 3);
        assert_eq!(reports.len(), 1 + usize::from(panics), "{}", reports.text());
        assert!(
            reports.text().contains("closing descriptor"),
            "{}",
            reports.text()
        );
        assert_eq!(event_loop.registered(), 0);
    }
}

/// R350: another thread may have had a lock at the fork, and there is nothing to join.
#[test]
fn in_a_fork_cores_refuse_everything_and_nothing_hangs() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let cores = RefCell::new(Some(Cores::builder().count(2).build().unwrap()));
    let code = in_a_fork(|| {
        let cores = cores.take().unwrap();
        let refused = cores.spawn_on(0, || async { 21 }).unwrap_err();
        assert!(matches!(refused, SpawnError::Forked(_)), "{refused:?}");
        assert!(matches!(
            cores.spawn(|| async {}),
            Err(SpawnError::Forked(_))
        ));
        let forked = |error: Result<_, _>| matches!(error, Err(ShutdownError::Forked));
        assert!(forked(cores.shutdown(Duration::ZERO).wait()));
        assert!(forked(cores.ended().wait()));
        assert!(forked(cores.run_until_signal(Duration::ZERO)));
        cores.begin_shutdown(Duration::ZERO);
        let service = |_: &Core| |_stream: TcpStream, _peer| async {};
        let refused = cores.serve(([127, 0, 0, 1], 0), service).unwrap_err();
        assert!(matches!(refused.reason, ListenError::Forked), "{refused}");
        drop(cores);
        7
    });
    assert_eq!(code, 7);
    let cores = cores.take().unwrap();
    let mut task = cores.spawn_on(1, || async { 21 }).unwrap();
    assert_eq!(task.wait().unwrap(), 21);
    assert!(
        cores
            .shutdown(Duration::from_secs(60))
            .wait()
            .unwrap()
            .is_clean()
    );
}

struct Silent;

impl Protocol for Silent {
    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
}

/// R108, R377.
#[test]
fn in_a_fork_a_transport_writes_nothing_into_the_parents_connection() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let transport = event_loop.create_transport(ours, Silent).unwrap();
    turn_times(&mut event_loop, 2);
    let key = transport.key().unwrap();
    let code = in_a_fork(|| {
        let forked = |error: std::io::Error| error.to_string() == Error::Forked.to_string();
        let results = [
            transport.write(b"child") == Err(WriteError::Forked),
            transport.write_eof() == Err(WriteError::Forked),
            transport.get_write_buffer_size() == 0,
            event_loop.write_to(key, b"child").is_err_and(forked),
            event_loop
                .shutdown_of(key, Shutdown::Write)
                .is_err_and(forked),
        ];
        transport.close();
        i32::from(results == [true; 5])
    });
    assert_eq!(code, 1);
    transport.write(b"parent").unwrap();
    transport.close();
    event_loop.run().unwrap();
    let mut text = String::new();
    (&theirs).read_to_string(&mut text).unwrap();
    assert_eq!(text, "parent");
}
