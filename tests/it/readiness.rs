//! Readiness: a hint that may be wrong, a state that lasts until it is used up, a transfer that may
//! be partial, and urgent data, which a plain reader does not get.

use crate::moody::{moody, moody_on};
use crate::support::{
    Count, Log, bytes, drain, full_listener, guard, tcp_pair, turn_times, turn_until,
};
use crate::support::{strict_loop, strict_run, turns_in};
use readily::io::{Async, Direction, TcpListener, TcpStream};
use readily::{Closures, Cx, Interest, Readiness, Runner, Trigger, yield_now};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// R022: a spurious event shows in a callback as `WouldBlock`, and the next true event is not missed.
#[test]
fn a_false_alarm_is_would_block_to_a_callback() {
    let _guard = guard!();
    for trigger in [Trigger::Level, Trigger::Edge] {
        let (mut event_loop, mood) = moody();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let log = Log::default();
        let note = log.clone();
        let read = Closures::new().on_read(move |cx| match cx.read(&mut [0; 8]) {
            Ok(n) => note.note(n),
            Err(error) => note.note(error.kind()),
        });
        event_loop
            .register_with(ours, Interest::READ, trigger, read)
            .unwrap();
        for _ in 0..2 {
            mood.lie.set(Some(Readiness::READ));
            turn_times(&mut event_loop, 2);
        }
        let would_block = ErrorKind::WouldBlock.to_string();
        assert_eq!(log.text(), format!("{would_block} {would_block}"));
        theirs.write_all(b"abc").unwrap();
        turn_until(&mut event_loop, || log.len() > 2);
        assert_eq!(log.count("3"), 1, "{trigger:?}");
    }
}

/// Polls `future` after spurious events; it must go on waiting.
async fn waits_through<F: Future>(mood: &crate::moody::Mood, lie: Readiness, future: F) -> bool {
    let mut future = pin!(future);
    for _ in 0..4 {
        let done = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
        if done {
            return false;
        }
        mood.lie.set(Some(lie));
        yield_now().await;
    }
    true
}

/// R022: no spurious event reaches a coroutine, whatever it waits for.
#[test]
fn a_false_alarm_leaves_a_coroutine_waiting() {
    let _guard = guard!();
    let (event_loop, mood) = moody();
    let mut runner = Runner::from(event_loop);
    runner
        .run(async {
            let (read, write) = (Readiness::READ, Readiness::WRITE);
            let (ours, mut theirs) = tcp_pair();
            let stream = TcpStream::from_std(ours).unwrap();
            let mut buffer = [0; 8];
            assert!(waits_through(&mood, read, stream.read(&mut buffer)).await);
            let (full, _peer) = UnixStream::pair().unwrap();
            let full = Async::new(full).unwrap();
            while (&*full).write(&[0; 4096]).is_ok() {}
            let writes = full.io(Direction::Write, |mut s| s.write(b"x"));
            assert!(waits_through(&mood, write, writes).await);
            let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
            assert!(waits_through(&mood, read, listener.accept()).await);
            // The true events after the spurious ones are reported.
            theirs.write_all(b"abc").unwrap();
            assert_eq!(stream.read(&mut buffer).await.unwrap(), 3);
            let _client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            listener.accept().await.unwrap();
        })
        .unwrap();
}

/// R022, R028: writable is not connected.
#[test]
fn a_false_alarm_makes_no_connection() {
    let _guard = guard!();
    let (mut event_loop, mood) = moody();
    let (_full, busy) = full_listener();
    let log = Log::default();
    let (connected, hung_up) = (log.clone(), log.clone());
    let callbacks = Closures::new()
        .on_connect(move |_| connected.note("connected"))
        .on_hangup(move |_, error| hung_up.note(format!("{error:?}")));
    event_loop.connect(busy, callbacks).unwrap();
    let task = event_loop.spawn(async move { TcpStream::connect(busy).await.map(drop) });
    for _ in 0..4 {
        turn_times(&mut event_loop, 1);
        mood.lie.set(Some(Readiness::WRITE));
        turn_times(&mut event_loop, 1);
    }
    assert_eq!(log.text(), "");
    assert!(!task.done());
}

