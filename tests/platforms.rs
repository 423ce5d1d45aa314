//! What each poller says in each situation: the table of `docs/platforms.md`, made anew.
//!
//! The differences between systems are not papered over, they are written down; and what is
//! written down is tried. A scene is set up, registered level-triggered for reading and
//! writing, and again for nothing, and what is reported stands in the table.
//!
//! `READILY_REGENERATE=1 cargo test --test platforms` writes the table of this system.
//! In the notes: epoll on Linux, kqueue on macOS, and so on for others (N2).

#![cfg(any(target_os = "linux", target_os = "android"))]

use readily::poll::{Event, Interest, Readiness, Trigger, os, portable, sim};
use readily::testing::conformance::{End, GUARD, World};
use std::io::ErrorKind;
use std::net::Shutdown;
use std::time::Duration;

/// A descriptor to be looked at, and what must stay open meanwhile.
struct Scene {
    here: End,
    _there: Option<End>,
}

impl Scene {
    fn of(here: End, there: impl Into<Option<End>>) -> Self {
        Self {
            here,
            _there: there.into(),
        }
    }
}

type Setup = fn(&World) -> Scene;

const SCENES: &[(&str, Setup)] = &[
    ("pair: quiet", |w| {
        let (here, there) = w.pair();
        Scene::of(here, there)
    }),
    ("pair: bytes wait", |w| {
        let (here, there) = w.pair();
        there.put(b"x");
        Scene::of(here, there)
    }),
    ("pair: peer shut its writing down", |w| {
        let (here, there) = w.pair();
        there.shutdown(Shutdown::Write);
        Scene::of(here, there)
    }),
    ("pair: peer shut its reading down", |w| {
        let (here, there) = w.pair();
        there.shutdown(Shutdown::Read);
        Scene::of(here, there)
    }),
    ("pair: we shut our writing down", |w| {
        let (here, there) = w.pair();
        here.shutdown(Shutdown::Write);
        Scene::of(here, there)
    }),
    ("pair: peer closed", |w| {
        let (here, there) = w.pair();
        drop(there);
        Scene::of(here, None)
    }),
    ("pair: peer closed, bytes wait", |w| {
        let (here, there) = w.pair();
        there.put(b"x");
        drop(there);
        Scene::of(here, None)
    }),
    ("pair: peer closed without reading ours", |w| {
        let (here, there) = w.pair();
        here.put(b"x");
        drop(there);
        Scene::of(here, None)
    }),
    ("pair: our buffer is full", |w| {
        let (here, there) = w.pair();
        here.fill();
        Scene::of(here, there)
    }),
    ("TCP: quiet", |w| {
        let (here, there) = w.tcp();
        Scene::of(here, there)
    }),
    ("TCP: bytes wait", |w| {
        let (here, there) = w.tcp();
        there.put(b"x");
        Scene::of(here, there)
    }),
    ("TCP: peer shut its writing down", |w| {
        let (here, there) = w.tcp();
        there.shutdown(Shutdown::Write);
        Scene::of(here, there)
    }),
    ("TCP: we shut our writing down", |w| {
        let (here, there) = w.tcp();
        here.shutdown(Shutdown::Write);
        Scene::of(here, there)
    }),
    ("TCP: peer closed", |w| {
        let (here, there) = w.tcp();
        drop(there);
        Scene::of(here, None)
    }),
    ("TCP: both shut their writing down", |w| {
        let (here, there) = w.tcp();
        there.shutdown(Shutdown::Write);
        here.shutdown(Shutdown::Write);
        Scene::of(here, there)
    }),
    ("TCP: both shut their writing down, bytes wait", |w| {
        let (here, there) = w.tcp();
        there.put(b"x");
        there.shutdown(Shutdown::Write);
        here.shutdown(Shutdown::Write);
        Scene::of(here, there)
    }),
    ("TCP: reset by the peer", |w| {
        let (here, there) = w.tcp();
        there.reset();
        Scene::of(here, None)
    }),
    ("TCP: reset by the peer, bytes wait", |w| {
        let (here, there) = w.tcp();
        there.put(b"x");
        there.reset();
        Scene::of(here, None)
    }),
    ("TCP: reset, and the error taken by a read", |w| {
        let (here, there) = w.tcp();
        there.reset();
        // It may take a moment to arrive.
        while here.read(&mut [0]).unwrap_err().kind() == ErrorKind::WouldBlock {}
        Scene::of(here, None)
    }),
    ("TCP: never connected", |w| Scene::of(w.unconnected(), None)),
    ("TCP: refused", |w| {
        let (listener, addr) = w.listener();
        drop(listener);
        Scene::of(w.connect(addr), None)
    }),
    ("listener: nobody there", |w| {
        Scene::of(w.listener().0, None)
    }),
    ("listener: a connection waits", |w| {
        let (listener, addr) = w.listener();
        let client = w.connect(addr);
        Scene::of(listener, client)
    }),
    ("pipe, reading end: empty", |w| {
        let (reader, writer) = w.pipe();
        Scene::of(reader, writer)
    }),
    ("pipe, reading end: bytes wait", |w| {
        let (reader, writer) = w.pipe();
        writer.put(b"x");
        Scene::of(reader, writer)
    }),
    ("pipe, reading end: no writer left", |w| {
        let (reader, writer) = w.pipe();
        drop(writer);
        Scene::of(reader, None)
    }),
    ("pipe, reading end: no writer left, bytes wait", |w| {
        let (reader, writer) = w.pipe();
        writer.put(b"x");
        drop(writer);
        Scene::of(reader, None)
    }),
    ("pipe, writing end: room", |w| {
        let (reader, writer) = w.pipe();
        Scene::of(writer, reader)
    }),
    ("pipe, writing end: no reader left", |w| {
        let (reader, writer) = w.pipe();
        drop(reader);
        Scene::of(writer, None)
    }),
];

