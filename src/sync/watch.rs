//! A channel that keeps the last value only.
//!
//! It is for a configuration, a state, a target: a late receiver sees the current value, and no receiver is
//! flooded. A receiver gets a snapshot, which does not change while it is held; so no borrow can block the
//! sender.
//!
//! asyncio has no such type; there it is a variable and a `Condition`.

use super::errors::Closed;
use super::wait_until::WaitUntil;
use crate::task::waiters::WakerList;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

struct Shared<T> {
    value: RefCell<Rc<T>>,
    /// How often it was sent.
    version: Cell<u64>,
    closed: Cell<bool>,
    receivers: Cell<usize>,
    waiters: WakerList,
}

impl<T> Shared<T> {
    fn snapshot(&self) -> Rc<T> {
        Rc::clone(&self.value.borrow())
    }
}

/// Makes a channel for the latest value, with a first value, and returns its sender and a receiver.
///
/// # Examples
///
/// ```
/// use readily::sync::watch;
/// use readily::{gather, run};
///
/// let (sender, mut receiver) = watch::channel("red");
/// let watching = async {
///     let mut seen = vec![*receiver.borrow()];
///     while receiver.changed().await.is_ok() {
///         seen.push(*receiver.borrow());
///     }
///     seen
/// };
/// let changing = async move {
///     sender.send("yellow").unwrap();
///     sender.send("green").unwrap(); // the receiver has not read in between
/// };
/// let (seen, ()) = run(async { gather((watching, changing)).await })?;
/// assert_eq!(seen, ["red", "green"]);
/// # Ok::<(), readily::Error>(())
/// ```
pub fn channel<T>(first: T) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Shared {
        value: RefCell::new(Rc::new(first)),
        version: Cell::new(0),
        closed: Cell::new(false),
        receivers: Cell::new(0),
        waiters: WakerList::default(),
    });
    let sender = Sender { shared };
    let receiver = sender.subscribe();
    (sender, receiver)
}

/// The sending side of a watch [`channel`]: replaces the value.
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Replaces the last value by `value`, and wakes all receivers.
    ///
    /// # Errors
    ///
    /// [`Closed`] with `value` in it, if there are no receivers; then nothing has changed. See
    /// [`send_replace`](Sender::send_replace).
    pub fn send(&self, value: T) -> Result<(), Closed<T>> {
        if self.receivers() == 0 {
            return Err(Closed(value));
        }
        let mut place = self.shared.value.borrow_mut();
        // In place, without an allocation, unless a snapshot is held.
        let (mut old, mut held) = (None, None);
        match Rc::get_mut(&mut place) {
            Some(last) => old = Some(std::mem::replace(last, value)),
            None => held = Some(std::mem::replace(&mut *place, Rc::new(value))),
        }
        drop(place);
        self.notify_receivers();
        // Last, for that may be the user's code, and panic (L8).
        drop((old, held));
        Ok(())
    }

    /// Replaces the last value by `value`, notifies all receivers, and returns the replaced value.
    /// For a state that is kept even without receivers: a receiver that
    /// [subscribes](Sender::subscribe) later sees it.
    ///
    /// ```
    /// use readily::sync::{Closed, watch};
    ///
    /// let (sender, receiver) = watch::channel("red");
    /// drop(receiver);
    /// assert_eq!(sender.send("green"), Err(Closed("green"))); // no receivers: nothing has changed
    /// assert_eq!(*sender.send_replace("green"), "red");
    /// assert_eq!(*sender.subscribe().borrow(), "green");
    /// ```
    pub fn send_replace(&self, value: T) -> Rc<T> {
        let value = Rc::new(value);
        let last = std::mem::replace(&mut *self.shared.value.borrow_mut(), value);
        self.notify_receivers();
        last
    }

    fn notify_receivers(&self) {
        let version = &self.shared.version;
        version.set(version.get() + 1);
        self.shared.waiters.wake_all_reporting();
    }

    /// Returns the last value.
    #[must_use]
    pub fn borrow(&self) -> Rc<T> {
        self.shared.snapshot()
    }

    /// Creates another receiver, for which the present value counts as seen.
    pub fn subscribe(&self) -> Receiver<T> {
        self.shared.receivers.set(self.receivers() + 1);
        Receiver {
            shared: Rc::clone(&self.shared),
            seen: self.shared.version.get(),
        }
    }

    /// Returns the number of receivers.
    #[doc(alias = "receiver_count")]
    #[must_use]
    pub fn receivers(&self) -> usize {
        self.shared.receivers.get()
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.closed.set(true);
        self.shared.waiters.wake_all_reporting();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("version", &self.shared.version.get())
            .field("receivers", &self.receivers())
            .finish()
    }
}

/// A receiving side of a watch [`channel`]. For a clone the same values count as seen as for this one.
#[must_use = "a receiver does nothing unless it is asked"]
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    seen: u64,
}

impl<T> Receiver<T> {
    /// Waits until there is a value that this receiver has not seen. Returns at once if there is one.
    ///
    /// # Errors
    ///
    /// [`Closed`] if there is none, and the sender has gone.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: the next call returns the change.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        let Self { shared, seen } = self;
        let check = || {
            let version = shared.version.get();
            if std::mem::replace(seen, version) != version {
                return Some(Ok(()));
            }
            shared.closed.get().then_some(Err(Closed(())))
        };
        WaitUntil::new(&shared.waiters, check).await
    }

    /// Whether there is a value that this receiver has not seen.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.seen != self.shared.version.get()
    }

    /// Returns the last value. A later `send` does not change the returned value.
    #[must_use]
    pub fn borrow(&self) -> Rc<T> {
        self.shared.snapshot()
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        let receivers = &self.shared.receivers;
        receivers.set(receivers.get() + 1);
        Self {
            shared: Rc::clone(&self.shared),
            seen: self.seen,
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let receivers = &self.shared.receivers;
        receivers.set(receivers.get() - 1);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("has_changed", &self.has_changed())
            .finish()
    }
}
