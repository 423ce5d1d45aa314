//! A wait list: wakers in the order in which they came.
//!
//! Whoever waits holds a place by its key and gives it up when dropped, so a cancelled
//! waiter leaves nothing behind (R090). Wakers are taken out under the borrow and woken
//! after it: a waker may be somebody else's code, and come back (L8).
//!
//! Sources, tasks and futures wait here, where there is enough for all who are woken. Where each is
//! to be granted something of his own, it is `line.rs`. asyncio has a deque of futures in each.

use crate::base::slab::{Slab, SlabKey};
use crate::event_loop::panics::{Payload, catch};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::Waker;

#[derive(Default)]
struct List {
    wakers: Slab<Waker>,
    /// Oldest first. A key whose waiter has left finds nothing.
    order: VecDeque<SlabKey>,
}

/// A FIFO of wakers.
#[derive(Default)]
pub(crate) struct Waiters {
    list: RefCell<List>,
}

/// A place in the list.
#[derive(Debug)]
pub(crate) struct WaiterKey(SlabKey);

impl Waiters {
    /// Waits at the place of `key`, or at a new one at the end.
    pub(crate) fn wait(&self, key: &mut Option<WaiterKey>, waker: &Waker) {
        if let Some(WaiterKey(place)) = key {
            match self.list.borrow().wakers.get(*place) {
                Some(kept) if kept.will_wake(waker) => return,
                _ => {}
            }
        }
        // Cloned before the borrow, and what it replaces dropped after it (L8).
        let mut waker = waker.clone();
        let mut list = self.list.borrow_mut();
        if let Some(WaiterKey(place)) = key {
            if let Some(kept) = list.wakers.get_mut(*place) {
                std::mem::swap(kept, &mut waker);
                drop(list);
                return;
            }
        }
        let place = list.wakers.insert(waker);
        list.order.push_back(place);
        // Those who leave stay in the order until their turn; a list of which nobody is ever
        // woken must not grow by it.
        if list.order.len() > 2 * list.wakers.len() + 8 {
            let List { wakers, order } = &mut *list;
            order.retain(|&place| wakers.get(place).is_some());
        }
        drop(list);
        *key = Some(WaiterKey(place));
    }

    /// Gives a place up.
    pub(crate) fn leave(&self, key: &mut Option<WaiterKey>) {
        let Some(WaiterKey(place)) = key.take() else {
            return;
        };
        let waker = self.list.borrow_mut().wakers.remove(place);
        drop(waker);
    }

    fn pop(&self) -> Option<Waker> {
        let mut list = self.list.borrow_mut();
        loop {
            let place = list.order.pop_front()?;
            if let Some(waker) = list.wakers.remove(place) {
                return Some(waker);
            }
        }
    }

    /// Wakes all who wait now; those who come meanwhile are for the next time.
    ///
    /// # Panics
    ///
    /// Goes on with the first panic of a waker, after the others have been woken (R057).
    pub(crate) fn wake_all(&self) {
        wake_all_of(&[self]);
    }

    /// How many wait.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.list.borrow().wakers.len()
    }
}

/// [`Waiters::wake_all`] of several lists: a waker that panics in one does not keep those in
/// another asleep.
///
/// # Panics
///
/// As there.
pub(crate) fn wake_all_of(lists: &[&Waiters]) {
    let mut panic: Option<Payload> = None;
    for list in lists {
        let waiting = list.list.borrow().wakers.len();
        for _ in 0..waiting {
            let Some(waker) = list.pop() else { break };
            if let Err(payload) = catch(|| waker.wake()) {
                panic.get_or_insert(payload);
            }
        }
    }
    if let Some(payload) = panic {
        std::panic::resume_unwind(payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::task::Wake;

    struct Note(usize, Arc<Mutex<Vec<usize>>>);

    impl Wake for Note {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    struct Hostile(AtomicUsize);

    impl Wake for Hostile {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
            panic!("hostile");
        }
    }

    #[test]
    fn waiters_are_woken_in_the_order_of_their_coming_and_those_who_left_are_not() {
        let waiters = Waiters::default();
        let woken = Arc::default();
        let mut keys: Vec<Option<WaiterKey>> = (0..4).map(|_| None).collect();
        for (n, key) in keys.iter_mut().enumerate() {
            waiters.wait(key, &Waker::from(Arc::new(Note(n, Arc::clone(&woken)))));
        }
        waiters.leave(&mut keys[1]);
        // A new waker at an old place keeps the place.
        waiters.wait(
            &mut keys[0],
            &Waker::from(Arc::new(Note(9, Arc::clone(&woken)))),
        );
        waiters.wake_all();
        assert_eq!(*woken.lock().unwrap(), [9, 2, 3]);
        assert_eq!(waiters.len(), 0);
    }

    #[test]
    fn a_waker_that_panics_does_not_keep_the_others_asleep() {
        let waiters = Waiters::default();
        let woken = Arc::default();
        let (mut a, mut b) = (None, None);
        waiters.wait(&mut a, &Waker::from(Arc::new(Hostile(AtomicUsize::new(0)))));
        waiters.wait(&mut b, &Waker::from(Arc::new(Note(1, Arc::clone(&woken)))));
        assert!(catch(|| waiters.wake_all()).is_err());
        assert_eq!(*woken.lock().unwrap(), [1]);
    }

    #[test]
    fn waiters_that_come_and_go_leave_no_trace() {
        let waiters = Waiters::default();
        let mut stays = None;
        waiters.wait(&mut stays, Waker::noop());
        for _ in 0..1000 {
            let mut key = None;
            waiters.wait(&mut key, Waker::noop());
            waiters.leave(&mut key);
        }
        assert_eq!(waiters.len(), 1);
        assert!(waiters.list.borrow().order.len() < 16);
    }
}
