//! The handles of a loop and of its closures: work for a loop that may be gone.
//!
//! Invariant: C3.

use crate::support::{Log, guard, strict_loop, strict_runner, turn_times};
use readily::event_loop::LoopClosed;
use readily::{LoopHandle, PanicPolicy, WeakHandle, spawn};
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

#[test]
fn a_handle_of_an_open_loop_queues_arms_and_spawns() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (handle, log) = (event_loop.weak_handle(), Log::default());
    let note = |what| {
        let log = log.clone();
        move || log.note(what)
    };
    let (soon, later, at) = (note("soon"), note("later"), note("at"));
    let never = handle.call_soon(|_| unreachable!("cancelled")).unwrap();
    handle.call_soon(move |_| soon()).unwrap();
    assert!(never.cancel());
    let second = Duration::from_secs(1);
    let never = handle
        .call_later(second, |_| unreachable!("cancelled"))
        .unwrap();
    drop(handle.call_later(Duration::ZERO, move |_| later()).unwrap());
    assert!(never.cancel());
    let past = event_loop.now() - second;
    let timer = handle.call_at(past, move |_| at()).unwrap();
    assert_eq!(timer.when(), Some(past));
    let mut task = handle.spawn(async { 21 }).unwrap();
    assert_eq!(task.get_coro().site.file(), file!());
    turn_times(&mut event_loop, 2);
    // Timers before closures, and the earlier deadline first.
    assert_eq!(log.text(), "at later soon");
    assert_eq!(task.result().unwrap().unwrap(), 21);
    assert!(!handle.is_closed());
}

/// C3: the loop of a handle need not be the current one, nor the only one of its thread.
#[test]
fn a_queued_closure_is_cancelled_in_its_own_loop_whichever_loop_is_current() {
    let _guard = guard!();
    let (mut one, mut other) = (strict_loop(), strict_loop());
    let log = Log::default();
    let note = |what| {
        let log = log.clone();
        move |_: &LoopHandle| log.note(what)
    };
    let first = one.call_soon(note("one"));
    let second = other.call_soon(note("other"));
    assert!(second.cancel() && second.cancelled() && !second.cancel());
    turn_times(&mut other, 1);
    turn_times(&mut one, 1);
    assert!(!first.cancel() && !first.cancelled(), "it has run");
    let third = other.call_soon(note("other"));
    one.call_soon(move |_| assert!(third.cancel()));
    turn_times(&mut one, 1);
    turn_times(&mut other, 1);
    assert_eq!(log.text(), "one");
    let late = other.call_soon(note("late"));
    drop(other);
    assert!(!late.cancel());
}

/// R081.
#[test]
fn a_closure_that_is_queued_while_its_loop_closes_is_dropped_at_once() {
    let _guard = guard!();
    struct Queues(WeakHandle, Log);
    impl Drop for Queues {
        fn drop(&mut self) {
            let held = Rc::new(());
            let dropped = Rc::downgrade(&held);
            let queue = |handle: &LoopHandle| handle.call_soon(move |_| drop(held));
            let queued = self.0.with(queue).expect("it is there until it is closed");
            assert!(!queued.cancel());
            self.1.note(if dropped.strong_count() == 0 {
                "dropped"
            } else {
                "queued"
            });
        }
    }
    let (event_loop, log) = (strict_loop(), Log::default());
    let queues = Queues(event_loop.weak_handle(), log.clone());
    event_loop.call_soon(move |_| drop(queues));
    drop(event_loop);
    assert_eq!(log.text(), "dropped");
}

/// R065: a call on a closed loop returns the closure, which was neither run nor dropped.
#[test]
fn a_handle_of_a_closed_loop_returns_what_it_was_given() {
    let _guard = guard!();
    struct Spawns(WeakHandle, Log);
    impl Drop for Spawns {
        fn drop(&mut self) {
            let token = Rc::new(());
            let held = Rc::clone(&token);
            let refused = self.0.spawn(async move { drop(held) });
            let LoopClosed(future) = refused.map(drop).unwrap_err();
            assert_eq!(Rc::strong_count(&token), 2, "it is in the error");
            drop(future);
            let refused = self.0.call_soon(|_| unreachable!());
            self.1.note(if refused.is_err() {
                "refused"
            } else {
                "queued"
            });
        }
    }
    let (mut runner, log) = (strict_runner(), Log::default());
    runner.set_panic_policy(PanicPolicy::Propagate);
    let (handle, now) = (runner.weak_handle(), runner.now());
    let spawns = Spawns(handle.clone(), log.clone());
    runner
        .run(async move {
            drop(spawn(async move {
                let _spawns = spawns;
                pending::<()>().await;
            }));
            readily::yield_now().await;
        })
        .unwrap();
    drop(runner); // cancels the task, whose destructor asks while the loop is being closed
    assert_eq!(log.text(), "refused");
    assert!(handle.is_closed());
    let text = String::from("kept");
    let call = |_: &LoopHandle| unreachable!();
    assert!(handle.call_soon(call).is_err());
    assert!(handle.call_later(Duration::ZERO, call).is_err());
    let LoopClosed(kept) = handle.call_at(now, move |_| drop(text)).unwrap_err();
    drop(kept);
    let LoopClosed(future) = handle.spawn(async { "its output" }).map(drop).unwrap_err();
    assert_eq!(strict_runner().run(future).unwrap(), "its output");
}
