//! The user's interest, and the loop's reasons to change the interest in the poller.
//!
//! Three registrations, each with a reason of the loop: a connection under way, a listener without
//! free descriptors, a stream that has hung up before its bytes are read. A program changes their
//! interest at any time and in any order. The model keeps the last interest of the user and the
//! reasons apart, and predicts after each step what `interest` returns, the interest in the poller,
//! and how often each callback has run.
//!
//! Invariant: L10.

use super::scripted::Gate;
use proptest::collection::vec;
use proptest::prelude::*;
use readily::poll::Poller;
use readily::spi;
use readily::{Closures, Error, EventLoop, Interest, Key};
use readily_testing::{Fd, Kernel, Personality};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

const INTERESTS: [Interest; 4] = [
    Interest::NONE,
    Interest::READ,
    Interest::WRITE,
    Interest::BOTH,
];

/// The registrations, by their index in the fixture.
const CONNECTION: usize = 0;
const LISTENER: usize = 1;
const STREAM: usize = 2;

#[derive(Clone, Copy, Debug)]
enum Step {
    Modify(usize, usize),
    Remove(usize),
    /// The connection under way is accepted, or refused.
    LetIn,
    Refuse,
    /// A client connects to the listener.
    Client,
    /// No descriptor is free, or many are free again.
    Starve,
    Feed,
    /// A descriptor of the loop is closed.
    Free,
    /// The peer of the stream sends bytes and closes.
    PeerGoes,
    Advance,
    Turn,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3usize, 0..4usize).prop_map(|(which, interest)| Step::Modify(which, interest)),
        1 => (0..3usize).prop_map(Step::Remove),
        1 => Just(Step::LetIn),
        1 => Just(Step::Refuse),
        3 => Just(Step::Client),
        2 => Just(Step::Starve),
        2 => Just(Step::Feed),
        1 => Just(Step::Free),
        1 => Just(Step::PeerGoes),
        1 => Just(Step::Advance),
        6 => Just(Step::Turn),
    ]
}

/// The interest in the poller, and the number of its calls.
#[derive(Default)]
struct PollerLog {
    known: RefCell<BTreeMap<RawFd, Interest>>,
    calls: Cell<usize>,
}

impl PollerLog {
    fn note(&self, fd: RawFd, interest: Option<Interest>) {
        self.calls.set(self.calls.get() + 1);
        let mut known = self.known.borrow_mut();
        match interest {
            Some(interest) => known.insert(fd, interest),
            None => known.remove(&fd),
        };
    }
}

/// How often each callback has run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ran {
    connected: usize,
    refused: usize,
    accepted: usize,
    hung_up: usize,
}

/// The model of a registration.
#[derive(Clone, Copy)]
struct Registered {
    interest: Interest,
    /// Under way, out of descriptors, or suspended: each registration has one reason.
    held: bool,
    ended: bool,
}

impl Registered {
    fn new(interest: Interest, held: bool) -> Self {
        let ended = false;
        Self {
            interest,
            held,
            ended,
        }
    }

    fn reads(&self) -> bool {
        self.interest.contains(Interest::READ)
    }
}

struct Model {
    all: [Registered; 3],
    ran: Ran,
    let_in: bool,
    refused: bool,
    /// The clients that wait at the listener.
    clients: usize,
    /// The turns so far, and the latest in which the listener was reported.
    turns: usize,
    reported: usize,
    /// Whether several clients waited then.
    several: bool,
    /// The listener's pause has ended: by time, or by a descriptor that was closed.
    time_is_up: bool,
    freed: bool,
    peer_gone: bool,
}

impl Model {
    fn effective(&self, which: usize) -> Option<Interest> {
        let one = self.all[which];
        match (which, one.held) {
            _ if one.ended => None,
            (CONNECTION, true) => Some(Interest::WRITE),
            (LISTENER, true) => Some(one.interest.without(Interest::READ)),
            (STREAM, true) => None,
            _ => Some(one.interest),
        }
    }

    fn modify(&mut self, which: usize, interest: Interest) {
        let one = &mut self.all[which];
        one.interest = interest;
        if which == STREAM && !interest.is_empty() {
            one.held = false;
        }
    }

    fn turn(&mut self, has_descriptors: bool) {
        self.turns += 1;
        let [connection, listener, stream] = &mut self.all;
        if connection.held && !connection.ended && (self.let_in || self.refused) {
            connection.held = false;
            connection.ended = self.refused;
            self.ran.connected += usize::from(self.let_in);
            self.ran.refused += usize::from(self.refused);
        }
        if self.peer_gone && !stream.ended && !stream.held {
            stream.ended = stream.reads();
            stream.held = !stream.reads();
            self.ran.hung_up += usize::from(stream.ended);
        }
        let resumes = listener.held && (self.time_is_up || self.freed);
        if listener.reads() && !listener.held && !listener.ended && self.clients > 0 {
            listener.held = !has_descriptors;
            let is_in_a_row = self.turns == self.reported + 1;
            self.reported = self.turns;
            if has_descriptors {
                // Of several that were not expected, the first is accepted alone.
                let all = self.several || is_in_a_row;
                let accepted = if all { self.clients } else { 1 };
                self.clients -= accepted;
                self.ran.accepted += accepted;
                self.several = all && accepted > 1;
            }
            (self.time_is_up, self.freed) = (false, false);
        }
        if resumes {
            listener.held = false;
        }
    }
}

