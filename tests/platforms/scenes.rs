//! The situations of the tables: how each is set up, and what happens next.
//!
//! A scene does not change while its events are collected. In a sequence an action happens between
//! two waits: there the triggers differ, because an edge reports what is new. Both use only what
//! every kernel has.
//!
//! In the notes: the events of N7.

use readily::Interest;
use readily_testing::conformance::{Fixture, TestFd};
use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr};

/// The observed descriptor, and what must stay open meanwhile.
pub(crate) struct Scene {
    pub(crate) here: TestFd,
    there: Option<TestFd>,
    /// The address of a listener.
    addr: Option<SocketAddr>,
    clients: Vec<TestFd>,
}

impl Scene {
    fn of(here: TestFd, there: impl Into<Option<TestFd>>) -> Self {
        Self {
            here,
            there: there.into(),
            addr: None,
            clients: Vec::new(),
        }
    }

    fn pair(fixture: &Fixture) -> Self {
        let (here, there) = fixture.pair();
        Self::of(here, there)
    }

    fn tcp(fixture: &Fixture) -> Self {
        let (here, there) = fixture.tcp();
        Self::of(here, there)
    }

    /// A pipe whose reading end is observed.
    fn reader(fixture: &Fixture) -> Self {
        let (reader, writer) = fixture.pipe();
        Self::of(reader, writer)
    }

    /// A pipe whose writing end is observed.
    fn writer(fixture: &Fixture) -> Self {
        let (reader, writer) = fixture.pipe();
        Self::of(writer, reader)
    }

    /// A listener to which `clients` sockets have connected.
    fn listener(fixture: &Fixture, clients: usize) -> Self {
        let (listener, addr) = fixture.listener();
        let mut scene = Self::of(listener, None);
        scene.addr = Some(addr);
        (0..clients).for_each(|_| scene.connect(fixture));
        scene
    }

    fn connect(&mut self, fixture: &Fixture) {
        let addr = self.addr.expect("a listener has an address");
        self.clients.push(fixture.connect(addr));
    }

    fn there(&self) -> &TestFd {
        self.there.as_ref().expect("the other side is open")
    }

    fn with(self, action: impl FnOnce(&Self)) -> Self {
        action(&self);
        self
    }

    fn alone(mut self) -> Self {
        self.there = None;
        self
    }
}

pub(crate) type Setup = fn(&Fixture) -> Scene;

pub(crate) const SCENES: &[(&str, Setup)] = &[
    ("pair: quiet", Scene::pair),
    ("pair: bytes wait", with_bytes),
    ("pair: peer shut its writing down", half_closed),
    ("pair: peer shut its reading down", |w| {
        Scene::pair(w).with(|s| s.there().shutdown(Shutdown::Read))
    }),
    ("pair: we shut our writing down", |w| {
        Scene::pair(w).with(|s| s.here.shutdown(Shutdown::Write))
    }),
    ("pair: peer closed", |w| Scene::pair(w).alone()),
    ("pair: peer closed, bytes wait", |w| with_bytes(w).alone()),
    ("pair: peer closed without reading ours", |w| {
        Scene::pair(w).with(|s| s.here.put(b"x")).alone()
    }),
    ("pair: our buffer is full", full),
    ("TCP: quiet", Scene::tcp),
    ("TCP: bytes wait", |w| {
        Scene::tcp(w).with(|s| s.there().put(b"x"))
    }),
    ("TCP: peer shut its writing down", |w| {
        Scene::tcp(w).with(|s| s.there().shutdown(Shutdown::Write))
    }),
    ("TCP: we shut our writing down", |w| {
        Scene::tcp(w).with(|s| s.here.shutdown(Shutdown::Write))
    }),
    ("TCP: peer closed", |w| Scene::tcp(w).alone()),
    ("TCP: both shut their writing down", |w| {
        Scene::tcp(w).with(both_shut)
    }),
    ("TCP: both shut their writing down, bytes wait", |w| {
        Scene::tcp(w).with(|s| s.there().put(b"x")).with(both_shut)
    }),
    ("TCP: reset by the peer", |w| reset(Scene::tcp(w))),
    ("TCP: reset by the peer, bytes wait", |w| {
        reset(Scene::tcp(w).with(|s| s.there().put(b"x")))
    }),
    ("TCP: reset, and the error taken by a read", |w| {
        reset(Scene::tcp(w)).with(|s| {
            // It may take a moment to arrive.
            let would_block = Err(ErrorKind::WouldBlock);
            while s.here.read(&mut [0]).map_err(|e| e.kind()) == would_block {}
        })
    }),
    ("TCP: never connected", |w| Scene::of(w.unconnected(), None)),
    ("TCP: refused", |w| {
        let (listener, addr) = w.listener();
        drop(listener);
        Scene::of(w.connect(addr), None)
    }),
    ("UDP: quiet", datagrams),
    ("UDP: a datagram waits", |w| {
        datagrams(w).with(|s| s.there().put(b"x"))
    }),
    ("UDP: an answer came that no socket is there", |w| {
        datagrams(w).alone().with(|s| s.here.put(b"x"))
    }),
    ("listener: no connection", |w| Scene::listener(w, 0)),
    ("listener: a connection waits", |w| Scene::listener(w, 1)),
    ("pipe, reading end: empty", Scene::reader),
    ("pipe, reading end: bytes wait", bytes_in_a_pipe),
    ("pipe, reading end: no writer left", |w| {
        Scene::reader(w).alone()
    }),
    ("pipe, reading end: no writer left, bytes wait", |w| {
        bytes_in_a_pipe(w).alone()
    }),
    ("pipe, writing end: room", Scene::writer),
    ("pipe, writing end: full", |w| Scene::writer(w).with(fill)),
    ("pipe, writing end: no reader left", |w| {
        Scene::writer(w).alone()
    }),
];

