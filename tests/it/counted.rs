//! Each operation that can complete at once, again and again, counts against the budget of its task (F1).
//!
//! One row for each: a task awaits it in a loop, and no poll of that task completes more than a budget of them. What is
//! served from memory is in the table, what fails at once, what has ended already, and what transfers nothing.
//!
//! asyncio has no budget. In the notes: a coroutine must give way (N10, N12).
//!
//! Invariants: F1.

use crate::support::{guard, strict_run};
use readily::blocking::QueuedJobs;
use readily::cores::Cores;
use readily::io::{
    Async, BufReader, BufWriter, LengthPrefix, PollRead, PollWrite, TcpSocket, TcpStream,
    UdpSocket, UnixDatagram, UnixStream, copy, copy_bidirectional, duplex, lookup_addr,
    lookup_host, pipe, stderr, stdin, stdout,
};
use readily::process::{Child, Command};
use readily::process_pool::{self, JobTable, ProcessPool, Shutdown};
use readily::sync::{broadcast, channel, oneshot, watch};
use readily::task::{BUDGET, create_future};
use readily::time::sleep_until_system;
use readily::transport::{Protocol, Server, Transport};
use readily::{CancellationToken, Event, ThreadPool, WeakHandle, jobs, run_blocking, sleep, spawn};
use readily_testing::SimLoop;
use std::cell::Cell;
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net as unix;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

const NO_TIME: Duration = Duration::ZERO;
const MS: Duration = Duration::from_millis(1);
/// How often a row is awaited.
const TIMES: u32 = 10 * BUDGET;

/// How many operations of a row have completed: in all, in this poll, and in the poll with the most.
#[derive(Clone, Default)]
struct Count(Rc<[Cell<u32>; 3]>);

impl Count {
    /// `false` at the end, and after a poll that has completed too many.
    fn goes_on(&self) -> bool {
        let [all, _, most] = &*self.0;
        all.get() < TIMES && most.get() <= BUDGET
    }

    fn add(&self) {
        let [all, now, most] = &*self.0;
        all.set(all.get() + 1);
        now.set(now.get() + 1);
        most.set(most.get().max(now.get()));
    }
}

type Row = (&'static str, fn(Count) -> Pin<Box<dyn Future<Output = ()>>>);

/// Each row is awaited in a task of its own, on the loop that runs here. Returns the names of those that do not give
/// way.
async fn greedy(rows: &[Row]) -> Vec<&'static str> {
    let mut greedy = Vec::new();
    for (name, row) in rows {
        println!("{name}");
        let count = Count::default();
        let mut looping = row(count.clone());
        let counts = count.clone();
        let task = spawn(poll_fn(move |cx| {
            counts.0[1].set(0);
            looping.as_mut().poll(cx)
        }));
        task.await.unwrap();
        let [all, _, most] = &*count.0;
        if most.get() > BUDGET {
            greedy.push(*name);
        } else {
            assert_eq!(all.get(), TIMES, "{name}");
        }
    }
    greedy
}

macro_rules! rows {
    ($($name:literal: $given:pat = $all:expr => $operation:expr;)+) => {
        [$((
            $name,
            |count| Box::pin(async move {
                #[allow(unused_mut)]
                let $given = $all;
                while count.goes_on() {
                    let _ = $operation.await;
                    count.add();
                }
            }),
        )),+]
    };
}

/// Always ready, and counts nothing: as many zero bytes as there is room for.
struct Zeros;

impl PollRead for Zeros {
    fn poll_read(&mut self, _cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        buffer.fill(0);
        Poll::Ready(Ok(buffer.len()))
    }
}

/// Always ready, and counts nothing: it is at its end, and takes all bytes.
struct Null;

impl PollRead for Null {
    fn poll_read(&mut self, _cx: &mut Context<'_>, _buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(0))
    }
}

