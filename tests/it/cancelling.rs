//! Cancelling with a reason, at each time at which it is possible, and what is reported of it.
//!
//! Invariants: G3, G4.

use crate::support::{Dropped, Log, guard, strict_loop, strict_run, turn_times};
use readily::group::{Child, ChildFailed};
use readily::task::{TaskState, create_future};
use readily::{
    CancellationToken, JoinError, JoinSet, TaskGroup, all_tasks, current_task, sleep, spawn,
    yield_now,
};
use readily_testing::{Action, SimLoop, in_one_turn, orders};
use std::cell::RefCell;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

/// R079: done, not started, running, waiting, cancelled already: `true` exactly once, and the
/// first reason stays.
#[test]
fn a_reason_is_kept_of_the_call_that_ends_the_task_and_of_no_other() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let mut done = event_loop.spawn(async { 1 });
    turn_times(&mut event_loop, 1);
    assert!(!done.cancel_with("too late"));
    assert_eq!(
        (done.task_ref().cancel_reason(), done.state()),
        (None, TaskState::Done)
    );
    assert_eq!(done.result().unwrap().unwrap(), 1);

    let mut fresh = event_loop.spawn(async { panic!("never polled") });
    assert!(fresh.cancel_with("not needed"));
    assert!(!fresh.cancel_with("twice") && !fresh.cancel());
    assert_eq!(fresh.cancel_reason().as_deref(), Some("not needed"));
    let error = fresh.result().unwrap().unwrap_err();
    assert_eq!(error.reason(), Some("not needed"));
    assert!(error.is_cancelled() && !error.is_panic());
    assert_eq!(error.to_string(), "the task was cancelled: not needed");

    let mut own = event_loop.spawn(async {
        let own = current_task().unwrap();
        assert!(own.cancel_with(format!("for {}", "itself")));
        assert!(!own.cancel_with("twice"));
        assert_eq!(own.cancel_reason().as_deref(), Some("for itself"));
        yield_now().await;
        unreachable!("it goes no further than to where it gives way");
    });
    turn_times(&mut event_loop, 1);
    let error = own.result().unwrap().unwrap_err();
    assert_eq!(error.reason(), Some("for itself"));

    let mut waits = event_loop.spawn(pending::<()>());
    turn_times(&mut event_loop, 1);
    assert!(waits.cancel() && waits.cancelled());
    assert!(!waits.cancel_with("it has none"));
    let error = waits.result().unwrap().unwrap_err();
    assert!(matches!(error, JoinError::Cancelled), "{error:?}");
    assert_eq!(waits.task_ref().cancel_reason(), None);
}

/// A reason is seen where tasks are shown: in `Debug`, and by done-callbacks.
#[test]
fn a_reason_is_seen_where_a_task_is_shown() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let log = Log::default();
    let copy = log.clone();
    let task = event_loop.spawn(pending::<()>());
    task.add_done_callback(move |task| copy.note(format!("{task:?}")));
    task.cancel_with("the peer has gone");
    turn_times(&mut event_loop, 1);
    assert!(
        log.text().contains("Cancelled (the peer has gone) at"),
        "{log:?}"
    );
}

/// R079, R086: two cancels and a value, in one turn and in every order: one reason, one end.
#[test]
fn two_cancel_a_task_whose_value_comes_in_the_same_turn_in_every_order() {
    for order in orders(3) {
        let mut sim = SimLoop::new(1);
        let here = sim.event_loop().enter();
        let (promise, future) = create_future::<u8>();
        let mut task = spawn(future);
        drop(here);
        sim.run_until_stalled().unwrap();
        let (one, two) = (task.task_ref(), task.task_ref());
        let first = Log::default();
        let (a, b) = (first.clone(), first.clone());
        let deeds: Vec<Action> = vec![
            Box::new(move || promise.set_result(7).unwrap()),
            Box::new(move || {
                if one.cancel_with("one") {
                    a.note("one");
                }
            }),
            Box::new(move || {
                if two.cancel_with("two") {
                    b.note("two");
                }
            }),
        ];
        in_one_turn(&sim.weak_handle(), &order, deeds);
        sim.run_until_stalled().unwrap();
        let error = task.result().unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(&*first.text()), "{order:?}");
    }
}

