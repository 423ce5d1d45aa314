//! Every call on the loop from inside everything that the loop calls (R039).
//!
//! A table that is borrowed while somebody else's code runs shows itself as a panic, but only
//! where that code comes back to just this table; so each place tries all calls.

use crate::support::{
    Count, Log, collect_unhandled, guard, listener, reset, tcp_pair, turn_times, turn_until,
};
use readily::{Closures, Error, EventLoop, Handle, Interest, Local, PanicPolicy, Trigger};
use std::future::{pending, poll_fn};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

/// All calls, each with something that it finds and something that it leaves for a later turn.
fn everything(local: &Local, log: &Log, place: &str) {
    let key = |local: &Local, trigger| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let made = local.register_with(ours, Interest::NONE, trigger, Closures::new());
        made.map_err(|refused| refused.error)
    };
    if local.is_closed() {
        let refused = key(local, Trigger::Level).unwrap_err();
        assert!(matches!(refused, Error::Closed));
    } else {
        for trigger in [Trigger::Level, Trigger::Edge, Trigger::OneShot] {
            let key = key(local, trigger).unwrap();
            assert_eq!(local.interest(key).unwrap(), Interest::NONE);
            local.modify(key, Interest::READ).unwrap();
            local.rearm(key, Interest::BOTH).unwrap();
            local.remove(key).unwrap();
            local.modify(key, Interest::NONE).unwrap_err();
        }
        let (listens, addr) = listener();
        let listening = local.listen(listens, |_, _| Some(Closures::new())).unwrap();
        let connecting = local.connect(addr, Closures::new()).unwrap();
        local.remove(connecting).unwrap();
        local.remove(listening).unwrap();
    }
    let call = local.call_soon(|_| ());
    assert!(call.cancel() || local.is_closed());
    let timer = local.call_later(LONG, |_| ());
    assert!(timer.cancel() || local.is_closed());
    let _ = local.call_at(local.now(), |_| ()).when();
    drop(local.wake_later(LONG, Waker::noop().clone()));
    drop(local.wake_at(local.fresh_now(), Waker::noop().clone()));
    local.forget_freed(local.wake_when_freed(Waker::noop().clone()));
    let task = local.spawn(pending::<()>());
    task.add_done_callback(|_| ());
    task.task_ref().cancel();
    drop(task);
    drop(local.spawn(async { readily::yield_now().await }));
    let (promise, future) = readily::create_future::<u8>();
    drop((promise, future));
    let tasks = readily::all_tasks().len() + usize::from(readily::current_task().is_some());
    let remote = local.remote();
    let _ = remote.call_soon(|_| ());
    remote.wake();
    local.set_panic_policy(PanicPolicy::Isolate);
    let shown = format!(
        "{local:?} {:?} {:?} {remote:?}",
        local.stats(),
        local.rearms()
    );
    assert!(tasks < 100 && !shown.is_empty() && local.registered() < 100);
    assert!(local.handle().with(|_| ()).is_some() || local.is_closed());
    local.check_invariants();
    log.note(place);
}

/// The same from where no loop is at hand, as a destructor does it.
fn from_here(log: &Log, place: &str) {
    Handle::current()
        .expect("a loop is current")
        .with(|local| everything(local, log, place));
}

/// Does it all when it is dropped. It holds a descriptor, too.
struct Drops(Log, &'static str, UnixStream);

impl Drops {
    fn new(log: &Log, place: &'static str) -> Self {
        Self(log.clone(), place, UnixStream::pair().unwrap().0)
    }
}

impl Drop for Drops {
    fn drop(&mut self) {
        from_here(&self.0, self.1);
    }
}

impl AsFd for Drops {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.2.as_fd()
    }
}

/// A waker of another's making does it all in its `wake`, and in its destructor. It must be
/// `Send`, so it cannot hold the log, and prints its passing in a counter.
#[derive(Default)]
struct Foreign;

thread_local! {
    static FOREIGN: Count = Count::default();
}

impl Foreign {
    fn act() {
        from_here(&Log::default(), "");
        FOREIGN.with(Count::add);
    }
}

impl Wake for Foreign {
    fn wake(self: Arc<Self>) {
        Self::act();
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        Self::act();
    }
}