/// R023: nine of ten bytes are left; there is no further event for them from an edge.
#[test]
fn what_a_short_read_leaves_is_still_there_for_the_next() {
    let _guard = guard!();
    let pollers: [fn() -> Box<dyn readily::poll::Poller>; 2] = [
        || readily::poll::default_poller::default().unwrap(),
        || Box::new(readily::poll::poll2::PollPoller::new().unwrap()),
    ];
    for poller in pollers {
        let mut runner = Runner::from(moody_on(poller()).0);
        runner
            .run(async {
                let (ours, mut theirs) = tcp_pair();
                let stream = TcpStream::from_std(ours).unwrap();
                for _ in 0..3 {
                    theirs.write_all(b"0123456789").unwrap();
                    let mut got = Vec::new();
                    while got.len() < 10 {
                        let mut one = [0];
                        assert_eq!(stream.read(&mut one).await.unwrap(), 1);
                        got.push(one[0]);
                        yield_now().await;
                    }
                    assert_eq!(got, b"0123456789");
                }
                // By hand, where each wait reports it until nothing is left.
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                let source = Async::new(ours).unwrap();
                theirs.write_all(b"01").unwrap();
                for _ in 0..2 {
                    source.readable().await.unwrap();
                    source.readable().await.unwrap();
                    let one = source.io(Direction::Read, |mut s| s.read(&mut [0]));
                    assert_eq!(one.await.unwrap(), 1);
                }
            })
            .unwrap();
    }
}

/// R023 for callbacks: a level is reported again, an edge can be rearmed.
#[test]
fn a_callback_that_takes_one_byte_runs_again_for_the_others() {
    let _guard = guard!();
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::OneShot] {
        let mut event_loop = strict_loop();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"0123456789").unwrap();
        let count = Count::default();
        let taken = count.clone();
        let read = Closures::new().on_read(move |cx| {
            assert_eq!(cx.read(&mut [0]).unwrap(), 1);
            taken.add();
            if trigger != Trigger::Level {
                cx.set_interest(Interest::READ).unwrap();
            }
        });
        event_loop
            .register_with(ours, Interest::READ, trigger, read)
            .unwrap();
        turn_until(&mut event_loop, || count.get() == 9);
        turn_times(&mut event_loop, 1);
        assert_eq!(count.get(), 10, "{trigger:?}");
    }
}

/// Two ends with the smallest buffers that there are, so that most writes are partial.
fn narrow() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let sock = socket2::SockRef::from(&ours);
    sock.set_send_buffer_size(1).unwrap();
    theirs.set_nonblocking(true).unwrap();
    (ours, theirs)
}

/// Takes at most `piece` bytes.
fn take(theirs: &mut UnixStream, piece: usize, into: &mut Vec<u8>) {
    let mut buffer = vec![0; piece];
    match theirs.read(&mut buffer) {
        Ok(n) => into.extend_from_slice(&buffer[..n]),
        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
    }
}

/// Writes what is left, and notes how often that was less than it wanted.
fn writer(data: Vec<u8>, partial: &Count) -> Closures {
    let (mut done, partial) = (0, partial.clone());
    Closures::new().on_write(move |cx: &Cx<'_>| match cx.write(&data[done..]) {
        Ok(n) => {
            done += n;
            if done == data.len() {
                return cx.close();
            }
            partial.add();
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
    })
}

/// R025: a peer that takes pieces of any size gets each byte once and in order.
#[test]
fn a_partial_write_goes_on_where_it_stopped() {
    let _guard = guard!();
    for piece in [1009, 4096, 50_000] {
        let data = bytes(40_000, piece as u64);
        let partial = Count::default();
        let mut event_loop = strict_loop();
        let (ours, mut theirs) = narrow();
        let writes = writer(data.clone(), &partial);
        event_loop.register(ours, Interest::WRITE, writes).unwrap();
        let mut got = Vec::new();
        while got.len() < data.len() {
            turn_times(&mut event_loop, 1);
            take(&mut theirs, piece, &mut got);
        }
        assert!(got == data, "by callbacks, in pieces of {piece}");
        assert!(partial.get() > 0, "it was one piece");
        let (ours, mut theirs) = tcp_pair();
        let sock = socket2::SockRef::from(&ours);
        sock.set_send_buffer_size(1).unwrap();
        let task = {
            let _here = event_loop.enter();
            let (stream, data) = (TcpStream::from_std(ours).unwrap(), data.clone());
            event_loop.spawn(async move { stream.write_all(&data).await.unwrap() })
        };
        let mut got = vec![0; data.len()];
        let reader = std::thread::spawn(move || {
            got.chunks_mut(piece)
                .for_each(|piece| theirs.read_exact(piece).unwrap());
            assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "nothing comes twice");
            got
        });
        turn_until(&mut event_loop, || task.done());
        assert!(
            reader.join().unwrap() == data,
            "by coroutines, in pieces of {piece}"
        );
    }
}

