//! Timers and the loop's idea of time.
//!
//! A deadline is counted from a *fresh* reading of the clock, or a timer armed after a long
//! callback would fire early (R075); callbacks that ask for the time see the turn's, which
//! is read once, when first asked for. What expires is either a closure or a waker: the
//! second costs no allocation, and is all that `sleep` needs.
//!
//! In asyncio these are `call_later` and `call_at`; in the notes, the *timers* of N1.

use super::local::Local;
use super::ready::Call;
use crate::base::clock::{Clock, NEVER, nanos};
use crate::base::slab::SlabKey;
use crate::base::timers::{TimerKey, Timers};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Weak;
use std::task::Waker;
use std::time::{Duration, Instant};

/// What happens when time is up, or a descriptor has come free.
pub(super) enum Expiry {
    Call(Call),
    Wake(Waker),
}

pub(super) struct Times {
    clock: Box<dyn Clock>,
    timers: RefCell<Timers<Expiry>>,
    /// The latest reading: a clock that steps back is held here (R073).
    latest_ns: Cell<u64>,
    /// This turn's reading, once somebody has asked for it.
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

    fn fresh_ns(&self) -> u64 {
        let now = self.clock.now_ns().max(self.latest_ns.get());
        self.latest_ns.set(now);
        now
    }

    fn turn_ns(&self) -> u64 {
        let now = self.turn_ns.get().unwrap_or_else(|| self.fresh_ns());
        self.turn_ns.set(Some(now));
        now
    }

    /// A new turn: its time is read when it is first asked for.
    pub(super) fn begin_turn(&self) {
        self.turn_ns.set(None);
    }

    /// C5: how long the loop may sleep, `None` for ever.
    pub(super) fn until_next(&self) -> Option<Duration> {
        let next_ns = self
            .timers
            .borrow()
            .next_ns()
            .filter(|&next_ns| next_ns != NEVER)?;
        Some(Duration::from_nanos(
            next_ns.saturating_sub(self.fresh_ns()),
        ))
    }

    fn arm(&self, deadline_ns: u64, expiry: Expiry) -> TimerKey {
        self.timers.borrow_mut().arm(deadline_ns, expiry)
    }

    fn deadline_ns(&self, delay: Duration) -> u64 {
        self.fresh_ns().saturating_add(nanos(delay))
    }

    /// C3: what a cancelled timer held is dropped here, not when it would have fired.
    fn cancel(&self, key: TimerKey) -> bool {
        let cancelled = self.timers.borrow_mut().cancel(key);
        cancelled.is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.timers.borrow().len()
    }

    pub(super) fn pop_any(&self) -> Option<Expiry> {
        self.timers.borrow_mut().pop_any()
    }

    pub(super) fn verify(&self) {
        self.timers.borrow().verify();
    }

    fn instant(&self, at_ns: u64) -> Instant {
        let since = Duration::from_nanos(at_ns);
        self.clock
            .origin()
            .checked_add(since)
            .expect("an instant holds 584 years more")
    }

    fn at_ns(&self, when: Instant) -> u64 {
        nanos(when.saturating_duration_since(self.clock.origin()))
    }
}

impl Local {
    /// The time of this turn: read once a turn, so that all its callbacks agree.
    #[doc(alias = "time")]
    #[must_use]
    pub fn now(&self) -> Instant {
        self.times.instant(self.times.turn_ns())
    }

    /// The time, read now.
    #[must_use]
    pub fn fresh_now(&self) -> Instant {
        self.times.instant(self.times.fresh_ns())
    }

    /// Runs `f` in the next turn, after what was queued before it.
    ///
    /// Closures queued by closures run a turn later, so they cannot starve the
    /// descriptors (L5). On a closed loop `f` is dropped.
    pub fn call_soon(&self, f: impl FnOnce(&Local) + 'static) -> CallHandle {
        let call: Call = Box::new(f);
        let key = if self.closed.get() {
            self.drop_guarded(call);
            None
        } else {
            Some(self.ready.push_call(call))
        };
        CallHandle {
            local: self.me.clone(),
            key,
            cancelled: Cell::new(false),
        }
    }

    /// Runs `f` after `delay`, counted from now, not from the turn's time.
    ///
    /// Never early; late by what the turn is busy with. Timers fire by deadline, then in
    /// the order of arming (C2). Zero fires in the next turn; a delay that reaches beyond
    /// 584 years never does. On a closed loop `f` is dropped.
    pub fn call_later(&self, delay: Duration, f: impl FnOnce(&Local) + 'static) -> TimerHandle {
        self.arm_call(self.times.deadline_ns(delay), Box::new(f))
    }

