//! Wakers of tasks that run, wait or have ended: a wake queues the task, and does nothing else.
//!
//! Invariant: L8.

use crate::moody::moody_on;
use crate::support::{Count, Dropped, Log, collect_unhandled, guard, strict_loop, turn_times};
use readily::io::Async;
use readily::poll::{Event, Notify, Poller, WaitResult};
use readily::task::create_future;
use readily::{EventLoop, Interest, JoinError, PanicPolicy, RemoteHandle, Task, Trigger, sleep};
use readily_testing::wakers;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A task that hands out its wakers, is polled `polls` times, and then runs `last`.
fn spawn(
    event_loop: &EventLoop,
    wakers: &Rc<RefCell<Vec<Waker>>>,
    log: &Log,
    polls: usize,
    mut last: impl FnMut() -> Poll<()> + 'static,
) -> Task<()> {
    let (wakers, note, dropped) = (Rc::clone(wakers), log.clone(), Dropped(log.clone(), "drop"));
    let mut left = polls;
    event_loop.spawn(poll_fn(move |cx| {
        let _mine = &dropped;
        note.note("poll");
        wakers.borrow_mut().push(cx.waker().clone());
        left = left.saturating_sub(1);
        if left == 0 { last() } else { Poll::Pending }
    }))
}

/// What can be done with a waker.
const WAKER_OPS: [fn(Waker, &mut Vec<Waker>); 5] = [
    |waker, _| waker.wake(),
    |waker, kept| {
        waker.wake_by_ref();
        kept.push(waker);
    },
    |waker, kept| kept.extend([waker.clone(), waker]),
    |waker, _| drop(waker),
    |waker, kept| {
        let copy = waker.clone();
        waker.wake();
        copy.wake_by_ref();
        kept.push(copy);
    },
];

/// R053: however a task ended, and whatever is done with its wakers then, in any order of two
/// operations: it is dropped once and polled no more.
#[test]
fn wakers_of_an_ended_task_do_nothing_whatever_is_done_with_them() {
    let _guard = guard!();
    type End = fn(&mut EventLoop, &Rc<RefCell<Vec<Waker>>>, &Log) -> Option<Task<()>>;
    let ends: [(&str, End); 5] = [
        ("finished", |event_loop, wakers, log| {
            Some(spawn(event_loop, wakers, log, 1, || Poll::Ready(())))
        }),
        ("finished, detached", |event_loop, wakers, log| {
            drop(spawn(event_loop, wakers, log, 1, || Poll::Ready(())));
            None
        }),
        ("cancelled", |event_loop, wakers, log| {
            let task = spawn(event_loop, wakers, log, 9, || Poll::Pending);
            turn_times(event_loop, 1);
            assert!(task.cancel());
            Some(task)
        }),
        ("cancelled while queued", |event_loop, wakers, log| {
            let task = spawn(event_loop, wakers, log, 9, || Poll::Pending);
            turn_times(event_loop, 1);
            wakers.borrow()[0].wake_by_ref();
            assert!(task.cancel());
            Some(task)
        }),
        ("panicked", |event_loop, wakers, log| {
            Some(spawn(event_loop, wakers, log, 1, || panic!("planted")))
        }),
    ];
    for (what, end) in ends {
        for (first, second) in (0..25).map(|n| (WAKER_OPS[n / 5], WAKER_OPS[n % 5])) {
            let mut event_loop = strict_loop();
            let (wakers, log) = (Rc::default(), Log::default());
            let task = end(&mut event_loop, &wakers, &log);
            turn_times(&mut event_loop, 2);
            assert_eq!(log.text(), "poll drop", "{what}");
            let mut kept = Vec::new();
            for op in [first, second] {
                let before = std::mem::take(&mut kept);
                let taken = before.into_iter().chain(wakers.take());
                taken.for_each(|waker| op(waker, &mut kept));
                turn_times(&mut event_loop, 2);
            }
            drop((task, event_loop));
            kept.into_iter().for_each(Waker::wake);
            assert_eq!(log.text(), "poll drop", "{what}, afterwards");
        }
    }
}

/// R053, R001: the next task may have the same address; an old waker does not wake it.
#[test]
fn a_waker_of_an_ended_task_wakes_no_other() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (old, log) = (Rc::default(), Log::default());
    for _ in 0..10 {
        drop(spawn(&event_loop, &old, &log, 1, || Poll::Ready(())));
        turn_times(&mut event_loop, 1);
    }
    let (wakers, log) = (Rc::default(), Log::default());
    let task = spawn(&event_loop, &wakers, &log, 9, || Poll::Pending);
    turn_times(&mut event_loop, 1);
    let remote = std::thread::spawn({
        let old = old.borrow().clone();
        move || old.into_iter().for_each(Waker::wake)
    });
    remote.join().unwrap();
    old.take().into_iter().for_each(Waker::wake);
    turn_times(&mut event_loop, 3);
    assert_eq!(log.text(), "poll");
    wakers.borrow()[0].wake_by_ref();
    turn_times(&mut event_loop, 3);
    assert_eq!(log.text(), "poll poll");
    assert!(!task.done());
}

