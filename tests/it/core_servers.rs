//! Servers on several cores: how connections come to them, in both styles, and what becomes of them when
//! a server is closed, a core ends or all are shut down.
//!
//! The server greets each client with the number of the core that serves it, and echoes the rest.
//!
//! Invariants: M5.

use crate::support::{guard, is_alone, strict_run};
use readily::cores::{
    Core, CoreConnections, Cores, CoresBuilder, CoresHandle, Distribution, ListenError,
    ListenOptions, ServeError, Server, WhenCoreEnds,
};
use readily::event_loop::Accepted;
use readily::io::TcpStream;
use readily::{Callbacks, CancellationToken, Cx, LoopHandle, PanicPolicy, Runner, Unhandled};
use std::io::{ErrorKind, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);
const ANY: ([u8; 4], u16) = ([127, 0, 0, 1], 0);
const ALL: [Distribution; 4] = [
    Distribution::Shared,
    Distribution::PerCore,
    Distribution::RoundRobin,
    Distribution::LeastConnections,
];

async fn greet_and_echo(
    stream: TcpStream,
    core: u8,
    stop: CancellationToken,
) -> std::io::Result<()> {
    stream.write_all(&[core]).await?;
    let mut buffer = [0; 1024];
    loop {
        let read = stop.run_until_cancelled(stream.read(&mut buffer)).await;
        let Some(n) = read.transpose()?.filter(|&n| n > 0) else {
            return Ok(());
        };
        stream.write_all(&buffer[..n]).await?;
    }
}

fn number(core: &Core) -> u8 {
    u8::try_from(core.index()).unwrap()
}

fn by_tasks(cores: &CoresHandle, options: ListenOptions) -> Server {
    let service = |core: &Core| {
        let (number, stop) = (number(core), core.stop_token());
        move |stream, _peer| {
            let stop = stop.clone();
            // A reset by a client that has gone is no error of the server.
            async move { drop(greet_and_echo(stream, number, stop).await) }
        }
    };
    cores.serve(options, service).unwrap()
}

struct Echo(u8, CancellationToken);

impl Callbacks for Echo {
    fn on_open(&mut self, cx: &Cx<'_>) {
        cx.write(&[self.0]).unwrap();
        let (handle, key) = (cx.weak_handle(), cx.key());
        self.1.on_cancel(move |_| {
            handle.with(|handle| drop(handle.remove(key)));
        });
    }

    fn on_read(&mut self, cx: &Cx<'_>) {
        let mut buffer = [0; 1024];
        match cx.read(&mut buffer) {
            Ok(n) if n > 0 => drop(cx.write(&buffer[..n])),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => cx.close(),
        }
    }
}

fn by_callbacks(cores: &CoresHandle, options: ListenOptions) -> Server {
    let service = |core: &Core| {
        let (number, stop) = (number(core), core.stop_token());
        move |_: &LoopHandle, _: &Accepted| Some(Echo(number, stop.clone()))
    };
    cores.listen(options, service).unwrap()
}

type Style = fn(&CoresHandle, ListenOptions) -> Server;
const STYLES: [Style; 2] = [by_tasks, by_callbacks];

/// Each way to distribute connections, in both styles.
fn each_way() -> impl Iterator<Item = (Distribution, Style)> {
    let all = ALL.into_iter();
    all.flat_map(|one| STYLES.map(|style| (one, style)))
}

fn options(distribution: Distribution) -> ListenOptions {
    ListenOptions::new(ANY).distribution(distribution)
}

fn cores(count: usize) -> Cores {
    Cores::builder().count(count).build().unwrap()
}

/// A client that was greeted.
struct Client {
    stream: net::TcpStream,
    core: usize,
}

impl Client {
    fn of(server: &Server) -> Self {
        let mut stream = net::TcpStream::connect(server.local_addr()).unwrap();
        let mut core = [0];
        stream.read_exact(&mut core).unwrap();
        let core = usize::from(core[0]);
        Self { stream, core }
    }

