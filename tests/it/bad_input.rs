//! Wrong arguments: each is refused with a typed error, which returns them.
//!
//! Invariant: L3.

use crate::support::{
    Dropped, Log, guard, listener, strict_loop, strict_run, strict_runner, turn_times, turn_until,
};
use readily::io::Async;
use readily::{Closures, Error, Interest, Trigger, WeakHandle, io as aio, spi};
use readily_testing::for_tests::unconnected_tcp;
use readily_testing::{Kernel, SimLoop};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

/// R012.
#[test]
fn files_and_directories_are_refused_by_name_and_handed_back() {
    let _guard = guard!();
    let event_loop = strict_loop();
    for path in ["Cargo.toml", "/"] {
        let log = Log::default();
        let file = File::open(path).unwrap();
        let number = file.as_raw_fd();
        let dropped = Dropped(log.clone(), "dropped");
        let callbacks = Closures::new().on_read(move |_| {
            let _mine = &dropped;
        });
        let refused = event_loop
            .register(file, Interest::READ, callbacks)
            .unwrap_err();
        assert!(matches!(refused.error, Error::NotPollable { fd } if fd == number));
        let message = refused.to_string();
        assert!(message.contains("a regular file, a directory"), "{message}");
        let back = refused.descriptor.expect("it is handed back");
        assert_eq!(back.as_fd().as_raw_fd(), number);
        assert_eq!(log.len(), 0, "the callbacks are handed back, not dropped");
        drop(refused.callbacks);
        assert_eq!(log.text(), "dropped");
        if path != "/" {
            let mut content = String::new();
            let mut file = File::from(back.into_owned().expect("it was owned"));
            file.read_to_string(&mut content).unwrap();
            assert!(content.contains("readily"), "the descriptor works");
        }
    }
    assert_eq!(event_loop.registered(), 0);
    spi::check_invariants(&event_loop);
}

/// R012: a file that is always ready cannot be watched.
#[test]
fn the_null_device_is_refused_too() {
    let _guard = guard!();
    let event_loop = strict_loop();
    let null = File::open("/dev/null").unwrap();
    let refused = event_loop
        .register(null, Interest::READ, Closures::new())
        .unwrap_err();
    assert!(matches!(refused.error, Error::NotPollable { .. }));
}

/// R007, R008.
#[test]
fn a_second_registration_names_the_first_and_loses_nothing() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let ours = Rc::new(ours);
    let log = Log::default();
    let note = log.clone();
    let first = Closures::new().on_read(move |cx| {
        note.note("first");
        cx.close();
    });
    let key = event_loop
        .register(Rc::clone(&ours), Interest::READ, first)
        .unwrap();
    let line = line!() - 2;
    let note = log.clone();
    let second = Closures::new().on_read(move |_| note.note("SECOND"));
    let refused = event_loop
        .register(Rc::clone(&ours), Interest::BOTH, second)
        .unwrap_err();
    match &refused.error {
        Error::AlreadyRegistered { fd, key: by, site } => {
            assert_eq!((*fd, *by), (ours.as_raw_fd(), key));
            assert!(site.file().ends_with("bad_input.rs"));
            assert!(site.line().abs_diff(line) < 3, "{site}");
        }
        other => panic!("{other:?}"),
    }
    assert!(refused.to_string().contains("registered already"));
    drop(refused);
    theirs.write_all(b"x").unwrap();
    turn_until(&mut event_loop, || log.len() > 0);
    assert_eq!(log.text(), "first");
}

/// R007: a duplicate has a number of its own, and its events are reported separately.
#[test]
fn a_duplicate_is_a_registration_of_its_own() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let log = Log::default();
    for (name, stream) in [("one", ours.try_clone().unwrap()), ("two", ours)] {
        let note = log.clone();
        let read = Closures::new().on_read(move |cx| {
            note.note(name);
            cx.remove_interest(Interest::READ);
        });
        event_loop.register(stream, Interest::READ, read).unwrap();
    }
    theirs.write_all(b"x").unwrap();
    turn_until(&mut event_loop, || log.len() == 2);
    assert!(log.has("one") && log.has("two"));
}

