//! Callbacks, closures and futures that execute a script.
//!
//! Each first reports its call to the harness, which checks it, and then executes its script. A probe
//! in each records whether it still exists, so that one dropped too early, too late or never is
//! found. The destructor of the probe calls the loop, as user code may, so the loop must not hold a
//! borrow there (L8). A task reports each poll, the end of its nap, and the result of a task that it
//! joins; the model must agree. A joining task owns the handle of the other task, so cancelling the
//! one drops the handle of the other.
//!
//! Rules: L8, T3, T4; the right column of the table (N7), and the coroutines (N8, N15, N16).

use super::harness::Harness;
use super::interpreter::Caller;
use super::model::{Call, Id, TaskEnd};
use super::op::{NAMES, Op, OpKind};
use readily::event_loop::Branch;
use readily::time::Sleep;
use readily::{Callbacks, Cx, JoinError, LoopHandle, Readiness, Task, sleep};
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The payload of a panic of a script.
pub(super) const PLANTED: &str = "planted";

/// Panics without calling the panic hook, which would print the intended panic.
fn panic() -> ! {
    resume_unwind(Box::new(PLANTED))
}

/// Records whether a callback, closure or future exists.
pub(super) struct Probe {
    pub(super) harness: Rc<Harness>,
    pub(super) id: Id,
}

impl Probe {
    pub(super) fn new(harness: &Rc<Harness>, id: Id) -> Self {
        harness.alive.borrow_mut().insert(id);
        Self {
            harness: Rc::clone(harness),
            id,
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.harness.alive.borrow_mut().remove(&self.id);
        // L8: this destructor is user code, and may call the loop.
        self.harness
            .handle
            .with(|handle| self.harness.check_loop(handle));
    }
}

/// Runs the script of a closure or timer, once.
pub(super) fn run_once(probe: &Probe, script: &[Op], call: Call, handle: &LoopHandle) {
    let harness = &probe.harness;
    let Some(name) = harness.enter(call) else {
        return;
    };
    let caller = Caller::inside(handle, name);
    let completed = harness.execute_all(&caller, script);
    harness.leave(&caller);
    if !completed {
        harness.model.borrow_mut().panics += 1;
        panic();
    }
}

/// The callbacks of a registration of a [`Program`](super::Program), which a layer of the caller's
/// wraps: see [`Program::run_with`](super::Program::run_with).
pub struct Scripted {
    probe: Probe,
    slot: usize,
    script: Vec<Op>,
    /// Whether the loop has accepted the connection and not registered it yet.
    is_opening: Cell<bool>,
}

impl Scripted {
    pub(super) fn new(harness: &Rc<Harness>, id: Id, slot: usize, script: &[Op]) -> Self {
        Self {
            probe: Probe::new(harness, id),
            slot,
            script: script.to_vec(),
            is_opening: Cell::new(false),
        }
    }

    /// The callbacks of a connection that the loop accepts.
    pub(super) fn accepted(harness: &Rc<Harness>, id: Id, slot: usize, script: &[Op]) -> Self {
        let scripted = Self::new(harness, id, slot, script);
        scripted.is_opening.set(true);
        scripted
    }

    fn run(&self, cx: &Cx<'_>, kind: Branch, error: Option<&io::Error>) {
        let (harness, id) = (&self.probe.harness, self.probe.id);
        let Some(name) = harness.enter(Call::Branch(id, kind)) else {
            return;
        };
        if kind == Branch::Hangup {
            harness.clear_slot(self.slot, id);
            if cx.remove(cx.key()).is_ok() {
                harness.fail("L7", "its hangup callback runs while it is registered");
            }
        }
        let caller = Caller::callback(cx, name, (self.slot, id));
        if let Some(error) = error {
            caller.log(harness, format!("gets the error: {}", error.kind()));
        }
        self.run_script(&caller);
    }

    /// The event of a source.
    pub(super) fn on_event(&self, handle: &LoopHandle) {
        let (harness, id) = (&self.probe.harness, self.probe.id);
        if let Some(name) = harness.enter(Call::Branch(id, Branch::Default)) {
            self.run_script(&Caller {
                own: Some((self.slot, id)),
                ..Caller::inside(handle, name)
            });
        }
    }

