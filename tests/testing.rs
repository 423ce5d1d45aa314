//! The test tools as the author of a protocol uses them: frames with a length prefix over a
//! connection of the simulated kernel, which splits them anywhere.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use readily::io::TcpStream;
use readily::task::create_future;
use readily::{gather, sleep, spawn, wait_for, yield_now};
use readily_testing::{
    Faults, Kernel, Personality, SimLoop, Stalled, conformance, in_one_turn, poll_once, wakers,
};
use std::cell::RefCell;
use std::future::pending;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The protocol: a length of two bytes, then the content; a stream ends between two frames.
mod frames {
    use super::*;

    pub(crate) async fn send(stream: &TcpStream, frame: &[u8]) -> io::Result<()> {
        let len = u16::try_from(frame.len()).map_err(|_| ErrorKind::InvalidInput)?;
        stream.write_all(&len.to_be_bytes()).await?;
        stream.write_all(frame).await
    }

    pub(crate) async fn receive(stream: &TcpStream) -> io::Result<Option<Vec<u8>>> {
        let mut len = [0; 2];
        if stream.read(&mut len[..1]).await? == 0 {
            return Ok(None);
        }
        stream.read_exact(&mut len[1..]).await?;
        let mut frame = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut frame).await?;
        Ok(Some(frame))
    }
}

