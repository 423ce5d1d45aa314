//! What is said when a side closes: half, whole, or with an error.

use std::io::{Read, Write};
use std::net::Shutdown;

use readily::poll::{Interest, Readiness, Trigger};

use super::kit::{World, next_for, now, rearm, until};

const CLOSED: Readiness = Readiness::from_bits(
    Readiness::READ_CLOSED.bits() | Readiness::WRITE_CLOSED.bits() | Readiness::ERROR.bits(),
);

/// The half-close in this poller's words. That it goes unsaid is allowed, and is so with a
/// `poll(2)` that has no bit for it; then reading tells.
fn half_closed(poller: &World) -> Readiness {
    if poller.is_in_memory() || poller.as_fd().is_some() || readily_sys::poll::RDHUP != 0 {
        Readiness::READ | Readiness::READ_CLOSED
    } else {
        Readiness::READ
    }
}

pub fn data_and_room_are_no_hangup(mut poller: World) {
    let (here, there) = poller.tcp();
    poller
        .register(here.number(), 1, Interest::BOTH, Trigger::Level)
        .unwrap();
    (&there).write_all(b"a").unwrap();
    assert!(!until(&mut *poller, 1, Readiness::READ | Readiness::WRITE).intersects(CLOSED));
}

pub fn a_half_close_is_readable_and_no_hangup(mut poller: World) {
    for trigger in [Trigger::Level, Trigger::Edge] {
        let (here, there) = poller.tcp();
        poller
            .register(here.number(), 1, Interest::READ, trigger)
            .unwrap();
        there.shutdown(Shutdown::Write);
        let ready = next_for(&mut *poller, 1);
        assert_eq!(ready, half_closed(&poller));
        assert!(!ready.is_hangup());
        assert_eq!((&here).read(&mut [0]).unwrap(), 0);
        (&here).write_all(b"still here").unwrap();
        poller.remove(here.number()).unwrap();
    }
}

pub fn a_half_close_is_no_news_to_a_writer(mut poller: World) {
    let (here, there) = poller.pair();
    poller
        .register(here.number(), 1, Interest::WRITE, Trigger::Level)
        .unwrap();
    there.shutdown(Shutdown::Write);
    assert_eq!(next_for(&mut *poller, 1), Readiness::WRITE);
}

pub fn data_before_a_half_close_stays_readable(mut poller: World) {
    let (here, there) = poller.pair();
    (&there).write_all(b"last words").unwrap();
    there.shutdown(Shutdown::Write);
    poller
        .register(here.number(), 1, Interest::READ, Trigger::Level)
        .unwrap();
    assert_eq!(
        next_for(&mut *poller, 1),
        Readiness::READ | Readiness::READ_CLOSED
    );
    (&here).read_exact(&mut [0; 10]).unwrap();
    let ready = next_for(&mut *poller, 1);
    assert!(
        ready.contains(Readiness::READ),
        "the end is still to be read: {ready:?}"
    );
    assert_eq!((&here).read(&mut [0]).unwrap(), 0);
}

pub fn a_full_close_is_a_hangup(mut poller: World) {
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::OneShot] {
        let (here, there) = poller.pair();
        drop(there);
        poller
            .register(here.number(), 1, Interest::BOTH, trigger)
            .unwrap();
        let ready = next_for(&mut *poller, 1);
        assert!(ready.is_hangup(), "{trigger:?}: {ready:?}");
        assert!(
            ready.contains(Readiness::READ | Readiness::WRITE),
            "{trigger:?}: {ready:?}"
        );
        poller.remove(here.number()).unwrap();
    }
}

pub fn data_before_a_hangup_stays_readable(mut poller: World) {
    let (here, there) = poller.pair();
    (&there).write_all(b"last words").unwrap();
    drop(there);
    poller
        .register(here.number(), 1, Interest::READ, Trigger::Level)
        .unwrap();
    assert!(next_for(&mut *poller, 1).contains(Readiness::READ | Readiness::READ_CLOSED));
    let mut words = Vec::new();
    (&here).read_to_end(&mut words).unwrap();
    assert_eq!(words, b"last words");
}

