//! Transports, protocols and their servers, on real sockets (R123, R372 to R375).
//!
//! Invariants: D1, D2, D3, D4, L2.

use crate::support::{
    Count, collect_unhandled, guard, listener, reset, strict_loop, tcp_pair, turn_times,
    turn_until, unused_addr,
};
use readily::event_loop::Accepted;
use readily::transport::{Protocol, Server, ServerClosed, Transport, WriteError};
use readily::{Closures, Cx, Error, EventLoop, Interest, PanicPolicy, Runner};
use readily_testing::Kernel;
use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

type Calls = Rc<RefCell<Vec<String>>>;

type Act = Box<dyn FnMut(&str, &Transport)>;

/// Writes down its calls, and does at each what the test says.
struct Logged {
    calls: Calls,
    at: Act,
}

impl Logged {
    fn new(at: impl FnMut(&str, &Transport) + 'static) -> (Self, Calls) {
        let calls = Calls::default();
        let at = Box::new(at);
        let logged = Self {
            calls: Rc::clone(&calls),
            at,
        };
        (logged, calls)
    }

    fn quiet() -> (Self, Calls) {
        Self::new(|call, transport| {
            if call == "end" {
                transport.close();
            }
        })
    }

    fn call(&mut self, transport: &Transport, call: &str) {
        self.calls.borrow_mut().push(call.to_owned());
        (self.at)(call, transport);
    }
}

impl Protocol for Logged {
    fn connection_made(&mut self, transport: &Transport) {
        self.call(transport, "made");
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.call(transport, &String::from_utf8_lossy(data));
    }

    fn eof_received(&mut self, transport: &Transport) {
        self.call(transport, "end");
    }

    fn pause_writing(&mut self, transport: &Transport) {
        self.call(transport, "pause");
    }

    fn resume_writing(&mut self, transport: &Transport) {
        self.call(transport, "resume");
    }

    fn timed_out(&mut self, transport: &Transport) {
        self.call(transport, "late");
    }

    fn server_draining(&mut self, transport: &Transport) {
        self.call(transport, "drain");
    }

    fn connection_lost(&mut self, transport: &Transport, error: Option<std::io::Error>) {
        let call = match error {
            None => "lost".to_owned(),
            Some(error) => format!("lost: {:?}", error.kind()),
        };
        self.call(transport, &call);
    }
}

fn said(calls: &Calls) -> String {
    calls.borrow().join(" ")
}

fn turn_until_said(event_loop: &mut EventLoop, calls: &Calls, text: &str) {
    turn_until(event_loop, || {
        calls.borrow().iter().any(|call| call == text)
    });
}

/// Echoes what it receives, with the default of everything else.
struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data).expect("it is open");
    }
}

#[test]
fn a_connection_is_made_has_data_ends_and_is_lost_once() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (mut client, stream) = tcp_pair();
    let (protocol, calls) = Logged::quiet();
    let transport = event_loop.create_transport(stream, protocol).unwrap();
    client.write_all(b"hi").unwrap();
    turn_until_said(&mut event_loop, &calls, "hi");
    assert_eq!(said(&calls), "made hi");
    assert!(!transport.is_closing() && transport.key().is_some());
    assert_eq!(transport.local_addr().unwrap(), client.peer_addr().unwrap());
    client.shutdown(Shutdown::Write).unwrap();
    event_loop.run().unwrap();
    assert_eq!(said(&calls), "made hi end lost");
    assert!(transport.is_closing() && transport.key().is_none());
    assert_eq!(transport.write(b"x"), Err(WriteError::Closing));
    assert_eq!(
        transport.local_addr().unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "the peer reads the end");
}

#[test]
fn a_connection_that_is_refused_is_only_lost() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (protocol, calls) = Logged::quiet();
    let addr = unused_addr();
    let transport = event_loop.create_connection(addr, protocol).unwrap();
    assert_eq!(transport.peer_addr(), Some(addr));
    transport.write(b"early").unwrap();
    event_loop.run().unwrap();
    assert_eq!(said(&calls), "lost: ConnectionRefused");
}

#[test]
fn what_is_written_before_the_connection_is_established_is_sent_then() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (listener, addr) = listener();
    let (protocol, calls) = Logged::quiet();
    let transport = event_loop.create_connection(addr, protocol).unwrap();
    transport.write(b"early ").unwrap();
    assert_eq!(transport.get_write_buffer_size(), 6);
    turn_until_said(&mut event_loop, &calls, "made");
    transport.write(b"late").unwrap();
    transport.write_eof().unwrap();
    assert_eq!(transport.write_eof(), Err(WriteError::AfterEof));
    assert_eq!(transport.write(b"x"), Err(WriteError::AfterEof));
    turn_times(&mut event_loop, 2);
    let (mut peer, _) = listener.accept().unwrap();
    let mut text = String::new();
    peer.read_to_string(&mut text).unwrap();
    assert_eq!(text, "early late");
    peer.write_all(b"and still").unwrap();
    drop(peer);
    event_loop.run().unwrap();
    assert_eq!(said(&calls), "made and still end lost");
}

