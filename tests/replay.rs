//! Record and replay: a replay makes the same calls in the same order with the same bytes, and the
//! first operation of a program that differs from the recording is reported.

use readily::event_loop::listen_tcp;
use readily::io::{Async, TcpListener, TcpStream};
use readily::time::sleep_until_system;
use readily::{
    Closures, Error, EventLoop, Interest, PanicPolicy, RemoteHandle, Runner, WeakHandle,
    run_blocking, sleep, spawn,
};
use readily_testing::{Recorder, ReplayError, Replayer};
use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

/// A loop that is recorded. Panics propagate: an assertion that fails in a callback fails the test.
fn record(sink: impl Write + 'static) -> Result<(EventLoop, Recorder), Error> {
    let (event_loop, recorder) = readily_testing::record(sink)?;
    event_loop.set_panic_policy(PanicPolicy::Propagate);
    Ok((event_loop, recorder))
}

fn replay(recording: impl Into<Vec<u8>>) -> Result<(EventLoop, Replayer), Error> {
    let (event_loop, replayer) = readily_testing::replay(recording)?;
    event_loop.set_panic_policy(PanicPolicy::Propagate);
    Ok((event_loop, replayer))
}

/// A recording in memory.
#[derive(Clone, Default)]
struct Memory(Rc<RefCell<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The bytes that a program has read, in order.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<String>>);

impl Log {
    fn note(&self, what: std::fmt::Arguments<'_>) {
        writeln!(self.0.borrow_mut(), "{what}").unwrap();
    }
}

const CLIENTS: usize = 6;
const MESSAGES: usize = 30;

/// A client that sends messages, and reads the echo of each.
fn client(nth: usize, addr: SocketAddr) {
    let mut stream = net::TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    for n in 0..MESSAGES {
        let message = vec![n as u8; 1 + (nth * 977 + n * 131) % 3000];
        stream.write_all(&message).unwrap();
        let mut back = vec![0; message.len()];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(back, message);
    }
}

async fn echo(stream: TcpStream, nth: usize, log: Log) {
    let mut buffer = [0; 1024];
    loop {
        let n = stream.read(&mut buffer).await.unwrap();
        log.note(format_args!("coroutine {nth}: {:?}", &buffer[..n.min(9)]));
        if n == 0 {
            return;
        }
        stream.write_all(&buffer[..n]).await.unwrap();
    }
}