#[test]
fn everything_can_be_called_from_each_branch() {
    let _guard = guard();
    let mut event_loop = EventLoop::new().unwrap();
    let told = collect_unhandled(&event_loop);
    let log = Log::default();
    let all = || {
        let log = log.clone();
        let note = move |local: &Local, place: &str| {
            if !log.has(place) {
                everything(local, &log, place);
            }
        };
        let (connect, read, write) = (note.clone(), note.clone(), note.clone());
        let (hangup, default) = (note.clone(), note);
        Closures::new()
            .on_connect(move |cx| connect(cx, "connect"))
            .on_read(move |cx| {
                read(cx, "read");
                let _ = cx.read(&mut [0; 8]);
            })
            .on_write(move |cx| {
                write(cx, "write");
                cx.ignore(Interest::WRITE);
            })
            .on_hangup(move |cx, _| hangup(cx, "hangup"))
            .on_default(move |cx, _| {
                default(cx, "default");
                cx.want(Interest::BOTH).unwrap();
            })
    };
    let (listens, addr) = listener();
    let note = log.clone();
    let accept = event_loop.listen(listens, move |cx, _| {
        everything(cx, &note, "accept");
        None::<Closures>
    });
    let accept = accept.unwrap();
    event_loop.connect(addr, all()).unwrap();
    turn_until(&mut event_loop, || log.has("accept") && log.has("connect"));
    event_loop.remove(accept).unwrap();
    let (ours, theirs) = tcp_pair();
    (&theirs).write_all(b"x").unwrap();
    let urgent = socket2::SockRef::from(&theirs).send_out_of_band(b"!");
    assert_eq!(urgent.unwrap(), 1);
    let interest = Interest::PRIORITY;
    event_loop.register(ours, interest, all()).unwrap();
    turn_until(&mut event_loop, || log.has("default"));
    turn_until(&mut event_loop, || log.has("read") && log.has("write"));
    reset(theirs);
    turn_until(&mut event_loop, || log.has("hangup"));
    turn_until(&mut event_loop, || {
        ["read", "write", "default"]
            .iter()
            .all(|place| log.has(place))
    });
    assert_eq!(told.text(), "");
}

#[test]
fn everything_can_be_called_from_each_closure_task_and_hook() {
    let _guard = guard();
    let mut event_loop = EventLoop::new().unwrap();
    let log = Log::default();
    let note = log.clone();
    event_loop.call_later(Duration::ZERO, move |local| {
        everything(local, &note, "timer");
    });
    let note = log.clone();
    event_loop.call_soon(move |local| everything(local, &note, "soon"));
    let note = log.clone();
    let task = event_loop.spawn(async move {
        from_here(&note, "task");
        readily::yield_now().await;
        from_here(&note, "task again");
    });
    let note = log.clone();
    task.add_done_callback(move |_| from_here(&note, "done"));
    let sent = event_loop.remote();
    // What is sent must be `Send`, so what it does with the log it does at home.
    sent.call_soon(|local| {
        everything(local, &Log::default(), "");
        FOREIGN.with(Count::add);
    })
    .unwrap();
    drop(sent);
    let note = log.clone();
    event_loop.on_unhandled(move |unhandled| {
        from_here(&note, &unhandled.to_string());
    });
    event_loop.call_soon(|local| {
        let error = std::io::Error::other("of ours");
        local.report(&readily::Unhandled::Io {
            what: "hook",
            error,
        });
    });
    turn_until(&mut event_loop, || task.done());
    turn_times(&mut event_loop, 3);
    for place in ["timer", "soon", "task", "again", "done", "hook: of ours"] {
        assert!(log.text().contains(place), "{place}: {}", log.text());
    }
    assert_eq!(FOREIGN.with(Count::get), 1, "what was sent");
}