/// D1.
#[test]
fn a_connection_that_is_closed_on_its_way_is_lost_and_not_made() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (_listener, addr) = listener();
    let (protocol, calls) = Logged::quiet();
    let transport = event_loop.create_connection(addr, protocol).unwrap();
    transport.close();
    event_loop.run().unwrap();
    assert_eq!(said(&calls), "lost");
}

/// D2: there is something to send, so the close waits for the connection.
#[test]
fn what_is_written_before_a_close_on_the_way_is_sent() {
    let _guard = guard!();
    for ends in [false, true] {
        let mut event_loop = strict_loop();
        let (listener, addr) = listener();
        let (protocol, calls) = Logged::quiet();
        let transport = event_loop.create_connection(addr, protocol).unwrap();
        transport.write(b"early").unwrap();
        if ends {
            transport.write_eof().unwrap();
        }
        transport.close();
        assert!(transport.is_closing());
        assert_eq!(transport.write(b"x"), Err(WriteError::Closing));
        assert_eq!(transport.write_eof(), Err(WriteError::Closing));
        event_loop.run().unwrap();
        assert_eq!(said(&calls), "made lost");
        let mut text = String::new();
        listener
            .accept()
            .unwrap()
            .0
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "early");
    }

    let mut event_loop = strict_loop();
    let (protocol, calls) = Logged::quiet();
    let transport = event_loop.create_connection(unused_addr(), protocol);
    let transport = transport.unwrap();
    transport.write(b"early").unwrap();
    transport.close();
    event_loop.run().unwrap();
    assert_eq!(said(&calls), "lost: ConnectionRefused");
}

/// D1.
#[test]
fn a_transport_that_is_closed_before_its_first_turn_is_made_and_then_lost() {
    let _guard = guard!();
    for aborts in [false, true] {
        let mut event_loop = strict_loop();
        let (mut client, stream) = tcp_pair();
        let (protocol, calls) = Logged::quiet();
        let transport = event_loop.create_transport(stream, protocol).unwrap();
        transport.write(b"early").unwrap();
        match aborts {
            true => transport.abort(),
            false => transport.close(),
        }
        assert!(transport.is_closing());
        assert_eq!(transport.write(b"x"), Err(WriteError::Closing));
        event_loop.run().unwrap();
        assert_eq!(said(&calls), "made lost");
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, if aborts { "" } else { "early" });
    }
}

/// R123: the peer sends requests, and reads no answers.
#[test]
fn a_peer_that_does_not_read_is_not_read_from() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (client, stream) = tcp_pair();
    let transport = event_loop.create_transport(stream, Echo).unwrap();
    client.set_nonblocking(true).unwrap();
    let (mut sent, mut most) = (0, 0);
    let mut idle = 0;
    while idle < 10 {
        match (&client).write(&[7; 4096]) {
            Ok(n) => (sent, idle) = (sent + n, 0),
            Err(_) => idle += 1,
        }
        turn_times(&mut event_loop, 1);
        most = most.max(transport.get_write_buffer_size());
    }
    let (_, high) = transport.get_write_buffer_limits();
    assert!(most > high, "it filled up: {most}");
    assert!(most <= high + (64 << 10), "the mark and one read: {most}");
    assert!(!transport.is_reading());
    // It goes on when it is read, and loses nothing.
    client.shutdown(Shutdown::Write).unwrap();
    let mut echoed = 0;
    let mut buffer = [0; 64 << 10];
    loop {
        match (&client).read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => echoed += n,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        turn_times(&mut event_loop, 1);
    }
    assert_eq!(echoed, sent);
    event_loop.run().unwrap();
}

#[test]
fn the_protocol_is_paused_above_the_high_mark_and_resumed_at_the_low_one() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (mut client, stream) = tcp_pair();
    let (protocol, calls) = Logged::quiet();
    let transport = event_loop.create_transport(stream, protocol).unwrap();
    turn_until_said(&mut event_loop, &calls, "made");
    transport.set_write_buffer_limits(1 << 30, 1 << 30);
    let mut sent = 0;
    while transport.get_write_buffer_size() == 0 {
        transport.write(&[1; 30_000]).unwrap();
        sent += 30_000;
        turn_times(&mut event_loop, 1);
    }
    // The socket is full.
    transport.set_write_buffer_limits(1, 100_000);
    turn_times(&mut event_loop, 1);
    while transport.get_write_buffer_size() <= 100_000 {
        transport.write(&[1; 30_000]).unwrap();
        sent += 30_000;
    }
    assert_eq!(said(&calls), "made", "not inside of the write");
    turn_times(&mut event_loop, 1);
    assert_eq!(said(&calls), "made pause");
    assert!(transport.is_reading(), "the protocol decides");
    let mut left = vec![0; sent];
    let reader = std::thread::spawn(move || client.read_exact(&mut left).map(|()| client));
    turn_until_said(&mut event_loop, &calls, "resume");
    assert!(transport.get_write_buffer_size() <= 1);
    let _client = reader.join().unwrap().unwrap();
    assert_eq!(said(&calls), "made pause resume");
}

