//! User code in the middle of an operation: destructors that send, comparisons that panic, wakers
//! that panic when they are dropped. The operation's counts are updated before that code runs, or
//! restored.
//!
//! The models keep a list of the sent values, or the place of each item, and are compared after
//! each step.
//!
//! Invariants: Q1, Q6 to Q8, G4, G5.

use super::queues::Item;
use super::scripted::{PLANTED, hush};
use super::sync::{Waits, waits};
use proptest::collection::vec;
use proptest::prelude::*;
use readily::sync::broadcast::TryRecvError;
use readily::sync::{
    Barrier, Closed, PriorityQueue, Reservation, broadcast, channel, oneshot, watch,
};
use readily::task::RemoteTask;
use readily::{CancellationToken, JoinSet, Lock, PanicPolicy, Queue, Semaphore};
use readily_testing::{SimLoop, wakers};
use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Poll, Waker};

thread_local! {
    static ALL: RefCell<Option<broadcast::Sender<Echo>>> = const { RefCell::new(None) };
    /// The number of each value that was sent, in order.
    static SENT: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// A value that sends another one when it is dropped. Its clones do not.
struct Echo {
    number: usize,
    sends: bool,
}

impl Clone for Echo {
    fn clone(&self) -> Self {
        let (number, sends) = (self.number, false);
        Self { number, sends }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // Bounded, so that the test ends.
        if self.sends && SENT.with_borrow(Vec::len) < 200 {
            send();
        }
    }
}

fn send() {
    let Some(sender) = ALL.with_borrow(Clone::clone) else {
        return;
    };
    let number = SENT.with_borrow(Vec::len);
    let sends = true;
    // Logged before it is sent: a value that a destructor sends is later.
    SENT.with_borrow_mut(|sent| sent.push(number));
    if let Err(Closed(mut back)) = sender.send(Echo { number, sends }) {
        back.sends = false;
        SENT.with_borrow_mut(|sent| assert_eq!(sent.pop(), Some(number)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Q8: each receiver gets all values that are sent after it has subscribed, whatever
    /// destructors send in the middle of a send, a receive, or the drop of a receiver.
    #[test]
    fn a_broadcast_whose_values_send_when_they_are_dropped_reaches_all(
        capacity in 1..4usize,
        ops in vec((0..6u8, 0..4usize), 0..32),
    ) {
        SENT.take();
        let (sender, first) = broadcast::channel(capacity);
        ALL.set(Some(sender.clone()));
        let mut receivers = vec![(first, 0)];
        for (op, nth) in ops {
            let nth = nth % receivers.len().max(1);
            match op {
                0 | 1 => send(),
                2 => receivers.push((sender.subscribe(), SENT.with_borrow(Vec::len))),
                3 if !receivers.is_empty() => drop(receivers.remove(nth)),
                4 | 5 if !receivers.is_empty() => {
                    let (receiver, next) = &mut receivers[nth];
                    let sent = SENT.with_borrow(Clone::clone);
                    match receiver.try_recv() {
                        Ok(value) => {
                            prop_assert_eq!(Some(&value.number), sent.get(*next), "Q8");
                            *next += 1;
                        }
                        Err(TryRecvError::Lagged(missed)) => *next += missed as usize,
                        Err(error) => {
                            prop_assert_eq!(error, TryRecvError::Empty);
                            prop_assert_eq!(*next, sent.len(), "Q8");
                        }
                    }
                }
                _ => {}
            }
        }
        ALL.take();
    }
}

#[test]
fn a_receiver_that_goes_steals_nothing_that_its_values_send_and_has_an_end() {
    SENT.take();
    let (sender, leaves) = broadcast::channel(8);
    let mut stays = sender.subscribe();
    ALL.set(Some(sender));
    (0..3).for_each(|_| send());
    (0..3).for_each(|_| drop(stays.try_recv().unwrap())); // clones
    drop(leaves);
    assert_eq!(SENT.with_borrow(Vec::len), 6, "each value sends one");
    for number in 3..6 {
        let mut value = stays.try_recv().unwrap();
        assert_eq!(value.number, number, "Q8");
        value.sends = false;
    }
    ALL.take();
}

/// A value that panics when it is dropped.
struct Bomb(Rc<Cell<u32>>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
        std::panic::panic_any(PLANTED);
    }
}

/// A loop that counts the panics that are reported to it.
fn counting_reports() -> (SimLoop, Rc<Cell<u32>>) {
    hush();
    let sim = SimLoop::new(1);
    let reported = Rc::new(Cell::new(0));
    let count = Rc::clone(&reported);
    sim.set_panic_policy(PanicPolicy::Isolate);
    sim.on_unhandled(move |_| count.set(count.get() + 1));
    (sim, reported)
}

#[test]
fn destructors_that_panic_when_a_receiver_goes_keep_nothing_and_abort_nothing() {
    let (mut sim, reported) = counting_reports();
    let _here = sim.event_loop().enter();
    let dropped = Rc::new(Cell::new(0));
    let (all, receiver) = broadcast::channel(4);
    let mut stays = all.subscribe();
    (0..3).for_each(|_| assert!(all.send(Rc::new(Bomb(Rc::clone(&dropped)))).is_ok()));
    for _ in 0..3 {
        assert!(catch_unwind(AssertUnwindSafe(|| stays.try_recv().is_ok())).unwrap());
    }
    drop(receiver);
    assert_eq!((dropped.get(), reported.get()), (3, 1));
    let (sender, receiver) = channel::unbounded();
    let send = || sender.send(SendBomb).map_err(std::mem::forget);
    (0..3).for_each(|_| send().unwrap());
    SEND_BOMBS.set(0);
    drop(receiver);
    assert_eq!((SEND_BOMBS.get(), reported.get()), (3, 2));
}

thread_local! {
    static SEND_BOMBS: Cell<u32> = const { Cell::new(0) };
}

struct SendBomb;

impl Drop for SendBomb {
    fn drop(&mut self) {
        SEND_BOMBS.set(SEND_BOMBS.get() + 1);
        std::panic::panic_any(PLANTED);
    }
}

thread_local! {
    /// The comparisons until one panics.
    static FUSE: Cell<Option<u32>> = const { Cell::new(None) };
}

/// A value whose comparison may panic.
#[derive(Debug)]
struct Fused(Item);

impl Ord for Fused {
    fn cmp(&self, other: &Self) -> Ordering {
        if let Some(left) = FUSE.get() {
            match left.checked_sub(1) {
                Some(left) => FUSE.set(Some(left)),
                None => std::panic::panic_any(PLANTED),
            }
        }
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Fused {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Fused {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Fused {}

type Putting = (usize, Waits<Result<(), Closed<Fused>>>);

/// Runs an operation with a fuse, and returns its result; `None` for a panic.
fn fused<R>(fuse: u32, f: impl FnOnce() -> R) -> Option<R> {
    FUSE.set((fuse < 4).then_some(fuse));
    let done = catch_unwind(AssertUnwindSafe(f));
    FUSE.set(None);
    done.ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Q6, Q7: after any comparison has panicked, an item that was put is got once or is still in
    /// the queue, in its order; one whose put has panicked is not; waiters are served; and a join
    /// ends.
    #[test]
    fn a_comparison_that_panics_loses_no_item_and_leaves_no_task_waiting(
        maxsize in 1..6usize,
        ops in vec((0..8u8, 0..4usize, 0..8u32), 0..64),
    ) {
        hush();
        let sim = SimLoop::new(1);
        sim.set_panic_policy(PanicPolicy::Isolate);
        let queue: PriorityQueue<Fused> = PriorityQueue::bounded(maxsize);
        let mut inside = BTreeSet::new();
        let mut panicked = BTreeSet::new();
        let (mut putting, mut getting) = (Vec::<Putting>::new(), Vec::<Waits<_>>::new());
        let mut reserved: Vec<Reservation<Fused, _>> = Vec::new();
        let mut got = 0;
        for (id, (op, rank, fuse)) in ops.into_iter().enumerate() {
            let item = || Fused(Item { rank, id });
            match op {
                0 | 1 => match fused(fuse, || queue.try_put(item())) {
                    Some(Ok(())) => drop(inside.insert(id)),
                    Some(Err(_)) => {}
                    None => drop(panicked.insert(id)),
                },
                2 => {
                    let (also, item) = (queue.clone(), item());
                    let mut put = waits(async move { also.put(item).await });
                    match fused(fuse, || put.poll()) {
                        Some(Poll::Ready(Ok(()))) => drop(inside.insert(id)),
                        Some(Poll::Ready(Err(_))) => unreachable!("it is open"),
                        Some(Poll::Pending) => putting.push((id, put)),
                        None => drop(panicked.insert(id)),
                    }
                }
                3 | 4 => {
                    if let Some(Ok(item)) = fused(fuse, || queue.try_get()) {
                        prop_assert!(inside.remove(&item.0.id), "Q6: {}", item.0.id);
                        got += 1;
                    }
                }
                5 => {
                    let also = queue.clone();
                    let mut get = waits(async move { also.get().await });
                    match fused(fuse, || get.poll()) {
                        Some(Poll::Ready(item)) => {
                            prop_assert!(inside.remove(&item.unwrap().0.id), "Q6");
                            got += 1;
                        }
                        Some(Poll::Pending) => getting.push(get),
                        None => {}
                    }
                }
                6 if !getting.is_empty() => {
                    let mut get = getting.remove(rank % getting.len());
                    match fused(fuse, || get.poll()) {
                        Some(Poll::Ready(item)) => {
                            prop_assert!(inside.remove(&item.unwrap().0.id), "Q6");
                            got += 1;
                        }
                        Some(Poll::Pending) => getting.push(get),
                        None => {}
                    }
                }
                7 if rank < 2 => reserved.extend(queue.try_reserve().ok()),
                7 => {
                    if let Some(place) = reserved.pop() {
                        match fused(fuse, || place.put(item())) {
                            Some(put) => {
                                put.unwrap();
                                inside.insert(id);
                            }
                            None => drop(panicked.insert(id)),
                        }
                    }
                }
                _ => {}
            }
            // A put that was accepted meanwhile is ready when it is polled.
            let mut waiting = Vec::new();
            for (id, mut put) in putting {
                match catch_unwind(AssertUnwindSafe(|| put.poll())) {
                    Ok(Poll::Pending) => waiting.push((id, put)),
                    Ok(Poll::Ready(done)) => {
                        prop_assert!(done.is_ok());
                        // Another get may have taken the item since.
                        inside.insert(id);
                    }
                    Err(_) => drop(panicked.insert(id)),
                }
            }
            putting = waiting;
            let full = queue.qsize() + reserved.len() >= maxsize;
            prop_assert!(putting.is_empty() || full, "Q6: a put waits, and the queue has room");
            prop_assert!(queue.qsize() + reserved.len() <= maxsize, "Q6");
            prop_assert_eq!(queue.qsize(), inside.len(), "Q6");
            let promised = getting.iter().filter(|get| get.woken() > 0).count();
            let idle = getting.len() - promised;
            prop_assert!(idle == 0 || queue.qsize() <= promised, "Q6: a get waits, and the queue has an item");
        }
        drop((putting, getting, reserved));
        let mut last = None;
        while let Ok(item) = queue.try_get() {
            prop_assert!(inside.remove(&item.0.id) && !panicked.contains(&item.0.id), "Q6");
            prop_assert!(last <= Some(item.0.rank), "Q6: items come in the order of the queue");
            last = Some(item.0.rank);
            got += 1;
        }
        prop_assert!(inside.is_empty(), "Q6: {:?}", inside);
        for _ in 0..got {
            prop_assert!(queue.task_done().is_ok(), "Q7");
        }
        prop_assert!(queue.task_done().is_err(), "Q7");
        let also = queue.clone();
        prop_assert!(waits(async move { also.join().await }).poll().is_ready(), "Q7");
    }
}

#[test]
fn a_queue_that_is_emptied_while_comparing_panics_gives_all_back() {
    let (mut sim, reported) = counting_reports();
    let _here = sim.event_loop().enter();
    let queue = PriorityQueue::unbounded();
    for id in 0..9 {
        let rank = (id * 5) % 9;
        queue.try_put(Fused(Item { rank, id })).unwrap();
    }
    let mut joined = waits({
        let queue = queue.clone();
        async move { queue.join().await }
    });
    joined.assert_pending();
    let items = fused(3, || queue.close_now()).unwrap();
    let all: BTreeSet<usize> = items.iter().map(|item| item.0.id).collect();
    assert_eq!((all.len(), reported.get()), (9, 1));
    joined.assert_ready();
}

/// A comparison may read the number of items, and no more.
#[test]
fn a_comparison_that_uses_the_queue_is_refused_and_changes_nothing() {
    thread_local! {
        static QUEUE: RefCell<Option<PriorityQueue<Uses>>> = const { RefCell::new(None) };
        static ACTION: Cell<u8> = const { Cell::new(0) };
    }
    #[derive(Debug, PartialEq, Eq)]
    struct Uses(u8);
    impl PartialOrd for Uses {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }
    impl Ord for Uses {
        fn cmp(&self, other: &Self) -> Ordering {
            let queue = QUEUE.with_borrow(Clone::clone).unwrap();
            match ACTION.get() {
                1 => drop(queue.try_put(Uses(9))),
                2 => drop(queue.try_get()),
                3 => queue.close(),
                4 => drop(queue.close_now()),
                _ => assert_eq!(queue.qsize(), 3),
            }
            self.0.cmp(&other.0)
        }
    }
    hush();
    let queue = PriorityQueue::bounded(4);
    QUEUE.set(Some(queue.clone()));
    ACTION.set(9);
    // No comparison is needed.
    queue.try_put(Uses(1)).unwrap();
    for action in [1, 2, 3, 4] {
        ACTION.set(action);
        let put = catch_unwind(AssertUnwindSafe(|| queue.try_put(Uses(2))));
        assert!(put.is_err(), "{action}");
        assert_eq!((queue.qsize(), queue.is_closed()), (1, false), "{action}");
    }
    QUEUE.take();
}

thread_local! {
    static ACTION: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// A waker that calls a function when it is cloned, and whose clone panics when it is dropped.
fn waker_calling(action: impl FnOnce() + 'static) -> Waker {
    ACTION.set(Some(Box::new(action)));
    wakers::cloning(|| {
        if let Some(action) = ACTION.take() {
            action();
        }
        Some(wakers::panicking_when_dropped())
    })
}

/// Q1, Q6: a future that gets its value while its waker is cloned, which panics when it is dropped.
#[test]
fn what_is_got_in_a_poll_is_not_lost_with_a_waker_that_panics_as_it_goes() {
    let (mut sim, reported) = counting_reports();
    let _here = sim.event_loop().enter();
    let lock = Lock::new(7);
    let (guard, also) = (lock.try_acquire(), lock.clone());
    let mut locked = waits(async move { *also.acquire().await });
    let polled = locked.poll_with(&waker_calling(move || drop(guard)));
    assert_eq!((polled, reported.take()), (Poll::Ready(7), 1), "a lock");
    assert!(!lock.locked(), "Q1");

    let semaphore = Semaphore::new(0);
    let (more, also) = (semaphore.clone(), semaphore.clone());
    let mut permit = waits(async move { also.acquire_many(2).await });
    assert!(
        permit
            .poll_with(&waker_calling(move || more.add_permits(2)))
            .is_ready()
    );
    drop(permit);
    assert_eq!((semaphore.available(), reported.take()), (2, 1), "Q1");

    // A waiter that is granted its value while its waker is replaced.
    let semaphore = Semaphore::new(0);
    let (more, also) = (semaphore.clone(), semaphore.clone());
    let mut permit = waits(async move { also.acquire().await });
    permit.assert_pending();
    assert!(
        permit
            .poll_with(&waker_calling(move || more.add_permits(1)))
            .is_ready()
    );
    drop(permit);
    assert_eq!((semaphore.available(), reported.take()), (1, 1), "Q1");

    let queue = Queue::bounded(1);
    let (put, also) = (queue.clone(), queue.clone());
    let mut get = waits(async move { also.get().await });
    let polled = get.poll_with(&waker_calling(move || put.try_put(7).unwrap()));
    assert_eq!((polled, reported.take()), (Poll::Ready(Ok(7)), 1), "Q6");

    queue.try_put(1).unwrap();
    let (take, also) = (queue.clone(), queue.clone());
    let mut place = waits(async move { also.reserve().await });
    let polled = place.poll_with(&waker_calling(move || assert_eq!(take.try_get(), Ok(1))));
    assert!(matches!(polled, Poll::Ready(Ok(_))), "Q6");
    assert_eq!(reported.take(), 1);

    let barrier = Barrier::new(3);
    let wait = || {
        let barrier = barrier.clone();
        waits(async move { barrier.wait().await })
    };
    let (mut one, mut two, mut three) = (wait(), wait(), wait());
    one.assert_pending();
    let two_waits = move || {
        two.assert_pending();
        std::mem::forget(two);
    };
    assert_eq!(
        three.poll_with(&waker_calling(two_waits)),
        Poll::Ready(Ok(2)),
        "Q4"
    );
    assert_eq!(reported.take(), 1);

    let (sender, receiver) = oneshot::channel();
    let polled = waits(receiver).poll_with(&waker_calling(move || sender.send(7).unwrap()));
    assert_eq!((polled, reported.take()), (Poll::Ready(Ok(7)), 1), "Q8");

    let (sender, mut receiver) = broadcast::channel(1);
    let mut received = waits(async move { receiver.recv().await });
    let polled = received.poll_with(&waker_calling(move || assert!(sender.send(7).is_ok())));
    assert_eq!((polled, reported.take()), (Poll::Ready(Ok(7)), 1), "Q8");

    let (sender, mut receiver) = watch::channel(0);
    let mut changed = waits(async move { receiver.changed().await });
    let polled = changed.poll_with(&waker_calling(move || sender.send(7).unwrap()));
    assert_eq!((polled, reported.take()), (Poll::Ready(Ok(())), 1), "Q8");

    let (sender, mut receiver) = channel::unbounded();
    let mut received = waits(async move { receiver.recv().await });
    let polled = received.poll_with(&waker_calling(move || sender.send(7).unwrap()));
    assert_eq!((polled, reported.take()), (Poll::Ready(Ok(7)), 1), "Q9");
}

/// The same for a task that waits for the end of another task.
#[test]
fn the_result_of_a_task_is_not_lost_with_a_waker_that_panics_as_it_goes() {
    let (mut sim, reported) = counting_reports();
    let remote = sim.remote_handle();
    let task: RemoteTask<i32> = remote.spawn(|| async { 7 }).unwrap();
    sim.run_until_stalled().unwrap();
    let _here = sim.event_loop().enter();
    let polled = waits(task).poll_with(&waker_calling(|| ()));
    assert!(matches!(polled, Poll::Ready(Ok(7))), "G6");
    assert_eq!(reported.take(), 1);
    drop(_here);

    // Added to a set, which has a waker of its own.
    let mut task = sim.spawn(async { 7 });
    let waker = waker_calling(|| ());
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(std::pin::Pin::new(&mut task).poll(&mut cx).is_pending());
    let mut set = JoinSet::new();
    {
        let _here = sim.event_loop().enter();
        set.insert(task);
    }
    assert_eq!((set.len(), reported.take()), (1, 1));
    let _here = sim.event_loop().enter();
    let mut next = waits(async move { set.join_next().await.map(Result::unwrap) });
    assert!(next.poll_with(&waker_calling(|| ())).is_pending());
    drop(_here);
    sim.run_until_stalled().unwrap();
    let _here = sim.event_loop().enter();
    assert_eq!(
        next.poll_with(&waker_calling(|| ())),
        Poll::Ready(Some(7)),
        "G3"
    );
}

/// G4, G5: the destructors of an ancestor's callbacks find the dropped token and that ancestor removed.
#[test]
fn a_callback_that_goes_with_its_token_finds_nothing_of_it_above() {
    struct Looks(CancellationToken, Rc<Cell<Option<usize>>>);
    impl Drop for Looks {
        fn drop(&mut self) {
            self.1.set(Some(self.0.children()));
        }
    }
    let (root, seen) = (CancellationToken::new(), Rc::default());
    let middle = root.child_token();
    let leaf = middle.child_token();
    let looks = Looks(root.clone(), Rc::clone(&seen));
    let mut sim = SimLoop::new(0);
    let _here = sim.event_loop().enter();
    middle.on_cancel(move |_| drop(looks));
    drop(middle);
    assert_eq!(
        (root.children(), seen.get()),
        (1, None),
        "the leaf is a child"
    );
    drop(leaf);
    assert_eq!(seen.get(), Some(0));
}

/// G4, G5: a dropped token removes itself from its ancestors, whatever its callbacks do.
#[test]
fn a_callback_that_panics_when_its_token_goes_leaves_no_trace_of_that_above() {
    let (mut sim, reported) = counting_reports();
    let _here = sim.event_loop().enter();
    let dropped = Rc::new(Cell::new(0));
    let root = CancellationToken::new();
    let middle = root.child_token();
    let leaf = middle.child_token();
    for _ in 0..2 {
        let bomb = Bomb(Rc::clone(&dropped));
        middle.on_cancel(move |_| drop(bomb));
    }
    drop(middle);
    assert_eq!(
        (root.children(), dropped.get()),
        (1, 0),
        "the leaf is a child"
    );
    drop(leaf);
    assert_eq!((root.children(), dropped.get(), reported.get()), (0, 2, 2));
}
