//! A number of permits and the queue of their waiters: the common part of `Lock` and `Semaphore`.
//!
//! Permits go to the first waiter, and never past it: a waiter that wants many is not overtaken for ever
//! by waiters that want few. A permit is free, granted, or held; a future that is dropped, at any time,
//! passes the permits that it was granted to the next waiter (Q1).

use crate::task::budget;
use crate::task::wait_queue::{Cancelled, WaitQueue, WaitTicket, WakeBatch, drop_waker};
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

pub(super) struct Permits {
    /// How many there are: free, granted and held.
    total: Cell<usize>,
    free: Cell<usize>,
    /// Each wants so many.
    waiters: WaitQueue<usize>,
}

impl Permits {
    pub(super) fn new(free: usize) -> Self {
        Self {
            total: Cell::new(free),
            free: Cell::new(free),
            waiters: WaitQueue::default(),
        }
    }

    pub(super) fn free(&self) -> usize {
        self.free.get()
    }

    /// Whether a new request would have to wait.
    #[inline]
    pub(super) fn would_wait(&self, want: usize) -> bool {
        // Waiters were first, even if there is enough for a new request (Q2).
        want > self.free.get() || !self.waiters.is_empty()
    }

    #[inline]
    pub(super) fn try_take(&self, want: usize) -> bool {
        if self.would_wait(want) {
            return false;
        }
        self.free.set(self.free.get() - want);
        true
    }

    /// Waits for `want` permits, and takes them.
    pub(super) fn take(&self, want: usize) -> Take<'_> {
        Take {
            permits: self,
            want,
            ticket: None,
        }
    }

    /// The same, and makes of them what the caller is to have.
    ///
    /// # Cancellation
    ///
    /// What was granted and not fetched goes to the next.
    #[inline]
    pub(super) fn take_as<R>(&self, want: usize, made: impl Fn() -> R) -> impl Future<Output = R> {
        let mut take = self.take(want);
        poll_fn(move |cx| Pin::new(&mut take).poll(cx).map(|()| made()))
    }

    pub(super) fn total(&self) -> usize {
        self.total.get()
    }

    /// Makes so many more.
    ///
    /// # Panics
    ///
    /// At more than `usize::MAX` in all.
    pub(super) fn add(&self, more: usize) {
        let total = self.total.get().checked_add(more);
        self.total.set(total.expect("there are too many permits"));
        self.give(more);
    }

    /// So many, which were held, are no more.
    pub(super) fn forget(&self, held: usize) {
        self.total.set(self.total.get() - held);
    }

    /// Releases this many permits, which were held: to waiters, and to later requests.
    #[inline]
    pub(super) fn give(&self, held: usize) {
        self.free.set(self.free.get() + held);
        if !self.waiters.is_empty() {
            self.serve();
        }
    }

    /// Grants what there is, in the order of the queue.
    #[inline(never)]
    fn serve(&self) {
        let mut batch = WakeBatch::default();
        loop {
            let free = self.free.get();
            let mut taken = 0;
            let give = |want| taken = want;
            let Some(waker) = self.waiters.grant_if(|&want| want <= free, give) else {
                break;
            };
            // Q1, and before the wake, which may come back (L8).
            self.free.set(free - taken);
            batch.wake(waker);
        }
        batch.report();
    }
}

/// What [`Permits::take`] returns.
pub(super) struct Take<'a> {
    permits: &'a Permits,
    want: usize,
    ticket: Option<WaitTicket>,
}

impl Future for Take<'_> {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        budget::budgeted(cx, |cx| {
            let Self {
                permits,
                want,
                ticket,
            } = &mut *self;
            if ticket.is_some() {
                return permits.waiters.poll(ticket, cx.waker());
            }
            if permits.try_take(*want) {
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            // Cloning the waker may run user code, which may have released permits.
            if permits.try_take(*want) {
                drop_waker(waker);
                return Poll::Ready(());
            }
            *ticket = Some(permits.waiters.enqueue(*want, waker));
            Poll::Pending
        })
    }
}

impl Drop for Take<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.give_up(ticket);
        }
    }
}

impl Take<'_> {
    #[cold]
    fn give_up(&self, ticket: WaitTicket) {
        let left = self.permits.waiters.cancel(ticket);
        // A grant that is not taken goes to the next waiter (Q1). A waiter that leaves without a grant may
        // have kept smaller requests behind it waiting.
        let back = if matches!(left, Cancelled::Granted(())) {
            self.want
        } else {
            0
        };
        self.permits.give(back);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_loop::panics::catch;

    #[test]
    fn more_permits_than_a_number_holds_are_refused_and_nothing_changes() {
        let permits = Permits::new(2);
        assert!(permits.try_take(2));
        assert!(catch(|| permits.add(usize::MAX - 1)).is_err());
        permits.give(2);
        assert_eq!((permits.free(), permits.total()), (2, 2));
        permits.add(usize::MAX - 2);
        assert_eq!(permits.free(), usize::MAX);
    }
}
