//! What arming a timer, or queueing a closure, gives back: the way to take it back.
//!
//! Cancelling drops the closure there and then, with all it holds (R071), and says `true`
//! exactly if it will not run for this reason (R076). A handle whose loop is gone finds
//! nothing.
//!
//! In asyncio: `WeakHandle` and `TimerHandle`.

use super::current;
use super::expiry::Action;
use super::local::LoopHandle;
use super::ready::CallKey;
use crate::base::clock::NEVER;
use crate::base::timer_heap::TimerKey;
use std::cell::Cell;
use std::fmt;
use std::rc::Weak;
use std::task::Waker;
use std::time::Instant;

/// A closure queued by [`LoopHandle::call_soon`]. Dropping the handle does not cancel it.
#[derive(Debug)]
pub struct CallHandle {
    handle: Weak<LoopHandle>,
    key: Option<CallKey>,
    cancelled: Cell<bool>,
}

impl CallHandle {
    pub(super) fn new(handle: &LoopHandle, key: Option<CallKey>) -> Self {
        Self {
            handle: handle.weak_self.clone(),
            key,
            cancelled: Cell::new(false),
        }
    }

    /// Takes the closure back: it is dropped now. `true` exactly if it will not run for
    /// this reason.
    pub fn cancel(&self) -> bool {
        let (Some(handle), Some(key)) = (self.handle.upgrade(), self.key) else {
            return false;
        };
        let Some(call) = handle.ready.take_call(key) else {
            return false;
        };
        self.cancelled.set(true);
        handle.drop_guarded(call);
        true
    }

    /// Whether this handle has cancelled it.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.cancelled.get()
    }
}

/// A timer armed by [`LoopHandle::call_later`] or [`LoopHandle::call_at`]. Dropping the handle does
/// not disarm it.
pub struct TimerHandle {
    handle: Weak<LoopHandle>,
    key: Option<TimerKey>,
    deadline_ns: u64,
    cancelled: Cell<bool>,
}

impl TimerHandle {
    pub(super) fn new(handle: &LoopHandle, key: Option<TimerKey>, deadline_ns: u64) -> Self {
        Self {
            handle: handle.weak_self.clone(),
            key,
            deadline_ns,
            cancelled: Cell::new(false),
        }
    }

    /// Disarms: the closure is dropped now. `true` exactly if it will not run for this
    /// reason.
    pub fn cancel(&self) -> bool {
        let (Some(handle), Some(key)) = (self.handle.upgrade(), self.key) else {
            return false;
        };
        let cancelled = handle.times.timers.borrow_mut().cancel(key);
        let Some(expiry) = cancelled else {
            return false;
        };
        self.cancelled.set(true);
        discard(&handle, expiry);
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
        let handle = self.handle.upgrade()?;
        (self.deadline_ns != NEVER).then(|| handle.times.instant(self.deadline_ns))
    }
}

impl fmt::Debug for TimerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerHandle")
            .field("when", &self.when())
            .finish_non_exhaustive()
    }
}

/// Drops what will not happen. A closure that holds nothing but numbers runs no code of a user when it
/// goes, and then there is nothing to guard: a third of what it costs to cancel a timer.
#[inline]
fn discard(handle: &LoopHandle, expiry: Action) {
    if expiry.needs_drop() {
        handle.drop_guarded(expiry);
    }
}

/// A timer that wakes a waker. Dropping it disarms it.
#[derive(Debug)]
pub struct WakeTimer {
    handle: Weak<LoopHandle>,
    key: Option<TimerKey>,
}

/// What has become of a [`WakeTimer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeTimerState {
    /// It will wake the waker last shown to [`WakeTimer::poll`].
    Pending,
    /// Its time has come.
    Fired,
    /// The loop is gone: it will never fire.
    LoopClosed,
    /// It belongs to another loop than the one that runs here, and will not fire while that
    /// does.
    OtherLoop,
}

impl WakeTimer {
    pub(super) fn new(handle: &LoopHandle, key: Option<TimerKey>) -> Self {
        Self {
            handle: handle.weak_self.clone(),
            key,
        }
    }

    /// What has become of it; if it is pending, `waker` is the one that will be woken.
    pub fn poll(&self, waker: &Waker) -> WakeTimerState {
        let (Some(handle), Some(key)) = (self.handle.upgrade(), self.key) else {
            return WakeTimerState::LoopClosed;
        };
        if current::is_other(&raw const *handle) {
            return WakeTimerState::OtherLoop;
        }
        let mut timers = handle.times.timers.borrow_mut();
        let Some(kept) = timers.get_mut(key).and_then(Action::waker) else {
            return if handle.closed.get() {
                WakeTimerState::LoopClosed
            } else {
                WakeTimerState::Fired
            };
        };
        if !kept.will_wake(waker) {
            // Cloning a waker may be user code: not under the borrow (L8).
            drop(timers);
            let mut waker = waker.clone();
            let mut timers = handle.times.timers.borrow_mut();
            if let Some(kept) = timers.get_mut(key).and_then(Action::waker) {
                std::mem::swap(kept, &mut waker);
            }
            drop(timers);
        }
        WakeTimerState::Pending
    }
}

impl Drop for WakeTimer {
    fn drop(&mut self) {
        if let (Some(handle), Some(key)) = (self.handle.upgrade(), self.key) {
            let expiry = handle.times.timers.borrow_mut().cancel(key);
            if let Some(expiry) = expiry {
                discard(&handle, expiry);
            }
        }
    }
}