impl PollWrite for Null {
    fn poll_write(&mut self, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Many lines.
struct Lines;

impl PollRead for Lines {
    fn poll_read(&mut self, _cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        buffer.fill(b'\n');
        Poll::Ready(Ok(buffer.len()))
    }
}

async fn poll_read(reader: &mut impl PollRead, buffer: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| reader.poll_read(cx, buffer)).await
}

async fn poll_ready(reader: &mut impl PollRead) -> io::Result<()> {
    poll_fn(|cx| reader.poll_read_ready(cx)).await
}

async fn poll_write(writer: &mut impl PollWrite, bytes: &[u8]) -> io::Result<usize> {
    poll_fn(|cx| writer.poll_write(cx, bytes)).await
}

async fn take_one(reader: &mut BufReader<Zeros>) {
    assert!(!reader.fill_buf().await.unwrap().is_empty());
    reader.consume(1);
}

fn ended() -> BufReader<Null> {
    BufReader::new(Null)
}

fn zeros() -> BufReader<Zeros> {
    BufReader::new(Zeros)
}

fn sink() -> BufWriter<Null> {
    BufWriter::new(Null)
}

/// What is on top of a stream, whatever that is.
const BUFFERED: &[Row] = &rows! {
    "fill_buf": mut reader = zeros() => take_one(&mut reader);
    "fill_buf, end": mut reader = ended() => reader.fill_buf();
    "read_until": mut reader = BufReader::new(Lines) => reader.read_until(b"\n");
    "read_until, end": mut reader = ended() => reader.read_until(b"\n");
    "read_until_any": mut reader = BufReader::new(Lines) => reader.read_until_any(&[b"\n"]);
    "read_line": mut reader = BufReader::new(Lines) => reader.read_line();
    "read_line, end": mut reader = ended() => reader.read_line();
    "read_line, not UTF-8": mut reader = BufReader::new(&b"\xff\n"[..]) => reader.read_line();
    "read_line, too long": mut reader = BufReader::with_limit(Zeros, 8) => reader.read_line();
    "read_exactly": mut reader = zeros() => reader.read_exactly(1);
    "read_exactly, nothing": mut reader = zeros() => reader.read_exactly(0);
    "read_exactly, too long": mut reader = zeros() => reader.read_exactly(usize::MAX);
    "read_frame": mut reader = zeros() => reader.read_frame(LengthPrefix::U8);
    "read_frame, end": mut reader = ended() => reader.read_frame(LengthPrefix::U8);
    "read": mut reader = zeros() => reader.read(&mut [0]);
    "read, large": mut reader = (zeros(), vec![0; 1 << 14]) => reader.0.read(&mut reader.1);
    "read, nothing": mut reader = zeros() => reader.read(&mut []);
    "read_to_end, end": mut reader = ended() => reader.read_to_end(&mut Vec::new(), 0);
    "read_to_end, too long": mut reader = zeros() => reader.read_to_end(&mut Vec::new(), 0);
    "poll_read": mut reader = zeros() => poll_read(&mut reader, &mut [0]);
    "poll_read_ready": mut reader = zeros() => poll_ready(&mut reader);
    "BufWriter::write_all": mut writer = sink() => writer.write_all(b"x");
    "BufWriter::write_all, nothing": mut writer = sink() => writer.write_all(b"");
    "drain": mut writer = sink() => writer.drain();
    "flush": mut writer = sink() => writer.flush();
    "shutdown": mut writer = sink() => writer.shutdown();
    "write_frame": mut writer = sink() => writer.write_frame(LengthPrefix::U8, b"");
    "write_frame, too long": mut writer = sink() => writer.write_frame(LengthPrefix::U8, &[0; 256]);
    "BufWriter::poll_write": mut writer = sink() => poll_write(&mut writer, b"x");
    "copy": _ = () => copy(Null, Null);
    "copy_bidirectional": _ = () => copy_bidirectional(Null, Null);
    "duplex, read nothing": (mut one, _other) = duplex(1) => one.read(&mut []);
    "duplex, read the end": mut one = duplex(1).0 => one.read(&mut [0]);
    "duplex, write nothing": (mut one, _other) = duplex(1) => one.write_all(b"");
    "duplex, write to no one": mut one = duplex(1).0 => one.write_all(b"x");
    "duplex, poll_read_ready": mut one = duplex(1).0 => poll_ready(&mut one);
};

async fn ended_child() -> Child {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().await.unwrap();
    child
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, _transport: &Transport, _bytes: &[u8]) {}
}

async fn ended_server() -> Server {
    let listener = readily::event_loop::listen_tcp(([127, 0, 0, 1], 0)).unwrap();
    let handle = WeakHandle::current().unwrap();
    let server = handle.with(|handle| handle.create_server(listener, |_, _| Some(Echo)).unwrap());
    let server = server.unwrap();
    server.abort();
    server.wait_closed().await;
    server
}

