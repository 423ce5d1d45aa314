//! The changes of a kqueue, and above all those in which another emulation over epoll differs from
//! real kernels.

use super::super::tests::{
    Apple, EBADF, EINVAL, ENOENT, EPIPE, EV_CLEAR, EV_DELETE, EV_DISABLE, EV_DISPATCH, EV_ENABLE,
    FreeBsd, NetBsd, READY, ROOM, Read, SYSTEMS, Write, drain, duplicate_far, listener, number,
    pair, queue,
};
use readily::poll::kqueue::KqueueSys;
use readily_sys::kq_abi::{EV_ADD, Filter, Kevent};
use readily_testing::for_tests;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::time::Duration;

#[test]
fn a_second_addition_replaces_the_token_and_evaluates_again() {
    for system in SYSTEMS {
        let (mut queue, (here, mut there)) = (queue(system), pair());
        there.write_all(b"a").unwrap();
        queue.add(&here, Read, EV_CLEAR);
        assert_eq!(queue.now(), [READY]);
        assert_eq!(queue.now(), []);
        let again = Kevent {
            ident: number(&here).unsigned_abs() as usize,
            filter: Read,
            flags: EV_ADD | EV_CLEAR,
            fflags: 0,
            data: 0,
            udata: 8,
        };
        let mut errors = [-1];
        queue.change(&[again], &mut errors).unwrap();
        assert_eq!(errors, [0]);
        let events = queue.all(Duration::ZERO);
        assert_eq!((events.len(), events[0].udata), (1, 8));
    }
}

#[test]
fn a_change_without_flags_evaluates_again_but_on_netbsd() {
    for system in SYSTEMS {
        let (mut queue, (here, mut there)) = (queue(system), pair());
        there.write_all(b"a").unwrap();
        queue.add(&here, Read, EV_CLEAR);
        assert_eq!(queue.now(), [READY]);
        assert_eq!(queue.change_one(number(&here), Read, 0), 0);
        assert_eq!(queue.now().len(), usize::from(system != NetBsd));
        assert_eq!(queue.change_one(number(&here), Write, 0), ENOENT);
    }
}

#[test]
fn a_registration_that_was_added_disabled_is_reported_once_it_is_enabled() {
    for system in SYSTEMS {
        let (mut queue, (here, mut there)) = (queue(system), pair());
        queue.add(&here, Read, EV_DISABLE);
        there.write_all(b"a").unwrap();
        assert_eq!(queue.now(), []);
        assert_eq!(queue.change_one(number(&here), Read, EV_ENABLE), 0);
        assert_eq!(queue.now(), [READY]);
        let both = queue.change_one(number(&here), Read, EV_ENABLE | EV_DISABLE);
        assert_eq!(both, if system == FreeBsd { EINVAL } else { 0 });
        assert_eq!(queue.now().len(), usize::from(system == FreeBsd));
    }
}

#[test]
fn each_change_has_a_receipt_of_its_own_and_none_returns_events() {
    for system in SYSTEMS {
        let (mut queue, (here, mut there)) = (queue(system), pair());
        there.write_all(b"a").unwrap();
        let change = |ident, filter, flags| Kevent {
            ident,
            filter,
            flags,
            fflags: 0,
            data: 0,
            udata: 1,
        };
        let fd = number(&here).unsigned_abs() as usize;
        let changes = [
            change(fd, Read, EV_ADD),
            change(fd, Write, EV_DELETE),
            change(usize::MAX, Read, EV_ADD),
            change(fd, Filter::Other(-7), EV_ADD),
        ];
        let mut errors = [-1; 4];
        queue.change(&changes, &mut errors).unwrap();
        assert_eq!(errors, [0, ENOENT, EBADF, EINVAL]);
        assert_eq!(queue.now(), [READY], "the valid change is applied");
    }
}

#[test]
fn a_dispatched_registration_with_unread_bytes_is_evaluated_when_it_is_enabled_but_on_netbsd() {
    for system in SYSTEMS {
        let (mut queue, (here, mut there)) = (queue(system), pair());
        there.write_all(b"a").unwrap();
        queue.add(&here, Read, EV_DISPATCH);
        assert_eq!(queue.now(), [READY]);
        assert_eq!(queue.now(), []);
        assert_eq!(queue.change_one(number(&here), Read, EV_ENABLE), 0);
        assert_eq!(queue.now().len(), usize::from(system != NetBsd));
        queue.add(&here, Read, EV_ENABLE | EV_DISPATCH);
        assert_eq!(queue.now(), [READY]);
    }
}

