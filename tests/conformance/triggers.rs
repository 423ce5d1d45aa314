//! When a condition is reported, and how often.

use std::io::{Read, Write};

use readily::poll::{Interest, Readiness, Trigger};

use super::kit::{World, next_for, now, rearm};

const TRIGGERS: [Trigger; 3] = [Trigger::Level, Trigger::Edge, Trigger::OneShot];

/// Reads until `WouldBlock`.
fn drain(mut from: impl Read) -> usize {
    let (mut buf, mut sum) = ([0; 65536], 0);
    while let Ok(n @ 1..) = from.read(&mut buf) {
        sum += n;
    }
    sum
}

/// Writes until `WouldBlock`.
fn fill(mut to: impl Write) -> usize {
    let mut sum = 0;
    while let Ok(n) = to.write(&[0; 65536]) {
        sum += n;
    }
    sum
}

pub fn a_level_event_repeats_until_drained(mut poller: World) {
    let (here, there) = poller.pair();
    poller
        .register(here.number(), 1, Interest::READ, Trigger::Level)
        .unwrap();
    assert_eq!(now(&mut *poller), []);
    (&there).write_all(b"ab").unwrap();
    for _ in 0..3 {
        assert_eq!(next_for(&mut *poller, 1), Readiness::READ);
    }
    (&here).read_exact(&mut [0]).unwrap();
    assert_eq!(
        next_for(&mut *poller, 1),
        Readiness::READ,
        "one byte is left"
    );
    drain(&here);
    assert_eq!(now(&mut *poller), []);
}

pub fn an_edge_is_reported_once_and_again_for_new_data(mut poller: World) {
    let (here, there) = poller.pair();
    let fd = here.number();
    poller
        .register(fd, 1, Interest::READ, Trigger::Edge)
        .unwrap();
    assert_eq!(now(&mut *poller), []);
    for _ in 0..3 {
        (&there).write_all(b"ab").unwrap();
        assert_eq!(next_for(&mut *poller, 1), Readiness::READ);
        assert_eq!(now(&mut *poller), [], "told twice");
        drain(&here);
        rearm(&mut *poller, fd, 1, Interest::READ);
        assert_eq!(now(&mut *poller), [], "told of nothing");
    }
}

pub fn an_edge_before_the_registration_is_reported(mut poller: World) {
    let (here, there) = poller.pair();
    (&there).write_all(b"a").unwrap();
    poller
        .register(here.number(), 1, Interest::BOTH, Trigger::Edge)
        .unwrap();
    assert_eq!(
        next_for(&mut *poller, 1),
        Readiness::READ | Readiness::WRITE
    );
    assert_eq!(now(&mut *poller), []);
}

pub fn rearming_reports_again_what_still_holds(mut poller: World) {
    let (here, there) = poller.pair();
    (&there).write_all(b"a").unwrap();
    let directions = [
        (Interest::READ, Readiness::READ),
        (Interest::WRITE, Readiness::WRITE),
    ];
    poller
        .register(here.number(), 1, Interest::BOTH, Trigger::Edge)
        .unwrap();
    assert_eq!(
        next_for(&mut *poller, 1),
        Readiness::READ | Readiness::WRITE
    );
    for (interest, ready) in directions {
        if poller.rearms().contains(interest) {
            poller.rearm(here.number(), 1, interest).unwrap();
            assert_eq!(
                next_for(&mut *poller, 1),
                ready,
                "the other was not asked for"
            );
            assert_eq!(now(&mut *poller), []);
        } else {
            // Allowed, and of no use; it may be told once more.
            poller.rearm(here.number(), 1, interest).unwrap();
            now(&mut *poller);
            assert_eq!(now(&mut *poller), []);
        }
    }
}

pub fn rearming_leaves_level_and_oneshot_alone(mut poller: World) {
    let (here, there) = poller.pair();
    (&there).write_all(b"a").unwrap();
    poller
        .register(here.number(), 1, Interest::READ, Trigger::OneShot)
        .unwrap();
    next_for(&mut *poller, 1);
    poller.rearm(here.number(), 1, Interest::BOTH).unwrap();
    assert_eq!(now(&mut *poller), []);
    poller
        .modify(here.number(), 1, Interest::READ, Trigger::Level)
        .unwrap();
    poller.rearm(here.number(), 1, Interest::BOTH).unwrap();
    assert_eq!(
        next_for(&mut *poller, 1),
        Readiness::READ,
        "the interest was READ alone"
    );
}

pub fn a_oneshot_is_silent_until_modified(mut poller: World) {
    let (here, there) = poller.pair();
    let fd = here.number();
    poller
        .register(fd, 1, Interest::READ, Trigger::OneShot)
        .unwrap();
    for token in 2..5 {
        (&there).write_all(b"a").unwrap();
        next_for(&mut *poller, token - 1);
        (&there).write_all(b"b").unwrap();
        assert_eq!(now(&mut *poller), []);
        drain(&here);
        poller
            .modify(fd, token, Interest::READ, Trigger::OneShot)
            .unwrap();
        assert_eq!(now(&mut *poller), []);
    }
}