async fn send_all(stream: &TcpStream, frames: &[Vec<u8>]) {
    for frame in frames {
        frames::send(stream, frame).await.unwrap();
        if frame.len() % 3 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

async fn receive_all(stream: &TcpStream) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(frame) = frames::receive(stream).await.unwrap() {
        all.push(frame);
    }
    all
}

const KERNELS: [Option<Personality>; 4] = [
    None,
    Some(Personality::FreeBsd),
    Some(Personality::Apple),
    Some(Personality::NetBsd),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A typical test of a user: any frames, any splits, both directions, any system.
    #[test]
    fn frames_are_received_as_they_were_sent_however_they_are_split(
        seed in any::<u64>(),
        there in vec(vec(any::<u8>(), 0..300), 0..8),
        back in vec(vec(any::<u8>(), 0..300), 0..8),
        system in select(&KERNELS[..]),
    ) {
        let mut sim = SimLoop::on(system, Faults::all(seed));
        let (one, two) = sim.duplex().unwrap();
        let (_, _, came, returned) = sim
            .run(gather((
                send_all(&one, &there),
                send_all(&two, &back),
                receive_all(&two),
                receive_all(&one),
            )))
            .unwrap();
        prop_assert_eq!(came, there);
        prop_assert_eq!(returned, back);
    }
}

/// A truncated frame is an error of the receiver.
#[test]
fn half_a_frame_is_an_error() {
    let mut sim = SimLoop::new(1);
    let (one, two) = sim.duplex().unwrap();
    let received = sim.run(async {
        one.write_all(&[0, 5, 1, 2]).await.unwrap();
        one.shutdown(Shutdown::Write).unwrap();
        frames::receive(&two).await
    });
    assert_eq!(
        received.unwrap().unwrap_err().kind(),
        ErrorKind::UnexpectedEof
    );
}

#[test]
fn time_is_moved_by_hand_and_each_timer_has_its_own_moment() {
    let mut sim = SimLoop::new(2);
    let log: Rc<RefCell<Vec<Duration>>> = Rc::default();
    for seconds in [5, 1, 3] {
        let log = Rc::clone(&log);
        let begin = sim.now();
        sim.call_later(Duration::from_secs(seconds), move |handle| {
            log.borrow_mut().push(handle.now() - begin);
        });
    }
    assert_eq!(sim.run_until_stalled().unwrap(), Stalled::Idle);
    assert_eq!((log.borrow().len(), sim.elapsed()), (0, Duration::ZERO));
    sim.advance(Duration::from_secs(4)).unwrap();
    let seconds = |of: &[u64]| {
        of.iter()
            .copied()
            .map(Duration::from_secs)
            .collect::<Vec<_>>()
    };
    assert_eq!(*log.borrow(), seconds(&[1, 3]));
    assert_eq!(sim.elapsed(), Duration::from_secs(4));
    sim.advance(Duration::from_secs(1)).unwrap();
    assert_eq!(*log.borrow(), seconds(&[1, 3, 5]));
}

#[test]
fn a_loop_that_is_never_idle_is_reported_as_busy() {
    let mut sim = SimLoop::new(3);
    let busy = sim.spawn(async {
        loop {
            yield_now().await;
        }
    });
    assert!(matches!(sim.run_until_stalled().unwrap(), Stalled::Busy(_)));
    busy.cancel();
    assert_eq!(sim.run_until_stalled().unwrap(), Stalled::Idle);
}

/// The seed decides the order of events that are ready at the same time, and each order occurs.
#[test]
fn the_seed_decides_the_order_of_what_is_ready_at_the_same_time() {
    let order = |system, seed| {
        let mut faults = Faults::seeded(seed);
        faults.shuffle = true;
        let mut sim = SimLoop::on(system, faults);
        let seen: Rc<RefCell<Vec<u32>>> = Rc::default();
        let mut peers = Vec::new();
        for n in 0..3 {
            let (here, there) = sim.kernel().pair().unwrap();
            there.write(b"x").unwrap();
            peers.push(there);
            let seen = Rc::clone(&seen);
            let read = readily::Closures::new().on_read(move |cx| {
                seen.borrow_mut().push(n);
                cx.close();
            });
            sim.register(here, readily::Interest::READ, read).unwrap();
        }
        sim.run_until_stalled().unwrap();
        (seen.take(), sim.trace())
    };
    for system in KERNELS {
        let mut orders: Vec<_> = (0..60).map(|seed| order(system, seed).0).collect();
        let (one, other) = (order(system, 9), order(system, 9));
        assert_eq!(one, other, "the same seed, the same trace");
        orders.sort();
        orders.dedup();
        assert_eq!(orders.len(), 6, "{system:?}: {orders:?}");
    }
}

/// Hostile wakers, applied to a future of the user.
#[test]
fn hostile_wakers_find_what_a_future_forgets() {
    let mut sim = SimLoop::new(4);
    let entered = sim.event_loop().enter();
    let (promise, mut future) = create_future::<u8>();
    let (waker, count) = wakers::counting();
    assert!(
        Pin::new(&mut future)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(waker);
    assert_eq!(
        (count.take(), count.kept()),
        (0, 1),
        "the future keeps one clone"
    );
    drop(future);
    assert_eq!(count.kept(), 0, "and drops it when it is dropped");
    drop(promise);

    let (promise, mut future) = create_future::<u8>();
    let waker = wakers::panicking();
    assert!(
        Pin::new(&mut future)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    promise.set_result(3).unwrap();
    assert_eq!(poll_once(&mut future), Poll::Ready(Ok(3)));
    drop(entered);
    // A panic that no task awaits propagates out of the loop.
    let turned = catch_unwind(AssertUnwindSafe(|| sim.run_until_stalled()));
    assert!(turned.is_err());
    assert_eq!(sim.run_until_stalled().unwrap(), Stalled::Idle);
}

/// Each kind of future with each hostile waker: polled twice, woken, dropped. Other waiters of the
/// same object are still notified, and no timer is left.
#[test]
fn no_future_is_harmed_by_a_hostile_waker() {
    let quietly = |does: &mut dyn FnMut()| drop(catch_unwind(AssertUnwindSafe(does)));
    let second = Duration::from_secs(1);
    for what in ["sleep", "wait_for", "task", "future", "gather", "read"] {
        for (name, waker) in wakers::hostile() {
            let mut sim = SimLoop::new(7);
            let (here, there) = sim.duplex().unwrap();
            let here = Rc::new(here);
            let entered = sim.event_loop().enter();
            let (promise, future) = create_future::<u8>();
            // The task with a normal waker, which must not be affected.
            let (reader, mut buffer) = (Rc::clone(&here), [0; 4]);
            let mut task = spawn(async move {
                sleep(second).await;
                promise.set_result(3).unwrap();
                reader.read(&mut buffer).await.unwrap()
            });
            let reader = Rc::clone(&here);
            let mut waits: Pin<Box<dyn Future<Output = ()>>> = match what {
                "sleep" => Box::pin(sleep(second)),
                "wait_for" => Box::pin(async { _ = wait_for(second, future).await }),
                "task" => {
                    let (value, pending) = create_future::<u8>();
                    let slow = spawn(async { _ = pending.await });
                    Box::pin(async move {
                        let _value = value;
                        _ = slow.await;
                    })
                }
                "future" => Box::pin(async { _ = future.await }),
                "gather" => Box::pin(async { _ = gather((sleep(second), future)).await }),
                "read" => Box::pin(async move { _ = reader.read(&mut [0; 4]).await }),
                _ => unreachable!(),
            };
            for _ in 0..2 {
                quietly(&mut || _ = poll_once(&mut waits));
                let mut cx = Context::from_waker(&waker);
                quietly(&mut || _ = waits.as_mut().poll(&mut cx));
            }
            drop(entered);
            // The waker runs on the loop's stack, so its panics propagate here.
            quietly(&mut || _ = sim.advance(second));
            quietly(&mut || _ = sim.run(there.write_all(b"abc")));
            for _ in 0..3 {
                quietly(&mut || _ = sim.run_until_stalled());
            }
            let (mut waits, mut waker) = (Some(waits), Some(waker));
            quietly(&mut || drop(waits.take()));
            quietly(&mut || drop(waker.take()));
            let read = task.result().expect(name).unwrap();
            assert_eq!(read, 3, "{what}, {name}");
            // A waker that wakes when it is dropped sends a message: no loop is current here.
            assert_eq!(sim.run_until_stalled().unwrap(), Stalled::Idle, "{name}");
            assert_eq!(sim.event_loop().next_deadline(), None, "{what}, {name}");
        }
    }
}

/// A loop refuses a descriptor of another kernel.
#[test]
fn a_virtual_descriptor_is_refused_by_a_loop_of_the_system() {
    let sim = SimLoop::new(5);
    let (here, _there) = sim.kernel().pair().unwrap();
    let event_loop = readily::EventLoop::new().unwrap();
    let refused = event_loop.register(here, readily::Interest::READ, readily::Closures::new());
    let refused = refused.unwrap_err();
    assert!(matches!(
        refused.error,
        readily::Error::BadDescriptor { .. }
    ));
    let reported = refused.error.to_string();
    assert!(reported.contains("belongs to another kernel"), "{reported}");
    assert!(refused.descriptor.is_some());
}

/// A test operates on the peer of a descriptor that a task waits for.
#[test]
fn a_test_plays_the_peer_by_hand() {
    let mut sim = SimLoop::new(6);
    let (here, there) = sim.kernel().tcp().unwrap();
    let entered = sim.event_loop().enter();
    let stream = here.into_stream().unwrap();
    let mut task = spawn(async move {
        let mut buffer = [0; 8];
        let first = stream.read(&mut buffer).await;
        let second = stream.read(&mut buffer).await;
        (first.unwrap(), second.unwrap_err().kind())
    });
    drop(entered);
    assert_eq!(sim.run_until_stalled().unwrap(), Stalled::Idle);
    there.write(b"abc").unwrap();
    sim.run_until_stalled().unwrap();
    assert!(!task.done());
    there.reset();
    sim.run_until_stalled().unwrap();
    let result = task.result().unwrap().unwrap();
    assert_eq!(result, (3, ErrorKind::ConnectionReset));
}

/// An early return of a wait does not show that no byte is left to read.
#[test]
fn a_reader_reads_all_that_was_sent_whatever_the_faults() {
    let unread = |faults: Faults, system| {
        let mut sim = SimLoop::on(system, faults);
        let (one, two) = sim.duplex().unwrap();
        let entered = sim.event_loop().enter();
        let sent = spawn(async move { one.write_all(b"hello").await.map(|()| one) });
        let read = spawn(async move { two.read_exact(&mut [0; 5]).await });
        drop(entered);
        assert_eq!(sim.run_until_stalled().unwrap(), Stalled::Idle);
        drop(sent);
        !read.done()
    };
    for system in KERNELS {
        let all = (0..200).filter(|&seed| unread(Faults::all(seed), system));
        assert_eq!(all.collect::<Vec<_>>(), [0; 0], "{system:?}");
        let with_early_returns = (0..5).filter(|&seed| {
            let mut faults = Faults::seeded(seed);
            faults.early_return = 255;
            unread(faults, system)
        });
        assert_eq!(with_early_returns.collect::<Vec<_>>(), [0; 0], "{system:?}");
    }
}

/// Both sides wait for each other: a deadlock is reported.
#[test]
fn a_run_in_which_nothing_can_happen_ends_with_an_error() {
    for system in KERNELS {
        let mut sim = SimLoop::on(system, Faults::none());
        sim.set_real_timeout(Duration::from_millis(20));
        let (one, two) = sim.duplex().unwrap();
        let waits = sim.run(async {
            let (mut here, mut there) = ([0; 1], [0; 1]);
            gather((one.read_exact(&mut here), two.read_exact(&mut there))).await
        });
        let reported = waits.unwrap_err().to_string();
        assert!(
            reported.contains("nothing can happen any more"),
            "{reported}"
        );
        assert!(
            reported.contains("time stays: nothing will happen"),
            "{reported}"
        );
        // The loop can be run again, and receives messages of other threads.
        let nap = sim.run(sleep(Duration::from_secs(1)));
        assert!(nap.is_ok());
        let remote = sim.remote_handle();
        sim.set_real_timeout(Duration::from_secs(10));
        let pause = sim.kernel().pause_time();
        let elsewhere = std::thread::spawn(move || remote.call_soon(|handle| handle.stop()));
        sim.event_loop().run().unwrap();
        elsewhere.join().unwrap().unwrap();
        sim.set_real_timeout(Duration::from_millis(20));
        let paused = sim.run(sleep(Duration::from_secs(1))).unwrap_err();
        assert!(paused.to_string().contains("it is paused"), "{paused}");
        drop(pause);
    }
}

#[test]
#[should_panic(expected = "does not become idle")]
fn no_time_passes_in_a_loop_that_is_never_idle() {
    let mut sim = SimLoop::new(3);
    let _busy = sim.spawn(async {
        loop {
            yield_now().await;
        }
    });
    sim.advance(Duration::from_secs(1)).unwrap();
}

/// Virtual time ends at 2⁶⁴ nanoseconds; later timers never fire.
#[test]
fn virtual_time_has_an_end_that_can_be_reached() {
    let mut sim = SimLoop::new(4);
    sim.set_real_timeout(Duration::from_millis(20));
    let entered = sim.event_loop().enter();
    let never = spawn(sleep(Duration::MAX));
    drop(entered);
    sim.advance(Duration::MAX).unwrap();
    assert!(sim.elapsed() >= Duration::from_nanos(u64::MAX - 1));
    assert!(!never.done());
    sim.advance(Duration::from_secs(1)).unwrap();
    assert!(
        sim.run(sleep(Duration::MAX)).is_err(),
        "the deadlock is reported"
    );
    let mut sim = SimLoop::new(4);
    sim.set_real_timeout(Duration::from_millis(20));
    sim.kernel().clock().advance(Duration::MAX);
    assert!(
        sim.run(sleep(Duration::from_secs(1))).is_err(),
        "the deadlock is reported"
    );
}

#[test]
#[should_panic(expected = "is based on another kernel")]
fn a_poller_of_another_kernel_is_refused() {
    let poller = Kernel::new().poller();
    let _sim = SimLoop::over(Kernel::new(), Box::new(poller));
}

/// The faults of a failed case are printed as an expression that makes them again.
#[test]
fn faults_are_printed_as_an_expression() {
    let printed = |faults: &Faults| (format!("{faults:?}"), format!("{faults:#?}"));
    let none = "Faults::seeded(42)".to_owned();
    assert_eq!(printed(&Faults::seeded(42)), (none.clone(), none));
    let again = {
        let mut faults = Faults::seeded(42);
        faults.short = 3;
        faults.shuffle = true;
        faults.fails = Some((7, 12));
        faults
    };
    let text = "{ let mut faults = Faults::seeded(42); faults.short = 3; faults.shuffle = true; \
                faults.fails = Some((7, 12)); faults }";
    assert_eq!(printed(&again), (text.to_owned(), text.to_owned()));
}

/// `drop_everywhere` goes on after a timeout of a minute.
#[test]
fn drop_everywhere_goes_on_after_a_timeout_of_a_minute() {
    let mut sim = SimLoop::new(1);
    let minute = Duration::from_secs(60);
    let polls = sim.drop_everywhere(|| async move { _ = wait_for(minute, pending::<()>()).await });
    assert!(polls > 1);
}

#[test]
#[should_panic(expected = "s went by in these")]
fn drop_everywhere_gives_up_a_future_that_never_ends() {
    SimLoop::new(1).drop_everywhere(pending::<()>);
}

#[test]
#[should_panic(expected = "no promise is called `nope`")]
fn an_unknown_promise_is_named() {
    conformance::check("nope", Kernel::new().poller());
}

/// A panic of a test tool has the location of its caller, not one inside of the tool.
#[test]
fn a_panic_of_a_test_tool_has_the_location_of_its_caller() {
    let place = |does: fn()| {
        let (reported, place) = std::sync::mpsc::channel();
        let before = std::panic::take_hook();
        let own = std::thread::current().id();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().id() == own {
                let file = info.location().map(|at| at.file().to_owned());
                reported.send(file).unwrap();
            } else {
                before(info);
            }
        }));
        assert!(catch_unwind(does).is_err());
        _ = std::panic::take_hook();
        place.recv().unwrap().unwrap()
    };
    let here = file!();
    assert_eq!(
        place(|| conformance::check("nope", Kernel::new().poller())),
        here
    );
    assert_eq!(
        place(|| in_one_turn(&SimLoop::new(1).weak_handle(), &[0], vec![])),
        here
    );
}

/// A failure has the name of the promise.
#[test]
#[should_panic(expected = "the promise `a_level_event_repeats_until_drained` is broken: ")]
fn a_promise_that_is_broken_is_named() {
    let mut faults = Faults::none();
    faults.spurious = 255;
    let kernel = Kernel::with(faults);
    let fixture = conformance::Fixture::on(kernel.clone(), kernel.poller());
    conformance::check("a_level_event_repeats_until_drained", fixture);
}

/// R140: an assertion that fails in a task fails the test.
#[test]
fn a_panic_in_a_task_propagates_out_of_a_sim_loop() {
    let mut sim = SimLoop::new(1);
    let run = catch_unwind(AssertUnwindSafe(|| {
        sim.run(async {
            drop(spawn(async { panic!("planted") }));
            yield_now().await;
        })
    }));
    let payload = run.map(drop).unwrap_err();
    assert_eq!(*payload.downcast_ref::<&str>().unwrap(), "planted");
}
