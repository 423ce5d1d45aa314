//! Errors that do not end a connection: Linux reports one when a socket's error queue has an entry,
//! or when a file of `/proc` or `/sys` has changed.
//!
//! Invariant: L4.

use crate::moody::{Mood, moody_on};
use crate::support::{
    Log, collect_unhandled, drain, guard, listener, tcp_pair, turn_times, turn_until, turns_in,
};
use readily::poll::default_poller::EpollPoller;
use readily::poll::poll2::PollPoller;
use readily::{Callbacks, Closures, Cx, EventLoop, Interest, Readiness};
use readily_sys::error_queue;
use socket2::{Domain, Protocol, Socket, Type};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

/// On epoll, whichever poller the suite runs on: kqueue has neither error queues nor files of the kernel.
fn linux() -> (EventLoop, Rc<Mood>) {
    moody_on(Box::new(EpollPoller::new().unwrap()))
}

static BLOCK: [u8; 1 << 16] = [7; 1 << 16];

/// Answers each read with a block that is not copied, and fetches completions only if it has interest
/// in them.
fn answers(log: &Log) -> impl Callbacks + use<> {
    let (read, hangup, other) = (log.clone(), log.clone(), log.clone());
    Closures::new()
        .on_read(move |cx| {
            let mut question = [0; 4];
            if let Ok(n) = cx.read(&mut question) {
                read.note(format!("read:{n}"));
                match n {
                    0 => cx.close(),
                    _ => drop(error_queue::send_zerocopy(cx.fd(), &BLOCK).unwrap()),
                }
            }
        })
        .on_default(move |cx, ready| {
            assert!(ready.contains(Readiness::ERROR) && !ready.is_closed());
            let mut fetched = 0;
            while error_queue::fetch(cx.fd()).unwrap() {
                fetched += 1;
            }
            other.note(format!("fetched:{}", u8::from(fetched > 0)));
        })
        .on_hangup(move |_, error| hangup.note(format!("HANGUP:{error:?}")))
}

/// Whether this kernel can send without copying.
fn can() -> bool {
    let (ours, _theirs) = tcp_pair();
    let can = error_queue::send_zerocopy(ours.as_fd(), b"x").is_ok();
    if !can {
        println!("skipped: no MSG_ZEROCOPY here");
    }
    can
}

/// R155: a connection that sends without copying is served on, whether its completions are fetched,
/// and costs nothing while nothing happens.
fn serve_without_copying(mut event_loop: EventLoop, interest: Interest) -> Log {
    let log = Log::default();
    let (ours, mut theirs) = tcp_pair();
    let key = event_loop.register(ours, interest, answers(&log)).unwrap();
    let mut answer = vec![0; BLOCK.len()];
    for n in 1..=3 {
        theirs.write_all(b"ping").unwrap();
        turn_until(&mut event_loop, || log.count("read:4") == n);
        theirs.read_exact(&mut answer).unwrap(); // and with that it is sent
        let turns = turns_in(&mut event_loop, Duration::from_millis(30));
        assert!(turns < 12, "{turns} turns in 30 ms with nothing to do");
        assert!(event_loop.interest_of(key).is_ok(), "{}", log.text());
    }
    // A question in three pieces is one that is read by and by, though only the first is news.
    theirs.write_all(b"pingpingping").unwrap();
    turn_until(&mut event_loop, || log.count("read:4") == 6);
    for _ in 0..3 {
        theirs.read_exact(&mut answer).unwrap();
    }
    theirs.shutdown(Shutdown::Write).unwrap();
    turn_until(&mut event_loop, || log.has("read:0"));
    assert_eq!(event_loop.registered(), 0);
    assert!(!log.text().contains("HANGUP"), "{}", log.text());
    log
}

#[test]
fn completions_that_are_not_fetched_neither_end_a_connection_nor_make_the_loop_spin() {
    let _guard = guard!();
    if can() {
        let log = serve_without_copying(linux().0, Interest::READ);
        assert!(
            !log.text().contains("fetched"),
            "no interest in them: {}",
            log.text()
        );
    }
}

#[test]
fn completions_are_the_default_branch_with_priority_interest() {
    let _guard = guard!();
    if can() {
        let log = serve_without_copying(linux().0, Interest::READ | Interest::PRIORITY);
        assert!(log.has("fetched:1"), "{}", log.text());
    }
}

#[test]
fn completions_that_are_not_fetched_end_nothing_on_a_poller_without_edges_either() {
    let _guard = guard!();
    if can() {
        let (event_loop, _mood) = moody_on(Box::new(PollPoller::new().unwrap()));
        serve_without_copying(event_loop, Interest::READ);
    }
}

