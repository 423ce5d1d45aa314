//! The loop inside other programs: in a host's `poll`, in another loop of ours, in another thread.

use crate::support::{Log, guard, strict_loop, turn_until};
use readily::event_loop::ExitReason;
use readily::{Closures, EventLoop, Interest};
use readily_sys::poll::{IN, PollSet};
use std::future::pending;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Whether a host's `poll(2)` finds the loop's descriptor readable.
fn asks_for_a_turn(event_loop: &EventLoop, timeout: Option<Duration>) -> bool {
    let fd = event_loop.as_fd().unwrap().as_raw_fd();
    let mut set = PollSet::new();
    set.push(fd, IN);
    set.wait(timeout).unwrap() == 1
}

/// A host needs two things: a descriptor to watch, and a deadline.
#[test]
fn a_host_waits_for_one_descriptor_and_one_deadline() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let log = Log::default();
    assert!(!asks_for_a_turn(&event_loop, Some(Duration::ZERO)));
    assert_eq!(event_loop.next_deadline(), None);

    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let read = Closures::new().on_read({
        let log = log.clone();
        move |cx| log.note(cx.read(&mut [0; 8]).unwrap())
    });
    event_loop.register(ours, Interest::READ, read).unwrap();
    assert!(!asks_for_a_turn(&event_loop, Some(Duration::ZERO)));
    theirs.write_all(b"abc").unwrap();
    assert!(asks_for_a_turn(&event_loop, None));
    event_loop.turn_now().unwrap();
    assert_eq!(log.text(), "3");
    assert!(!asks_for_a_turn(&event_loop, Some(Duration::ZERO)));

    // A wake from another thread makes the descriptor readable too, and the turn consumes it.
    let remote = event_loop.remote_handle();
    let noted = log.clone();
    event_loop.call_later(Duration::from_secs(3600), move |_| noted.note("late"));
    assert!(event_loop.next_deadline().is_some());
    std::thread::spawn(move || remote.call_soon(|_| ()).is_ok());
    assert!(asks_for_a_turn(&event_loop, None));
    event_loop.turn_now().unwrap();
    event_loop.turn_now().unwrap();
    assert!(!asks_for_a_turn(&event_loop, Some(Duration::ZERO)));
    assert_eq!(log.text(), "3");
}

/// After the end of one connection, the next wait of a kqueue poller asks about its other side. An
/// edge-triggered watch on the queue's descriptor does not report that this event is still to come.
#[test]
#[cfg(target_os = "linux")]
fn a_host_comes_back_for_what_a_kqueue_poller_has_still_to_look_at() {
    use readily::Trigger;
    use readily::clock::Monotonic;
    use readily_testing::{Personality, emulated};

    let _guard = guard!();
    for system in [
        Personality::FreeBsd,
        Personality::Apple,
        Personality::NetBsd,
    ] {
        let poller = Box::new(emulated::poller(system).unwrap());
        let mut event_loop = EventLoop::with(poller, Box::new(Monotonic::new())).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let log = Log::default();
        let hangup = log.clone();
        let callbacks = Closures::new()
            .on_read(|cx| assert_eq!(cx.read(&mut [0]).unwrap(), 0))
            .on_hangup(move |_, _| hangup.note("hangup"));
        event_loop
            .register_with(ours, Interest::READ, Trigger::Edge, callbacks)
            .unwrap();
        assert!(!asks_for_a_turn(&event_loop, Some(Duration::ZERO)));
        drop(theirs);
        while !log.has("hangup") {
            assert!(
                asks_for_a_turn(&event_loop, Some(Duration::ZERO)),
                "{system:?}"
            );
            event_loop.turn_now().unwrap();
        }
    }
}

/// A message that is sent during a turn may come too late for that turn. The loop is awake and so is
/// not notified; and the host does not ask the loop before it waits.
#[test]
fn what_was_sent_during_a_turn_makes_the_descriptor_readable() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let remote = event_loop.remote_handle();
    event_loop.call_soon(move |_| remote.call_soon(|_| ()).unwrap());
    event_loop.turn_now().unwrap();
    assert!(asks_for_a_turn(&event_loop, Some(Duration::ZERO)));
    event_loop.turn_now().unwrap();
    assert!(!asks_for_a_turn(&event_loop, Some(Duration::ZERO)));
}

