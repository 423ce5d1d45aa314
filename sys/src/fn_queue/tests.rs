//! The queue against a list of numbers: random operations, also by closures that run and by destructors.
//!
//! Each closure has a number, and a size from nothing to one that needs a box. The list has the numbers
//! of the closures that are in the queue, in order. `.ci/miri` runs these tests, too.
//!
//! In the notes these are the *callbacks* of "I/O, timers and callbacks" (N1).

use super::*;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::{Rc, Weak};

/// A queue, and what is expected of it. The closures are called with it.
struct World {
    queue: FnQueue<World>,
    /// The number of each closure, and its line; no number if it was taken out.
    expected: RefCell<VecDeque<(Option<usize>, u32)>>,
    /// For each closure that was pushed: how often it ran, and how often it was dropped.
    counts: Rc<RefCell<Vec<(u32, u32)>>>,
    random: Cell<u64>,
    /// The number of calls that are nested in each other.
    depth: Cell<u32>,
}

/// What a closure holds. Its destructor may queue another closure.
struct Witness {
    number: usize,
    counts: Rc<RefCell<Vec<(u32, u32)>>>,
    world: Weak<World>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.counts.borrow_mut()[self.number].1 += 1;
        if let Some(world) = self.world.upgrade() {
            if world.below(4) == 0 && world.depth.get() < 3 {
                world.push(&self.world);
            }
        }
    }
}

impl World {
    fn new(seed: u64) -> Rc<Self> {
        Rc::new(Self {
            queue: FnQueue::default(),
            expected: RefCell::default(),
            counts: Rc::default(),
            random: Cell::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            depth: Cell::new(0),
        })
    }

    /// A random number below `bound` (xorshift).
    fn below(&self, bound: u64) -> u64 {
        let mut next = self.random.get();
        next ^= next << 13;
        next ^= next >> 7;
        next ^= next << 17;
        self.random.set(next);
        next % bound
    }

    fn push(&self, weak: &Weak<Self>) {
        let number = self.counts.borrow().len();
        self.counts.borrow_mut().push((0, 0));
        let witness = Witness {
            number,
            counts: self.counts.clone(),
            world: weak.clone(),
        };
        let run = match self.below(4) {
            0 => InlineFn::new(move |world: &Self| world.called(witness)),
            1 => {
                let large = [number; 40];
                InlineFn::new(move |world: &Self| {
                    assert_eq!(large, [witness.number; 40]);
                    world.called(witness);
                })
            }
            2 => {
                let boxed = Box::new(witness);
                InlineFn::new(move |world: &Self| world.called(*boxed))
            }
            _ => {
                let found = Rc::new(Cell::new(Some(witness)));
                InlineFn::new(move |world: &Self| {
                    world.called(found.take().expect("it runs once"));
                })
            }
        };
        let sites = [Location::caller(), self.site()];
        let site = sites[self.below(2) as usize];
        let key = self.queue.push(run, site);
        let mut expected = self.expected.borrow_mut();
        expected.push_back((Some(number), site.line()));
        assert_eq!(key + 1 - self.queue.len() as u64, self.queue.first_key());
        assert_eq!(expected.len(), self.queue.len());
    }

    #[track_caller]
    fn site(&self) -> &'static Location<'static> {
        Location::caller()
    }

    /// What each closure does.
    fn called(&self, witness: Witness) {
        self.counts.borrow_mut()[witness.number].0 += 1;
        let weak = witness.world.clone();
        if self.depth.get() < 3 {
            self.depth.set(self.depth.get() + 1);
            for _ in 0..self.below(4) {
                self.step(&weak);
            }
            self.depth.set(self.depth.get() - 1);
        }
        if self.below(8) == 0 {
            resume_unwind(Box::new(()));
        }
    }

    /// One random operation, and its expected effect.
    fn step(&self, weak: &Weak<Self>) {
        match self.below(16) {
            0..8 => self.push(weak),
            8..12 => {
                let first = self.expected.borrow_mut().pop_front();
                let before = first.map(|(number, _)| number.map(|it| self.counts.borrow()[it]));
                let depth = self.depth.get();
                let site = Cell::new(None);
                let run = || self.queue.run_first(self, &site);
                let ran = catch_unwind(AssertUnwindSafe(run));
                let line = site.get().map(Location::line);
                assert_eq!(line, first.map(|(_, line)| line));
                assert!(ran.as_ref().map_or(true, |ran| *ran == first.is_some()));
                self.depth.set(depth);
                if let (Some((Some(number), _)), Some(Some(before))) = (first, before) {
                    assert_eq!(before, (0, 0));
                    assert_eq!(self.counts.borrow()[number], (1, 1), "it ran: {ran:?}");
                }
            }
            12 => {
                let first = self.expected.borrow_mut().pop_front();
                let popped = self.queue.pop();
                assert_eq!(popped.is_some(), first.is_some_and(|it| it.0.is_some()));
                drop(popped);
            }
            13 | 14 => {
                let at = self.below(self.queue.len() as u64 + 2);
                let mut expected = self.expected.borrow_mut();
                let number = expected.get_mut(at as usize).and_then(|it| it.0.take());
                drop(expected);
                let taken = self.queue.take(self.queue.first_key() + at);
                assert_eq!(taken.is_some(), number.is_some());
                drop(taken);
                if let Some(number) = number {
                    assert_eq!(self.counts.borrow()[number], (0, 1), "it was dropped");
                }
            }
            _ => {
                self.queue.set_room(self.below(64) as usize);
                assert!(self.queue.room() >= self.queue.len());
            }
        }
        self.check();
    }

