//! `Get`, `Put`, `Reserve`: the futures of a queue that wait for an item, or for room for one.
//!
//! Each tries first, and takes a place in its line only where that does not do. They are futures
//! by hand and no coroutines: what awaits them has them within itself, which for each wait is 30
//! instructions less.
//!
//! In asyncio: `Queue.get`, `Queue.put`.

use super::errors::{GetError, PutError, Shut};
use super::reservation::Reservation;
use super::shelf::{Admitted, Shelf, Wanted};
use super::store::Store;
use crate::task::budget;
use crate::task::line::{Cancelled, WaitTicket, drop_waker, report_to_loop};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Waits for an item.
pub(super) struct Get<'a, T, S: Store<T>> {
    shelf: &'a Shelf<T, S>,
    ticket: Option<WaitTicket>,
}

impl<'a, T, S: Store<T>> Get<'a, T, S> {
    pub(super) fn new(shelf: &'a Shelf<T, S>) -> Self {
        Self {
            shelf,
            ticket: None,
        }
    }
}

impl<T, S: Store<T>> Future for Get<'_, T, S> {
    type Output = Result<T, Shut>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        budget::budgeted(cx, |cx| {
            let Self { shelf, ticket } = &mut *self;
            if ticket.is_some() {
                let granted = ready!(shelf.getters.poll(ticket, cx.waker()));
                return Poll::Ready(granted.and_then(|()| shelf.take_promised().ok_or(Shut(()))));
            }
            let look = || match shelf.try_take() {
                Ok(item) => Some(Ok(item)),
                Err(GetError::Shut) => Some(Err(Shut(()))),
                Err(GetError::Empty) => None,
            };
            if let Some(got) = look() {
                return Poll::Ready(got);
            }
            let waker = cx.waker().clone();
            // Cloning it was somebody else's code, and may have put something.
            if let Some(got) = look() {
                drop_waker(waker);
                return Poll::Ready(got);
            }
            *ticket = Some(shelf.getters.enqueue((), waker));
            Poll::Pending
        })
    }
}

impl<T, S: Store<T>> Drop for Get<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.give_up(ticket);
        }
    }
}

impl<T, S: Store<T>> Get<'_, T, S> {
    #[cold]
    fn give_up(&self, ticket: WaitTicket) {
        if let Cancelled::Granted(Ok(())) = self.shelf.getters.cancel(ticket) {
            // Q6: the item has not moved; the right to it is the next one's.
            self.shelf.promised.set(self.shelf.promised.get() - 1);
            self.shelf.serve();
        }
    }
}

/// Waits for room for an item.
pub(super) struct Put<'a, T, S: Store<T>> {
    shelf: &'a Shelf<T, S>,
    /// Until it has a place, where the item waits.
    item: Option<T>,
    ticket: Option<WaitTicket>,
}

impl<'a, T, S: Store<T>> Put<'a, T, S> {
    pub(super) fn new(shelf: &'a Shelf<T, S>, item: T) -> Self {
        Self {
            shelf,
            item: Some(item),
            ticket: None,
        }
    }

    /// Puts the item, if that does not take waiting.
    fn try_now(&mut self) -> Poll<Result<(), Shut<T>>> {
        let item = self.item.take();
        match self
            .shelf
            .try_put(item.expect("it has the item until it has a place"))
        {
            Ok(()) => Poll::Ready(Ok(())),
            Err(PutError::Shut(item)) => Poll::Ready(Err(Shut(item))),
            Err(PutError::Full(item)) => {
                self.item = Some(item);
                Poll::Pending
            }
        }
    }
}

// The item is handed on, and never pinned.
impl<T, S: Store<T>> Unpin for Put<'_, T, S> {}

impl<T, S: Store<T>> Future for Put<'_, T, S> {
    type Output = Result<(), Shut<T>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        budget::budgeted(cx, |cx| {
            let this = &mut *self;
            if this.ticket.is_some() {
                let polled = this.shelf.putters.poll(&mut this.ticket, cx.waker());
                return polled.map(|admitted| match admitted {
                    Admitted::Shut(Wanted::Item(item)) => Err(Shut(item)),
                    Admitted::Panicked(payload) => resume_unwind(payload),
                    _ => Ok(()),
                });
            }
            if let Poll::Ready(put) = this.try_now() {
                return Poll::Ready(put);
            }
            let waker = cx.waker().clone();
            // Cloning it was somebody else's code, and may have made room.
            if let Poll::Ready(put) = this.try_now() {
                drop_waker(waker);
                return Poll::Ready(put);
            }
            let item = this.item.take().map(Wanted::Item);
            this.ticket = item.map(|item| this.shelf.putters.enqueue(item, waker));
            Poll::Pending
        })
    }
}

impl<T, S: Store<T>> Drop for Put<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            // An item that was not moved on goes with it.
            let left = self.shelf.putters.cancel(ticket);
            if let Cancelled::Granted(Admitted::Panicked(payload)) = left {
                report_to_loop(payload);
            }
        }
    }
}

/// Waits for a place for an item that comes later.
pub(super) struct Reserve<'a, T, S: Store<T>> {
    shelf: &'a Rc<Shelf<T, S>>,
    ticket: Option<WaitTicket>,
}

impl<'a, T, S: Store<T>> Reserve<'a, T, S> {
    pub(super) fn new(shelf: &'a Rc<Shelf<T, S>>) -> Self {
        Self {
            shelf,
            ticket: None,
        }
    }

    fn try_now(&self) -> Option<Result<(), Shut>> {
        match self.shelf.try_reserve() {
            Ok(()) => Some(Ok(())),
            Err(PutError::Shut(())) => Some(Err(Shut(()))),
            Err(PutError::Full(())) => None,
        }
    }

    fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Shut>> {
        if self.ticket.is_some() {
            let polled = self.shelf.putters.poll(&mut self.ticket, cx.waker());
            return polled.map(|admitted| match admitted {
                Admitted::Shut(_) => Err(Shut(())),
                _ => Ok(()),
            });
        }
        if let Some(reserved) = self.try_now() {
            return Poll::Ready(reserved);
        }
        let waker = cx.waker().clone();
        // Cloning it was somebody else's code, and may have made room.
        if let Some(reserved) = self.try_now() {
            drop_waker(waker);
            return Poll::Ready(reserved);
        }
        self.ticket = Some(self.shelf.putters.enqueue(Wanted::Place, waker));
        Poll::Pending
    }
}

impl<T, S: Store<T>> Future for Reserve<'_, T, S> {
    type Output = Result<Reservation<T, S>, Shut>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        budget::budgeted(cx, |cx| {
            let reserved = ready!(self.poll_place(cx));
            Poll::Ready(reserved.map(|()| Reservation::new(self.shelf)))
        })
    }
}

impl<T, S: Store<T>> Drop for Reserve<'_, T, S> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            if let Cancelled::Granted(Admitted::Reserved) = self.shelf.putters.cancel(ticket) {
                // Q6: the place is the next one's.
                self.shelf.give_up_place();
            }
        }
    }
}
