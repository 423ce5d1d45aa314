//! `Condition`: releases a lock, waits for a notification, and takes the lock again.
//!
//! The caller passes the guard in and gets it back, so the lock is free during the wait, and the caller
//! cannot forget to take it again. A dropped wait has no guard to return, and so need not take the lock;
//! asyncio must wait for the lock before it may be cancelled. A condition works with any lock, because
//! the guard knows its lock; several conditions may share one lock.
//!
//! In asyncio: `Condition`.

use super::lock::LockGuard;
use crate::task::budget::consume_budget;
use crate::task::wait_queue::{Cancelled, WaitQueue, WaitTicket, WakeBatch};
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

/// How a waiter was notified. A number, so that a condition and a barrier have one type of wait queue:
/// each type has to be compiled.
type Notice = usize;
/// By `notify`: if the waiter does not go on, another one must be notified in its place.
const COUNTED: Notice = 0;
/// With all the others.
const ALL: Notice = 1;

/// Lets tasks wait for a change of the value that a [`Lock`](super::Lock) holds. Clones refer to the same
/// condition.
///
/// [`notify`](Self::notify) may be called without holding the lock. A task that checks the value and then waits has the
/// lock, so no other task changes the value in between.
///
/// # Examples
///
/// ```
/// use readily::sync::Condition;
/// use readily::{Lock, gather, run};
///
/// let (stock, changed) = (Lock::new(0), Condition::new());
/// let buy = async {
///     let guard = stock.acquire().await;
///     let mut guard = changed.wait_for(guard, |stock| *stock >= 3).await;
///     *guard -= 3;
/// };
/// let make = async {
///     for _ in 0..4 {
///         *stock.acquire().await += 1;
///         changed.notify(1);
///         readily::yield_now().await;
///     }
/// };
/// run(async { gather((buy, make)).await })?;
/// assert_eq!(*stock.try_acquire().unwrap(), 1);
/// # Ok::<(), readily::Error>(())
/// ```
#[doc(alias = "Condvar")]
#[derive(Clone, Default)]
pub struct Condition {
    waiters: Rc<WaitQueue<(), Notice>>,
}

impl Condition {
    /// Creates a condition without waiters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Releases the lock, waits for a notification, and takes the lock again.
    ///
    /// Only [`notify`](Self::notify) and [`notify_all`](Self::notify_all) end the wait. The value may have
    /// changed again before the lock is taken. See [`wait_for`](Self::wait_for).
    ///
    /// # Cancellation
    ///
    /// Dropping it before it was polled drops the guard, as afterwards: the lock is free. If it
    /// had been notified by `notify`, another waiter is notified instead ([Q5]).
    ///
    /// [Q5]: crate::book::invariants#q5
    pub async fn wait<T>(&self, guard: LockGuard<T>) -> LockGuard<T> {
        let lock = guard.lock().clone();
        let mut waiting = Waiting {
            condition: self,
            ticket: None,
            notice: None,
        };
        let mut guard = Some(guard);
        poll_fn(|cx| waiting.poll(cx, || drop(guard.take()))).await;
        let guard = lock.acquire().await;
        // It goes on: the notice has done what it was for.
        waiting.notice = None;
        guard
    }

    /// Waits until `is_so` returns `true` for the value. `is_so` is called at once, and, with the lock held,
    /// after each notification.
    ///
    /// # Panics
    ///
    /// If `is_so` panics.
    ///
    /// # Cancellation
    ///
    /// As [`wait`](Self::wait).
    #[doc(alias = "wait_while")]
    pub async fn wait_for<T>(
        &self,
        mut guard: LockGuard<T>,
        mut is_so: impl FnMut(&mut T) -> bool,
    ) -> LockGuard<T> {
        if is_so(&mut guard) {
            consume_budget().await; // F1
            return guard;
        }
        loop {
            guard = self.wait(guard).await;
            if is_so(&mut guard) {
                return guard;
            }
        }
    }

    /// Notifies the first `count` waiters. Later waiters are not notified.
    #[doc(alias = "notify_one")]
    #[doc(alias = "notify_n")]
    pub fn notify(&self, count: usize) {
        self.grant(count, COUNTED);
    }

    /// Notifies all waiters.
    #[doc(alias = "notify_waiters")]
    pub fn notify_all(&self) {
        self.grant(usize::MAX, ALL);
    }

    fn grant(&self, count: usize, notice: Notice) {
        let ticket = self.waiters.next_ticket();
        let mut batch = WakeBatch::default();
        for _ in 0..count {
            let Some(waker) = self.waiters.grant_before(ticket, |()| true, |()| notice) else {
                break;
            };
            batch.wake(waker);
        }
        batch.report();
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition")
            .field("waiting", &self.waiters.len())
            .finish()
    }
}

/// A waiter that waits for a notification, or that was notified and waits for the lock.
struct Waiting<'a> {
    condition: &'a Condition,
    ticket: Option<WaitTicket>,
    notice: Option<Notice>,
}

impl Waiting<'_> {
    /// Waits for a notification; `unlock` is called when the waiter is in the queue.
    fn poll(&mut self, cx: &mut Context<'_>, unlock: impl FnOnce()) -> Poll<()> {
        let queue = &self.condition.waiters;
        if self.ticket.is_none() {
            // First the place, then the lock: the task that gets the lock may notify at once.
            self.ticket = Some(queue.enqueue((), cx.waker().clone()));
            unlock();
            return Poll::Pending;
        }
        queue.poll(&mut self.ticket, cx.waker()).map(|notice| {
            self.notice = Some(notice);
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let left = self
            .ticket
            .take()
            .map(|ticket| self.condition.waiters.cancel(ticket));
        let notice = match left {
            Some(Cancelled::Granted(notice)) => Some(notice),
            _ => self.notice,
        };
        if notice == Some(COUNTED) {
            // A notification is for a waiter that goes on (Q5).
            self.condition.notify(1);
        }
    }
}
