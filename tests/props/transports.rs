//! Transports against a model of the calls of a protocol: any writes, pauses, closes and ends, by any peer, on each
//! kernel.
//!
//! Invariants: D1, D2, D3.

use crate::kernels::KERNELS;
use proptest::collection::vec;
use proptest::prelude::*;
use readily::poll::Poller;
use readily::spi::VirtualFd;
use readily::transport::{Protocol, Transport, WriteError};
use readily::{EventLoop, PanicPolicy, spi};
use readily_testing::strategies::faults;
use readily_testing::{Faults, Fd, Kernel, Personality};
use std::cell::RefCell;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// What the program does to its transport: in a callback of it, or outside.
#[derive(Clone, Copy, Debug)]
enum Act {
    Write(usize),
    WriteEof,
    Pause,
    Resume,
    Marks(usize, usize),
    Close,
    Abort,
}

/// What happens between two turns.
#[derive(Clone, Copy, Debug)]
enum Op {
    /// By the program, outside of a callback.
    Act(Act),
    /// By the program, in the next callback of the connection.
    ActInside(Act),
    /// By the peer.
    Send(usize),
    Take(usize),
    EndSide,
    Reset,
    Turn,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..300_usize).prop_map(Act::Write),
        1 => (4096..9000_usize).prop_map(Act::Write),
        1 => Just(Act::WriteEof),
        2 => Just(Act::Pause),
        3 => Just(Act::Resume),
        2 => (0..50_usize, 0..400_usize).prop_map(|(low, more)| Act::Marks(low, low + more)),
        1 => Just(Act::Close),
        1 => Just(Act::Abort),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => act().prop_map(Op::Act),
        4 => act().prop_map(Op::ActInside),
        4 => (1..300_usize).prop_map(Op::Send),
        6 => (1..300_usize).prop_map(Op::Take),
        1 => Just(Op::EndSide),
        1 => Just(Op::Reset),
        8 => Just(Op::Turn),
    ];
    vec(op, 1..60)
}

/// The calls of the protocol so far, and what was done to its transport.
#[derive(Default)]
struct Calls {
    made: bool,
    received: Vec<u8>,
    ended: bool,
    is_paused: bool,
    lost: Option<Option<io::ErrorKind>>,
    /// The bytes that `write` has accepted.
    written: Vec<u8>,
    inside: Vec<Act>,
    closed: bool,
    eof_written: bool,
    aborted: bool,
}

/// The bytes of one direction: each position has its own value, more or less.
fn bytes(from: usize, n: usize) -> Vec<u8> {
    (from..from + n).map(|n| (n * 31 + n / 256) as u8).collect()
}

/// Does it, and checks what it returns against what was done before.
fn perform(act: Act, transport: &Transport, calls: &RefCell<Calls>) {
    let mut calls = calls.borrow_mut();
    let is_over = calls.closed || calls.aborted || calls.lost.is_some();
    match act {
        Act::Write(n) => {
            let data = bytes(calls.written.len(), n);
            match transport.write(&data) {
                Ok(()) => {
                    assert!(!is_over && !calls.eof_written, "a write after the end");
                    calls.written.extend_from_slice(&data);
                }
                Err(WriteError::AfterEof) => assert!(calls.eof_written && !is_over),
                // The connection may have failed, and the protocol is about to be calls.
                Err(_) => assert!(transport.is_closing()),
            }
        }
        Act::WriteEof => {
            if transport.write_eof().is_ok() {
                assert!(!is_over && !calls.eof_written);
                calls.eof_written = true;
            }
        }
        Act::Pause => {
            transport.pause_reading();
            assert!(!transport.is_reading());
        }
        Act::Resume => {
            transport.resume_reading();
        }
        Act::Marks(low, high) => {
            transport.set_write_buffer_limits(low, high);
            assert_eq!(transport.get_write_buffer_limits(), (low, high));
        }
        Act::Close => {
            transport.close();
            calls.closed = true;
            assert!(transport.is_closing());
        }
        Act::Abort => {
            transport.abort();
            calls.aborted = true;
            assert!(transport.is_closing() && transport.get_write_buffer_size() == 0);
        }
    }
}

/// For the methods of the trait that nothing overrides.
struct Defaults;

impl Protocol for Defaults {
    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
}

