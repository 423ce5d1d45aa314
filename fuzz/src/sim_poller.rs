//! The level-triggered pollers of the simulated kernel: epoll and kqueue, on one kernel.
//!
//! Level-triggered readiness is a function of the state. So two things must hold after any operations:
//! - A poller reports the same as a *new* poller of the same kind with the same registrations. A
//!   difference is a lost wake-up or a corrupted list.
//! - epoll and kqueue report the same `READ` and `WRITE`, except for the differences that are listed at
//!   [`check_difference`].

use crate::List;
use arbitrary::Arbitrary;
use readily::poll::Poller;
use readily::{Interest, Readiness, Trigger};
use readily_testing::{Fd, Kernel, Personality};
use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

/// The input of [`sim_poller`].
#[derive(Arbitrary, Clone, Debug)]
pub struct PollerInput {
    /// Whether the pollers are checked after every operation, or only by `WatchOp::Check`. Readiness
    /// that arises between two checks must not be lost either.
    pub always: bool,
    /// The maximum number of bytes in the buffer of a stream.
    pub capacity: u8,
    pub system: u8,
    pub ops: List<WatchOp>,
}

/// One operation. Descriptors are chosen from the open ones.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum WatchOp {
    Pair,
    Tcp,
    Pipe,
    Datagrams,
    Timer,
    Notifier,
    Listen,
    Connect,
    Unconnected,
    Accept(u8),
    Register(u8, u8),
    Modify(u8, u8),
    Remove(u8),
    Read(u8, u8),
    Write(u8, u8),
    Fill(u8),
    Drain(u8),
    ShutRead(u8),
    ShutWrite(u8),
    ShutBoth(u8),
    TakeError(u8),
    SetTimer(u8, u8),
    Advance(u8),
    Dup(u8),
    Renumber(u8, u8),
    Close(u8),
    Reset(u8),
    Check,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pair,
    Tcp,
    PipeReader,
    PipeWriter,
    Other,
}

/// A descriptor, with the token and interest of its registration.
struct Open {
    fd: Fd,
    kind: Kind,
    watched: Option<(u64, Interest)>,
}

struct Fixture {
    kernel: Kernel,
    system: Personality,
    epoll: Box<dyn Poller>,
    kqueue: Box<dyn Poller>,
    open: Vec<Open>,
    listening: Vec<SocketAddr>,
    capacity: usize,
    tokens: u64,
}

/// The maximum number of descriptors. More would show nothing new.
const MAX_DESCRIPTORS: usize = 24;

/// Runs `input`.
///
/// # Panics
///
/// If a poller reports wrong readiness, or misses some.
pub fn sim_poller(input: &PollerInput) {
    let kernel = Kernel::new();
    let system = match input.system % 3 {
        0 => Personality::FreeBsd,
        1 => Personality::Apple,
        _ => Personality::NetBsd,
    };
    let mut fixture = Fixture {
        system,
        epoll: Box::new(kernel.poller()),
        kqueue: Box::new(kernel.kqueue(system)),
        kernel,
        open: Vec::new(),
        listening: Vec::new(),
        capacity: 1 + usize::from(input.capacity),
        tokens: 0,
    };
    for &op in input.ops.iter() {
        fixture.step(op);
        if input.always {
            fixture.check();
        }
    }
    fixture.check();
    let Fixture { kernel, open, .. } = fixture;
    drop(open);
    assert_eq!(kernel.open(), 0, "descriptors before and after");
}

impl Fixture {
    fn pick(&mut self, pick: u8) -> Option<&mut Open> {
        let n = usize::from(pick) % self.open.len().max(1);
        self.open.get_mut(n)
    }

    fn add(&mut self, fd: Fd, kind: Kind) {
        fd.set_capacity(self.capacity);
        let watched = None;
        self.open.push(Open { fd, kind, watched });
    }

    fn both(&mut self, made: io::Result<(Fd, Fd)>, kinds: [Kind; 2]) {
        let (one, two) = made.expect("the simulated kernel has no limit");
        self.add(one, kinds[0]);
        self.add(two, kinds[1]);
    }

