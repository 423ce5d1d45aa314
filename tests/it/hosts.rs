//! One descriptor is the whole contract: hosts of each kind, and each kind of work that a loop can
//! get.
//!
//! Each host waits without a limit, and turns the loop once for each report. So a missing report
//! hangs the test, and a repeated report shows as too many turns.

use crate::support::{Log, guard, strict_loop, strict_runner, turn_times};
use crate::threads::Counting;
use readily::clock::Monotonic;
use readily::io::{Async, Direction};
use readily::task::create_future;
use readily::{Closures, EventLoop, Interest};
use readily_sys::poll::is_readable;
use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// An embedded loop, and how often it was turned.
#[derive(Clone)]
pub(crate) struct Guest {
    event_loop: Rc<RefCell<EventLoop>>,
    turns: Rc<Cell<u32>>,
    deadlines: bool,
}

impl Guest {
    pub(crate) fn new(deadlines: bool) -> Self {
        Self {
            event_loop: Rc::new(RefCell::new(strict_loop())),
            turns: Rc::default(),
            deadlines,
        }
    }

    /// What the host waits for; `None` where this poller has no such thing.
    pub(crate) fn fd(&self) -> Option<OwnedFd> {
        let event_loop = self.event_loop.borrow();
        let fd = match self.deadlines {
            true => event_loop.as_fd_with_deadline(),
            false => event_loop.as_fd(),
        };
        match fd {
            Ok(fd) => Some(fd.try_clone_to_owned().unwrap()),
            Err(readily::Error::Io(error)) if error.kind() == io::ErrorKind::Unsupported => None,
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn turn(&self) {
        self.turns.set(self.turns.get() + 1);
        self.event_loop.borrow_mut().turn_now().unwrap();
    }

    pub(crate) fn turns(&self) -> u32 {
        self.turns.get()
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&EventLoop) -> R) -> R {
        f(&self.event_loop.borrow())
    }

    fn is_quiet(&self) -> bool {
        use std::os::fd::AsFd;
        !is_readable(self.fd().unwrap().as_fd()).unwrap()
    }
}

/// Waits for `guest`, the embedded loop, and turns it until `done`.
pub(crate) type Host = fn(&Guest, Rc<dyn Fn() -> bool>);

fn by_poll(guest: &Guest, done: Rc<dyn Fn() -> bool>) {
    use readily_sys::poll::{IN, PollSet};
    use std::os::fd::AsRawFd;
    let fd = guest.fd().unwrap();
    let mut set = PollSet::new();
    set.push(fd.as_raw_fd(), IN);
    while !done() {
        assert_eq!(set.wait(None).unwrap(), 1);
        guest.turn();
    }
}

#[cfg(target_os = "linux")]
fn by_epoll(guest: &Guest, done: &dyn Fn() -> bool, bits: u32) {
    use readily_sys::epoll::Epoll;
    use std::os::fd::AsRawFd;
    let fd = guest.fd().unwrap();
    let mut epoll = Epoll::new().unwrap();
    epoll.add(fd.as_raw_fd(), bits, 7).unwrap();
    while !done() {
        assert_eq!(epoll.wait(&mut Vec::new(), None).unwrap(), 1);
        guest.turn();
    }
}

#[cfg(target_os = "linux")]
fn by_level(guest: &Guest, done: Rc<dyn Fn() -> bool>) {
    by_epoll(guest, &*done, readily_sys::epoll::IN);
}

#[cfg(target_os = "linux")]
fn by_edge(guest: &Guest, done: Rc<dyn Fn() -> bool>) {
    use readily_sys::epoll::{ET, IN};
    by_epoll(guest, &*done, IN | ET);
}

/// A loop of ours, by callbacks: level-triggered.
fn by_callback(guest: &Guest, done: Rc<dyn Fn() -> bool>) {
    let mut host = strict_loop();
    let (turned, ended) = (guest.clone(), Rc::clone(&done));
    let turn = Closures::new().on_read(move |cx| {
        turned.turn();
        if ended() {
            cx.stop();
        }
    });
    host.register(guest.fd().unwrap(), Interest::READ, turn)
        .unwrap();
    if !done() {
        host.run().unwrap();
    }
}

/// A loop of ours, by a coroutine: edge-triggered.
fn by_source(guest: &Guest, done: Rc<dyn Fn() -> bool>) {
    let guest = guest.clone();
    strict_runner()
        .run(async move {
            let source = Async::new(guest.fd().unwrap()).unwrap();
            let all = source.io(Direction::Read, |_| {
                guest.turn();
                match done() {
                    true => Ok(()),
                    false => Err(io::ErrorKind::WouldBlock.into()),
                }
            });
            all.await.unwrap();
        })
        .unwrap();
}

const HOSTS: &[(&str, Host)] = &[
    ("poll(2)", by_poll),
    #[cfg(target_os = "linux")]
    ("epoll by the level", by_level),
    #[cfg(target_os = "linux")]
    ("epoll by the edge", by_edge),
    ("callbacks of a loop of ours", by_callback),
    ("a coroutine of a loop of ours", by_source),
];

/// Tries `what` with each host.
fn with_each_host(deadlines: bool, what: fn(&Guest, Host)) {
    if Guest::new(deadlines).fd().is_none() {
        println!("this poller has no descriptor for a host, or no deadline in it");
        return;
    }
    for &(name, host) in HOSTS {
        println!("{name}");
        what(&Guest::new(deadlines), host);
    }
}

fn counted(guest: &Guest, log: &Log, enough: usize) -> Rc<dyn Fn() -> bool> {
    let (log, guest) = (log.clone(), guest.clone());
    Rc::new(move || {
        assert!(guest.turns.get() < 1000, "it is turned for ever");
        log.len() >= enough
    })
}

/// R165: more than one wait fetches, more than one turn accepts, more than one callback reads.
#[test]
fn what_a_turn_leaves_to_be_done_is_signalled_to_each_kind_of_host() {
    let _guard = guard!();
    with_each_host(false, |guest, host| {
        let (log, mut peers) = (Log::default(), Vec::new());
        for _ in 0..100 {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"twelve bytes").unwrap();
            let note = log.clone();
            // By the level, and a third of what is there.
            let read = Closures::new().on_read(move |cx| {
                note.note(cx.read(&mut [0; 4]).unwrap());
            });
            guest.with(|it| it.register(ours, Interest::READ, read).unwrap());
            peers.push(theirs);
        }
        host(guest, counted(guest, &log, 300));
        assert!(guest.is_quiet());

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..100)
            .map(|_| TcpStream::connect(addr).unwrap())
            .collect();
        let log = Log::default();
        let accepted = log.clone();
        let key = guest.with(|it| {
            it.listen(listener, move |_, _| {
                accepted.note("accepted");
                None::<Closures>
            })
        });
        host(guest, counted(guest, &log, clients.len()));
        drop(clients);
        guest.with(|it| it.remove(key.unwrap()).unwrap());
    });
}

