//! Coroutines on TCP: a read, a write and their cancellation lose nothing; and what a peer can do to
//! a waiter.
//!
//! Where the other end is a blocking socket of the standard library, it does one small thing
//! that cannot block; where it takes part, it is a coroutine too, on the same loop.
//!
//! Invariants: S1, S2, S4.

use crate::support::{
    Log, bytes, connection, guard, listener, reset, strict_loop, strict_run, unused_addr,
};
use readily::io::{TcpListener, TcpStream};
use readily::spi;
use readily::{
    Closures, Error, Interest, LoopHandle, WeakHandle, gather, sleep, spawn, wait_for, yield_now,
};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net::{self, Shutdown};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// A connection with both ends on the loop, and little room to write into. (The room to read
/// into stays: where it is less than a segment of the loopback, TCP waits for its timers.)
async fn narrow() -> (TcpStream, TcpStream) {
    let (ours, theirs) = connection().await;
    let theirs = TcpStream::from_std(theirs).unwrap();
    for end in [&ours, &theirs] {
        socket2::SockRef::from(end).set_send_buffer_size(1).unwrap();
    }
    (ours, theirs)
}

/// Reads to the end in pieces of `room`.
async fn read_to_end(stream: &TcpStream, room: usize) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), vec![0; room]);
    loop {
        match stream.read(&mut piece).await.unwrap() {
            0 => return all,
            n => all.extend_from_slice(&piece[..n]),
        }
    }
}

#[test]
fn an_end_that_comes_too_early_is_an_error_and_the_bytes_read_stand_in_front() {
    let _guard = guard!();
    strict_run(async {
        let (ours, mut theirs) = connection().await;
        theirs.write_all(b"abc").unwrap();
        drop(theirs);
        let mut buffer = [0; 5];
        let error = ours.read_exact(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(&buffer, b"abc\0\0");
    })
    .unwrap();
}

/// R025: whatever the room between them, both ways at once.
#[test]
fn what_is_larger_than_every_buffer_arrives_whole_in_both_directions() {
    let _guard = guard!();
    for (len, room) in [(300_000, 1000), (300_000, 65_536), (2000, 1)] {
        let there = bytes(len, 1);
        let back = bytes(len, 2);
        let (sent, received) = strict_run(async {
            let (ours, theirs) = narrow().await;
            let send = async |stream: &TcpStream, data: &[u8]| {
                stream.write_all(data).await.unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            };
            let all = gather((
                send(&ours, &there),
                send(&theirs, &back),
                read_to_end(&theirs, room),
                read_to_end(&ours, room),
            ));
            let (_, _, sent, received) = all.await;
            (sent, received)
        })
        .unwrap();
        assert!(sent == there && received == back, "{len} by {room}");
    }
}

/// S1: a fact that stays. There is no further edge after the end.
#[test]
fn what_came_with_a_connection_is_read_and_answered_before_it_is_reported() {
    let _guard = guard!();
    strict_run(async {
        let (listener, addr) = listener();
        let listener = TcpListener::from_std(listener).unwrap();
        let mut theirs = net::TcpStream::connect(addr).unwrap();
        theirs.write_all(b"abc").unwrap();
        let (ours, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 8];
        let at_once = |polled| matches!(polled, Poll::Ready(Ok(3)));
        poll_fn(|cx| {
            assert!(at_once(ours.poll_read(cx, &mut buffer)));
            assert!(at_once(ours.poll_write(cx, b"def")));
            Poll::Ready(())
        })
        .await;
        let mut answer = [0; 3];
        theirs.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"def");
        // What comes later is reported.
        theirs.write_all(b"gh").unwrap();
        assert_eq!(ours.read(&mut buffer).await.unwrap(), 2);
    })
    .unwrap();
}