/// R053: wakes of a task that lives, of each kind and many at once, are one poll.
#[test]
fn wakes_between_two_polls_are_one_poll() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (wakers, log) = (Rc::default(), Log::default());
    let task = spawn(&event_loop, &wakers, &log, 99, || Poll::Pending);
    turn_times(&mut event_loop, 1);
    for op in WAKER_OPS {
        let before = log.count("poll");
        let mut kept = Vec::new();
        let waker = wakers.take().remove(0);
        let spare = waker.clone();
        (0..5).for_each(|_| op(waker.clone(), &mut kept));
        let here = event_loop.enter();
        kept.iter().for_each(Waker::wake_by_ref);
        spare.wake();
        drop(here);
        turn_times(&mut event_loop, 3);
        assert_eq!(log.count("poll"), before + 1);
    }
    assert!(!task.done() && !log.has("drop"));
}

/// R056: a wake only queues. The code that wakes may hold what the task is about to borrow, on the
/// loop's own thread, in a callback, in another task and in the task itself.
#[test]
fn a_wake_polls_no_task_on_the_wakers_stack() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let reports = collect_unhandled(&event_loop);
    event_loop.set_panic_policy(PanicPolicy::Isolate);
    let (shared, polls) = (Rc::new(RefCell::new(None::<Waker>)), Count::default());
    let (mine, count) = (Rc::clone(&shared), polls.clone());
    drop(event_loop.spawn(poll_fn(move |cx| -> Poll<()> {
        let mut held = mine.borrow_mut();
        *held = Some(cx.waker().clone());
        // Itself, too: it is queued again, once.
        if count.add() == 1 {
            held.iter().for_each(Waker::wake_by_ref);
        }
        Poll::Pending
    })));
    turn_times(&mut event_loop, 3);
    assert_eq!(polls.get(), 2, "for its start and for its own wake");
    let wake = |shared: &Rc<RefCell<Option<Waker>>>, polls: &Count| {
        let held = shared.borrow_mut();
        let before = polls.get();
        held.iter().for_each(Waker::wake_by_ref);
        assert_eq!(polls.get(), before, "polled by a wake");
    };
    wake(&shared, &polls);
    turn_times(&mut event_loop, 2);
    let (theirs, count) = (Rc::clone(&shared), polls.clone());
    event_loop.call_soon(move |_| wake(&theirs, &count));
    turn_times(&mut event_loop, 2);
    let (theirs, count) = (Rc::clone(&shared), polls.clone());
    event_loop.call_later(Duration::ZERO, move |_| wake(&theirs, &count));
    turn_times(&mut event_loop, 2);
    let (theirs, count) = (Rc::clone(&shared), polls.clone());
    drop(event_loop.spawn(async move { wake(&theirs, &count) }));
    turn_times(&mut event_loop, 3);
    assert_eq!(polls.get(), 6);
    assert_eq!(reports.text(), "");
}

/// A poller that reports when it waits, and waits until the test lets it go on: a loop whose thread
/// the system has preempted in the middle of a turn.
struct PutAside {
    waits: Sender<()>,
    go_on: Receiver<()>,
    rings: Sender<()>,
}

struct Bell(Sender<()>);

impl Notify for Bell {
    fn notify(&self) {
        let _ = self.0.send(());
    }
}

impl Poller for PutAside {
    fn register(&mut self, _: RawFd, _: u64, _: Interest, _: Trigger) -> io::Result<()> {
        Ok(())
    }

    fn modify(&mut self, _: RawFd, _: u64, _: Interest, _: Trigger) -> io::Result<()> {
        Ok(())
    }

