//! The hangup branch: after the last byte, exactly once, and never a busy loop (L7).

use crate::support::{
    Count, Log, drain, guard, reset, strict_loop, tcp_pair, turn_times, turn_until, turns_in,
};
use readily::{Closures, Interest, Key, Trigger};
use std::cell::RefCell;
use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

type Bytes = Rc<RefCell<Vec<u8>>>;

/// Reads at most `piece` bytes in each read callback, and logs the hangup.
fn reader(piece: usize, bytes: &Bytes, log: &Log) -> Closures {
    let (into, note, hangup, seen) = (Rc::clone(bytes), log.clone(), log.clone(), Rc::clone(bytes));
    Closures::new()
        .on_read(move |cx| {
            let mut buffer = vec![0; piece];
            match cx.read(&mut buffer) {
                Ok(0) => {
                    note.note("end");
                    cx.remove_interest(Interest::READ);
                }
                Ok(n) => into.borrow_mut().extend_from_slice(&buffer[..n]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        })
        .on_hangup(move |_, error| {
            let error = error.map(|e| e.kind());
            hangup.note(format!("hangup:{error:?}:{}", seen.borrow().len()));
        })
}

/// R017, for three kinds of readiness, with pieces that make the first read short or not.
#[test]
fn bytes_sent_before_a_hangup_are_read_before_its_one_report() {
    let _guard = guard!();
    for trigger in [Trigger::Level, Trigger::Edge] {
        for piece in [1, 7, 64, 4096] {
            let mut event_loop = strict_loop();
            let (ours, theirs) = UnixStream::pair().unwrap();
            (&theirs).write_all(&[7; 64]).unwrap();
            drop(theirs);
            let (bytes, log) = (Bytes::default(), Log::default());
            let reader = reader(piece, &bytes, &log);
            event_loop
                .register_with(ours, Interest::READ, trigger, reader)
                .unwrap();
            turn_until(&mut event_loop, || log.has("hangup:None:64"));
            turn_times(&mut event_loop, 3);
            assert_eq!(log.count("hangup:None:64"), 1, "{trigger:?} {piece}");
            assert_eq!(event_loop.registered(), 0);
        }
    }
}

#[test]
fn a_one_shot_reader_gets_all_bytes_if_it_asks_again_and_then_the_hangup() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, theirs) = UnixStream::pair().unwrap();
    (&theirs).write_all(&[7; 64]).unwrap();
    drop(theirs);
    let log = Log::default();
    let (note, hangup) = (log.clone(), log.clone());
    let callbacks = Closures::new()
        .on_read(move |cx| {
            let n = cx.read(&mut [0; 16]).unwrap();
            note.note(n);
            cx.set_interest(Interest::READ).unwrap();
        })
        .on_hangup(move |_, _| hangup.note("hangup"));
    event_loop
        .register_with(ours, Interest::READ, Trigger::OneShot, callbacks)
        .unwrap();
    turn_until(&mut event_loop, || log.has("hangup"));
    assert_eq!(log.text(), "16 16 16 16 hangup");
}

/// R017 with a pause: the hangup waits, without a busy loop, until reading goes on.
#[test]
fn a_paused_reader_hears_of_the_hangup_after_it_has_read_the_rest() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, theirs) = UnixStream::pair().unwrap();
    (&theirs).write_all(b"the rest").unwrap();
    drop(theirs);
    let (bytes, log) = (Bytes::default(), Log::default());
    let key = event_loop
        .register(ours, Interest::NONE, reader(3, &bytes, &log))
        .unwrap();
    let turns = turns_in(&mut event_loop, Duration::from_millis(50));
    assert!(turns < 10, "{turns} turns while it pauses");
    assert_eq!(log.len(), 0);
    event_loop.set_interest_of(key, Interest::READ).unwrap();
    turn_until(&mut event_loop, || log.has("hangup:None:8"));
    assert_eq!(*bytes.borrow(), b"the rest");
    assert_eq!(log.text(), "hangup:None:8");
}

