//! Queues against lists that are searched from the start.
//!
//! Each item is a number that exists once, and has to arrive at exactly one place, whatever is
//! dropped and closed. The model also predicts which waiters have been woken, and for what.
//!
//! Invariants: Q2, Q6, Q7, L8.

use super::scripted::{PLANTED, hush};
use super::sync::{Kind, Waits, each, go_in_masses, survive_hostile_wakers, waits};
use proptest::collection::vec;
use proptest::prelude::*;
use readily::sync::{
    Closed, GetError, LifoQueue, PriorityQueue, PutError, QueueOrder, Reservation,
};
use readily::{Queue, Task, gather, spawn, wait_for, yield_now};
use readily_testing::{Action, SimLoop, in_one_turn, orders};
use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Items with the same rank compare as equal, but have different ids.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    pub rank: usize,
    pub id: usize,
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.cmp(&other.rank)
    }
}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Item {}

#[derive(Clone, Copy, Debug)]
enum Order {
    First,
    Last,
    Least,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Put(usize),
    PutNow(usize),
    Reserve,
    ReserveNow,
    Fill(usize),
    GiveUp,
    Get,
    GetNow,
    Poll(usize),
    Drop(usize),
    Done,
    Join,
    Close,
    CloseNow,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..3usize).prop_map(Op::Put),
        4 => (0..3usize).prop_map(Op::PutNow),
        2 => Just(Op::Reserve),
        2 => Just(Op::ReserveNow),
        3 => (0..3usize).prop_map(Op::Fill),
        1 => Just(Op::GiveUp),
        6 => Just(Op::Get),
        3 => Just(Op::GetNow),
        6 => (0..8usize).prop_map(Op::Poll),
        5 => (0..8usize).prop_map(Op::Drop),
        4 => Just(Op::Done),
        2 => Just(Op::Join),
        1 => (0..4u8).prop_map(|n| if n == 0 { Op::Close } else { Op::Join }),
        1 => (0..4u8).prop_map(|n| if n == 0 { Op::CloseNow } else { Op::Done }),
    ]
}

/// The outcome of a waiting future, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Waits,
    /// The item was put, or an item is reserved for the get, or all items are done.
    Goes,
    Shut,
}

struct Model {
    order: Order,
    maxsize: usize,
    /// In the order of their first poll.
    items: Vec<Item>,
    /// No item: the future waits for a reserved place.
    putters: VecDeque<(usize, Option<Item>)>,
    /// The reserved places.
    reserved: usize,
    getters: VecDeque<usize>,
    joiners: Vec<usize>,
    fates: BTreeMap<usize, Fate>,
    promised: usize,
    shut: bool,
    at_work: usize,
}

impl Model {
    fn take(&mut self) -> Option<Item> {
        let at = match self.order {
            Order::First => 0,
            Order::Last => self.items.len().checked_sub(1)?,
            Order::Least => {
                let least = self.items.iter().map(|item| item.rank).min()?;
                self.items.iter().position(|item| item.rank == least)?
            }
        };
        (at < self.items.len()).then(|| {
            self.at_work += 1;
            self.items.remove(at)
        })
    }

    fn is_full(&self) -> bool {
        self.items.len() + self.reserved >= self.maxsize
    }

    /// An item, or a place for one.
    fn try_put(&mut self, item: Option<Item>) -> Result<(), &'static str> {
        match () {
            () if self.shut => Err("shut"),
            () if !self.putters.is_empty() || self.is_full() => Err("full"),
            () => {
                self.let_in(item);
                Ok(())
            }
        }
    }

    fn let_in(&mut self, item: Option<Item>) {
        match item {
            Some(item) => self.items.push(item),
            None => self.reserved += 1,
        }
    }

    fn try_take(&mut self) -> Result<Item, GetError> {
        match () {
            () if self.getters.is_empty() && self.items.len() > self.promised => {
                Ok(self.take().unwrap())
            }
            () if self.shut && self.items.is_empty() => Err(GetError::Closed),
            () => Err(GetError::Empty),
        }
    }

    fn serve(&mut self) {
        while !self.putters.is_empty() && (self.shut || !self.is_full()) {
            let (id, item) = self.putters.pop_front().unwrap();
            if self.shut {
                self.fates.insert(id, Fate::Shut);
            } else {
                self.let_in(item);
                self.fates.insert(id, Fate::Goes);
            }
        }
        while !self.getters.is_empty() && self.items.len() > self.promised {
            let id = self.getters.pop_front().unwrap();
            self.promised += 1;
            self.fates.insert(id, Fate::Goes);
        }
        if self.shut && self.items.is_empty() {
            let closed = self.getters.drain(..).map(|id| (id, Fate::Shut));
            self.fates.extend(closed);
        }
        if self.items.len() + self.at_work == 0 {
            let done = self.joiners.drain(..).map(|id| (id, Fate::Goes));
            self.fates.extend(done);
        }
    }
}

