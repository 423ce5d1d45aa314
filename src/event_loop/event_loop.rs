//! The loop as its owner has it: turn, run, embed, close.
//!
//! [`EventLoop::turn`] is the whole: check, wait, then the steps in their order. Everything else
//! is a method of the handle to which the loop dereferences.
//!
//! In the notes: "for ever: wait for events with a timeout" (N7).

use super::current::{CurrentGuard, Turning};
use super::ready::WholeTurn;
use super::{CloseReport, Error, LoopHandle};
use crate::base::clock::{Clock, Monotonic};
use crate::poll::{self, Poller};
use std::fmt;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// An event loop: it owns its callbacks, timers, jobs and descriptors, on one thread.
///
/// Dereferences to [`LoopHandle`], which is everything but turning it.
pub struct EventLoop {
    handle: Rc<LoopHandle>,
}

/// Why [`EventLoop::run`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitReason {
    /// Somebody called `stop`.
    Stopped,
    /// Nothing was left that could ever happen: no registration, no timer, no closure, no
    /// job, and no [`RemoteHandle`](crate::RemoteHandle) that might send something.
    Idle,
}

impl EventLoop {
    /// A loop on the system's own poller and clock.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system has no descriptor or memory for it; nothing is left over.
    #[doc(alias = "new_event_loop")]
    pub fn new() -> Result<Self, Error> {
        Self::with(poll::default_poller::default()?, Box::new(Monotonic::new()))
    }

    /// A loop on a poller and a clock of the caller's choice.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system has no memory for it.
    pub fn with(poller: Box<dyn Poller>, clock: Box<dyn Clock>) -> Result<Self, Error> {
        Ok(Self {
            handle: LoopHandle::new(poller, clock)?,
        })
    }

    /// The loop as its own thread sees it, to be kept beside a `&mut` of the loop.
    pub(crate) fn handle(&self) -> Rc<LoopHandle> {
        Rc::clone(&self.handle)
    }

    /// One turn: sleep until something can be done, then do it.
    ///
    /// `limit` bounds the sleep, not the work; `None` sleeps as long as there is nothing
    /// to do. The order is: events in the order of the poller, timers in order of their
    /// deadlines, then closures and jobs in the order in which they became ready. A task that
    /// an event or a timer woke runs in the same turn; what is *added* (a closure, a task, a
    /// timer) runs in a later one ([L5]), and so does what a closure or a task wakes.
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
    /// Goes on, after the turn, with the first panic of a callback or a detached task, where
    /// the policy is [`PanicPolicy::Propagate`](crate::PanicPolicy::Propagate). The loop can be used again.
    ///
    /// [L5]: crate::book::invariants#l5
    #[doc(alias = "poll")]
    #[doc(alias = "run_once")]
    #[doc(alias = "dispatch")]
    #[doc(alias = "tick")]
    pub fn turn(&mut self, limit: Option<Duration>) -> Result<(), Error> {
        self.turn_with(limit, &mut || {})
    }

    /// One turn that does not sleep. The same as `turn` with a limit of zero.
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

    /// One turn in which `main` runs where the job [`MAIN_TASK`](super::MAIN_TASK) stands in the queue: how a
    /// caller drives a future of its own, borrowed from its own stack, in line with the
    /// loop's jobs.
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

    fn turn_once(&self, limit: Option<Duration>, main: &mut dyn FnMut()) -> Result<(), Error> {
        self.handle.ensure_usable()?;
        let may_sleep = limit != Some(Duration::ZERO);
        let _turning = Turning::begin(&self.handle, may_sleep)?;
        self.handle.in_run.set(false);
        self.steps(false, limit, main)
    }

    #[inline]
    fn steps(
        &self,
        busy: bool,
        limit: Option<Duration>,
        main: &mut dyn FnMut(),
    ) -> Result<(), Error> {
        let handle = &*self.handle;
        let whole = WholeTurn(handle);
        let events = match busy {
            false => handle.wait(limit)?, // N7: events = wait(timeout)
            true => handle.begin_round(), // L9: a look costs more than such a turn does
        };
        handle.read_inbox(); // what other threads sent
        handle.dispatch_events(events); // N7: for each (fd, event): …
        handle.fire_timers(); // N1: timers
        handle.run_ready(main); // N1: callbacks
        std::mem::forget(whole);
        handle.end_turn();
        Ok(())
    }

