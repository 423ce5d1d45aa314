//! Which loop is current: before, during and after callbacks that enter or turn another one.
//!
//! Invariant: G7.

use crate::support::{Log, collect_unhandled, guard, strict_loop, strict_runner, turn_times};
use readily::task::{BUDGET, TaskState, consume_budget};
use readily::{
    Closures, EventLoop, Interest, LoopHandle, Runner, WeakHandle, current_task, sleep, spawn,
    task_local, yield_now,
};
use readily_testing::SimLoop;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::Write;
use std::mem::forget;
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// R164.
#[test]
fn a_guard_that_is_held_across_an_await_has_no_effect_on_others_and_is_reported() {
    let _guard = guard!();
    let mut runner = strict_runner();
    let reports = collect_unhandled(&runner);
    let elsewhere = Rc::new(strict_loop());
    let log = Log::default();
    let (other, note) = (Rc::clone(&elsewhere), log.clone());
    runner
        .run(async move {
            let holder = spawn({
                let (other, note) = (Rc::clone(&other), note.clone());
                async move {
                    let entered = other.enter();
                    // Until the next await it has an effect, as it should.
                    drop(spawn(async { unreachable!("that loop is not turned") }));
                    yield_now().await;
                    let own = spawn(async { 7 });
                    // The old guard takes nothing of a new one with it.
                    let again = other.enter();
                    drop(entered);
                    drop(spawn(async { unreachable!("nor that") }));
                    drop(again);
                    note.note(own.await.unwrap());
                }
            });
            let neighbour = spawn(async move {
                sleep(Duration::from_millis(1)).await;
                spawn(async { 21 }).await.unwrap()
            });
            note.note(neighbour.await.unwrap());
            holder.await.unwrap();
        })
        .unwrap();
    assert_eq!(log.text(), "7 21");
    assert_eq!(reports.len(), 1, "{}", reports.text());
    assert!(
        reports
            .text()
            .starts_with("Task-2, spawned at tests/it/enter.rs:")
    );
    assert!(!elsewhere.is_idle(), "it has the one that was meant for it");
}

/// R164: each kind of user code that a turn runs.
#[test]
fn whatever_forgets_a_guard_is_named_and_what_comes_behind_it_is_at_home() {
    let _guard = guard!();
    let event_loop = strict_loop();
    let reports = collect_unhandled(&event_loop);
    let elsewhere = Rc::new(strict_loop());
    let address = |handle: &LoopHandle| std::ptr::from_ref(handle).addr();
    let home = address(&event_loop);
    let log = Log::default();
    let forgets = |log: &Log| {
        let (other, log) = (Rc::clone(&elsewhere), log.clone());
        move || {
            let here = WeakHandle::current().and_then(|here| here.with(address));
            log.note(if here == Some(home) {
                "home"
            } else {
                "ELSEWHERE"
            });
            forget(other.enter());
        }
    };
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let forgetting = forgets(&log);
    let read = Closures::new().on_read(move |cx| {
        assert_eq!(cx.read(&mut [0]).unwrap(), 1);
        forgetting();
    });
    event_loop.register(ours, Interest::READ, read).unwrap();
    let forgetting = forgets(&log);
    event_loop.call_later(Duration::ZERO, move |_| forgetting());
    for _ in 0..2 {
        let forgetting = forgets(&log);
        event_loop.call_soon(move |_| forgetting());
        let forgetting = forgets(&log);
        drop(event_loop.spawn(async move { forgetting() }));
    }
    let forgetting = forgets(&log);
    let main = async move {
        forgetting();
        yield_now().await;
        sleep(Duration::from_millis(1)).await; // that is this loop's again
    };
    Runner::from(event_loop).run(main).unwrap();
    assert_eq!(log.count("home"), 7, "{}", log.text());
    assert_eq!(log.len(), 7);
    let text = reports.text();
    assert_eq!(reports.len(), 7, "{text}");
    for (who, times) in [
        ("the read callback registered at tests/it/enter.rs:", 1),
        ("the timer armed at tests/it/enter.rs:", 1),
        ("the closure queued at tests/it/enter.rs:", 2),
        (", spawned at tests/it/enter.rs:", 2),
        ("the main future", 1),
    ] {
        assert_eq!(text.matches(who).count(), times, "{who}: {text}");
    }
    assert!(WeakHandle::current().is_none(), "nor afterwards");
}

