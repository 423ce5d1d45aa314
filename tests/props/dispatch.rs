//! The loop against an interpreter of the same program: L1 to L6, L8.
//!
//! A program is a list of turns, each a batch of events (some of them for registrations that
//! have long gone), and a list of deeds that callbacks do, whichever runs next. The model
//! knows registrations as numbers and predicts the whole log: who is called, for what, in which
//! order, and how many events were stale. Since every deed is done in every kind of callback
//! sooner or later, a borrow held across user code would show as a panic (L8).

use super::scripted::{PLANTED, Scripted, hush};
use proptest::collection::vec;
use proptest::prelude::*;
use readily::poll::Event;
use readily::{
    CallHandle, Callbacks, Cx, EventLoop, Interest, Key, Local, PanicPolicy, Readiness, TimerHandle,
};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

const SLOTS: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Deed {
    Nothing,
    RemoveSelf,
    Remove(usize),
    Register(usize, u8),
    Modify(usize, u8),
    Soon,
    CancelSoon,
    Arm(u64),
    CancelTimer,
    Panic,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => Just(Deed::Nothing),
        1 => Just(Deed::RemoveSelf),
        2 => (0..SLOTS).prop_map(Deed::Remove),
        2 => (0..SLOTS, 0u8..4).prop_map(|(slot, interest)| Deed::Register(slot, interest)),
        2 => (0..SLOTS, 0u8..4).prop_map(|(slot, interest)| Deed::Modify(slot, interest)),
        1 => Just(Deed::Soon),
        1 => Just(Deed::CancelSoon),
        1 => (0u64..4).prop_map(Deed::Arm),
        1 => Just(Deed::CancelTimer),
        1 => Just(Deed::Panic),
    ]
}

/// One event of a batch: whose, which facts, and how many registrations ago.
type Report = (usize, u8, usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Read(usize),
    Write(usize),
    Hangup(usize),
    Default(usize),
    Soon(usize),
    Timer(usize),
    Turn,
}

fn interest(bits: u8) -> Interest {
    let mut interest = Interest::NONE;
    if bits & 1 != 0 {
        interest |= Interest::READ;
    }
    if bits & 2 != 0 {
        interest |= Interest::WRITE;
    }
    interest
}

// The model.

#[derive(Clone, Copy, Debug)]
struct Registered {
    number: usize,
    interest: Interest,
}

#[derive(Default)]
struct Model {
    slots: [Option<Registered>; SLOTS],
    /// For each slot, all that ever were there.
    past: [Vec<usize>; SLOTS],
    made: usize,
    log: Vec<Seen>,
    stale: u64,
    deeds: VecDeque<Deed>,
    soon: Vec<usize>,
    /// Those of this turn that have not run yet.
    running: VecDeque<usize>,
    timers: Vec<(u64, usize)>,
    added: usize,
    now: u64,
}

impl Model {
    fn register(&mut self, slot: usize, interest: Interest) {
        if self.slots[slot].is_none() {
            self.slots[slot] = Some(Registered {
                number: self.made,
                interest,
            });
            self.past[slot].push(self.made);
            self.made += 1;
        }
    }

    fn at(&self, number: usize) -> Option<usize> {
        (0..SLOTS).find(|&slot| self.slots[slot].is_some_and(|r| r.number == number))
    }

    /// Does the next deed in a callback of `own`; `false` if that panics.
    fn deed(&mut self, own: Option<usize>) -> bool {
        match self.deeds.pop_front().unwrap_or(Deed::Nothing) {
            Deed::Nothing => {}
            Deed::RemoveSelf => {
                if let Some(slot) = own.and_then(|own| self.at(own)) {
                    self.slots[slot] = None;
                }
            }
            Deed::Remove(slot) => self.slots[slot] = None,
            Deed::Register(slot, bits) => self.register(slot, interest(bits)),
            Deed::Modify(slot, bits) => {
                if let Some(registered) = &mut self.slots[slot] {
                    registered.interest = interest(bits);
                }
            }
            Deed::Soon => {
                self.soon.push(self.added);
                self.added += 1;
            }
            Deed::CancelSoon => drop(self.soon.pop().or_else(|| self.running.pop_back())),
            Deed::Arm(delay) => {
                self.timers.push((self.now + delay, self.added));
                self.added += 1;
            }
            Deed::CancelTimer => drop(self.timers.pop()),
            Deed::Panic => return false,
        }
        true
    }

    fn branch(&mut self, number: usize, seen: Seen) {
        self.log.push(seen);
        if !self.deed(Some(number)) {
            if let Some(slot) = self.at(number) {
                self.slots[slot] = None;
            }
        }
    }