    /// Lets the first panic of a turn out, now that the turn is whole.
    fn raise(&self) {
        if let Some((payload, _)) = self.handle.reports.take_panic() {
            std::panic::resume_unwind(payload);
        }
    }

    /// Turns until somebody calls `stop`, or until nothing is left that could happen.
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
        self.turn_until(&mut || {}, &mut |event_loop| {
            // As in asyncio: a stop that came before the run still leaves it one turn.
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

    /// Turns until `ended` says so, which is asked before each turn, or a turn goes wrong.
    pub(crate) fn turn_until(
        &mut self,
        main: &mut dyn FnMut(),
        ended: &mut dyn FnMut(&Self) -> bool,
    ) -> Result<(), Error> {
        let turned = self.turns(main, ended);
        self.handle.settle();
        // A stop is answered once: by the end of this run, whichever way it came.
        self.handle.stopping.set(false);
        self.raise();
        turned
    }

    fn turns(
        &self,
        main: &mut dyn FnMut(),
        ended: &mut dyn FnMut(&Self) -> bool,
    ) -> Result<(), Error> {
        let handle = &*self.handle;
        handle.poll_next();
        let mut turning = None;
        while !handle.reports.has_panic() && !ended(self) {
            handle.ensure_usable()?;
            if turning.is_none() {
                // Once for all turns.
                turning = Some(Turning::begin(&self.handle, true)?);
                handle.in_run.set(true);
            }
            // There is nothing to sleep for where the run is about to end.
            let limit = handle.stopping.get().then_some(Duration::ZERO);
            self.steps(handle.is_busy(), limit, main)?;
        }
        Ok(())
    }

    /// Whether somebody has called `stop` since this was last asked.
    pub(crate) fn take_stop(&self) -> bool {
        self.handle.stopping.take()
    }

    /// Whether nothing can ever happen here any more, unless somebody adds something.
    #[doc(alias = "uv_loop_alive")]
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let handle = &*self.handle;
        if !handle.is_quiet() {
            return false;
        }
        let scheduler = handle
            .scheduler
            .get()
            .map_or(0, |scheduler| scheduler.task_count());
        scheduler == 0 && handle.replayed_or(handle.is_cut_off())
    }

    /// When the loop must be turned at the latest; `None` if only an event, or another
    /// thread, can give it something to do. A time that has passed means now.
    ///
    /// For hosts with a loop of their own: wait for [`EventLoop::as_fd`] to be readable, or until
    /// this deadline; then call [`EventLoop::turn_now`]; then ask for the deadline again. With
    /// [`EventLoop::as_fd_with_deadline`] there is no need to ask.
    #[doc(alias = "backend_timeout")]
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let until = self.handle.until_work()?;
        self.handle.fresh_now().checked_add(until)
    }

    /// Returns a descriptor for a host with a loop of its own. It is readable when this loop has
    /// something to do. The host may watch it with `poll(2)`, level-triggered or edge-triggered; then
    /// it calls [`EventLoop::turn_now`], once.
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
    /// next deadline, so that the host need not ask for it. A turn that changes the deadline costs
    /// one system call.
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
    /// while guest.next_deadline().is_some() {
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

    /// Closes the loop, and says what was still there.
    ///
    /// In this order: no more work is taken from other threads; all jobs are cancelled, which
    /// drops them here, on the loop's thread; registrations are removed, each deregistered,
    /// its callbacks dropped, its descriptor closed; then timers and closures are dropped.
    /// What destructors add meanwhile is refused, or dropped at once.
    ///
    /// # Panics
    ///
    /// Goes on, at the end, with the first panic of a destructor, where the policy is
    /// [`PanicPolicy::Propagate`](crate::PanicPolicy::Propagate).
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
        // To panic in a destructor may abort: what would have gone out is told, while there is a hook.
        self.handle.report_pending_panic();
        self.handle.drop_hook();
        // And what that has let go, a task for one.
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

/// While this lives, its loop is the current one of this thread. See [`EventLoop::enter`].
#[must_use]
pub struct EnterGuard<'a> {
    _here: CurrentGuard,
    _event_loop: &'a EventLoop,
}