enum Waiting<S: QueueOrder<Item>> {
    Put(Item, Waits<Result<(), Closed<Item>>>),
    Reserve(Waits<Result<Reservation<Item, S>, Closed>>),
    Get(Waits<Result<Item, Closed>>),
    Join(Waits<()>),
}

fn check_queue<S: QueueOrder<Item> + 'static>(
    queue: &Queue<Item, S>,
    mut model: Model,
    ops: Vec<Op>,
) -> Result<(), TestCaseError> {
    let mut pending: Vec<(usize, Waiting<S>)> = Vec::new();
    let mut places: Vec<Reservation<Item, S>> = Vec::new();
    for (id, op) in ops.into_iter().enumerate() {
        match op {
            Op::Put(rank) => {
                let (also, item) = (queue.clone(), Item { rank, id });
                let mut future = waits(async move { also.put(item).await });
                let expected = model.try_put(Some(item));
                match future.poll() {
                    Poll::Ready(Ok(())) => prop_assert_eq!(expected, Ok(())),
                    Poll::Ready(Err(Closed(back))) => {
                        prop_assert_eq!((expected, back.id), (Err("shut"), id));
                    }
                    Poll::Pending => {
                        prop_assert_eq!(expected, Err("full"));
                        model.putters.push_back((id, Some(item)));
                        model.fates.insert(id, Fate::Waits);
                        pending.push((id, Waiting::Put(item, future)));
                    }
                }
            }
            Op::PutNow(rank) => {
                let item = Item { rank, id };
                let put = queue.try_put(item).map_err(|error| match error {
                    PutError::Full(back) => (back.id, "full"),
                    PutError::Closed(back) => (back.id, "shut"),
                });
                prop_assert_eq!(
                    put,
                    model.try_put(Some(item)).map_err(|why| (id, why)),
                    "Q2, Q6"
                );
            }
            Op::Reserve => {
                let also = queue.clone();
                let mut future = waits(async move { also.reserve().await });
                let expected = model.try_put(None);
                match future.poll() {
                    Poll::Ready(Ok(place)) => {
                        prop_assert_eq!(expected, Ok(()));
                        places.push(place);
                    }
                    Poll::Ready(Err(Closed(()))) => prop_assert_eq!(expected, Err("shut")),
                    Poll::Pending => {
                        prop_assert_eq!(expected, Err("full"));
                        model.putters.push_back((id, None));
                        model.fates.insert(id, Fate::Waits);
                        pending.push((id, Waiting::Reserve(future)));
                    }
                }
            }
            Op::ReserveNow => {
                let reserved = queue.try_reserve().map_err(|error| match error {
                    PutError::Full(()) => "full",
                    PutError::Closed(()) => "shut",
                });
                let reserved = reserved.map(|place| places.push(place));
                prop_assert_eq!(reserved, model.try_put(None), "Q2, Q6");
            }
            Op::Fill(rank) if !places.is_empty() => {
                let item = Item { rank, id };
                let put = places.pop().unwrap().put(item);
                model.reserved -= 1;
                if !model.shut {
                    model.items.push(item);
                }
                prop_assert_eq!(
                    put.map_err(|Closed(back)| back.id),
                    if model.shut { Err(id) } else { Ok(()) }
                );
            }
            Op::GiveUp if !places.is_empty() => {
                drop(places.pop());
                model.reserved -= 1;
            }
            Op::Get => {
                let also = queue.clone();
                let mut future = waits(async move { also.get().await });
                let expected = model.try_take();
                match future.poll() {
                    Poll::Ready(Ok(item)) => {
                        prop_assert_eq!(Ok(item.id), expected.map(|item| item.id));
                    }
                    Poll::Ready(Err(Closed(()))) => {
                        prop_assert_eq!(expected, Err(GetError::Closed))
                    }
                    Poll::Pending => {
                        prop_assert_eq!(expected, Err(GetError::Empty));
                        model.getters.push_back(id);
                        model.fates.insert(id, Fate::Waits);
                        pending.push((id, Waiting::Get(future)));
                    }
                }
            }
            Op::GetNow => {
                let (got, expected) = (queue.try_get(), model.try_take());
                prop_assert_eq!(got.map(|i| i.id), expected.map(|i| i.id), "Q2, Q6");
            }
            Op::Poll(nth) if !pending.is_empty() => {
                let nth = nth % pending.len();
                let (id, waiting) = &mut pending[nth];
                let fate = model.fates[id];
                let ready = match waiting {
                    Waiting::Put(item, future) => match future.poll() {
                        Poll::Pending => false,
                        Poll::Ready(Ok(())) => fate == Fate::Goes,
                        Poll::Ready(Err(Closed(back))) => fate == Fate::Shut && back.id == item.id,
                    },
                    Waiting::Reserve(future) => match future.poll() {
                        Poll::Pending => false,
                        Poll::Ready(Ok(place)) => {
                            places.push(place);
                            fate == Fate::Goes
                        }
                        Poll::Ready(Err(Closed(()))) => fate == Fate::Shut,
                    },
                    Waiting::Get(future) => match future.poll() {
                        Poll::Pending => false,
                        Poll::Ready(got) => {
                            let expected = match fate {
                                Fate::Goes => {
                                    model.promised -= 1;
                                    model.take()
                                }
                                _ => None,
                            };
                            let got = got.ok().map(|item| item.id);
                            prop_assert_eq!(got, expected.map(|item| item.id), "Q6");
                            true
                        }
                    },
                    Waiting::Join(future) => future.poll().is_ready(),
                };
                prop_assert_eq!(ready, fate != Fate::Waits, "Q6, Q7: {:?}", fate);
                if ready {
                    drop(pending.remove(nth));
                }
            }
            Op::Drop(nth) if !pending.is_empty() => {
                let (id, waiting) = pending.remove(nth % pending.len());
                model.promised -= match (&waiting, model.fates[&id]) {
                    (Waiting::Get(_), Fate::Goes) => 1,
                    _ => 0,
                };
                model.reserved -= match (&waiting, model.fates[&id]) {
                    (Waiting::Reserve(_), Fate::Goes) => 1,
                    _ => 0,
                };
                drop(waiting);
                model.putters.retain(|&(other, _)| other != id);
                model.getters.retain(|&other| other != id);
                model.joiners.retain(|&other| other != id);
            }
            Op::Done => {
                prop_assert_eq!(queue.task_done().is_ok(), model.at_work > 0, "Q7");
                model.at_work = model.at_work.saturating_sub(1);
            }
            Op::Join => {
                let also = queue.clone();
                let mut future = waits(async move { also.join().await });
                let now = model.items.len() + model.at_work == 0;
                prop_assert_eq!(future.poll().is_ready(), now, "Q7");
                if !now {
                    model.joiners.push(id);
                    model.fates.insert(id, Fate::Waits);
                    pending.push((id, Waiting::Join(future)));
                }
            }
            Op::Close => {
                queue.close();
                model.shut = true;
            }
            Op::CloseNow => {
                let back: Vec<_> = queue.close_now().iter().map(|item| item.id).collect();
                model.shut = true;
                let at_work = model.at_work;
                let expected = std::iter::from_fn(|| model.take()).map(|item| item.id);
                prop_assert_eq!(back, expected.collect::<Vec<_>>(), "Q6");
                model.at_work = at_work;
            }
            _ => {}
        }
        model.serve();
        prop_assert_eq!(queue.qsize(), model.items.len(), "Q6: after {:?}", op);
        prop_assert!(queue.qsize() <= model.maxsize, "Q6");
        prop_assert_eq!(queue.is_closed(), model.shut);
        for (id, waiting) in &pending {
            let woken = match waiting {
                Waiting::Put(_, future) => future.woken(),
                Waiting::Reserve(future) => future.woken(),
                Waiting::Get(future) => future.woken(),
                Waiting::Join(future) => future.woken(),
            };
            let settled = model.fates[id] != Fate::Waits;
            prop_assert_eq!(woken, usize::from(settled), "after {:?}", op);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 768, ..ProptestConfig::default() })]

    /// Q2, Q6, Q7: each item that is put is got once, in the order of the queue, by getters in the
    /// order of their waits, and the queue never has more items than its capacity; whatever is
    /// dropped or closed, at any time. A join ends when each item that was got is done, and none is
    /// left; and not before.
    #[test]
    fn what_is_put_is_got_once_and_by_the_first_in_line(
        order in prop_oneof![Just(Order::First), Just(Order::Last), Just(Order::Least)],
        maxsize in 1..4usize,
        ops in vec(op(), 0..64),
    ) {
        let model = Model {
            order,
            maxsize,
            items: Vec::new(),
            putters: VecDeque::new(),
            reserved: 0,
            getters: VecDeque::new(),
            joiners: Vec::new(),
            fates: BTreeMap::new(),
            promised: 0,
            shut: false,
            at_work: 0,
        };
        match order {
            Order::First => check_queue(&Queue::bounded(maxsize), model, ops)?,
            Order::Last => check_queue(&LifoQueue::bounded(maxsize), model, ops)?,
            Order::Least => check_queue(&PriorityQueue::bounded(maxsize), model, ops)?,
        }
    }

    /// Q6, Q7: producers and workers in an order from a seed, some of them cancelled: each number
    /// whose put has succeeded is worked on once, or left, and the join ends.
    #[test]
    fn makers_and_workers_lose_nothing_in_any_order(
        seed in any::<u64>(),
        maxsize in 1..4usize,
        cancels in vec((0..4usize, 0..6u64), 0..4),
    ) {
        let mut sim = SimLoop::new(seed);
        let queue: Queue<usize> = Queue::bounded(maxsize);
        let put = Rc::new(RefCell::new(BTreeSet::new()));
        let got = Rc::new(RefCell::new(BTreeSet::new()));
        let run = {
            let (queue, put, got) = (queue.clone(), Rc::clone(&put), Rc::clone(&got));
            async move {
                let make = |maker: usize| {
                    let (queue, put) = (queue.clone(), Rc::clone(&put));
                    async move {
                        for n in 0..6 {
                            let number = maker * 10 + n;
                            queue.put(number).await.unwrap();
                            put.borrow_mut().insert(number);
                            yield_now().await;
                        }
                    }
                };
                let work = || {
                    let (queue, got) = (queue.clone(), Rc::clone(&got));
                    async move {
                        while let Ok(number) = queue.get().await {
                            assert!(got.borrow_mut().insert(number), "Q6: an item is got once");
                            queue.task_done().unwrap();
                            yield_now().await;
                        }
                    }
                };
                let makers: Vec<Task<()>> = (0..2).map(make).map(spawn).collect();
                let workers: Vec<Task<()>> = (0..3).map(|_| spawn(work())).collect();
                // One worker is never cancelled.
                let all: Vec<_> = makers.iter().chain(&workers[..2]).map(Task::task_ref).collect();
                for (nth, after) in cancels {
                    for _ in 0..after {
                        yield_now().await;
                    }
                    all[nth].cancel();
                }
                for maker in makers {
                    drop(maker.await);
                }
                queue.join().await;
                queue.close();
                for worker in workers {
                    drop(worker.await);
                }
            }
        };
        let ended = sim.run(wait_for(Duration::from_secs(60), run)).unwrap();
        prop_assert!(ended.is_ok(), "no task waits forever");
        prop_assert_eq!(queue.qsize(), 0);
        // A producer may be cancelled after its put has succeeded and before it runs.
        prop_assert!(put.borrow().is_subset(&got.borrow()), "Q6");
    }
}

