//! Executes operations on the loop and on the model, and logs them. This file has timers, closures,
//! tasks and other threads; `descriptors.rs` and `streams.rs` have the rest.
//!
//! An impossible operation is skipped: a read from an empty slot, a write to a listener. So any list
//! of operations is a program, any part of a program may be cut out, and no condition of an operation
//! is written twice, in a strategy and here. The transcript names the caller: a callback reads
//! "itself", the test reads "from pipe#0". Operations of the test are logged between two turns, one
//! line each. An operation of another thread runs on a real thread, which is joined before the next
//! operation, so that its time is the same in each run.
//!
//! These are the operations that a callback may use (N1, N7), and tasks (N15).

use super::harness::{HARNESS, Harness};
use super::model::{Call, Id};
use super::op::{NAMES, Op, OpKind};
use super::scripted::{Probe, ScriptedTask, run_once};
use readily::{Cx, LoopHandle};
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// The code that executes an operation: a callback, a closure, a task, or the test.
pub(super) struct Caller<'a> {
    pub(super) handle: &'a LoopHandle,
    /// The context of a callback, and its slot and registration.
    pub(super) cx: Option<&'a Cx<'a>>,
    pub(super) own: Option<(usize, Id)>,
    /// `None` for the test.
    pub(super) name: Option<String>,
    pub(super) has_logged: Cell<bool>,
}

impl<'a> Caller<'a> {
    pub(super) fn test(handle: &'a LoopHandle) -> Self {
        Self {
            handle,
            cx: None,
            own: None,
            name: None,
            has_logged: Cell::new(false),
        }
    }

    pub(super) fn inside(handle: &'a LoopHandle, name: String) -> Self {
        Self {
            name: Some(name),
            ..Self::test(handle)
        }
    }

    pub(super) fn callback(cx: &'a Cx<'a>, name: String, own: (usize, Id)) -> Self {
        Self {
            cx: Some(cx),
            own: Some(own),
            ..Self::inside(cx, name)
        }
    }

    pub(super) fn is_in_loop(&self) -> bool {
        self.name.is_some()
    }

    pub(super) fn log(&self, harness: &Harness, what: impl fmt::Display) {
        self.has_logged.set(true);
        match &self.name {
            Some(name) => harness.transcript.line(name, what),
            None => harness
                .transcript
                .line_between_turns(format!("the test {what}")),
        }
    }
}

impl Harness {
    /// Executes the operations in order; `false` if the last one was a panic.
    pub(super) fn execute_all(self: &Rc<Self>, caller: &Caller<'_>, script: &[Op]) -> bool {
        script.iter().all(|op| self.execute(caller, op))
    }

    /// Executes one operation. `false` asks the caller to panic now.
    pub(super) fn execute(self: &Rc<Self>, caller: &Caller<'_>, op: &Op) -> bool {
        if self.has_failed() || (self.scripts_stopped.get() && caller.is_in_loop()) {
            return true;
        }
        match op.kind {
            OpKind::Panic if caller.is_in_loop() => {
                caller.log(self, "panics");
                return false;
            }
            OpKind::Pass => {
                caller.log(self, format!("takes {} ms", op.number));
                let time = Duration::from_millis(op.number as u64);
                self.kernel.clock().advance(time);
            }
            OpKind::Nearly => {
                caller.log(self, format!("takes nearly {} ms", op.number));
                let time = Duration::from_millis(op.number as u64);
                let time = time.saturating_sub(Duration::from_nanos(1));
                self.kernel.clock().advance(time);
            }
            OpKind::Stop => {
                caller.log(self, "stops the loop");
                self.model.borrow_mut().request_stop();
                caller.handle.stop();
            }
            _ => {
                // `None`: the operation is impossible now.
                let _done = self
                    .execute_fd_op(caller, op)
                    .or_else(|| self.execute_task_op(caller, op))
                    .or_else(|| self.execute_remote_op(caller, op));
            }
        }
        true
    }
}

impl Harness {
    /// `None` if the operation is of another file, or impossible now.
    pub(super) fn execute_task_op(self: &Rc<Self>, caller: &Caller<'_>, op: &Op) -> Option<()> {
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

    /// Arms a timer. A timer of that name that is armed is cancelled.
    fn arm(self: &Rc<Self>, caller: &Caller<'_>, op: &Op, name: usize) -> Option<()> {
        let _moved = self.disarm(caller, name);
        let id = self.new_id(format!("timer#{name}"));
        caller.log(self, format!("arms timer#{name} for {} ms", op.number));
        let (probe, script) = (Probe::new(self, id), op.script.clone());
        self.model.borrow_mut().arm(id, op.number);
        let delay = Duration::from_millis(op.number as u64);
        let run = move |handle: &LoopHandle| run_once(&probe, &script, Call::Timer(id), handle);
        let handle = caller.handle.call_later(delay, run);
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
            caller.log(self, format!("disarms timer#{name}"));
            let how = format!("was disarmed {when}");
            self.model.borrow_mut().how_ended.insert(id, how);
        }
        if handle.cancel() != armed {
            let what = format!("`cancel` of timer#{name} does not return {armed}");
            self.fail("R076", what);
        }
        if armed {
            self.check_dropped(id, "C3");
        }
        armed.then_some(())
    }

