//! Debug mode: who holds the loop up is named, and the loop's own books are checked.
//!
//! On one thread, whoever computes for a tenth of a second keeps everybody waiting, and a profile
//! does not say whom. So in debug mode each call is timed, by the loop's own clock, and told where
//! all is told that nobody waits for. Off, it is one look at a flag for each call.
//!
//! In asyncio: `loop.set_debug`, `loop.slow_callback_duration`, `PYTHONASYNCIODEBUG`.

use super::futurelock;
use super::local::LoopHandle;
use super::origin::Origin;
use super::unhandled::Unhandled;
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// What takes this long is told, unless another limit is set; asyncio's.
const SLOW: Duration = Duration::from_millis(100);

/// The stop-watch.
pub(super) struct Debug {
    on: Cell<bool>,
    slow: Cell<Duration>,
    /// What was called in this turn and was not slow: how many, how long in all, who took longest.
    calls: Cell<u32>,
    total: Cell<Duration>,
    longest: RefCell<Option<(Duration, Origin)>>,
}

impl Default for Debug {
    fn default() -> Self {
        Self {
            on: Cell::new(false),
            slow: Cell::new(SLOW),
            calls: Cell::new(0),
            total: Cell::new(Duration::ZERO),
            longest: RefCell::new(None),
        }
    }
}

/// Whether the environment asks for it: `READILY_DEBUG` is there, and neither empty nor `0`.
pub(super) fn is_requested() -> bool {
    std::env::var_os("READILY_DEBUG").is_some_and(|value| !value.is_empty() && value != "0")
}

impl LoopHandle {
    /// Turns debug mode on or off. It is on from the start where the environment has
    /// `READILY_DEBUG`, other than empty or `0`.
    ///
    /// In debug mode each call of a callback, closure, timer or task, and of the main future, is
    /// timed. One that takes too long (see [`LoopHandle::set_slow_callback`]) is reported as
    /// [`Unhandled::Slow`], and a turn that takes too long without such a call as
    /// [`Unhandled::SlowTurn`]. A run that nothing can end any more is reported as
    /// [`Unhandled::Deadlock`], and a future that keeps a grant which it does not fetch as
    /// [`Unhandled::Futurelock`]. After each turn the loop's own invariants are checked.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{EventLoop, Unhandled};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.set_debug(true);
    /// event_loop.set_slow_callback(Duration::from_nanos(1));
    /// event_loop.on_unhandled(|told| {
    ///     assert!(matches!(told, Unhandled::Slow { .. }));
    ///     // "slow, … : the closure queued at src/main.rs:11:12"
    /// });
    /// event_loop.call_soon(|_| println!("so slow"));
    /// event_loop.run()?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[doc(alias = "slow_callback_duration")]
    #[doc(alias = "PYTHONASYNCIODEBUG")]
    pub fn set_debug(&self, on: bool) {
        self.debug.on.set(on);
        if on {
            futurelock::watch();
        }
        // What was counted in a turn in which it is turned off is of no later one.
        self.debug.calls.set(0);
        self.debug.total.set(Duration::ZERO);
        self.debug.longest.take();
    }

    /// Whether debug mode is on.
    #[doc(alias = "get_debug")]
    #[must_use]
    pub fn is_debug(&self) -> bool {
        self.debug.on.get()
    }

    /// How long a call, or a turn, may take before debug mode tells of it; 100 ms unless set.
    pub fn set_slow_callback(&self, limit: Duration) {
        self.debug.slow.set(limit);
    }

    /// Nobody is ready, and neither a descriptor nor the clock can change that.
    pub(super) fn is_quiet(&self) -> bool {
        // What is most often there is asked for first. A timer that is for never is nothing that
        // can happen.
        let idle = self.registry.len() == 0 && !self.has_ready_work();
        idle && self.times.next_ns().is_none()
    }

    /// Nobody else can send anything, and nothing is on its way.
    pub(super) fn is_cut_off(&self) -> bool {
        // The remotes before the list: whoever sends, sends while it is a remote.
        !self.inbox.has_remotes() && self.inbox.is_empty()
    }

    /// Whether those who wait here wait for nothing that this loop knows of. Where a tape runs
    /// nobody is asked: the answer would have to be on it.
    pub(crate) fn is_deadlocked(&self) -> bool {
        let is_alone = !self.inbox.is_recording() && self.is_quiet();
        // Those afar before the list: whoever wakes is one of them until he has.
        is_alone && !self.inbox.has_cross_loop_waits() && self.is_cut_off()
    }

    /// The time at which a call begins; `None` if nobody wants to know.
    #[inline]
    pub(super) fn begin_call(&self) -> Option<u64> {
        self.is_debug().then(|| self.times.fresh_ns())
    }

    /// A call that began then has ended.
    #[inline]
    pub(super) fn end_call(&self, begun: Option<u64>, origin: impl FnOnce() -> Origin) {
        if let Some(begun) = begun {
            self.end_timed_call(begun, origin);
        }
    }

    #[cold]
    fn end_timed_call(&self, begun: u64, origin: impl FnOnce() -> Origin) {
        self.note_timed_call(begun, origin());
    }

    #[cold]
    fn note_timed_call(&self, begun: u64, origin: Origin) {
        let took = Duration::from_nanos(self.times.fresh_ns().saturating_sub(begun));
        let debug = &self.debug;
        if took >= debug.slow.get() {
            return self.report(&Unhandled::Slow { origin, took });
        }
        // The rest may be slow together.
        debug.calls.set(debug.calls.get() + 1);
        debug.total.set(debug.total.get() + took);
        let mut longest = debug.longest.borrow_mut();
        if longest.as_ref().is_none_or(|(longest, _)| took > *longest) {
            *longest = Some((took, origin));
        }
    }

    /// The turn has ended: what its calls took together, and whether the books are right.
    #[inline]
    pub(super) fn end_debugged_turn(&self) {
        if self.debug.on.get() {
            self.check_turn();
        }
    }

    #[cold]
    fn check_turn(&self) {
        let debug = &self.debug;
        self.check_invariants();
        self.report_futurelocks();
        let (calls, total) = (debug.calls.take(), debug.total.take());
        let longest = debug.longest.take();
        if let Some((_, origin)) = longest.filter(|_| total >= debug.slow.get() && calls > 1) {
            self.report(&Unhandled::SlowTurn {
                took: total,
                calls,
                longest: origin,
            });
        }
    }
}
