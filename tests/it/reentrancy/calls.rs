//! The calls: every public method that user code may call inside the loop.
//!
//! A row has a name, the time at which the effect must come, and the call, which reports its
//! effects with [`Fixture::effect`].

use super::{FAR, Fixture, fixture};
use crate::support::{Count, listener, strict_loop, strict_run};
use readily::event_loop::Accepted;
use readily::spi;
use readily::{
    CancellationToken, Closures, Cx, Error, Interest, JoinSet, LoopHandle, PanicPolicy, Runner,
    TaskGroup, Unhandled, WeakHandle,
};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

/// When the effect of a call must come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comes {
    /// Once, in the next turn or the one after it (L5).
    Later,
    /// Once, in the turn in which work runs that was queued just before the call, or in the next (L5).
    Queued,
    /// Once, in a later turn, when the network is ready.
    InTime,
    /// Once, in this turn or the next: the call wakes something that was there before.
    Soon,
    /// Never: the call has only a return value.
    Never,
    /// The next run stops.
    Stop,
}
use Comes::{InTime, Later, Never, Queued, Soon, Stop};

impl Comes {
    pub(super) fn how_many(self) -> usize {
        usize::from(matches!(self, Later | Queued | InTime | Soon))
    }

    /// `queued` is the turn in which a closure ran that was queued just before the call.
    pub(super) fn check(self, made_in: u64, queued: u64, effects: &[(u64, bool)]) {
        let count = effects.len();
        assert_eq!(count, self.how_many(), "{self:?}, of turn {made_in}");
        for &(turn, inside) in effects {
            assert!(!inside, "L3: inside the call");
            let after = turn - made_in;
            match self {
                Soon => {}
                Queued => assert!(turn >= queued, "L5: before what was queued earlier"),
                _ => assert!(after > 0, "L5: in the turn of the call"),
            }
            assert!(after <= 2 || self == InTime, "{after} turns after");
        }
    }
}