struct Fixture {
    event_loop: EventLoop,
    kernel: Kernel,
    poller_log: Rc<PollerLog>,
    keys: [Key; 3],
    fds: [RawFd; 3],
    spare: Option<Key>,
    ran: Rc<Cell<Ran>>,
    /// The listener of the connection under way, and the connections that fill its backlog.
    far: Option<Fd>,
    near: SocketAddr,
    peer: Option<Fd>,
    kept: Vec<Fd>,
    limit: usize,
}

const MANY: usize = 1 << 16;

impl Fixture {
    fn new(kqueue: Option<Personality>) -> Self {
        let kernel = Kernel::new();
        let poller: Box<dyn Poller> = match kqueue {
            None => Box::new(kernel.poller()),
            Some(system) => Box::new(kernel.kqueue(system)),
        };
        let poller_log = Rc::<PollerLog>::default();
        let log = Rc::clone(&poller_log);
        let logging = Gate {
            poller,
            passes: Box::new(move |fd, interest| {
                log.note(fd, interest);
                true
            }),
        };
        let event_loop = EventLoop::with(Box::new(logging), Box::new(kernel.clock())).unwrap();
        event_loop.on_unhandled(|_| {});
        let ran = Rc::<Cell<Ran>>::default();
        let count = |change: fn(&mut Ran)| {
            let ran = Rc::clone(&ran);
            move || {
                let mut now = ran.get();
                change(&mut now);
                ran.set(now);
            }
        };
        let anywhere: SocketAddr = ([127, 0, 0, 1], 0).into();
        let last = || poller_log.known.borrow().keys().max().copied();
        // The backlog is full.
        let far = kernel.listen(anywhere, 1).unwrap();
        let fills = kernel.connect(far.local_addr().unwrap()).unwrap();
        let (connected, refused) = (count(|r| r.connected += 1), count(|r| r.refused += 1));
        let callbacks = Closures::new()
            .on_connect(move |_| connected())
            .on_read(|_| {})
            .on_write(|_| {})
            .on_hangup(move |_, error| {
                assert_eq!(error.unwrap().kind(), io::ErrorKind::ConnectionRefused);
                refused();
            });
        let to = far.local_addr().unwrap();
        let connection = event_loop.connect(to, callbacks).unwrap();
        let connection_fd = last().unwrap();
        let listener = kernel.listen(anywhere, 64).unwrap();
        let near = listener.local_addr().unwrap();
        let listener_fd = listener.number();
        let accepted = count(|r| r.accepted += 1);
        let accept = move |_: &readily::Cx<'_>, _: &readily::event_loop::Accepted| {
            accepted();
            None::<Closures>
        };
        let listener = event_loop.listen(listener, accept).unwrap();
        let (here, there) = kernel.pair().unwrap();
        let stream_fd = here.number();
        let hung_up = count(|r| r.hung_up += 1);
        let callbacks = Closures::new()
            .on_read(|cx| drop(cx.read(&mut [0; 64])))
            .on_write(|_| {})
            .on_hangup(move |_, _| hung_up());
        let stream = event_loop.register(here, Interest::READ, callbacks);
        let (spare, friend) = kernel.pair().unwrap();
        let spare = event_loop.register(spare, Interest::NONE, Closures::new());
        Self {
            keys: [connection, listener, stream.unwrap()],
            fds: [connection_fd, listener_fd, stream_fd],
            spare: Some(spare.unwrap()),
            far: Some(far),
            near,
            peer: Some(there),
            kept: vec![fills, friend],
            limit: MANY,
            event_loop,
            kernel,
            poller_log,
            ran,
        }
    }

    fn has_descriptors(&self) -> bool {
        self.kernel.open() < self.limit
    }

    fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.kernel.set_limit(limit);
    }
}

