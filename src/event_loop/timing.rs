//! Timers, and the time of a loop.
//!
//! A delay is counted from a *fresh* reading of the clock; otherwise a timer armed after a long
//! callback would fire early (R075). `now` returns the time of the turn, which is read once, at its
//! first use. A timer runs a closure or wakes a waker; a waker costs no allocation, and is all that
//! `sleep` needs.
//!
//! In asyncio these are `call_later` and `call_at`; in the notes, the *timers* of N1.

use super::action::{Action, Call, DueAction};
use super::loop_handle::LoopHandle;
use super::origin::Origin;
use super::timer_handles::{CallHandle, TimerHandle, WakeTimer};
use crate::base::clock::{Clock, LAST, NEVER, nanos};
use crate::base::timer_heap::{TimerKey, Timers};
use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime};

/// The number of the clock's origin. Deadlines up to nine years before it keep their order; an
/// earlier one counts as nine years.
const ORIGIN_NS: u64 = 1 << 58;

pub(super) struct Times {
    clock: Box<dyn Clock>,
    pub(super) timers: RefCell<Timers<Action>>,
    /// The latest reading: if the clock steps back, this is returned instead (R073).
    latest_ns: Cell<u64>,
    /// The time of this turn, once it was read.
    turn_ns: Cell<Option<u64>>,
}

impl Times {
    pub(super) fn new(clock: Box<dyn Clock>) -> Self {
        let timers = RefCell::default();
        Self {
            clock,
            timers,
            latest_ns: Cell::new(0),
            turn_ns: Cell::new(None),
        }
    }

    pub(super) fn fresh_ns(&self) -> u64 {
        let now = self.clock.now_ns().saturating_add(ORIGIN_NS).min(LAST);
        let now = now.max(self.latest_ns.get());
        self.latest_ns.set(now);
        now
    }

    /// The time of this turn, which is read at its first use.
    fn turn_ns(&self) -> u64 {
        let now = self.turn_ns.get().unwrap_or_else(|| self.fresh_ns());
        self.turn_ns.set(Some(now));
        now
    }

    /// Begins a turn, whose time is read at its first use. L5: a timer that is armed from here on,
    /// also by a callback of an event, fires in a later one.
    #[inline]
    pub(super) fn begin_round(&self) {
        self.timers.borrow_mut().begin_round();
        self.begin_round_without_timers();
    }

    /// Begins a round in which no timer is armed: only the time changes.
    #[inline]
    pub(super) fn begin_round_without_timers(&self) {
        self.turn_ns.set(None);
    }

    /// The next deadline; timers that are armed for never do not count.
    #[inline]
    pub(super) fn next_ns(&self) -> Option<u64> {
        let next_ns = self.timers.borrow_mut().next_ns();
        next_ns.filter(|&next_ns| next_ns != NEVER)
    }

    /// C5: how long the loop may sleep, `None` for ever.
    #[inline]
    pub(super) fn until_next(&self) -> Option<Duration> {
        let next_ns = self.next_ns()?;
        Some(Duration::from_nanos(
            next_ns.saturating_sub(self.fresh_ns()),
        ))
    }

    pub(super) fn arm(&self, deadline_ns: u64, action: Action) -> TimerKey {
        self.timers.borrow_mut().arm(deadline_ns, action)
    }

    pub(super) fn deadline_ns(&self, delay: Duration) -> u64 {
        self.fresh_ns().saturating_add(nanos(delay))
    }

    pub(super) fn len(&self) -> usize {
        self.timers.borrow().len()
    }

    pub(super) fn pop_any(&self) -> Option<Action> {
        self.timers.borrow_mut().pop_any()
    }

    pub(super) fn verify(&self) {
        self.timers.borrow().verify();
    }

    pub(super) fn instant(&self, at_ns: u64) -> Instant {
        let origin = self.clock.origin();
        let instant = match at_ns.checked_sub(ORIGIN_NS) {
            Some(since) => origin.checked_add(Duration::from_nanos(since)),
            None => origin.checked_sub(Duration::from_nanos(ORIGIN_NS - at_ns)),
        };
        instant.expect("an instant holds 575 years more, and an earlier one was made by the caller")
    }

