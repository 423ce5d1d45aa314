//! The notes' *connect ready*, from both ends, and urgent data.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};

use readily::poll::{Interest, Poller, Readiness, Trigger};
use readily_sys::socket;

use super::kit::{next_for, now, number, rearm, send_urgent, tcp, until};

fn listener() -> (OwnedFd, std::net::SocketAddr) {
    let listener = socket::listen_tcp(&"127.0.0.1:0".parse().unwrap(), 16).unwrap();
    let address = TcpListener::from(listener.try_clone().unwrap())
        .local_addr()
        .unwrap();
    (listener, address)
}

pub fn a_listener_is_readable_while_a_connection_waits(mut poller: Box<dyn Poller>) {
    let (listener, address) = listener();
    poller
        .register(number(&listener), 1, Interest::READ, Trigger::Level)
        .unwrap();
    assert_eq!(now(&mut *poller), []);
    let _client = std::net::TcpStream::connect(address).unwrap();
    for _ in 0..2 {
        assert_eq!(next_for(&mut *poller, 1), Readiness::READ);
    }
    socket::accept(listener.as_fd()).unwrap();
    assert_eq!(now(&mut *poller), []);
}

pub fn a_listener_by_the_edge_tells_of_each_arrival(mut poller: Box<dyn Poller>) {
    let (listener, address) = listener();
    poller
        .register(number(&listener), 1, Interest::READ, Trigger::Edge)
        .unwrap();
    for _ in 0..3 {
        let _client = std::net::TcpStream::connect(address).unwrap();
        assert_eq!(next_for(&mut *poller, 1), Readiness::READ);
        socket::accept(listener.as_fd()).unwrap();
        let none = socket::accept(listener.as_fd()).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        rearm(&mut *poller, number(&listener), 1, Interest::READ);
        assert_eq!(now(&mut *poller), []);
    }
}

pub fn a_connection_that_is_through_is_writable(mut poller: Box<dyn Poller>) {
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::OneShot] {
        let (_listener, address) = listener();
        let client = socket::connect_tcp(&address).unwrap();
        poller
            .register(number(&client), 1, Interest::WRITE, trigger)
            .unwrap();
        assert_eq!(next_for(&mut *poller, 1), Readiness::WRITE);
        assert!(socket::take_error(client.as_fd()).unwrap().is_none());
        assert!(socket::is_connected(client.as_fd()).unwrap());
        poller.remove(number(&client)).unwrap();
    }
}

pub fn a_refused_connection_is_writable_with_its_error(mut poller: Box<dyn Poller>) {
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::OneShot] {
        let (listener, address) = listener();
        drop(listener);
        let client = socket::connect_tcp(&address).unwrap();
        poller
            .register(number(&client), 1, Interest::WRITE, trigger)
            .unwrap();
        let ready = next_for(&mut *poller, 1);
        assert!(
            ready.contains(Readiness::WRITE) && ready.is_hangup(),
            "{ready:?}"
        );
        let error = socket::take_error(client.as_fd())
            .unwrap()
            .expect("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        poller.remove(number(&client)).unwrap();
    }
}

pub fn urgent_data_is_told_to_who_asked(mut poller: Box<dyn Poller>) {
    if poller.rearms() == Interest::WRITE {
        return; // a kqueue, which does not know of it
    }
    let (here, there) = tcp();
    poller
        .register(number(&here), 1, Interest::PRIORITY, Trigger::Level)
        .unwrap();
    assert_eq!(now(&mut *poller), []);
    send_urgent(&there);
    assert!(until(&mut *poller, 1, Readiness::PRIORITY).contains(Readiness::PRIORITY));
}

pub fn urgent_data_is_not_told_to_who_did_not_ask(mut poller: Box<dyn Poller>) {
    let (here, there) = tcp();
    poller
        .register(number(&here), 1, Interest::BOTH, Trigger::Level)
        .unwrap();
    send_urgent(&there);
    for _ in 0..3 {
        assert!(!next_for(&mut *poller, 1).contains(Readiness::PRIORITY));
    }
}