/// Q6 (R089): an item is put, one of two waiting getters is cancelled, and a third task tries to
/// take the item, in one turn and in every order: the other getter has it.
#[test]
fn an_item_and_a_cancel_in_one_turn_reach_the_remaining_getter() {
    for (order, seed) in each(orders(3), 0..4) {
        let mut sim = SimLoop::new(seed);
        let queue = Queue::bounded(1);
        let get = || {
            let queue = queue.clone();
            sim.spawn(async move { queue.get().await })
        };
        // The seed decides which of them waits first.
        let (cancelled, mut left) = (get(), get());
        sim.run_until_stalled().unwrap();
        let (put, taken) = (queue.clone(), queue.clone());
        let actions: Vec<Action> = vec![
            Box::new(move || put.try_put(7).unwrap()),
            Box::new(move || assert!(cancelled.cancel())),
            Box::new(move || assert_eq!(taken.try_get(), Err(GetError::Empty), "Q2")),
        ];
        in_one_turn(&sim.weak_handle(), &order, actions);
        sim.run_until_stalled().unwrap();
        assert_eq!(left.result().unwrap().unwrap(), Ok(7), "{order:?}: Q6");
    }
}

/// Q6: room is made, one of two waiting puts is cancelled, and a third task tries to put, in one
/// turn and in every order: the first put is got first, and the third task gets its item back.
#[test]
fn room_and_a_cancel_in_one_turn_reach_the_remaining_putter() {
    for (order, seed) in each(orders(3), 0..4) {
        let mut sim = SimLoop::new(seed);
        let queue = Queue::bounded(1);
        queue.try_put(0).unwrap();
        let put = |n| {
            let queue = queue.clone();
            sim.spawn(async move { queue.put(n).await })
        };
        let (cancelled, left) = (put(1), put(2));
        sim.run_until_stalled().unwrap();
        let (get, barge) = (queue.clone(), queue.clone());
        let actions: Vec<Action> = vec![
            Box::new(move || assert_eq!(get.try_get(), Ok(0))),
            Box::new(move || assert!(cancelled.cancel())),
            Box::new(move || assert_eq!(barge.try_put(3), Err(PutError::Full(3)), "Q2")),
        ];
        in_one_turn(&sim.weak_handle(), &order, actions);
        sim.run_until_stalled().unwrap();
        // The cancelled put succeeded if it was the first waiter, and the room came before the
        // cancel.
        let next = queue.try_get().unwrap();
        sim.run_until_stalled().unwrap();
        let rest = queue.try_get().ok();
        assert!(
            matches!((next, rest), (2, None) | (1, Some(2))),
            "{order:?}: {next}, {rest:?}"
        );
        assert!(left.done());
    }
}

