//! A panic or an error that was retrieved is not reported, one that was not is, and an output is not lost
//! to what goes wrong afterwards.
//!
//! Invariant: G2.

use readily::combine::ReturnWhen;
use readily::task::create_future;
use readily::{
    JoinError, LoopHandle, PanicPolicy, Runner, Task, TaskGroup, current_task, gather, run, sleep,
    spawn, wait, wait_for, yield_now,
};
use readily_testing::SimLoop;
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

type Reports = Rc<RefCell<Vec<String>>>;

/// All that is reported, as it is printed.
fn collect_reports(handle: &LoopHandle) -> Reports {
    handle.set_panic_policy(PanicPolicy::Isolate);
    let reports = Reports::default();
    let into = Rc::clone(&reports);
    handle.on_unhandled(move |unhandled| into.borrow_mut().push(unhandled.to_string()));
    reports
}

fn panics() -> Task<Result<(), String>> {
    spawn(async { std::panic::resume_unwind(Box::new("oh")) })
}

fn fails() -> Task<Result<(), String>> {
    spawn(async { Err("no".to_owned()) })
}

/// Of asyncio's `task.exception()` and `task.result()`: one look is enough.
#[test]
fn a_panic_or_an_error_that_was_looked_at_is_not_reported() {
    let mut sim = SimLoop::new(1);
    let reports = collect_reports(&sim);
    sim.run(async {
        let seen = Rc::new(Cell::new(0));
        // By a done-callback, in which the handle goes.
        let slot: Rc<RefCell<Option<Task<_>>>> = Rc::default();
        let task = panics();
        let (sees, taken) = (Rc::clone(&seen), Rc::clone(&slot));
        task.add_done_callback(move |_| {
            let task = taken.take().unwrap();
            let panicked = |result: &Result<_, _>| matches!(result, Err(JoinError::Panicked(_)));
            sees.set(usize::from(task.with_result(panicked).unwrap()));
        });
        slot.replace(Some(task));
        for _ in 0..3 {
            yield_now().await;
        }
        assert_eq!(seen.get(), 1);
        // By hand, and the error as well as the panic.
        let (failed, panicked) = (fails(), panics());
        yield_now().await;
        yield_now().await;
        for task in [failed, panicked] {
            assert!(
                task.with_result(|result| !matches!(result, Ok(Ok(()))))
                    .unwrap()
            );
            task.detach_reporting();
        }
        yield_now().await;
    })
    .unwrap();
    assert!(reports.borrow().is_empty(), "{reports:?}");
}

/// A wait for the first failure looks at the result, but does not retrieve it.
#[test]
fn a_panic_or_an_error_that_was_not_retrieved_is_reported() {
    let mut sim = SimLoop::new(1);
    let reports = collect_reports(&sim);
    sim.run(async {
        let mut tasks = vec![panics(), fails()];
        let (done, _) = wait(&mut tasks, ReturnWhen::FirstException).await;
        done.into_iter().for_each(Task::detach_reporting);
        tasks.into_iter().for_each(Task::detach_reporting);
        let mut tasks = vec![panics()];
        drop(wait(&mut tasks, ReturnWhen::FirstException).await);
        yield_now().await;
    })
    .unwrap();
    let reports = reports.take();
    assert_eq!(reports.len(), 3, "{reports:?}");
    assert!(
        reports[0].starts_with("Task-2") && reports[0].ends_with("oh"),
        "{}",
        reports[0]
    );
    assert!(
        reports[1].starts_with("Task-3") && reports[1].ends_with("no"),
        "{}",
        reports[1]
    );
}

#[test]
fn a_done_callback_of_a_shared_future_sees_the_value_wherever_it_is() {
    for settled_before in [false, true] {
        let seen: Rc<RefCell<Vec<String>>> = Rc::default();
        let mut sim = SimLoop::new(1);
        sim.run(async {
            let (promise, future) = create_future();
            let note = |name: &'static str| {
                let seen = Rc::clone(&seen);
                move |future: &readily::task::Future<String>| {
                    let value = future.with_result(|result| result.clone().unwrap());
                    seen.borrow_mut().push(format!("{name}: {value:?}"));
                }
            };
            future.add_done_callback(note("one"));
            if settled_before {
                promise.set_result("x".to_owned()).unwrap();
            }
            future.add_done_callback(note("two"));
            let shared = future.shared();
            let wait = || spawn(shared.clone());
            let (early, other) = (wait(), wait());
            if !settled_before {
                yield_now().await;
                assert!(shared.result().is_none() && !shared.done());
                promise.set_result("x".to_owned()).unwrap();
            }
            assert_eq!(
                shared.result(),
                Some(Ok("x".to_owned())),
                "before the callbacks"
            );
            let both = gather((early, other)).await;
            assert_eq!(both.0.unwrap(), both.1.unwrap());
            assert!(promise.set_result("y".to_owned()).is_err() && !shared.cancel());
            assert!(shared.done() && !shared.cancelled());
        })
        .unwrap();
        let seen = seen.take();
        assert_eq!(
            seen,
            ["one: Some(\"x\")", "two: Some(\"x\")"],
            "{settled_before}"
        );
    }
}

