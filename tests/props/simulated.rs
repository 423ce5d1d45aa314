//! Servers and clients on a simulated kernel: one thread, virtual time, and every fault that a
//! system may have, from a seed.
//!
//! Invariants: L7, S1, S3, S4.

use crate::kernels::KERNELS;
use proptest::collection::vec;
use proptest::prelude::*;
use readily::io::{TcpListener, TcpStream};
use readily::poll::Poller;
use readily::{
    Callbacks, Closures, Cx, EventLoop, Interest, Runner, Trigger, gather, sleep, spawn,
};
use readily_testing::{Faults, Fd, Kernel, Personality};
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

fn poller(kernel: &Kernel, kqueue: Option<Personality>) -> Box<dyn Poller> {
    match kqueue {
        None => Box::new(kernel.poller()),
        Some(system) => Box::new(kernel.kqueue(system)),
    }
}

/// A loop on a simulated kernel: with epoll's rules, or with the kqueue of a system.
fn simulated(faults: Faults, kqueue: Option<Personality>) -> (EventLoop, Kernel) {
    let kernel = Kernel::with(faults);
    let event_loop = EventLoop::with(poller(&kernel, kqueue), Box::new(kernel.clock()));
    let event_loop = event_loop.unwrap();
    event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
    (event_loop, kernel)
}

fn anywhere() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 + n / 251) as u8).collect()
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1000];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.shutdown(Shutdown::Write),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

/// Sends `data` in pieces of these sizes, with sleeps, and reads the echo at the same time.
async fn client(addr: SocketAddr, data: Vec<u8>, pieces: Vec<usize>) -> Vec<u8> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let send = async {
        let (mut rest, mut sizes) = (&data[..], pieces.iter().cycle());
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            stream.write_all(piece).await.unwrap();
            rest = left;
            if piece.len() % 5 == 0 {
                sleep(Duration::from_millis(piece.len() as u64)).await;
            }
        }
        stream.shutdown(Shutdown::Write).unwrap();
    };
    let receive = async {
        let (mut all, mut buffer) = (Vec::new(), [0; 700]);
        loop {
            match stream.read(&mut buffer).await.unwrap() {
                0 => return all,
                n => all.extend_from_slice(&buffer[..n]),
            }
        }
    };
    gather((send, receive)).await.1
}

/// The echo server of coroutines; returns when all clients have their bytes.
fn by_coroutines(
    (event_loop, kernel): (EventLoop, Kernel),
    clients: &[(usize, Vec<usize>)],
) -> (Vec<Vec<u8>>, String) {
    kernel.record();
    let mut runner = Runner::from(event_loop);
    runner.on_unhandled(|_| ());
    let echoed = runner.run(async {
        let listener = TcpListener::bind(anywhere()).unwrap();
        let addr = listener.local_addr().unwrap();
        drop(spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                drop(spawn(async move { echo(stream).await.unwrap() }));
            }
        }));
        let clients = clients.iter().cloned();
        gather(clients.map(|(len, pieces)| client(addr, bytes(len), pieces))).await
    });
    drop(runner);
    assert_eq!(kernel.open(), 0, "S4: descriptors before and after");
    (echoed.unwrap(), kernel.trace())
}

/// The echo server of callbacks.
struct Echo {
    kept: Vec<u8>,
    ended: bool,
}