/// R166: on the loop's own thread, between two turns.
#[test]
fn what_the_host_gives_the_loop_between_two_turns_is_signalled_to_each_kind_of_host() {
    let _guard = guard!();
    with_each_host(false, |guest, host| {
        let log = Log::default();
        let give: [fn(&EventLoop, Log); 6] = [
            |it, log| _ = it.call_soon(move |_| log.note("closure")),
            |it, log| drop(it.spawn(async move { log.note("task") })),
            |it, log| drop(it.call_later(Duration::ZERO, move |_| log.note("timer"))),
            |it, log| {
                // What a closure queues is left when the turn ends.
                it.call_soon(|handle| _ = handle.call_soon(move |_| log.note("chain")));
            },
            |it, log| {
                let _entered = it.enter();
                let (promise, future) = create_future::<u32>();
                drop(it.spawn(async move { log.note(future.await.unwrap()) }));
                // It waits by now, and is settled in another pause.
                it.call_soon(move |handle| {
                    handle.call_soon(move |_| promise.set_result(1).unwrap());
                });
            },
            |it, log| {
                let remote = it.remote_handle();
                let sends = move || remote.call_soon(|_| ()).is_ok();
                assert!(std::thread::spawn(sends).join().unwrap());
                it.call_soon(move |_| log.note("after a thread's"));
            },
        ];
        // Before the host has asked for the descriptor, and ever after.
        guest.with(|it| give[0](it, log.clone()));
        host(guest, counted(guest, &log, 1));
        for round in 0..3 {
            for (n, give) in give.iter().enumerate() {
                let enough = log.len() + 1;
                guest.with(|it| give(it, log.clone()));
                assert!(!guest.is_quiet(), "{round} {n}: at once");
                host(guest, counted(guest, &log, enough));
                assert_eq!(log.len(), enough, "{round} {n}: {}", log.text());
                assert!(guest.is_quiet(), "{round} {n}");
            }
        }
        assert!(guest.turns.get() < 100, "{} turns", guest.turns.get());
    });
}

/// R166: a promise that the host keeps, and settles where it has entered the loop.
#[test]
fn a_promise_that_the_host_settles_is_signalled_to_each_kind_of_host() {
    let _guard = guard!();
    with_each_host(false, |guest, host| {
        let log = Log::default();
        let promise = guest.with(|it| {
            let _entered = it.enter();
            let (promise, future) = create_future::<u32>();
            let note = log.clone();
            drop(it.spawn(async move { note.note(future.await.unwrap()) }));
            promise
        });
        guest.turn();
        guest.fd().unwrap();
        assert!(guest.is_quiet());
        guest.with(|it| {
            let _entered = it.enter();
            promise.set_result(21).unwrap();
        });
        assert!(!guest.is_quiet(), "at once");
        host(guest, counted(guest, &log, 1));
        assert_eq!(log.text(), "21");
    });
}

