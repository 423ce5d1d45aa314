//! Jobs on the threads of a pool, and their results.
//!
//! The jobs do nothing, so the cost is that of the pool: to submit, to wake a thread, to run, to wake the
//! task. Times are wall times, because threads take part. Instructions are those of all threads; valgrind
//! runs one thread at a time, so threads wait for locks less often than in a program, and more often find
//! several jobs.

use super::{BATCH, Row, Run, batches};
use crate::peers::{Readily, Smol, Tokio};
use crate::runtime::{Blocking, Runtime};
use std::time::{Duration, Instant};

pub fn rows() -> Vec<Row> {
    vec![
        Row {
            name: "a blocking job, and its result",
            counted: Some(10 * BATCH),
            timed: None,
            runs: vec![
                (Readily::NAME, alone::<Readily> as Run),
                (Tokio::NAME, alone::<Tokio>),
                (Smol::NAME, alone::<Smol>),
            ],
        },
        Row {
            name: "a blocking job, 100 at a time",
            counted: Some(10 * BATCH),
            timed: None,
            runs: vec![
                (Readily::NAME, many::<Readily> as Run),
                (Tokio::NAME, many::<Tokio>),
                (Smol::NAME, many::<Smol>),
            ],
        },
    ]
}

#[allow(clippy::disallowed_methods)] // threads take part
fn wall<R: Runtime>(workload: impl Future<Output = ()> + 'static) -> Duration {
    R::run(async {
        let start = Instant::now();
        workload.await;
        start.elapsed()
    })
}

/// One operation: a job, awaited.
fn alone<R: Blocking>(n: u64) -> Duration {
    wall::<R>(async move {
        for i in 0..n {
            assert_eq!(R::run_blocking(move || i).await, i);
        }
    })
}

/// One operation: a job, of 100 that are submitted before the first is awaited.
fn many<R: Blocking>(n: u64) -> Duration {
    wall::<R>(async move {
        for size in batches(n, 100) {
            let jobs: Vec<_> = (0..size).map(|i| R::run_blocking(move || i)).collect();
            let mut sum = 0;
            for job in jobs {
                sum += job.await;
            }
            assert_eq!(sum, size * (size - 1) / 2);
        }
    })
}
