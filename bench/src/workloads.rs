//! Each workload, once for all runtimes: so many operations, on the loop that it is called on.
//!
//! Each says what one operation is. What has to be made beforehand is made once for all of them, so
//! that its cost is spread out.

use crate::peers::{Readily, Smol, Tokio};
use crate::runtime::{Broadcast, Runtime, Watch};
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Us, and the others.
pub const PEERS: usize = 3;

/// As many are alive at a time, where an operation leaves something behind until the end.
const BATCH: u64 = 1000;

const FAR: Duration = Duration::from_secs(60);

/// How long so many operations take; `None` where there is no such thing.
pub type Run = Option<fn(u64) -> Duration>;

pub struct Row {
    pub name: &'static str,
    pub runs: [Run; PEERS],
}

/// Without what it takes to make a loop.
#[allow(clippy::disallowed_methods)] // the reader's clock, and no loop's
fn timed<R: Runtime>(workload: impl Future<Output = ()> + 'static) -> Duration {
    R::run(async {
        let start = Instant::now();
        workload.await;
        start.elapsed()
    })
}

macro_rules! row {
    ($name:literal, $workload:ident $more:tt, $($peer:ident)+) => {
        Row {
            name: $name,
            runs: [$(row!(@ $peer $workload $more)),+],
        }
    };
    ($name:literal, $workload:ident $more:tt) => {
        row!($name, $workload $more, Readily Tokio Smol)
    };
    (@ none $workload:ident $more:tt) => { None };
    (@ $peer:ident $workload:ident ($($more:expr),*)) => {
        Some(|n| timed::<$peer>($workload::<$peer>(n, $($more),*)))
    };
}

pub fn all() -> Vec<Row> {
    vec![
        row!("spawn and await, one by one", spawn_one_by_one()),
        row!("spawn and await, 1000 at a time", spawn_many()),
        row!("yield, one task", yielding(1)),
        row!("yield, among 1000 tasks", yielding(1000)),
        row!("ping-pong, two oneshots", ping_pong_oneshot()),
        row!("ping-pong, two queues", ping_pong_queue()),
        row!("lock, nobody waits", lock_alone()),
        row!("lock, 2 tasks, held over a yield", lock_contended(2)),
        row!("lock, 100 tasks, held over a yield", lock_contended(100)),
        row!("semaphore, nobody waits", semaphore_alone()),
        row!(
            "semaphore of 1, 2 tasks, over a yield",
            semaphore_contended(2, 1)
        ),
        row!(
            "semaphore of 10, 100 tasks, over a yield",
            semaphore_contended(100, 10)
        ),
        row!("event, 1 waits and 1 tells", event(1)),
        row!("event, 100 wait, for each", event(100)),
        row!("queue, put and get in one task", queue_alone()),
        row!("queue of 64, 1 puts and 1 gets", queue_between(1)),
        row!("queue of 64, 100 put and 1 gets", queue_between(100)),
        row!("broadcast, 1 receiver", broadcast(1)),
        row!("broadcast, 10 receivers, for each", broadcast(10)),
        row!("watch, 1 receiver", watch(1), Readily Tokio none),
        row!("watch, 10 receivers, for each", watch(10), Readily Tokio none),
        row!("sleep(0)", sleep_zero()),
        row!("timer armed and dropped", timer_dropped(1)),
        row!(
            "timer armed and dropped, 1000 at a time",
            timer_dropped(BATCH)
        ),
        row!("wait_for, of a yield", wait_for()),
        row!("gather of 100 yields, for each", gather()),
    ]
}

/// A task that has nothing to do.
async fn spawn_one_by_one<R: Runtime>(n: u64) {
    for _ in 0..n {
        R::spawn(async {}).await;
    }
}

/// The same.
async fn spawn_many<R: Runtime>(n: u64) {
    for batch in batches(n) {
        let tasks: Vec<_> = (0..batch).map(|_| R::spawn(async {})).collect();
        for task in tasks {
            task.await;
        }
    }
}