/// A closure queued by a callback makes the deadline now, so the host runs another turn.
#[test]
fn work_that_is_ready_is_a_deadline_of_now() {
    let _guard = guard!();
    let event_loop = strict_loop();
    event_loop.call_soon(|_| ());
    assert!(event_loop.next_deadline().unwrap() <= event_loop.fresh_now());
}

/// R162: a cancelled closure keeps its place in the queue, but is no work: it neither asks for a turn
/// nor keeps a run from ending.
#[test]
fn a_closure_or_task_that_was_cancelled_asks_for_no_turn() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (first, second) = (event_loop.call_soon(|_| ()), event_loop.call_soon(|_| ()));
    let task = event_loop.spawn(pending::<()>());
    assert!(first.cancel() && second.cancel() && task.cancel());
    assert!(event_loop.is_idle());
    assert_eq!(event_loop.next_deadline(), None);
    let looks = event_loop.stats().polls;
    assert_eq!(event_loop.run().unwrap(), ExitReason::Idle);
    assert_eq!(
        event_loop.stats().polls,
        looks,
        "the run has nothing to wait for"
    );

    // Work queued behind a cancelled closure is still work.
    let log = Log::default();
    let note = log.clone();
    assert!(event_loop.call_soon(|_| ()).cancel());
    event_loop.call_soon(move |_| note.note("ran"));
    assert!(!event_loop.is_idle());
    assert!(event_loop.next_deadline().unwrap() <= event_loop.fresh_now());
    assert_eq!(event_loop.run().unwrap(), ExitReason::Idle);
    assert_eq!(log.text(), "ran");
    // A timer that was cancelled beside them asks for no wait either.
    let timer = event_loop.call_later(Duration::from_secs(3600), |_| ());
    assert!(event_loop.call_soon(|_| ()).cancel() && timer.cancel());
    assert_eq!(event_loop.next_deadline(), None);
}

/// R162: a message is work, also for a host that has no descriptor to watch.
#[test]
fn a_closure_that_was_sent_asks_for_a_turn() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    assert_eq!(event_loop.next_deadline(), None);
    event_loop.remote_handle().call_soon(|_| ()).unwrap();
    assert!(event_loop.next_deadline().unwrap() <= event_loop.fresh_now());
    event_loop.turn_now().unwrap();
    assert_eq!(event_loop.next_deadline(), None);
}

/// A loop in a loop: the inner one's descriptor is registered with the outer one.
#[test]
fn a_loop_can_be_a_source_of_another() {
    let _guard = guard!();
    let mut outer = strict_loop();
    let mut inner = strict_loop();
    let log = Log::default();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let read = Closures::new().on_read({
        let log = log.clone();
        move |cx| log.note(cx.read(&mut [0; 8]).unwrap())
    });
    inner.register(ours, Interest::READ, read).unwrap();
    let notifier = inner.as_fd().unwrap().try_clone_to_owned().unwrap();
    let asked = Closures::new().on_read({
        let log = log.clone();
        move |_| log.note("inner")
    });
    outer.register(notifier, Interest::READ, asked).unwrap();
    theirs.write_all(b"hello").unwrap();
    turn_until(&mut outer, || log.has("inner"));
    inner.turn_now().unwrap();
    assert!(log.has("5"));
    let turns = log.len();
    outer.turn_now().unwrap();
    assert_eq!(log.len(), turns, "it has had its turn");
}

/// No hidden threads: a loop, its timers and its tasks are one.
#[test]
#[cfg(target_os = "linux")]
fn a_loop_starts_no_thread() {
    if !crate::support::is_alone(None) {
        return;
    }
    let _guard = guard!();
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let seen = crate::support::strict_run(async move {
        let task = readily::spawn(readily::sleep(Duration::from_millis(1)));
        task.await.unwrap();
        threads()
    });
    assert_eq!(seen.unwrap(), before);
}