pub fn a_oneshot_in_one_direction_silences_the_other(mut poller: World) {
    let (here, there) = poller.pair();
    poller
        .register(here.number(), 1, Interest::BOTH, Trigger::OneShot)
        .unwrap();
    assert_eq!(next_for(&mut *poller, 1), Readiness::WRITE);
    (&there).write_all(b"a").unwrap();
    assert_eq!(now(&mut *poller), []);
    drop(there);
    assert_eq!(now(&mut *poller), []);
    poller
        .modify(here.number(), 1, Interest::READ, Trigger::OneShot)
        .unwrap();
    assert!(next_for(&mut *poller, 1).contains(Readiness::READ));
}

pub fn modify_asks_anew_under_every_trigger(mut poller: World) {
    let (here, there) = poller.pair();
    let fd = here.number();
    (&there).write_all(b"a").unwrap();
    poller
        .register(fd, 1, Interest::BOTH, Trigger::Level)
        .unwrap();
    for (token, (from, to)) in (2..).zip(TRIGGERS.iter().flat_map(|f| TRIGGERS.map(|t| (f, t)))) {
        poller.modify(fd, token, Interest::BOTH, *from).unwrap();
        assert_eq!(
            next_for(&mut *poller, token),
            Readiness::READ | Readiness::WRITE
        );
        poller.modify(fd, token, Interest::BOTH, to).unwrap();
        let ready = next_for(&mut *poller, token);
        assert_eq!(
            ready,
            Readiness::READ | Readiness::WRITE,
            "from {from:?} to {to:?}"
        );
        let repeats = now(&mut *poller).len();
        assert_eq!(
            repeats,
            usize::from(to == Trigger::Level),
            "from {from:?} to {to:?}"
        );
    }
}

pub fn modify_takes_the_new_interest_alone(mut poller: World) {
    let (here, there) = poller.pair();
    let fd = here.number();
    (&there).write_all(b"a").unwrap();
    for trigger in TRIGGERS {
        poller.register(fd, 1, Interest::READ, trigger).unwrap();
        assert_eq!(next_for(&mut *poller, 1), Readiness::READ);
        poller.modify(fd, 1, Interest::WRITE, trigger).unwrap();
        assert_eq!(next_for(&mut *poller, 1), Readiness::WRITE);
        poller.modify(fd, 1, Interest::NONE, trigger).unwrap();
        assert_eq!(now(&mut *poller), []);
        poller.modify(fd, 1, Interest::READ, trigger).unwrap();
        assert_eq!(next_for(&mut *poller, 1), Readiness::READ);
        poller.remove(fd).unwrap();
    }
}

pub fn no_interest_is_silent_about_data(mut poller: World) {
    for trigger in TRIGGERS {
        let (here, there) = poller.pair();
        poller
            .register(here.number(), 1, Interest::NONE, trigger)
            .unwrap();
        (&there).write_all(b"a").unwrap();
        assert_eq!(now(&mut *poller), [], "{trigger:?}");
        poller.remove(here.number()).unwrap();
    }
}

pub fn a_full_buffer_is_not_writable_until_drained(mut poller: World) {
    let (here, there) = poller.pair();
    fill(&here);
    poller
        .register(here.number(), 1, Interest::WRITE, Trigger::Level)
        .unwrap();
    assert_eq!(now(&mut *poller), []);
    drain(&there);
    assert_eq!(next_for(&mut *poller, 1), Readiness::WRITE);
}

pub fn a_writing_edge_comes_with_every_room_that_is_made(mut poller: World) {
    let (here, there) = poller.tcp();
    let fd = here.number();
    poller
        .register(fd, 1, Interest::WRITE, Trigger::Edge)
        .unwrap();
    let mut sent = 0;
    for _ in 0..3 {
        assert_eq!(next_for(&mut *poller, 1), Readiness::WRITE);
        sent += fill(&here);
        rearm(&mut *poller, fd, 1, Interest::WRITE);
        // What is on its way may make room meanwhile; all that is, has to be read.
        while sent > 0 {
            let n = drain(&there);
            sent -= n;
            std::thread::yield_now();
        }
    }
}

pub fn an_edge_in_one_direction_leaves_the_other_waiting(mut poller: World) {
    let (here, there) = poller.pair();
    poller
        .register(here.number(), 1, Interest::BOTH, Trigger::Edge)
        .unwrap();
    assert_eq!(next_for(&mut *poller, 1), Readiness::WRITE);
    (&there).write_all(b"a").unwrap();
    assert!(next_for(&mut *poller, 1).contains(Readiness::READ));
    assert_eq!(now(&mut *poller), []);
}