#[test]
fn everything_can_be_called_from_each_destructor() {
    let _guard = guard();
    let mut event_loop = EventLoop::new().unwrap();
    let told = collect_unhandled(&event_loop);
    let log = Log::default();
    let drops = |place| Drops::new(&log, place);
    let here = event_loop.enter();
    let held = drops("callbacks");
    let callbacks = Closures::new().on_read(move |_| {
        let _mine = &held;
    });
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let key = event_loop.register(ours, Interest::READ, callbacks);
    event_loop.remove(key.unwrap()).unwrap();
    let shared = Rc::new(drops("descriptor"));
    let key = event_loop.register(shared, Interest::READ, Closures::new());
    event_loop.remove(key.unwrap()).unwrap();
    let held = drops("closure");
    assert!(event_loop.call_soon(move |_| drop(held)).cancel());
    let held = drops("timer");
    assert!(event_loop.call_later(LONG, move |_| drop(held)).cancel());
    let held = drops("task");
    let task = event_loop.spawn(async move {
        let _mine = held;
        pending::<()>().await;
    });
    assert!(task.cancel());
    let held = drops("result");
    let task = event_loop.spawn(async move { held });
    let held = drops("done-callback");
    task.add_done_callback(move |_| drop(held));
    let held = drops("hook");
    event_loop.on_unhandled(move |_| {
        let _mine = &held;
    });
    let again = told.clone();
    event_loop.on_unhandled(move |unhandled| again.note(unhandled));
    drop(here);
    turn_times(&mut event_loop, 3);
    let here = event_loop.enter();
    drop(task);
    drop(here);
    for place in [
        "callbacks",
        "descriptor",
        "closure",
        "timer",
        "task",
        "result",
        "done-callback",
        "hook",
    ] {
        assert_eq!(log.count(place), 1, "{place}: {}", log.text());
    }
    assert_eq!(told.text(), "");
}

#[test]
fn everything_can_be_called_from_a_waker() {
    let _guard = guard();
    let mut event_loop = EventLoop::new().unwrap();
    let told = collect_unhandled(&event_loop);
    drop(event_loop.spawn(async {
        let foreign = || Waker::from(Arc::new(Foreign));
        let acts = || FOREIGN.with(Count::get);
        // A future and its waiter; a timer; a socket. Woken, and then dropped.
        let (promise, mut future) = readily::create_future::<u8>();
        let waker = foreign();
        let mut cx = Context::from_waker(&waker);
        assert!(std::pin::Pin::new(&mut future).poll(&mut cx).is_pending());
        drop(waker);
        promise.set_result(1).unwrap();
        assert_eq!(acts(), 2);
        let waker = foreign();
        let mut nap = Box::pin(readily::sleep(Duration::from_nanos(1)));
        assert!(
            nap.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        drop(waker);
        while acts() < 4 {
            readily::yield_now().await;
        }
        let (ours, mut theirs) = tcp_pair();
        let stream = readily::io::TcpStream::from_std(ours).unwrap();
        let (waker, mut buffer) = (foreign(), [0; 8]);
        let mut reads = Box::pin(stream.read(&mut buffer));
        assert!(
            reads
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        drop(waker);
        theirs.write_all(b"x").unwrap();
        while acts() < 6 {
            readily::yield_now().await;
        }
        // Replaced by another while it waits, and given up.
        drop(reads);
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 1);
        let mut reads = Box::pin(stream.read(&mut buffer));
        for _ in 0..2 {
            let waker = foreign();
            let polled = reads.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        assert_eq!(acts(), 7);
        drop(reads);
        assert_eq!(acts(), 8);
        FOREIGN.with(Count::add);
    }));
    turn_until(&mut event_loop, || FOREIGN.with(Count::get) == 9);
    assert_eq!(told.text(), "");
}

/// While the loop closes, all of it is refused or dropped, and none of it is a panic.
#[test]
fn everything_can_be_called_from_what_a_closing_loop_drops() {
    let _guard = guard();
    let event_loop = EventLoop::new().unwrap();
    let told = collect_unhandled(&event_loop);
    let log = Log::default();
    let held = Drops::new(&log, "callbacks");
    let callbacks = Closures::new().on_read(move |_| {
        let _mine = &held;
    });
    let (ours, _theirs) = UnixStream::pair().unwrap();
    event_loop
        .register(ours, Interest::READ, callbacks)
        .unwrap();
    let held = Drops::new(&log, "closure");
    event_loop.call_soon(move |_| drop(held));
    let held = Drops::new(&log, "timer");
    event_loop.call_later(LONG, move |_| drop(held));
    let held = Drops::new(&log, "task");
    drop(event_loop.spawn(async move {
        let _mine = held;
        poll_fn(|_| Poll::<()>::Pending).await;
    }));
    drop(event_loop);
    for place in ["callbacks", "closure", "timer", "task"] {
        assert_eq!(log.count(place), 1, "{place}: {}", log.text());
    }
    assert_eq!(told.text(), "");
}