/// The reason that a group gives to the children that it ends; a child that is cancelled alone has not failed.
#[test]
fn a_group_says_why_it_ends_its_children() {
    let _guard = guard!();
    let log = Log::default();
    let copy = log.clone();
    let ended = RefCell::new(None);
    let failed = strict_run(TaskGroup::run(async |group| {
        let alone = group.spawn(async { pending::<Result<(), &str>>().await });
        assert!(alone.cancel());
        assert!(alone.await.is_err());
        let sibling = group.spawn(async { pending::<Result<(), &str>>().await });
        let _held = Watch(sibling.task_ref(), copy.clone());
        *ended.borrow_mut() = Some(sibling.task_ref());
        group.spawn(async { Err::<(), _>("no") });
        pending::<Result<(), _>>().await
    }))
    .unwrap();
    let error = failed.unwrap_err();
    assert_eq!(error.to_string(), "no");
    assert_eq!(error.errors.len(), 1, "who was cancelled has not failed");
    assert_eq!(log.text(), "None", "the body goes before the children");
    let sibling = ended.take().unwrap();
    let reason = sibling.cancel_reason();
    assert_eq!(reason.as_deref(), Some("another of its group failed"));

    struct Watch(readily::task::TaskRef, Log);
    impl Drop for Watch {
        fn drop(&mut self) {
            self.1.note(format!("{:?}", self.0.cancel_reason()));
        }
    }
}

/// A group that is over takes no child: neither late, nor while it ends.
#[test]
fn a_child_answers_as_a_task_does() {
    struct Asks(Rc<RefCell<Option<Child<u8>>>>, Log);
    impl Drop for Asks {
        fn drop(&mut self) {
            let mut child = self.0.borrow_mut();
            let child = child.as_mut().unwrap();
            self.1.note(child.result().is_some());
        }
    }
    let _guard = guard!();
    let log = Log::default();
    strict_run(TaskGroup::<u8>::run(async |group| {
        let mut child = group.spawn(async { Ok(5) });
        assert_eq!(child.state(), TaskState::Created);
        assert!(!child.done() && !child.cancelled());
        assert_eq!(child.result(), None);
        yield_now().await;
        assert!(child.done() && !child.cancelled() && !child.cancel_with("too late"));
        assert_eq!((child.result(), child.result()), (Some(Ok(5)), None));

        let mut child = group.spawn(pending::<Result<u8, _>>());
        assert!(child.cancel_with("not needed") && !child.cancel_with("twice"));
        assert!(child.done() && child.cancelled());
        assert_eq!(child.cancel_reason().as_deref(), Some("not needed"));
        let reason = ChildFailed::CancelledFor("not needed".into());
        assert_eq!(child.result(), Some(Err(reason)));

        // T3: there is no result before the future is gone.
        let slot = Rc::new(RefCell::new(None));
        let asks = Asks(Rc::clone(&slot), log.clone());
        let child = group.spawn(async move {
            let _asks = asks;
            Ok(7)
        });
        slot.replace(Some(child));
        while !slot.borrow().as_ref().unwrap().done() {
            yield_now().await;
        }
        let child = slot.take().unwrap();
        assert_eq!(child.await, Ok(7), "it was left where it was");
        Ok(())
    }))
    .unwrap()
    .unwrap();
    assert_eq!(log.text(), "false");
}

/// In every way: from the body, from a child, from outside, with and without children.
#[test]
fn a_group_that_is_cancelled_ends_its_children_and_its_body_without_an_error() {
    let _guard = guard!();
    let log = Log::default();
    strict_run(async {
        // The body cancels, and is dropped where it waits next.
        let ended = TaskGroup::<()>::run_until_cancelled(async |group| {
            let _body = Dropped(log.clone(), "body");
            for name in ["one", "two"] {
                let held = Dropped(log.clone(), name);
                group.spawn(async move {
                    let _held = held;
                    pending::<Result<(), _>>().await
                });
            }
            let later = log.clone();
            spawn(async move { later.note("next turn") });
            assert!(group.cancel() && !group.cancel());
            let late = group.spawn(async { Ok(()) });
            assert!(late.cancelled(), "it takes no more children");
            log.note("goes on");
            yield_now().await; // no further than here
            unreachable!("it is dropped where it waits")
        });
        assert!(matches!(ended.await, Ok(None::<()>)));
        yield_now().await;
        assert_eq!(log.text(), "one two goes on body next turn");

        // A child cancels; it is itself one that is cancelled.
        let ended = TaskGroup::<()>::run_until_cancelled(async |group| {
            let own = group.clone();
            let child = group.spawn(async move {
                own.cancel_with("fulfilled");
                pending::<Result<(), _>>().await
            });
            let reason = child.await.unwrap_err();
            log.note(reason.reason().unwrap());
            pending().await
        });
        assert!(matches!(ended.await, Ok(None::<()>)));

        // From outside, with no child to end: only the body is left, which waits.
        let mut kept = None;
        let ended = {
            let running = TaskGroup::<u8>::run(async |group| {
                kept = Some(group.clone());
                let group = group.clone();
                spawn(async move { assert!(group.cancel()) });
                pending::<Result<(), _>>().await
            });
            running.await
        };
        let error = ended.unwrap_err();
        assert!(error.is_cancelled());
        assert_eq!(error.to_string(), "the group was cancelled");
        assert!(!kept.unwrap().cancel(), "it is over");

        // An error in the body still counts as one.
        let ended = TaskGroup::run_until_cancelled(async |group| {
            group.spawn(async { Err::<(), _>(7) });
            yield_now().await; // it has failed, and the group has not been notified
            group.cancel();
            pending::<Result<(), _>>().await
        });
        let error = ended.await.unwrap_err();
        assert!(!error.is_cancelled());
        assert_eq!(error.to_string(), "7");
        assert_eq!(all_tasks().len(), 1);
    })
    .unwrap();
}

