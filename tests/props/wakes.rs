//! Wakes and messages from other threads.
//!
//! Invariants: W1 to W3.

use super::scripted::Scripted;
use proptest::collection::vec;
use proptest::prelude::*;
use readily::clock::Monotonic;
use readily::event_loop::ExitReason;
use readily::poll::{Event, Notify, Poller, WaitResult};
use readily::{EventLoop, Interest, Trigger};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
enum Op {
    Send,
    Wake,
    Turn,
    TurnForEver,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        Just(Op::Send),
        Just(Op::Wake),
        Just(Op::Turn),
        Just(Op::TurnForEver)
    ]
}

proptest! {
    /// W1, W2: messages between two waits notify the poller once, and the next wait does not sleep,
    /// with any timeout.
    #[test]
    fn between_two_waits_one_notification_is_paid(ops in vec(op(), 0..64)) {
        let scripted = Scripted::default();
        let notifier = Arc::clone(&scripted.0.borrow().notifier);
        let (mut event_loop, _clock) = scripted.event_loop();
        let remote = event_loop.remote_handle();
        let arrived = Arc::new(AtomicUsize::new(0));
        let (mut sent, mut came) = (0, false);
        for op in ops {
            match op {
                Op::Send => {
                    let arrived = Arc::clone(&arrived);
                    let count = move |_: &_| {
                        arrived.fetch_add(1, Ordering::SeqCst);
                    };
                    remote.call_soon(count).unwrap();
                    (sent, came) = (sent + 1, true);
                }
                Op::Wake => {
                    remote.wake();
                    came = true;
                }
                Op::Turn | Op::TurnForEver => {
                    prop_assert_eq!(notifier.take(), usize::from(came), "W2");
                    let limit = matches!(op, Op::Turn).then_some(Duration::ZERO);
                    event_loop.turn(limit).unwrap();
                    prop_assert_eq!(arrived.load(Ordering::SeqCst), sent, "all messages have arrived");
                    let timeout = *scripted.0.borrow().waits.last().unwrap();
                    let sleeps = limit.is_none() && !came;
                    prop_assert_eq!(timeout, if sleeps { None } else { Some(Duration::ZERO) }, "W1");
                    prop_assert_eq!(notifier.take(), 0, "no message came during the turn");
                    came = false;
                }
            }
        }
    }
}

/// A poller that sleeps, and counts.
#[derive(Clone, Default)]
struct Sleeper(Arc<(Mutex<bool>, Condvar)>, Arc<AtomicUsize>);

impl Notify for Sleeper {
    fn notify(&self) {
        self.1.fetch_add(1, Ordering::SeqCst);
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_one();
    }
}

struct Sleeping {
    notifier: Sleeper,
    waits: Rc<Cell<usize>>,
}

impl Poller for Sleeping {
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
    fn wait(&mut self, _: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<WaitResult> {
        self.waits.set(self.waits.get() + 1);
        let mut notified = self.notifier.0.0.lock().unwrap();
        // A guard against a lost wake: the test then fails by the messages that did not arrive.
        let limit = timeout.unwrap_or(Duration::from_secs(20));
        if !*notified {
            notified = self.notifier.0.1.wait_timeout(notified, limit).unwrap().0;
        }
        Ok(WaitResult::new(std::mem::take(&mut *notified)))
    }
    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::new(self.notifier.clone())
    }
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// W1, W2, with threads that send at any time: no message is lost, and there are fewer
/// notifications than waits.
#[test]
fn what_threads_send_arrives_and_costs_at_most_a_notification_for_each_wait() {
    const THREADS: usize = 4;
    const EACH: usize = 500;
    for _ in 0..20 {
        let (notifier, waits) = (Sleeper::default(), Rc::new(Cell::new(0)));
        let poller = Sleeping {
            notifier: notifier.clone(),
            waits: Rc::clone(&waits),
        };
        let mut event_loop = EventLoop::with(Box::new(poller), Box::new(Monotonic::new())).unwrap();
        let arrived = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (remote, arrived) = (event_loop.remote_handle(), Arc::clone(&arrived));
                std::thread::spawn(move || {
                    for _ in 0..EACH {
                        let arrived = Arc::clone(&arrived);
                        let count = move |_: &_| {
                            arrived.fetch_add(1, Ordering::SeqCst);
                        };
                        remote.call_soon(count).unwrap();
                    }
                })
            })
            .collect();
        // Ends when the last remote is dropped and all work is done: that wakes the loop too.
        assert_eq!(event_loop.run().unwrap(), ExitReason::Idle);
        assert_eq!(arrived.load(Ordering::SeqCst), THREADS * EACH);
        for thread in threads {
            thread.join().unwrap();
        }
        let notifications = notifier.1.load(Ordering::SeqCst);
        assert!(
            notifications <= waits.get() + 1,
            "W2: {notifications} notifications for {} waits",
            waits.get()
        );
    }
}

/// W1 for wakers: a task that threads wake is polled after each wake.
#[test]
fn a_wake_from_a_thread_reaches_its_task() {
    let notifier = Sleeper::default();
    let poller = Sleeping {
        notifier,
        waits: Rc::default(),
    };
    let event_loop = EventLoop::with(Box::new(poller), Box::new(Monotonic::new())).unwrap();
    let mut runner = readily::Runner::from(event_loop);
    let (sender, receiver) = std::sync::mpsc::channel::<Waker>();
    let thread = std::thread::spawn(move || receiver.into_iter().for_each(Waker::wake));
    let mut polls = 0;
    runner
        .run(poll_fn(|cx| {
            polls += 1;
            if polls == 2000 {
                return Poll::Ready(());
            }
            sender.send(cx.waker().clone()).unwrap();
            Poll::Pending
        }))
        .unwrap();
    drop(sender);
    thread.join().unwrap();
    assert_eq!(polls, 2000);
}

/// W3: after the end of the loop, a wake has no effect, a closure is returned, and a message that
/// was sent before is dropped.
#[test]
fn waking_and_sending_after_the_loop_is_gone_is_safe() {
    let scripted = Scripted::default();
    let (event_loop, _clock) = scripted.event_loop();
    let remote = event_loop.remote_handle();
    let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
    let keep = Rc::clone(&wakers);
    let mut event_loop = event_loop;
    drop(event_loop.spawn(poll_fn(move |cx| -> Poll<()> {
        keep.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    })));
    event_loop.turn_now().unwrap();
    let held = Arc::new(());
    let on_its_way = Arc::clone(&held);
    remote.call_soon(move |_| drop(on_its_way)).unwrap();
    drop(event_loop);
    assert_eq!(Arc::strong_count(&held), 1, "dropped with the loop");
    for waker in wakers.take() {
        let there = std::thread::spawn(move || waker.wake_by_ref());
        there.join().unwrap();
    }
    let mine = Arc::clone(&held);
    let refused = remote.call_soon(move |_| drop(mine)).unwrap_err();
    assert_eq!(Arc::strong_count(&held), 2, "the closure was returned");
    drop(refused);
    assert!(remote.is_closed() && remote.stop().is_err());
    remote.wake();
}
