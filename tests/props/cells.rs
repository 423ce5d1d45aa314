//! Every way in which a task can run and end, each against a small model.
//!
//! All combinations of the place of a panic, the time of a cancel, the use of the handle, the
//! source of a wake, and a `TaskRef`; each value is counted when it is made and dropped. The cell
//! of a task is unsafe code (`src/task/cell.rs`), so these tests run under Miri too (`.ci/miri`).
//!
//! In the notes: the state and the result of a Task (N15, N16). Invariants: T1 to T4, W3.

use readily::task::{TaskRef, TaskState};
use readily::{JoinError, PanicPolicy, Task, all_tasks, current_task};
use readily_testing::{SimLoop, wakers};
use std::cell::{Cell, RefCell};
use std::marker::PhantomPinned;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

/// The place of a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Panics {
    Nowhere,
    InThePoll,
    AsTheFutureGoes,
    AsTheOutputGoes,
    AsTheWaiterIsCloned,
    AsTheWaiterGoes,
}

/// The time of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancelled {
    Never,
    BeforeItsStart,
    WhileItRuns,
    WhileItWaits,
    AfterItsEnd,
}

/// The use of the handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handle {
    DroppedBeforeItsStart,
    DroppedWhileItRuns,
    DroppedWhileItWaits,
    DroppedAfterItsEnd,
    DroppedAfterTheLoop,
    Asked,
}

/// The source of the wake after the first poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    ByACallback,
    ByATask,
    FromAThread,
    /// In the poll after a callback's wake.
    ByItself,
    /// The task exists until the loop closes.
    NotAtAll,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    panics: Panics,
    cancelled: Cancelled,
    handle: Handle,
    woken: Woken,
    /// Whether a `TaskRef` is dropped last.
    known: bool,
}

/// What the test observes of a case, and what the model predicts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    polls: u32,
    futures_dropped: u32,
    outputs: u32,
    outputs_dropped: u32,
    /// Panics that were reported because no task could retrieve them.
    reported: u32,
    /// Panics that propagated from a call of the test.
    thrown: u32,
    /// How often the task that awaited the handle was woken.
    awaited: u32,
    /// The result of the cancel, if there was one.
    cancel: Option<bool>,
    /// The final state, from the handle or from the `TaskRef`.
    end: Option<TaskState>,
    /// The result, if it was taken.
    result: Option<TaskState>,
}

/// The prediction of the model.
fn model(case: Case) -> Seen {
    use {Cancelled::*, Handle::*, Panics::*, Woken::*};
    let mut seen = Seen {
        futures_dropped: 1,
        ..Seen::default()
    };
    let starts = case.cancelled != BeforeItsStart;
    let panics = starts && case.panics == InThePoll;
    let waits = starts && !panics && case.cancelled != WhileItRuns;
    let woken = waits && case.cancelled != WhileItWaits;
    let returns = woken && case.woken != NotAtAll;
    seen.polls = match (returns, case.woken) {
        (true, ByItself) => 3,
        (true, _) => 2,
        (false, _) => starts.into(),
    };
    let mut end = match (panics, returns) {
        (true, _) => TaskState::Panicked,
        (_, true) => TaskState::Done,
        (false, false) => TaskState::Cancelled,
    };
    if case.panics == AsTheFutureGoes {
        match end {
            TaskState::Cancelled => end = TaskState::Panicked,
            // The value is stored, and the panic is not retrieved.
            _ => seen.reported += 1,
        }
    }
    seen.cancel = match case.cancelled {
        Never => None,
        BeforeItsStart => Some(true),
        WhileItRuns => Some(true),
        WhileItWaits => Some(waits),
        AfterItsEnd => Some(false),
    };
    // A handle that outlives the loop is dropped after the end of the task.
    let ends_with_the_loop = woken && !returns;
    let detached = match case.handle {
        DroppedBeforeItsStart => true,
        DroppedWhileItRuns => starts,
        DroppedWhileItWaits => waits,
        DroppedAfterItsEnd | DroppedAfterTheLoop | Asked => false,
    };
    let is_told = detached || case.handle == DroppedAfterItsEnd && !ends_with_the_loop;
    if end == TaskState::Panicked && is_told {
        seen.reported += 1;
    }
    if returns {
        (seen.outputs, seen.outputs_dropped) = (1, 1);
        if case.panics == AsTheOutputGoes {
            match is_told {
                true => seen.reported += 1,
                false => seen.thrown += 1,
            }
        }
    }
    let awaits = waits && !matches!(case.handle, DroppedBeforeItsStart | DroppedWhileItRuns);
    if awaits {
        match case.panics {
            AsTheWaiterIsCloned => seen.thrown += 1,
            AsTheWaiterGoes if detached => seen.thrown += 1,
            AsTheWaiterGoes => seen.reported += 1,
            _ => {}
        }
        let is_woken = !detached && case.panics != AsTheWaiterIsCloned;
        seen.awaited = is_woken.into();
    }
    let is_asked = case.handle == Asked;
    seen.result = is_asked.then_some(end);
    let is_there = !detached && (case.handle != DroppedAfterItsEnd || ends_with_the_loop);
    seen.end = (case.known || is_there).then_some(end);
    seen
}

