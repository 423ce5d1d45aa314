//! The five branches of the notes on real sockets, and removal in the middle of a batch (N7).
//!
//! Invariants: L1, L2.

use crate::support::{
    Count, Dropped, Log, drain, guard, listener, strict_loop, tcp_pair, turn_times, turn_until,
    turns_in, unused_addr,
};
use readily::{Callbacks, Closures, Cx, Interest, Key, Readiness, Trigger};
use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

/// Takes every branch, and notes it.
struct Branches(Log);

impl Callbacks for Branches {
    fn interest(&self) -> Interest {
        Interest::BOTH
    }

    fn on_connect(&mut self, cx: &Cx<'_>) {
        self.0.note("connect");
        assert_eq!(cx.interest(), Interest::BOTH, "N7: read and write interest");
    }

    fn on_read(&mut self, cx: &Cx<'_>) {
        let mut bytes = Vec::new();
        let ended = drain(cx, &mut bytes);
        self.0
            .note(format!("read:{}", String::from_utf8_lossy(&bytes)));
        if ended {
            self.0.note("end");
            cx.remove_interest(Interest::READ);
            let _ = cx.shutdown(Shutdown::Write);
        }
    }

    fn on_write(&mut self, cx: &Cx<'_>) {
        self.0.note("write");
        assert_eq!(cx.write(b"hello").unwrap(), 5);
        cx.set_interest(Interest::READ | Interest::PRIORITY)
            .unwrap();
    }

    fn on_hangup(&mut self, _cx: &Cx<'_>, error: Option<io::Error>) {
        self.0.note(format!("hangup:{:?}", error.map(|e| e.kind())));
    }

    fn on_default(&mut self, cx: &Cx<'_>, ready: Readiness) {
        assert!(ready.contains(Readiness::PRIORITY));
        self.0.note("default");
        cx.remove_interest(Interest::PRIORITY);
    }
}

#[test]
fn an_outgoing_connection_takes_all_five_branches_in_the_order_of_the_notes() {
    let _guard = guard!();
    let (listener, addr) = listener();
    let mut event_loop = strict_loop();
    let log = Log::default();
    event_loop.connect(addr, Branches(log.clone())).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    let mut greeting = [0; 5];
    turn_until(&mut event_loop, || log.has("write"));
    peer.read_exact(&mut greeting).unwrap();
    peer.write_all(b"one").unwrap();
    turn_until(&mut event_loop, || log.has("read:one"));
    socket2::SockRef::from(&peer)
        .send_out_of_band(b"!")
        .unwrap();
    turn_until(&mut event_loop, || log.has("default"));
    peer.shutdown(Shutdown::Write).unwrap();
    turn_until(&mut event_loop, || log.has("hangup:None"));
    let text = log.text().replace("read: ", "");
    assert_eq!(text, "connect write read:one default end hangup:None");
    assert_eq!(event_loop.registered(), 0);
}

#[test]
fn a_listener_accepts_and_registers_for_what_the_callbacks_ask_for() {
    let _guard = guard!();
    let (listener, addr) = listener();
    let mut event_loop = strict_loop();
    let log = Log::default();
    let accepted = log.clone();
    event_loop
        .listen(listener, move |_cx, connection| {
            accepted.note(connection.peer.unwrap());
            Some(Branches(accepted.clone()))
        })
        .unwrap();
    let mut client = TcpStream::connect(addr).unwrap();
    turn_until(&mut event_loop, || log.has("write"));
    assert!(log.has(&client.local_addr().unwrap().to_string()));
    let mut greeting = [0; 5];
    client.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"hello");
    assert_eq!(event_loop.registered(), 2);
}

/// R028.
#[test]
fn a_refused_connection_is_reported_once_with_its_reason() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let log = Log::default();
    // On the loopback a refusal may come at once, or later, as an event.
    match event_loop.connect(unused_addr(), Branches(log.clone())) {
        Ok(_) => turn_until(&mut event_loop, || log.len() > 0),
        Err(refused) => assert!(refused.descriptor.is_none()),
    }
    turn_times(&mut event_loop, 5);
    assert_eq!(log.text(), "hangup:Some(ConnectionRefused)");
    assert_eq!(event_loop.registered(), 0);
}

