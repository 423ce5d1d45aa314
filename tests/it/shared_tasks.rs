//! A task that is awaited by many, waited for by reference, and seen by its done-callbacks. N15, N16.
//!
//! Invariants: L8, T4.

use crate::support::{Dropped, Log, collect_unhandled, guard, strict_loop, strict_run, turn_times};
use readily::combine::ReturnWhen;
use readily::task::{SharedJoinError, SharedTask, TaskRef, TaskState, create_future};
use readily::{
    JoinError, PanicPolicy, Runner, current_task, gather, sleep, spawn, wait, yield_now,
};
use readily_testing::{SimLoop, manual_poll};
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Wake;
use std::time::Duration;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn planted() -> ! {
    resume_unwind(Box::new("planted"))
}

#[test]
fn a_shared_task_gives_each_waiter_a_clone_of_its_value() {
    let _guard = guard!();
    strict_run(async {
        let (promise, future) = create_future::<Rc<str>>();
        let task = spawn(async move { future.await.unwrap() }).shared();
        let waiters: Vec<_> = (0..5)
            .map(|_| {
                let task = task.clone();
                spawn(async move { task.await.unwrap() })
            })
            .collect();
        let mut given_up = manual_poll(task.clone());
        given_up.assert_pending();
        drop(given_up);
        assert!(!task.done() && task.result().is_none());
        promise.set_result("value".into()).unwrap();
        let first = task.clone().await.unwrap();
        for waiter in waiters {
            let value = waiter.await.unwrap();
            assert!(Rc::ptr_eq(&first, &value));
        }
        assert!(task.done() && !task.cancelled());
        assert_eq!(task.state(), TaskState::Done);
        assert_eq!(task.result().unwrap().unwrap(), first);
        assert_eq!(task.clone().await, task.await, "as often as it is awaited");
    })
    .unwrap();
}

#[test]
fn a_shared_task_goes_on_when_its_last_clone_is_dropped() {
    let _guard = guard!();
    let log = Log::default();
    let (ran, value) = (log.clone(), Dropped(log.clone(), "value"));
    strict_run(async {
        let task = spawn(async move {
            yield_now().await;
            ran.note("ran");
            Rc::new(value)
        });
        let task = task.shared();
        let mut other = manual_poll(task.clone());
        assert!(other.poll().is_pending());
        drop(task);
        drop(other);
        for _ in 0..3 {
            yield_now().await;
        }
    })
    .unwrap();
    assert_eq!(log.text(), "ran value");
}

#[test]
fn each_waiter_of_a_shared_task_receives_its_cancellation_or_its_panic() {
    let _guard = guard!();
    let mut sim = SimLoop::new(1);
    sim.set_panic_policy(PanicPolicy::Isolate);
    let reports = collect_unhandled(&sim);
    sim.run(async {
        let task = spawn(pending::<u8>()).shared();
        let other = task.clone();
        let waits = spawn(other);
        yield_now().await;
        assert!(task.cancel_with("not needed") && !task.cancel());
        assert_eq!(task.cancel_reason().as_deref(), Some("not needed"));
        let error = task.clone().await.unwrap_err();
        assert_eq!(error, SharedJoinError::CancelledFor("not needed".into()));
        assert_eq!(waits.await.unwrap().unwrap_err(), error);
        assert!(error.is_cancelled() && error.reason() == Some("not needed"));
        assert!(task.cancelled());

        let task = spawn(async { planted() }).shared();
        let both: (Result<(), _>, _) = gather((task.clone(), task.clone())).await;
        assert_eq!(both.0, both.1);
        let error = both.0.unwrap_err();
        assert!(error.is_panic() && !error.is_cancelled());
        assert_eq!(error.to_string(), "the task panicked: planted");
        let payload = task.with_result(|result| match result {
            Err(JoinError::Panicked(payload)) => payload.downcast_ref::<&str>().copied(),
            _ => None,
        });
        assert_eq!(payload, Some(Some("planted")));
        drop(task);
        assert_eq!(reports.len(), 0, "it was received: {}", reports.text());

        let task: SharedTask<()> = spawn(async { planted() }).shared();
        task.task_ref().wait_done().await;
        drop(task.clone());
        assert_eq!(reports.len(), 0);
        drop(task);
        assert_eq!(reports.len(), 1, "no clone has received it");
    })
    .unwrap();
}

