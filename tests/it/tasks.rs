//! Tasks, from their spawning to their end, with the corner cases of each step (N13, N15, N16, N18).
//!
//! Invariants: T3, T4.

use crate::support::{
    Dropped, Log, collect_unhandled, guard, strict_loop, strict_run, strict_runner, turn_times,
};
use readily::group::Child;
use readily::task::{Promise, RemoteTask, TaskRef, TaskState, create_future};
use readily::{
    JoinError, JoinSet, PanicPolicy, Task, TaskGroup, WeakHandle, all_tasks, current_task, gather,
    sleep, spawn, yield_now,
};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

fn message(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("?")
}

/// Counts the owners of what a future holds, at the moment in which it is woken.
struct Looks {
    at: Weak<()>,
    found: AtomicUsize,
}

impl Wake for Looks {
    fn wake(self: Arc<Self>) {
        self.found.store(self.at.strong_count(), Relaxed);
    }
}

/// T3: code that runs at the end of a task finds the future dropped, with all that it held.
#[test]
fn a_future_is_gone_when_its_end_is_reported() {
    let _guard = guard!();
    for cancelled in [false, true] {
        let mut event_loop = strict_loop();
        let held = Arc::new(());
        let looks = Arc::new(Looks {
            at: Arc::downgrade(&held),
            found: AtomicUsize::new(usize::MAX),
        });
        let mut task = event_loop.spawn(poll_fn(move |_| {
            let _held = &held;
            Poll::Ready(())
        }));
        let waker = Waker::from(Arc::clone(&looks));
        assert!(
            pin!(&mut task)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        assert_eq!(looks.at.strong_count(), 1);
        if cancelled {
            assert!(task.cancel());
        }
        turn_times(&mut event_loop, 2);
        assert_eq!(looks.found.load(Relaxed), 0, "cancelled: {cancelled}");
    }
}

/// N15, N16: from spawning to the end, as its handle reports it.
#[test]
fn a_task_has_the_right_state_from_its_making_to_its_end() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let mut task = event_loop.spawn(async {
        yield_now().await;
        21
    });
    let states = |task: &Task<i32>| (task.state(), task.done(), task.cancelled());
    assert_eq!(states(&task), (TaskState::Created, false, false));
    assert!(task.result().is_none());
    turn_times(&mut event_loop, 1);
    assert_eq!(states(&task), (TaskState::Suspended, false, false));
    assert_eq!(task.get_coro().polls, 1);
    turn_times(&mut event_loop, 1);
    assert_eq!(states(&task), (TaskState::Done, true, false));
    let looked = task.with_result(|result| *result.as_ref().unwrap());
    assert_eq!(looked, Some(21), "looking takes nothing");
    assert_eq!(task.result().unwrap().unwrap(), 21);
    assert!(task.result().is_none(), "T4: taken once");
    assert!(task.with_result(|_| ()).is_none());
    assert!(!task.cancel(), "there is nothing left to cancel");
    assert_eq!(states(&task), (TaskState::Done, true, false));
}

/// N18 and `get_coro`: what it runs, where it was made, by which name.
#[test]
fn a_task_has_a_name_a_site_and_a_coroutine() {
    let _guard = guard!();
    async fn fetch_page() {}
    let event_loop = strict_loop();
    let first = event_loop.spawn(fetch_page());
    let line = line!() - 1;
    let second = event_loop.spawn(async {});
    assert_eq!(
        (&*first.get_name(), &*second.get_name()),
        ("Task-1", "Task-2")
    );
    second.set_name("fetch");
    assert_eq!(&*second.task_ref().get_name(), "fetch");
    let coro = first.get_coro();
    assert!(coro.type_name.contains("fetch_page"), "{}", coro.type_name);
    assert_eq!((coro.site.file(), coro.site.line()), (file!(), line));
    assert_eq!((coro.polls, coro.state), (0, TaskState::Created));
    let shown = format!("{second:?}");
    assert!(
        shown.contains("fetch") && shown.contains(file!()),
        "{shown}"
    );
}