    fn ask(&mut self) {
        self.stream.write_all(b"still there?").unwrap();
        let mut answer = [0; 12];
        self.stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"still there?");
    }

    /// Ends its half, and waits for the other.
    fn end(mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(self.stream.read(&mut [0]).unwrap(), 0);
    }
}

/// Blocks a core until the sender is dropped; returns when it is blocked.
fn block(cores: &Cores, core: usize) -> Sender<()> {
    block_and_then(cores, core, || ())
}

fn block_and_then(cores: &Cores, core: usize, then: impl FnOnce() + Send + 'static) -> Sender<()> {
    let (hold, held) = channel::<()>();
    let (begun, has_begun) = channel();
    let blocking = move |_: &LoopHandle| {
        begun.send(()).unwrap();
        let _dropped = held.recv();
        then();
    };
    let remote = cores.remote_handle(core).unwrap();
    remote.call_soon(blocking).unwrap();
    has_begun.recv().unwrap();
    hold
}

/// Waits until so many connections of the server are open.
fn settle(server: &Server, open: usize) -> Vec<CoreConnections> {
    loop {
        let connections = server.connections();
        if connections.iter().map(|core| core.open).sum::<usize>() == open {
            return connections;
        }
        thread::yield_now();
    }
}

/// M5: by each way to the cores, in both styles.
#[test]
fn each_connection_is_served_by_one_core_however_it_comes_there() {
    let _guard = guard!();
    for (distribution, style) in each_way() {
        let cores = cores(3);
        let server = style(&cores, options(distribution));
        let mut clients: Vec<Client> = (0..30).map(|_| Client::of(&server)).collect();
        let mut by_core = [0; 3];
        for client in &mut clients {
            by_core[client.core] += 1;
            client.ask();
        }
        let counted = settle(&server, 30);
        assert_eq!(
            counted.iter().map(|core| core.open).collect::<Vec<_>>(),
            by_core
        );
        if !matches!(distribution, Distribution::Shared | Distribution::PerCore) {
            assert_eq!(by_core, [10; 3], "{distribution:?}");
        }
        for client in clients {
            client.end();
        }
        let counted = settle(&server, 0);
        assert_eq!(counted.iter().map(|core| core.total).sum::<usize>(), 30);
        assert!(cores.shutdown(LONG).wait().unwrap().is_clean());
    }
}

/// R342: a core gets the next connection if it has the fewest.
#[test]
fn the_core_with_the_fewest_connections_gets_the_next() {
    let _guard = guard!();
    for style in STYLES {
        let cores = cores(3);
        let options = options(Distribution::LeastConnections).acceptor(2);
        let server = style(&cores, options);
        let mut clients: Vec<Client> = (0..9).map(|_| Client::of(&server)).collect();
        settle(&server, 9);
        // Two cores lose all of theirs.
        let (stay, leave) = clients.drain(..).partition(|client| client.core == 1);
        let (stay, leave): (Vec<Client>, Vec<Client>) = (stay, leave);
        assert_eq!((stay.len(), leave.len()), (3, 6));
        leave.into_iter().for_each(Client::end);
        settle(&server, 3);
        let next: Vec<Client> = (0..6).map(|_| Client::of(&server)).collect();
        assert!(next.iter().all(|client| client.core != 1));
        let open = settle(&server, 9);
        assert!(open.iter().all(|core| core.open == 3), "{open:?}");
    }
}

