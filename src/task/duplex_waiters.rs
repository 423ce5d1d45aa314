//! The waiters for a descriptor, in two directions.
//!
//! Nearly always one task waits in each direction, and each time it is the same one. So a direction has
//! a place for a task that waits alone. Its waker stays there after the wake, and the next wait of the same
//! task clones nothing. All other waiters are in a list, which is allocated for the first of them: those
//! that come second, and those whose waker is not a task's. So no user code runs at the place.
//!
//! In asyncio a transport has one future for its reader, and one for its writer.

use super::cell::WakerSlot;
use super::waiters::{WaiterKey, WakerList, wake_all_into};
use crate::event_loop::panics::{FirstPanic, Payload};
use std::cell::{Cell, OnceCell};
use std::num::NonZeroU64;
use std::task::Waker;

/// The waiters in two directions, numbered 0 and 1.
#[derive(Default)]
#[repr(C)] // in the order of use
pub(crate) struct DuplexWaiters {
    places: [Cell<Place>; 2],
    /// The wakers of the tasks that wait alone, or did last.
    wakers: [WakerSlot; 2],
    /// The other waiters, which came later than one that waits alone.
    lists: OnceCell<Box<[WakerList; 2]>>,
}

/// The state of the place for a task that waits alone.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Place(u64);

impl Place {
    /// A task waits alone.
    const ALONE: u64 = 1;
    /// There are waiters in the list, or there were at the last wake.
    const LISTED: u64 = 2;
    /// The source is closed.
    const CLOSED: u64 = 4;
    /// With any of these a task cannot wait alone, or has to check first.
    const TAKEN: u64 = Self::ALONE | Self::LISTED | Self::CLOSED;
    /// The waits of tasks alone so far are counted in the bits above.
    const COUNT: u64 = 8;

    #[inline]
    const fn has(self, flags: u64) -> bool {
        self.0 & flags != 0
    }

    #[inline]
    const fn with(self, flag: u64) -> Self {
        Self(self.0 | flag)
    }

    #[inline]
    const fn without(self, flag: u64) -> Self {
        Self(self.0 & !flag)
    }
}

/// A waiter in one direction, and its place among the waiters, if it has one: that of a task alone, by its
/// number, or one in the list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DuplexWaiter(u64);

impl DuplexWaiter {
    /// Its direction.
    const SECOND: u64 = 1 << 63;
    /// It is a task that waits alone, or did.
    const ALONE: u64 = 1 << 62;
    /// The bits of the number, or of the place in the list. None if it has no place.
    const PLACE: u64 = Self::ALONE - 1;

    /// A waiter in `direction`, without a place.
    #[inline]
    pub(crate) const fn new(direction: usize) -> Self {
        Self((direction as u64) << 63)
    }

    /// The task that waits alone at `place`.
    #[inline]
    const fn alone(direction: usize, place: Place) -> Self {
        let number = place.without(Place::TAKEN).0 & Self::PLACE;
        Self(Self::new(direction).0 | Self::ALONE | number)
    }

    pub(crate) const fn direction(self) -> usize {
        (self.0 >> 63) as usize
    }

    #[inline]
    const fn is_alone(self) -> bool {
        self.0 & Self::ALONE != 0
    }

    /// Whether it is the task that waits alone at `place` now.
    const fn is_at(self, place: Place) -> bool {
        place.has(Place::ALONE) && self.0 == Self::alone(self.direction(), place).0
    }

    /// Its place in the list.
    fn listed(self) -> Option<WaiterKey> {
        match self.is_alone() {
            true => None,
            false => NonZeroU64::new(self.0 & Self::PLACE).map(WaiterKey),
        }
    }

    /// Takes its place away, and returns it.
    #[inline]
    fn take(&mut self) -> Option<Self> {
        let taken = *self;
        self.0 &= Self::SECOND;
        (taken.0 != self.0).then_some(taken)
    }
}

impl DuplexWaiters {
    /// Stores `waker` at the place for a task alone, if it is that of the task that waited there last, and
    /// nothing has to be checked first. Runs no user code. `direction` is the waiter's.
    #[inline]
    pub(crate) fn wait_again(
        &self,
        direction: usize,
        waiter: &mut DuplexWaiter,
        waker: &Waker,
    ) -> bool {
        let place = self.places[direction].get();
        let again = !place.has(Place::TAKEN) && self.wakers[direction].holds(waker);
        if again {
            self.wait_alone(direction, waiter);
        }
        again
    }

    #[inline]
    fn wait_alone(&self, direction: usize, waiter: &mut DuplexWaiter) {
        let place = &self.places[direction];
        place.set(Place(place.get().0 + Place::COUNT).with(Place::ALONE));
        *waiter = DuplexWaiter::alone(direction, place.get());
    }