/// Writes until the buffer is above its mark, and goes on in `resume_writing`.
struct Much(usize);

impl Much {
    fn go_on(&mut self, transport: &Transport) {
        let (_, high) = transport.get_write_buffer_limits();
        while self.0 > 0 && transport.get_write_buffer_size() <= high {
            let n = self.0.min(3000);
            transport.write(&[1; 3000][..n]).unwrap();
            self.0 -= n;
        }
        if self.0 == 0 {
            transport.close();
        }
    }
}

impl Protocol for Much {
    fn connection_made(&mut self, transport: &Transport) {
        self.go_on(transport);
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}

    fn resume_writing(&mut self, transport: &Transport) {
        self.go_on(transport);
    }
}

/// D3.
#[test]
fn a_protocol_that_stops_at_the_mark_is_resumed() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (mut client, stream) = tcp_pair();
    event_loop
        .create_transport(stream, Much(10_000_000))
        .unwrap();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        bytes.len()
    });
    event_loop.run().unwrap();
    assert_eq!(reader.join().unwrap(), 10_000_000);
}

/// Writes without an end: until the buffer is above its mark, and again in `resume_writing`.
struct Endless {
    chunk: usize,
    writes: Count,
    resumed: Count,
}

impl Endless {
    fn go_on(&mut self, transport: &Transport) {
        let (_, high) = transport.get_write_buffer_limits();
        while transport.get_write_buffer_size() <= high {
            transport.write(&vec![1; self.chunk]).unwrap();
            let written = self.writes.add() * self.chunk;
            assert!(written < 64 << 20, "the loop does nothing else");
        }
    }
}

impl Protocol for Endless {
    fn connection_made(&mut self, transport: &Transport) {
        self.go_on(transport);
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}

    fn resume_writing(&mut self, transport: &Transport) {
        assert!(self.resumed.add() < 100, "the loop does nothing else");
        self.go_on(transport);
    }
}

/// D3. The kernel in memory accepts all bytes at once, as a socket does whose peer reads them on another thread.
#[test]
fn a_protocol_that_writes_without_an_end_is_resumed_once_in_a_turn() {
    let _guard = guard!();
    for chunk in [1, 1000, 5000] {
        let kernel = Kernel::new();
        let (poller, clock) = (Box::new(kernel.poller()), Box::new(kernel.clock()));
        let mut event_loop = EventLoop::with(poller, clock).unwrap();
        event_loop.set_panic_policy(PanicPolicy::Propagate);
        let (ours, theirs) = kernel.tcp().unwrap();
        theirs.set_capacity(1 << 30);
        let (writes, resumed) = (Count::default(), Count::default());
        let endless = Endless {
            chunk,
            writes: writes.clone(),
            resumed: resumed.clone(),
        };
        event_loop.create_transport(ours, endless).unwrap();
        let called = Count::default();
        for turn in 1..=5 {
            let count = called.clone();
            event_loop.call_soon(move |_| {
                count.add();
            });
            turn_times(&mut event_loop, 1);
            assert_eq!(called.get(), turn);
            assert!(resumed.get() <= turn, "{} in {turn}", resumed.get());
        }
        assert!(resumed.get() >= 3, "it goes on: {}", resumed.get());
    }
}

#[test]
fn a_close_writes_what_is_in_the_buffer_and_an_abort_does_not() {
    let _guard = guard!();
    for aborts in [false, true] {
        let mut event_loop = strict_loop();
        let (mut client, stream) = tcp_pair();
        let (protocol, calls) = Logged::quiet();
        let transport = event_loop.create_transport(stream, protocol).unwrap();
        turn_until_said(&mut event_loop, &calls, "made");
        let mut sent = 0;
        while transport.get_write_buffer_size() == 0 {
            transport.write(&[1; 100_000]).unwrap();
            sent += 100_000;
        }
        transport.close();
        assert_eq!(transport.write(b"x"), Err(WriteError::Closing));
        assert_eq!(transport.write_eof(), Err(WriteError::Closing));
        if aborts {
            transport.abort();
            turn_times(&mut event_loop, 1);
            assert_eq!(said(&calls), "made lost");
        }
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            client.read_to_end(&mut bytes).unwrap();
            bytes.len()
        });
        event_loop.run().unwrap();
        let received = reader.join().unwrap();
        assert_eq!(received == sent, !aborts, "{received} of {sent}");
        assert_eq!(said(&calls), "made lost");
    }
}