    fn event(&mut self, number: Option<usize>, ready: Readiness) {
        let Some(number) = number.filter(|&number| self.at(number).is_some()) else {
            self.stale += 1;
            return;
        };
        for (bit, wanted, seen) in [
            (Readiness::READ, Interest::READ, Seen::Read(number)),
            (Readiness::WRITE, Interest::WRITE, Seen::Write(number)),
        ] {
            let Some(slot) = self.at(number) else { return };
            let asks = self.slots[slot].is_some_and(|r| r.interest.contains(wanted));
            if ready.contains(bit) && asks {
                self.branch(number, seen);
            }
        }
        if let Some(slot) = self.at(number) {
            // Its peer is there: an error alone is none of the connection's.
            if ready.is_closed() {
                self.slots[slot] = None;
                self.branch(number, Seen::Hangup(number));
            }
        }
    }

    fn turn(&mut self, batch: &[(Option<usize>, Readiness)]) {
        self.log.push(Seen::Turn);
        self.running = std::mem::take(&mut self.soon).into();
        let added = self.added;
        for &(number, ready) in batch {
            self.event(number, ready);
        }
        let now = self.now;
        let mut due: Vec<_> = self
            .timers
            .iter()
            .filter(|&&(at, id)| at <= now && id < added) // L5
            .copied()
            .collect();
        due.sort();
        for (at, id) in due {
            if let Some(place) = self.timers.iter().position(|&timer| timer == (at, id)) {
                self.timers.remove(place);
                self.log.push(Seen::Timer(id));
                self.deed(None);
            }
        }
        while let Some(id) = self.running.pop_front() {
            self.log.push(Seen::Soon(id));
            self.deed(None);
        }
    }
}

// The real thing.

struct Real {
    sockets: Vec<UnixStream>,
    keys: RefCell<[Option<(Key, usize)>; SLOTS]>,
    tokens: RefCell<[Vec<u64>; SLOTS]>,
    scripted: Scripted,
    made: Cell<usize>,
    log: RefCell<Vec<Seen>>,
    deeds: RefCell<VecDeque<Deed>>,
    soon: RefCell<Vec<(usize, CallHandle)>>,
    timers: RefCell<Vec<(usize, TimerHandle)>>,
    added: Cell<usize>,
    /// L3: a callback is running.
    inside: Cell<bool>,
}

struct Recorder {
    real: Rc<Real>,
    number: usize,
    slot: usize,
}

impl Recorder {
    fn branch(&self, cx: &Cx<'_>, seen: Seen) {
        let own = (cx.key(), self.number);
        self.real.branch(cx, Some((self.slot, own)), seen);
    }
}

impl Callbacks for Recorder {
    fn on_read(&mut self, cx: &Cx<'_>) {
        self.branch(cx, Seen::Read(self.number));
    }
    fn on_write(&mut self, cx: &Cx<'_>) {
        self.branch(cx, Seen::Write(self.number));
    }
    fn on_hangup(&mut self, cx: &Cx<'_>, _error: Option<io::Error>) {
        self.real.forget(self.number);
        self.branch(cx, Seen::Hangup(self.number));
    }
    fn on_default(&mut self, cx: &Cx<'_>, _ready: Readiness) {
        self.branch(cx, Seen::Default(self.number));
    }
}

impl Real {
    fn fd(&self, slot: usize) -> RawFd {
        self.sockets[slot].as_raw_fd()
    }

    fn forget(&self, number: usize) {
        for key in self.keys.borrow_mut().iter_mut() {
            if key.is_some_and(|(_, own)| own == number) {
                *key = None;
            }
        }
    }

    fn register(self: &Rc<Self>, local: &Local, slot: usize, interest: Interest) {
        if self.keys.borrow()[slot].is_some() {
            return;
        }
        let number = self.made.get();
        let recorder = Recorder {
            real: Rc::clone(self),
            number,
            slot,
        };
        // A duplicate, closed with its registration: its number comes back for the next one.
        let socket = self.sockets[slot].try_clone().unwrap();
        let fd = socket.as_raw_fd();
        let key = local.register(socket, interest, recorder).unwrap();
        self.made.set(number + 1);
        self.keys.borrow_mut()[slot] = Some((key, number));
        let token = self.scripted.0.borrow().known[&fd].0;
        self.tokens.borrow_mut()[slot].push(token);
    }

    fn branch(self: &Rc<Self>, local: &Local, own: Option<(usize, (Key, usize))>, seen: Seen) {
        assert!(
            !self.inside.replace(true),
            "L3: {seen:?} inside another callback"
        );
        self.log.borrow_mut().push(seen);
        let deed = self.deeds.borrow_mut().pop_front().unwrap_or(Deed::Nothing);
        let panics = matches!(deed, Deed::Panic);
        self.deed(local, own, deed);
        self.inside.set(false);
        if panics {
            if let Some((_, (_, number))) = own {
                self.forget(number); // the loop removes it
            }
            std::panic::panic_any(PLANTED);
        }
    }

