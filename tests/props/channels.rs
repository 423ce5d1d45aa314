//! The channels `oneshot`, `watch`, `broadcast` and `channel`, each against a list of the sent
//! values.
//!
//! A channel must drop a value as soon as no receiver can get it, and not only with the channel, so
//! the values are counted.
//!
//! Invariants: Q8, Q9, L8, W3.

use super::scripted::hush;
use super::sync::{Kind, Waits, each, go_in_masses, survive_hostile_wakers, waits};
use proptest::collection::vec;
use proptest::prelude::*;
use readily::event_loop::LoopClosed;
use readily::sync::broadcast::{RecvError, TryRecvError};
use readily::sync::{Closed, GetError, PutError, broadcast, channel, oneshot, watch};
use readily::{EventLoop, Lock, PanicPolicy, run, spawn, yield_now};
use readily_testing::{Action, SimLoop, in_one_turn, orders, wakers};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread;

/// A receiver, with a future that waits or without one.
type Hearing<R, T> = (Lock<R>, Option<Waits<T>>);

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Q8: each receiver gets, in order, what is sent after it has subscribed; a receiver that is
    /// too slow gets the number of missed values, and then the oldest one that is left. A value
    /// that all receivers have got is dropped.
    #[test]
    fn a_broadcast_reaches_all_and_a_slow_receiver_learns_how_much_it_has_missed(
        capacity in 1..4usize,
        ops in vec((0..7u8, 0..4usize), 0..64),
    ) {
        let (sender, first) = broadcast::channel::<Rc<u64>>(capacity);
        let mut receivers = vec![(first, 0_u64)];
        let (mut sender, mut sent) = (Some(sender), Vec::<Rc<u64>>::new());
        for (op, nth) in ops {
            let end = sent.len() as u64;
            let nth = nth % receivers.len().max(1);
            match op {
                0..=2 => {
                    let Some(sender) = &sender else { continue };
                    let value = Rc::new(end);
                    match sender.send(Rc::clone(&value)) {
                        Ok(count) => {
                            prop_assert_eq!(count, receivers.len());
                            sent.push(value);
                        }
                        Err(Closed(back)) => {
                            prop_assert!(receivers.is_empty() && Rc::ptr_eq(&back, &value), "Q8");
                        }
                    }
                }
                3 | 4 if !receivers.is_empty() => {
                    let (receiver, next) = &mut receivers[nth];
                    let oldest = end.saturating_sub(capacity as u64);
                    let expected = match () {
                        () if *next < oldest => {
                            let missed = oldest - *next;
                            *next = oldest;
                            Err(TryRecvError::Lagged(missed))
                        }
                        () if *next < end => {
                            *next += 1;
                            Ok(Rc::clone(&sent[*next as usize - 1]))
                        }
                        () if sender.is_none() => Err(TryRecvError::Closed),
                        () => Err(TryRecvError::Empty),
                    };
                    prop_assert_eq!(receiver.try_recv(), expected, "Q8");
                }
                5 => {
                    let Some(sender) = &sender else { continue };
                    receivers.push((sender.subscribe(), end));
                }
                6 if nth == 0 => drop(sender.take()),
                6 if !receivers.is_empty() => drop(receivers.remove(nth)),
                _ => {}
            }
            let end = sent.len() as u64;
            for (n, value) in sent.iter().enumerate() {
                let n = n as u64;
                let to_get = receivers.iter().any(|&(_, next)| next <= n);
                let kept = to_get && n >= end.saturating_sub(capacity as u64);
                prop_assert_eq!(Rc::strong_count(value), 1 + usize::from(kept), "Q8: {}", n);
            }
        }
    }

    /// Q8: a send or the end of the sender wakes a waiter for a broadcast or a change, and nothing
    /// else does; the waiter gets what it would have got without waiting.
    #[test]
    fn a_waiter_for_a_value_is_woken_for_it(ops in vec((0..6u8, 0..3usize), 0..48)) {
        let (all, one) = broadcast::channel::<usize>(64);
        let (last, other) = watch::channel(0);
        let mut all = Some(all);
        let mut last = Some(last);
        let mut hearing: Hearing<_, _> = (Lock::new(one), None);
        let mut watching: Hearing<_, _> = (Lock::new(other), None);
        let (mut sent, mut got, mut notified) = (0, 0, 0);
        for (op, _) in ops {
            let ended = all.is_none();
            match op {
                0 | 1 if !ended => {
                    sent += 1;
                    prop_assert_eq!(all.as_ref().unwrap().send(sent), Ok(1));
                    prop_assert!(last.as_ref().unwrap().send(sent).is_ok());
                }
                2 => {
                    let receiver = hearing.0.clone();
                    let future = hearing.1.get_or_insert_with(|| waits(async move {
                        receiver.acquire().await.recv().await
                    }));
                    let expected = match () {
                        () if got < sent => {
                            got += 1;
                            Poll::Ready(Ok(got))
                        }
                        () if ended => Poll::Ready(Err(RecvError::Closed)),
                        () => Poll::Pending,
                    };
                    prop_assert_eq!(future.poll(), expected, "Q8");
                    if expected.is_ready() {
                        hearing.1 = None;
                    }
                }
                3 => {
                    let receiver = watching.0.clone();
                    let future = watching.1.get_or_insert_with(|| waits(async move {
                        receiver.acquire().await.changed().await
                    }));
                    let expected = match () {
                        () if notified < sent => {
                            notified = sent;
                            Poll::Ready(Ok(()))
                        }
                        () if ended => Poll::Ready(Err(Closed(()))),
                        () => Poll::Pending,
                    };
                    prop_assert_eq!(future.poll(), expected, "Q8");
                    if expected.is_ready() {
                        watching.1 = None;
                        let receiver = watching.0.try_acquire().unwrap();
                        prop_assert_eq!(*receiver.borrow(), sent);
                    }
                }
                4 => {
                    hearing.1 = None;
                    watching.1 = None;
                }
                5 => {
                    all = None;
                    last = None;
                }
                _ => {}
            }
            let ended = all.is_none();
            if let (_, Some(future)) = &hearing {
                prop_assert_eq!(future.woken(), usize::from(ended || got < sent), "Q8");
            }
            if let (_, Some(future)) = &watching {
                prop_assert_eq!(future.woken(), usize::from(ended || notified < sent), "Q8");
            }
        }
    }

    /// Q9: a receiver that yields between its values gets all that threads send, in the order of
    /// each thread.
    #[test]
    fn what_threads_send_is_received_in_their_order(counts in vec(0..300u32, 1..4)) {
        let received = run(async {
            let (sender, mut receiver) = channel::unbounded();
            let threads: Vec<_> = counts.iter().enumerate().map(|(who, &count)| {
                let sender = sender.clone();
                thread::spawn(move || (0..count).for_each(|n| sender.send((who, n)).unwrap()))
            }).collect();
            drop(sender);
            let mut received = BTreeMap::<usize, u32>::new();
            while let Ok((who, n)) = receiver.recv().await {
                let next = received.entry(who).or_default();
                assert_eq!(n, *next, "Q9");
                *next += 1;
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            received
        });
        let expected = counts.iter().copied().enumerate().filter(|&(_, count)| count > 0);
        prop_assert_eq!(received.unwrap(), expected.collect::<BTreeMap<_, _>>(), "Q9");
    }

    /// Q9: all values that are sent before the receiver runs wake it once; it waits only if the
    /// channel is empty, and each value is received or returned.
    #[test]
    fn a_receiver_is_woken_once_for_all_that_are_sent_before_it_runs(
        capacity in 1..6usize,
        ops in vec(0..11u8, 0..48),
    ) {
        let event_loop = EventLoop::new().unwrap();
        let _here = event_loop.enter();
        let (sender, receiver) = channel::bounded::<usize>(capacity);
        let receiver = Lock::new(receiver);
        let mut waiting: Option<Waits<Result<usize, Closed>>> = None;
        let mut senders = vec![sender];
        let mut places: Vec<channel::Reservation<usize>> = Vec::new();
        let (mut there, mut shut) = (Vec::<usize>::new(), false);
        for (n, op) in ops.into_iter().enumerate() {
            let is_closed = shut || (senders.is_empty() && places.is_empty());
            let is_full = there.len() + places.len() >= capacity;
            match op {
                0..=2 if !senders.is_empty() => {
                    let expected = match () {
                        () if shut => Err(PutError::Closed(n)),
                        () if is_full => Err(PutError::Full(n)),
                        () => {
                            there.push(n);
                            Ok(())
                        }
                    };
                    prop_assert_eq!(senders[n % senders.len()].send(n), expected, "Q9");
                }
                3 | 4 => {
                    let also = receiver.clone();
                    let future = waiting.get_or_insert_with(|| waits(async move {
                        also.acquire().await.recv().await
                    }));
                    let expected = match () {
                        () if !there.is_empty() => Poll::Ready(Ok(there.remove(0))),
                        () if is_closed => Poll::Ready(Err(Closed(()))),
                        () => Poll::Pending,
                    };
                    prop_assert_eq!(future.poll(), expected, "Q9");
                    if expected.is_ready() {
                        waiting = None;
                    }
                }
                5 => {
                    if let Some(waiting) = waiting.take() {
                        drop(waiting);
                    }
                    let expected = match () {
                        () if !there.is_empty() => Ok(there.remove(0)),
                        () if is_closed => Err(GetError::Closed),
                        () => Err(GetError::Empty),
                    };
                    prop_assert_eq!(receiver.try_acquire().unwrap().try_recv(), expected, "Q9");
                }
                6 if waiting.is_none() && n % 4 == 0 => {
                    receiver.try_acquire().unwrap().close();
                    shut = true;
                }
                8 if !senders.is_empty() => {
                    let expected = match () {
                        () if shut => Err(PutError::Closed(())),
                        () if is_full => Err(PutError::Full(())),
                        () => Ok(()),
                    };
                    let place = senders[0].try_reserve().map(|place| places.push(place));
                    prop_assert_eq!(place, expected, "Q9");
                }
                9 if !places.is_empty() => {
                    let sent = places.pop().unwrap().send(n);
                    prop_assert_eq!(sent, if shut { Err(Closed(n)) } else { Ok(()) }, "Q9");
                    if !shut {
                        there.push(n);
                    }
                }
                10 => drop(places.pop()),
                7 if n % 2 == 0 => senders.extend(senders.first().cloned()),
                7 => drop(senders.pop()),
                _ => {}
            }
            if let Some(future) = &waiting {
                let due = !there.is_empty() || (senders.is_empty() && places.is_empty());
                prop_assert_eq!(future.woken(), usize::from(due), "Q9");
                prop_assert_eq!(future.is_kept(), !due, "R090");
            }
        }
    }
}

