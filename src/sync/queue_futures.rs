//! `Get`, `Put`: the futures of a queue that wait for an item, or for room for one.
//!
//! Each tries first, and takes a place in its queue of waiters only if that fails. They are written by
//! hand and not as `async fn`, which makes each wait cheaper.
//!
//! In asyncio: `Queue.get`, `Queue.put`.

use super::errors::{Closed, GetError, PutError};
use super::queue_order::QueueOrder;
use super::queue_state::{PutOutcome, QueueState, Wanted};
use crate::task::budget;
use crate::task::is_task_waker;
use crate::task::wait_queue::{Cancelled, WaitTicket, drop_waker, report_to_loop};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Waits for an item.
pub(super) struct Get<'a, T, S: QueueOrder<T>> {
    state: &'a QueueState<T, S>,
    ticket: Option<WaitTicket>,
}

impl<'a, T, S: QueueOrder<T>> Get<'a, T, S> {
    pub(super) fn new(state: &'a QueueState<T, S>) -> Self {
        Self {
            state,
            ticket: None,
        }
    }
}

impl<T, S: QueueOrder<T>> QueueState<T, S> {
    /// Gets an item, if that does not take waiting.
    #[inline]
    fn get_now(&self) -> Option<Result<T, Closed>> {
        match self.check_item() {
            Ok(()) => self.take().map(Ok),
            Err(GetError::Closed) => Some(Err(Closed(()))),
            Err(GetError::Empty) => None,
        }
    }

    #[cold]
    fn get_after_clone(&self) -> Option<Result<T, Closed>> {
        self.get_now()
    }
}

impl<T, S: QueueOrder<T>> Future for Get<'_, T, S> {
    type Output = Result<T, Closed>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        budget::budgeted(cx, |cx| {
            let Self { state, ticket } = &mut *self;
            if ticket.is_some() {
                let granted = ready!(state.getters.poll(ticket, cx.waker()));
                return Poll::Ready(granted.and_then(|()| state.take_reserved().ok_or(Closed(()))));
            }
            if let Some(got) = state.get_now() {
                return Poll::Ready(got);
            }
            let waker = cx.waker().clone();
            if !is_task_waker(&waker) {
                // Cloning the waker may have run user code, which may have put an item.
                if let Some(got) = state.get_after_clone() {
                    drop_waker(waker);
                    return Poll::Ready(got);
                }
            }
            *ticket = Some(state.getters.enqueue((), waker));
            Poll::Pending
        })
    }
}

impl<T, S: QueueOrder<T>> Drop for Get<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.give_up(ticket);
        }
    }
}

impl<T, S: QueueOrder<T>> Get<'_, T, S> {
    #[cold]
    fn give_up(&self, ticket: WaitTicket) {
        if let Cancelled::Granted(Ok(())) = self.state.getters.cancel(ticket) {
            // Q6: the item has not moved; the right to it is the next one's.
            self.state
                .reserved_items
                .set(self.state.reserved_items.get() - 1);
            self.state.match_waiters();
        }
    }
}

/// Waits for room for an item.
pub(super) struct Put<'a, T, S: QueueOrder<T>> {
    state: &'a QueueState<T, S>,
    /// Until it has a place, where the item waits.
    item: Option<T>,
    ticket: Option<WaitTicket>,
}

impl<'a, T, S: QueueOrder<T>> Put<'a, T, S> {
    pub(super) fn new(state: &'a QueueState<T, S>, item: T) -> Self {
        Self {
            state,
            item: Some(item),
            ticket: None,
        }
    }

    /// Puts the item, if that does not take waiting.
    #[inline]
    fn try_now(&mut self) -> Poll<Result<(), Closed<T>>> {
        let room = self.state.check_room();
        if let Err(PutError::Full(())) = room {
            return Poll::Pending; // the item stays where it is
        }
        let item = self.item.take();
        let item = item.expect("it has the item until it has a place");
        Poll::Ready(match room {
            Ok(()) => {
                self.state.put(item);
                Ok(())
            }
            Err(_) => Err(Closed(item)),
        })
    }

    #[cold]
    fn try_after_clone(&mut self) -> Poll<Result<(), Closed<T>>> {
        self.try_now()
    }
}

// The item is handed on, and never pinned.
impl<T, S: QueueOrder<T>> Unpin for Put<'_, T, S> {}

impl<T, S: QueueOrder<T>> Future for Put<'_, T, S> {
    type Output = Result<(), Closed<T>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        budget::budgeted(cx, |cx| {
            let this = &mut *self;
            if this.ticket.is_some() {
                let polled = this.state.putters.poll(&mut this.ticket, cx.waker());
                return polled.map(|admitted| match admitted {
                    PutOutcome::Closed(Wanted::Item(item)) => Err(Closed(item)),
                    PutOutcome::Panicked(payload) => resume_unwind(payload),
                    _ => Ok(()),
                });
            }
            if let Poll::Ready(put) = this.try_now() {
                return Poll::Ready(put);
            }
            let waker = cx.waker().clone();
            if !is_task_waker(&waker) {
                // Cloning the waker may have run user code, which may have made room.
                if let Poll::Ready(put) = this.try_after_clone() {
                    drop_waker(waker);
                    return Poll::Ready(put);
                }
            }
            let item = this.item.take().map(Wanted::Item);
            this.ticket = item.map(|item| this.state.putters.enqueue(item, waker));
            Poll::Pending
        })
    }
}

impl<T, S: QueueOrder<T>> Drop for Put<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.give_up(ticket);
        }
    }
}

impl<T, S: QueueOrder<T>> Put<'_, T, S> {
    #[cold]
    fn give_up(&self, ticket: WaitTicket) {
        // An item that was not moved on goes with it.
        let left = self.state.putters.cancel(ticket);
        if let Cancelled::Granted(PutOutcome::Panicked(payload)) = left {
            report_to_loop(payload);
        }
    }
}
