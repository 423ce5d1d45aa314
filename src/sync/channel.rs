//! A channel from any thread to a coroutine.
//!
//! It has the two sides of a thread queue (`thread_queue.rs`). Each sender holds a `RemoteHandle` too: while
//! there is a sender, a loop that has nothing else to do waits for it. The receiver yields now and then, even
//! if values arrive faster than it takes them, so that other tasks run.
//!
//! In asyncio: `call_soon_threadsafe` with `put_nowait`; in the notes, the way back from the thread
//! pool ([N3], [N5]).
//!
//! [N3]: crate::book#n3
//! [N5]: crate::book#n5

use super::errors::{Closed, GetError, PutError};
use super::thread_queue::ThreadQueue;
use crate::event_loop::{RemoteHandle, WeakHandle};
use crate::task::budget;
use crate::task::wait_queue::{WakeBatch, drop_waker};
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Makes a channel without a limit, from threads to a loop.
///
/// # Panics
///
/// Outside a loop: senders would have nothing to wake.
///
/// # Examples
///
/// ```
/// use readily::run;
/// use readily::sync::channel;
/// use std::thread;
///
/// let sum = run(async {
///     let (sender, mut receiver) = channel::unbounded();
///     let also = sender.clone();
///     let threads = [
///         thread::spawn(move || (0..10).for_each(|n| sender.send(n).unwrap())),
///         thread::spawn(move || (10..20).for_each(|n| also.send(n).unwrap())),
///     ];
///     let mut sum = 0;
///     while let Ok(n) = receiver.recv().await {
///         sum += n;
///     }
///     threads.map(|thread| thread.join().unwrap());
///     sum
/// })?;
/// assert_eq!(sum, (0..20).sum());
/// # Ok::<(), readily::Error>(())
/// ```
#[track_caller]
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    bounded(usize::MAX)
}

/// Makes a channel from threads to a loop that holds at most `capacity` values; a full channel returns a value to its
/// sender.
///
/// # Panics
///
/// Outside a loop, and if `capacity` is zero.
#[track_caller]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel is for one value at least");
    let remote = WeakHandle::current().and_then(|weak| weak.with(|handle| handle.remote_handle()));
    let remote =
        remote.expect("created a channel outside a loop: use readily::run, or EventLoop::enter");
    let queue = Arc::new(ThreadQueue::new(capacity));
    let sender = Sender {
        queue: Arc::clone(&queue),
        remote,
    };
    let receiver = Receiver {
        queue,
        home: PhantomData,
    };
    (sender, receiver)
}

/// The sending side of a channel, for any thread. Clones send to the same receiver.
///
/// While a sender exists, [`EventLoop::run`](crate::EventLoop::run) does not end, even if the loop has nothing
/// to do.
pub struct Sender<T> {
    queue: Arc<ThreadQueue<T>>,
    remote: RemoteHandle,
}

impl<T> Sender<T> {
    /// Sends `value`, without waiting: a full channel returns it, as [`try_reserve`](Sender::try_reserve)
    /// does. There is no form that waits for room, because a sender may be on a thread without a loop.
    ///
    /// What one thread sends is received in that order.
    ///
    /// # Errors
    ///
    /// [`PutError`] with `value` in it: the channel is full, or the receiver or its loop has gone,
    /// or this is a fork of its process.
    #[doc(alias = "try_send")]
    pub fn send(&self, value: T) -> Result<(), PutError<T>> {
        // First, for in a fork the lock may be held by a thread that is in the parent only.
        if self.remote.is_closed() {
            return Err(PutError::Closed(value));
        }
        self.queue.push(value)
    }