/// Q8: a value is sent, and the receiver is cancelled and closed, in one turn and in every order:
/// the value is received, or returned, or dropped with its receiver; and the sender gets the
/// matching result.
#[test]
fn one_value_and_the_end_of_the_receiver_in_one_turn_in_every_order() {
    for (order, seed) in each(orders(2), 0..4) {
        let mut sim = SimLoop::new(seed);
        let (sender, receiver) = oneshot::channel();
        let got: Rc<Cell<Option<u8>>> = Rc::default();
        let noted = Rc::clone(&got);
        let task = sim.spawn(async move { noted.set(receiver.await.ok()) });
        sim.run_until_stalled().unwrap();
        let back = Rc::new(Cell::new(None));
        let (noted, ends) = (Rc::clone(&back), task.task_ref());
        let actions: Vec<Action> = vec![
            Box::new(move || noted.set(Some(sender.send(7)))),
            Box::new(move || assert!(ends.cancel())),
        ];
        in_one_turn(&sim.weak_handle(), &order, actions);
        sim.run_until_stalled().unwrap();
        let expected = if order[0] == 0 {
            Ok(())
        } else {
            Err(Closed(7))
        };
        assert_eq!(back.take(), Some(expected), "{order:?}");
        assert_eq!(
            got.get(),
            None,
            "{order:?}: the receiver was cancelled before it ran"
        );
    }
}

