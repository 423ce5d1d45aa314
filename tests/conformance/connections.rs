//! The notes' *connect ready*, from both ends, and urgent data.

use std::io;

use readily::poll::{Interest, Readiness, Trigger};

use super::kit::{World, next_for, now, rearm, until};

pub fn a_listener_is_readable_while_a_connection_waits(mut poller: World) {
    let (listener, address) = poller.listener();
    poller
        .register(listener.number(), 1, Interest::READ, Trigger::Level)
        .unwrap();
    assert_eq!(now(&mut *poller), []);
    let _client = poller.connect(address);
    for _ in 0..2 {
        assert_eq!(next_for(&mut *poller, 1), Readiness::READ);
    }
    listener.accept().unwrap();
    assert_eq!(now(&mut *poller), []);
}

pub fn a_listener_by_the_edge_tells_of_each_arrival(mut poller: World) {
    let (listener, address) = poller.listener();
    poller
        .register(listener.number(), 1, Interest::READ, Trigger::Edge)
        .unwrap();
    for _ in 0..3 {
        let _client = poller.connect(address);
        assert_eq!(next_for(&mut *poller, 1), Readiness::READ);
        listener.accept().unwrap();
        let none = listener.accept().err().unwrap();
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        rearm(&mut *poller, listener.number(), 1, Interest::READ);
        assert_eq!(now(&mut *poller), []);
    }
}

pub fn a_connection_that_is_through_is_writable(mut poller: World) {
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::OneShot] {
        let (_listener, address) = poller.listener();
        let client = poller.connect(address);
        poller
            .register(client.number(), 1, Interest::WRITE, trigger)
            .unwrap();
        assert_eq!(next_for(&mut *poller, 1), Readiness::WRITE);
        assert!(client.take_error().is_none());
        assert!(client.is_connected());
        poller.remove(client.number()).unwrap();
    }
}

pub fn a_refused_connection_is_writable_with_its_error(mut poller: World) {
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::OneShot] {
        let (listener, address) = poller.listener();
        drop(listener);
        let client = poller.connect(address);
        poller
            .register(client.number(), 1, Interest::WRITE, trigger)
            .unwrap();
        let ready = next_for(&mut *poller, 1);
        assert!(
            ready.contains(Readiness::WRITE) && ready.is_hangup(),
            "{ready:?}"
        );
        let error = client.take_error().expect("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        poller.remove(client.number()).unwrap();
    }
}

pub fn urgent_data_is_told_to_who_asked(mut poller: World) {
    if poller.rearms() == Interest::WRITE {
        return; // a kqueue, which does not know of it
    }
    let (here, there) = poller.tcp();
    poller
        .register(here.number(), 1, Interest::PRIORITY, Trigger::Level)
        .unwrap();
    assert_eq!(now(&mut *poller), []);
    there.send_urgent();
    assert!(until(&mut *poller, 1, Readiness::PRIORITY).contains(Readiness::PRIORITY));
}

pub fn urgent_data_is_not_told_to_who_did_not_ask(mut poller: World) {
    let (here, there) = poller.tcp();
    poller
        .register(here.number(), 1, Interest::BOTH, Trigger::Level)
        .unwrap();
    there.send_urgent();
    for _ in 0..3 {
        assert!(!next_for(&mut *poller, 1).contains(Readiness::PRIORITY));
    }
}