struct Checked {
    calls: Rc<RefCell<Calls>>,
    /// Whether the defaults hold reading back.
    holds: bool,
    /// Whether the connection is established by the loop: it may end before.
    connects: bool,
}

impl Checked {
    fn inside(&self, transport: &Transport) {
        let acts = std::mem::take(&mut self.calls.borrow_mut().inside);
        for act in acts {
            perform(act, transport, &self.calls);
        }
    }
}

impl Protocol for Checked {
    fn connection_made(&mut self, transport: &Transport) {
        let mut calls = self.calls.borrow_mut();
        assert!(
            !calls.made && calls.lost.is_none(),
            "made twice, or after the end"
        );
        calls.made = true;
        drop(calls);
        self.inside(transport);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        let mut calls = self.calls.borrow_mut();
        assert!(calls.made && !calls.ended && calls.lost.is_none());
        assert!(!calls.closed && !calls.aborted, "data after a close");
        assert!(transport.is_reading() && !data.is_empty());
        calls.received.extend_from_slice(data);
        drop(calls);
        self.inside(transport);
    }

    fn eof_received(&mut self, transport: &Transport) {
        let mut calls = self.calls.borrow_mut();
        assert!(calls.made && !calls.ended && calls.lost.is_none());
        assert!(!calls.closed && !calls.aborted, "an end after a close");
        calls.ended = true;
        drop(calls);
        self.inside(transport);
    }

    fn pause_writing(&mut self, transport: &Transport) {
        let mut calls = self.calls.borrow_mut();
        assert!(calls.made && !calls.is_paused && calls.lost.is_none());
        calls.is_paused = true;
        drop(calls);
        if self.holds {
            Defaults.pause_writing(transport);
        }
        self.inside(transport);
    }

    fn resume_writing(&mut self, transport: &Transport) {
        let mut calls = self.calls.borrow_mut();
        assert!(calls.is_paused && calls.lost.is_none());
        assert!(transport.get_write_buffer_size() <= transport.get_write_buffer_limits().0);
        calls.is_paused = false;
        drop(calls);
        if self.holds {
            Defaults.resume_writing(transport);
        }
        self.inside(transport);
    }

    fn connection_lost(&mut self, _transport: &Transport, error: Option<io::Error>) {
        let mut calls = self.calls.borrow_mut();
        assert!(calls.lost.is_none(), "lost twice");
        assert!(calls.made || self.connects, "lost without being made");
        calls.lost = Some(error.map(|error| error.kind()));
    }
}

fn on(system: Option<Personality>, faults: Faults) -> (EventLoop, Kernel) {
    let kernel = Kernel::with(faults);
    let poller: Box<dyn Poller> = match system {
        None => Box::new(kernel.poller()),
        Some(system) => Box::new(kernel.kqueue(system)),
    };
    let event_loop = EventLoop::with(poller, Box::new(kernel.clock())).unwrap();
    event_loop.set_panic_policy(PanicPolicy::Propagate);
    (event_loop, kernel)
}

/// The other end: what it has sent and taken.
struct Peer {
    fd: Option<Fd>,
    sent: usize,
    taken: Vec<u8>,
    has_end: bool,
    has_ended: bool,
}

impl Peer {
    fn send(&mut self, n: usize) {
        let Some(fd) = self.fd.as_ref().filter(|_| !self.has_ended) else {
            return;
        };
        if let Ok(n) = fd.write(&bytes(self.sent, n)) {
            self.sent += n;
        }
    }

    /// Whether there was something to take.
    fn take(&mut self, n: usize) -> bool {
        let mut buffer = vec![0; n];
        match self.fd.as_ref().map(|fd| fd.read(&mut buffer)) {
            Some(Ok(0)) => {
                self.has_end = true;
                false
            }
            Some(Ok(n)) => {
                self.taken.extend_from_slice(&buffer[..n]);
                true
            }
            Some(Err(error)) => error.kind() == io::ErrorKind::Interrupted,
            None => false,
        }
    }
}

/// Enough turns for each case; a loop that spins takes all of them.
const TURNS: usize = 400;

fn turn(event_loop: &mut EventLoop) {
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    spi::check_invariants(event_loop);
}

