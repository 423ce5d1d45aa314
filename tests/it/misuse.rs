//! Misuse that a first reader of the crate tried: guards in the wrong order, keys of another loop,
//! destructors at the wrong time, stops that come too late. Each of these had a bug once.
//!
//! Invariants: L1, L5, L8, T1, T3.

use crate::support::{
    Count, Log, collect_unhandled, guard, listener, strict_loop, strict_run, strict_runner,
    turn_times,
};
use readily::event_loop::ExitReason;
use readily::io::TcpListener;
use readily::spi;
use readily::task::{FutureError, TaskState, create_future};
use readily::{
    Closures, Error, EventLoop, Interest, JoinError, PanicPolicy, WeakHandle, current_task, sleep,
    spawn, wait_for, yield_now,
};
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Spawns when it is dropped, as a destructor that cleans up may do.
struct Spawns(Log);

impl Drop for Spawns {
    fn drop(&mut self) {
        let log = self.0.clone();
        log.note("dropped");
        drop(spawn(async move { log.note("ran") }));
    }
}

/// The future given to `run` is dropped inside its loop, whichever way the run ends.
#[test]
fn destructors_of_the_main_future_may_spawn_however_the_run_ends() {
    let _guard = guard!();
    let ends: [(&str, fn()); 3] = [
        ("returns", || ()),
        ("stops", || {
            WeakHandle::current().unwrap().with(|handle| handle.stop());
        }),
        ("panics", || {
            drop(spawn(async { panic!("only the run sees this panic") }));
        }),
    ];
    for (what, end) in ends {
        let log = Log::default();
        let spawns = Spawns(log.clone());
        let ended = catch_unwind(AssertUnwindSafe(|| {
            strict_run(async {
                let _spawns = spawns;
                end();
                if what != "returns" {
                    pending::<()>().await;
                }
            })
        }));
        match what {
            "returns" => ended.unwrap().unwrap(),
            "stops" => assert!(matches!(ended.unwrap(), Err(Error::Stopped))),
            _ => drop(ended.unwrap_err()),
        }
        assert_eq!(log.text(), "dropped", "{what}: the run was over by then");
    }
}

/// Between two turns, too, a destructor finds the loop that it belonged to.
#[test]
fn destructors_between_two_turns_may_spawn() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let log = Log::default();
    let spawns = || Spawns(log.clone());
    let held = spawns();
    let mut task = event_loop.spawn(async move {
        let _held = held;
        pending::<()>().await;
    });
    let held = spawns();
    let timer = event_loop.call_later(Duration::from_secs(9), move |_| drop(held));
    let held = spawns();
    let call = event_loop.call_soon(move |_| drop(held));
    let held = spawns();
    let done = task.add_done_callback(move |_| drop(held));
    let held = spawns();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let callbacks = Closures::new().on_read(move |_| {
        let _held = &held;
    });
    let key = event_loop
        .register(ours, Interest::READ, callbacks)
        .unwrap();
    assert!(task.remove_done_callback(done) && task.cancel());
    assert!(timer.cancel() && call.cancel());
    event_loop.remove(key).unwrap();
    assert!(matches!(task.result(), Some(Err(JoinError::Cancelled))));
    turn_times(&mut event_loop, 1);
    assert_eq!((log.count("dropped"), log.count("ran")), (5, 5));
}

/// L1: the next loop may lie where the last one lay.
#[test]
fn a_key_of_a_loop_that_is_gone_finds_nothing_in_the_next() {
    let _guard = guard!();
    let mut old = None;
    for _ in 0..20 {
        let event_loop = strict_loop();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let key = event_loop.register(ours, Interest::READ, Closures::new());
        let key = key.unwrap();
        if let Some(old) = old.replace(key) {
            assert_ne!(old, key);
            assert!(matches!(event_loop.remove(old), Err(Error::UnknownKey(_))));
        }
        assert_eq!(event_loop.registered(), 1);
    }
}

#[test]
fn a_done_key_of_another_task_removes_nothing() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let log = Log::default();
    let (one, two) = (event_loop.spawn(async {}), event_loop.spawn(async {}));
    let key = one.add_done_callback(|_| ());
    let note = log.clone();
    two.add_done_callback(move |_| note.note("two"));
    assert!(!two.remove_done_callback(key));
    turn_times(&mut event_loop, 2);
    assert_eq!(log.text(), "two");
}

/// A stop ends the run that it was for, and no other.
#[test]
fn a_stop_is_answered_once_whatever_else_ends_the_run() {
    let _guard = guard!();
    let mut runner = strict_runner();
    let stop = || {
        WeakHandle::current().unwrap().with(|handle| handle.stop());
    };
    let both = runner.run(async {
        stop();
        1
    });
    assert_eq!(both.unwrap(), 1, "it was done");
    assert_eq!(runner.run(async { 2 }).unwrap(), 2);
    let panics = catch_unwind(AssertUnwindSafe(|| {
        runner.run(async {
            stop();
            panic!("planted");
        })
    }));
    assert!(panics.is_err());
    assert_eq!(runner.run(async { 3 }).unwrap(), 3);

    // One that came before the run leaves it a turn.
    let polls = Count::default();
    runner.stop();
    let stopped = runner.run(poll_fn(|_| {
        polls.add();
        Poll::<()>::Pending
    }));
    assert!(matches!(stopped, Err(Error::Stopped)));
    assert_eq!(polls.get(), 1);
}

