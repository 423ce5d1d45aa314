//! The handle of a loop on its own thread: every operation except turning it.
//!
//! `LoopHandle` is shared by `Rc`, and each of its parts is in a cell. A cell is borrowed inside
//! one method and never across user code (L8), so every method works in a callback, in a coroutine,
//! in a destructor and between two turns. The [`EventLoop`](super::EventLoop) owns the handle. A
//! callback that may outlive the loop holds a [`WeakHandle`](super::WeakHandle).
//!
//! This is the `loop` object of the notes (N7).

use super::action;
use super::error::Error;
use super::host::Host;
use super::inbox;
use super::loop_time::{LoopTime, TimeSource};
use super::panics::PanicPolicy;
use super::ready_queue::ReadyQueue;
use super::registration;
use super::registry::Registry;
use super::report::Reports;
use super::scheduler::Scheduler;
use super::stopwatch::Stopwatch;
use crate::base::rng::Rng;
use crate::base::slab::Slab;
use crate::base::unique_id;
use crate::poll::default_poller::LoopPoller;
use crate::poll::{Interest, Readiness, VirtualKernel};
use readily_sys::fork::ForkGuard;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// Counts of what a loop has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The turns that have begun, including those that skipped the poller ([L9]).
    ///
    /// [L9]: crate::book::invariants#l9
    pub turns: u64,
    /// The turns that polled the kernel. While tasks are ready not every turn does ([L9]).
    ///
    /// [L9]: crate::book::invariants#l9
    pub polls: u64,
    /// The events that the poller reported.
    pub events: u64,
    /// The events whose registration had been removed ([L6]).
    ///
    /// [L6]: crate::book::invariants#l6
    pub stale: u64,
}

/// The counts of [`Stats`], one cell each, so that one is counted without copying the others.
#[derive(Default)]
pub(super) struct StatCells {
    pub(super) turns: Cell<u64>,
    pub(super) polls: Cell<u64>,
    pub(super) events: Cell<u64>,
    pub(super) stale: Cell<u64>,
}

/// A handle to a loop on its own thread, with every method except those that turn or close the loop.
///
/// An [`EventLoop`](super::EventLoop) and a callback's [`Cx`] dereference to it.
/// Closures of `call_soon` and of timers get a reference to it, and so does the closure of
/// [`WeakHandle::with`](super::WeakHandle::with).
pub struct LoopHandle {
    pub(super) weak_self: Weak<LoopHandle>,
    /// Unique in this process, also among loops that are gone.
    pub(super) loop_id: u64,
    pub(super) poller: RefCell<LoopPoller>,
    /// The virtual kernel that the loop runs on; `None` for the system's.
    pub(super) kernel: Option<Rc<dyn VirtualKernel>>,
    pub(super) registry: Registry<dyn Callbacks>,
    pub(super) times: LoopTime<Action>,
    pub(super) ready: ReadyQueue<Call>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) scheduler: OnceCell<Box<dyn Scheduler>>,
    pub(super) reports: Reports,
    pub(super) stopwatch: Stopwatch,
    /// Whether calls are timed or traced: in debug mode, and on a virtual kernel.
    pub(super) observed: Cell<bool>,
    /// Listeners that ran out of descriptors, and wait until this loop closes one.
    pub(super) fd_waiters: RefCell<Slab<Action>>,
    pub(super) messages: RefCell<Vec<Message>>,
    /// While a recording is replayed: messages that came earlier than they did in the recording.
    pub(super) held_back: RefCell<Vec<Message>>,
    /// Whether another thread has notified the loop since the last turn.
    pub(super) notified: Cell<bool>,
    pub(super) stopping: Cell<bool>,
    pub(super) closed: Cell<bool>,
    pub(super) stats: StatCells,
    pub(super) host: Host,
    /// While the loop turns: the number under which `LoopStack` has it.
    pub(super) turn: Cell<Option<u64>>,
    /// L9: how many closures and task polls may still run before the kernel is polled again.
    pub(super) calls_left: Cell<usize>,
    /// The latest turns in a row in which every event was for a registration that is gone.
    pub(super) stale_turns: Cell<u32>,
}

