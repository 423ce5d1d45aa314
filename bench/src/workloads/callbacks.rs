//! `call_soon` closures, and timers with a closure each.
//!
//! The rows for timers include coroutines that sleep, because both do the same thing.

use super::timers::{self, FAR};
use super::{BATCH, Numbers, Row, Run, batches};
#[cfg(has_ev)]
use crate::callbacks::Ev;
#[cfg(has_event)]
use crate::callbacks::Event;
#[cfg(has_uv)]
use crate::callbacks::Uv;
use crate::callbacks::{Boxed, Callbacks, Calloop, Raw, Readily, Terse, Timed};
use crate::clocks::worked;
use std::time::Duration;

/// The range of delays: all timers are due when, or soon after, the last one has been armed.
const AT_ONCE: Duration = Duration::from_micros(100);

/// The given peers, and those in C if they are installed.
macro_rules! runs {
    ($workload:ident $more:tt, $($peer:ident)+) => {
        vec![
            $((<$peer as Callbacks>::NAME, runs!(@ $peer $workload $more)),)+
            #[cfg(has_uv)]
            (<Uv as Callbacks>::NAME, runs!(@ Uv $workload $more)),
            #[cfg(has_ev)]
            (<Ev as Callbacks>::NAME, runs!(@ Ev $workload $more)),
            #[cfg(has_event)]
            (<Event as Callbacks>::NAME, runs!(@ Event $workload $more)),
        ]
    };
    (@ $peer:ident $workload:ident ($($more:expr),*)) => {
        |n| timed::<$peer>(|peer| $workload(peer, n, $($more),*))
    };
}

pub fn rows() -> Vec<Row> {
    let row = |name, mut runs: Vec<(&'static str, Run)>, more: Vec<(&'static str, Run)>| {
        runs.extend(more);
        let counted = Some(10 * BATCH);
        Row {
            name,
            counted,
            timed: None,
            runs,
        }
    };
    vec![
        row(
            "call_soon, 1000 at once",
            runs!(soon(), Raw Boxed Readily Calloop),
            vec![],
        ),
        row(
            "call_soon, a chain",
            runs!(chain(), Raw Boxed Readily Calloop),
            vec![],
        ),
        row(
            "timers armed and cancelled, 1000 at once",
            runs!(cancelled(BATCH), Raw Readily Terse Calloop),
            timers::dropped(BATCH),
        )
        .counted(2 * BATCH),
        row(
            "timers armed and cancelled, 100000 at once",
            runs!(cancelled(100 * BATCH), Raw Readily Terse),
            timers::dropped(100 * BATCH),
        )
        .counted(100 * BATCH)
        .timed(100 * BATCH),
        row(
            "timers armed and cancelled, 1000000 at once",
            runs!(cancelled(1000 * BATCH), Raw Readily Terse),
            timers::dropped(1000 * BATCH),
        )
        .counted(None)
        .timed(1000 * BATCH),
        row(
            "timers armed and fired, 1000 at once",
            runs!(fired(), Raw Readily Terse Calloop),
            vec![],
        ),
    ]
}

/// Returns the CPU time of the workload, without the creation of the loop.
fn timed<C: Callbacks>(workload: impl FnOnce(&mut C)) -> Duration {
    let mut peer = C::new();
    let before = worked();
    workload(&mut peer);
    worked() - before
}

/// One operation: a closure is queued and called, in a batch.
fn soon(peer: &mut impl Callbacks, n: u64) {
    for now in batches(n, BATCH) {
        peer.soon(now);
    }
}

/// One operation: a closure queues the next one.
fn chain(peer: &mut impl Callbacks, n: u64) {
    peer.chain(n);
}

/// One operation: a timer is armed and cancelled long before its deadline, in a batch.
fn cancelled(peer: &mut impl Timed, n: u64, together: u64) {
    in_batches(n, together, FAR, |delays| peer.armed_and_cancelled(delays));
}

/// One operation: a timer is armed and fires, in a batch.
fn fired(peer: &mut impl Timed, n: u64) {
    in_batches(n, BATCH, AT_ONCE, |delays| peer.armed_and_fired(delays));
}

fn in_batches(n: u64, size: u64, end: Duration, mut run: impl FnMut(&[Duration])) {
    let mut numbers = Numbers::new();
    let mut delays = Vec::new();
    for now in batches(n, size) {
        delays.clear();
        delays.extend((0..now).map(|_| numbers.delay(end)));
        run(&delays);
    }
}