/// L5: the entry of the first future is still in the queue, before that of the second one, which
/// yields once and must not be polled twice in one turn.
#[test]
fn a_run_after_one_that_was_stopped_takes_as_many_turns_as_it_should() {
    let _guard = guard!();
    let mut runner = strict_runner();
    runner.stop();
    let stopped = runner.run(yield_now());
    assert!(matches!(stopped, Err(Error::Stopped)));
    let begun = runner.stats().turns;
    runner.run(yield_now()).unwrap();
    assert_eq!(runner.stats().turns - begun, 2);
}

/// T3, for the main task as for all.
#[test]
fn the_main_task_ends_in_one_of_three_ways_too() {
    let _guard = guard!();
    let mut runner = strict_runner();
    let seen = RefCell::new(None);
    let look = || seen.replace(Some(current_task().unwrap()));
    let state = || seen.borrow().as_ref().unwrap().state();
    runner.run(async { drop(look()) }).unwrap();
    assert_eq!(state(), TaskState::Done);
    let panics = catch_unwind(AssertUnwindSafe(|| {
        runner.run(async {
            look();
            panic!("planted");
        })
    }));
    assert!(panics.is_err());
    assert_eq!(state(), TaskState::Panicked);
    let stopped = runner.run(async {
        look();
        WeakHandle::current().unwrap().with(|handle| handle.stop());
        pending::<()>().await;
    });
    assert!(stopped.is_err());
    assert_eq!(state(), TaskState::Cancelled);
}

/// T1: the number of the main task is that of all main tasks.
#[test]
fn a_waker_of_an_older_main_task_does_not_poll_this_one() {
    let _guard = guard!();
    let mut runner = strict_runner();
    let old = runner.run(poll_fn(|cx| Poll::Ready(cx.waker().clone())));
    let old = old.unwrap();
    let polls = Cell::new(0);
    runner
        .run(async {
            let mut gone_round = pin!(sleep(Duration::from_millis(2)));
            poll_fn(|cx| {
                polls.set(polls.get() + 1);
                old.wake_by_ref();
                gone_round.as_mut().poll(cx)
            })
            .await;
        })
        .unwrap();
    assert_eq!(polls.get(), 2, "at its start, and when its sleep was over");
}

#[test]
fn the_guards_of_two_loops_may_be_dropped_in_any_order() {
    let _guard = guard!();
    let (one, two) = (strict_loop(), strict_loop());
    let spawned = |event_loop: &EventLoop| {
        let task = spawn(async {});
        drop(task);
        spi::check_invariants(event_loop);
        !event_loop.is_idle()
    };
    let first = one.enter();
    let second = two.enter();
    drop(first);
    assert!(spawned(&two) && one.is_idle());
    drop(second);
    assert!(WeakHandle::current().is_none());
    drop((one, two));
    assert!(WeakHandle::current().is_none());
}

/// The owner of a shared descriptor runs code when its number is asked for.
struct Asks {
    stream: UnixStream,
    handle: WeakHandle,
    panics: Cell<bool>,
}

impl AsFd for Asks {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle
            .with(|handle| (spi::rearm_interest(handle), handle.registered()));
        assert!(!self.panics.get(), "planted");
        self.stream.as_fd()
    }
}

/// L8: the poller is not borrowed meanwhile; and a panic leaves nothing half-done.
#[test]
fn the_owner_of_a_shared_descriptor_may_ask_the_loop_and_panic() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    event_loop.set_panic_policy(PanicPolicy::Isolate);
    let reports = collect_unhandled(&event_loop);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let asks = Rc::new(Asks {
        stream: ours,
        handle: event_loop.weak_handle(),
        panics: Cell::new(false),
    });
    let reads = Closures::new().on_read(|cx| {
        let _asks = cx.fd();
        cx.close();
    });
    event_loop
        .register(Rc::clone(&asks), Interest::READ, reads)
        .unwrap();
    asks.panics.set(true);
    drop(theirs);
    turn_times(&mut event_loop, 3);
    // Its read branch asked, and then its end, which gives the descriptor back as it was (R131).
    assert_eq!((reports.len(), event_loop.registered()), (2, 0));

    let refused = catch_unwind(AssertUnwindSafe(|| {
        event_loop
            .register(Rc::clone(&asks), Interest::READ, Closures::new())
            .is_ok()
    }));
    assert!(refused.is_err());
    assert_eq!(event_loop.registered(), 0);
}

