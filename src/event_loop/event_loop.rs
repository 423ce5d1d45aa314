//! `EventLoop`, the owner of a loop: turn, run, embed, close.
//!
//! [`EventLoop::turn`] checks, and then runs the steps of a turn in order (`turn.rs`). Every other
//! operation is a method of [`LoopHandle`], to which the loop dereferences.
//!
//! In the notes: "for ever: wait for events with a timeout" (N7).

use super::current::{CurrentGuard, Turning};
use super::loops::ListGuard;
use super::turn::EVENT_INTERVAL;
use super::{CloseReport, Error, LoopHandle, TimeSource, debug};
use crate::base::clock::Clock;
use crate::poll::default_poller::LoopPoller;
use crate::poll::{Event, Poller};
use std::fmt;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// An event loop on one thread, which owns its callbacks, timers, tasks and descriptors.
///
/// Dereferences to [`LoopHandle`], which has every method except those that turn or close the loop.
pub struct EventLoop {
    handle: Rc<LoopHandle>,
    /// The events of a turn: the buffer is kept from turn to turn.
    events: Vec<Event>,
    /// Dropped after the loop was closed: destructors of its closures may cancel others.
    _listed: ListGuard,
}

/// Why [`EventLoop::run`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitReason {
    /// [`LoopHandle::stop`] or [`RemoteHandle::stop`](crate::RemoteHandle::stop) was called.
    Stopped,
    /// The loop has no work left and can get none: no registration, timer, closure or task, and no
    /// [`RemoteHandle`](crate::RemoteHandle) that might send something.
    Idle,
}

impl EventLoop {
    /// Creates a loop with the system's best poller and its monotonic clock.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system has no descriptor or memory for the loop; nothing is left open.
    #[doc(alias = "new_event_loop")]
    pub fn new() -> Result<Self, Error> {
        Self::build(LoopPoller::new()?, TimeSource::system())
    }

    /// Creates a loop with the given poller and clock.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system has no memory for the loop.
    pub fn with(poller: Box<dyn Poller>, clock: Box<dyn Clock>) -> Result<Self, Error> {
        Self::build(LoopPoller::Other(poller), TimeSource::Other(clock))
    }

    /// Creates a loop with the given poller and clock, each of which may be the system's.
    pub(crate) fn build(poller: LoopPoller, clock: TimeSource) -> Result<Self, Error> {
        let handle = LoopHandle::new(poller, clock)?;
        handle.set_debug(debug::is_requested());
        Ok(Self {
            _listed: ListGuard::new(&handle),
            handle,
            events: Vec::new(),
        })
    }

    /// Returns a shared handle, which can be held beside a `&mut` of the loop.
    pub(crate) fn handle(&self) -> Rc<LoopHandle> {
        Rc::clone(&self.handle)
    }

    /// Runs one turn: sleeps until there is work, then does it.
    ///
    /// `limit` bounds the sleep, not the work; `None` sleeps until there is work. The order is:
    /// events in the order of the poller, timers in the order of their deadlines, then closures and
    /// tasks in the order in which they became ready. Closures and tasks that a callback of an event,
    /// or a timer, queues or wakes run in the same turn; those that a closure or a task queues or
    /// wakes run in the next one. A timer that is armed during a turn fires in a later one ([L5]).
    ///
    /// A turn polls the kernel once. In a [`run`](EventLoop::run), turns that have ready work may
    /// skip that ([L9]).
    ///
    /// # Errors
    ///
    /// [`Error::Nested`] inside a callback or task of this loop; [`Error::WouldBlockLoop`] inside one
    /// of another loop, unless `limit` is zero; [`Error::Forked`] in a child of the process that made
    /// the loop; [`Error::Io`] if the poller fails (its descriptor was closed by other code). The
    /// loop is as it was.
    ///
    /// # Panics
    ///
    /// If a callback or a detached task panics and the policy is
    /// [`PanicPolicy::Propagate`](crate::PanicPolicy::Propagate): the turn is finished, then the
    /// first panic is resumed. The loop can be used again.
    ///
    /// [L5]: crate::book::invariants#l5
    /// [L9]: crate::book::invariants#l9
    #[doc(alias = "poll")]
    #[doc(alias = "run_once")]
    #[doc(alias = "dispatch")]
    #[doc(alias = "tick")]
    pub fn turn(&mut self, limit: Option<Duration>) -> Result<(), Error> {
        self.turn_with(limit, &mut || {})
    }

    /// Runs one turn without sleeping: [`EventLoop::turn`] with a limit of zero.
    ///
    /// # Errors
    ///
    /// As [`EventLoop::turn`].
    ///
    /// # Panics
    ///
    /// As [`EventLoop::turn`].
    #[doc(alias = "poll_now")]
    pub fn turn_now(&mut self) -> Result<(), Error> {
        self.turn(Some(Duration::ZERO))
    }

