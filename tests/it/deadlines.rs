//! The interest of an accepted connection, its first callback, and its deadline.

use crate::support::{
    Count, Log, collect_unhandled, guard, listener, manual_loop, turn_times, turn_until,
};
use readily::spi;
use readily::{Callbacks, Closures, Cx, EventLoop, Interest, Key, PanicPolicy};
use readily_testing::Kernel;
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Logs each callback, and asks for the deadlines of the test.
struct Noting(Log, Option<Interest>);

impl Callbacks for Noting {
    fn interest(&self) -> Interest {
        match self.1 {
            Some(interest) => interest,
            None => Plain.interest(),
        }
    }

    fn on_open(&mut self, cx: &Cx<'_>) {
        self.0.note(format!("open:{:?}", cx.interest()));
    }

    fn on_read(&mut self, cx: &Cx<'_>) {
        let n = cx.read(&mut [0; 64]).unwrap();
        self.0.note(format!("read:{n}"));
        cx.close();
    }

    fn on_write(&mut self, cx: &Cx<'_>) {
        self.0.note("write");
        cx.remove_interest(Interest::WRITE);
    }
}

/// The default methods of the trait.
struct Plain;

impl Callbacks for Plain {}

/// A loop with a listener whose connections have these callbacks, and a client.
fn serve<C: Callbacks + 'static>(
    event_loop: &EventLoop,
    mut make: impl FnMut() -> C + 'static,
) -> TcpStream {
    let (listener, addr) = listener();
    event_loop
        .listen(listener, move |_, _| Some(make()))
        .unwrap();
    TcpStream::connect(addr).unwrap()
}

/// R152: interest in writing is reported at once, and costs a wait and a call to take it back.
#[test]
fn an_accepted_connection_is_asked_for_reading_unless_its_callbacks_ask_for_more() {
    let _guard = guard!();
    for (asked, expected) in [
        (None, "open:READ read:5"),
        (Some(Interest::READ), "open:READ read:5"),
        (Some(Interest::BOTH), "open:READ | WRITE write read:5"),
    ] {
        let (mut event_loop, _clock) = manual_loop();
        let log = Log::default();
        let note = log.clone();
        let mut client = serve(&event_loop, move || Noting(note.clone(), asked));
        turn_until(&mut event_loop, || log.len() > 0);
        let events = event_loop.stats().events;
        turn_times(&mut event_loop, 3);
        let written = usize::from(asked == Some(Interest::BOTH));
        assert_eq!(event_loop.stats().events - events, written as u64);
        client.write_all(b"hello").unwrap();
        turn_until(&mut event_loop, || log.has("read:5"));
        assert_eq!(log.text(), expected);
    }
}

/// `on_open` can send a greeting, set a deadline and keep the key in a table of connections.
#[test]
fn on_open_runs_once_before_all_others_and_has_the_key_of_the_connection() {
    let _guard = guard!();
    let (mut event_loop, _clock) = manual_loop();
    let log = Log::default();
    let (opened, read) = (log.clone(), log.clone());
    let key = Rc::new(Cell::new(None::<Key>));
    let kept = Rc::clone(&key);
    let mut callbacks = Some(
        Closures::new()
            .on_open(move |cx| {
                opened.note("open");
                kept.set(Some(cx.key()));
                cx.write(b"welcome").unwrap();
            })
            .on_read(move |cx| {
                drop(cx.read(&mut [0; 64]));
                read.note("read");
            }),
    );
    let mut client = serve(&event_loop, move || callbacks.take().unwrap());
    client.write_all(b"already here").unwrap();
    turn_until(&mut event_loop, || log.has("read"));
    assert_eq!(log.text(), "open read");
    client.read_exact(&mut [0; 7]).unwrap();
    event_loop.remove(key.get().unwrap()).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0, "it is closed");
}