/// Q8: each side is notified when the other one is dropped.
#[test]
fn a_waiter_on_one_side_learns_of_the_end_of_the_other() {
    let (sender, receiver) = oneshot::channel::<u8>();
    let mut receiving = waits(receiver);
    receiving.assert_pending();
    drop(sender);
    receiving.assert_woken(1);
    assert_eq!(receiving.assert_ready(), Err(Closed(())));
    let (sender, mut receiver) = oneshot::channel::<u8>();
    assert_eq!(receiver.try_recv(), Err(GetError::Empty));
    let sender = Rc::new(sender);
    let mut closed = waits({
        let sender = Rc::clone(&sender);
        async move { sender.closed().await }
    });
    closed.assert_pending();
    receiver.close();
    closed.assert_woken(1);
    closed.assert_ready();
    drop(closed);
    // After the close no value can be sent, and one that was sent before can be received.
    assert_eq!(receiver.try_recv(), Err(GetError::Closed));
    let sender = Rc::into_inner(sender).unwrap();
    assert_eq!(sender.send(3), Err(Closed(3)));
    let (sender, mut receiver) = oneshot::channel();
    sender.send(4).unwrap();
    receiver.close();
    assert_eq!(receiver.try_recv(), Ok(4));
    assert_eq!(receiver.try_recv(), Err(GetError::Closed));
    let (sender, receivers) = watch::channel(1);
    drop(receivers.clone());
    drop(receivers);
    assert_eq!(sender.send(2), Err(Closed(2)), "there is no receiver");
    assert_eq!(*sender.borrow(), 1);
}

