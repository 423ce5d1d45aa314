//! The kernel refuses to watch a descriptor, for lack of memory or because of its own limit of
//! watches (R013): an error at the right place, and nothing lost or half-done.

use crate::moody::{moody, moody_on};
use crate::support::{
    Dropped, Log, collect_unhandled, guard, is_alone, is_nonblocking, listener, tcp_pair,
    turn_until,
};
use readily::event_loop::Accepted;
use readily::io::{Async, TcpListener, TcpStream};
use readily::spi;
use readily::{Closures, Cx, Error, Interest, Runner};
use std::io::{Read, Write};
use std::net;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// R013: the kernel has no memory for one more registration. The call returns its arguments.
#[test]
fn a_registration_that_the_kernel_refuses_gives_everything_back() {
    let _guard = guard!();
    for code in [libc::ENOMEM, libc::ENOSPC] {
        let (mut event_loop, mood) = moody();
        let (kept, mut kept_peer) = UnixStream::pair().unwrap();
        let log = Log::default();
        let note = log.clone();
        let read = Closures::new().on_read(move |cx| {
            note.note("read");
            cx.close();
        });
        event_loop.register(kept, Interest::READ, read).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let number = ours.as_raw_fd();
        mood.register.set(Some(code));
        let dropped = Dropped(log.clone(), "dropped");
        let callbacks = Closures::new().on_read(move |_| {
            let _mine = &dropped;
        });
        let refused = event_loop.register(ours, Interest::READ, callbacks);
        let refused = refused.unwrap_err();
        assert!(matches!(&refused.error, Error::Io(error) if error.raw_os_error() == Some(code)));
        assert_eq!(log.len(), 0);
        assert_eq!(event_loop.registered(), 1);
        spi::check_invariants(&event_loop);
        let back = refused.descriptor.expect("it is handed back");
        assert_eq!(back.as_fd().as_raw_fd(), number);
        // It was not made non-blocking either.
        theirs.write_all(b"x").unwrap();
        let mut back = UnixStream::from(back.into_owned().expect("it was owned"));
        assert!(!is_nonblocking(&back));
        back.read_exact(&mut [0]).unwrap();
        // With memory again it works, and the other registrations were not affected.
        mood.register.set(None);
        event_loop
            .register(back, Interest::READ, refused.callbacks)
            .unwrap();
        kept_peer.write_all(b"x").unwrap();
        turn_until(&mut event_loop, || log.has("read"));
        assert_eq!(mood.known(), 1);
        assert_eq!(event_loop.close().registrations, 1);
        assert_eq!(log.text(), "read dropped");
    }
}

/// R013: the same behind `await`. The descriptor is closed, the error is returned, and the next one
/// works.
#[test]
fn a_source_that_the_kernel_refuses_is_an_error_and_is_closed() {
    let _guard = guard!();
    let (event_loop, mood) = moody();
    let mut runner = Runner::from(event_loop);
    let (listener, addr) = listener();
    runner
        .run(async {
            mood.register.set(Some(libc::ENOMEM));
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let refused = Async::new(ours).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::ENOMEM));
            assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "our end is closed");
            let refused = TcpStream::connect(addr).await.unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::ENOMEM));
            let (mut peer, _) = listener.accept().unwrap();
            assert!(!matches!(peer.read(&mut [0]), Ok(1..)), "it is closed");
            let any = ([127, 0, 0, 1], 0);
            let refused = TcpListener::bind(any).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::ENOMEM));
            assert_eq!(mood.known(), 0);
            mood.register.set(None);
            TcpStream::connect(addr).await.unwrap();
        })
        .unwrap();
    assert_eq!(runner.registered(), 0);
}

/// R013: a listener whose new connection is refused reports that, closes the connection, and goes on.
#[test]
fn a_newcomer_that_the_kernel_refuses_does_not_end_the_listener_of_callbacks() {
    let _guard = guard!();
    let (mut event_loop, mood) = moody();
    let reports = collect_unhandled(&event_loop);
    let (listens, addr) = listener();
    let number = listens.as_raw_fd();
    let log = Log::default();
    let note = log.clone();
    event_loop
        .listen(listens, move |_, _| {
            let note = note.clone();
            Some(Closures::new().on_write(move |cx| {
                note.note("served");
                cx.close();
            }))
        })
        .unwrap();
    mood.register.set(Some(libc::ENOSPC));
    let mut refused = net::TcpStream::connect(addr).unwrap();
    turn_until(&mut event_loop, || reports.len() > 0);
    let text = reports.text();
    assert!(
        text.contains("has lost an accepted connection of "),
        "{text}"
    );
    assert!(!matches!(refused.read(&mut [0]), Ok(1..)), "it is closed");
    // R154: which listener it is, and which client.
    let client = refused.local_addr().unwrap();
    let names = format!(
        "listener {number} on {addr} has lost an accepted connection of {client}, which could not be registered: "
    );
    assert!(text.contains(&names), "{text}");
    mood.register.set(None);
    let _served = net::TcpStream::connect(addr).unwrap();
    turn_until(&mut event_loop, || log.has("served"));
    assert_eq!((reports.len(), event_loop.registered()), (1, 1));
}