/// R340, R344, M5: clients whose connections wait to be accepted are served, though all cores are asked to stop.
#[test]
fn what_waits_to_be_accepted_at_a_shutdown_is_served_and_not_reset() {
    let _guard = guard!();
    for (distribution, style) in each_way() {
        let cores = cores(2);
        let server = style(&cores, options(distribution));
        Client::of(&server).end();
        settle(&server, 0);
        let holds = [block(&cores, 0), block(&cores, 1)];
        let connect = |_| net::TcpStream::connect(server.local_addr()).unwrap();
        let mut waiting: Vec<_> = (0..40).map(connect).collect();
        cores.begin_shutdown(LONG);
        drop(holds);
        for client in &mut waiting {
            let mut greeting = Vec::new();
            client.read_to_end(&mut greeting).unwrap();
            assert_eq!(
                greeting.len(),
                1,
                "{distribution:?}: it is greeted before the end"
            );
        }
        let report = cores.ended().wait().unwrap();
        assert!(report.is_clean(), "{distribution:?}: {report}");
        let refused = net::TcpStream::connect(server.local_addr()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
}

/// R344: a shutdown in the middle of requests: each that has begun is answered.
#[test]
fn a_request_under_way_at_a_shutdown_is_answered() {
    let _guard = guard!();
    for round in 0..100 {
        let cores = cores(2);
        let distribution = ALL[round % ALL.len()];
        let service = |_: &Core| {
            |stream: TcpStream, _peer| async move {
                let mut request = [0; 7];
                stream.read_exact(&mut request).await.unwrap();
                readily::yield_now().await;
                stream.write_all(&request).await.unwrap();
            }
        };
        let server = cores.serve(options(distribution), service).unwrap();
        let mut client = net::TcpStream::connect(server.local_addr()).unwrap();
        client.write_all(b"request").unwrap();
        cores.begin_shutdown(LONG);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"request", "{distribution:?}");
        let report = cores.ended().wait().unwrap();
        assert!(report.is_clean(), "{distribution:?}: {report}");
    }
}

/// R341: connections do not wait for a core that is blocked, if they can be another's.
#[test]
fn a_core_that_is_blocked_holds_up_no_connection_of_a_shared_listener() {
    let _guard = guard!();
    for style in STYLES {
        let cores = cores(2);
        let server = style(&cores, options(Distribution::Shared));
        let hold = block(&cores, 0);
        let clients: Vec<Client> = (0..40).map(|_| Client::of(&server)).collect();
        assert!(clients.iter().all(|client| client.core == 1));
        drop(hold);
    }
}

/// R348, M5: a core ends while connections are handed to it. Those that it has not read go to the next one.
#[test]
fn a_connection_on_its_way_to_a_core_that_ends_goes_to_the_next_one() {
    let _guard = guard!();
    for end in [0, 1, 2].repeat(4) {
        let builder = Cores::builder().count(3);
        let builder = builder.when_core_ends(WhenCoreEnds::Continue);
        let fragile = |_| Runner::builder().panic_policy(PanicPolicy::Propagate);
        let builder = builder.loop_options(fragile);
        let cores = builder.on_unhandled(|_, _| {}).build().unwrap();
        let greets = |core: &Core| {
            let number = number(core);
            move |_: &LoopHandle, accepted: &Accepted| {
                // At once, so that each that has arrived is greeted even if its core ends in this turn.
                let stream = accepted.fd.as_fd().try_clone_to_owned().unwrap();
                net::TcpStream::from(stream).write_all(&[number]).unwrap();
                None::<Echo>
            }
        };
        let server = cores
            .listen(options(Distribution::RoundRobin), greets)
            .unwrap();
        // A panic leaves the messages behind it unread; a stop leaves those that come after it.
        let hold = block_and_then(&cores, 1, move || {
            if end == 0 {
                std::panic::resume_unwind(Box::new("planted"));
            }
        });
        let clients: Vec<_> = (0..30)
            .map(|_| net::TcpStream::connect(server.local_addr()).unwrap())
            .collect();
        // A third of them wait in the inbox of the core that is blocked.
        while settle_total(&server) < 30 {
            thread::yield_now();
        }
        let stopping = cores.remote_handle(1).unwrap();
        if end == 1 {
            drop(cores.spawn_on(1, || async { std::process::id() }).unwrap());
        }
        if end != 0 {
            stopping.stop().unwrap();
        }
        drop(hold);
        for mut client in clients {
            let mut greeting = Vec::new();
            client.read_to_end(&mut greeting).unwrap();
            assert_eq!(greeting.len(), 1);
        }
        let mut later = net::TcpStream::connect(server.local_addr()).unwrap();
        assert_eq!(later.read(&mut [0]).unwrap(), 1);
    }
}

fn settle_total(server: &Server) -> usize {
    server.connections().iter().map(|core| core.total).sum()
}

/// M5: what is open goes on, and the port is free, before and after the cores end.
#[test]
fn a_server_that_is_closed_keeps_its_connections_and_gives_the_port_back() {
    let _guard = guard!();
    for (distribution, style) in each_way() {
        let cores = cores(2);
        let server = style(&cores, options(distribution));
        let mut client = Client::of(&server);
        server.close();
        let addr = server.local_addr();
        // A connection that is refused proves it for one of the sockets alone, and one that is not may stay
        // without an answer: see production.md.
        while net::TcpListener::bind(addr).is_err() {
            thread::yield_now();
        }
        client.ask();
        let again = style(&cores, ListenOptions::new(addr).distribution(distribution));
        Client::of(&again).end();
        client.ask();
        drop(cores);
        drop(net::TcpListener::bind(addr).unwrap());
    }
}

/// A panic ends one connection, and is reported; a service that panics ends one core's part.
#[test]
fn a_panic_of_a_handler_ends_its_connection_and_of_a_service_its_core() {
    let _guard = guard!();
    let reports = Arc::new(Mutex::new(Vec::new()));
    let collect = |builder: CoresBuilder| {
        let reports = Arc::clone(&reports);
        builder.on_unhandled(move |core, unhandled: &Unhandled| {
            reports.lock().unwrap().push(format!("{core}: {unhandled}"));
        })
    };
    let take = || std::mem::take(&mut *reports.lock().unwrap());
    let cores = collect(Cores::builder().count(2)).build().unwrap();
    let panics =
        |_: &Core| |_stream: TcpStream, _peer| -> std::future::Ready<()> { panic!("on purpose") };
    let server = cores
        .serve(options(Distribution::RoundRobin), panics)
        .unwrap();
    let panics = |_: &Core| |_: &LoopHandle, _: &Accepted| -> Option<Echo> { panic!("on purpose") };
    let other = cores
        .listen(options(Distribution::RoundRobin), panics)
        .unwrap();
    for server in [&server, &other] {
        for _ in 0..4 {
            let mut client = net::TcpStream::connect(server.local_addr()).unwrap();
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
        }
    }
    settle(&other, 0);
    let reported = take();
    assert_eq!(reported.len(), 8, "{reported:?}");
    assert!(
        reported.iter().all(|one| one.contains("on purpose")),
        "{reported:?}"
    );
    let service = |core: &Core| {
        assert_eq!(core.index(), 0, "on purpose");
        |stream: TcpStream, _peer| async move { stream.write_all(&[0]).await.unwrap() }
    };
    let server = cores.serve(options(Distribution::Shared), service).unwrap();
    for _ in 0..10 {
        assert_eq!(Client::of(&server).core, 0);
    }
    // The other core may still be about to report that its service panicked.
    while reports.lock().unwrap().is_empty() {
        thread::yield_now();
    }
    assert_eq!(take().len(), 1);
}

/// Each way to distribute connections serves IPv6 as well, if the machine has it.
#[test]
fn a_server_on_an_address_of_ipv6_serves_on_it() {
    let _guard = guard!();
    let any = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0));
    if net::TcpListener::bind(any).is_err() {
        return;
    }
    for (distribution, style) in each_way() {
        let cores = cores(2);
        let listen = ListenOptions::new(any).distribution(distribution);
        let server = style(&cores, listen);
        assert!(server.local_addr().is_ipv6());
        let mut client = Client::of(&server);
        client.ask();
        client.end();
        assert!(cores.shutdown(LONG).wait().unwrap().is_clean());
    }
}