/// R025: cut at each byte, and sent on from there.
#[test]
fn a_stream_that_is_cut_at_any_byte_is_read_whole() {
    let _guard = guard!();
    let data = b"GET / HTTP/1.1\r\n\r\n";
    for cut in 0..=data.len() {
        let got: Rc<RefCell<Vec<u8>>> = Rc::default();
        let mut event_loop = strict_loop();
        let ((ours, mut theirs), (other, mut other_peer)) = (tcp_pair(), tcp_pair());
        let into = Rc::clone(&got);
        let read = Closures::new().on_read(move |cx| {
            drain(cx, &mut into.borrow_mut());
        });
        event_loop.register(ours, Interest::READ, read).unwrap();
        let task = {
            let _here = event_loop.enter();
            let stream = TcpStream::from_std(other).unwrap();
            event_loop.spawn(async move {
                let mut all = [0; 18];
                stream.read_exact(&mut all).await.map(|()| all)
            })
        };
        for (part, so_far) in [(&data[..cut], cut), (&data[cut..], data.len())] {
            theirs.write_all(part).unwrap();
            other_peer.write_all(part).unwrap();
            turn_until(&mut event_loop, || got.borrow().len() == so_far);
        }
        let mut task = task;
        turn_until(&mut event_loop, || task.done());
        assert_eq!(*got.borrow(), data, "cut at {cut}");
        assert_eq!(&task.result().unwrap().unwrap().unwrap(), data);
    }
}

/// R029: a read stops at the urgent byte, and there is no further edge for what is behind it.
#[test]
fn bytes_around_an_urgent_one_are_read_without_priority_interest() {
    let _guard = guard!();
    strict_run(read_around_an_urgent_byte()).unwrap();
}

/// R184: a kqueue reports no urgent byte, and a read stops before it all the same: less than there
/// was room for is not all that is there.
#[test]
#[cfg(target_os = "linux")]
fn bytes_behind_an_urgent_one_are_read_where_it_is_not_reported() {
    use readily_testing::{Personality, emulated};

    let _guard = guard!();
    for system in [
        Personality::Apple,
        Personality::FreeBsd,
        Personality::NetBsd,
    ] {
        let poller = emulated::poller(system).unwrap();
        let mut runner = Runner::builder().poller(poller).build().unwrap();
        runner.run(read_around_an_urgent_byte()).unwrap();
    }
}

async fn read_around_an_urgent_byte() {
    let (ours, mut theirs) = tcp_pair();
    let stream = TcpStream::from_std(ours).unwrap();
    theirs.write_all(b"ab").unwrap();
    let urgent = socket2::SockRef::from(&theirs);
    assert_eq!(urgent.send_out_of_band(b"!").unwrap(), 1);
    theirs.write_all(b"cd").unwrap();
    let (mut got, mut buffer) = (Vec::new(), [0; 64]);
    while got.len() < 4 {
        let n = stream.read(&mut buffer).await.unwrap();
        got.extend_from_slice(&buffer[..n]);
    }
    assert_eq!(got, b"abcd");
}

/// R029: reported to a registration that asked for it, and to no other; a byte that is not read costs no processor time.
#[test]
fn an_urgent_byte_is_reported_with_priority_interest_and_does_not_spin() {
    let _guard = guard!();
    for (interest, expected) in [
        (Interest::READ, "2"),
        (Interest::READ | Interest::PRIORITY, "2 urgent:1"),
    ] {
        let mut event_loop = strict_loop();
        let (ours, mut theirs) = tcp_pair();
        theirs.write_all(b"ab").unwrap();
        let sock = socket2::SockRef::from(&theirs);
        sock.send_out_of_band(b"!").unwrap();
        let log = Log::default();
        let (read, urgent) = (log.clone(), log.clone());
        let callbacks = Closures::new()
            .on_read(move |cx| {
                if let Ok(n) = cx.read(&mut [0; 8]) {
                    read.note(n);
                }
            })
            .on_default(move |cx, ready| {
                assert!(ready.contains(Readiness::PRIORITY));
                let mut byte = [std::mem::MaybeUninit::uninit()];
                let fd = cx.fd();
                let sock = socket2::SockRef::from(&fd);
                let n = sock.recv_out_of_band(&mut byte).unwrap();
                urgent.note(format!("urgent:{n}"));
            });
        event_loop.register(ours, interest, callbacks).unwrap();
        let count = expected.split(' ').count();
        turn_until(&mut event_loop, || log.len() >= count);
        let turns = turns_in(&mut event_loop, Duration::from_millis(30));
        assert!(turns <= 5, "{interest:?}: {turns} turns");
        assert_eq!(log.text(), expected);
    }
}