task_local! {
    static REQUEST: u32;
}

/// Notes the task-local when it is dropped.
struct SeesRequest(Log);

impl Drop for SeesRequest {
    fn drop(&mut self) {
        let seen = REQUEST.with(|number| *number);
        self.0.note(format!("dropped: {seen:?}"));
    }
}

/// R163, G7: a library's own loop, turned by a task that knows nothing of it.
#[test]
fn a_loop_that_turns_inside_a_task_leaves_all_that_is_the_tasks_alone() {
    let _guard = guard!();
    let inner = Rc::new(RefCell::new(strict_loop()));
    let log = Log::default();
    let (library, noted) = (Rc::clone(&inner), log.clone());
    let work = move || {
        let note = noted.clone();
        let in_the_library = async move {
            for _ in 0..2 * BUDGET {
                consume_budget().await;
            }
            let seen = REQUEST.with(|number| *number);
            let name = current_task().map(|task| task.get_name().to_string());
            note.note(format!("{seen:?} {name:?}"));
        };
        drop(library.borrow().spawn(REQUEST.scope(1, in_the_library)));
        let note = noted.clone();
        let bare = async move { note.note(format!("{:?}", REQUEST.with(|number| *number))) };
        drop(library.borrow().spawn(bare));
        // Dropped after the poll that panics, and not by it.
        let dropped = SeesRequest(noted.clone());
        let panics = poll_fn(move |_| -> Poll<()> {
            let _dropped = &dropped;
            resume_unwind(Box::new("planted"))
        });
        let panics = library.borrow().spawn(panics);
        turn_times(&mut library.borrow_mut(), 4);
        assert_eq!(panics.state(), TaskState::Panicked);
        panics.with_result(|result| assert!(result.is_err()));
    };
    let mut runner = strict_runner();
    let note = log.clone();
    runner
        .run(REQUEST.scope(7, async move {
            let before = current_task().map(|task| task.get_name().to_string());
            work();
            let after = current_task().map(|task| task.get_name().to_string());
            assert_eq!(before, after);
            assert_eq!(REQUEST.with(|number| *number), Some(7));
            // Here again: what is spawned goes to this loop.
            note.note(spawn(async { "here" }).await.unwrap());
        }))
        .unwrap();
    assert_eq!(
        log.text(),
        "None dropped: None Some(1) Some(\"Task-1\") here"
    );
    assert!(inner.borrow().is_idle());
}

/// R163: both directions at once, with a simulated loop inside the other runtime.
#[test]
fn a_loop_in_memory_is_turned_in_a_callback_of_a_real_one() {
    let _guard = guard!();
    let mut event_loop: EventLoop = strict_loop();
    let log = Log::default();
    let note = log.clone();
    event_loop.call_soon(move |_| {
        let mut sim = SimLoop::new(1);
        let noted = note.clone();
        sim.call_soon(move |_| noted.note("guest"));
        sim.event_loop().turn_now().unwrap();
        note.note("host");
    });
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "guest host");
}

/// Runs its closure when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// R071: between two turns, where no loop is current.
#[test]
fn the_destructor_of_a_cancelled_closure_spawns_on_its_loop_and_may_enter_others() {
    let _guard = guard!();
    let (mut event_loop, elsewhere) = (strict_loop(), Rc::new(strict_loop()));
    let log = Log::default();
    let (note, other) = (log.clone(), Rc::clone(&elsewhere));
    let dropped = OnDrop(move || {
        let (here, there) = (note.clone(), note.clone());
        let entered = other.enter();
        drop(spawn(async move { there.note("elsewhere") }));
        drop(entered);
        drop(spawn(async move { here.note("here") }));
    });
    let timer = event_loop.call_later(Duration::ZERO, move |_| drop(dropped));
    assert!(timer.cancel());
    assert!(WeakHandle::current().is_none(), "as before");
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "here");
    drop(event_loop);
    turn_times(&mut Rc::into_inner(elsewhere).unwrap(), 1);
    assert_eq!(log.text(), "here elsewhere");
}
