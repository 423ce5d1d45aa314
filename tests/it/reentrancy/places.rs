//! The places: every kind of user code that the loop calls.
//!
//! Each is set up so that the loop reaches it in one of the next turns, and it makes the call there.
//! A waker's `clone` is not among them: it cannot be written without unsafe code.

use super::calls::trouble;
use super::{FAR, Fixture, fixture};
use crate::support::{listener, tcp_pair};
use readily::spi::{self, WakeTimerState};
use readily::{Closures, EventLoop, Interest, Task};
use std::any::Any;
use std::cell::OnceCell;
use std::future::{pending, poll_fn};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Sets up a place. The returned object must stay alive until the place was reached.
pub(super) type Plant = fn(&EventLoop, &Rc<Fixture>) -> Box<dyn Any>;

/// A place that is reached when it is dropped.
struct Last(Rc<Fixture>);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.act_here();
    }
}

/// A waker that is reached when it wakes, or else when it is dropped.
struct Hostile {
    by_wake: bool,
}

impl Hostile {
    fn waker(by_wake: bool) -> Waker {
        Waker::from(Arc::new(Self { by_wake }))
    }
}

impl Wake for Hostile {
    fn wake(self: Arc<Self>) {
        if let (true, Some(fixture)) = (self.by_wake, fixture()) {
            fixture.act_here();
        }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        if let (false, Some(fixture)) = (self.by_wake, fixture()) {
            fixture.act_here();
        }
    }
}

fn register(
    event_loop: &EventLoop,
    fixture: &Fixture,
    ours: impl Into<readily::event_loop::Descriptor>,
    interest: Interest,
    callbacks: Closures,
) {
    let key = event_loop.register(ours, interest, callbacks).unwrap();
    fixture.own.set(Some(key));
}

fn nothing() -> Box<dyn Any> {
    Box::new(())
}

fn poll_once<F: Future + Unpin>(future: &mut F, waker: &Waker) {
    let polled = Pin::new(future).poll(&mut Context::from_waker(waker));
    assert!(polled.is_pending());
}

/// Every operation on a task that is ending, or has ended.
fn use_task(mut task: Task<()>) {
    let key = task.add_done_callback(|_| ());
    task.remove_done_callback(key);
    assert!(!task.cancel());
    let _whatever = (task.with_result(|_| ()), task.result(), task.task_ref());
}

/// Every operation on a future.
fn use_future(future: &readily::task::Future<()>) {
    let key = future.add_done_callback(|_| ());
    future.remove_done_callback(key);
    assert!(future.cancel() || future.done());
    let _text = format!("{future:?}");
}

