//! `wait` and `shield`: tasks that are awaited, and not ended by that.
//!
//! Invariants: T10, T11, L8.

use proptest::collection::vec;
use proptest::prelude::*;
use readily::combine::{Either, ReturnWhen, Shielded};
use readily::task::{TaskRef, create_future};
use readily::time::fresh_now;
use readily::{
    JoinError, PanicPolicy, Task, Unhandled, select, shield, sleep, spawn, wait, wait_for,
    yield_now,
};
use readily_testing::{Action, SimLoop, in_one_turn, manual_poll, orders, spy, wakers};
use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// A timeout that is never reached, in virtual time.
const HOUR: Duration = Duration::from_secs(3600);

/// How a task ends, and after how many milliseconds.
#[derive(Clone, Copy, Debug)]
enum End {
    Value,
    Error,
    Panic,
    Cancelled,
}

fn ends() -> impl Strategy<Value = Vec<(End, u32)>> {
    let end = prop_oneof![
        4 => Just(End::Value),
        1 => Just(End::Error),
        1 => Just(End::Panic),
        1 => Just(End::Cancelled),
    ];
    vec((end, 1u32..12), 0..7)
}

type Outcome = Result<u32, &'static str>;

fn spawned(ends: &[(End, u32)]) -> Vec<Task<Outcome>> {
    ends.iter()
        .map(|&(end, at)| {
            let task = spawn(async move {
                sleep(at * MS).await;
                match end {
                    End::Value => Ok(at),
                    End::Error => Err("planted"),
                    End::Panic => std::panic::panic_any(super::scripted::PLANTED),
                    End::Cancelled => pending().await,
                }
            });
            if let End::Cancelled = end {
                let task = task.task_ref();
                drop(spawn(async move {
                    sleep(at * MS).await;
                    task.cancel();
                }));
            }
            task
        })
        .collect()
}

/// The end of such a wait: the tasks that end at or after a time, without a limit.
fn model(ends: &[(End, u32)], when: ReturnWhen, errors: bool) -> u32 {
    let last = ends.iter().map(|&(_, at)| at).max().unwrap_or(0);
    let fails = |end: End| match end {
        End::Panic => true,
        End::Error => errors,
        End::Value | End::Cancelled => false,
    };
    let failing = ends.iter().filter(|&&(end, _)| fails(end));
    match when {
        ReturnWhen::AllCompleted => last,
        ReturnWhen::FirstCompleted => ends.iter().map(|&(_, at)| at).min().unwrap_or(0),
        ReturnWhen::FirstException => failing.map(|&(_, at)| at).min().unwrap_or(last),
        other => unreachable!("not drawn: {other:?}"),
    }
}