/// `starves`: the listener may run out of descriptors. Then no registration ends within a turn,
/// because that would end a pause or not, depending on the order of events.
fn run(steps: &[Step], starves: bool, kqueue: Option<Personality>) -> Result<(), TestCaseError> {
    let mut fixture = Fixture::new(kqueue);
    let mut model = Model {
        all: [
            Registered::new(Interest::BOTH, true),
            Registered::new(Interest::READ, false),
            Registered::new(Interest::READ, false),
        ],
        ran: Ran::default(),
        let_in: false,
        refused: false,
        clients: 0,
        turns: 0,
        reported: 0,
        several: false,
        time_is_up: false,
        freed: false,
        peer_gone: false,
    };
    for step in steps {
        let (before, calls) = (model.all.map(|r| r.ended), fixture.poller_log.calls.get());
        let asks = [CONNECTION, LISTENER, STREAM].map(|which| model.effective(which));
        match *step {
            Step::Modify(which, interest) => {
                let modified = fixture
                    .event_loop
                    .set_interest_of(fixture.keys[which], INTERESTS[interest]);
                prop_assert_eq!(modified.is_err(), before[which]);
                if modified.is_ok() {
                    model.modify(which, INTERESTS[interest]);
                }
                let now = [CONNECTION, LISTENER, STREAM].map(|which| model.effective(which));
                let made = fixture.poller_log.calls.get() - calls;
                prop_assert_eq!(
                    made,
                    usize::from(now != asks),
                    "the poller is called for a change only"
                );
            }
            Step::Remove(which) => {
                let removed = fixture.event_loop.remove(fixture.keys[which]);
                prop_assert_eq!(removed.is_err(), before[which]);
                model.all[which].ended = true;
                model.freed |= removed.is_ok() && model.all[LISTENER].held;
            }
            Step::LetIn if !model.refused => {
                if let Some(far) = &fixture.far {
                    let there = std::iter::from_fn(|| far.accept().ok()).map(|(fd, _)| fd);
                    let there: Vec<Fd> = there.collect();
                    model.let_in |= !there.is_empty();
                    fixture.kept.extend(there);
                }
            }
            Step::Refuse if !model.let_in && !starves => {
                model.refused = true;
                fixture.far = None;
            }
            Step::Client => {
                if let Ok(client) = fixture.kernel.connect(fixture.near) {
                    fixture.kept.push(client);
                    model.clients += usize::from(!model.all[LISTENER].ended);
                }
            }
            Step::Starve if starves => fixture.set_limit(fixture.kernel.open()),
            Step::Feed => fixture.set_limit(MANY),
            Step::Free => {
                if let Some(spare) = fixture.spare.take() {
                    fixture.event_loop.remove(spare).unwrap();
                    model.freed |= model.all[LISTENER].held;
                }
            }
            // On kqueue a registration without a filter gets no hangup.
            Step::PeerGoes if kqueue.is_none() && !starves => {
                if let Some(peer) = fixture.peer.take() {
                    let _ = peer.write(b"last");
                    model.peer_gone = true;
                }
            }
            Step::LetIn | Step::Refuse | Step::PeerGoes | Step::Starve => {}
            Step::Advance => {
                fixture.kernel.clock().advance(Duration::from_secs(5));
                model.time_is_up |= model.all[LISTENER].held;
            }
            Step::Turn => {
                let has_descriptors = fixture.has_descriptors();
                fixture.event_loop.turn_now().unwrap();
                model.turn(has_descriptors);
            }
        }
        spi::check_invariants(&fixture.event_loop);
        prop_assert_eq!(fixture.ran.get(), model.ran, "after {:?}", step);
        for which in [CONNECTION, LISTENER, STREAM] {
            let one = model.all[which];
            let interest = match fixture.event_loop.interest_of(fixture.keys[which]) {
                Err(Error::UnknownKey(_)) => None,
                answer => Some(answer.unwrap()),
            };
            let expected = (!one.ended).then_some(one.interest);
            prop_assert_eq!(
                interest,
                expected,
                "the user's interest of {} after {:?}",
                which,
                step
            );
            let registered = fixture
                .poller_log
                .known
                .borrow()
                .get(&fixture.fds[which])
                .copied();
            let effective = model.effective(which);
            prop_assert_eq!(
                registered,
                effective,
                "the poller's interest of {} after {:?}",
                which,
                step
            );
        }
    }
    Ok(())
}

/// R154: time has ended the first pause; closing a descriptor afterwards does not end the next one.
#[test]
fn what_would_have_ended_a_pause_that_is_over_does_not_end_the_next() {
    use Step::{Advance, Client, Free, Starve, Turn};
    let steps = [
        Starve, // one descriptor is left, and the first client takes it
        Step::Remove(CONNECTION),
        Client,
        Turn,
        Advance,
        Turn,
        Free,
        Client,
        Turn,
    ];
    let kqueues = [
        Personality::FreeBsd,
        Personality::Apple,
        Personality::NetBsd,
    ];
    for system in std::iter::once(None).chain(kqueues.map(Some)) {
        run(&steps, true, system).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// L10.
    #[test]
    fn the_loops_reasons_and_the_users_interest_stand_beside_each_other(
        steps in vec(step(), 1..48),
        starves: bool,
    ) {
        run(&steps, starves, None)?;
        for system in [Personality::FreeBsd, Personality::Apple, Personality::NetBsd] {
            run(&steps, starves, Some(system))?;
        }
    }
}