pub(super) const PLACES: &[(&str, Plant)] = &[
    ("on_connect", |l, w| {
        let (listener, addr) = listener();
        let fixture = Rc::clone(w);
        let callbacks = Closures::new().on_connect(move |cx| fixture.act_with(cx));
        w.own.set(l.connect(addr, callbacks).ok());
        Box::new(listener)
    }),
    ("an accept closure", |l, w| {
        let (listener, addr) = listener();
        let fixture = Rc::clone(w);
        let accept = move |cx: &readily::Cx<'_>, _: &readily::event_loop::Accepted| {
            fixture.act_with(cx);
            None::<Closures>
        };
        w.own.set(l.listen(listener, accept).ok());
        Box::new(TcpStream::connect(addr).unwrap())
    }),
    ("on_read", |l, w| {
        let fixture = Rc::clone(w);
        let callbacks = Closures::new().on_read(move |cx| {
            fixture.act_with(cx);
            cx.remove_interest(Interest::READ);
        });
        register(l, w, w.stream(), Interest::READ, callbacks);
        nothing()
    }),
    ("on_write", |l, w| {
        let fixture = Rc::clone(w);
        let callbacks = Closures::new().on_write(move |cx| {
            fixture.act_with(cx);
            cx.remove_interest(Interest::WRITE);
        });
        let (ours, theirs) = UnixStream::pair().unwrap();
        register(l, w, ours, Interest::WRITE, callbacks);
        Box::new(theirs)
    }),
    ("on_hangup", |l, w| {
        let fixture = Rc::clone(w);
        let callbacks = Closures::new().on_hangup(move |cx, _| fixture.act_with(cx));
        let (ours, _theirs) = UnixStream::pair().unwrap();
        register(l, w, ours, Interest::NONE, callbacks);
        nothing()
    }),
    ("on_default", |l, w| {
        let fixture = Rc::clone(w);
        let callbacks = Closures::new().on_default(move |cx, _| {
            fixture.act_with(cx);
            cx.remove_interest(Interest::PRIORITY);
        });
        let (ours, theirs) = tcp_pair();
        let peer = socket2::SockRef::from(&theirs);
        peer.send_out_of_band(b"!").unwrap();
        register(l, w, ours, Interest::PRIORITY, callbacks);
        Box::new(theirs)
    }),
    ("a closure", |l, w| {
        let fixture = Rc::clone(w);
        l.call_soon(move |handle| fixture.act(handle));
        nothing()
    }),
    ("a timer", |l, w| {
        let fixture = Rc::clone(w);
        l.call_later(Duration::ZERO, move |handle| fixture.act(handle));
        nothing()
    }),
    ("a task", |l, w| {
        let fixture = Rc::clone(w);
        drop(l.spawn(async move {
            fixture.act_here();
            readily::yield_now().await;
        }));
        nothing()
    }),
    ("a closure from another thread", |l, _| {
        let remote = l.remote_handle();
        let send = move || {
            let sent = remote.call_soon(|handle| fixture().unwrap().act(handle));
            sent.unwrap();
        };
        std::thread::spawn(send).join().unwrap();
        nothing()
    }),
    ("a done-callback of a task", |l, w| {
        let (fixture, task) = (Rc::clone(w), l.spawn(async {}));
        task.add_done_callback(move |_| fixture.act_here());
        w.belongs_to(move || use_task(task));
        nothing()
    }),
    ("a done-callback of a future", |l, w| {
        let _here = l.enter();
        let (fixture, (promise, future)) = (Rc::clone(w), readily::task::create_future());
        future.add_done_callback(move |_| fixture.act_here());
        w.belongs_to(move || use_future(&future));
        l.call_soon(move |_| promise.set_result(()).unwrap());
        nothing()
    }),
    ("the hook for unhandled errors", |l, w| {
        let fixture = Rc::clone(w);
        l.on_unhandled(move |_| fixture.act_here());
        l.call_soon(|handle| handle.report(&trouble()));
        nothing()
    }),
    ("the destructor of a hook that is replaced", |l, w| {
        let last = Last(Rc::clone(w));
        l.on_unhandled(move |_| {
            let _mine = &last;
        });
        l.call_soon(|handle| handle.on_unhandled(|_| ()));
        nothing()
    }),
    ("the destructor of a hook that replaces itself", |l, w| {
        let (last, handle) = (Last(Rc::clone(w)), l.weak_handle());
        l.on_unhandled(move |_| {
            let _mine = &last;
            handle.with(|handle| handle.on_unhandled(|_| ()));
        });
        l.call_soon(|handle| handle.report(&trouble()));
        nothing()
    }),
    ("the destructor of callbacks that are removed", |l, w| {
        let last = Last(Rc::clone(w));
        let callbacks = Closures::new().on_read(move |_| {
            let _mine = &last;
        });
        register(l, w, w.stream(), Interest::NONE, callbacks);
        let key = w.own.get().unwrap();
        l.call_soon(move |handle| handle.remove(key).unwrap());
        nothing()
    }),
    (
        "the destructor of callbacks that remove themselves",
        |l, w| {
            let last = Last(Rc::clone(w));
            let callbacks = Closures::new().on_read(move |cx| {
                let _mine = &last;
                cx.close();
            });
            register(l, w, w.stream(), Interest::READ, callbacks);
            nothing()
        },
    ),
    ("the destructor of a cancelled closure", |l, w| {
        let last = Last(Rc::clone(w));
        let handle = Rc::new(OnceCell::<readily::CallHandle>::new());
        let (cancels, probed) = (Rc::clone(&handle), Rc::clone(&handle));
        l.call_soon(move |_| assert!(cancels.get().unwrap().cancel()));
        handle.set(l.call_soon(move |_| drop(last))).unwrap();
        w.belongs_to(move || assert!(!probed.get().unwrap().cancel()));
        nothing()
    }),
    ("the destructor of a cancelled timer", |l, w| {
        let last = Last(Rc::clone(w));
        let timer = Rc::new(l.call_later(FAR, move |_| drop(last)));
        let probed = Rc::clone(&timer);
        w.belongs_to(move || assert!(!probed.cancel()));
        l.call_soon(move |_| assert!(timer.cancel()));
        nothing()
    }),
    ("the destructor of a cancelled future", |l, w| {
        let last = Last(Rc::clone(w));
        let task = l.spawn(async move {
            let _mine = last;
            pending::<()>().await;
        });
        let task_ref = task.task_ref();
        w.belongs_to(move || assert!(!task_ref.cancel()));
        l.call_soon(move |_| assert!(task.cancel()));
        nothing()
    }),
    ("the destructor of a future that is done", |l, w| {
        let last = Last(Rc::clone(w));
        let task = l.spawn(poll_fn(move |_| {
            let _mine = &last;
            Poll::Ready(())
        }));
        w.belongs_to(move || use_task(task));
        nothing()
    }),
    ("the destructor of an unclaimed result", |l, w| {
        let last = Last(Rc::clone(w));
        drop(l.spawn(async move { last }));
        nothing()
    }),
    ("the destructor of a done-callback", |l, w| {
        let _here = l.enter();
        let (last, (promise, future)) = (Last(Rc::clone(w)), readily::task::create_future::<()>());
        let key = future.add_done_callback(move |_| drop(last));
        let future = Rc::new(future);
        let probed = Rc::clone(&future);
        w.belongs_to(move || {
            use_future(&probed);
            drop(promise);
        });
        l.call_soon(move |_| assert!(future.remove_done_callback(key)));
        nothing()
    }),
    ("a waker that a future wakes", |l, w| {
        let _here = l.enter();
        let (promise, mut future) = readily::task::create_future();
        poll_once(&mut future, &Hostile::waker(true));
        w.belongs_to(move || use_future(&future));
        l.call_soon(move |_| promise.set_result(()).unwrap());
        nothing()
    }),
    ("a waker that a task wakes", |l, w| {
        let mut task = l.spawn(async {});
        poll_once(&mut task, &Hostile::waker(true));
        w.belongs_to(move || use_task(task));
        nothing()
    }),
    ("a waker that a timer wakes", |l, w| {
        let timer = spi::wake_later(l, Duration::ZERO, Hostile::waker(true));
        w.belongs_to(move || assert_eq!(timer.poll(Waker::noop()), WakeTimerState::Fired));
        nothing()
    }),
    ("a waker that a freed descriptor wakes", |l, w| {
        spi::wake_on_fd_close(l, Hostile::waker(true));
        let key = l.register(w.stream(), Interest::NONE, Closures::new());
        l.call_soon(move |handle| handle.remove(key.unwrap()).unwrap());
        nothing()
    }),
    ("the destructor of a waker whose waiter leaves", |l, w| {
        let _here = l.enter();
        let (promise, mut future) = readily::task::create_future::<()>();
        poll_once(&mut future, &Hostile::waker(false));
        w.belongs_to(move || promise.set_result(()).unwrap());
        l.call_soon(move |_| drop(future));
        nothing()
    }),
    ("the destructor of a waker that is replaced", |l, w| {
        let _here = l.enter();
        let (promise, mut future) = readily::task::create_future::<()>();
        poll_once(&mut future, &Hostile::waker(false));
        w.belongs_to(move || promise.set_result(()).unwrap());
        // In one of the pairs the destructor itself has set the result.
        l.call_soon(move |_| {
            let _any = Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()));
        });
        nothing()
    }),
    ("the destructor of a waker of a timer", |l, _| {
        let timer = spi::wake_later(l, FAR, Hostile::waker(false));
        l.call_soon(move |_| drop(timer));
        nothing()
    }),
    ("the destructor of a replaced waker of a timer", |l, w| {
        let timer = Rc::new(spi::wake_later(l, FAR, Hostile::waker(false)));
        let probed = Rc::clone(&timer);
        w.belongs_to(move || assert_eq!(probed.poll(Waker::noop()), WakeTimerState::Pending));
        l.call_soon(move |_| assert_eq!(timer.poll(Waker::noop()), WakeTimerState::Pending));
        nothing()
    }),
    ("the destructor of a waker that is forgotten", |l, _| {
        // All at once, or a witness frees its descriptor before.
        l.call_soon(|handle| {
            spi::cancel_fd_wait(handle, spi::wake_on_fd_close(handle, Hostile::waker(false)))
        });
        nothing()
    }),
];

/// Places that are reached only while the loop closes.
pub(super) const CLOSING: &[(&str, Plant)] = &[
    ("the destructor of callbacks", |l, w| {
        let last = Last(Rc::clone(w));
        let callbacks = Closures::new().on_read(move |_| {
            let _mine = &last;
        });
        register(l, w, w.stream(), Interest::READ, callbacks);
        nothing()
    }),
    ("the destructor of a timer", |l, w| {
        let last = Last(Rc::clone(w));
        l.call_later(FAR, move |_| drop(last));
        nothing()
    }),
    ("the destructor of a closure", |l, w| {
        let last = Last(Rc::clone(w));
        l.call_soon(move |_| drop(last));
        nothing()
    }),
    ("the destructor of a task", |l, w| {
        let last = Last(Rc::clone(w));
        drop(l.spawn(async move {
            let _mine = last;
            pending::<()>().await;
        }));
        nothing()
    }),
    ("the destructor of a waker of a timer", |l, _| {
        Box::new(spi::wake_later(l, FAR, Hostile::waker(false)))
    }),
    (
        "the destructor of a waker that waits for a descriptor",
        |l, _| {
            spi::wake_on_fd_close(l, Hostile::waker(true));
            nothing()
        },
    ),
];