    fn rearm(&mut self, _: RawFd, _: u64, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn rearm_interest(&self) -> Interest {
        Interest::NONE
    }

    fn remove(&mut self, _: RawFd) -> io::Result<()> {
        Ok(())
    }

    fn wait(&mut self, _: &mut Vec<Event>, _: Option<Duration>) -> io::Result<WaitResult> {
        self.waits.send(()).unwrap();
        self.go_on.recv().unwrap();
        Ok(WaitResult::new(true))
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::new(Bell(self.rings.clone()))
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// R063: a wake does not wait for the loop to notice it, however long that takes; and nothing that
/// was sent meanwhile is lost.
#[test]
fn a_wake_does_not_wait_for_a_loop_that_was_put_aside() {
    let _guard = guard!();
    let (waits, is_waiting) = channel();
    let (sender, receiver) = channel();
    let (rings, rung) = channel();
    let (to_us, remotes) = channel::<(RemoteHandle, Waker)>();
    let thread = std::thread::spawn(move || {
        let put_aside = PutAside {
            waits,
            go_on: receiver,
            rings,
        };
        let (mut event_loop, _mood) = moody_on(Box::new(put_aside));
        let (remote, polls) = (event_loop.remote_handle(), Count::default());
        let count = polls.clone();
        drop(event_loop.spawn(poll_fn(move |cx| -> Poll<()> {
            if count.add() == 1 {
                to_us.send((remote.clone(), cx.waker().clone())).unwrap();
            }
            Poll::Pending
        })));
        event_loop.run().unwrap();
        polls.get()
    });
    // The first wait does not block: the task is new. In the second the loop is held up.
    is_waiting.recv().unwrap();
    sender.send(()).unwrap();
    let (remote, waker) = remotes.recv().unwrap();
    is_waiting.recv().unwrap();
    while rung.try_recv().is_ok() {}
    for _ in 0..10_000 {
        remote.wake();
        waker.wake_by_ref();
        remote.call_soon(|_| ()).unwrap();
    }
    assert_eq!(rung.try_iter().count(), 1, "W2");
    remote.stop().unwrap();
    sender.send(()).unwrap();
    assert_eq!(thread.join().unwrap(), 2, "woken once, polled once more");
}

/// R054: a waker that is never dropped keeps a few bytes, and neither the future nor the loop.
#[test]
fn forgotten_wakers_keep_neither_the_future_nor_the_loop() {
    let _guard = guard!();
    let log = Log::default();
    let dropped = Dropped(log.clone(), "future");
    let mut event_loop = strict_loop();
    drop(event_loop.spawn(async move {
        let _mine = dropped;
        poll_fn(|cx| {
            (0..1000).for_each(|_| std::mem::forget(cx.waker().clone()));
            Poll::Ready(())
        })
        .await;
        sleep(Duration::from_secs(3600)).await;
    }));
    turn_times(&mut event_loop, 2);
    let kept = Dropped(log.clone(), "callback");
    event_loop.call_later(Duration::from_secs(3600), move |_| drop(kept));
    let report = event_loop.close();
    // The future's own timer was there too.
    assert_eq!(report.timers, 2);
    assert_eq!(log.text(), "future callback");
}

thread_local! {
    // A waker may go to another thread, and what it runs here may not; so it is kept here.
    static ON_CLONE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// A waker that wakes nothing, and runs `action` when it is first cloned.
fn on_clone(action: impl FnOnce() + 'static) -> Waker {
    ON_CLONE.set(Some(Box::new(action)));
    wakers::cloning(|| {
        if let Some(action) = ON_CLONE.take() {
            action();
        }
        None
    })
}

/// R039: a future clones the waker before it enters the list; a wake at that very moment finds no
/// waker in the list.
#[test]
fn what_settles_while_the_waker_is_cloned_is_not_missed() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let entered = event_loop.enter();
    let (promise, mut future) = create_future();
    let waker = on_clone(move || promise.set_result(7).unwrap());
    let polled = Pin::new(&mut future).poll(&mut Context::from_waker(&waker));
    assert_eq!(polled, Poll::Ready(Ok(7)));

    let mut task = event_loop.spawn(std::future::pending::<()>());
    let ends = task.task_ref();
    let waker = on_clone(move || assert!(ends.cancel()));
    let polled = Pin::new(&mut task).poll(&mut Context::from_waker(&waker));
    assert!(matches!(polled, Poll::Ready(Err(JoinError::Cancelled))));

    let (ours, _theirs) = UnixStream::pair().unwrap();
    let source = Async::new(ours).unwrap();
    drop(entered);
    // Both appear with a panic that was caught on the way: of a list that was borrowed, for example.
    event_loop.turn_now().unwrap();
    let waker = on_clone(move || drop(event_loop.close()));
    let mut waits = pin!(source.readable());
    let polled = waits.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(matches!(polled, Poll::Ready(Err(_))), "the loop is closed");
}

thread_local! {
    static EVENT: &'static readily::Event = Box::leak(Box::default());
    static WAITS: RefCell<Vec<Pin<Box<dyn Future<Output = ()>>>>> = const { RefCell::new(Vec::new()) };
}

/// Waits for `EVENT`, for good.
fn wait_with(waker: &Waker) -> Poll<()> {
    let mut wait = Box::pin(EVENT.with(|event| event.wait()));
    let polled = wait.as_mut().poll(&mut Context::from_waker(waker));
    WAITS.with_borrow_mut(|waits| waits.push(wait));
    polled
}

/// L8: the list of waiters is not borrowed while their wakers run.
#[test]
fn a_waker_may_come_back_to_the_list_of_waiters_when_it_is_woken_and_when_it_is_cloned() {
    let _guard = guard!();
    let (again, count) = wakers::counting();
    let comes_back = wakers::calling(
        move || {
            EVENT.with(|event| event.clear());
            assert!(wait_with(&again).is_pending());
        },
        || {},
    );
    for _ in 0..3 {
        assert!(wait_with(&comes_back).is_pending());
    }
    EVENT.with(|event| event.set()); // three wait for the next time,
    assert_eq!(count.count(), 0);
    let sets = wakers::cloning(|| {
        EVENT.with(|event| event.set());
        None
    });
    assert!(wait_with(&sets).is_ready()); // which is this.
    assert_eq!(count.count(), 3);
    WAITS.take();
}
