//! Wakes and messages from other threads: nothing is lost, kept or late.
//!
//! Invariants: L8, L9, W1 to W3, T3.

use crate::support::{
    Dropped, Log, guard, strict_loop, strict_run, strict_runner, turn_times, turns_in,
};
use readily::event_loop::{ExitReason, LoopClosed};
use readily::poll::{Event, Notify, Poller, WaitResult};
use readily::{
    Error, EventLoop, Interest, LoopHandle, RemoteHandle, Runner, Task, Trigger, WeakHandle,
    yield_now,
};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

/// W1, R050, R062: a hundred threads, each with a hundred closures.
#[test]
fn nothing_that_a_hundred_threads_send_is_lost_and_each_thread_keeps_its_order() {
    let _guard = guard!();
    const THREADS: usize = 100;
    const EACH: usize = 100;
    let mut event_loop = strict_loop();
    let seen = Arc::new(Mutex::new(vec![Vec::new(); THREADS]));
    let home = std::thread::current().id();
    for thread in 0..THREADS {
        let (remote, seen) = (event_loop.remote_handle(), Arc::clone(&seen));
        std::thread::spawn(move || {
            for n in 0..EACH {
                let seen = Arc::clone(&seen);
                let note = move |_: &LoopHandle| {
                    assert_eq!(std::thread::current().id(), home);
                    seen.lock().unwrap()[thread].push(n);
                };
                remote.call_soon(note).unwrap();
            }
        });
    }
    // Ends by itself when the last remote is dropped: nothing can be sent any more.
    assert_eq!(event_loop.run().unwrap(), ExitReason::Idle);
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|one| one.len() == EACH && one.is_sorted()));
}

/// R058, R059, R062, W2: counted at the notifier itself.
#[test]
fn a_million_wakes_notify_once_for_each_sleep() {
    let _guard = guard!();
    let rings = Arc::new(AtomicUsize::new(0));
    let poller = Counting::new(Arc::clone(&rings));
    let clock = Box::new(readily::clock::Monotonic::new());
    let mut event_loop = EventLoop::with(Box::new(poller), clock).unwrap();
    event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
    let remote = event_loop.remote_handle();
    for _ in 0..1_000_000 {
        remote.wake();
    }
    assert_eq!(rings.load(Ordering::Relaxed), 1);
    for _ in 0..10_000 {
        remote.call_soon(|_| ()).unwrap();
    }
    assert_eq!(rings.load(Ordering::Relaxed), 1);
    turn_times(&mut event_loop, 2);
    assert_eq!(event_loop.stats().turns, 2);
    let before = rings.load(Ordering::Relaxed);
    for _ in 0..1000 {
        remote.wake();
    }
    assert!(rings.load(Ordering::Relaxed) <= before + 1);
}

/// The system's poller, with a count of notifications, and waits that can be made to fail.
pub(crate) struct Counting {
    poller: Box<dyn Poller>,
    rings: Arc<AtomicUsize>,
    fails: Arc<AtomicBool>,
}

struct CountingBell(Arc<dyn Notify>, Arc<AtomicUsize>);

impl Notify for CountingBell {
    fn notify(&self) {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.notify();
    }
}

impl Counting {
    pub(crate) fn new(rings: Arc<AtomicUsize>) -> Self {
        let poller = readily::poll::default_poller::default().unwrap();
        Self {
            poller,
            rings,
            fails: Arc::default(),
        }
    }
}

impl Poller for Counting {
    fn register(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        self.poller.register(fd, token, i, t)
    }

    fn modify(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        self.poller.modify(fd, token, i, t)
    }

    fn rearm(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.poller.rearm(fd, token, interest)
    }

    fn rearm_interest(&self) -> Interest {
        self.poller.rearm_interest()
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        self.poller.remove(fd)
    }

    fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<WaitResult> {
        let result = self.poller.wait(events, timeout)?;
        match self.fails.swap(false, Ordering::Relaxed) {
            true => Err(io::ErrorKind::OutOfMemory.into()),
            false => Ok(result),
        }
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::new(CountingBell(
            self.poller.notifier(),
            Arc::clone(&self.rings),
        ))
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.poller.as_fd()
    }
}