    fn soon(self: &Rc<Self>, caller: &Caller<'_>, op: &Op, name: usize) -> Option<()> {
        let _moved = self.take_back(caller, name);
        let id = self.new_id(format!("closure#{name}"));
        caller.log(self, format!("queues closure#{name}"));
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
            caller.log(self, format!("takes closure#{name} back"));
            let how = format!("was taken back {when}");
            self.model.borrow_mut().how_ended.insert(id, how);
        }
        if handle.cancel() != queued {
            let what = format!("`cancel` of closure#{name} does not return {queued}");
            self.fail("R076", what);
        }
        if queued {
            self.check_dropped(id, "C3");
        }
        queued.then_some(())
    }

    /// Spawns a task. The handle of a task that had this name is dropped.
    fn spawn(self: &Rc<Self>, caller: &Caller<'_>, op: &Op, name: usize) -> Option<()> {
        let previous = self.tasks.borrow_mut()[name].take();
        if let Some((other, task)) = previous {
            self.model.borrow_mut().drop_handle(other);
            drop(task);
        }
        let id = self.new_id(format!("task#{name}"));
        caller.log(self, format!("spawns task#{name}"));
        self.model.borrow_mut().spawn(id);
        let future = ScriptedTask::new(self, id, name, &op.script);
        let task = caller.handle.spawn(future);
        self.spawned.borrow_mut().push((id, task.task_ref()));
        self.tasks.borrow_mut()[name] = Some((id, task));
        Some(())
    }

    /// Cancels the last task of this name, whether or not the script has its handle.
    fn abort(&self, caller: &Caller<'_>, name: usize) -> Option<()> {
        let id = self.last_task(name)?;
        caller.log(self, format!("aborts task#{name}"));
        self.abort_task(id);
        Some(())
    }

    fn last_task(&self, name: usize) -> Option<Id> {
        let name = format!("task#{name}");
        let spawned = self.spawned.borrow();
        let mut ids = spawned.iter().rev().map(|(id, _)| *id);
        ids.find(|id| self.name_of(*id) == name)
    }

    /// Cancels a task, and checks the result of `cancel`.
    pub(super) fn abort_task(&self, id: Id) {
        let task = {
            let spawned = self.spawned.borrow();
            let found = spawned.iter().find(|(other, _)| *other == id);
            found.map(|(_, task)| task.clone())
        };
        let Some(task) = task else { return };
        let ended = self.model.borrow_mut().abort(id, self.is_running(id));
        if task.cancel() != ended {
            let what = format!("`cancel` of {} does not return {ended}", self.name_of(id));
            self.fail("T3", what);
        }
        if ended {
            self.check_dropped(id, "T3");
        }
    }

    /// Wakes the last task of this name with the waker of its last poll, on the loop's own thread.
    fn wake(&self, caller: &Caller<'_>, name: usize) -> Option<()> {
        let (id, waker) = self.wakers.borrow()[name].clone()?;
        caller.log(self, format!("wakes task#{name}"));
        // Between two turns no loop is current, so the wake goes through the inbox, as one of another
        // thread.
        self.model.borrow_mut().wake(id, !caller.is_in_loop());
        waker.wake();
        Some(())
    }

    /// Executes an operation of another thread. `None` if it is none, or impossible now.
    pub(super) fn execute_remote_op(self: &Rc<Self>, caller: &Caller<'_>, op: &Op) -> Option<()> {
        let remote = &self.remote;
        match op.kind {
            OpKind::Send => {
                let id = self.new_id("a closure from a thread".to_owned());
                caller.log(self, "lets a thread send a closure");
                self.model.borrow_mut().send(id);
                let script = op.script.clone();
                on_other_thread(move || {
                    let sent = remote.call_soon(move |handle| run_sent(id, &script, handle));
                    drop(sent);
                });
            }
            OpKind::Notify => {
                caller.log(self, "lets a thread notify the loop");
                self.model.borrow_mut().notified = true;
                on_other_thread(|| remote.wake());
            }
            OpKind::WakeRemote => {
                let (id, waker) = self.wakers.borrow()[op.at % NAMES].clone()?;
                caller.log(self, format!("lets a thread wake task#{}", op.at % NAMES));
                self.model.borrow_mut().wake(id, true);
                on_other_thread(move || waker.wake());
            }
            OpKind::StopRemote => {
                caller.log(self, "lets a thread stop the loop");
                let mut model = self.model.borrow_mut();
                (model.notified, model.stop_sent) = (true, true);
                on_other_thread(|| drop(remote.stop()));
            }
            _ => return None,
        }
        Some(())
    }
}

/// Runs an action on another thread, and joins that thread.
pub(super) fn on_other_thread(action: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(action);
    });
}

/// The closure of another thread, on the loop's thread.
fn run_sent(id: Id, script: &[Op], handle: &LoopHandle) {
    let harness = HARNESS.try_with(|harness| harness.borrow().upgrade());
    if let Ok(Some(harness)) = harness {
        let probe = Probe::new(&harness, id);
        run_once(&probe, script, Call::Closure(id), handle);
    }
}
