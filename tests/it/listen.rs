//! Listening: bounded, robust against broken connections, and without descriptors (R032 to R037, R212).
//!
//! Invariant: L3.

use crate::support::{
    Count, Log, collect_unhandled, guard, is_alone, leave_odd, listener, manual_loop, reset,
    strict_loop, strict_run, strict_runner, turn_times, turn_until, turns_in,
};
use readily::event_loop::Accepted;
use readily::io::{TcpListener, TcpStream};
use readily::{
    Closures, Cx, EventLoop, Interest, Key, LoopHandle, Runner, WeakHandle, sleep, spawn,
};
use readily_testing::{Fd, Kernel, Personality, SimLoop};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net;
use std::rc::Rc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Listens, counts the connections that are accepted, and closes each of them.
fn count_accepted(handle: &LoopHandle, listener: net::TcpListener) -> Count {
    let accepted = Count::default();
    let count = accepted.clone();
    let accept = move |_: &Cx<'_>, _: &Accepted| {
        count.add();
        None::<Closures>
    };
    handle.listen(listener, accept).unwrap();
    accepted
}

/// R034.
#[test]
fn a_flood_of_connections_is_accepted_a_bounded_number_in_each_turn() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (listener, addr) = listener();
    let ticks = Count::default();
    let accepted = count_accepted(&event_loop, listener);
    let _clients: Vec<_> = (0..120)
        .map(|_| net::TcpStream::connect(addr).unwrap())
        .collect();
    let tick = ticks.clone();
    event_loop.call_soon(move |_| {
        tick.add();
    });
    turn_times(&mut event_loop, 1);
    assert!((1..=64).contains(&accepted.get()), "{accepted:?}");
    assert_eq!(ticks.get(), 1, "others had their turn");
    turn_until(&mut event_loop, || accepted.get() == 120);
}

/// However many there were before: one after several, several after one.
#[test]
fn all_connections_that_wait_are_accepted_in_one_turn() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (listener, addr) = listener();
    let accepted = count_accepted(&event_loop, listener);
    let mut clients = Vec::new();
    for several in [1, 2, 1, 10, 10, 1, 1, 3] {
        for _ in 0..several {
            clients.push(net::TcpStream::connect(addr).unwrap());
        }
        turn_times(&mut event_loop, 1);
        assert_eq!(accepted.get(), clients.len(), "{several} more");
    }
}

/// To test for more costs a system call, and nearly always there is no other.
#[test]
fn a_listener_tests_for_more_connections_after_two_polls_in_a_row() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (listener, addr) = listener();
    let accepted = count_accepted(&event_loop, listener);
    let mut clients = Vec::new();
    for _ in 0..3 {
        // After one that came alone, the next is expected to be alone again.
        for several in [1, 5] {
            turn_times(&mut event_loop, 1);
            let before = accepted.get();
            clients.extend((0..several).map(|_| net::TcpStream::connect(addr).unwrap()));
            turn_times(&mut event_loop, 1);
            assert_eq!(accepted.get(), before + 1);
            turn_times(&mut event_loop, 1);
            assert_eq!(accepted.get(), clients.len());
        }
    }
}

/// The listener of coroutines is level-triggered, and a connection that waits would be reported in each turn.
#[test]
fn a_listener_from_which_no_task_accepts_is_not_reported_for_ever() {
    let _guard = guard!();
    strict_run(async {
        let (listener, addr) = listener();
        let mut listener = TcpListener::from_std(listener).unwrap();
        let events = || {
            let events = WeakHandle::current().map(|handle| handle.with(|handle| handle.stats()));
            events.flatten().unwrap().events
        };
        let turns = async |count: usize| {
            for _ in 0..count {
                sleep(Duration::from_micros(10)).await;
            }
        };
        for _ in 0..3 {
            let _clients = [(); 2].map(|()| net::TcpStream::connect(addr).unwrap());
            turns(3).await;
            let reported = events();
            turns(5).await;
            assert_eq!(events(), reported);
            for _ in 0..2 {
                listener.accept().await.unwrap();
            }
            // It is watched again.
            let accepting = spawn(async move { listener.accept().await.map(|_| listener) });
            turns(3).await;
            let _client = net::TcpStream::connect(addr).unwrap();
            listener = accepting.await.unwrap().unwrap();
        }
    })
    .unwrap();
}

