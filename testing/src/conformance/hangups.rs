//! Promises about hangups: a peer that closes one direction, both directions, or with an error.
//!
//! The tests check both that a hangup is reported, and that nothing else is reported as one. With interest
//! in one direction, or in none, a hangup has to be reported all the same, because only the owner of the
//! registration can close the descriptor. Some systems always report it; on others the poller has to ask
//! for it.
//!
//! In the notes: *hangup*, which is composed of several of these facts (N7).

use super::Fixture;
use readily::{Interest, Readiness, Trigger};
use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::fd::RawFd;

const CLOSED: Readiness = Readiness::from_bits(
    Readiness::READ_CLOSED.bits() | Readiness::WRITE_CLOSED.bits() | Readiness::ERROR.bits(),
);

/// The readiness that this poller reports for a half-close. A `poll(2)` without a bit for it may
/// leave it out; then a read returns the end of file.
fn half_closed(fixture: &mut Fixture) -> Readiness {
    if !fixture.backend().is_the_systems()
        || fixture.poller().as_fd().is_some()
        || readily_sys::poll::RDHUP != 0
    {
        Readiness::READ | Readiness::READ_CLOSED
    } else {
        Readiness::READ
    }
}

pub(super) fn data_and_room_are_no_hangup(mut fixture: Fixture) {
    let (here, there) = fixture.tcp();
    fixture.register(here.number(), 1, Interest::BOTH, Trigger::Level);
    there.put(b"a");
    assert!(
        !fixture
            .until(1, Readiness::READ | Readiness::WRITE)
            .intersects(CLOSED)
    );
}

pub(super) fn a_half_close_is_readable_and_no_hangup(mut fixture: Fixture) {
    for trigger in [Trigger::Level, Trigger::Edge] {
        let (here, there) = fixture.tcp();
        fixture.register(here.number(), 1, Interest::READ, trigger);
        there.shutdown(Shutdown::Write);
        let ready = fixture.next_for(1);
        assert_eq!(ready, half_closed(&mut fixture));
        assert!(!ready.is_hangup());
        assert!(here.is_at_its_end());
        here.put(b"still here");
        fixture.remove(here.number());
    }
}

pub(super) fn a_half_close_is_not_reported_without_read_interest(mut fixture: Fixture) {
    let (here, there) = fixture.pair();
    fixture.register(here.number(), 1, Interest::WRITE, Trigger::Level);
    there.shutdown(Shutdown::Write);
    assert_eq!(fixture.next_for(1), Readiness::WRITE);
}

pub(super) fn data_before_a_half_close_stays_readable(mut fixture: Fixture) {
    let (here, there) = fixture.pair();
    there.put(b"last words");
    there.shutdown(Shutdown::Write);
    fixture.register(here.number(), 1, Interest::READ, Trigger::Level);
    assert_eq!(
        fixture.next_for(1),
        Readiness::READ | Readiness::READ_CLOSED
    );
    here.take(10);
    let ready = fixture.next_for(1);
    assert!(
        ready.contains(Readiness::READ),
        "the end of file has not been read: {ready:?}"
    );
    assert!(here.is_at_its_end());
}

pub(super) fn a_full_close_is_a_hangup(mut fixture: Fixture) {
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::OneShot] {
        let (here, there) = fixture.pair();
        drop(there);
        fixture.register(here.number(), 1, Interest::BOTH, trigger);
        let ready = fixture.next_for(1);
        assert!(ready.is_hangup(), "{trigger:?}: {ready:?}");
        assert!(
            ready.contains(Readiness::READ | Readiness::WRITE),
            "{trigger:?}: {ready:?}"
        );
        fixture.remove(here.number());
    }
}

pub(super) fn data_before_a_hangup_stays_readable(mut fixture: Fixture) {
    let (here, there) = fixture.pair();
    there.put(b"last words");
    drop(there);
    fixture.register(here.number(), 1, Interest::READ, Trigger::Level);
    assert!(
        fixture
            .next_for(1)
            .contains(Readiness::READ | Readiness::READ_CLOSED)
    );
    assert_eq!(here.take(10), b"last words");
    assert!(here.is_at_its_end());
}

pub(super) fn an_edge_hangup_is_reported_once(mut fixture: Fixture) {
    let (here, there) = fixture.pair();
    fixture.register(here.number(), 1, Interest::BOTH, Trigger::Edge);
    assert_eq!(fixture.next_for(1), Readiness::WRITE);
    fixture.rearm(here.number(), 1, Interest::BOTH);
    drop(there);
    let ready = fixture.next_for(1);
    assert!(ready.contains(Readiness::READ | Readiness::READ_CLOSED));
    // kqueue reports each direction by itself, in this wait or the next, and no more after that.
    fixture.now();
    assert_eq!(fixture.now(), []);
}

