//! Debug mode: reports callbacks and tasks that block the loop, and checks the loop's invariants.
//!
//! On one thread, a callback that computes for a tenth of a second delays every other one, and a
//! profile does not name it. So in debug mode each call is timed, by the loop's own clock, and a
//! slow one is reported. When debug mode is off, each call costs one test of a flag.
//!
//! In asyncio: `loop.set_debug`, `loop.slow_callback_duration`, `PYTHONASYNCIODEBUG`.

use super::futurelock;
use super::loop_handle::LoopHandle;
use super::origin::Origin;
use std::time::Duration;

/// Whether `READILY_DEBUG` is set in the environment, and neither empty nor `0`.
pub(super) fn is_requested() -> bool {
    std::env::var_os("READILY_DEBUG").is_some_and(|value| !value.is_empty() && value != "0")
}

impl LoopHandle {
    /// Turns debug mode on or off. It is on by default if `READILY_DEBUG` is set in the
    /// environment, and neither empty nor `0`.
    ///
    /// In debug mode each call of a callback, closure, timer or task, and of the main future, is
    /// timed. A call that takes too long (see [`LoopHandle::set_slow_callback`]) is reported as
    /// [`Unhandled::Slow`](super::Unhandled::Slow), and a turn that takes too long without such a call as
    /// [`Unhandled::SlowTurn`](super::Unhandled::SlowTurn). A run that nothing can end any more is reported as
    /// [`Unhandled::Deadlock`](super::Unhandled::Deadlock), and a future that keeps a grant which it does not take as
    /// [`Unhandled::Futurelock`](super::Unhandled::Futurelock). After each turn the loop's invariants are checked.
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
    /// event_loop.on_unhandled(|report| {
    ///     assert!(matches!(report, Unhandled::Slow { .. }));
    ///     // "slow, … : the closure queued at src/main.rs:11:12"
    /// });
    /// event_loop.call_soon(|_| println!("so slow"));
    /// event_loop.run()?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[doc(alias = "slow_callback_duration")]
    #[doc(alias = "PYTHONASYNCIODEBUG")]
    pub fn set_debug(&self, on: bool) {
        self.stopwatch.set(on);
        self.observed.set(on || self.kernel.is_some());
        self.ready.rows.demand_attention();
        if on {
            futurelock::watch();
        }
    }

    /// Whether debug mode is on.
    #[doc(alias = "get_debug")]
    #[must_use]
    pub fn is_debug(&self) -> bool {
        self.stopwatch.on.get()
    }

    /// Sets how long a call, or a turn, may take before debug mode reports it. The default is 100 ms.
    pub fn set_slow_callback(&self, limit: Duration) {
        self.stopwatch.slow.set(limit);
    }

    /// Whether no work is ready, and neither a descriptor nor a timer can change that.
    pub(super) fn is_quiet(&self) -> bool {
        // The most frequent reason is tested first. A timer that is armed for never does not count.
        let idle = self.registry.len() == 0 && !self.has_ready_work();
        idle && self.times.next_ns().is_none()
    }

    /// Whether no `RemoteHandle` exists, and no message is queued.
    pub(super) fn is_cut_off(&self) -> bool {
        // The count of handles before the queue: a message is sent while its handle exists.
        !self.inbox.has_remotes() && self.inbox.is_empty()
    }

    /// Whether the tasks of this loop wait for nothing that the loop knows of. `false` during a
    /// recording or replay: the answer would have to be recorded, too.
    pub(crate) fn is_deadlocked(&self) -> bool {
        let is_alone = !self.inbox.is_recording() && self.is_quiet();
        // The cross-loop waits before the queue: a wait is counted until its wake has been sent.
        is_alone && !self.inbox.has_cross_loop_waits() && self.is_cut_off()
    }

    /// Whether calls are timed or traced: one test for both.
    #[inline]
    pub(super) fn is_observed(&self) -> bool {
        self.observed.get()
    }

    /// The time at which a call begins; `None` if debug mode is off.
    #[inline]
    pub(super) fn begin_call(&self) -> Option<u64> {
        self.is_debug().then(|| self.times.fresh_ns())
    }

    /// Ends the timing of a call.
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
        if let Some(report) = self.stopwatch.add_call(took, origin) {
            self.report(&report);
        }
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

    /// In debug mode, checks the total time of the turn's calls, and the loop's invariants.
    #[inline]
    pub(super) fn end_debugged_turn(&self) {
        if self.stopwatch.on.get() {
            self.check_turn();
        }
    }

    #[cold]
    fn check_turn(&self) {
        self.check_invariants();
        self.report_futurelocks();
        if let Some(report) = self.stopwatch.end_turn() {
            self.report(&report);
        }
    }
}