/// A report that a connection has room costs one more wait for each client that does not speak first.
#[test]
fn a_connection_whose_callbacks_have_no_use_for_writing_gets_no_report_of_room() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (listener, addr) = listener();
    let accepted = Count::default();
    let count = accepted.clone();
    event_loop
        .listen(listener, move |_, _| {
            count.add();
            Some(Box::new(Closures::new().on_read(|_| {})))
        })
        .unwrap();
    let _client = net::TcpStream::connect(addr).unwrap();
    turn_until(&mut event_loop, || accepted.get() == 1);
    let before = event_loop.stats().events;
    turn_times(&mut event_loop, 3);
    assert_eq!(event_loop.stats().events, before);
    assert_eq!(event_loop.registered(), 2);
}

/// R033, R037: those that are reset before they are accepted are no reason to stop.
#[test]
fn connections_that_are_reset_before_they_are_accepted_end_nothing() {
    let _guard = guard!();
    let mut runner = strict_runner();
    let reports = collect_unhandled(&runner);
    runner
        .run(async {
            let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
            let addr = listener.local_addr().unwrap();
            for _ in 0..100 {
                reset(net::TcpStream::connect(addr).unwrap());
            }
            let mut last = net::TcpStream::connect(addr).unwrap();
            last.write_all(b"here").unwrap();
            // Linux returns the broken ones, and their first operation fails.
            for _ in 0..101 {
                let (stream, _peer) = listener.accept().await.unwrap();
                let mut bytes = [0; 4];
                if stream.read_exact(&mut bytes).await.is_ok() {
                    assert_eq!(&bytes, b"here");
                    return;
                }
            }
            panic!("the last one was never accepted");
        })
        .unwrap();
    assert_eq!(reports.len(), 0);
}

/// R035: two loops, one listener.
#[test]
fn a_listener_that_is_shared_by_two_loops_serves_each_connection_once() {
    let _guard = guard!();
    let (listener, addr) = listener();
    let shared = [listener.try_clone().unwrap(), listener];
    let accepted = Count::default();
    let mut loops: Vec<EventLoop> = shared
        .into_iter()
        .map(|listener| {
            let (event_loop, count) = (strict_loop(), accepted.clone());
            event_loop
                .listen(listener, move |_, _| {
                    count.add();
                    None::<Closures>
                })
                .unwrap();
            event_loop
        })
        .collect();
    for n in 1..=20 {
        let _client = net::TcpStream::connect(addr).unwrap();
        // Both get a report, and one finds no connection.
        for event_loop in &mut loops {
            turn_times(event_loop, 2);
        }
        assert_eq!(accepted.get(), n);
    }
}

/// Accepts all, and keeps each, quietly: how many there were, and the keys of those that have been
/// found writable.
fn keep_all(event_loop: &EventLoop, listener: net::TcpListener) -> (Count, Rc<RefCell<Vec<Key>>>) {
    let keys = Rc::new(RefCell::new(Vec::new()));
    let accepted = Count::default();
    let (count, all) = (accepted.clone(), Rc::clone(&keys));
    event_loop
        .listen(listener, move |_, _| {
            count.add();
            let all = Rc::clone(&all);
            Some(Closures::new().on_write(move |cx| {
                all.borrow_mut().push(cx.key());
                cx.set_interest(Interest::NONE).unwrap();
            }))
        })
        .unwrap();
    (accepted, keys)
}