/// A protocol keeps the transport of another connection.
#[test]
fn a_protocol_writes_to_another_connection() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let ((mut left, from), (to, mut right)) = (tcp_pair(), tcp_pair());
    let other = event_loop.create_transport(to, Echo).unwrap();
    let passes = other.clone();
    let (protocol, calls) = Logged::new(move |call, transport| match call {
        "made" | "lost" => {}
        "end" => {
            passes.close();
            transport.close();
        }
        text => passes.write(text.as_bytes()).unwrap(),
    });
    event_loop.create_transport(from, protocol).unwrap();
    left.write_all(b"pass").unwrap();
    turn_until_said(&mut event_loop, &calls, "pass");
    left.shutdown(Shutdown::Write).unwrap();
    event_loop.run().unwrap();
    let mut text = String::new();
    right.read_to_string(&mut text).unwrap();
    assert_eq!(text, "pass");
    assert!(other.is_closing() && other != passes_of_nothing(&mut event_loop));
}

fn passes_of_nothing(event_loop: &mut EventLoop) -> Transport {
    let (_client, stream) = tcp_pair();
    event_loop.create_transport(stream, Echo).unwrap()
}

/// The kernel has reported both by then, and one pauses the other.
#[test]
fn a_paused_transport_passes_on_nothing_that_was_reported_before() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let mut clients = Vec::new();
    let transports: Rc<RefCell<Vec<Transport>>> = Rc::default();
    let received = Count::default();
    for _ in 0..2 {
        let (client, stream) = tcp_pair();
        let (pauses, count) = (Rc::clone(&transports), received.clone());
        let (protocol, _calls) = Logged::new(move |call, transport| {
            if call == "x" {
                count.add();
                for other in &*pauses.borrow() {
                    assert!(other.is_reading() && other.pause_reading() && !other.pause_reading());
                }
                assert!(!transport.is_reading());
            }
        });
        let transport = event_loop.create_transport(stream, protocol).unwrap();
        transports.borrow_mut().push(transport);
        clients.push(client);
    }
    turn_times(&mut event_loop, 2);
    for client in &mut clients {
        client.write_all(b"x").unwrap();
    }
    turn_until(&mut event_loop, || received.get() > 0);
    turn_times(&mut event_loop, 3);
    assert_eq!(received.get(), 1, "the other is paused");
    let paused = transports.borrow().clone();
    for transport in &paused {
        assert!(transport.resume_reading() && !transport.resume_reading());
    }
    turn_until(&mut event_loop, || received.get() == 2);
    transports.borrow_mut().clear();
}

#[test]
fn short_writes_of_one_callback_are_sent_together() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (here, there) = UnixStream::pair().unwrap();
    let (protocol, calls) = Logged::new(|call, transport| {
        if call == "made" {
            transport.write(b"HTTP/1.1 200 OK\r\n").unwrap();
            transport.write(b"\r\n").unwrap();
            assert_eq!(transport.get_write_buffer_size(), 19);
        }
    });
    event_loop.create_transport(here, protocol).unwrap();
    turn_until_said(&mut event_loop, &calls, "made");
    let mut buffer = [0; 64];
    assert_eq!((&there).read(&mut buffer).unwrap(), 19);
}

/// Reads into a place of its own.
struct Placed {
    place: [u8; 4],
    room: usize,
    calls: Calls,
}

impl Protocol for Placed {
    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {
        unreachable!("it has a place");
    }

    fn get_buffer(&mut self, _transport: &Transport) -> Option<&mut [u8]> {
        Some(&mut self.place[..self.room])
    }

    fn buffer_updated(&mut self, _transport: &Transport, count: usize) {
        let text = String::from_utf8_lossy(&self.place[..count]).into_owned();
        self.calls.borrow_mut().push(text);
    }

    fn connection_lost(&mut self, _transport: &Transport, error: Option<std::io::Error>) {
        let kind = error.map(|error| error.kind());
        self.calls.borrow_mut().push(format!("{kind:?}"));
    }
}

#[test]
fn a_protocol_may_have_a_place_of_its_own_for_what_is_read() {
    let _guard = guard!();
    for (room, said_then) in [(4, "hell o None"), (0, "Some(InvalidInput)")] {
        let mut event_loop = strict_loop();
        let (mut client, stream) = tcp_pair();
        let calls = Calls::default();
        let placed = Placed {
            place: [0; 4],
            room,
            calls: Rc::clone(&calls),
        };
        event_loop.create_transport(stream, placed).unwrap();
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        event_loop.run().unwrap();
        assert_eq!(said(&calls), said_then);
    }
}

/// Ends its connection when it is asked for a place.
struct Ends(Calls, Box<dyn Fn(&Transport)>, [u8; 4]);

impl Protocol for Ends {
    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {
        unreachable!("it has a place");
    }

    fn get_buffer(&mut self, transport: &Transport) -> Option<&mut [u8]> {
        (self.1)(transport);
        Some(&mut self.2)
    }

    fn buffer_updated(&mut self, _transport: &Transport, _count: usize) {
        self.0.borrow_mut().push("updated".to_owned());
    }

