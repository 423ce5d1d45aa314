//! The workloads: each performs a number of operations and returns how long they took.
//!
//! The comment of each workload defines one operation. Setup is done once for all operations, so its
//! cost is spread over them. Workloads with tasks are written once for all runtimes (`runtime.rs`).
//!
//! Objects that accumulate do so in batches of a fixed size, so that twice the operations are twice
//! the work.

mod blocking;
mod callbacks;
mod sync;
mod tasks;
mod timers;
mod wakes;

use crate::clocks::worked;
use crate::runtime::Runtime;
use std::time::Duration;

/// The number of objects alive at a time, where an operation creates one that lives to the end of its
/// batch.
pub const BATCH: u64 = 1000;

/// Runs a number of operations. Returns their CPU time, or their wall time for workloads that wait.
pub type Run = fn(u64) -> Duration;

pub struct Row {
    pub name: &'static str,
    /// The number of operations whose instructions are counted, a multiple of the batch size. `None` if
    /// instructions are not meaningful.
    pub counted: Option<u64>,
    /// The number of operations that are timed; `None` for as many as take long enough.
    pub timed: Option<u64>,
    /// The peers, and the function that runs the workload on each.
    pub runs: Vec<(&'static str, Run)>,
}

impl Row {
    fn counted(self, counted: impl Into<Option<u64>>) -> Self {
        Self {
            counted: counted.into(),
            ..self
        }
    }

    fn timed(self, timed: u64) -> Self {
        Self {
            timed: Some(timed),
            ..self
        }
    }
}

pub fn all() -> Vec<Row> {
    let parts = [
        tasks::rows(),
        timers::rows(),
        callbacks::rows(),
        wakes::rows(),
        blocking::rows(),
        sync::rows(),
    ];
    parts.into_iter().flatten().collect()
}

/// Returns the CPU time of the workload, without the creation of the loop.
fn timed<R: Runtime>(workload: impl Future<Output = ()> + 'static) -> Duration {
    R::run(async {
        let before = worked();
        workload.await;
        worked() - before
    })
}

/// A row for a workload on the given runtimes.
macro_rules! row {
    ($name:literal, $workload:ident $more:tt, $($peer:ident)+) => {
        $crate::workloads::Row {
            name: $name,
            counted: Some(10 * $crate::workloads::BATCH),
            timed: None,
            runs: vec![$((
                <$crate::peers::$peer as $crate::runtime::Runtime>::NAME,
                row!(@ $peer $workload $more),
            )),+],
        }
    };
    (@ $peer:ident $workload:ident ($($more:expr),*)) => {
        |n| $crate::workloads::timed::<$crate::peers::$peer>(
            $workload::<$crate::peers::$peer>(n, $($more),*),
        )
    };
}
use row;

/// Splits `n` into batches of `size`, and the rest.
fn batches(n: u64, size: u64) -> impl Iterator<Item = u64> {
    let whole = std::iter::repeat_n(size, (n / size) as usize);
    whole.chain(Some(n % size).filter(|&rest| rest > 0))
}

/// Spawns `tasks` tasks, each with its share of `n`, and waits for all of them.
async fn shared<R: Runtime, F>(n: u64, tasks: u64, work: impl Fn(u64) -> F)
where
    F: Future<Output = ()> + 'static,
{
    let share = |task| n / tasks + u64::from(task < n % tasks);
    let all: Vec<_> = (0..tasks).map(|task| R::spawn(work(share(task)))).collect();
    for task in all {
        task.await;
    }
}

/// Pseudo-random numbers, the same in each run.
pub struct Numbers(u64);

impl Numbers {
    pub fn new() -> Self {
        Self(1)
    }

    /// Returns a delay below `end`. It takes few instructions, because they are measured with each peer.
    pub fn delay(&mut self, end: Duration) -> Duration {
        // Knuth's 64-bit multiplier. The upper bits are the more random ones.
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1);
        let end_ns = end.as_nanos() as u64;
        Duration::from_nanos(((u128::from(self.0) * u128::from(end_ns)) >> 64) as u64)
    }
}