/// R050: a failed wait consumed the notification; the message is still there. Also on a loop that had
/// no work in the turn before, and would sleep in the next one.
#[test]
fn what_was_sent_is_not_lost_by_a_wait_that_fails() {
    let _guard = guard!();
    for had_no_work in [false, true] {
        let poller = Counting::new(Arc::default());
        let fails = Arc::clone(&poller.fails);
        let clock = Box::new(readily::clock::Monotonic::new());
        let mut event_loop = EventLoop::with(Box::new(poller), clock).unwrap();
        event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
        if had_no_work {
            event_loop.turn_now().unwrap();
        }
        let (sender, receiver) = channel();
        let remote = event_loop.remote_handle();
        remote
            .call_soon(move |handle| {
                sender.send(()).unwrap();
                handle.stop();
            })
            .unwrap();
        fails.store(true, Ordering::Relaxed);
        assert!(matches!(event_loop.run(), Err(Error::Io(_))));
        event_loop.turn(None).unwrap();
        receiver.try_recv().expect("it has run");
    }
}

/// W1: from the thread at any moment around the wait; a lost wake hangs here.
#[test]
fn a_task_that_a_thread_wakes_ten_thousand_times_goes_on_each_time() {
    let _guard = guard!();
    let (wakers, to_wake) = channel::<Waker>();
    let woken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&woken);
    let thread = std::thread::spawn(move || {
        for waker in to_wake {
            count.fetch_add(1, Ordering::Release);
            waker.wake();
        }
    });
    strict_run(async {
        for n in 0..10_000 {
            wakers.send(Waker::noop().clone()).ok();
            let mut asked = false;
            let target = 2 * n + 2;
            poll_fn(|cx| {
                if !std::mem::replace(&mut asked, true) {
                    wakers.send(cx.waker().clone()).unwrap();
                }
                match woken.load(Ordering::Acquire) >= target {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })
            .await;
        }
    })
    .unwrap();
    drop(wakers);
    thread.join().unwrap();
}

/// R064: woken just before the loop would block, by its own thread and by another.
#[test]
fn a_main_future_that_is_woken_while_it_is_polled_is_polled_again() {
    let _guard = guard!();
    let mut polls = 0;
    strict_run(poll_fn(|cx| {
        polls += 1;
        let waker = cx.waker().clone();
        if polls % 2 == 0 {
            std::thread::spawn(move || waker.wake()).join().unwrap();
        } else {
            waker.wake();
        }
        match polls {
            100 => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }))
    .unwrap();
}

/// R065, W3.
#[test]
fn a_closed_loop_gives_everything_back_and_wakers_do_nothing() {
    let _guard = guard!();
    let mut runner = strict_runner();
    let remote = runner.remote_handle();
    let waker = runner
        .run(poll_fn(|cx| Poll::Ready(cx.waker().clone())))
        .unwrap();
    let (task_wakers, receiver) = channel();
    drop(runner.spawn(poll_fn(move |cx| {
        task_wakers.send(cx.waker().clone()).unwrap();
        Poll::<()>::Pending
    })));
    runner.run(yield_now()).unwrap();
    let task_waker = receiver.recv().unwrap();
    assert!(!remote.is_closed());
    drop(runner);
    assert!(remote.is_closed());
    let marker = Arc::new(());
    let held = Arc::clone(&marker);
    let LoopClosed(back) = remote.call_soon(move |_| drop(held)).unwrap_err();
    assert_eq!(Arc::strong_count(&marker), 2, "the closure came back");
    drop(back);
    let held = Arc::clone(&marker);
    let LoopClosed(back) = remote.spawn(move || async move { drop(held) }).unwrap_err();
    assert_eq!(Arc::strong_count(&marker), 2, "the factory came back");
    drop(back);
    assert_eq!(Arc::strong_count(&marker), 1);
    remote.stop().unwrap_err();
    remote.wake();
    let elsewhere = std::thread::spawn(move || {
        waker.wake_by_ref();
        let another = task_waker.clone();
        another.wake();
        drop((waker, task_waker));
    });
    elsewhere.join().unwrap();
}

/// R051, R065: at every moment of the end.
#[test]
fn threads_that_send_and_wake_while_the_loop_is_dropped_lose_nothing() {
    let _guard = guard!();
    for round in 0..200 {
        let event_loop = strict_loop();
        let alive = Arc::new(());
        let given_back = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (remote, alive) = (event_loop.remote_handle(), Arc::clone(&alive));
                let given_back = Arc::clone(&given_back);
                std::thread::spawn(move || {
                    for _ in 0..50 {
                        let held = Arc::clone(&alive);
                        if remote.call_soon(move |_| drop(held)).is_err() {
                            given_back.fetch_add(1, Ordering::Relaxed);
                        }
                        remote.wake();
                    }
                })
            })
            .collect();
        if round % 3 == 0 {
            std::thread::yield_now();
        }
        let report = event_loop.close();
        for thread in threads {
            thread.join().unwrap();
        }
        let back = given_back.load(Ordering::Relaxed);
        assert_eq!(
            report.closures + back,
            100,
            "dropped at home, or given back"
        );
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}

