//! Promises about when a condition is reported, and how often.
//!
//! A level is reported by every wait while it holds, an edge once when it begins, a one-shot once until
//! it is modified. The tests rearm an edge only in the directions of `rearm_interest`.

use super::Fixture;
use readily::{Interest, Readiness, Trigger};

const TRIGGERS: [Trigger; 3] = [Trigger::Level, Trigger::Edge, Trigger::OneShot];

pub(super) fn a_level_event_repeats_until_drained(mut fixture: Fixture) {
    let (here, there) = fixture.pair();
    fixture.register(here.number(), 1, Interest::READ, Trigger::Level);
    assert_eq!(fixture.now(), []);
    there.put(b"ab");
    for _ in 0..3 {
        assert_eq!(fixture.next_for(1), Readiness::READ);
    }
    here.take(1);
    assert_eq!(fixture.next_for(1), Readiness::READ, "one byte is left");
    here.drain();
    assert_eq!(fixture.now(), []);
}

pub(super) fn an_edge_is_reported_once_and_again_for_new_data(mut fixture: Fixture) {
    let (here, there) = fixture.pair();
    let fd = here.number();
    fixture.register(fd, 1, Interest::READ, Trigger::Edge);
    assert_eq!(fixture.now(), []);
    for _ in 0..3 {
        there.put(b"ab");
        assert_eq!(fixture.next_for(1), Readiness::READ);
        assert_eq!(fixture.now(), [], "reported twice");
        here.drain();
        fixture.rearm(fd, 1, Interest::READ);
        assert_eq!(fixture.now(), [], "reported without new data");
    }
}

pub(super) fn an_edge_before_the_registration_is_reported(mut fixture: Fixture) {
    let (here, there) = fixture.pair();
    there.put(b"a");
    fixture.register(here.number(), 1, Interest::BOTH, Trigger::Edge);
    assert_eq!(fixture.next_for(1), Readiness::READ | Readiness::WRITE);
    assert_eq!(fixture.now(), []);
}

pub(super) fn rearming_reports_again_what_still_holds(mut fixture: Fixture) {
    let (here, there) = fixture.pair();
    there.put(b"a");
    let directions = [
        (Interest::READ, Readiness::READ),
        (Interest::WRITE, Readiness::WRITE),
    ];
    fixture.register(here.number(), 1, Interest::BOTH, Trigger::Edge);
    assert_eq!(fixture.next_for(1), Readiness::READ | Readiness::WRITE);
    for (interest, ready) in directions {
        if fixture.poller().rearm_interest().contains(interest) {
            fixture.rearm_anyway(here.number(), 1, interest);
            assert_eq!(
                fixture.next_for(1),
                ready,
                "only this direction was rearmed"
            );
            assert_eq!(fixture.now(), []);
        } else {
            // Allowed, but not needed: the edge may be reported once more.
            fixture.rearm_anyway(here.number(), 1, interest);
            fixture.now();
            assert_eq!(fixture.now(), []);
        }
    }
}

pub(super) fn rearming_leaves_level_and_oneshot_alone(mut fixture: Fixture) {
    let (here, there) = fixture.pair();
    there.put(b"a");
    fixture.register(here.number(), 1, Interest::READ, Trigger::OneShot);
    fixture.next_for(1);
    fixture.rearm_anyway(here.number(), 1, Interest::BOTH);
    assert_eq!(fixture.now(), []);
    fixture.modify(here.number(), 1, Interest::READ, Trigger::Level);
    fixture.rearm_anyway(here.number(), 1, Interest::BOTH);
    assert_eq!(
        fixture.next_for(1),
        Readiness::READ,
        "the interest was READ alone"
    );
}

pub(super) fn a_oneshot_is_silent_until_modified(mut fixture: Fixture) {
    let (here, there) = fixture.pair();
    let fd = here.number();
    fixture.register(fd, 1, Interest::READ, Trigger::OneShot);
    for token in 2..5 {
        there.put(b"a");
        fixture.next_for(token - 1);
        there.put(b"b");
        assert_eq!(fixture.now(), []);
        here.drain();
        fixture.modify(fd, token, Interest::READ, Trigger::OneShot);
        assert_eq!(fixture.now(), []);
    }
}

