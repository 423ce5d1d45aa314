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

use super::harness::{HARNESS, Harness};
use super::model::{Call, Id};
use super::op::{NAMES, Op, OpKind};
use super::scripted::{Probe, Tasked, run_once};
use readily::{Cx, LoopHandle};
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// Who does something: a callback, a closure, a task, or the test itself.
pub(super) struct Caller<'a> {
    pub(super) handle: &'a LoopHandle,
    /// Where it stands, if it is a callback: with its place and its registration.
    pub(super) cx: Option<&'a Cx<'a>>,
    pub(super) own: Option<(usize, Id)>,
    /// `None` for the test.
    who: Option<String>,
    pub(super) said: Cell<bool>,
}

impl<'a> Caller<'a> {
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

    pub(super) fn says(&self, harness: &Harness, what: impl fmt::Display) {
        self.said.set(true);
        match &self.who {
            Some(who) => harness.transcript.line(who, what),
            None => harness.transcript.tell_between(format!("the test {what}")),
        }
    }
}

impl Harness {
    /// Does all of it; `false` if the last thing done was a panic.
    pub(super) fn perform_all(self: &Rc<Self>, caller: &Caller<'_>, script: &[Op]) -> bool {
        script.iter().all(|op| self.perform(caller, op))
    }

    /// Does one thing. `false` says that whoever does it is to panic now.
    pub(super) fn perform(self: &Rc<Self>, caller: &Caller<'_>, op: &Op) -> bool {
        if self.is_over() || (self.quiet.get() && caller.is_inside()) {
            return true;
        }
        match op.kind {
            OpKind::Panic if caller.is_inside() => {
                caller.says(self, "panics");
                return false;
            }
            OpKind::Pass => {
                caller.says(self, format!("takes {} ms", op.number));
                let time = Duration::from_millis(op.number as u64);
                self.kernel.clock().advance(time);
            }
            OpKind::Nearly => {
                caller.says(self, format!("takes nearly {} ms", op.number));
                let time = Duration::from_millis(op.number as u64);
                let time = time.saturating_sub(Duration::from_nanos(1));
                self.kernel.clock().advance(time);
            }
            OpKind::Stop => {
                caller.says(self, "stops the loop");
                self.model.borrow_mut().stops();
                caller.handle.stop();
            }
            _ => {
                // `None`: it did not fit.
                let _done = self
                    .to_descriptors(caller, op)
                    .or_else(|| self.to_work(caller, op))
                    .or_else(|| self.from_afar(caller, op));
            }
        }
        true
    }
}

impl Harness {
    /// `None` if the operation is none of these, or does not fit.
    pub(super) fn to_work(self: &Rc<Self>, caller: &Caller<'_>, op: &Op) -> Option<()> {
        let name = op.at % NAMES;
        match op.kind {
            OpKind::Arm => self.arm(caller, op, name),
            OpKind::Disarm => self.disarm(caller, name),
            OpKind::Soon => self.soon(caller, op, name),
            OpKind::TakeBack => self.take_back(caller, name),
            OpKind::Spawn => self.spawn(caller, op, name),
            OpKind::Abort => self.abort(caller, name),
            OpKind::Wake => self.wake(caller, name),
            _ => None,
        }
    }

    /// A name that is armed already is moved.
    fn arm(self: &Rc<Self>, caller: &Caller<'_>, op: &Op, name: usize) -> Option<()> {
        let _moved = self.disarm(caller, name);
        let id = self.made(format!("timer#{name}"));
        caller.says(self, format!("arms timer#{name} for {} ms", op.number));
        let (probe, script) = (Probe::new(self, id), op.script.clone());
        self.model.borrow_mut().arm(id, op.number);
        let delay = Duration::from_millis(op.number as u64);
        let fires = move |handle: &LoopHandle| run_once(&probe, &script, Call::Timer(id), handle);
        let handle = caller.handle.call_later(delay, fires);
        self.timers.borrow_mut()[name] = Some((id, handle));
        Some(())
    }

