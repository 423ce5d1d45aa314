//! The waiters for a descriptor, in two directions.
//!
//! Nearly always one task waits in each direction, and each time it is the same one. So a direction has
//! a place for a task that waits alone. Its waker stays there after the wake, and the next wait of the same
//! task clones nothing. All other waiters are in a list, which is allocated for the first of them: those
//! that come second, and those whose waker is not a task's. So no user code runs at the place.
//!
//! In asyncio a transport has one future for its reader, and one for its writer.

use super::cell::WakerSlot;
use super::waiters::{WaiterKey, WakerList, resume_panic, wake_all_into};
use crate::event_loop::panics::FirstPanic;
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

/// A place among the waiters: that of a task alone, by its number, or one in the list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DuplexKey(NonZeroU64);

impl DuplexKey {
    /// Set in the keys of tasks that wait alone, and in no other.
    const ALONE: u64 = 1 << 63;

    /// The key of the task that waits alone at `place`.
    #[inline]
    fn alone(place: Place) -> Self {
        Self(NonZeroU64::MIN | Self::ALONE | place.without(Place::TAKEN).0)
    }

    #[inline]
    fn is_alone(self) -> bool {
        self.0.get() & Self::ALONE != 0
    }

    /// Whether this is the key of the task that waits alone at `place` now.
    fn is_at(self, place: Place) -> bool {
        place.has(Place::ALONE) && self.0 == Self::alone(place).0
    }

    fn listed(self) -> Option<WaiterKey> {
        (!self.is_alone()).then_some(WaiterKey(self.0))
    }
}

impl DuplexWaiters {
    /// Stores `waker` at the place for a task alone, if it is that of the task that waited there last, and
    /// nothing has to be checked first. Runs no user code.
    #[inline]
    pub(crate) fn wait_again(
        &self,
        direction: usize,
        key: &mut Option<DuplexKey>,
        waker: &Waker,
    ) -> bool {
        let place = self.places[direction].get();
        let again = !place.has(Place::TAKEN) && self.wakers[direction].holds(waker);
        if again {
            self.wait_alone(direction, key);
        }
        again
    }

    #[inline]
    fn wait_alone(&self, direction: usize, key: &mut Option<DuplexKey>) {
        let place = &self.places[direction];
        place.set(Place(place.get().0 + Place::COUNT).with(Place::ALONE));
        *key = Some(DuplexKey::alone(place.get()));
    }

    /// Stores `waker` at the place of `key`, or at a new one.
    pub(crate) fn wait(&self, direction: usize, key: &mut Option<DuplexKey>, waker: &Waker) {
        let (place, kept) = (&self.places[direction], &self.wakers[direction]);
        if key.is_some_and(|key| key.is_at(place.get())) {
            if kept.holds(waker) {
                return;
            }
            place.set(place.get().without(Place::ALONE));
        }
        let is_free = !place.get().has(Place::ALONE | Place::LISTED);
        let listed = key.is_some_and(|key| !key.is_alone());
        if is_free && !listed && kept.store(waker) {
            self.wait_alone(direction, key);
        } else {
            self.wait_listed(direction, key, waker);
        }
    }

    #[cold]
    fn wait_listed(&self, direction: usize, key: &mut Option<DuplexKey>, waker: &Waker) {
        let list = &self.lists.get_or_init(Box::default)[direction];
        let mut listed = key.and_then(DuplexKey::listed);
        list.wait(&mut listed, waker);
        // Now, because cloning the waker may have run user code, which may have woken the list.
        let place = &self.places[direction];
        place.set(place.get().with(Place::LISTED));
        *key = listed.map(|WaiterKey(bits)| DuplexKey(bits));
    }

    /// Gives up the place of `key`.
    #[inline]
    pub(crate) fn leave(&self, direction: usize, key: &mut Option<DuplexKey>) {
        if let Some(key) = key.take() {
            self.leave_waiting(direction, key);
        }
    }

    #[inline(never)]
    fn leave_waiting(&self, direction: usize, key: DuplexKey) {
        let place = &self.places[direction];
        if key.is_at(place.get()) {
            place.set(place.get().without(Place::ALONE));
        } else {
            self.leave_list(direction, key);
        }
    }

    /// Gives up the place of `key` after a wake. A task that waited alone has none any more.
    #[inline]
    pub(crate) fn leave_woken(&self, direction: usize, key: &mut Option<DuplexKey>) {
        if let Some(key) = key.take() {
            if !key.is_alone() {
                self.leave_list(direction, key);
            }
        }
    }

    #[cold]
    fn leave_list(&self, direction: usize, key: DuplexKey) {
        if let Some(lists) = self.lists.get() {
            lists[direction].leave(&mut key.listed());
        }
    }