    fn run_script(&self, caller: &Caller<'_>) {
        let harness = &self.probe.harness;
        let completed = harness.execute_all(caller, &self.script);
        harness.leave(caller);
        if !completed {
            harness.callback_panicked(self.slot, self.probe.id);
            panic();
        }
    }
}

/// Clears the slot of a connection that could not be registered.
impl Drop for Scripted {
    fn drop(&mut self) {
        if self.is_opening.get() {
            let slot = self.probe.harness.slots.borrow_mut()[self.slot].take();
            drop(slot);
        }
    }
}

impl Callbacks for Scripted {
    fn on_open(&mut self, cx: &Cx<'_>) {
        self.is_opening.set(false);
        let (harness, id) = (&self.probe.harness, self.probe.id);
        harness.record_accepted(id, self.slot, cx.key());
    }

    fn on_connect(&mut self, cx: &Cx<'_>) {
        self.run(cx, Branch::Connect, None);
    }

    fn on_read(&mut self, cx: &Cx<'_>) {
        self.run(cx, Branch::Read, None);
    }

    fn on_write(&mut self, cx: &Cx<'_>) {
        self.run(cx, Branch::Write, None);
    }

    fn on_hangup(&mut self, cx: &Cx<'_>, error: Option<io::Error>) {
        self.run(cx, Branch::Hangup, error.as_ref());
    }

    fn on_default(&mut self, cx: &Cx<'_>, _ready: Readiness) {
        self.run(cx, Branch::Default, None);
    }
}

/// What a task waits for.
enum Waiting {
    /// Any wake.
    Wake,
    Nap(Sleep),
    Join(Task<Id>, Id),
}

/// A task that executes its script, and waits where the script does. Its output is its id.
pub(super) struct ScriptedTask {
    probe: Probe,
    name: usize,
    script: VecDeque<Op>,
    waiting: Option<Waiting>,
}

impl ScriptedTask {
    pub(super) fn new(harness: &Rc<Harness>, id: Id, name: usize, script: &[Op]) -> Self {
        Self {
            probe: Probe::new(harness, id),
            name,
            script: script.iter().cloned().collect(),
            waiting: None,
        }
    }

    /// Whether the task has nothing to wait for.
    fn is_wait_over(&mut self, caller: &Caller<'_>, cx: &mut Context<'_>) -> bool {
        let (harness, id) = (&self.probe.harness, self.probe.id);
        let is_wait_over = match &mut self.waiting {
            None => return true,
            Some(Waiting::Wake) => true,
            Some(Waiting::Nap(nap)) => {
                let is_over = Pin::new(nap).poll(cx).is_ready();
                harness.check_nap(id, is_over);
                is_over
            }
            Some(Waiting::Join(task, other)) => match Pin::new(task).poll(cx) {
                Poll::Pending => harness.check_join(*other, None),
                Poll::Ready(result) => {
                    let end = task_end(&result, *other);
                    caller.log(
                        harness,
                        format!("receives {}", harness.describe_end(*other, end)),
                    );
                    harness.check_join(*other, Some(end))
                }
            },
        };
        if is_wait_over {
            self.waiting = None;
        }
        is_wait_over
    }

    /// Begins to wait, if the operation is a wait.
    fn begin_wait(&mut self, op: &Op, caller: &Caller<'_>) -> bool {
        let (harness, id) = (&self.probe.harness, self.probe.id);
        let (waiting, what) = match op.kind {
            OpKind::Park => (Waiting::Wake, "parks".to_owned()),
            OpKind::Nap => {
                harness.model.borrow_mut().nap(id, op.number);
                // With slack, a nap of no time arms a timer too, as the model does.
                let nap = sleep(Duration::from_millis(op.number as u64));
                let nap = nap.slack(Duration::from_nanos(1));
                (Waiting::Nap(nap), format!("naps for {} ms", op.number))
            }
            OpKind::Join => match harness.take_task(op.at, id) {
                Some((task, other)) => {
                    let what = format!("awaits {}", harness.name_of(other));
                    (Waiting::Join(task, other), what)
                }
                None => return false,
            },
            _ => return false,
        };
        caller.log(harness, what);
        self.waiting = Some(waiting);
        true
    }