    /// Reserves room for one value, without waiting.
    ///
    /// # Errors
    ///
    /// [`PutError`], as [`send`](Sender::send).
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::run;
    /// use readily::sync::{PutError, channel};
    ///
    /// run(async {
    ///     let (sender, mut receiver) = channel::bounded(1);
    ///     let place = sender.try_reserve().unwrap();
    ///     assert_eq!(sender.send("no"), Err(PutError::Full("no")));
    ///     place.send("yes").unwrap();
    ///     assert_eq!(receiver.recv().await, Ok("yes"));
    /// })?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn try_reserve(&self) -> Result<Reservation<T>, PutError<()>> {
        if self.remote.is_closed() {
            return Err(PutError::Closed(()));
        }
        let remote = self.remote.clone();
        self.queue.reserve()?;
        let queue = Arc::clone(&self.queue);
        let sender = Self { queue, remote };
        Ok(Reservation {
            sender,
            is_kept: true,
        })
    }

    /// Whether the channel accepts no more values.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.remote.is_closed() || self.queue.state().closed
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let remote = self.remote.clone();
        self.queue.state().senders += 1;
        Self {
            queue: Arc::clone(&self.queue),
            remote,
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.queue.leave();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

/// Reserved room for one value in a channel, until it is used or dropped. It counts as a sender:
/// while it exists, the receiver waits for it.
#[must_use = "dropping it gives the place up"]
pub struct Reservation<T> {
    sender: Sender<T>,
    is_kept: bool,
}

impl<T> Reservation<T> {
    /// Sends `value`, without waiting.
    ///
    /// # Errors
    ///
    /// [`Closed`] with `value` in it, if the receiver or its loop has gone, or the receiver was closed.
    pub fn send(mut self, value: T) -> Result<(), Closed<T>> {
        if self.sender.remote.is_closed() {
            return Err(Closed(value));
        }
        let sent = self.sender.queue.push_reserved(value);
        self.is_kept = sent.is_err();
        sent
    }
}

impl<T> Drop for Reservation<T> {
    fn drop(&mut self) {
        if self.is_kept {
            self.sender.queue.cancel_reservation();
        }
    }
}

impl<T> fmt::Debug for Reservation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").finish_non_exhaustive()
    }
}

/// The receiving side of a channel, on the loop's thread.
#[must_use = "a receiver that is dropped gives what is sent back"]
pub struct Receiver<T> {
    queue: Arc<ThreadQueue<T>>,
    /// What it has not received is dropped where it is, so it stays at home.
    home: PhantomData<Rc<()>>,
}

impl<T> Receiver<T> {
    /// Waits for the next value.
    ///
    /// # Errors
    ///
    /// [`Closed`] if there is none, and all senders have gone, or this was closed.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: the next call receives the value.
    pub async fn recv(&mut self) -> Result<T, Closed> {
        Recv {
            receiver: self,
            waits: false,
        }
        .await
    }

    /// Returns the next value, without waiting for it.
    ///
    /// # Errors
    ///
    /// [`GetError`].
    pub fn try_recv(&mut self) -> Result<T, GetError> {
        let mut list = self.queue.state();
        match list.pop() {
            Some(item) => Ok(item),
            None if list.closed || list.senders == 0 => Err(GetError::Closed),
            None => Err(GetError::Empty),
        }
    }

    /// Returns the number of values in the channel.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.state().items.len()
    }

    /// Whether the channel is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the channel: it accepts no more values. The values that are in it can still be received.
    pub fn close(&mut self) {
        self.queue.state().closed = true;
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut list = self.queue.state();
        list.closed = true;
        let items = std::mem::take(&mut list.items);
        drop(list);
        // After the lock: they are the user's (L8).
        let mut batch = WakeBatch::default();
        batch.drop_each(items);
        batch.report();
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("len", &self.len())
            .finish()
    }
}

struct Recv<'a, T> {
    receiver: &'a mut Receiver<T>,
    waits: bool,
}

impl<T> Future for Recv<'_, T> {
    type Output = Result<T, Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        budget::budgeted(cx, |cx| {
            let Self { receiver, waits } = &mut *self;
            let polled = receiver.queue.poll_pop(cx);
            *waits = polled.is_pending();
            polled
        })
    }
}

impl<T> Drop for Recv<'_, T> {
    fn drop(&mut self) {
        if self.waits {
            let waker = self.receiver.queue.state().waker.take();
            waker.into_iter().for_each(drop_waker);
        }
    }
}
