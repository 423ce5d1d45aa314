//! Names: looked up in the thread pool or in the table of the kernel in memory, and connected to by happy
//! eyeballs.

use crate::support::{guard, is_alone, on_each_loop, strict_run, unused_addr};
use readily::blocking::QueuedJobs;
use readily::io::{ConnectError, LookupError, TcpListener, TcpStream, lookup_addr, lookup_host};
use readily::{EventLoop, ThreadPool, WeakHandle, wait_for};
use readily_testing::{Fd, SimLoop};

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

const ANY: ([u8; 4], u16) = ([127, 0, 0, 1], 0);
/// Between two attempts: section 8 of RFC 8305.
const DELAY: Duration = Duration::from_millis(250);

fn here<R>(f: impl FnOnce(&readily::LoopHandle) -> R) -> R {
    let handle = WeakHandle::current().expect("a loop runs");
    handle.with(f).expect("it is open")
}

#[test]
fn a_host_is_connected_to_by_its_name() {
    let _guard = guard!();
    on_each_loop(async || {
        let listener = TcpListener::bind(ANY).unwrap();
        let addr = listener.local_addr().unwrap();
        let client = TcpStream::connect(("localhost", addr.port()))
            .await
            .unwrap();
        assert_eq!(client.peer_addr().unwrap(), addr);
        let text = format!("localhost:{}", addr.port());
        let client = TcpStream::connect(&text).await.unwrap();
        assert_eq!(client.peer_addr().unwrap(), addr);
    });
}

/// Literals in each form, and names that cannot be: no job of the pool.
#[test]
fn a_literal_and_a_malformed_name_need_no_thread() {
    let _guard = guard!();
    strict_run(async {
        let listener = TcpListener::bind(ANY).unwrap();
        let addr = listener.local_addr().unwrap();
        drop(TcpStream::connect(addr.to_string()).await.unwrap());
        drop(
            TcpStream::connect(("127.0.0.1", addr.port()))
                .await
                .unwrap(),
        );
        drop(TcpStream::connect(&[addr][..]).await.unwrap());
        let found = lookup_host("[::1]:80").await.unwrap();
        assert_eq!(found, ["[::1]:80".parse::<SocketAddr>().unwrap()]);
        for text in ["localhost", "::1:80", "localhost:eighty", ""] {
            let error = TcpStream::connect(text).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        }
        let error = TcpStream::connect(&[][..]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(here(|handle| handle.thread_pool().stats().threads), 0);
    })
    .unwrap();
}

#[test]
fn a_name_that_is_not_found_is_an_error_that_says_so() {
    let _guard = guard!();
    strict_run(async {
        let error = lookup_host("no-such-name.invalid:1").await.unwrap_err();
        let inner = error.get_ref().and_then(|error| error.downcast_ref());
        assert!(
            matches!(
                inner,
                Some(LookupError::NotFound { .. } | LookupError::TryAgain { .. })
            ),
            "{error:?}"
        );
        assert!(error.to_string().contains("no-such-name.invalid"));
        let error = lookup_host(("a\0b", 1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    })
    .unwrap();
    let error = SimLoop::new(1).run(lookup_host("no.example:1")).unwrap();
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.to_string(), "no.example is not known");
}

#[test]
fn a_look_up_without_a_pool_or_a_loop_is_an_error() {
    let _guard = guard!();
    strict_run(async {
        let pool = ThreadPool::new();
        pool.close(QueuedJobs::Cancel);
        here(|handle| handle.set_thread_pool(pool));
        let error = lookup_host("localhost:1").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other);
        // A new pool has a new lane.
        here(|handle| handle.set_thread_pool(ThreadPool::new()));
        lookup_host("localhost:1").await.unwrap();
    })
    .unwrap();
    let waker = std::task::Waker::noop();
    let mut lookup = std::pin::pin!(lookup_host("localhost:1"));
    let mut cx = std::task::Context::from_waker(waker);
    assert!(matches!(
        lookup.as_mut().poll(&mut cx),
        std::task::Poll::Ready(Err(_))
    ));
    let error = SimLoop::new(1).run(lookup_addr([127, 0, 0, 1])).unwrap();
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn callbacks_are_given_the_addresses_on_the_loop() {
    let _guard = guard!();
    let mut event_loop = EventLoop::new().unwrap();
    let found = Rc::new(Cell::new(0));
    for host in ["localhost:1", "127.0.0.1:1", "[::1]:1", "nothing"] {
        let found = Rc::clone(&found);
        let lookup = event_loop.lookup_host_with(host, move |_, addrs| match addrs {
            Ok(addrs) => assert!(addrs[0].ip().is_loopback() && found.replace(found.get() + 1) < 3),
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput),
        });
        drop(lookup);
    }
    event_loop.run().unwrap();
    assert_eq!(found.get(), 3);
}

/// What an address does with an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Accepts,
    Refuses,
    /// The backlog is full: no answer.
    Silent,
}

