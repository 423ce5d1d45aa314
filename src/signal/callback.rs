//! Callbacks for signals.
//!
//! In asyncio: `loop.add_signal_handler` and `remove_signal_handler`.

use super::loop_signals::{Listener, LoopSignals};
use super::number::{Signal, SignalError, SignalRequest};
use crate::event_loop::LoopHandle;
use std::fmt;
use std::panic::Location;
use std::rc::{Rc, Weak};

impl LoopHandle {
    /// Runs `f` when the signal has come, on this loop, as a queued closure: not inside the system's
    /// handler, so it may do anything that a callback may. Signals that come before it runs are one.
    /// There may be several callbacks for a signal, which run in the order in which they were added.
    ///
    /// The loop runs until the callback is [cancelled](SignalCallback::cancel), as with a registration;
    /// dropping the handle does not cancel it. A callback that panics is removed.
    ///
    /// # Errors
    ///
    /// [`SignalError`]: the signal cannot be caught, or is blocked in this thread; the loop is closed; or no
    /// descriptor is left. `f` is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::EventLoop;
    /// use readily::signal::Signal;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let callback = event_loop.on_signal(Signal::TERM, |handle| handle.stop())?;
    /// # let me = std::process::id().to_string();
    /// # std::process::Command::new("kill").args(["-TERM", &me]).status()?;
    /// event_loop.run()?; // until SIGTERM
    /// assert!(callback.cancel());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "add_signal_handler")]
    #[track_caller]
    pub fn on_signal(
        &self,
        signal: impl Into<SignalRequest>,
        f: impl FnMut(&LoopHandle) + 'static,
    ) -> Result<SignalCallback, SignalError> {
        let request = signal.into();
        let site = Location::caller();
        let (signals, listener) = LoopSignals::listen(self, request, Some(Box::new(f)), site)?;
        Ok(SignalCallback {
            signal: request.signal,
            signals: Rc::downgrade(&signals),
            listener,
        })
    }
}

/// A handle to a callback of [`LoopHandle::on_signal`]. Dropping it does not cancel the callback.
pub struct SignalCallback {
    signal: Signal,
    signals: Weak<LoopSignals>,
    listener: Rc<Listener>,
}

impl SignalCallback {
    /// Cancels the callback, and drops it at once, or when it returns if it runs. It does not run any
    /// more, even for a signal that has come already. Returns `true` exactly if this call cancels it. The last
    /// listener of a signal restores the earlier action.
    #[doc(alias = "remove_signal_handler")]
    pub fn cancel(&self) -> bool {
        let signals = self.signals.upgrade();
        signals.is_some_and(|signals| signals.remove(&self.listener))
    }

    /// Whether the process ignores the signal, so that the callback never runs: see
    /// [`Signal::even_if_ignored`].
    #[must_use]
    pub fn is_ignored(&self) -> bool {
        let signals = self.signals.upgrade();
        signals.is_some_and(|signals| signals.is_ignored(&self.listener))
    }

    /// Returns the signal.
    #[must_use]
    pub fn signal(&self) -> Signal {
        self.signal
    }
}

impl fmt::Debug for SignalCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalCallback")
            .field("signal", &self.signal)
            .field("cancelled", &self.listener.gone.get())
            .finish()
    }
}