async fn ended_pool() -> ThreadPool {
    let pool = ThreadPool::new();
    pool.close(QueuedJobs::Cancel);
    while pool.shutdown(QueuedJobs::Cancel, MS).await.is_err() {}
    pool
}

fn closed_event() -> Event {
    let event = Event::new();
    event.set();
    event
}

fn no_sender() -> oneshot::Receiver<()> {
    oneshot::channel().1
}

fn no_promise() -> readily::task::Future<()> {
    create_future().1
}

fn cancelled() -> CancellationToken {
    let token = CancellationToken::new();
    token.cancel();
    token
}

/// On the kernel in memory and on the system's.
const EVERYWHERE: &[Row] = &rows! {
    "stream, read nothing": (one, _other) = UnixStream::pair().unwrap() => one.read(&mut []);
    "stream, read the end": (one, _) = UnixStream::pair().unwrap() => one.read(&mut [0]);
    "stream, read_exact nothing": (one, _other) = UnixStream::pair().unwrap() => one.read_exact(&mut []);
    "stream, read_vectored nothing": (one, _other) = UnixStream::pair().unwrap() => one.read_vectored(&mut []);
    "stream, peek nothing": (one, _other) = UnixStream::pair().unwrap() => one.peek(&mut []);
    "stream, write nothing": (one, _other) = UnixStream::pair().unwrap() => one.write(b"");
    "stream, write_all nothing": (one, _other) = UnixStream::pair().unwrap() => one.write_all(b"");
    "stream, write_vectored nothing": (one, _other) = UnixStream::pair().unwrap() => one.write_vectored(&[]);
    "stream, writable": (one, _other) = UnixStream::pair().unwrap() => one.writable();
    "stream, write to no one": (one, _) = UnixStream::pair().unwrap() => one.write(b"x");
    "stream, send no bytes": (one, _other) = UnixStream::pair().unwrap() => one.send_with_fds(b"", &[]);
    "stream, receive no bytes": (one, _other) = UnixStream::pair().unwrap() => one.recv_with_fds(&mut [], 1);
    "lookup_host, address": _ = () => lookup_host("127.0.0.1:80");
    "lookup_host, malformed": _ = () => lookup_host("nothing");
    "connect, malformed": _ = () => TcpStream::connect("nothing");
    "connect, no address": _ = () => TcpStream::connect(&[] as &[SocketAddr]);
    "connect, no such path": _ = () => UnixStream::connect("/no/such/path");
    "connect, empty path": _ = () => UnixStream::connect("");
    "status, no such program": _ = () => async { Command::new("/no/such/program").status().await };
    "output, bad name": _ = () => async { Command::new("a\0").output().await };
    "communicate, no such program": _ = () => async {
        Command::new("/no/such/program").communicate(b"x").await
    };
    "run_blocking, refused": pool = ended_pool().await => pool.run_blocking(|| ());
    "submit, refused": pool = ended_pool().await => pool.submit(|| ());
    "ThreadPool::shutdown": pool = ended_pool().await => pool.shutdown(QueuedJobs::Run, NO_TIME);
    "watch, closed": mut receiver = watch::channel(()).1 => receiver.changed();
    "broadcast, closed": mut receiver = broadcast::channel::<()>(1).1 => receiver.recv();
    "channel, closed": mut receiver = channel::bounded::<()>(1).1 => receiver.recv();
    "oneshot, closed": sender = oneshot::channel::<()>().0 => sender.closed();
    "oneshot": _ = () => no_sender();
    "event": event = closed_event() => event.wait();
    "event, owned": event = closed_event() => event.wait_owned();
    "token": token = cancelled() => token.cancelled();
    "future": _ = () => no_promise();
    "sleep_until_system": _ = () => sleep_until_system(SystemTime::UNIX_EPOCH);
    "sleep": _ = () => sleep(NO_TIME);
    "interval": mut ticks = readily::interval(Duration::from_nanos(1)) => ticks.tick();
};

fn job((): ()) {}

const JOBS: JobTable = jobs![job];

async fn ended_process_pool() -> ProcessPool {
    let pool = ProcessPool::builder(JOBS).workers(1).build().unwrap();
    pool.shutdown(Shutdown::Drain).await;
    pool
}