/// W1, L9: not in debug mode, in which no round begins within a batch.
#[test]
fn what_was_sent_between_two_rounds_runs_in_the_next_one() {
    let mut runner = Runner::new().unwrap();
    runner.event_loop().set_debug(false);
    let remote = runner.event_loop().remote_handle();
    let rounds = runner.run(async move {
        let ran = Arc::new(AtomicBool::new(false));
        for _ in 0..3 {
            yield_now().await;
        }
        let runs = Arc::clone(&ran);
        remote
            .call_soon(move |_| runs.store(true, Ordering::Relaxed))
            .unwrap();
        let mut rounds = 0;
        while !ran.load(Ordering::Relaxed) {
            yield_now().await;
            rounds += 1;
        }
        rounds
    });
    assert!(rounds.unwrap() <= 2);
}

#[test]
fn a_remote_stops_a_loop_that_sleeps() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let remote = event_loop.remote_handle();
    let thread = std::thread::spawn(move || remote.stop().unwrap());
    assert_eq!(event_loop.run().unwrap(), ExitReason::Stopped);
    thread.join().unwrap();
}

/// R046.
#[test]
fn a_stop_before_the_run_leaves_it_one_turn_and_two_stops_are_one() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let _keeps_it_alive = event_loop.remote_handle();
    let log = Log::default();
    let note = log.clone();
    event_loop.call_soon(move |_| note.note("one"));
    event_loop.stop();
    event_loop.stop();
    assert_eq!(event_loop.run().unwrap(), ExitReason::Stopped);
    assert_eq!(log.text(), "one");
    // Nothing of the stop is left: the next run goes on until the next stop.
    let note = log.clone();
    event_loop.call_soon(|handle| {
        handle.call_soon(move |handle| {
            note.note("two");
            handle.stop();
        });
    });
    assert_eq!(event_loop.run().unwrap(), ExitReason::Stopped);
    assert_eq!(log.text(), "one two");
}

/// R047.
#[test]
fn a_run_ends_exactly_when_nothing_can_happen_any_more() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    assert_eq!(event_loop.run().unwrap(), ExitReason::Idle);
    let log = Log::default();
    let (timer, task, sent) = (log.clone(), log.clone(), event_loop.remote_handle());
    event_loop.call_later(Duration::from_millis(1), move |handle| {
        timer.note("timer");
        drop(handle.spawn(async move {
            readily::sleep(Duration::from_millis(1)).await;
            task.note("task");
            std::thread::spawn(move || {
                sent.call_soon(|handle| _ = handle.call_soon(|_| ()))
                    .unwrap();
            });
        }));
    });
    assert_eq!(event_loop.run().unwrap(), ExitReason::Idle);
    assert_eq!(log.text(), "timer task");
    assert!(event_loop.is_idle());
    // The last handle goes while the loop sleeps, in most of these runs.
    for _ in 0..100 {
        let last = event_loop.remote_handle();
        let (ran, has_run) = channel();
        let thread = std::thread::spawn(move || {
            last.call_soon(move |_| ran.send(()).unwrap()).unwrap();
            has_run.recv().unwrap();
            (0..100).for_each(|_| std::thread::yield_now());
        });
        assert_eq!(event_loop.run().unwrap(), ExitReason::Idle);
        thread.join().unwrap();
    }
}