#[test]
fn closing_a_number_removes_its_registrations() {
    for system in SYSTEMS {
        let (mut queue, (here, mut there)) = (queue(system), pair());
        let (duplicate, here) = (here.try_clone().unwrap(), duplicate_far(&here));
        let fd = number(&here);
        queue.add(&here, Read, 0);
        queue.add(&duplicate, Read, EV_CLEAR);
        there.write_all(b"a").unwrap();
        drop(here);
        // The other number of the same file is a registration of its own.
        let events = queue.all(Duration::ZERO);
        let idents: Vec<_> = events.iter().map(|it| it.ident).collect();
        assert_eq!(idents, [number(&duplicate).unsigned_abs() as usize]);
        there.write_all(b"b").unwrap();
        assert_eq!(queue.now(), [READY], "the registration of the other number");
        let closed = if system == Apple { ENOENT } else { EBADF };
        assert_eq!(queue.change_one(fd, Read, EV_DELETE), closed);
        assert_eq!(queue.change_one(fd, Read, EV_ADD), EBADF);
    }
}

#[test]
fn a_number_that_is_used_again_is_not_registered() {
    for system in SYSTEMS {
        let (mut queue, (old, mut peer), (new, mut sends)) = (queue(system), pair(), pair());
        peer.write_all(b"a").unwrap();
        let first = duplicate_far(&old);
        let free = number(&first);
        queue.add(&first, Read, 0);
        assert_eq!(queue.now(), [READY]);
        drop(first);
        let second = for_tests::duplicate_at(new.as_fd(), free).unwrap();
        sends.write_all(b"a").unwrap();
        assert_eq!(queue.now(), []);
        assert_eq!(queue.change_one(free, Read, EV_DELETE), ENOENT);
        queue.add(&second, Read, 0);
        assert_eq!(queue.now(), [READY]);
    }
}

#[test]
fn a_queue_in_a_queue_is_readable_and_none_can_be_in_itself() {
    for system in SYSTEMS {
        let (mut outer, mut inner, (here, mut there)) = (queue(system), queue(system), pair());
        inner.add(&here, Read, 0);
        outer.add(&inner.outer, Read, 0);
        assert_eq!(outer.now(), []);
        there.write_all(b"a").unwrap();
        assert_eq!(outer.next(), [READY]);
        assert_eq!(inner.next(), [READY]);
        assert_eq!(outer.next(), [READY], "the level may still hold");
        drain(&here);
        assert_eq!(inner.now(), []);
        assert_eq!(outer.now(), []);
        let itself = number(&outer.outer);
        assert_eq!(outer.change_one(itself, Read, EV_ADD), EINVAL);
    }
}

#[test]
fn a_dead_pipe_is_refused_or_reported_as_each_system_does() {
    for system in SYSTEMS {
        let (mut queue, (reader, writer)) = (queue(system), for_tests::pipe().unwrap());
        drop(reader);
        let receipt = queue.change_one(number(&writer), Write, EV_ADD);
        let refused = match system {
            FreeBsd => EPIPE,
            NetBsd => EBADF,
            _ => 0,
        };
        assert_eq!(receipt, refused);
        assert_eq!(queue.now().len(), usize::from(system == Apple));
    }
}

#[test]
fn the_null_device_is_ready_or_refused() {
    let null = std::fs::File::open("/dev/null").unwrap();
    for system in SYSTEMS {
        let mut queue = queue(system);
        let receipt = queue.change_one(number(&null), Read, EV_ADD);
        assert_eq!(receipt, if system == NetBsd { 0 } else { EINVAL });
        assert_eq!(queue.now().len(), usize::from(system == NetBsd));
    }
}

#[test]
fn a_socket_that_was_added_before_it_connects_is_reported_once_it_is_connected() {
    for system in SYSTEMS {
        let (mut queue, socket) = (queue(system), for_tests::unconnected_tcp().unwrap());
        queue.add(&socket, Read, 0);
        queue.add(&socket, Write, 0);
        assert_eq!(queue.now(), []);
        let listener = listener();
        let connected = socket2::Socket::from(socket);
        // The connection is established at once, or begun.
        let _ = connected.connect(&listener.local_addr().unwrap().into());
        assert_eq!(queue.next(), [ROOM]);
    }
}
