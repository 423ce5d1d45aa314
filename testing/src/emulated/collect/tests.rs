//! The events of a kqueue, and above all those in which another emulation over epoll differs from
//! real kernels.

use super::super::tests::{
    Apple, DEAD, ECONNREFUSED, ECONNRESET, END, EPIPE, EV_CLEAR, EV_ONESHOT, FreeBsd, LONG, NetBsd,
    OwnedFd, READY, ROOM, Read, SYSTEMS, Shutdown, TcpStream, UdpSocket, Write, drain, listener,
    number, pair, queue, short_events, socket, tcp,
};
use readily_sys::kq_abi::EV_ADD;
use readily_sys::transfer;
use readily_testing::for_tests;
use std::io::Read as _;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::time::Duration;

#[test]
fn a_level_and_an_edge_of_one_descriptor_are_independent() {
    for system in SYSTEMS {
        let (mut queue, (here, mut there)) = (queue(system), pair());
        queue.add(&here, Read, 0);
        queue.add(&here, Write, EV_CLEAR);
        assert_eq!(queue.now(), [ROOM]);
        there.write_all(b"abc").unwrap();
        for _ in 0..3 {
            assert_eq!(queue.now(), [READY], "unread, so it is repeated");
        }
        drain(&here);
        assert_eq!(queue.now(), []);
        drop(there);
        assert!(queue.now().contains(&END), "the end after a drain");
    }
}

#[test]
fn of_two_edges_only_the_one_with_a_change_fires() {
    for system in SYSTEMS {
        let (mut queue, (here, mut there)) = (queue(system), pair());
        queue.add(&here, Read, EV_CLEAR);
        queue.add(&here, Write, EV_CLEAR);
        assert_eq!(queue.now(), [ROOM]);
        for _ in 0..3 {
            there.write_all(b"a").unwrap();
            assert_eq!(queue.now(), [READY]);
            assert_eq!(queue.now(), []);
        }
    }
}

#[test]
fn each_arrival_is_an_edge_and_a_partial_read_is_none() {
    for system in SYSTEMS {
        let (mut queue, (mut here, mut there)) = (queue(system), pair());
        there.write_all(b"abc").unwrap();
        queue.add(&here, Read, EV_CLEAR);
        assert_eq!(queue.all(Duration::ZERO)[0].data, 3);
        here.read_exact(&mut [0]).unwrap();
        assert_eq!(queue.now(), []);
        there.write_all(b"d").unwrap();
        assert_eq!(queue.all(Duration::ZERO)[0].data, 3, "all that is unread");
    }
}

#[test]
fn a_one_shot_whose_bytes_were_read_is_still_reported_but_on_a_mac() {
    for system in SYSTEMS {
        let (mut queue, (here, mut there)) = (queue(system), pair());
        there.write_all(b"a").unwrap();
        queue.add(&here, Read, EV_ONESHOT);
        drain(&here);
        assert_eq!(queue.now().len(), usize::from(system != Apple));
    }
}

#[test]
fn a_socket_that_was_never_connected_reports_nothing() {
    for system in SYSTEMS {
        let (mut queue, socket) = (queue(system), for_tests::unconnected_tcp().unwrap());
        queue.add(&socket, Read, 0);
        queue.add(&socket, Write, 0);
        assert_eq!(queue.now(), []);
    }
}

#[test]
fn a_connection_that_is_refused_ends_both_filters_and_keeps_its_error() {
    let addr = listener().local_addr().unwrap();
    for system in SYSTEMS {
        let mut queue = queue(system);
        let Ok(socket) = socket::connect_tcp(&addr) else {
            continue; // reported at once, so no wait is needed
        };
        queue.add(&socket, Read, 0);
        queue.add(&socket, Write, 0);
        queue.until(&[END, DEAD]);
        let events = queue.all(LONG);
        let refused = ECONNREFUSED.unsigned_abs();
        assert!(events.iter().all(|it| it.fflags == refused), "{events:?}");
        let error = socket::take_error(socket.as_fd()).unwrap().unwrap();
        assert_eq!(error.raw_os_error(), Some(ECONNREFUSED));
        let events = queue.all(LONG);
        assert_eq!(short_events(&events), [END, DEAD]);
        assert!(events.iter().all(|it| it.fflags == 0), "the error was read");
    }
}

