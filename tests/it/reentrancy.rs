//! Every call from every place: user code that the loop calls may call any method of the loop
//! (R038, R039, R040, R049, R055).
//!
//! A table of places (`places.rs`), a table of calls (`calls.rs`), and a new loop for each pair of
//! them. In each pair the call must not panic, as it would on a cell that is borrowed across user
//! code (L8). Its effect comes once, not on the stack of the caller (L3), and not before work that was
//! queued earlier; the effect of what a ready batch adds comes in a later turn (L5). All that was
//! ready beside it runs (L6). A new method is one row in the table of calls.
//!
//! Invariants: L3, L5, L6, L8.

mod calls;
mod places;

use crate::support::{Count, Log, collect_unhandled, guard, strict_loop, turn_times};
use calls::{CALLS, Call, Comes, Made};
use places::{CLOSING, PLACES, Plant};
use readily::event_loop::ExitReason;
use readily::spi;
use readily::task::Promise;
use readily::{
    CallHandle, Closures, Cx, EventLoop, Interest, Key, LoopHandle, Runner, Task, TimerHandle,
    WeakHandle,
};
use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::future::{pending, poll_fn};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

const FAR: Duration = Duration::from_secs(3600);

thread_local! {
    /// The pair under test, for what must be `Send`: wakers, and closures for a `RemoteHandle`.
    static FIXTURE: RefCell<Weak<Fixture>> = const { RefCell::new(Weak::new()) };
}

fn fixture() -> Option<Rc<Fixture>> {
    FIXTURE.with_borrow(Weak::upgrade)
}

/// An object that a call may end. It must not be called afterwards.
#[derive(Default)]
struct Victim {
    ended: Cell<bool>,
    calls: Count,
    strays: Count,
}

impl Victim {
    fn called(&self) {
        if self.ended.get() {
            self.strays.add();
        }
        self.calls.add();
    }
}

/// One pair: the objects that the call may use, and the effects that it had.
struct Fixture {
    handle: WeakHandle,
    made: Made,
    /// The turn in which the call was made.
    turn: Cell<Option<u64>>,
    /// The turn in which a closure ran that was queued just before the call.
    queued_turn: Cell<Option<u64>>,
    /// Whether the call is running.
    inside: Cell<bool>,
    /// Whether the call needs a `Cx`, and the place has none.
    skipped: Cell<bool>,
    /// For each effect, its turn, and whether it came while the call was running.
    effects: RefCell<Vec<(u64, bool)>>,
    /// Shared by all closures that have an effect, to check that all of them are freed.
    token: Rc<()>,
    /// The registration to which the place belongs, if it does.
    own: Cell<Option<Key>>,
    busy_victim: Rc<Victim>,
    due_victim: Rc<Victim>,
    queued_victim: Rc<Victim>,
    rig: OnceCell<Rig>,
    due: OnceCell<TimerHandle>,
    queued: OnceCell<CallHandle>,
    /// Loops that refused to be turned by the call.
    others: RefCell<Vec<(Runner, Count)>>,
    kept: RefCell<Vec<Box<dyn Any>>>,
    /// Uses, and drops, the object to which the place belongs.
    probe: RefCell<Option<Box<dyn FnOnce()>>>,
}

/// The objects that exist before the place is set up.
struct Rig {
    /// Ready in every turn.
    busy: Key,
    /// Has a byte and no interest; its read branch is an effect.
    quiet: Key,
    /// Was removed.
    stale: Key,
    endless: Task<()>,
    finished: RefCell<Task<u8>>,
    /// The waker of a task whose second poll is an effect.
    parked: Waker,
    /// A promise for which a task waits; the end of that wait is an effect.
    promise: Promise<()>,
}

impl Fixture {
    fn new(event_loop: &mut EventLoop, made: Made) -> Rc<Self> {
        let fixture = Rc::new(Self {
            handle: event_loop.weak_handle(),
            made,
            turn: Cell::default(),
            queued_turn: Cell::default(),
            inside: Cell::default(),
            skipped: Cell::default(),
            effects: RefCell::default(),
            token: Rc::default(),
            own: Cell::default(),
            busy_victim: Rc::default(),
            due_victim: Rc::default(),
            queued_victim: Rc::default(),
            rig: OnceCell::new(),
            due: OnceCell::new(),
            queued: OnceCell::new(),
            others: RefCell::default(),
            kept: RefCell::default(),
            probe: RefCell::default(),
        });
        FIXTURE.set(Rc::downgrade(&fixture));
        let rig = Rig::new(event_loop, &fixture);
        assert!(fixture.rig.set(rig).is_ok());
        fixture
    }

    fn rig(&self) -> &Rig {
        self.rig.get().expect("it is rigged")
    }