/// Cancelling: where it waits, before it began, by itself, when it is over, and twice.
#[test]
fn a_cancelled_task_is_dropped_where_it_waits_and_says_so_once() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let log = Log::default();
    let held = |name| Dropped(log.clone(), name);

    let fresh = held("fresh");
    let mut not_begun = event_loop.spawn(async move { drop(fresh) });
    assert!(not_begun.cancel());
    assert_eq!(log.text(), "fresh", "dropped at once, and never polled");
    assert_eq!(not_begun.get_coro().polls, 0);

    let waiting = held("waiting");
    let mut waits = event_loop.spawn(async move {
        let _waiting = waiting;
        pending::<()>().await;
    });
    turn_times(&mut event_loop, 1);
    assert!(waits.cancel());
    assert!(!waits.cancel(), "the first one did it");
    assert_eq!(log.text(), "fresh waiting");

    let own = held("own");
    let noted = log.clone();
    let mut suicide = event_loop.spawn(async move {
        let _own = own;
        assert!(current_task().unwrap().cancel());
        noted.note("goes on");
        yield_now().await;
        noted.note("never");
    });
    turn_times(&mut event_loop, 2);
    assert_eq!(log.text(), "fresh waiting goes on own", "to where it waits");
    for task in [&mut not_begun, &mut waits, &mut suicide] {
        assert_eq!(task.state(), TaskState::Cancelled);
        assert!(task.cancelled() && task.done());
        let error = task.result().unwrap().unwrap_err();
        assert!(error.is_cancelled() && !error.is_panic(), "{error}");
        assert!(task.cancelled(), "also when the result is taken");
    }
}

/// It was cancelled while it ran and then returned: the value loses, as it came too late.
#[test]
fn a_task_that_cancels_itself_and_returns_is_cancelled_all_the_same() {
    let _guard = guard!();
    let log = Log::default();
    let value = Dropped(log.clone(), "value");
    strict_run(async {
        let task = spawn(async move {
            current_task().unwrap().cancel();
            value
        });
        assert!(task.await.err().unwrap().is_cancelled());
        assert_eq!(log.text(), "value", "dropped, not leaked");
    })
    .unwrap();
}

/// The cancelled one's own destructor may look around, spawn and cancel others.
#[test]
fn what_is_dropped_by_cancelling_may_use_the_loop() {
    struct Cleans(Log, Task<()>);
    impl Drop for Cleans {
        fn drop(&mut self) {
            assert!(self.1.cancel());
            let log = self.0.clone();
            drop(spawn(async move { log.note("cleaned") }));
            self.0.note(all_tasks().len());
        }
    }
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let log = Log::default();
    let _entered = event_loop.enter();
    let child = spawn(pending());
    let cleans = Cleans(log.clone(), child);
    let task = spawn(async move {
        let _cleans = cleans;
        pending::<()>().await;
    });
    drop(_entered);
    turn_times(&mut event_loop, 1);
    let _entered = event_loop.enter();
    assert!(task.cancel());
    drop(_entered);
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "1 cleaned");
}

/// The compiler would refuse this test if it were.
#[test]
#[deny(unused_must_use)]
fn a_handle_that_is_dropped_at_once_is_no_warning() {
    let _guard = guard!();
    let log = Log::default();
    let (one, two, three) = (log.clone(), log.clone(), log.clone());
    strict_run(async {
        spawn(async move { one.note("task") });
        TaskGroup::<()>::run(async |group| {
            group.spawn(async move {
                two.note("child");
                Ok(())
            });
            Ok(())
        })
        .await
        .unwrap();
        let mut set = JoinSet::new();
        set.spawn(async move { three.note("member") });
        set.join_next().await.unwrap().unwrap();
    })
    .unwrap();
    assert_eq!(log.text(), "task child member");
}