/// R032, with callbacks: reported once, no spinning, and accepting goes on when a descriptor is
/// closed.
#[test]
fn a_listener_without_descriptors_waits_and_goes_on_when_one_of_ours_closes() {
    if !is_alone(Some(40)) {
        return;
    }
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let reports = collect_unhandled(&event_loop);
    let (listener, addr) = listener();
    let (accepted, keys) = keep_all(&event_loop, listener);
    let _odd = leave_odd();
    let (clients, waiting) = fill(addr, &mut event_loop, &accepted);
    let before = accepted.get();
    assert!(waiting > 0);
    assert_eq!(reports.len(), 1, "reported once: {}", reports.text());
    assert!(reports.text().contains("is paused"), "{}", reports.text());
    // The waits double from 10 ms: 10, 30, 70, 150. No more turns than that.
    let turns = turns_in(&mut event_loop, 150 * MS);
    assert!(turns <= 12, "{turns} turns while there is no descriptor");
    assert_eq!(reports.len(), 1, "and no more: {}", reports.text());
    let one = keys.borrow_mut().pop().unwrap();
    event_loop.remove(one).unwrap();
    // At once, not with the next try.
    turn_times(&mut event_loop, 3);
    assert_eq!(accepted.get(), before + 1);
    drop(clients);
}

/// Connects until there are no descriptors: the clients, and how many of them wait unaccepted.
fn fill(
    addr: net::SocketAddr,
    event_loop: &mut EventLoop,
    accepted: &Count,
) -> (Vec<net::TcpStream>, usize) {
    let mut clients = Vec::new();
    while let Ok(client) = net::TcpStream::connect(addr) {
        clients.push(client);
        turn_times(event_loop, 2);
    }
    // One of the clients gives its number to a connection: then all are in use, and as many
    // connections wait as were made since.
    turn_times(event_loop, 4);
    let waiting = clients.len() - accepted.get();
    (clients, waiting)
}

/// R032: a descriptor that another process frees is not reported; the next try finds it.
#[test]
fn a_listener_without_descriptors_recovers_by_itself() {
    if !is_alone(Some(40)) {
        return;
    }
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let reports = collect_unhandled(&event_loop);
    let (listener, addr) = listener();
    let (accepted, _keys) = keep_all(&event_loop, listener);
    let _odd = leave_odd();
    let (clients, waiting) = fill(addr, &mut event_loop, &accepted);
    assert!(waiting > 0);
    assert_eq!(reports.len(), 1);
    let total = clients.len();
    // Half of the clients go; the loop gets no report of the numbers that come free. (The hangups
    // are half-closes, and it does not read.)
    let kept: Vec<_> = clients.into_iter().skip(total / 2).collect();
    turn_until(&mut event_loop, || accepted.get() == total);
    drop(kept);
}

/// R150: out of descriptors is the loop's reason to pause, and its owner may have one as well.
#[test]
fn a_listener_that_its_owner_pauses_while_no_descriptor_is_left_is_not_resumed_by_the_loop() {
    if !is_alone(Some(40)) {
        return;
    }
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    let reports = collect_unhandled(&event_loop);
    let (listener, addr) = listener();
    let accepted = Count::default();
    let count = accepted.clone();
    let key = event_loop.listen(listener, move |_, _| {
        count.add();
        None::<Closures>
    });
    let key = key.unwrap();
    let _clients: Vec<_> = (0..3)
        .map(|_| net::TcpStream::connect(addr).unwrap())
        .collect();
    let taken: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    turn_times(&mut event_loop, 2);
    assert_eq!(
        (accepted.get(), reports.len()),
        (0, 1),
        "{}",
        reports.text()
    );
    assert_eq!(event_loop.interest_of(key).unwrap(), Interest::READ);
    event_loop.set_interest_of(key, Interest::NONE).unwrap();
    drop(taken);
    for _ in 0..5 {
        clock.advance(Duration::from_secs(2));
        turn_times(&mut event_loop, 2);
    }
    assert_eq!(accepted.get(), 0, "its owner has paused it");
    assert_eq!(event_loop.interest_of(key).unwrap(), Interest::NONE);
    event_loop.set_interest_of(key, Interest::READ).unwrap();
    turn_until(&mut event_loop, || accepted.get() == 3);
}