#[test]
fn a_group_that_is_over_takes_no_task() {
    let _guard = guard!();
    let log = Log::default();
    strict_run(async {
        let mut kept = None;
        let value = TaskGroup::run(async |group| {
            kept = Some(group.clone());
            Ok::<_, ()>(5)
        })
        .await;
        assert_eq!(value.unwrap(), 5);
        let late = Dropped(log.clone(), "late");
        let group = kept.unwrap();
        let child = group.spawn(async move {
            drop(late);
            Ok(())
        });
        assert_eq!(log.text(), "late", "dropped at once, and never polled");
        assert_eq!(
            child.task_ref().cancel_reason().as_deref(),
            Some("its group is over")
        );
        let over = ChildFailed::CancelledFor("its group is over".into());
        assert_eq!(child.await, Err(over));
        assert!(group.is_empty());
        assert_eq!(all_tasks().len(), 1);
    })
    .unwrap();
}

/// A caller that made no promise gets no report about one.
#[test]
fn a_child_says_whether_it_was_cancelled_and_why_or_has_failed() {
    let _guard = guard!();
    let ended = strict_run(TaskGroup::<u8>::collect(async |group| {
        let child = group.spawn(pending::<Result<(), _>>());
        assert!(child.cancel());
        assert_eq!(child.await, Err(ChildFailed::Cancelled));
        let child = group.spawn(pending::<Result<(), _>>());
        assert!(child.task_ref().cancel_with("not needed"));
        let error = child.await.unwrap_err();
        assert_eq!(error.to_string(), "the child was cancelled: not needed");
        assert!(error.is_cancelled() && error.reason() == Some("not needed"));
        let failed = group.spawn(async { Err::<(), _>(7) }).await.unwrap_err();
        assert_eq!(failed, ChildFailed::Failed);
        assert!(!failed.is_cancelled() && failed.reason().is_none());
        Ok(())
    }));
    assert_eq!(ended.unwrap().unwrap_err().to_string(), "7");
}

/// R209: a child that cancels its group or itself while it runs, and then returns without an await
/// in between. Its error is the group's; its value is dropped, as that of every cancelled task.
#[test]
fn the_error_of_a_child_that_cancels_itself_while_it_runs_is_in_the_groups_error() {
    let _guard = guard!();
    strict_run(async {
        let mut failed = None;
        let ended = TaskGroup::run_until_cancelled(async |group| {
            let own = group.clone();
            failed = Some(group.spawn(async move {
                own.cancel_with("fulfilled");
                Err::<(), _>("late")
            }));
            pending::<Result<(), _>>().await
        });
        assert_eq!(ended.await.unwrap_err().to_string(), "late");
        let failed = failed.unwrap();
        assert!(!failed.cancelled() && failed.state() == TaskState::Done);
        assert_eq!(failed.await, Err(ChildFailed::Failed));

        // Alone: in the order of the ends, and the others go on.
        let ended = TaskGroup::collect(async |group| {
            group.spawn(async { Err::<(), _>("one") });
            group.spawn(async {
                assert!(current_task().unwrap().cancel());
                Err::<(), _>("two")
            });
            group.spawn(async {
                yield_now().await;
                Err::<(), _>("three")
            });
            let value = group.spawn(async {
                current_task().unwrap().cancel_with("late");
                Ok(5)
            });
            let error = value.await.unwrap_err();
            assert_eq!(error, ChildFailed::CancelledFor("late".into()));
            let mut value = group.spawn(async {
                current_task().unwrap().cancel();
                Ok(5)
            });
            yield_now().await;
            assert_eq!(value.result(), Some(Err(ChildFailed::Cancelled)));
            Ok(())
        });
        let errors = ended.await.unwrap_err().errors;
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors, ["one", "two", "three"]);
    })
    .unwrap();
}

/// A panic of the body cancels its children, and reaches the caller.
#[test]
fn a_body_that_panics_takes_its_children_with_it() {
    let _guard = guard!();
    let log = Log::default();
    let held = Dropped(log.clone(), "child");
    let panicked = strict_run(async {
        let group = spawn(TaskGroup::run(async move |group| {
            group.spawn(async move {
                let _held = held;
                pending::<Result<(), ()>>().await
            });
            yield_now().await;
            panic!("the body");
            #[allow(unreachable_code)]
            Ok(())
        }));
        group.await.map(|_| ()).unwrap_err()
    })
    .unwrap();
    assert!(panicked.is_panic());
    assert_eq!(log.text(), "child");
}