/// Q6: puts and gets are dropped after each of their polls. Each item is got once, or is left.
#[test]
fn a_put_and_a_get_may_be_dropped_after_each_of_their_polls() {
    let mut sim = SimLoop::new(6);
    let queue: Queue<u32> = Queue::bounded(1);
    let next = Rc::new(RefCell::new(0));
    let (put, got) = (
        Rc::new(RefCell::new(BTreeSet::new())),
        Rc::new(RefCell::new(BTreeSet::new())),
    );
    let polls = sim.drop_everywhere(|| {
        let (queue, next) = (queue.clone(), Rc::clone(&next));
        let (put, got) = (Rc::clone(&put), Rc::clone(&got));
        async move {
            let maker = async {
                for _ in 0..4 {
                    let number = {
                        let mut next = next.borrow_mut();
                        *next += 1;
                        *next
                    };
                    queue.put(number).await.unwrap();
                    put.borrow_mut().insert(number);
                }
            };
            let worker = async {
                for _ in 0..4 {
                    let number = queue.get().await.unwrap();
                    assert!(got.borrow_mut().insert(number), "Q6: an item is got once");
                    queue.task_done().unwrap();
                    yield_now().await;
                }
            };
            // In this order, so that the get waits, is granted its item, and is dropped.
            gather((worker, maker)).await;
        }
    });
    assert!(polls > 4, "the futures wait: {polls}");
    let mut all = got.take();
    all.extend(std::iter::from_fn(|| queue.try_get().ok()));
    assert!(put.borrow().is_subset(&all), "Q6: none is lost");
    queue.try_put(0).unwrap();
    assert_eq!(queue.try_get(), Ok(0), "the queue works as before");
}

