//! Doing what a script says: to the loop, to the model, and in words. Timers, closures, tasks and other
//! threads are here; the rest is in `descriptors.rs` and `streams.rs`.
//!
//! What does not fit is left out: a read where nothing is open, a listener that is to be written
//! to. That keeps every list of operations a program, so that any part of one may be cut out; and
//! no condition of an operation is written down twice, in a strategy and here. The story names the caller: a
//! callback reads "itself", the test reads "from pipe#0". What the test does stands between two turns, each
//! time in a line of its own. An operation of another thread is done by a real one, which is over before
//! anything else happens: so its time is the same in each run.
//!
//! In the notes these are the things that a callback may do (N1, N7), and tasks (N15).

use super::harness::{STAGE, Stage};
use super::model::{Call, Id};
use super::op::{NAMES, Op, Verb};
use super::scripted::{Probe, Tasked, run_once};
use readily::{Cx, LoopHandle};
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// Who does something: a callback, a closure, a task, or the test itself.
pub(super) struct Actor<'a> {
    pub(super) handle: &'a LoopHandle,
    /// Where it stands, if it is a callback: with its place and its registration.
    pub(super) cx: Option<&'a Cx<'a>>,
    pub(super) own: Option<(usize, Id)>,
    /// `None` for the test.
    who: Option<String>,
    pub(super) said: Cell<bool>,
}

impl<'a> Actor<'a> {
    pub(super) fn test(handle: &'a LoopHandle) -> Self {
        Self {
            handle,
            cx: None,
            own: None,
            who: None,
            said: Cell::new(false),
        }
    }

    pub(super) fn inside(handle: &'a LoopHandle, who: String) -> Self {
        Self {
            who: Some(who),
            ..Self::test(handle)
        }
    }

    pub(super) fn of(cx: &'a Cx<'a>, who: String, own: (usize, Id)) -> Self {
        Self {
            cx: Some(cx),
            own: Some(own),
            ..Self::inside(cx, who)
        }
    }

    pub(super) fn is_inside(&self) -> bool {
        self.who.is_some()
    }

    pub(super) fn says(&self, stage: &Stage, what: impl fmt::Display) {
        self.said.set(true);
        match &self.who {
            Some(who) => stage.transcript.line(who, what),
            None => stage.transcript.tell_between(format!("the test {what}")),
        }
    }
}

impl Stage {
    /// Does all of it; `false` if the last thing done was a panic.
    pub(super) fn perform_all(self: &Rc<Self>, actor: &Actor<'_>, script: &[Op]) -> bool {
        script.iter().all(|op| self.perform(actor, op))
    }

    /// Does one thing. `false` says that whoever does it is to panic now.
    pub(super) fn perform(self: &Rc<Self>, actor: &Actor<'_>, op: &Op) -> bool {
        if self.is_over() || (self.quiet.get() && actor.is_inside()) {
            return true;
        }
        match op.verb {
            Verb::Panic if actor.is_inside() => {
                actor.says(self, "panics");
                return false;
            }
            Verb::Pass => {
                actor.says(self, format!("takes {} ms", op.number));
                let time = Duration::from_millis(op.number as u64);
                self.kernel.clock().advance(time);
            }
            Verb::Nearly => {
                actor.says(self, format!("takes nearly {} ms", op.number));
                let time = Duration::from_millis(op.number as u64);
                let time = time.saturating_sub(Duration::from_nanos(1));
                self.kernel.clock().advance(time);
            }
            Verb::Stop => {
                actor.says(self, "stops the loop");
                self.model.borrow_mut().stops();
                actor.handle.stop();
            }
            _ => {
                // `None`: it did not fit.
                let _done = self
                    .to_descriptors(actor, op)
                    .or_else(|| self.to_work(actor, op))
                    .or_else(|| self.from_afar(actor, op));
            }
        }
        true
    }
}

impl Stage {
    /// `None` if the operation is none of these, or does not fit.
    pub(super) fn to_work(self: &Rc<Self>, actor: &Actor<'_>, op: &Op) -> Option<()> {
        let name = op.at % NAMES;
        match op.verb {
            Verb::Arm => self.arm(actor, op, name),
            Verb::Disarm => self.disarm(actor, name),
            Verb::Soon => self.soon(actor, op, name),
            Verb::TakeBack => self.take_back(actor, name),
            Verb::Spawn => self.spawn(actor, op, name),
            Verb::Abort => self.abort(actor, name),
            Verb::Wake => self.wake(actor, name),
            _ => None,
        }
    }

    /// A name that is armed already is moved.
    fn arm(self: &Rc<Self>, actor: &Actor<'_>, op: &Op, name: usize) -> Option<()> {
        let _moved = self.disarm(actor, name);
        let id = self.made(format!("timer#{name}"));
        actor.says(self, format!("arms timer#{name} for {} ms", op.number));
        let (probe, script) = (Probe::new(self, id), op.script.clone());
        self.model.borrow_mut().arm(id, op.number);
        let delay = Duration::from_millis(op.number as u64);
        let fires = move |handle: &LoopHandle| run_once(&probe, &script, Call::Timer(id), handle);
        let handle = actor.handle.call_later(delay, fires);
        self.timers.borrow_mut()[name] = Some((id, handle));
        Some(())
    }

    pub(super) fn disarm(&self, actor: &Actor<'_>, name: usize) -> Option<()> {
        let (id, handle) = self.timers.borrow_mut()[name].take()?;
        let (armed, when) = {
            let mut model = self.model.borrow_mut();
            (model.disarm(id), model.when())
        };
        if armed {
            actor.says(self, format!("disarms timer#{name}"));
            let how = format!("was disarmed {when}");
            self.model.borrow_mut().ends.insert(id, how);
        }
        if handle.cancel() != armed {
            self.breaks(
                "R076",
                format!("timer#{name} was armed: {armed}; to cancel it says not"),
            );
        }
        if armed {
            self.check_gone(id, "C3");
        }
        armed.then_some(())
    }