/// N16: in order, soon, not on the stack of the code that ends the task; and removable until then.
#[test]
fn done_callbacks_run_soon_in_order_unless_they_are_removed() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let log = Log::default();
    let task = event_loop.spawn(async { "value" });
    let mut keys = Vec::new();
    for name in ["a", "b", "c"] {
        let log = log.clone();
        keys.push(task.add_done_callback(move |task| {
            log.note(name);
            log.note(task.done());
        }));
    }
    assert!(task.remove_done_callback(keys[1]));
    assert!(!task.remove_done_callback(keys[1]));
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "", "soon is not now");
    assert!(!task.remove_done_callback(keys[0]), "it is on its way");
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "a true c true");
    let late = log.clone();
    task.add_done_callback(move |task| late.note(task.get_name()));
    assert!(!log.has("Task-1"), "soon also when it is over");
    turn_times(&mut event_loop, 1);
    assert!(log.has("Task-1"));

    // Cancelled, and detached: the callbacks run all the same.
    for detach in [false, true] {
        let log = Log::default();
        let copy = log.clone();
        let task = event_loop.spawn(async move { yield_now().await });
        task.add_done_callback(move |task| copy.note(format!("{:?}", task.state())));
        let expected = if detach {
            drop(task);
            "Done"
        } else {
            task.cancel();
            "Cancelled"
        };
        turn_times(&mut event_loop, 4);
        assert_eq!(log.text(), expected);
    }
}

/// asyncio keeps weak references, and tasks vanish; here the loop owns them.
#[test]
fn a_task_whose_handle_is_dropped_goes_on_to_its_end() {
    let _guard = guard!();
    let log = Log::default();
    let noted = log.clone();
    strict_run(async {
        drop(spawn(async move {
            sleep(Duration::from_millis(1)).await;
            noted.note("done");
        }));
        assert_eq!(all_tasks().len(), 2);
        while all_tasks().len() > 1 {
            yield_now().await;
        }
    })
    .unwrap();
    assert_eq!(log.text(), "done");
}

/// N16: its value is dropped on the loop at its end, if no handle is left.
#[test]
fn the_value_of_a_detached_task_is_dropped_at_its_end() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let log = Log::default();
    let value = Dropped(log.clone(), "value");
    drop(event_loop.spawn(async move { value }));
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "value");
}

/// N18.
#[test]
fn the_current_task_is_the_one_that_runs_and_all_tasks_are_those_that_have_not_ended() {
    let _guard = guard!();
    assert!(current_task().is_none());
    assert!(all_tasks().is_empty());
    let names = |tasks: Vec<TaskRef>| -> Vec<String> {
        tasks.iter().map(|t| t.get_name().to_string()).collect()
    };
    strict_run(async {
        assert_eq!(&*current_task().unwrap().get_name(), "Task-1");
        let mut twins: Vec<_> = (0..2)
            .map(|_| {
                spawn(async {
                    let before = current_task().unwrap();
                    yield_now().await;
                    assert_eq!(before, current_task().unwrap());
                    before.get_name().to_string()
                })
            })
            .collect();
        assert_eq!(names(all_tasks()), ["Task-1", "Task-2", "Task-3"]);
        assert_eq!(twins.pop().unwrap().await.unwrap(), "Task-3");
        assert_eq!(twins.pop().unwrap().await.unwrap(), "Task-2");
        assert_eq!(names(all_tasks()), ["Task-1"]);
        // In a callback there is none.
        let (promise, seen) = create_future();
        let handle = WeakHandle::current().unwrap();
        handle.with(|handle| {
            handle.call_soon(move |_| {
                promise.set_result(current_task().is_none()).unwrap();
            })
        });
        assert_eq!(seen.await, Ok(true));
    })
    .unwrap();
}

/// N18. The next one is polled right behind it.
#[test]
fn what_goes_with_a_task_at_its_end_is_of_no_task() {
    struct Looks(Rc<Cell<u32>>);
    impl Drop for Looks {
        fn drop(&mut self) {
            assert!(current_task().is_none());
            self.0.set(self.0.get() + 1);
        }
    }
    let mut event_loop = strict_loop();
    let gone = Rc::new(Cell::new(0));
    for _ in 0..2 {
        let (held, given) = (Looks(Rc::clone(&gone)), Looks(Rc::clone(&gone)));
        let mut given = Some(given);
        // Its handle was dropped, so what it returns is dropped, too.
        drop(event_loop.spawn(poll_fn(move |_| {
            let _held = &held;
            Poll::Ready(given.take().unwrap())
        })));
    }
    event_loop.turn_now().unwrap();
    assert_eq!(gone.get(), 4);
}

