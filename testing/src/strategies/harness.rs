//! Where a program is played: the things that it has made, and the model that looks on.
//!
//! Everything that a script does is done twice, to the loop and to the model, and in one place:
//! `interpreter.rs` does it, and here is what is kept. The first thing that does not hold ends the play;
//! what the loop calls after that does nothing any more.
//!
//! In the notes this is nothing.

use super::checker::{RuleViolation, violation};
use super::interpreter::Caller;
use super::model::{Call, Id, Model};
use super::op::{NAMES, PLACES};
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

/// What a caller puts around the callbacks of each registration.
pub(super) type Wrap = Box<dyn FnMut(Scripted) -> Box<dyn Callbacks>>;

/// The handles of tasks that the script holds.
pub(super) type Tasks = [Option<(Id, Task<Id>)>; NAMES];

/// How many bytes have gone out of an end, and come in. What is written counts up, so that a
/// reader knows which byte is the next. Duplicates share it.
#[derive(Default)]
pub(super) struct Flow {
    pub(super) sent: Cell<u8>,
    pub(super) got: Cell<u8>,
}

/// Who has a descriptor.
pub(super) enum Held {
    /// The script.
    Ours(Rc<Fd>),
    /// Its registration, which closes it.
    Lent(Weak<Fd>),
    /// Its registration, and nobody else has ever seen it: an outgoing connection.
    Unseen,
}

/// One of the eight places for descriptors, while something is there.
pub(super) struct Place {
    pub(super) noun: &'static str,
    pub(super) held: Held,
    pub(super) flow: Rc<Flow>,
    pub(super) registered: Option<(Id, Key)>,
}