/// The state that the task and the test share.
struct Shared {
    case: Case,
    polls: Cell<u32>,
    futures_dropped: Cell<u32>,
    outputs: Cell<u32>,
    outputs_dropped: Cell<u32>,
    thrown: Cell<u32>,
    cancel: Cell<Option<bool>>,
    handle: RefCell<Option<Task<Output>>>,
    waker: RefCell<Option<Waker>>,
}

fn add(count: &Cell<u32>) {
    count.set(count.get() + 1);
}

/// A panic with a payload that the hook does not print.
fn throw() -> ! {
    resume_unwind(Box::new("as it was to"))
}

impl Shared {
    fn throws_if(&self, panics: Panics) {
        if self.case.panics == panics {
            throw();
        }
    }

    /// Runs `does`, which may panic.
    fn tries<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        let done = catch_unwind(AssertUnwindSafe(f));
        if done.is_err() {
            add(&self.thrown);
        }
        done.ok()
    }

    fn drop_handle_if(&self, when: Handle) {
        if self.case.handle == when {
            let handle = self.handle.take();
            self.tries(|| drop(handle));
        }
    }

    fn cancel_if(&self, when: Cancelled, task: Option<TaskRef>) {
        if self.case.cancelled == when {
            let cancelled = task.as_ref().is_some_and(TaskRef::cancel);
            self.cancel.set(Some(cancelled));
            let again = task.is_some_and(|task| task.cancel());
            assert!(!again, "T3: a task ends once");
        }
    }
}

struct Script {
    shared: Rc<Shared>,
    /// The address of the first poll, which must not change.
    place: Cell<Option<*const Script>>,
    _pinned: PhantomPinned,
}

impl Script {
    fn stays(&self) {
        let here: *const Self = self;
        let first = self.place.replace(Some(here));
        assert!(
            first.is_none_or(|first| first == here),
            "the task is pinned"
        );
    }
}

impl Future for Script {
    type Output = Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        let shared = Rc::clone(&self.shared);
        add(&shared.polls);
        self.stays();
        let kept = shared.waker.take();
        let same = kept.as_ref().is_none_or(|kept| kept.will_wake(cx.waker()));
        assert!(same, "a task has one waker");
        shared.waker.replace(Some(cx.waker().clone()));
        drop(kept);
        let current = current_task().expect("a task is polled by its loop");
        assert_eq!(current.state(), TaskState::Running);
        match shared.polls.get() {
            1 => {
                shared.drop_handle_if(Handle::DroppedWhileItRuns);
                shared.cancel_if(Cancelled::WhileItRuns, Some(current));
                shared.throws_if(Panics::InThePoll);
                Poll::Pending
            }
            2 if shared.case.woken == Woken::ByItself => {
                // T1, T2: one more poll, and no other.
                cx.waker().wake_by_ref();
                let another = cx.waker().clone();
                another.wake();
                Poll::Pending
            }
            _ => {
                add(&shared.outputs);
                Poll::Ready(Output(shared))
            }
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.stays();
        add(&self.shared.futures_dropped);
        if let Ok(handle) = self.shared.handle.try_borrow() {
            if let Some(handle) = &*handle {
                assert!(!handle.done(), "T3: before its waiters are notified");
                assert!(!handle.cancel(), "the task is ending already");
            }
        }
        let kept = self.shared.waker.take();
        if let Some(waker) = &kept {
            waker.wake_by_ref(); // has no effect
        }
        self.shared.waker.replace(kept);
        self.shared.throws_if(Panics::AsTheFutureGoes);
    }
}