#[test]
fn the_main_task_ends_by_returning_only() {
    let _guard = guard!();
    let value = strict_run(async {
        assert!(!current_task().unwrap().cancel());
        yield_now().await;
        5
    });
    assert_eq!(value.unwrap(), 5);
}

/// T4, and N15: the awaiting task gets the value, the panic or the cancellation.
#[test]
fn awaiting_a_task_returns_how_it_ended() {
    let _guard = guard!();
    strict_run(async {
        assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
        let panicked = spawn(async { panic!("on purpose") }).await.err().unwrap();
        let JoinError::Panicked(payload) = panicked else {
            panic!("{panicked}")
        };
        assert_eq!(message(&*payload), "on purpose");
        let cancelled = spawn(pending::<()>());
        let cancels = async {
            yield_now().await;
            assert!(cancelled.task_ref().cancel());
        };
        cancels.await;
        assert!(cancelled.await.unwrap_err().is_cancelled());
    })
    .unwrap();
}

#[test]
fn awaiting_in_vain_is_a_panic_and_not_an_endless_wait() {
    let _guard = guard!();
    strict_run(async {
        let mut task = spawn(async { 1 });
        assert_eq!((&mut task).await.unwrap(), 1);
        let twice = spawn(async move {
            let _ = task.await;
        });
        let JoinError::Panicked(payload) = twice.await.unwrap_err() else {
            panic!("it waited")
        };
        assert!(message(&*payload).contains("taken before"));
    })
    .unwrap();
}

#[test]
fn a_task_that_awaits_itself_panics_and_does_not_wait_for_ever() {
    let _guard = guard!();
    let mut runner = strict_runner();
    runner.set_panic_policy(PanicPolicy::Isolate);
    let reports = collect_unhandled(&runner);
    runner
        .run(async {
            let (promise, own) = create_future::<Task<()>>();
            let narcissus = spawn(async move { own.await.unwrap().await.unwrap() });
            let itself = narcissus.task_ref();
            promise.set_result(narcissus).unwrap();
            while !itself.done() {
                yield_now().await;
            }
            assert_eq!(itself.state(), TaskState::Panicked);
        })
        .unwrap();
    assert!(reports.text().contains("awaits itself"), "{reports:?}");
}

/// R097, for the other handles that a task may have of itself.
#[test]
fn a_child_a_remote_task_and_the_last_of_a_set_that_await_themselves_panic_too() {
    let _guard = guard!();
    let mut runner = strict_runner();
    runner.set_panic_policy(PanicPolicy::Isolate);
    let reports = collect_unhandled(&runner);
    let ended = runner.run(TaskGroup::run(async |group: &TaskGroup<&str>| {
        let (promise, own) = create_future::<Child<()>>();
        let child = group.spawn(async move {
            let _no_task = own.await.unwrap().await;
            Ok(())
        });
        promise.set_result(child).unwrap();
        Ok(())
    }));
    let error = ended.unwrap().unwrap_err();
    assert!(
        error.to_string().ends_with("Task-2 awaits itself"),
        "{error}"
    );

    runner
        .run(async {
            let remote = WeakHandle::current()
                .unwrap()
                .with(|handle| handle.remote_handle());
            let own: Arc<Mutex<Option<RemoteTask<()>>>> = Arc::default();
            let of_task = Arc::clone(&own);
            let task = remote.unwrap().spawn(move || async move {
                let own = of_task.lock().unwrap().take();
                let _no_task = own.unwrap().await;
            });
            *own.lock().unwrap() = Some(task.unwrap());
            while reports.len() == 0 {
                yield_now().await;
            }
            assert!(
                reports.text().contains("Task-4 awaits itself"),
                "{reports:?}"
            );

            let mut set = JoinSet::new();
            set.spawn(yield_now());
            let (promise, own) = create_future::<JoinSet<()>>();
            let last = set.spawn(async move {
                let mut own = own.await.unwrap();
                // The other one: that is worth waiting for.
                own.join_next().await.unwrap().unwrap();
                own.join_next().await;
            });
            promise.set_result(set).unwrap();
            while !last.done() {
                yield_now().await;
            }
            assert_eq!(last.state(), TaskState::Panicked);
            assert!(
                reports.text().contains("Task-6 awaits itself"),
                "{reports:?}"
            );
        })
        .unwrap();
}