/// L8: cloning the value is user code.
#[test]
fn a_value_may_use_its_task_while_it_is_cloned() {
    struct Comes(Rc<RefCell<Option<SharedTask<Comes>>>>, u8);
    impl Clone for Comes {
        fn clone(&self) -> Self {
            let task = self.0.borrow_mut().take();
            if let Some(task) = task {
                assert_eq!(task.result().unwrap().unwrap().1, 7);
            }
            Self(Rc::clone(&self.0), self.1)
        }
    }
    let _guard = guard!();
    strict_run(async {
        let slot = Rc::default();
        let value = Comes(Rc::clone(&slot), 7);
        let task = spawn(async move { value }).shared();
        slot.replace(Some(task.clone()));
        assert_eq!(task.await.unwrap().1, 7);
    })
    .unwrap();
}

#[test]
fn the_end_of_a_task_wakes_all_who_wait_for_it_by_reference() {
    let _guard = guard!();
    strict_run(async {
        let (promise, future) = create_future::<u8>();
        let task = spawn(async move { future.await.unwrap() });
        let reference = task.task_ref();
        let waiters: Vec<_> = (0..4).map(|_| spawn(reference.wait_done())).collect();
        // R090: a waiter that gives up leaves no waker behind.
        let woken = Arc::new(Woken::default());
        let mut left = manual_poll(reference.wait_done());
        assert!(left.poll_with(&Arc::clone(&woken).into()).is_pending());
        assert_eq!(Arc::strong_count(&woken), 2);
        drop(left);
        assert_eq!(Arc::strong_count(&woken), 1);
        yield_now().await;
        promise.set_result(7).unwrap();
        for waiter in waiters {
            assert_eq!(waiter.await.unwrap(), TaskState::Done);
        }
        assert_eq!(reference.wait_done().await, TaskState::Done);
        assert_eq!(task.await.unwrap(), 7, "the result was left where it is");

        let task = spawn(pending::<()>());
        let waits = spawn(task.task_ref().wait_done());
        yield_now().await;
        task.cancel();
        assert_eq!(waits.await.unwrap(), TaskState::Cancelled);
    })
    .unwrap();
}

#[test]
fn the_end_of_the_main_task_wakes_who_waits_for_it() {
    let _guard = guard!();
    let mut runner = Runner::new().unwrap();
    runner.set_panic_policy(PanicPolicy::Propagate);
    let log = Log::default();
    let (waited, called) = (log.clone(), log.clone());
    runner
        .run(async move {
            let main = current_task().unwrap();
            main.add_done_callback(move |main| called.note(format!("{:?}", main.state())));
            spawn(async move { waited.note(format!("{:?}", main.wait_done().await)) });
            yield_now().await;
        })
        .unwrap();
    runner
        .run(async {
            yield_now().await;
            yield_now().await;
        })
        .unwrap();
    assert_eq!(log.text(), "Done Done");
}

#[test]
fn a_task_that_waits_for_itself_by_a_clone_or_a_reference_panics() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    event_loop.set_panic_policy(PanicPolicy::Isolate);
    let slot: Rc<RefCell<Option<SharedTask<()>>>> = Rc::default();
    let taken = Rc::clone(&slot);
    let shared = event_loop.spawn(async move {
        let own = taken.take().unwrap();
        let polled = catch_unwind(AssertUnwindSafe(|| manual_poll(own).poll().is_ready()));
        assert!(polled.is_err());
        let own = current_task().unwrap();
        own.wait_done().await;
    });
    let shared = shared.shared();
    slot.replace(Some(shared.clone()));
    turn_times(&mut event_loop, 1);
    let error = shared.result().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the task panicked: Task-1 awaits itself");
}

#[test]
fn a_done_callback_sees_the_result_whether_the_task_is_awaited_or_detached() {
    let _guard = guard!();
    let log = Log::default();
    strict_run(async {
        let sees = |log: &Log| {
            let log = log.clone();
            move |task: &readily::task::DoneTask<&'static str>| {
                assert!(task.done());
                let seen = task.with_result(|result| match result {
                    Ok(value) => (*value).to_owned(),
                    Err(error) => error.to_string(),
                });
                log.note(seen.unwrap_or("nothing".to_owned()));
            }
        };
        // Awaited, and the callback runs before the waiter takes the value.
        let task = spawn(async { "awaited" });
        task.add_done_callback(sees(&log));
        assert_eq!(task.await.unwrap(), "awaited");
        assert_eq!(log.text(), "awaited");
        // Detached, before the end and after it.
        let task = spawn(async { "detached" });
        task.add_done_callback(sees(&log));
        task.add_done_callback(sees(&log));
        drop(task);
        yield_now().await;
        yield_now().await;
        let task = spawn(async { "late" });
        yield_now().await;
        task.add_done_callback(sees(&log));
        drop(task);
        yield_now().await;
        // Cancelled.
        let task = spawn(pending());
        task.add_done_callback(sees(&log));
        task.cancel_with("why");
        drop(task);
        yield_now().await;
        // Shared, whichever waiter has had it.
        let task = spawn(async { "shared" });
        task.add_done_callback(sees(&log));
        let task = task.shared();
        task.task_ref().wait_done().await;
        assert_eq!(task.clone().await, Ok("shared"));
        task.add_done_callback(sees(&log));
        drop(task);
        yield_now().await;
        // Taken before.
        let mut task = spawn(async { "taken" });
        yield_now().await;
        task.result().unwrap().unwrap();
        task.add_done_callback(sees(&log));
        yield_now().await;
    })
    .unwrap();
    assert_eq!(
        log.text(),
        "awaited detached detached late the task was cancelled: why shared shared nothing"
    );
}