/// R166: the host is notified once between turns, however much is queued, and never during a turn.
#[test]
fn a_loop_without_a_host_is_not_notified_and_one_with_a_host_once_in_a_pause() {
    let _guard = guard!();
    let rings = Arc::new(AtomicUsize::new(0));
    let poller = Box::new(Counting::new(Arc::clone(&rings)));
    let mut event_loop = EventLoop::with(poller, Box::new(Monotonic::new())).unwrap();
    let rings = || rings.load(Ordering::Relaxed);
    let add = |event_loop: &EventLoop| {
        for _ in 0..10 {
            event_loop.call_soon(|handle| _ = handle.call_soon(|_| ()));
            drop(event_loop.spawn(async {}));
            event_loop.call_later(Duration::ZERO, |_| ());
        }
    };
    add(&event_loop);
    turn_times(&mut event_loop, 3);
    assert_eq!(rings(), 0, "no host has asked for the descriptor");
    if event_loop.as_fd().is_err() {
        return;
    }
    assert_eq!(rings(), 0, "there is nothing to do");
    add(&event_loop);
    assert_eq!(rings(), 1);
    // The closures have queued others: the turn ends with a notification, the next one does not.
    event_loop.turn_now().unwrap();
    assert_eq!(rings(), 2);
    event_loop.turn_now().unwrap();
    event_loop.turn_now().unwrap();
    assert_eq!(rings(), 2);
    // A later deadline than the next one changes nothing for the host; an earlier one does.
    for (after, expected) in [(500, 3), (900, 3), (900, 3)] {
        event_loop.call_later(Duration::from_secs(after), |_| ());
        assert_eq!(rings(), expected, "{after}");
    }
    event_loop.turn_now().unwrap();
    event_loop.call_later(Duration::from_secs(600), |_| ());
    assert_eq!(rings(), 3);
    event_loop.call_later(Duration::from_secs(400), |_| ());
    assert_eq!(rings(), 4);
}

/// R167: the host asks for no deadline.
#[test]
fn deadlines_are_signalled_to_each_kind_of_host_that_wants_them_in_the_descriptor() {
    let _guard = guard!();
    with_each_host(true, |guest, host| {
        let log = Log::default();
        let ms = Duration::from_millis(1);
        let arm = |after: Duration| {
            let note = log.clone();
            let due = guest.with(|it| it.fresh_now() + after);
            guest.with(|it| {
                it.call_later(after, move |handle| {
                    assert!(handle.fresh_now() >= due);
                    note.note("due");
                })
            })
        };
        // A far one, which the host waits for; then, between two turns, one that is earlier.
        let far = arm(Duration::from_secs(3600 * 24 * 400));
        guest.turn();
        arm(3 * ms);
        host(guest, counted(guest, &log, 1));
        // Some in a row, one of them in a callback, one cancelled.
        arm(ms);
        arm(ms).cancel();
        arm(4 * ms);
        let note = log.clone();
        guest.with(|it| {
            it.call_later(2 * ms, move |handle| {
                handle.call_later(Duration::from_millis(1), move |_| note.note("due"));
            })
        });
        host(guest, counted(guest, &log, 4));
        far.cancel();
        guest.turn();
        assert!(guest.is_quiet(), "nothing is armed");
        assert!(guest.turns.get() < 40, "{} turns", guest.turns.get());
    });
}

/// R165: a loop in a loop in a host, by edges all the way.
#[test]
#[cfg(target_os = "linux")]
fn a_loop_in_a_loop_in_a_host_passes_everything_on() {
    let _guard = guard!();
    let (outer, inner) = (Guest::new(false), Guest::new(false));
    let (Some(_), Some(fd)) = (outer.fd(), inner.fd()) else {
        return;
    };
    let log = Log::default();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let note = log.clone();
    let read = Closures::new().on_read(move |cx| note.note(cx.read(&mut [0; 1]).unwrap()));
    inner.with(|it| it.register(ours, Interest::READ, read).unwrap());
    let turned = inner.clone();
    let turn = Closures::new().on_read(move |_| turned.turn());
    outer.with(|it| it.register(fd, Interest::READ, turn).unwrap());
    for round in 1..4 {
        theirs.write_all(b"abc").unwrap();
        by_edge(&outer, counted(&outer, &log, 3 * round));
    }
    let note = log.clone();
    inner.with(|it| _ = it.call_soon(move |_| note.note("given")));
    by_edge(&outer, counted(&outer, &log, 10));
}

/// R165: an edge-triggered host misses no event that comes while the embedded loop turns.
#[test]
fn bytes_that_come_during_a_turn_are_signalled_to_each_kind_of_host() {
    let _guard = guard!();
    with_each_host(false, |guest, host| {
        let log = Log::default();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut peer = theirs.try_clone().unwrap();
        let note = log.clone();
        let read = Closures::new().on_read(move |cx| {
            let n = cx.read(&mut [0; 8]).unwrap();
            note.note(n);
            if note.len() < 20 {
                peer.write_all(b"x").unwrap();
            }
        });
        guest.with(|it| it.register(ours, Interest::READ, read).unwrap());
        (&theirs).write_all(b"x").unwrap();
        host(guest, counted(guest, &log, 20));
        assert!(guest.is_quiet());
        theirs.set_nonblocking(true).unwrap();
        assert!((&theirs).read(&mut [0; 1]).is_err(), "nothing came back");
    });
}
