//! Open files with other owners: a duplicate, a parent process, a child. What the loop has set there, they
//! may change at any time (R130); and what it has set it takes back (R131).

use crate::support::{
    Log, collect_unhandled, drain, guard, is_nonblocking, listener, strict_loop, strict_run,
    tcp_pair, turn_times, turn_until,
};
use readily::event_loop::Accepted;
use readily::io::{Async, Direction, TcpListener, TcpStream};
use readily::{Closures, Cx, EventLoop, Interest, PanicPolicy, wait_for};
use readily_testing::for_tests::make_blocking;
use readily_testing::record;
use std::fs::File;
use std::io::{ErrorKind, PipeReader, PipeWriter, Write, pipe};
use std::net;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::rc::Rc;
use std::time::Duration;

/// How long a wait lasts that must end in vain. A loop that is blocked never ends it.
const A_WHILE: Duration = Duration::from_millis(2);

/// Loops on the system's kernel: a plain one, and one that is recorded.
fn loops() -> [EventLoop; 2] {
    let recorded = record(std::io::sink()).unwrap().0;
    recorded.set_panic_policy(PanicPolicy::Propagate);
    [strict_loop(), recorded]
}

/// R130: the owner of a duplicate makes a connection blocking. Neither a read nor a write blocks the loop.
#[test]
fn a_connection_that_a_duplicate_makes_blocking_does_not_block_the_loop() {
    let _guard = guard!();
    for event_loop in loops() {
        let mut runner = readily::Runner::from(event_loop);
        runner
            .run(async {
                let (ours, mut theirs) = tcp_pair();
                let duplicate = ours.try_clone().unwrap();
                let stream = TcpStream::from_std(ours).unwrap();
                duplicate.set_nonblocking(false).unwrap();
                theirs.write_all(b"four").unwrap();
                // As much as there is: the bit stays set, and the next read is tried at once.
                stream.read_exact(&mut [0; 4]).await.unwrap();
                assert!(wait_for(A_WHILE, stream.read(&mut [0; 4])).await.is_err());
                let much = vec![0; 8 << 20];
                assert!(wait_for(A_WHILE, stream.write_all(&much)).await.is_err());
                assert!(!is_nonblocking(&duplicate), "the flag was not set again");
            })
            .unwrap();
    }
}

/// R130: for a listener there is no flag per call, so its own is set again before each.
#[test]
fn a_listener_that_a_duplicate_makes_blocking_does_not_block_the_loop() {
    let _guard = guard!();
    for event_loop in loops() {
        let mut runner = readily::Runner::from(event_loop);
        runner
            .run(async {
                let (listener, addr) = listener();
                let duplicate = listener.try_clone().unwrap();
                let listener = TcpListener::from_std(listener).unwrap();
                let _client = net::TcpStream::connect(addr).unwrap();
                duplicate.set_nonblocking(false).unwrap();
                listener.accept().await.unwrap();
                duplicate.set_nonblocking(false).unwrap();
                assert!(wait_for(A_WHILE, listener.accept()).await.is_err());
            })
            .unwrap();
    }
}

/// R130: the same where callbacks accept, also where another process has taken the connection meanwhile.
#[test]
fn a_listening_callback_does_not_block_on_a_listener_that_is_made_blocking() {
    let _guard = guard!();
    for mut event_loop in loops() {
        let (listener, addr) = listener();
        let (duplicate, thief) = (listener.try_clone().unwrap(), listener.try_clone().unwrap());
        let log = Log::default();
        let note = log.clone();
        let accept = move |_: &Cx<'_>, _: &Accepted| {
            note.note("accepted");
            None::<Closures>
        };
        let key = event_loop.listen(listener, accept).unwrap();
        duplicate.set_nonblocking(false).unwrap();
        let _client = net::TcpStream::connect(addr).unwrap();
        turn_until(&mut event_loop, || log.has("accepted"));
        event_loop.remove(key).unwrap();
        let note = log.clone();
        let steal = Closures::new().on_connect(move |cx| {
            thief.set_nonblocking(false).unwrap();
            thief.accept().unwrap();
            note.note(cx.accept().unwrap_err().kind());
        });
        event_loop
            .register(duplicate, Interest::READ, steal)
            .unwrap();
        let _other = net::TcpStream::connect(addr).unwrap();
        turn_until(&mut event_loop, || log.len() > 1);
        assert_eq!(log.text(), format!("accepted {}", ErrorKind::WouldBlock));
    }
}

