//! What the loop is given to run: callbacks, closures and futures that do what a script says.
//!
//! Each reports first that it runs, and is checked; then it does its script, and reports the outcome. It
//! knows whether it still exists, which is how a callback that was dropped too early,
//! too late or never is found. A destructor is user code like any other, so it uses the loop,
//! which must not be in the middle of something (L8). A task reports that it was polled, that its nap is over,
//! that it got the result of another one; each must be so in the model too. A task that awaits another holds
//! its handle, as a user's code would, and takes it along if it is aborted.
//!
//! Rules: L8, T3, T4; in the notes, the right column of the table (N7), and the coroutines (N8, N15, N16).

use super::harness::Harness;
use super::interpreter::Caller;
use super::model::{Call, End, Id};
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

/// What a panic of a script says.
pub(super) const PLANTED: &str = "planted";

/// Panics without a word to the hook: this one is meant.
fn panic() -> ! {
    resume_unwind(Box::new(PLANTED))
}

/// Says that something exists, and that it does not any more.
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
        // L8: this is user code, and the loop must bear a look.
        self.harness
            .handle
            .with(|handle| self.harness.bears_a_look(handle));
    }
}

/// Runs the script of a closure or timer, once.
pub(super) fn run_once(probe: &Probe, script: &[Op], call: Call, handle: &LoopHandle) {
    let harness = &probe.harness;
    let Some(who) = harness.enter(call) else {
        return;
    };
    let caller = Caller::inside(handle, who);
    let whole = harness.perform_all(&caller, script);
    harness.leave(&caller);
    if !whole {
        harness.model.borrow_mut().panics += 1;
        panic();
    }
}

/// The callbacks of a registration of a [`Program`](super::Program), for a layer around them:
/// see [`Program::run_with`](super::Program::run_with).
pub struct Scripted {
    probe: Probe,
    place: usize,
    script: Vec<Op>,
    /// Accepted by the loop, which has not registered it yet.
    is_opening: Cell<bool>,
}

impl Scripted {
    pub(super) fn new(harness: &Rc<Harness>, id: Id, place: usize, script: &[Op]) -> Self {
        Self {
            probe: Probe::new(harness, id),
            place,
            script: script.to_vec(),
            is_opening: Cell::new(false),
        }
    }

    /// Of a connection that the loop accepts.
    pub(super) fn opening(harness: &Rc<Harness>, id: Id, place: usize, script: &[Op]) -> Self {
        let scripted = Self::new(harness, id, place, script);
        scripted.is_opening.set(true);
        scripted
    }

    fn run(&self, cx: &Cx<'_>, kind: Branch, why: Option<&io::Error>) {
        let (harness, id) = (&self.probe.harness, self.probe.id);
        let Some(who) = harness.enter(Call::Branch(id, kind)) else {
            return;
        };
        if kind == Branch::Hangup {
            harness.vacate(self.place, id);
            if cx.remove(cx.key()).is_ok() {
                harness.breaks("L7", "it is told that it hung up, and is registered yet");
            }
        }
        let caller = Caller::of(cx, who, (self.place, id));
        if let Some(why) = why {
            caller.says(harness, format!("is told: {}", why.kind()));
        }
        let whole = harness.perform_all(&caller, &self.script);
        harness.leave(&caller);
        if !whole {
            harness.panicked(self.place, id);
            panic();
        }
    }
}

/// A connection that could not be registered leaves its place.
impl Drop for Scripted {
    fn drop(&mut self) {
        if self.is_opening.get() {
            let place = self.probe.harness.places.borrow_mut()[self.place].take();
            drop(place);
        }
    }
}

impl Callbacks for Scripted {
    fn on_open(&mut self, cx: &Cx<'_>) {
        self.is_opening.set(false);
        let (harness, id) = (&self.probe.harness, self.probe.id);
        harness.opened(id, self.place, cx.key());
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
    /// A wake, whoever it is from.
    Wake,
    Nap(Sleep),
    End(Task<Id>, Id),
}

/// A task that does its script, and waits where that says so. Its output is its id.
pub(super) struct Tasked {
    probe: Probe,
    name: usize,
    script: VecDeque<Op>,
    waiting: Option<Waiting>,
}

impl Tasked {
    pub(super) fn new(harness: &Rc<Harness>, id: Id, name: usize, script: &[Op]) -> Self {
        Self {
            probe: Probe::new(harness, id),
            name,
            script: script.iter().cloned().collect(),
            waiting: None,
        }
    }

    /// Whether there is nothing (more) to wait for.
    fn goes_on(&mut self, caller: &Caller<'_>, cx: &mut Context<'_>) -> bool {
        let (harness, id) = (&self.probe.harness, self.probe.id);
        let goes_on = match &mut self.waiting {
            None => return true,
            Some(Waiting::Wake) => true,
            Some(Waiting::Nap(nap)) => {
                let rested = Pin::new(nap).poll(cx).is_ready();
                harness.check_nap(id, rested);
                rested
            }
            Some(Waiting::End(task, other)) => match Pin::new(task).poll(cx) {
                Poll::Pending => harness.check_join(*other, None),
                Poll::Ready(result) => {
                    let end = end_of(&result, *other);
                    caller.says(harness, format!("is given {}", harness.ended(*other, end)));
                    harness.check_join(*other, Some(end))
                }
            },
        };
        if goes_on {
            self.waiting = None;
        }
        goes_on
    }

