//! A loop on a kernel in memory: whatever callbacks and others do to it, it keeps its rules.
//!
//! Half of the operations come from outside, the other half from callbacks, one or two from each
//! that runs. There is no model of who is called when; `tests/props` has one. Checked is what
//! holds in every order: nothing panics, nobody is called who was removed (L2), nobody is called
//! inside another (L3), a hangup is told once and last (L7), every key finds what it should (L1),
//! callbacks are dropped and descriptors closed (L8).

mod ops;

pub use self::ops::{Asked, Op, Opened, Own};

use crate::List;
use arbitrary::Arbitrary;
use readily::poll::sim::{FIRST_NUMBER, Faults, Fd, Kernel, Personality};
use readily::poll::{Poller, Readiness, Trigger};
use readily::{Callbacks, Cx, Error, EventLoop, Interest, Key, Local};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// What `registry` is run on.
#[derive(Arbitrary, Clone, Debug)]
pub struct Program {
    pub poller: u8,
    pub limit: u8,
    /// No seed, no faults.
    pub seed: Option<u64>,
    pub enomem: u8,
    pub outside: List<Op>,
    pub inside: List<Op>,
}

struct World {
    kernel: Kernel,
    /// Whether a registration may be refused for want of memory.
    refuses: bool,
    /// What the loop does not have, or not alone.
    loose: RefCell<Vec<Rc<Fd>>>,
    addrs: RefCell<Vec<SocketAddr>>,
    inside: RefCell<VecDeque<Op>>,
    /// The registrations that live, by the number of their callbacks.
    live: RefCell<BTreeMap<usize, Key>>,
    gone: RefCell<Vec<Key>>,
    hung_up: RefCell<BTreeSet<usize>>,
    dropped: RefCell<BTreeSet<usize>>,
    made: Cell<usize>,
    /// Those that the loop accepted by itself, and whose key is not known yet.
    unmet: Cell<usize>,
    closing: Cell<bool>,
    /// The callbacks that run just now.
    runs: Cell<Option<usize>>,
}

/// More show nothing that these do not.
const MOST: usize = 24;

/// Runs `program`.
///
/// # Panics
///
/// If a rule is broken.
pub fn registry(program: &Program) {
    let mut faults = program.seed.map_or_else(Faults::none, Faults::all);
    faults.enomem = program.enomem % 64;
    let refuses = faults.enomem > 0;
    let kernel = Kernel::with(faults);
    kernel.set_limit(4 + usize::from(program.limit % 64));
    let poller: Box<dyn Poller> = match program.poller % 4 {
        0 => Box::new(kernel.poller()),
        1 => Box::new(kernel.kqueue(Personality::FreeBsd)),
        2 => Box::new(kernel.kqueue(Personality::Apple)),
        _ => Box::new(kernel.kqueue(Personality::NetBsd)),
    };
    let clock = Box::new(kernel.clock());
    let mut event_loop = EventLoop::with(poller, clock).expect("a kernel in memory has room");
    event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
    event_loop.on_unhandled(|_| ());
    let world = Rc::new(World {
        kernel: kernel.clone(),
        refuses,
        loose: RefCell::default(),
        addrs: RefCell::default(),
        inside: RefCell::new(program.inside.iter().copied().collect()),
        live: RefCell::default(),
        gone: RefCell::default(),
        hung_up: RefCell::default(),
        dropped: RefCell::default(),
        made: Cell::new(0),
        unmet: Cell::new(0),
        closing: Cell::new(false),
        runs: Cell::new(None),
    });
    for &op in program.outside.iter() {
        match op {
            Op::Turn => turn(&mut event_loop),
            _ => world.step(&event_loop, op),
        }
        event_loop.check_invariants();
        assert_eq!(event_loop.registered(), world.registered());
    }
    // What is left to be told is told: the others close, and nobody does anything about it.
    world.inside.borrow_mut().clear();
    world.loose.borrow_mut().clear();
    for _ in 0..4 {
        turn(&mut event_loop);
    }
    finish(event_loop, &world);
}