/// What is reported for a scene of `world`, once it is `expected`, or else when there is no more
/// hope: what travels through the loopback may take a moment.
fn observe(mut world: World, setup: Setup, interest: Interest, expected: &str) -> String {
    let scene = setup(&world);
    world.register(scene.here.number(), 1, interest, Trigger::Level);
    let patience = match expected {
        "" => Duration::from_millis(100),
        _ => GUARD,
    };
    let deadline = world.time() + patience;
    loop {
        let mut events: Vec<Event> = Vec::new();
        world.wait(&mut events, Some(Duration::from_millis(5)));
        let ready = events.first().map_or(Readiness::NONE, |event| event.ready);
        let said = match ready {
            Readiness::NONE => "–".to_owned(),
            ready => format!("{ready:?}").replace(" | ", ", "),
        };
        // In memory time goes on only where nothing is ready; and nothing is on its way.
        if said == expected || world.time() > deadline || !world.ground().is_the_systems() {
            return said;
        }
    }
}

/// The pollers of the table, in the order of its columns.
type Column = (&'static str, fn() -> World);

const WORLDS: [Column; 3] = [
    ("epoll", || World::new(os::EpollPoller::new().unwrap())),
    ("poll(2)", || {
        World::new(portable::PollPoller::new().unwrap())
    }),
    ("in memory", || {
        let kernel = sim::Kernel::new();
        World::on(kernel.clone(), kernel.poller())
    }),
];

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
    let names: Vec<&str> = WORLDS.iter().map(|(name, _)| *name).collect();
    let names = names.join(" | ");
    let mut made = format!("| scene | asked for both: {names} | asked for nothing: {names} |\n");
    made += &"|---".repeat(1 + 2 * WORLDS.len());
    made += "|\n";
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
        cells.resize(2 * WORLDS.len(), "");
        if regenerate {
            cells.fill("");
        }
        let mut cells = cells.into_iter();
        let mut said = Vec::new();
        for interest in [Interest::BOTH, Interest::NONE] {
            for (_, world) in WORLDS {
                let expected = cells.next().unwrap_or_default();
                said.push(observe(world(), *setup, interest, expected));
            }
        }
        made += &format!("| {name} | {} |\n", said.join(" | "));
    }
    if regenerate {
        std::fs::write(FILE, [before, BEGIN, &made, END, after].concat()).unwrap();
    } else {
        assert_eq!(table, made, "READILY_REGENERATE=1 writes the table anew");
    }
}