    /// Begins to wait, if the operation is of that kind.
    fn waits(&mut self, op: &Op, caller: &Caller<'_>) -> bool {
        let (harness, id) = (&self.probe.harness, self.probe.id);
        let (waiting, what) = match op.kind {
            OpKind::Park => (Waiting::Wake, "parks".to_owned()),
            OpKind::Nap => {
                harness.model.borrow_mut().nap(id, op.number);
                // With slack one of no time is a timer, too, as the model has it.
                let nap = sleep(Duration::from_millis(op.number as u64));
                let nap = nap.slack(Duration::from_nanos(1));
                (Waiting::Nap(nap), format!("naps for {} ms", op.number))
            }
            OpKind::Join => match harness.take_task(op.at, id) {
                Some((task, other)) => {
                    let what = format!("awaits {}", harness.name_of(other));
                    (Waiting::End(task, other), what)
                }
                None => return false,
            },
            _ => return false,
        };
        caller.says(harness, what);
        self.waiting = Some(waiting);
        true
    }

    fn step(&mut self, caller: &Caller<'_>, cx: &mut Context<'_>) -> Step {
        while self.goes_on(caller, cx) {
            let Some(op) = self.script.pop_front() else {
                return Step::Ends;
            };
            if self.waits(&op, caller) {
                // A wake is waited for whatever has come; the others are looked at.
                if matches!(self.waiting, Some(Waiting::Wake)) {
                    return Step::Waits;
                }
            } else if !self.probe.harness.perform(caller, &op) {
                return Step::Panics;
            }
        }
        Step::Waits
    }
}

enum Step {
    Waits,
    Ends,
    Panics,
}

/// How a task ended, by its result.
pub(super) fn end_of(result: &Result<Id, JoinError>, id: Id) -> Option<End> {
    match result {
        Ok(output) => (*output == id).then_some(End::Done),
        Err(error) if error.is_cancelled() => Some(End::Cancelled),
        Err(_) => Some(End::Panicked),
    }
}

impl Future for Tasked {
    type Output = Id;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Id> {
        let this = self.get_mut();
        let (harness, id) = (Rc::clone(&this.probe.harness), this.probe.id);
        let Some(who) = harness.enter(Call::Poll(id)) else {
            return Poll::Pending;
        };
        harness.wakers.borrow_mut()[this.name] = Some((id, cx.waker().clone()));
        let step = harness.handle.with(|handle| {
            let caller = Caller::inside(handle, who);
            let step = this.step(&caller, cx);
            if matches!(step, Step::Ends) {
                caller.says(&harness, "is done");
            }
            harness.leave(&caller);
            step
        });
        let step = step.unwrap_or(Step::Waits);
        harness.polled(id, matches!(step, Step::Ends), matches!(step, Step::Panics));
        match step {
            Step::Waits => Poll::Pending,
            Step::Ends => Poll::Ready(id),
            Step::Panics => panic(),
        }
    }
}

impl Harness {
    /// A task was polled.
    pub(super) fn polled(&self, id: Id, ends: bool, panics: bool) {
        let mut model = self.model.borrow_mut();
        let cancelled = model.tasks.get(&id).is_some_and(|task| task.cancelled);
        let end = match (panics, cancelled, ends) {
            (true, _, _) => End::Panicked,
            (false, true, _) => End::Cancelled,
            (false, false, true) => End::Done,
            _ => return,
        };
        model.end(id, end);
    }

    pub(super) fn check_nap(&self, id: Id, rested: bool) {
        let model = self.model.borrow();
        match (rested, model.is_rested(id)) {
            (true, false) => self.breaks("C1", format!("{} wakes too early", model.names[id])),
            (false, true) => self.breaks("C2", format!("{} goes on napping", model.names[id])),
            _ => {}
        }
    }

    /// Takes the handle of a task, for another task to await it.
    pub(super) fn take_task(&self, name: usize, by: Id) -> Option<(Task<Id>, Id)> {
        let mut tasks = self.tasks.borrow_mut();
        let place = &mut tasks[name % NAMES];
        if place.as_ref()?.0 == by {
            return None;
        }
        let (id, task) = place.take()?;
        let mut model = self.model.borrow_mut();
        model.tasks.entry(id).or_default().joiner = Some(by);
        Some((task, id))
    }

    /// Whether who awaits `other` goes on: its result is `end`, or is not there yet.
    pub(super) fn check_join(&self, other: Id, end: Option<Option<End>>) -> bool {
        let name = self.name_of(other);
        let mut model = self.model.borrow_mut();
        let task = model.tasks.entry(other).or_default();
        let goes_on = end.is_some();
        match (task.ended, end.flatten()) {
            (None, None) if !goes_on => return false,
            (Some(ended), Some(end)) if ended == end => {}
            (ended, given) => {
                let what = format!("{name} ended as {ended:?}, and {given:?} is given for it");
                self.breaks("T3", what);
            }
        }
        if std::mem::replace(&mut task.taken, true) {
            self.breaks("T4", format!("the result of {name} is delivered twice"));
        }
        (task.joiner, task.held) = (None, false);
        goes_on
    }

    /// An end in words.
    pub(super) fn ended(&self, id: Id, end: Option<End>) -> String {
        let name = self.name_of(id);
        match end {
            Some(End::Done) => format!("the result of {name}"),
            Some(End::Cancelled) => format!("the end of {name}, which was aborted"),
            Some(End::Panicked) => format!("the panic of {name}"),
            None => format!("something that is not the result of {name}"),
        }
    }
}
