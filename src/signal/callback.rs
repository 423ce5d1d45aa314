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
    /// Runs `f` on this loop whenever the signal has arrived. `f` is called as a queued closure and not inside the
    /// system's signal handler, so it may do anything that a callback may. Signals that arrive before it runs count
    /// as one. A signal may have several callbacks, which run in the order in which they were added.
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
    /// Cancels the callback, and drops it: at once, or if it is running, when it returns. It does not run again, even
    /// for a signal that has arrived already. Returns `true` exactly if this call cancels it. When the last listener
    /// of a signal has ended, the signal has its earlier action again.
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