struct Output(Rc<Shared>);

impl Drop for Output {
    fn drop(&mut self) {
        add(&self.0.outputs_dropped);
        self.0.throws_if(Panics::AsTheOutputGoes);
    }
}

fn turns(sim: &mut SimLoop) {
    for _ in 0..4 {
        sim.event_loop().turn_now().unwrap();
    }
}

/// The task as the loop has it; `None` if it has ended.
fn find(sim: &mut SimLoop) -> Option<TaskRef> {
    let _here = sim.event_loop().enter();
    let mut all = all_tasks().into_iter();
    all.find(|task| &*task.get_name() == "it")
}

/// Polls the handle once.
fn wait_for_it(shared: &Shared, awaited: &Arc<AtomicU32>) {
    let mut handle = shared.handle.borrow_mut();
    let Some(task) = handle.as_mut().filter(|task| !task.done()) else {
        return;
    };
    let waker = match shared.case.panics {
        Panics::AsTheWaiterIsCloned => wakers::cloning(|| throw()),
        panics => {
            let awaited = Arc::clone(awaited);
            let on_wake = move || {
                awaited.fetch_add(1, Ordering::Relaxed);
            };
            wakers::calling(on_wake, move || {
                if panics == Panics::AsTheWaiterGoes {
                    throw();
                }
            })
        }
    };
    let polled = shared.tries(|| Pin::new(task).poll(&mut Context::from_waker(&waker)));
    assert!(polled.is_none_or(|polled| polled.is_pending()));
}

/// Wakes from the source of the case; twice, because a second wake has no effect (T1).
fn wake(sim: &mut SimLoop, shared: &Shared) {
    let Some(waker) = shared.waker.borrow().clone() else {
        return;
    };
    let again = waker.clone();
    match shared.case.woken {
        Woken::ByACallback | Woken::ByItself => {
            sim.call_soon(move |_| waker.wake());
            sim.call_soon(move |_| again.wake_by_ref());
        }
        Woken::ByATask => {
            drop(sim.spawn(async move {
                waker.wake_by_ref();
                again.wake();
            }));
        }
        Woken::FromAThread => {
            let threads = [waker, again].map(|waker| thread::spawn(move || waker.wake()));
            for thread in threads {
                thread.join().unwrap();
            }
        }
        Woken::NotAtAll => {}
    }
}

/// Wakes a task that has ended, which has no effect (T1, W3).
fn wake_in_vain(shared: &Shared) {
    let waker = shared.waker.borrow().clone();
    if let Some(waker) = waker {
        waker.wake_by_ref();
        let thread = thread::spawn(move || waker.wake());
        thread.join().unwrap();
    }
}

