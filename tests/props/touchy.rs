//! User code that calls back: wakers that are woken, cloned and dropped, and values that are cloned and
//! dropped, each of which uses everything in `sync` in the middle of the operation that runs it. Nothing
//! is borrowed then, and nothing is lost.
//!
//! Invariants: L8, Q1.

use super::sync::waits;
use proptest::collection::vec;
use proptest::prelude::*;
use readily::sync::{Barrier, Condition, PriorityQueue, broadcast, oneshot, watch};
use readily::{Event, Lock, Queue, Semaphore};
use readily_testing::wakers;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

/// A value that comes back when it is cloned or dropped. It compares by its number, and that is all
/// that comparing does.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Touchy(u8);

impl Clone for Touchy {
    fn clone(&self) -> Self {
        touch();
        Self(self.0)
    }
}

impl Drop for Touchy {
    fn drop(&mut self) {
        touch();
    }
}

struct World {
    lock: Lock<Touchy>,
    semaphore: Semaphore,
    event: Event,
    condition: Condition,
    barrier: Barrier,
    queue: Queue<Touchy>,
    least: PriorityQueue<Touchy>,
    last: watch::Sender<Touchy>,
    all: broadcast::Sender<Touchy>,
    looks: watch::Receiver<Touchy>,
    /// So that there is a receiver.
    _hears: broadcast::Receiver<Touchy>,
}

thread_local! {
    static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// What it does next.
    static DEED: Cell<u8> = const { Cell::new(0) };
}

fn touchy_wakers() -> Vec<Waker> {
    let clones = || {
        touch();
        None
    };
    vec![
        wakers::calling(touch, || ()),
        wakers::calling(|| (), touch),
        wakers::cloning(clones),
    ]
}

/// Comes back: another deed each time, and not for ever.
fn touch() {
    let depth = DEPTH.get();
    let world = WORLD.with_borrow(Clone::clone);
    let Some(world) = world.filter(|_| depth < 3) else {
        return;
    };
    DEPTH.set(depth + 1);
    let nth = DEED.get();
    DEED.set(nth.wrapping_add(1));
    world.does(nth);
    DEPTH.set(depth);
}

impl World {
    fn new() -> Rc<Self> {
        let (last, looks) = watch::channel(Touchy(0));
        let (all, hears) = broadcast::channel(2);
        Rc::new(Self {
            lock: Lock::new(Touchy(0)),
            semaphore: Semaphore::new(2),
            event: Event::new(),
            condition: Condition::new(),
            barrier: Barrier::new(2),
            queue: Queue::bounded(2),
            least: PriorityQueue::bounded(2),
            last,
            all,
            looks,
            _hears: hears,
        })
    }

    fn does(&self, nth: u8) {
        match nth % 14 {
            0 => drop(self.lock.try_acquire()),
            1 => drop(self.semaphore.try_acquire_many(2)),
            2 => self.event.set(),
            3 => self.event.clear(),
            4 => self.condition.notify(1),
            5 => self.condition.notify_all(),
            6 => self.barrier.abort(),
            7 => self.barrier.reset(),
            8 => drop(self.queue.try_put(Touchy(nth))),
            9 => drop(self.queue.try_get()),
            10 => drop(self.least.try_put(Touchy(nth))),
            11 => drop(self.least.try_get()),
            12 => drop(self.last.send(Touchy(nth))),
            _ => drop(self.all.send(Touchy(nth))),
        }
    }

    fn waits(self: &Rc<Self>, nth: u8) -> super::sync::Waits<()> {
        let world = Rc::clone(self);
        waits(async move {
            match nth % 12 {
                0 => drop(world.lock.acquire().await),
                1 => drop(world.semaphore.acquire_many(2).await),
                2 => world.event.wait().await,
                3 => {
                    let guard = world.lock.acquire().await;
                    drop(world.condition.wait(guard).await);
                }
                4 => _ = world.barrier.wait().await,
                5 => drop(world.queue.get().await),
                6 => drop(world.queue.put(Touchy(nth)).await),
                7 => drop(world.least.get().await),
                8 => drop(world.least.put(Touchy(nth)).await),
                9 => drop(world.looks.clone().changed().await),
                10 => drop(world.all.subscribe().recv().await),
                _ => {
                    let (sender, receiver) = oneshot::channel();
                    let mut receiver = waits(receiver);
                    touchy_wakers()
                        .iter()
                        .for_each(|waker| drop(receiver.poll_with(waker)));
                    drop(sender.send(Touchy(nth)));
                }
            }
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// L8, Q1: deeds and waits, polled with touchy wakers and dropped, in any order.
    #[test]
    fn a_reentrant_call_finds_everything_in_order(ops in vec((0..5u8, any::<u8>()), 0..48)) {
        let world = World::new();
        WORLD.set(Some(Rc::clone(&world)));
        let wakers = touchy_wakers();
        let mut pending = Vec::new();
        for (op, nth) in ops {
            let at = usize::from(nth) % pending.len().max(1);
            match op {
                0 => world.does(nth),
                1 | 2 => pending.push(world.waits(nth)),
                3 if !pending.is_empty() => drop(pending.remove(at)),
                4 if !pending.is_empty() => {
                    let waker = &wakers[usize::from(nth / 16) % wakers.len()];
                    if pending[at].poll_with(waker).is_ready() {
                        drop(pending.remove(at));
                    }
                }
                _ => {}
            }
            if let Some(last) = pending.last_mut().filter(|_| op < 3) {
                if last.poll_with(&wakers[usize::from(nth) % wakers.len()]).is_ready() {
                    pending.pop();
                }
            }
        }
        while let Some(one) = pending.pop() {
            drop(one);
        }
        drop(wakers);
        WORLD.take();
        prop_assert_eq!((world.lock.locked(), world.semaphore.available()), (false, 2), "Q1");
        prop_assert_eq!(world.barrier.n_waiting(), 0);
        prop_assert!(world.queue.qsize() <= 2 && world.least.qsize() <= 2, "Q6");
    }
}