#[test]
fn an_accepted_connection_is_watched_for_room_once_it_has_none() {
    let _guard = guard!();
    strict_run(async {
        let (listener, addr) = listener();
        let listener = TcpListener::from_std(listener).unwrap();
        let theirs = TcpStream::from_std(net::TcpStream::connect(addr).unwrap()).unwrap();
        let (ours, _) = listener.accept().await.unwrap();
        for end in [&ours, &theirs] {
            socket2::SockRef::from(end).set_send_buffer_size(1).unwrap();
        }
        let ours = Rc::new(ours);
        let handle = WeakHandle::current().unwrap();
        let interest = || {
            let again = |handle: &LoopHandle| {
                let second = handle.register(Rc::clone(&ours), Interest::READ, Closures::new());
                match second.unwrap_err().error {
                    Error::AlreadyRegistered { key, .. } => handle.interest_of(key).unwrap(),
                    other => panic!("{other}"),
                }
            };
            handle.with(again).unwrap()
        };
        ours.write_all(b"x").await.unwrap();
        assert!(!interest().contains(Interest::WRITE), "there was room");
        let sent = vec![7; 1 << 20];
        let (done, read) = gather((
            async {
                ours.write_all(&sent).await.unwrap();
                ours.shutdown(Shutdown::Write)
            },
            read_to_end(&theirs, 4096),
        ))
        .await;
        done.unwrap();
        assert_eq!(read.len(), 1 + sent.len());
        assert_eq!(interest(), Interest::BOTH | Interest::PRIORITY);
    })
    .unwrap();
}

#[test]
fn after_the_end_each_read_gives_the_end_again() {
    let _guard = guard!();
    strict_run(async {
        let (ours, mut theirs) = connection().await;
        theirs.write_all(b"x").unwrap();
        drop(theirs);
        let mut buffer = [0; 64];
        assert_eq!(ours.read(&mut buffer).await.unwrap(), 1);
        for _ in 0..5 {
            assert_eq!(ours.read(&mut buffer).await.unwrap(), 0);
            yield_now().await;
        }
    })
    .unwrap();
}

/// R026.
#[test]
fn what_asks_for_nothing_gets_it_at_once_and_changes_nothing() {
    let _guard = guard!();
    strict_run(async {
        let (ours, mut theirs) = connection().await;
        assert_eq!(ours.read(&mut []).await.unwrap(), 0, "without data");
        assert_eq!(ours.write(&[]).await.unwrap(), 0);
        ours.write_all(&[]).await.unwrap();
        ours.read_exact(&mut []).await.unwrap();
        theirs.write_all(b"x").unwrap();
        let mut byte = [0];
        ours.read_exact(&mut byte).await.unwrap();
        assert_eq!((ours.read(&mut []).await.unwrap(), &byte), (0, b"x"));
        ours.shutdown(Shutdown::Write).unwrap();
        assert_eq!(theirs.read(&mut byte).unwrap(), 0, "nothing was sent");
        drop(theirs);
        ours.read_exact(&mut []).await.unwrap();
    })
    .unwrap();
}

/// S1, R023: a read that was filled has proved nothing about the rest.
#[test]
fn what_a_small_read_leaves_is_there_for_the_next() {
    let _guard = guard!();
    strict_run(async {
        let (ours, mut theirs) = connection().await;
        theirs.write_all(b"0123456789").unwrap();
        for expected in b'0'..=b'9' {
            let mut byte = [0];
            assert_eq!(ours.read(&mut byte).await.unwrap(), 1);
            assert_eq!(byte[0], expected);
        }
    })
    .unwrap();
}

/// S1: a short read clears what is known, and what arrives at that very moment is an edge of
/// its own. The other end is a thread, so that it arrives at every moment.
#[test]
fn a_byte_that_comes_while_a_short_read_is_noted_is_not_lost() {
    let _guard = guard!();
    const ROUNDS: usize = 3000;
    let (listener, addr) = listener();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        for n in 0..ROUNDS {
            stream.write_all(&[n as u8]).unwrap();
            if n % 3 == 0 {
                std::thread::yield_now();
            }
        }
    });
    let got = strict_run(async {
        let stream = TcpStream::connect(addr).await.unwrap();
        read_to_end(&stream, 64).await
    });
    peer.join().unwrap();
    let sent: Vec<u8> = (0..ROUNDS).map(|n| n as u8).collect();
    assert!(got.unwrap() == sent);
}

/// S1: a read stops at the urgent mark, with more behind it, and that is no short read.
#[test]
fn an_urgent_byte_does_not_hide_what_stands_behind_it() {
    let _guard = guard!();
    strict_run(async {
        let (ours, mut theirs) = connection().await;
        theirs.write_all(b"before").unwrap();
        let socket = socket2::SockRef::from(&theirs);
        socket.send_out_of_band(b"!").unwrap();
        theirs.write_all(b"behind").unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&ours, 64).await, b"beforebehind");
    })
    .unwrap();
}

