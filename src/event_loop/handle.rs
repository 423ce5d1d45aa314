//! The weak way to a loop, on its own thread.
//!
//! A callback that held its own loop would keep it alive for ever: the loop owns the
//! callbacks (R048). So what is kept is this, and the loop is lent by it while it is there.
//!
//! In asyncio, `get_running_loop` gives the loop itself, which a garbage collector frees.

use super::error::Closed;
use super::local::Local;
use super::stderr::print;
use super::timer_handles::{CallHandle, TimerHandle};
use super::unhandled::Unhandled;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

/// The weak, clonable way to a loop on its own thread.
///
/// A callback that held its own loop would keep it alive for ever; a handle does not. Its calls return what they were
/// given in [`Closed`] if the loop is closed or gone.
///
/// # Examples
///
/// ```
/// use readily::{Closed, EventLoop};
/// use std::time::Duration;
///
/// let mut event_loop = EventLoop::new()?;
/// # event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
/// let handle = event_loop.handle();
/// handle.call_later(Duration::from_millis(1), |local| local.stop())?;
/// let mut task = handle.spawn(async { 21 }).map_err(|Closed(_future)| "the loop is gone").unwrap();
/// event_loop.run()?;
/// assert_eq!(task.result().unwrap().unwrap(), 21);
/// drop(event_loop);
/// assert!(handle.call_soon(|_| unreachable!()).is_err());
/// # Ok::<(), readily::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Handle {
    local: Weak<Local>,
}

impl Handle {
    #[inline]
    pub(super) fn new(local: Weak<Local>) -> Self {
        Self { local }
    }

    /// The loop that turns, or was entered, on this thread.
    #[doc(alias = "get_running_loop")]
    #[doc(alias = "get_event_loop")]
    #[doc(alias = "try_current")]
    #[must_use]
    pub fn current() -> Option<Self> {
        super::current::with(Local::handle)
    }

    /// Whether another loop than this one runs here.
    #[inline]
    pub(crate) fn is_elsewhere(&self) -> bool {
        super::current::is_another(self.local.as_ptr())
    }

    /// Runs `f` with the loop, unless that is gone.
    #[doc(alias = "upgrade")]
    pub fn with<R>(&self, f: impl FnOnce(&Local) -> R) -> Option<R> {
        self.local.upgrade().map(|local| f(&local))
    }

    /// Runs `f` in the next turn: [`Local::call_soon`].
    ///
    /// # Errors
    ///
    /// [`Closed`] with `f` in it, if the loop is closed, being closed, or gone.
    #[track_caller]
    pub fn call_soon<F>(&self, f: F) -> Result<CallHandle, Closed<F>>
    where
        F: FnOnce(&Local) + 'static,
    {
        match self.upgrade_open() {
            Some(local) => Ok(local.call_soon(f)),
            None => Err(Closed(f)),
        }
    }

    /// Runs `f` after `delay`, counted from now: [`Local::call_later`].
    ///
    /// # Errors
    ///
    /// [`Closed`] with `f` in it, if the loop is closed, being closed, or gone.
    #[track_caller]
    pub fn call_later<F>(&self, delay: Duration, f: F) -> Result<TimerHandle, Closed<F>>
    where
        F: FnOnce(&Local) + 'static,
    {
        match self.upgrade_open() {
            Some(local) => Ok(local.call_later(delay, f)),
            None => Err(Closed(f)),
        }
    }

    /// Runs `f` at `when` of the loop's clock: [`Local::call_at`].
    ///
    /// # Errors
    ///
    /// [`Closed`] with `f` in it, if the loop is closed, being closed, or gone.
    #[track_caller]
    pub fn call_at<F>(&self, when: Instant, f: F) -> Result<TimerHandle, Closed<F>>
    where
        F: FnOnce(&Local) + 'static,
    {
        match self.upgrade_open() {
            Some(local) => Ok(local.call_at(when, f)),
            None => Err(Closed(f)),
        }
    }

    /// Whether the loop is closed, being closed, or gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.upgrade_open().is_none()
    }

    /// The loop, if it still takes work.
    pub(crate) fn upgrade_open(&self) -> Option<Rc<Local>> {
        self.local.upgrade().filter(|local| !local.is_closed())
    }

    /// Reports what no call returned; on standard error where the loop has gone, and its hook with it.
    #[cold]
    pub(crate) fn report(&self, unhandled: &Unhandled) {
        match self.upgrade() {
            Some(local) => local.report(unhandled),
            None => print(unhandled),
        }
    }

    pub(crate) fn upgrade(&self) -> Option<Rc<Local>> {
        self.local.upgrade()
    }
}
