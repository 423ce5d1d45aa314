//! Waiting for several things, or for a while (N11, N14), or for a promise (N17).
//!
//! Invariants: T5, T6, T9.

use crate::support::{
    Dropped, Log, collect_unhandled, guard, manual_loop, strict_loop, strict_run, strict_runner,
    turn_times,
};
use readily::combine::Either;
use readily::io::{TcpListener, TcpStream};
use readily::task::{FutureError, InvalidStateError, create_future};
use readily::time::fresh_now;
use readily::{
    Elapsed, PanicPolicy, Runner, gather, interval, select, sleep, spawn, timeout, try_gather,
    wait_for, wait_until, yield_now,
};
use std::cell::RefCell;
use std::future::{pending, poll_fn, ready};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// N17: set from outside, once; a second call returns the value.
#[test]
fn a_future_is_settled_once_and_the_late_value_comes_back() {
    let _guard = guard!();
    strict_run(async {
        let (promise, mut future) = create_future::<String>();
        assert!(!future.done() && !promise.done() && future.result().is_none());
        promise.set_result("first".into()).unwrap();
        let InvalidStateError(late) = promise.set_result("second".into()).unwrap_err();
        assert_eq!(late, "second");
        assert!(future.done() && promise.done() && !future.cancelled());
        assert!(!future.cancel(), "it is settled");
        assert_eq!((&mut future).await.unwrap(), "first");

        let (promise, future) = create_future::<u8>();
        assert!(future.cancel());
        assert!(future.cancelled() && promise.done());
        assert_eq!(promise.set_result(9).unwrap_err().0, 9);
        assert_eq!(future.await, Err(FutureError::Cancelled));

        let (promise, future) = create_future::<u8>();
        let abandons = async move {
            yield_now().await;
            drop(promise);
        };
        let (result, ()) = gather((future, abandons)).await;
        assert_eq!(result, Err(FutureError::PromiseDropped));

        let (promise, future) = create_future::<Result<u8, &str>>();
        promise.set_exception("broken").unwrap();
        assert_eq!(promise.set_exception("again").unwrap_err().0, "again");
        assert_eq!(future.await, Ok(Err("broken")));
    })
    .unwrap();
}

/// N17: its callbacks are those of a task.
#[test]
fn a_future_has_done_callbacks_too() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let log = Log::default();
    let entered = event_loop.enter();
    let (promise, future) = create_future::<u8>();
    drop(entered);
    let mut keys = Vec::new();
    for name in ["a", "b", "c"] {
        let log = log.clone();
        keys.push(future.add_done_callback(move |future| {
            log.note(name);
            assert!(future.done());
        }));
    }
    assert!(future.remove_done_callback(keys[0]));
    promise.set_result(1).unwrap();
    assert_eq!(log.text(), "");
    assert!(!future.remove_done_callback(keys[1]));
    // The future may be dropped: its callbacks run all the same.
    drop(future);
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "b c");
}

/// N16, N17: a loop that is dropped calls no callback. A callback that owns the future it was added
/// to would otherwise keep it for ever.
#[test]
fn done_callbacks_that_will_never_run_are_dropped() {
    let _guard = guard!();
    let held = Rc::new(());
    let keeps = || Rc::clone(&held);
    let event_loop = strict_loop();
    let task = event_loop.spawn(pending::<()>());
    let failed = event_loop.spawn(ready(Err::<(), _>("no")));
    let entered = event_loop.enter();
    let (promise, future) = create_future::<u8>();
    drop(entered);
    let holds = keeps();
    future.add_done_callback(move |_| drop(holds));
    event_loop.close();
    let holds = keeps();
    task.add_done_callback(move |_| drop(holds));
    failed.detach_reporting();
    assert_eq!(Rc::strong_count(&held), 2, "it may still be settled");
    drop(promise);
    let holds = keeps();
    future.add_done_callback(move |_| drop(holds));
    assert!(task.cancelled() && future.done());
    assert_eq!(Rc::strong_count(&held), 1);
}

