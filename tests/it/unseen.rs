//! An `Async` whose user reads by other calls: the source does not see them, and must not rely on
//! stale readiness (R132); and a descriptor that is registered before it is connected (R133).

use crate::support::{Count, Dropped, Log, guard, strict_loop, tcp_pair};
use readily::clock::Monotonic;
use readily::io::{Async, Direction};
use readily::poll::poll2::PollPoller;
use readily::spi;
use readily::{
    Closures, Error, EventLoop, Interest, PanicPolicy, Runner, spawn, wait_for, yield_now,
};
use readily_testing::for_tests::unconnected_tcp;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The time of a wait that must time out.
const A_WHILE: Duration = Duration::from_millis(2);

/// A poller that reports edges by itself, and one that must be rearmed for each.
fn runners() -> [Runner; 2] {
    let poller = Box::new(PollPoller::new().unwrap());
    let polled = EventLoop::with(poller, Box::new(Monotonic::new())).unwrap();
    polled.set_panic_policy(PanicPolicy::Propagate);
    [strict_loop().into(), polled.into()]
}

fn udp_pair() -> (UdpSocket, UdpSocket) {
    let bound = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let (ours, theirs) = (bound(), bound());
    ours.connect(theirs.local_addr().unwrap()).unwrap();
    theirs.connect(ours.local_addr().unwrap()).unwrap();
    (ours, theirs)
}

/// R132: a waiter that receives by its own calls is woken for each packet and not between them.
#[test]
fn a_wait_after_a_wait_asks_the_kernel_whether_the_old_report_still_holds() {
    let _guard = guard!();
    for mut runner in runners() {
        runner
            .run(async {
                let (ours, theirs) = udp_pair();
                let source = Async::new(ours).unwrap();
                for packets in [1, 3] {
                    let (tries, mut got) = (Count::default(), 0);
                    for _ in 0..packets {
                        theirs.send(b"hi").unwrap();
                    }
                    let reads = async {
                        loop {
                            source.readable().await.unwrap();
                            tries.add();
                            got += usize::from(source.recv(&mut [0; 8]).is_ok());
                        }
                    };
                    assert!(wait_for(A_WHILE, reads).await.is_err());
                    assert_eq!(got, packets);
                    assert!(tries.get() <= 2 * packets, "{tries:?} tries for {packets}");
                }
            })
            .unwrap();
    }
}

/// R132: the same of an operation that takes all there is by its own calls, and returns `Ok`.
#[test]
fn an_operation_that_drains_by_itself_is_not_tried_again_for_nothing() {
    let _guard = guard!();
    for mut runner in runners() {
        runner
            .run(async {
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                let source = Async::new(ours).unwrap();
                let tries = Count::default();
                for _ in 0..3 {
                    theirs.write_all(b"some bytes").unwrap();
                    let drains = |mut stream: &UnixStream| {
                        tries.add();
                        let mut all = 0;
                        while let Ok(n) = stream.read(&mut [0; 4]) {
                            all += n;
                        }
                        Ok(all)
                    };
                    let mut drains = drains;
                    let reads = async {
                        loop {
                            source.io(Direction::Read, &mut drains).await.unwrap();
                        }
                    };
                    assert!(wait_for(A_WHILE, reads).await.is_err());
                }
                assert!(tries.get() <= 6, "{tries:?} tries for 3");
            })
            .unwrap();
    }
}

/// R132: writing too. A buffer that the user has filled makes the writer wait, and room ends the
/// wait.
#[test]
fn a_wait_for_room_that_the_user_has_used_up_lasts_until_there_is_some() {
    let _guard = guard!();
    for mut runner in runners() {
        runner
            .run(async {
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                let source = Async::new(ours).unwrap();
                source.writable().await.unwrap();
                while (&*source).write(&[0; 4096]).is_ok() {}
                assert!(wait_for(A_WHILE, source.writable()).await.is_err());
                let waits = spawn(async move { source.writable().await });
                yield_now().await;
                theirs.set_nonblocking(true).unwrap();
                while theirs.read(&mut [0; 65536]).is_ok() {}
                waits.await.unwrap().unwrap();
            })
            .unwrap();
    }
}

/// R132: two waiters for one packet both wake; the second one only while it is still there.
#[test]
fn of_two_waiters_the_second_is_not_woken_for_what_the_first_has_taken() {
    let _guard = guard!();
    for mut runner in runners() {
        runner
            .run(async {
                let (ours, theirs) = udp_pair();
                let source = std::rc::Rc::new(Async::new(ours).unwrap());
                let (second, log) = (source.clone(), Log::default());
                let note = log.clone();
                let first = spawn(async move {
                    source.readable().await.unwrap();
                    source.recv(&mut [0; 8]).unwrap()
                });
                let second = spawn(async move {
                    let _note = Dropped(note, "gone");
                    second.readable().await.unwrap();
                });
                yield_now().await;
                theirs.send(b"x").unwrap();
                assert_eq!(first.await.unwrap(), 1);
                yield_now().await;
                assert!(!second.done());
                theirs.send(b"y").unwrap();
                second.await.unwrap();
                assert_eq!(log.text(), "gone");
            })
            .unwrap();
    }
}

