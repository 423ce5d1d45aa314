//! What each poller says in each situation: the table of `docs/platforms.md`, made anew.
//!
//! The differences between systems are not papered over, they are written down; and what is
//! written down is tried. A scene is set up, registered level-triggered for reading and
//! writing, and again for nothing, and what is reported stands in the table.
//!
//! `READILY_REGENERATE=1 cargo test --test platforms` writes the table of this system.
//! In the notes: epoll on Linux, kqueue on macOS, and so on for others (N2).

#![cfg(any(target_os = "linux", target_os = "android"))]
#![allow(unsafe_code)] // the kit makes pipes and resets by hand
#![allow(unreachable_pub, dead_code)] // and is shared with the conformance suite

#[path = "conformance/kit.rs"]
mod kit;

use readily::poll::{Event, Interest, Poller, Readiness, Trigger, os, portable};
use std::any::Any;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// A descriptor to be looked at, and what must stay open meanwhile.
struct Scene {
    fd: RawFd,
    _alive: Vec<Box<dyn Any>>,
}

impl Scene {
    fn of(here: impl AsRawFd + 'static, others: impl Any) -> Self {
        Self {
            fd: here.as_raw_fd(),
            _alive: vec![Box::new(here), Box::new(others)],
        }
    }
}

type Setup = fn() -> Scene;

const SCENES: &[(&str, Setup)] = &[
    ("pair: quiet", || {
        let (here, there) = kit::pair();
        Scene::of(here, there)
    }),
    ("pair: bytes wait", || {
        let (here, mut there) = kit::pair();
        there.write_all(b"x").unwrap();
        Scene::of(here, there)
    }),
    ("pair: peer shut its writing down", || {
        let (here, there) = kit::pair();
        there.shutdown(Shutdown::Write).unwrap();
        Scene::of(here, there)
    }),
    ("pair: peer shut its reading down", || {
        let (here, there) = kit::pair();
        there.shutdown(Shutdown::Read).unwrap();
        Scene::of(here, there)
    }),
    ("pair: we shut our writing down", || {
        let (here, there) = kit::pair();
        here.shutdown(Shutdown::Write).unwrap();
        Scene::of(here, there)
    }),
    ("pair: peer closed", || {
        let (here, there) = kit::pair();
        drop(there);
        Scene::of(here, ())
    }),
    ("pair: peer closed, bytes wait", || {
        let (here, mut there) = kit::pair();
        there.write_all(b"x").unwrap();
        drop(there);
        Scene::of(here, ())
    }),
    ("pair: peer closed without reading ours", || {
        let (mut here, there) = kit::pair();
        here.write_all(b"x").unwrap();
        drop(there);
        Scene::of(here, ())
    }),
    ("pair: our buffer is full", || {
        let (mut here, there) = kit::pair();
        while here.write(&[0; 4096]).is_ok() {}
        Scene::of(here, there)
    }),
    ("TCP: quiet", || {
        let (here, there) = kit::tcp();
        Scene::of(here, there)
    }),
    ("TCP: bytes wait", || {
        let (here, mut there) = kit::tcp();
        there.write_all(b"x").unwrap();
        Scene::of(here, there)
    }),
    ("TCP: peer shut its writing down", || {
        let (here, there) = kit::tcp();
        there.shutdown(Shutdown::Write).unwrap();
        Scene::of(here, there)
    }),
    ("TCP: we shut our writing down", || {
        let (here, there) = kit::tcp();
        here.shutdown(Shutdown::Write).unwrap();
        Scene::of(here, there)
    }),
    ("TCP: peer closed", || {
        let (here, there) = kit::tcp();
        drop(there);
        Scene::of(here, ())
    }),
    ("TCP: both shut their writing down", || {
        let (here, there) = kit::tcp();
        there.shutdown(Shutdown::Write).unwrap();
        here.shutdown(Shutdown::Write).unwrap();
        Scene::of(here, there)
    }),
    ("TCP: both shut their writing down, bytes wait", || {
        let (here, mut there) = kit::tcp();
        there.write_all(b"x").unwrap();
        there.shutdown(Shutdown::Write).unwrap();
        here.shutdown(Shutdown::Write).unwrap();
        Scene::of(here, there)
    }),
    ("TCP: reset by the peer", || {
        let (here, there) = kit::tcp();
        kit::reset(there);
        Scene::of(here, ())
    }),
    ("TCP: reset by the peer, bytes wait", || {
        let (here, mut there) = kit::tcp();
        there.write_all(b"x").unwrap();
        kit::reset(there);
        Scene::of(here, ())
    }),
    ("TCP: reset, and the error taken by a read", || {
        let (mut here, there) = kit::tcp();
        kit::reset(there);
        here.set_nonblocking(false).unwrap();
        here.read(&mut [0]).unwrap_err();
        Scene::of(here, ())
    }),
    ("TCP: never connected", || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        Scene::of(socket.unwrap(), ())
    }),
    ("TCP: refused", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        Scene::of(readily_sys::socket::connect_tcp(&addr).unwrap(), ())
    }),
    ("listener: nobody there", || {
        Scene::of(TcpListener::bind("127.0.0.1:0").unwrap(), ())
    }),
    ("listener: a connection waits", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Scene::of(listener, client)
    }),
    ("pipe, reading end: empty", || {
        let (reader, writer) = kit::pipe();
        Scene::of(reader, writer)
    }),
    ("pipe, reading end: bytes wait", || {
        let (reader, writer) = kit::pipe();
        std::fs::File::from(writer.try_clone().unwrap())
            .write_all(b"x")
            .unwrap();
        Scene::of(reader, writer)
    }),
    ("pipe, reading end: no writer left", || {
        let (reader, writer) = kit::pipe();
        drop(writer);
        Scene::of(reader, ())
    }),
    ("pipe, reading end: no writer left, bytes wait", || {
        let (reader, writer) = kit::pipe();
        std::fs::File::from(writer).write_all(b"x").unwrap();
        Scene::of(reader, ())
    }),
    ("pipe, writing end: room", || {
        let (reader, writer) = kit::pipe();
        Scene::of(writer, reader)
    }),
    ("pipe, writing end: no reader left", || {
        let (reader, writer) = kit::pipe();
        drop(reader);
        Scene::of(writer, ())
    }),
];