/// R008.
#[test]
fn unknown_stale_and_foreign_keys_are_refused_and_touch_nothing() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let mut other = strict_loop();
    let (a, _a) = UnixStream::pair().unwrap();
    let (b, _b) = UnixStream::pair().unwrap();
    let (c, _c) = UnixStream::pair().unwrap();
    // In the same slot as the foreign one: only the loops differ.
    let duplicate = event_loop.register(c, Interest::WRITE, Closures::new());
    let stale = event_loop
        .register(a, Interest::READ, Closures::new())
        .unwrap();
    event_loop.remove(stale).unwrap();
    let foreign = other.register(b, Interest::READ, Closures::new()).unwrap();
    for key in [stale, foreign] {
        let unknown = |error| matches!(error, Error::UnknownKey(unknown) if unknown == key);
        assert!(unknown(event_loop.remove(key).unwrap_err()));
        assert!(unknown(
            event_loop.set_interest_of(key, Interest::READ).unwrap_err()
        ));
        assert!(unknown(event_loop.interest_of(key).unwrap_err()));
        assert!(unknown(event_loop.rearm(key, Interest::READ).unwrap_err()));
    }
    let message = event_loop.remove(stale).unwrap_err().to_string();
    assert!(
        message.contains("removed, or belongs to another loop"),
        "{message}"
    );
    assert_eq!((event_loop.registered(), other.registered()), (1, 1));
    assert_eq!(other.interest_of(foreign).unwrap(), Interest::READ);
    assert_eq!(
        event_loop.interest_of(duplicate.unwrap()).unwrap(),
        Interest::WRITE
    );
    turn_times(&mut event_loop, 2);
    turn_times(&mut other, 2);
}

#[test]
fn a_blocking_descriptor_is_made_non_blocking() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap(); // blocking
    let log = Log::default();
    let note = log.clone();
    let read = Closures::new().on_read(move |cx| {
        let kinds: Vec<_> = (0..2)
            .map(|_| cx.read(&mut [0; 8]).map_err(|e| e.kind()))
            .collect();
        note.note(format!("{kinds:?}"));
    });
    event_loop.register(ours, Interest::READ, read).unwrap();
    theirs.write_all(b"x").unwrap();
    turn_until(&mut event_loop, || log.len() > 0);
    assert_eq!(log.text(), "[Ok(1), Err(WouldBlock)]");
}

#[test]
fn a_refused_descriptor_keeps_its_flags() {
    let _guard = guard!();
    let event_loop = strict_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let ours = Rc::new(ours);
    // Refused because the loop is closing: a destructor registers.
    struct Registers(WeakHandle, Rc<UnixStream>, Log);
    impl Drop for Registers {
        fn drop(&mut self) {
            let descriptor = Rc::clone(&self.1);
            let refused = self.0.with(|handle| {
                let refused = handle.register(descriptor, Interest::READ, Closures::new());
                refused.unwrap_err().error
            });
            self.2.note(refused.unwrap());
        }
    }
    let log = Log::default();
    let last = Registers(event_loop.weak_handle(), Rc::clone(&ours), log.clone());
    event_loop.call_soon(move |_| drop(last));
    drop(event_loop);
    assert_eq!(log.text(), "the loop is closed");
    let ours = Rc::into_inner(ours).expect("the loop has let go of it");
    let reader = std::thread::spawn(move || (&ours).read(&mut [0; 1]).map_err(|e| e.kind()));
    theirs.write_all(b"x").unwrap();
    assert_eq!(reader.join().unwrap(), Ok(1), "it still blocks");
}

/// R020.
#[test]
fn interest_in_nothing_is_a_pause_and_costs_nothing() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let log = Log::default();
    let note = log.clone();
    let read = Closures::new().on_read(move |_| note.note("read"));
    let key = event_loop.register(ours, Interest::NONE, read).unwrap();
    let turns = crate::support::turns_in(&mut event_loop, Duration::from_millis(30));
    assert!(turns < 5, "{turns} turns");
    assert_eq!(log.len(), 0);
    event_loop.set_interest_of(key, Interest::READ).unwrap();
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "read");
}

/// An event for a branch without a callback removes the interest, so it is not reported for ever.
#[test]
fn a_branch_without_a_callback_does_not_make_the_loop_spin() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let (listener, addr) = listener();
    let _waiting = TcpStream::connect(addr).unwrap();
    event_loop
        .register(ours, Interest::BOTH, Closures::new())
        .unwrap();
    event_loop
        .register(listener, Interest::READ, Closures::new())
        .unwrap();
    turn_times(&mut event_loop, 3);
    let turns = crate::support::turns_in(&mut event_loop, Duration::from_millis(30));
    assert!(turns < 5, "{turns} turns");
}