pub(super) fn an_edge_for_data_is_followed_by_one_for_the_hangup(mut fixture: Fixture) {
    let (here, there) = fixture.pair();
    fixture.register(here.number(), 1, Interest::READ, Trigger::Edge);
    there.put(b"a");
    assert_eq!(fixture.next_for(1), Readiness::READ);
    here.take(1);
    assert!(
        here.read(&mut [0]).is_err(),
        "no more bytes, and no end of file"
    );
    fixture.rearm(here.number(), 1, Interest::READ);
    drop(there);
    assert!(
        fixture
            .next_for(1)
            .contains(Readiness::READ | Readiness::READ_CLOSED)
    );
}

pub(super) fn an_empty_pipe_without_a_writer_is_readable(mut fixture: Fixture) {
    let (reader, writer) = fixture.pipe();
    fixture.register(reader.number(), 1, Interest::READ, Trigger::Level);
    assert_eq!(fixture.now(), []);
    drop(writer);
    let ready = fixture.next_for(1);
    assert!(
        ready.contains(Readiness::READ | Readiness::READ_CLOSED),
        "{ready:?}"
    );
}

pub(super) fn a_pipe_without_a_reader_is_reported_to_its_writer(mut fixture: Fixture) {
    for before in [false, true] {
        let (reader, writer) = fixture.pipe();
        let mut reader = Some(reader);
        if before {
            reader = None;
        }
        fixture.register(writer.number(), 1, Interest::WRITE, Trigger::Level);
        if reader.take().is_some() {
            assert_eq!(fixture.now().len(), 1, "the buffer has room");
        }
        let ready = fixture.next_for(1);
        assert!(ready.contains(Readiness::WRITE), "{ready:?}");
        assert!(
            ready.intersects(Readiness::WRITE_CLOSED | Readiness::ERROR),
            "{ready:?}"
        );
        fixture.remove(writer.number());
    }
}