/// A callback that reads all there is, and writes as much as there is room for.
fn greedy(log: &Log) -> impl FnMut(&Cx<'_>) + use<> {
    let log = log.clone();
    move |cx| {
        let mut all = Vec::new();
        if cx.interest().contains(Interest::READ) && !drain(cx, &mut all) {
            log.note(format!("read {}", all.len()));
        }
        if cx.interest().contains(Interest::WRITE) {
            let error = std::iter::repeat_with(|| cx.write(&[0; 65536])).find_map(Result::err);
            log.note(error.expect("it fills up").kind());
        }
        cx.remove_interest(Interest::BOTH);
    }
}

/// Registers `fd`, makes it blocking, and lets callbacks drain and fill it.
fn drained_and_filled(event_loop: &mut EventLoop, fd: OwnedFd, interest: Interest) -> String {
    let duplicate = fd.try_clone().unwrap();
    let log = Log::default();
    let (read, write) = (greedy(&log), greedy(&log));
    let callbacks = Closures::new().on_read(read).on_write(write);
    event_loop.register(fd, interest, callbacks).unwrap();
    make_blocking(duplicate.as_fd()).unwrap();
    turn_until(event_loop, || log.len() > 0);
    log.text()
}

/// R130: a callback that reads or writes until `WouldBlock` gets it, of a socket as of a pipe, though
/// it was made blocking.
#[test]
fn callbacks_drain_and_fill_what_is_made_blocking_without_blocking_the_loop() {
    let _guard = guard!();
    let full = ErrorKind::WouldBlock.to_string();
    for event_loop in &mut loops() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"abc").unwrap();
        let calls = drained_and_filled(event_loop, ours.into(), Interest::BOTH);
        assert_eq!(calls, format!("read 3 {full}"));
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        theirs.send(b"abcd").unwrap();
        let calls = drained_and_filled(event_loop, ours.into(), Interest::READ);
        assert_eq!(calls, "read 4");
        let (reader, mut writer): (PipeReader, PipeWriter) = pipe().unwrap();
        writer.write_all(b"ab").unwrap();
        let calls = drained_and_filled(event_loop, reader.into(), Interest::READ);
        assert_eq!(calls, "read 2");
        let (_reader, writer): (PipeReader, PipeWriter) = pipe().unwrap();
        let calls = drained_and_filled(event_loop, writer.into(), Interest::WRITE);
        assert_eq!(calls, full);
    }
}

/// R130: a terminal knows no flag per call. Its own is set again before each.
#[test]
fn a_device_without_a_flag_per_call_is_made_nonblocking_again_before_each() {
    let _guard = guard!();
    for mut event_loop in loops() {
        let Ok(terminal) = File::options().read(true).write(true).open("/dev/ptmx") else {
            return; // a sandbox without terminals
        };
        let duplicate = terminal.try_clone().unwrap();
        let log = Log::default();
        let note = log.clone();
        let writable = Closures::new().on_write(move |cx| {
            make_blocking(cx.fd()).unwrap();
            note.note(cx.read(&mut [0; 8]).unwrap_err().kind());
            cx.close();
        });
        event_loop
            .register(terminal, Interest::WRITE, writable)
            .unwrap();
        turn_until(&mut event_loop, || log.len() > 0);
        assert_eq!(log.text(), ErrorKind::WouldBlock.to_string());
        assert!(!is_nonblocking(&duplicate), "it was blocking (R131)");
    }
}

