//! Real sleeps: the CPU time of a hundred thousand concurrent sleeps, and how late they end.
//!
//! Work is CPU time, because the wall time is that of the longest sleep. Lateness is relative to a
//! clock that is read just before the sleep begins. A negative value means early, which no sleep may be.

use crate::callbacks::{self, Callbacks, Timed};
use crate::clocks::worked;
use crate::peers::{Compio, Monoio, Smol, Tokio};
use crate::runtime::Runtime;
use crate::workloads::Numbers;
use readily_bench::report::Row;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The lateness of each sleep in nanoseconds, in the order of waking.
type Late = Vec<i64>;
type Slept = fn(&[Duration]) -> Late;

const PEERS: &[(&str, Slept)] = &[
    (callbacks::Raw::NAME, called::<callbacks::Raw>),
    ("readily", slept::<crate::peers::Readily>),
    (callbacks::Readily::NAME, called::<callbacks::Readily>),
    (Tokio::NAME, slept::<Tokio>),
    (Smol::NAME, slept::<Smol>),
    (Monoio::NAME, slept::<Monoio>),
    (Compio::NAME, slept::<Compio>),
    (callbacks::Calloop::NAME, called::<callbacks::Calloop>),
    #[cfg(has_uv)]
    (callbacks::Uv::NAME, called::<callbacks::Uv>),
    #[cfg(has_ev)]
    (callbacks::Ev::NAME, called::<callbacks::Ev>),
    #[cfg(has_event)]
    (callbacks::Event::NAME, called::<callbacks::Event>),
];

fn called<C: Timed>(delays: &[Duration]) -> Late {
    C::new().armed_and_late(delays)
}

/// Returns how late the present moment is, relative to `deadline`.
#[allow(clippy::disallowed_methods)] // measures wall time, outside any loop
pub fn late_ns(deadline: Instant) -> i64 {
    let now = Instant::now();
    let late = now.saturating_duration_since(deadline).as_nanos() as i64;
    late - deadline.saturating_duration_since(now).as_nanos() as i64
}

/// Sleeps in one task for each delay.
#[allow(clippy::disallowed_methods)] // measures wall time, outside any loop
fn slept<R: Runtime>(delays: &[Duration]) -> Late {
    let delays = delays.to_vec();
    R::run(async move {
        let late = Rc::new(RefCell::new(Vec::with_capacity(delays.len())));
        let task = |delay| {
            let late = Rc::clone(&late);
            R::spawn(async move {
                let deadline = Instant::now() + delay;
                R::sleep(delay).await;
                late.borrow_mut().push(late_ns(deadline));
            })
        };
        let tasks: Vec<_> = delays.into_iter().map(task).collect();
        for task in tasks {
            task.await;
        }
        late.take()
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The result of one repetition of one peer.
struct Mass {
    cpu_ms: f64,
    p50_us: f64,
    p99_us: f64,
    least_us: f64,
}

fn mass(run: Slept, delays: &[Duration]) -> Mass {
    let before = worked();
    let mut late = run(delays);
    let cpu_ms = (worked() - before).as_secs_f64() * 1e3;
    assert_eq!(late.len(), delays.len(), "each has woken");
    late.sort_unstable();
    let at = |percent: usize| late[(late.len() - 1) * percent / 100] as f64 / 1e3;
    Mass {
        cpu_ms,
        p50_us: at(50),
        p99_us: at(99),
        least_us: at(0),
    }
}

#[allow(clippy::disallowed_methods)] // measures wall time, outside any loop
fn ten(run: Slept, long: Duration) -> f64 {
    let start = Instant::now();
    run(&[long; 10]);
    start.elapsed().as_secs_f64() * 1e3
}

/// Runs the sleeps. A full run takes a minute; a larger `scale` shortens it.
pub fn rows(scale: u32, only: impl Fn(&str, &str) -> bool) -> Vec<Row> {
    let (count, end) = (100_000 / scale, Duration::from_secs(1) / scale);
    let mut numbers = Numbers::new();
    let delays: Vec<_> = (0..count).map(|_| numbers.delay(end)).collect();
    let repetitions = if scale > 1 { 1 } else { 5 };

    let (all, some) = (
        "100,000 sleeps of 0 to 1 s at once",
        "ten sleeps of one second",
    );
    let only = &only;
    let chosen = |workload| PEERS.iter().filter(move |peer| only(workload, peer.0));
    let mut rows = Vec::new();
    let mut masses: Vec<_> = chosen(all).map(|peer| (peer, Vec::new())).collect();
    for repetition in 0..repetitions {
        let peers = masses.len();
        for place in 0..peers {
            let (peer, found) = &mut masses[(repetition + place) % peers];
            found.push(mass(peer.1, &delays));
        }
    }
    for (figure, unit) in [
        ((|mass| mass.cpu_ms) as fn(&Mass) -> f64, "ms of CPU"),
        (|mass| mass.p50_us, "µs late, p50"),
        (|mass| mass.p99_us, "µs late, p99"),
        (|mass| mass.least_us, "µs late, least"),
    ] {
        for (peer, found) in &masses {
            let figure = median(found.iter().map(figure).collect());
            rows.push(Row::new(all, peer.0, figure, unit));
        }
    }
    for (peer, run) in chosen(some) {
        rows.push(Row::new(some, peer, ten(*run, end), "ms"));
    }
    rows
}
