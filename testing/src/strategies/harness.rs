//! The state of a running program: the objects that it has created, and the model beside them.
//!
//! Each operation is executed twice, on the loop and on the model, by the functions in
//! `interpreter.rs`; this file holds what both sides need. The first violation ends the run:
//! callbacks that the loop calls after it return at once.

use super::checker::{RuleViolation, violation};
use super::interpreter::Caller;
use super::model::{Call, Id, Model};
use super::op::{NAMES, SLOTS};
use super::poller_check;
use super::program::Violation;
use super::scripted::{PLANTED, Scripted};
use crate::sim::{Fd, Kernel};
use crate::tracing_poller::{PollerTrace, TraceListener};
use crate::{SimLoop, Transcript};
use readily::event_loop::Role;
use readily::spi;
use readily::task::TaskRef;
use readily::{
    CallHandle, Callbacks, Key, LoopHandle, PanicPolicy, RemoteHandle, Task, TimerHandle,
    Unhandled, WeakHandle,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::task::Waker;

/// Makes the layer of `Program::run_with` around the callbacks of each registration.
pub(super) type Wrap = Box<dyn FnMut(Scripted) -> Box<dyn Callbacks>>;

/// The handles of tasks that the script holds.
pub(super) type Tasks = [Option<(Id, Task<Id>)>; NAMES];

/// The next byte to write to a stream, and the next to read from it. Bytes count up, so that a reader
/// can check each of them. Duplicates of a descriptor share the counters.
#[derive(Default)]
pub(super) struct Flow {
    pub(super) sent: Cell<u8>,
    pub(super) received: Cell<u8>,
}

/// The owner of a descriptor.
pub(super) enum Owner {
    /// The script.
    Script(Rc<Fd>),
    /// The registration, which closes the descriptor.
    Registration(Weak<Fd>),
    /// The registration alone, of a connection that the loop opened: the script never had the
    /// descriptor.
    Hidden,
}

/// One of the eight slots for descriptors, while it is in use.
pub(super) struct Slot {
    pub(super) noun: &'static str,
    pub(super) owner: Owner,
    pub(super) flow: Rc<Flow>,
    pub(super) registered: Option<(Id, Key)>,
}

impl Slot {
    /// The slot of a TCP connection that the loop opened.
    pub(super) fn hidden(registered: Option<(Id, Key)>) -> Self {
        Self {
            noun: "tcp",
            owner: Owner::Hidden,
            flow: Rc::default(),
            registered,
        }
    }
}

pub(super) struct Harness {
    pub(super) kernel: Kernel,
    pub(super) handle: WeakHandle,
    pub(super) remote: RemoteHandle,
    pub(super) poller_trace: PollerTrace,
    /// Number of turns that the loop had run before the program.
    pub(super) turns_before: u64,
    pub(super) transcript: Transcript,
    pub(super) model: RefCell<Model>,
    pub(super) slots: RefCell<[Option<Slot>; SLOTS]>,
    /// The last removed registration of each slot.
    pub(super) last_removed: RefCell<[Option<(Id, Key)>; SLOTS]>,
    pub(super) timers: RefCell<[Option<(Id, TimerHandle)>; NAMES]>,
    pub(super) closures: RefCell<[Option<(Id, CallHandle)>; NAMES]>,
    pub(super) tasks: RefCell<Tasks>,
    pub(super) wakers: RefCell<[Option<(Id, Waker)>; NAMES]>,
    /// All tasks, also those without a handle.
    pub(super) spawned: RefCell<Vec<(Id, TaskRef)>>,
    /// The callbacks, closures and futures that have not been dropped.
    pub(super) alive: RefCell<BTreeSet<Id>>,
    pub(super) wrap: RefCell<Option<Wrap>>,
    /// The callback, closure or task that runs.
    running: Cell<Option<Id>>,
    pub(super) calls: Cell<u64>,
    panics: Cell<u64>,
    /// Whether the loop has reported an error of a system call.
    pub(super) is_reported: Cell<bool>,
    /// Whether scripts are skipped, at the end of a run.
    pub(super) scripts_stopped: Cell<bool>,
    pub(super) violation: RefCell<Option<Violation>>,
}

thread_local! {
    /// The harness of this thread, for a closure that another thread sends and that must be `Send`.
    pub(super) static HARNESS: RefCell<Weak<Harness>> = const { RefCell::new(Weak::new()) };
}

impl Harness {
    pub(super) fn install(sim: &mut SimLoop, wrap: Option<Wrap>) -> Rc<Self> {
        let kernel = sim.kernel().clone();
        // A layer of the caller's may have timers and closures of its own.
        let is_exclusive = sim.event_loop().is_idle() && wrap.is_none();
        let harness = Rc::new(Self {
            model: RefCell::new(Model::new(
                kernel.clone(),
                is_exclusive,
                spi::shuffles_ready(sim),
            )),
            kernel,
            handle: sim.weak_handle(),
            remote: sim.remote_handle(),
            poller_trace: sim.poller_trace().clone(),
            turns_before: sim.stats().turns,
            transcript: sim.transcript(),
            slots: RefCell::default(),
            last_removed: RefCell::default(),
            timers: RefCell::default(),
            closures: RefCell::default(),
            tasks: RefCell::default(),
            wakers: RefCell::default(),
            spawned: RefCell::default(),
            alive: RefCell::default(),
            wrap: RefCell::new(wrap),
            running: Cell::new(None),
            calls: Cell::new(0),
            panics: Cell::new(0),
            is_reported: Cell::new(false),
            scripts_stopped: Cell::new(false),
            violation: RefCell::new(None),
        });
        harness
            .poller_trace
            .listen(Some(Rc::clone(&harness) as Rc<dyn TraceListener>));
        harness.poller_trace.take_notifications();
        let _ = HARNESS.try_with(|this| this.replace(Rc::downgrade(&harness)));
        sim.set_panic_policy(PanicPolicy::Isolate);
        let weak = Rc::downgrade(&harness);
        sim.on_unhandled(move |unhandled| {
            if let Some(harness) = weak.upgrade() {
                harness.on_unhandled(unhandled);
            }
        });
        harness
    }

    /// Counts the panics of scripts. Any other panic is a borrow across user code (L8), or a bug of
    /// the layer around the callbacks.
    fn on_unhandled(&self, unhandled: &Unhandled) {
        match unhandled {
            Unhandled::Panic { message, .. } if message == PLANTED => {
                self.panics.set(self.panics.get() + 1);
            }
            // The kernel refused a call, or had no descriptor for a listener that the loop serves.
            Unhandled::Io { .. } if self.kernel_may_refuse() => self.is_reported.set(true),
            Unhandled::AcceptPaused { .. } | Unhandled::ConnectionLost { .. }
                if self.kernel_may_refuse() => {}
            other => self.fail("L8", format!("an unexpected report: {other}")),
        }
    }

    pub(super) fn fail(&self, rule: &'static str, what: impl Into<String>) {
        self.check(Err(violation(rule, what)));
    }

    /// Keeps the first violation.
    pub(super) fn check(&self, checked: Result<(), RuleViolation>) {
        if let Err(RuleViolation { rule, what }) = checked {
            let transcript = self.transcript.snapshot();
            let violation = Violation {
                rule,
                what,
                transcript,
            };
            self.violation.borrow_mut().get_or_insert(violation);
        }
    }

    /// Runs an action on the loop that must not panic. Scripts panic inside the loop, which catches
    /// it; a panic that arrives here is the loop's own, such as a second borrow of a cell.
    pub(super) fn expect_no_panic<R>(&self, action: impl FnOnce() -> R) -> Option<R> {
        match catch_unwind(AssertUnwindSafe(action)) {
            Ok(done) => Some(done),
            Err(payload) => {
                let text = payload.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
                let what = format!("the loop panics: {}", text.unwrap_or("without a message"));
                self.fail("L8", what);
                None
            }
        }
    }

    /// L8: user code may call the loop, also in a destructor.
    pub(super) fn check_loop(&self, handle: &LoopHandle) {
        // During a panic a second one would abort the process.
        if !std::thread::panicking() {
            self.expect_no_panic(|| spi::check_invariants(handle));
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.violation.borrow().is_some()
    }

    /// Checks a call of the loop, and returns the name of the caller if the call is right.
    pub(super) fn enter(&self, call: Call) -> Option<String> {
        if self.has_failed() {
            return None;
        }
        self.calls.set(self.calls.get() + 1);
        self.sync_turns();
        self.check_clock();
        let mut model = self.model.borrow_mut();
        let name = model.call_name(call);
        if let Some(other) = self.running.replace(Some(call.id())) {
            let what = format!("{name} is called inside of {}", model.names[other]);
            self.fail("L3", what);
        }
        let checked = model.check_call(call, &|raw_fd| self.poller_trace.refused(raw_fd));
        if checked.is_err() {
            self.transcript.line(&name, "is called");
        }
        self.check(checked);
        (!self.has_failed()).then_some(name)
    }

    /// All callbacks of a turn get the same time: that of the first callback that asked.
    fn check_clock(&self) {
        let now = self
            .handle
            .with(|handle| (handle.now(), handle.fresh_now()));
        let Some((now, fresh)) = now else { return };
        let mut model = self.model.borrow_mut();
        let is_consistent = match model.turn_time.replace(now) {
            None => now == fresh || !model.is_exclusive,
            Some(first) => now == first,
        };
        if !is_consistent {
            self.fail("C1", "a callback gets a time that is not that of its turn");
        }
    }

    /// Ends a call that `enter` began.
    pub(super) fn leave(&self, caller: &Caller<'_>) {
        if !caller.has_logged.get() {
            caller.log(self, "does nothing");
        }
        self.running.set(None);
    }

    pub(super) fn is_anything_running(&self) -> bool {
        self.running.get().is_some()
    }

    pub(super) fn is_running(&self, id: Id) -> bool {
        self.running.get() == Some(id)
    }

    /// Assigns an id to a new object.
    pub(super) fn new_id(&self, name: String) -> Id {
        self.model.borrow_mut().name(name)
    }

    pub(super) fn name_of(&self, id: Id) -> String {
        self.model.borrow().names[id].clone()
    }

    /// A callback panics: the loop removes its registration, unless that is a listener or a source.
    pub(super) fn callback_panicked(&self, slot: usize, id: Id) {
        let mut model = self.model.borrow_mut();
        model.panics += 1;
        let registered = model.registered.get(&id);
        let spared = [Some(Role::Listener), None];
        if registered.is_some_and(|registered| !spared.contains(&registered.role)) {
            let how = format!("panicked {}", model.when());
            model.remove(id, how);
            self.clear_slot(slot, id);
        }
    }

    /// Number of reported panics.
    pub(super) fn panics(&self) -> u64 {
        self.panics.get()
    }

    /// Whether a fault of the kernel may refuse a call that would succeed otherwise.
    pub(super) fn kernel_may_refuse(&self) -> bool {
        let faults = self.kernel.faults();
        faults.emfile != 0 || poller_check::may_refuse(&faults)
    }

    /// A refusal may be a fault of the kernel; otherwise it is a violation.
    pub(super) fn check_refusal(&self, rule: &'static str, what: &str, error: &dyn fmt::Display) {
        if !poller_check::may_refuse(&self.kernel.faults()) {
            self.fail(rule, format!("{what} is refused: {error}"));
        }
    }
}
