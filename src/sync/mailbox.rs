//! Where other threads leave values: a list behind a lock, and the waker of whoever waits for it.
//!
//! A waker knows the way home, and rings once for each sleep of the loop. All that is added here is
//! that it is taken by the first who comes, and so woken once for all that is left before it runs;
//! and that nothing of the user's runs under the lock.
//!
//! In asyncio: `call_soon_threadsafe` with `put_nowait`.

use super::errors::{PutError, Shut};
use crate::base::sync::{Mutex, MutexGuard};
use crate::task::line::Wakes;
use std::collections::VecDeque;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

#[cfg(all(loom, test))]
mod models;

pub(super) struct List<T> {
    pub(super) items: VecDeque<T>,
    /// Of the receiver, while it waits and was not woken.
    pub(super) waker: Option<Waker>,
    pub(super) senders: usize,
    pub(super) shut: bool,
}

/// What was sent and not received, and who waits for it.
pub(super) struct Mailbox<T> {
    list: Mutex<List<T>>,
    capacity: usize,
}

impl<T> Mailbox<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let list = Mutex::new(List {
            items: VecDeque::new(),
            waker: None,
            senders: 1,
            shut: false,
        });
        Self { list, capacity }
    }

    pub(super) fn list(&self) -> MutexGuard<'_, List<T>> {
        // A poisoned list is whole: nothing that can panic runs under the lock.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, value: T) -> Result<(), PutError<T>> {
        let mut list = self.list();
        if list.shut {
            return Err(PutError::Shut(value));
        }
        if list.items.len() >= self.capacity {
            return Err(PutError::Full(value));
        }
        list.items.push_back(value);
        // Q9: taken, so that it is woken once for all that come before it runs.
        let waker = list.waker.take();
        drop(list);
        wake(waker);
        Ok(())
    }

    /// One sender less.
    pub(super) fn leave(&self) {
        let mut list = self.list();
        list.senders -= 1;
        let waker = match list.senders {
            0 => list.waker.take(),
            _ => None,
        };
        drop(list);
        wake(waker);
    }

    pub(super) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Result<T, Shut>> {
        // Cloned before the lock: that may be somebody else's code (L8).
        let waker = cx.waker().clone();
        let mut list = self.list();
        if let Some(item) = list.items.pop_front() {
            return Poll::Ready(Ok(item));
        }
        if list.shut || list.senders == 0 {
            return Poll::Ready(Err(Shut(())));
        }
        // Q9: who sends takes the lock after us, and finds the waker.
        let old = list.waker.replace(waker);
        drop(list);
        drop(old);
        Poll::Pending
    }
}

/// Wakes the receiver, after the lock (L8). Who sends has nothing to do with a waker's panic.
fn wake(waker: Option<Waker>) {
    let mut wakes = Wakes::default();
    waker.into_iter().for_each(|waker| wakes.wake(waker));
    wakes.tell();
}