/// R032, with many rounds: closed and reused, it must not gather timers or log lines.
#[test]
fn running_out_again_and_again_gathers_no_timers() {
    if !is_alone(Some(40)) {
        return;
    }
    let _guard = guard!();
    // Time stands still: on a slow machine timers that were left behind would fire, and be gone.
    let (mut event_loop, _clock) = manual_loop();
    let _told = collect_unhandled(&event_loop);
    let (listener, addr) = listener();
    let (accepted, keys) = keep_all(&event_loop, listener);
    let _odd = leave_odd();
    let (mut clients, waiting) = fill(addr, &mut event_loop, &accepted);
    assert!(waiting > 0);
    for _ in 0..30 {
        // One of ours closes, and another client is quicker than the listener.
        let key = keys.borrow_mut().pop().unwrap();
        event_loop.remove(key).unwrap();
        let thief = std::fs::File::open("/dev/null");
        turn_times(&mut event_loop, 2);
        drop(thief);
        if keys.borrow().is_empty() {
            break;
        }
    }
    clients.clear();
    let timers = event_loop.close().timers;
    assert!(timers <= 1, "{timers} timers for one listener");
}

/// R032: each pause waits for a free descriptor, and cancels that wait when it ends without one.
#[test]
fn one_descriptor_that_comes_free_ends_one_pause_however_many_there_were() {
    if !is_alone(Some(40)) {
        return;
    }
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    let _told = collect_unhandled(&event_loop);
    let (listener, addr) = listener();
    let ours = net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let key = event_loop.register(ours, Interest::NONE, Closures::new());
    let (accepted, _keys) = keep_all(&event_loop, listener);
    let _odd = leave_odd();
    let (_clients, waiting) = fill(addr, &mut event_loop, &accepted);
    assert!(waiting > 0);
    for _ in 0..10 {
        clock.advance(Duration::from_secs(2));
        turn_times(&mut event_loop, 2);
    }
    event_loop.remove(key.unwrap()).unwrap();
    assert_eq!(event_loop.close().closures, 1);
}

/// One report at once and one each second, which name the listener and count those between: of so
/// many failures in two seconds and a half.
fn assert_few_reports(reports: &Log, failures: usize, addr: net::SocketAddr) {
    let text = reports.text();
    assert_eq!(reports.len(), 3, "{text}");
    assert_eq!(
        text.matches(&format!("on {addr} is paused")).count(),
        3,
        "{text}"
    );
    let counts = text.split('(').skip(1).filter_map(|rest| {
        let (count, _) = rest.split_once(" more since the last report")?;
        count.parse::<usize>().ok()
    });
    let held_back: Vec<usize> = counts.collect();
    assert_eq!(held_back.len(), 2, "{text}");
    let counted = 3 + held_back.iter().sum::<usize>();
    assert!(
        counted <= failures && failures - counted < 50,
        "{counted}, {text}"
    );
}

/// R154: at the limit each connection that ends makes room for one, and then there is none again.
#[test]
fn a_listener_at_the_limit_reports_once_a_second_its_name_and_how_often_callbacks() {
    let kernel = Kernel::new();
    let poller = Box::new(kernel.poller());
    let mut event_loop = EventLoop::with(poller, Box::new(kernel.clock())).unwrap();
    let reports = collect_unhandled(&event_loop);
    let listener = kernel.listen(([127, 0, 0, 1], 0).into(), 1024).unwrap();
    let addr = listener.local_addr().unwrap();
    let keys = Rc::new(RefCell::new(Vec::new()));
    let all = Rc::clone(&keys);
    event_loop
        .listen(listener, move |_, _| {
            let all = Rc::clone(&all);
            Some(Closures::new().on_open(move |cx| all.borrow_mut().push(cx.key())))
        })
        .unwrap();
    let mut clients: Vec<_> = (0..2).map(|_| kernel.connect(addr).unwrap()).collect();
    turn_times(&mut event_loop, 2);
    assert_eq!(keys.borrow().len(), 2);
    for n in 0..250 {
        kernel.set_limit(1 << 16);
        clients.extend((0..2).map(|_| kernel.connect(addr).unwrap()));
        kernel.set_limit(kernel.open());
        let one = keys.borrow_mut().pop().unwrap();
        event_loop.remove(one).unwrap(); // room for one of the waiting connections
        turn_times(&mut event_loop, 3);
        assert_eq!(keys.borrow().len(), 2, "in round {n}");
        kernel.clock().advance(10 * MS);
    }
    assert_few_reports(&reports, 250, addr);
}