    fn check(&self) {
        let expected = self.expected.borrow();
        let live = expected.iter().filter(|it| it.0.is_some()).count();
        let keys = self.queue.keys();
        assert_eq!((self.queue.len(), keys.count()), (expected.len(), live));
        assert_eq!(self.queue.is_empty(), expected.is_empty());
        if let Some(before) = self.queue.first_key().checked_sub(1) {
            assert!(self.queue.take(before).is_none(), "it was popped");
        }
    }
}

#[test]
fn closures_run_in_order_and_once_or_are_dropped_whatever_they_do_meanwhile() {
    let seeds = if cfg!(miri) { 8 } else { 1000 };
    let (mut ran, mut dropped, mut most) = (0, 0, 0);
    for seed in 0..seeds {
        let world = World::new(seed);
        for _ in 0..100 {
            world.step(&Rc::downgrade(&world));
            most = most.max(world.queue.len());
        }
        let counts = world.counts.clone();
        drop(world);
        for &(runs, drops) in counts.borrow().iter() {
            assert!(runs <= 1);
            assert_eq!(drops, 1, "with the queue at the latest");
            ran += runs;
            dropped += drops;
        }
    }
    assert!(ran > dropped / 4 && ran < dropped, "{ran} of {dropped} ran");
    assert!(most > 2 * MIN_ROOM, "the ring has grown: {most}");
}

#[test]
fn a_closure_that_runs_leaves_what_it_queues_and_what_is_behind_its_panic() {
    struct Numbers(FnQueue<Numbers>, RefCell<Vec<u32>>);
    let queue = Numbers(FnQueue::default(), RefCell::default());
    let push = |queue: &Numbers, n: u32| {
        let run = move |queue: &Numbers| {
            queue.1.borrow_mut().push(n);
            let again = InlineFn::new(move |queue: &Numbers| queue.1.borrow_mut().push(n + 10));
            queue.0.push(again, Location::caller());
            if n == 2 {
                resume_unwind(Box::new(()));
            }
        };
        queue.0.push(InlineFn::new(run), Location::caller())
    };
    let keys = [0, 1, 2, 3].map(|n| push(&queue, n));
    drop(queue.0.take(keys[1]));
    let site = Cell::new(None);
    let run = || catch_unwind(AssertUnwindSafe(|| queue.0.run_first(&queue, &site)));
    assert!(run().is_ok() && run().is_ok(), "the second was taken out");
    assert!(run().is_err());
    assert_eq!((queue.0.first_key(), queue.0.len()), (keys[3], 3));
    assert!((0..3).all(|_| run().is_ok_and(|ran| ran)));
    assert_eq!(*queue.1.borrow(), [0, 2, 3, 10, 12]);
    assert_eq!(queue.0.len(), 1);
}

#[test]
fn a_queue_that_is_dropped_drops_the_closures_behind_one_whose_destructor_panics() {
    struct Panics(Rc<Cell<u32>>, bool);
    impl Drop for Panics {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            if self.1 {
                resume_unwind(Box::new(()));
            }
        }
    }
    let (queue, dropped) = (FnQueue::<()>::default(), Rc::new(Cell::new(0)));
    for n in 0..20 {
        let held = Panics(dropped.clone(), n == 3);
        queue.push(InlineFn::new(move |()| drop(held)), Location::caller());
    }
    assert!(catch_unwind(AssertUnwindSafe(|| drop(queue))).is_err());
    assert_eq!(dropped.get(), 20);
}

#[test]
fn a_queue_without_closures_has_no_memory_and_does_nothing() {
    let queue = FnQueue::<()>::default();
    assert!(!queue.run_first(&(), &Cell::new(None)));
    assert!(queue.pop().is_none() && queue.take(0).is_none());
    assert_eq!((queue.room(), queue.len(), queue.keys().count()), (0, 0, 0));
    assert!(queue.is_empty());
}

#[test]
#[cfg(target_pointer_width = "64")]
fn a_slot_is_five_words() {
    assert_eq!(size_of::<Slot<()>>(), 40);
}
