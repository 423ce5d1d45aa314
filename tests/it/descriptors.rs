//! The life of descriptors: each is closed once, none is leaked, none is inherited; and the reports
//! when the loop's own descriptor is closed or replaced.

use crate::support::{
    collect_unhandled, descriptors_of, full_listener, guard, is_alone, listener, strict_loop,
    strict_run, strict_runner, turn_times,
};
use readily::event_loop::Accepted;
use readily::io::{Async, TcpListener, TcpStream};
use readily::{Closures, Cx, Error, EventLoop, Interest, Runner, WeakHandle};
use std::fs::File;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// How many descriptors can still be opened.
fn free() -> usize {
    let opened = std::iter::from_fn(|| File::open("/dev/null").ok());
    opened.collect::<Vec<_>>().len()
}

/// Takes descriptors until exactly `left` are left.
fn leave(left: usize) -> Vec<File> {
    let surplus = free().checked_sub(left).expect("there are more than that");
    let open = |_| File::open("/dev/null").expect("it was there a moment ago");
    (0..surplus).map(open).collect()
}

/// The lowest number that is free: what the next descriptor gets.
fn lowest() -> RawFd {
    File::open("/dev/null").unwrap().as_raw_fd()
}

/// Runs `make` with 0, 1, 2, … descriptors left, until it does not fail for want of them: each
/// time as many are left afterwards as before. How many it wants.
fn wants<T, E: std::fmt::Debug>(what: &str, mut make: impl FnMut() -> Result<T, E>) -> usize {
    let before = free();
    for left in 0..10 {
        let taken = leave(left);
        let made = make();
        let is_made = match &made {
            Ok(_) => true,
            Err(error) => {
                let text = format!("{error:?}");
                assert!(text.contains("code: 24"), "{what} with {left} left: {text}");
                assert_eq!(free(), left, "{what} with {left} left");
                false
            }
        };
        drop((made, taken));
        assert_eq!(free(), before, "{what} with {left} left, afterwards");
        if is_made {
            return left;
        }
    }
    panic!("{what} wants more than ten descriptors");
}

/// R010, for everything that makes a descriptor.
#[test]
fn what_fails_for_want_of_descriptors_leaves_none_behind() {
    if !is_alone(Some(40)) {
        return;
    }
    let _guard = guard!();
    // The poller's own and the notifier's, which is an eventfd or a pipe.
    let each = if cfg!(readily_force_pipe) { 3 } else { 2 };
    assert_eq!(wants("a loop", EventLoop::new), each);
    let event_loop = strict_loop();
    let (_kept, addr) = listener();
    let connect = || {
        let key = event_loop.connect(addr, Closures::new())?;
        event_loop.remove(key)
    };
    assert_eq!(wants("a connection of callbacks", connect), 1);
    assert_eq!(event_loop.registered(), 0);
    let host = || EventLoop::new().and_then(|fresh| fresh.as_fd().map(drop));
    // On Linux the host's epoll, and a duplicate of it.
    let for_host = wants("a loop and its descriptor", host) - each;
    assert!((1..=2).contains(&for_host), "{for_host}");
    drop(event_loop);
    let mut runner = strict_runner();
    assert_eq!(
        wants("a listener", || runner
            .run(async { TcpListener::bind(([127, 0, 0, 1], 0)) })
            .unwrap()),
        1
    );
    let connect = || runner.run(TcpStream::connect(addr)).unwrap();
    assert_eq!(wants("a connection", connect), 1);
}

/// R010: what cannot be accepted is not accepted, and its waiting place holds nothing.
#[test]
fn an_accept_that_is_given_up_for_want_of_descriptors_leaves_none_behind() {
    if !is_alone(Some(40)) {
        return;
    }
    let _guard = guard!();
    let mut runner = strict_runner();
    let reports = collect_unhandled(&runner);
    runner
        .run(async {
            let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
            let client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let before = free();
            let taken = leave(0);
            let limit = Duration::from_millis(1);
            readily::wait_for(limit, listener.accept())
                .await
                .unwrap_err();
            assert_eq!(free(), 0);
            drop(taken);
            assert_eq!(free(), before);
            let (stream, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            drop(stream);
            assert_eq!(free(), before);
        })
        .unwrap();
    assert_eq!(reports.len(), 1, "{}", reports.text());
}

/// A descriptor is closed exactly once: `end` frees the number that the next file gets, and
/// nothing that happens later closes that file.
fn closes_once(what: &str, number: RawFd, runner: &mut Runner, end: impl FnOnce(&mut Runner)) {
    end(runner);
    let mut next = File::open("Cargo.toml").unwrap();
    assert_eq!(next.as_raw_fd(), number, "{what}: it has not been closed");
    turn_times(runner.event_loop(), 3);
    let mut content = String::new();
    next.read_to_string(&mut content)
        .unwrap_or_else(|error| panic!("{what}: closed again: {error}"));
    assert!(content.contains("readily"), "{what}");
}

/// R009: dropped at each of its polls, and at its end.
#[test]
fn a_connection_is_closed_once_wherever_connecting_is_given_up() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let mut runner = strict_runner();
    let (_full, busy) = full_listener();
    let (_listener, addr) = listener();
    for (addr, polls) in [(busy, 1), (busy, 3), (addr, 1), (addr, 2), (addr, 9)] {
        let number = lowest();
        let what = format!("given up after {polls} polls");
        closes_once(&what, number, &mut runner, |runner| {
            let mut connects = Box::pin(TcpStream::connect(addr));
            let mut left = polls;
            let connected = runner.run(poll_fn(|cx| {
                left -= 1;
                cx.waker().wake_by_ref();
                match connects.as_mut().poll(cx) {
                    Poll::Ready(stream) => Poll::Ready(Some(stream)),
                    Poll::Pending if left == 0 => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                }
            }));
            assert_ne!(lowest(), number, "it is still open");
            drop((connected, connects));
        });
    }
}