/// What is reported for `scene`, once it is `expected`, or else when there is no more hope:
/// what travels through the loopback may take a moment.
fn observe(
    mut poller: Box<dyn Poller>,
    scene: &Scene,
    interest: Interest,
    expected: &str,
) -> String {
    poller
        .register(scene.fd, 1, interest, Trigger::Level)
        .unwrap();
    let patience = if expected.is_empty() {
        Duration::from_millis(100)
    } else {
        kit::GUARD
    };
    let deadline = kit::instant() + patience;
    loop {
        let mut events: Vec<Event> = Vec::new();
        poller
            .wait(&mut events, Some(Duration::from_millis(5)))
            .unwrap();
        let ready = events.first().map_or(Readiness::NONE, |event| event.ready);
        let said = match ready {
            Readiness::NONE => "–".to_owned(),
            ready => format!("{ready:?}").replace(" | ", ", "),
        };
        if said == expected || kit::instant() > deadline {
            return said;
        }
    }
}

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/platforms.md");
const BEGIN: &str = "<!-- begin: made by tests/platforms.rs -->\n";
const END: &str = "<!-- end -->\n";

#[test]
fn the_table_of_platforms_says_what_the_pollers_say() {
    let page = std::fs::read_to_string(FILE).unwrap();
    let (before, rest) = page
        .split_once(BEGIN)
        .expect("the page has a place for the table");
    let (table, after) = rest.split_once(END).expect("the table ends");
    let regenerate = std::env::var_os("READILY_REGENERATE").is_some();
    let mut made = String::from(
        "| scene | asked for both: epoll | poll(2) | asked for nothing: epoll | poll(2) |\n|---|---|---|---|---|\n",
    );
    for (name, setup) in SCENES {
        let row = table
            .lines()
            .find(|line| line.starts_with(&format!("| {name} |")));
        let mut cells: Vec<&str> = row
            .unwrap_or_default()
            .split('|')
            .map(str::trim)
            .skip(2)
            .collect();
        if regenerate || cells.len() < 4 {
            cells = vec![""; 4];
        }
        let scene = setup();
        let mut said = Vec::new();
        for (column, interest) in [Interest::BOTH, Interest::NONE].into_iter().enumerate() {
            let epoll = Box::new(os::EpollPoller::new().unwrap());
            said.push(observe(epoll, &scene, interest, cells[2 * column]));
            let poll = Box::new(portable::PollPoller::new().unwrap());
            said.push(observe(poll, &scene, interest, cells[2 * column + 1]));
        }
        made += &format!("| {name} | {} |\n", said.join(" | "));
    }
    if regenerate {
        std::fs::write(FILE, [before, BEGIN, &made, END, after].concat()).unwrap();
    } else {
        assert_eq!(table, made, "READILY_REGENERATE=1 writes the table anew");
    }
}