    fn connection_lost(&mut self, _transport: &Transport, _error: Option<std::io::Error>) {
        self.0.borrow_mut().push("lost".to_owned());
    }
}

/// D2, L2.
#[test]
fn nothing_is_read_into_the_place_of_a_protocol_that_ends_its_connection_there() {
    let _guard = guard!();
    for removes in [false, true] {
        let mut event_loop = strict_loop();
        let (mut client, stream) = tcp_pair();
        let (calls, weak) = (Calls::default(), event_loop.weak_handle());
        let end = move |transport: &Transport| match removes {
            true => {
                let key = transport.key().unwrap();
                weak.with(|handle| handle.remove(key).unwrap()).unwrap();
            }
            false => transport.close(),
        };
        let ends = Ends(Rc::clone(&calls), Box::new(end), [0; 4]);
        event_loop.create_transport(stream, ends).unwrap();
        client.write_all(b"hi").unwrap();
        event_loop.run().unwrap();
        assert_eq!(said(&calls), if removes { "" } else { "lost" });
    }
}

#[test]
fn a_reset_is_the_error_of_the_connection() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (client, stream) = tcp_pair();
    let (protocol, calls) = Logged::quiet();
    event_loop.create_transport(stream, protocol).unwrap();
    turn_until_said(&mut event_loop, &calls, "made");
    reset(client);
    event_loop.run().unwrap();
    assert_eq!(said(&calls), "made lost: ConnectionReset");
}

#[test]
fn a_deadline_ends_the_connection_unless_the_protocol_sets_another() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (_client, stream) = tcp_pair();
    let late = Count::default();
    let count = late.clone();
    let (protocol, calls) = Logged::new(move |call, transport| match call {
        "made" => transport.set_deadline(Duration::from_millis(1)),
        "late" if count.add() < 3 => transport.set_deadline(Duration::from_millis(1)),
        "late" => transport.close(),
        _ => {}
    });
    event_loop.create_transport(stream, protocol).unwrap();
    event_loop.run().unwrap();
    assert_eq!(said(&calls), "made late late late lost");

    // Before the first call: that is still the first.
    let (_client, stream) = tcp_pair();
    let (protocol, calls) = Logged::new(|call, transport| {
        if call == "late" {
            transport.close();
        }
    });
    let transport = event_loop.create_transport(stream, protocol).unwrap();
    transport.set_deadline(Duration::ZERO);
    event_loop.run().unwrap();
    assert_eq!(said(&calls), "made late lost");

    let (_client, stream) = tcp_pair();
    struct Silent(Calls);
    impl Protocol for Silent {
        fn connection_made(&mut self, transport: &Transport) {
            transport.set_deadline(Duration::from_millis(1));
        }

        fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}

        fn connection_lost(&mut self, _transport: &Transport, error: Option<std::io::Error>) {
            let kind = error.map(|error| error.kind());
            self.0.borrow_mut().push(format!("{kind:?}"));
        }
    }
    let calls = Calls::default();
    event_loop
        .create_transport(stream, Silent(Rc::clone(&calls)))
        .unwrap();
    event_loop.run().unwrap();
    assert_eq!(said(&calls), "Some(TimedOut)");
}

#[test]
fn a_descriptor_without_a_peer_comes_back_with_the_protocol() {
    let _guard = guard!();
    let event_loop = strict_loop();
    let (listener, _addr) = listener();
    let refused = event_loop.create_transport(listener, Echo).unwrap_err();
    assert!(matches!(refused.error, Error::NotStream { .. }));
    let Echo = refused.callbacks;
    let listener = refused.descriptor.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let refused = event_loop.create_transport(socket, Echo).unwrap_err();
    assert!(matches!(refused.error, Error::NotStream { .. }));

    let (_client, stream) = tcp_pair();
    let text = "kept".to_owned();
    let factory = move |_: &Cx<'_>, _: &Accepted| {
        Some(Placed {
            place: [0; 4],
            room: text.len(),
            calls: Calls::default(),
        })
    };
    let refused = event_loop.create_server(stream, factory).unwrap_err();
    assert!(matches!(refused.error, Error::NotListening { .. }));
    let server = event_loop
        .create_server(listener, refused.callbacks)
        .unwrap();
    assert!(server.is_accepting());
    server.abort();
    assert!(!server.is_accepting() && event_loop.registered() == 0);
}

/// D4.
#[test]
fn a_protocol_that_panics_is_dropped_and_the_others_go_on() {
    let _guard = guard!();
    let mut event_loop = EventLoop::new().unwrap();
    event_loop.set_panic_policy(PanicPolicy::Isolate);
    event_loop.on_unhandled(|_| {});
    let (listener, addr) = listener();
    let server = event_loop
        .create_server(listener, |_, _| {
            let (protocol, _calls) = Logged::new(|call, transport| match call {
                "panic" => panic!("on request"),
                "lost" => unreachable!("it is dropped"),
                text => drop(transport.write(text.as_bytes())),
            });
            Some(protocol)
        })
        .unwrap();
    let mut bad = TcpStream::connect(addr).unwrap();
    let mut good = TcpStream::connect(addr).unwrap();
    turn_until(&mut event_loop, || server.connections().len() == 2);
    let transports = server.connections();
    bad.write_all(b"panic").unwrap();
    turn_until(&mut event_loop, || server.connections().len() == 1);
    assert_eq!(transports.iter().filter(|one| one.is_closing()).count(), 1);
    let mut buffer = [0; 64];
    good.write_all(b"?").unwrap();
    turn_times(&mut event_loop, 5);
    assert_eq!(good.read(&mut buffer).unwrap(), 5, "made, and ?");
    server.abort();
}