/// It would wait for as long as the other loop runs, and with `run` that is for ever.
#[test]
fn a_task_that_is_awaited_on_another_loop_than_its_own_says_so() {
    let _guard = guard!();
    let home = strict_loop();
    let task = home.spawn(yield_now());
    task.set_name("far away");
    let awaits = catch_unwind(AssertUnwindSafe(|| strict_run(task)));
    let expected = "far away belongs to another loop than the one that awaits it";
    assert_eq!(message(&*awaits.unwrap_err()), expected);

    let mut set = JoinSet::new();
    let task = set.spawn_on(&home, yield_now());
    task.set_name("far away");
    let awaits = catch_unwind(AssertUnwindSafe(|| strict_run(set.join_next())));
    assert_eq!(message(&*awaits.unwrap_err()), expected);

    // One that has ended has no need of its loop.
    let mut home = strict_runner();
    let task = home.spawn(async { 21 });
    home.event_loop().turn_now().unwrap();
    assert_eq!(strict_run(task).unwrap().unwrap(), 21);
}

/// The panic of a task that can no longer be awaited is reported, by the policy.
#[test]
fn a_panic_that_can_no_longer_be_retrieved_is_reported() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    event_loop.set_panic_policy(PanicPolicy::Isolate);
    let reports = collect_unhandled(&event_loop);
    let task = event_loop.spawn(async { panic!("seen by its handle") });
    turn_times(&mut event_loop, 1);
    assert_eq!(reports.len(), 0, "the handle is there");
    drop(task);
    turn_times(&mut event_loop, 1);
    assert!(reports.text().contains("seen by its handle"), "{reports:?}");

    let mut task = event_loop.spawn(async { panic!("taken") });
    turn_times(&mut event_loop, 1);
    assert!(task.result().unwrap().unwrap_err().is_panic());
    drop(task);
    turn_times(&mut event_loop, 1);
    assert_eq!(reports.len(), 1, "the code that took it has seen it");
}

/// N16: asyncio's `background_tasks`, and each task is in it once.
#[test]
fn tasks_of_all_kinds_are_elements_of_a_set() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let one = event_loop.spawn(async { 1 });
    let two = event_loop.spawn(async {});
    let mut set = HashSet::new();
    assert!(set.insert(one.task_ref()) && set.insert(two.task_ref()));
    assert!(!set.insert(one.task_ref()));
    turn_times(&mut event_loop, 1);
    drop(one);
    assert!(
        set.iter().all(TaskRef::done),
        "what is in it stays what it was"
    );
    assert!(set.remove(&two.task_ref()) && !set.contains(&two.task_ref()));
    assert_eq!(set.len(), 1);
}

/// What a run leaves behind is cancelled and dropped on its thread; what a runner's run leaves
/// goes on in the next.
#[test]
fn what_is_left_at_the_end_is_dropped_and_named() {
    let _guard = guard!();
    let log = Log::default();
    let mut runner = strict_runner();
    let held = Dropped(log.clone(), "dropped");
    let steps = log.clone();
    runner
        .run(async {
            let left = spawn(async move {
                let _held = held;
                for step in 0.. {
                    steps.note(step);
                    yield_now().await;
                }
            });
            left.set_name("left over");
            yield_now().await;
        })
        .unwrap();
    let so_far = log.len();
    runner
        .run(async { gather([yield_now(), yield_now()]).await })
        .unwrap();
    assert!(log.len() > so_far && !log.has("dropped"));
    let report = runner.close();
    assert!(log.has("dropped"));
    assert!(format!("{report:?}").contains("left over"), "{report:?}");
}