/// N16, N17: `lambda f: f.result()`. The value stays, also if a callback that reads it panics.
#[test]
fn a_done_callback_reads_the_value_and_leaves_it_to_the_awaiting_task() {
    let _guard = guard!();
    let mut runner = strict_runner();
    runner.set_panic_policy(PanicPolicy::Isolate);
    let reports = collect_unhandled(&runner);
    let log = Log::default();
    let note = log.clone();
    let value = runner.run(async move {
        let (promise, future) = create_future::<String>();
        assert_eq!(future.with_result(|_| ()), None, "there is none yet");
        future.add_done_callback(|future| {
            future.with_result(|_| panic!("planted"));
        });
        let reads = note.clone();
        future.add_done_callback(move |future| {
            future.with_result(|result| reads.note(result.as_ref().unwrap()));
        });
        promise.set_result("seen".into()).unwrap();
        yield_now().await;
        yield_now().await;
        let value = future.with_result(|result| result.clone()).unwrap();
        assert_eq!(future.await, value, "it was left");

        let (promise, mut future) = create_future::<u8>();
        future.add_done_callback(move |future| {
            note.note(future.with_result(|_| ()).is_none());
        });
        promise.set_result(1).unwrap();
        assert_eq!((&mut future).await, Ok(1));
        yield_now().await;
        value.unwrap()
    });
    assert_eq!(value.unwrap(), "seen");
    assert_eq!(log.text(), "seen true", "what was taken is not there");
    assert_eq!(reports.len(), 1, "{}", reports.text());
}

/// N14: the cancelled future is dropped before the caller gets the error.
#[test]
fn wait_for_drops_what_was_too_slow_before_it_returns() {
    let _guard = guard!();
    let log = Log::default();
    strict_run(async {
        let held = Dropped(log.clone(), "dropped");
        let slow = async move {
            let _held = held;
            pending::<()>().await;
        };
        let outcome = wait_for(Duration::from_millis(1), slow).await;
        log.note("returned");
        assert_eq!(outcome, Err(Elapsed));
        // A task is not ended by it: only the waiting is. (asyncio would cancel the task.)
        let mut task = spawn(async {
            sleep(Duration::from_millis(3)).await;
            7
        });
        let outcome = wait_for(Duration::from_nanos(1), &mut task).await;
        assert!(outcome.is_err() && !task.done());
        assert_eq!(task.await.unwrap(), 7);
    })
    .unwrap();
    assert_eq!(log.text(), "dropped returned");
}

#[test]
fn limits_of_nothing_and_of_for_ever_mean_what_they_say() {
    let _guard = guard!();
    strict_run(async {
        assert_eq!(wait_for(Duration::ZERO, ready(1)).await, Ok(1));
        assert_eq!(
            wait_for(Duration::ZERO, pending::<()>()).await,
            Err(Elapsed)
        );
        let (soon, ever) = (Duration::from_millis(1), Duration::MAX);
        assert_eq!(wait_for(ever, sleep(soon)).await, Ok(()));
        let inner = wait_for(soon, pending::<()>());
        assert_eq!(wait_for(ever, inner).await, Ok(Err(Elapsed)), "the inner");
        let inner = wait_for(ever, pending::<()>());
        assert_eq!(wait_for(soon, inner).await, Err(Elapsed), "the outer");
    })
    .unwrap();
}