impl Place {
    /// Of a TCP connection that was made by the loop.
    pub(super) fn unseen(registered: Option<(Id, Key)>) -> Self {
        Self {
            noun: "tcp",
            held: Held::Unseen,
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
    /// How many turns the loop had taken before.
    pub(super) before: u64,
    pub(super) transcript: Transcript,
    pub(super) model: RefCell<Model>,
    pub(super) places: RefCell<[Option<Place>; PLACES]>,
    /// The last registration of each place that has gone.
    pub(super) gone: RefCell<[Option<(Id, Key)>; PLACES]>,
    pub(super) timers: RefCell<[Option<(Id, TimerHandle)>; NAMES]>,
    pub(super) closures: RefCell<[Option<(Id, CallHandle)>; NAMES]>,
    pub(super) tasks: RefCell<Tasks>,
    pub(super) wakers: RefCell<[Option<(Id, Waker)>; NAMES]>,
    /// All tasks, also those that nobody holds.
    pub(super) spawned: RefCell<Vec<(Id, TaskRef)>>,
    /// What of all that the loop was given exists.
    pub(super) alive: RefCell<BTreeSet<Id>>,
    pub(super) wrap: RefCell<Option<Wrap>>,
    /// Who is running.
    running: Cell<Option<Id>>,
    pub(super) calls: Cell<u64>,
    panics: Cell<u64>,
    /// The loop has reported an error of a call.
    pub(super) is_reported: Cell<bool>,
    /// Scripts do nothing any more.
    pub(super) quiet: Cell<bool>,
    pub(super) violation: RefCell<Option<Violation>>,
}

thread_local! {
    /// For what comes from another thread, and can bring nothing of this one's along.
    pub(super) static HARNESS: RefCell<Weak<Harness>> = const { RefCell::new(Weak::new()) };
}

impl Harness {
    pub(super) fn set(sim: &mut SimLoop, wrap: Option<Wrap>) -> Rc<Self> {
        let kernel = sim.kernel().clone();
        // A layer of the caller's may have timers and closures of its own.
        let alone = sim.event_loop().is_idle() && wrap.is_none();
        let harness = Rc::new(Self {
            model: RefCell::new(Model::new(kernel.clone(), alone, spi::shuffles_ready(sim))),
            kernel,
            handle: sim.weak_handle(),
            remote: sim.remote_handle(),
            poller_trace: sim.poller_trace().clone(),
            before: sim.stats().turns,
            transcript: sim.transcript(),
            places: RefCell::default(),
            gone: RefCell::default(),
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
            quiet: Cell::new(false),
            violation: RefCell::new(None),
        });
        harness
            .poller_trace
            .listen(Some(Rc::clone(&harness) as Rc<dyn TraceListener>));
        harness.poller_trace.rings();
        let _ = HARNESS.try_with(|this| this.replace(Rc::downgrade(&harness)));
        sim.set_panic_policy(PanicPolicy::Isolate);
        let hears = Rc::downgrade(&harness);
        sim.on_unhandled(move |unhandled| {
            if let Some(harness) = hears.upgrade() {
                harness.hears(unhandled);
            }
        });
        harness
    }

    /// Only panics of scripts are expected: any other is a borrow across user code (L8), or a bug
    /// of the layer around the callbacks.
    fn hears(&self, unhandled: &Unhandled) {
        match unhandled {
            Unhandled::Panic { message, .. } if message == PLANTED => {
                self.panics.set(self.panics.get() + 1);
            }
            // A kernel that refuses something, or has no descriptor for a listener of the loop's own.
            Unhandled::Io { .. } if self.is_refusing() => self.is_reported.set(true),
            Unhandled::AcceptPaused { .. } | Unhandled::ConnectionLost { .. }
                if self.is_refusing() => {}
            other => self.breaks("L8", format!("nobody planted this: {other}")),
        }
    }

    pub(super) fn breaks(&self, rule: &'static str, what: impl Into<String>) {
        self.check(Err(violation(rule, what)));
    }

    /// Keeps the first thing that does not hold.
    pub(super) fn check(&self, judged: Result<(), RuleViolation>) {
        if let Err(RuleViolation { rule, what }) = judged {
            let transcript = self.transcript.so_far();
            let violation = Violation {
                rule,
                what,
                transcript,
            };
            self.violation.borrow_mut().get_or_insert(violation);
        }
    }

    /// Does something to the loop that should not panic: what comes out of it is no script's panic,
    /// but the loop's own, which has met its own borrow or lost its way.
    pub(super) fn whole<R>(&self, does: impl FnOnce() -> R) -> Option<R> {
        match catch_unwind(AssertUnwindSafe(does)) {
            Ok(done) => Some(done),
            Err(payload) => {
                let text = payload.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
                let what = format!("the loop panics: {}", text.unwrap_or("without a word"));
                self.breaks("L8", what);
                None
            }
        }
    }

    /// L8: whoever is called may look at the loop, in a destructor too.
    pub(super) fn bears_a_look(&self, handle: &LoopHandle) {
        // Not while a panic goes by: a second one would be the end of all.
        if !std::thread::panicking() {
            self.whole(|| spi::check_invariants(handle));
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.violation.borrow().is_some()
    }

    /// Something is called: who it is, unless that is not as it should be.
    pub(super) fn enter(&self, call: Call) -> Option<String> {
        if self.is_over() {
            return None;
        }
        self.calls.set(self.calls.get() + 1);
        self.catches_up();
        self.looks_at_the_clock();
        let mut model = self.model.borrow_mut();
        let who = model.named(call);
        if let Some(other) = self.running.replace(Some(call.id())) {
            let what = format!("{who} is called inside of {}", model.names[other]);
            self.breaks("L3", what);
        }
        let judged = model.called(call, &|number| self.poller_trace.refused(number));
        if judged.is_err() {
            self.transcript.line(&who, "is called");
        }
        self.check(judged);
        (!self.is_over()).then_some(who)
    }

    /// All callbacks of a turn are told the same time: that at which the first of them asked.
    fn looks_at_the_clock(&self) {
        let now = self
            .handle
            .with(|handle| (handle.now(), handle.fresh_now()));
        let Some((now, fresh)) = now else { return };
        let mut model = self.model.borrow_mut();
        let agrees = match model.turn_time.replace(now) {
            None => now == fresh || !model.alone,
            Some(first) => now == first,
        };
        if !agrees {
            self.breaks(
                "C1",
                "the time that a callback is told is not that of the turn",
            );
        }
    }

    /// It returns.
    pub(super) fn leave(&self, caller: &Caller<'_>) {
        if !caller.said.get() {
            caller.says(self, "does nothing");
        }
        self.running.set(None);
    }

    pub(super) fn is_anything_running(&self) -> bool {
        self.running.get().is_some()
    }

    pub(super) fn is_running(&self, id: Id) -> bool {
        self.running.get() == Some(id)
    }

    /// Gives the next thing its id.
    pub(super) fn made(&self, name: String) -> Id {
        self.model.borrow_mut().name(name)
    }

    pub(super) fn name_of(&self, id: Id) -> String {
        self.model.borrow().names[id].clone()
    }

    /// A callback panics: its registration goes, unless it is a listener's.
    pub(super) fn panicked(&self, place: usize, id: Id) {
        let mut model = self.model.borrow_mut();
        model.panics += 1;
        let registered = model.registered.get(&id);
        let spared = [Role::Listener, Role::Source];
        if registered.is_some_and(|registered| !spared.contains(&registered.role)) {
            let how = format!("panicked {}", model.when());
            model.remove(id, how);
            self.vacate(place, id);
        }
    }

    /// How many panics were told.
    pub(super) fn panics(&self) -> u64 {
        self.panics.get()
    }

    /// Whether the kernel may refuse what another time it does.
    pub(super) fn is_refusing(&self) -> bool {
        let faults = self.kernel.faults();
        faults.emfile != 0 || poller_check::may_refuse(&faults)
    }

    /// A refusal may be a fault of the kernel; otherwise it breaks a rule.
    pub(super) fn refused(&self, rule: &'static str, what: &str, error: &dyn fmt::Display) {
        if !poller_check::may_refuse(&self.kernel.faults()) {
            self.breaks(rule, format!("{what} is refused: {error}"));
        }
    }
}