#[test]
fn a_registration_that_is_removed_and_a_loop_that_is_closed_end_the_transport() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let ((_one, first), (_other, second)) = (tcp_pair(), tcp_pair());
    let (protocol, calls) = Logged::quiet();
    let removed = event_loop.create_transport(first, protocol).unwrap();
    let left = event_loop.create_transport(second, Echo).unwrap();
    event_loop.remove(removed.key().unwrap()).unwrap();
    assert_eq!(removed.write(b"x"), Err(WriteError::Closing));
    turn_times(&mut event_loop, 2);
    assert_eq!(said(&calls), "", "it was not made, and is not lost");
    drop(event_loop);
    assert_eq!(left.write(b"x"), Err(WriteError::Closing));
    assert_eq!(left.write_eof(), Err(WriteError::Closing));
    left.close();
    left.abort();
    left.set_deadline(Duration::ZERO);
    assert!(left.is_closing() && left.key().is_none());
}

/// D1, L2.
#[test]
fn a_protocol_that_removes_its_registration_is_not_called_again() {
    let _guard = guard!();
    for at in ["made", "hi", "pause", "end", "late"] {
        let mut event_loop = strict_loop();
        let (mut client, stream) = tcp_pair();
        let weak = event_loop.weak_handle();
        let (protocol, calls) = Logged::new(move |call, transport| {
            match call {
                "made" => transport.set_write_buffer_limits(0, 1),
                "hi" => transport.write(b"more than the mark").unwrap(),
                _ => {}
            }
            if call == at {
                let key = transport.key().unwrap();
                let removed = weak.with(|handle| handle.remove(key).is_ok());
                assert_eq!(removed, Some(true));
            }
        });
        let transport = event_loop.create_transport(stream, protocol).unwrap();
        if at == "made" {
            transport.set_deadline(Duration::ZERO);
        }
        client.write_all(b"hi").unwrap();
        if at == "end" {
            client.shutdown(Shutdown::Write).unwrap();
        }
        let before = if at == "pause" { "pause" } else { "hi" };
        if at != "made" {
            turn_until_said(&mut event_loop, &calls, before);
        }
        if at == "late" {
            transport.set_deadline(Duration::ZERO);
        }
        event_loop.run().unwrap();
        assert_eq!(calls.borrow().last().unwrap(), at, "{}", said(&calls));
        assert!(transport.is_closing() && transport.key().is_none());
    }
}

/// A server whose protocols owe an answer to "?" until the test gives it.
fn owing_server(event_loop: &EventLoop) -> (Server, Rc<Cell<bool>>, std::net::SocketAddr) {
    let (listener, addr) = listener();
    let answers = Rc::new(Cell::new(false));
    let given = Rc::clone(&answers);
    let server = event_loop.create_server(listener, move |_, _| {
        let given = Rc::clone(&given);
        let mut owes = false;
        let (protocol, _calls) = Logged::new(move |call, transport| match call {
            "?" => owes = true,
            "drain" if !owes => transport.close(),
            "now" => {
                transport.write(b"!").unwrap();
                given.set(true);
                transport.close();
            }
            _ => {}
        });
        Some(protocol)
    });
    (server.unwrap(), answers, addr)
}

/// D4, R375.
#[test]
fn a_drain_ends_what_is_idle_waits_for_what_is_owed_and_has_a_limit() {
    let _guard = guard!();
    for answers in [true, false] {
        let mut event_loop = strict_loop();
        let (server, given, addr) = owing_server(&event_loop);
        let mut idle = TcpStream::connect(addr).unwrap();
        let mut owed = TcpStream::connect(addr).unwrap();
        owed.write_all(b"?").unwrap();
        turn_until(&mut event_loop, || server.connections().len() == 2);
        turn_times(&mut event_loop, 5);
        let closed: Rc<Cell<Option<ServerClosed>>> = Rc::default();
        let end = Rc::clone(&closed);
        server.on_closed(move |_, result| end.set(Some(result)));
        server.drain(Duration::from_secs(3600));
        assert!(!server.is_accepting());
        assert!(TcpStream::connect(addr).is_err(), "the listener is closed");
        turn_until(&mut event_loop, || server.connections().len() <= 1);
        assert_eq!(idle.read(&mut [0]).unwrap(), 0);
        assert_eq!(closed.get(), None);
        match answers {
            true => owed.write_all(b"now").unwrap(),
            // The earlier limit holds. Not before the idle one has ended: it would be cut off as well.
            false => server.drain(Duration::from_millis(5)),
        }
        event_loop.run().unwrap(); // ends: the timer of the limit is cancelled
        assert_eq!(given.get(), answers);
        let result = closed.get().unwrap();
        assert_eq!((result.served, result.aborted), (2, usize::from(!answers)));
        let mut answer = String::new();
        owed.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, if answers { "!" } else { "" });
    }
}