/// R009: every way in which a registration can end.
#[test]
fn a_registration_closes_its_descriptor_once_however_it_ends() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let mut runner = strict_runner();
    type End = fn(&mut Runner, UnixStream, UnixStream);
    let ends: [(&str, End); 7] = [
        ("removed", |runner, ours, _| {
            let key = runner.register(ours, Interest::READ, Closures::new());
            let key = key.unwrap();
            runner.remove(key).unwrap();
            runner.remove(key).unwrap_err();
        }),
        (
            "closed by its callback, twice",
            |runner, ours, mut theirs| {
                let close = Closures::new().on_read(|cx| {
                    cx.close();
                    cx.close();
                });
                runner.register(ours, Interest::READ, close).unwrap();
                theirs.write_all(b"x").unwrap();
                turn_times(runner.event_loop(), 1);
            },
        ),
        ("hung up", |runner, ours, theirs| {
            let callbacks = Closures::new().on_hangup(|cx, _| cx.close());
            runner.register(ours, Interest::READ, callbacks).unwrap();
            drop(theirs);
            turn_times(runner.event_loop(), 2);
        }),
        ("refused and dropped", |runner, ours, _| {
            let ours = Rc::new(ours);
            let first = runner.register(Rc::clone(&ours), Interest::READ, Closures::new());
            let again = runner.register(Rc::clone(&ours), Interest::READ, Closures::new());
            drop((again.unwrap_err(), ours));
            runner.remove(first.unwrap()).unwrap();
        }),
        ("a source whose task is cancelled", |runner, ours, _| {
            let task = runner.spawn(async move {
                let source = Async::new(ours).unwrap();
                source.readable().await.unwrap();
            });
            turn_times(runner.event_loop(), 1);
            assert!(task.cancel());
        }),
        ("a source that outlives its loop", |_, ours, _| {
            let mut other = strict_runner();
            let source = other.run(async { Async::new(ours).unwrap() }).unwrap();
            drop(other);
            drop(source);
        }),
        ("a loop that is closed", |_, ours, _| {
            let other = strict_loop();
            other
                .register(ours, Interest::READ, Closures::new())
                .unwrap();
            assert_eq!(other.close().registrations, 1);
        }),
    ];
    for (what, end) in ends {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let number = ours.as_raw_fd();
        assert!(number < theirs.as_raw_fd());
        closes_once(what, number, &mut runner, |runner| {
            end(runner, ours, theirs)
        });
    }
}

/// What a child of this process has open.
fn open_in_a_child() -> usize {
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // `spawn` may return before the kernel has closed what is to be closed, and the loader opens
    // libraries after that. A program that answers has all this behind it.
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    stdin.write_all(b"x").unwrap();
    stdout.read_exact(&mut [0]).unwrap();
    let open = descriptors_of(&child.id().to_string());
    drop(stdin);
    child.wait().unwrap();
    open
}

/// R011: of everything that the loop and its sockets have open, a child sees nothing.
#[test]
fn a_child_inherits_nothing_of_the_loop() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    // Standard input, output and error; and what the parent process has let us inherit.
    let before = open_in_a_child();
    let mut runner = strict_runner();
    runner.event_loop().as_fd().expect("a duplicate is made");
    let (listens, addr) = listener();
    let accept = |_: &Cx<'_>, _: &Accepted| Some(Closures::new().on_write(pause));
    runner.listen(listens, accept).unwrap();
    let connected = Closures::new().on_write(pause);
    runner.connect(addr, connected).unwrap();
    runner
        .run(async {
            let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
            let addr = listener.local_addr().unwrap();
            let both = (TcpStream::connect(addr), listener.accept());
            let (client, accepted) = readily::gather(both).await;
            let _kept = (client.unwrap(), accepted.unwrap());
            // Three for the callbacks, and three for the coroutines.
            let here = WeakHandle::current().unwrap();
            while here.with(|handle| handle.registered()).unwrap() < 6 {
                readily::yield_now().await;
            }
            assert_eq!(open_in_a_child(), before);
        })
        .unwrap();
}

