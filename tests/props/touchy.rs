//! Reentrant user code: wakers that are woken, cloned and dropped, and values that are cloned and
//! dropped, each of which uses everything in `sync` in the middle of the operation that runs it.
//! Nothing is borrowed then, and nothing is lost.
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

/// A value that makes a reentrant call when it is cloned or dropped. Comparing it has no side
/// effect.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Reentrant(u8);

impl Clone for Reentrant {
    fn clone(&self) -> Self {
        reenter();
        Self(self.0)
    }
}

impl Drop for Reentrant {
    fn drop(&mut self) {
        reenter();
    }
}

struct Fixture {
    lock: Lock<Reentrant>,
    semaphore: Semaphore,
    event: Event,
    condition: Condition,
    barrier: Barrier,
    queue: Queue<Reentrant>,
    least: PriorityQueue<Reentrant>,
    last: watch::Sender<Reentrant>,
    all: broadcast::Sender<Reentrant>,
    watcher: watch::Receiver<Reentrant>,
    /// Keeps the channel open.
    _listener: broadcast::Receiver<Reentrant>,
}

thread_local! {
    static FIXTURE: RefCell<Option<Rc<Fixture>>> = const { RefCell::new(None) };
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// The number of the next call.
    static NEXT_CALL: Cell<u8> = const { Cell::new(0) };
}

fn reentrant_wakers() -> Vec<Waker> {
    let clones = || {
        reenter();
        None
    };
    vec![
        wakers::calling(reenter, || ()),
        wakers::calling(|| (), reenter),
        wakers::cloning(clones),
    ]
}

/// Makes a reentrant call: a different one each time, to a bounded depth.
fn reenter() {
    let depth = DEPTH.get();
    let fixture = FIXTURE.with_borrow(Clone::clone);
    let Some(fixture) = fixture.filter(|_| depth < 3) else {
        return;
    };
    DEPTH.set(depth + 1);
    let nth = NEXT_CALL.get();
    NEXT_CALL.set(nth.wrapping_add(1));
    fixture.call(nth);
    DEPTH.set(depth);
}

impl Fixture {
    fn new() -> Rc<Self> {
        let (last, watcher) = watch::channel(Reentrant(0));
        let (all, listener) = broadcast::channel(2);
        Rc::new(Self {
            lock: Lock::new(Reentrant(0)),
            semaphore: Semaphore::new(2),
            event: Event::new(),
            condition: Condition::new(),
            barrier: Barrier::new(2),
            queue: Queue::bounded(2),
            least: PriorityQueue::bounded(2),
            last,
            all,
            watcher,
            _listener: listener,
        })
    }

    fn call(&self, nth: u8) {
        match nth % 14 {
            0 => drop(self.lock.try_acquire()),
            1 => drop(self.semaphore.try_acquire_many(2)),
            2 => self.event.set(),
            3 => self.event.clear(),
            4 => self.condition.notify(1),
            5 => self.condition.notify_all(),
            6 => self.barrier.abort(),
            7 => self.barrier.reset(),
            8 => drop(self.queue.try_put(Reentrant(nth))),
            9 => drop(self.queue.try_get()),
            10 => drop(self.least.try_put(Reentrant(nth))),
            11 => drop(self.least.try_get()),
            12 => drop(self.last.send(Reentrant(nth))),
            _ => drop(self.all.send(Reentrant(nth))),
        }
    }

    fn waits(self: &Rc<Self>, nth: u8) -> super::sync::Waits<()> {
        let fixture = Rc::clone(self);
        waits(async move {
            match nth % 12 {
                0 => drop(fixture.lock.acquire().await),
                1 => drop(fixture.semaphore.acquire_many(2).await),
                2 => fixture.event.wait().await,
                3 => {
                    let guard = fixture.lock.acquire().await;
                    drop(fixture.condition.wait(guard).await);
                }
                4 => _ = fixture.barrier.wait().await,
                5 => drop(fixture.queue.get().await),
                6 => drop(fixture.queue.put(Reentrant(nth)).await),
                7 => drop(fixture.least.get().await),
                8 => drop(fixture.least.put(Reentrant(nth)).await),
                9 => drop(fixture.watcher.clone().changed().await),
                10 => drop(fixture.all.subscribe().recv().await),
                _ => {
                    let (sender, receiver) = oneshot::channel();
                    let mut receiver = waits(receiver);
                    reentrant_wakers()
                        .iter()
                        .for_each(|waker| drop(receiver.poll_with(waker)));
                    drop(sender.send(Reentrant(nth)));
                }
            }
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// L8, Q1: calls and waits, polled with reentrant wakers and dropped, in any order.
    #[test]
    fn a_reentrant_call_finds_everything_in_order(ops in vec((0..5u8, any::<u8>()), 0..48)) {
        let fixture = Fixture::new();
        FIXTURE.set(Some(Rc::clone(&fixture)));
        let wakers = reentrant_wakers();
        let mut pending = Vec::new();
        for (op, nth) in ops {
            let at = usize::from(nth) % pending.len().max(1);
            match op {
                0 => fixture.call(nth),
                1 | 2 => pending.push(fixture.waits(nth)),
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
        FIXTURE.take();
        prop_assert_eq!((fixture.lock.locked(), fixture.semaphore.available()), (false, 2), "Q1");
        prop_assert_eq!(fixture.barrier.n_waiting(), 0);
        prop_assert!(fixture.queue.qsize() <= 2 && fixture.least.qsize() <= 2, "Q6");
    }
}