pub fn a_hangup_by_the_edge_is_told_once(mut poller: World) {
    let (here, there) = poller.pair();
    poller
        .register(here.number(), 1, Interest::BOTH, Trigger::Edge)
        .unwrap();
    assert_eq!(next_for(&mut *poller, 1), Readiness::WRITE);
    rearm(&mut *poller, here.number(), 1, Interest::BOTH);
    drop(there);
    let ready = next_for(&mut *poller, 1);
    assert!(ready.contains(Readiness::READ | Readiness::READ_CLOSED));
    // kqueue tells of each half by itself, in this wait or the next; then there is no more.
    now(&mut *poller);
    assert_eq!(now(&mut *poller), []);
}

pub fn an_edge_for_data_is_followed_by_one_for_the_hangup(mut poller: World) {
    let (here, there) = poller.pair();
    poller
        .register(here.number(), 1, Interest::READ, Trigger::Edge)
        .unwrap();
    (&there).write_all(b"a").unwrap();
    assert_eq!(next_for(&mut *poller, 1), Readiness::READ);
    (&here).read_exact(&mut [0]).unwrap();
    assert!(
        (&here).read(&mut [0]).is_err(),
        "nothing more, and not closed"
    );
    rearm(&mut *poller, here.number(), 1, Interest::READ);
    drop(there);
    assert!(next_for(&mut *poller, 1).contains(Readiness::READ | Readiness::READ_CLOSED));
}

pub fn an_empty_pipe_without_a_writer_is_readable(mut poller: World) {
    let (reader, writer) = poller.pipe();
    poller
        .register(reader.number(), 1, Interest::READ, Trigger::Level)
        .unwrap();
    assert_eq!(now(&mut *poller), []);
    drop(writer);
    let ready = next_for(&mut *poller, 1);
    assert!(
        ready.contains(Readiness::READ | Readiness::READ_CLOSED),
        "{ready:?}"
    );
}

pub fn a_pipe_without_a_reader_tells_its_writer(mut poller: World) {
    for before in [false, true] {
        let (reader, writer) = poller.pipe();
        let mut reader = Some(reader);
        if before {
            reader = None;
        }
        poller
            .register(writer.number(), 1, Interest::WRITE, Trigger::Level)
            .unwrap();
        if reader.take().is_some() {
            assert_eq!(now(&mut *poller).len(), 1, "it has room");
        }
        let ready = next_for(&mut *poller, 1);
        assert!(ready.contains(Readiness::WRITE), "{ready:?}");
        assert!(
            ready.intersects(Readiness::WRITE_CLOSED | Readiness::ERROR),
            "{ready:?}"
        );
        poller.remove(writer.number()).unwrap();
    }
}

pub fn a_reset_is_a_hangup_and_leaves_its_error(mut poller: World) {
    let (here, there) = poller.tcp();
    poller
        .register(here.number(), 1, Interest::BOTH, Trigger::Level)
        .unwrap();
    there.reset();
    let ready = until(&mut *poller, 1, Readiness::ERROR);
    assert!(ready.is_hangup() && ready.contains(Readiness::READ | Readiness::WRITE));
    let error = (&here).read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

pub fn an_own_half_close_is_no_hangup(mut poller: World) {
    let (here, there) = poller.tcp();
    here.shutdown(Shutdown::Write);
    poller
        .register(here.number(), 1, Interest::READ, Trigger::Level)
        .unwrap();
    assert_eq!(now(&mut *poller), []);
    (&there).write_all(b"a").unwrap();
    let ready = next_for(&mut *poller, 1);
    assert!(
        ready.contains(Readiness::READ) && !ready.is_hangup(),
        "{ready:?}"
    );
}