/// A replaced value is stored with or without receivers: a later subscriber sees it, and a waiter
/// is notified.
#[test]
fn a_state_that_is_replaced_without_receivers_is_there_for_the_next() {
    let (sender, receiver) = watch::channel(Rc::new(1));
    let (first, borrowed) = (Rc::clone(&sender.borrow()), receiver.borrow());
    drop(receiver);
    assert!(sender.send(Rc::new(2)).is_err());
    assert_eq!(**sender.send_replace(Rc::new(3)), 1);
    assert_eq!((**borrowed, **sender.borrow()), (1, 3));
    drop(borrowed);
    assert_eq!(Rc::strong_count(&first), 1, "the old value is dropped");
    let mut late = sender.subscribe();
    assert!(!late.has_changed() && **late.borrow() == 3);
    let mut changed = waits(async move { late.changed().await });
    changed.assert_pending();
    drop(sender.send_replace(Rc::new(4)));
    changed.assert_woken(1);
    assert_eq!(changed.assert_ready(), Ok(()));
}

/// A borrowed value does not change, and an old value is dropped when a new one is sent.
#[test]
fn what_a_receiver_looks_at_stays_as_it_is() {
    let (sender, receiver) = watch::channel(Rc::new(1));
    let (first, borrowed) = (Rc::clone(&sender.borrow()), receiver.borrow());
    sender.send(Rc::new(2)).unwrap();
    assert_eq!((**borrowed, **receiver.borrow()), (1, 2));
    drop(borrowed);
    assert_eq!(Rc::strong_count(&first), 1);
}

