//! A wait queue, first come first served: each waiter is granted what it waits for, in its turn.
//!
//! The list in `waiters.rs` only wakes, and woken waiters check whether there is something for
//! them; so a newcomer may be faster, and a wake given to a waiter that leaves is lost. Here the
//! grant is stored with the waiter's ticket until the waiter takes it, so no other can; and a
//! waiter that leaves with an untaken grant returns it, for the next one (R089).
//!
//! The primitives of `sync` are built on it: permits, items, notifications. asyncio's locks and
//! queues have a deque of futures each for this.

mod tickets;

use self::tickets::{TicketState, Tickets};
use crate::event_loop::panics::{FirstPanic, Payload, catch, drop_quietly};
use crate::event_loop::{Origin, current, futurelock};
use std::cell::{Cell, RefCell};
use std::num::NonZeroU64;
use std::task::{Poll, Waker};

/// A wait queue. Each waiter wants a `W`, and is granted a `G`.
pub(crate) struct WaitQueue<W = (), G = ()> {
    /// A waiting ticket has what its waiter wants, and the waker to wake.
    tickets: RefCell<Tickets<(W, Waker), G>>,
    /// The number of waiters, to be looked at without a borrow: that is done with each operation of a
    /// queue or a lock.
    waiting: Cell<usize>,
}

/// A place in the queue. Its owner takes the grant, or cancels.
#[derive(Debug)]
pub(crate) struct WaitTicket(NonZeroU64);

/// Identifies a ticket for code that does not own it.
#[derive(Clone, Copy)]
pub(crate) struct TicketId(NonZeroU64);

/// The state of a ticket that was cancelled.
pub(crate) enum Cancelled<W, G> {
    /// It was waiting. Dropping the waker is user code and may call back, so it is left to the
    /// caller, for when the caller's state is consistent.
    Waiting(W, #[allow(dead_code)] Unused),
    /// It had been granted this, which belongs to the next waiter.
    Granted(G),
}

impl<W, G> Default for WaitQueue<W, G> {
    #[inline]
    fn default() -> Self {
        Self {
            tickets: RefCell::default(),
            waiting: Cell::new(0),
        }
    }
}

impl<W, G> WaitQueue<W, G> {
    /// A waiter less.
    #[inline]
    fn count_off(&self) {
        self.waiting.set(self.waiting.get() - 1);
    }

    /// Adds a waiter at the end. The waker is passed as a clone: cloning it is user code, after
    /// which the caller has to check again whether it needs to wait (L8).
    #[inline]
    pub(crate) fn enqueue(&self, want: W, waker: Waker) -> WaitTicket {
        let number = self.tickets.borrow_mut().enqueue((want, waker));
        self.waiting.set(self.waiting.get() + 1);
        self.trace(futurelock::waits, number);
        WaitTicket(number)
    }

    /// Records the wait for debug mode, which reports a future that keeps others waiting.
    #[inline]
    fn trace(&self, what: fn(usize, u64), number: NonZeroU64) {
        if futurelock::is_watched() {
            what(std::ptr::from_ref(self).addr(), number.get());
        }
    }

    /// Takes the grant and gives the ticket up; or waits on, with `waker`.
    #[inline]
    pub(crate) fn poll(&self, ticket: &mut Option<WaitTicket>, waker: &Waker) -> Poll<G> {
        let number = ticket
            .as_ref()
            .expect("only the owner of a ticket polls it")
            .0;
        let mut tickets = self.tickets.borrow_mut();
        // First, and in one borrow: nearly every woken waiter was granted something.
        if let Some(grant) = tickets.take_grant(number) {
            *ticket = None;
            self.trace(futurelock::leaves, number);
            return Poll::Ready(grant);
        }
        match tickets.at(number) {
            TicketState::Waiting((_, kept)) if kept.will_wake(waker) => return Poll::Pending,
            _ => drop(tickets),
        }
        self.wait_with(ticket, number, waker)
    }

    /// Waits on, with another waker.
    #[cold]
    fn wait_with(
        &self,
        ticket: &mut Option<WaitTicket>,
        number: NonZeroU64,
        waker: &Waker,
    ) -> Poll<G> {
        // Cloned before the borrow, and the replaced one dropped after it (L8).
        let mut waker = waker.clone();
        let mut tickets = self.tickets.borrow_mut();
        if let TicketState::Waiting((_, kept)) = tickets.at(number) {
            std::mem::swap(kept, &mut waker);
            drop(tickets);
            drop_waker(waker);
            return Poll::Pending;
        }
        // Cloning the waker was user code, and has granted the waiter something.
        let grant = tickets.take_grant(number);
        *ticket = None;
        drop(tickets);
        self.trace(futurelock::leaves, number);
        drop_waker(waker);
        Poll::Ready(grant.expect("a ticket that does not wait is granted"))
    }