/// A closure that runs with the loop.
pub(super) type Call = action::Call<LoopHandle>;

/// A closure to run with the loop, or a waker to wake.
pub(super) type Action = action::Action<LoopHandle>;

/// A message from another thread to the loop.
pub(super) type Message = inbox::Message<LoopHandle>;

/// The inbox of a loop, which outlives it.
pub(crate) type Inbox = inbox::Inbox<LoopHandle>;

/// A registration of the loop.
pub(super) type Registration = registration::Registration<dyn Callbacks>;

/// The argument of every callback: access to its loop, its key and its descriptor.
///
/// Dereferences to [`LoopHandle`], for everything that is not about this registration.
pub struct Cx<'a> {
    pub(super) handle: &'a LoopHandle,
    pub(super) registration: &'a Registration,
}

/// The callbacks of a registration: one method for each kind of event, and methods for options and
/// a deadline.
///
/// The loop calls them one at a time ([L3]), never while it holds a borrow of its own ([L8]). So
/// each may register, modify, remove, arm, cancel and spawn, and may remove its own registration.
///
/// The defaults of `on_read`, `on_write` and `on_default`, and that of `on_connect` for a listener,
/// remove the interest that led to the call. Otherwise a level-triggered condition that no callback
/// handles would be reported for ever.
///
/// [L3]: crate::book::invariants#l3
/// [L8]: crate::book::invariants#l8
pub trait Callbacks {
    /// Returns the interest of a connection that [`LoopHandle::listen`](super::LoopHandle::listen) has
    /// accepted; reading by default. Interest in writing would be reported at once, because a new
    /// connection has room. A server that speaks first can write in [`on_open`](Callbacks::on_open)
    /// without it.
    fn interest(&self) -> Interest {
        Interest::READ
    }

    /// Returns the interest of a connection of [`LoopHandle::connect`](super::LoopHandle::connect) once it is
    /// established; by default [`interest`](Callbacks::interest), and writing. Called when the
    /// connection is begun; [`LoopHandle::set_interest_of`](super::LoopHandle::set_interest_of) may change it meanwhile.
    fn connected_interest(&self) -> Interest {
        self.interest() | Interest::WRITE
    }

    /// *Connect ready.* Runs when a listener has a connection waiting, which [`Cx::accept`]
    /// accepts; or when an outgoing connection is established, which is a stream from now on, with
    /// the interest of [`connected_interest`](Callbacks::connected_interest).
    fn on_connect(&mut self, cx: &Cx<'_>) {
        cx.ignore_connections();
    }

    /// Runs first of all callbacks of a connection that [`LoopHandle::listen`](super::LoopHandle::listen) has
    /// accepted and registered, in the same turn. `cx` has the connection's key and descriptor, to
    /// write a greeting, to set a deadline ([`Cx::set_deadline`]) or to add to
    /// [`interest`](Callbacks::interest). It does not run for other registrations:
    /// [`LoopHandle::register`](super::LoopHandle::register) returns the key, and an outgoing connection has
    /// [`on_connect`](Callbacks::on_connect).
    ///
    /// In asyncio: `connection_made`.
    fn on_open(&mut self, cx: &Cx<'_>) {
        let _ = cx;
    }

    /// Runs when the deadline has passed ([`Cx::set_deadline`],
    /// [`LoopHandle::set_deadline_of`](super::LoopHandle::set_deadline_of)). The deadline is cleared by then,
    /// and may be set again. The default closes the connection; `on_hangup` does not run, as after
    /// every [`Cx::close`].
    fn on_timeout(&mut self, cx: &Cx<'_>) {
        cx.close();
    }