/// A try of the user's own that meets `WouldBlock` is noticed, and the next wait needs no check.
#[test]
fn a_try_clears_the_readiness_when_there_is_no_more() {
    let _guard = guard!();
    for mut runner in runners() {
        runner
            .run(async {
                let (ours, theirs) = udp_pair();
                let source = Async::new(ours).unwrap();
                let mut signals = 2;
                let mut receive = |socket: &UdpSocket| {
                    if signals > 0 {
                        signals -= 1;
                        return Err(io::Error::from(ErrorKind::Interrupted));
                    }
                    socket.recv(&mut [0; 8])
                };
                for packets in [2, 1] {
                    for _ in 0..packets {
                        theirs.send(b"hi").unwrap();
                    }
                    source.readable().await.unwrap();
                    let tries =
                        std::iter::repeat_with(|| source.try_io(Direction::Read, &mut receive));
                    assert_eq!(tries.take_while(Result::is_ok).count(), packets);
                    assert!(!format!("{source:?}").contains("READ"));
                    assert!(wait_for(A_WHILE, source.readable()).await.is_err());
                }
                // The result of the operation is returned unchanged.
                let refused = source.try_io(Direction::Write, |_| {
                    Err::<(), _>(io::Error::from(ErrorKind::PermissionDenied))
                });
                assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
            })
            .unwrap();
    }
}

/// R133: a socket before `connect(2)` is reported as hung up. It is refused with an error of its own
/// that returns it; a socket that is connecting, connected or has ended is not.
#[test]
fn a_socket_that_is_not_connected_is_refused_and_works_after_it_is() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let socket = unconnected_tcp().unwrap();
    let number = socket.as_raw_fd();
    let refused = event_loop.register(socket, Interest::BOTH, Closures::new());
    let refused = refused.unwrap_err();
    assert!(matches!(refused.error, Error::NotConnected { fd } if fd == number));
    assert!(refused.error.to_string().contains("connect(2)"));
    assert_eq!(event_loop.registered(), 0);
    spi::check_invariants(&event_loop);
    let socket = socket2::Socket::from(refused.descriptor.unwrap().into_owned().unwrap());
    let (listener, addr) = crate::support::listener();
    // In progress: the kernel reports that, and later that it is connected.
    socket.set_nonblocking(true).unwrap();
    let begun = socket.connect(&addr.into()).unwrap_err();
    assert_eq!(begun.raw_os_error(), Some(libc::EINPROGRESS));
    let log = Log::default();
    let note = log.clone();
    let writable = Closures::new().on_write(move |cx| {
        note.note("writable");
        cx.close();
    });
    event_loop
        .register(OwnedFd::from(socket), Interest::WRITE, writable)
        .unwrap();
    crate::support::turn_until(&mut event_loop, || log.has("writable"));
    drop(listener);
}

/// R133: the same behind `await`, of any kind of stream.
#[test]
fn a_source_of_a_socket_that_is_not_connected_is_an_error() {
    let _guard = guard!();
    for mut runner in runners() {
        runner
            .run(async {
                let tcp = TcpStream::from(unconnected_tcp().unwrap());
                let unix = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
                let unix = UnixStream::from(OwnedFd::from(unix.unwrap()));
                let errors = [Async::new(tcp).unwrap_err(), Async::new(unix).unwrap_err()];
                for error in errors {
                    assert_eq!(error.kind(), ErrorKind::NotConnected);
                    let reason = error.get_ref().unwrap().downcast_ref();
                    assert!(matches!(reason, Some(Error::NotConnected { .. })));
                }
                // Closed on both sides, and refused: each is reported as such.
                let (ours, theirs) = tcp_pair();
                drop(theirs);
                let over = Async::new(ours).unwrap();
                over.shutdown(std::net::Shutdown::Write).unwrap();
                over.readable().await.unwrap();
                // Without a peer by now, as one that never had any.
                let (gone, theirs) = tcp_pair();
                drop(theirs);
                gone.shutdown(std::net::Shutdown::Write).unwrap();
                while gone.peer_addr().is_ok() {
                    yield_now().await;
                }
                Async::new(gone).unwrap().readable().await.unwrap();
                let (one, _other) = UnixStream::pair().unwrap();
                one.shutdown(std::net::Shutdown::Both).unwrap();
                Async::new(one).unwrap().readable().await.unwrap();
                assert!(Async::new(UdpSocket::bind("127.0.0.1:0").unwrap()).is_ok());
            })
            .unwrap();
    }
}
