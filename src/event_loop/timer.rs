//! Timers that are started and stopped again and again.
//!
//! The callback is given once, and the loop keeps it in the entry of the timer. To start or stop the timer
//! changes its deadline only: no closure is moved or dropped, and no memory is allocated.
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

/// A timer with a callback, of [`LoopHandle::timer`]. It can be started, moved and stopped as often as
/// needed, without an allocation. Dropping it stops it, and drops the callback.
///
/// On a loop that was closed it is never armed.
///
/// # Examples
///
/// A connection that is idle for too long: each message moves the deadline.
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

/// Where a timer is.
#[derive(Debug)]
struct TimerState {
    /// It changes when the timer fires. [`TimerKey::NONE`] on a loop that was closed.
    key: Cell<TimerKey>,
    /// Of the last start.
    deadline_ns: Cell<u64>,
}

/// The callback of a timer, with the timer that it gets. When that is dropped, its entry was removed already.
struct TimerCallback<F> {
    timer: Timer,
    run: RefCell<F>,
}

impl<F: FnMut(&LoopHandle, &Timer) + 'static> TimerCallback<F> {
    /// The closure of the entry. When the timer fires, that is taken out as any other; it puts one like
    /// itself back, so the loop needs no third kind of timer.
    fn action(self: Rc<Self>, site: &'static Location<'static>) -> Action {
        Action::call(Call::new(site, move |handle: &LoopHandle| {
            let again = Rc::clone(&self).action(site);
            let key = handle.times.timers.borrow_mut().keep(again);
            self.timer.state.key.set(key);
            // Caught here too: the callback must not be dropped during a panic, because its destructor
            // might panic as well.
            let called = catch(|| {
                // L3: a timer fires in one place of a turn, and a loop does not turn within itself.
                if let Ok(mut run) = self.run.try_borrow_mut() {
                    run(handle, &self.timer);
                }
            });
            match Rc::strong_count(&self) {
                // Its timer was dropped meanwhile, for instance by itself.
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
    /// Makes a timer that runs `f` whenever its deadline has come, and is not armed at first. `f` gets the
    /// timer, which it may start again.
    ///
    /// For a deadline that is moved or cancelled often, this takes about half of what
    /// [`call_later`](Self::call_later) does for each. Deadlines and order are the same.
    /// If `f` panics, the panic is reported, and the timer can be started again. On a closed loop `f` is
    /// dropped.
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
    /// Arms the timer for `delay` after now, counted from a fresh reading of the clock. If it is armed,
    /// its deadline moves, and among timers with the same deadline it counts as armed last.
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

    /// Arms the timer for `when`, as [`start_in`](Self::start_in); for the next turn if `when` has passed.
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

    /// Whether the timer is armed. It is not while its callback runs, unless that has started it.
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

    /// Returns the time at which the timer fires; `None` if it is not armed, and for never.
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
    /// Arms a timer that is kept, or moves its deadline.
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
        // After the borrow: it is user code (L8). While it runs, it is dropped when it has returned.
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