    /// *Read ready.* Runs when there are bytes to read, or the end of the data (a read of zero
    /// bytes).
    ///
    /// To pause reading, remove the interest in reading and set it again later; meanwhile a hangup
    /// waits for the unread bytes. If a callback keeps the interest after a hangup but reads
    /// nothing, the hangup does not wait.
    fn on_read(&mut self, cx: &Cx<'_>) {
        cx.ignore_reads();
    }

    /// *Write ready.* Runs when there is room to write. Remove the interest when there is nothing
    /// to write.
    fn on_write(&mut self, cx: &Cx<'_>) {
        cx.remove_interest(Interest::WRITE);
    }

    /// *Hangup.* Runs at most once: when the connection has ended, and no received bytes are left
    /// that the program is expected to read ([L7]). It does not run after [`Cx::close`] or
    /// [`LoopHandle::remove`](super::LoopHandle::remove), and it waits while reading is paused and
    /// bytes are unread, unless the connection has an error. The registration is removed already;
    /// the descriptor is closed when this returns. `error` is the reason if there is one, for
    /// instance a refused connection or a reset.
    ///
    /// The reading end of a FIFO hangs up when its last writer goes, though another may come. To wait
    /// for the next writer, open the FIFO for writing too, so that there always is one.
    ///
    /// [L7]: crate::book::invariants#l7
    fn on_hangup(&mut self, cx: &Cx<'_>, error: Option<io::Error>) {
        let _ = (cx, error);
    }

    /// *Anything else*, for registrations with [`Interest::PRIORITY`]: runs for urgent data, for a
    /// change of a kernel file, or for an error that does not end the connection
    /// ([`Readiness::ERROR`] while a side is open), such as an entry in the socket's error queue.
    /// It runs before the hangup, after which these are gone.
    ///
    /// `recvmsg(2)` with `MSG_ERRQUEUE` on [`Cx::fd`] fetches an entry of the error queue. Until then
    /// the registration is edge-triggered: alone, an entry is reported once, the first up to twice
    /// (over `poll(2)` every 10 ms). But each other event of the descriptor, such as one that calls
    /// [`on_read`](Callbacks::on_read), has the error too, and calls this again for the same entry.
    fn on_default(&mut self, cx: &Cx<'_>, ready: Readiness) {
        let _ = ready;
        cx.remove_interest(Interest::PRIORITY);
    }
}

impl LoopHandle {
    pub(super) fn new(poller: LoopPoller, clock: TimeSource) -> io::Result<Rc<Self>> {
        let kernel = poller.kernel();
        let recording = kernel.as_ref().is_some_and(|kernel| kernel.is_recording());
        let loop_id = unique_id::next();
        let notifier = poller.notifier();
        let inbox = Arc::new(Inbox::new(loop_id, notifier, ForkGuard::new()?, recording));
        Ok(Rc::new_cyclic(|me| Self {
            weak_self: me.clone(),
            loop_id,
            kernel,
            poller: RefCell::new(poller),
            registry: Registry::default(),
            times: LoopTime::new(clock),
            ready: ReadyQueue::default(),
            inbox,
            scheduler: OnceCell::new(),
            reports: Reports::default(),
            stopwatch: Stopwatch::default(),
            observed: Cell::new(false),
            fd_waiters: RefCell::default(),
            messages: RefCell::default(),
            held_back: RefCell::default(),
            notified: Cell::new(false),
            stopping: Cell::new(false),
            closed: Cell::new(false),
            stats: StatCells::default(),
            host: Host::default(),
            turn: Cell::new(None),
            calls_left: Cell::new(0),
            stale_turns: Cell::new(0),
        }))
    }

    /// Returns the virtual kernel that this loop runs on, for instance one in memory; `None` for
    /// the system's. Code that makes sockets for the loop makes them there.
    #[must_use]
    pub(crate) fn kernel(&self) -> Option<&Rc<dyn VirtualKernel>> {
        self.kernel.as_ref()
    }

    /// Fails if the loop is closed, or belongs to the parent process.
    pub(super) fn ensure_usable(&self) -> Result<(), Error> {
        if self.closed.get() {
            return Err(Error::Closed);
        }
        if self.inbox.forked() {
            Err(Error::Forked)
        } else {
            Ok(())
        }
    }

