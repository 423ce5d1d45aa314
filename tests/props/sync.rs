//! Locks, semaphores, events, conditions and barriers, each against a count and a list.
//!
//! Errors between coroutines are errors at a drop: of a waiter, of one that was granted a permit
//! and has not run since, of a holder. So the programs here drop at every place, and the models
//! also predict which waiters have been woken, and for what.
//!
//! Invariants: Q1 to Q5, L8.

use super::scripted::hush;
use proptest::collection::vec;
use proptest::prelude::*;
use readily::sync::{Barrier, BoundedSemaphore, BrokenBarrierError, Condition, LockGuard, Permit};
use readily::{Event, Lock, PanicPolicy, Semaphore, Task, sleep, spawn, wait_for, yield_now};
use readily_testing::{Action, ManualPoll, SimLoop, in_one_turn, manual_poll, orders, wakers};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// A future that waits and is polled by the test.
pub type Waits<T> = ManualPoll<Pin<Box<dyn Future<Output = T>>>>;

pub fn waits<T>(future: impl Future<Output = T> + 'static) -> Waits<T> {
    manual_poll(Box::pin(future) as Pin<Box<dyn Future<Output = T>>>)
}

#[derive(Clone, Copy, Debug)]
enum PermitOp {
    Acquire(usize),
    Try(usize),
    Poll(usize),
    Drop(usize),
    Release(usize),
    Forget(usize),
    Add(usize),
}

fn permit_op() -> impl Strategy<Value = PermitOp> {
    let wants = 0..4usize;
    prop_oneof![
        4 => wants.clone().prop_map(PermitOp::Acquire),
        2 => wants.clone().prop_map(PermitOp::Try),
        3 => (0..8usize).prop_map(PermitOp::Poll),
        2 => (0..8usize).prop_map(PermitOp::Drop),
        3 => (0..8usize).prop_map(PermitOp::Release),
        1 => (0..8usize).prop_map(PermitOp::Forget),
        1 => (0..3usize).prop_map(PermitOp::Add),
    ]
}

/// The model of a semaphore: a count, a list, and the permits that were granted and not taken.
#[derive(Default)]
struct PermitModel {
    free: usize,
    line: VecDeque<(usize, usize)>,
    granted: BTreeMap<usize, usize>,
}

impl PermitModel {
    fn take(&mut self, want: usize) -> bool {
        let now = self.line.is_empty() && want <= self.free;
        self.free -= if now { want } else { 0 };
        now
    }

