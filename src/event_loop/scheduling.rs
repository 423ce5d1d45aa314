//! What a loop runs later: closures with `call_soon`, `call_later` and `call_at`, wakers, and the
//! tasks of the scheduler.
//!
//! A timer runs a closure or wakes a waker; `arming.rs` arms it, and the time itself is in `loop_time`. The scheduler, in a layer above, has the tasks; the loop
//! has their places among the closures.
//!
//! In asyncio these methods have the same names; in the notes, the *callbacks* and *timers* of N1.

use super::action::DueAction;
use super::call_handles::{CallHandle, TimerHandle};
use super::loop_handle::{Action, Call, LoopHandle, Scheduler};
use super::loop_time::round_up;
use super::origin::Origin;
use super::panics::{Payload, catch};
use super::ready_queue::{CallKey, NO_CALL};
use super::rows::Rows;
use crate::base::clock::{NEVER, nanos};
use crate::base::rng::Rng;
use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

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
        let is_plain = !self.ready.rows.has_detour() && !self.inbox.has_messages();
        // Made twice, so that the words of the closure are written once, to their place.
        let key = match is_plain {
            true => {
                let by_detour = |call| self.call_soon_by_detour(call);
                self.ready.push_call_or(Call::new(site, f), by_detour)
            }
            false => self.call_soon_by_detour(Call::new(site, f)),
        };
        CallHandle::new(self, key)
    }

    /// Queues a closure if one of the rare things has to be done before or after, or memory is needed.
    #[cold]
    fn call_soon_by_detour(&self, call: Call) -> CallKey {
        if self.closed.get() {
            self.drop_guarded(call);
            return NO_CALL;
        }
        self.receive_earlier();
        self.queue_call(call)
    }

    /// Queues a closure, behind the work that is queued.
    #[inline]
    pub(super) fn queue_call(&self, call: Call) -> CallKey {
        let key = self.ready.push_call(call);
        self.notify_host();
        key
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
        self.arm_call_later(delay, Action::call(Call::new(Location::caller(), f)))
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
        self.arm_call_at(when, Action::call(Call::new(Location::caller(), f)))
    }

    /// Returns the wall-clock time of this loop's [`Clock`](crate::clock::Clock). It may jump, also backwards.
    #[must_use]
    pub fn system_now(&self) -> SystemTime {
        self.times.system_now()
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

    /// Step 5. Fires the timers that are due, in order. One `catch_unwind` for all of them, as for
    /// events.
    #[inline]
    pub(super) fn fire_due_timers(&self) {
        let mut timers = self.times.timers.borrow_mut();
        // L5: in a round that began without timers, those that were armed since are not due.
        if !timers.is_in_round() || timers.is_empty() {
            return timers.end_round();
        }
        drop(timers);
        let now_ns = self.times.turn_ns();
        let (site, begun) = (Cell::new(None), Cell::new(None));
        while let Err(payload) = catch(|| {
            loop {
                // Before the timer is taken: if the clock panicked after that, it would be lost.
                begun.set(None);
                site.set(None);
                begun.set(self.begin_call());
                // Taken one by one, so that a timer can still cancel the next (C3).
                let due = self.times.timers.borrow_mut().pop_due(now_ns);
                let Some(action) = due else { return };
                self.trace_call("timer", 0);
                match action.into_due() {
                    DueAction::Call(call) => {
                        site.set(Some(call.site));
                        let origin = || Origin::Timer { site: call.site };
                        call.run.call(self);
                        self.check_current(origin);
                        self.end_call(begun.get(), origin);
                    }
                    DueAction::Wake(waker) => {
                        waker.wake();
                        self.check_current(|| Origin::Other);
                    }
                }
            }
        }) {
            self.report_timer_panic(site.get(), begun.get(), payload);
            if self.is_debug() && begun.get().is_none() {
                return; // the clock has failed, and might fail for ever
            }
        }
    }

    /// Reports a panic of the closure or waker that ran in step 5.
    #[cold]
    fn report_timer_panic(
        &self,
        site: Option<&'static Location<'static>>,
        begun: Option<u64>,
        payload: Payload,
    ) {
        let origin = || site.map_or(Origin::Other, |site| Origin::Timer { site });
        self.check_current(origin);
        self.end_call(begun, origin);
        self.apply_panic_policy(payload, origin());
    }
}

// The ready tasks, for the scheduler.
impl LoopHandle {
    /// Returns the scheduler of this loop, which the first call makes with `make`.
    #[inline]
    pub(crate) fn scheduler(&self, make: impl FnOnce() -> Box<dyn Scheduler>) -> &dyn Scheduler {
        &**self.scheduler.get_or_init(make)
    }

    /// Returns the order of the ready work, in which the scheduler adds the places of its tasks.
    pub(crate) fn rows(&self) -> &Rc<Rows> {
        &self.ready.rows
    }

    /// Shuffles tasks that are ready at the same time, by a random order from `seed`; `None`, the
    /// default, runs them in the order in which they became ready. For tests: other seeds find
    /// programs that are correct in one order only. Closures of [`LoopHandle::call_soon`] keep
    /// their order.
    #[doc(alias = "rng_seed")]
    pub(crate) fn shuffle_ready(&self, seed: Option<u64>) {
        self.ready.shuffle.set_seed(seed.map(Rng::seeded));
        self.ready.rows.demand_attention();
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
}
