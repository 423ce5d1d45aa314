//! Payloads of panics whose destructors panic (R142): a payload is user code, and a second panic
//! during another aborts the process.

use crate::support::{Count, collect_unhandled, guard, strict_runner, tcp_pair};
use readily::spi;
use readily::task::create_future;
use readily::{
    CancellationToken, Closures, Event, EventLoop, Interest, JoinSet, LoopHandle, PanicPolicy,
    TaskGroup, spawn, yield_now,
};
use std::future::{Future, pending, poll_fn};
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// A payload whose destructor panics, with another one like it.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_any(Bomb);
    }
}

fn boom() {
    panic_any(Bomb);
}

/// Counts its wakes, and panics with a bomb.
#[derive(Default)]
struct Hostile(AtomicUsize);

impl Wake for Hostile {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        boom();
    }
}

fn hostile() -> (Arc<Hostile>, Waker) {
    let hostile = Arc::<Hostile>::default();
    (Arc::clone(&hostile), Waker::from(hostile))
}

fn is_pending<F: Future>(future: Pin<&mut F>, waker: &Waker) {
    assert!(future.poll(&mut Context::from_waker(waker)).is_pending());
}

async fn stays_pending<F: Future>(mut future: Pin<&mut F>) {
    let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending()));
    assert!(polled.await);
}

/// What `f` panics with is a bomb, which is kept from going off.
fn catches_a_bomb(f: impl FnOnce()) {
    let payload = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
    assert!(ManuallyDrop::new(payload).is::<Bomb>());
}

#[test]
fn wakers_that_panic_with_such_payloads_wake_each_other() {
    let _guard = guard!();
    for enters in [false, true] {
        let event_loop = EventLoop::new().unwrap();
        let reports = collect_unhandled(&event_loop);
        let here = enters.then(|| event_loop.enter());
        let (counted, waker) = hostile();
        // A token and a child of it, each with two waiters.
        let token = CancellationToken::new();
        let below = token.child_token();
        let waits = [
            token.cancelled(),
            token.cancelled(),
            below.cancelled(),
            below.cancelled(),
        ];
        let mut waits = waits.map(Box::pin);
        waits
            .iter_mut()
            .for_each(|wait| is_pending(wait.as_mut(), &waker));
        match enters {
            true => assert!(token.cancel()),
            false => catches_a_bomb(|| assert!(token.cancel())),
        }
        assert_eq!(counted.0.swap(0, Ordering::Relaxed), 4);
        // An event.
        let event = Event::new();
        let (mut one, mut two) = (Box::pin(event.wait()), Box::pin(event.wait()));
        is_pending(one.as_mut(), &waker);
        is_pending(two.as_mut(), &waker);
        event.set();
        assert_eq!(counted.0.load(Ordering::Relaxed), 2);
        drop(here);
        assert_eq!(
            reports.len(),
            if enters { 2 } else { 0 },
            "the first of each"
        );
    }
}

/// The two directions of a connection are two lists.
#[test]
fn both_waiters_for_a_connection_are_woken() {
    let _guard = guard!();
    let mut runner = strict_runner();
    runner.set_panic_policy(PanicPolicy::Isolate);
    let reports = collect_unhandled(&runner);
    let (ours, theirs) = tcp_pair();
    let (counted, waker) = hostile();
    let also = waker.clone();
    let stream = runner.run(async move {
        let stream = readily::io::TcpStream::from_std(ours).unwrap();
        let block = vec![0; 1 << 16];
        let fills = async {
            loop {
                stream.write(&block).await.unwrap();
            }
        };
        let filled = readily::wait_for(Duration::from_millis(50), fills).await;
        assert!(filled.is_err());
        stream
    });
    let stream = stream.unwrap();
    let mut buffer = [0; 8];
    let (mut reads, mut writes) = (
        Box::pin(stream.read(&mut buffer)),
        Box::pin(stream.write(b"x")),
    );
    is_pending(reads.as_mut(), &waker);
    is_pending(writes.as_mut(), &also);
    drop(theirs); // with bytes that it has not read: both directions are over
    while counted.0.load(Ordering::Relaxed) < 2 {
        runner.event_loop().turn(None).unwrap();
    }
    assert_eq!(reports.len(), 1, "the first");
}

/// Panics with a bomb wherever a loop calls out.
fn boom_everywhere(handle: &LoopHandle) -> UnixStream {
    for _ in 0..2 {
        handle.call_soon(|_| boom());
        handle.call_later(Duration::ZERO, |_| boom());
        drop(handle.spawn(async { boom() }));
        let task = handle.spawn(async {});
        task.add_done_callback(|_| boom());
        drop(task);
    }
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let callbacks = Closures::new().on_read(|_| boom());
    handle.register(ours, Interest::READ, callbacks).unwrap();
    theirs
}