#[test]
fn accepting_nothing_closes_the_newcomer() {
    let _guard = guard!();
    let (listener, addr) = listener();
    let mut event_loop = strict_loop();
    let seen = Count::default();
    let count = seen.clone();
    event_loop
        .listen(listener, move |_cx, _| {
            count.add();
            None::<Closures>
        })
        .unwrap();
    let mut client = TcpStream::connect(addr).unwrap();
    turn_until(&mut event_loop, || seen.get() == 1);
    assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
}

/// R002, L2: whichever of them comes first.
#[test]
fn what_a_callback_removes_is_not_called_later_in_the_same_batch() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (called, keys) = (Count::default(), Rc::new(RefCell::new(Vec::<Key>::new())));
    let mut peers = Vec::new();
    for _ in 0..50 {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (count, all) = (called.clone(), Rc::clone(&keys));
        let read = Closures::new().on_read(move |cx| {
            count.add();
            for key in all.borrow().iter().filter(|&&key| key != cx.key()) {
                cx.remove(*key).unwrap();
            }
            assert_eq!(cx.read(&mut [0; 8]).unwrap(), 1);
        });
        let key = event_loop.register(ours, Interest::READ, read).unwrap();
        keys.borrow_mut().push(key);
        (&theirs).write_all(b"x").unwrap();
        peers.push(theirs);
    }
    turn_times(&mut event_loop, 3);
    assert_eq!((called.get(), event_loop.registered()), (1, 1));
    assert_eq!(event_loop.stats().stale, 49);
}

/// R001, L1: the number comes back within the batch, and the old report is for no registration.
#[test]
fn a_stale_event_never_reaches_the_next_owner_of_the_number() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let log = Log::default();
    let victims = Rc::new(RefCell::new(Vec::<(Key, i32)>::new()));
    let mut kept = Vec::new();
    for _ in 0..2 {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (number, log, all) = (ours.as_raw_fd(), log.clone(), Rc::clone(&victims));
        let read = Closures::new().on_read(move |cx| {
            let me = cx.key();
            let (key, victim) = *all.borrow().iter().find(|(key, _)| *key != me).unwrap();
            cx.remove(key).unwrap();
            cx.remove_interest(Interest::READ);
            log.note("first");
            // Until the victim's number comes back. Other tests open descriptors too.
            for _ in 0..2000 {
                let (new, peer) = UnixStream::pair().unwrap();
                let hit = new.as_raw_fd() == victim;
                let log = log.clone();
                let stray = Closures::new().on_read(move |_| log.note("STRAY"));
                cx.register(new, Interest::READ, stray).unwrap();
                std::mem::forget(peer); // open, and silent
                if hit {
                    break;
                }
            }
        });
        let key = event_loop.register(ours, Interest::READ, read).unwrap();
        victims.borrow_mut().push((key, number));
        (&theirs).write_all(b"x").unwrap();
        kept.push(theirs);
    }
    turn_times(&mut event_loop, 3);
    assert_eq!(log.text(), "first");
    assert_eq!(event_loop.stats().stale, 1);
}

/// R003, R040.
#[test]
fn a_callback_that_removes_itself_finishes_is_dropped_once_and_hears_nothing_more() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let log = Log::default();
    let (note, dropped) = (log.clone(), Dropped(log.clone(), "dropped"));
    let read = Closures::new().on_read(move |cx| {
        let _mine = &dropped;
        cx.close();
        cx.close();
        assert!(cx.remove(cx.key()).is_err(), "it is gone already");
        assert_eq!(cx.interest(), Interest::NONE);
        // Its descriptor is open until it returns.
        assert_eq!(cx.read(&mut [0; 8]).unwrap(), 1);
        note.note("read");
    });
    event_loop.register(ours, Interest::BOTH, read).unwrap();
    theirs.write_all(b"x").unwrap();
    turn_times(&mut event_loop, 3);
    assert_eq!(log.text(), "read dropped");
    assert_eq!(theirs.read(&mut [0; 1]).unwrap(), 0, "it is closed");
}