/// A writer that has room gets each event, with or without completions.
#[test]
fn what_was_asked_for_by_the_level_stays_that_with_an_error_beside_it() {
    let _guard = guard!();
    if !can() {
        return;
    }
    let (mut event_loop, _mood) = linux();
    let (ours, mut theirs) = tcp_pair();
    error_queue::send_zerocopy(ours.as_fd(), b"first").unwrap();
    theirs.read_exact(&mut [0; 5]).unwrap();
    let log = Log::default();
    let write = log.clone();
    let callbacks = Closures::new().on_write(move |cx| {
        write.note("room");
        cx.write(b"x").unwrap();
        if write.len() == 50 {
            cx.remove_interest(Interest::WRITE);
        }
    });
    event_loop
        .register(ours, Interest::WRITE, callbacks)
        .unwrap();
    turn_until(&mut event_loop, || log.len() == 50);
    let turns = turns_in(&mut event_loop, Duration::from_millis(30));
    assert!(turns < 12, "{turns} turns");
    theirs.read_exact(&mut [0; 50]).unwrap();
}

/// R013, R155: if the poller refuses to rearm the registration, there is one report, and no other event
/// until the interest is set again.
#[test]
fn a_refusal_to_rearm_beside_an_error_is_reported() {
    let _guard = guard!();
    if !can() {
        return;
    }
    let (mut event_loop, mood) = linux();
    let reports = collect_unhandled(&event_loop);
    let (ours, mut theirs) = tcp_pair();
    error_queue::send_zerocopy(ours.as_fd(), b"first").unwrap();
    theirs.read_exact(&mut [0; 5]).unwrap();
    let log = Log::default();
    let (write, refusing) = (log.clone(), Rc::clone(&mood));
    let callbacks = Closures::new().on_write(move |_| {
        write.note("room");
        if write.len() == 10 {
            refusing.modify.set(Some(libc::ENOMEM));
        }
    });
    let key = event_loop
        .register(ours, Interest::WRITE, callbacks)
        .unwrap();
    turn_until(&mut event_loop, || log.len() == 10);
    turn_times(&mut event_loop, 5);
    assert_eq!((log.len(), reports.len()), (10, 1), "{}", reports.text());
    let expected = "rearming a connection whose error was not fetched: ";
    assert!(reports.text().starts_with(expected), "{}", reports.text());
    mood.modify.set(None);
    event_loop.set_interest_of(key, Interest::READ).unwrap();
    event_loop.set_interest_of(key, Interest::WRITE).unwrap();
    turn_until(&mut event_loop, || log.len() > 12);
    assert_eq!(reports.len(), 1, "{}", reports.text());
}

/// R155: over `poll(2)`, too, an error that is not fetched delays no byte: a turn that does not wait
/// reports the room.
#[test]
fn what_holds_beside_an_error_is_reported_in_each_turn_by_a_poller_without_edges() {
    let _guard = guard!();
    if !can() {
        return;
    }
    let (mut event_loop, _mood) = moody_on(Box::new(PollPoller::new().unwrap()));
    let (ours, mut theirs) = tcp_pair();
    error_queue::send_zerocopy(ours.as_fd(), b"first").unwrap();
    theirs.read_exact(&mut [0; 5]).unwrap();
    let log = Log::default();
    let write = log.clone();
    let callbacks = Closures::new().on_write(move |cx| {
        write.note("room");
        cx.write(b"x").unwrap();
    });
    let key = event_loop
        .register(ours, Interest::WRITE, callbacks)
        .unwrap();
    for n in 1..=200 {
        event_loop.turn_now().unwrap();
        assert_eq!(log.len(), n);
    }
    event_loop.set_interest_of(key, Interest::READ).unwrap();
    let turns = turns_in(&mut event_loop, Duration::from_millis(30));
    assert!(turns < 12, "{turns} turns");
    theirs.read_exact(&mut [0; 200]).unwrap();
}

/// R155: of datagrams, whose error branch is the next receive; but a timestamp is none.
#[test]
fn timestamps_that_are_not_fetched_do_not_make_a_datagram_socket_spin() {
    let _guard = guard!();
    for interest in [Interest::NONE, Interest::READ] {
        let (mut event_loop, _mood) = linux();
        let ours = Rc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        let theirs = UdpSocket::bind("127.0.0.1:0").unwrap();
        ours.connect(theirs.local_addr().unwrap()).unwrap();
        error_queue::stamp_sends(ours.as_fd()).unwrap();
        ours.send(b"stamped").unwrap();
        let log = Log::default();
        let (read, hangup) = (log.clone(), log.clone());
        let callbacks = Closures::new()
            .on_read(move |cx| {
                if let Ok(n) = cx.read(&mut [0; 64]) {
                    read.note(n);
                }
            })
            .on_hangup(move |_, _| hangup.note("HANGUP"));
        let key = event_loop
            .register(Rc::clone(&ours), interest, callbacks)
            .unwrap();
        let turns = turns_in(&mut event_loop, Duration::from_millis(30));
        assert!(turns < 12, "{interest:?}: {turns} turns");
        assert!(error_queue::fetch(ours.as_fd()).unwrap(), "it was there");
        event_loop.set_interest_of(key, Interest::READ).unwrap();
        for n in 1..=3 {
            theirs
                .send_to(b"answer", ours.local_addr().unwrap())
                .unwrap();
            turn_until(&mut event_loop, || log.count("6") == n);
        }
        assert_eq!(log.text(), "6 6 6");
    }
}

