//! Allocations: a warm loop allocates nothing, and memory is given back after a burst (R126).
//!
//! A thousand events, a hundred tasks that wake each other, timers that fire and are rearmed, bytes
//! between two sources: once the buffers have grown, all of this runs without the allocator.
//! Allocations are counted for each thread, so that those of the test harness do not count. The
//! allocations of a cold loop depend on the number of registrations, not on the numbers of their
//! descriptors.

// A global allocator, `setrlimit(2)` and `fcntl(2)` need unsafe code.
#![allow(unsafe_code)]

use readily::clock::Manual;
use readily::io::{Async, Direction};
use readily::poll::Poller;
use readily::poll::poll2::PollPoller;
use readily::sync::{Barrier, Condition, LifoQueue, PriorityQueue, broadcast, channel, watch};
use readily::{
    Callbacks, CancellationToken, Closures, Event, EventLoop, Interest, JoinSet, Lock, Queue,
    Semaphore, sleep, spawn, yield_now,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::future::{poll_fn, ready};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
    /// The bytes that this thread has allocated minus those that it has freed.
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

fn count(bytes: usize) {
    // `try_with`: a thread allocates and frees after the end of its thread-locals.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
    let _ = BYTES.try_with(|all| all.set(all.get() + bytes));
    lives(bytes as isize);
}

fn lives(bytes: isize) {
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes));
}

// SAFETY: every method passes its arguments on to `System` unchanged, so it keeps the contract that
// `System` keeps; the counters are plain thread-locals and allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        lives(-(layout.size() as isize));
        // SAFETY: the caller's promises about `block` and `layout` are passed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        lives(-(layout.size() as isize));
        // SAFETY: the caller's promises about all three arguments are passed on.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Registers a thousand readable descriptors, whose callback does not read.
fn always_readable(event_loop: &EventLoop, seen: &Rc<Cell<u64>>) -> Vec<UnixStream> {
    (0..1000)
        .map(|_| {
            let (mut near, far) = UnixStream::pair().unwrap();
            near.write_all(b"x").unwrap();
            let seen = Rc::clone(seen);
            let count = Closures::new().on_read(move |_| seen.set(seen.get() + 1));
            event_loop.register(far, Interest::READ, count).unwrap();
            near
        })
        .collect()
}

/// Spawns two tasks that wake each other forever.
fn ping_pong() {
    let slots: Rc<[RefCell<Option<Waker>>; 2]> = Rc::default();
    for side in 0..2 {
        let slots = Rc::clone(&slots);
        drop(spawn(poll_fn(move |cx| -> Poll<()> {
            match &mut *slots[side].borrow_mut() {
                Some(waker) => waker.clone_from(cx.waker()),
                empty => *empty = Some(cx.waker().clone()),
            }
            if let Some(other) = &*slots[1 - side].borrow() {
                other.wake_by_ref();
            }
            Poll::Pending
        })));
    }
}

/// Spawns two tasks that send bytes from one source to another.
fn pump() {
    let (near, far) = UnixStream::pair().unwrap();
    drop(spawn(async move {
        let near = Async::new(near).unwrap();
        loop {
            near.io(Direction::Write, |mut s| s.write(b"some bytes"))
                .await
                .unwrap();
            yield_now().await;
        }
    }));
    drop(spawn(async move {
        let far = Async::new(far).unwrap();
        let mut buffer = [0; 64];
        loop {
            far.io(Direction::Read, |mut s| s.read(&mut buffer))
                .await
                .unwrap();
        }
    }));
}

#[test]
fn a_warm_turn_allocates_nothing() {
    allow_many();
    let mut event_loop = EventLoop::new().unwrap();
    event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
    let (seen, ticks) = (Rc::default(), Rc::new(Cell::new(0_u64)));
    let _near = always_readable(&event_loop, &seen);
    let entered = event_loop.enter();
    (0..50).for_each(|_| ping_pong());
    (0..4).for_each(|_| pump());
    for _ in 0..10 {
        let ticks = Rc::clone(&ticks);
        drop(spawn(async move {
            loop {
                sleep(Duration::from_nanos(1)).await;
                ticks.set(ticks.get() + 1);
            }
        }));
    }
    drop(entered);
    for has_host in [false, true] {
        if has_host {
            // If the poller has no descriptor, the second round is the same as the first.
            let _ = event_loop.as_fd_with_deadline();
        }
        for _ in 0..64 {
            event_loop.turn_now().unwrap();
        }
        let (seen_before, ticks_before) = (seen.get(), ticks.get());
        let before = COUNT.get();
        for _ in 0..16 {
            event_loop.turn_now().unwrap();
        }
        let allocations = COUNT.get() - before;
        assert!(
            seen.get() - seen_before >= 16 * 60,
            "events were dispatched"
        );
        assert!(ticks.get() - ticks_before >= 16, "timers have fired");
        assert_eq!(allocations, 0, "with a host: {has_host}");
    }
}

