//! A run that is recorded is played again: the same calls, in the same order, with the same bytes;
//! and a program that does something else is told where.

use readily::event_loop::listen_tcp;
use readily::io::{Source, TcpListener, TcpStream};
use readily::time::sleep_until_system;
use readily::{
    Closures, Error, EventLoop, Interest, PanicPolicy, RemoteHandle, Runner, WeakHandle, sleep,
    spawn,
};
use readily_testing::{Recorder, ReplayError, Replayer};
use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

/// A loop that is recorded, out of which panics go: an assertion that fails in a callback fails the test.
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

/// A tape in memory.
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

/// What a program saw, in order.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<String>>);

impl Log {
    fn note(&self, what: std::fmt::Arguments<'_>) {
        writeln!(self.0.borrow_mut(), "{what}").unwrap();
    }
}

const CLIENTS: usize = 6;
const MESSAGES: usize = 30;

/// A client that sends in pieces, and wants all of it back.
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

/// Echoes by callbacks, and counts in `left` the connections that are still to end.
fn echo_by_callbacks(event_loop: &EventLoop, log: &Log, left: &Rc<Cell<usize>>) -> SocketAddr {
    // Handed in, and so taken over by the recorder.
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
                            // A client never has more on its way than a buffer holds.
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

/// A thread of the program: sends, and wakes a task, when it likes.
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

/// The program: two echo servers, a timer, and a thread. `load` is told the addresses.
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

/// Records the program under a load of its own.
fn recorded() -> (Vec<u8>, (String, Vec<u32>)) {
    let recording = Memory::default();
    let (event_loop, recorder) = record(recording.clone()).unwrap();
    let clients: Rc<RefCell<Vec<JoinHandle<()>>>> = Rc::default();
    let started = Rc::clone(&clients);
    let seen = program(event_loop, move |addrs| {
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
    (recording.0.take(), seen)
}

fn played(recording: &[u8]) -> ((String, Vec<u32>), String, Result<(), ReplayError>) {
    let (event_loop, replayer) = replay(recording).unwrap();
    let seen = program(event_loop, |_| ());
    (seen, replayer.trace(), replayer.finish())
}

/// W4: in the replay there are no clients, and no time passes.
#[test]
fn an_echo_server_under_load_is_played_twice_with_the_same_calls_and_bytes() {
    let (recording, seen) = recorded();
    assert_eq!(seen.1, (0..50).collect::<Vec<_>>());
    let (first, trace, finished) = played(&recording);
    assert_eq!(finished, Ok(()));
    assert_eq!(first, seen);
    let (second, again, finished) = played(&recording);
    assert_eq!(finished, Ok(()));
    assert_eq!((second, again), (first, trace.clone()));
    for what in ["connect", "read", "default", "timer", "job", "call", "main"] {
        assert!(trace.contains(what), "nothing of {what} in the trace");
    }
}

/// A program for short tapes: one descriptor, handed in, of which all bytes are read.
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

fn short_tape() -> Vec<u8> {
    let recording = Memory::default();
    let (event_loop, recorder) = record(recording.clone()).unwrap();
    assert_eq!(reads(event_loop, false).unwrap(), b"hello");
    recorder.finish().unwrap();
    recording.0.take()
}

fn play_short(recording: Vec<u8>, other: bool) -> (io::Result<Vec<u8>>, Replayer) {
    let (event_loop, replayer) = replay(recording).unwrap();
    (reads(event_loop, other), replayer)
}

/// C7: what the clock on the wall says is on the tape too, to the nanosecond.
#[test]
fn a_look_at_the_clock_on_the_wall_is_played_again() {
    let program = |event_loop: EventLoop| {
        let mut runner = Runner::from(event_loop);
        let ended = runner.run(async {
            let look = || {
                WeakHandle::current()
                    .unwrap()
                    .with(|handle| handle.system_now())
            };
            let begin = look().unwrap();
            sleep_until_system(begin + Duration::from_millis(3)).await;
            (begin, look().unwrap())
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
fn a_program_that_does_something_else_learns_where() {
    let recording = short_tape();
    let (read, replayer) = play_short(recording.clone(), false);
    assert_eq!(read.unwrap(), b"hello");
    assert_eq!(replayer.finish(), Ok(()));
    let (read, replayer) = play_short(recording, true);
    let told = read.unwrap_err().to_string();
    let error = replayer.finish().unwrap_err();
    assert!(matches!(error, ReplayError::Other { .. }), "{error}");
    assert_eq!(told, error.to_string());
}

#[test]
fn a_program_that_ends_early_is_reported() {
    let (event_loop, replayer) = replay(short_tape()).unwrap();
    drop(event_loop);
    assert!(matches!(
        replayer.finish(),
        Err(ReplayError::EndsEarly { .. })
    ));
}

/// However it was cut off, or spoilt: an error, or, where the byte says nothing, the same.
#[test]
fn a_tape_that_was_cut_off_or_spoilt_is_an_error_and_not_a_panic() {
    let recording = short_tape();
    let whole = recording.len();
    for len in 0..whole {
        let Ok((event_loop, replayer)) = replay(&recording[..len]) else {
            continue; // not even its beginning
        };
        drop(reads(event_loop, false));
        assert!(replayer.finish().is_err(), "{len} of {whole} bytes");
    }
    for at in 0..whole - 1 {
        for bit in 0..8 {
            let mut spoilt = recording.clone();
            spoilt[at] ^= 1 << bit;
            // Cut off, so that no sum keeps it from being played.
            spoilt.pop();
            let Ok((event_loop, replayer)) = replay(spoilt) else {
                continue;
            };
            let read = reads(event_loop, false);
            let _ = (read, replayer.finish());
        }
    }
}

/// What was read may be any bytes, so only a sum can tell that they are others.
#[test]
fn a_tape_of_which_a_single_bit_has_changed_is_never_played() {
    let recording = short_tape();
    for at in 0..recording.len() {
        for bit in 0..8 {
            let mut spoilt = recording.clone();
            spoilt[at] ^= 1 << bit;
            let whole = match replay(spoilt) {
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

/// A program that writes: a count on the tape may be any number.
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
            let mut spoilt = recording.clone();
            spoilt[at] ^= 1 << bit;
            // Cut off, so that no sum keeps it from being played.
            spoilt.pop();
            if let Ok((event_loop, replayer)) = replay(spoilt) {
                let _ = (writes(event_loop), replayer.finish());
            }
        }
    }
}

/// What does its reading itself is not on tape, and in a replay its bytes would be missing.
#[test]
fn a_source_of_ones_own_is_refused_by_a_recorder() {
    let (event_loop, _recorder) = record(io::sink()).unwrap();
    let _here = event_loop.enter();
    let (here, _there) = UnixStream::pair().unwrap();
    let refused = Source::new(here).unwrap_err();
    let inner = refused.get_ref().and_then(|e| e.downcast_ref::<Error>());
    assert!(
        matches!(inner, Some(Error::BadDescriptor { .. })),
        "{refused}"
    );
}

/// A tape that cannot be written to does not disturb the loop, and is told in the end.
#[test]
fn a_full_disk_is_reported_in_the_end() {
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

/// What comes from a thread in the recording and not in the replay ends it.
#[test]
fn what_no_thread_sends_in_the_replay_is_waited_for_and_reported() {
    let program = |event_loop: &mut EventLoop, sends: bool| {
        let remote = event_loop.remote_handle();
        let sender = std::thread::spawn(move || {
            if sends {
                remote.call_soon(|handle| handle.stop()).unwrap();
            }
            remote // kept, so that it is no news in the replay that it goes
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

/// W4: two threads send in one order in the recording, and in the other one in the replay.
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

/// W4: a wake that found its task queued already, in the replay, was one that did not, when it was
/// recorded: it counts all the same.
#[test]
fn a_wake_of_a_thread_is_not_spared_while_a_tape_runs() {
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
            // Of no interest to the thread that does not keep in step.
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
