//! Listeners for coroutines: a stream of one signal, and Ctrl-C.
//!
//! In asyncio a coroutine waits for an `Event` that a handler sets.

use super::loop_signals::{Listener, LoopSignals};
use super::number::{Signal, SignalError, SignalRequest};
use crate::event_loop::{Error, current};
use crate::task::budget;
use crate::task::waiters::WaiterKey;
use std::fmt;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

/// Returns a listener for a signal, on the current loop. From now on the listener stores a signal that arrives,
/// whether a task waits or not.
///
/// # Errors
///
/// [`SignalError`]: the signal cannot be caught, or is blocked in this thread; no loop is running here; or
/// no descriptor is left.
#[doc(alias = "SignalKind")]
#[track_caller]
pub fn signal(signal: impl Into<SignalRequest>) -> Result<SignalListener, SignalError> {
    let (request, site) = (signal.into(), Location::caller());
    let listen = |handle: &_| LoopSignals::listen(handle, request, None, site);
    let (signals, listener) = current::with(listen).ok_or(Error::NoLoop)??;
    Ok(SignalListener {
        signal: request.signal,
        signals,
        listener,
    })
}

/// Waits for SIGINT, which Ctrl-C at the terminal sends. A signal counts from this call on, not from the
/// first poll. This waits for one signal: after the wait SIGINT ends the process again, so a second Ctrl-C stops
/// a program that takes too long to end.
///
/// # Errors
///
/// As [`signal`] and [`SignalListener::recv`].
///
/// # Cancellation
///
/// Dropping the future ends its listener: SIGINT has its earlier action again.
///
/// # Examples
///
/// ```
/// use readily::signal::ctrl_c;
/// # use readily::{race, sleep};
/// # use std::time::Duration;
///
/// # readily::run(async {
/// # let ctrl_c = || race((async { ctrl_c().await.unwrap() }, sleep(Duration::from_millis(1))));
/// ctrl_c().await;
/// println!("stopping");
/// # })?;
/// # Ok::<(), readily::Error>(())
/// ```
#[track_caller]
pub fn ctrl_c() -> impl Future<Output = Result<(), SignalError>> {
    let listener = signal(Signal::INT);
    async move {
        let wait = pin!(async { Ok(listener?.recv().await?) });
        budget::composite(wait).await
    }
}

/// A listener for one signal: see [`signal`]. When the last listener of a signal is dropped, the signal has its earlier
/// action again.
pub struct SignalListener {
    signal: Signal,
    signals: Rc<LoopSignals>,
    listener: Rc<Listener>,
}

impl SignalListener {
    /// Waits for the signal. If it has arrived since this returned last, or since the listener was made, this returns
    /// at once. Several signals that have arrived meanwhile count as one.
    ///
    /// If several tasks wait on one listener, only one of them gets the signal: make a listener for each task.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Forked`], or [`Error::OtherLoop`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: the listener remembers the signal.
    pub fn recv(&self) -> SignalRecv<'_> {
        SignalRecv {
            listener: self,
            key: None,
        }
    }

    /// Returns whether the signal has arrived since `recv` or this returned it last.
    pub fn try_recv(&self) -> bool {
        self.listener.pending.take()
    }

    /// Whether the process ignores the signal, so that this listener is never notified: see
    /// [`Signal::even_if_ignored`].
    #[must_use]
    pub fn is_ignored(&self) -> bool {
        self.signals.is_ignored(&self.listener)
    }

    /// Returns the signal.
    #[must_use]
    pub fn signal(&self) -> Signal {
        self.signal
    }
}

impl Drop for SignalListener {
    fn drop(&mut self) {
        self.signals.remove(&self.listener);
    }
}

impl fmt::Debug for SignalListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalListener")
            .field("signal", &self.signal)
            .field("pending", &self.listener.pending.get())
            .finish()
    }
}

/// The future of [`SignalListener::recv`].
#[must_use = "nothing is waited for before it is awaited"]
pub struct SignalRecv<'a> {
    listener: &'a SignalListener,
    key: Option<WaiterKey>,
}

impl fmt::Debug for SignalRecv<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SignalRecv").field(self.listener).finish()
    }
}

impl Future for SignalRecv<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { listener, key } = &mut *self;
        budget::budgeted(cx, |cx| {
            if listener.try_recv() {
                return Poll::Ready(Ok(()));
            }
            if let Err(error) = listener.signals.check() {
                return Poll::Ready(Err(error));
            }
            listener.listener.waiters.wait(key, cx.waker());
            // Cloning the waker may have run user code.
            match listener.try_recv() {
                true => Poll::Ready(Ok(())),
                false => Poll::Pending,
            }
        })
    }
}

impl Drop for SignalRecv<'_> {
    fn drop(&mut self) {
        self.listener.listener.waiters.leave(&mut self.key);
    }
}