fn pause(cx: &Cx<'_>) {
    cx.set_interest(Interest::NONE).unwrap();
}

/// The numbers of this process's epolls, the loop's own first.
fn epolls() -> Vec<RawFd> {
    let is_epoll = |number: &RawFd| {
        let target = std::fs::read_link(format!("/proc/self/fd/{number}"));
        target.is_ok_and(|target| target.as_os_str() == "anon_inode:[eventpoll]")
    };
    (3..64).filter(is_epoll).collect()
}

/// R016: "all" descriptors were closed, or another file was put in the place of the loop's.
#[test]
#[allow(unsafe_code)]
fn a_loop_whose_poller_was_closed_behind_its_back_reports_it_in_each_turn() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    let mut runner = strict_runner();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let key = runner.register(ours, Interest::READ, Closures::new());
    let key = key.unwrap();
    let [number] = epolls()[..] else {
        panic!("one loop, one epoll");
    };
    let null = File::open("/dev/null").unwrap();
    let is_io = |error: Error, code| matches!(error, Error::Io(error) if error.raw_os_error() == Some(code));
    for code in [libc::EBADF, libc::EINVAL] {
        if code == libc::EBADF {
            // SAFETY: a number. Its owner, the loop, does not use it before the next call.
            assert_eq!(unsafe { libc::close(number) }, 0);
        } else {
            // SAFETY: two numbers. From here on the loop owns an open file again, which it may
            // close; it is not an epoll.
            assert_eq!(unsafe { libc::dup2(null.as_raw_fd(), number) }, number);
        }
        assert!(is_io(runner.event_loop().turn(None).unwrap_err(), code));
        assert!(is_io(runner.event_loop().run().unwrap_err(), code));
        let never = std::future::pending::<()>();
        assert!(is_io(runner.run(never).unwrap_err(), code));
        let (other, _peer) = UnixStream::pair().unwrap();
        let refused = runner.register(other, Interest::READ, Closures::new());
        drop(refused.unwrap_err());
        assert!(runner.set_interest_of(key, Interest::BOTH).is_err());
        assert_eq!(runner.registered(), 1);
    }
    runner.remove(key).unwrap();
    assert_eq!(runner.registered(), 0);
    drop(runner);
    strict_run(async {}).expect("another loop is none the worse");
}

/// R016: a loop cannot wait for itself, nor may loops wait in a circle.
#[test]
fn a_loop_that_is_registered_with_itself_is_refused() {
    let _guard = guard!();
    let (first, second) = (strict_loop(), strict_loop());
    let itself = first.as_fd().unwrap().try_clone_to_owned().unwrap();
    let refused = first.register(itself, Interest::READ, Closures::new());
    let error = refused.unwrap_err().error;
    // A kqueue returns `EINVAL` for itself.
    assert!(
        matches!(&error, Error::Io(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::EINVAL))),
        "{error:?}"
    );
    let of_second = second.as_fd().unwrap().try_clone_to_owned().unwrap();
    first
        .register(of_second, Interest::READ, Closures::new())
        .unwrap();
    let of_first = first.as_fd().unwrap().try_clone_to_owned().unwrap();
    let refused = second.register(of_first, Interest::READ, Closures::new());
    let error = refused.unwrap_err().error;
    assert!(
        matches!(&error, Error::Io(error) if error.raw_os_error() == Some(libc::ELOOP)),
        "{error:?}"
    );
    assert_eq!((first.registered(), second.registered()), (1, 0));
}

/// R182: by the environment, which is read once in a process, and so by processes of their own.
#[test]
#[cfg(target_os = "linux")]
fn a_poller_is_chosen_by_name_for_a_whole_program() {
    const NAME: &str = "descriptors::a_poller_is_chosen_by_name_for_a_whole_program";
    if crate::support::runs_alone() {
        // In the child. The directions that need rearming show which poller it is.
        match EventLoop::new() {
            Ok(event_loop) => print!("made: {:?}.", readily::spi::rearm_interest(&event_loop)),
            Err(refused) => print!("refused: {refused}"),
        }
        return;
    }
    let said = |poller: &str| {
        let mut child = crate::support::command(NAME, None);
        let output = child.env("READILY_POLLER", poller).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    // The rules of a kqueue are made by name where `.ci/kqueue-on-linux` has built the loop with them.
    let kqueue = match cfg!(readily_emulated) {
        true => "made: WRITE.",
        false => "`readily_testing::emulated::poller`",
    };
    for (poller, expected) in [
        ("", "made: NONE."),
        ("epoll", "made: NONE."),
        ("poll", "made: READ | WRITE."),
        ("kqueue-apple", kqueue),
        ("kqueue-freebsd", kqueue),
        ("kqueue-netbsd", kqueue),
    ] {
        let said = said(poller);
        assert!(said.contains(expected), "{poller}: {said}");
    }
    let said = said("kqueue");
    assert!(
        said.contains("refused") && said.contains("epoll, "),
        "{said}"
    );
}