/// S1: each direction has facts of its own. The one byte makes a short read, after which the reader
/// waits; the peer sends nothing more until it receives something.
#[test]
fn a_reader_that_waits_does_not_keep_the_writer_waiting() {
    let _guard = guard!();
    strict_run(async {
        let (ours, mut theirs) = connection().await;
        theirs.write_all(b"a").unwrap();
        let (read, ()) = gather((
            async {
                let mut two = [0; 2];
                ours.read_exact(&mut two).await.map(|()| two)
            },
            async {
                // Behind the reader: it has had its first byte, and waits for the second.
                for _ in 0..10 {
                    sleep(Duration::from_micros(10)).await;
                }
                ours.write_all(b"more").await.unwrap();
                let mut heard = [0; 4];
                theirs.read_exact(&mut heard).unwrap();
                theirs.write_all(b"b").unwrap();
            },
        ))
        .await;
        assert_eq!(&read.unwrap(), b"ab");
    })
    .unwrap();
}

/// The same the other way round: a writer that has filled the buffers does not keep the reader
/// of its own stream from what arrives.
#[test]
fn a_writer_that_waits_does_not_keep_the_reader_waiting() {
    let _guard = guard!();
    strict_run(async {
        let (ours, mut theirs) = connection().await;
        let writer = async { ours.write_all(&vec![0; 64 << 20]).await };
        let reader = async {
            theirs.write_all(b"x").unwrap();
            let mut byte = [0];
            ours.read_exact(&mut byte).await.unwrap();
            byte[0]
        };
        let (mut writer, mut reader) = (pin!(writer), pin!(reader));
        let got = poll_fn(|cx| {
            assert!(writer.as_mut().poll(cx).is_pending(), "64 MiB fit nowhere");
            reader.as_mut().poll(cx)
        });
        assert_eq!(got.await, b'x');
    })
    .unwrap();
}

#[test]
fn a_read_that_is_given_up_at_any_moment_loses_no_byte() {
    let _guard = guard!();
    let data = bytes(50_000, 3);
    let got = strict_run(async {
        let (ours, theirs) = narrow().await;
        let sent = data.clone();
        let writer = spawn(async move {
            for piece in sent.chunks(700) {
                theirs.write_all(piece).await.unwrap();
                sleep(Duration::from_micros(20)).await;
            }
        });
        let (mut got, mut buffer) = (Vec::new(), [0; 512]);
        let mut given_up = 0;
        loop {
            let limit = Duration::from_micros(u64::from(got.len() % 7 != 0) * 15);
            match wait_for(limit, ours.read(&mut buffer)).await {
                Ok(Ok(0)) => break,
                Ok(n) => got.extend_from_slice(&buffer[..n.unwrap()]),
                Err(_elapsed) => given_up += 1,
            }
        }
        writer.await.unwrap();
        assert!(given_up > 0, "or this shows nothing");
        got
    });
    assert!(got.unwrap() == data);
}

#[test]
fn an_accept_that_is_given_up_loses_no_connection() {
    let _guard = guard!();
    strict_run(async {
        let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut clients = Vec::new();
        let mut accepted = Vec::new();
        for _ in 0..50 {
            let _ = wait_for(Duration::ZERO, listener.accept()).await.map(|a| {
                accepted.push(a.unwrap().1);
            });
            clients.push(net::TcpStream::connect(addr).unwrap());
        }
        while accepted.len() < clients.len() {
            accepted.push(listener.accept().await.unwrap().1);
        }
        let of = |client: &net::TcpStream| client.local_addr().unwrap();
        assert_eq!(accepted, clients.iter().map(of).collect::<Vec<_>>());
    })
    .unwrap();
}

