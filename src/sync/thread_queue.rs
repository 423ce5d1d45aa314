//! Values from other threads: a list behind a lock, and the waker of its receiver.
//!
//! A waker sends its message to the loop, which is notified once for each sleep. The first sender takes the
//! waker, so the receiver is woken once for all values that arrive before it runs; and no user code runs
//! under the lock.
//!
//! In asyncio: `call_soon_threadsafe` with `put_nowait`.

use super::errors::{Closed, PutError};
use crate::base::shrink;
use crate::base::sync::{Mutex, MutexGuard};
use crate::task::wait_queue::{WakeBatch, drop_waker};
use std::collections::VecDeque;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

#[cfg(all(loom, test))]
mod models;

pub(super) struct State<T> {
    pub(super) items: VecDeque<T>,
    /// Of the receiver, while it waits and was not woken.
    pub(super) waker: Option<Waker>,
    pub(super) senders: usize,
    /// How many places are kept for values that come later.
    reserved: usize,
    pub(super) closed: bool,
}

impl<T> State<T> {
    pub(super) fn pop(&mut self) -> Option<T> {
        let item = self.items.pop_front();
        shrink::shrink(&mut self.items); // R126
        item
    }
}

/// The values that were sent and not received yet, and the waker of the receiver.
pub(super) struct ThreadQueue<T> {
    state: Mutex<State<T>>,
    capacity: usize,
}

impl<T> ThreadQueue<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let list = Mutex::new(State {
            items: VecDeque::new(),
            waker: None,
            senders: 1,
            reserved: 0,
            closed: false,
        });
        Self {
            state: list,
            capacity,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State<T>> {
        // A poisoned list is whole: nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, value: T) -> Result<(), PutError<T>> {
        let list = self.state();
        if list.closed {
            return Err(PutError::Closed(value));
        }
        if list.items.len() + list.reserved >= self.capacity {
            return Err(PutError::Full(value));
        }
        Self::add(list, value);
        Ok(())
    }

    fn add(mut list: MutexGuard<'_, State<T>>, value: T) {
        list.items.push_back(value);
        // Q9: taken, so that it is woken once for all that come before it runs.
        let waker = list.waker.take();
        drop(list);
        wake(waker);
    }

    /// Keeps a place for a value that comes later, from one sender more.
    pub(super) fn reserve(&self) -> Result<(), PutError<()>> {
        let mut list = self.state();
        if list.closed {
            return Err(PutError::Closed(()));
        }
        if list.items.len() + list.reserved >= self.capacity {
            return Err(PutError::Full(()));
        }
        list.reserved += 1;
        list.senders += 1;
        Ok(())
    }

    /// Puts a value into the place that is kept for it.
    pub(super) fn push_reserved(&self, value: T) -> Result<(), Closed<T>> {
        let mut list = self.state();
        if list.closed {
            return Err(Closed(value));
        }
        list.reserved -= 1;
        Self::add(list, value);
        Ok(())
    }

    /// A place is kept no more.
    pub(super) fn cancel_reservation(&self) {
        self.state().reserved -= 1;
    }

    /// One sender less.
    pub(super) fn leave(&self) {
        let mut list = self.state();
        list.senders -= 1;
        let waker = match list.senders {
            0 => list.waker.take(),
            _ => None,
        };
        drop(list);
        wake(waker);
    }

    pub(super) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Result<T, Closed>> {
        // Cloned before the lock: that may be user code (L8).
        let waker = cx.waker().clone();
        let mut list = self.state();
        let seen = match list.pop() {
            Some(item) => Some(Ok(item)),
            None => (list.closed || list.senders == 0).then_some(Err(Closed(()))),
        };
        // A sender takes the lock after this, and finds the waker (Q9).
        let unused = match seen {
            Some(_) => Some(waker),
            None => list.waker.replace(waker),
        };
        drop(list);
        unused.into_iter().for_each(drop_waker);
        seen.map_or(Poll::Pending, Poll::Ready)
    }
}

/// Wakes the receiver, after the lock (L8). A waker's panic does not reach the sender.
fn wake(waker: Option<Waker>) {
    let mut batch = WakeBatch::default();
    waker.into_iter().for_each(|waker| batch.wake(waker));
    batch.report();
}
