//! The types that are recursive, because what a loop stores is called with the loop.
//!
//! A loop stores callbacks, closures, messages and a scheduler, and calls each of them with its
//! handle. So their types and [`LoopHandle`] need each other, and are in one file. The parts that the
//! loop consists of are in files below: none of them knows a loop, and each is generic over what it
//! stores. The operations of a loop are in files above this one, each with the methods of one subject.
//!
//! A `LoopHandle` is shared by `Rc`, and each of its parts is in a cell. A cell is borrowed inside
//! one method and never across user code (L8), so every method works in a callback, in a coroutine,
//! in a destructor and between two turns. The [`EventLoop`](super::EventLoop) owns the handle. A
//! callback that may outlive the loop holds a [`WeakHandle`](super::WeakHandle).
//!
//! This is the `loop` object of the notes (N7).

use super::action;
use super::inbox;
use super::loop_time::{LoopTime, TimeSource};
use super::origin::Origin;
use super::panics::Payload;
use super::ready_queue::ReadyQueue;
use super::registration::{self, Registration};
use super::registry::Registry;
use super::report::Reports;
use super::rows::Detour;
use super::stopwatch::Stopwatch;
use crate::base::slab::Slab;
use crate::base::unique_id;
use crate::poll::default_poller::LoopPoller;
use crate::poll::{Interest, Readiness, VirtualKernel};
use readily_sys::fork::ForkGuard;
use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Waker;

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
    pub(super) ready: ReadyQueue<LoopHandle>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) scheduler: OnceCell<Box<dyn Scheduler>>,
    pub(super) attachments: RefCell<Vec<Rc<dyn Attachment>>>,
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
    /// Whether freed registrations may be in the cache of blocks.
    pub(super) caches_blocks: Cell<bool>,
    /// Whether the callback of an event may leave something to be done after it: another loop was entered
    /// over this one, or a registration was removed.
    pub(super) check_after_call: Cell<bool>,
    /// The latest turns in a row in which every event was for a registration that is gone.
    pub(super) stale_turns: Cell<u32>,
}

/// The counts of [`Stats`](super::Stats), one cell each, so that one is counted without copying the others.
#[derive(Default)]
pub(super) struct StatCells {
    /// The turns that polled the kernel, and those that did not.
    pub(super) polls: Cell<u64>,
    pub(super) rounds: Cell<u64>,
    pub(super) events: Cell<u64>,
    pub(super) stale: Cell<u64>,
}

/// What a loop knows of the host that embeds it.
#[derive(Default)]
pub(super) struct Host {
    /// The descriptor that the host watches, made at the first request.
    pub(super) fd: OnceCell<OwnedFd>,
    /// Whether the descriptor also becomes readable at the next deadline.
    pub(super) has_deadline: Cell<bool>,
    /// The deadline that is armed in the descriptor; `NEVER` for none.
    pub(super) armed_ns: Cell<u64>,
    /// The count of events when `settle_host` last ran.
    pub(super) events: Cell<u64>,
}

impl LoopHandle {
    pub(super) fn new(poller: LoopPoller, clock: TimeSource) -> io::Result<Rc<Self>> {
        let kernel = poller.kernel();
        let recording = kernel.as_ref().is_some_and(|kernel| kernel.is_recording());
        let loop_id = unique_id::next();
        let notifier = poller.notifier();
        let ready = ReadyQueue::default();
        ready
            .rows
            .set_detour(Detour::VirtualKernel, kernel.is_some());
        let inbox = Arc::new(Inbox::new(loop_id, notifier, ForkGuard::new()?, recording));
        Ok(Rc::new_cyclic(|me| Self {
            weak_self: me.clone(),
            loop_id,
            kernel,
            poller: RefCell::new(poller),
            registry: Registry::default(),
            times: LoopTime::new(clock),
            ready,
            inbox,
            scheduler: OnceCell::new(),
            attachments: RefCell::default(),
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
            caches_blocks: Cell::new(false),
            check_after_call: Cell::new(false),
            stale_turns: Cell::new(0),
        }))
    }

    /// Returns the virtual kernel that this loop runs on, for instance one in memory; `None` for
    /// the system's. Code that makes sockets for the loop makes them there.
    #[must_use]
    pub(crate) fn kernel(&self) -> Option<&Rc<dyn VirtualKernel>> {
        self.kernel.as_ref()
    }
}

/// A closure that runs with the loop.
pub(super) type Call = action::Call<LoopHandle>;

/// A closure to run with the loop, or a waker to wake.
pub(super) type Action = action::Action<LoopHandle>;

/// A message from another thread to the loop.
pub(super) type Message = inbox::Message<LoopHandle>;

/// The inbox of a loop, which outlives it.
pub(crate) type Inbox = inbox::Inbox<LoopHandle>;

/// A registration of the loop, with its callbacks.
pub(super) type RegistrationRc = registration::RegistrationRc<dyn Callbacks>;

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

/// A task scheduler on top of the loop, which knows nothing of futures.
///
/// A scheduler installs itself once; it owns the tasks, and has a queue of those that are ready. The
/// loop has the places of tasks and closures in one order (`ready_queue.rs`), and calls the scheduler
/// where it is a task's turn. As in asyncio, a step of a task is queued like a callback (N8, N15).
pub(crate) trait Scheduler {
    /// Runs the first of the ready tasks, and possibly the tasks behind it in the batch. A task that
    /// has ended is ignored.
    fn run(&self, handle: &LoopHandle);

    /// Ends the task whose poll has panicked with this payload. Returns its origin; and the payload, if
    /// it is not that of a task.
    fn end_panicked(&self, handle: &LoopHandle, payload: Payload) -> (Origin, Option<Payload>);

    /// Queues the task or main future of a waker that another thread has woken, unless it is gone.
    fn queue(&self, waker: &Waker);

    /// Shuffles the ready tasks: `order` has their old places in the new order.
    fn reorder(&self, order: &[usize]);

    /// Whether one of the ready tasks has not ended. One that has is no work.
    fn has_ready_task(&self) -> bool;

    /// Returns the name and site of the task that is being polled, for reports; [`Origin::Other`] if
    /// there is none.
    fn origin(&self) -> Origin;

    /// Returns the name and site of the first of the ready tasks.
    fn origin_of_next(&self) -> Origin;

    /// Returns the site of the future that ran last as the main future, for reports.
    fn origin_of_main(&self) -> Origin;

    /// Whether `waker` wakes a task or the main future of a scheduler of this kind. Such a waker is
    /// dropped without running user code.
    fn is_task_waker(&self, waker: &Waker) -> bool {
        let _ = waker;
        false
    }

    /// Shrinks the queue of ready tasks after a burst (R126).
    fn shrink(&self);

    /// Returns the number of tasks that are not done; [`EventLoop::run`](super::EventLoop::run)
    /// continues while there are any.
    fn task_count(&self) -> usize;

    /// Drops all tasks, on this thread, and returns their names.
    fn close(&self, handle: &LoopHandle) -> Vec<String>;

    /// Returns the scheduler as [`Any`], to downcast it.
    fn as_any(&self) -> &dyn Any;
}

/// A part of a higher layer that belongs to a loop, and ends with it: one for each type.
pub(crate) trait Attachment: Any {
    /// The loop is being closed: its tasks and registrations are gone, and its reports still work.
    fn close(&self);

    /// Returns the attachment as [`Any`], to downcast it.
    fn as_any(&self) -> &dyn Any;
}