/// Makes the connection, as one of the loop's own or as one that exists already. `None` if the faults do not allow it.
fn begin(
    event_loop: &EventLoop,
    kernel: &Kernel,
    capacity: usize,
    protocol: Checked,
) -> Option<(Transport, Fd)> {
    if protocol.connects {
        let addr = SocketAddr::from(([127, 0, 0, 1], 4000));
        let listener = kernel.listen(addr, 1).ok()?;
        let transport = event_loop.create_connection(addr, protocol).ok()?;
        let (theirs, _) = (0..20).find_map(|_| listener.accept().ok())?;
        theirs.set_capacity(capacity);
        return Some((transport, theirs));
    }
    let (ours, theirs) = kernel.tcp().ok()?;
    ours.set_capacity(capacity);
    theirs.set_capacity(capacity);
    let descriptor: Rc<dyn VirtualFd> = Rc::new(ours);
    let transport = event_loop.create_transport(descriptor, protocol).ok()?;
    Some((transport, theirs))
}

proptest! {
    /// D1, D2, D3. However it is used: the order of the calls, each byte once, each end once, and a peer that
    /// goes on taking gets all that was accepted, if the connection was closed and not aborted.
    #[test]
    fn a_protocol_is_called_in_order_and_each_byte_arrives_once(
        ops in ops(), kernel in 0..KERNELS.len(), holds: bool, connects: bool, faults in faults(),
        capacity in 1..400_usize,
    ) {
        let (mut event_loop, kernel) = on(KERNELS[kernel], faults);
        let calls = Rc::new(RefCell::new(Calls::default()));
        let protocol = Checked { calls: Rc::clone(&calls), holds, connects };
        // An error of the poller that the faults make: nothing was registered.
        let Some((transport, theirs)) = begin(&event_loop, &kernel, capacity, protocol) else { return Ok(()) };
        let mut peer = Peer { fd: Some(theirs), sent: 0, taken: Vec::new(), has_end: false, has_ended: false };
        let mut is_reset = false;
        for op in ops {
            match op {
                Op::Act(act) => perform(act, &transport, &calls),
                Op::ActInside(act) => calls.borrow_mut().inside.push(act),
                Op::Send(n) => peer.send(n),
                Op::Take(n) => drop(peer.take(n)),
                Op::EndSide => {
                    peer.has_ended |= peer.fd.as_ref().is_some_and(|fd| fd.shutdown(Shutdown::Write).is_ok());
                }
                Op::Reset => {
                    if let Some(fd) = peer.fd.take() {
                        fd.reset();
                        is_reset = true;
                    }
                }
                Op::Turn => turn(&mut event_loop),
            }
        }
        // The peer goes on taking, and the program wants nothing more than the end.
        kernel.set_faults(Faults::default());
        peer.fd.iter().for_each(|fd| fd.set_capacity(1 << 16));
        calls.borrow_mut().inside.clear();
        transport.resume_reading();
        for _ in 0..20 {
            turn(&mut event_loop);
            while peer.take(1000) {}
        }
        let is_open = calls.borrow().lost.is_none() && !transport.is_closing();
        if is_open {
            let calls = calls.borrow();
            let (buffered, (low, high)) = (transport.get_write_buffer_size(), transport.get_write_buffer_limits());
            prop_assert!(!calls.is_paused || buffered > low, "not resumed at {buffered}");
            prop_assert!(calls.is_paused || buffered <= high, "not paused at {buffered}");
        }
        perform(Act::Close, &transport, &calls);
        let mut turns = 0;
        while calls.borrow().lost.is_none() {
            turn(&mut event_loop);
            while peer.take(1000) {}
            turns += 1;
            prop_assert!(turns < TURNS, "it is never lost: {transport:?}");
        }
        while peer.take(1000) {}
        prop_assert_eq!(event_loop.registered(), 0);
        let calls = calls.borrow();
        prop_assert!(calls.received == bytes(0, peer.sent)[..calls.received.len()]);
        if calls.ended && !is_reset {
            prop_assert_eq!(calls.received.len(), peer.sent, "bytes before the end");
        }
        prop_assert!(calls.written.starts_with(&peer.taken));
        let is_clean = calls.lost == Some(None) && !calls.aborted && !is_reset;
        // Bytes of the peer that were not read make a close a reset, as in the system.
        if is_clean && calls.received.len() == peer.sent {
            prop_assert_eq!(peer.taken.len(), calls.written.len());
            prop_assert!(peer.has_end);
        }
    }
}