    fn one(&mut self, made: io::Result<Fd>, kind: Kind) {
        self.add(made.expect("the simulated kernel has no limit"), kind);
    }

    fn step(&mut self, op: WatchOp) {
        if self.open.len() < MAX_DESCRIPTORS {
            self.make(op);
        }
        match op {
            WatchOp::Register(pick, bits) => self.register(pick, interest(bits)),
            WatchOp::Modify(pick, bits) => self.modify(pick, interest(bits)),
            WatchOp::Remove(pick) => self.remove(pick),
            WatchOp::Close(_) | WatchOp::Reset(_) => self.close(op),
            WatchOp::Advance(by) => {
                let by = Duration::from_nanos(u64::from(by));
                self.kernel.clock().advance(by);
            }
            WatchOp::Check => self.check(),
            _ => self.act(op),
        }
    }

    /// Opens a descriptor, or a pair.
    fn make(&mut self, op: WatchOp) {
        let kernel = self.kernel.clone();
        match op {
            WatchOp::Pair => self.both(kernel.pair(), [Kind::Pair; 2]),
            WatchOp::Tcp => self.both(kernel.tcp(), [Kind::Tcp; 2]),
            WatchOp::Pipe => self.both(kernel.pipe(), [Kind::PipeReader, Kind::PipeWriter]),
            WatchOp::Datagrams => self.both(kernel.datagrams(), [Kind::Other; 2]),
            WatchOp::Timer => self.one(kernel.timer(), Kind::Other),
            WatchOp::Notifier => self.one(kernel.notifier(), Kind::Other),
            WatchOp::Unconnected => self.one(kernel.unconnected(), Kind::Tcp),
            WatchOp::Listen => {
                let listener = kernel.listen(([127, 0, 0, 1], 0).into(), 1);
                let listener = listener.expect("the simulated kernel has no limit");
                let addr = listener.local_addr().expect("a listener has an address");
                self.listening.push(addr);
                self.add(listener, Kind::Other);
            }
            WatchOp::Connect => {
                let unused = ([127, 0, 0, 1], 1).into();
                let addr = self.listening.last().copied().unwrap_or(unused);
                self.one(kernel.connect(addr), Kind::Tcp);
            }
            WatchOp::Accept(pick) => {
                let accepted = self.pick(pick).map(|open| open.fd.accept());
                if let Some(Ok((fd, _))) = accepted {
                    self.add(fd, Kind::Tcp);
                }
            }
            WatchOp::Dup(pick) => {
                let copy = self.pick(pick).map(|open| (open.fd.try_clone(), open.kind));
                if let Some((copy, kind)) = copy {
                    self.one(copy, kind);
                }
            }
            WatchOp::Renumber(pick, to) => {
                let to = Kernel::FIRST_NUMBER + i32::from(to);
                let copy = self
                    .pick(pick)
                    .map(|open| (open.fd.renumbered(to), open.kind));
                if let Some((Ok(copy), kind)) = copy {
                    self.add(copy, kind);
                }
            }
            _ => {}
        }
    }

    /// Performs an operation on a descriptor. Its errors are ignored.
    fn act(&mut self, op: WatchOp) {
        let (WatchOp::Read(pick, _)
        | WatchOp::Write(pick, _)
        | WatchOp::Fill(pick)
        | WatchOp::Drain(pick)
        | WatchOp::ShutRead(pick)
        | WatchOp::ShutWrite(pick)
        | WatchOp::ShutBoth(pick)
        | WatchOp::TakeError(pick)
        | WatchOp::SetTimer(pick, _)) = op
        else {
            return;
        };
        let Some(Open { fd, .. }) = self.pick(pick) else {
            return;
        };
        let _ = match op {
            WatchOp::Read(_, len) => fd.read(&mut [0; 255][..usize::from(len)]).map(drop),
            WatchOp::Write(_, len) => fd.write(&[7; 255][..usize::from(len)]).map(drop),
            WatchOp::Fill(_) => fd.write(&[7; 1000]).map(drop),
            WatchOp::Drain(_) => fd.read(&mut [0; 1000]).map(drop),
            WatchOp::ShutRead(_) => fd.shutdown(Shutdown::Read),
            WatchOp::ShutWrite(_) => fd.shutdown(Shutdown::Write),
            WatchOp::ShutBoth(_) => fd.shutdown(Shutdown::Both),
            WatchOp::TakeError(_) => fd.take_error().map(drop),
            WatchOp::SetTimer(_, after) => {
                let after = u64::from(after).checked_sub(1);
                fd.set_timer(after.map(Duration::from_nanos))
            }
            _ => unreachable!("all others have returned"),
        };
    }

