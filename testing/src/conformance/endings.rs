//! Promises about what is over as a whole: that it is told whatever was asked for.
//!
//! Who asks for one direction hears of the end of both, for there is nobody else to close what
//! is over. Some systems report it unasked, with others the poller has to ask for it.
//!
//! In the notes this is the *hangup* of N7.

use super::World;
use readily::poll::{Interest, Readiness, Trigger};
use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::fd::RawFd;

const TRIGGERS: [Trigger; 3] = [Trigger::Level, Trigger::Edge, Trigger::OneShot];

/// As many events it may take until a hangup is one of them: each side may be told by itself.
const MOST_EVENTS: usize = 4;

/// Waits for one event that is a hangup as a whole. A one-shot is asked for again after others.
#[track_caller]
fn until_hangup(world: &mut World, fd: RawFd, interest: Interest, trigger: Trigger) -> Readiness {
    let mut told = Vec::new();
    while told.len() < MOST_EVENTS {
        let ready = world.next_for(1);
        if ready.is_hangup() {
            return ready;
        }
        told.push(ready);
        if trigger == Trigger::OneShot {
            world.modify(fd, 1, interest, trigger);
        }
    }
    panic!("{interest:?} {trigger:?}: never a hangup, only {told:?}");
}

/// Who asks for one direction hears of the end of both, in one event.
pub(super) fn a_full_close_is_a_hangup_whatever_was_asked_for(mut world: World) {
    for interest in [Interest::READ, Interest::WRITE] {
        for trigger in TRIGGERS {
            for before in [true, false] {
                let (here, there) = world.pair();
                let mut there = Some(there);
                if before {
                    there = None;
                }
                world.register(here.number(), 1, interest, trigger);
                if interest == Interest::WRITE && !before {
                    assert_eq!(world.next_for(1), Readiness::WRITE, "it has room");
                    match trigger {
                        Trigger::OneShot => world.modify(here.number(), 1, interest, trigger),
                        _ => world.rearm(here.number(), 1, interest),
                    }
                }
                drop(there);
                let ready = until_hangup(&mut world, here.number(), interest, trigger);
                let flows = Readiness::READ | Readiness::WRITE;
                assert!(ready.contains(flows), "{interest:?} {trigger:?}: {ready:?}");
                world.remove(here.number());
                assert_eq!(world.now(), []);
            }
        }
    }
}

pub(super) fn a_hangup_is_reported_without_any_interest(mut world: World) {
    for trigger in TRIGGERS {
        let (here, there) = world.pair();
        world.register(here.number(), 1, Interest::NONE, trigger);
        there.put(b"unread");
        there.shutdown(Shutdown::Write);
        assert_eq!(
            world.now(),
            [],
            "{trigger:?}: neither bytes nor half an end"
        );
        drop(there);
        until_hangup(&mut world, here.number(), Interest::NONE, trigger);
        world.remove(here.number());
        assert_eq!(world.now(), []);

        let (here, there) = world.tcp();
        world.register(here.number(), 1, Interest::NONE, trigger);
        there.reset();
        let ready = until_hangup(&mut world, here.number(), Interest::NONE, trigger);
        assert!(ready.contains(Readiness::ERROR), "{trigger:?}: {ready:?}");
        world.remove(here.number());
    }
}

pub(super) fn a_half_close_that_becomes_whole_is_a_hangup(mut world: World) {
    for interest in [Interest::READ, Interest::BOTH] {
        for trigger in [Trigger::Level, Trigger::Edge] {
            let (here, there) = world.pair();
            let fd = here.number();
            world.register(fd, 1, interest, trigger);
            there.shutdown(Shutdown::Write);
            let half = world.until(1, Readiness::READ | Readiness::READ_CLOSED);
            assert!(!half.is_hangup(), "{interest:?} {trigger:?}: {half:?}");
            for _ in 0..3 {
                assert!(world.now().iter().all(|event| !event.ready.is_hangup()));
            }
            world.rearm(fd, 1, Interest::READ);
            drop(there);
            until_hangup(&mut world, fd, interest, trigger);
            world.remove(fd);
        }
    }
}

/// It has no room, so nothing but the end can be told.
pub(super) fn a_full_pipe_without_a_reader_is_reported_to_its_writer(mut world: World) {
    for interest in [Interest::WRITE, Interest::BOTH] {
        for trigger in TRIGGERS {
            let (reader, writer) = world.pipe();
            writer.fill();
            world.register(writer.number(), 1, interest, trigger);
            assert_eq!(world.now(), [], "{trigger:?}: it is full");
            drop(reader);
            let ready = until_hangup(&mut world, writer.number(), interest, trigger);
            assert!(ready.contains(Readiness::WRITE), "{trigger:?}: {ready:?}");
            world.remove(writer.number());
        }
    }
}

/// By the level an end is told in every wait, and it does not end the registration.
pub(super) fn the_end_of_a_pipe_is_reported_again_and_again_by_the_level(mut world: World) {
    for interest in [Interest::NONE, Interest::WRITE, Interest::BOTH] {
        for fill in [false, true] {
            let (reader, writer) = world.pipe();
            if fill {
                writer.fill();
            }
            world.register(writer.number(), 1, interest, Trigger::Level);
            world.now();
            drop(reader);
            until_hangup(&mut world, writer.number(), interest, Trigger::Level);
            for _ in 0..3 {
                let ready = world.next_for(1);
                assert!(ready.is_hangup(), "{interest:?}: {ready:?}");
            }
            let again = world
                .poller()
                .register(writer.number(), 2, interest, Trigger::Level);
            let kind = again.map_err(|error| error.kind());
            assert_eq!(kind, Err(ErrorKind::AlreadyExists), "{interest:?}");
            assert!(world.next_for(1).is_hangup(), "{interest:?}");
            world.remove(writer.number());
            assert_eq!(world.now(), []);
        }
    }
}