/// An action between two waits.
pub(crate) type Action = fn(&mut Fixture, &mut Scene);

/// Each begins with a scene, whose events have been reported before.
pub(crate) const SEQUENCES: &[(&str, Setup, Action)] = &[
    ("pair, quiet: bytes come", Scene::pair, |_, s| {
        s.there().put(b"x")
    }),
    ("pair, bytes wait: nothing happens", with_bytes, |_, _| {}),
    ("pair, bytes wait: more come", with_bytes, |_, s| {
        s.there().put(b"x")
    }),
    ("pair, bytes wait: some are read", with_bytes, |_, s| {
        s.here.take(1);
    }),
    ("pair, bytes wait: all are read", with_bytes, |_, s| {
        s.here.drain();
    }),
    (
        "pair, bytes wait: all are read, asked again for reading as `rearm_interest` wants it, more come",
        with_bytes,
        |w, s| {
            s.here.drain();
            w.rearm(s.here.number(), 1, Interest::READ);
            s.there().put(b"x");
        },
    ),
    (
        "pair, bytes wait: asked again for both, wanted or not",
        with_bytes,
        |w, s| {
            w.rearm_anyway(s.here.number(), 1, Interest::BOTH);
        },
    ),
    (
        "pair, bytes wait: asked again for both as `rearm_interest` wants it",
        with_bytes,
        |w, s| {
            w.rearm(s.here.number(), 1, Interest::BOTH);
        },
    ),
    (
        "pair, bytes wait: peer shuts its writing down",
        with_bytes,
        |_, s| {
            s.there().shutdown(Shutdown::Write);
        },
    ),
    ("pair, bytes wait: peer closes", with_bytes, |_, s| {
        s.there = None
    }),
    (
        "pair, quiet: peer shuts its writing down",
        Scene::pair,
        |_, s| {
            s.there().shutdown(Shutdown::Write);
        },
    ),
    ("pair, quiet: peer closes", Scene::pair, |_, s| {
        s.there = None
    }),
    ("pair, full: peer reads all", full, |_, s| {
        s.there().drain();
    }),
    ("pair, full: peer closes", full, |_, s| s.there = None),
    (
        "pair, peer shut its writing down: peer closes",
        half_closed,
        |_, s| s.there = None,
    ),
    (
        "pair, peer shut its writing down: we shut ours down",
        half_closed,
        |_, s| {
            s.here.shutdown(Shutdown::Write);
        },
    ),
    ("TCP, quiet: bytes come", Scene::tcp, |_, s| {
        s.there().put(b"x")
    }),
    ("TCP, quiet: ours are acknowledged", Scene::tcp, |_, s| {
        s.here.put(b"x");
        s.there().drain();
    }),
    ("TCP, quiet: peer closes", Scene::tcp, |_, s| s.there = None),
    ("TCP, quiet: reset by the peer", Scene::tcp, |_, s| {
        s.there.take().expect("the other side is open").reset();
    }),
    (
        "listener, one waits: another comes",
        |w| Scene::listener(w, 1),
        |w, s| s.connect(w),
    ),
    (
        "listener, two wait: one is accepted",
        |w| Scene::listener(w, 2),
        |_, s| {
            s.clients.push(s.here.accept().expect("a connection waits"));
        },
    ),
    (
        "pipe, reading end, bytes wait: more come",
        bytes_in_a_pipe,
        |_, s| s.there().put(b"x"),
    ),
    (
        "pipe, reading end, bytes wait: the writer goes",
        bytes_in_a_pipe,
        |_, s| s.there = None,
    ),
    (
        "pipe, reading end, empty: the writer goes",
        Scene::reader,
        |_, s| s.there = None,
    ),
    (
        "pipe, writing end, room: the reader goes",
        Scene::writer,
        |_, s| s.there = None,
    ),
    (
        "pipe, writing end, full: all is read",
        |w| Scene::writer(w).with(fill),
        |_, s| {
            s.there().drain();
        },
    ),
    (
        "pipe, writing end, full: the reader goes",
        |w| Scene::writer(w).with(fill),
        |_, s| {
            s.there = None;
        },
    ),
];

fn with_bytes(fixture: &Fixture) -> Scene {
    Scene::pair(fixture).with(|scene| scene.there().put(b"xyz"))
}

fn bytes_in_a_pipe(fixture: &Fixture) -> Scene {
    Scene::reader(fixture).with(|scene| scene.there().put(b"xyz"))
}

fn half_closed(fixture: &Fixture) -> Scene {
    Scene::pair(fixture).with(|scene| scene.there().shutdown(Shutdown::Write))
}

fn datagrams(fixture: &Fixture) -> Scene {
    let (here, there) = fixture.datagrams();
    Scene::of(here, there)
}

fn both_shut(scene: &Scene) {
    scene.there().shutdown(Shutdown::Write);
    scene.here.shutdown(Shutdown::Write);
}

fn reset(mut scene: Scene) -> Scene {
    scene.there.take().expect("the other side is open").reset();
    scene
}

fn full(fixture: &Fixture) -> Scene {
    Scene::pair(fixture).with(fill)
}

fn fill(scene: &Scene) {
    scene.here.fill();
}