fn turn(event_loop: &mut EventLoop) {
    event_loop.turn_now().expect("a poller in memory goes on");
}

fn finish(event_loop: EventLoop, world: &Rc<World>) {
    let registered = world.registered();
    world.closing.set(true);
    let report = event_loop.close();
    assert_eq!(report.registrations, registered);
    assert_eq!(world.dropped.borrow().len(), world.made.get(), "L8");
    assert_eq!(Rc::strong_count(world), 1, "L8: closures too");
    assert_eq!(world.kernel.open(), 0, "descriptors before and after");
}

struct Recorder {
    world: Rc<World>,
    number: usize,
    /// What runs where there is no operation left: reads what is there.
    drains: bool,
    /// Accepted by the loop itself: the key comes with the first callback.
    unmet: Cell<bool>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let World { live, closing, .. } = &*self.world;
        assert!(self.world.dropped.borrow_mut().insert(self.number));
        let lived = live.borrow_mut().remove(&self.number).is_some();
        assert!(closing.get() || !lived, "dropped without a word");
        self.meet();
    }
}

impl Recorder {
    /// Its key is known now, or it has gone.
    fn meet(&self) -> bool {
        let unmet = self.unmet.replace(false);
        let count = &self.world.unmet;
        count.set(count.get() - usize::from(unmet));
        unmet
    }

    /// A callback begins, does something and ends.
    fn run(&self, cx: &Cx<'_>, what: &str) {
        self.introduce(cx);
        let World { runs, hung_up, .. } = &*self.world;
        assert_eq!(runs.get(), None, "L3: {what} inside another callback");
        let key = self.world.live.borrow().get(&self.number).copied();
        assert_eq!(key, Some(cx.key()), "L2: {what} of one that was removed");
        assert!(!hung_up.borrow().contains(&self.number), "L7: {what} after");
        runs.set(Some(self.number));
        for _ in 0..2 {
            let op = self.world.inside.borrow_mut().pop_front();
            match op {
                Some(Op::Own(own)) => self.own(cx, own),
                Some(op) => self.world.step(cx, op),
                None if self.drains => self.own(cx, Own::Drain),
                None => {}
            }
        }
        runs.set(None);
    }

    fn introduce(&self, cx: &Cx<'_>) {
        if self.meet() {
            self.world.admitted(self.number, Ok(cx.key()));
        }
    }

    fn own(&self, cx: &Cx<'_>, own: Own) {
        let lives = || self.world.live.borrow().contains_key(&self.number);
        match own {
            Own::Read(len) => drop(cx.read(&mut [0; 255][..usize::from(len)])),
            Own::Drain => drop(cx.read(&mut [0; 100_000])),
            Own::Write(len) => drop(cx.write(&vec![7; usize::from(len)])),
            Own::Want(bits) => {
                let lived = lives();
                let wanted = cx.want(interest(bits));
                self.world.changed(lived, &wanted);
            }
            Own::Ignore(bits) => cx.ignore(interest(bits)),
            Own::Shutdown(how) => drop(cx.shutdown(shutdown(how))),
            Own::Accept(bits) => {
                if let Ok(accepted) = cx.accept() {
                    let recorder = self.world.recorder();
                    let number = recorder.number;
                    let key = cx.register_accepted(accepted, interest(bits), recorder);
                    let key = key.map_err(|refused| refused.error);
                    self.world.admitted(number, key);
                }
            }
            Own::Close => {
                let lived = lives();
                cx.close();
                if lived {
                    self.world.forget(self.number);
                }
            }
        }
    }
}

impl Callbacks for Recorder {
    fn on_connect(&mut self, cx: &Cx<'_>) {
        self.run(cx, "connect");
    }
    fn on_read(&mut self, cx: &Cx<'_>) {
        self.run(cx, "read");
    }
    fn on_write(&mut self, cx: &Cx<'_>) {
        self.run(cx, "write");
    }
    fn on_default(&mut self, cx: &Cx<'_>, _ready: Readiness) {
        self.run(cx, "default");
    }
    fn on_hangup(&mut self, cx: &Cx<'_>, _error: Option<io::Error>) {
        self.run_last(cx);
    }
}

