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
use crate::task::line::{Left, Place, let_go, tell_the_loop};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Waits for an item.
pub(super) struct Get<'a, T, S: Store<T>> {
    shelf: &'a Shelf<T, S>,
    place: Option<Place>,
}

impl<'a, T, S: Store<T>> Get<'a, T, S> {
    pub(super) fn new(shelf: &'a Shelf<T, S>) -> Self {
        Self { shelf, place: None }
    }
}

impl<T, S: Store<T>> Future for Get<'_, T, S> {
    type Output = Result<T, Shut>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        budget::budgeted(cx, |cx| {
            let Self { shelf, place } = &mut *self;
            if place.is_some() {
                let granted = ready!(shelf.getters.poll(place, cx.waker()));
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
                let_go(waker);
                return Poll::Ready(got);
            }
            *place = Some(shelf.getters.join((), waker));
            Poll::Pending
        })
    }
}

impl<T, S: Store<T>> Drop for Get<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.give_up(place);
        }
    }
}

impl<T, S: Store<T>> Get<'_, T, S> {
    #[cold]
    fn give_up(&self, place: Place) {
        if let Left::Granted(Ok(())) = self.shelf.getters.leave(place) {
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
    place: Option<Place>,
}

impl<'a, T, S: Store<T>> Put<'a, T, S> {
    pub(super) fn new(shelf: &'a Shelf<T, S>, item: T) -> Self {
        Self {
            shelf,
            item: Some(item),
            place: None,
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
            if this.place.is_some() {
                let polled = this.shelf.putters.poll(&mut this.place, cx.waker());
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
                let_go(waker);
                return Poll::Ready(put);
            }
            let item = this.item.take().map(Wanted::Item);
            this.place = item.map(|item| this.shelf.putters.join(item, waker));
            Poll::Pending
        })
    }
}

impl<T, S: Store<T>> Drop for Put<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            // An item that was not moved on goes with it.
            let left = self.shelf.putters.leave(place);
            if let Left::Granted(Admitted::Panicked(payload)) = left {
                tell_the_loop(payload);
            }
        }
    }
}

/// Waits for a place for an item that comes later.
pub(super) struct Reserve<'a, T, S: Store<T>> {
    shelf: &'a Rc<Shelf<T, S>>,
    place: Option<Place>,
}

impl<'a, T, S: Store<T>> Reserve<'a, T, S> {
    pub(super) fn new(shelf: &'a Rc<Shelf<T, S>>) -> Self {
        Self { shelf, place: None }
    }

    fn try_now(&self) -> Option<Result<(), Shut>> {
        match self.shelf.try_reserve() {
            Ok(()) => Some(Ok(())),
            Err(PutError::Shut(())) => Some(Err(Shut(()))),
            Err(PutError::Full(())) => None,
        }
    }

    fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Shut>> {
        if self.place.is_some() {
            let polled = self.shelf.putters.poll(&mut self.place, cx.waker());
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
            let_go(waker);
            return Poll::Ready(reserved);
        }
        self.place = Some(self.shelf.putters.join(Wanted::Place, waker));
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
        if let Some(place) = self.place.take() {
            if let Left::Granted(Admitted::Reserved) = self.shelf.putters.leave(place) {
                // Q6: the place is the next one's.
                self.shelf.give_up_place();
            }
        }
    }
}