/// Removing an interest does not rearm the others.
#[test]
fn a_one_shot_without_a_write_branch_speaks_once() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    std::io::Write::write_all(&mut theirs, b"x").unwrap();
    let reads = Count::default();
    let counted = reads.clone();
    let callbacks = Closures::new().on_read(move |_| {
        counted.add();
    });
    let trigger = readily::Trigger::OneShot;
    let key = event_loop
        .register_with(ours, Interest::BOTH, trigger, callbacks)
        .unwrap();
    turn_times(&mut event_loop, 4);
    assert_eq!(reads.get(), 1);
    event_loop.set_interest_of(key, Interest::READ).unwrap();
    turn_times(&mut event_loop, 4);
    assert_eq!(reads.get(), 2);
}

#[test]
fn a_timer_for_never_keeps_no_run_going() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let timer = event_loop.call_later(Duration::MAX, |_| ());
    assert_eq!(event_loop.run().unwrap(), ExitReason::Idle);
    assert!(timer.cancel());
}

/// R045: the hook is dropped last, and its destructor may panic.
#[test]
fn a_hook_whose_destructor_panics_ends_nothing() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("planted");
        }
    }
    let _guard = guard!();
    let event_loop = strict_loop();
    let bomb = Panics;
    event_loop.on_unhandled(move |_| {
        let _mine = &bomb;
    });
    event_loop.close();
}

/// A listener's branch would never be taken, without a reason being reported.
#[test]
fn listening_takes_a_listener() {
    let _guard = guard!();
    let event_loop = strict_loop();
    let accept = |_: &readily::Cx<'_>, _: &readily::event_loop::Accepted| None::<Closures>;
    let (stream, _theirs) = UnixStream::pair().unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let descriptors: [readily::event_loop::Descriptor; 2] = [stream.into(), datagrams.into()];
    for descriptor in descriptors {
        let number = std::os::fd::AsRawFd::as_raw_fd(&descriptor.as_fd());
        let refused = event_loop.listen(descriptor, accept).unwrap_err();
        assert!(matches!(refused.error, Error::NotListening { fd } if fd == number));
        assert!(refused.descriptor.is_some());
    }
    assert_eq!(event_loop.registered(), 0);
}

/// While one loop runs, another does not: waiting for a task of the other would last for ever.
#[test]
fn what_belongs_to_another_loop_is_an_error_and_no_endless_wait() {
    let _guard = guard!();
    let mut owner = strict_runner();
    let listener = owner
        .run(async { TcpListener::bind(([127, 0, 0, 1], 0)) })
        .unwrap()
        .unwrap();
    let error = strict_run(async { listener.accept().await.unwrap_err() }).unwrap();
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<Error>());
    assert!(matches!(inner, Some(Error::OtherLoop)), "{error}");

    for closed in [false, true] {
        let mut nap = Box::pin(sleep(Duration::from_secs(60)));
        let mut elsewhere = strict_runner();
        elsewhere
            .run(poll_fn(|cx| {
                assert!(nap.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            }))
            .unwrap();
        let kept = if closed {
            elsewhere.close();
            None
        } else {
            Some(elsewhere)
        };
        let waits = catch_unwind(AssertUnwindSafe(|| {
            strict_run(wait_for(Duration::from_secs(60), nap.as_mut()))
        }));
        let payload = waits.unwrap_err();
        let message = payload.downcast_ref::<&str>().unwrap();
        assert!(message.starts_with("slept on"), "{message}");
        drop(kept);
    }
}

/// N17: settled from outside with a result, an error, or as cancelled.
#[test]
fn a_promise_can_cancel_its_future() {
    let _guard = guard!();
    strict_run(async {
        let (promise, future) = create_future::<u8>();
        drop(spawn(async move {
            yield_now().await;
            assert!(promise.cancel() && !promise.cancel());
            assert!(promise.set_result(1).is_err());
        }));
        assert_eq!(future.await, Err(FutureError::Cancelled));
    })
    .unwrap();
}

#[test]
fn a_loop_that_does_not_run_has_no_current_task_and_no_thread() {
    let _guard = guard!();
    let (_listener, addr) = listener();
    let mut cx = Context::from_waker(Waker::noop());
    let mut connects = pin!(readily::io::TcpStream::connect(addr));
    let Poll::Ready(Err(error)) = connects.as_mut().poll(&mut cx) else {
        panic!("it waits, and nothing can wake it")
    };
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<Error>());
    assert!(matches!(inner, Some(Error::NoLoop)), "{error}");
}

#[test]
fn a_coroutine_function_is_known_by_what_it_gives_however_it_is_called() {
    use readily::iscoroutinefunction;
    let mut count = 0;
    let counts = || {
        count += 1;
        std::future::ready(count)
    };
    assert!(iscoroutinefunction!(counts));
    let owned = String::new();
    let once = move || async move { owned };
    assert!(iscoroutinefunction!(once));
    #[allow(clippy::too_many_arguments)]
    async fn eight(_: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8) {}
    assert!(iscoroutinefunction!(eight));
    assert!(!iscoroutinefunction!(|| 3));
}