impl Recorder {
    /// The hangup.
    fn run_last(&self, cx: &Cx<'_>) {
        self.introduce(cx);
        let lived = self.world.live.borrow().contains_key(&self.number);
        assert!(lived, "L2: the hangup of one that was removed");
        assert!(cx.remove(cx.key()).is_err(), "L7: it is removed already");
        let gone = Error::UnknownKey(cx.key()).to_string();
        let error = cx.interest(cx.key()).expect_err("it is removed already");
        assert_eq!(error.to_string(), gone);
        let number = self.number;
        // It is out of the table, but it may still do as it likes.
        self.world.forget(number);
        assert!(self.world.hung_up.borrow_mut().insert(number), "L7: twice");
        assert_eq!(self.world.runs.replace(Some(number)), None, "L3");
        let op = self.world.inside.borrow_mut().pop_front();
        match op {
            Some(Op::Own(own)) => self.own(cx, own),
            Some(op) => self.world.step(cx, op),
            None => {}
        }
        self.world.runs.set(None);
    }
}

impl World {
    fn recorder(self: &Rc<Self>) -> Recorder {
        let number = self.made.get();
        self.made.set(number + 1);
        Recorder {
            world: Rc::clone(self),
            number,
            drains: number % 2 == 0,
            unmet: Cell::new(false),
        }
    }

    fn registered(&self) -> usize {
        self.live.borrow().len() + self.unmet.get()
    }

    fn forget(&self, number: usize) {
        let key = self.live.borrow_mut().remove(&number);
        self.gone.borrow_mut().extend(key);
    }