    fn register(&mut self, pick: u8, interest: Interest) {
        self.tokens += 1;
        let token = self.tokens;
        let Some(open) = self.pick(pick) else { return };
        let known = open.watched.is_some();
        let number = open.fd.number();
        if !known {
            open.watched = Some((token, interest));
        }
        for poller in [&mut self.epoll, &mut self.kqueue] {
            let registered = poller.register(number, token, interest, Trigger::Level);
            match known {
                true => assert_eq!(kind_of(registered), Err(io::ErrorKind::AlreadyExists)),
                false => registered.expect("it is not registered yet"),
            }
        }
    }

    fn modify(&mut self, pick: u8, interest: Interest) {
        self.tokens += 1;
        let token = self.tokens;
        let Some(open) = self.pick(pick) else { return };
        let (known, number) = (open.watched.is_some(), open.fd.number());
        if known {
            open.watched = Some((token, interest));
        }
        for poller in [&mut self.epoll, &mut self.kqueue] {
            let modified = poller.modify(number, token, interest, Trigger::Level);
            match known {
                true => modified.expect("it is registered"),
                false => assert_eq!(kind_of(modified), Err(io::ErrorKind::NotFound)),
            }
        }
    }

    fn remove(&mut self, pick: u8) {
        let Some(open) = self.pick(pick) else { return };
        let (known, number) = (open.watched.take().is_some(), open.fd.number());
        for poller in [&mut self.epoll, &mut self.kqueue] {
            let removed = poller.remove(number);
            match known {
                true => removed.expect("it is registered"),
                false => assert_eq!(kind_of(removed), Err(io::ErrorKind::NotFound)),
            }
        }
    }

    /// Closes a descriptor. A registered one is removed from the pollers first.
    fn close(&mut self, op: WatchOp) {
        let (WatchOp::Close(pick) | WatchOp::Reset(pick)) = op else {
            return;
        };
        if self.open.is_empty() {
            return;
        }
        let n = usize::from(pick) % self.open.len();
        if self.open[n].watched.is_some() {
            self.remove(n as u8);
        }
        let Open { fd, .. } = self.open.swap_remove(n);
        match op {
            WatchOp::Reset(_) => fd.reset(),
            _ => drop(fd),
        }
    }