/// Q7: a worker that is dropped with a work item leaves none unfinished: a join ends as soon as
/// nothing is left in the queue.
#[test]
fn a_worker_may_be_dropped_after_each_of_its_polls_and_a_join_ends_all_the_same() {
    let mut sim = SimLoop::new(7);
    let queue: Queue<u32> = Queue::unbounded();
    let under_way = Cell::new(0);
    let most = Rc::new(Cell::new(0));
    let polls = sim.drop_everywhere(|| {
        under_way.set(under_way.get() + 1);
        for n in 0..4 {
            queue.try_put(n).unwrap();
        }
        let (queue, most) = (queue.clone(), Rc::clone(&most));
        async move {
            // Waits before the first item, as a worker does that finds the queue empty.
            let late = gather((queue.get_work_item(), yield_now()))
                .await
                .0
                .unwrap();
            for _ in 0..2 {
                let mut job = queue.get_work_item().await.unwrap();
                *job += 1;
                yield_now().await;
                most.set(most.get().max(*job));
            }
            yield_now().await;
            late.finish();
            drop(queue.try_get_work_item().unwrap());
            // The items that were got are done, and those that are left are not.
            while let Ok(job) = queue.try_get_work_item() {
                job.finish();
            }
            queue.join().await;
        }
    });
    assert!(polls > 4 && most.get() > 0, "the futures wait: {polls}");
    let mut left = 0;
    while queue.try_get().is_ok() {
        queue.task_done().unwrap();
        left += 1;
    }
    assert!(left < 4 * under_way.get(), "some items were got");
    assert!(queue.task_done().is_err(), "Q7: no item is unfinished");
    sim.run(wait_for(Duration::from_secs(1), queue.join()))
        .unwrap()
        .expect("Q7: the join ends");
}

