//! Timers that are started and stopped again and again.
//!
//! The program passes the callback once, and the loop keeps it in the entry of the timer. Starting or stopping the
//! timer changes only its deadline: no closure is moved or dropped, and no memory is allocated.
//!
//! asyncio has none; libuv has `uv_timer_t`, libev `ev_timer`. In the notes: the *timers* of N1.

use super::loop_handle::{Action, Call, LoopHandle};
use super::panics::catch;
use crate::base::clock::NEVER;
use crate::base::timer_heap::TimerKey;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{Location, resume_unwind};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

/// A timer that can be started, moved and stopped again and again, without an allocation.
///
/// Made with a callback by [`LoopHandle::timer`]. Dropping the timer stops it, and drops the callback. On a closed
/// loop a timer is never armed.
///
/// # Examples
///
/// A limit for the idle time of a connection: each message moves the deadline.
///
/// ```
/// use readily::EventLoop;
/// use std::time::Duration;
///
/// let mut event_loop = EventLoop::new()?;
/// let idle = event_loop.timer(|handle, _| handle.stop());
/// idle.start_in(Duration::from_secs(60));
/// idle.start_in(Duration::from_millis(1)); // the deadline moves
/// assert_eq!(event_loop.armed_timers(), 1);
/// event_loop.run()?;
/// assert!(!idle.is_armed());
/// # Ok::<(), readily::Error>(())
/// ```
#[doc(alias("uv_timer_t", "ev_timer"))]
pub struct Timer {
    handle: Weak<LoopHandle>,
    state: Rc<TimerState>,
}

/// The entry of a timer in the loop, and its deadline.
#[derive(Debug)]
struct TimerState {
    /// Changes when the timer fires. [`TimerKey::NONE`] on a closed loop.
    key: Cell<TimerKey>,
    /// The deadline of the last start.
    deadline_ns: Cell<u64>,
}

/// The callback of a timer, with the `Timer` that is passed to it. When this `Timer` is dropped, its entry was removed
/// already.
struct TimerCallback<F> {
    timer: Timer,
    run: RefCell<F>,
}

impl<F: FnMut(&LoopHandle, &Timer) + 'static> TimerCallback<F> {
    /// The closure of the entry. When the timer fires, the closure is taken out of the entry, as with any timer, and
    /// puts a new one in. So the loop needs no third kind of timer.
    fn action(self: Rc<Self>, site: &'static Location<'static>) -> Action {
        Action::call(Call::new(site, move |handle: &LoopHandle| {
            let again = Rc::clone(&self).action(site);
            let key = handle.times.timers.borrow_mut().keep(again);
            self.timer.state.key.set(key);
            // Caught here too: the callback must not be dropped during a panic, because its destructor
            // might panic as well.
            let called = catch(|| {
                // L3: timers fire in one place of a turn, and a turn does not run inside another turn of its loop.
                if let Ok(mut run) = self.run.try_borrow_mut() {
                    run(handle, &self.timer);
                }
            });
            match Rc::strong_count(&self) {
                // The program's `Timer` was dropped meanwhile, for instance by this callback.
                1 => handle.drop_guarded(self),
                _ => drop(self),
            }
            if let Err(payload) = called {
                resume_unwind(payload);
            }
        }))
    }
}

impl LoopHandle {
    /// Makes a timer that runs `f` whenever its deadline has come. The new timer is not armed: start it with
    /// [`start_in`](Timer::start_in) or [`start_at`](Timer::start_at). `f` gets the timer, and may start it again.
    ///
    /// For a deadline that is moved or cancelled often, such a timer takes about half the time of one
    /// [`call_later`](Self::call_later) for each deadline. Both follow the same rules for deadlines and order.
    ///
    /// If `f` panics, the panic is reported, and the timer can be started again. On a closed loop `f` is dropped.
    ///
    /// # Examples
    ///
    /// Every 2 ms, without drift, three times:
    ///
    /// ```
    /// use readily::EventLoop;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// # event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
    /// let period = Duration::from_millis(2);
    /// let mut next = event_loop.now();
    /// let mut ticks = 0;
    /// let ticker = event_loop.timer(move |handle, timer| {
    ///     ticks += 1;
    ///     assert!(handle.now() >= next);
    ///     next += period;
    ///     if ticks < 3 {
    ///         timer.start_at(next);
    ///     }
    /// });
    /// ticker.start_at(event_loop.now());
    /// event_loop.run()?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[doc(alias("uv_timer_init", "ev_timer_init"))]
    #[track_caller]
    pub fn timer(&self, f: impl FnMut(&LoopHandle, &Timer) + 'static) -> Timer {
        self.keep_timer(Location::caller(), f)
    }