/// R021, L2: one report, several bits.
#[test]
fn a_registration_removed_by_its_read_branch_is_not_written_or_hung_up() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, theirs) = UnixStream::pair().unwrap();
    (&theirs).write_all(b"last").unwrap();
    drop(theirs); // readable, writable and hung up, all in one report
    let log = Log::default();
    let (read, write, hangup) = (log.clone(), log.clone(), log.clone());
    let callbacks = Closures::new()
        .on_read(move |cx| {
            read.note("read");
            cx.close();
        })
        .on_write(move |_| write.note("WRITE"))
        .on_hangup(move |_, _| hangup.note("HANGUP"));
    event_loop
        .register(ours, Interest::BOTH, callbacks)
        .unwrap();
    turn_times(&mut event_loop, 3);
    assert_eq!(log.text(), "read");
}

/// The same, with the interest instead of the registration.
#[test]
fn an_interest_taken_back_by_the_read_branch_is_not_served_by_the_write_branch() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, mut theirs) = tcp_pair();
    theirs.write_all(b"x").unwrap();
    let log = Log::default();
    let (read, write) = (log.clone(), log.clone());
    let callbacks = Closures::new()
        .on_read(move |cx| {
            read.note("read");
            drain(cx, &mut Vec::new());
            cx.set_interest(Interest::READ).unwrap();
        })
        .on_write(move |cx| {
            write.note("write");
            let read_comes_first = write.has("read");
            assert!(!read_comes_first);
            let _ = cx;
        });
    let key = event_loop
        .register(ours, Interest::NONE, callbacks)
        .unwrap();
    turn_times(&mut event_loop, 3);
    assert_eq!(log.len(), 0);
    event_loop.set_interest_of(key, Interest::BOTH).unwrap();
    turn_until(&mut event_loop, || log.len() > 0);
    turn_times(&mut event_loop, 3);
    assert_eq!(log.text(), "read");
}

/// R004: the description lives on in a duplicate.
#[test]
fn a_removed_registration_is_silent_even_if_a_duplicate_lives_on() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let duplicate = ours.try_clone().unwrap();
    let log = Log::default();
    let note = log.clone();
    let read = Closures::new().on_read(move |_| note.note("read"));
    let key = event_loop.register(ours, Interest::READ, read).unwrap();
    event_loop.remove(key).unwrap();
    theirs.write_all(b"x").unwrap();
    turn_times(&mut event_loop, 5);
    assert_eq!((log.len(), event_loop.stats().events), (0, 0));
    drop(duplicate);
}

/// R015.
#[test]
fn a_callback_may_register_thousands_while_it_runs() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let count = Count::default();
    let hits = count.clone();
    let read = Closures::new().on_read(move |cx| {
        for _ in 0..300 {
            let (one, other) = UnixStream::pair().unwrap();
            (&other).write_all(b"x").unwrap();
            let hits = hits.clone();
            let keep = Cell::new(Some(other));
            let read = Closures::new().on_read(move |cx| {
                hits.add();
                keep.take();
                cx.close();
            });
            cx.register(one, Interest::READ, read).unwrap();
        }
        cx.close();
    });
    event_loop.register(ours, Interest::READ, read).unwrap();
    theirs.write_all(b"x").unwrap();
    turn_until(&mut event_loop, || count.get() == 300);
    assert_eq!(event_loop.registered(), 0);
}

/// R027: more ready sources than a batch holds.
#[test]
fn a_thousand_ready_sources_are_all_served_in_a_few_turns() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let served = Rc::new(RefCell::new(vec![0_u32; 400]));
    let mut kept = Vec::new();
    for n in 0..400 {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (&theirs).write_all(b"x").unwrap();
        kept.push(theirs);
        let served = Rc::clone(&served);
        // Never read: each stays ready.
        let read = Closures::new().on_read(move |_| served.borrow_mut()[n] += 1);
        event_loop.register(ours, Interest::READ, read).unwrap();
    }
    turn_times(&mut event_loop, 16);
    let served = served.borrow();
    assert!(served.iter().all(|&n| n > 0), "{served:?}");
}