/// The borrow that `run` allows: its future need not be `'static`.
#[test]
fn the_main_future_may_borrow_from_the_stack_of_its_caller() {
    let _guard = guard!();
    let mut total = 0;
    let words = ["a", "bc"].map(str::to_owned);
    strict_run(async {
        for word in &words {
            yield_now().await;
            total += word.len();
        }
    })
    .unwrap();
    assert_eq!(total, 3);
}

/// One turn is one poll of each woken task: none that yields runs twice in it.
#[test]
fn tasks_that_give_way_take_turns() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let log = Log::default();
    for name in ["a", "b", "c"] {
        let log = log.clone();
        drop(event_loop.spawn(async move {
            for _ in 0..2 {
                log.note(name);
                yield_now().await;
            }
        }));
    }
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "a b c");
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "a b c a b c");
}

/// A chain of tasks, each awaiting the one before: its end goes through all of it.
#[test]
fn a_long_chain_of_tasks_ends_and_is_dropped_without_deep_recursion() {
    let _guard = guard!();
    const LINKS: u32 = 20_000;
    // As the end runs along it; and cut in the middle, as `run` drops it.
    for settles in [true, false] {
        let outcome = strict_run(async {
            let (promise, future) = create_future::<u32>();
            let mut last = spawn(async move { future.await.unwrap() });
            for _ in 0..LINKS {
                last = spawn(async move { last.await.unwrap() + 1 });
            }
            if settles {
                promise.set_result(0).unwrap();
                last.await.unwrap()
            } else {
                yield_now().await;
                let _abandoned: Promise<u32> = promise;
                LINKS
            }
        });
        assert_eq!(outcome.unwrap(), LINKS);
    }
}

#[test]
fn spawning_outside_a_loop_is_a_panic_that_says_what_to_do() {
    let _guard = guard!();
    let complaint = |does: fn()| {
        let payload = catch_unwind(does).unwrap_err();
        message(&*payload).to_owned()
    };
    let spawned = complaint(|| drop(spawn(async {})));
    assert!(spawned.contains("spawned outside a loop"), "{spawned}");
    let created = complaint(|| drop(create_future::<()>()));
    assert!(created.contains("created a future outside"), "{created}");
    let slept = complaint(|| {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = std::pin::pin!(sleep(Duration::ZERO)).poll(&mut cx);
    });
    assert!(slept.contains("outside"), "{slept}");
}

/// What belongs to a future goes with it, and was there all the same.
#[test]
fn what_the_futures_of_a_closed_loop_had_is_counted_too() {
    let _guard = guard!();
    let mut runner = strict_runner();
    let task = runner.spawn(async {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let source = readily::io::Async::new(ours).unwrap();
        let soon = WeakHandle::current().unwrap();
        let _armed = soon.with(|handle| handle.call_later(Duration::from_secs(9), |_| ()));
        let _limited = readily::wait_for(Duration::from_secs(9), source.readable()).await;
    });
    runner.event_loop().turn_now().unwrap();
    let queued = runner.call_soon(|_| ());
    let takes_it_back = runner.spawn(async move {
        let _held = Cancels(queued);
        pending::<()>().await;
    });
    let report = runner.close();
    assert_eq!((report.tasks.len(), report.registrations), (2, 1));
    assert_eq!((report.timers, report.closures), (2, 1));
    drop((task, takes_it_back));
}

/// A task that goes with another, whose destructor cancels it, was left as well.
#[test]
fn a_task_that_another_takes_with_it_is_counted_too() {
    struct TakesAlong(Task<()>);
    impl Drop for TakesAlong {
        fn drop(&mut self) {
            self.0.cancel();
        }
    }
    let _guard = guard!();
    let runner = strict_runner();
    let slot = Rc::new(RefCell::new(None));
    let _first = {
        let slot = Rc::clone(&slot);
        runner.spawn(async move {
            let _slot = slot;
            pending::<()>().await;
        })
    };
    let second = runner.spawn(pending::<()>());
    *slot.borrow_mut() = Some(TakesAlong(second));
    drop(slot);
    assert_eq!(runner.close().tasks, ["Task-1", "Task-2"]);
}

struct Cancels(readily::CallHandle);

impl Drop for Cancels {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