impl Callbacks for Echo {
    fn on_read(&mut self, cx: &Cx<'_>) {
        let mut buffer = [0; 1000];
        match cx.read(&mut buffer) {
            Ok(n) => {
                self.ended = n == 0;
                self.kept.extend_from_slice(&buffer[..n]);
            }
            Err(error) => return assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        self.on_write(cx);
    }

    fn on_write(&mut self, cx: &Cx<'_>) {
        match cx.write(&self.kept) {
            Ok(n) => drop(self.kept.drain(..n)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        let next = match (self.kept.is_empty(), self.ended) {
            (false, _) => Interest::WRITE,
            (true, false) => Interest::READ,
            (true, true) => return cx.close(),
        };
        cx.set_interest(next).unwrap();
    }
}

fn by_callbacks(
    (event_loop, kernel): (EventLoop, Kernel),
    clients: &[(usize, Vec<usize>)],
) -> Vec<Vec<u8>> {
    let mut runner = Runner::from(event_loop);
    runner.on_unhandled(|_| ());
    let listener = kernel.listen(anywhere(), 4).unwrap();
    let addr = listener.local_addr().unwrap();
    runner
        .listen(listener, |_, _| {
            Some(Echo {
                kept: Vec::new(),
                ended: false,
            })
        })
        .unwrap();
    let echoed = runner.run(async {
        let clients = clients.iter().cloned();
        gather(clients.map(|(len, pieces)| client(addr, bytes(len), pieces))).await
    });
    drop(runner);
    assert_eq!(kernel.open(), 0, "S4: descriptors before and after");
    echoed.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// S1, S3, S4, L7: with any faults, every byte comes back, in order, and no descriptor is left
    /// open; and the same seed makes the same trace.
    #[test]
    fn every_byte_comes_back_whatever_the_kernel_does(
        seed in any::<u64>(),
        clients in vec((0usize..5000, vec(1usize..900, 1..4)), 1..6),
    ) {
        let expected: Vec<_> = clients.iter().map(|(len, _)| bytes(*len)).collect();
        for poller in KERNELS {
            let sim = || simulated(Faults::all(seed), poller);
            let (echoed, trace) = by_coroutines(sim(), &clients);
            prop_assert!(echoed == expected, "coroutines, {:?}", poller);
            let (again, same) = by_coroutines(sim(), &clients);
            prop_assert!(again == expected && trace == same, "the same seed makes the same trace");
            prop_assert!(by_callbacks(sim(), &clients) == expected, "callbacks, {:?}", poller);
        }
    }
}

/// Virtual time: an hour passes at once, and timers fire in order.
#[test]
fn an_hour_of_sleeps_takes_no_time() {
    let (event_loop, kernel) = simulated(Faults::none(), None);
    kernel.record();
    let mut runner = Runner::from(event_loop);
    let begin = runner.now();
    let elapsed = runner.run(async {
        let naps = (1..=60).map(|minutes| sleep(Duration::from_secs(60 * minutes)));
        gather(naps).await;
        let here = readily::WeakHandle::current().unwrap();
        here.with(|handle| handle.now()).unwrap()
    });
    assert_eq!(elapsed.unwrap() - begin, Duration::from_secs(3600));
    let trace = kernel.trace();
    let jumps = trace
        .lines()
        .filter(|line| line.contains("on to the limit"));
    assert_eq!(jumps.count(), 60, "{trace}");
}

/// A caller that needs a descriptor of the system gets a placeholder.
#[test]
fn a_real_socket_has_no_place_in_a_simulation() {
    let (event_loop, kernel) = simulated(Faults::none(), None);
    let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
    let refused = event_loop.register(near, Interest::READ, Closures::new());
    let error = refused.unwrap_err().error;
    assert!(
        matches!(error, readily::Error::BadDescriptor { .. }),
        "{error}"
    );
    assert_eq!(kernel.open(), 0);
}

/// A write that moves fewer bytes than it could, or none, because of a fault: room is reported when
/// there is some, although no write has returned `WouldBlock`.
#[test]
fn a_writer_refused_without_a_reason_gets_a_report_of_room() {
    let (mut refused, mut cut) = (Faults::seeded(1), Faults::seeded(1));
    (refused.would_block, cut.short) = (255, 255);
    for faults in [refused, cut] {
        let kernel = Kernel::new();
        let (near, far) = kernel.tcp().unwrap();
        far.set_capacity(100);
        near.write(&[1; 90]).unwrap();
        kernel.set_faults(faults);
        let written = near.write(&[2; 10]).unwrap_or(0);
        assert!(written < 10, "the fault occurred");
        kernel.set_faults(Faults::none());
        let mut poller = kernel.poller();
        poller
            .register(near.number(), 7, Interest::WRITE, Trigger::Edge)
            .unwrap();
        let mut wait = || {
            let mut events = Vec::new();
            poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
            events.iter().map(|event| event.token()).collect::<Vec<_>>()
        };
        assert_eq!(wait(), [], "too little room to be reported");
        assert_eq!(far.read(&mut [0; 100]).unwrap(), 90 + written);
        assert_eq!(wait(), [7]);
    }
}

/// Only a stream socket has urgent data.
#[test]
fn urgent_data_is_refused_where_there_is_none() {
    let kernel = Kernel::new();
    let (_reader, pipe) = kernel.pipe().unwrap();
    let (datagrams, _peer) = kernel.datagrams().unwrap();
    let listener = kernel.listen(anywhere(), 1).unwrap();
    for fd in [pipe, datagrams, listener, kernel.timer().unwrap()] {
        assert!(fd.send_urgent().is_err(), "{:?}", fd.kind());
    }
}

/// Makes a stream: the end that writes, and the end that reads.
type Stream = fn(&Kernel) -> io::Result<(Fd, Fd)>;

/// One stream of each kind.
const STREAMS: [Stream; 3] = [Kernel::tcp, Kernel::pair, |kernel: &Kernel| {
    let (reader, writer) = kernel.pipe()?;
    Ok((writer, reader))
}];

/// A write that fills the buffer exactly does not return `WouldBlock`, so only the poller's
/// registration waits for room.
#[test]
fn room_is_reported_after_the_buffer_was_filled_to_the_brim() {
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::OneShot] {
        for kind in STREAMS {
            let kernel = Kernel::new();
            let (near, far) = kind(&kernel).unwrap();
            far.set_capacity(100);
            assert_eq!(near.write(&[1; 100]).unwrap(), 100);
            let mut poller = kernel.poller();
            poller
                .register(near.number(), 7, Interest::WRITE, trigger)
                .unwrap();
            let mut events = Vec::new();
            poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
            assert_eq!(events, []);
            far.read(&mut [0; 100]).unwrap();
            poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
            assert_eq!(events.len(), 1, "{trigger:?}");
        }
    }
}

/// R024: a buffer that is enlarged has room that no read has made.
#[test]
fn room_that_a_wider_buffer_makes_is_reported() {
    for (system, trigger) in KERNELS
        .map(|system| [Trigger::Level, Trigger::Edge].map(|t| (system, t)))
        .concat()
    {
        for kind in STREAMS {
            let kernel = Kernel::new();
            let (near, far) = kind(&kernel).unwrap();
            far.set_capacity(1);
            assert_eq!(near.write(&[1; 2]).unwrap(), 1);
            let mut poller = poller(&kernel, system);
            poller
                .register(near.number(), 7, Interest::WRITE, trigger)
                .unwrap();
            let mut events = Vec::new();
            poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
            assert_eq!(events, []);
            far.set_capacity(100);
            poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
            assert_eq!(events.len(), 1, "{system:?} {trigger:?}");
        }
    }
}

#[test]
fn a_timer_that_is_set_twice_to_one_moment_goes_off() {
    let kernel = Kernel::new();
    let timer = kernel.timer().unwrap();
    let mut poller = kernel.poller();
    poller
        .register(timer.number(), 7, Interest::READ, Trigger::Level)
        .unwrap();
    for _ in 0..2 {
        timer.set_timer(Some(Duration::from_secs(1))).unwrap();
    }
    let mut events = Vec::new();
    let limit = Some(Duration::from_secs(2));
    poller.wait(&mut events, limit).unwrap();
    assert_eq!(events.len(), 1);
}

/// Also for a descriptor that the kernel refused to watch, whose hangup the poller reports itself.
#[test]
fn a_broken_pipe_is_registered_once_like_anything_else() {
    let systems = KERNELS.into_iter().flatten();
    for (system, trigger) in systems.flat_map(|s| [(s, Trigger::Level), (s, Trigger::Edge)]) {
        let kernel = Kernel::new();
        let (reader, writer) = kernel.pipe().unwrap();
        drop(reader);
        let mut poller = kernel.kqueue(system);
        let mut register = || poller.register(writer.number(), 7, Interest::WRITE, trigger);
        register().unwrap();
        let again = register().unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists, "{system:?}");
        let mut events = Vec::new();
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.len(), 1, "{system:?}");
        let again = poller.register(writer.number(), 7, Interest::WRITE, trigger);
        assert!(
            again.is_err(),
            "the hangup was reported, and the registration is left"
        );
        poller.remove(writer.number()).unwrap();
        poller
            .register(writer.number(), 7, Interest::WRITE, trigger)
            .unwrap();
    }
}
