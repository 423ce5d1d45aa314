//! The weak way to a loop, on its own thread.
//!
//! A callback that held its own loop would keep it alive for ever: the loop owns the
//! callbacks (R048). So what is kept is this, and the loop is lent by it while it is there.
//!
//! In asyncio, `get_running_loop` gives the loop itself, which a garbage collector frees.

use super::error::LoopClosed;
use super::local::LoopHandle;
use super::stderr::print;
use super::timer_handles::{CallHandle, TimerHandle};
use super::unhandled::Unhandled;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

/// The weak, clonable way to a loop on its own thread.
///
/// A callback that held its own loop would keep it alive for ever; a handle does not. Its calls return what they were
/// given in [`LoopClosed`] if the loop is closed or gone.
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

impl WeakHandle {
    #[inline]
    pub(super) fn new(handle: Weak<LoopHandle>) -> Self {
        Self { handle }
    }

    /// The loop that turns, or was entered, on this thread.
    #[doc(alias = "get_running_loop")]
    #[doc(alias = "get_event_loop")]
    #[doc(alias = "try_current")]
    #[must_use]
    pub fn current() -> Option<Self> {
        super::current::with(LoopHandle::weak_handle)
    }

    /// Whether another loop than this one runs here.
    #[inline]
    pub(crate) fn is_other_loop(&self) -> bool {
        super::current::is_other(self.handle.as_ptr())
    }

    /// Runs `f` with the loop, unless that is gone.
    #[doc(alias = "upgrade")]
    pub fn with<R>(&self, f: impl FnOnce(&LoopHandle) -> R) -> Option<R> {
        self.handle.upgrade().map(|handle| f(&handle))
    }

    /// Runs `f` in the next turn: [`LoopHandle::call_soon`].
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

    /// The loop, if it still takes work.
    pub(crate) fn upgrade_open(&self) -> Option<Rc<LoopHandle>> {
        self.handle.upgrade().filter(|handle| !handle.is_closed())
    }

    /// Reports what no call returned; on standard error where the loop has gone, and its hook with it.
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