    /// Returns a function that records an effect of the call.
    fn effect(self: &Rc<Self>) -> impl Fn() + use<> {
        let (fixture, token) = (Rc::downgrade(self), Rc::clone(&self.token));
        move || {
            let _held = &token;
            if let Some(fixture) = fixture.upgrade() {
                fixture.note();
            }
        }
    }

    fn note(&self) {
        let turn = self.handle.with(|handle| handle.stats().turns);
        let note = (turn.expect("it runs on its loop"), self.inside.get());
        self.effects.borrow_mut().push(note);
    }

    /// A registration whose read branch is an effect, with a byte to be read.
    fn ready_stream(self: &Rc<Self>) -> (UnixStream, Closures) {
        let effect = self.effect();
        let callbacks = Closures::new().on_read(move |cx| {
            effect();
            cx.close();
        });
        (self.stream(), callbacks)
    }

    /// A stream with a byte to be read.
    fn stream(&self) -> UnixStream {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"x").unwrap();
        self.keep(theirs);
        ours
    }

    fn keep(&self, what: impl Any) {
        self.kept.borrow_mut().push(Box::new(what));
    }

    fn belongs_to(&self, probe: impl FnOnce() + 'static) {
        *self.probe.borrow_mut() = Some(Box::new(probe));
    }

    /// Makes the call, when the place is reached for the first time.
    fn act(self: &Rc<Self>, handle: &LoopHandle) {
        if let Made::Local(call) = self.made {
            self.once(handle, || call(handle, self));
        } else {
            self.once(handle, || self.skipped.set(true));
        }
    }

    /// Makes the call in a place that has a `Cx`.
    fn act_with(self: &Rc<Self>, cx: &Cx<'_>) {
        match self.made {
            Made::Cx(call) => self.once(cx, || call(cx, self)),
            Made::Local(_) => self.act(cx),
        }
    }

    /// Makes the call in code that gets no reference to the loop.
    fn act_here(self: &Rc<Self>) {
        self.handle.with(|handle| self.act(handle));
    }

    fn once(&self, handle: &LoopHandle, call: impl FnOnce()) {
        if self.turn.get().is_none() {
            self.turn.set(Some(handle.stats().turns));
            handle.call_soon(|handle| {
                let turn = handle.stats().turns;
                if let Some(fixture) = fixture() {
                    fixture.queued_turn.set(Some(turn));
                }
            });
            self.inside.set(true);
            call();
            self.inside.set(false);
        }
    }

    /// Arms a timer and queues a closure beside the place, for the same turn.
    fn arm_siblings(&self, handle: &LoopHandle) {
        let victim = Rc::clone(&self.due_victim);
        let due = handle.call_later(Duration::ZERO, move |_| victim.called());
        let victim = Rc::clone(&self.queued_victim);
        let queued = handle.call_soon(move |_| victim.called());
        assert!(self.due.set(due).is_ok() && self.queued.set(queued).is_ok());
    }
}

impl Rig {
    fn new(event_loop: &mut EventLoop, fixture: &Rc<Fixture>) -> Self {
        let here = event_loop.enter();
        let victim = Rc::clone(&fixture.busy_victim);
        // After some calls it suspends itself, so that a turn can block until the network is ready.
        let read = Closures::new().on_read(move |cx| {
            victim.called();
            if victim.calls.get() > 12 {
                cx.set_interest(Interest::NONE).unwrap();
            }
        });
        let busy = event_loop.register(fixture.stream(), Interest::READ, read);
        let (ours, read) = fixture.ready_stream();
        let quiet = event_loop.register(ours, Interest::NONE, read);
        let stale = event_loop.register(fixture.stream(), Interest::READ, Closures::new());
        let stale = stale.unwrap();
        event_loop.remove(stale).unwrap();
        let (effect, waker) = (fixture.effect(), Rc::new(OnceCell::<Waker>::new()));
        let shown = Rc::clone(&waker);
        drop(event_loop.spawn(poll_fn(move |cx| {
            if shown.set(cx.waker().clone()).is_ok() {
                return Poll::Pending;
            }
            effect();
            Poll::Ready(())
        })));
        let (effect, (promise, future)) = (fixture.effect(), readily::task::create_future());
        drop(event_loop.spawn(async move { future.await.map_or((), |()| effect()) }));
        let (endless, finished) = (
            event_loop.spawn(pending()),
            event_loop.spawn(async { 21_u8 }),
        );
        drop(here);
        turn_times(event_loop, 2);
        assert!(finished.done());
        Self {
            busy: busy.unwrap(),
            quiet: quiet.unwrap(),
            stale,
            endless,
            finished: RefCell::new(finished),
            parked: waker.get().expect("it was polled").clone(),
            promise,
        }
    }
}