/// G2: no task is left that could get them.
#[test]
fn the_errors_of_a_group_whose_time_runs_out_are_reported() {
    #[derive(Debug)]
    struct NoPicture;
    let mut sim = SimLoop::new(1);
    let reports = collect_reports(&sim);
    let ended = sim.run(async {
        let group = TaskGroup::collect(async |group| {
            for name in ["left", "right"] {
                group
                    .spawn(async { Err::<(), _>(NoPicture) })
                    .task_ref()
                    .set_name(name);
            }
            group.spawn(async { std::panic::resume_unwind(Box::new("oh")) as Result<(), _> });
            group.spawn(async {
                pending::<()>().await;
                Ok(())
            });
            sleep(SECOND).await;
            Err::<(), _>(NoPicture)
        });
        wait_for(2 * SECOND, group).await.is_err()
    });
    assert!(ended.unwrap());
    let mut reports = reports.take();
    reports.sort();
    assert_eq!(reports.len(), 4, "{reports:?}");
    assert!(
        reports[0].starts_with("Task-1,"),
        "the body: {}",
        reports[0]
    );
    assert!(
        reports[1].starts_with("Task-4,") && reports[1].contains("oh"),
        "{}",
        reports[1]
    );
    for (reports, name) in reports[2..].iter().zip(["left", "right"]) {
        assert!(
            reports.starts_with(name) && reports.contains("NoPicture"),
            "{reports}"
        );
    }
    // The errors that a group returns are not reported.
    let reports = collect_reports(&sim);
    let group = TaskGroup::collect(async |group| {
        group.spawn(async { Err::<(), _>(NoPicture) });
        Ok(())
    });
    assert_eq!(sim.run(group).unwrap().unwrap_err().errors.len(), 1);
    assert!(reports.borrow().is_empty());
}

/// R209: the child that drops its own group is being polled meanwhile, and fails after that.
#[test]
fn the_error_of_a_child_that_drops_its_own_group_is_reported() {
    struct NoPicture;
    let mut sim = SimLoop::new(1);
    let reports = collect_reports(&sim);
    let ended = sim.run(async {
        let group = TaskGroup::<NoPicture>::run(async |group| {
            let owner = current_task().unwrap();
            for fails in [true, false] {
                let owner = owner.clone();
                group.spawn(async move {
                    yield_now().await;
                    match owner.cancel() {
                        true if fails => Err(NoPicture),
                        _ => Ok(()),
                    }
                });
            }
            pending::<Result<(), _>>().await
        });
        let ended = spawn(group).await;
        yield_now().await;
        ended.is_err()
    });
    assert!(ended.unwrap());
    let reports = reports.take();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(
        reports[0].starts_with("Task-3,") && reports[0].contains("NoPicture"),
        "{reports:?}"
    );
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("as it goes"));
    }
}

/// Is ready at once, and panics when it is dropped.
struct Ready(Bomb);

impl Future for Ready {
    type Output = String;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<String> {
        let Ready(Bomb) = *self;
        Poll::Ready("the output".to_owned())
    }
}

#[test]
fn the_output_of_a_run_is_not_lost_to_a_panic_of_the_cleanup() {
    // Of what is left on the loop, where a panic goes out of it.
    let local: Rc<RefCell<Option<Reports>>> = Rc::default();
    let slot = Rc::clone(&local);
    let output = run(async move {
        let handle = readily::WeakHandle::current().unwrap();
        let reports = handle.with(|handle| {
            let reports = collect_reports(handle);
            handle.set_panic_policy(PanicPolicy::Propagate);
            reports
        });
        slot.replace(reports);
        for _ in 0..2 {
            drop(spawn(async {
                let _bomb = Bomb;
                pending::<()>().await;
            }));
        }
        yield_now().await;
        "the output".to_owned()
    });
    assert_eq!(output.unwrap(), "the output");
    assert_eq!(local.take().unwrap().borrow().len(), 2);
    // Of the future itself.
    for policy in [PanicPolicy::Isolate, PanicPolicy::Propagate] {
        let mut runner = Runner::new().unwrap();
        let reports = collect_reports(&runner);
        runner.set_panic_policy(policy);
        assert_eq!(runner.run(Ready(Bomb)).unwrap(), "the output");
        let reports = reports.take();
        assert!(
            reports.len() == 1 && reports[0].contains("retrieved.rs"),
            "{reports:?}"
        );
        assert_eq!(runner.run(async { 21 }).unwrap(), 21);
        runner.close();
    }
}