    pub(super) fn disarm(&self, caller: &Caller<'_>, name: usize) -> Option<()> {
        let (id, handle) = self.timers.borrow_mut()[name].take()?;
        let (armed, when) = {
            let mut model = self.model.borrow_mut();
            (model.disarm(id), model.when())
        };
        if armed {
            caller.says(self, format!("disarms timer#{name}"));
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

    fn soon(self: &Rc<Self>, caller: &Caller<'_>, op: &Op, name: usize) -> Option<()> {
        let _moved = self.take_back(caller, name);
        let id = self.made(format!("closure#{name}"));
        caller.says(self, format!("queues closure#{name}"));
        let (probe, script) = (Probe::new(self, id), op.script.clone());
        self.model.borrow_mut().soon(id);
        let handle = caller
            .handle
            .call_soon(move |handle| run_once(&probe, &script, Call::Closure(id), handle));
        self.closures.borrow_mut()[name] = Some((id, handle));
        Some(())
    }

    pub(super) fn take_back(&self, caller: &Caller<'_>, name: usize) -> Option<()> {
        let (id, handle) = self.closures.borrow_mut()[name].take()?;
        let (queued, when) = {
            let mut model = self.model.borrow_mut();
            (model.closures.remove(&id), model.when())
        };
        if queued {
            caller.says(self, format!("takes closure#{name} back"));
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
    fn spawn(self: &Rc<Self>, caller: &Caller<'_>, op: &Op, name: usize) -> Option<()> {
        let before = self.tasks.borrow_mut()[name].take();
        if let Some((other, task)) = before {
            self.model.borrow_mut().let_go(other);
            drop(task);
        }
        let id = self.made(format!("task#{name}"));
        caller.says(self, format!("spawns task#{name}"));
        self.model.borrow_mut().spawn(id);
        let task = caller.handle.spawn(Tasked::new(self, id, name, &op.script));
        self.spawned.borrow_mut().push((id, task.task_ref()));
        self.tasks.borrow_mut()[name] = Some((id, task));
        Some(())
    }

    /// The one that had the name last, whoever holds it.
    fn abort(&self, caller: &Caller<'_>, name: usize) -> Option<()> {
        let id = self.last_of(name)?;
        caller.says(self, format!("aborts task#{name}"));
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
    fn wake(&self, caller: &Caller<'_>, name: usize) -> Option<()> {
        let (id, waker) = self.wakers.borrow()[name].clone()?;
        caller.says(self, format!("wakes task#{name}"));
        // Between two turns this thread is as far from the loop as any other.
        self.model.borrow_mut().wake(id, !caller.is_inside());
        waker.wake();
        Some(())
    }

    /// What another thread does. `None` if the operation is none of these, or does not fit.
    pub(super) fn from_afar(self: &Rc<Self>, caller: &Caller<'_>, op: &Op) -> Option<()> {
        let remote = &self.remote;
        match op.kind {
            OpKind::Send => {
                let id = self.made("a closure from a thread".to_owned());
                caller.says(self, "lets a thread send a closure");
                self.model.borrow_mut().send(id);
                let script = op.script.clone();
                elsewhere(move || {
                    let sent = remote.call_soon(move |handle| run_sent(id, &script, handle));
                    drop(sent);
                });
            }
            OpKind::Ring => {
                caller.says(self, "lets a thread ring");
                self.model.borrow_mut().rung = true;
                elsewhere(|| remote.wake());
            }
            OpKind::WakeAfar => {
                let (id, waker) = self.wakers.borrow()[op.at % NAMES].clone()?;
                caller.says(self, format!("lets a thread wake task#{}", op.at % NAMES));
                self.model.borrow_mut().wake(id, true);
                elsewhere(move || waker.wake());
            }
            OpKind::StopAfar => {
                caller.says(self, "lets a thread stop the loop");
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
    let harness = HARNESS.try_with(|harness| harness.borrow().upgrade());
    if let Ok(Some(harness)) = harness {
        let probe = Probe::new(&harness, id);
        run_once(&probe, script, Call::Closure(id), handle);
    }
}