/// R352, M5: a core on which the server could not be made is offered connections, and the next one gets them.
#[test]
fn a_connection_for_a_core_that_has_no_server_goes_to_the_next_one() {
    let _guard = guard!();
    for distribution in [Distribution::RoundRobin, Distribution::LeastConnections] {
        let builder = Cores::builder().count(3).on_unhandled(|_, _| {});
        let cores = builder.build().unwrap();
        let service = |core: &Core| {
            let number = number(core);
            assert_ne!(number, 1, "on purpose");
            move |stream: TcpStream, _peer| async move {
                drop(greet_and_echo(stream, number, CancellationToken::new()).await);
            }
        };
        let server = cores.serve(options(distribution), service).unwrap();
        let clients: Vec<Client> = (0..12).map(|_| Client::of(&server)).collect();
        assert!(clients.iter().all(|client| client.core != 1));
        let counts = settle(&server, 12);
        assert_eq!((counts[1].total, counts[1].open), (0, 0), "{counts:?}");
        clients.into_iter().for_each(Client::end);
    }
}

/// What is refused comes back, and nothing stays open.
#[test]
fn a_server_that_cannot_listen_gives_everything_back() {
    let _guard = guard!();
    let cores = cores(2);
    let service = |_: &Core| |_stream: TcpStream, _peer: SocketAddr| async {};
    let refused =
        |options: ListenOptions| -> ServeError<_> { cores.serve(options, service).unwrap_err() };
    let taken = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    for distribution in ALL {
        let error = refused(ListenOptions::new(addr).distribution(distribution));
        let ListenError::Io(reason) = &error.reason else {
            panic!("{error}");
        };
        assert_eq!(reason.kind(), ErrorKind::AddrInUse, "{distribution:?}");
    }
    let error = refused(options(Distribution::RoundRobin).acceptor(2));
    assert_eq!(
        error.to_string(),
        "there is no core 2 to accept: the group has 2, from 0"
    );
    // It can be used again.
    drop(
        cores
            .serve(error.listen.acceptor(1), error.service)
            .unwrap(),
    );
    let listener = taken.try_clone().unwrap();
    let per_core = ListenOptions::from_listener(listener).distribution(Distribution::PerCore);
    assert!(matches!(
        refused(per_core).reason,
        ListenError::PerCoreListener
    ));
    let client = net::TcpStream::connect(addr).unwrap();
    let connection = net::TcpListener::from(OwnedFd::from(client));
    let error = refused(ListenOptions::from_listener(connection));
    assert!(matches!(error.reason, ListenError::NotListening), "{error}");
    // A socket that is open already is served.
    drop(taken.accept().unwrap());
    let server = by_tasks(&cores, ListenOptions::from_listener(taken));
    assert_eq!(server.local_addr(), addr);
    Client::of(&server).end();
    assert!(cores.shutdown(LONG).wait().unwrap().is_clean());
    let error = refused(ListenOptions::new(addr));
    assert!(matches!(error.reason, ListenError::Ended), "{error}");
}

/// Descriptors and threads are as before, whatever happened to the server.
#[test]
fn servers_leave_no_descriptor_behind() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let round = |distribution, style: Style, how| {
        let cores = cores(2);
        let server = style(&cores, options(distribution));
        let client = Client::of(&server);
        match how {
            0 => drop(cores),
            1 => {
                server.close();
                client.end();
                drop(cores.shutdown(LONG).wait());
            }
            _ => drop(strict_run(cores.shutdown(Duration::ZERO)).unwrap()),
        }
    };
    round(Distribution::Shared, by_tasks, 0);
    let before = open();
    for (distribution, style) in each_way() {
        for how in 0..3 {
            round(distribution, style, how);
            assert_eq!(open(), before, "{distribution:?} {how}");
        }
    }
}