    fn admitted(&self, number: usize, key: Result<Key, Error>) {
        match key {
            Ok(key) => {
                assert!(!self.gone.borrow().contains(&key), "L1");
                let old = self.live.borrow_mut().insert(number, key);
                assert_eq!(old, None);
            }
            Err(Error::Io(error)) => assert!(self.refuses, "{error}"),
            Err(
                Error::NotPollable { .. } | Error::NotListening { .. } | Error::NotConnected { .. },
            ) => {}
            Err(Error::AlreadyRegistered { key, .. }) => {
                assert!(self.live.borrow().values().any(|live| *live == key));
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn changed(&self, lived: bool, result: &Result<(), Error>) {
        match result {
            Ok(()) => assert!(lived, "L1"),
            Err(Error::UnknownKey(_)) => assert!(!lived),
            Err(Error::Io(error)) => assert!(lived && self.refuses, "{error}"),
            Err(error) => panic!("{error}"),
        }
    }

    fn key(&self, pick: u8) -> Option<(usize, Key)> {
        let live = self.live.borrow();
        let n = usize::from(pick) % live.len().max(1);
        live.iter().nth(n).map(|(&number, &key)| (number, key))
    }

    fn loose(&self, pick: u8) -> Option<Rc<Fd>> {
        let loose = self.loose.borrow();
        loose
            .get(usize::from(pick) % loose.len().max(1))
            .map(Rc::clone)
    }

    /// Takes one out. It is this one's last holder, unless the loop has a share.
    fn take(&self, pick: u8) -> Option<Rc<Fd>> {
        let mut loose = self.loose.borrow_mut();
        let n = usize::from(pick) % loose.len().max(1);
        (n < loose.len()).then(|| loose.swap_remove(n))
    }

    fn keep(&self, fds: impl IntoIterator<Item = Fd>) {
        let mut loose = self.loose.borrow_mut();
        loose.extend(fds.into_iter().map(Rc::new));
    }

    /// Does what may be done from anywhere.
    fn step(self: &Rc<Self>, local: &Local, op: Op) {
        match op {
            Op::Open(opened) => self.open(opened),
            Op::Register(..) | Op::Source(_) | Op::Serve(_) | Op::Connect(_) => {
                self.register(local, op);
            }
            Op::Modify(pick, bits) => {
                if let Some((_, key)) = self.key(pick) {
                    let modified = local.modify(key, interest(bits));
                    self.changed(true, &modified);
                    if modified.is_ok() {
                        assert_eq!(local.interest(key).ok(), Some(interest(bits)));
                    }
                }
            }
            Op::Rearm(pick, bits) => {
                if let Some((_, key)) = self.key(pick) {
                    self.changed(true, &local.rearm(key, interest(bits)));
                }
            }
            Op::Remove(pick) => {
                if let Some((number, key)) = self.key(pick) {
                    self.forget(number);
                    local.remove(key).expect("it lives");
                    assert!(local.remove(key).is_err(), "L1");
                }
            }
            Op::Stale(pick) => self.stale(local, pick),
            Op::Soon => {
                let world = Rc::clone(self);
                drop(local.call_soon(move |local| world.called(local)));
            }
            Op::Later(ms) => {
                let world = Rc::clone(self);
                let after = Duration::from_millis(ms.into());
                drop(local.call_later(after, move |local| world.called(local)));
            }
            Op::Advance(ms) => {
                let by = Duration::from_millis(ms.into());
                self.kernel.clock().advance(by);
            }
            Op::Own(_) | Op::Turn => {}
            _ => self.act(op),
        }
    }

    /// A key that was removed finds nothing, whatever is asked.
    fn stale(&self, local: &Local, pick: u8) {
        let gone = self.gone.borrow();
        if let Some(&key) = gone.get(usize::from(pick) % gone.len().max(1)) {
            drop(gone);
            self.changed(false, &local.modify(key, Interest::BOTH));
            self.changed(false, &local.rearm(key, Interest::BOTH));
            self.changed(false, &local.remove(key));
        }
    }

    /// A closure's turn.
    fn called(self: &Rc<Self>, local: &Local) {
        assert_eq!(self.runs.replace(Some(usize::MAX)), None, "L3");
        let op = self.inside.borrow_mut().pop_front();
        if let Some(op) = op {
            self.step(local, op);
        }
        self.runs.set(None);
    }

    fn open(&self, opened: Opened) {
        if self.loose.borrow().len() >= MOST {
            return;
        }
        // What the limit refuses, it refuses.
        let kernel = &self.kernel;
        let both = match opened {
            Opened::Pair => kernel.pair(),
            Opened::Tcp => kernel.tcp(),
            Opened::Pipe => kernel.pipe(),
            Opened::Datagrams => kernel.datagrams(),
            _ => return self.keep(self.open_one(opened)),
        };
        if let Ok((one, two)) = both {
            self.keep([one, two]);
        }
    }

    fn open_one(&self, opened: Opened) -> io::Result<Fd> {
        let kernel = &self.kernel;
        let addr = self.addrs.borrow().last().copied();
        match opened {
            Opened::Timer(after) => {
                let timer = kernel.timer()?;
                timer.set_timer(Some(Duration::from_millis(after.into())))?;
                Ok(timer)
            }
            Opened::Notifier => kernel.notifier(),
            Opened::Listener(backlog) => {
                let anywhere = ([127, 0, 0, 1], 0).into();
                let listener = kernel.listen(anywhere, 1 + usize::from(backlog % 4))?;
                self.addrs.borrow_mut().push(listener.local_addr()?);
                Ok(listener)
            }
            Opened::Connecting => kernel.connect(addr.unwrap_or(([127, 0, 0, 1], 1).into())),
            Opened::File => kernel.file(b"content"),
            _ => kernel.unconnected(),
        }
    }

    fn register(self: &Rc<Self>, local: &Local, op: Op) {
        let recorder = self.recorder();
        let number = recorder.number;
        let admitted = match op {
            Op::Register(pick, bits, asked, shares) => {
                let Some(fd) = (if shares {
                    self.loose(pick)
                } else {
                    self.take(pick)
                }) else {
                    return;
                };
                let trigger = match asked {
                    Asked::Level => Trigger::Level,
                    Asked::Edge => Trigger::Edge,
                    Asked::OneShot => Trigger::OneShot,
                };
                let key = local.register_with(fd, interest(bits), trigger, recorder);
                key.map_err(|refused| refused.error)
            }
            Op::Source(pick) => {
                let Some(fd) = self.loose(pick) else { return };
                let key = local.register_source(fd, true, recorder);
                key.map_err(|refused| refused.error)
            }
            Op::Serve(pick) => {
                let Some(fd) = self.take(pick) else { return };
                return self.serve(local, fd, recorder);
            }
            Op::Connect(pick) => {
                let addrs = self.addrs.borrow();
                let addr = addrs.get(usize::from(pick) % (addrs.len() + 1)).copied();
                drop(addrs);
                let key = local.connect(addr.unwrap_or(([127, 0, 0, 1], 1).into()), recorder);
                match key.map_err(|refused| refused.error) {
                    // There was no descriptor left.
                    Err(Error::Io(error)) if error.raw_os_error() == Some(EMFILE) => return,
                    key => key,
                }
            }
            _ => return,
        };
        self.admitted(number, admitted);
    }

    /// A listener of the loop's own: its connections have recorders too.
    fn serve(self: &Rc<Self>, local: &Local, fd: Rc<Fd>, recorder: Recorder) {
        let (world, number) = (Rc::clone(self), recorder.number);
        let accept = move |_: &Cx<'_>, _: &readily::Accepted| {
            let _owner = &recorder;
            let served = world.recorder();
            served.unmet.set(true);
            world.unmet.set(world.unmet.get() + 1);
            Some(served)
        };
        let key = local.listen(fd, accept);
        self.admitted(number, key.map_err(|refused| refused.error));
    }

    /// Does something with a descriptor; its errors are none of ours.
    fn act(&self, op: Op) {
        match op {
            Op::Close(pick) => return drop(self.take(pick)),
            Op::Reset(pick) => {
                // One that the loop has a share in goes on there.
                if let Some(Ok(fd)) = self.take(pick).map(Rc::try_unwrap) {
                    fd.reset();
                }
                return;
            }
            _ => {}
        }
        let (Op::Read(pick, _)
        | Op::Write(pick, _)
        | Op::Shutdown(pick, _)
        | Op::Urgent(pick)
        | Op::Dup(pick)
        | Op::Renumber(pick, _)) = op
        else {
            return;
        };
        let Some(fd) = self.loose(pick) else { return };
        let few = self.loose.borrow().len() < MOST;
        match op {
            Op::Read(_, len) => drop(fd.read(&mut [0; 255][..usize::from(len)])),
            Op::Write(_, len) => drop(fd.write(&vec![7; usize::from(len)])),
            Op::Shutdown(_, how) => drop(fd.shutdown(shutdown(how))),
            Op::Urgent(_) => drop(fd.send_urgent()),
            Op::Dup(_) if few => self.keep(fd.try_clone()),
            Op::Renumber(_, to) if few => {
                self.keep(fd.renumbered(FIRST_NUMBER + i32::from(to)));
            }
            _ => {}
        }
    }
}

/// `EMFILE` of Linux and of the BSDs.
const EMFILE: i32 = 24;

fn interest(bits: u8) -> Interest {
    let all = [Interest::READ, Interest::WRITE, Interest::PRIORITY];
    let asked = all.into_iter().enumerate();
    asked
        .filter(|(bit, _)| bits & (1 << bit) != 0)
        .fold(Interest::NONE, |all, (_, one)| all | one)
}

fn shutdown(how: u8) -> Shutdown {
    match how % 3 {
        0 => Shutdown::Read,
        1 => Shutdown::Write,
        _ => Shutdown::Both,
    }
}