    /// Runs one turn, and calls `main` where the main future stands in the
    /// queue. With this a caller polls a future of its own, which may borrow from the caller's
    /// stack, in order with the loop's tasks.
    ///
    /// # Errors
    ///
    /// As [`EventLoop::turn`].
    ///
    /// # Panics
    ///
    /// As [`EventLoop::turn`].
    pub(crate) fn turn_with(
        &mut self,
        limit: Option<Duration>,
        main: &mut dyn FnMut(),
    ) -> Result<(), Error> {
        let turned = self.turn_once(limit, main);
        self.handle.settle();
        self.raise();
        turned
    }

    fn turn_once(&mut self, limit: Option<Duration>, main: &mut dyn FnMut()) -> Result<(), Error> {
        let handle = &self.handle;
        handle.ensure_usable()?;
        let may_sleep = limit != Some(Duration::ZERO);
        let _turning = Turning::begin(handle, may_sleep)?;
        handle.turn(limit, 0, &mut self.events, main)
    }

    /// Resumes the first panic of a turn, now that the turn is complete.
    fn raise(&self) {
        if let Some((payload, _)) = self.handle.reports.take_panic() {
            std::panic::resume_unwind(payload);
        }
    }

    /// Turns until [`LoopHandle::stop`] is called, or until the loop has no work left and can get
    /// none.
    ///
    /// # Errors
    ///
    /// As [`EventLoop::turn`].
    ///
    /// # Panics
    ///
    /// As [`EventLoop::turn`].
    #[doc(alias = "run_forever")]
    pub fn run(&mut self) -> Result<ExitReason, Error> {
        let mut turned = false;
        let mut reason = ExitReason::Stopped;
        self.turn_until(&mut || {}, |event_loop| {
            // As in asyncio: after a stop that was requested before the run, one turn still runs.
            if event_loop.handle.stopping.get() {
                return std::mem::replace(&mut turned, true) && event_loop.handle.stopping.take();
            }
            turned = true;
            let idle = event_loop.is_idle();
            if idle {
                reason = ExitReason::Idle;
            }
            idle
        })?;
        Ok(reason)
    }

    /// Turns until `ended`, which is called before each turn, returns `true`, or until a turn fails.
    pub(crate) fn turn_until(
        &mut self,
        main: &mut dyn FnMut(),
        ended: impl FnMut(&Self) -> bool,
    ) -> Result<(), Error> {
        let turned = self.turns(main, ended);
        self.handle.settle();
        // One stop ends one run: this one, whatever has ended it.
        self.handle.stopping.set(false);
        self.raise();
        turned
    }

    fn turns(
        &mut self,
        main: &mut dyn FnMut(),
        mut ended: impl FnMut(&Self) -> bool,
    ) -> Result<(), Error> {
        let handle = self.handle();
        let mut turning = None;
        while !handle.reports.has_panic() && !ended(self) {
            handle.ensure_usable()?;
            if turning.is_none() {
                turning = Some(Turning::begin(&handle, true)?);
            }
            // The last turn of a run must not sleep.
            let limit = handle.stopping.get().then_some(Duration::ZERO);
            handle.turn(limit, EVENT_INTERVAL, &mut self.events, main)?;
        }
        Ok(())
    }

    /// Whether `stop` was called since the last call of this method.
    pub(crate) fn take_stop(&self) -> bool {
        self.handle.stopping.take()
    }