/// The bytes that a new loop allocates to register a descriptor and to run its callback.
fn bytes_for(poller: Box<dyn Poller>, ours: UnixStream, theirs: &mut UnixStream) -> usize {
    let mut event_loop = EventLoop::with(poller, Box::new(Manual::new())).unwrap();
    event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
    theirs.write_all(b"x").unwrap();
    let before = BYTES.get();
    let close = Closures::new().on_read(|cx| cx.close());
    event_loop.register(ours, Interest::READ, close).unwrap();
    while event_loop.registered() > 0 {
        event_loop.turn_now().unwrap();
    }
    BYTES.get() - before
}

/// Duplicates the descriptor to the highest number that this process may have.
fn at_the_limit(stream: &UnixStream) -> UnixStream {
    allow_many();
    let highest = i32::try_from(limit().rlim_cur - 1).unwrap_or(1 << 20);
    let highest = highest.min(1 << 20);
    // SAFETY: takes numbers, and has no effect on memory.
    let number = unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_DUPFD_CLOEXEC, highest) };
    assert!(number >= 1000, "the limit is too low for this test");
    // SAFETY: the kernel has just made this descriptor; it has no other owner.
    unsafe { UnixStream::from_raw_fd(number) }
}

/// R014: memory depends on the number of registrations, not on the numbers of their descriptors.
#[test]
fn a_huge_number_costs_what_a_small_one_does() {
    let pollers: [fn() -> Box<dyn Poller>; 2] = [
        || readily::poll::default_poller::default().unwrap(),
        || Box::new(PollPoller::new().unwrap()),
    ];
    // The first loop of a thread allocates what the thread keeps for its loops.
    EventLoop::new().unwrap().turn_now().unwrap();
    // The table of files that are set non-blocking belongs to the process, and other tests use it
    // too: its allocations must not be part of the minimum.
    let keeps = EventLoop::new().unwrap();
    let (kept, _peer) = UnixStream::pair().unwrap();
    keeps
        .register(kept, Interest::READ, Closures::new())
        .unwrap();
    for poller in pollers {
        let (small, mut theirs) = UnixStream::pair().unwrap();
        let mut least = |number: &dyn Fn() -> UnixStream| {
            let bytes = (0..3).map(|_| bytes_for(poller(), number(), &mut theirs));
            bytes.min().unwrap()
        };
        let with_small = least(&|| small.try_clone().unwrap());
        let with_huge = least(&|| at_the_limit(&small));
        assert!(with_small > 0);
        // Its place in a map of large numbers, of one page.
        assert!(
            with_huge < with_small + 1024,
            "{with_huge}, and not {with_small}"
        );
    }
}

/// A thousand pairs need more descriptors than some systems allow by default.
fn allow_many() {
    let mut limit = limit();
    limit.rlim_cur = limit.rlim_cur.max(4096.min(limit.rlim_max));
    // SAFETY: `limit` is a live local that is only read.
    assert_eq!(
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) },
        0
    );
}