    fn deed(self: &Rc<Self>, local: &Local, own: Option<(usize, (Key, usize))>, deed: Deed) {
        let remove = |slot: usize| {
            let key = self.keys.borrow_mut()[slot].take();
            if let Some((key, _)) = key {
                local.remove(key).unwrap();
                assert!(local.remove(key).is_err(), "a key names nothing afterwards");
            }
        };
        match deed {
            Deed::Nothing | Deed::Panic => {}
            Deed::RemoveSelf => {
                if let Some((slot, (key, _))) = own {
                    if self.keys.borrow()[slot].is_some_and(|(now, _)| now == key) {
                        remove(slot);
                    }
                }
            }
            Deed::Remove(slot) => remove(slot),
            Deed::Register(slot, bits) => self.register(local, slot, interest(bits)),
            Deed::Modify(slot, bits) => {
                if let Some((key, _)) = self.keys.borrow()[slot] {
                    local.modify(key, interest(bits)).unwrap();
                }
            }
            Deed::Soon => {
                let (real, id) = (Rc::clone(self), self.added.get());
                let handle = local.call_soon(move |local| {
                    real.soon.borrow_mut().retain(|(other, _)| *other != id);
                    real.branch(local, None, Seen::Soon(id));
                });
                self.soon.borrow_mut().push((id, handle));
                self.added.set(id + 1);
            }
            Deed::CancelSoon => {
                let last = self.soon.borrow_mut().pop();
                if let Some((_, handle)) = last {
                    assert!(handle.cancel());
                }
            }
            Deed::Arm(delay) => {
                let (real, id) = (Rc::clone(self), self.added.get());
                let handle = local.call_later(Duration::from_nanos(delay), move |local| {
                    real.timers.borrow_mut().retain(|(other, _)| *other != id);
                    real.branch(local, None, Seen::Timer(id));
                });
                self.timers.borrow_mut().push((id, handle));
                self.added.set(id + 1);
            }
            Deed::CancelTimer => {
                let last = self.timers.borrow_mut().pop();
                if let Some((_, handle)) = last {
                    assert!(handle.cancel());
                }
            }
        }
    }
}

fn run(turns: &[Vec<Report>], deeds: &[Deed]) -> Result<(), TestCaseError> {
    hush();
    let scripted = Scripted::default();
    let (mut event_loop, clock) = scripted.event_loop();
    event_loop.set_panic_policy(PanicPolicy::Isolate);
    event_loop.on_unhandled(|_| {});
    let pairs: Vec<_> = (0..SLOTS).map(|_| UnixStream::pair().unwrap()).collect();
    let (sockets, _peers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let real = Rc::new(Real {
        sockets,
        keys: RefCell::default(),
        tokens: RefCell::default(),
        scripted: scripted.clone(),
        made: Cell::new(0),
        log: RefCell::default(),
        deeds: RefCell::new(deeds.iter().copied().collect()),
        soon: RefCell::default(),
        timers: RefCell::default(),
        added: Cell::new(0),
        inside: Cell::new(false),
    });
    let mut model = Model {
        deeds: deeds.iter().copied().collect(),
        ..Model::default()
    };
    for slot in 0..SLOTS {
        real.register(&event_loop, slot, Interest::BOTH);
        model.register(slot, Interest::BOTH);
    }
    for turn in turns {
        let mut batch = Vec::new();
        let mut predicted = Vec::new();
        for &(slot, bits, ago) in turn {
            let ready = Readiness::from_bits(bits & 0b1_1111);
            let past = &real.tokens.borrow()[slot];
            let place = past.len().checked_sub(1 + ago);
            let token = place.map_or(u64::MAX - 1, |place| past[place]);
            batch.push(Event { token, ready });
            predicted.push((place.map(|place| model.past[slot][place]), ready));
        }
        scripted.0.borrow_mut().batches.push_back(batch);
        clock.advance(Duration::from_nanos(1));
        model.now += 1;
        real.log.borrow_mut().push(Seen::Turn);
        event_loop.turn_now().unwrap();
        model.turn(&predicted);
        event_loop.check_invariants();
        prop_assert_eq!(&*real.log.borrow(), &model.log);
        prop_assert_eq!(
            event_loop.stats().stale,
            model.stale,
            "L6: each is served or counted"
        );
    }
    finish(event_loop, &real, &model)
}

/// L8, at the end: dropping the loop drops every callback, whatever holds whatever.
fn finish(event_loop: EventLoop, real: &Rc<Real>, model: &Model) -> Result<(), TestCaseError> {
    let live = model.slots.iter().flatten().count();
    prop_assert_eq!(event_loop.registered(), live);
    prop_assert_eq!(
        real.scripted.0.borrow().known.len(),
        live,
        "table and poller agree"
    );
    real.soon.borrow_mut().clear();
    real.timers.borrow_mut().clear();
    let report = event_loop.close();
    prop_assert_eq!(report.registrations, live);
    prop_assert!(real.scripted.0.borrow().known.is_empty());
    prop_assert_eq!(Rc::strong_count(real), 1, "every callback was dropped");
    let _ = real.fd(0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// L1, L2, L3, L4, L5, L6, L8.
    #[test]
    fn the_loop_calls_whom_the_model_calls(
        turns in vec(vec((0..SLOTS, 0u8..32, 0usize..3), 0..6), 1..12),
        deeds in vec(deed(), 0..48),
    ) {
        run(&turns, &deeds)?;
    }
}