#[test]
fn a_loop_survives_them_in_each_place_under_each_policy() {
    let _guard = guard!();
    for policy in [PanicPolicy::Isolate, PanicPolicy::Propagate] {
        for hook_panics in [false, true] {
            let mut event_loop = EventLoop::new().unwrap();
            event_loop.set_panic_policy(policy);
            let reports = Count::default();
            let counts = reports.clone();
            event_loop.on_unhandled(move |_| {
                counts.add();
                if hook_panics {
                    boom();
                }
            });
            let _theirs = boom_everywhere(&event_loop);
            let mut unwound = 0;
            while !event_loop.is_idle() {
                match catch_unwind(AssertUnwindSafe(|| event_loop.run())) {
                    Ok(ended) => drop(ended.unwrap()),
                    Err(payload) => {
                        unwound += 1;
                        assert!(ManuallyDrop::new(payload).is::<Bomb>());
                    }
                }
            }
            assert_eq!(reports.get() + unwound, 9);
            assert_eq!(unwound > 0, policy == PanicPolicy::Propagate);
        }
    }
}

#[test]
fn what_tasks_have_panicked_with_is_let_go_of_wherever_it_is() {
    let _guard = guard!();
    let mut runner = strict_runner();
    runner.set_panic_policy(PanicPolicy::Isolate);
    let reports = Count::default();
    let counts = reports.clone();
    runner.on_unhandled(move |_| {
        counts.add();
    });
    runner
        .run(async {
            // In a set and a group that are dropped, and in handles.
            let mut set = JoinSet::new();
            (0..2).for_each(|_| drop(set.spawn(async { boom() })));
            let mut group = Box::pin(TaskGroup::<()>::collect(async |group| {
                (0..2).for_each(|_| drop(group.spawn::<(), _>(async { panic_any(Bomb) })));
                pending::<Result<(), ()>>().await
            }));
            stays_pending(group.as_mut()).await;
            let tasks = [spawn(async { boom() }), spawn(async { boom() })];
            yield_now().await;
            yield_now().await;
            stays_pending(group.as_mut()).await;
            drop((set, group, tasks));
        })
        .unwrap();
    assert_eq!(reports.get(), 6);
    // And a future's waiter.
    let (counted, waker) = hostile();
    let here = runner.event_loop().enter();
    let (promise, future) = create_future::<u8>();
    let mut future = pin!(future.shared());
    is_pending(future.as_mut(), &waker);
    promise.set_result(1).unwrap();
    assert_eq!((counted.0.load(Ordering::Relaxed), reports.get()), (1, 7));
    drop(here);
    // The caller's own goes out of the run, with others before and behind it.
    catches_a_bomb(|| {
        let ran = runner.run(async {
            drop(spawn(async { boom() }));
            drop(spawn(async { boom() }));
            yield_now().await;
            boom();
        });
        ran.unwrap();
    });
    assert_eq!(reports.get(), 9);
}

/// A loop that goes while its thread panics, with destructors that panic, and with two in one place.
#[test]
fn a_loop_is_dropped_during_a_panic_with_destructors_that_panic() {
    let _guard = guard!();
    for policy in [PanicPolicy::Isolate, PanicPolicy::Propagate] {
        let reports = Count::default();
        let counts = reports.clone();
        catches_a_bomb(move || {
            let event_loop = EventLoop::new().unwrap();
            event_loop.set_panic_policy(policy);
            let hook = Bomb;
            event_loop.on_unhandled(move |_| {
                let _held = &hook;
                counts.add();
            });
            for _ in 0..2 {
                let (soon, later, task) = (Bomb, Bomb, Bomb);
                event_loop.call_soon(move |_| drop(soon));
                event_loop.call_later(Duration::from_secs(9), move |_| drop(later));
                drop(event_loop.spawn(async move {
                    let _held = task;
                    pending::<()>().await;
                }));
                let (ours, _theirs) = UnixStream::pair().unwrap();
                let [read, write, connect, open, timeout, hangup, default] = [const { Bomb }; 7];
                let callbacks = Closures::new()
                    .on_read(move |_| holds(&read))
                    .on_write(move |_| holds(&write))
                    .on_connect(move |_| holds(&connect))
                    .on_open(move |_| holds(&open))
                    .on_timeout(move |_| holds(&timeout))
                    .on_hangup(move |_, _| holds(&hangup))
                    .on_default(move |_, _| holds(&default));
                event_loop
                    .register(ours, Interest::NONE, callbacks)
                    .unwrap();
            }
            boom();
        });
        assert_eq!(reports.get(), 8, "one for each");
    }
}

fn holds(_bomb: &Bomb) {}

struct DropsABomb {
    bomb: Bomb,
}

impl Wake for DropsABomb {
    fn wake(self: Arc<Self>) {
        holds(&self.bomb);
    }
}

/// What waits for a descriptor is dropped one by one too, as all that a loop leaves.
#[test]
fn wakers_that_panic_when_they_are_dropped_are_dropped_one_by_one() {
    let _guard = guard!();
    let event_loop = EventLoop::new().unwrap();
    let reports = collect_unhandled(&event_loop);
    for _ in 0..2 {
        let waker = Waker::from(Arc::new(DropsABomb { bomb: Bomb }));
        let _stays = spi::wake_on_fd_close(&event_loop, waker);
    }
    event_loop.close();
    assert_eq!(reports.len(), 2);
}