/// D4.
#[test]
fn a_server_that_its_factory_ends_ends_that_connection_too() {
    let _guard = guard!();
    for aborts in [false, true] {
        let mut event_loop = strict_loop();
        let (listener, addr) = listener();
        let (all_calls, own): (Calls, Rc<RefCell<Option<Server>>>) = Default::default();
        let (calls, inside) = (Rc::clone(&all_calls), Rc::clone(&own));
        let factory = move |_: &Cx<'_>, _: &Accepted| {
            let server = inside.take().expect("one connection");
            match aborts {
                true => server.abort(),
                false => server.drain(Duration::from_secs(3600)),
            }
            let (mut protocol, _) = Logged::new(|call, transport| {
                if call == "drain" {
                    transport.close();
                }
            });
            protocol.calls = Rc::clone(&calls);
            Some(protocol)
        };
        let server = event_loop.create_server(listener, factory).unwrap();
        *own.borrow_mut() = Some(server.clone());
        let closed: Rc<Cell<Option<ServerClosed>>> = Rc::default();
        let end = Rc::clone(&closed);
        server.on_closed(move |_, result| end.set(Some(result)));
        let _client = TcpStream::connect(addr).unwrap();
        turn_until(&mut event_loop, || !all_calls.borrow().is_empty());
        turn_times(&mut event_loop, 2);
        let expected = if aborts {
            "made lost"
        } else {
            "made drain lost"
        };
        assert_eq!(said(&all_calls), expected);
        event_loop.run().unwrap(); // the timer of the limit is cancelled
        let result = closed.get().unwrap();
        assert_eq!((result.served, result.aborted), (1, usize::from(aborts)));
    }
}

/// D4.
#[test]
fn a_server_at_its_limit_lets_the_next_one_wait() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (listener, addr) = listener();
    let server = event_loop
        .create_server(listener, |_, _| Some(Echo))
        .unwrap();
    server.limit_connections(2);
    let mut clients: Vec<_> = (0..3).map(|_| TcpStream::connect(addr).unwrap()).collect();
    turn_until(&mut event_loop, || server.connections().len() == 2);
    turn_times(&mut event_loop, 5);
    assert_eq!(server.connections().len(), 2);
    assert!(!server.is_accepting());
    clients[2].write_all(b"third").unwrap();
    drop(clients.remove(0));
    turn_until(&mut event_loop, || {
        server.is_accepting() || server.connections().len() == 2
    });
    turn_until(&mut event_loop, || {
        let mut buffer = [0; 5];
        clients[1].set_nonblocking(true).unwrap();
        matches!(clients[1].read(&mut buffer), Ok(5))
    });
    server.limit_connections(3);
    assert!(server.is_accepting());
    server.abort();
    event_loop.run().unwrap();
}

#[test]
fn a_coroutine_waits_for_the_end_of_a_server() {
    let _guard = guard!();
    let mut runner = Runner::new().unwrap();
    let (listener, addr) = listener();
    let server = runner.create_server(listener, |_, _| Some(Echo)).unwrap();
    let result = runner.run(async move {
        let waits = readily::spawn({
            let server = server.clone();
            async move { server.wait_closed().await }
        });
        let client = readily::io::TcpStream::connect(addr).await.unwrap();
        client.write_all(b"x").await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 1);
        server.stop_accepting();
        assert!(!waits.done(), "a connection is open");
        drop(client);
        waits.await.unwrap()
    });
    assert_eq!(result.unwrap().served, 1);
}

