//! Each workload: so many operations, and how long they took.
//!
//! Each says what one operation is. What has to be made beforehand is made once for all of them, so
//! that its cost is spread out. Those on tasks are written once for all runtimes (`runtime.rs`).
//!
//! Where things pile up they do so in batches of one size: twice the operations are twice the work.

mod callbacks;
mod sync;
mod tasks;
mod timers;
mod wakes;

use crate::clocks::worked;
use crate::runtime::Runtime;
use std::time::Duration;

/// As many are alive at a time, where an operation leaves something behind until the end.
pub const BATCH: u64 = 1000;

/// How long so many operations take: work where they work, time where they wait.
pub type Run = fn(u64) -> Duration;

pub struct Row {
    pub name: &'static str,
    /// As many operations make the difference whose instructions are counted; whole batches. `None`
    /// where instructions say nothing.
    pub counted: Option<u64>,
    /// As many operations are timed; else so many as take long enough.
    pub timed: Option<u64>,
    /// Who runs it, and how.
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
        sync::rows(),
    ];
    parts.into_iter().flatten().collect()
}

/// How long the processors worked on it, without what it takes to make a loop.
fn timed<R: Runtime>(workload: impl Future<Output = ()> + 'static) -> Duration {
    R::run(async {
        let before = worked();
        workload.await;
        worked() - before
    })
}

/// A workload for those runtimes.
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

/// `n` in pieces.
fn batches(n: u64, size: u64) -> impl Iterator<Item = u64> {
    let whole = std::iter::repeat_n(size, (n / size) as usize);
    whole.chain(Some(n % size).filter(|&rest| rest > 0))
}

/// Spawns so many tasks, each with its share of `n`, and waits for all of them.
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

/// Numbers that look random, the same in each run.
pub struct Numbers(u64);

impl Numbers {
    pub fn new() -> Self {
        Self(1)
    }

    /// Shorter than `end`, in few instructions: they count for everybody.
    pub fn delay(&mut self, end: Duration) -> Duration {
        // Knuth's multiplier for 64 bits; the upper half is the random one.
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1);
        let end_ns = end.as_nanos() as u64;
        Duration::from_nanos(((u128::from(self.0) * u128::from(end_ns)) >> 64) as u64)
    }
}
