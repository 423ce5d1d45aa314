//! A weak handle to a loop, for its own thread.
//!
//! The loop owns its callbacks. A callback that owned its loop would keep both alive for ever
//! (R048). So a callback keeps a weak handle, which gives access to the loop while the loop exists.
//!
//! In asyncio, `get_running_loop` returns the loop itself, and a garbage collector frees such cycles.

use super::call_handles::{CallHandle, TimerHandle};
use super::error::LoopClosed;
use super::loop_handle::LoopHandle;
use super::report::Unhandled;
use super::stderr::print;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

/// A weak, clonable handle to a loop, for its own thread.
///
/// A callback that owned its loop would keep both alive for ever; one that holds a weak handle does
/// not. Of a loop that is closed, being closed or gone, `call_soon`, `call_later`, `call_at` and `spawn`
/// return their argument in [`LoopClosed`]. [`with`](Self::with) gives access to a closed loop too, as
/// long as it exists.
///
/// # Examples
///
/// ```
/// use readily::event_loop::LoopClosed;
/// use readily::EventLoop;
/// use std::time::Duration;
///
/// let mut event_loop = EventLoop::new()?;
/// # event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
/// let handle = event_loop.weak_handle();
/// handle.call_later(Duration::from_millis(1), |handle| handle.stop())?;
/// let mut task = handle.spawn(async { 21 }).map_err(|LoopClosed(_future)| "the loop is gone").unwrap();
/// event_loop.run()?;
/// assert_eq!(task.result().unwrap().unwrap(), 21);
/// drop(event_loop);
/// assert!(handle.call_soon(|_| unreachable!()).is_err());
/// # Ok::<(), readily::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct WeakHandle {
    handle: Weak<LoopHandle>,
}

impl LoopHandle {
    /// Returns a weak handle to this loop, for this thread.
    #[doc(alias = "downgrade")]
    #[must_use]
    #[inline]
    pub fn weak_handle(&self) -> WeakHandle {
        WeakHandle::new(self.weak_self.clone())
    }
}

impl WeakHandle {
    #[inline]
    pub(super) fn new(handle: Weak<LoopHandle>) -> Self {
        Self { handle }
    }

    /// Returns a handle to the current loop of this thread, which turns or was entered; `None` if
    /// there is none.
    #[doc(alias = "get_running_loop")]
    #[doc(alias = "get_event_loop")]
    #[doc(alias = "try_current")]
    #[must_use]
    pub fn current() -> Option<Self> {
        super::current::with(LoopHandle::weak_handle)
    }

    /// Whether the current loop of this thread is another one.
    #[inline]
    pub(crate) fn is_other_loop(&self) -> bool {
        super::current::is_other(self.handle.as_ptr())
    }

    /// Runs `f` with the loop; `None` if the loop is gone.
    #[doc(alias = "upgrade")]
    pub fn with<R>(&self, f: impl FnOnce(&LoopHandle) -> R) -> Option<R> {
        let handle = self.handle.upgrade()?;
        Some(f(&handle))
    }

    /// Runs `f` soon: [`LoopHandle::call_soon`].
    ///
    /// # Errors
    ///
    /// [`LoopClosed`] with `f` in it, if the loop is closed, being closed, or gone.
    #[track_caller]
    pub fn call_soon<F>(&self, f: F) -> Result<CallHandle, LoopClosed<F>>
    where
        F: FnOnce(&LoopHandle) + 'static,
    {
        match self.upgrade_open() {
            Some(handle) => Ok(handle.call_soon(f)),
            None => Err(LoopClosed(f)),
        }
    }

    /// Runs `f` after `delay`, counted from now: [`LoopHandle::call_later`].
    ///
    /// # Errors
    ///
    /// [`LoopClosed`] with `f` in it, if the loop is closed, being closed, or gone.
    #[track_caller]
    pub fn call_later<F>(&self, delay: Duration, f: F) -> Result<TimerHandle, LoopClosed<F>>
    where
        F: FnOnce(&LoopHandle) + 'static,
    {
        match self.upgrade_open() {
            Some(handle) => Ok(handle.call_later(delay, f)),
            None => Err(LoopClosed(f)),
        }
    }

    /// Runs `f` at `when` of the loop's clock: [`LoopHandle::call_at`].
    ///
    /// # Errors
    ///
    /// [`LoopClosed`] with `f` in it, if the loop is closed, being closed, or gone.
    #[track_caller]
    pub fn call_at<F>(&self, when: Instant, f: F) -> Result<TimerHandle, LoopClosed<F>>
    where
        F: FnOnce(&LoopHandle) + 'static,
    {
        match self.upgrade_open() {
            Some(handle) => Ok(handle.call_at(when, f)),
            None => Err(LoopClosed(f)),
        }
    }

    /// Whether the loop is closed, being closed, or gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.upgrade_open().is_none()
    }

    /// Returns the loop, unless it is closed, being closed, or gone.
    pub(crate) fn upgrade_open(&self) -> Option<Rc<LoopHandle>> {
        self.handle.upgrade().filter(|handle| !handle.is_closed())
    }

    /// Reports a failure that no call could return; on standard error if the loop is gone, and its
    /// hook with it.
    #[cold]
    pub(crate) fn report(&self, unhandled: &Unhandled) {
        match self.upgrade() {
            Some(handle) => handle.report(unhandled),
            None => print(unhandled),
        }
    }

    pub(crate) fn upgrade(&self) -> Option<Rc<LoopHandle>> {
        self.handle.upgrade()
    }
}