/// N11: ten sleeps at once take as long as one; here time moves only by what is waited for.
#[test]
fn ten_sleeps_of_a_second_take_one_second() {
    let _guard = guard!();
    let (event_loop, clock) = manual_loop();
    let mut runner = Runner::from(event_loop);
    let begin = runner.now();
    let ticks = poll_fn(move |cx| -> Poll<()> {
        clock.advance(Duration::from_millis(100));
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    drop(runner.spawn(ticks));
    let naps = gather((0..10).map(|_| sleep(Duration::from_secs(1))));
    let elapsed = runner.run(async {
        let naps = naps.await.len();
        let now = readily::WeakHandle::current().unwrap();
        (naps, now.with(|handle| handle.now()).unwrap() - begin)
    });
    let (naps, elapsed) = elapsed.unwrap();
    assert_eq!(naps, 10);
    // One for the turn in which they were armed; none of the ten waits for another.
    let tick = Duration::from_millis(100);
    assert!(
        elapsed >= Duration::from_secs(1) && elapsed <= Duration::from_secs(1) + 2 * tick,
        "{elapsed:?}"
    );
}

/// T5: the results, whatever the order of the ends; nothing is a result too.
#[test]
fn gather_takes_nothing_one_and_many_of_one_kind_or_several() {
    let _guard = guard!();
    strict_run(async {
        assert_eq!(gather(Vec::<std::future::Ready<u8>>::new()).await, []);
        assert_eq!(gather([ready(1)]).await, [1]);
        let uneven = (0..100u32).map(|n| async move {
            for _ in 0..(n * 37 % 11) {
                yield_now().await;
            }
            n
        });
        assert_eq!(gather(uneven).await, (0..100).collect::<Vec<_>>());
        let tasks = (0..3).map(|n| spawn(async move { n }));
        let joined: Result<Vec<_>, _> = gather(tasks).await.into_iter().collect();
        assert_eq!(joined.unwrap(), [0, 1, 2]);
        assert_eq!(
            gather((ready('a'), ready("b"), sleep(Duration::ZERO)))
                .await
                .1,
            "b"
        );
    })
    .unwrap();
}

#[test]
fn try_gather_ends_with_the_first_error_and_drops_the_others_before_it_returns() {
    let _guard = guard!();
    let log = Log::default();
    let slow = |name| {
        let held = Dropped(log.clone(), name);
        async move {
            let _held = held;
            sleep(Duration::from_secs(60)).await;
            Ok::<u8, &str>(0)
        }
    };
    let fails = || async {
        yield_now().await;
        Err::<u8, &str>("no")
    };
    strict_run(async {
        let both: Result<Vec<u8>, &str> = try_gather([ready(Ok(1)), ready(Ok(2))]).await;
        assert_eq!(both, Ok(vec![1, 2]));
        let outcome = try_gather((slow("first"), fails(), slow("third"))).await;
        log.note("returned");
        assert_eq!(outcome, Err("no"));
        type Boxed = std::pin::Pin<Box<dyn Future<Output = Result<u8, &'static str>>>>;
        let listed: [Boxed; 2] = [Box::pin(slow("listed")), Box::pin(fails())];
        assert_eq!(try_gather(listed).await, Err("no"));
        log.note("returned");
        let listed: [Boxed; 2] = [Box::pin(fails()), Box::pin(slow("behind"))];
        assert_eq!(try_gather(listed).await, Err("no"));
        log.note("returned");
    })
    .unwrap();
    assert_eq!(
        log.text(),
        "first third returned listed returned behind returned"
    );
}

#[test]
fn a_gather_that_is_dropped_or_panics_drops_all_it_had() {
    let _guard = guard!();
    let log = Log::default();
    let held = |name, panics: bool| {
        let held = Dropped(log.clone(), name);
        async move {
            let _held = held;
            yield_now().await;
            assert!(!panics, "planted");
            pending::<()>().await;
        }
    };
    strict_run(async {
        let given_up = gather([held("a", false), held("b", false)]);
        assert!(wait_for(Duration::from_millis(1), given_up).await.is_err());
        assert_eq!(log.text(), "a b");
        let panics = spawn(gather([held("c", false), held("d", true)]));
        assert!(panics.await.unwrap_err().is_panic());
        assert!(log.has("c") && log.has("d"));
    })
    .unwrap();
}

/// Its waiters are woken in the order in which they came, by callbacks and by coroutines.
#[test]
fn many_may_wait_for_one_thing_through_done_callbacks() {
    let _guard = guard!();
    let order: Rc<RefCell<Vec<u32>>> = Rc::default();
    strict_run(async {
        let (promise, future) = create_future::<()>();
        let waiters = (0..5).map(|n| {
            let (turn, waiter) = create_future::<u32>();
            future.add_done_callback(move |_| turn.set_result(n).unwrap());
            let order = Rc::clone(&order);
            spawn(async move {
                let n = waiter.await.unwrap();
                order.borrow_mut().push(n);
            })
        });
        let waiters: Vec<_> = waiters.collect();
        promise.set_result(()).unwrap();
        gather(waiters).await;
    })
    .unwrap();
    assert_eq!(*order.borrow(), [0, 1, 2, 3, 4]);
}

/// T9, on real sockets and a real clock: a peer that sends is kept, a peer that has fallen silent is
/// ended, and the bytes that it sent are there.
#[test]
fn a_server_ends_a_peer_that_is_silent_for_too_long() {
    let _guard = guard!();
    let silence = Duration::from_millis(400);
    let (result, received, took) = strict_run(async {
        let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let begin = fresh_now();
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut received = Vec::new();
            let limited = timeout(silence, async |scope| {
                let mut buffer = [0; 8];
                loop {
                    let n = stream.read(&mut buffer).await.unwrap();
                    assert_ne!(n, 0, "it is silent, and not gone");
                    received.extend_from_slice(&buffer[..n]);
                    scope.reschedule(fresh_now() + silence).unwrap();
                }
            });
            let result: Result<(), Elapsed> = limited.await;
            drop(stream); // the peer gets the end of the stream
            (result, received, fresh_now() - begin)
        };
        let client = async {
            let stream = TcpStream::connect(addr).await.unwrap();
            let mut ticks = interval(silence / 4);
            for word in [b"a", b"b", b"c"] {
                ticks.tick().await;
                stream.write_all(word).await.unwrap();
            }
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        };
        gather((server, client)).await.0
    })
    .unwrap();
    assert_eq!((result, &*received), (Err(Elapsed), &b"abc"[..]));
    assert!(took >= silence * 7 / 4, "{took:?}");
}

/// Handles of tasks, and a socket, in one choice; what was not chosen is still there.
#[test]
fn a_choice_between_a_socket_and_a_task_loses_neither() {
    let _guard = guard!();
    strict_run(async {
        let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let (ours, theirs) = gather((TcpStream::connect(addr), listener.accept())).await;
        let (ours, (theirs, _)) = (ours.unwrap(), theirs.unwrap());
        let mut task = spawn(async {
            yield_now().await;
            7
        });
        let mut reading = std::pin::pin!(async {
            let mut word = [0; 4];
            ours.read_exact(&mut word).await.unwrap();
            word
        });
        let first = select((reading.as_mut(), &mut task)).await;
        assert!(matches!(first, Either::Right(Ok(7))), "{first:?}");
        theirs.write_all(b"wo").await.unwrap();
        // Half a word is read, and not lost with the choice.
        let nap = sleep(Duration::from_millis(2));
        let second = select((reading.as_mut(), nap)).await;
        assert!(matches!(second, Either::Right(())), "{second:?}");
        theirs.write_all(b"rd").await.unwrap();
        assert_eq!(&reading.await, b"word");
    })
    .unwrap();
}

/// The result can be taken once; a later waiter gets an error, and does not wait for ever.
#[test]
fn a_future_that_is_shared_after_its_result_was_taken_says_so() {
    let taken = strict_run(async {
        let (promise, mut future) = create_future();
        promise.set_result(1).unwrap();
        assert_eq!(future.result(), Some(Ok(1)));
        spawn(future.shared()).await
    });
    let error = taken.unwrap().unwrap_err();
    assert!(error.is_panic(), "{error}");
}

/// N14, T6.
#[test]
fn several_waits_share_one_deadline_and_a_value_at_it_wins() {
    let _guard = guard!();
    let (event_loop, clock) = manual_loop();
    let mut runner = Runner::from(event_loop);
    let output = runner.run(async {
        let deadline = fresh_now() + Duration::from_secs(3);
        assert_eq!(wait_until(deadline, ready(1)).await, Ok(1));
        clock.advance(Duration::from_secs(2));
        let moves = spawn({
            let clock = clock.clone();
            async move { clock.advance(Duration::from_secs(1)) }
        });
        // One second is left, which passes meanwhile.
        assert_eq!(wait_until(deadline, pending::<()>()).await, Err(Elapsed));
        moves.await.unwrap();
        assert_eq!(fresh_now(), deadline);
        // It has passed: what is ready wins all the same, and what is not ends in the next turn.
        assert_eq!(wait_until(deadline, ready(2)).await, Ok(2));
        let log = Log::default();
        let dropped = Dropped(log.clone(), "dropped");
        let waits = wait_until(deadline, async {
            let _dropped = dropped;
            pending::<()>().await;
        });
        assert_eq!(waits.await, Err(Elapsed));
        assert_eq!(log.text(), "dropped");
        assert_eq!(wait_until(None, yield_now()).await, Ok(()));
        3
    });
    assert_eq!(output.unwrap(), 3);
}
