//! A list of wakers, in the order in which they were added.
//!
//! A waiter holds its place by a key and gives the place up when it is dropped, so a cancelled
//! waiter leaves nothing behind (R090). Wakers are taken out under the borrow and woken after it: a
//! waker may be user code that calls back (L8).
//!
//! Sources, tasks, futures and events use it, where one event is enough for all waiters. Where each
//! waiter is to be granted something of its own, `wait_queue.rs` is used. asyncio has a deque of futures
//! in each of these.

use super::wait_queue::{drop_waker, report_to_loop};
use crate::base::numbered::NumberedQueue;
use crate::event_loop::panics::{FirstPanic, Payload, catch};
use std::cell::{Cell, OnceCell, RefCell};
use std::num::NonZeroU64;
use std::task::Waker;

/// A FIFO of wakers.
///
/// Most lists hold exactly one waker, which is stored inline; a queue is allocated only for a
/// second one. Such a list takes 32 bytes and no allocation, where a slab and a deque took 80 and
/// two.
#[derive(Default)]
pub(crate) struct WakerList {
    /// The oldest waker. A new one is stored here only if the queue is empty too: queued ones are
    /// older.
    inline: Cell<Option<Waker>>,
    /// The number of wakers that were stored inline so far: the key of the last one has it.
    inline_generation: Cell<u64>,
    queue: OnceCell<Box<RefCell<Queue>>>,
}

/// The wakers behind the first one.
#[derive(Default)]
struct Queue {
    wakers: NumberedQueue<Waker>,
    /// The number of wakers that were queued so far.
    count: u64,
}

/// A place in the list: twice a number for the inline one, and one more for the queue. Numbers are
/// not used again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaiterKey(pub(super) NonZeroU64);

enum Position {
    Inline(u64),
    Queue(u64),
}

impl WaiterKey {
    fn inline(number: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(2 * number - 1))
    }

    fn queued(number: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(2 * number))
    }

    #[inline]
    fn position(self) -> Position {
        match self.0.get() {
            bits if bits % 2 == 0 => Position::Inline(bits / 2),
            bits => Position::Queue(bits / 2),
        }
    }
}

impl WakerList {
    /// Stores `waker` at the place of `key`, or at a new one at the end.
    #[inline]
    pub(crate) fn wait(&self, key: &mut Option<WaiterKey>, waker: &Waker) {
        match *key {
            None => {
                // Before the borrow (L8).
                let waker = waker.clone();
                *key = Some(self.push(waker));
            }
            Some(old) => self.wait_on(old, key, waker),
        }
    }

    #[inline(never)]
    fn wait_on(&self, old: WaiterKey, key: &mut Option<WaiterKey>, waker: &Waker) {
        if self.has(old, waker) {
            return;
        }
        // Cloned before the borrow, and the replaced one dropped after it (L8).
        let mut waker = waker.clone();
        if !self.swap(old, &mut waker) {
            *key = Some(self.push(waker));
        }
    }

    /// Whether the waker stored there wakes the same task as `waker`.
    fn has(&self, key: WaiterKey, waker: &Waker) -> bool {
        let is_same = |kept: &Waker| kept.will_wake(waker);
        match key.position() {
            Position::Inline(number) if number != self.inline_generation.get() => false,
            Position::Inline(_) => {
                let kept = self.inline.take();
                let same = kept.as_ref().is_some_and(is_same);
                self.inline.set(kept);
                same
            }
            Position::Queue(number) => self.queue.get().is_some_and(|queue| {
                let mut queue = queue.borrow_mut();
                queue
                    .wakers
                    .get_mut(number)
                    .is_some_and(|kept| is_same(kept))
            }),
        }
    }

    /// Exchanges the waker at a place, if that is still occupied.
    fn swap(&self, key: WaiterKey, waker: &mut Waker) -> bool {
        let mut swap =
            |kept: Option<&mut Waker>| kept.map(|kept| std::mem::swap(kept, waker)).is_some();
        match key.position() {
            Position::Inline(number) if number != self.inline_generation.get() => false,
            Position::Inline(_) => {
                let mut kept = self.inline.take();
                let swapped = swap(kept.as_mut());
                self.inline.set(kept);
                swapped
            }
            Position::Queue(number) => self.queue.get().is_some_and(|queue| {
                let mut queue = queue.borrow_mut();
                swap(queue.wakers.get_mut(number))
            }),
        }
    }

    #[inline]
    fn push(&self, waker: Waker) -> WaiterKey {
        let first = self.inline.take();
        if first.is_some() || self.queued() != 0 {
            self.inline.set(first);
            return self.push_behind(waker);
        }
        self.inline.set(Some(waker));
        self.inline_generation.set(self.inline_generation.get() + 1);
        WaiterKey::inline(self.inline_generation.get())
    }

    #[inline(never)]
    fn push_behind(&self, waker: Waker) -> WaiterKey {
        let mut queue = self.queue.get_or_init(Box::default).borrow_mut();
        let number = queue.count + 1;
        queue.count = number;
        queue.wakers.push(number, waker);
        WaiterKey::queued(number)
    }

    /// Gives up the place of `key`.
    #[inline]
    pub(crate) fn leave(&self, key: &mut Option<WaiterKey>) {
        let Some(key) = key.take() else {
            return;
        };
        let waker = match key.position() {
            Position::Inline(number) if number != self.inline_generation.get() => None,
            Position::Inline(_) => self.inline.take(),
            Position::Queue(number) => self.remove(number),
        };
        // The leaving waiter may hold the value that it has waited for, which a panic here would
        // lose.
        if let Some(waker) = waker {
            drop_waker(waker);
        }
    }

