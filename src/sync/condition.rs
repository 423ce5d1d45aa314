//! `Condition`: wait, with the lock given up meanwhile, until somebody says that something changed.
//!
//! The guard is handed in and comes back, so the lock is free while one waits, and nobody can
//! forget to take it again. A future that is dropped has no guard to give back, and so nothing to
//! take: asyncio must wait for the lock before it may be cancelled. Of any lock, for the guard
//! says whose it is; several conditions may share one.
//!
//! In asyncio: `Condition`. Not in the notes.

use super::lock::LockGuard;
use crate::task::budget::consume_budget;
use crate::task::line::{Cancelled, WaitQueue, WaitTicket, WakeBatch};
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

/// How one was told.
#[derive(Clone, Copy)]
enum Notice {
    /// By a `notify`: if it cannot go on, another one must be told in its place.
    Counted,
    /// With all the others.
    All,
}

/// Where one waits for a change of what a [`Lock`](super::Lock) holds. Its clones are the same
/// condition.
///
/// It may be told without holding the lock. Whoever looks at the value and then waits has the
/// lock, so nobody else changes the value in between.
///
/// # Examples
///
/// ```
/// use readily::sync::{Condition, Lock};
/// use readily::{gather, run};
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
    /// A condition for which nobody waits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the lock up, waits to be told, and takes the lock again.
    ///
    /// It is told by [`notify`](Self::notify) only; what it waits for may have gone again until
    /// it has the lock. See [`wait_for`](Self::wait_for).
    ///
    /// # Cancellation
    ///
    /// Dropping it before it was polled drops the guard, as afterwards: the lock is free. If it
    /// had been told by a `notify`, another one who waits is told instead ([Q5]).
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

    /// Waits until `is_so` says yes to the value, which it is asked at once, and with the lock
    /// each time that this was told.
    ///
    /// # Panics
    ///
    /// If `is_so` does.
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

    /// Tells so many of those who wait, in the order of their coming. Those who come later are
    /// not told.
    #[doc(alias = "notify_one")]
    #[doc(alias = "notify_n")]
    pub fn notify(&self, count: usize) {
        self.grant(count, Notice::Counted);
    }

    /// Tells all who wait.
    #[doc(alias = "notify_waiters")]
    pub fn notify_all(&self) {
        self.grant(usize::MAX, Notice::All);
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

/// One who waits to be told, or has been told and waits for the lock.
struct Waiting<'a> {
    condition: &'a Condition,
    ticket: Option<WaitTicket>,
    notice: Option<Notice>,
}

impl Waiting<'_> {
    /// Waits to be told; `unlock` is called when it has its place.
    fn poll(&mut self, cx: &mut Context<'_>, unlock: impl FnOnce()) -> Poll<()> {
        let queue = &self.condition.waiters;
        if self.ticket.is_none() {
            // First the place, then the lock: whoever is waked by that may tell us at once.
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
        if let Some(Notice::Counted) = notice {
            // Q5: a notice is for somebody who goes on.
            self.condition.notify(1);
        }
    }
}
