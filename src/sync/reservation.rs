//! `Reservation`: room in a queue that is kept for a later item.
//!
//! A `put` that is cancelled, or loses a race, drops its item, or has put it already: its caller does
//! not know which, and may put the item twice by trying again. With `reserve`, only the wait for room
//! may be given up; putting the item does not wait, and fails only if the queue was closed.
//!
//! Not in asyncio. In tokio: `mpsc::Sender::reserve`. Rule: Q6.

use super::errors::{Closed, PutError};
use super::queue::Queue;
use super::queue_order::{Fifo, QueueOrder};
use super::queue_state::{PutOutcome, QueueState, Wanted};
use crate::task::budget;
use crate::task::wait_queue::{Cancelled, WaitTicket, drop_waker};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Reserved room for one item in a queue, until it is used or dropped. It may be sent to another
/// task.
///
/// A reservation that is neither used nor dropped takes room from all others; so does a future of
/// [`Queue::reserve`] that was granted one and is not polled: see
/// [futurelock](crate::select#futurelock).
#[must_use = "dropping it gives the place up"]
pub struct Reservation<T, S: QueueOrder<T> = Fifo<T>> {
    state: Rc<QueueState<T, S>>,
}

impl<T, S: QueueOrder<T>> Reservation<T, S> {
    fn new(state: &Rc<QueueState<T, S>>) -> Self {
        let state = Rc::clone(state);
        Self { state }
    }

    /// Puts `item` into the reserved room, without waiting.
    ///
    /// # Errors
    ///
    /// [`Closed`] with `item` in it, if the queue was closed since.
    ///
    /// # Panics
    ///
    /// If comparing `item` with the others panics; then `item` is not in the queue.
    pub fn put(self, item: T) -> Result<(), Closed<T>> {
        // The place is given up afterwards, when the item has it.
        self.state.put_reserved(item)
    }
}

impl<T, S: QueueOrder<T>> Drop for Reservation<T, S> {
    fn drop(&mut self) {
        self.state.cancel_reservation();
    }
}

impl<T, S: QueueOrder<T>> fmt::Debug for Reservation<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").finish_non_exhaustive()
    }
}

/// Waits for a place for an item that comes later.
struct Reserve<'a, T, S: QueueOrder<T>> {
    state: &'a Rc<QueueState<T, S>>,
    ticket: Option<WaitTicket>,
}

impl<'a, T, S: QueueOrder<T>> Reserve<'a, T, S> {
    fn new(state: &'a Rc<QueueState<T, S>>) -> Self {
        Self {
            state,
            ticket: None,
        }
    }

    fn try_now(&self) -> Option<Result<(), Closed>> {
        match self.state.try_reserve() {
            Ok(()) => Some(Ok(())),
            Err(PutError::Closed(())) => Some(Err(Closed(()))),
            Err(PutError::Full(())) => None,
        }
    }

    fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        if self.ticket.is_some() {
            let polled = self.state.putters.poll(&mut self.ticket, cx.waker());
            return polled.map(|admitted| match admitted {
                PutOutcome::Closed(_) => Err(Closed(())),
                _ => Ok(()),
            });
        }
        if let Some(reserved) = self.try_now() {
            return Poll::Ready(reserved);
        }
        let waker = cx.waker().clone();
        // Cloning the waker may run user code, which may have made room.
        if let Some(reserved) = self.try_now() {
            drop_waker(waker);
            return Poll::Ready(reserved);
        }
        self.ticket = Some(self.state.putters.enqueue(Wanted::Reservation, waker));
        Poll::Pending
    }
}

impl<T, S: QueueOrder<T>> Future for Reserve<'_, T, S> {
    type Output = Result<Reservation<T, S>, Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        budget::budgeted(cx, |cx| {
            let reserved = ready!(self.poll_place(cx));
            Poll::Ready(reserved.map(|()| Reservation::new(self.state)))
        })
    }
}

impl<T, S: QueueOrder<T>> Drop for Reserve<'_, T, S> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            if let Cancelled::Granted(PutOutcome::Reserved) = self.state.putters.cancel(ticket) {
                // Q6: the place is the next one's.
                self.state.cancel_reservation();
            }
        }
    }
}

impl<T, S: QueueOrder<T>> Queue<T, S> {
    /// Waits for room, and reserves it for a later item. It waits in one order with
    /// [`put`](Queue::put).
    ///
    /// Use this where a [`put`](Queue::put) may be cancelled, or lose a race: a `put` that was
    /// dropped may have put its item. The reservation's `put` does not wait, so the caller always
    /// knows.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the queue is closed, or is closed meanwhile.
    ///
    /// # Cancellation
    ///
    /// Dropping it gives up its place among the waiters; room that was granted goes to the next waiter.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{Queue, run, wait_for};
    /// use std::time::Duration;
    ///
    /// run(async {
    ///     let queue = Queue::bounded(1);
    ///     queue.try_put("the first").unwrap();
    ///     let item = "the second";
    ///     loop {
    ///         match wait_for(Duration::from_millis(5), queue.reserve()).await {
    ///             // However often this has failed: it is put once.
    ///             Ok(place) => break place.unwrap().put(item).unwrap(),
    ///             Err(_elapsed) => drop(queue.try_get()),
    ///         }
    ///     }
    ///     assert_eq!(queue.close_now(), ["the second"]);
    /// })?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn reserve(&self) -> impl Future<Output = Result<Reservation<T, S>, Closed>> {
        Reserve::new(&self.state)
    }

    /// Reserves room for a later item, if there is room and no other task waits for it.
    ///
    /// # Errors
    ///
    /// [`PutError`].
    pub fn try_reserve(&self) -> Result<Reservation<T, S>, PutError<()>> {
        self.state.try_reserve()?;
        Ok(Reservation::new(&self.state))
    }
}