#[test]
fn a_work_item_that_panics_in_its_destructor_is_done() {
    struct Bomb(bool);
    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 {
                std::panic::panic_any(PLANTED);
            }
        }
    }
    hush();
    let queue = Queue::unbounded();
    for panics in [true, false, false] {
        queue.try_put(Bomb(panics)).ok().unwrap();
    }
    let job = queue.try_get_work_item().unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(job))).is_err());
    // Done by a call, and then by the guard: the item counts once.
    let job = queue.try_get_work_item().unwrap();
    queue.task_done().unwrap();
    drop(job);
    // A guard that outlives the end of the queue, which counts the items that are left as done.
    let job = queue.try_get_work_item().unwrap();
    assert!(queue.close_now().is_empty());
    assert!(!job.0 && !job.finish().0);
    assert!(queue.task_done().is_err());
}

thread_local! {
    static SPOILED: Cell<bool> = const { Cell::new(false) };
}

/// Items whose comparison panics while they are spoiled.
#[derive(Debug, PartialEq, Eq)]
struct Spoiled(u8);

impl PartialOrd for Spoiled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Spoiled {
    fn cmp(&self, other: &Self) -> Ordering {
        if SPOILED.get() {
            std::panic::panic_any(PLANTED);
        }
        self.0.cmp(&other.0)
    }
}

/// A comparison that panics propagates to the caller of the put; the queue and other tasks go on.
#[test]
fn a_queue_survives_items_that_cannot_be_compared() {
    hush();
    let queue = PriorityQueue::bounded(2);
    queue.try_put(Spoiled(2)).unwrap();
    SPOILED.set(true);
    let put = catch_unwind(AssertUnwindSafe(|| queue.try_put(Spoiled(1))));
    assert!(put.is_err());
    assert_eq!(queue.qsize(), 1, "the item was not put");
    SPOILED.set(false);
    (3..5).for_each(|n| drop(queue.try_put(Spoiled(n))));
    // Another call accepts a waiting put, and must not panic because of that put's item.
    let wait = |n| {
        let queue = queue.clone();
        waits(async move { queue.put(Spoiled(n)).await })
    };
    let (mut waiting, mut next) = (wait(0), wait(9));
    waiting.assert_pending();
    next.assert_pending();
    SPOILED.set(true);
    assert!(queue.try_get().is_ok(), "one item needs no comparison");
    waiting.assert_woken(1);
    next.assert_woken(1);
    SPOILED.set(false);
    for mut one in [waiting, next] {
        assert!(catch_unwind(AssertUnwindSafe(|| one.poll())).is_err());
    }
    assert_eq!(queue.try_get(), Ok(Spoiled(3)));
    assert!(queue.empty());
}

fn kinds() -> Vec<Kind> {
    let (empty, full, joined) = (Queue::unbounded(), Queue::bounded(1), Queue::unbounded());
    full.try_put(0).unwrap();
    joined.try_put(0).unwrap();
    joined.try_get().unwrap();
    let (put, get, done) = (empty.clone(), full.clone(), joined.clone());
    let getter = move || {
        let empty = empty.clone();
        waits(async move { assert!(empty.get().await.is_ok()) })
    };
    let putter = move || {
        let full = full.clone();
        waits(async move { full.put(1).await.unwrap() })
    };
    let joiner = move || {
        let joined = joined.clone();
        waits(async move { joined.join().await })
    };
    let three = move || (0..3).for_each(|n| put.try_put(n).unwrap());
    vec![
        ("get", Box::new(getter), Box::new(three)),
        // Each accepted put makes room for the next one: all complete, those that were dropped too.
        (
            "put",
            Box::new(putter),
            Box::new(move || (0..3).for_each(|_| assert!(get.try_get().is_ok()))),
        ),
        (
            "join",
            Box::new(joiner),
            Box::new(move || done.task_done().unwrap()),
        ),
    ]
}

/// Q6, L8 (R055, R057).
#[test]
fn a_waiter_at_a_queue_beside_a_hostile_waker_is_served_all_the_same() {
    hush();
    survive_hostile_wakers(kinds);
}

#[test]
fn a_hundred_thousand_at_a_queue_go_on_a_small_stack() {
    go_in_masses(100_000, kinds);
}