#[derive(Clone, Copy)]
pub(super) enum Made {
    Local(fn(&LoopHandle, &Rc<Fixture>)),
    /// A call that needs a `Cx`; it is skipped in places without one.
    Cx(fn(&Cx<'_>, &Rc<Fixture>)),
}

pub(super) type Call = (&'static str, Comes, Made);

const fn call(name: &'static str, comes: Comes, made: fn(&LoopHandle, &Rc<Fixture>)) -> Call {
    (name, comes, Made::Local(made))
}

const fn call_with(name: &'static str, comes: Comes, made: fn(&Cx<'_>, &Rc<Fixture>)) -> Call {
    (name, comes, Made::Cx(made))
}

struct Effect;

impl Wake for Effect {
    fn wake(self: Arc<Self>) {
        fixture().unwrap().note();
    }
}

/// R038: `turn` turns another loop, which refuses, and runs its work afterwards.
fn refused(handle: &LoopHandle, w: &Fixture, turn: fn(&mut Runner) -> Result<(), Error>) {
    if handle.is_closed() {
        return; // the place is outside a turn
    }
    let mut other = Runner::from(strict_loop());
    let count = Count::default();
    let counted = count.clone();
    other.call_soon(move |_| assert_eq!(counted.add(), 1));
    assert!(matches!(turn(&mut other), Err(Error::WouldBlockLoop)));
    assert_eq!(count.get(), 0, "it did nothing");
    w.others.borrow_mut().push((other, count));
}

fn effect_waker() -> Waker {
    Waker::from(Arc::new(Effect))
}

pub(super) fn trouble() -> Unhandled {
    Unhandled::Io {
        what: "planted",
        error: io::Error::other("trouble"),
    }
}

pub(super) const CALLS: &[Call] = &[
    // Closures and timers.
    call("call_soon", Queued, |l, w| {
        let effect = w.effect();
        l.call_soon(move |_| effect());
    }),
    call("call_later", Later, |l, w| {
        let effect = w.effect();
        l.call_later(Duration::ZERO, move |_| effect());
    }),
    call("call_at", Later, |l, w| {
        let effect = w.effect();
        l.call_at(l.now() - Duration::from_millis(1), move |_| effect());
    }),
    call("cancelling a closure that is queued", Never, |l, w| {
        let (handle, ran) = (w.queued.get().unwrap(), w.queued_victim.calls.get() > 0);
        assert!(handle.cancel() != ran || l.is_closed());
        w.queued_victim.ended.set(true);
        assert!(!handle.cancel());
    }),
    call("cancelling a timer that is due", Never, |l, w| {
        let (handle, ran) = (w.due.get().unwrap(), w.due_victim.calls.get() > 0);
        assert!(handle.cancel() != ran || l.is_closed());
        w.due_victim.ended.set(true);
        assert!(!handle.cancel() && handle.when().is_some());
    }),
    call("wake_later", Later, |l, w| {
        w.keep(spi::wake_later(l, Duration::ZERO, effect_waker()))
    }),
    call("wake_at", Later, |l, w| {
        w.keep(spi::wake_at(l, l.now(), effect_waker()))
    }),
    call("disarming a WakeTimer", Never, |l, _| {
        let timer = spi::wake_later(l, Duration::ZERO, effect_waker());
        timer.poll(Waker::noop());
        drop(timer);
    }),
    // Registrations.
    call("register", Later, |l, w| {
        let (ours, read) = w.ready_stream();
        let _refused = l.register(ours, Interest::READ, read);
    }),
    call("register_source", Later, |l, w| {
        let effect = w.effect();
        let _refused = spi::register_source(l, w.stream(), false, move |_, _| effect());
    }),
    call("listen", InTime, |l, w| {
        let ((listener, addr), effect) = (listener(), w.effect());
        let accept = move |cx: &Cx<'_>, _: &Accepted| {
            effect();
            cx.close();
            None::<Closures>
        };
        let _refused = l.listen(listener, accept);
        w.keep(TcpStream::connect(addr).unwrap());
    }),
    call("connect", InTime, |l, w| {
        let ((listener, addr), effect) = (listener(), w.effect());
        w.keep(listener);
        let _refused = l.connect(addr, Closures::new().on_connect(move |_| effect()));
    }),
    call("modifying another", Later, |l, w| {
        let _unknown = l.set_interest_of(w.rig().quiet, Interest::READ);
    }),
    call("modifying and rearming itself", Never, |l, w| {
        if let Some(key) = w.own.get() {
            let interest = l.interest_of(key).unwrap_or(Interest::NONE);
            let same = (
                l.set_interest_of(key, interest).is_ok(),
                l.rearm(key, interest).is_ok(),
            );
            assert_eq!(same.0, l.interest_of(key).is_ok() && !l.is_closed());
            assert_eq!(same.0, same.1);
        }
    }),
    call("removing itself, twice", Never, |l, w| {
        if let Some(key) = w.own.get() {
            let _unknown = l.remove(key);
            assert!(matches!(l.remove(key), Err(Error::UnknownKey(k)) if k == key));
        }
    }),
    call("removing another that is ready", Never, |l, w| {
        let removed = l.remove(w.rig().busy).is_ok();
        assert!(removed || l.is_closed());
        w.busy_victim.ended.set(true);
    }),
    call("removing all others", Never, |l, w| {
        let _unknown = (l.remove(w.rig().busy), l.remove(w.rig().quiet));
        w.busy_victim.ended.set(true);
    }),
    call("removing and modifying what has gone", Never, |l, w| {
        let key = w.rig().stale;
        assert!(matches!(l.remove(key), Err(Error::UnknownKey(_))));
        assert!(matches!(
            l.set_interest_of(key, Interest::READ),
            Err(Error::UnknownKey(_))
        ));
        assert!(matches!(
            l.rearm(key, Interest::READ),
            Err(Error::UnknownKey(_))
        ));
        assert!(matches!(l.interest_of(key), Err(Error::UnknownKey(_))));
    }),
    call("wake_when_freed, and freeing", Soon, |l, w| {
        spi::wake_on_fd_close(l, w.rig().parked.clone());
        let _unknown = l.remove(w.rig().quiet);
    }),
    call("wake_when_freed, for the next one", Soon, |l, w| {
        spi::wake_on_fd_close(l, effect_waker());
        let key = w.rig().quiet;
        l.call_soon(move |handle| drop(handle.remove(key)));
    }),
    call("forget_freed", Never, |l, w| {
        spi::cancel_fd_wait(l, spi::wake_on_fd_close(l, effect_waker()));
        let _unknown = l.remove(w.rig().quiet);
    }),
    // With a Cx.
    call_with("register_accepted", Later, |cx, w| {
        let (ours, read) = w.ready_stream();
        let (fd, peer) = (ours.into(), None);
        let accepted = Accepted { fd, peer };
        cx.register_accepted(accepted, Interest::BOTH, read)
            .unwrap();
    }),
    call_with(
        "reading, writing, accepting, shutting down",
        Never,
        |cx, _| {
            let _whatever = (cx.read(&mut [0; 8]), cx.write(b"x"), cx.accept());
            let _whatever = cx.shutdown(Shutdown::Write);
        },
    ),
    call_with("asking for nothing", Never, |cx, _| {
        cx.remove_interest(cx.interest());
        assert_eq!(cx.interest(), Interest::NONE);
    }),
    call_with("closing, and then asking", Never, |cx, _| {
        cx.close();
        cx.close();
        assert!(matches!(
            cx.set_interest(Interest::READ),
            Err(Error::UnknownKey(_))
        ));
        cx.remove_interest(Interest::READ);
        assert_eq!(cx.interest(), Interest::NONE);
        let _still_open = cx.fd().try_clone_to_owned().unwrap();
        let _text = format!("{cx:?} {:?}", cx.role());
    }),
    call_with("closing, and registering the same anew", Later, |cx, w| {
        let (ours, read) = w.ready_stream();
        let key = cx.key();
        cx.close();
        let new = cx.register(ours, Interest::READ, read).unwrap();
        assert_ne!(new, key, "L1");
    }),
    // Tasks.
    call("Local::spawn", Queued, |l, w| {
        let effect = w.effect();
        drop(l.spawn(async move { effect() }));
    }),
    call("spawn", Queued, |_, w| {
        let effect = w.effect();
        drop(readily::spawn(async move { effect() }));
    }),
    call("cancelling another task", Queued, |l, w| {
        let (effect, task) = (w.effect(), &w.rig().endless);
        task.add_done_callback(move |_| effect());
        assert!(task.cancel() || l.is_closed());
        assert!(task.cancelled() && !task.cancel());
    }),
    call("cancelling a task that was just spawned", Never, |l, w| {
        let effect = w.effect();
        let task = l.spawn(async move { effect() });
        assert_eq!(task.cancel(), !l.is_closed());
    }),
    call("cancelling itself, twice", Never, |_, _| {
        if let Some(task) = readily::current_task() {
            assert!(task.cancel() && !task.cancel());
        }
    }),
    call("waking a task, twice", Soon, |_, w| {
        w.rig().parked.wake_by_ref();
        w.rig().parked.wake_by_ref();
    }),
    call("asking a task for its result", Never, |l, w| {
        let mut task = w.rig().finished.borrow_mut();
        let seen = task.with_result(|result| (l.registered(), result.as_ref().ok().copied()));
        assert_eq!(seen.unwrap().1, Some(21));
        assert_eq!(task.result().unwrap().unwrap(), 21);
        assert!(task.result().is_none(), "T4");
    }),
    call("naming and asking tasks", Never, |l, w| {
        let task = &w.rig().endless;
        task.set_name("endless");
        assert_eq!(&*task.get_name(), "endless");
        let _all = (
            task.get_coro(),
            task.state(),
            readily::all_tasks(),
            readily::current_task(),
        );
        let _text = format!("{task:?} {l:?} {:?}", l.weak_handle());
    }),
    call(
        "add_done_callback to a task that is done",
        Queued,
        |_, w| {
            let effect = w.effect();
            let key = w
                .rig()
                .finished
                .borrow()
                .add_done_callback(move |_| effect());
            assert!(
                !w.rig().finished.borrow().remove_done_callback(key),
                "queued"
            );
        },
    ),
    call("remove_done_callback of a task", Never, |_, w| {
        let (effect, task) = (w.effect(), &w.rig().endless);
        let key = task.add_done_callback(move |_| effect());
        assert_eq!(task.remove_done_callback(key), !task.done());
        assert!(!task.remove_done_callback(key));
        task.cancel();
    }),
    // Futures.
    call("settling a future that a task awaits", Soon, |_, w| {
        let promise = &w.rig().promise;
        assert!(promise.set_result(()).is_ok() && promise.set_result(()).is_err());
    }),
    call(
        "create_future, settling and add_done_callback",
        Queued,
        |_, w| {
            let (effect, (promise, future)) = (w.effect(), readily::task::create_future());
            promise.set_result(1).unwrap();
            future.add_done_callback(move |_| effect());
        },
    ),
    call(
        "add_done_callback to a future, and cancelling it",
        Queued,
        |_, w| {
            let (effect, (promise, future)) = (w.effect(), readily::task::create_future::<()>());
            future.add_done_callback(move |future| {
                assert!(future.cancelled());
                effect();
            });
            assert!(future.cancel() && !future.cancel() && promise.done());
        },
    ),
    call("abandoning a future", Queued, |_, w| {
        let (effect, (promise, future)) = (w.effect(), readily::task::create_future::<()>());
        future.add_done_callback(move |_| effect());
        drop(promise);
    }),
    call("remove_done_callback of a future", Never, |_, w| {
        let (effect, (promise, future)) = (w.effect(), readily::task::create_future());
        let key = future.add_done_callback(move |_| effect());
        assert!(future.remove_done_callback(key) && !future.remove_done_callback(key));
        promise.set_result(()).unwrap();
    }),
    // Groups and tokens.
    call("cancelling a token that has a callback", Queued, |_, w| {
        let (effect, token) = (w.effect(), CancellationToken::new());
        let child = token.child_token();
        child.on_cancel(move |_| effect());
        assert!(token.cancel_with("here") && child.is_cancelled() && !child.cancel());
    }),
    call("remove_on_cancel, and dropping a guard", Never, |_, w| {
        let (effect, token) = (w.effect(), CancellationToken::new());
        let key = token.on_cancel(move |_| effect());
        assert!(token.remove_on_cancel(key) && !token.remove_on_cancel(key));
        drop(token.clone().drop_guard());
        assert!(token.is_cancelled());
    }),
    call(
        "filling a set, letting it go, dropping another",
        Queued,
        |l, w| {
            let (mut kept, mut dropped) = (JoinSet::new(), JoinSet::new());
            let effect = w.effect();
            kept.spawn_on(l, async move { effect() });
            let gone = dropped.spawn_on(l, std::future::pending::<()>());
            assert_eq!(dropped.try_join_next().is_some(), l.is_closed());
            drop(dropped);
            assert!(gone.cancelled());
            kept.detach_all();
        },
    ),
    call("polling a group, and dropping it", Never, |_, w| {
        let effect = w.effect();
        let group = TaskGroup::run(async move |group| {
            group.spawn(async move {
                effect();
                Ok::<(), ()>(())
            });
            std::future::pending::<Result<(), ()>>().await
        });
        let mut cx = std::task::Context::from_waker(Waker::noop());
        assert!(Box::pin(group).as_mut().poll(&mut cx).is_pending());
    }),
    call("a shared future, settled and asked", Queued, |_, w| {
        let (effect, (promise, future)) = (w.effect(), readily::task::create_future());
        future.add_done_callback(move |_| effect());
        let shared = future.shared();
        promise.set_result(1).unwrap();
        assert_eq!(
            (shared.clone().result(), shared.result()),
            (Some(Ok(1)), Some(Ok(1)))
        );
    }),
    call("cancelling what was sent to this loop", Never, |l, _| {
        let sent = l
            .remote_handle()
            .spawn(|| async { fixture().unwrap().note() });
        if let Ok(mut task) = sent {
            assert!(matches!(task.wait(), Err(readily::task::WaitError::OnLoop)));
            task.cancel_with("here");
        }
    }),
    call("using what the place belongs to", Never, |_, w| {
        if let Some(probe) = w.probe.take() {
            probe();
        }
    }),
    // From outside, inside.
    call("RemoteHandle::call_soon", Later, |l, _| {
        let _closed = l.remote_handle().call_soon(|_| fixture().unwrap().note());
    }),
    call("RemoteHandle::spawn", Later, |l, _| {
        let _closed = l
            .remote_handle()
            .spawn(|| async { fixture().unwrap().note() });
    }),
    call("RemoteHandle::wake, and asking it", Never, |l, _| {
        let remote = l.remote_handle();
        remote.clone().wake();
        assert_eq!(remote.is_closed(), l.is_closed());
    }),
    call("Handle::with", Queued, |l, w| {
        let effect = w.effect();
        let called = l
            .weak_handle()
            .with(|handle| handle.call_soon(move |_| effect()));
        assert!(called.is_some());
    }),
    call("Handle::current", Queued, |_, w| {
        let (effect, handle) = (w.effect(), WeakHandle::current().unwrap());
        handle.with(|handle| handle.call_soon(move |_| effect()));
    }),
    // Stopping, reporting, asking.
    call("stop", Stop, |l, _| l.stop()),
    call("RemoteHandle::stop", Stop, |l, _| {
        drop(l.remote_handle().stop())
    }),
    call("on_unhandled", Queued, |l, w| {
        let effect = w.effect();
        l.on_unhandled(move |_| effect());
        l.call_soon(|handle| handle.report(&trouble()));
    }),
    call("report", Never, |l, _| l.report(&trouble())),
    call("set_panic_policy", Never, |l, _| {
        l.set_panic_policy(PanicPolicy::Propagate)
    }),
    call("asking", Never, |l, w| {
        spi::check_invariants(l);
        let _all = (
            l.stats(),
            l.registered(),
            spi::rearm_interest(l),
            l.fresh_now(),
            l.now(),
        );
        let _all = (
            l.interest_of(w.rig().busy),
            w.due.get().map(|due| due.when()),
        );
        assert!(l.now() == l.weak_handle().with(LoopHandle::now).unwrap() || l.is_closed());
    }),
    // R038.
    call("turning a loop", Never, |l, w| {
        refused(l, w, |o| o.event_loop().turn(None))
    }),
    call("turning a loop, now", Never, |l, w| {
        let mut other = Runner::from(strict_loop());
        let count = Count::default();
        let counted = count.clone();
        other.call_soon(move |_| assert_eq!(counted.add(), 1));
        other.event_loop().turn_now().unwrap();
        assert_eq!(count.get(), 1, "it does not sleep, and so it may");
        assert!(l.is_closed() || l.weak_handle().with(|_| ()).is_some());
        w.others.borrow_mut().push((other, count));
    }),
    call("running a loop", Never, |l, w| {
        refused(l, w, |o| o.event_loop().run().map(drop))
    }),
    call("running a future", Never, |l, w| {
        refused(l, w, |o| o.run(async {}))
    }),
    call("readily::run", Never, |l, w| {
        refused(l, w, |_| strict_run(async {}))
    }),
    call(
        "entering, filling and dropping another loop",
        Queued,
        |_, w| {
            let other = strict_loop();
            let entered = other.enter();
            let (effect, count) = (w.effect(), Count::default());
            let counted = count.clone();
            drop(readily::spawn(async move { assert_eq!(counted.add(), 1) }));
            drop(entered);
            other.call_later(FAR, |_| ());
            assert_eq!(other.close().tasks.len(), 1);
            drop(readily::spawn(async move { effect() }));
            assert_eq!(count.get(), 0);
        },
    ),
];