    fn at_ns(&self, when: Instant) -> u64 {
        let origin = self.clock.origin();
        match when.checked_duration_since(origin) {
            Some(since) => nanos(since).saturating_add(ORIGIN_NS),
            None => ORIGIN_NS.saturating_sub(nanos(origin.saturating_duration_since(when))),
        }
    }
}

/// The first multiple of `step`, counted from the clock's origin, that is not before `at_ns`: later
/// by less than `step`. A deadline before the origin has passed, and is returned unchanged.
fn round_up(at_ns: u64, step: u64) -> u64 {
    match at_ns.checked_sub(ORIGIN_NS) {
        Some(since) if step != 0 => {
            let rounded = since.div_ceil(step).saturating_mul(step);
            rounded.saturating_add(ORIGIN_NS)
        }
        _ => at_ns,
    }
}

impl LoopHandle {
    /// Returns the time of this turn, which is read once, so that all its callbacks agree. Between
    /// two turns, returns the present time.
    #[doc(alias = "time")]
    #[must_use]
    pub fn now(&self) -> Instant {
        let is_in_turn = self.turn.get().is_some();
        self.times.instant(match is_in_turn {
            true => self.times.turn_ns(),
            false => self.times.fresh_ns(),
        })
    }

    /// Returns the present time, read from the loop's clock.
    #[must_use]
    pub fn fresh_now(&self) -> Instant {
        self.times.instant(self.times.fresh_ns())
    }

    /// Runs `f` soon, after the work that was queued before this call, by this thread or by another
    /// thread with [`RemoteHandle::call_soon`](super::RemoteHandle::call_soon).
    ///
    /// Called in a callback of an event or in a timer, this queues `f` for the same turn; in a closure
    /// or a task, for the next one, so closures that queue each other cannot starve the descriptors
    /// ([L5]). Timers that are due in that turn fire before `f`. On a closed loop `f` is dropped.
    ///
    /// [L5]: crate::book::invariants#l5
    #[track_caller]
    pub fn call_soon(&self, f: impl FnOnce(&LoopHandle) + 'static) -> CallHandle {
        self.call_soon_from(Location::caller(), f)
    }

    /// [`LoopHandle::call_soon`] with the line that reports name.
    #[inline]
    pub(crate) fn call_soon_from(
        &self,
        site: &'static Location<'static>,
        f: impl FnOnce(&LoopHandle) + 'static,
    ) -> CallHandle {
        let call = Call::new(site, f);
        let key = if self.closed.get() {
            self.drop_refused(call);
            None
        } else {
            self.receive_earlier();
            let key = self.ready.push_call(call);
            self.attention.set(true);
            self.notify_host();
            Some(key)
        };
        CallHandle::new(self, key)
    }

    /// Runs `f` after `delay`, counted from now, not from the turn's time.
    ///
    /// A timer never fires early; it fires late if the loop is busy. Timers fire in the order of
    /// their deadlines, and those of one deadline in the order in which they were armed ([C2]).
    /// With a delay of zero, `f` runs in the next turn; with one beyond 575 years, never. On a
    /// closed loop `f` is dropped.
    ///
    /// [C2]: crate::book::invariants#c2
    #[doc(alias("set_timeout", "uv_timer_start"))]
    #[track_caller]
    pub fn call_later(
        &self,
        delay: Duration,
        f: impl FnOnce(&LoopHandle) + 'static,
    ) -> TimerHandle {
        self.arm_call(
            self.times.deadline_ns(delay),
            Call::new(Location::caller(), f),
        )
    }

    /// Runs `f` at `when`; in the next turn if `when` has passed. `when` may be before the loop was
    /// made. Of two deadlines that have passed, the earlier one runs first (up to nine years back).
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::EventLoop;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// # event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
    /// let when = event_loop.now() + Duration::from_millis(2);
    /// event_loop.call_at(when, move |handle| assert!(handle.now() >= when));
    /// event_loop.run()?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[track_caller]
    pub fn call_at(&self, when: Instant, f: impl FnOnce(&LoopHandle) + 'static) -> TimerHandle {
        self.arm_call(self.times.at_ns(when), Call::new(Location::caller(), f))
    }