#[test]
fn a_shared_result_is_seen_by_a_callback_that_runs_after_a_waiter_has_it() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let seen = Rc::new(Cell::new(0));
    let sees = Rc::clone(&seen);
    let task = event_loop.spawn(async { 7 });
    task.add_done_callback(move |task| {
        sees.set(
            task.with_result(|result| *result.as_ref().unwrap())
                .unwrap(),
        );
    });
    let task = task.shared();
    turn_times(&mut event_loop, 1);
    assert_eq!(task.result(), Some(Ok(7)));
    drop(task);
    assert_eq!(seen.get(), 0, "not yet");
    turn_times(&mut event_loop, 1);
    assert_eq!(seen.get(), 7);
}

/// T4: a result that no handle can take any more is dropped, or reported, after the last callback.
#[test]
fn a_result_that_only_callbacks_may_see_goes_with_the_last_of_them() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    event_loop.set_panic_policy(PanicPolicy::Isolate);
    let reports = collect_unhandled(&event_loop);
    let log = Log::default();
    // The value.
    let value = Dropped(log.clone(), "value");
    let task = event_loop.spawn(async move { value });
    let (first, second) = (log.clone(), log.clone());
    task.add_done_callback(move |_| first.note("first"));
    task.add_done_callback(move |_| second.note("second"));
    drop(task);
    turn_times(&mut event_loop, 2);
    assert_eq!(log.text(), "first second value");
    // A panic is reported if no callback has seen it, and only then.
    for (sees, count) in [(true, 0), (false, 1)] {
        let task = event_loop.spawn(async { planted() });
        task.add_done_callback(move |task: &readily::task::DoneTask<()>| {
            if sees {
                assert!(task.with_result(Result::is_err).unwrap());
            }
        });
        drop(task);
        turn_times(&mut event_loop, 2);
        assert_eq!(reports.len(), count, "{}", reports.text());
    }
    // A callback that is removed after the end was the last one.
    let value = Dropped(log.clone(), "removed");
    let task = event_loop.spawn(async move { value });
    let reference = task.task_ref();
    let key = task.add_done_callback(|_| unreachable!("it is removed"));
    assert!(reference.remove_done_callback(key));
    drop(task);
    turn_times(&mut event_loop, 1);
    assert!(log.has("removed"));
    // And the end of the loop.
    let value = Dropped(log.clone(), "closed");
    let task = event_loop.spawn(async move { value });
    task.add_done_callback(|_| unreachable!("the loop is closed"));
    drop(task);
    turn_times(&mut event_loop, 1);
    drop(event_loop);
    assert!(log.has("closed"));
}

#[test]
fn tasks_of_different_types_are_waited_for_by_their_references() {
    let _guard = guard!();
    let mut sim = SimLoop::new(1);
    sim.run(async {
        let after = |ms| sleep(Duration::from_millis(ms));
        let number = spawn(async move {
            after(3).await;
            7
        });
        let text = spawn(async move {
            after(1).await;
            "text"
        });
        let fails = spawn(async move {
            after(2).await;
            Err::<(), _>("no")
        });
        let all = || vec![number.task_ref(), text.task_ref(), fails.task_ref()];
        let mut tasks = all();
        let (done, pending) = wait(&mut tasks, ReturnWhen::FirstCompleted).await;
        assert_eq!(done, [text.task_ref()]);
        assert_eq!(*pending, [number.task_ref(), fails.task_ref()]);
        let mut tasks = all();
        let is_error = |task: &TaskRef| {
            *task == fails.task_ref()
                && fails.with_result(|result| matches!(result, Ok(Err(_)))) == Some(true)
        };
        let waits = wait(&mut tasks, ReturnWhen::FirstException).failing_if(is_error);
        assert_eq!(waits.await.0, [text.task_ref(), fails.task_ref()]);
        let mut tasks = all();
        let (done, pending) = wait(&mut tasks, ReturnWhen::AllCompleted).await;
        assert_eq!((done, pending.len()), (all(), 0));
        assert_eq!((number.await.unwrap(), text.await.unwrap()), (7, "text"));
    })
    .unwrap();
}
