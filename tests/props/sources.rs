//! Bytes through sources on descriptors of the system.
//!
//! Invariants: S1 to S4, L7.

use crate::scripted::Scripted;
use proptest::collection::vec;
use proptest::prelude::*;
use readily::io::{Direction, Source};
use readily::poll::Event;
use readily::spi;
use readily::{Callbacks, Cx, EventLoop, Interest, Readiness, gather, yield_now};
use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

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
async fn send(source: &Source<UnixStream>, data: &[u8], pieces: &[usize]) {
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
async fn receive(source: &Source<UnixStream>, pieces: &[usize]) -> Vec<u8> {
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
        let (a, b) = (Source::new(a).unwrap(), Source::new(b).unwrap());
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
        let a = Source::new(a).unwrap();
        send(&a, &data, &out).await;
    }));
    event_loop.run().unwrap();
    got.take()
}

/// The next action of the peer.
#[derive(Clone, Copy, Debug)]
enum Peer {
    Write(usize),
    ShutWrite,
    Close,
    Nothing,
}

/// The action of the reader for its next event.
#[derive(Clone, Copy, Debug)]
enum Reader {
    Read(usize),
    /// Removes its interest until the next turn.
    Pause,
    ShutWrite,
}

/// Reads by a script, pauses, shuts down; and gets the hangup.
struct Fickle {
    actions: std::vec::IntoIter<Reader>,
    got: Rc<Cell<usize>>,
    paused: Rc<Cell<bool>>,
    hangups: Rc<Cell<u32>>,
}

impl Callbacks for Fickle {
    fn on_read(&mut self, cx: &Cx<'_>) {
        assert_eq!(self.hangups.get(), 0, "L7: hangup is final");
        match self.actions.next().unwrap_or(Reader::Read(64)) {
            Reader::Read(room) => {
                if let Ok(n) = cx.read(&mut vec![0; room]) {
                    self.got.set(self.got.get() + n);
                }
            }
            Reader::Pause => {
                self.paused.set(true);
                cx.set_interest(Interest::NONE).unwrap();
            }
            // With a byte: a hangup does not wait for a reader that has refused bytes twice after
            // the end.
            Reader::ShutWrite => {
                let _ = cx.shutdown(Shutdown::Write);
                self.got
                    .set(self.got.get() + cx.read(&mut [0]).unwrap_or(0));
            }
        }
    }

    fn on_hangup(&mut self, _cx: &Cx<'_>, _error: Option<io::Error>) {
        self.hangups.set(self.hangups.get() + 1);
    }
}

fn peer() -> impl Strategy<Value = Peer> {
    prop_oneof![
        3 => (1usize..100).prop_map(Peer::Write),
        1 => Just(Peer::ShutWrite),
        1 => Just(Peer::Close),
        2 => Just(Peer::Nothing),
    ]
}

fn reader() -> impl Strategy<Value = Reader> {
    prop_oneof![
        3 => (1usize..40).prop_map(Reader::Read),
        2 => Just(Reader::Pause),
        1 => Just(Reader::ShutWrite),
    ]
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

    /// L7: exactly one hangup, after all the bytes, however the peer closes and the reader pauses.
    #[test]
    fn a_hangup_comes_once_and_after_the_last_byte(
        peers in vec(peer(), 0..12),
        actions in vec(reader(), 0..12),
    ) {
        let (got, paused, hangups) = (Rc::default(), Rc::new(Cell::new(false)), Rc::default());
        let mut event_loop = EventLoop::new().unwrap();
        event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
        let (near, far) = UnixStream::pair().unwrap();
        let mut far = Some(far);
        let fickle = Fickle {
            actions: actions.into_iter(),
            got: Rc::clone(&got),
            paused: Rc::clone(&paused),
            hangups: Rc::clone(&hangups),
        };
        let key = event_loop.register(near, Interest::READ, fickle).unwrap();
        let mut sent = 0;
        // Then the peer closes, and some turns later the registration must have ended. Their number
        // is not fixed: another test may fork, and until its child execs, the peer's descriptor is
        // open twice.
        let rest = std::iter::repeat_n(Peer::Nothing, 10_000);
        let mut over = 0;
        for action in peers.into_iter().chain([Peer::Close]).chain(rest) {
            over += u32::from(hangups.get() > 0);
            if over > 5 {
                break;
            }
            match (action, &mut far) {
                (Peer::Write(len), Some(far)) => sent += far.write(&vec![1; len]).unwrap_or(0),
                (Peer::ShutWrite, Some(far)) => far.shutdown(Shutdown::Write).unwrap(),
                (Peer::Close, _) => far = None,
                _ => {}
            }
            let limit = Duration::from_millis(u64::from(far.is_none()));
            event_loop.turn(Some(limit)).unwrap();
            spi::check_invariants(&event_loop);
            if paused.replace(false) {
                // Paused for a turn, in which no callback may run.
                let before = (got.get(), hangups.get());
                let turns = event_loop.stats().events;
                event_loop.turn_now().unwrap();
                event_loop.turn_now().unwrap();
                prop_assert!(event_loop.stats().events <= turns + 1, "a suspended registration has no events");
                if hangups.get() == 0 {
                    prop_assert_eq!((got.get(), hangups.get()), before);
                    event_loop.set_interest_of(key, Interest::READ).unwrap();
                }
            }
        }
        prop_assert_eq!(got.get(), sent, "every byte was read");
        prop_assert_eq!(hangups.get(), 1, "and then one hangup was reported");
        prop_assert_eq!(event_loop.registered(), 0);
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
            let source = Source::new(a).unwrap();
            let reading = source.io(Direction::Read, |mut s| s.read(&mut [0]));
            let limited = readily::wait_for(Duration::from_millis(1), reading).await;
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
        Source::new(near).unwrap()
    };
    event_loop.turn_now().unwrap();
    while (&*source).write(&[0; 64]).is_ok() {}
    let counts: Vec<_> = (0..4).map(|_| Arc::new(Count(AtomicU32::new(0)))).collect();
    let mut readers: Vec<_> = (0..2).map(|_| Box::pin(source.wait_readable())).collect();
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
        Source::new(near).unwrap()
    };
    let token = scripted.0.borrow().known.values().next().unwrap().0;
    for ready in [Readiness::READ, Readiness::WRITE] {
        let event = Event { token, ready };
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