/// R154 for coroutines.
#[test]
fn a_listener_at_the_limit_reports_once_a_second_its_name_and_how_often_coroutines() {
    let mut sim = SimLoop::new(1);
    let kernel = sim.kernel().clone();
    let reports = collect_unhandled(&sim);
    let addr = sim
        .run(async {
            let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
            let addr = listener.local_addr().unwrap();
            let streams = Rc::new(RefCell::new(Vec::new()));
            let all = Rc::clone(&streams);
            drop(spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    all.borrow_mut().push(stream);
                }
            }));
            let mut clients: Vec<_> = (0..2).map(|_| kernel.connect(addr).unwrap()).collect();
            sleep(MS).await;
            for n in 0..250 {
                kernel.set_limit(1 << 16);
                clients.extend((0..2).map(|_| kernel.connect(addr).unwrap()));
                kernel.set_limit(kernel.open());
                let one = streams.borrow_mut().pop();
                drop(one); // room for one of the waiting connections
                sleep(10 * MS).await;
                assert_eq!(streams.borrow().len(), 2, "in round {n}");
            }
            addr
        })
        .unwrap();
    assert_few_reports(&reports, 250, addr);
}

/// Connects `broken` times and resets each connection, then connects once more. FreeBSD reports the
/// reset ones as `ECONNABORTED`.
fn connect_after_broken(kernel: &Kernel, addr: net::SocketAddr, broken: u32) -> Fd {
    for _ in 0..broken {
        kernel.connect(addr).unwrap().reset();
    }
    kernel.connect(addr).unwrap()
}

/// A loop on a simulated FreeBSD, and a listener of it.
fn loop_of_freebsd() -> (EventLoop, Kernel, Fd) {
    let kernel = Kernel::new();
    let poller = Box::new(kernel.kqueue(Personality::FreeBsd));
    let event_loop = EventLoop::with(poller, Box::new(kernel.clock())).unwrap();
    let listener = kernel.listen(([127, 0, 0, 1], 0).into(), 1024).unwrap();
    (event_loop, kernel, listener)
}

/// R212: a broken connection may be the last that a turn tries to accept.
#[test]
fn one_broken_connection_at_any_place_does_not_pause_a_listener() {
    for good in [0, 1, 62, 63, 64, 127] {
        let (mut event_loop, kernel, listener) = loop_of_freebsd();
        let addr = listener.local_addr().unwrap();
        let reports = collect_unhandled(&event_loop);
        let accepted = Count::default();
        let count = accepted.clone();
        let accept = move |_: &Cx<'_>, _: &Accepted| {
            count.add();
            None::<Closures>
        };
        event_loop.listen(listener, accept).unwrap();
        let mut clients: Vec<_> = (0..good).map(|_| kernel.connect(addr).unwrap()).collect();
        clients.push(connect_after_broken(&kernel, addr, 1));
        turn_times(&mut event_loop, 3);
        assert_eq!(reports.text(), "", "{good} before the broken one");
        assert_eq!(accepted.get(), clients.len());
    }
}

/// The rows of broken connections before each good one, and the reports of pauses that follow.
const ROWS: [(u32, usize); 5] = [(63, 0), (63, 0), (64, 1), (63, 1), (200, 2)];

/// R212.
#[test]
fn a_listener_pauses_after_64_broken_connections_in_a_row_callbacks() {
    let (mut event_loop, kernel, listener) = loop_of_freebsd();
    let addr = listener.local_addr().unwrap();
    let reports = collect_unhandled(&event_loop);
    let accepted = Count::default();
    let count = accepted.clone();
    let accept = move |_: &Cx<'_>, _: &Accepted| {
        count.add();
        None::<Closures>
    };
    event_loop.listen(listener, accept).unwrap();
    for (n, (broken, expected)) in ROWS.into_iter().enumerate() {
        let _client = connect_after_broken(&kernel, addr, broken);
        for _ in 0..6 {
            turn_times(&mut event_loop, 2);
            kernel.clock().advance(100 * MS);
        }
        assert_eq!(accepted.get(), n + 1, "the pause ends by itself");
        kernel.clock().advance(Duration::from_secs(2));
        assert_eq!(reports.len(), expected, "row {n}: {}", reports.text());
    }
}

