//! A channel that delivers every value to every receiver; a slow receiver learns how many it has missed.
//!
//! The sender never waits: a ring keeps a fixed number of values, and a new value replaces the oldest. A
//! value is dropped when the last receiver has it, which gets the value without a clone. If the sender
//! waited for the slowest receiver, one receiver that hangs would stop all others.
//!
//! asyncio has no such type.

use super::errors::Closed;
use super::ring::{Ring, Stored};
use super::wait_until::WaitUntil;
use crate::task::wait_queue::WakeBatch;
use crate::task::waiters::WakerList;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

/// Why [`Receiver::recv`] returned no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RecvError {
    /// So many values are gone that this receiver has not got. The next call gives the oldest
    /// that is there.
    #[error("{0} values came too fast, and are gone")]
    Lagged(u64),
    /// It has got all, and all senders have gone.
    #[error("nothing more will come")]
    Closed,
}

/// Why [`Receiver::try_recv`] returned no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TryRecvError {
    /// It has got all that were sent, and more may come.
    #[error("there is nothing just now")]
    Empty,
    /// So many values are gone that this receiver has not got. The next call gives the oldest
    /// that is there.
    #[error("{0} values came too fast, and are gone")]
    Lagged(u64),
    /// It has got all, and all senders have gone.
    #[error("nothing more will come")]
    Closed,
}

impl From<RecvError> for TryRecvError {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Lagged(missed) => Self::Lagged(missed),
            RecvError::Closed => Self::Closed,
        }
    }
}

struct Shared<T> {
    ring: RefCell<Ring<T>>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    waiters: WakerList,
}

impl<T> Shared<T> {
    /// Takes the value out, if it has no other owner, and keeps its box for the next value.
    fn empty(&self, mut kept: Stored<T>) -> Option<T> {
        let value = Rc::get_mut(&mut kept)?.take();
        let mut ring = self.ring.borrow_mut();
        ring.keep(kept);
        value
    }

    /// The next value for a receiver that has got those before `next`, which is advanced.
    fn next(&self, next: &mut u64) -> Option<Result<Stored<T>, RecvError>> {
        let mut ring = self.ring.borrow_mut();
        // Q8: those between its next and the oldest that is there.
        let missed = ring.first().saturating_sub(*next);
        if missed > 0 {
            *next = ring.first();
            return Some(Err(RecvError::Lagged(missed)));
        }
        if let Some(kept) = ring.take(*next) {
            *next += 1;
            return Some(Ok(kept));
        }
        (self.senders.get() == 0).then_some(Err(RecvError::Closed))
    }
}

/// Makes a broadcast channel that keeps the last `capacity` values, and returns its sender and a receiver.
///
/// # Panics
///
/// If `capacity` is zero.
///
/// # Examples
///
/// ```
/// use readily::run;
/// use readily::sync::broadcast::{self, RecvError};
///
/// let (sender, mut quick) = broadcast::channel(2);
/// let mut slow = sender.subscribe();
/// run(async move {
///     for n in 1..=3 {
///         assert_eq!(sender.send(n), Ok(2));
///         assert_eq!(quick.recv().await, Ok(n));
///     }
///     assert_eq!(slow.recv().await, Err(RecvError::Lagged(1)));
///     assert_eq!(slow.recv().await, Ok(2));
/// })?;
/// # Ok::<(), readily::Error>(())
/// ```
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a broadcast keeps one value at least");
    let shared = Rc::new(Shared {
        ring: RefCell::new(Ring::new(capacity)),
        senders: Cell::new(1),
        receivers: Cell::new(0),
        waiters: WakerList::default(),
    });
    let sender = Sender { shared };
    let receiver = sender.subscribe();
    (sender, receiver)
}

/// The sending side of a broadcast [`channel`]. Clones send to the same receivers.
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends `value` to all receivers, and returns their number.
    ///
    /// # Errors
    ///
    /// [`Closed`] with `value` in it, if there are no receivers.
    pub fn send(&self, value: T) -> Result<usize, Closed<T>> {
        let receivers = self.receivers();
        if receivers == 0 {
            return Err(Closed(value));
        }
        let mut ring = self.shared.ring.borrow_mut();
        let oldest = ring.push(value, receivers);
        drop(ring);
        self.shared.waiters.wake_all_reporting();
        // Last, for that is the user's code, and may panic (L8).
        drop(oldest.and_then(|oldest| self.shared.empty(oldest)));
        Ok(receivers)
    }

    /// Creates another receiver, which gets the values that are sent from now on.
    pub fn subscribe(&self) -> Receiver<T> {
        self.shared.receivers.set(self.receivers() + 1);
        Receiver {
            next: self.shared.ring.borrow().end(),
            shared: Rc::clone(&self.shared),
        }
    }

    /// Returns the number of receivers.
    #[doc(alias = "receiver_count")]
    #[must_use]
    pub fn receivers(&self) -> usize {
        self.shared.receivers.get()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let senders = &self.shared.senders;
        senders.set(senders.get() + 1);
        Self {
            shared: Rc::clone(&self.shared),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let senders = &self.shared.senders;
        senders.set(senders.get() - 1);
        if senders.get() == 0 {
            self.shared.waiters.wake_all_reporting();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("receivers", &self.receivers())
            .finish()
    }
}

/// A receiving side of a broadcast [`channel`]: gets every value that is sent while it exists.
#[must_use = "a receiver that is dropped gets nothing"]
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    /// The number of the value that it gets next.
    next: u64,
}

impl<T: Clone> Receiver<T> {
    /// Waits for the next value.
    ///
    /// # Errors
    ///
    /// [`RecvError`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost, except values for which the channel has no room meanwhile.
    ///
    /// # Panics
    ///
    /// When the value's `Clone` panics. This receiver has passed that value then, and gets the next one in the
    /// next call; the other receivers get their own clones of it.
    pub async fn recv(&mut self) -> Result<T, RecvError> {
        let Self { shared, next } = self;
        let kept = WaitUntil::new(&shared.waiters, || shared.next(next)).await?;
        Ok(value_of(shared, kept))
    }

    /// Returns the next value, without waiting for it.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`].
    ///
    /// # Panics
    ///
    /// As [`recv`](Receiver::recv) does.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let next = self.shared.next(&mut self.next);
        let kept = next.ok_or(TryRecvError::Empty)??;
        Ok(value_of(&self.shared, kept))
    }
}

/// The value for a receiver: the value itself for the last receiver, and a clone for the others.
fn value_of<T: Clone>(shared: &Shared<T>, mut kept: Stored<T>) -> T {
    let cloned = match Rc::get_mut(&mut kept) {
        Some(_) => None,
        None => Option::clone(&kept),
    };
    let value = shared.empty(kept).or(cloned);
    value.expect("what is in the ring has a value")
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let shared = &*self.shared;
        shared.receivers.set(shared.receivers.get() - 1);
        // It will not get what it has not got, and may have been the last that was to. All of it is
        // counted before the first destructor runs, which may send a value to the remaining receivers.
        let gone = shared.ring.borrow_mut().give_up(self.next);
        let mut batch = WakeBatch::default();
        batch.drop_each(gone.into_iter().map(|kept| shared.empty(kept)));
        batch.report();
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ahead = self.shared.ring.borrow().end() - self.next;
        f.debug_struct("Receiver").field("behind", &ahead).finish()
    }
}
