//! Bytes through sources on descriptors of the system.
//!
//! Invariants: S1 to S4.

use crate::scripted::Scripted;
use proptest::collection::vec;
use proptest::prelude::*;
use readily::io::{Async, Direction};
use readily::poll::Event;
use readily::{Callbacks, Cx, EventLoop, Interest, Readiness, gather, yield_now};
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

/// A pair with small buffers, so that both sides meet `WouldBlock`.
fn small_pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    for side in [&a, &b] {
        socket2::SockRef::from(side)
            .set_send_buffer_size(1)
            .unwrap();
        side.set_nonblocking(true).unwrap();
    }
    (a, b)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 + n / 251) as u8).collect()
}

/// Sends `data` in pieces of these sizes, in a cycle, yielding now and then.
async fn send(source: &Async<UnixStream>, data: &[u8], pieces: &[usize]) {
    let (mut rest, mut sizes) = (data, pieces.iter().cycle());
    while !rest.is_empty() {
        let piece = &rest[..rest.len().min(*sizes.next().unwrap())];
        let done = source
            .io(Direction::Write, |mut s| s.write(piece))
            .await
            .unwrap();
        rest = &rest[done..];
        if done % 3 == 0 {
            yield_now().await;
        }
    }
    source.shutdown(Shutdown::Write).unwrap();
}

/// Receives to the end in pieces of these sizes.
async fn receive(source: &Async<UnixStream>, pieces: &[usize]) -> Vec<u8> {
    let (mut got, mut sizes) = (Vec::new(), pieces.iter().cycle());
    loop {
        let mut piece = vec![0; *sizes.next().unwrap()];
        let n = source
            .io(Direction::Read, |mut s| s.read(&mut piece))
            .await
            .unwrap();
        if n == 0 {
            return got;
        }
        got.extend_from_slice(&piece[..n]);
    }
}

/// A level-triggered receiver: reads once for each event.
struct Receiver {
    pieces: std::iter::Cycle<std::vec::IntoIter<usize>>,
    got: Rc<RefCell<Vec<u8>>>,
}