/// R212 for coroutines.
#[test]
fn a_listener_pauses_after_64_broken_connections_in_a_row_coroutines() {
    let (event_loop, kernel, listener) = loop_of_freebsd();
    let addr = listener.local_addr().unwrap();
    let reports = collect_unhandled(&event_loop);
    let mut runner = Runner::from(event_loop);
    let run = runner.run(async {
        let listener = TcpListener::from_kernel(Rc::new(listener)).unwrap();
        for (n, (broken, expected)) in ROWS.into_iter().enumerate() {
            let _client = connect_after_broken(&kernel, addr, broken);
            listener.accept().await.unwrap();
            sleep(Duration::from_secs(2)).await;
            assert_eq!(reports.len(), expected, "row {n}: {}", reports.text());
        }
    });
    run.unwrap();
}

/// R032 for coroutines.
#[test]
fn accept_waits_for_a_descriptor_reports_once_and_goes_on() {
    if !is_alone(Some(40)) {
        return;
    }
    let _guard = guard!();
    let mut runner = strict_runner();
    let reports = collect_unhandled(&runner);
    let accepted = Count::default();
    let streams = Rc::new(RefCell::new(Vec::new()));
    let (count, kept) = (accepted.clone(), Rc::clone(&streams));
    runner
        .run(async move {
            let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
            let addr = listener.local_addr().unwrap();
            let all = Rc::clone(&kept);
            drop(spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    count.add();
                    all.borrow_mut().push(stream);
                }
            }));
            let _odd = leave_odd();
            let mut clients = Vec::new();
            while let Ok(client) = net::TcpStream::connect(addr) {
                clients.push(client);
                sleep(MS).await;
            }
            let before = accepted.get();
            assert!(before < clients.len());
            let turns = |handle: &LoopHandle| handle.stats().turns;
            let here = WeakHandle::current().unwrap();
            let start = here.with(turns).unwrap();
            sleep(150 * MS).await;
            let spent = here.with(turns).unwrap() - start;
            assert!(spent <= 14, "{spent} turns while there is no descriptor");
            assert_eq!(accepted.get(), before);
            drop(kept.borrow_mut().pop());
            for _ in 0..5 {
                readily::yield_now().await;
            }
            assert_eq!(accepted.get(), before + 1, "at once: one of ours closed");
            // By itself, when the clients let go of theirs.
            let total = clients.len();
            clients.truncate(total / 2);
            while accepted.get() < total {
                sleep(MS).await;
            }
        })
        .unwrap();
    let text = reports.text();
    assert!(reports.len() <= 2 && text.contains("is paused"), "{text}");
}

#[test]
fn a_listener_that_closes_itself_accepts_no_more() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (listener, addr) = listener();
    let log = Log::default();
    let note = log.clone();
    event_loop
        .listen(listener, move |cx, _| {
            note.note("accepted");
            cx.close();
            None::<Closures>
        })
        .unwrap();
    let clients: Vec<_> = (0..3)
        .map(|_| net::TcpStream::connect(addr).unwrap())
        .collect();
    turn_until(&mut event_loop, || log.len() > 0);
    turn_times(&mut event_loop, 3);
    assert_eq!(
        (log.text(), event_loop.registered()),
        ("accepted".into(), 0)
    );
    for mut client in clients {
        assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
    }
}

/// L3: the connection ends while the callback of its listener still runs. The listener, which was
/// removed before, is dropped after that.
#[test]
fn a_listener_that_closes_itself_outlives_a_connection_that_does_so_too() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (listener, addr) = listener();
    let log = Log::default();
    let note = log.clone();
    event_loop
        .listen(listener, move |cx, _| {
            cx.close();
            let note = note.clone();
            Some(Closures::new().on_open(move |cx| {
                cx.close();
                note.note("open");
            }))
        })
        .unwrap();
    let mut client = net::TcpStream::connect(addr).unwrap();
    turn_until(&mut event_loop, || log.has("open"));
    assert_eq!((log.text(), event_loop.registered()), ("open".into(), 0));
    assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
    net::TcpStream::connect(addr).expect_err("the listener is closed");
}