/// The rest of the batch: two of each kind, all ready at the same time.
fn witnesses(event_loop: &EventLoop, fixture: &Fixture, log: &Log) {
    for _ in 0..2 {
        let note = log.clone();
        let read = Closures::new().on_read(move |cx| {
            note.note("read");
            cx.close();
        });
        event_loop
            .register(fixture.stream(), Interest::READ, read)
            .unwrap();
        let note = log.clone();
        event_loop.call_later(Duration::ZERO, move |_| note.note("timer"));
        let note = log.clone();
        event_loop.call_soon(move |_| note.note("soon"));
        let note = log.clone();
        drop(event_loop.spawn(async move { note.note("task") }));
    }
}

/// Tries one pair.
fn try_pair(place: &str, plant: Plant, &(_, comes, made): &Call) {
    let mut event_loop = strict_loop();
    let reports = collect_unhandled(&event_loop);
    let fixture = Fixture::new(&mut event_loop, made);
    let served = Log::default();
    witnesses(&event_loop, &fixture, &served);
    let kept = plant(&event_loop, &fixture);
    fixture.arm_siblings(&event_loop);
    witnesses(&event_loop, &fixture, &served);

    for _ in 0..300 {
        let here = fixture.turn.get().is_some();
        let came = fixture.skipped.get() || fixture.effects.borrow().len() >= comes.how_many();
        if here && came && served.len() == 16 {
            break;
        }
        event_loop.turn(Some(Duration::from_millis(20))).unwrap();
        spi::check_invariants(&event_loop);
    }
    turn_times(&mut event_loop, 4);

    let comes = if fixture.skipped.get() {
        Comes::Never
    } else {
        comes
    };
    let made_in = fixture.turn.get().expect("the place is reached");
    for what in ["read", "timer", "soon", "task"] {
        assert_eq!(served.count(what), 4, "L6: {what}, of a batch: {comes:?}");
    }
    for victim in [
        &fixture.busy_victim,
        &fixture.due_victim,
        &fixture.queued_victim,
    ] {
        assert_eq!(victim.strays.get(), 0, "what was ended was called");
    }
    let queued = fixture.queued_turn.get().expect("it ran");
    // L5: the batch is what was queued before the step in which these three run.
    let in_batch = ["a closure", "a closure from another thread", "a task"].contains(&place);
    assert!(queued == made_in + 1 || (queued == made_in && !in_batch));
    comes.check(made_in, queued, &fixture.effects.borrow());
    assert!(!reports.text().contains("panicked"), "{}", reports.text());
    check_usable(&mut event_loop, comes);
    for (other, count) in fixture.others.borrow_mut().iter_mut() {
        other.run(readily::yield_now()).expect("it turns again");
        assert_eq!(count.get(), 1, "the refused work runs now");
    }

    event_loop.close();
    drop(kept);
    assert_eq!(Rc::strong_count(&fixture), 1, "the place is freed");
    let token = Rc::clone(&fixture.token);
    drop(fixture);
    assert_eq!(Rc::strong_count(&token), 1, "what was added is freed");
}

/// The loop runs, and stops: by the call, or else now.
fn check_usable(event_loop: &mut EventLoop, comes: Comes) {
    if comes != Comes::Stop {
        event_loop.stop();
    }
    let hung = event_loop.call_later(Duration::from_secs(60), |_| {
        panic!("the loop was not stopped")
    });
    assert_eq!(event_loop.run().unwrap(), ExitReason::Stopped);
    assert!(hung.cancel());
}

/// All pairs, with the names of those that went wrong.
fn try_all(places: &[(&str, Plant)], pair: impl Fn(&str, Plant, &Call)) {
    let mut wrong = Vec::new();
    for &(place, plant) in places {
        for call in CALLS {
            if catch_unwind(AssertUnwindSafe(|| pair(place, plant, call))).is_err() {
                wrong.push(format!("{} in {place}", call.0));
            }
        }
    }
    assert!(wrong.is_empty(), "see above: {wrong:#?}");
}

/// R038, R039, R040, R055; L3, L5, L6, L8.
#[test]
fn every_call_works_from_every_place_and_takes_effect_once_in_its_turn() {
    let _guard = guard!();
    try_all(PLACES, try_pair);
}

/// R081: destructors that run while the loop closes. Work that they add is refused, or dropped.
#[test]
fn every_call_can_be_made_while_the_loop_closes_and_nothing_comes_of_it() {
    let _guard = guard!();
    try_all(CLOSING, |_, plant, &(_, comes, made)| {
        let mut event_loop = strict_loop();
        let reports = collect_unhandled(&event_loop);
        let fixture = Fixture::new(&mut event_loop, made);
        let kept = plant(&event_loop, &fixture);
        fixture.arm_siblings(&event_loop);
        assert!(fixture.turn.get().is_none(), "nothing was dropped yet");
        event_loop.close();
        assert!(fixture.turn.get().is_some(), "it was dropped");
        // A wake of an old waker is harmless.
        assert!(comes == Comes::Soon || fixture.effects.borrow().is_empty());
        assert!(!reports.text().contains("panicked"), "{}", reports.text());
        drop(kept);
        let token = Rc::clone(&fixture.token);
        assert_eq!(Rc::strong_count(&fixture), 1, "the place is freed");
        drop(fixture);
        assert_eq!(Rc::strong_count(&token), 1, "what was added is freed");
    });
}

