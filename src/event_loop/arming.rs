//! Arms the timers of a loop.
//!
//! A timer runs a closure or wakes a waker; a waker costs no allocation, and is all that `sleep`
//! needs. The words of a closure go from the caller's stack to their slot, and nowhere else between.
//!
//! In the notes: the *timers* of N1.

use super::call_handles::{TimerHandle, WakeTimer};
use super::loop_handle::{Action, LoopHandle};
use super::loop_time::LoopTime;
use crate::base::timer_heap::TimerKey;
use std::task::Waker;
use std::time::{Duration, Instant};

impl LoopHandle {
    #[inline(always)]
    pub(super) fn arm(&self, deadline_ns: u64, action: Action) -> TimerKey {
        let mut timers = self.times.timers.borrow_mut();
        let key = timers.arm(deadline_ns, action);
        drop(timers);
        self.timer_armed(deadline_ns);
        key
    }

    /// C5: the next wait, and that of a host, may have to end earlier.
    #[inline]
    pub(super) fn timer_armed(&self, deadline_ns: u64) {
        self.ready.rows.demand_attention();
        self.notify_host_of(deadline_ns);
    }

    /// Not generic, and all of it in one function: the words of the closure are copied once, from
    /// the caller's stack to their slot.
    #[inline(never)]
    pub(super) fn arm_call_later(&self, delay: Duration, call: Action) -> TimerHandle {
        self.arm_call(|times| times.deadline_ns(delay), call)
    }

    #[inline(never)]
    pub(super) fn arm_call_at(&self, when: Instant, call: Action) -> TimerHandle {
        self.arm_call(|times| times.at_ns(when), call)
    }

    /// As [`arm`](Self::arm), written out: its call would copy the words of the closure once more. What is
    /// rare is one call, behind which nothing has to be kept.
    #[inline(always)]
    fn arm_call(
        &self,
        deadline_ns: impl FnOnce(&LoopTime<Action>) -> u64,
        call: Action,
    ) -> TimerHandle {
        let deadline_ns = deadline_ns(&self.times);
        let mut timers = self.times.timers.borrow_mut();
        let is_plain = !self.ready.rows.has_detour();
        let Some(vacancy) = timers.vacancy().filter(|_| is_plain) else {
            drop(timers);
            return self.arm_call_by_detour(deadline_ns, call);
        };
        let key = vacancy.arm(deadline_ns, call);
        drop(timers);
        self.ready.rows.demand_attention();
        TimerHandle::new(self, key, deadline_ns)
    }

    /// Arms a timer if memory is needed for it, or a host waits. On a closed loop its closure is dropped,
    /// and has no key.
    #[cold]
    #[inline(never)]
    fn arm_call_by_detour(&self, deadline_ns: u64, call: Action) -> TimerHandle {
        let key = match self.closed.get() {
            true => {
                self.drop_guarded(call);
                TimerKey::NONE
            }
            false => self.arm(deadline_ns, call),
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

    #[inline(always)]
    fn arm_waker(&self, deadline_ns: u64, waker: Waker) -> WakeTimer {
        // On a closed loop no timer fires any more.
        let key = match self.closed.get() {
            true => TimerKey::NONE,
            false => self.arm(deadline_ns, Action::wake(waker)),
        };
        WakeTimer::new(self, key)
    }
}