impl Callbacks for Receiver {
    fn on_read(&mut self, cx: &Cx<'_>) {
        let mut piece = vec![0; self.pieces.next().unwrap()];
        match cx.read(&mut piece) {
            Ok(0) => cx.close(),
            Ok(n) => self.got.borrow_mut().extend_from_slice(&piece[..n]),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
}

fn by_edges(data: &[u8], out: &[usize], into: &[usize]) -> Vec<u8> {
    let (a, b) = small_pair();
    readily::run(async {
        let (a, b) = (Async::new(a).unwrap(), Async::new(b).unwrap());
        gather((send(&a, data, out), receive(&b, into))).await.1
    })
    .unwrap()
}

fn by_level(data: &[u8], out: &[usize], into: &[usize]) -> Vec<u8> {
    let (a, b) = small_pair();
    let mut event_loop = EventLoop::new().unwrap();
    event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
    let got: Rc<RefCell<Vec<u8>>> = Rc::default();
    let receiver = Receiver {
        pieces: Vec::from(into).into_iter().cycle(),
        got: Rc::clone(&got),
    };
    event_loop.register(b, Interest::READ, receiver).unwrap();
    let (data, out) = (data.to_vec(), out.to_vec());
    drop(event_loop.spawn(async move {
        let a = Async::new(a).unwrap();
        send(&a, &data, &out).await;
    }));
    event_loop.run().unwrap();
    got.take()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// S1, S3: with pieces of any sizes, edges and levels deliver the bytes that were sent.
    #[test]
    fn edges_and_levels_deliver_the_same_bytes(
        len in 0usize..20_000,
        out in vec(1usize..5000, 1..4),
        into in vec(1usize..5000, 1..4),
    ) {
        let data = bytes(len);
        prop_assert!(by_edges(&data, &out, &into) == data, "S1: by edges");
        prop_assert!(by_level(&data, &out, &into) == data, "S3: by levels");
    }
}

/// S4, in a process of its own: other tests open descriptors while they are counted.
#[test]
#[cfg(target_os = "linux")]
fn descriptors_before_and_after_are_equal() {
    fn open_descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }
    const NAME: &str = "sources::descriptors_before_and_after_are_equal";
    if std::env::var_os("READILY_ALONE").is_none() {
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        alone
            .args([NAME, "--exact", "--test-threads=1"])
            .env("READILY_ALONE", "1");
        let output = alone.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        return;
    }
    readily::run(async {}).unwrap();
    let before = open_descriptors();
    for round in 0..20 {
        let data = bytes(round * 500);
        assert_eq!(by_edges(&data, &[700], &[900]), data);
        assert_eq!(by_level(&data, &[700], &[900]), data);
        // Dropped in the middle, with the object that it waits for.
        let left = readily::run(async {
            let (a, b) = small_pair();
            let source = Async::new(a).unwrap();
            let reading = source.io(Direction::Read, |mut s| s.read(&mut [0]));
            let limited = readily::wait_for(std::time::Duration::from_millis(1), reading).await;
            drop(b);
            limited.is_err()
        });
        assert!(left.unwrap());
        assert_eq!(open_descriptors(), before, "round {round}");
    }
}

/// S2: closing a loop wakes all tasks that wait on its sources, in both directions, and each gets
/// an error.
#[test]
fn every_waiter_of_a_closed_source_is_woken() {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    struct Count(AtomicU32);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    let mut event_loop = EventLoop::new().unwrap();
    event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
    let (near, _far) = small_pair();
    let source = {
        let _entered = event_loop.enter();
        Async::new(near).unwrap()
    };
    event_loop.turn_now().unwrap();
    while (&*source).write(&[0; 64]).is_ok() {}
    let counts: Vec<_> = (0..4).map(|_| Arc::new(Count(AtomicU32::new(0)))).collect();
    let mut readers: Vec<_> = (0..2).map(|_| Box::pin(source.readable())).collect();
    let mut writing = pin!(source.io(Direction::Write, |mut s| s.write(&[0])));
    for (reader, count) in readers.iter_mut().zip(&counts) {
        let waker = Waker::from(Arc::clone(count));
        assert!(
            reader
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    let waker = Waker::from(Arc::clone(&counts[2]));
    let mut cx = Context::from_waker(&waker);
    assert!(writing.as_mut().poll(&mut cx).is_pending());
    drop(event_loop);
    let woken: Vec<u32> = counts
        .iter()
        .map(|count| count.0.load(Ordering::SeqCst))
        .collect();
    assert_eq!(woken, [1, 1, 1, 0]);
    for reader in &mut readers {
        assert!(matches!(reader.as_mut().poll(&mut cx), Poll::Ready(Err(_))));
    }
    assert!(matches!(
        writing.as_mut().poll(&mut cx),
        Poll::Ready(Err(_))
    ));
}

/// S1: a fact of one event is kept when the next event reports another fact. (epoll reports all
/// facts each time, so this test has a poller that does not, as kqueue.)
#[test]
fn facts_of_two_events_add_up() {
    let scripted = Scripted::default();
    let (mut event_loop, _clock) = scripted.event_loop();
    let (near, mut far) = small_pair();
    far.write_all(b"x").unwrap();
    let source = {
        let _entered = event_loop.enter();
        Async::new(near).unwrap()
    };
    let token = scripted.0.borrow().known.values().next().unwrap().0;
    for ready in [Readiness::READ, Readiness::WRITE] {
        let event = Event::new(token, ready);
        scripted.0.borrow_mut().batches.push_back(vec![event]);
        event_loop.turn_now().unwrap();
    }
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    for direction in [Direction::Read, Direction::Write] {
        let mut tries = std::pin::pin!(source.io(direction, |_| Ok(())));
        assert!(tries.as_mut().poll(&mut cx).is_ready(), "{direction:?}");
    }
    // Each fact is cleared by itself: a `WouldBlock` of one does not clear the other.
    let blocks = |_: &UnixStream| -> io::Result<()> { Err(io::ErrorKind::WouldBlock.into()) };
    let mut reads = std::pin::pin!(source.io(Direction::Read, blocks));
    assert!(reads.as_mut().poll(&mut cx).is_pending());
    let mut writes = std::pin::pin!(source.io(Direction::Write, |_| Ok(())));
    assert!(writes.as_mut().poll(&mut cx).is_ready());
    let mut again = std::pin::pin!(source.io(Direction::Read, |_| Ok(())));
    assert!(again.as_mut().poll(&mut cx).is_pending());
}