#[test]
fn a_paused_listener_accepts_nothing_until_it_is_asked_to() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (listener, addr) = listener();
    let accepted = Count::default();
    let count = accepted.clone();
    let key = event_loop
        .listen(listener, move |cx, _| {
            count.add();
            cx.remove_interest(Interest::READ);
            None::<Closures>
        })
        .unwrap();
    let _clients: Vec<_> = (0..2)
        .map(|_| net::TcpStream::connect(addr).unwrap())
        .collect();
    turn_until(&mut event_loop, || accepted.get() == 1);
    let turns = turns_in(&mut event_loop, 20 * MS);
    assert!(turns < 5, "{turns} turns");
    assert_eq!(accepted.get(), 1);
    event_loop.set_interest_of(key, Interest::READ).unwrap();
    turn_until(&mut event_loop, || accepted.get() == 2);
}

/// R028: to a backlog that is full, and to one that has room again.
#[test]
fn connecting_to_a_full_backlog_waits_and_can_be_given_up() {
    let _guard = guard!();
    let mut runner = strict_runner();
    runner
        .run(async {
            use socket2::{Domain, Socket, Type};
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let addr: net::SocketAddr = ([127, 0, 0, 1], 0).into();
            socket.bind(&addr.into()).unwrap();
            socket.listen(1).unwrap();
            let listener = net::TcpListener::from(socket);
            let addr = listener.local_addr().unwrap();
            let mut connected = Vec::new();
            // Two or three fit; then the system drops the first packet and we wait.
            loop {
                match readily::wait_for(60 * MS, TcpStream::connect(addr)).await {
                    Ok(stream) => connected.push(stream.unwrap()),
                    Err(readily::Elapsed) => break,
                }
                assert!(connected.len() < 10, "a backlog of one is never full");
            }
            for _ in 0..connected.len() {
                listener.accept().unwrap();
            }
            let again = TcpStream::connect(addr).await.unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            again.write_all(b"x").await.unwrap();
            // It may be the one that was given up, whose handshake the system finished.
            let _ = peer.read(&mut [0; 1]);
        })
        .unwrap();
}

/// R028, for coroutines.
#[test]
fn a_refused_connection_is_an_error_of_connect() {
    let _guard = guard!();
    let mut runner = strict_runner();
    let error = runner
        .run(TcpStream::connect(crate::support::unused_addr()))
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(runner.close().registrations, 0);
}

/// A listener may outlive its loop; then accepting is an error, and does not wait for ever.
#[test]
fn accepting_after_the_loop_has_gone_is_an_error() {
    let _guard = guard!();
    let mut first = strict_runner();
    let bind = async { TcpListener::bind(([127, 0, 0, 1], 0)).unwrap() };
    let listener = first.run(bind).unwrap();
    drop(first);
    let message = |accepted: std::io::Result<_>| accepted.map(drop).unwrap_err().to_string();
    // Outside every loop, and inside another one.
    let mut accepts = Box::pin(listener.accept());
    let mut noop = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(accepted) = accepts.as_mut().poll(&mut noop) else {
        panic!("there is nothing to wait for");
    };
    assert_eq!(message(accepted), "the loop is closed");
    let accepted = strict_run(listener.accept()).unwrap();
    assert_eq!(message(accepted), "the loop is closed");
}

/// The system keeps connections that arrive at once until they are accepted. (A listener of the
/// standard library has room for 128; the system drops further ones, whose clients try again after a
/// second.)
#[test]
fn a_crowd_that_comes_before_the_first_turn_is_kept() {
    const CROWD: usize = 500;
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    if most.trim().parse::<usize>().unwrap_or_default() < CROWD {
        return; // the system allows no more, or does not publish its limit
    }
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let listener = readily::event_loop::listen_tcp(([127, 0, 0, 1], 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let count = Count::default();
    let counted = count.clone();
    let accept = move |_: &Cx<'_>, _: &Accepted| {
        counted.add();
        None::<Closures>
    };
    event_loop.listen(listener, accept).unwrap();
    let patience = Duration::from_secs(10);
    let crowd = (0..CROWD).map(|_| net::TcpStream::connect_timeout(&addr, patience).unwrap());
    let _crowd: Vec<_> = crowd.collect();
    turn_until(&mut event_loop, || count.get() == CROWD);
}