/// What the standard library made blocks; here it must not, or the whole loop does.
#[test]
fn a_stream_that_is_taken_over_no_longer_blocks() {
    let _guard = guard!();
    strict_run(async {
        let (listener, addr) = listener();
        let ours = TcpStream::from_std(net::TcpStream::connect(addr).unwrap()).unwrap();
        let (mut theirs, peer) = listener.accept().unwrap();
        assert_eq!(ours.local_addr().unwrap(), peer);
        assert_eq!(ours.peer_addr().unwrap(), addr);
        let speaks = async {
            yield_now().await;
            theirs.write_all(b"x").unwrap();
        };
        let mut byte = [0];
        let (read, ()) = gather((ours.read(&mut byte), speaks)).await;
        assert_eq!(read.unwrap(), 1);
    })
    .unwrap();
}

#[test]
fn without_a_loop_a_stream_is_refused_and_after_it_a_stream_says_that_it_is_gone() {
    let _guard = guard!();
    let (_listener, addr) = listener();
    let outside = TcpStream::from_std(net::TcpStream::connect(addr).unwrap());
    let error = outside.unwrap_err();
    assert!(error.to_string().contains("no loop"), "{error}");
    let unbound = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap_err();
    assert!(unbound.to_string().contains("no loop"), "{unbound}");

    let stream = strict_run(async move { TcpStream::connect(addr).await.unwrap() }).unwrap();
    // The stream has outlived its loop: on another loop each use fails, and none waits for ever.
    let errors = strict_run(async {
        let mut buffer = [0; 4];
        let read = stream.read(&mut buffer).await.unwrap_err();
        let write = stream.write(b"x").await.unwrap_err();
        [read.to_string(), write.to_string()]
    });
    for error in errors.unwrap() {
        assert!(error.contains("closed"), "{error}");
    }
}

#[test]
fn the_halves_of_a_stream_work_in_two_tasks_and_the_writing_one_ends_its_side() {
    let _guard = guard!();
    strict_run(async {
        let (ours, theirs) = narrow().await;
        let (mut read, mut write) = ours.into_split();
        let data = bytes(40_000, 4);
        let sent = data.clone();
        let writer = spawn(async move { write.write_all(&sent).await });
        let echo = spawn(async move {
            let all = read_to_end(&theirs, 999).await;
            theirs.write_all(&all).await.unwrap();
            all.len()
        });
        let mut back = vec![0; data.len()];
        read.read_exact(&mut back).await.unwrap();
        assert!(back == data);
        writer.await.unwrap().unwrap();
        assert_eq!(echo.await.unwrap(), data.len(), "it saw the end");
        assert_eq!(read.read(&mut back).await.unwrap(), 0);
    })
    .unwrap();
}

#[test]
fn halves_of_two_streams_come_back_and_those_of_one_are_a_whole_again() {
    let _guard = guard!();
    strict_run(async {
        let (one, mut far) = connection().await;
        let (two, _other) = connection().await;
        let ((read_one, write_one), (read_two, write_two)) = (one.into_split(), two.into_split());
        let wrong = read_one.reunite(write_two).unwrap_err();
        let readily::io::ReuniteError(read_one, write_two) = wrong;
        read_two.reunite(write_two).unwrap();
        let one = read_one.reunite(write_one).unwrap();
        // Nothing was shut down on the way.
        one.write_all(b"whole").await.unwrap();
        let mut got = [0; 5];
        far.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"whole");

        let mut one = one;
        let (mut read, mut write) = one.split();
        far.write_all(b"x").unwrap();
        let mut byte = [0];
        let (had, put) = gather((read.read(&mut byte), write.write(b"y"))).await;
        assert_eq!((had.unwrap(), put.unwrap()), (1, 1));
        write.shutdown().unwrap();
        assert_eq!(far.read(&mut got).unwrap(), 1);
        assert_eq!(
            far.read(&mut got).unwrap(),
            0,
            "the half has ended its side"
        );
    })
    .unwrap();
}

/// What is asked of the connection may be asked of each half.
#[test]
fn each_half_has_the_options_and_addresses_of_its_stream() {
    let _guard = guard!();
    strict_run(async {
        let (mut whole, far) = connection().await;
        let (here, there) = (whole.local_addr().unwrap(), whole.peer_addr().unwrap());
        assert_eq!(far.local_addr().unwrap(), there);
        let nodelay = |stream: &TcpStream| {
            let socket = socket2::SockRef::from(stream);
            socket.tcp_nodelay().unwrap()
        };
        {
            let (read, write) = whole.split();
            assert_eq!(write.peer_addr().unwrap(), there);
            assert_eq!(read.local_addr().unwrap(), here);
            read.set_nodelay(true).unwrap();
        }
        assert!(nodelay(&whole));
        let (read, write) = whole.into_split();
        assert_eq!(read.peer_addr().unwrap(), there);
        assert_eq!(write.local_addr().unwrap(), here);
        write.set_nodelay(false).unwrap();
        assert!(!nodelay(&read.reunite(write).unwrap()));
    })
    .unwrap();
}