/// R049.
#[test]
fn a_callback_of_one_stream_writes_to_another() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (a, mut a_peer) = UnixStream::pair().unwrap();
    let (b, mut b_peer) = UnixStream::pair().unwrap();
    let log = Log::default();
    let b = Rc::new(b);
    let (to, note) = (Rc::clone(&b), log.clone());
    let b_key = Rc::new(Cell::new(None));
    let key = Rc::clone(&b_key);
    let copy = Closures::new().on_read(move |cx| {
        let mut bytes = Vec::new();
        drain(cx, &mut bytes);
        (&*to).write_all(&bytes).unwrap();
        cx.set_interest_of(key.get().unwrap(), Interest::BOTH)
            .unwrap();
        note.note("a");
    });
    let note = log.clone();
    let write = Closures::new().on_write(move |cx| {
        cx.remove_interest(Interest::WRITE);
        note.note("b");
    });
    b_key.set(Some(event_loop.register(b, Interest::NONE, write).unwrap()));
    event_loop.register(a, Interest::READ, copy).unwrap();
    a_peer.write_all(b"across").unwrap();
    turn_until(&mut event_loop, || log.has("b"));
    let mut bytes = [0; 6];
    b_peer.read_exact(&mut bytes).unwrap();
    assert_eq!((&bytes, &*log.text()), (b"across", "a b"));
}

/// R048.
#[test]
fn a_loop_that_is_kept_by_its_own_callbacks_is_freed_all_the_same() {
    let _guard = guard!();
    let event_loop = strict_loop();
    let log = Log::default();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let (handle, dropped) = (event_loop.weak_handle(), Dropped(log.clone(), "read"));
    let read = Closures::new().on_read(move |_| {
        let _both = (&handle, &dropped);
    });
    event_loop.register(ours, Interest::READ, read).unwrap();
    let (handle, dropped) = (event_loop.weak_handle(), Dropped(log.clone(), "timer"));
    event_loop.call_later(Duration::from_secs(9), move |_| drop((handle, dropped)));
    let (handle, dropped) = (event_loop.weak_handle(), Dropped(log.clone(), "soon"));
    event_loop.call_soon(move |_| drop((handle, dropped)));
    let (handle, dropped) = (event_loop.weak_handle(), Dropped(log.clone(), "task"));
    drop(event_loop.spawn(async move {
        let _both = (&handle, &dropped);
        std::future::pending::<()>().await;
    }));
    let report = event_loop.close();
    let counts = (report.registrations, report.timers, report.closures);
    assert_eq!(
        (counts, &*report.tasks),
        ((1, 1, 1), &["Task-1".to_owned()][..])
    );
    assert_eq!(log.text(), "task read timer soon");
}

#[test]
fn an_edge_is_reported_once_and_a_one_shot_is_silent_until_it_is_rearmed() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    for (trigger, again) in [(Trigger::Edge, 1), (Trigger::OneShot, 1)] {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let count = Count::default();
        let hits = count.clone();
        // Nothing is read: a level would go on.
        let read = Closures::new().on_read(move |_| {
            hits.add();
        });
        let key = event_loop
            .register_with(ours, Interest::READ, trigger, read)
            .unwrap();
        theirs.write_all(b"x").unwrap();
        turn_times(&mut event_loop, 5);
        assert_eq!(count.get(), 1, "{trigger:?}");
        event_loop.set_interest_of(key, Interest::READ).unwrap();
        turn_times(&mut event_loop, 5);
        assert_eq!(count.get(), 1 + again, "{trigger:?}: asked anew");
        theirs.write_all(b"x").unwrap();
        turn_times(&mut event_loop, 5);
        let news = if trigger == Trigger::Edge { 3 } else { 2 };
        assert_eq!(count.get(), news, "{trigger:?}: more bytes");
        event_loop.remove(key).unwrap();
    }
}

/// R024.
#[test]
fn interest_follows_the_last_word_in_whatever_order_it_changes() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, mut theirs) = tcp_pair();
    let log = Log::default();
    let (r, w) = (log.clone(), log.clone());
    let callbacks = Closures::new()
        .on_read(move |cx| {
            drain(cx, &mut Vec::new());
            r.note("r");
        })
        .on_write(move |_| w.note("w"));
    let key = event_loop
        .register(ours, Interest::NONE, callbacks)
        .unwrap();
    for (interest, send, expected) in [
        (Interest::READ, true, "r"),
        (Interest::WRITE, true, "w"),
        (Interest::NONE, true, ""),
        (Interest::BOTH, false, "r w"),
        (Interest::READ, false, ""),
    ] {
        event_loop.set_interest_of(key, interest).unwrap();
        assert_eq!(event_loop.interest_of(key).unwrap(), interest);
        if send {
            theirs.write_all(b"x").unwrap();
        }
        let before = log.len();
        if !expected.is_empty() {
            turn_until(&mut event_loop, || log.len() > before);
        }
        event_loop.set_interest_of(key, Interest::NONE).unwrap();
        turn_times(&mut event_loop, 3);
        let all = log.text();
        let news: Vec<&str> = all.split_whitespace().skip(before).collect();
        assert_eq!(news.join(" "), expected, "{interest:?}");
    }
}