#[test]
fn a_reader_that_pauses_again_and_again_loses_no_byte() {
    let _guard = guard!();
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::OneShot] {
        let mut event_loop = strict_loop();
        let (ours, theirs) = UnixStream::pair().unwrap();
        (&theirs).write_all(&[7; 50]).unwrap();
        drop(theirs);
        let (bytes, log) = (Bytes::default(), Log::default());
        let (into, hangup) = (Rc::clone(&bytes), log.clone());
        let callbacks = Closures::new()
            .on_read(move |cx| {
                let mut buffer = [0; 10];
                let n = cx.read(&mut buffer).unwrap();
                into.borrow_mut().extend_from_slice(&buffer[..n]);
                cx.remove_interest(Interest::READ);
                let key = cx.key();
                cx.call_later(Duration::from_millis(1), move |handle| {
                    let _ = handle.set_interest_of(key, Interest::READ);
                });
            })
            .on_hangup(move |_, _| hangup.note("hangup"));
        event_loop
            .register_with(ours, Interest::READ, trigger, callbacks)
            .unwrap();
        turn_until(&mut event_loop, || log.has("hangup"));
        assert_eq!(bytes.borrow().len(), 50, "{trigger:?}");
    }
}

/// A suspended registration that gains interest in writing gets a write event: the write gives the
/// error.
#[test]
fn a_paused_reader_whose_peer_has_gone_can_still_ask_to_write() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, theirs) = UnixStream::pair().unwrap();
    (&theirs).write_all(b"unread").unwrap();
    drop(theirs);
    let log = Log::default();
    let (write, hangup) = (log.clone(), log.clone());
    let callbacks = Closures::new()
        .on_write(move |cx| {
            let error = cx.write(b"x").unwrap_err();
            write.note(format!("{:?}", error.kind()));
        })
        .on_hangup(move |_, _| hangup.note("hangup"));
    let key = event_loop
        .register(ours, Interest::NONE, callbacks)
        .unwrap();
    turn_times(&mut event_loop, 3);
    event_loop.set_interest_of(key, Interest::WRITE).unwrap();
    turn_until(&mut event_loop, || log.len() > 0);
    assert_eq!(log.text(), "BrokenPipe");
    let turns = turns_in(&mut event_loop, Duration::from_millis(50));
    assert!(turns < 10, "{turns} turns with the hangup put off");
}

/// R019.
#[test]
fn a_half_close_is_the_end_of_reading_and_writing_goes_on_without_spinning() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, mut theirs) = tcp_pair();
    theirs.write_all(b"question").unwrap();
    theirs.shutdown(Shutdown::Write).unwrap();
    let log = Log::default();
    let (read, write, hangup) = (log.clone(), log.clone(), log.clone());
    let mut left = 8 << 20;
    let callbacks = Closures::new()
        .on_read(move |cx| {
            if drain(cx, &mut Vec::new()) {
                read.note("end");
                cx.set_interest(Interest::WRITE).unwrap();
            }
        })
        .on_write(move |cx| match cx.write(&vec![7; left.min(1 << 16)]) {
            Ok(n) => {
                left -= n;
                if left == 0 {
                    write.note("written");
                    cx.shutdown(Shutdown::Write).unwrap();
                    cx.set_interest(Interest::NONE).unwrap();
                }
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        })
        .on_hangup(move |_, error| hangup.note(format!("hangup:{error:?}")));
    event_loop
        .register(ours, Interest::READ, callbacks)
        .unwrap();
    turn_until(&mut event_loop, || log.has("end"));
    // The buffers fill up, and are not read: no event, no turn.
    // On a busy machine they may be filled later.
    let mut full = 0;
    loop {
        let turns = turns_in(&mut event_loop, Duration::from_millis(100));
        if turns < 10 {
            break;
        }
        full += turns;
        assert!(full < 2000, "{full} turns to fill the buffers");
    }
    let peer = std::thread::spawn(move || {
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).unwrap();
        all.len()
    });
    turn_until(&mut event_loop, || log.has("hangup:None"));
    assert_eq!(peer.join().unwrap(), 8 << 20);
    assert_eq!(log.text(), "end written hangup:None");
}

#[test]
fn a_reset_is_reported_once_with_its_reason() {
    let _guard = guard!();
    for interest in [Interest::NONE, Interest::WRITE, Interest::PRIORITY] {
        let mut event_loop = strict_loop();
        let (ours, theirs) = tcp_pair();
        let log = Log::default();
        let hangup = log.clone();
        let callbacks = Closures::new()
            .on_write(|cx| cx.remove_interest(Interest::WRITE))
            .on_hangup(move |_, error| {
                hangup.note(format!("{:?}", error.map(|e| e.kind())));
            });
        event_loop.register(ours, interest, callbacks).unwrap();
        turn_times(&mut event_loop, 2);
        reset(theirs);
        turn_until(&mut event_loop, || log.len() > 0);
        turn_times(&mut event_loop, 3);
        assert_eq!(log.text(), "Some(ConnectionReset)", "{interest:?}");
    }
}