    /// Whether the loop has no work left and can get none, unless the caller adds some.
    #[doc(alias = "uv_loop_alive")]
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let handle = &*self.handle;
        self.has_no_work() && handle.replayed_or(handle.is_cut_off())
    }

    /// M2: closes the inbox, if the loop has no work left, and none in the inbox. So what a `RemoteHandle`
    /// sends is either run or refused.
    pub(crate) fn close_inbox_if_drained(&self) -> bool {
        self.has_no_work() && self.handle.inbox.close_if_empty()
    }

    /// Whether nothing is registered, armed or queued, and all tasks have ended.
    fn has_no_work(&self) -> bool {
        let handle = &*self.handle;
        let has_task = || (handle.scheduler.get()).is_some_and(|it| it.task_count() != 0);
        handle.is_quiet() && !has_task()
    }

    /// Returns the time at which the loop must be turned at the latest; `None` if only an event or
    /// another thread can give it work. A time that has passed means now.
    ///
    /// For hosts with a loop of their own: wait until [`EventLoop::as_fd`] is readable, or until
    /// this deadline; call [`EventLoop::turn_now`]; then get the deadline again. With
    /// [`EventLoop::as_fd_with_deadline`] the host needs no deadline.
    #[doc(alias = "backend_timeout")]
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let until = self.handle.until_work()?;
        self.handle.fresh_now().checked_add(until)
    }

    /// Returns a descriptor that is readable when this loop has work, for a host with a loop of its
    /// own. The host may watch the descriptor with `poll(2)`, level-triggered or edge-triggered.
    /// When it is readable, the host calls [`EventLoop::turn_now`] once.
    ///
    /// Work may come from a descriptor, from another thread, or from the host itself between two
    /// turns (`call_soon`, `spawn`, an earlier timer, a promise that it settles). If a turn leaves
    /// work, the descriptor becomes readable again. It stays the same for the life of the loop. It
    /// does not become readable at a later deadline: see [`EventLoop::next_deadline`], or
    /// [`EventLoop::as_fd_with_deadline`].
    ///
    /// On Linux the descriptor is an epoll instance that contains the loop's own. The kernel allows
    /// five levels of nesting, so a loop in a loop in a host's epoll is the deepest that works.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: `Unsupported` if the poller has no descriptor (`poll(2)`), or the system's
    /// error if it cannot make one; [`Error::Closed`], [`Error::Forked`]. The descriptor is made at
    /// the first call.
    ///
    /// # Examples
    ///
    /// A loop that is turned by another one:
    ///
    /// ```
    /// use readily::{Closures, EventLoop, Interest};
    /// use std::cell::RefCell;
    /// use std::rc::Rc;
    ///
    /// let mut host = EventLoop::new()?;
    /// let guest = Rc::new(RefCell::new(EventLoop::new()?));
    /// let fd = guest.borrow().as_fd()?.try_clone_to_owned()?;
    /// let turned = Rc::clone(&guest);
    /// let turn = Closures::new().on_read(move |cx| {
    ///     turned.borrow_mut().turn_now().expect("it does not sleep");
    ///     cx.stop();
    /// });
    /// host.register(fd, Interest::READ, turn)?;
    /// guest.borrow().call_soon(|_| println!("in the guest"));
    /// host.run()?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[doc(alias = "backend_fd")]
    pub fn as_fd(&self) -> Result<BorrowedFd<'_>, Error> {
        Ok(self.handle.host_fd()?.as_fd())
    }

    /// Returns the descriptor of [`EventLoop::as_fd`], which from now on also becomes readable at the
    /// next deadline, so that the host needs no timeout. A turn that changes the deadline costs one
    /// system call.
    ///
    /// On macOS and the BSDs these deadlines are rounded up to milliseconds.
    ///
    /// # Errors
    ///
    /// As [`EventLoop::as_fd`]; [`Error::Io`] with `Unsupported` if the poller cannot do it.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use readily::poll::Poller;
    /// use readily::poll::default_poller::EpollPoller;
    /// use readily::{EventLoop, Interest, Trigger};
    /// use std::os::fd::AsRawFd;
    /// use std::time::Duration;
    ///
    /// let mut guest = EventLoop::with(Box::new(EpollPoller::new()?), Box::new(readily::clock::Monotonic::new()))?;
    /// let mut host = EpollPoller::new()?;
    /// let fd = guest.as_fd_with_deadline()?.as_raw_fd();
    /// host.register(fd, 7, Interest::READ, Trigger::Edge)?;
    /// guest.call_later(Duration::from_millis(2), |handle| handle.stop());
    /// let mut events = Vec::new();
    /// while !guest.is_idle() {
    ///     events.clear(); // `wait` appends
    ///     host.wait(&mut events, None)?;
    ///     guest.turn_now()?;
    /// }
    /// # }
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn as_fd_with_deadline(&self) -> Result<BorrowedFd<'_>, Error> {
        Ok(self.handle.host_fd_with_deadline()?.as_fd())
    }

    /// Makes this the loop of `spawn`, `sleep` and the like on this thread, outside a turn,
    /// until the guard is dropped.
    ///
    /// In a callback or a task of another loop the guard has an effect until the callback returns, or
    /// the task awaits. A guard that still exists then is reported as [`Unhandled::EnterHeld`](crate::Unhandled::EnterHeld), and
    /// has no effect from then on.
    #[doc(alias = "set_event_loop")]
    pub fn enter(&self) -> EnterGuard<'_> {
        EnterGuard {
            _here: CurrentGuard::enter(&self.handle),
            _event_loop: self,
        }
    }

    /// Closes the loop, and returns a count of what was left.
    ///
    /// In this order: work from other threads is refused; all tasks are cancelled, and so dropped
    /// here, on the loop's thread; registrations are removed, which drops their callbacks and
    /// closes their descriptors; timers and closures are dropped. Work that destructors add
    /// meanwhile is refused, or dropped at once.
    ///
    /// # Panics
    ///
    /// If a destructor panics and the policy is
    /// [`PanicPolicy::Propagate`](crate::PanicPolicy::Propagate): the loop is closed completely,
    /// then the first panic is resumed.
    pub fn close(self) -> CloseReport {
        let report = self.handle.close_all();
        self.handle.drop_hook();
        let panic = self.handle.reports.take_panic();
        drop(self);
        match panic {
            Some((payload, _)) => std::panic::resume_unwind(payload),
            None => report,
        }
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        self.handle.close_all();
        // A panic in a destructor may abort the process, so a pending panic is reported, while
        // there is a hook.
        self.handle.report_pending_panic();
        self.handle.drop_hook();
        // The hook may have owned a task, for instance, whose destructor has panicked.
        self.handle.report_pending_panic();
    }
}

impl Deref for EventLoop {
    type Target = LoopHandle;

    fn deref(&self) -> &LoopHandle {
        &self.handle
    }
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}

/// Keeps a loop the current one of this thread until it is dropped. See [`EventLoop::enter`].
#[must_use]
pub struct EnterGuard<'a> {
    _here: CurrentGuard,
    _event_loop: &'a EventLoop,
}
