//! Exhaustive tests: each call of the kernel fails once, each future is dropped after each of its
//! polls, and the events of one turn happen in every order.
//!
//! Invariants: T1, T2, T5, T6, W1, S4.

use crate::kernels::KERNELS;
use readily::io::{TcpListener, TcpStream};
use readily::task::{Future, FutureError, Promise, create_future};
use readily::{Elapsed, Task, gather, sleep, spawn, try_gather, wait_for, yield_now};
use readily_testing::{Action, Faults, SimLoop, in_one_turn, orders};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 16];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.shutdown(Shutdown::Write),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

/// A server and two clients, each of which gives up at its first error.
async fn session() -> io::Result<usize> {
    let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
    let addr = listener.local_addr()?;
    let server = spawn(async move {
        loop {
            let (stream, _) = listener.accept().await?;
            drop(spawn(async move { drop(echo(stream).await) }));
        }
        #[allow(unreachable_code)]
        Ok::<(), io::Error>(())
    });
    let client = |word: &'static [u8]| async move {
        let stream = TcpStream::connect(addr).await?;
        stream.write_all(word).await?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        let mut buffer = [0; 7];
        loop {
            match stream.read(&mut buffer).await? {
                0 => break,
                n => answer.extend_from_slice(&buffer[..n]),
            }
        }
        match answer == word {
            true => Ok(answer.len()),
            // The server could not register the connection, and closed it.
            false => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        }
    };
    let both = gather((client(b"hello"), client(b"a somewhat longer word"))).await;
    server.cancel();
    Ok(both.0? + both.1?)
}

/// R010, R013, S4: the k-th call fails, for each k. No task hangs or panics, and each descriptor is
/// closed; a lost error would be a hang, or a wrong sum.
#[test]
fn each_call_may_fail_and_nothing_hangs_or_stays_open() {
    for system in KERNELS {
        for code in [libc::ENOMEM, libc::EMFILE, libc::EIO] {
            let (mut nth, mut failed) = (0, 0);
            loop {
                let mut faults = Faults::none();
                faults.fails = Some((nth, code));
                let mut sim = match system {
                    None => SimLoop::with(faults),
                    Some(system) => SimLoop::with_kqueue(faults, system),
                };
                sim.on_unhandled(|_| ());
                let kernel = sim.kernel().clone();
                // An hour of virtual time is never reached: it would end a wait for a lost peer.
                let limit = Duration::from_secs(3600);
                let ended = sim.run(wait_for(limit, session())).unwrap();
                match ended {
                    Err(Elapsed) => panic!("call {nth} fails with {code}, and a task hangs"),
                    Ok(Err(_)) => failed += 1,
                    Ok(Ok(sum)) => assert_eq!(sum, 27, "call {nth} fails with {code}"),
                }
                let calls = kernel.syscalls();
                drop(sim);
                assert_eq!(kernel.open(), 0, "call {nth} fails with {code}");
                if calls <= nth {
                    break;
                }
                nth += 1;
            }
            assert!(
                nth > 20 && failed > 5,
                "{nth} calls, {failed} of them with an error"
            );
        }
    }
}

/// Each future of the crate, dropped after its n-th poll, for each n: no timer, no registration and
/// no descriptor is left, and the object that it waited for can be used again.
#[test]
fn each_future_may_be_dropped_after_each_of_its_polls() {
    let mut sim = SimLoop::new(1);
    let kernel = sim.kernel().clone();
    let entered = sim.event_loop().enter();
    let listener = Rc::new(TcpListener::bind(([127, 0, 0, 1], 0)).unwrap());
    drop(entered);
    let addr = listener.local_addr().unwrap();
    let (one, two) = sim.duplex().unwrap();
    let (one, two) = (Rc::new(one), Rc::new(two));
    let before = (kernel.open(), sim.registered());

    let polls = sim.drop_everywhere(|| {
        let listener = Rc::clone(&listener);
        Box::pin(async move {
            let (ours, theirs) = gather((TcpStream::connect(addr), listener.accept())).await;
            drop((ours.unwrap(), theirs.unwrap()));
        })
    });
    assert!(polls > 1, "connecting and accepting wait");
    // Connections that were made and not accepted are still in the queue.
    sim.run(async { while wait_for(MS, listener.accept()).await.is_ok() {} })
        .unwrap();
    assert_eq!((kernel.open(), sim.registered()), before);

    let polls = sim.drop_everywhere(|| {
        let (one, two) = (Rc::clone(&one), Rc::clone(&two));
        Box::pin(async move {
            // Bytes that an earlier future has written and none has read are read first.
            let mut buffer = [0; 64];
            while wait_for(Duration::ZERO, two.read(&mut buffer))
                .await
                .is_ok()
            {}
            let read = async {
                yield_now().await;
                let mut three = [0; 3];
                two.read_exact(&mut three).await.unwrap();
                assert_eq!(&three, b"abc");
            };
            let write = async {
                one.write_all(b"ab").await.unwrap();
                yield_now().await;
                one.write_all(b"c").await.unwrap();
            };
            gather((read, write)).await;
        })
    });
    assert!(polls > 2, "reading must wait");

    let polls = sim.drop_everywhere(|| {
        Box::pin(async {
            let naps = gather((0..3).map(|n| sleep(n * MS / 1000)));
            let _in_time = wait_for(60 * MS, naps).await.unwrap();
            let task = spawn(async {
                yield_now().await;
                7
            });
            assert_eq!(task.await.unwrap(), 7);
        })
    });
    assert!(polls > 2, "sleeping and joining wait");
    assert_eq!((kernel.open(), sim.registered()), before);
    let idle = sim.event_loop().next_deadline();
    assert_eq!(idle, None, "no timer is left");
}

