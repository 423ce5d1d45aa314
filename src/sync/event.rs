//! `Event`: a flag that tasks wait for; setting it wakes all of them.
//!
//! A waiter that waited when the flag was set goes on, even if the flag is cleared before the waiter
//! runs. So no waiter misses a `set` and a `clear` in one turn.
//!
//! In asyncio: `Event`.

use crate::task::budget;
use crate::task::waiters::{WaiterKey, WakerList};
use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

#[derive(Default)]
struct Shared {
    set: Cell<bool>,
    /// How often it was set. A waiter that began at another number goes on; nothing is granted.
    times: Cell<u64>,
    waiters: WakerList,
}

/// A flag for which tasks can wait. Clones refer to the same event.
///
/// # Examples
///
/// ```
/// use readily::{Event, gather, run};
///
/// let open = Event::new();
/// let enter = async || open.wait().await;
/// run(async { gather((enter(), enter(), async { open.set() })).await })?;
/// assert!(open.is_set());
/// # Ok::<(), readily::Error>(())
/// ```
#[doc(alias = "Notify")]
#[derive(Clone, Default)]
pub struct Event {
    shared: Rc<Shared>,
}

impl Event {
    /// Creates an event that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the flag: all waiters go on, and later calls do not wait, until it is cleared.
    #[doc(alias = "notify_waiters")]
    pub fn set(&self) {
        let shared = &*self.shared;
        shared.set.set(true);
        // This wakes the present waiters. A waker may clear the flag, and wait again for the next `set` (Q4).
        shared.times.set(shared.times.get() + 1);
        shared.waiters.wake_all_reporting();
    }

    /// Clears the flag: later calls wait for the next [`set`](Event::set).
    pub fn clear(&self) {
        self.shared.set.set(false);
    }

    /// Whether the flag is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.shared.set.get()
    }

    /// Waits until the flag is set. Returns at once if it is set already.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: setting the flag wakes all waiters.
    #[doc(alias = "notified")]
    pub fn wait(&self) -> impl Future<Output = ()> {
        Wait {
            shared: &self.shared,
            since: 0,
            key: None,
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("set", &self.is_set())
            .field("waiting", &self.shared.waiters.len())
            .finish()
    }
}

struct Wait<'a> {
    shared: &'a Shared,
    /// How often it had been set when this began to wait.
    since: u64,
    key: Option<WaiterKey>,
}

impl Future for Wait<'_> {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        budget::budgeted(cx, |cx| {
            let Self { shared, since, key } = &mut *self;
            if key.is_none() {
                if shared.set.get() {
                    return Poll::Ready(());
                }
                *since = shared.times.get();
            }
            if shared.times.get() == *since {
                shared.waiters.wait(key, cx.waker());
                // Cloning the waker may run user code, which may have set the flag.
                if shared.times.get() == *since {
                    return Poll::Pending;
                }
            }
            shared.waiters.leave(key);
            Poll::Ready(())
        })
    }
}

impl Drop for Wait<'_> {
    #[inline]
    fn drop(&mut self) {
        self.shared.waiters.leave(&mut self.key);
    }
}
