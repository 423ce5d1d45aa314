//! A channel for a single value.
//!
//! It is like a promise and its [`Future`](crate::task::Future), but each side notices when the other is gone: a
//! value that the receiver would not take comes back to its sender, and the sender may wait for the
//! receiver's end, and stop its work. The channel needs no loop, and has no callbacks.
//!
//! In asyncio: a `Future` that its awaiting task cancels.

use super::errors::{Closed, GetError};
use super::wait_until::WaitUntil;
use crate::task::budget;
use crate::task::wait_queue::{WakeBatch, drop_waker};
use crate::task::waiters::WakerList;
use readily_sys::pair::{Half, pair};
use std::cell::{Cell, OnceCell};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

struct Shared<T> {
    value: Cell<Option<T>>,
    /// Whether the sender has gone, with or without having sent.
    sent: Cell<bool>,
    /// Whether the receiver takes no value any more.
    closed: Cell<bool>,
    /// The waker of the receiver, of which there is one at most.
    receiver: Cell<Option<Waker>>,
    /// The waiters for the receiver's end, which are rare: with a small value the channel takes 64 bytes
    /// in all, and with two lists it would take three times as much.
    senders: OnceCell<Box<WakerList>>,
}

impl<T> Shared<T> {
    #[inline]
    fn check(&self) -> Option<Result<T, Closed>> {
        match self.value.take() {
            Some(value) => Some(Ok(value)),
            None => (self.sent.get() || self.closed.get()).then_some(Err(Closed(()))),
        }
    }

    #[inline]
    fn forget_receiver(&self) {
        if let Some(waker) = self.receiver.take() {
            drop_waker(waker);
        }
    }

    /// Stores the waker. Cloning or dropping a waker may run user code, so the caller must check again
    /// afterwards (L8).
    #[inline]
    fn wait(&self, waker: &Waker) {
        let kept = self.receiver.take();
        match kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            true => self.receiver.set(kept),
            false => {
                self.receiver.set(Some(waker.clone()));
                drop(kept);
            }
        }
    }
}

/// Makes a channel for one value, and returns its sender and its receiver.
///
/// # Examples
///
/// ```
/// use readily::sync::oneshot;
/// use readily::{run, spawn};
///
/// let answer = run(async {
///     let (sender, receiver) = oneshot::channel();
///     spawn(async { sender.send(42).unwrap() });
///     receiver.await
/// })?;
/// assert_eq!(answer, Ok(42));
/// # Ok::<(), readily::Error>(())
/// ```
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = pair(Shared {
        value: Cell::new(None),
        sent: Cell::new(false),
        closed: Cell::new(false),
        receiver: Cell::new(None),
        senders: OnceCell::new(),
    });
    (Sender { shared: sender }, Receiver { shared: receiver })
}

/// The sending side of a oneshot [`channel`]. If it is dropped without sending, the receiver gets [`Closed`].
pub struct Sender<T> {
    shared: Half<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends `value`.
    ///
    /// # Errors
    ///
    /// [`Closed`] with `value` in it, if the receiver has gone.
    pub fn send(self, value: T) -> Result<(), Closed<T>> {
        if self.is_closed() {
            return Err(Closed(value));
        }
        self.shared.value.set(Some(value));
        // Dropping the sender wakes the receiver.
        drop(self);
        Ok(())
    }

    /// Whether the receiver has gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.closed.get()
    }

    /// Waits until the receiver is dropped or closed: for a task that then stops its work.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn closed(&self) {
        let gone = || self.is_closed().then_some(());
        let waiters = self.shared.senders.get_or_init(Box::default);
        WaitUntil::new(waiters, gone).await;
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.sent.set(true);
        if let Some(waker) = self.shared.receiver.take() {
            let mut batch = WakeBatch::default();
            batch.wake(waker);
            batch.report();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// The receiving side of a oneshot [`channel`]. Awaiting it gives the value, or [`Closed`] if none will come, or if the
/// value was taken before.
///
/// # Cancellation
///
/// Dropping a pending `.await` of `&mut receiver` loses nothing. Dropping the receiver drops a
/// value that was sent and not taken; one that comes later goes back to its sender.
#[must_use = "a receiver does nothing unless it is awaited or asked"]
pub struct Receiver<T> {
    shared: Half<Shared<T>>,
}

impl<T> Receiver<T> {
    /// Takes the value, without waiting for it.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`] if the value has not come yet; [`GetError::Closed`] if it will not: it was
    /// taken, the sender has gone, or this receiver was [closed](Receiver::close).
    pub fn try_recv(&mut self) -> Result<T, GetError> {
        match self.shared.check() {
            Some(seen) => seen.map_err(|Closed(())| GetError::Closed),
            None => Err(GetError::Empty),
        }
    }

    /// Closes the channel: no value can be sent any more. A value that was sent before can still be received.
    pub fn close(&mut self) {
        self.shared.closed.set(true);
        if let Some(senders) = self.shared.senders.get() {
            senders.wake_all_reporting();
        }
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, Closed>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        budget::budgeted(cx, |cx| {
            let shared = &*self.shared;
            let seen = shared.check().or_else(|| {
                shared.wait(cx.waker());
                shared.check()
            });
            match seen {
                Some(seen) => {
                    shared.forget_receiver();
                    Poll::Ready(seen)
                }
                None => Poll::Pending,
            }
        })
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
        self.shared.forget_receiver();
        drop(self.shared.value.take());
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("sent", &self.shared.sent.get())
            .finish()
    }
}