#[test]
fn bytes_that_came_before_a_reset_are_offered_to_the_reader() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, mut theirs) = tcp_pair();
    theirs.write_all(b"before").unwrap();
    reset(theirs);
    let (bytes, log) = (Bytes::default(), Log::default());
    let reader = reader(2, &bytes, &log);
    event_loop.register(ours, Interest::READ, reader).unwrap();
    turn_until(&mut event_loop, || event_loop_is_done(&log));
    assert_eq!(*bytes.borrow(), b"before");
    assert_eq!(log.text(), "hangup:Some(ConnectionReset):6");
}

fn event_loop_is_done(log: &Log) -> bool {
    log.text().contains("hangup")
}

/// R018: an empty pipe without a writer reports only a hangup.
#[test]
fn the_end_of_an_empty_pipe_is_read_and_then_reported() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (reading, writing): (PipeReader, PipeWriter) = pipe().unwrap();
    let (bytes, log) = (Bytes::default(), Log::default());
    event_loop
        .register(
            OwnedFd::from(reading),
            Interest::READ,
            reader(64, &bytes, &log),
        )
        .unwrap();
    turn_times(&mut event_loop, 2);
    drop(writing);
    turn_until(&mut event_loop, || log.has("hangup:None:0"));
    assert_eq!(log.text(), "end hangup:None:0");
}

#[test]
fn a_pipe_delivers_its_bytes_before_its_end() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (reading, mut writing) = pipe().unwrap();
    writing.write_all(&[7; 10_000]).unwrap();
    drop(writing);
    let (bytes, log) = (Bytes::default(), Log::default());
    event_loop
        .register(
            OwnedFd::from(reading),
            Interest::READ,
            reader(333, &bytes, &log),
        )
        .unwrap();
    turn_until(&mut event_loop, || event_loop_is_done(&log));
    assert_eq!(log.text(), "hangup:None:10000");
}

/// R020: the reader of a pipe goes; the writer has bytes in it that will not be read.
#[test]
fn a_pipe_without_a_reader_is_reported_to_its_writer_once_whatever_it_asks_for() {
    let _guard = guard!();
    for interest in [Interest::NONE, Interest::WRITE] {
        let mut event_loop = strict_loop();
        let (reading, mut writing) = pipe().unwrap();
        writing.write_all(b"never read").unwrap();
        let log = Log::default();
        let hangup = log.clone();
        let callbacks = Closures::new()
            .on_write(|cx| cx.remove_interest(Interest::WRITE))
            .on_hangup(move |_, _| hangup.note("hangup"));
        event_loop
            .register(OwnedFd::from(writing), interest, callbacks)
            .unwrap();
        turn_times(&mut event_loop, 2);
        drop(reading);
        turn_until(&mut event_loop, || log.len() > 0);
        let turns = turns_in(&mut event_loop, Duration::from_millis(30));
        assert!(turns < 10, "{turns} turns");
        assert_eq!((log.text(), event_loop.registered()), ("hangup".into(), 0));
    }
}

/// R020: datagrams are never hung up, so an error that is not asked for must not repeat.
#[test]
fn an_error_of_a_paused_datagram_socket_does_not_make_the_loop_spin() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = gone.local_addr().unwrap();
    drop(gone);
    let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
    ours.connect(addr).unwrap();
    ours.send(b"anybody?").unwrap(); // the answer of the system is an error
    let log = Log::default();
    let read = log.clone();
    let callbacks = Closures::new().on_read(move |cx| {
        read.note(format!("{:?}", cx.read(&mut [0; 8]).map_err(|e| e.kind())));
        cx.remove_interest(Interest::READ);
    });
    let key = event_loop
        .register(ours, Interest::NONE, callbacks)
        .unwrap();
    let turns = turns_in(&mut event_loop, Duration::from_millis(50));
    assert!(turns < 10, "{turns} turns");
    assert_eq!((log.len(), event_loop.registered()), (0, 1));
    event_loop.set_interest_of(key, Interest::READ).unwrap();
    turn_until(&mut event_loop, || log.len() > 0);
    assert_eq!(
        log.text(),
        "Err(ConnectionRefused)",
        "the error is for the next receive"
    );
}