    fn soon(self: &Rc<Self>, actor: &Actor<'_>, op: &Op, name: usize) -> Option<()> {
        let _moved = self.take_back(actor, name);
        let id = self.made(format!("closure#{name}"));
        actor.says(self, format!("queues closure#{name}"));
        let (probe, script) = (Probe::new(self, id), op.script.clone());
        self.model.borrow_mut().soon(id);
        let handle = actor
            .handle
            .call_soon(move |handle| run_once(&probe, &script, Call::Closure(id), handle));
        self.closures.borrow_mut()[name] = Some((id, handle));
        Some(())
    }

    pub(super) fn take_back(&self, actor: &Actor<'_>, name: usize) -> Option<()> {
        let (id, handle) = self.closures.borrow_mut()[name].take()?;
        let (queued, when) = {
            let mut model = self.model.borrow_mut();
            (model.closures.remove(&id), model.when())
        };
        if queued {
            actor.says(self, format!("takes closure#{name} back"));
            let how = format!("was taken back {when}");
            self.model.borrow_mut().ends.insert(id, how);
        }
        if handle.cancel() != queued {
            self.breaks(
                "R076",
                format!("closure#{name} was queued: {queued}; to cancel it says not"),
            );
        }
        if queued {
            self.check_gone(id, "C3");
        }
        queued.then_some(())
    }

    /// The task that had this name is let go of.
    fn spawn(self: &Rc<Self>, actor: &Actor<'_>, op: &Op, name: usize) -> Option<()> {
        let before = self.tasks.borrow_mut()[name].take();
        if let Some((other, task)) = before {
            self.model.borrow_mut().let_go(other);
            drop(task);
        }
        let id = self.made(format!("task#{name}"));
        actor.says(self, format!("spawns task#{name}"));
        self.model.borrow_mut().spawn(id);
        let task = actor.handle.spawn(Tasked::new(self, id, name, &op.script));
        self.spawned.borrow_mut().push((id, task.task_ref()));
        self.tasks.borrow_mut()[name] = Some((id, task));
        Some(())
    }

    /// The one that had the name last, whoever holds it.
    fn abort(&self, actor: &Actor<'_>, name: usize) -> Option<()> {
        let id = self.last_of(name)?;
        actor.says(self, format!("aborts task#{name}"));
        self.end_task(id);
        Some(())
    }

    fn last_of(&self, name: usize) -> Option<Id> {
        let name = format!("task#{name}");
        let spawned = self.spawned.borrow();
        let mut ids = spawned.iter().rev().map(|(id, _)| *id);
        ids.find(|id| self.name_of(*id) == name)
    }

    /// Aborts a task, and checks what that says.
    pub(super) fn end_task(&self, id: Id) {
        let task = {
            let spawned = self.spawned.borrow();
            let found = spawned.iter().find(|(other, _)| *other == id);
            found.map(|(_, task)| task.clone())
        };
        let Some(task) = task else { return };
        let ends = self.model.borrow_mut().abort(id, self.is_running(id));
        if task.cancel() != ends {
            let what = format!("to abort {} ends it: {ends}; it says not", self.name_of(id));
            self.breaks("T3", what);
        }
        if ends {
            self.check_gone(id, "T3");
        }
    }

    /// By the waker that the last task of this name was polled with, on the loop's own thread.
    fn wake(&self, actor: &Actor<'_>, name: usize) -> Option<()> {
        let (id, waker) = self.wakers.borrow()[name].clone()?;
        actor.says(self, format!("wakes task#{name}"));
        // Between two turns this thread is as far from the loop as any other.
        self.model.borrow_mut().wake(id, !actor.is_inside());
        waker.wake();
        Some(())
    }

    /// What another thread does. `None` if the operation is none of these, or does not fit.
    pub(super) fn from_afar(self: &Rc<Self>, actor: &Actor<'_>, op: &Op) -> Option<()> {
        let remote = &self.remote;
        match op.verb {
            Verb::Send => {
                let id = self.made("a closure from a thread".to_owned());
                actor.says(self, "lets a thread send a closure");
                self.model.borrow_mut().send(id);
                let script = op.script.clone();
                elsewhere(move || {
                    let sent = remote.call_soon(move |handle| run_sent(id, &script, handle));
                    drop(sent);
                });
            }
            Verb::Ring => {
                actor.says(self, "lets a thread ring");
                self.model.borrow_mut().rung = true;
                elsewhere(|| remote.wake());
            }
            Verb::WakeAfar => {
                let (id, waker) = self.wakers.borrow()[op.at % NAMES].clone()?;
                actor.says(self, format!("lets a thread wake task#{}", op.at % NAMES));
                self.model.borrow_mut().wake(id, true);
                elsewhere(move || waker.wake());
            }
            Verb::StopAfar => {
                actor.says(self, "lets a thread stop the loop");
                let mut model = self.model.borrow_mut();
                (model.rung, model.stop_sent) = (true, true);
                elsewhere(|| drop(remote.stop()));
            }
            _ => return None,
        }
        Some(())
    }
}

/// Does something on another thread, and waits for it.
pub(super) fn elsewhere(does: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(does);
    });
}

/// The closure of a thread, at home: the stage is this thread's.
fn run_sent(id: Id, script: &[Op], handle: &LoopHandle) {
    let stage = STAGE.try_with(|stage| stage.borrow().upgrade());
    if let Ok(Some(stage)) = stage {
        let probe = Probe::new(&stage, id);
        run_once(&probe, script, Call::Closure(id), handle);
    }
}