fn when() -> impl Strategy<Value = ReturnWhen> {
    prop_oneof![
        Just(ReturnWhen::FirstCompleted),
        Just(ReturnWhen::FirstException),
        Just(ReturnWhen::AllCompleted),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// T10: a wait returns when the model says, with the tasks that have ended by then, in their
    /// order; the others stay in the list, and go on. Dropped before, it has no effect.
    #[test]
    fn a_wait_returns_the_tasks_that_have_ended_and_keeps_the_others(
        ends in ends(),
        when in when(),
        errors in any::<bool>(),
        limit in prop_oneof![Just(None), (0u32..14).prop_map(Some)],
        given_up in any::<bool>(),
        by_reference in any::<bool>(),
        seed in 0u64..4,
    ) {
        super::scripted::hush();
        let mut sim = SimLoop::new(seed);
        sim.run(wait_for(HOUR, async {
            let mut tasks = spawned(&ends);
            let begin = fresh_now();
            if given_up {
                let waits = wait(&mut tasks, ReturnWhen::AllCompleted);
                if let Either::Left(_) = select((waits, yield_now())).await {
                    assert!(ends.is_empty());
                }
                assert_eq!(tasks.len(), ends.len(), "all are in the list");
            }
            let (done, mut left) = if by_reference {
                let mut references: Vec<_> = tasks.iter().map(Task::task_ref).collect();
                let fails = |task: &TaskRef| {
                    let task = tasks.iter().find(|it| it.task_ref() == *task).unwrap();
                    task.with_result(|result| matches!(result, Ok(Err(_)))).unwrap()
                };
                let mut waits = wait(&mut references, when);
                if errors {
                    waits = waits.failing_if(fails);
                }
                if let Some(limit) = limit {
                    waits = waits.limit(limit * MS);
                }
                let (done, left) = waits.await;
                assert_eq!(done.len() + left.len(), tasks.len());
                tasks.drain(..).partition(|task| done.contains(&task.task_ref()))
            } else {
                let mut waits = wait(&mut tasks, when);
                if errors {
                    waits = waits.failing_if(Result::is_err);
                }
                if let Some(limit) = limit {
                    waits = waits.limit(limit * MS);
                }
                let (done, left) = waits.await;
                (done, std::mem::take(left))
            };
            let took = fresh_now() - begin;
            let due = model(&ends, when, errors);
            let expected = limit.map_or(due, |limit| limit.min(due));
            assert_eq!(took, expected * MS, "{when:?}");
            // A task that is due in the same turn may be polled after the wait has returned.
            let must = ends.iter().filter(|&&(_, at)| at < expected).count();
            let may = ends.iter().filter(|&&(_, at)| at <= expected).count();
            assert!((must..=may).contains(&done.len()), "{} of {must}..={may}", done.len());
            assert!(done.iter().all(Task::done) && !left.iter().any(Task::done));
            let numbers = |tasks: &[Task<Outcome>]| -> Vec<u32> {
                let number = |task: &Task<Outcome>| task.get_name()[5..].parse().unwrap();
                tasks.iter().map(number).collect()
            };
            assert!(numbers(&done).is_sorted() && numbers(&left).is_sorted());
            // All tasks go on, and each result is there.
            let mut all = done;
            wait(&mut left, ReturnWhen::AllCompleted).await.0.into_iter().for_each(|t| all.push(t));
            assert_eq!(all.len(), ends.len());
            all.sort_by_key(|task| numbers(std::slice::from_ref(task))[0]);
            for (task, (end, at)) in all.into_iter().zip(&ends) {
                match (task.await, end) {
                    (Ok(Ok(value)), End::Value) => assert_eq!(value, *at),
                    (Ok(Err("planted")), End::Error)
                    | (Err(JoinError::Panicked(_)), End::Panic)
                    | (Err(JoinError::Cancelled), End::Cancelled) => {}
                    (result, end) => panic!("{end:?} gave {result:?}"),
                }
            }
        })).unwrap().expect("no task hangs");
        sim.run_until_stalled().unwrap();
        prop_assert_eq!(sim.event_loop().next_deadline(), None, "no timer is left");
    }
}

/// A result that was taken before counts as an end; a task keeps no waker of a wait that was
/// dropped.
#[test]
fn a_wait_takes_no_result_and_leaves_no_waker() {
    let mut sim = SimLoop::new(1);
    let (waker, count) = wakers::counting();
    sim.run(async {
        let (promise, future) = create_future::<u8>();
        let mut tasks = vec![spawn(async move { future.await.unwrap() })];
        let mut waits = manual_poll(wait(&mut tasks, ReturnWhen::AllCompleted));
        assert!(waits.poll_with(&waker).is_pending());
        drop(waits);
        assert_eq!(count.kept(), 1, "only the test's waker is left");
        promise.set_result(7).unwrap();
        let (mut done, left) = wait(&mut tasks, ReturnWhen::AllCompleted).await;
        assert!(left.is_empty());
        assert_eq!(done[0].result().unwrap().unwrap(), 7);
        let again = wait(&mut done, ReturnWhen::FirstException).await;
        assert_eq!((again.0.len(), again.1.len()), (1, 0));
        let no_task = wait(&mut Vec::<Task<u8>>::new(), ReturnWhen::FirstCompleted)
            .await
            .0;
        assert!(no_task.is_empty());
    })
    .unwrap();
    assert_eq!(count.take(), 0);
}

#[test]
fn a_wait_may_be_dropped_after_each_of_its_polls() {
    let mut sim = SimLoop::new(1);
    let polls = sim.drop_everywhere(|| async {
        let (promise, future) = create_future::<u8>();
        let mut tasks = vec![spawn(async move { future.await.is_ok() })];
        let waits = wait(&mut tasks, ReturnWhen::FirstCompleted);
        assert_eq!(waits.limit(MS / 2).await.0.len(), 0);
        promise.set_result(1).unwrap();
        let waits = wait(&mut tasks, ReturnWhen::AllCompleted);
        assert_eq!(waits.limit(MS / 2).await.0.len(), 1);
    });
    assert!(polls > 4, "the future waits");
    assert_eq!(sim.event_loop().next_deadline(), None, "no timer is left");
}

/// T10: two ends and a cancel of the waiter, in one turn and in every order: no result is lost.
#[test]
fn two_ends_of_one_turn_are_waited_for_in_every_order() {
    for order in orders(3) {
        let mut sim = SimLoop::new(1);
        let entered = sim.event_loop().enter();
        let (one, first) = create_future::<u8>();
        let (two, second) = create_future::<u8>();
        let kept: Rc<RefCell<Vec<u8>>> = Rc::default();
        let keeps = Rc::clone(&kept);
        let waiter = spawn(async move {
            let mut tasks = vec![
                spawn(async move { first.await.unwrap() }),
                spawn(async move { second.await.unwrap() }),
            ];
            while !tasks.is_empty() {
                for task in wait(&mut tasks, ReturnWhen::FirstCompleted).await.0 {
                    let value = task.await.unwrap();
                    keeps.borrow_mut().push(value);
                }
            }
        });
        drop(entered);
        sim.run_until_stalled().unwrap();
        let cancels = order[0] == 2;
        let task = waiter.task_ref();
        let actions: Vec<Action> = vec![
            Box::new(move || one.set_result(1).unwrap()),
            Box::new(move || two.set_result(2).unwrap()),
            Box::new(move || {
                if cancels {
                    assert!(task.cancel());
                }
            }),
        ];
        in_one_turn(&sim.weak_handle(), &order, actions);
        sim.run_until_stalled().unwrap();
        let mut kept = kept.take();
        kept.sort_unstable();
        let expected: &[u8] = if cancels { &[] } else { &[1, 2] };
        assert_eq!(kept, expected, "{order:?}");
        assert!(waiter.done());
    }
}

/// T11: a shielded task goes on when its waiter is cancelled, at any await; its result is returned
/// once, or dropped.
#[test]
fn what_is_shielded_goes_on_when_its_waiter_is_cancelled() {
    let mut sim = SimLoop::new(1);
    sim.run(wait_for(HOUR, async {
        let (work, seen) = spy(async {
            sleep(MS).await;
            7
        });
        let outer = spawn(async move { shield(work).await.unwrap() });
        yield_now().await;
        yield_now().await; // the task has begun by now
        assert!(outer.cancel());
        seen.assert_alive();
        sleep(2 * MS).await;
        assert!(seen.finished());
        seen.assert_dropped();

        // A shield that was borrowed or taken back loses no result.
        let mut kept = shield(async {
            sleep(MS).await;
            8
        });
        assert!(wait_for(Duration::ZERO, &mut kept).await.is_err());
        assert!(!kept.done() && kept.result().is_none());
        assert_eq!((&mut kept).await.unwrap(), 8);
        assert!(kept.done() && !kept.cancelled() && kept.result().is_none());
        let kept = shield(async { 9 });
        kept.task_ref().set_name("nine");
        let task = kept.into_task();
        assert_eq!(&*task.get_name(), "nine");
        assert_eq!(Shielded::from(task).await.unwrap(), 9);

        // A shield does not protect a task from its own end.
        let ended = shield(pending::<()>());
        assert!(ended.task_ref().cancel());
        assert!(ended.done() && ended.cancelled());
        assert!(ended.await.unwrap_err().is_cancelled());
    }))
    .unwrap()
    .expect("no task hangs");
}

/// T11: an error or a panic that no task can retrieve is reported; one that was retrieved is not.
#[test]
fn a_failure_behind_a_shield_is_reported_if_no_task_takes_it() {
    super::scripted::hush();
    let mut sim = SimLoop::new(1);
    sim.set_panic_policy(PanicPolicy::Isolate);
    let reports: Rc<RefCell<Vec<String>>> = Rc::default();
    let log = Rc::clone(&reports);
    sim.on_unhandled(move |unhandled| {
        let failed = matches!(
            unhandled,
            Unhandled::TaskFailed { .. } | Unhandled::Panic { .. }
        );
        assert!(failed, "{unhandled}");
        log.borrow_mut().push(unhandled.to_string());
    });
    let reported_now = || reports.take().len();
    sim.run(wait_for(HOUR, async {
        let fails = |at: u32| async move {
            sleep(at * MS).await;
            Err::<u8, _>("no")
        };
        // Dropped before the failure, and after it.
        for after in [0, 3] {
            let work = shield(fails(1)).telling_errors();
            work.task_ref().set_name("the work");
            sleep(after * MS).await;
            drop(work);
            sleep(3 * MS).await;
            let reports = reports.take();
            assert_eq!(reports.len(), 1, "{reports:?}");
            assert!(
                reports[0].starts_with("the work, spawned at "),
                "{reports:?}"
            );
            assert!(reports[0].ends_with("failed: no"), "{reports:?}");
        }
        // Retrieved, no error, not requested, passed on, cancelled: nothing is reported.
        assert_eq!(shield(fails(1)).telling_errors().await.unwrap(), Err("no"));
        drop(shield(async { Ok::<u8, &str>(1) }).telling_errors());
        drop(shield(fails(1)));
        drop(shield(fails(1)).telling_errors().into_task());
        let cancelled = shield(fails(1)).telling_errors();
        cancelled.task_ref().cancel();
        drop(cancelled);
        sleep(3 * MS).await;
        assert_eq!(reported_now(), 0);
        // A panic is reported in each case.
        let panics = || async {
            sleep(MS).await;
            std::panic::panic_any(super::scripted::PLANTED);
            #[allow(unreachable_code)]
            Ok::<u8, &str>(0)
        };
        drop(shield(panics()));
        drop(shield(panics()).telling_errors());
        sleep(3 * MS).await;
        assert_eq!(reported_now(), 2);
    }))
    .unwrap()
    .expect("no task hangs");
    // Dropped between two turns, and after its loop.
    let entered = sim.event_loop().enter();
    let (between, after) = (
        shield(ready(Err::<u8, _>("no"))).telling_errors(),
        shield(pending::<Outcome>()).telling_errors(),
    );
    drop(entered);
    sim.run_until_stalled().unwrap();
    drop(between);
    sim.run_until_stalled().unwrap();
    assert_eq!(reported_now(), 1);
    drop(sim);
    drop(after);
}

/// L8: with each hostile waker; afterwards the tasks can be awaited, and no result is lost.
#[test]
fn a_wait_works_for_others_after_wakers_that_misbehave() {
    super::scripted::hush();
    let mut sim = SimLoop::new(3);
    sim.set_panic_policy(PanicPolicy::Isolate);
    sim.on_unhandled(|_| ());
    for (name, hostile) in wakers::hostile() {
        let entered = sim.event_loop().enter();
        let (promise, future) = create_future::<u8>();
        let mut tasks = vec![spawn(async move { future.await.unwrap() })];
        let mut shielded = manual_poll(shield(pending::<()>()));
        let poll_both = |waker: &std::task::Waker, tasks: &mut Vec<Task<u8>>| {
            let mut first = manual_poll(wait(tasks, ReturnWhen::AllCompleted));
            let _may_panic = catch_unwind(AssertUnwindSafe(|| first.poll_with(waker)));
        };
        poll_both(&hostile, &mut tasks);
        let _may_panic = catch_unwind(AssertUnwindSafe(|| shielded.poll_with(&hostile)));
        let _may_panic = catch_unwind(AssertUnwindSafe(|| drop(shielded)));
        let mut waits = manual_poll(wait(&mut tasks, ReturnWhen::FirstCompleted));
        assert!(waits.poll().is_pending(), "{name}");
        promise.set_result(7).unwrap();
        drop(entered);
        sim.run_until_stalled().unwrap();
        waits.assert_woken(1);
        let (mut done, left) = waits.assert_ready();
        assert_eq!((done.len(), left.len()), (1, 0), "{name}");
        assert_eq!(done[0].result().unwrap().unwrap(), 7, "{name}");
        let _may_panic = catch_unwind(AssertUnwindSafe(|| drop(hostile)));
    }
}

/// A task that waits for itself would wait forever; it panics, as one that awaits itself.
#[test]
fn a_task_that_waits_for_itself_panics() {
    super::scripted::hush();
    let mut sim = SimLoop::new(1);
    let found = Rc::new(Cell::new(false));
    let finds = Rc::clone(&found);
    sim.run(async {
        let own: Rc<RefCell<Vec<Task<()>>>> = Rc::default();
        let mine = Rc::clone(&own);
        let task = spawn(async move {
            let mut tasks = mine.take();
            let mut waits = manual_poll(wait(&mut tasks, ReturnWhen::AllCompleted));
            let polled = catch_unwind(AssertUnwindSafe(|| waits.poll().is_pending()));
            finds.set(polled.is_err());
        });
        own.borrow_mut().push(task);
        sleep(MS).await;
    })
    .unwrap();
    assert!(found.get());
}