/// R038, R163, L3: a call that may block is refused inside a turn, because it would block the loop. A
/// turn that does not block is allowed.
#[test]
fn only_a_turn_that_does_not_sleep_is_allowed_inside_a_callback_of_another_loop() {
    let _guard = guard!();
    struct Runs(Log);
    impl Drop for Runs {
        fn drop(&mut self) {
            try_all_ways(&self.0, "destructor");
        }
    }
    fn try_all_ways(log: &Log, place: &str) {
        let blocks = |result: Result<(), Error>| matches!(result, Err(Error::WouldBlockLoop));
        let mut other = strict_loop();
        assert!(blocks(strict_run(async {})), "{place}");
        assert!(blocks(strict_runner().run(async {})), "{place}");
        let note = log.clone();
        other.call_soon(move |_| note.note("inner"));
        assert!(blocks(other.run().map(drop)), "{place}");
        assert!(blocks(other.turn(None)), "{place}");
        assert!(blocks(other.turn(Some(Duration::from_nanos(1)))), "{place}");
        log.note(place);
        other.turn_now().unwrap();
        // Inside that too, at any depth.
        other.call_soon(move |_| {
            let mut third = strict_loop();
            assert!(matches!(third.turn(None), Err(Error::WouldBlockLoop)));
            third.turn_now().unwrap();
        });
        other.turn_now().unwrap();
    }
    let log = Log::default();
    let mut event_loop = strict_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let note = log.clone();
    let read = Closures::new().on_read(move |cx| {
        try_all_ways(&note, "callback");
        cx.close();
    });
    event_loop.register(ours, Interest::READ, read).unwrap();
    let note = log.clone();
    event_loop.call_later(Duration::ZERO, move |_| try_all_ways(&note, "timer"));
    let runs = Runs(log.clone());
    event_loop.call_soon(move |_| drop(runs));
    let note = log.clone();
    drop(event_loop.spawn(async move { try_all_ways(&note, "task") }));
    event_loop.run().unwrap();
    assert_eq!(
        log.text(),
        "callback inner timer inner destructor inner task inner"
    );
    // Nothing of the refused call is left.
    assert_eq!(strict_run(async { 21 }).unwrap(), 21);
}

#[test]
fn outside_a_loop_spawn_sleep_and_futures_panic_and_say_what_to_do() {
    let _guard = guard!();
    let message = |f: &mut dyn FnMut()| {
        let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it panics");
        let text = payload.downcast_ref::<String>().cloned();
        text.or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()))
            .expect("it says something")
    };
    let spawned = message(&mut || drop(readily::spawn(async {})));
    assert!(
        spawned.contains("outside a loop: use readily::run"),
        "{spawned}"
    );
    let slept = message(&mut || {
        let sleep = std::pin::pin!(readily::sleep(Duration::ZERO));
        let _ = sleep.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    });
    assert!(
        slept.contains("outside a loop: use readily::run"),
        "{slept}"
    );
    let made = message(&mut || drop(readily::task::create_future::<()>()));
    assert!(made.contains("outside a loop: use readily::run"), "{made}");
    let stream = readily::io::TcpListener::bind(([127, 0, 0, 1], 0)).unwrap_err();
    assert!(
        stream.to_string().contains("no loop is running"),
        "{stream}"
    );
    assert!(readily::current_task().is_none() && readily::all_tasks().is_empty());
    assert!(WeakHandle::current().is_none());
}

/// A refused call returns its arguments: for a connection that cannot begin, for example.
#[test]
fn a_connection_that_is_refused_at_once_gives_its_callbacks_back() {
    let _guard = guard!();
    let event_loop = strict_loop();
    let log = Log::default();
    let dropped = Dropped(log.clone(), "dropped");
    let callbacks = Closures::new().on_connect(move |_| {
        let _mine = &dropped;
    });
    // No route, on any machine: the address is for documentation, the port is none.
    let refused = event_loop.connect(([255, 255, 255, 255], 9).into(), callbacks);
    let refused = refused.unwrap_err();
    assert!(matches!(refused.error, Error::Io(_)));
    assert!(refused.descriptor.is_none());
    assert_eq!(log.len(), 0);
    drop(refused.callbacks);
    assert_eq!((log.text(), event_loop.registered()), ("dropped".into(), 0));
}

#[test]
fn every_refused_registration_leaves_the_table_as_it_was() {
    let _guard = guard!();
    let event_loop = strict_loop();
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::OneShot] {
        let file = File::open("Cargo.toml").unwrap();
        let refused = event_loop.register_with(file, Interest::READ, trigger, Closures::new());
        refused.unwrap_err();
        spi::check_invariants(&event_loop);
    }
    // The same numbers are free again.
    let (ours, _theirs) = UnixStream::pair().unwrap();
    event_loop
        .register(ours, Interest::READ, Closures::new())
        .unwrap();
    assert_eq!(event_loop.registered(), 1);
}

/// The kind of an error of a stream, a listener or a source, and the loop's error in it.
fn refused<T>(made: io::Result<T>) -> (ErrorKind, Option<Error>) {
    let error = made.err().expect("it is refused");
    let kind = error.kind();
    let inner = error.into_inner().and_then(|it| it.downcast().ok());
    let inner: Option<Box<Error>> = inner;
    if let Some(inner) = &inner {
        assert_eq!(inner.kind(), kind);
    }
    (kind, inner.map(|it| *it))
}

