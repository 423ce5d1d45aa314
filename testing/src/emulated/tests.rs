//! The queue on real descriptors, with the rules of each system: the observed behaviour of the three
//! kernels, and above all the cases in which another emulation over epoll differs from them.

use super::*;
use readily_testing::for_tests;
use std::io::Read as _;
use std::sync::atomic::{AtomicI32, Ordering};

pub(super) use readily_sys::errno::{EBADF, ECONNREFUSED, ECONNRESET, EINVAL, ENOENT, EPIPE};
pub(super) use readily_sys::kq_abi::{
    EV_CLEAR, EV_DELETE, EV_DISABLE, EV_DISPATCH, EV_ENABLE, EV_EOF, EV_ONESHOT,
};
pub(super) use readily_sys::socket;
pub(super) use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
pub(super) use std::os::fd::OwnedFd;
pub(super) use std::os::unix::net::UnixStream;

pub(super) use Filter::{Read, Write};
pub(super) use Personality::{Apple, FreeBsd, NetBsd};

pub(super) const SYSTEMS: [Personality; 3] = [Apple, FreeBsd, NetBsd];
pub(super) const LONG: Duration = Duration::from_secs(20);

/// An event in short: its filter, and whether it is an end.
pub(super) type ShortEvent = (Filter, bool);

pub(super) const READY: ShortEvent = (Read, false);
pub(super) const ROOM: ShortEvent = (Write, false);
pub(super) const END: ShortEvent = (Read, true);
pub(super) const DEAD: ShortEvent = (Write, true);

pub(super) fn queue(system: Personality) -> EmulatedKqueue {
    EmulatedKqueue::new(system).unwrap()
}

pub(super) fn number(fd: &impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}

impl EmulatedKqueue {
    /// Applies one change, and returns its receipt.
    pub(super) fn change_one(&mut self, fd: RawFd, filter: Filter, flags: u32) -> i32 {
        let mut errors = [0];
        let change = Kevent {
            ident: fd.unsigned_abs() as usize,
            filter,
            flags,
            fflags: 0,
            data: 0,
            udata: 7,
        };
        self.change(&[change], &mut errors).unwrap();
        errors[0]
    }

    /// Adds a registration, and asserts that this succeeds.
    pub(super) fn add(&mut self, fd: &impl AsFd, filter: Filter, flags: u32) {
        assert_eq!(self.change_one(number(fd), filter, EV_ADD | flags), 0);
    }

    pub(super) fn all(&mut self, timeout: Duration) -> Vec<Kevent> {
        let mut out = Vec::new();
        self.wait(&mut out, Some(timeout)).unwrap();
        out
    }

    /// Returns the events that are there now, reads before writes.
    pub(super) fn now(&mut self) -> Vec<ShortEvent> {
        short_events(&self.all(Duration::ZERO))
    }

    /// Waits for the next events.
    pub(super) fn next(&mut self) -> Vec<ShortEvent> {
        let events = self.all(LONG);
        assert!(!events.is_empty(), "nothing came");
        short_events(&events)
    }

    /// Waits until all of `wanted` have been reported, which may take several events.
    pub(super) fn until(&mut self, wanted: &[ShortEvent]) {
        let mut missing = wanted.to_vec();
        while !missing.is_empty() {
            let events = self.next();
            missing.retain(|it| !events.contains(it));
        }
    }
}

pub(super) fn short_events(events: &[Kevent]) -> Vec<ShortEvent> {
    let short = |event: &Kevent| (event.filter, event.flags & EV_EOF != 0);
    let mut events: Vec<_> = events.iter().map(short).collect();
    events.sort_by_key(|it| it.0 == Write);
    events
}

pub(super) fn pair() -> (UnixStream, UnixStream) {
    let (here, there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    there.set_nonblocking(true).unwrap();
    (here, there)
}

pub(super) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

pub(super) fn tcp() -> (TcpStream, TcpStream) {
    let listener = listener();
    let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let there = listener.accept().unwrap().0;
    here.set_nonblocking(true).unwrap();
    (here, there)
}

/// Duplicates a descriptor to a high number, which no other test gets when it is closed.
pub(super) fn duplicate_far(fd: &impl AsFd) -> OwnedFd {
    static NEXT: AtomicI32 = AtomicI32::new(3000);
    for_tests::allow_descriptors(4096).unwrap();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    for_tests::duplicate_at(fd.as_fd(), number).unwrap()
}

pub(super) fn drain(mut stream: &UnixStream) {
    let _ = stream.read(&mut [0; 64]);
}

#[test]
fn a_notification_is_one_event_and_is_not_lost() {
    for system in SYSTEMS {
        let mut queue = queue(system);
        let notifier = queue.notifier();
        for _ in 0..3 {
            notifier.notify();
            notifier.notify();
            let events = queue.all(LONG);
            assert_eq!((events.len(), events[0].udata), (1, NOTIFIER));
            queue.clear_notification();
            assert_eq!(queue.now(), []);
        }
    }
}