    /// Polls both pollers and new ones, and compares the reports.
    fn check(&mut self) {
        let mut new_epoll: Box<dyn Poller> = Box::new(self.kernel.poller());
        let mut new_kqueue: Box<dyn Poller> = Box::new(self.kernel.kqueue(self.system));
        for open in &self.open {
            let Some((token, interest)) = open.watched else {
                continue;
            };
            for poller in [&mut new_epoll, &mut new_kqueue] {
                let number = open.fd.number();
                let registered = poller.register(number, token, interest, Trigger::Level);
                registered.expect("a new poller has no registrations");
            }
        }
        let by_epoll = poll(&mut *self.epoll);
        assert_eq!(by_epoll, poll(&mut *new_epoll), "epoll and a new epoll");
        let by_kqueue = poll(&mut *self.kqueue);
        // The old kqueue still reports an error that was fetched meanwhile, if no filter repeats the end
        // of the stream.
        let without_error = |reports: &BTreeMap<u64, Readiness>| -> BTreeMap<u64, Readiness> {
            let without =
                |(&token, ready): (_, &Readiness)| (token, ready.without(Readiness::ERROR));
            reports.iter().map(without).collect()
        };
        let by_new = poll(&mut *new_kqueue);
        let (old, new) = (without_error(&by_kqueue), without_error(&by_new));
        assert_eq!(old, new, "kqueue and a new kqueue");
        let known = |token: &u64| {
            let tokens = self.open.iter().filter_map(|open| open.watched);
            tokens.into_iter().any(|(known, _)| known == *token)
        };
        assert!(by_epoll.keys().chain(by_kqueue.keys()).all(known));
        for open in &self.open {
            if let Some((token, interest)) = open.watched {
                let reported = |reports: &BTreeMap<u64, Readiness>| {
                    reports.get(&token).copied().unwrap_or_default()
                };
                check_difference(open, interest, reported(&by_epoll), reported(&by_kqueue));
            }
        }
    }
}

/// Returns the present readiness. A kqueue finds the end of a direction without interest only in the
/// wait after the one that reported the other direction's end. From then on each wait reports the same.
fn poll(poller: &mut dyn Poller) -> BTreeMap<u64, Readiness> {
    let mut again = || {
        let mut events = Vec::new();
        let waited = poller.wait(&mut events, Some(Duration::ZERO));
        waited.expect("a simulated poller does not fail");
        let count = events.len();
        let pairs = events.iter().map(|event| (event.token(), event.ready()));
        let reports: BTreeMap<u64, Readiness> = pairs.collect();
        assert_eq!(reports.len(), count, "one event for each token: {events:?}");
        reports
    };
    let first = again();
    let reports = again();
    for (token, ready) in first {
        let later = reports.get(&token).copied().unwrap_or_default();
        assert!(
            later.contains(ready),
            "{ready:?} is still ready, but the report is {later:?}"
        );
    }
    assert_eq!(reports, again(), "each wait reports a level that lasts");
    reports
}

/// Checks that the reports of epoll and kqueue, in the directions with interest, differ only as follows:
///
/// - For a socket that is not connected, kqueue reports nothing, and epoll reports a hangup.
/// - For the wrong direction of a pipe, kqueue reports nothing, and epoll reports the hangup there too.
/// - kqueue reports `WRITE` for any free space, epoll only for enough. For a full buffer whose side was
///   shut down, kqueue reports `WRITE`, because a write would fail at once.
fn check_difference(open: &Open, interest: Interest, epoll: Readiness, kqueue: Readiness) {
    let unconnected = open.kind == Kind::Tcp && kqueue.is_empty() && {
        // If the error was reported and fetched, the connection has ended for both.
        !open.fd.is_connected().unwrap_or(true) && epoll.is_hangup()
    };
    let directions = [
        (Interest::READ, Readiness::READ, Kind::PipeWriter),
        (Interest::WRITE, Readiness::WRITE, Kind::PipeReader),
    ];
    for (direction, ready, wrong_end) in directions {
        let (by_epoll, by_kqueue) = (epoll.contains(ready), kqueue.contains(ready));
        if !interest.contains(direction) || by_epoll == by_kqueue || unconnected {
            continue;
        }
        let at_wrong_end = open.kind == wrong_end && by_epoll;
        let little_room = by_kqueue && direction == Interest::WRITE && open.kind != Kind::Other;
        assert!(
            at_wrong_end || little_room,
            "{:?} {interest:?}: epoll {epoll:?}, kqueue {kqueue:?}",
            open.kind
        );
    }
}

fn interest(bits: u8) -> Interest {
    [
        Interest::NONE,
        Interest::READ,
        Interest::WRITE,
        Interest::BOTH,
    ][usize::from(bits % 4)]
}

fn kind_of(result: io::Result<()>) -> Result<(), io::ErrorKind> {
    result.map_err(|error| error.kind())
}