/// R211: whatever an `OwnedFd` is, it can be made into a `TcpStream` or a `TcpListener` of the standard
/// library.
#[test]
fn what_is_no_stream_or_no_listener_is_refused_by_name_and_closed() {
    let _guard = guard!();
    strict_run(async {
        let (listening, addr) = listener();
        let is_stream = |fd: OwnedFd| refused(aio::TcpStream::from_std(fd.into()));
        let is_listener = |fd: OwnedFd| refused(aio::TcpListener::from_std(fd.into()));
        let number = listening.as_raw_fd();
        let (kind, error) = is_stream(listening.into());
        assert_eq!(kind, ErrorKind::InvalidInput);
        let error = error.unwrap();
        assert!(matches!(error, Error::NotStream { fd } if fd == number));
        assert!(error.to_string().contains("is not a connection"), "{error}");
        assert!(TcpStream::connect(addr).is_err(), "it is closed");
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (kind, error) = is_stream(datagrams.into());
        assert_eq!(kind, ErrorKind::InvalidInput);
        assert!(matches!(error, Some(Error::NotStream { .. })));
        let (kind, error) = is_stream(unconnected_tcp().unwrap());
        assert_eq!(kind, ErrorKind::NotConnected);
        assert!(matches!(error, Some(Error::NotConnected { .. })));
        let (here, _there) = UnixStream::pair().unwrap();
        let (kind, error) = is_listener(here.into());
        assert_eq!(kind, ErrorKind::InvalidInput);
        assert!(matches!(error, Some(Error::NotListening { .. })));
        // What cannot be watched at all comes first.
        let (kind, error) = is_stream(File::open("Cargo.toml").unwrap().into());
        assert_eq!(kind, ErrorKind::PermissionDenied);
        assert!(matches!(error, Some(Error::NotPollable { .. })));
        let (here, _there) = UnixStream::pair().unwrap();
        let here = Rc::new(here);
        let _first = Async::new(Rc::clone(&here)).unwrap();
        let (kind, error) = refused(Async::new(here));
        assert_eq!(kind, ErrorKind::AlreadyExists);
        assert!(matches!(error, Some(Error::AlreadyRegistered { .. })));
        WeakHandle::current().unwrap().with(|handle| {
            assert_eq!(handle.registered(), 1);
            spi::check_invariants(handle);
        });
    })
    .unwrap();
}

/// R211, on a kernel in memory.
#[test]
fn what_is_no_stream_of_a_kernel_in_memory_is_refused_by_name_and_closed() {
    let _guard = guard!();
    let mut sim = SimLoop::new(1);
    let kernel = sim.kernel().clone();
    let open = kernel.open();
    let run = sim.run(async {
        let any = ([127, 0, 0, 1], 0).into();
        let listening = kernel.listen(any, 3).unwrap();
        let (kind, error) = refused(listening.into_stream());
        assert_eq!(kind, ErrorKind::InvalidInput);
        assert!(matches!(error, Some(Error::NotStream { .. })));
        let (kind, error) = refused(kernel.pipe().unwrap().0.into_stream());
        assert_eq!(kind, ErrorKind::InvalidInput);
        assert!(matches!(error, Some(Error::NotStream { .. })));
        let (kind, error) = refused(kernel.unconnected().unwrap().into_stream());
        assert_eq!(kind, ErrorKind::NotConnected);
        assert!(matches!(error, Some(Error::NotConnected { .. })));
        let (here, _there) = kernel.tcp().unwrap();
        let (kind, error) = refused(aio::TcpListener::from_kernel(Rc::new(here).shared()));
        assert_eq!(kind, ErrorKind::InvalidInput);
        assert!(matches!(error, Some(Error::NotListening { .. })));
        let (other, _there) = Kernel::new().tcp().unwrap();
        let (kind, error) = refused(other.into_stream());
        assert_eq!(kind, ErrorKind::InvalidInput);
        assert!(matches!(error, Some(Error::BadDescriptor { .. })));
        // The flag that says it is non-blocking says nothing else of it.
        let unconnected: Rc<dyn spi::VirtualFd> = Rc::new(kernel.unconnected().unwrap()).shared();
        let error = WeakHandle::current().unwrap().with(|handle| {
            let made = spi::register_source(handle, unconnected, true, |_, _| {});
            made.unwrap_err().error
        });
        let error = error.unwrap();
        assert!(matches!(error, Error::NotConnected { .. }));
    });
    run.unwrap();
    assert_eq!(kernel.open(), open);
}