/// R150: writable is the loop's own question while a connection is under way, whatever its owner
/// asks for meanwhile.
#[test]
fn a_connection_whose_interest_is_changed_before_it_is_through_connects_once_and_keeps_it() {
    let _guard = guard!();
    for interest in [
        Interest::NONE,
        Interest::READ,
        Interest::WRITE,
        Interest::BOTH,
    ] {
        let mut event_loop = strict_loop();
        let (listener, addr) = listener();
        let log = Log::default();
        let (connect, read, write) = (log.clone(), log.clone(), log.clone());
        let callbacks = Closures::new()
            .on_connect(move |_| connect.note("connect"))
            .on_read(move |cx| {
                drain(cx, &mut Vec::new());
                read.note("read");
            })
            .on_write(move |cx| {
                write.note("write");
                cx.remove_interest(Interest::WRITE);
            });
        let key = event_loop.connect(addr, callbacks).unwrap();
        event_loop.set_interest_of(key, interest).unwrap();
        assert_eq!(event_loop.interest_of(key).unwrap(), interest);
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"hello").unwrap(); // the level would be reported for ever, and nothing reads
        turn_until(&mut event_loop, || log.has("connect"));
        assert_eq!(log.count("connect"), 1);
        turn_until(&mut event_loop, || {
            log.has("read") == interest.contains(Interest::READ)
                && log.has("write") == interest.contains(Interest::WRITE)
        });
        turn_times(&mut event_loop, 3);
        assert_eq!(log.count("connect"), 1, "{interest:?}");
        assert_eq!(log.has("read"), interest.contains(Interest::READ));
        let left = event_loop.interest_of(key).unwrap();
        assert_eq!(left, interest.without(Interest::WRITE), "{interest:?}");
        let turns = turns_in(&mut event_loop, Duration::from_millis(20));
        assert!(turns < 10, "{interest:?}: {turns} turns with nothing to do");
    }
}

/// R150: the owner of a listener pauses it in the batch that has a connection for it.
#[test]
fn a_listener_that_is_paused_in_its_own_batch_accepts_nothing() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let accepted = Count::default();
    let mut listeners = Vec::new();
    let keys = Rc::new(RefCell::new(Vec::<Key>::new()));
    for _ in 0..2 {
        let (listener, addr) = listener();
        let (count, all) = (accepted.clone(), Rc::clone(&keys));
        let key = event_loop.listen(listener, move |cx, _| {
            count.add();
            for key in all.borrow().iter() {
                cx.set_interest_of(*key, Interest::NONE).unwrap();
            }
            None::<Closures>
        });
        keys.borrow_mut().push(key.unwrap());
        listeners.push(TcpStream::connect(addr).unwrap());
    }
    turn_until(&mut event_loop, || accepted.get() > 0);
    turn_times(&mut event_loop, 3);
    assert_eq!(accepted.get(), 1, "both were in one batch");
}

/// R026.
#[test]
fn transfers_of_nothing_change_nothing() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, mut theirs) = tcp_pair();
    theirs.write_all(b"x").unwrap();
    let log = Log::default();
    let note = log.clone();
    let read = Closures::new().on_read(move |cx| {
        assert_eq!(cx.read(&mut []).unwrap(), 0);
        assert_eq!(cx.write(&[]).unwrap(), 0);
        assert_eq!(cx.read(&mut [0; 8]).unwrap(), 1, "the byte is still there");
        note.note("read");
    });
    event_loop.register(ours, Interest::READ, read).unwrap();
    turn_until(&mut event_loop, || log.len() > 0);
    turn_times(&mut event_loop, 3);
    assert_eq!(log.text(), "read");
}