#[test]
fn an_error_of_a_datagram_socket_does_not_end_it() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let ours = Rc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = gone.local_addr().unwrap();
    ours.connect(addr).unwrap();
    drop(gone);
    ours.send(b"anybody?").unwrap();
    let log = Log::default();
    let (read, hangup) = (log.clone(), log.clone());
    let callbacks = Closures::new()
        .on_read(move |cx| {
            let got = cx.read(&mut [0; 8]).map_err(|e| e.kind());
            read.note(format!("{got:?}"));
        })
        .on_hangup(move |_, _| hangup.note("HANGUP"));
    event_loop
        .register(Rc::clone(&ours), Interest::READ, callbacks)
        .unwrap();
    turn_until(&mut event_loop, || log.len() > 0);
    let back = UdpSocket::bind(addr).unwrap();
    back.send_to(b"here", ours.local_addr().unwrap()).unwrap();
    turn_until(&mut event_loop, || log.len() > 1);
    assert_eq!(log.text(), "Err(ConnectionRefused) Ok(4)");
}

/// What stands behind an urgent byte is not counted by the system, but it is there.
#[test]
fn bytes_behind_an_urgent_one_are_read_before_the_hangup() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, mut theirs) = tcp_pair();
    theirs.write_all(b"before").unwrap();
    socket2::SockRef::from(&theirs)
        .send_out_of_band(b"!")
        .unwrap();
    theirs.write_all(b"behind").unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    drop(theirs);
    let (bytes, log) = (Bytes::default(), Log::default());
    let reader = reader(64, &bytes, &log);
    event_loop.register(ours, Interest::READ, reader).unwrap();
    turn_until(&mut event_loop, || event_loop_is_done(&log));
    assert_eq!(String::from_utf8_lossy(&bytes.borrow()), "beforebehind");
}

/// R021 seen from the other side: the read branch of one closes another that is hung up too.
#[test]
fn a_hangup_of_what_was_removed_in_the_same_batch_is_not_reported() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let keys = Rc::new(RefCell::new(Vec::<Key>::new()));
    let hangups = Count::default();
    for _ in 0..2 {
        let (ours, theirs) = tcp_pair();
        let (all, count) = (Rc::clone(&keys), hangups.clone());
        let callbacks = Closures::new().on_hangup(move |cx, _| {
            count.add();
            for key in all.borrow().iter() {
                let _ = cx.remove(*key);
            }
        });
        let key = event_loop
            .register(ours, Interest::NONE, callbacks)
            .unwrap();
        keys.borrow_mut().push(key);
        reset(theirs);
    }
    turn_until(&mut event_loop, || hangups.get() > 0);
    turn_times(&mut event_loop, 3);
    assert_eq!((hangups.get(), event_loop.registered()), (1, 0));
}

#[test]
fn a_reader_that_goes_on_asking_but_takes_nothing_is_not_waited_for() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, theirs) = UnixStream::pair().unwrap();
    (&theirs).write_all(b"unwanted").unwrap();
    drop(theirs);
    let log = Log::default();
    let (read, hangup) = (log.clone(), log.clone());
    let callbacks = Closures::new()
        .on_read(move |_| read.note("read"))
        .on_hangup(move |_, _| hangup.note("hangup"));
    event_loop
        .register(ours, Interest::READ, callbacks)
        .unwrap();
    turn_until(&mut event_loop, || log.has("hangup"));
    // A kqueue reports the end of reading one wait before the end of both.
    let reads = log.count("read");
    assert!(matches!(reads, 2 | 3), "{reads} reads");
    assert_eq!(log.count("hangup"), 1);
}

#[test]
fn the_descriptor_is_closed_when_the_hangup_branch_returns() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.shutdown(Shutdown::Both).unwrap();
    let log = Log::default();
    let hangup = log.clone();
    let callbacks = Closures::new().on_hangup(move |cx, _| {
        hangup.note(cx.remove(cx.key()).is_err());
    });
    event_loop
        .register(ours, Interest::READ, callbacks)
        .unwrap();
    turn_until(&mut event_loop, || log.len() > 0);
    assert_eq!(log.text(), "true");
    assert_eq!(
        (&theirs).write(b"x").unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
    let _: Option<TcpStream> = None;
}