    fn step(&mut self, caller: &Caller<'_>, cx: &mut Context<'_>) -> Step {
        while self.is_wait_over(caller, cx) {
            let Some(op) = self.script.pop_front() else {
                return Step::Done;
            };
            if self.begin_wait(&op, caller) {
                // `park` waits for the next poll; the other waits are polled at once.
                if matches!(self.waiting, Some(Waiting::Wake)) {
                    return Step::Pending;
                }
            } else if !self.probe.harness.execute(caller, &op) {
                return Step::Panic;
            }
        }
        Step::Pending
    }
}

enum Step {
    Pending,
    Done,
    Panic,
}

/// The end of a task, from its result.
pub(super) fn task_end(result: &Result<Id, JoinError>, id: Id) -> Option<TaskEnd> {
    match result {
        Ok(output) => (*output == id).then_some(TaskEnd::Done),
        Err(error) if error.is_cancelled() => Some(TaskEnd::Cancelled),
        Err(_) => Some(TaskEnd::Panicked),
    }
}

impl Future for ScriptedTask {
    type Output = Id;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Id> {
        let this = self.get_mut();
        let (harness, id) = (Rc::clone(&this.probe.harness), this.probe.id);
        let Some(name) = harness.enter(Call::Poll(id)) else {
            return Poll::Pending;
        };
        harness.wakers.borrow_mut()[this.name] = Some((id, cx.waker().clone()));
        let step = harness.handle.with(|handle| {
            let caller = Caller::inside(handle, name);
            let step = this.step(&caller, cx);
            if matches!(step, Step::Done) {
                caller.log(&harness, "is done");
            }
            harness.leave(&caller);
            step
        });
        let step = step.unwrap_or(Step::Pending);
        harness.polled(id, matches!(step, Step::Done), matches!(step, Step::Panic));
        match step {
            Step::Pending => Poll::Pending,
            Step::Done => Poll::Ready(id),
            Step::Panic => panic(),
        }
    }
}

impl Harness {
    /// Records the end of a task, if this poll was the last.
    pub(super) fn polled(&self, id: Id, is_done: bool, is_panic: bool) {
        let mut model = self.model.borrow_mut();
        let cancelled = model.tasks.get(&id).is_some_and(|task| task.cancelled);
        let end = match (is_panic, cancelled, is_done) {
            (true, _, _) => TaskEnd::Panicked,
            (false, true, _) => TaskEnd::Cancelled,
            (false, false, true) => TaskEnd::Done,
            _ => return,
        };
        model.end(id, end);
    }

    pub(super) fn check_nap(&self, id: Id, is_over: bool) {
        let model = self.model.borrow();
        match (is_over, model.is_nap_over(id)) {
            (true, false) => self.fail("C1", format!("{} wakes too early", model.names[id])),
            (false, true) => self.fail(
                "C2",
                format!("{} still waits after the end of its nap", model.names[id]),
            ),
            _ => {}
        }
    }

    /// Takes the handle of a task, for another task to join it.
    pub(super) fn take_task(&self, name: usize, joiner: Id) -> Option<(Task<Id>, Id)> {
        let mut tasks = self.tasks.borrow_mut();
        let slot = &mut tasks[name % NAMES];
        if slot.as_ref()?.0 == joiner {
            return None;
        }
        let (id, task) = slot.take()?;
        let mut model = self.model.borrow_mut();
        model.tasks.entry(id).or_default().joiner = Some(joiner);
        Some((task, id))
    }

    /// Checks the result that a joining task gets for `other`: `end`, or `None` while that runs.
    /// Returns whether the join is over.
    pub(super) fn check_join(&self, other: Id, end: Option<Option<TaskEnd>>) -> bool {
        let name = self.name_of(other);
        let mut model = self.model.borrow_mut();
        let task = model.tasks.entry(other).or_default();
        let is_wait_over = end.is_some();
        match (task.ended, end.flatten()) {
            (None, None) if !is_wait_over => return false,
            (Some(ended), Some(end)) if ended == end => {}
            (ended, received) => {
                let what =
                    format!("{name} ended as {ended:?}, and its joiner receives {received:?}");
                self.fail("T3", what);
            }
        }
        if std::mem::replace(&mut task.taken, true) {
            self.fail("T4", format!("the result of {name} is delivered twice"));
        }
        (task.joiner, task.has_handle) = (None, false);
        is_wait_over
    }

    /// The end of a task as text.
    pub(super) fn describe_end(&self, id: Id, end: Option<TaskEnd>) -> String {
        let name = self.name_of(id);
        match end {
            Some(TaskEnd::Done) => format!("the result of {name}"),
            Some(TaskEnd::Cancelled) => format!("the end of {name}, which was aborted"),
            Some(TaskEnd::Panicked) => format!("the panic of {name}"),
            None => format!("something that is not the result of {name}"),
        }
    }
}