use Peer::{Accepts, Refuses, Silent};

const PEERS: [Peer; 3] = [Accepts, Refuses, Silent];

/// A network of these peers, each on an address of its own, and what keeps it.
fn network(sim: &SimLoop, peers: &[Peer]) -> (Vec<SocketAddr>, Vec<Fd>) {
    let mut keep = Vec::new();
    let mut addrs = Vec::new();
    for (n, peer) in peers.iter().enumerate() {
        let addr = SocketAddr::from(([10, 0, 0, u8::try_from(n).unwrap()], 80));
        addrs.push(addr);
        if *peer != Refuses {
            keep.push(sim.kernel().listen(addr, 1).unwrap());
        }
        if *peer == Silent {
            keep.push(sim.kernel().connect(addr).unwrap());
        }
    }
    (addrs, keep)
}

/// Which peer is connected to, and after how many delays; `None` if all refuse.
fn expected(peers: &[Peer]) -> Option<(usize, u32)> {
    let mut delays = 0;
    for (n, peer) in peers.iter().enumerate() {
        match peer {
            Accepts => return Some((n, delays)),
            Silent => delays += 1,
            Refuses => {}
        }
    }
    None
}

/// Each network of up to five addresses: the model is RFC 8305, sections 4 and 5.
#[test]
fn the_first_address_that_answers_wins_and_the_next_is_tried_in_time() {
    let _guard = guard!();
    for len in 1..=5_u32 {
        for code in 0..3_usize.pow(len) {
            let peers: Vec<Peer> = (0..len).map(|n| PEERS[code / 3_usize.pow(n) % 3]).collect();
            let mut sim = SimLoop::new(1);
            let (addrs, keep) = network(&sim, &peers);
            let before = sim.kernel().open();
            let connect = TcpStream::connect(addrs.clone());
            let limit = 20 * DELAY;
            let result = sim.run(async move {
                let stream = wait_for(limit, connect).await;
                stream.map(|stream| stream.and_then(|stream| stream.peer_addr()))
            });
            let elapsed = sim.elapsed();
            match (result.unwrap(), expected(&peers)) {
                (Ok(Ok(peer)), Some((n, delays))) => {
                    assert_eq!((peer, elapsed), (addrs[n], delays * DELAY), "{peers:?}");
                }
                (Ok(Err(error)), None) => {
                    assert!(!peers.contains(&Silent), "{peers:?}: {error}");
                    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                    check_attempts(&error, &addrs);
                    assert_eq!(elapsed, Duration::ZERO);
                }
                (Err(_), None) => assert!(peers.contains(&Silent), "{peers:?}"),
                (result, expected) => panic!("{peers:?}: {result:?}, expected {expected:?}"),
            }
            let accepted = usize::from(expected(&peers).is_some());
            let open = sim.kernel().open();
            assert!(
                open <= before + accepted,
                "an attempt is left open: {peers:?}"
            );
            drop(keep);
        }
    }
}