/// R131: a file that was blocking is blocking again when its registration ends, however it ends, for
/// the owner of a duplicate.
#[test]
fn what_was_blocking_is_blocking_again_when_its_registration_ends() {
    type End = fn(EventLoop, readily::Key);
    let _guard = guard!();
    let ends: [End; 4] = [
        |event_loop, key| event_loop.remove(key).unwrap(),
        |mut event_loop, key| {
            event_loop.set_panic_policy(PanicPolicy::Isolate);
            let _told = collect_unhandled(&event_loop);
            event_loop
                .set_deadline_of(key, Some(Duration::ZERO))
                .unwrap();
            turn_times(&mut event_loop, 2);
            assert_eq!(event_loop.registered(), 1);
        },
        |event_loop, _| drop(event_loop.close()),
        |event_loop, _| drop(event_loop),
    ];
    for end in ends {
        for event_loop in loops() {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (duplicate, other) = (ours.try_clone().unwrap(), theirs.try_clone().unwrap());
            theirs.set_nonblocking(true).unwrap();
            let callbacks = Closures::new().on_timeout(|_| panic!("as planned"));
            let key = event_loop
                .register(ours, Interest::READ, callbacks)
                .unwrap();
            event_loop
                .register(theirs, Interest::READ, Closures::new())
                .unwrap();
            assert!(is_nonblocking(&duplicate));
            end(event_loop, key);
            assert!(!is_nonblocking(&duplicate));
            assert!(is_nonblocking(&other), "it was when it came");
        }
    }
}

/// R131: the same of one that is shared with the loop in an `Rc`, of one that hangs up, and behind `await`.
#[test]
fn what_was_blocking_is_blocking_again_for_its_other_owners() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (shared, duplicate) = (Rc::new(ours), theirs.try_clone().unwrap());
    let callbacks = Closures::new().on_read(|cx| cx.close());
    let key = event_loop
        .register(Rc::clone(&shared), Interest::READ, Closures::new())
        .unwrap();
    event_loop
        .register(theirs, Interest::READ, callbacks)
        .unwrap();
    (&*shared).write_all(b"x").unwrap();
    turn_until(&mut event_loop, || !is_nonblocking(&duplicate));
    assert!(is_nonblocking(&*shared));
    event_loop.remove(key).unwrap();
    assert!(!is_nonblocking(&*shared));
    drop(event_loop);
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let duplicate = ours.try_clone().unwrap();
    strict_run(async {
        let source = Async::new(ours).unwrap();
        assert!(is_nonblocking(&duplicate));
        drop(source);
        assert!(!is_nonblocking(&duplicate));
    })
    .unwrap();
}

/// R131: a socket that was cloned for two loops stays non-blocking until the last of them has ended.
#[test]
fn what_two_loops_have_is_blocking_again_when_the_last_has_ended() {
    let _guard = guard!();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let (second, duplicate) = (ours.try_clone().unwrap(), ours.try_clone().unwrap());
    let [one, other] = [strict_loop(), strict_loop()];
    one.register(ours, Interest::READ, Closures::new()).unwrap();
    other
        .register(second, Interest::READ, Closures::new())
        .unwrap();
    drop(one);
    assert!(is_nonblocking(&duplicate));
    drop(other);
    assert!(!is_nonblocking(&duplicate));
}

/// Registers `files` with one loop, removes them in the order of `ends`, and returns after each end which of
/// them are non-blocking.
#[cfg(target_os = "linux")]
fn nonblocking_after_each_end<const N: usize>(
    files: &[OwnedFd; N],
    ends: [usize; N],
) -> [[bool; N]; N] {
    let event_loop = strict_loop();
    let keys = files.each_ref().map(|fd| {
        let fd = fd.try_clone().unwrap();
        event_loop
            .register(fd, Interest::READ, Closures::new())
            .unwrap()
    });
    ends.map(|end| {
        event_loop.remove(keys[end]).unwrap();
        files.each_ref().map(is_nonblocking)
    })
}

/// A sandbox may forbid the question whether two descriptors are one open file.
#[cfg(target_os = "linux")]
fn open_files_can_be_compared() -> bool {
    let (one, _other) = UnixStream::pair().unwrap();
    readily_testing::for_tests::is_same_file(one.as_fd(), one.as_fd()).is_some()
}

/// R131: an eventfd, a timerfd and an epoll are one inode. What came non-blocking is never made blocking, and
/// what came blocking is blocking again at its own end.
#[cfg(target_os = "linux")]
#[test]
fn anonymous_files_of_one_inode_are_each_left_as_they_came() {
    let _guard = guard!();
    let event = readily_sys::Notifier::new().unwrap();
    let timer = readily_sys::timer::Timer::new().unwrap();
    let epoll = readily_sys::epoll::Epoll::new().unwrap();
    make_blocking(timer.as_fd()).unwrap();
    let [event, timer, epoll] = [event.as_fd(), timer.as_fd(), epoll.as_fd()];
    let files = [event, timer, epoll].map(|fd| fd.try_clone_to_owned().unwrap());
    assert_eq!(files.each_ref().map(is_nonblocking), [true, false, false]);
    let can_compare = open_files_can_be_compared();
    for ends in [[1, 2, 0], [2, 0, 1], [0, 1, 2]] {
        let after = nonblocking_after_each_end(&files, ends);
        for (place, now) in after.into_iter().enumerate() {
            assert!(now[0], "it came non-blocking: {ends:?}");
            let left = |file: usize| !ends[..=place].contains(&file);
            if can_compare {
                assert_eq!(now[1..], [left(1), left(2)], "{ends:?}");
            }
        }
    }
}