#[test]
fn readers_of_one_stream_share_its_bytes_and_all_see_the_end() {
    let _guard = guard!();
    let log = Log::default();
    strict_run(async {
        let (ours, mut theirs) = connection().await;
        let (ours, bytes) = (Rc::new(ours), Rc::new(Cell::new(0)));
        let readers: Vec<_> = (0..5)
            .map(|n| {
                let (ours, bytes, log) = (Rc::clone(&ours), Rc::clone(&bytes), log.clone());
                spawn(async move {
                    let mut buffer = [0; 3];
                    loop {
                        match ours.read(&mut buffer).await.unwrap() {
                            0 => break,
                            n => bytes.set(bytes.get() + n),
                        }
                    }
                    log.note(n);
                })
            })
            .collect();
        yield_now().await;
        theirs.write_all(&[7; 1000]).unwrap();
        drop(theirs);
        for reader in readers {
            reader.await.unwrap();
        }
        assert_eq!(bytes.get(), 1000);
    })
    .unwrap();
    assert_eq!(log.len(), 5);
}

#[test]
fn a_connection_that_is_refused_is_an_error_of_connect() {
    let _guard = guard!();
    let error = strict_run(TcpStream::connect(unused_addr()))
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

/// Ten thousand bytes are unsent when the reset comes: the waiter gets an error, and the process
/// survives (no `SIGPIPE`).
#[test]
fn a_reset_is_an_error_for_both_directions_and_no_signal() {
    let _guard = guard!();
    strict_run(async {
        let (ours, theirs) = connection().await;
        let mut buffer = [0; 16];
        let resets = async {
            yield_now().await;
            reset(theirs);
        };
        let (read, ()) = gather((ours.read(&mut buffer), resets)).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let written = ours.write_all(&[0; 10_000]).await.unwrap_err();
        assert_eq!(written.kind(), ErrorKind::BrokenPipe);
    })
    .unwrap();
}

#[test]
fn a_side_that_was_shut_down_cannot_be_written_and_the_other_goes_on() {
    let _guard = guard!();
    strict_run(async {
        let (ours, mut theirs) = connection().await;
        ours.shutdown(Shutdown::Write).unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        let error = ours.write(b"x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let mut buffer = [0; 8];
        assert_eq!(theirs.read(&mut buffer).unwrap(), 0);
        theirs.write_all(b"still").unwrap();
        assert_eq!(ours.read(&mut buffer).await.unwrap(), 5);
    })
    .unwrap();
}

/// S2, S4: dropping a stream drops the registration with it, waiters or not, at every point of a
/// connection.
#[test]
fn a_stream_that_is_dropped_while_it_is_waited_on_leaves_nothing() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (listener, addr) = listener();
    let kept: Rc<RefCell<Vec<net::TcpStream>>> = Rc::default();
    for points in 0..8 {
        let theirs = Rc::clone(&kept);
        let listener = listener.try_clone().unwrap();
        let task = event_loop.spawn(async move {
            let ours = TcpStream::connect(addr).await.unwrap();
            let (mut far, _) = listener.accept().unwrap();
            far.write_all(b"x").unwrap();
            theirs.borrow_mut().push(far);
            ours.read(&mut [0; 9]).await.unwrap();
            yield_now().await;
            ours.read_exact(&mut [0; 9]).await.unwrap();
        });
        for _ in 0..points {
            event_loop.turn_now().unwrap();
            spi::check_invariants(&event_loop);
        }
        assert!(task.cancel(), "after {points} turns");
        event_loop.turn_now().unwrap();
        assert_eq!(event_loop.registered(), 0, "after {points} turns");
    }
    assert!(!kept.borrow().is_empty(), "some got as far as waiting");
}