    /// Runs `f` at `when`; in the next turn if that has passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::EventLoop;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let when = event_loop.now() + Duration::from_millis(2);
    /// event_loop.call_at(when, move |local| assert!(local.now() >= when));
    /// event_loop.run()?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn call_at(&self, when: Instant, f: impl FnOnce(&Local) + 'static) -> TimerHandle {
        self.arm_call(self.times.at_ns(when), Box::new(f))
    }

    fn arm_call(&self, deadline_ns: u64, call: Call) -> TimerHandle {
        let key = if self.closed.get() {
            self.drop_guarded(call);
            None
        } else {
            Some(self.times.arm(deadline_ns, Expiry::Call(call)))
        };
        TimerHandle {
            local: self.me.clone(),
            key,
            deadline_ns,
            cancelled: Cell::new(false),
        }
    }

    /// Wakes `waker` after `delay`; for futures.
    #[must_use]
    pub fn wake_later(&self, delay: Duration, waker: Waker) -> WakeTimer {
        self.arm_waker(self.times.deadline_ns(delay), waker)
    }

    /// Wakes `waker` at `when`; for futures.
    #[must_use]
    pub fn wake_at(&self, when: Instant, waker: Waker) -> WakeTimer {
        self.arm_waker(self.times.at_ns(when), waker)
    }

    fn arm_waker(&self, deadline_ns: u64, waker: Waker) -> WakeTimer {
        // On a closed loop nothing fires any more, and the key finds nothing.
        let key = (!self.closed.get()).then(|| self.times.arm(deadline_ns, Expiry::Wake(waker)));
        WakeTimer {
            local: self.me.clone(),
            key,
        }
    }

    /// Step 3 of a turn: what is due, in order.
    pub(super) fn fire_timers(&self) {
        if self.times.timers.borrow().is_empty() {
            return;
        }
        let now_ns = self.times.turn_ns();
        self.times.timers.borrow_mut().expire(now_ns);
        loop {
            // Taken one by one, so that a timer can still cancel the next (C3).
            let due = self.times.timers.borrow_mut().pop_due();
            let Some((_, expiry)) = due else { return };
            self.expire(expiry);
        }
    }

    /// Runs or wakes.
    pub(super) fn expire(&self, expiry: Expiry) {
        match expiry {
            Expiry::Call(call) => self.guard(|| call(self)),
            Expiry::Wake(waker) => self.guard(|| waker.wake()),
        }
    }
}

/// A closure queued by [`Local::call_soon`]. Dropping the handle does not cancel it.
#[derive(Debug)]
pub struct CallHandle {
    local: Weak<Local>,
    key: Option<SlabKey>,
    cancelled: Cell<bool>,
}

impl CallHandle {
    /// Takes the closure back: it is dropped now. `true` exactly if it will not run for
    /// this reason.
    pub fn cancel(&self) -> bool {
        let (Some(local), Some(key)) = (self.local.upgrade(), self.key) else {
            return false;
        };
        let Some(call) = local.ready.take_call(key) else {
            return false;
        };
        self.cancelled.set(true);
        local.drop_guarded(call);
        true
    }

    /// Whether this handle has cancelled it.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.cancelled.get()
    }
}

/// A timer armed by [`Local::call_later`] or [`Local::call_at`]. Dropping the handle does
/// not disarm it.
pub struct TimerHandle {
    local: Weak<Local>,
    key: Option<TimerKey>,
    deadline_ns: u64,
    cancelled: Cell<bool>,
}

impl TimerHandle {
    /// Disarms: the closure is dropped now. `true` exactly if it will not run for this
    /// reason.
    pub fn cancel(&self) -> bool {
        let (Some(local), Some(key)) = (self.local.upgrade(), self.key) else {
            return false;
        };
        let cancelled = local.times.timers.borrow_mut().cancel(key);
        let Some(expiry) = cancelled else {
            return false;
        };
        self.cancelled.set(true);
        local.drop_guarded(expiry);
        true
    }

    /// Whether this handle has cancelled it.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.cancelled.get()
    }

    /// When it falls due; `None` for never, and for a loop that is gone.
    #[must_use]
    pub fn when(&self) -> Option<Instant> {
        let local = self.local.upgrade()?;
        (self.deadline_ns != NEVER).then(|| local.times.instant(self.deadline_ns))
    }
}

impl fmt::Debug for TimerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerHandle")
            .field("when", &self.when())
            .finish_non_exhaustive()
    }
}

/// A timer that wakes a waker. Dropping it disarms it.
#[derive(Debug)]
pub struct WakeTimer {
    local: Weak<Local>,
    key: Option<TimerKey>,
}

/// What has become of a [`WakeTimer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeState {
    /// It will wake the waker last shown to [`WakeTimer::poll`].
    Pending,
    /// Its time has come.
    Fired,
    /// The loop is gone: it will never fire.
    Gone,
}

impl WakeTimer {
    /// What has become of it; if it is pending, `waker` is the one that will be woken.
    pub fn poll(&self, waker: &Waker) -> WakeState {
        let (Some(local), Some(key)) = (self.local.upgrade(), self.key) else {
            return WakeState::Gone;
        };
        let mut timers = local.times.timers.borrow_mut();
        let Some(Expiry::Wake(kept)) = timers.get_mut(key) else {
            return if local.closed.get() {
                WakeState::Gone
            } else {
                WakeState::Fired
            };
        };
        if !kept.will_wake(waker) {
            // Cloning a waker may be user code: not under the borrow (L8).
            drop(timers);
            let mut waker = waker.clone();
            if let Some(Expiry::Wake(kept)) = local.times.timers.borrow_mut().get_mut(key) {
                std::mem::swap(kept, &mut waker);
            }
        }
        WakeState::Pending
    }
}

impl Drop for WakeTimer {
    fn drop(&mut self) {
        if let (Some(local), Some(key)) = (self.local.upgrade(), self.key) {
            local.times.cancel(key);
        }
    }
}