pub(super) fn a_oneshot_in_one_direction_silences_the_other(mut fixture: Fixture) {
    let (here, there) = fixture.pair();
    fixture.register(here.number(), 1, Interest::BOTH, Trigger::OneShot);
    assert_eq!(fixture.next_for(1), Readiness::WRITE);
    there.put(b"a");
    assert_eq!(fixture.now(), []);
    drop(there);
    assert_eq!(fixture.now(), []);
    fixture.modify(here.number(), 1, Interest::READ, Trigger::OneShot);
    assert!(fixture.next_for(1).contains(Readiness::READ));
}

pub(super) fn modify_reports_what_is_ready_under_every_trigger(mut fixture: Fixture) {
    let (here, there) = fixture.pair();
    let fd = here.number();
    there.put(b"a");
    fixture.register(fd, 1, Interest::BOTH, Trigger::Level);
    for (token, (from, to)) in (2..).zip(TRIGGERS.iter().flat_map(|f| TRIGGERS.map(|t| (f, t)))) {
        fixture.modify(fd, token, Interest::BOTH, *from);
        assert_eq!(fixture.next_for(token), Readiness::READ | Readiness::WRITE);
        fixture.modify(fd, token, Interest::BOTH, to);
        let ready = fixture.next_for(token);
        assert_eq!(
            ready,
            Readiness::READ | Readiness::WRITE,
            "from {from:?} to {to:?}"
        );
        let repeats = fixture.now().len();
        assert_eq!(
            repeats,
            usize::from(to == Trigger::Level),
            "from {from:?} to {to:?}"
        );
    }
}

pub(super) fn modify_takes_the_new_interest_alone(mut fixture: Fixture) {
    let (here, there) = fixture.pair();
    let fd = here.number();
    there.put(b"a");
    for trigger in TRIGGERS {
        fixture.register(fd, 1, Interest::READ, trigger);
        assert_eq!(fixture.next_for(1), Readiness::READ);
        fixture.modify(fd, 1, Interest::WRITE, trigger);
        assert_eq!(fixture.next_for(1), Readiness::WRITE);
        fixture.modify(fd, 1, Interest::NONE, trigger);
        assert_eq!(fixture.now(), []);
        fixture.modify(fd, 1, Interest::READ, trigger);
        assert_eq!(fixture.next_for(1), Readiness::READ);
        fixture.remove(fd);
    }
}

pub(super) fn no_interest_is_silent_about_data(mut fixture: Fixture) {
    for trigger in TRIGGERS {
        let (here, there) = fixture.pair();
        fixture.register(here.number(), 1, Interest::NONE, trigger);
        there.put(b"a");
        assert_eq!(fixture.now(), [], "{trigger:?}");
        fixture.remove(here.number());
    }
}

pub(super) fn a_full_buffer_is_not_writable_until_drained(mut fixture: Fixture) {
    let (here, there) = fixture.pair();
    here.fill();
    fixture.register(here.number(), 1, Interest::WRITE, Trigger::Level);
    assert_eq!(fixture.now(), []);
    there.drain();
    assert_eq!(fixture.next_for(1), Readiness::WRITE);
}

pub(super) fn a_write_edge_is_reported_each_time_room_is_made(mut fixture: Fixture) {
    let (here, there) = fixture.tcp();
    let fd = here.number();
    fixture.register(fd, 1, Interest::WRITE, Trigger::Edge);
    let mut sent = 0;
    for _ in 0..3 {
        assert_eq!(fixture.next_for(1), Readiness::WRITE);
        sent += here.fill();
        fixture.rearm(fd, 1, Interest::WRITE);
        // Bytes in flight may make room meanwhile, so all of them have to be read.
        while sent > 0 {
            let n = there.drain();
            sent -= n;
            std::thread::yield_now();
        }
    }
}

pub(super) fn an_edge_in_one_direction_leaves_the_other_waiting(mut fixture: Fixture) {
    let (here, there) = fixture.pair();
    fixture.register(here.number(), 1, Interest::BOTH, Trigger::Edge);
    assert_eq!(fixture.next_for(1), Readiness::WRITE);
    there.put(b"a");
    assert!(fixture.next_for(1).contains(Readiness::READ));
    assert_eq!(fixture.now(), []);
}
