//! Callbacks over each simulated kernel: a poller with epoll's rules, and the kqueue of each
//! system.
//!
//! The events of a poller differ from system to system (`docs/platforms.md`). The calls of
//! callbacks do not.
//!
//! Invariant: L7.

use readily::poll::Poller;
use readily::spi;
use readily::{Closures, EventLoop, Interest, Trigger};
use readily_testing::{Fd, Kernel, Personality};
use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

/// The simulated kernels: `None` has epoll's rules.
pub const KERNELS: [Option<Personality>; 4] = [
    None,
    Some(Personality::FreeBsd),
    Some(Personality::Apple),
    Some(Personality::NetBsd),
];

/// The turns that are enough for each test. A loop that spins takes all of them.
const TURNS: usize = 20;

const TRIGGERS: [Trigger; 3] = [Trigger::Level, Trigger::Edge, Trigger::OneShot];

fn on(system: Option<Personality>) -> (EventLoop, Kernel) {
    let kernel = Kernel::new();
    let poller: Box<dyn Poller> = match system {
        None => Box::new(kernel.poller()),
        Some(system) => Box::new(kernel.kqueue(system)),
    };
    let event_loop = EventLoop::with(poller, Box::new(kernel.clock())).unwrap();
    (event_loop, kernel)
}

type Log = Rc<RefCell<Vec<String>>>;

/// All calls but that for room to write, which comes before a hangup or with it, and on FreeBSD at
/// a reading end too.
fn text(log: &Log) -> String {
    let log = log.borrow();
    let calls: Vec<_> = log.iter().filter(|call| *call != "room").cloned().collect();
    calls.join(" ")
}

/// Turns the loop until nothing is ready; returns whether that happened.
fn settles(event_loop: &mut EventLoop) -> bool {
    for _ in 0..TURNS {
        let before = event_loop.stats().events;
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        spi::check_invariants(event_loop);
        // A poller may use one wait to check a hangup.
        if event_loop.stats().events == before {
            event_loop.turn(Some(Duration::ZERO)).unwrap();
            if event_loop.stats().events == before {
                return true;
            }
        }
    }
    false
}

