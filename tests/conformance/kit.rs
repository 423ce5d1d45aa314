//! What the promises are tried with: descriptors of every kind, and waits with a guard.

use std::collections::HashSet;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use readily::poll::{Event, Interest, Poller, Readiness};

/// Long enough for a machine under load; whoever needs it has failed.
pub const GUARD: Duration = Duration::from_secs(20);

/// What is ready now.
pub fn now(poller: &mut dyn Poller) -> Vec<Event> {
    let mut events = Vec::new();
    poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
    each_once(&events);
    events
}

/// The next events: at least one.
pub fn next(poller: &mut dyn Poller) -> Vec<Event> {
    let (mut events, deadline) = (Vec::new(), instant() + GUARD);
    while events.is_empty() {
        assert!(instant() < deadline, "no event within {GUARD:?}");
        poller.wait(&mut events, Some(GUARD)).unwrap();
    }
    each_once(&events);
    events
}

/// The next event, which is the only one, and for `token`.
pub fn next_for(poller: &mut dyn Poller, token: u64) -> Readiness {
    let events = next(poller);
    assert_eq!(
        events.iter().map(|e| e.token).collect::<Vec<_>>(),
        [token],
        "{events:?}"
    );
    events[0].ready
}

/// Waits until everything in `wanted` has been reported for `token`, which may take several
/// events where the facts come about one after the other.
pub fn until(poller: &mut dyn Poller, token: u64, wanted: Readiness) -> Readiness {
    let mut all = Readiness::NONE;
    while !all.contains(wanted) {
        all |= next_for(poller, token);
    }
    all
}

/// The tokens of the next waits, until there are `count` of them: a poller may serve in small
/// batches, but none may be left out for long.
pub fn tokens(poller: &mut dyn Poller, count: usize) -> HashSet<u64> {
    let mut tokens = HashSet::new();
    for _ in 0..count {
        if tokens.len() < count {
            tokens.extend(next(poller).iter().map(|e| e.token));
        }
    }
    tokens
}

fn each_once(events: &[Event]) {
    let tokens: HashSet<_> = events.iter().map(|e| e.token).collect();
    assert_eq!(
        tokens.len(),
        events.len(),
        "two events for one registration: {events:?}"
    );
}

/// Asks anew where this poller wants it.
pub fn rearm(poller: &mut dyn Poller, fd: RawFd, token: u64, direction: Interest) {
    if poller.rearms().contains(direction) {
        poller.rearm(fd, token, direction).unwrap();
    }
}

#[allow(clippy::disallowed_methods)]
pub fn instant() -> Instant {
    // The promises are about real time.
    Instant::now()
}

pub fn number(fd: &impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}

pub fn pair() -> (UnixStream, UnixStream) {
    let (left, right) = UnixStream::pair().unwrap();
    left.set_nonblocking(true).unwrap();
    right.set_nonblocking(true).unwrap();
    (left, right)
}

pub fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    client.set_nonblocking(true).unwrap();
    server.set_nonblocking(true).unwrap();
    (client, server)
}

/// A pipe: its reading and its writing end.
pub fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has space for the two numbers that are written.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    let [reader, writer] = ends.map(|fd| {
        // SAFETY: the kernel has just made this descriptor for us; nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        readily_sys::socket::set_nonblocking(fd.as_fd()).unwrap();
        fd
    });
    (reader, writer)
}

/// `fd` once more, under a number that nobody else will use: the tests of one binary run in
/// parallel, and the kernel gives out the lowest number that is free.
pub fn under_a_number_of_its_own(fd: &impl AsFd) -> OwnedFd {
    static NEXT: AtomicI32 = AtomicI32::new(4000);
    renumbered(fd, NEXT.fetch_sub(1, Ordering::Relaxed))
}

/// `fd` once more, under this number.
pub fn renumbered(fd: &impl AsFd, number: RawFd) -> OwnedFd {
    allow_many();
    // SAFETY: takes two numbers; the second is nobody's, by the choice of the caller.
    let made = unsafe { libc::dup2(self::number(fd), number) };
    assert_eq!(made, number, "{}", std::io::Error::last_os_error());
    // SAFETY: the kernel has just made this descriptor for us; nobody else has it.
    unsafe { OwnedFd::from_raw_fd(made) }
}

/// Allows this process more descriptors than some systems do by default.
pub fn allow_many() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: `limit` has space for the structure that is written.
        assert_eq!(
            unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) },
            0
        );
        limit.rlim_cur = limit.rlim_cur.max(4096.min(limit.rlim_max));
        // SAFETY: `limit` is a live local that is only read.
        assert_eq!(
            unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) },
            0
        );
    });
}

/// Closes `stream` with a reset instead of an end.
pub fn reset(stream: TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let len = size_of::<libc::linger>() as libc::socklen_t;
    let (fd, from) = (number(&stream), (&raw const linger).cast());
    // SAFETY: `from` points to `len` bytes of a live local.
    let done = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, from, len) };
    assert_eq!(done, 0);
}

/// Sends one byte out of band.
pub fn send_urgent(stream: &TcpStream) {
    // SAFETY: one byte is read from a constant.
    let n = unsafe { libc::send(number(stream), [1u8].as_ptr().cast(), 1, libc::MSG_OOB) };
    assert_eq!(n, 1);
}
