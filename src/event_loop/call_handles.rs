//! The handles of timers and queued closures, to cancel them.
//!
//! `cancel` drops the closure at once, with all that it owns (R071), and returns `true` exactly if
//! this call keeps the closure from running (R076). If the loop is gone, it returns `false`.
//!
//! In asyncio: `Handle` and `TimerHandle`.

use super::current;
use super::loop_handle::{Action, LoopHandle};
use super::loops;
use super::ready_queue::CallKey;
use crate::base::clock::NEVER;
use crate::base::timer_heap::TimerKey;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::rc::Weak;
use std::task::Waker;
use std::time::Instant;

/// A handle to a closure that [`LoopHandle::call_soon`] queued. Dropping the handle does not cancel
/// it.
#[derive(Debug)]
pub struct CallHandle {
    /// The id and not a `Weak`, which would have to be counted: few of these handles are ever used.
    loop_id: u64,
    /// [`NO_CALL`](super::ready_queue::NO_CALL) on a loop that was closed.
    key: CallKey,
    cancelled: Cell<bool>,
    /// For the thread of the loop, as the loop is.
    here: PhantomData<Weak<LoopHandle>>,
}

impl CallHandle {
    #[inline]
    pub(super) fn new(handle: &LoopHandle, key: CallKey) -> Self {
        Self {
            loop_id: handle.loop_id,
            key,
            cancelled: Cell::new(false),
            here: PhantomData,
        }
    }

    /// Cancels the closure, and drops it at once. Returns `true` exactly if this call keeps it from
    /// running.
    pub fn cancel(&self) -> bool {
        let Some(handle) = loops::find(self.loop_id) else {
            return false;
        };
        let Some(call) = handle.ready.calls.take(self.key) else {
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

/// A handle to a timer of [`LoopHandle::call_later`] or [`LoopHandle::call_at`]. Dropping the
/// handle does not cancel it.
pub struct TimerHandle {
    handle: Weak<LoopHandle>,
    /// [`TimerKey::NONE`] on a loop that was closed.
    key: TimerKey,
    deadline_ns: u64,
    cancelled: Cell<bool>,
}

impl TimerHandle {
    #[inline]
    pub(super) fn new(handle: &LoopHandle, key: TimerKey, deadline_ns: u64) -> Self {
        Self {
            handle: handle.weak_self.clone(),
            key,
            deadline_ns,
            cancelled: Cell::new(false),
        }
    }

    /// Cancels the timer, and drops its closure at once. Returns `true` exactly if this call keeps
    /// it from running.
    pub fn cancel(&self) -> bool {
        let Some(handle) = self.handle.upgrade() else {
            return false;
        };
        // Not dropped at the end as well: it is dropped below, or has nothing to drop.
        let mut cancelled = ManuallyDrop::new(None);
        let mut timers = handle.times.timers.borrow_mut();
        timers.cancel_into(self.key, &mut cancelled);
        drop(timers);
        let Some(action) = &*cancelled else {
            return false;
        };
        self.cancelled.set(true);
        // After the borrow: it may be user code (L8).
        if action.needs_drop() {
            handle.drop_guarded_in_place(&mut cancelled);
        }
        true
    }

    /// Whether this handle has cancelled it.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.cancelled.get()
    }

    /// Returns the time at which the timer fires; `None` for never, and if the loop is gone.
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

/// A timer that wakes a waker. Dropping it cancels it.
#[derive(Debug)]
pub struct WakeTimer {
    handle: Weak<LoopHandle>,
    key: TimerKey,
}

/// The state of a [`WakeTimer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeTimerState {
    /// The timer is armed, and will wake the waker of the last [`WakeTimer::poll`].
    Pending,
    /// The timer has fired.
    Fired,
    /// The loop is gone: the timer will never fire.
    LoopClosed,
    /// The timer belongs to another loop than the current one of this thread, and cannot fire while
    /// that runs.
    OtherLoop,
}

impl WakeTimer {
    #[inline]
    pub(super) fn new(handle: &LoopHandle, key: TimerKey) -> Self {
        Self {
            handle: handle.weak_self.clone(),
            key,
        }
    }

    /// Returns the state of the timer; if it is pending, stores `waker`, which it will wake.
    pub fn poll(&self, waker: &Waker) -> WakeTimerState {
        let Some(handle) = self.handle.upgrade() else {
            return WakeTimerState::LoopClosed;
        };
        if current::is_other(&raw const *handle) {
            return WakeTimerState::OtherLoop;
        }
        let mut timers = handle.times.timers.borrow_mut();
        let Some(kept) = timers.get_mut(self.key).and_then(Action::waker) else {
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
            if let Some(kept) = timers.get_mut(self.key).and_then(Action::waker) {
                std::mem::swap(kept, &mut waker);
            }
            drop(timers);
        }
        WakeTimerState::Pending
    }
}

impl Drop for WakeTimer {
    fn drop(&mut self) {
        let Some(handle) = self.handle.upgrade() else {
            return;
        };
        let mut timers = handle.times.timers.borrow_mut();
        let waker = timers.cancel_with(self.key, Action::into_waker);
        // Dropped after the borrow: it may be user code (L8).
        drop(timers);
        let Some(waker) = waker else { return };
        // The waker of a task, as nearly all are, is dropped without a guard.
        let scheduler = handle.scheduler.get();
        if scheduler.is_some_and(|scheduler| scheduler.is_task_waker(&waker)) {
            drop(waker);
        } else {
            drop_foreign_waker(&handle, waker);
        }
    }
}

#[inline(never)]
fn drop_foreign_waker(handle: &LoopHandle, waker: Waker) {
    handle.drop_guarded(waker);
}