    /// Gives a ticket up. The caller has to handle the state that it was in.
    #[must_use = "a grant that was not taken belongs to the next waiter"]
    #[inline]
    pub(crate) fn cancel(&self, ticket: WaitTicket) -> Cancelled<W, G> {
        let left = self.tickets.borrow_mut().remove(ticket.0);
        self.trace(futurelock::leaves, ticket.0);
        match left {
            TicketState::Waiting((want, waker)) => {
                self.count_off();
                Cancelled::Waiting(want, Unused(Some(waker)))
            }
            TicketState::Granted(grant) => Cancelled::Granted(grant),
            TicketState::Empty => unreachable!("only the owner of a ticket cancels it"),
        }
    }

    /// Grants the first waiter what `give` makes of its want, if that `fits`; returns the waker, to
    /// be woken when the caller's state is consistent. Both closures are called under the borrow,
    /// so they are the crate's own code and call no user code (L8).
    #[must_use = "the waiter that was granted something has to be woken"]
    #[inline]
    pub(crate) fn grant_if(
        &self,
        fits: impl FnOnce(&W) -> bool,
        give: impl FnOnce(W) -> G,
    ) -> Option<Waker> {
        self.grant_before(u64::MAX, fits, give)
    }

    /// Grants like [`grant_if`](WaitQueue::grant_if), but only a waiter with a number below
    /// [`ticket`](WaitQueue::next_ticket).
    #[must_use = "the waiter that was granted something has to be woken"]
    #[inline]
    pub(crate) fn grant_before(
        &self,
        ticket: u64,
        fits: impl FnOnce(&W) -> bool,
        give: impl FnOnce(W) -> G,
    ) -> Option<Waker> {
        if self.is_empty() {
            return None;
        }
        let mut tickets = self.tickets.borrow_mut();
        let (number, waker) = tickets.grant(
            ticket,
            |(want, _)| fits(want),
            |(want, waker)| (give(want), waker),
        )?;
        self.count_off();
        self.trace(futurelock::granted, number);
        Some(waker)
    }

    /// Takes out what the first waiter wants, leaves `meanwhile`, and returns the ticket's id: for
    /// a caller whose grant depends on user code, which must not run under the borrow (L8).
    pub(crate) fn take_want(&self, meanwhile: W) -> Option<(TicketId, W)> {
        let mut tickets = self.tickets.borrow_mut();
        let (number, (want, _)) = tickets.first_waiting()?;
        Some((TicketId(number), std::mem::replace(want, meanwhile)))
    }

    /// Stores `grant` with that ticket, and returns the waker to be woken; or returns the grant, if
    /// the ticket was cancelled meanwhile.
    ///
    /// # Errors
    ///
    /// `grant`.
    pub(crate) fn grant_at(&self, ticket: TicketId, grant: G) -> Result<Waker, G> {
        let mut grant = Some(grant);
        let mut left = None;
        let mut tickets = self.tickets.borrow_mut();
        let granted = tickets.grant_at(ticket.0, |(want, waker)| {
            left = Some(want);
            (grant.take().expect("it is given once"), waker)
        });
        drop(tickets);
        if granted.is_some() {
            self.count_off();
            self.trace(futurelock::granted, ticket.0);
        }
        // Not under the borrow: the want may have a destructor.
        drop(left);
        granted.ok_or_else(|| grant.take().expect("it was not given"))
    }

    /// The number of the next ticket: all present ones have lower numbers.
    #[inline]
    pub(crate) fn next_ticket(&self) -> u64 {
        self.tickets.borrow().next().get()
    }

    /// The number of waiters.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.waiting.get()
    }

    /// Whether there are no waiters.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Wakes several waiters, one after the other; a waker that panics does not keep the others asleep
/// (R057).
#[derive(Default)]
#[must_use = "a panic has to be reported"]
pub(crate) struct WakeBatch(FirstPanic);

impl WakeBatch {
    #[inline]
    pub(crate) fn wake(&mut self, waker: Waker) {
        self.guard(|| waker.wake());
    }

    /// Runs other code between two wakes, and keeps its panic like that of a waker.
    #[inline]
    pub(crate) fn guard(&mut self, f: impl FnOnce()) {
        self.0.run(f);
    }

    /// Keeps a panic that was caught elsewhere.
    #[cold]
    pub(crate) fn note(&mut self, payload: Payload) {
        self.0.keep(payload);
    }