    fn serve(&mut self) {
        while let Some(&(id, want)) = self.line.front() {
            if want > self.free {
                break;
            }
            self.free -= want;
            self.granted.insert(id, want);
            self.line.pop_front();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Q1, Q2: a permit is free, granted or held, and goes to the first waiter; whatever is
    /// dropped, at any time.
    #[test]
    fn permits_go_to_the_first_in_line_and_none_is_lost(
        total in 0..4usize,
        ops in vec(permit_op(), 0..48),
    ) {
        let semaphore = Semaphore::new(total);
        let mut model = PermitModel { free: total, ..PermitModel::default() };
        let mut pending: Vec<(usize, Waits<Permit>)> = Vec::new();
        let mut held: Vec<Permit> = Vec::new();
        let mut there = total;
        for (id, op) in ops.into_iter().enumerate() {
            match op {
                PermitOp::Acquire(want) => {
                    let also = semaphore.clone();
                    let mut future = waits(async move { also.acquire_many(want).await });
                    let now = model.take(want);
                    match future.poll() {
                        Poll::Ready(permit) => held.push(permit),
                        Poll::Pending => {
                            model.line.push_back((id, want));
                            pending.push((id, future));
                        }
                    }
                    prop_assert_eq!(pending.last().is_none_or(|last| last.0 != id), now);
                }
                PermitOp::Try(want) => {
                    let permit = semaphore.try_acquire_many(want);
                    prop_assert_eq!(permit.is_some(), model.take(want), "Q2");
                    held.extend(permit);
                }
                PermitOp::Poll(nth) if !pending.is_empty() => {
                    let nth = nth % pending.len();
                    let (id, future) = &mut pending[nth];
                    let granted = model.granted.remove(id);
                    match future.poll() {
                        Poll::Ready(permit) => {
                            prop_assert_eq!(Some(permit.permits()), granted, "Q1");
                            held.push(permit);
                            drop(pending.remove(nth));
                        }
                        Poll::Pending => prop_assert_eq!(granted, None, "Q1"),
                    }
                }
                PermitOp::Drop(nth) if !pending.is_empty() => {
                    let (id, future) = pending.remove(nth % pending.len());
                    drop(future);
                    model.free += model.granted.remove(&id).unwrap_or(0);
                    model.line.retain(|&(other, _)| other != id);
                }
                PermitOp::Release(nth) if !held.is_empty() => {
                    let permit = held.swap_remove(nth % held.len());
                    model.free += permit.permits();
                    drop(permit);
                }
                PermitOp::Forget(nth) if !held.is_empty() => {
                    let permit = held.swap_remove(nth % held.len());
                    there -= permit.permits();
                    permit.forget();
                }
                PermitOp::Add(more) => {
                    there += more;
                    model.free += more;
                    semaphore.add_permits(more);
                }
                _ => {}
            }
            model.serve();
            prop_assert_eq!(semaphore.available(), model.free, "Q1: after {:?}", op);
            prop_assert_eq!(semaphore.locked(), !model.line.is_empty() || model.free == 0);
            for (id, future) in &pending {
                let granted = model.granted.contains_key(id);
                prop_assert_eq!(future.woken(), usize::from(granted), "woken for a grant, once");
            }
        }
        drop((pending, held));
        prop_assert_eq!(semaphore.available(), there, "Q1: all permits are free");
    }

    /// Q1, Q2, Q3: tasks that take a lock and a permit, yield and sleep with them, in an order from
    /// a seed, and are cancelled at any time: one task has the lock, at most as many as there are
    /// permits have one, the other tasks end, and all is free then.
    #[test]
    fn a_lock_has_one_holder_in_every_order_of_the_tasks(
        seed in any::<u64>(),
        naps in vec((0..4u64, 0..4u64), 1..8),
        cancels in vec((0..8usize, 0..12u64), 0..4),
    ) {
        let mut sim = SimLoop::new(seed);
        let (lock, pair) = (Lock::new(0_u32), Semaphore::new(2));
        let (inside, done) = (Rc::new(Cell::new(0_usize)), Rc::new(Cell::new(0_usize)));
        let count = naps.len();
        let ended = sim.run({
            let (lock, pair) = (lock.clone(), pair.clone());
            let (inside, done) = (Rc::clone(&inside), Rc::clone(&done));
            async move {
                let work = |(before, within): (u64, u64)| {
                    let (lock, pair) = (lock.clone(), pair.clone());
                    let (inside, done) = (Rc::clone(&inside), Rc::clone(&done));
                    async move {
                        sleep(Duration::from_millis(before)).await;
                        let permit = pair.acquire().await;
                        let mut guard = lock.acquire().await;
                        inside.set(inside.get() + 1);
                        let _left = Left(Rc::clone(&inside));
                        assert_eq!(inside.get(), 1, "Q3");
                        *guard += 1;
                        let mine = *guard;
                        yield_now().await;
                        sleep(Duration::from_millis(within)).await;
                        assert_eq!(*guard, mine, "Q3");
                        drop((guard, permit));
                        done.set(done.get() + 1);
                    }
                };
                let tasks: Vec<Task<()>> = naps.into_iter().map(work).map(spawn).collect();
                let mut cancelled = 0;
                for (nth, after) in cancels {
                    sleep(Duration::from_millis(after)).await;
                    if tasks.get(nth).is_some_and(Task::cancel) {
                        cancelled += 1;
                    }
                }
                for task in tasks {
                    let limited = wait_for(Duration::from_secs(60), task).await;
                    let ended = limited.expect("no task waits forever");
                    assert!(ended.is_ok() || ended.is_err_and(|error| error.is_cancelled()));
                }
                cancelled
            }
        });
        prop_assert_eq!(ended.unwrap() + done.get(), count);
        prop_assert_eq!((lock.locked(), pair.available(), inside.get()), (false, 2, 0));
    }

    /// Q4: each waiter of an event that is set goes on, and no other one; whatever is cleared and
    /// dropped before it runs.
    #[test]
    fn a_waiter_of_an_event_goes_on_when_it_is_set(ops in vec((0..5u8, 0..8usize), 0..48)) {
        let event = Event::new();
        let (mut set, mut pending) = (false, Vec::<(bool, Waits<()>)>::new());
        for (op, nth) in ops {
            let nth = nth % pending.len().max(1);
            match op {
                0 => {
                    let also = event.clone();
                    let mut future = waits(async move { also.wait().await });
                    prop_assert_eq!(future.poll().is_ready(), set);
                    if !set {
                        pending.push((false, future));
                    }
                }
                1 => {
                    event.set();
                    set = true;
                    pending.iter_mut().for_each(|(notified, _)| *notified = true);
                }
                2 => {
                    event.clear();
                    set = false;
                }
                3 if !pending.is_empty() => drop(pending.remove(nth)),
                4 if !pending.is_empty() => {
                    let (notified, future) = &mut pending[nth];
                    let notified = *notified;
                    prop_assert_eq!(future.poll().is_ready(), notified, "Q4");
                    if notified {
                        drop(pending.remove(nth));
                    }
                }
                _ => {}
            }
            prop_assert_eq!(event.is_set(), set);
            for (notified, future) in &pending {
                prop_assert_eq!(future.woken() > 0, *notified);
            }
        }
    }

    /// Q4: a round of a barrier has as many waiters as the barrier's size, without those that were
    /// dropped; they get its numbers, each once, in the order of their waits.
    #[test]
    fn a_barrier_lets_so_many_go_at_once(
        parties in 1..4usize,
        ops in vec((0..8u8, 0..8usize), 0..48),
    ) {
        let barrier = Barrier::new(parties);
        let mut broken = false;
        let mut pending = Vec::<(Option<Result<usize, BrokenBarrierError>>, Waits<_>)>::new();
        for (op, nth) in ops {
            let nth = nth % pending.len().max(1);
            match op {
                0..=3 => {
                    let also = barrier.clone();
                    let mut future = waits(async move { also.wait().await });
                    let waiting = pending.iter().filter(|(passed, _)| passed.is_none()).count();
                    let expected = match () {
                        () if broken => Poll::Ready(Err(BrokenBarrierError)),
                        () if waiting + 1 == parties => Poll::Ready(Ok(waiting)),
                        () => Poll::Pending,
                    };
                    prop_assert_eq!(future.poll(), expected);
                    match expected {
                        Poll::Pending => pending.push((None, future)),
                        Poll::Ready(passed) => {
                            let all = pending.iter_mut().filter(|(passed, _)| passed.is_none());
                            for (n, other) in all.enumerate() {
                                other.0 = Some(passed.map(|_| n));
                            }
                        }
                    }
                }
                4 if !pending.is_empty() => drop(pending.remove(nth)),
                5 if !pending.is_empty() => {
                    let (passed, future) = &mut pending[nth];
                    let passed = *passed;
                    let expected = passed.map_or(Poll::Pending, Poll::Ready);
                    prop_assert_eq!(future.poll(), expected, "Q4");
                    if passed.is_some() {
                        drop(pending.remove(nth));
                    }
                }
                6 | 7 => {
                    broken = op == 6;
                    if broken { barrier.abort() } else { barrier.reset() }
                    for (passed, _) in &mut pending {
                        passed.get_or_insert(Err(BrokenBarrierError));
                    }
                }
                _ => {}
            }
            let waiting = pending.iter().filter(|(passed, _)| passed.is_none()).count();
            prop_assert_eq!((barrier.n_waiting(), barrier.broken()), (waiting, broken));
        }
    }

    /// Q5: a notification goes to the first waiter, and from one that is dropped before it has the
    /// lock to the next one; and each notified waiter has the lock when it goes on.
    #[test]
    fn a_notice_reaches_a_waiter_that_goes_on(ops in vec((0..9u8, 0..6usize), 0..64)) {
        let (lock, condition) = (Lock::new(()), Condition::new());
        let mut model = ConditionModel::default();
        let mut futures = BTreeMap::<usize, Waits<LockGuard>>::new();
        let mut held: Option<LockGuard> = None;
        for (id, (op, nth)) in ops.into_iter().enumerate() {
            let picked = futures.keys().nth(nth % futures.len().max(1)).copied();
            match (op, picked) {
                (0..=2, _) => {
                    let guard = held.take().or_else(|| lock.try_acquire());
                    prop_assert_eq!(guard.is_some(), model.lock != Holder::Promised);
                    let Some(guard) = guard else { continue };
                    let also = condition.clone();
                    let mut future = waits(async move { also.wait(guard).await });
                    future.assert_pending();
                    futures.insert(id, future);
                    model.waiting.push_back(id);
                    model.unlock();
                }
                (3, _) => {
                    condition.notify(nth % 3);
                    (0..nth % 3).for_each(|_| model.notify());
                }
                (4, _) => {
                    condition.notify_all();
                    let all = model.waiting.drain(..).map(|id| (id, false));
                    model.notified.extend(all);
                }
                (5, Some(id)) => {
                    drop(futures.remove(&id));
                    model.drop(id);
                }
                (6 | 7, Some(id)) => {
                    let ready = model.poll(id);
                    match futures.get_mut(&id).unwrap().poll() {
                        Poll::Pending => prop_assert!(!ready, "Q5"),
                        Poll::Ready(guard) => {
                            prop_assert!(ready && held.is_none(), "Q3, Q5");
                            held = Some(guard);
                            futures.remove(&id);
                        }
                    }
                }
                (8, _) if held.take().is_some() => model.unlock(),
                _ => {}
            }
            prop_assert_eq!(lock.locked(), model.lock != Holder::Nobody);
            for (id, future) in &futures {
                let woken = model.notified.contains_key(id) || model.granted == Some(*id);
                prop_assert_eq!(future.woken() > 0, woken, "Q5: {} after {}", id, op);
            }
        }
        drop((futures, held));
        prop_assert!(!lock.locked(), "Q1");
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Holder {
    #[default]
    Nobody,
    /// A task has the permit.
    Test,
    /// A task will take the permit.
    Promised,
}

/// The waiters for a notification, the notified ones (and whether by `notify_all`), and the waiters
/// for the lock.
#[derive(Default)]
struct ConditionModel {
    waiting: VecDeque<usize>,
    notified: BTreeMap<usize, bool>,
    locking: VecDeque<(usize, bool)>,
    granted: Option<usize>,
    counted: bool,
    lock: Holder,
}

impl ConditionModel {
    fn notify(&mut self) {
        if let Some(id) = self.waiting.pop_front() {
            self.notified.insert(id, true);
        }
    }

    fn unlock(&mut self) {
        self.lock = Holder::Nobody;
        self.granted = None;
        if let Some((id, counted)) = self.locking.pop_front() {
            self.lock = Holder::Promised;
            self.granted = Some(id);
            self.counted = counted;
        }
    }

    /// Whether the future is ready.
    fn poll(&mut self, id: usize) -> bool {
        if self.granted == Some(id) {
            self.granted = None;
            self.lock = Holder::Test;
            return true;
        }
        let Some(counted) = self.notified.remove(&id) else {
            return false;
        };
        if self.lock != Holder::Nobody {
            self.locking.push_back((id, counted));
            return false;
        }
        self.lock = Holder::Test;
        true
    }

    fn drop(&mut self, id: usize) {
        let mut counted = self.notified.remove(&id);
        self.waiting.retain(|&other| other != id);
        if let Some(at) = self.locking.iter().position(|&(other, _)| other == id) {
            counted = self.locking.remove(at).map(|(_, counted)| counted);
        }
        if self.granted == Some(id) {
            counted = Some(self.counted);
            self.unlock();
        }
        if counted == Some(true) {
            self.notify();
        }
    }
}

/// Marks its task as outside again, also if the task is dropped inside.
struct Left(Rc<Cell<usize>>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

type Names = Vec<usize>;

/// Three tasks that want a lock, which a fourth has: each logs its name when it has the lock.
fn three_for_a_lock(sim: &mut SimLoop) -> (Lock<Names>, LockGuard<Names>, Vec<Task<()>>) {
    let entered = sim.event_loop().enter();
    let lock = Lock::new(Vec::new());
    let guard = lock.try_acquire().unwrap();
    let wants = |n| {
        let lock = lock.clone();
        spawn(async move { lock.acquire().await.push(n) })
    };
    let tasks = (0..3).map(wants).collect();
    drop(entered);
    sim.run_until_stalled().unwrap();
    (lock, guard, tasks)
}

/// Each order of the events of a turn, with the orders of the tasks that some seeds make.
pub fn each(orders: Vec<Vec<usize>>, seeds: Range<u64>) -> impl Iterator<Item = (Vec<usize>, u64)> {
    let with = move |order: Vec<usize>| seeds.clone().map(move |seed| (order.clone(), seed));
    orders.into_iter().flat_map(with)
}

/// Q1, Q2 (R089): a release, and a cancel of the first and of the second waiter, in one turn and in
/// every order. The third waiter gets the lock, and no cancelled one does.
#[test]
fn a_release_and_two_cancels_in_one_turn_leave_the_lock_to_the_third() {
    for (order, seed) in each(orders(4), 0..4) {
        let mut sim = SimLoop::new(seed);
        let (lock, guard, tasks) = three_for_a_lock(&mut sim);
        let seen: Rc<RefCell<Vec<usize>>> = Rc::default();
        let cancel = |n: usize| -> Action {
            let task: &Task<()> = &tasks[n];
            let task = task.task_ref();
            Box::new(move || assert!(task.cancel()))
        };
        let barges = {
            let (lock, seen) = (lock.clone(), Rc::clone(&seen));
            // Q2: in each of these orders a task waits, or has been granted the lock.
            Box::new(move || seen.borrow_mut().extend(lock.try_acquire().map(|_| 9)))
        };
        let actions: Vec<Action> =
            vec![Box::new(move || drop(guard)), cancel(0), cancel(1), barges];
        in_one_turn(&sim.weak_handle(), &order, actions);
        sim.run_until_stalled().unwrap();
        assert!(seen.borrow().is_empty(), "{order:?}: Q2");
        let guard = lock.try_acquire().expect("the lock is free in the end");
        assert_eq!(
            (&**guard, tasks_that_ended(tasks)),
            (&[2][..], vec![2]),
            "{order:?}"
        );
    }
}

/// The numbers of the tasks that ended by themselves.
fn tasks_that_ended(tasks: Vec<Task<()>>) -> Vec<usize> {
    let ended = tasks.into_iter().enumerate();
    ended
        .filter_map(|(n, mut task)| task.result()?.ok().map(|()| n))
        .collect()
}

/// Q5 (R089): one waiter is notified, the first one is cancelled, and the lock is taken and
/// released, in one turn and in every order: one of the two goes on, unless both were cancelled.
#[test]
fn a_notice_and_a_cancel_in_one_turn_reach_a_waiter_that_goes_on() {
    for (order, seed) in each(orders(3), 0..4) {
        let mut sim = SimLoop::new(seed);
        let entered = sim.event_loop().enter();
        let (lock, condition) = (Lock::new(0), Condition::new());
        let wait = || {
            let (lock, condition) = (lock.clone(), condition.clone());
            spawn(async move {
                let guard = lock.acquire().await;
                *condition.wait(guard).await += 1;
            })
        };
        let tasks = [wait(), wait()];
        drop(entered);
        sim.run_until_stalled().unwrap();
        let (notifier, first, other) = (condition.clone(), tasks[0].task_ref(), lock.clone());
        let held: Rc<RefCell<Option<LockGuard<i32>>>> = Rc::default();
        let kept = Rc::clone(&held);
        let actions: Vec<Action> = vec![
            Box::new(move || notifier.notify(1)),
            Box::new(move || assert!(first.cancel())),
            Box::new(move || *kept.borrow_mut() = other.try_acquire()),
        ];
        in_one_turn(&sim.weak_handle(), &order, actions);
        sim.run_until_stalled().unwrap();
        assert!(held.take().is_some());
        sim.run_until_stalled().unwrap();
        assert_eq!(*lock.try_acquire().unwrap(), 1, "{order:?}");
        assert!(tasks[0].cancelled() && tasks[1].done(), "{order:?}");
    }
}

/// Q1 to Q5: a future of each kind is dropped after each of its polls, and the object that it
/// waited for is as before.
#[test]
fn each_that_waits_may_be_dropped_after_each_of_its_polls() {
    let mut sim = SimLoop::new(5);
    let (lock, semaphore) = (Lock::new(0), Semaphore::new(2));
    let (condition, event) = (Condition::new(), Event::new());
    let barrier = Barrier::new(2);
    let polls = sim.drop_everywhere(|| {
        let (lock, semaphore, barrier) = (lock.clone(), semaphore.clone(), barrier.clone());
        let (condition, event) = (condition.clone(), event.clone());
        async move {
            let other = {
                let (lock, semaphore) = (lock.clone(), semaphore.clone());
                let (condition, event, barrier) =
                    (condition.clone(), event.clone(), barrier.clone());
                spawn(async move {
                    let guard = lock.acquire().await;
                    let permit = semaphore.acquire_many(2).await;
                    yield_now().await;
                    drop((guard, permit));
                    yield_now().await;
                    *lock.acquire().await += 1;
                    condition.notify(1);
                    yield_now().await;
                    event.set();
                    // Restores the object: neither exit leaves a waiter behind.
                    yield_now().await;
                    event.clear();
                    let _ = wait_for(Duration::from_secs(1), barrier.wait()).await;
                })
            };
            yield_now().await;
            drop(semaphore.acquire_many(2).await);
            let before = *lock.acquire().await;
            let guard = lock.acquire().await;
            drop(condition.wait_for(guard, |now| *now > before).await);
            event.wait().await;
            barrier.wait().await.unwrap();
            other.await.unwrap();
        }
    });
    assert!(polls > 6, "the futures wait");
    sim.advance(Duration::from_secs(2)).unwrap();
    assert_eq!(
        (lock.locked(), semaphore.available(), barrier.n_waiting()),
        (false, 2, 0)
    );
}

/// Makes a waiter of each kind, and the call that completes the waiters one after the other.
pub type Kind = (&'static str, Box<dyn Fn() -> Waits<()>>, Box<dyn FnMut()>);

fn kinds() -> Vec<Kind> {
    let (lock, semaphore) = (Lock::new(()), Semaphore::new(0));
    let (condition, event, barrier) = (Condition::new(), Event::new(), Barrier::new(4));
    let mut guard = lock.try_acquire();
    let (notifier, set, more, last) = (
        condition.clone(),
        event.clone(),
        semaphore.clone(),
        barrier.clone(),
    );
    let wait = move || {
        let (guard, condition) = (Lock::new(()).try_acquire().unwrap(), condition.clone());
        waits(async move { drop(condition.wait(guard).await) })
    };
    // A waiter may have been dropped since.
    let come = move || {
        let come = || {
            waits({
                let last = last.clone();
                async move { last.wait().await }
            })
        };
        let (mut one, mut two) = (come(), come());
        assert!(one.poll().is_ready() || two.poll().is_ready());
    };
    vec![
        (
            "lock",
            Box::new(move || {
                let lock = lock.clone();
                waits(async move { drop(lock.acquire().await) })
            }),
            Box::new(move || drop(guard.take())),
        ),
        (
            "semaphore",
            Box::new(move || {
                let semaphore = semaphore.clone();
                waits(async move { drop(semaphore.acquire().await) })
            }),
            Box::new(move || more.add_permits(1)),
        ),
        (
            "event",
            Box::new(move || {
                let event = event.clone();
                waits(async move { event.wait().await })
            }),
            Box::new(move || set.set()),
        ),
        (
            "condition",
            Box::new(wait),
            Box::new(move || notifier.notify_all()),
        ),
        (
            "barrier",
            Box::new(move || {
                let barrier = barrier.clone();
                waits(async move { assert!(barrier.wait().await.is_ok()) })
            }),
            Box::new(come),
        ),
    ]
}

/// One of three waiters is polled with a hostile waker, at each place: the others go on all the
/// same.
pub fn survive_hostile_wakers(kinds: impl Fn() -> Vec<Kind>) {
    let mut sim = SimLoop::new(1);
    sim.set_panic_policy(PanicPolicy::Isolate);
    sim.on_unhandled(|_| ());
    let _here = sim.event_loop().enter();
    for place in 0..3 {
        for (name, hostile) in wakers::hostile() {
            for (kind, make, mut let_go) in kinds() {
                let mut three: Vec<Option<Waits<()>>> = (0..3).map(|_| Some(make())).collect();
                for (n, future) in three.iter_mut().flatten().enumerate() {
                    if n == place {
                        // Also in the place of another waker, and of itself.
                        let mut poll = |waker| {
                            let polled = catch_unwind(AssertUnwindSafe(|| future.poll_with(waker)));
                            assert!(!matches!(polled, Ok(Poll::Ready(()))), "{kind}, {name}");
                        };
                        poll(&hostile);
                        poll(Waker::noop());
                        poll(&hostile);
                        poll(&hostile);
                    } else {
                        future.assert_pending();
                    }
                }
                let_go();
                for (n, slot) in three.iter_mut().enumerate() {
                    let mut future = slot.take().unwrap();
                    if n == place {
                        drop(catch_unwind(AssertUnwindSafe(|| drop(future))));
                    } else {
                        assert_eq!(future.woken(), 1, "{kind} at {n} of {place}: {name}");
                        future.assert_ready();
                    }
                }
            }
            drop(catch_unwind(AssertUnwindSafe(|| drop(hostile))));
        }
    }
}

/// Q1, L8 (R055, R057).
#[test]
fn a_waiter_beside_a_hostile_waker_is_served_all_the_same() {
    hush();
    survive_hostile_wakers(kinds);
}

/// Many tasks wait, and are dropped: some in the order of their waits, some of them with a grant
/// that goes to the next one, and the rest in the opposite order. No step recurses (R093).
pub fn go_in_masses(count: usize, kinds: impl Fn() -> Vec<Kind> + Send + 'static) {
    let small = std::thread::Builder::new().stack_size(256 * 1024);
    let thread = small.spawn(move || {
        for (_, make, mut let_go) in kinds() {
            let mut all: VecDeque<Waits<()>> = (0..count).map(|_| make()).collect();
            all.iter_mut()
                .for_each(|future| assert!(future.poll().is_pending()));
            all.drain(..count / 4).for_each(drop);
            let_go();
            all.drain(..count / 4).for_each(drop);
            while let Some(last) = all.pop_back() {
                drop(last);
            }
        }
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn a_million_waiters_go_on_a_small_stack() {
    go_in_masses(1_000_000, || kinds().into_iter().take(1).collect());
    go_in_masses(100_000, || {
        let mut kinds = kinds();
        kinds.retain(|kind| kind.0 != "barrier"); // dropping a waiter completes none of the others
        kinds
    });
}

/// Q1: a dropped permit is returned by itself; a forgotten one by a call; and none twice.
#[test]
fn a_bounded_semaphore_never_has_more_than_at_the_start() {
    let seats = BoundedSemaphore::new(2);
    let (one, two) = (seats.try_acquire().unwrap(), seats.try_acquire().unwrap());
    assert!(seats.locked());
    seats.release().unwrap_err();
    let mut waiting = waits({
        let seats = seats.clone();
        async move { seats.acquire().await }
    });
    waiting.assert_pending();
    one.forget();
    waiting.assert_woken(0);
    seats.release().unwrap();
    waiting.assert_woken(1);
    seats.release().unwrap_err();
    drop((waiting, two));
    assert_eq!(seats.available(), 2);
}