/// L5, R055: a waker that waits again, as soon as it is woken, is woken once for each
/// descriptor.
#[test]
fn a_waker_that_waits_again_for_a_descriptor_is_woken_once_for_each() {
    thread_local! {
        static LOOP: RefCell<Option<WeakHandle>> = const { RefCell::new(None) };
        static WOKEN: Cell<usize> = const { Cell::new(0) };
    }
    struct Again;
    impl Wake for Again {
        fn wake(self: Arc<Self>) {
            WOKEN.set(WOKEN.get() + 1);
            assert!(WOKEN.get() < 100, "it is woken for ever");
            let handle = LOOP.with_borrow(Clone::clone).unwrap();
            handle.with(|handle| spi::wake_on_fd_close(handle, Waker::from(self)));
        }
    }
    let event_loop = strict_loop();
    LOOP.set(Some(event_loop.weak_handle()));
    spi::wake_on_fd_close(&event_loop, Waker::from(Arc::new(Again)));
    for freed in 1..=3 {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let key = event_loop.register(ours, Interest::NONE, Closures::new());
        event_loop.remove(key.unwrap()).unwrap();
        assert_eq!(WOKEN.get(), freed);
    }
}

/// R049: each stream writes to the next but one, ends the next, and registers a new one, while
/// the batch in which all of them are ready is walked.
#[test]
fn callbacks_write_to_others_and_change_the_list_that_is_walked() {
    const STREAMS: usize = 24;
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let log = Log::default();
    let pairs = (0..STREAMS).map(|_| UnixStream::pair().unwrap());
    let (ours, mut theirs): (Vec<_>, Vec<_>) = pairs.map(|(a, b)| (Rc::new(a), b)).unzip();
    let keys = Rc::new(RefCell::new(Vec::<Key>::new()));
    for n in 0..STREAMS {
        let (log, keys_now) = (log.clone(), Rc::clone(&keys));
        let next_but_one = Rc::clone(&ours[(n + 2) % STREAMS]);
        let read = Closures::new().on_read(move |cx| {
            assert_eq!(cx.read(&mut [0; 8]).unwrap(), 1);
            log.note("called");
            (&*next_but_one).write_all(b"!").unwrap();
            cx.remove(keys_now.borrow()[(n + 1) % STREAMS])
                .unwrap_or_default();
            let (new, mut peer) = UnixStream::pair().unwrap();
            peer.write_all(b"x").unwrap();
            let (log, born) = (log.clone(), cx.stats().turns);
            let read = Closures::new().on_read(move |cx| {
                assert!(cx.stats().turns > born, "L5");
                log.note("new");
                let _open = &peer;
                cx.close();
            });
            cx.register(new, Interest::READ, read).unwrap();
        });
        let descriptor = Rc::clone(&ours[n]);
        let key = event_loop.register(descriptor, Interest::READ, read);
        keys.borrow_mut().push(key.unwrap());
        theirs[n].write_all(b"x").unwrap();
    }
    turn_times(&mut event_loop, 4);
    // In the order of the batch the first ends the second, the third the fourth, and so on.
    let half = STREAMS / 2;
    assert_eq!((log.count("called"), log.count("new")), (half, half));
    assert_eq!(
        (event_loop.registered(), event_loop.stats().stale),
        (half, half as u64)
    );
    let mut got = 0;
    for stream in &mut theirs {
        stream.set_nonblocking(true).unwrap();
        got += stream.read(&mut [0; 8]).unwrap_or(0);
    }
    assert_eq!(got, half, "each of the called wrote one byte to another");
}

/// L5, on a loop that nothing observes: it runs closures row by row, and a row does not run on into the next turn.
#[test]
fn a_closure_that_a_closure_queues_runs_behind_the_tasks_of_its_turn() {
    let _guard = guard!();
    let mut event_loop = EventLoop::new().unwrap();
    let order = Rc::new(RefCell::new(Vec::new()));
    let note = |name| {
        let order = Rc::clone(&order);
        move || order.borrow_mut().push(name)
    };
    let (first, queued, task) = (note("first"), note("queued"), note("task"));
    event_loop.call_soon(move |handle| {
        first();
        handle.call_soon(move |_| queued());
    });
    drop(event_loop.spawn(async move { task() }));
    turn_times(&mut event_loop, 2);
    assert_eq!(*order.borrow(), ["first", "task", "queued"]);
}