    /// Reports the first panic to the loop, with its policy. The caller must not get it: a caller
    /// that gave something back would lose its own value by another's panic. Outside a loop the
    /// panic hook has reported it already, and the payload is dropped.
    #[inline]
    pub(crate) fn report(self) {
        if let Some(payload) = self.0.take() {
            report_to_loop(payload);
        }
    }
}

impl WakeBatch {
    /// Drops user values, one after the other; a destructor that panics does not keep the others
    /// from being dropped.
    pub(crate) fn drop_each<T>(&mut self, values: impl IntoIterator<Item = T>) {
        for value in values {
            self.guard(|| drop(value));
        }
    }
}

/// A waker that is not woken any more.
pub(crate) struct Unused(Option<Waker>);

impl Drop for Unused {
    #[inline]
    fn drop(&mut self) {
        if let Some(waker) = self.0.take() {
            drop_waker(waker);
        }
    }
}

/// Drops a waker, which is user code. The caller may hold a value, so a panic goes not to the caller
/// but to the loop and its policy, like the panic of a wake.
#[inline]
pub(crate) fn drop_waker(waker: Waker) {
    if let Err(payload) = catch(|| drop(waker)) {
        report_to_loop(payload);
    }
}

/// Reports a panic to the loop instead of the caller.
#[cold]
pub(crate) fn report_to_loop(payload: Payload) {
    let mut payload = Some(payload);
    current::with(|handle| {
        payload
            .take()
            .map(|payload| handle.apply_panic_policy(payload, Origin::Other))
    });
    drop_quietly(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn waker() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        (Arc::clone(&count), Waker::from(count))
    }

    fn grant(queue: &WaitQueue<u8, u8>) -> bool {
        let waker = queue.grant_if(|_| true, |want| want * 10);
        waker.map(Waker::wake).is_some()
    }

    #[test]
    fn a_grant_stays_with_its_ticket_until_it_is_taken_or_returned() {
        let queue = WaitQueue::default();
        let (woken, waker) = waker();
        let mut tickets: Vec<_> = (1..4)
            .map(|n| Some(queue.enqueue(n, waker.clone())))
            .collect();
        assert!(grant(&queue));
        assert_eq!((woken.0.load(Ordering::Relaxed), queue.len()), (1, 2));
        assert_eq!(queue.poll(&mut tickets[1], &waker), Poll::Pending);
        assert_eq!(queue.poll(&mut tickets[0], &waker), Poll::Ready(10));
        assert!(tickets[0].is_none());
        assert!(grant(&queue));
        let left = queue.cancel(tickets[1].take().unwrap());
        assert!(matches!(left, Cancelled::Granted(20)));
        let left = queue.cancel(tickets[2].take().unwrap());
        assert!(matches!(left, Cancelled::Waiting(3, _)));
        assert!(!grant(&queue) && queue.is_empty());
    }

    #[test]
    fn a_waiter_is_counted_while_it_waits_however_that_ends() {
        let queue = WaitQueue::<u8, u8>::default();
        let tickets = [0, 1, 2, 3].map(|want| queue.enqueue(want, Waker::noop().clone()));
        assert!(queue.grant_if(|&want| want == 1, |want| want).is_none());
        assert_eq!(queue.len(), 4);
        let granted = queue.grant_if(|_| true, |want| want);
        assert!(granted.is_some() && queue.len() == 3);
        let (place, want) = queue.take_want(9).unwrap();
        assert_eq!((want, queue.len()), (1, 3));
        assert!(queue.grant_at(place, 1).is_ok() && queue.len() == 2);
        assert!(queue.grant_at(place, 1).is_err() && queue.len() == 2);
        for (ticket, left) in tickets.into_iter().zip([2, 2, 1, 0]) {
            drop(queue.cancel(ticket));
            assert_eq!(queue.len(), left);
        }
        assert!(queue.is_empty() && !grant(&queue));
    }

    #[test]
    fn a_waiter_that_does_not_fit_keeps_those_behind_it_waiting() {
        let queue = WaitQueue::<u8, u8>::default();
        let tickets = [5, 1].map(|want| queue.enqueue(want, Waker::noop().clone()));
        let fits = |room: u8| queue.grant_if(|&want| want <= room, |want| want);
        assert!(fits(4).is_none());
        assert!(fits(5).is_some() && fits(1).is_some());
        for ticket in tickets {
            assert!(matches!(queue.cancel(ticket), Cancelled::Granted(_)));
        }
    }

    #[test]
    fn a_later_waiter_is_not_granted_what_was_for_earlier_ones() {
        let queue = WaitQueue::<u8, u8>::default();
        let first = queue.enqueue(1, Waker::noop().clone());
        let ticket = queue.next_ticket();
        let second = queue.enqueue(2, Waker::noop().clone());
        let all = |ticket| queue.grant_before(ticket, |_| true, |want| want);
        assert!(all(ticket).is_some() && all(ticket).is_none());
        assert!(matches!(queue.cancel(first), Cancelled::Granted(1)));
        assert!(matches!(queue.cancel(second), Cancelled::Waiting(2, _)));
    }

    #[test]
    fn a_waker_that_panics_does_not_keep_the_next_asleep() {
        struct Hostile;
        impl Wake for Hostile {
            fn wake(self: Arc<Self>) {
                panic!("hostile");
            }
        }
        let (woken, waker) = waker();
        let mut batch = WakeBatch::default();
        batch.wake(Waker::from(Arc::new(Hostile)));
        batch.wake(waker);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        batch.report();
    }
}