    /// Stores `waker` at the place of the waiter, or at a new one.
    pub(crate) fn wait(&self, waiter: &mut DuplexWaiter, waker: &Waker) {
        let direction = waiter.direction();
        let (place, kept) = (&self.places[direction], &self.wakers[direction]);
        if waiter.is_at(place.get()) {
            if kept.holds(waker) {
                return;
            }
            place.set(place.get().without(Place::ALONE));
        }
        let is_free = !place.get().has(Place::ALONE | Place::LISTED);
        if is_free && waiter.listed().is_none() && kept.store(waker) {
            self.wait_alone(direction, waiter);
        } else {
            self.wait_listed(waiter, waker);
        }
    }

    #[cold]
    fn wait_listed(&self, waiter: &mut DuplexWaiter, waker: &Waker) {
        let direction = waiter.direction();
        let list = &self.lists.get_or_init(Box::default)[direction];
        let mut listed = waiter.listed();
        list.wait(&mut listed, waker);
        // Now, because cloning the waker may have run user code, which may have woken the list.
        let place = &self.places[direction];
        place.set(place.get().with(Place::LISTED));
        let listed = listed.map_or(0, |WaiterKey(bits)| bits.get());
        *waiter = DuplexWaiter(DuplexWaiter::new(direction).0 | listed);
    }

    /// Gives up the place of a waiter.
    #[inline]
    pub(crate) fn leave(&self, waiter: &mut DuplexWaiter) {
        if let Some(left) = waiter.take() {
            self.leave_place(left);
        }
    }

    #[inline(never)]
    fn leave_place(&self, left: DuplexWaiter) {
        let place = &self.places[left.direction()];
        if left.is_at(place.get()) {
            place.set(place.get().without(Place::ALONE));
        } else {
            self.leave_list(left);
        }
    }

    /// Gives up the place of a waiter that was woken. A task that waited alone has none any more.
    #[inline]
    pub(crate) fn leave_woken(&self, waiter: &mut DuplexWaiter) {
        if let Some(left) = waiter.take() {
            if !left.is_alone() {
                self.leave_list(left);
            }
        }
    }

    #[cold]
    fn leave_list(&self, left: DuplexWaiter) {
        if let Some(lists) = self.lists.get() {
            lists[left.direction()].leave(&mut left.listed());
        }
    }

    /// Wakes the waiters that are present in some of the directions, whose bits are set (1 and 2); those
    /// that come meanwhile wait for the next call.
    ///
    /// Returns the first panic of a waker, after the others have been woken (R057).
    #[inline]
    pub(crate) fn wake(&self, directions: u8) -> Option<Payload> {
        let [first, second] = [self.places[0].get(), self.places[1].get()];
        if Place(first.0 | second.0).has(Place::LISTED) {
            return self.wake_all(directions);
        }
        match (
            directions & 1 != 0 && first.has(Place::ALONE),
            directions & 2 != 0 && second.has(Place::ALONE),
        ) {
            (true, true) => return self.wake_all(directions),
            (true, false) => self.wake_alone(0),
            (false, true) => self.wake_alone(1),
            (false, false) => {}
        }
        None
    }

    #[inline]
    fn wake_alone(&self, direction: usize) {
        let place = &self.places[direction];
        place.set(place.get().without(Place::ALONE));
        self.wakers[direction].wake();
    }

    /// Wakes all waiters, of a source that is closed: from here on each wait checks that first. Returns
    /// what [`DuplexWaiters::wake`] does.
    pub(crate) fn close(&self) -> Option<Payload> {
        let mut is_waited_for = false;
        for place in &self.places {
            is_waited_for |= place.get().has(Place::ALONE | Place::LISTED);
            place.set(place.get().with(Place::CLOSED));
        }
        match is_waited_for {
            true => self.wake_all(3),
            false => None,
        }
    }

    #[cold]
    fn wake_all(&self, directions: u8) -> Option<Payload> {
        let mut panic = FirstPanic::default();
        for direction in [0, 1] {
            let place = &self.places[direction];
            if directions & (1 << direction) == 0 {
                continue;
            }
            if place.get().has(Place::ALONE) {
                panic.run(|| self.wake_alone(direction));
            }
            if let Some(lists) = self.lists.get() {
                // A waiter that comes meanwhile sets it again.
                place.set(place.get().without(Place::LISTED));
                wake_all_into(&lists[direction], &mut panic);
            }
        }
        panic.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::sync::{Arc, Mutex};
    use std::task::{Poll, Wake};

    /// A waker that is not a task's: it adds its number to a list, and panics if that is zero.
    struct Note(usize, Arc<Mutex<Vec<usize>>>);

    impl Wake for Note {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
            assert!(self.0 != 0, "zero");
        }
    }