    /// Wakes the waiters that are present in the given directions; those that come meanwhile wait for the
    /// next call.
    ///
    /// # Panics
    ///
    /// Resumes the first panic of a waker, after the others have been woken (R057).
    #[inline]
    pub(crate) fn wake(&self, directions: [bool; 2]) {
        let [first, second] = [0, 1].map(|direction| match directions[direction] {
            true => self.places[direction].get(),
            false => Place::default(),
        });
        match (first.has(Place::ALONE), second.has(Place::ALONE)) {
            _ if first.has(Place::LISTED) || second.has(Place::LISTED) => self.wake_all(directions),
            (false, false) => {}
            (true, false) => self.wake_alone(0),
            (false, true) => self.wake_alone(1),
            (true, true) => self.wake_all(directions),
        }
    }

    #[inline]
    fn wake_alone(&self, direction: usize) {
        let place = &self.places[direction];
        place.set(place.get().without(Place::ALONE));
        self.wakers[direction].wake();
    }

    /// Wakes all waiters, of a source that is closed: from here on each wait checks that first.
    ///
    /// # Panics
    ///
    /// As [`DuplexWaiters::wake`].
    pub(crate) fn close(&self) {
        for place in &self.places {
            place.set(place.get().with(Place::CLOSED));
        }
        self.wake_all([true, true]);
    }

    #[cold]
    fn wake_all(&self, directions: [bool; 2]) {
        let mut panic = FirstPanic::default();
        for direction in [0, 1] {
            let place = &self.places[direction];
            if !directions[direction] {
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
        resume_panic(panic.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_loop::panics::catch;
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
                let (mut read, mut write) = (None, None);
                waiters.wait(0, &mut read, task);
                waiters.wait(0, &mut read, task);
                waiters.wait(1, &mut write, task);
                waiters.wake([true, true]);
                assert!(waiters.wait_again(0, &mut read, task));
                assert!(!waiters.wait_again(0, &mut None, task), "one waits");
                waiters.leave(0, &mut read);
            }
            assert!(waiters.lists.get().is_none());
            waiters.wait(0, &mut None, task);
            waiters.wait(0, &mut None, task);
            assert_eq!(waiters.lists.get().unwrap()[0].len(), 1);
        });
    }

    #[test]
    fn after_the_close_no_task_waits_unchecked() {
        with_task(|task| {
            let waiters = DuplexWaiters::default();
            let mut key = None;
            waiters.wait(0, &mut key, task);
            waiters.close();
            assert!(!waiters.wait_again(0, &mut key, task));
        });
    }

    #[test]
    fn a_woken_task_that_leaves_late_does_not_take_the_place_of_another() {
        with_task(|task| {
            let waiters = DuplexWaiters::default();
            let (mut old, mut new) = (None, None);
            waiters.wait(0, &mut old, task);
            waiters.wake([true, false]);
            waiters.wait(0, &mut new, task);
            waiters.leave(0, &mut old);
            assert!(waiters.places[0].get().has(Place::ALONE));
            waiters.leave(0, &mut new);
            assert!(!waiters.places[0].get().has(Place::ALONE));
        });
    }

    #[test]
    fn other_wakers_are_woken_in_order_in_their_direction_and_those_that_have_left_are_not() {
        let (waiters, woken) = (DuplexWaiters::default(), Arc::default());
        let mut keys: Vec<_> = (0..6).map(|_| None).collect();
        for (n, key) in keys.iter_mut().enumerate() {
            waiters.wait(n % 2, key, &note(n + 1, &woken));
        }
        waiters.leave(0, &mut keys[2]);
        waiters.leave_woken(1, &mut keys[3]);
        // A new waker at an old place keeps the place.
        waiters.wait(0, &mut keys[0], &note(9, &woken));
        waiters.wake([true, false]);
        assert_eq!(taken(&woken), [9, 5]);
        waiters.wake([true, true]);
        assert_eq!(taken(&woken), [2, 6]);
        waiters.wake([true, true]);
        assert_eq!(taken(&woken), []);
    }

    #[test]
    fn a_waiter_whose_waker_changes_kind_is_woken_once() {
        with_task(|task| {
            let (waiters, woken) = (DuplexWaiters::default(), Arc::default());
            let mut key = None;
            waiters.wait(0, &mut key, task);
            waiters.wait(0, &mut key, &note(1, &woken));
            assert!(!waiters.places[0].get().has(Place::ALONE));
            waiters.wait(0, &mut key, &note(2, &woken));
            waiters.wake([true, false]);
            assert_eq!(taken(&woken), [2]);
            waiters.wake([true, false]);
            assert_eq!(taken(&woken), []);
        });
    }

    #[test]
    fn a_waker_that_panics_does_not_keep_the_others_asleep() {
        let (waiters, woken) = (DuplexWaiters::default(), Arc::default());
        for n in 0..4 {
            waiters.wait(n / 2, &mut None, &note(n, &woken));
        }
        assert!(catch(|| waiters.close()).is_err());
        assert_eq!(taken(&woken), [0, 1, 2, 3]);
    }
}