    /// Returns the wall-clock time of this loop's [`Clock`]. It may jump, also backwards.
    #[must_use]
    pub fn system_now(&self) -> SystemTime {
        self.times.clock.system_now()
    }

    /// The time after `delay`, counted from now; `None` for never.
    pub(crate) fn deadline(&self, delay: Duration) -> Option<Instant> {
        let at_ns = self.times.deadline_ns(delay);
        (at_ns != NEVER).then(|| self.times.instant(at_ns))
    }

    /// Rounds `when` up to a multiple of `slack` on this clock; a slack of zero returns `when`.
    pub(crate) fn round_up(&self, when: Instant, slack: Duration) -> Instant {
        self.times
            .instant(round_up(self.times.at_ns(when), nanos(slack)))
    }

    pub(super) fn arm(&self, deadline_ns: u64, action: Action) -> TimerKey {
        let key = self.times.arm(deadline_ns, action);
        self.attention.set(true);
        self.notify_host_of(deadline_ns);
        key
    }

    fn arm_call(&self, deadline_ns: u64, call: Call) -> TimerHandle {
        let key = if self.closed.get() {
            self.drop_refused(call);
            None
        } else {
            Some(self.arm(deadline_ns, Action::call(call)))
        };
        TimerHandle::new(self, key, deadline_ns)
    }

    /// Wakes `waker` after `delay`; for futures.
    #[must_use]
    pub(crate) fn wake_later(&self, delay: Duration, waker: Waker) -> WakeTimer {
        self.arm_waker(self.times.deadline_ns(delay), waker)
    }

    /// Wakes `waker` at `when`; for futures.
    #[must_use]
    pub(crate) fn wake_at(&self, when: Instant, waker: Waker) -> WakeTimer {
        self.arm_waker(self.times.at_ns(when), waker)
    }

    fn arm_waker(&self, deadline_ns: u64, waker: Waker) -> WakeTimer {
        // On a closed loop no timer fires any more.
        let key = (!self.closed.get()).then(|| self.arm(deadline_ns, Action::wake(waker)));
        WakeTimer::new(self, key)
    }

    /// Step 5. Fires the timers that are due, in order.
    #[inline]
    pub(super) fn fire_due_timers(&self) {
        let mut timers = self.times.timers.borrow_mut();
        // L5: in a round that began without timers, those that were armed since are not due.
        if !timers.is_in_round() || timers.is_empty() {
            return timers.end_round();
        }
        drop(timers);
        self.fire_due();
    }

    fn fire_due(&self) {
        let now_ns = self.times.turn_ns();
        loop {
            // Taken one by one, so that a timer can still cancel the next (C3).
            let due = self.times.timers.borrow_mut().pop_due(now_ns);
            let Some(action) = due else { return };
            self.run_action(action);
        }
    }

    /// Runs the closure, or wakes the waker, of a timer that is due.
    pub(super) fn run_action(&self, action: Action) {
        self.trace_call("timer", 0);
        match action.into_due() {
            DueAction::Call(call) => {
                let site = call.site;
                self.call_out(|| Origin::Timer { site }, || call.run(self));
                self.check_current(|| Origin::Timer { site });
            }
            DueAction::Wake(waker) => {
                self.guard(|| waker.wake());
                self.check_current(|| Origin::Other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C8: never earlier, and later by less than the slack.
    #[test]
    fn rounding_up_is_never_early_and_later_by_less_than_the_slack() {
        for since in 0..100 {
            let at = ORIGIN_NS + since;
            assert_eq!(round_up(at, 0), at);
            for slack in 1..20 {
                let rounded = round_up(at, slack);
                assert!(rounded >= at && rounded - at < slack);
                assert_eq!((rounded - ORIGIN_NS) % slack, 0);
            }
        }
        assert_eq!(round_up(ORIGIN_NS - 1, 7), ORIGIN_NS - 1, "it has passed");
        assert_eq!(round_up(NEVER, 7), NEVER);
        assert_eq!(round_up(NEVER - 1, NEVER), NEVER);
    }
}