pub(super) fn a_reset_is_a_hangup_and_leaves_its_error(mut fixture: Fixture) {
    let (here, there) = fixture.tcp();
    fixture.register(here.number(), 1, Interest::BOTH, Trigger::Level);
    there.reset();
    let ready = fixture.until(1, Readiness::ERROR);
    assert!(ready.is_hangup() && ready.contains(Readiness::READ | Readiness::WRITE));
    let error = here.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

pub(super) fn an_own_half_close_is_no_hangup(mut fixture: Fixture) {
    let (here, there) = fixture.tcp();
    here.shutdown(Shutdown::Write);
    fixture.register(here.number(), 1, Interest::READ, Trigger::Level);
    assert_eq!(fixture.now(), []);
    there.put(b"a");
    let ready = fixture.next_for(1);
    assert!(
        ready.contains(Readiness::READ) && !ready.is_hangup(),
        "{ready:?}"
    );
}

const TRIGGERS: [Trigger; 3] = [Trigger::Level, Trigger::Edge, Trigger::OneShot];

/// The most events until one is a hangup: a poller may report each direction by itself.
const MOST_EVENTS: usize = 4;

/// Waits for an event that alone is a hangup. After any other event a one-shot is modified.
#[track_caller]
fn until_hangup(
    fixture: &mut Fixture,
    fd: RawFd,
    interest: Interest,
    trigger: Trigger,
) -> Readiness {
    let mut reported = Vec::new();
    while reported.len() < MOST_EVENTS {
        let ready = fixture.next_for(1);
        if ready.is_hangup() {
            return ready;
        }
        reported.push(ready);
        if trigger == Trigger::OneShot {
            fixture.modify(fd, 1, interest, trigger);
        }
    }
    panic!("{interest:?} {trigger:?}: never a hangup, only {reported:?}");
}

/// With interest in one direction, one event reports the end of both.
pub(super) fn a_full_close_is_a_hangup_with_every_interest(mut fixture: Fixture) {
    for interest in [Interest::READ, Interest::WRITE] {
        for trigger in TRIGGERS {
            for before in [true, false] {
                let (here, there) = fixture.pair();
                let mut there = Some(there);
                if before {
                    there = None;
                }
                fixture.register(here.number(), 1, interest, trigger);
                if interest == Interest::WRITE && !before {
                    assert_eq!(fixture.next_for(1), Readiness::WRITE, "the buffer has room");
                    match trigger {
                        Trigger::OneShot => fixture.modify(here.number(), 1, interest, trigger),
                        _ => fixture.rearm(here.number(), 1, interest),
                    }
                }
                drop(there);
                let ready = until_hangup(&mut fixture, here.number(), interest, trigger);
                let flows = Readiness::READ | Readiness::WRITE;
                assert!(ready.contains(flows), "{interest:?} {trigger:?}: {ready:?}");
                fixture.remove(here.number());
                assert_eq!(fixture.now(), []);
            }
        }
    }
}

pub(super) fn a_hangup_is_reported_without_any_interest(mut fixture: Fixture) {
    for trigger in TRIGGERS {
        let (here, there) = fixture.pair();
        fixture.register(here.number(), 1, Interest::NONE, trigger);
        there.put(b"unread");
        there.shutdown(Shutdown::Write);
        assert_eq!(
            fixture.now(),
            [],
            "{trigger:?}: neither bytes nor a half-close are reported"
        );
        drop(there);
        until_hangup(&mut fixture, here.number(), Interest::NONE, trigger);
        fixture.remove(here.number());
        assert_eq!(fixture.now(), []);

        let (here, there) = fixture.tcp();
        fixture.register(here.number(), 1, Interest::NONE, trigger);
        there.reset();
        let ready = until_hangup(&mut fixture, here.number(), Interest::NONE, trigger);
        assert!(ready.contains(Readiness::ERROR), "{trigger:?}: {ready:?}");
        fixture.remove(here.number());
    }
}

pub(super) fn a_half_close_that_becomes_whole_is_a_hangup(mut fixture: Fixture) {
    for interest in [Interest::READ, Interest::BOTH] {
        for trigger in [Trigger::Level, Trigger::Edge] {
            let (here, there) = fixture.pair();
            let fd = here.number();
            fixture.register(fd, 1, interest, trigger);
            there.shutdown(Shutdown::Write);
            let half = fixture.until(1, Readiness::READ | Readiness::READ_CLOSED);
            assert!(!half.is_hangup(), "{interest:?} {trigger:?}: {half:?}");
            for _ in 0..3 {
                assert!(fixture.now().iter().all(|event| !event.ready().is_hangup()));
            }
            fixture.rearm(fd, 1, Interest::READ);
            drop(there);
            until_hangup(&mut fixture, fd, interest, trigger);
            fixture.remove(fd);
        }
    }
}

/// The pipe has no room, so that nothing but the hangup can be reported.
pub(super) fn a_full_pipe_without_a_reader_is_reported_to_its_writer(mut fixture: Fixture) {
    for interest in [Interest::WRITE, Interest::BOTH] {
        for trigger in TRIGGERS {
            let (reader, writer) = fixture.pipe();
            writer.fill();
            fixture.register(writer.number(), 1, interest, trigger);
            assert_eq!(fixture.now(), [], "{trigger:?}: the pipe is full");
            drop(reader);
            let ready = until_hangup(&mut fixture, writer.number(), interest, trigger);
            assert!(ready.contains(Readiness::WRITE), "{trigger:?}: {ready:?}");
            fixture.remove(writer.number());
        }
    }
}

/// A level hangup is reported by every wait, and does not end the registration.
pub(super) fn a_level_hangup_of_a_pipe_is_reported_by_every_wait(mut fixture: Fixture) {
    for interest in [Interest::NONE, Interest::WRITE, Interest::BOTH] {
        for fill in [false, true] {
            let (reader, writer) = fixture.pipe();
            if fill {
                writer.fill();
            }
            fixture.register(writer.number(), 1, interest, Trigger::Level);
            fixture.now();
            drop(reader);
            until_hangup(&mut fixture, writer.number(), interest, Trigger::Level);
            for _ in 0..3 {
                let ready = fixture.next_for(1);
                assert!(ready.is_hangup(), "{interest:?}: {ready:?}");
            }
            let again = fixture
                .poller()
                .register(writer.number(), 2, interest, Trigger::Level);
            let kind = again.map_err(|error| error.kind());
            assert_eq!(kind, Err(ErrorKind::AlreadyExists), "{interest:?}");
            assert!(fixture.next_for(1).is_hangup(), "{interest:?}");
            fixture.remove(writer.number());
            assert_eq!(fixture.now(), []);
        }
    }
}