/// A loop on which a task waits for a value, with a timeout of [`MS`].
fn waiting_for_a_value() -> (SimLoop, Promise<u8>, Task<Limited>) {
    let mut sim = SimLoop::new(2);
    let entered = sim.event_loop().enter();
    let (promise, future) = create_future();
    let waiter = spawn(wait_for(MS, future));
    drop(entered);
    sim.run_until_stalled().unwrap();
    (sim, promise, waiter)
}

type Limited = Result<Result<u8, FutureError>, Elapsed>;

/// T6: the value, the timeout, and a cancel of the waiter, in one turn and in every order. The
/// value wins over the timeout; a cancelled waiter gets neither, and no waiter gets both.
#[test]
fn a_limit_a_value_and_a_cancel_in_one_turn_end_in_every_order() {
    for order in orders(4) {
        let (mut sim, promise, mut waiter) = waiting_for_a_value();
        let clock = sim.kernel().clock();
        let task = waiter.task_ref();
        let here = sim.weak_handle();
        in_one_turn(
            &here,
            &order,
            vec![
                Box::new(move || promise.set_result(7).unwrap()),
                Box::new(move || clock.advance(MS)),
                Box::new(move || assert!(task.cancel())),
                Box::new(|| ()),
            ],
        );
        sim.run_until_stalled().unwrap();
        let result = waiter.result().unwrap();
        // A task that a closure wakes runs in the next turn; by then it has been cancelled.
        assert!(result.is_err_and(|error| error.is_cancelled()), "{order:?}");
        assert_eq!(
            sim.event_loop().next_deadline(),
            None,
            "{order:?}: no timer is left"
        );
    }
    for order in orders(2) {
        let (mut sim, promise, mut waiter) = waiting_for_a_value();
        let clock = sim.kernel().clock();
        let here = sim.weak_handle();
        in_one_turn(
            &here,
            &order,
            vec![
                Box::new(move || promise.set_result(7).unwrap()),
                Box::new(move || clock.advance(MS)),
            ],
        );
        sim.run_until_stalled().unwrap();
        let result = waiter.result().unwrap().unwrap();
        assert_eq!(result, Ok(Ok(7)), "{order:?}: the value wins");
    }
}

type Settles = Promise<Result<u8, u8>>;

fn pending_results(n: usize) -> (Vec<Settles>, Vec<Future<Result<u8, u8>>>) {
    (0..n).map(|_| create_future()).unzip()
}

/// T5: three futures of a `try_gather` end in one turn, two with an error, in every order. It
/// returns the error that came first; a `gather` returns all three results in their places.
#[test]
fn several_ends_in_one_turn_are_gathered_in_every_order() {
    for order in orders(3) {
        let mut sim = SimLoop::new(3);
        let entered = sim.event_loop().enter();
        let seen: Rc<RefCell<Vec<u8>>> = Rc::default();
        let (promises, futures) = pending_results(3);
        let (also, more) = pending_results(3);
        let failing = futures
            .into_iter()
            .map(|future| async { future.await.unwrap() });
        let mut first = spawn(try_gather(failing.collect::<Vec<_>>()));
        let mut all = spawn(gather(more));
        drop(entered);
        sim.run_until_stalled().unwrap();
        let outcome = [Ok(0), Err(1), Err(2)];
        let actions = promises.into_iter().zip(also).zip(outcome).enumerate();
        let actions = actions.map(|(n, ((one, two), outcome))| -> Action {
            let seen = Rc::clone(&seen);
            Box::new(move || {
                seen.borrow_mut().push(n as u8);
                one.set_result(outcome).unwrap();
                two.set_result(outcome).unwrap();
            })
        });
        in_one_turn(&sim.weak_handle(), &order, actions.collect());
        sim.run_until_stalled().unwrap();
        let came_first = *seen.borrow().iter().find(|&&n| n > 0).unwrap();
        assert_eq!(
            first.result().unwrap().unwrap(),
            Err(came_first),
            "{order:?}"
        );
        let gathered = all.result().unwrap().unwrap();
        assert_eq!(gathered, outcome.map(Ok::<_, FutureError>), "{order:?}");
    }
}

/// T1, T2, W1: three wakes of one task, one of them by a task that ends it, in every order: it is
/// polled once for all of them, or has ended.
#[test]
fn wakes_of_one_turn_are_one_poll_in_every_order() {
    for order in orders(4) {
        let mut sim = SimLoop::new(4);
        let polls: Rc<RefCell<u32>> = Rc::default();
        let waker = Rc::new(RefCell::new(None));
        let (counted, kept) = (Rc::clone(&polls), Rc::clone(&waker));
        let task = sim.spawn(poll_fn(move |cx| {
            *counted.borrow_mut() += 1;
            kept.replace(Some(cx.waker().clone()));
            Poll::<()>::Pending
        }));
        sim.run_until_stalled().unwrap();
        let wake = || -> Action {
            let waker = waker.borrow().clone().unwrap();
            Box::new(move || waker.wake())
        };
        let ends = task.task_ref();
        let with_end = order.len() % 2 == 0 && order[0] < 2;
        let last: Action = match with_end {
            true => Box::new(move || assert!(ends.cancel())),
            false => wake(),
        };
        in_one_turn(
            &sim.weak_handle(),
            &order,
            vec![wake(), wake(), wake(), last],
        );
        sim.run_until_stalled().unwrap();
        let expected = if with_end { 1 } else { 2 };
        assert_eq!(
            (*polls.borrow(), task.done()),
            (expected, with_end),
            "{order:?}"
        );
    }
}