/// `n` in pieces.
fn batches(n: u64) -> impl Iterator<Item = u64> {
    let whole = std::iter::repeat_n(BATCH, (n / BATCH) as usize);
    whole.chain(Some(n % BATCH).filter(|&rest| rest > 0))
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

/// From one poll to the next.
async fn yielding<R: Runtime>(n: u64, tasks: u64) {
    shared::<R, _>(n, tasks, |share| async move {
        for _ in 0..share {
            R::yield_now().await;
        }
    })
    .await;
}

/// There and back: two oneshots made, sent and received, in two tasks.
async fn ping_pong_oneshot<R: Runtime>(n: u64) {
    for batch in batches(n) {
        let pings: Vec<_> = (0..batch).map(|_| R::oneshot::<u64>()).collect();
        let pongs: Vec<_> = (0..batch).map(|_| R::oneshot::<u64>()).collect();
        let (ping_out, ping_in): (Vec<_>, Vec<_>) = pings.into_iter().unzip();
        let (pong_out, pong_in): (Vec<_>, Vec<_>) = pongs.into_iter().unzip();
        let other = R::spawn(async move {
            for (ping, pong) in ping_in.into_iter().zip(pong_out) {
                R::send(pong, ping.await);
            }
        });
        for (ping, pong) in ping_out.into_iter().zip(pong_in) {
            R::send(ping, 1);
            pong.await;
        }
        other.await;
    }
}

/// There and back: an item through each of two queues, between two tasks.
async fn ping_pong_queue<R: Runtime>(n: u64) {
    let (ping, mut ping_in) = R::queue::<u64>(1);
    let (pong, mut pong_in) = R::queue::<u64>(1);
    let other = R::spawn(async move {
        for _ in 0..n {
            let value = R::get(&mut ping_in).await.unwrap_or(0);
            R::put(&pong, value).await;
        }
    });
    for value in 0..n {
        R::put(&ping, value).await;
        R::get(&mut pong_in).await;
    }
    other.await;
}

/// Acquired and given back.
async fn lock_alone<R: Runtime>(n: u64) {
    let lock = R::lock();
    for _ in 0..n {
        drop(R::acquire(&lock).await);
    }
}

/// The same, with a yield in between, while all others wait.
async fn lock_contended<R: Runtime>(n: u64, tasks: u64) {
    let lock = R::lock();
    shared::<R, _>(n, tasks, |share| {
        let lock = lock.clone();
        async move {
            for _ in 0..share {
                let _guard = R::acquire(&lock).await;
                R::yield_now().await;
            }
        }
    })
    .await;
}

/// A permit taken and given back.
async fn semaphore_alone<R: Runtime>(n: u64) {
    let semaphore = R::semaphore(1);
    for _ in 0..n {
        drop(R::permit(&semaphore).await);
    }
}

/// The same, with a yield in between, while others wait.
async fn semaphore_contended<R: Runtime>(n: u64, tasks: u64, permits: usize) {
    let semaphore = R::semaphore(permits);
    shared::<R, _>(n, tasks, |share| {
        let semaphore = semaphore.clone();
        async move {
            for _ in 0..share {
                let _permit = R::permit(&semaphore).await;
                R::yield_now().await;
            }
        }
    })
    .await;
}

/// One task that waits is told, and waits again.
async fn event<R: Runtime>(n: u64, waiting: u64) {
    let (event, done) = (R::event(), Rc::new(Cell::new(0)));
    let tasks: Vec<_> = (0..waiting)
        .map(|_| {
            let (event, done) = (event.clone(), Rc::clone(&done));
            R::spawn(async move {
                for _ in 0..n.div_ceil(waiting) {
                    R::told(&event).await;
                }
                done.set(done.get() + 1);
            })
        })
        .collect();
    // They are polled in between, and wait. Who does not is told once more: these are no flags.
    while done.get() < waiting {
        R::tell(&event);
        R::yield_now().await;
    }
    for task in tasks {
        task.await;
    }
}

/// An item put and got, where there is always room and always an item.
async fn queue_alone<R: Runtime>(n: u64) {
    let (put, mut get) = R::queue::<u64>(64);
    for value in 0..n {
        R::put(&put, value).await;
        R::get(&mut get).await;
    }
}

/// An item put by one task and got by another.
async fn queue_between<R: Runtime>(n: u64, putters: u64) {
    let (put, mut get) = R::queue::<u64>(64);
    let getter = R::spawn(async move {
        for _ in 0..n {
            R::get(&mut get).await;
        }
    });
    shared::<R, _>(n, putters, |share| {
        let put = put.clone();
        async move {
            for value in 0..share {
                R::put(&put, value).await;
            }
        }
    })
    .await;
    getter.await;
}

/// A value that one receiver gets; the sender gives way after each.
async fn broadcast<R: Broadcast>(n: u64, receivers: u64) {
    let rounds = n.div_ceil(receivers);
    let (sender, all) = R::broadcast(64, receivers as usize);
    let tasks: Vec<_> = all
        .into_iter()
        .map(|mut receiver| {
            R::spawn(async move {
                for _ in 0..rounds {
                    R::hear(&mut receiver).await;
                }
            })
        })
        .collect();
    for value in 0..rounds {
        R::say(&sender, value);
        R::yield_now().await;
    }
    for task in tasks {
        task.await;
    }
}

/// A change that one receiver is told of; the sender gives way after each.
async fn watch<R: Watch>(n: u64, receivers: u64) {
    let rounds = n.div_ceil(receivers);
    let (setter, watcher) = R::watch();
    let tasks: Vec<_> = (0..receivers)
        .map(|_| {
            let mut watcher = watcher.clone();
            R::spawn(async move { while R::changed(&mut watcher).await < rounds {} })
        })
        .collect();
    for value in 1..=rounds {
        R::yield_now().await;
        R::set(&setter, value);
    }
    for task in tasks {
        task.await;
    }
}

/// One sleep of no time.
async fn sleep_zero<R: Runtime>(n: u64) {
    for _ in 0..n {
        R::sleep(Duration::ZERO).await;
    }
}

/// One timer, polled once and dropped long before its time, with others.
async fn timer_dropped<R: Runtime>(n: u64, together: u64) {
    let mut left = n;
    while left > 0 {
        let now = left.min(together);
        left -= now;
        if together == 1 {
            let mut timer = pin!(R::sleep(FAR));
            poll_fn(|cx| Poll::Ready(timer.as_mut().poll(cx).is_ready())).await;
            continue;
        }
        let mut timers: Vec<_> = (0..now).map(|_| Box::pin(R::sleep(FAR))).collect();
        poll_fn(|cx| {
            for timer in &mut timers {
                let _pending = timer.as_mut().poll(cx);
            }
            Poll::Ready(())
        })
        .await;
    }
}

/// A limit that is not reached.
async fn wait_for<R: Runtime>(n: u64) {
    for _ in 0..n {
        R::wait_for(FAR, R::yield_now()).await;
    }
}

/// One member.
async fn gather<R: Runtime>(n: u64) {
    let mut left = n;
    while left > 0 {
        let now = left.min(100);
        left -= now;
        R::gather((0..now).map(|_| R::yield_now())).await;
    }
}