/// An echo server of callbacks; `left` is the number of connections that have not ended.
fn echo_by_callbacks(event_loop: &EventLoop, log: &Log, left: &Rc<Cell<usize>>) -> SocketAddr {
    // Made without the loop, so the recorder imports it.
    let listener = listen_tcp(([127, 0, 0, 1], 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let (log, left) = (log.clone(), Rc::clone(left));
    let accept = move |_: &readily::Cx<'_>, _: &readily::event_loop::Accepted| {
        let (log, left, mut pending) = (log.clone(), Rc::clone(&left), Vec::new());
        let end = Rc::clone(&left);
        let ended = move |cx: &readily::Cx<'_>| {
            cx.close();
            end.set(end.get() - 1);
        };
        Some(Closures::new().on_read(move |cx| {
            let mut buffer = [0; 512];
            match cx.read(&mut buffer) {
                Ok(0) => ended(cx),
                Ok(n) => {
                    log.note(format_args!("callback: {:?}", &buffer[..n.min(9)]));
                    pending.extend_from_slice(&buffer[..n]);
                    while !pending.is_empty() {
                        match cx.write(&pending) {
                            Ok(n) => drop(pending.drain(..n)),
                            // A client never has more bytes in flight than a socket buffer holds.
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }))
    };
    event_loop.listen(listener, accept).unwrap();
    addr
}

/// A thread of the program: sends closures and wakes a task, at any time.
fn helper(
    remote: RemoteHandle,
    wakers: std::sync::mpsc::Receiver<std::task::Waker>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let waker = wakers.recv().unwrap();
        for n in 0..50 {
            waker.wake_by_ref();
            if n % 5 == 0 {
                remote.wake();
                std::thread::yield_now();
            }
            let sent = remote.call_soon(move |_| SENT.with_borrow_mut(|sent| sent.push(n)));
            sent.unwrap();
        }
    })
}

thread_local! {
    static SENT: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// The program: two echo servers, a timer, and a thread. `load` gets the addresses of the servers.
fn program(event_loop: EventLoop, load: impl FnOnce(&[SocketAddr])) -> (String, Vec<u32>) {
    let (log, left) = (Log::default(), Rc::new(Cell::new(CLIENTS)));
    let by_callbacks = echo_by_callbacks(&event_loop, &log, &left);
    let remote = event_loop.remote_handle();
    let (wakers, to_helper) = std::sync::mpsc::channel();
    let helper = helper(remote, to_helper);
    let mut runner = Runner::from(event_loop);
    let note = log.clone();
    runner
        .run(async move {
            let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
            load(&[by_callbacks, listener.local_addr().unwrap()]);
            let mut polls = 0;
            let woken = spawn(poll_fn(move |cx| {
                polls += 1;
                if polls == 1 {
                    wakers.send(cx.waker().clone()).unwrap();
                }
                match polls {
                    ..20 => Poll::Pending,
                    _ => Poll::Ready(()),
                }
            }));
            let mut tasks = Vec::new();
            for nth in 0..CLIENTS {
                let (stream, peer) = listener.accept().await.unwrap();
                assert_eq!(stream.peer_addr().unwrap(), peer);
                tasks.push(spawn(echo(stream, nth, note.clone())));
                sleep(Duration::from_micros(300)).await;
                note.note(format_args!("slept"));
            }
            for task in tasks {
                task.await.unwrap();
            }
            woken.await.unwrap();
            while left.get() > 0 || SENT.with_borrow(Vec::len) < 50 {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .unwrap();
    helper.join().unwrap();
    drop(runner);
    (log.0.take(), SENT.take())
}

/// Records the program while clients connect to its servers.
fn recorded() -> (Vec<u8>, (String, Vec<u32>)) {
    let recording = Memory::default();
    let (event_loop, recorder) = record(recording.clone()).unwrap();
    let clients: Rc<RefCell<Vec<JoinHandle<()>>>> = Rc::default();
    let started = Rc::clone(&clients);
    let outcome = program(event_loop, move |addrs| {
        for (nth, &addr) in (0..CLIENTS).flat_map(|nth| addrs.iter().map(move |addr| (nth, addr))) {
            let client = std::thread::spawn(move || client(nth, addr));
            started.borrow_mut().push(client);
        }
    });
    clients
        .take()
        .into_iter()
        .for_each(|client| client.join().unwrap());
    recorder.finish().unwrap();
    (recording.0.take(), outcome)
}

fn replayed(recording: &[u8]) -> ((String, Vec<u32>), String, Result<(), ReplayError>) {
    let (event_loop, replayer) = replay(recording).unwrap();
    let outcome = program(event_loop, |_| ());
    (outcome, replayer.trace(), replayer.finish())
}

/// W4: a replay has no clients, and no time passes in it.
#[test]
fn an_echo_server_under_load_is_replayed_twice_with_the_same_calls_and_bytes() {
    let (recording, outcome) = recorded();
    assert_eq!(outcome.1, (0..50).collect::<Vec<_>>());
    let (first, trace, finished) = replayed(&recording);
    assert_eq!(finished, Ok(()));
    assert_eq!(first, outcome);
    let (second, again, finished) = replayed(&recording);
    assert_eq!(finished, Ok(()));
    assert_eq!((second, again), (first, trace.clone()));
    for what in ["connect", "read", "default", "timer", "job", "call", "main"] {
        assert!(trace.contains(what), "no {what} in the trace");
    }
}

/// A program for short recordings: reads all bytes from one descriptor that it registers.
fn reads(event_loop: EventLoop, other: bool) -> io::Result<Vec<u8>> {
    let (here, mut there) = UnixStream::pair()?;
    there.write_all(b"hello")?;
    there.shutdown(Shutdown::Write)?;
    let read: Rc<RefCell<io::Result<Vec<u8>>>> = Rc::new(RefCell::new(Ok(Vec::new())));
    let into = Rc::clone(&read);
    let mut event_loop = event_loop;
    let callbacks = Closures::new().on_read(move |cx| {
        let mut buffer = [0; 3];
        let room = if other { 2 } else { 3 };
        let done = cx.read(&mut buffer[..room]);
        let mut read = into.borrow_mut();
        match (&mut *read, done) {
            (Ok(_), Ok(0)) => cx.close(),
            (Ok(all), Ok(n)) => all.extend_from_slice(&buffer[..n]),
            (read, Err(error)) => {
                *read = Err(error);
                cx.close();
            }
            _ => cx.close(),
        }
    });
    let registered = event_loop.register(here, Interest::READ, callbacks);
    registered.map_err(|refused| io::Error::other(refused.error))?;
    event_loop.run().map_err(io::Error::other)?;
    read.replace(Ok(Vec::new()))
}

fn short_recording() -> Vec<u8> {
    let recording = Memory::default();
    let (event_loop, recorder) = record(recording.clone()).unwrap();
    assert_eq!(reads(event_loop, false).unwrap(), b"hello");
    recorder.finish().unwrap();
    recording.0.take()
}

fn replay_short(recording: Vec<u8>, other: bool) -> (io::Result<Vec<u8>>, Replayer) {
    let (event_loop, replayer) = replay(recording).unwrap();
    (reads(event_loop, other), replayer)
}

/// C7: the times of the system clock are recorded too, to the nanosecond.
#[test]
fn the_times_of_the_system_clock_are_replayed() {
    let program = |event_loop: EventLoop| {
        let mut runner = Runner::from(event_loop);
        let ended = runner.run(async {
            let now = || {
                WeakHandle::current()
                    .unwrap()
                    .with(|handle| handle.system_now())
            };
            let begin = now().unwrap();
            sleep_until_system(begin + Duration::from_millis(3)).await;
            (begin, now().unwrap())
        });
        ended.unwrap()
    };
    let file = Memory::default();
    let (event_loop, recorder) = record(file.clone()).unwrap();
    let (begin, end) = program(event_loop);
    recorder.finish().unwrap();
    assert!(end >= begin + Duration::from_millis(3));
    let (event_loop, replayer) = replay(file.0.take()).unwrap();
    assert_eq!(program(event_loop), (begin, end));
    replayer.finish().unwrap();
}

#[test]
fn the_first_operation_that_differs_is_reported() {
    let recording = short_recording();
    let (read, replayer) = replay_short(recording.clone(), false);
    assert_eq!(read.unwrap(), b"hello");
    assert_eq!(replayer.finish(), Ok(()));
    let (read, replayer) = replay_short(recording, true);
    let reported = read.unwrap_err().to_string();
    let error = replayer.finish().unwrap_err();
    assert!(matches!(error, ReplayError::Other { .. }), "{error}");
    assert_eq!(reported, error.to_string());
}

#[test]
fn a_program_that_ends_early_is_reported() {
    let (event_loop, replayer) = replay(short_recording()).unwrap();
    drop(event_loop);
    assert!(matches!(
        replayer.finish(),
        Err(ReplayError::EndsEarly { .. })
    ));
}

/// A truncated recording is an error at every length. One with a changed bit may replay, if the bit
/// is in a last chunk without a checksum, but it must not panic.
#[test]
fn a_truncated_or_corrupt_recording_is_an_error_and_not_a_panic() {
    let recording = short_recording();
    let whole = recording.len();
    for len in 0..whole {
        let Ok((event_loop, replayer)) = replay(&recording[..len]) else {
            continue; // truncated in the header or in the first entry
        };
        drop(reads(event_loop, false));
        assert!(replayer.finish().is_err(), "{len} of {whole} bytes");
    }
    for at in 0..whole - 1 {
        for bit in 0..8 {
            let mut corrupt = recording.clone();
            corrupt[at] ^= 1 << bit;
            // Truncated, so that no checksum keeps the chunk from being replayed.
            corrupt.pop();
            let Ok((event_loop, replayer)) = replay(corrupt) else {
                continue;
            };
            let read = reads(event_loop, false);
            let _ = (read, replayer.finish());
        }
    }
}

/// The bytes that were read may be any bytes, so only a checksum finds a changed one.
#[test]
fn a_recording_with_one_changed_bit_is_never_replayed() {
    let recording = short_recording();
    for at in 0..recording.len() {
        for bit in 0..8 {
            let mut corrupt = recording.clone();
            corrupt[at] ^= 1 << bit;
            let whole = match replay(corrupt) {
                Err(_) => false,
                Ok((event_loop, replayer)) => {
                    drop(reads(event_loop, false));
                    replayer.finish().is_ok()
                }
            };
            assert!(!whole, "bit {bit} of byte {at}");
        }
    }
}

/// A program that writes: the recorded count of bytes may be any number.
fn writes(event_loop: EventLoop) -> io::Result<()> {
    let listener = net::TcpListener::bind(("127.0.0.1", 0))?;
    let here = net::TcpStream::connect(listener.local_addr()?)?;
    let mut runner = Runner::from(event_loop);
    let written = runner.run(async {
        let stream = TcpStream::from_std(here)?;
        stream.write_all(b"hello").await?;
        stream.write_all(b"and more").await
    });
    written.map_err(io::Error::other)?
}

#[test]
fn a_count_of_bytes_that_were_not_offered_is_reported_as_corrupt() {
    let recording = Memory::default();
    let (event_loop, recorder) = record(recording.clone()).unwrap();
    writes(event_loop).unwrap();
    recorder.finish().unwrap();
    let recording = recording.0.take();
    for at in 0..recording.len() - 1 {
        for bit in 0..8 {
            let mut corrupt = recording.clone();
            corrupt[at] ^= 1 << bit;
            // Truncated, so that no checksum keeps the chunk from being replayed.
            corrupt.pop();
            if let Ok((event_loop, replayer)) = replay(corrupt) {
                let _ = (writes(event_loop), replayer.finish());
            }
        }
    }
}

/// A foreign type reads without the loop, so its bytes are not recorded, and a replay would lack them.
#[test]
fn a_source_around_a_foreign_type_is_refused_by_a_recorder() {
    let (event_loop, _recorder) = record(io::sink()).unwrap();
    let _here = event_loop.enter();
    let (here, _there) = UnixStream::pair().unwrap();
    let refused = Async::new(here).unwrap_err();
    let inner = refused.get_ref().and_then(|e| e.downcast_ref::<Error>());
    assert!(
        matches!(inner, Some(Error::BadDescriptor { .. })),
        "{refused}"
    );
}

/// An error of the sink does not disturb the loop, and is returned by `finish`.
#[test]
fn a_full_disk_is_reported_by_finish() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (event_loop, recorder): (_, Recorder) = record(Full).unwrap();
    assert_eq!(reads(event_loop, false).unwrap(), b"hello");
    let error = recorder.finish().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

/// A message of the recording that no thread sends in the replay ends the replay.
#[test]
fn a_message_that_no_thread_sends_in_the_replay_is_reported() {
    let program = |event_loop: &mut EventLoop, sends: bool| {
        let remote = event_loop.remote_handle();
        let sender = std::thread::spawn(move || {
            if sends {
                remote.call_soon(|handle| handle.stop()).unwrap();
            }
            remote // kept: dropping the last one would notify the loop
        });
        let _remote = sender.join().unwrap();
        event_loop.run().map(drop)
    };
    let recording = Memory::default();
    let (mut event_loop, recorder) = record(recording.clone()).unwrap();
    program(&mut event_loop, true).unwrap();
    drop(event_loop);
    recorder.finish().unwrap();
    let (mut event_loop, replayer) = replay(recording.0.take()).unwrap();
    replayer.set_real_timeout(Duration::from_millis(10));
    let error = program(&mut event_loop, false).unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error}");
    assert!(matches!(
        replayer.finish(),
        Err(ReplayError::NothingSent { .. })
    ));
}

/// W4: messages that are sent in another order in the replay are received in the recorded order.
#[test]
fn what_threads_send_is_taken_in_the_order_of_the_recording() {
    let program = |event_loop: &mut EventLoop, first_is_first: bool| {
        SENT.take();
        let remote = event_loop.remote_handle();
        let one = |remote: &RemoteHandle| remote.call_soon(|_| SENT.with_borrow_mut(|s| s.push(1)));
        let two = |remote: &RemoteHandle| remote.call_soon(|_| SENT.with_borrow_mut(|s| s.push(2)));
        std::thread::spawn(move || {
            if first_is_first {
                one(&remote).unwrap();
            }
            two(&remote).unwrap();
            if !first_is_first {
                one(&remote).unwrap();
            }
            remote.stop().unwrap();
        })
        .join()
        .unwrap();
        event_loop.run().unwrap();
        SENT.take()
    };
    let recording = Memory::default();
    let (mut event_loop, recorder) = record(recording.clone()).unwrap();
    assert_eq!(program(&mut event_loop, true), [1, 2]);
    drop(event_loop);
    recorder.finish().unwrap();
    let (mut event_loop, replayer) = replay(recording.0.take()).unwrap();
    assert_eq!(program(&mut event_loop, false), [1, 2]);
    assert_eq!(replayer.finish(), Ok(()));
}

/// W4: a wake of a task that is queued in the replay, and was not queued in the recording, counts.
#[test]
fn each_wake_of_a_thread_counts_while_recording() {
    let program = |event_loop: EventLoop, in_step: bool| {
        let (wakers, woken) = std::sync::mpsc::channel::<std::task::Waker>();
        let thread = std::thread::spawn(move || match in_step {
            true => woken.into_iter().for_each(|waker| waker.wake()),
            false => {
                let waker = woken.recv().unwrap();
                (0..3).for_each(|_| waker.wake_by_ref());
            }
        });
        let mut polls = 0;
        let done = Runner::from(event_loop).run(poll_fn(move |cx| {
            polls += 1;
            // The thread that does not keep in step has dropped the receiver.
            let _ = wakers.send(cx.waker().clone());
            match polls {
                4 => Poll::Ready(polls),
                _ => Poll::Pending,
            }
        }));
        thread.join().unwrap();
        done
    };
    let recording = Memory::default();
    let (event_loop, recorder) = record(recording.clone()).unwrap();
    assert_eq!(program(event_loop, true).unwrap(), 4);
    recorder.finish().unwrap();
    let (event_loop, replayer) = replay(recording.0.take()).unwrap();
    replayer.set_real_timeout(Duration::from_secs(2));
    assert_eq!(program(event_loop, false).unwrap(), 4);
    assert_eq!(replayer.finish(), Ok(()));
}

/// When a job of [`with_job`] ends: before, during or after the first poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Before,
    /// Soon after it has begun.
    During,
    After,
}

/// A program that awaits a job of its pool: what it sees of the job.
fn with_job(event_loop: EventLoop, ends: Ends) -> Result<String, Error> {
    let pool = event_loop.thread_pool();
    let seen = Log::default();
    let note = seen.clone();
    Runner::from(event_loop).run(async move {
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let mut open = Some(open);
        let mut job = run_blocking(move || gate.recv().is_err());
        if ends == Ends::Before {
            open = None;
            while !pool.stats().running.is_empty() || pool.stats().queued > 0 {
                std::thread::yield_now();
            }
        }
        note.note(format_args!("done: {}", job.done()));
        if ends == Ends::During {
            let open = open.take();
            std::thread::spawn(move || {
                (0..100).for_each(|_| std::thread::yield_now());
                drop(open);
            });
        }
        let value = poll_fn(|cx| {
            let polled = Pin::new(&mut job).poll(cx);
            note.note(format_args!("pending: {}", polled.is_pending()));
            open = None;
            polled
        });
        let value = value.await.unwrap();
        note.note(format_args!("value: {value}"));
    })?;
    Ok(seen.0.take())
}

/// W4: whether a job has ended when its waiter looks is as in the recording, though the job of the replay ends
/// sooner or later.
#[test]
fn the_end_of_a_job_is_seen_as_in_the_recording() {
    for (recorded, replayed) in [
        (Ends::Before, Ends::During),
        (Ends::After, Ends::Before),
        (Ends::After, Ends::After),
    ] {
        let recording = Memory::default();
        let (event_loop, recorder) = record(recording.clone()).unwrap();
        let seen = with_job(event_loop, recorded).unwrap();
        recorder.finish().unwrap();
        let (event_loop, replayer) = replay(recording.0.take()).unwrap();
        let again = with_job(event_loop, replayed);
        assert_eq!(replayer.finish(), Ok(()), "{recorded:?}, {replayed:?}");
        assert_eq!(again.unwrap(), seen, "{recorded:?}, {replayed:?}");
    }
}

/// W4: the same of many jobs, in whatever order they end.
#[test]
fn many_jobs_of_several_tasks_are_replayed_in_their_order() {
    let program = |event_loop: EventLoop, slowness: usize| {
        let seen = Log::default();
        let note = seen.clone();
        let run = Runner::from(event_loop).run(async move {
            let tasks = (0..8).map(|task| {
                let note = note.clone();
                spawn(async move {
                    for nth in 0..6 {
                        let jobs = (0..3).map(|n| {
                            let turns = (task * 7 + nth * 5 + n * slowness) % 23;
                            run_blocking(move || {
                                (0..turns).for_each(|_| std::thread::yield_now());
                                n
                            })
                        });
                        for job in jobs.collect::<Vec<_>>() {
                            let n = job.await.unwrap();
                            note.note(format_args!("{task}: {nth} {n}"));
                        }
                    }
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.unwrap();
            }
        });
        run.map(|()| seen.0.take())
    };
    let recording = Memory::default();
    let (event_loop, recorder) = record(recording.clone()).unwrap();
    let seen = program(event_loop, 3).unwrap();
    recorder.finish().unwrap();
    let recording = recording.0.take();
    for slowness in [3, 11, 20] {
        let (event_loop, replayer) = replay(recording.clone()).unwrap();
        let again = program(event_loop, slowness);
        assert_eq!(replayer.finish(), Ok(()));
        assert_eq!(again.unwrap(), seen);
    }
}
