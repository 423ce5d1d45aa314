//! Promises about connections: readiness of the client and of the listener, and urgent data.
//!
//! Readiness alone does not show whether a connection was made: a refused one is writable too. So
//! these tests read `SO_ERROR` and the peer, as the loop does.
//!
//! In the notes: *connect ready*, the first branch (N7).

use super::Fixture;
use readily::{Interest, Readiness, Trigger};
use std::io;

pub(super) fn a_listener_is_readable_while_a_connection_waits(mut fixture: Fixture) {
    let (listener, address) = fixture.listener();
    fixture.register(listener.number(), 1, Interest::READ, Trigger::Level);
    assert_eq!(fixture.now(), []);
    let _client = fixture.connect(address);
    for _ in 0..2 {
        assert_eq!(fixture.next_for(1), Readiness::READ);
    }
    listener.accept().expect("a connection waits");
    assert_eq!(fixture.now(), []);
}

pub(super) fn an_edge_listener_reports_each_arrival(mut fixture: Fixture) {
    let (listener, address) = fixture.listener();
    fixture.register(listener.number(), 1, Interest::READ, Trigger::Edge);
    for _ in 0..3 {
        let _client = fixture.connect(address);
        assert_eq!(fixture.next_for(1), Readiness::READ);
        assert_eq!(fixture.now(), [], "reported twice");
        listener.accept().expect("a connection waits");
        let none = listener.accept().expect_err("only one connection waits");
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        fixture.rearm(listener.number(), 1, Interest::READ);
        assert_eq!(fixture.now(), []);
    }
}

pub(super) fn an_established_connection_is_writable(mut fixture: Fixture) {
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::OneShot] {
        let (_listener, address) = fixture.listener();
        let client = fixture.connect(address);
        fixture.register(client.number(), 1, Interest::WRITE, trigger);
        assert_eq!(fixture.next_for(1), Readiness::WRITE);
        assert!(client.take_error().is_none());
        assert!(client.is_connected());
        fixture.remove(client.number());
    }
}

pub(super) fn a_refused_connection_is_writable_with_its_error(mut fixture: Fixture) {
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::OneShot] {
        let (listener, address) = fixture.listener();
        drop(listener);
        let client = fixture.connect(address);
        fixture.register(client.number(), 1, Interest::WRITE, trigger);
        let ready = fixture.next_for(1);
        assert!(
            ready.contains(Readiness::WRITE) && ready.is_hangup(),
            "{ready:?}"
        );
        let error = client.take_error().expect("the port has no listener");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        fixture.remove(client.number());
    }
}

pub(super) fn urgent_data_is_reported_with_priority_interest(mut fixture: Fixture) {
    if !fixture.has_urgent_data() {
        return;
    }
    let (here, there) = fixture.tcp();
    fixture.register(here.number(), 1, Interest::PRIORITY, Trigger::Level);
    assert_eq!(fixture.now(), []);
    there.send_urgent();
    assert!(
        fixture
            .until(1, Readiness::PRIORITY)
            .contains(Readiness::PRIORITY)
    );
}

pub(super) fn urgent_data_is_not_reported_without_priority_interest(mut fixture: Fixture) {
    let (here, there) = fixture.tcp();
    fixture.register(here.number(), 1, Interest::BOTH, Trigger::Level);
    there.send_urgent();
    for _ in 0..3 {
        assert!(!fixture.next_for(1).contains(Readiness::PRIORITY));
    }
}