/// R131: two opens of one FIFO are two files with a flag each.
#[cfg(target_os = "linux")]
#[test]
fn two_opens_of_a_fifo_are_each_left_as_they_came() {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;
    let _guard = guard!();
    let (reader, _writer) = pipe().unwrap();
    let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
    let opened = |flags| File::options().read(true).custom_flags(flags).open(&path);
    let Ok(nonblocking) = opened(libc::O_NONBLOCK) else {
        return; // a sandbox without /proc
    };
    if !open_files_can_be_compared() {
        return;
    }
    let files = [nonblocking.into(), opened(0).unwrap().into()];
    let after = nonblocking_after_each_end(&files, [1, 0]);
    assert_eq!(after, [[true, false]; 2]);
    let after = nonblocking_after_each_end(&files, [0, 1]);
    assert_eq!(after, [[true, true], [true, false]]);
}

/// R131: a file with two registrations is blocking again after the second, whichever has set the flag, and
/// with another file of its inode beside it.
#[cfg(target_os = "linux")]
#[test]
fn a_duplicate_takes_over_that_the_file_was_blocking() {
    let _guard = guard!();
    if !open_files_can_be_compared() {
        return;
    }
    let event = readily_sys::Notifier::new().unwrap();
    let timer = readily_sys::timer::Timer::new().unwrap();
    make_blocking(timer.as_fd()).unwrap();
    let [event, timer] = [event.as_fd(), timer.as_fd()];
    let files = [timer, event, timer].map(|fd| fd.try_clone_to_owned().unwrap());
    for ends in [[0, 2, 1], [2, 0, 1]] {
        let after = nonblocking_after_each_end(&files, ends);
        let gone = [false, true, false];
        assert_eq!(after, [[true; 3], gone, gone], "{ends:?}");
    }
}

/// R130: an operation of the user's on an `Async` does not block the loop, though a duplicate clears the flag
/// before each; and a file that came non-blocking stays so.
#[test]
fn an_operation_on_a_source_that_is_made_blocking_does_not_block_the_loop() {
    let _guard = guard!();
    for came_nonblocking in [false, true] {
        let mut runner = readily::Runner::from(strict_loop());
        runner
            .run(async {
                let (ours, theirs) = UnixDatagram::pair().unwrap();
                let duplicate = ours.try_clone().unwrap();
                ours.set_nonblocking(came_nonblocking).unwrap();
                let source = Async::new(ours).unwrap();
                for _ in 0..2 {
                    theirs.send(b"one").unwrap();
                }
                source.readable().await.unwrap();
                let receive = || {
                    duplicate.set_nonblocking(false).unwrap();
                    source.try_io(Direction::Read, |socket| socket.recv(&mut [0; 8]))
                };
                assert_eq!((receive().unwrap(), receive().unwrap()), (3, 3));
                assert_eq!(receive().unwrap_err().kind(), ErrorKind::WouldBlock);
                theirs.send(b"two").unwrap();
                source.readable().await.unwrap();
                // Another process takes what was reported.
                duplicate.set_nonblocking(false).unwrap();
                duplicate.recv(&mut [0; 8]).unwrap();
                theirs.send(b"last").unwrap();
                let mut tries = 0;
                let thief = &duplicate;
                let operation = source.io(Direction::Read, |socket| {
                    tries += 1;
                    if tries == 1 {
                        // It has come and gone again since the report.
                        thief.recv(&mut [0; 8]).unwrap();
                    }
                    socket.recv(&mut [0; 8])
                });
                assert!(wait_for(A_WHILE, operation).await.is_err());
                drop(source);
                assert_eq!(is_nonblocking(&duplicate), came_nonblocking);
            })
            .unwrap();
    }
}
