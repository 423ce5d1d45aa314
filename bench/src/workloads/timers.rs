//! Timers of coroutines: polled once and dropped, or awaited.
//!
//! Where many are alive at once, each is boxed, as the timers of tasks are. Callbacks need no box.

use super::{BATCH, Numbers, Row, batches, row, timed};
use crate::peers::{Compio, Monoio, Readily, Smol, Tokio};
use crate::runtime::Runtime;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// The range of the delays of timers that are dropped.
pub const FAR: Duration = Duration::from_secs(10);
/// The range of the delays of timers that fire.
pub const NEAR: Duration = Duration::from_millis(1);

pub fn rows() -> Vec<Row> {
    vec![
        row!("sleep(0)", sleep_zero(), Readily Tokio Smol Monoio Compio).counted(1000),
        row!("timer armed and dropped", timer_dropped(1), Readily Tokio Smol Monoio Compio),
        row!("sleep of a task, 0 to 1 ms, 1000 at once", sleeping(BATCH), Readily Tokio Smol Monoio Compio),
    ]
}

/// The runs of `timer_dropped` for the rows of the callback layer.
pub fn dropped(together: u64) -> Vec<(&'static str, super::Run)> {
    fn runs<const TOGETHER: u64>() -> Vec<(&'static str, super::Run)> {
        vec![
            (Readily::NAME, |n| {
                timed::<Readily>(timer_dropped::<Readily>(n, TOGETHER))
            }),
            (Tokio::NAME, |n| {
                timed::<Tokio>(timer_dropped::<Tokio>(n, TOGETHER))
            }),
            (Smol::NAME, |n| {
                timed::<Smol>(timer_dropped::<Smol>(n, TOGETHER))
            }),
            (Monoio::NAME, |n| {
                timed::<Monoio>(timer_dropped::<Monoio>(n, TOGETHER))
            }),
            (Compio::NAME, |n| {
                timed::<Compio>(timer_dropped::<Compio>(n, TOGETHER))
            }),
        ]
    }
    match together {
        0..=BATCH => runs::<BATCH>(),
        _ if together == 100 * BATCH => runs::<{ 100 * BATCH }>(),
        _ => runs::<{ 1000 * BATCH }>(),
    }
}

/// One operation: a sleep of zero.
async fn sleep_zero<R: Runtime>(n: u64) {
    for _ in 0..n {
        R::sleep(Duration::ZERO).await;
    }
}

/// One operation: a timer is polled once and dropped long before its deadline, in a batch.
async fn timer_dropped<R: Runtime>(n: u64, together: u64) {
    let mut numbers = Numbers::new();
    for now in batches(n, together) {
        if together == 1 {
            let mut timer = pin!(R::sleep(numbers.delay(FAR)));
            poll_fn(|cx| Poll::Ready(timer.as_mut().poll(cx).is_ready())).await;
            continue;
        }
        let mut timers = Vec::with_capacity(now as usize);
        for _ in 0..now {
            let mut timer = Box::pin(R::sleep(numbers.delay(FAR)));
            poll_fn(|cx| Poll::Ready(timer.as_mut().poll(cx).is_ready())).await;
            timers.push(timer);
        }
    }
}

/// One operation: a task sleeps, in a batch.
async fn sleeping<R: Runtime>(n: u64, together: u64) {
    let mut numbers = Numbers::new();
    for now in batches(n, together) {
        let mut task = || R::spawn(R::sleep(numbers.delay(NEAR)));
        let tasks: Vec<_> = (0..now).map(|_| task()).collect();
        for task in tasks {
            task.await;
        }
    }
}