/// On the kernel in memory alone.
const IN_MEMORY: &[Row] = &rows! {
    "lookup_host, name": _ = () => lookup_host("localhost:80");
    "lookup_host, no such name": _ = () => lookup_host("no.such.name:80");
    "lookup_addr": _ = () => lookup_addr(Ipv4Addr::LOCALHOST);
    "connect, refused": _ = () => TcpStream::connect(([127, 0, 0, 1], 1));
    "ProcessPool::shutdown": pool = ended_process_pool().await => pool.shutdown(Shutdown::Drain);
    "ProcessPool::submit": pool = ended_process_pool().await => pool.submit(job, ());
    "Map::next": pool = ended_process_pool().await => pool.map(job, Vec::<()>::new()).next();
    "Map::collect": pool = ended_process_pool().await => pool.map(job, Vec::<()>::new()).collect::<Vec<()>>();
};

fn udp() -> UdpSocket {
    UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
}

fn unix_datagram() -> (UnixDatagram, unix::SocketAddr) {
    let to = unix::SocketAddr::from_pathname("/no/such/path").unwrap();
    (UnixDatagram::unbound().unwrap(), to)
}

fn zero_file() -> Async<File> {
    Async::new(File::open("/dev/zero").unwrap()).unwrap()
}

/// On the system's kernel alone.
const ON_THE_SYSTEM: &[Row] = &rows! {
    "file, read": file = zero_file() => file.read(&mut [0]);
    "file, read nothing": file = zero_file() => file.read(&mut []);
    "file, write nothing": file = zero_file() => file.write(b"");
    "file, write_all nothing": file = zero_file() => file.write_all(b"");
    "pipe, read nothing": (reader, _writer) = pipe().unwrap() => reader.read(&mut []);
    "pipe, read_exact nothing": (reader, _writer) = pipe().unwrap() => reader.read_exact(&mut []);
    "pipe, write nothing": (_reader, writer) = pipe().unwrap() => writer.write(b"");
    "pipe, write_all nothing": (_reader, writer) = pipe().unwrap() => writer.write_all(b"");
    "stdin, read nothing": input = stdin().unwrap() => input.read(&mut []);
    "stdout, write nothing": output = stdout().unwrap() => output.write(b"");
    "stdout, write_all nothing": output = stdout().unwrap() => output.write_all(b"");
    "stderr, write_all nothing": output = stderr().unwrap() => output.write_all(b"");
    "file, readable": file = zero_file() => file.readable();
    "udp, send without a peer": udp = udp() => udp.send(b"x");
    "udp, send nothing": udp = udp() => udp.send_batch(&[]);
    "connect, bad address": _ = () => TcpSocket::new_v4().unwrap().connect(([255, 255, 255, 255], 1));
    "Child::wait": mut child = ended_child().await => child.wait();
    "Child::communicate": mut child = ended_child().await => child.communicate(b"");
    "pipe, read the end": (reader, _) = pipe().unwrap() => reader.read(&mut [0]);
    "pipe, read_to_end": (reader, _) = pipe().unwrap() => reader.read_to_end(&mut Vec::new(), 1);
    "pipe, write to no one": (_, writer) = pipe().unwrap() => writer.write(b"x");
    "pipe, closed": (_, writer) = pipe().unwrap() => writer.closed();
    "unix datagram, no such path": (one, to) = unix_datagram() => one.send_to(b"x", &to);
    "wait_closed": server = ended_server().await => server.wait_closed();
    "Cores::shutdown": cores = Cores::builder().count(1).build().unwrap() => cores.shutdown(MS);
    "run_blocking": _ = () => run_blocking(|| ());
};

/// F1.
#[test]
fn what_is_on_top_of_a_stream_counts_each_operation() {
    let mut sim = SimLoop::new(1);
    let greedy = sim.run(greedy(BUFFERED)).unwrap();
    assert_eq!(greedy, [""; 0]);
}

/// F1.
#[test]
fn in_memory_each_operation_counts_that_completes_at_once() {
    let _guard = guard!();
    process_pool::init(JOBS); // in this process alone
    let mut sim = SimLoop::new(1);
    let both = sim.run(async {
        let mut all = greedy(EVERYWHERE).await;
        all.extend(greedy(IN_MEMORY).await);
        all
    });
    assert_eq!(both.unwrap(), [""; 0]);
}

/// F1.
#[test]
fn on_the_system_each_operation_counts_that_completes_at_once() {
    let _guard = guard!();
    let both = strict_run(async {
        let mut all = greedy(EVERYWHERE).await;
        all.extend(greedy(ON_THE_SYSTEM).await);
        all
    });
    assert_eq!(both.unwrap(), [""; 0]);
}