#[test]
fn a_connection_that_is_made_has_room_and_no_end() {
    for system in SYSTEMS {
        let (mut queue, listener) = (queue(system), listener());
        let addr = listener.local_addr().unwrap();
        let socket = socket::connect_tcp(&addr).unwrap();
        queue.add(&socket, Read, 0);
        queue.add(&socket, Write, 0);
        assert_eq!(queue.next(), [ROOM]);
        let data = queue.all(LONG)[0].data;
        assert!(data > 1000, "the free space in bytes: {data}");
    }
}

#[test]
fn a_reset_ends_both_filters_and_keeps_its_error() {
    for system in SYSTEMS {
        let (mut queue, (mut here, there)) = (queue(system), tcp());
        queue.add(&here, Read, EV_CLEAR);
        queue.add(&here, Write, EV_CLEAR);
        assert_eq!(queue.now(), [ROOM]);
        for_tests::reset(OwnedFd::from(there)).unwrap();
        let mut events = Vec::new();
        while events.len() < 2 {
            events.extend(queue.all(LONG));
        }
        assert_eq!(short_events(&events), [END, DEAD]);
        let reset = ECONNRESET.unsigned_abs();
        assert!(events.iter().all(|it| it.fflags == reset), "{events:?}");
        let error = here.read(&mut [0]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(ECONNRESET));
    }
}

#[test]
fn an_end_is_reported_by_the_reading_filter_and_repeats() {
    for system in SYSTEMS {
        let (mut queue, (mut here, mut there)) = (queue(system), tcp());
        queue.add(&here, Read, 0);
        queue.add(&here, Write, 0);
        there.write_all(b"abc").unwrap();
        there.shutdown(Shutdown::Write).unwrap();
        queue.until(&[END]);
        let events = queue.all(LONG);
        assert_eq!(short_events(&events), [END, ROOM]);
        let end = events.iter().find(|it| it.filter == Read).unwrap();
        assert_eq!((end.data, end.fflags), (3, 0));
        here.read_exact(&mut [0; 3]).unwrap();
        assert_eq!(queue.now(), [END, ROOM]);
        here.write_all(b"still").unwrap();
    }
}

#[test]
fn our_own_shutdown_ends_the_writing_filter() {
    for system in SYSTEMS {
        let (mut queue, (here, _there)) = (queue(system), tcp());
        queue.add(&here, Read, 0);
        queue.add(&here, Write, 0);
        here.shutdown(Shutdown::Write).unwrap();
        assert_eq!(queue.now(), [DEAD]);
        let (pair, _other) = pair();
        pair.shutdown(Shutdown::Write).unwrap();
        queue.add(&pair, Write, 0);
        assert_eq!(queue.now(), [DEAD, DEAD]);
    }
}

/// The queue detects the acknowledgement in its next wait.
#[test]
fn an_acknowledgement_is_an_edge_of_the_writing_filter() {
    for system in SYSTEMS {
        let (mut queue, (mut here, mut there)) = (queue(system), tcp());
        queue.add(&here, Read, EV_CLEAR);
        queue.add(&here, Write, EV_CLEAR);
        assert_eq!(queue.now(), [ROOM]);
        for _ in 0..3 {
            here.write_all(b"question").unwrap();
            there.read_exact(&mut [0; 8]).unwrap();
            // The answer carries the acknowledgement.
            there.write_all(b"answer").unwrap();
            queue.until(&[READY, ROOM]);
            assert_eq!(queue.now(), []);
        }
    }
}