#[test]
fn a_connection_that_is_closed_in_its_first_callback_is_gone_and_the_listener_goes_on() {
    let _guard = guard!();
    let (mut event_loop, _clock) = manual_loop();
    let opened = Count::default();
    let count = opened.clone();
    let mut client = serve(&event_loop, move || {
        let count = count.clone();
        Closures::new().on_open(move |cx| {
            count.add();
            cx.close();
        })
    });
    turn_until(&mut event_loop, || opened.get() == 1);
    assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
    assert_eq!(event_loop.registered(), 1);
    spi::check_invariants(&event_loop);
}

/// R153: a silent peer makes no event.
#[test]
fn a_silent_peer_is_closed_at_its_deadline_and_one_that_speaks_is_not() {
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    let opened = Count::default();
    let count = opened.clone();
    let make = move || {
        let count = count.clone();
        Closures::new()
            .on_open(move |cx| {
                count.add();
                cx.set_deadline(5 * SECOND);
            })
            .on_read(|cx| {
                drop(cx.read(&mut [0; 64]));
                cx.set_deadline(5 * SECOND); // counted from the last word
            })
    };
    let mut silent = serve(&event_loop, make.clone());
    let mut speaks = serve(&event_loop, make);
    turn_until(&mut event_loop, || opened.get() == 2);
    for _ in 0..2 {
        clock.advance(3 * SECOND);
        speaks.write_all(b"still here").unwrap();
        turn_times(&mut event_loop, 2);
    }
    assert_eq!(
        event_loop.registered(),
        3,
        "two listeners, and one that speaks"
    );
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0, "it is closed");
    clock.advance(4 * SECOND);
    turn_times(&mut event_loop, 2);
    assert_eq!(event_loop.registered(), 3, "a second is left");
    clock.advance(SECOND);
    turn_times(&mut event_loop, 2);
    assert_eq!(event_loop.registered(), 2);
}

#[test]
fn a_deadline_runs_its_callback_once_and_may_be_set_anew_there() {
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let times = Count::default();
    let count = times.clone();
    let callbacks = Closures::new().on_timeout(move |cx| {
        if count.add() < 3 {
            cx.set_deadline(SECOND);
        }
    });
    let key = event_loop
        .register(ours, Interest::READ, callbacks)
        .unwrap();
    event_loop.set_deadline_of(key, Some(SECOND)).unwrap();
    for n in [1, 2, 3, 3] {
        clock.advance(SECOND);
        turn_times(&mut event_loop, 2);
        assert_eq!(times.get(), n);
    }
    assert_eq!(
        (event_loop.registered(), event_loop.next_deadline()),
        (1, None)
    );
    event_loop.set_deadline_of(key, Some(SECOND)).unwrap();
    event_loop.set_deadline_of(key, None).unwrap();
    assert_eq!(event_loop.next_deadline(), None);
    event_loop.remove(key).unwrap();
    assert!(event_loop.set_deadline_of(key, Some(SECOND)).is_err());
    assert_eq!(event_loop.next_deadline(), None, "and no timer is left");
}

