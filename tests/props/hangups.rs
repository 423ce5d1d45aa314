//! The hangup of a registration, on descriptors of the system: callbacks that read, pause and shut
//! down against a peer that does the same.
//!
//! Invariant: L7.

use proptest::collection::vec;
use proptest::prelude::*;
use readily::spi;
use readily::{Callbacks, Cx, EventLoop, Interest};
use std::cell::Cell;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

/// The next action of the peer.
#[derive(Clone, Copy, Debug)]
enum Peer {
    Write(usize),
    ShutWrite,
    Close,
    Nothing,
}

/// The action of the reader for its next event.
#[derive(Clone, Copy, Debug)]
enum Reader {
    Read(usize),
    /// Removes its interest until the next turn.
    Pause,
    ShutWrite,
}

/// Reads by a script, pauses, shuts down; and gets the hangup.
struct Fickle {
    actions: std::vec::IntoIter<Reader>,
    got: Rc<Cell<usize>>,
    paused: Rc<Cell<bool>>,
    hangups: Rc<Cell<u32>>,
}

impl Callbacks for Fickle {
    fn on_read(&mut self, cx: &Cx<'_>) {
        assert_eq!(self.hangups.get(), 0, "L7: hangup is final");
        match self.actions.next().unwrap_or(Reader::Read(64)) {
            Reader::Read(room) => {
                if let Ok(n) = cx.read(&mut vec![0; room]) {
                    self.got.set(self.got.get() + n);
                }
            }
            Reader::Pause => {
                self.paused.set(true);
                cx.set_interest(Interest::NONE).unwrap();
            }
            // With a byte: a hangup does not wait for a reader that has refused bytes twice after
            // the end.
            Reader::ShutWrite => {
                let _ = cx.shutdown(Shutdown::Write);
                self.got
                    .set(self.got.get() + cx.read(&mut [0]).unwrap_or(0));
            }
        }
    }

    fn on_hangup(&mut self, _cx: &Cx<'_>, _error: Option<io::Error>) {
        self.hangups.set(self.hangups.get() + 1);
    }
}

fn peer() -> impl Strategy<Value = Peer> {
    prop_oneof![
        3 => (1usize..100).prop_map(Peer::Write),
        1 => Just(Peer::ShutWrite),
        1 => Just(Peer::Close),
        2 => Just(Peer::Nothing),
    ]
}

fn reader() -> impl Strategy<Value = Reader> {
    prop_oneof![
        3 => (1usize..40).prop_map(Reader::Read),
        2 => Just(Reader::Pause),
        1 => Just(Reader::ShutWrite),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// L7: exactly one hangup, after all the bytes, however the peer closes and the reader pauses.
    #[test]
    fn a_hangup_comes_once_and_after_the_last_byte(
        peers in vec(peer(), 0..12),
        actions in vec(reader(), 0..12),
    ) {
        let (got, paused, hangups) = (Rc::default(), Rc::new(Cell::new(false)), Rc::default());
        let mut event_loop = EventLoop::new().unwrap();
        event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
        let (near, far) = UnixStream::pair().unwrap();
        let mut far = Some(far);
        let fickle = Fickle {
            actions: actions.into_iter(),
            got: Rc::clone(&got),
            paused: Rc::clone(&paused),
            hangups: Rc::clone(&hangups),
        };
        let key = event_loop.register(near, Interest::READ, fickle).unwrap();
        let mut sent = 0;
        // Then the peer closes, and some turns later the registration must have ended. Their number
        // is not fixed: another test may fork, and until its child execs, the peer's descriptor is
        // open twice.
        let rest = std::iter::repeat_n(Peer::Nothing, 10_000);
        let mut over = 0;
        for action in peers.into_iter().chain([Peer::Close]).chain(rest) {
            over += u32::from(hangups.get() > 0);
            if over > 5 {
                break;
            }
            match (action, &mut far) {
                (Peer::Write(len), Some(far)) => sent += far.write(&vec![1; len]).unwrap_or(0),
                (Peer::ShutWrite, Some(far)) => far.shutdown(Shutdown::Write).unwrap(),
                (Peer::Close, _) => far = None,
                _ => {}
            }
            let limit = Duration::from_millis(u64::from(far.is_none()));
            event_loop.turn(Some(limit)).unwrap();
            spi::check_invariants(&event_loop);
            if paused.replace(false) {
                // Paused for a turn, in which no callback may run.
                let before = (got.get(), hangups.get());
                let turns = event_loop.stats().events;
                event_loop.turn_now().unwrap();
                event_loop.turn_now().unwrap();
                prop_assert!(event_loop.stats().events <= turns + 1, "a suspended registration has no events");
                if hangups.get() == 0 {
                    prop_assert_eq!((got.get(), hangups.get()), before);
                    event_loop.set_interest_of(key, Interest::READ).unwrap();
                }
            }
        }
        prop_assert_eq!(got.get(), sent, "every byte was read");
        prop_assert_eq!(hangups.get(), 1, "and then one hangup was reported");
        prop_assert_eq!(event_loop.registered(), 0);
    }
}