    #[inline(never)]
    fn remove(&self, number: u64) -> Option<Waker> {
        self.queue.get()?.borrow_mut().wakers.remove(number)
    }

    fn pop(&self) -> Option<Waker> {
        let first = self.inline.take();
        first.or_else(|| self.queue.get()?.borrow_mut().wakers.pop())
    }

    /// The number of queued wakers.
    #[inline]
    fn queued(&self) -> usize {
        self.queue
            .get()
            .map_or(0, |queue| queue.borrow().wakers.len())
    }

    /// The number of wakers in the list.
    pub(crate) fn len(&self) -> usize {
        let first = self.inline.take();
        let waiting = usize::from(first.is_some()) + self.queued();
        self.inline.set(first);
        waiting
    }

    /// Wakes all present waiters; those that come meanwhile wait for the next call.
    ///
    /// # Panics
    ///
    /// Resumes the first panic of a waker, after the others have been woken (R057).
    #[inline]
    pub(crate) fn wake_all(&self) {
        if self.queued() != 0 {
            return resume_panic(wake_each(self));
        }
        // It is alone: its panic cannot keep another waiter asleep.
        if let Some(waker) = self.inline.take() {
            waker.wake();
        }
    }

    /// Wakes all present waiters; a panic of a waker is reported to the loop and follows its policy
    /// instead of reaching the caller.
    #[inline]
    pub(crate) fn wake_all_reporting(&self) {
        // Most events and channels have no waiter, or one.
        let panic = if self.queued() == 0 {
            let Some(waker) = self.inline.take() else {
                return;
            };
            catch(|| waker.wake()).err()
        } else {
            wake_each(self)
        };
        if let Some(payload) = panic {
            report_to_loop(payload);
        }
    }
}

/// Wakes the waiters of a list, and returns the first panic of a waker.
#[inline(never)]
fn wake_each(list: &WakerList) -> Option<Payload> {
    let mut panic = FirstPanic::default();
    wake_all_into(list, &mut panic);
    panic.take()
}

/// Wakes the present waiters of a list. A panic of a waker goes to `panic`.
pub(super) fn wake_all_into(list: &WakerList, panic: &mut FirstPanic) {
    for _ in 0..list.len() {
        let Some(waker) = list.pop() else { break };
        panic.run(|| waker.wake());
    }
}

fn resume_panic(panic: Option<Payload>) {
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
    fn waiters_are_woken_in_order_and_those_that_have_left_are_not() {
        let waiters = WakerList::default();
        let woken = Arc::default();
        let mut keys: Vec<Option<WaiterKey>> = (0..4).map(|_| None).collect();
        for (n, key) in keys.iter_mut().enumerate() {
            waiters.wait(key, &note(n, &woken));
        }
        waiters.leave(&mut keys[1]);
        // A new waker at an old place keeps the place.
        waiters.wait(&mut keys[0], &note(9, &woken));
        waiters.wake_all();
        assert_eq!(*woken.lock().unwrap(), [9, 2, 3]);
        assert_eq!(waiters.len(), 0);
    }

    fn note(n: usize, woken: &Arc<Mutex<Vec<usize>>>) -> Waker {
        Waker::from(Arc::new(Note(n, Arc::clone(woken))))
    }

    #[test]
    fn no_waiter_overtakes_one_behind_a_first_that_has_left() {
        let (waiters, woken) = (WakerList::default(), Arc::default());
        let (mut a, mut b, mut c) = (None, None, None);
        waiters.wait(&mut a, &note(1, &woken));
        waiters.wait(&mut b, &note(2, &woken));
        waiters.leave(&mut a);
        waiters.wait(&mut c, &note(3, &woken));
        waiters.wake_all();
        assert_eq!(*woken.lock().unwrap(), [2, 3]);
    }

    #[test]
    fn a_woken_waiter_that_leaves_late_does_not_take_the_place_of_another() {
        let (waiters, woken) = (WakerList::default(), Arc::default());
        for _ in 0..2 {
            let (mut old, mut new, mut behind) = (None, None, None);
            waiters.wait(&mut old, &note(1, &woken));
            waiters.wait(&mut behind, &note(2, &woken));
            waiters.wake_all();
            waiters.wait(&mut new, &note(3, &woken));
            waiters.leave(&mut old);
            waiters.wait(&mut behind, &note(4, &woken));
            waiters.wake_all();
            assert_eq!(std::mem::take(&mut *woken.lock().unwrap()), [1, 2, 3, 4]);
        }
    }

    #[test]
    fn a_waker_that_panics_does_not_keep_the_others_asleep() {
        let waiters = WakerList::default();
        let woken = Arc::default();
        let (mut a, mut b) = (None, None);
        waiters.wait(&mut a, &Waker::from(Arc::new(Hostile(AtomicUsize::new(0)))));
        waiters.wait(&mut b, &note(1, &woken));
        assert!(catch(|| waiters.wake_all()).is_err());
        assert_eq!(*woken.lock().unwrap(), [1]);
    }

    #[test]
    fn waiters_that_come_and_go_leave_no_trace() {
        let waiters = WakerList::default();
        // One is stored inline, one in the queue, which is never empty then.
        let mut stay = [None, None];
        for key in &mut stay {
            waiters.wait(key, Waker::noop());
        }
        for _ in 0..1000 {
            let mut key = None;
            waiters.wait(&mut key, Waker::noop());
            waiters.leave(&mut key);
        }
        assert_eq!(waiters.len(), 2);
        let queue = waiters.queue.get().unwrap().borrow();
        assert!(queue.wakers.places() < 16);
    }
}