/// R060: two loops, crossed.
#[test]
fn two_loops_wake_each_other_and_no_third() {
    let _guard = guard!();
    let (to_first, from_second) = channel::<RemoteHandle>();
    let first = std::thread::spawn(move || {
        let mut event_loop = strict_loop();
        to_first.send(event_loop.remote_handle()).unwrap();
        event_loop.run().unwrap()
    });
    let mut second = strict_loop();
    let (mine, theirs) = (second.remote_handle(), from_second.recv().unwrap());
    fn play(
        left: u32,
        here: RemoteHandle,
        there: RemoteHandle,
    ) -> impl FnOnce(&LoopHandle) + Send + 'static {
        move |handle| {
            if left == 0 {
                there.stop().unwrap();
                handle.stop();
            } else {
                let next: Box<dyn FnOnce(&LoopHandle) + Send> =
                    Box::new(play(left - 1, there.clone(), here));
                there.call_soon(next).unwrap();
            }
        }
    }
    mine.clone().call_soon(play(1001, mine, theirs)).unwrap();
    assert_eq!(second.run().unwrap(), ExitReason::Stopped);
    assert_eq!(first.join().unwrap(), ExitReason::Stopped);
}

/// R052, T3: the waker goes to another thread, the future never does.
#[test]
fn a_future_is_dropped_at_home_wherever_its_wakers_are() {
    let _guard = guard!();
    struct AtHome(std::thread::ThreadId, Arc<AtomicUsize>);
    impl Drop for AtHome {
        fn drop(&mut self) {
            assert_eq!(std::thread::current().id(), self.0);
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let (sender, receiver) = channel::<Waker>();
    let thread = std::thread::spawn(move || {
        let kept: Vec<Waker> = receiver.into_iter().inspect(Waker::wake_by_ref).collect();
        kept.len()
    });
    let home = std::thread::current().id();
    let mut event_loop = strict_loop();
    for n in 0..100 {
        let (here, sender) = (AtHome(home, Arc::clone(&dropped)), sender.clone());
        let mut polls = 0;
        drop(event_loop.spawn(poll_fn(move |cx| {
            let _mine = &here;
            polls += 1;
            sender.send(cx.waker().clone()).unwrap();
            match polls >= 2 && n % 2 == 0 {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })));
    }
    drop(sender);
    while dropped.load(Ordering::Relaxed) < 50 {
        event_loop.turn(Some(Duration::from_millis(20))).unwrap();
    }
    drop(event_loop);
    assert_eq!(dropped.load(Ordering::Relaxed), 100);
    assert!(thread.join().unwrap() > 0);
}

#[test]
fn spawning_from_a_thread_makes_the_future_at_home() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let remote = event_loop.remote_handle();
    let (sender, receiver) = channel();
    let home = std::thread::current().id();
    let thread = std::thread::spawn(move || {
        let make = move || {
            let not_send = std::rc::Rc::new(sender);
            async move {
                yield_now().await;
                not_send.send(std::thread::current().id()).unwrap();
            }
        };
        remote.spawn(make).unwrap();
    });
    assert_eq!(event_loop.run().unwrap(), ExitReason::Idle);
    assert_eq!(receiver.recv().unwrap(), home);
    thread.join().unwrap();
}

/// W1: a wake without anything to do ends the wait, and that is all.
#[test]
fn a_bare_wake_ends_the_wait_and_no_more() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let remote = event_loop.remote_handle();
    remote.wake();
    event_loop.turn(None).unwrap();
    let thread = std::thread::spawn(move || {
        remote.wake();
        remote
    });
    event_loop.turn(None).unwrap();
    let _alive = thread.join().unwrap();
    let turns = turns_in(&mut event_loop, Duration::from_millis(30));
    assert!(turns <= 3, "{turns} turns after the ring");
}

/// R055: what is sent has destructors, and they run at home, or with the sender.
#[test]
fn a_message_whose_destructor_sends_another_does_not_deadlock() {
    let _guard = guard!();
    struct Sends(RemoteHandle);
    impl Drop for Sends {
        fn drop(&mut self) {
            let _ = self.0.call_soon(|_| ());
            self.0.wake();
        }
    }
    let event_loop = strict_loop();
    let remote = event_loop.remote_handle();
    let last = Sends(remote.clone());
    remote.call_soon(move |_| drop(last)).unwrap();
    drop(event_loop);
    let late = Sends(remote.clone());
    remote.call_soon(move |_| drop(late)).unwrap_err();
}

/// L8: the log is not `Send`, so this is on one thread: a loop that is sent to itself.
#[test]
fn what_a_closed_loop_had_not_run_is_dropped_by_it() {
    let _guard = guard!();
    let event_loop = strict_loop();
    let log = Log::default();
    let dropped = Dropped(log.clone(), "dropped");
    event_loop.call_soon(move |_| drop(dropped));
    assert_eq!(event_loop.close().closures, 1);
    assert_eq!(log.text(), "dropped");
}

/// What lies in a thread-local until its thread ends, and then uses the loop that was here.
struct Late {
    waker: Waker,
    task: Option<Task<()>>,
    event_loop: Option<EventLoop>,
    sender: Sender<bool>,
}

impl Drop for Late {
    fn drop(&mut self) {
        self.waker.wake_by_ref();
        let no_task = WeakHandle::current().is_none();
        drop(self.task.take());
        drop(self.event_loop.take());
        self.waker.wake_by_ref();
        self.sender.send(no_task).unwrap();
    }
}

thread_local! {
    static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
}

/// R096: whether it goes before the thread-locals of the crate, or after them.
#[test]
fn what_is_dropped_when_its_thread_ends_may_wake_and_ask_and_close_a_loop() {
    let _guard = guard!();
    for first in [true, false] {
        let (sender, receiver) = channel();
        let thread = std::thread::spawn(move || {
            if first {
                LATE.with_borrow_mut(|late| assert!(late.is_none()));
            }
            let mut event_loop = strict_loop();
            let (wakers, woken) = channel();
            let task = event_loop.spawn(poll_fn(move |cx| -> Poll<()> {
                wakers.send(cx.waker().clone()).unwrap();
                Poll::Pending
            }));
            turn_times(&mut event_loop, 1);
            LATE.set(Some(Late {
                waker: woken.recv().unwrap(),
                task: Some(task),
                event_loop: Some(event_loop),
                sender,
            }));
        });
        thread.join().unwrap();
        assert!(receiver.recv().unwrap(), "no loop runs there any more");
    }
}

/// Notes what has run, from closures of any thread.
#[derive(Clone, Default)]
struct Order(Arc<Mutex<Vec<&'static str>>>);

impl Order {
    fn noting(&self, what: &'static str) -> impl FnOnce(&LoopHandle) + Send + 'static {
        let order = self.clone();
        move |_| order.0.lock().unwrap().push(what)
    }

    fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap()).join(" ")
    }
}

/// R160. asyncio asserts it for `call_soon_threadsafe`.
#[test]
fn what_was_sent_runs_before_what_the_loops_thread_queues_afterwards() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let order = Order::default();
    let remote = event_loop.remote_handle();
    event_loop.call_soon(order.noting("before"));
    remote.call_soon(order.noting("sent")).unwrap();
    event_loop.call_soon(order.noting("queued"));
    remote.call_soon(order.noting("again")).unwrap();
    turn_times(&mut event_loop, 1);
    assert_eq!(order.take(), "before sent queued again");

    // The sender has ended, and was waited for: its call happened before ours.
    let (sender, sent) = (remote.clone(), order.noting("thread"));
    let thread = std::thread::spawn(move || sender.call_soon(sent).unwrap());
    thread.join().unwrap();
    let note = order.clone();
    drop(event_loop.spawn(async move { note.0.lock().unwrap().push("task") }));
    event_loop.call_soon(order.noting("closure"));
    turn_times(&mut event_loop, 1);
    assert_eq!(order.take(), "thread task closure");

    // In a callback; and what it adds waits for the next turn, however it is added (L5).
    let note = order.clone();
    event_loop.call_soon(move |handle| {
        remote.call_soon(note.noting("sent")).unwrap();
        handle.call_soon(note.noting("queued"));
        note.0.lock().unwrap().push("turn");
    });
    turn_times(&mut event_loop, 1);
    assert_eq!(order.take(), "turn");
    turn_times(&mut event_loop, 1);
    assert_eq!(order.take(), "sent queued");
}

/// R160: a stop keeps its place too, and does not overtake what was sent before it.
#[test]
fn a_stop_that_was_sent_leaves_a_turn_to_what_was_sent_before_it() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let order = Order::default();
    let (remote, note) = (event_loop.remote_handle(), order.clone());
    event_loop.call_soon(move |handle| {
        remote.call_soon(note.noting("sent")).unwrap();
        remote.stop().unwrap();
        handle.call_soon(note.noting("queued"));
    });
    assert_eq!(event_loop.run().unwrap(), ExitReason::Stopped);
    assert_eq!(order.take(), "sent queued");
    assert_eq!(event_loop.run().unwrap(), ExitReason::Idle);
}
