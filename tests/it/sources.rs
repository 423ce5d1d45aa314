//! Sources, as the loop has them: registered in a table of their own, and ended by their owner, by their key
//! or by the loop.

use crate::support::{collect_unhandled, guard, strict_loop, turn_times, turn_until};
use readily::io::Async;
use readily::{Closures, Error, EventLoop, Interest, PanicPolicy, spi};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

type Shared = Rc<UnixStream>;

fn source_of(event_loop: &EventLoop) -> (Async<Shared>, Shared, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let ours = Rc::new(ours);
    let _here = event_loop.enter();
    let source = Async::new(Rc::clone(&ours)).unwrap();
    (source, ours, theirs)
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// The key of a source, which the error of a second registration has.
fn key_of(event_loop: &EventLoop, fd: &Shared) -> readily::Key {
    let second = event_loop.register(Rc::clone(fd), Interest::READ, Closures::new());
    match second.unwrap_err().error {
        Error::AlreadyRegistered { key, site, .. } => {
            assert_eq!(site.file(), file!());
            key
        }
        other => panic!("{other}"),
    }
}

/// R004: the description lives on in a duplicate.
#[test]
fn a_source_that_is_dropped_is_silent_even_if_a_duplicate_lives_on() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (source, ours, mut theirs) = source_of(&event_loop);
    let _duplicate = ours.try_clone().unwrap();
    turn_times(&mut event_loop, 1);
    let events = event_loop.stats().events;
    drop((source, ours));
    theirs.write_all(b"x").unwrap();
    turn_times(&mut event_loop, 5);
    assert_eq!(event_loop.stats().events, events);
    assert_eq!(event_loop.registered(), 0);
}

#[test]
fn the_key_of_a_source_changes_it_and_ends_it_as_that_of_callbacks_does() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (source, ours, mut theirs) = source_of(&event_loop);
    let key = key_of(&event_loop, &ours);
    let all = Interest::BOTH | Interest::PRIORITY;
    assert_eq!(event_loop.interest_of(key).unwrap(), all);
    event_loop.set_interest_of(key, Interest::WRITE).unwrap();
    assert_eq!(event_loop.interest_of(key).unwrap(), Interest::WRITE);
    event_loop.rearm(key, Interest::BOTH).unwrap();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    {
        let mut readable = pin!(source.readable());
        let mut poll = || {
            let _here = event_loop.enter();
            readable.as_mut().poll(&mut cx)
        };
        assert!(poll().is_pending());
        theirs.write_all(b"x").unwrap();
        turn_times(&mut event_loop, 2);
        assert_eq!(woken.0.load(Relaxed), 0, "only a write is of interest");
        event_loop.set_interest_of(key, all).unwrap();
        turn_until(&mut event_loop, || woken.0.load(Relaxed) == 1);
    }
    spi::check_invariants(&event_loop);
    // Another loop has another source under the same number.
    let other = strict_loop();
    let _its_own = source_of(&other);
    assert!(matches!(other.remove(key), Err(Error::UnknownKey(_))));
    assert_eq!(other.registered(), 1);
    event_loop.remove(key).unwrap();
    let closed = pin!(source.writable()).poll(&mut cx);
    let Poll::Ready(Err(error)) = closed else {
        panic!("{closed:?}")
    };
    let inner = error.get_ref().and_then(|it| it.downcast_ref());
    assert!(matches!(inner, Some(Error::Closed)));
    for refused in [
        event_loop.remove(key).map(drop),
        event_loop.interest_of(key).map(drop),
        event_loop.set_interest_of(key, all),
        event_loop.rearm(key, all),
    ] {
        assert!(matches!(refused, Err(Error::UnknownKey(_))));
    }
    // The number is free again.
    let again = event_loop.register(Rc::clone(&ours), Interest::READ, Closures::new());
    let again = again.unwrap();
    drop(source);
    assert_eq!(event_loop.registered(), 1);
    event_loop.remove(again).unwrap();
}

#[test]
fn the_panic_of_a_waker_names_the_line_of_its_source_and_the_others_are_woken() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    event_loop.set_panic_policy(PanicPolicy::Isolate);
    let reports = collect_unhandled(&event_loop);
    let (first, _ours, theirs) = source_of(&event_loop);
    struct Hostile;
    impl Wake for Hostile {
        fn wake(self: Arc<Self>) {
            panic!("planted");
        }
    }
    let woken = Arc::new(Woken::default());
    let wakers = [
        Waker::from(Arc::new(Hostile)),
        Waker::from(Arc::clone(&woken)),
    ];
    let mut waits = wakers.each_ref().map(|_| Box::pin(first.readable()));
    for (wait, waker) in waits.iter_mut().zip(&wakers) {
        let _here = event_loop.enter();
        let polled = wait.as_mut().poll(&mut Context::from_waker(waker));
        assert!(polled.is_pending());
    }
    (&theirs).write_all(b"x").unwrap();
    turn_until(&mut event_loop, || reports.len() > 0);
    assert_eq!(woken.0.load(Relaxed), 1);
    assert_eq!(reports.len(), 1, "{}", reports.text());
    for part in ["default", file!(), "planted"] {
        assert!(reports.text().contains(part), "{}", reports.text());
    }
    assert_eq!(event_loop.registered(), 1, "it stays");
}