#[test]
fn a_listener_counts_and_its_edge_repeats_after_an_accept_that_leaves_some() {
    for system in SYSTEMS {
        let (mut queue, listener) = (queue(system), listener());
        let addr = listener.local_addr().unwrap();
        let _clients = [(); 3].map(|()| TcpStream::connect(addr).unwrap());
        queue.add(&listener, Read, EV_CLEAR);
        for left in [3, 2, 1] {
            assert_eq!(queue.all(Duration::ZERO)[0].data, left);
            assert_eq!(queue.now(), []);
            listener.accept().unwrap();
        }
        assert_eq!(queue.now(), []);
    }
}

#[test]
fn a_datagram_is_read_and_an_error_of_its_socket_is_no_end() {
    for system in SYSTEMS {
        let mut queue = queue(system);
        let (one, two) = (
            UdpSocket::bind("127.0.0.1:0").unwrap(),
            UdpSocket::bind("127.0.0.1:0").unwrap(),
        );
        one.connect(two.local_addr().unwrap()).unwrap();
        two.connect(one.local_addr().unwrap()).unwrap();
        queue.add(&two, Read, 0);
        one.send(&[0; 10]).unwrap();
        assert_eq!(queue.all(LONG)[0].data, 10);
        assert_eq!(two.recv(&mut [0; 20]).unwrap(), 10);
        assert_eq!(queue.now(), []);
        drop(one);
        two.send(b"to a closed socket").unwrap();
        assert_eq!(queue.next(), [READY]);
        assert_eq!(queue.all(LONG)[0].fflags, 0);
        assert_eq!(
            two.recv(&mut [0]).unwrap_err().raw_os_error(),
            Some(ECONNREFUSED)
        );
    }
}

/// The table of measurements in `docs/platforms.md`: both filters on both ends of a pipe.
#[test]
fn the_ends_of_a_pipe_are_reported_as_each_system_reports_them() {
    for system in SYSTEMS {
        let (mut queue, (reader, writer)) = (queue(system), for_tests::pipe().unwrap());
        queue.add(&reader, Read, 0);
        queue.add(&reader, Write, 0);
        let both_ways = if system == FreeBsd {
            vec![ROOM]
        } else {
            vec![]
        };
        assert_eq!(queue.now(), both_ways);
        transfer::write_waiting(writer.as_fd(), b"a").unwrap();
        drop(writer);
        let dead = match system {
            NetBsd => vec![END],
            _ => vec![END, DEAD],
        };
        assert_eq!(queue.now(), dead);
        // FreeBSD has removed the registration that reported the end.
        let then = if system == Apple {
            vec![END, DEAD]
        } else {
            vec![END]
        };
        assert_eq!(queue.now(), then);
    }
}

#[test]
fn a_pipe_without_a_reader_is_reported_to_its_writer_on_each_system_in_its_way() {
    for (system, full) in SYSTEMS.iter().flat_map(|s| [(*s, false), (*s, true)]) {
        let (mut queue, (reader, writer)) = (queue(system), for_tests::pipe().unwrap());
        socket::set_nonblocking(writer.as_fd()).unwrap();
        while full && transfer::write_waiting(writer.as_fd(), &[0; 4096]).is_ok() {}
        queue.add(&writer, Write, 0);
        assert_eq!(queue.now().len(), usize::from(!full));
        drop(reader);
        let missed = system == NetBsd && full;
        let events = queue.all(Duration::ZERO);
        assert_eq!(
            short_events(&events),
            if missed { vec![] } else { vec![DEAD] }
        );
        assert!(events.iter().all(|it| it.fflags == 0));
        assert_eq!(queue.now().len(), usize::from(system != FreeBsd && !missed));
        let again = queue.change_one(number(&writer), Write, EV_ADD);
        assert_eq!(again, if system == FreeBsd { EPIPE } else { 0 });
        assert_eq!(
            queue.now().len(),
            usize::from(system != FreeBsd),
            "{system:?}"
        );
        // Each system reports the end to a reading filter on the writing end of a pipe.
        queue.add(&writer, Read, 0);
        assert!(queue.now().contains(&END));
    }
}