/// The limits of open descriptors of this process.
fn limit() -> libc::rlimit {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` has space for the structure that is written.
    assert_eq!(
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) },
        0
    );
    limit
}

/// Polls a future on the stack, which must be ready at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    let polled = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
    match polled {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future is not ready"),
    }
}

/// Each operation without waiters, on an object that has room for the value.
#[test]
fn an_uncontended_permit_is_taken_and_given_back_without_an_allocation() {
    let entered = EventLoop::new().unwrap();
    let (lock, semaphore, event) = (Lock::new([0; 100]), Semaphore::new(3), Event::new());
    let (condition, barrier) = (Condition::new(), Barrier::new(1));
    let queue = Queue::unbounded();
    let (last, least) = (LifoQueue::bounded(8), PriorityQueue::bounded(8));
    let _here = entered.enter();
    let ((far, mut near), (last_value, mut watcher)) = (channel::bounded(8), watch::channel(0));
    let (all, mut listener) = broadcast::channel(8);
    let mut also = all.subscribe();
    let mut work = || {
        far.send(1).unwrap();
        assert_eq!(now(near.recv()), Ok(1));
        last_value.send(1).unwrap();
        now(watcher.changed()).unwrap();
        assert_eq!(*watcher.borrow(), 1);
        all.send(1).unwrap();
        assert_eq!((now(listener.recv()), now(also.recv())), (Ok(1), Ok(1)));
        now(lock.acquire())[0] += 1;
        drop(lock.try_acquire());
        drop(now(semaphore.acquire_many(2)));
        drop(semaphore.try_acquire());
        event.set();
        now(event.wait());
        event.clear();
        condition.notify_all();
        drop(now(
            condition.wait_for(now(lock.acquire()), |value| value[0] > 0)
        ));
        now(barrier.wait()).unwrap();
        now(queue.put(1)).unwrap();
        now(queue.get()).unwrap();
        last.try_put(1).unwrap();
        least.try_put(1).unwrap();
        assert_eq!(last.try_get(), least.try_get());
        queue.task_done().unwrap();
        now(queue.join());
    };
    // The slots of a ring are allocated in its first round.
    (0..10).for_each(|_| work());
    let before = COUNT.get();
    (0..100).for_each(|_| work());
    assert_eq!(COUNT.get() - before, 0);
}

/// Waiters that are served use the entries of earlier waiters.
#[test]
fn a_warm_wait_queue_allocates_nothing() {
    let (lock, queue) = (Lock::new(0), Queue::bounded(1));
    let mut cx = Context::from_waker(Waker::noop());
    let mut work = || {
        let guard = lock.try_acquire();
        let (mut one, mut two) = (pin!(lock.acquire()), pin!(lock.acquire()));
        assert!(one.as_mut().poll(&mut cx).is_pending() && two.as_mut().poll(&mut cx).is_pending());
        drop(guard);
        assert!(one.as_mut().poll(&mut cx).is_ready() && two.as_mut().poll(&mut cx).is_ready());
        let (mut get, mut put) = (pin!(queue.get()), pin!(queue.put(2)));
        assert!(get.as_mut().poll(&mut cx).is_pending());
        queue.try_put(1).unwrap();
        assert!(put.as_mut().poll(&mut cx).is_pending());
        assert_eq!(get.as_mut().poll(&mut cx), Poll::Ready(Ok(1)));
        assert!(put.as_mut().poll(&mut cx).is_ready());
        queue.try_get().unwrap();
    };
    work();
    let before = COUNT.get();
    (0..100).for_each(|_| work());
    assert_eq!(COUNT.get() - before, 0);
}

/// A timer that is kept is started, moved, fired and stopped without an allocation.
#[test]
fn a_warm_timer_allocates_nothing() {
    let clock = Manual::new();
    let poller = readily::poll::default_poller::default().unwrap();
    let mut event_loop = EventLoop::with(poller, Box::new(clock.clone())).unwrap();
    event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
    let fired = Rc::new(Cell::new(0));
    let counted = Rc::clone(&fired);
    let timer = event_loop.timer(move |_, timer| {
        counted.set(counted.get() + 1);
        timer.start_in(Duration::from_millis(1));
    });
    let mut work = || {
        timer.start_in(Duration::from_secs(1));
        assert!(timer.stop());
        timer.start_in(Duration::from_secs(1));
        timer.start_in(Duration::from_millis(1));
        clock.advance(Duration::from_millis(1));
        event_loop.turn_now().unwrap();
    };
    (0..200).for_each(|_| work());
    let before = COUNT.get();
    (0..100).for_each(|_| work());
    assert_eq!((COUNT.get() - before, fired.get()), (0, 300));
}

/// R126: the memory of a burst of a hundred thousand tasks, closures, timers and messages is given
/// back: afterwards a loop keeps what a thousand of them would take.
#[test]
fn the_memory_of_a_burst_is_given_back() {
    const MANY: usize = 100_000;
    let mut event_loop = EventLoop::new().unwrap();
    event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
    let remote = event_loop.remote_handle();
    let before = LIVE.get();
    let entered = event_loop.enter();
    for _ in 0..MANY {
        drop(spawn(async { sleep(Duration::from_nanos(1)).await }));
        event_loop.call_soon(|_| {});
        event_loop.call_later(Duration::from_nanos(1), |_| {});
        remote.call_soon(|_| {}).unwrap();
    }
    drop(entered);
    let burst = LIVE.get() - before;
    for _ in 0..100 {
        remote.call_soon(|_| {}).unwrap();
        event_loop.turn_now().unwrap();
    }
    let kept = LIVE.get() - before;
    assert!(
        burst > 10_000_000,
        "{burst} bytes are too few for this test"
    );
    assert!(kept < burst / 50, "{kept} bytes are kept of {burst}");
}

/// R126: the blocks of ended tasks, which are cached for new ones, are freed when no more tasks
/// come.
#[test]
fn the_blocks_of_tasks_are_given_back_when_no_more_come() {
    let mut event_loop = EventLoop::new().unwrap();
    event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
    let before = LIVE.get();
    let entered = event_loop.enter();
    (0..2000).for_each(|_| drop(spawn(async { yield_now().await })));
    drop(entered);
    let burst = LIVE.get() - before;
    for _ in 0..100 {
        event_loop.call_soon(|_| {});
        event_loop.turn_now().unwrap();
    }
    let kept = LIVE.get() - before;
    // The table and the queue keep room for a thousand entries each.
    assert!(kept < burst / 5, "{kept} bytes are kept of {burst}");
}

/// R195.
#[test]
fn the_blocks_of_registrations_are_given_back_when_no_more_come() {
    const REGISTRATIONS: usize = 300;
    struct Large(#[allow(dead_code)] [u64; 50]);
    impl Callbacks for Large {}
    let mut event_loop = EventLoop::new().unwrap();
    let (end, _other) = UnixStream::pair().unwrap();
    let register = |_| {
        let end = end.try_clone().unwrap();
        let registered = event_loop.register(end, Interest::READ, Large([0; 50]));
        registered.map_err(|refused| refused.error).unwrap()
    };
    let keys: Vec<_> = (0..REGISTRATIONS).map(register).collect();
    for key in keys {
        event_loop.remove(key).unwrap();
    }
    let cached = LIVE.get();
    for _ in 0..20 {
        event_loop.turn_now().unwrap();
    }
    // The tables keep their room; each block had at least its callbacks.
    let freed = cached - LIVE.get();
    let blocks = (REGISTRATIONS * size_of::<Large>()).cast_signed();
    assert!(
        freed >= blocks,
        "{freed} bytes are given back, and {blocks} were used"
    );
}

const BURST: usize = 200_000;

/// Fills `thing` and empties it again, and checks the memory that it then keeps.
fn burst<T>(name: &str, mut thing: T, fill: impl FnOnce(&mut T), empty: impl FnOnce(&mut T)) {
    let before = LIVE.get();
    fill(&mut thing);
    let burst = LIVE.get() - before;
    empty(&mut thing);
    let kept = LIVE.get() - before;
    println!("{name}: {kept} of {burst}");
    assert!(
        burst > 1_000_000,
        "{name}: {burst} bytes are too few for this test"
    );
    assert!(kept < 100_000, "{name}: {kept} bytes are kept of {burst}");
}

type Waiting<F> = Vec<Pin<Box<F>>>;

/// Makes `BURST` futures that wait.
fn waiting<F: Future>(make: impl Fn() -> F) -> Waiting<F> {
    let mut cx = Context::from_waker(Waker::noop());
    let one = |_| {
        let mut future = Box::pin(make());
        assert!(future.as_mut().poll(&mut cx).is_pending());
        future
    };
    (0..BURST).map(one).collect()
}

/// Makes waiters of `thing`, which are served by `serve`, or dropped from the first or from the
/// last.
fn burst_of_waiters<T, F: Future>(
    name: &str,
    make: impl Fn() -> F,
    thing: T,
    serve: impl Fn(&T, usize),
) {
    let given = |way: &str, empty: &dyn Fn(Waiting<F>)| {
        burst(
            &format!("{name}, {way}"),
            Vec::new(),
            |all| *all = waiting(&make),
            |all| empty(std::mem::take(all)),
        );
    };
    given("left by the first", &|all| all.into_iter().for_each(drop));
    given("left by the last", &|all| {
        all.into_iter().rev().for_each(drop);
    });
    given("served", &|all| {
        serve(&thing, all.len());
        all.into_iter().for_each(|future| drop(now(future)));
    });
}

/// R126, for each object that can hold a burst of items or waiters.
#[test]
fn each_object_gives_the_memory_of_a_burst_back() {
    let mut event_loop = EventLoop::new().unwrap();
    let here = event_loop.enter();
    macro_rules! queues {
        ($($name:literal $queue:expr;)+) => { $(
            burst(
                $name,
                $queue,
                |queue| (0..BURST).for_each(|n| queue.try_put(n).unwrap()),
                |queue| while queue.try_get().is_ok() {},
            );
        )+ };
    }
    queues! {
        "a queue" Queue::unbounded();
        "a stack" LifoQueue::unbounded();
        "a priority queue" PriorityQueue::unbounded();
    }
    burst(
        "a channel",
        channel::unbounded(),
        |(far, _)| (0..BURST).for_each(|n| far.send(n).unwrap()),
        |(_, near)| while near.try_recv().is_ok() {},
    );
    let send = |all: &broadcast::Sender<usize>| {
        (0..BURST).for_each(|n| assert_eq!(all.send(n), Ok(1)));
    };
    burst(
        "a broadcast",
        broadcast::channel(BURST),
        |(all, _)| send(all),
        |(_, one)| while one.try_recv().is_ok() {},
    );
    let (all, receiver) = broadcast::channel(BURST);
    burst(
        "a broadcast whose receiver goes",
        (all, Some(receiver)),
        |(all, _)| send(all),
        |(_, receiver)| drop(receiver.take()),
    );

    let semaphore = Semaphore::new(0);
    burst_of_waiters(
        "a semaphore",
        || semaphore.acquire(),
        &semaphore,
        |it, n| it.add_permits(n),
    );
    let event = Event::new();
    burst_of_waiters("an event", || event.wait(), &event, |event, _| event.set());
    let barrier = Barrier::new(BURST + 1);
    burst_of_waiters(
        "a barrier",
        || barrier.wait(),
        &barrier,
        |it, _| assert!(now(it.wait()).is_ok()),
    );
    let queue = Queue::unbounded();
    let put = |queue: &Queue<usize>, n| (0..n).for_each(|n| queue.try_put(n).unwrap());
    burst_of_waiters("getters", || queue.get(), queue.clone(), put);
    let (sender, watcher) = watch::channel(0);
    let change = || {
        let mut watcher = watcher.clone();
        async move { watcher.changed().await }
    };
    burst_of_waiters("a watch", change, sender, |sender, _| {
        sender.send(1).unwrap()
    });

    let token = CancellationToken::new();
    burst(
        "a token",
        Vec::new(),
        |below| below.extend((0..BURST).map(|_| token.child_token())),
        |below| *below = Vec::new(),
    );
    drop(here);

    let remote = event_loop.remote_handle();
    let few_turns = |event_loop: &mut EventLoop| {
        for _ in 0..32 {
            event_loop.call_soon(|_| ());
            event_loop.turn_now().unwrap();
        }
    };
    few_turns(&mut event_loop);
    burst(
        "messages",
        &mut event_loop,
        |_| (0..BURST).for_each(|_| remote.call_soon(|_| ()).unwrap()),
        |event_loop| few_turns(event_loop),
    );
    burst(
        "a set of tasks",
        (JoinSet::new(), &mut event_loop),
        |(set, event_loop)| {
            let _here = event_loop.enter();
            set.extend((0..BURST).map(|_| ready(())));
        },
        |(set, event_loop)| {
            few_turns(event_loop);
            while set.try_join_next().is_some() {}
            few_turns(event_loop);
        },
    );
}

#[test]
fn an_allocation_is_counted() {
    let before = COUNT.get();
    drop(std::hint::black_box(Box::new(1_u8)));
    assert!(COUNT.get() > before);
}