/// Reads four bytes at a time, and removes its interest at the end of file; writes nothing, and
/// removes its interest when there is room. One-shots are modified again.
fn logging(log: &Log, trigger: Trigger) -> Closures {
    let (reads, writes, hangs_up) = (Rc::clone(log), Rc::clone(log), Rc::clone(log));
    Closures::new()
        .on_read(move |cx| {
            let call = match cx.read(&mut [0; 4]) {
                Ok(0) => {
                    cx.remove_interest(Interest::READ);
                    "end".to_owned()
                }
                Ok(n) => n.to_string(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => format!("{:?}", error.kind()),
            };
            reads.borrow_mut().push(call);
            if trigger == Trigger::OneShot {
                cx.set_interest(cx.interest()).unwrap();
            }
        })
        .on_write(move |cx| {
            writes.borrow_mut().push("room".to_owned());
            cx.remove_interest(Interest::WRITE);
            if trigger == Trigger::OneShot {
                cx.set_interest(cx.interest()).unwrap();
            }
        })
        .on_hangup(move |_, error| {
            let call = format!("hangup:{:?}", error.map(|error| error.kind()));
            hangs_up.borrow_mut().push(call);
        })
}

/// The program of the third chapter ends.
#[test]
fn on_hangup_runs_after_the_last_byte_and_the_run_ends() {
    for system in KERNELS {
        let (mut event_loop, kernel) = on(system);
        let (here, there) = kernel.pair().unwrap();
        there.write(b"last").unwrap();
        drop(there);
        let received = Rc::new(RefCell::new(String::new()));
        let (reads, hangs_up) = (Rc::clone(&received), Rc::clone(&received));
        let slow_reader = Closures::new()
            .on_read(move |cx| {
                let mut byte = [0];
                if let Ok(1) = cx.read(&mut byte) {
                    reads.borrow_mut().push(byte[0].into());
                }
            })
            .on_hangup(move |_, _| hangs_up.borrow_mut().push('.'));
        event_loop
            .register(here, Interest::READ, slow_reader)
            .unwrap();
        for _ in 0..TURNS {
            event_loop.turn(Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(*received.borrow(), "last.", "{system:?}");
        assert_eq!(
            event_loop.registered(),
            0,
            "{system:?}: `run` would not end"
        );
    }
}

/// A stream: how it is made, the end that is registered, and how the peer closes it.
type Stream = (&'static str, fn(&Kernel) -> io::Result<(Fd, Fd)>, fn(Fd));

const STREAMS: [Stream; 4] = [
    ("pair", Kernel::pair, drop),
    ("TCP", Kernel::tcp, Fd::reset),
    ("reading end of a pipe", Kernel::pipe, drop),
    ("writing end of a pipe", writing_end, drop),
];

fn writing_end(kernel: &Kernel) -> io::Result<(Fd, Fd)> {
    let (reader, writer) = kernel.pipe()?;
    Ok((writer, reader))
}

/// L7: with each interest and each trigger, with bytes or without, before the registration or after
/// it: each registration ends, with the same calls and after the same bytes.
#[test]
fn each_registration_whose_other_side_has_gone_ends_on_every_kernel() {
    let interests = [
        Interest::NONE,
        Interest::READ,
        Interest::WRITE,
        Interest::BOTH,
    ];
    for (name, stream, end) in STREAMS {
        for interest in interests {
            for trigger in TRIGGERS {
                for before in [false, true] {
                    let results = KERNELS.map(|system| {
                        let what = format!("{name} {interest:?} {trigger:?} {before} {system:?}");
                        let (mut event_loop, kernel) = on(system);
                        let (here, there) = stream(&kernel).unwrap();
                        let log = Log::default();
                        let mut there = Some(there);
                        if before {
                            there.take().map(end);
                        }
                        let callbacks = logging(&log, trigger);
                        let key = event_loop
                            .register_with(here, interest, trigger, callbacks)
                            .unwrap();
                        assert!(settles(&mut event_loop), "{what}: the loop spins");
                        there.take().map(end);
                        assert!(
                            settles(&mut event_loop),
                            "{what}: the loop spins, {}",
                            text(&log)
                        );
                        let left = event_loop.interest_of(key).is_ok();
                        (what, left, text(&log))
                    });
                    for (what, left, calls) in &results {
                        assert!(!left, "{what}: the registration is left after {calls}");
                        assert_eq!(*calls, results[0].2, "{what}");
                    }
                }
            }
        }
    }
}

/// The effects of a peer on each system, for `docs/platforms.md`: the error of a read or of another
/// call, or its result.
#[test]
fn sockets_end_as_each_system_has_it() {
    let say = |answer: io::Result<usize>| match answer {
        Ok(n) => n.to_string(),
        Err(error) => format!("{:?}", error.kind()),
    };
    let (reset, aborted) = ("ConnectionReset", "ConnectionAborted");
    for (system, pair, shut, tcp, accepted) in [
        (None, reset, "BrokenPipe", reset, "1"),
        (Some(Personality::FreeBsd), "0", "1", "0", aborted),
        (Some(Personality::NetBsd), "0", "1", "0", aborted),
        (Some(Personality::Apple), "0", "1", reset, "1"),
    ] {
        let (_event_loop, kernel) = on(system);
        for (stream, expected) in [(Kernel::pair as fn(&_) -> _, pair), (Kernel::tcp, tcp)] {
            let (here, there): (Fd, Fd) = io::Result::unwrap(stream(&kernel));
            here.write(b"unread").unwrap();
            drop(there);
            assert_eq!(say(here.read(&mut [0])), expected, "{system:?}");
        }

        let (here, there) = kernel.pair().unwrap();
        there.shutdown(Shutdown::Read).unwrap();
        assert_eq!(say(here.write(b"x")), shut, "{system:?}");
        assert_eq!(
            say(there.read(&mut [0])),
            "0",
            "{system:?}: the reading end is closed"
        );

        let listener = kernel.listen(([127, 0, 0, 1], 0).into(), 4).unwrap();
        let addr = listener.local_addr().unwrap();
        kernel.connect(addr).unwrap().reset();
        let _second = kernel.connect(addr).unwrap();
        assert_eq!(say(listener.accept().map(|_| 1)), accepted, "{system:?}");
        assert!(
            listener.accept().is_ok(),
            "{system:?}: the second connection is accepted"
        );
    }
}

/// R033: the errors of a BSD for a connection that was reset before it was accepted do not end the
/// listener.
#[test]
fn a_connection_that_is_reset_before_it_is_accepted_is_skipped_on_every_kernel() {
    for system in KERNELS {
        let (mut event_loop, kernel) = on(system);
        let listener = kernel.listen(([127, 0, 0, 1], 0).into(), 4).unwrap();
        let addr = listener.local_addr().unwrap();
        let log = Log::default();
        let accepts = Rc::clone(&log);
        event_loop
            .listen(listener, move |_, _| {
                accepts.borrow_mut().push("accepted".to_owned());
                None::<Closures>
            })
            .unwrap();
        kernel.connect(addr).unwrap().reset();
        let _second = kernel.connect(addr).unwrap();
        assert!(settles(&mut event_loop), "{system:?}: the loop spins");
        assert!(text(&log).ends_with("accepted"), "{system:?}");
        assert_eq!(
            event_loop.registered(),
            1,
            "{system:?}: the listener is still registered"
        );
    }
}