/// R153: whatever ends a registration ends its deadline.
#[test]
fn a_deadline_goes_with_its_registration_however_that_ends() {
    let _guard = guard!();
    type End = fn(&Cx<'_>);
    let ends: [(&str, End); 4] = [
        ("close", |cx| cx.close()),
        ("close, and a deadline after it", |cx| {
            cx.close();
            cx.set_deadline(SECOND);
        }),
        ("hangup", |cx| drop(cx.read(&mut [0; 64]))),
        ("panic", |_| panic!("as planned")),
    ];
    for (how, end) in ends {
        let (mut event_loop, _clock) = manual_loop();
        event_loop.set_panic_policy(PanicPolicy::Isolate);
        let _told = collect_unhandled(&event_loop);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let callbacks = Closures::new().on_read(end);
        let key = event_loop.register(ours, Interest::READ, callbacks);
        event_loop
            .set_deadline_of(key.unwrap(), Some(SECOND))
            .unwrap();
        assert!(event_loop.next_deadline().is_some());
        theirs.write_all(b"x").unwrap();
        theirs.shutdown(Shutdown::Both).unwrap();
        turn_until(&mut event_loop, || is_peer_closed(&theirs));
        turn_times(&mut event_loop, 3);
        assert_eq!(event_loop.registered(), 0, "{how}");
        assert_eq!(event_loop.next_deadline(), None, "{how}");
    }
}

/// Whether its peer has been closed.
fn is_peer_closed(theirs: &UnixStream) -> bool {
    theirs.set_nonblocking(true).unwrap();
    matches!((&*theirs).write(b"x"), Err(error) if error.kind() == io::ErrorKind::BrokenPipe)
}

/// A connection that is still in progress at its deadline is closed, on the simulated kernel.
#[test]
fn a_connection_under_way_has_a_deadline_too_and_keeps_it_when_it_is_through() {
    let kernel = Kernel::new();
    let poller = Box::new(kernel.poller());
    let mut event_loop = EventLoop::with(poller, Box::new(kernel.clock())).unwrap();
    let far = kernel.listen(([127, 0, 0, 1], 0).into(), 1).unwrap();
    let addr = far.local_addr().unwrap();
    let log = Log::default();
    let connect = |name: &'static str| {
        let (connected, timed_out) = (log.clone(), log.clone());
        let callbacks = Closures::new()
            .on_connect(move |_| connected.note(format!("{name} is through")))
            .on_timeout(move |cx| {
                timed_out.note(format!("{name} is late"));
                cx.close();
            });
        let key = event_loop.connect(addr, callbacks).unwrap();
        event_loop.set_deadline_of(key, Some(SECOND)).unwrap();
    };
    connect("the first"); // fills the backlog
    connect("the second");
    event_loop.turn_now().unwrap();
    assert_eq!(log.text(), "the first is through");
    assert_eq!(event_loop.registered(), 2);
    event_loop.run().unwrap(); // ends: nothing is left
    let late = "the first is through the first is late the second is late";
    assert_eq!(log.text(), late);
}

/// R140 for the two callbacks that no event causes.
#[test]
fn a_panic_in_the_first_callback_or_at_the_deadline_ends_that_connection_and_no_other() {
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    event_loop.set_panic_policy(PanicPolicy::Isolate);
    let reports = collect_unhandled(&event_loop);
    let number = Count::default();
    let count = number.clone();
    let make = move || {
        let number = count.add();
        Closures::new()
            .on_open(move |cx| {
                assert_ne!(number, 1, "the first callback");
                cx.set_deadline(SECOND);
            })
            .on_timeout(|_| panic!("at the deadline"))
    };
    let (listener, addr) = listener();
    event_loop
        .listen(listener, move |_, _| Some(make()))
        .unwrap();
    let mut clients: Vec<_> = (0..2).map(|_| TcpStream::connect(addr).unwrap()).collect();
    turn_until(&mut event_loop, || number.get() == 2);
    assert_eq!(
        (reports.len(), event_loop.registered()),
        (1, 2),
        "{}",
        reports.text()
    );
    assert!(
        reports.text().contains("the first callback"),
        "{}",
        reports.text()
    );
    assert_eq!(clients[0].read(&mut [0; 1]).unwrap_or(0), 0);
    clock.advance(SECOND);
    turn_times(&mut event_loop, 2);
    assert_eq!(
        (reports.len(), event_loop.registered()),
        (2, 1),
        "{}",
        reports.text()
    );
    assert!(
        reports.text().contains("at the deadline"),
        "{}",
        reports.text()
    );
    assert_eq!(clients[1].read(&mut [0; 1]).unwrap_or(0), 0);
    let _third = TcpStream::connect(addr).unwrap();
    turn_until(&mut event_loop, || number.get() == 3);
    spi::check_invariants(&event_loop);
}