#[test]
fn bytes_go_to_another_registration_by_its_key() {
    let _guard = guard!();
    let event_loop = strict_loop();
    let (here, mut there) = UnixStream::pair().unwrap();
    let key = event_loop
        .register(here, Interest::NONE, Closures::new())
        .unwrap();
    assert_eq!(event_loop.write_to(key, b"hello").unwrap(), 5);
    event_loop.shutdown_of(key, Shutdown::Write).unwrap();
    let mut text = String::new();
    there.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    assert_eq!(
        event_loop.write_to(key, b"x").unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
    event_loop.remove(key).unwrap();
    let gone = event_loop.write_to(key, b"x").unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    let gone = event_loop.shutdown_of(key, Shutdown::Both).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

/// Both ends of a pipe are streams of one direction.
#[test]
fn a_pipe_has_a_transport_at_each_end() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let mut cat = Command::new("cat");
    let mut cat = cat
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (reader, writer) = (cat.stdout.take().unwrap(), cat.stdin.take().unwrap());
    let (protocol, calls) = Logged::quiet();
    event_loop.create_transport(reader, protocol).unwrap();
    let (protocol, write_calls) = Logged::quiet();
    let to = event_loop.create_transport(writer, protocol).unwrap();
    to.write(b"through").unwrap();
    turn_until_said(&mut event_loop, &calls, "through");
    to.close();
    event_loop.run().unwrap();
    assert_eq!(said(&calls), "made through end lost");
    assert_eq!(said(&write_calls), "made lost");
    assert!(cat.wait().unwrap().success());
}

/// Its reader goes while it is idle, or before its first call.
#[test]
fn the_writing_end_of_a_pipe_is_lost_with_a_broken_pipe() {
    let _guard = guard!();
    for (starts, pauses) in [(true, false), (true, true), (false, false)] {
        let mut event_loop = strict_loop();
        let (reader, writer) = readily_testing::for_tests::pipe().unwrap();
        let (protocol, calls) = Logged::quiet();
        let transport = event_loop.create_transport(writer, protocol).unwrap();
        if pauses {
            transport.pause_reading();
        }
        if starts {
            turn_until_said(&mut event_loop, &calls, "made");
        }
        drop(reader);
        event_loop.run().unwrap();
        assert_eq!(said(&calls), "made lost: BrokenPipe");
    }
}

#[test]
fn a_transport_of_a_socket_has_the_addresses_of_the_socket() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let (client, stream) = tcp_pair();
    let addr = client.local_addr().unwrap();
    let (protocol, calls) = Logged::new(move |_call, transport| {
        assert_eq!(transport.peer_addr(), Some(addr));
    });
    event_loop.create_transport(stream, protocol).unwrap();
    turn_until_said(&mut event_loop, &calls, "made");
    reset(client);
    event_loop.run().unwrap();
    assert_eq!(said(&calls), "made lost: ConnectionReset");

    let (_peer, stream) = UnixStream::pair().unwrap();
    let transport = event_loop.create_transport(stream, Echo).unwrap();
    assert_eq!(transport.peer_addr(), None);
    let refused = transport.local_addr().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
}

/// Panics when it is dropped, and echoes until then.
struct PanicsAtDrop;

impl Drop for PanicsAtDrop {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("planted"));
    }
}

impl Protocol for PanicsAtDrop {
    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
}

/// D4. A second panic inside the first would abort the process.
#[test]
fn the_destructors_of_a_server_may_all_panic_at_the_end_of_the_loop() {
    let _guard = guard!();
    let mut event_loop = EventLoop::new().unwrap();
    event_loop.set_panic_policy(PanicPolicy::Isolate);
    let reports = collect_unhandled(&event_loop);
    let (listener, addr) = listener();
    let server = event_loop.create_server(listener, |_, _| Some(PanicsAtDrop));
    let server = server.unwrap();
    for _ in 0..2 {
        let panics = PanicsAtDrop;
        server.on_closed(move |_, _| drop(panics));
    }
    let _client = TcpStream::connect(addr).unwrap();
    turn_until(&mut event_loop, || server.connections().len() == 1);
    drop(event_loop);
    assert_eq!(reports.len(), 3, "{}", reports.text());
}

#[test]
fn a_callback_for_the_end_of_a_server_is_dropped_if_the_loop_has_gone() {
    let _guard = guard!();
    let event_loop = strict_loop();
    let (listener, _addr) = listener();
    let server = event_loop
        .create_server(listener, |_, _| Some(Echo))
        .unwrap();
    drop(event_loop);
    let owned = Rc::new(());
    let kept = Rc::clone(&owned);
    server.on_closed(move |_, _| drop(kept));
    assert_eq!(Rc::strong_count(&owned), 1);
}

/// A FIFO whose reader finds new bytes whenever it has read the last ones: the protocol writes them.
struct Refills(std::path::PathBuf, usize);

impl Refills {
    fn refill(&mut self) {
        self.1 += 1;
        assert!(self.1 < 1000, "the loop does nothing else");
        std::fs::write(&self.0, b"again").unwrap();
    }
}

impl Protocol for Refills {
    fn connection_made(&mut self, _transport: &Transport) {
        self.refill();
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {
        self.refill();
    }
}

/// D1. The registration is over with the hangup: a new writer cannot keep it.
#[test]
fn a_fifo_that_hangs_up_is_lost_though_bytes_go_on_coming() {
    let _guard = guard!();
    let name = format!("readily-refilled-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let both = std::fs::File::options().read(true).write(true).open(&path);
    let both = both.unwrap();
    let reader = std::fs::File::open(&path).unwrap();
    drop(both); // the last writer
    let mut event_loop = strict_loop();
    event_loop
        .create_transport(reader, Refills(path.clone(), 0))
        .unwrap();
    event_loop.run().unwrap();
    std::fs::remove_file(&path).unwrap();
}