/// R013: the same for coroutines.
#[test]
fn a_newcomer_that_the_kernel_refuses_does_not_end_accept() {
    let _guard = guard!();
    for code in [libc::ENOMEM, libc::ENOSPC] {
        let (event_loop, mood) = moody();
        let mut runner = Runner::from(event_loop);
        let reports = collect_unhandled(&runner);
        runner
            .run(async {
                let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
                let addr = listener.local_addr().unwrap();
                let mut refused = net::TcpStream::connect(addr).unwrap();
                mood.register.set(Some(code));
                let limit = Duration::from_millis(5);
                let accepted = readily::wait_for(limit, listener.accept()).await;
                let Err(readily::Elapsed) = accepted else {
                    panic!("accept ended: {accepted:?}");
                };
                assert!(!matches!(refused.read(&mut [0]), Ok(1..)), "it is closed");
                mood.register.set(None);
                let next = net::TcpStream::connect(addr).unwrap();
                let (_, peer) = listener.accept().await.unwrap();
                assert_eq!(peer, next.local_addr().unwrap());
            })
            .unwrap();
        let text = reports.text();
        assert!(
            text.contains("has lost an accepted connection of "),
            "{text}"
        );
        assert_eq!(reports.len(), 1);
    }
}

/// R013, R032: a listener that was paused for lack of descriptors, and that the kernel then refuses
/// to resume, reports that.
#[test]
fn a_pause_that_the_kernel_will_not_end_is_reported_and_tried_again() {
    if !is_alone(Some(64)) {
        return;
    }
    let _guard = guard!();
    let (mut event_loop, mood) = moody();
    let reports = collect_unhandled(&event_loop);
    let (listens, addr) = listener();
    let log = Log::default();
    let note = log.clone();
    let accept = move |_: &Cx<'_>, _: &Accepted| {
        note.note("accepted");
        None::<Closures>
    };
    event_loop.listen(listens, accept).unwrap();
    let _waits = net::TcpStream::connect(addr).unwrap();
    let all: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    turn_until(&mut event_loop, || reports.text().contains("paused"));
    mood.modify.set(Some(libc::ENOMEM));
    drop(all);
    turn_until(&mut event_loop, || reports.text().contains("resuming"));
    assert!(!log.has("accepted"));
    mood.modify.set(None);
    turn_until(&mut event_loop, || log.has("accepted"));
}

/// R013: a refused change leaves the interest as it was, and the requested interest is in the error.
#[test]
fn a_change_that_the_kernel_refuses_changes_nothing() {
    let _guard = guard!();
    let (mut event_loop, mood) = moody();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let log = Log::default();
    let note = log.clone();
    let read = Closures::new().on_read(move |cx| {
        note.note("read");
        cx.close();
    });
    let key = event_loop.register(ours, Interest::READ, read).unwrap();
    mood.modify.set(Some(libc::ENOMEM));
    let refused = event_loop.set_interest_of(key, Interest::BOTH).unwrap_err();
    assert!(matches!(refused, Error::Io(error) if error.raw_os_error() == Some(libc::ENOMEM)));
    assert_eq!(event_loop.interest_of(key).unwrap(), Interest::READ);
    theirs.write_all(b"x").unwrap();
    turn_until(&mut event_loop, || log.len() > 0);
}

/// R013: an established connection that cannot be watched for reading is hung up with the reason.
#[test]
fn a_connection_that_cannot_be_watched_is_hung_up_with_the_reason() {
    let _guard = guard!();
    let (mut event_loop, mood) = moody();
    let (_listener, addr) = listener();
    let log = Log::default();
    let (connected, hangup) = (log.clone(), log.clone());
    let callbacks = Closures::new()
        .on_connect(move |_| connected.note("connected"))
        .on_hangup(move |_, error| {
            let code = error.and_then(|error| error.raw_os_error());
            hangup.note(format!("hangup:{code:?}"));
        });
    event_loop.connect(addr, callbacks).unwrap();
    mood.modify.set(Some(libc::ENOMEM));
    turn_until(&mut event_loop, || log.len() > 0);
    assert_eq!(log.text(), format!("hangup:Some({})", libc::ENOMEM));
    assert_eq!((event_loop.registered(), mood.known()), (0, 0));
}

/// R013, for pollers that report an edge once and must be rearmed: the waiter gets the error of
/// rearming, loses no byte, and can go on when rearming works.
#[test]
fn a_read_that_cannot_be_waited_for_is_an_error_and_loses_nothing() {
    let _guard = guard!();
    let portable = Box::new(readily::poll::poll2::PollPoller::new().unwrap());
    let (event_loop, mood) = moody_on(portable);
    let mut runner = Runner::from(event_loop);
    runner
        .run(async {
            let (ours, mut theirs) = tcp_pair();
            let stream = TcpStream::from_std(ours).unwrap();
            let mut buffer = [0; 8];
            theirs.write_all(b"abc").unwrap();
            mood.rearm.set(Some(libc::ENOMEM));
            // Less than there is room for: the kernel would have to be asked again.
            assert_eq!(stream.read(&mut buffer).await.unwrap(), 3);
            for _ in 0..2 {
                let refused = stream.read(&mut buffer).await.unwrap_err();
                assert_eq!(refused.raw_os_error(), Some(libc::ENOMEM));
            }
            mood.rearm.set(None);
            let (read, ()) = readily::gather((stream.read(&mut buffer), async {
                readily::yield_now().await;
                theirs.write_all(b"d").unwrap();
            }))
            .await;
            assert_eq!(read.unwrap(), 1);
        })
        .unwrap();
}