/// A set detaches the tasks that it is asked to detach, and they go on.
#[test]
fn what_a_set_lets_go_goes_on() {
    let _guard = guard!();
    let log = Log::default();
    strict_run(async {
        let mut set = JoinSet::new();
        let copy = log.clone();
        set.spawn(async move {
            sleep(Duration::from_millis(1)).await;
            copy.note("went on");
        });
        set.spawn(async {});
        yield_now().await;
        set.detach_all();
        assert!(set.is_empty() && set.join_next().await.is_none());
        drop(set);
        while all_tasks().len() > 1 {
            yield_now().await;
        }
    })
    .unwrap();
    assert_eq!(log.text(), "went on");
}

/// A callback of a token may use the token, cancel others, and add more callbacks; a callback that
/// was removed, or whose token was dropped, is dropped.
#[test]
fn callbacks_of_a_token_run_soon_in_order_and_may_use_it() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let log = Log::default();
    let here = event_loop.enter();
    let (token, other) = (CancellationToken::new(), CancellationToken::new());
    let (a, b, c, d) = (log.clone(), log.clone(), log.clone(), log.clone());
    let (own, also) = (token.clone(), other.clone());
    token.on_cancel(move |handle| {
        a.note("first");
        also.cancel();
        let a = a.clone();
        own.on_cancel(move |_| a.note("late"));
        drop(handle.spawn(async {}));
    });
    let removed = token.on_cancel(move |_| b.note("removed"));
    token.on_cancel(move |_| c.note("last"));
    other.on_cancel(move |_| d.note("other"));
    let dropped = Dropped(log.clone(), "dropped");
    CancellationToken::new().on_cancel(move |_| drop(dropped));
    assert_eq!(log.text(), "dropped", "its token has gone");
    assert!(token.remove_on_cancel(removed) && !token.remove_on_cancel(removed));
    assert!(!other.remove_on_cancel(removed), "it was another's");
    drop(here);
    assert!(token.cancel());
    assert_eq!(log.text(), "dropped", "soon is not now");
    turn_times(&mut event_loop, 3);
    assert_eq!(log.text(), "dropped first last other late");
}

/// G4: also for a waker that runs on the stack of the call that cancels.
#[test]
fn a_callback_of_a_cancelled_token_finds_all_below_it_cancelled() {
    thread_local! {
        static BELOW: RefCell<Vec<CancellationToken>> = const { RefCell::new(Vec::new()) };
        static SEEN: RefCell<Vec<bool>> = const { RefCell::new(Vec::new()) };
    }
    let _guard = guard!();
    let looks = readily_testing::wakers::calling(
        || {
            let below = BELOW.with_borrow(|below| below.iter().all(|t| t.is_cancelled()));
            let again = BELOW.with_borrow(|below| below[0].cancel());
            SEEN.with_borrow_mut(|seen| seen.extend([below, !again]));
        },
        || (),
    );
    let token = CancellationToken::new();
    let (child, duplicate) = (token.child_token(), token.child_token());
    BELOW.set(vec![token.clone(), child.child_token(), duplicate, child]);
    let mut waits = token.cancelled();
    let mut cx = std::task::Context::from_waker(&looks);
    assert!(std::pin::Pin::new(&mut waits).poll(&mut cx).is_pending());
    assert!(token.cancel());
    assert_eq!(SEEN.take(), [true, true]);
    BELOW.take();
}

/// G3, R090: also if it was woken for nothing, and if the set goes on.
#[test]
fn a_cancelled_wait_for_a_set_leaves_no_waker_behind() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let mut set = JoinSet::new();
    set.spawn_on(&event_loop, pending::<()>());
    turn_times(&mut event_loop, 1);
    let (waker, count) = readily_testing::wakers::counting();
    let mut waits = Box::pin(set.join_next());
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(waits.as_mut().poll(&mut cx).is_pending());
    drop(waker);
    assert_eq!(count.kept(), 1, "while it waits");
    drop(waits);
    assert_eq!(count.kept(), 0);
}

/// R057: also where a guard goes in the middle of a panic, outside every loop.
#[test]
fn a_guard_that_goes_in_a_panic_survives_a_waker_that_panics() {
    let _guard = guard!();
    let token = CancellationToken::new();
    let mut waits = token.cancelled();
    let waker = readily_testing::wakers::panicking();
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(std::pin::Pin::new(&mut waits).poll(&mut cx).is_pending());
    let own = token.clone();
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _cancels = own.drop_guard();
        panic!("in its scope");
    }));
    let payload = panicked.unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"in its scope"));
    assert!(token.is_cancelled());
}