    /// Stops the loop: [`EventLoop::run`](super::EventLoop::run) returns after the current turn.
    /// Called before a run, this ends the next run after one turn, which does not sleep. A
    /// [`run`](crate::run()) of a future returns [`Error::Stopped`].
    pub fn stop(&self) {
        self.stopping.set(true);
        self.ready.rows.attention.set(true);
    }

    /// Whether the loop is closed, or being closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Returns counts of what the loop has done so far.
    #[doc(alias = "metrics")]
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counts = &self.stats;
        Stats {
            turns: counts.turns.get(),
            polls: counts.polls.get(),
            events: counts.events.get(),
            stale: counts.stale.get(),
        }
    }

    /// Returns the number of registered descriptors.
    #[must_use]
    pub fn registered(&self) -> usize {
        self.registry.len()
    }

    /// Returns the number of armed timers: of `call_later`, `call_at`, sleeps, limits and
    /// intervals, and deadlines of registrations. A timer that has fired or was cancelled is not
    /// counted. One that is too far in the future to fire, such as a delay of
    /// [`Duration::MAX`](std::time::Duration::MAX), is.
    ///
    /// For embedders and tests: a service without work should not arm more and more.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{EventLoop, WeakHandle, run, sleep, wait_for};
    /// use std::time::Duration;
    ///
    /// let event_loop = EventLoop::new()?;
    /// let timer = event_loop.call_later(Duration::from_secs(1), |_| {});
    /// assert_eq!(event_loop.armed_timers(), 1);
    /// timer.cancel();
    /// assert_eq!(event_loop.armed_timers(), 0);
    /// let _never = event_loop.call_later(Duration::MAX, |_| {});
    /// assert_eq!(event_loop.armed_timers(), 1);
    ///
    /// run(async {
    ///     wait_for(Duration::from_secs(9), sleep(Duration::from_millis(1))).await.unwrap();
    ///     let armed = WeakHandle::current().unwrap().with(|handle| handle.armed_timers());
    ///     assert_eq!(armed, Some(0), "the limit is not left behind");
    /// })?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[doc(alias = "_scheduled")]
    #[must_use]
    pub fn armed_timers(&self) -> usize {
        self.times.len()
    }

    /// Sets what happens to panics of callbacks, destructors and detached tasks. The default is
    /// [`PanicPolicy::Isolate`].
    #[doc(alias = "unhandled_panic")]
    pub fn set_panic_policy(&self, policy: PanicPolicy) {
        self.reports.policy.set(policy);
    }

    /// Shuffles tasks that are ready at the same time, by a random order from `seed`; `None`, the
    /// default, runs them in the order in which they became ready. For tests: other seeds find
    /// programs that are correct in one order only. Closures of [`LoopHandle::call_soon`] keep
    /// their order.
    #[doc(alias = "rng_seed")]
    pub(crate) fn shuffle_ready(&self, seed: Option<u64>) {
        self.ready.shuffle.set_seed(seed.map(Rng::seeded));
    }

    /// Whether tasks that are ready at the same time are shuffled: see [`LoopHandle::shuffle_ready`].
    #[must_use]
    pub(crate) fn shuffles_ready(&self) -> bool {
        self.ready.shuffle.is_on()
    }

    /// Returns a random number below `bound`, which is not zero, for a choice that has to be fair.
    /// A counter would not be fair where two users of it alternate. Each execution of a program
    /// gets the same numbers.
    pub(crate) fn random_below(&self, bound: usize) -> usize {
        self.ready.shuffle.random_below(bound)
    }

    /// Asserts the loop's internal invariants. For tests.
    ///
    /// # Panics
    ///
    /// If one does not hold.
    pub(crate) fn check_invariants(&self) {
        self.registry.verify();
        self.times.verify();
    }
}

impl fmt::Debug for LoopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopHandle")
            .field("registered", &self.registered())
            .field("timers", &self.times.len())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