/// The error has all attempts in it; if there was one alone, it is the system's error.
fn check_attempts(error: &io::Error, addrs: &[SocketAddr]) {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(ConnectError { attempts, .. }) => {
            let tried: Vec<SocketAddr> = attempts.iter().map(|(addr, _)| *addr).collect();
            assert_eq!(tried, addrs);
            assert!(
                addrs
                    .iter()
                    .all(|addr| error.to_string().contains(&addr.to_string()))
            );
        }
        None => assert!(addrs.len() == 1 && error.raw_os_error().is_some()),
    }
}

/// Six silent addresses are all that are waited for at a time; and a dropped attempt leaves no socket.
#[test]
fn at_most_six_addresses_are_tried_at_a_time() {
    let _guard = guard!();
    let peers = [Silent; 9];
    let mut sim = SimLoop::new(1);
    let (addrs, _keep) = network(&sim, &peers);
    let kernel = sim.kernel().clone();
    let before = kernel.open();
    sim.run(async {
        let mut connect = std::pin::pin!(TcpStream::connect(addrs));
        for tried in 1..=9 {
            let timed_out = wait_for(DELAY - Duration::from_millis(1), connect.as_mut()).await;
            assert!(timed_out.is_err());
            assert_eq!(kernel.open(), before + tried.min(6));
            let timed_out = wait_for(Duration::from_millis(1), connect.as_mut()).await;
            assert!(timed_out.is_err());
        }
    })
    .unwrap();
    assert_eq!(kernel.open(), before);
}

/// A name in memory, with an address of each family: the first one's family is tried first.
#[test]
fn the_addresses_of_a_name_in_memory_are_tried_by_turns_of_their_families() {
    let _guard = guard!();
    let mut sim = SimLoop::new(1);
    let six = |n: u16| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n]);
    let four = |n: u8| IpAddr::from([10, 0, 0, n]);
    sim.kernel()
        .set_host("Db.Example", [six(1), six(2), six(3), four(1), four(2)]);
    let error = sim.run(TcpStream::connect("db.example:9")).unwrap();
    let error = error.unwrap_err();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let ConnectError { attempts, .. } = inner.unwrap();
    let tried: Vec<IpAddr> = attempts.iter().map(|(addr, _)| addr.ip()).collect();
    assert_eq!(tried, [six(1), four(1), six(2), four(2), six(3)]);
    let found = sim.run(lookup_host("LOCALHOST:7")).unwrap().unwrap();
    assert_eq!(found, [SocketAddr::from(([127, 0, 0, 1], 7))]);
}

/// On the system's kernel: addresses that refuse are passed over, whatever the family.
#[test]
fn addresses_that_refuse_are_passed_over_at_once() {
    let _guard = guard!();
    on_each_loop(async || {
        let listener = TcpListener::bind(ANY).unwrap();
        let addr = listener.local_addr().unwrap();
        let six = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], unused_addr().port()));
        let stream = TcpStream::connect(vec![six, unused_addr(), addr]).await;
        assert_eq!(stream.unwrap().peer_addr().unwrap(), addr);
        let refused = TcpStream::connect(vec![unused_addr(), unused_addr()]).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

/// The first look-up of a process: the library of the system cannot read its files, and says that the name is not known.
#[test]
fn a_name_that_cannot_be_looked_up_for_want_of_descriptors_is_not_unknown() {
    if !is_alone(Some(40)) {
        return;
    }
    strict_run(async {
        readily::run_blocking(|| ()).await.unwrap(); // a thread is there
        let mut all = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            all.push(file);
        }
        let error = lookup_host("localhost:1").await.unwrap_err();
        assert_eq!(
            error.raw_os_error(),
            Some(readily_sys::errno::EMFILE),
            "{error}"
        );
        drop(all);
        lookup_host("localhost:1").await.unwrap();
    })
    .unwrap();
}