/// R090: a dropped receive keeps no waker.
#[test]
fn what_is_sent_without_a_waiter_wakes_no_task() {
    let event_loop = EventLoop::new().unwrap();
    let _here = event_loop.enter();
    let (sender, mut receiver) = channel::unbounded();
    let (waker, count) = wakers::counting();
    let mut recv = Box::pin(receiver.recv());
    assert!(
        recv.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(recv);
    assert_eq!(count.kept(), 1, "only the test's waker is left");
    sender.send(1).unwrap();
    assert_eq!((count.take(), receiver.try_recv()), (0, Ok(1)));
}

/// R091: a receiver that sends to itself, and never waits, does not starve other tasks.
#[test]
fn a_channel_that_is_never_empty_starves_no_task() {
    run(async {
        let (sender, mut receiver) = channel::unbounded();
        sender.send(()).unwrap();
        let turns = Rc::new(Cell::new(0));
        let also = Rc::clone(&turns);
        drop(spawn(async move {
            loop {
                also.set(also.get() + 1);
                yield_now().await;
            }
        }));
        for _ in 0..readily::task::BUDGET * 10 {
            receiver.recv().await.unwrap();
            sender.send(()).unwrap();
        }
        assert!(turns.get() >= 9, "{} turns", turns.get());
    })
    .unwrap();
}

/// W3, Q9: a loop that only waits for a sender keeps running; a closed loop returns the values.
#[test]
fn a_loop_waits_for_its_senders_and_a_closed_one_gives_values_back() {
    let mut event_loop = EventLoop::new().unwrap();
    let here = event_loop.enter();
    let (sender, mut receiver) = channel::unbounded();
    drop(here);
    let late = sender.clone();
    let got: Rc<Cell<u32>> = Rc::default();
    let noted = Rc::clone(&got);
    event_loop.call_soon(move |handle| {
        drop(handle.spawn(async move {
            while let Ok(n) = receiver.recv().await {
                noted.set(noted.get() + n);
            }
        }));
    });
    let thread = thread::spawn(move || (1..=3).for_each(|n| sender.send(n).unwrap()));
    let remote = event_loop.remote_handle();
    let watching = thread::spawn(move || {
        thread.join().unwrap();
        late.send(4).unwrap();
        let stopped: Result<(), LoopClosed<()>> = remote.stop();
        stopped.unwrap();
        late
    });
    event_loop.run().unwrap();
    event_loop.turn_now().unwrap();
    assert_eq!(got.get(), 10);
    let late = watching.join().unwrap();
    drop(event_loop);
    assert!(late.is_closed());
    assert_eq!(late.send(5), Err(PutError::Closed(5)));
}

fn kinds() -> Vec<Kind> {
    let (last, watcher) = watch::channel(0);
    let (all, mut listener) = broadcast::channel(64);
    assert_eq!(listener.try_recv(), Err(TryRecvError::Empty));
    let subscribes = all.clone();
    let (closes, sender) = {
        let (sender, receiver) = oneshot::channel::<u8>();
        (receiver, Rc::new(sender))
    };
    let mut closes = Some(closes);
    let change = move || {
        let mut watcher = watcher.clone();
        waits(async move { watcher.changed().await.unwrap() })
    };
    let receive = move || {
        let mut receiver = subscribes.subscribe();
        waits(async move { assert!(receiver.recv().await.is_ok()) })
    };
    let close = move || {
        let sender = Rc::clone(&sender);
        waits(async move { sender.closed().await })
    };
    vec![
        (
            "watch",
            Box::new(change),
            Box::new(move || last.send(1).unwrap()),
        ),
        (
            "broadcast",
            Box::new(receive),
            Box::new(move || assert!(all.send(1).is_ok())),
        ),
        (
            "oneshot",
            Box::new(close),
            Box::new(move || drop(closes.take())),
        ),
    ]
}

/// Q8, L8 (R055, R057).
#[test]
fn a_listener_beside_a_hostile_waker_is_notified_all_the_same() {
    hush();
    survive_hostile_wakers(kinds);
}

/// Q8, Q9: a value that is sent to a receiver with a hostile waker is received all the same.
#[test]
fn what_is_sent_to_a_hostile_waker_is_there_for_the_next() {
    hush();
    let mut sim = SimLoop::new(1);
    sim.set_panic_policy(PanicPolicy::Isolate);
    sim.on_unhandled(|_| ());
    let _here = sim.event_loop().enter();
    for (name, hostile) in wakers::hostile() {
        let (sender, mut receiver) = channel::unbounded();
        let (one, mut other) = oneshot::channel();
        {
            let mut cx = Context::from_waker(&hostile);
            let mut recv = Box::pin(receiver.recv());
            for _ in 0..2 {
                let polled = catch_unwind(AssertUnwindSafe(|| recv.as_mut().poll(&mut cx)));
                assert!(!matches!(polled, Ok(Poll::Ready(_))), "{name}");
                let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut other).poll(&mut cx)));
                assert!(!matches!(polled, Ok(Poll::Ready(_))), "{name}");
            }
            sender.send(1).unwrap();
            one.send(1).unwrap();
            drop(catch_unwind(AssertUnwindSafe(|| drop(recv))));
        }
        assert_eq!(receiver.try_recv(), Ok(1), "{name}");
        assert_eq!(other.try_recv(), Ok(1), "{name}");
        drop(catch_unwind(AssertUnwindSafe(|| drop(other))));
        drop(catch_unwind(AssertUnwindSafe(|| drop(hostile))));
    }
}

#[test]
fn a_hundred_thousand_listeners_go_on_a_small_stack() {
    go_in_masses(100_000, kinds);
}