/// R155: a file of the kernel's reports a change as `PRI` with `ERR` until it is read. A file that
/// was never read has one.
#[test]
fn a_kernel_file_that_has_changed_runs_the_default_branch_and_is_no_end() {
    let _guard = guard!();
    let Ok(file) = File::open("/sys/class/net/lo/mtu") else {
        return println!("skipped: no /sys here");
    };
    let (mut event_loop, _mood) = linux();
    let log = Log::default();
    let (other, hangup) = (log.clone(), log.clone());
    let callbacks = Closures::new()
        .on_default(move |cx, ready| {
            assert!(ready.contains(Readiness::PRIORITY));
            other.note("changed");
            let mut text = [0; 64];
            cx.read(&mut text).unwrap(); // seen
        })
        .on_hangup(move |_, _| hangup.note("HANGUP"));
    let key = event_loop.register(OwnedFd::from(file), Interest::PRIORITY, callbacks);
    let key = key.unwrap();
    turn_until(&mut event_loop, || log.len() > 0);
    let turns = turns_in(&mut event_loop, Duration::from_millis(20));
    assert!(turns < 12, "{turns} turns");
    assert_eq!(log.text(), "changed");
    event_loop.remove(key).unwrap();
}

/// R155, L4: urgent data is reported before the end of the connection, which takes it away.
#[test]
fn urgent_data_is_reported_before_the_hangup_that_comes_with_it() {
    let _guard = guard!();
    let (mut event_loop, _mood) = linux();
    let (ours, theirs) = tcp_pair();
    socket2::SockRef::from(&theirs)
        .send_out_of_band(b"!")
        .unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    drop(theirs);
    let log = Log::default();
    let (other, hangup) = (log.clone(), log.clone());
    let callbacks = Closures::new()
        .on_default(move |_, ready| {
            assert!(ready.contains(Readiness::PRIORITY));
            other.note("urgent");
        })
        .on_hangup(move |_, _| hangup.note("hangup"));
    event_loop
        .register(ours, Interest::PRIORITY, callbacks)
        .unwrap();
    turn_until(&mut event_loop, || log.has("hangup"));
    assert!(log.text().starts_with("urgent"), "{}", log.text());
}

/// Notes its role, which is what decides whether an error is an end.
struct Roles(Log);

impl Callbacks for Roles {
    fn on_write(&mut self, cx: &Cx<'_>) {
        self.0.note(format!("{:?}", cx.role()));
        cx.close();
    }
}

#[test]
fn raw_netlink_and_packet_sockets_are_datagrams() {
    let _guard = guard!();
    let raw = |domain, protocol: i32| {
        Socket::new(
            Domain::from(domain),
            Type::from(libc::SOCK_RAW),
            Some(Protocol::from(protocol)),
        )
    };
    let sockets = [
        raw(libc::AF_NETLINK, 0),
        raw(libc::AF_INET, libc::IPPROTO_ICMP),
        raw(libc::AF_PACKET, 0),
    ];
    for socket in sockets {
        let Ok(socket) = socket else {
            println!("skipped: not permitted here");
            continue;
        };
        let (mut event_loop, _mood) = linux();
        let log = Log::default();
        event_loop
            .register(OwnedFd::from(socket), Interest::WRITE, Roles(log.clone()))
            .unwrap();
        turn_until(&mut event_loop, || log.len() > 0);
        assert_eq!(log.text(), "Datagram");
    }
}

/// R155: a healthy socket is asked for its error and stays registered; a pipe cannot be asked.
#[test]
fn an_error_of_open_sides_ends_a_pipe_and_no_socket() {
    let _guard = guard!();
    let (mut event_loop, mood) = linux();
    let log = Log::default();
    let note = |name: &'static str| {
        let hangup = log.clone();
        Closures::new()
            .on_read(move |cx| assert!(!drain(cx, &mut Vec::new())))
            .on_hangup(move |_, _| hangup.note(name))
    };
    let (stream, _peer) = UnixStream::pair().unwrap();
    let (listening, _addr) = listener();
    let (_reading, writing) = io::pipe().unwrap();
    let (tcp, _far) = tcp_pair();
    for (fd, name) in [
        (OwnedFd::from(stream), "stream"),
        (OwnedFd::from(listening), "listener"),
        (OwnedFd::from(tcp), "tcp"),
        (OwnedFd::from(writing), "pipe"),
    ] {
        event_loop.register(fd, Interest::NONE, note(name)).unwrap();
    }
    mood.lie.set(Some(Readiness::ERROR));
    turn_times(&mut event_loop, 3);
    assert_eq!(log.text(), "pipe");
    assert_eq!(event_loop.registered(), 3);
}