    fn keep_timer(
        &self,
        site: &'static Location<'static>,
        f: impl FnMut(&LoopHandle, &Timer) + 'static,
    ) -> Timer {
        let timer = Timer {
            handle: self.weak_self.clone(),
            state: Rc::new(TimerState {
                key: Cell::new(TimerKey::NONE),
                deadline_ns: Cell::new(NEVER),
            }),
        };
        if self.closed.get() {
            self.drop_guarded(f);
            return timer;
        }
        let callback = TimerCallback {
            timer: Timer {
                handle: self.weak_self.clone(),
                state: Rc::clone(&timer.state),
            },
            run: RefCell::new(f),
        };
        let key = self
            .times
            .timers
            .borrow_mut()
            .keep(Rc::new(callback).action(site));
        timer.state.key.set(key);
        timer
    }
}

impl Timer {
    /// Arms the timer, to fire when `delay` has passed since a fresh reading of the clock. If the timer is armed
    /// already, this moves its deadline. Of several timers with the same deadline, the one that was started last fires
    /// last.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::EventLoop;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let timer = event_loop.timer(|_, _| {});
    /// timer.start_in(Duration::from_millis(1));
    /// assert!(timer.is_armed());
    /// event_loop.run()?;
    /// assert!(!timer.is_armed());
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[doc(alias("uv_timer_start", "ev_timer_start", "reset"))]
    #[inline]
    pub fn start_in(&self, delay: Duration) {
        if let Some(handle) = self.handle.upgrade() {
            handle.start_timer(&self.state, handle.times.deadline_ns(delay));
        }
    }

    /// Arms the timer, to fire at `when`, as [`start_in`](Self::start_in) does. If `when` has passed, the timer fires
    /// in the next turn.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::EventLoop;
    /// use std::time::Duration;
    ///
    /// let event_loop = EventLoop::new()?;
    /// let timer = event_loop.timer(|_, _| {});
    /// let when = event_loop.now() + Duration::from_secs(1);
    /// timer.start_at(when);
    /// assert_eq!(timer.when(), Some(when));
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[inline]
    pub fn start_at(&self, when: Instant) {
        if let Some(handle) = self.handle.upgrade() {
            handle.start_timer(&self.state, handle.times.at_ns(when));
        }
    }

    /// Disarms the timer. Returns `true` exactly if it was armed. The callback stays.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::EventLoop;
    /// use std::time::Duration;
    ///
    /// let event_loop = EventLoop::new()?;
    /// let timer = event_loop.timer(|_, _| {});
    /// timer.start_in(Duration::from_secs(1));
    /// assert!(timer.stop());
    /// assert!(!timer.stop());
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[doc(alias("uv_timer_stop", "ev_timer_stop", "cancel"))]
    #[inline]
    pub fn stop(&self) -> bool {
        let Some(handle) = self.handle.upgrade() else {
            return false;
        };
        handle.times.timers.borrow_mut().stop(self.state.key.get())
    }

    /// Whether the timer is armed. While its callback runs it is not, unless the callback has started it again.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::EventLoop;
    ///
    /// let event_loop = EventLoop::new()?;
    /// assert!(!event_loop.timer(|_, _| {}).is_armed());
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.handle.upgrade().is_some_and(|handle| {
            let mut timers = handle.times.timers.borrow_mut();
            timers.is_armed(self.state.key.get())
        })
    }

    /// Returns the deadline of the timer; `None` if it is not armed, or if its delay is longer than the clock can
    /// count.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::EventLoop;
    /// use std::time::Duration;
    ///
    /// let event_loop = EventLoop::new()?;
    /// let timer = event_loop.timer(|_, _| {});
    /// assert_eq!(timer.when(), None);
    /// timer.start_in(Duration::MAX);
    /// assert_eq!((timer.is_armed(), timer.when()), (true, None));
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[must_use]
    pub fn when(&self) -> Option<Instant> {
        let deadline_ns = self.state.deadline_ns.get();
        let handle = self.handle.upgrade().filter(|_| self.is_armed())?;
        (deadline_ns != NEVER).then(|| handle.times.instant(deadline_ns))
    }
}

impl LoopHandle {
    /// Arms a timer, or moves its deadline.
    #[inline(always)]
    fn start_timer(&self, state: &TimerState, deadline_ns: u64) {
        let mut timers = self.times.timers.borrow_mut();
        let is_there = timers.start(state.key.get(), deadline_ns);
        drop(timers);
        if is_there {
            state.deadline_ns.set(deadline_ns);
            self.timer_armed(deadline_ns);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let Some(handle) = self.handle.upgrade() else {
            return;
        };
        let removed = handle
            .times
            .timers
            .borrow_mut()
            .remove(self.state.key.get());
        // After the borrow: the callback's destructor is user code (L8). A running callback is dropped when it returns.
        if let Some(action) = removed {
            handle.drop_guarded(action);
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer")
            .field("when", &self.when())
            .finish_non_exhaustive()
    }
}