fn run(case: Case) -> Seen {
    let mut sim = SimLoop::new(7);
    sim.set_panic_policy(PanicPolicy::Isolate);
    let reported = Rc::new(Cell::new(0));
    sim.on_unhandled({
        let reported = Rc::clone(&reported);
        move |_| add(&reported)
    });
    let shared = Rc::new(Shared {
        case,
        polls: Cell::default(),
        futures_dropped: Cell::default(),
        outputs: Cell::default(),
        outputs_dropped: Cell::default(),
        thrown: Cell::default(),
        cancel: Cell::default(),
        handle: RefCell::default(),
        waker: RefCell::default(),
    });
    let task = sim.spawn(Script {
        shared: Rc::clone(&shared),
        place: Cell::new(None),
        _pinned: PhantomPinned,
    });
    task.set_name("it");
    let known = case.known.then(|| task.task_ref());
    shared.handle.replace(Some(task));
    shared.drop_handle_if(Handle::DroppedBeforeItsStart);
    let found = find(&mut sim);
    shared.cancel_if(Cancelled::BeforeItsStart, found);
    turns(&mut sim);
    let awaited = Arc::new(AtomicU32::new(0));
    wait_for_it(&shared, &awaited);
    let found = find(&mut sim);
    if found.is_some() {
        shared.drop_handle_if(Handle::DroppedWhileItWaits);
    }
    shared.cancel_if(Cancelled::WhileItWaits, found);
    wake(&mut sim, &shared);
    turns(&mut sim);
    let found = find(&mut sim);
    if found.is_none() || case.woken == Woken::NotAtAll {
        shared.cancel_if(
            Cancelled::AfterItsEnd,
            found.is_none().then(|| known.clone()).flatten(),
        );
    }
    if found.is_none() {
        shared.drop_handle_if(Handle::DroppedAfterItsEnd);
        wake_in_vain(&shared);
        turns(&mut sim);
    }
    drop(found);
    drop(sim.close());
    wake_in_vain(&shared);
    let handle = shared.handle.take();
    let end = handle.as_ref().map(Task::state);
    let end = end.or_else(|| known.as_ref().map(TaskRef::state));
    let result = take_result(&shared, handle);
    let waker = shared.waker.take();
    let left = Rc::strong_count(&shared);
    assert_eq!(left, 1, "{case:?}: the test has the only reference");
    drop(known);
    // The last reference is a waker, if there is one: another thread frees the memory.
    thread::spawn(move || drop(waker)).join().unwrap();
    Seen {
        polls: shared.polls.get(),
        futures_dropped: shared.futures_dropped.get(),
        outputs: shared.outputs.get(),
        outputs_dropped: shared.outputs_dropped.get(),
        reported: reported.get(),
        thrown: shared.thrown.get(),
        awaited: awaited.load(Ordering::Relaxed),
        cancel: shared.cancel.get(),
        end,
        result,
    }
}

/// Takes the result if the case does so; drops the handle.
fn take_result(shared: &Shared, handle: Option<Task<Output>>) -> Option<TaskState> {
    let mut result = None;
    let slot = &mut result;
    shared.tries(move || {
        let mut handle = handle?;
        if shared.case.handle == Handle::Asked {
            let looked = handle.with_result(|seen| seen.is_ok());
            let taken = handle.result().expect("T4: the result is there");
            assert_eq!(looked, Some(taken.is_ok()));
            assert!(
                handle.result().is_none(),
                "T4: the result is delivered once"
            );
            *slot = Some(match &taken {
                Ok(_) => TaskState::Done,
                Err(JoinError::Panicked(_)) => TaskState::Panicked,
                Err(_) => TaskState::Cancelled,
            });
            drop(handle);
            drop(taken);
        }
        Some(())
    });
    result
}

/// T1, T2, T3, T4, W3: all combinations.
#[test]
fn a_task_lives_and_ends_as_the_model_says_whatever_panics_is_dropped_cancelled_or_woken() {
    use {Cancelled::*, Handle::*, Panics::*, Woken::*};
    let panics = [
        Nowhere,
        InThePoll,
        AsTheFutureGoes,
        AsTheOutputGoes,
        AsTheWaiterIsCloned,
        AsTheWaiterGoes,
    ];
    let cancels = [
        Never,
        BeforeItsStart,
        WhileItRuns,
        WhileItWaits,
        AfterItsEnd,
    ];
    let handles = [
        DroppedBeforeItsStart,
        DroppedWhileItRuns,
        DroppedWhileItWaits,
        DroppedAfterItsEnd,
        DroppedAfterTheLoop,
        Asked,
    ];
    let wakes = [ByACallback, ByATask, FromAThread, ByItself, NotAtAll];
    let mut cases = 0;
    for panics in panics {
        for cancelled in cancels {
            for handle in handles {
                for woken in wakes {
                    for known in [false, true] {
                        cases += 1;
                        // Miri takes a second for a case: it runs each pair of values, not all
                        // combinations.
                        if cfg!(miri) && cases % 11 != 0 {
                            continue;
                        }
                        let case = Case {
                            panics,
                            cancelled,
                            handle,
                            woken,
                            known,
                        };
                        assert_eq!(run(case), model(case), "{case:?}");
                    }
                }
            }
        }
    }
    assert_eq!(cases, 6 * 5 * 6 * 5 * 2);
}