    fn note(n: usize, woken: &Arc<Mutex<Vec<usize>>>) -> Waker {
        Waker::from(Arc::new(Note(n, Arc::clone(woken))))
    }

    fn taken(woken: &Arc<Mutex<Vec<usize>>>) -> Vec<usize> {
        std::mem::take(&mut *woken.lock().unwrap())
    }

    /// Runs `f` in a task, with its waker.
    fn with_task(f: impl FnOnce(&Waker)) {
        let mut f = Some(f);
        crate::run(poll_fn(|cx| {
            if let Some(f) = f.take() {
                f(cx.waker());
            }
            Poll::Ready(())
        }))
        .unwrap();
    }

    #[test]
    fn a_task_that_waits_again_allocates_no_list_and_one_that_comes_second_does() {
        with_task(|task| {
            let waiters = DuplexWaiters::default();
            for _ in 0..3 {
                let (mut read, mut write) = (DuplexWaiter::new(0), DuplexWaiter::new(1));
                waiters.wait(&mut read, task);
                waiters.wait(&mut read, task);
                waiters.wait(&mut write, task);
                assert!(waiters.wake(3).is_none());
                assert!(waiters.wait_again(0, &mut read, task));
                assert!(
                    !waiters.wait_again(0, &mut DuplexWaiter::new(0), task),
                    "one waits"
                );
                waiters.leave(&mut read);
            }
            assert!(waiters.lists.get().is_none());
            waiters.wait(&mut DuplexWaiter::new(0), task);
            waiters.wait(&mut DuplexWaiter::new(0), task);
            assert_eq!(waiters.lists.get().unwrap()[0].len(), 1);
        });
    }

    #[test]
    fn after_the_close_no_task_waits_unchecked() {
        with_task(|task| {
            let waiters = DuplexWaiters::default();
            let mut waiter = DuplexWaiter::new(0);
            waiters.wait(&mut waiter, task);
            assert!(waiters.close().is_none());
            assert!(!waiters.wait_again(0, &mut waiter, task));
        });
    }

    #[test]
    fn a_woken_task_that_leaves_late_does_not_take_the_place_of_another() {
        with_task(|task| {
            let waiters = DuplexWaiters::default();
            let (mut old, mut new) = (DuplexWaiter::new(0), DuplexWaiter::new(0));
            waiters.wait(&mut old, task);
            assert!(waiters.wake(1).is_none());
            waiters.wait(&mut new, task);
            waiters.leave(&mut old);
            assert!(waiters.places[0].get().has(Place::ALONE));
            waiters.leave(&mut new);
            assert!(!waiters.places[0].get().has(Place::ALONE));
        });
    }

    #[test]
    fn other_wakers_are_woken_in_order_in_their_direction_and_those_that_have_left_are_not() {
        let (waiters, woken) = (DuplexWaiters::default(), Arc::default());
        let mut them: Vec<_> = (0..6).map(|n| DuplexWaiter::new(n % 2)).collect();
        for (n, waiter) in them.iter_mut().enumerate() {
            waiters.wait(waiter, &note(n + 1, &woken));
        }
        waiters.leave(&mut them[2]);
        waiters.leave_woken(&mut them[3]);
        // A new waker at an old place keeps the place.
        waiters.wait(&mut them[0], &note(9, &woken));
        assert!(waiters.wake(1).is_none());
        assert_eq!(taken(&woken), [9, 5]);
        assert!(waiters.wake(3).is_none());
        assert_eq!(taken(&woken), [2, 6]);
        assert!(waiters.wake(3).is_none());
        assert_eq!(taken(&woken), []);
    }

    #[test]
    fn a_waiter_whose_waker_changes_kind_is_woken_once() {
        with_task(|task| {
            let (waiters, woken) = (DuplexWaiters::default(), Arc::default());
            let mut waiter = DuplexWaiter::new(0);
            waiters.wait(&mut waiter, task);
            waiters.wait(&mut waiter, &note(1, &woken));
            assert!(!waiters.places[0].get().has(Place::ALONE));
            waiters.wait(&mut waiter, &note(2, &woken));
            assert!(waiters.wake(1).is_none());
            assert_eq!(taken(&woken), [2]);
            assert!(waiters.wake(1).is_none());
            assert_eq!(taken(&woken), []);
        });
    }

    #[test]
    fn a_waker_that_panics_does_not_keep_the_others_asleep() {
        let (waiters, woken) = (DuplexWaiters::default(), Arc::default());
        for n in 0..4 {
            waiters.wait(&mut DuplexWaiter::new(n / 2), &note(n, &woken));
        }
        assert!(waiters.close().is_some());
        assert_eq!(taken(&woken), [0, 1, 2, 3]);
    }
}
