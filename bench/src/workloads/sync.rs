//! Synchronisation primitives: locks, semaphores, events, queues, broadcast and watch channels.

use super::{Row, row, shared};
use crate::runtime::{Broadcast, Runtime, Synced, Watch};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// A timeout that is never reached.
const FAR: Duration = Duration::from_secs(60);

pub fn rows() -> Vec<Row> {
    vec![
        row!("lock, nobody waits", lock_alone(), Readily Tokio Smol),
        row!("lock, 2 tasks, held over a yield", lock_contended(2), Readily Tokio Smol),
        row!("lock, 100 tasks, held over a yield", lock_contended(100), Readily Tokio Smol),
        row!("semaphore, nobody waits", semaphore_alone(), Readily Tokio Smol),
        row!("semaphore of 1, 2 tasks, over a yield", semaphore_contended(2, 1), Readily Tokio Smol),
        row!("semaphore of 10, 100 tasks, over a yield", semaphore_contended(100, 10), Readily Tokio Smol),
        row!("event, 1 waiter", event(1), Readily Tokio Smol),
        row!("event, 100 waiters, for each", event(100), Readily Tokio Smol),
        row!("queue, put and get in one task", queue_alone(), Readily Tokio Smol Monoio Compio),
        row!("queue of 64, 1 puts and 1 gets", queue_between(1), Readily Tokio Smol Monoio Compio),
        row!("queue of 64, 100 put and 1 gets", queue_between(100), Readily Tokio Smol Monoio Compio),
        row!("broadcast, 1 receiver", broadcast(1), Readily Tokio Smol),
        row!("broadcast, 10 receivers, for each", broadcast(10), Readily Tokio Smol),
        row!("watch, 1 receiver", watch(1), Readily Tokio),
        row!("watch, 10 receivers, for each", watch(10), Readily Tokio),
        row!("wait_for, of a yield", wait_for(), Readily Tokio Smol),
        row!("gather of 100 yields, for each", gather(), Readily Tokio Smol),
    ]
}

/// One operation: the lock is acquired and released.
async fn lock_alone<R: Synced>(n: u64) {
    let lock = R::lock();
    for _ in 0..n {
        drop(R::acquire(&lock).await);
    }
}

/// The same, with a yield in between, while all other tasks wait.
async fn lock_contended<R: Synced>(n: u64, tasks: u64) {
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

/// One operation: a permit is acquired and released.
async fn semaphore_alone<R: Synced>(n: u64) {
    let semaphore = R::semaphore(1);
    for _ in 0..n {
        drop(R::permit(&semaphore).await);
    }
}

/// The same, with a yield in between, while other tasks wait.
async fn semaphore_contended<R: Synced>(n: u64, tasks: u64, permits: usize) {
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

/// One operation: a waiting task is woken, and waits again.
async fn event<R: Synced>(n: u64, waiting: u64) {
    let (event, done) = (R::event(), Rc::new(Cell::new(0)));
    let tasks: Vec<_> = (0..waiting)
        .map(|_| {
            let (event, done) = (event.clone(), Rc::clone(&done));
            R::spawn(async move {
                for _ in 0..n.div_ceil(waiting) {
                    R::notified(&event).await;
                }
                done.set(done.get() + 1);
            })
        })
        .collect();
    // The yield lets the tasks run and wait again. A task that is not waiting misses a notification,
    // because the event stores no state; it receives the next one.
    while done.get() < waiting {
        R::notify(&event);
        R::yield_now().await;
    }
    for task in tasks {
        task.await;
    }
}

/// One operation: an item is put and got. Neither waits.
async fn queue_alone<R: Runtime>(n: u64) {
    let (put, mut get) = R::queue::<u64>(64);
    for value in 0..n {
        R::put(&put, value).await;
        R::get(&mut get).await;
    }
}

/// One operation: an item is put by one task and got by another.
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

/// One operation: one receiver receives a value. The sender yields after each value.
async fn broadcast<R: Broadcast>(n: u64, receivers: u64) {
    let rounds = n.div_ceil(receivers);
    let (sender, all) = R::broadcast(64, receivers as usize);
    let tasks: Vec<_> = all
        .into_iter()
        .map(|mut receiver| {
            R::spawn(async move {
                for _ in 0..rounds {
                    R::receive(&mut receiver).await;
                }
            })
        })
        .collect();
    for value in 0..rounds {
        R::broadcast_value(&sender, value);
        R::yield_now().await;
    }
    for task in tasks {
        task.await;
    }
}

/// One operation: one receiver observes a change. The sender yields after each change.
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

/// One operation: a `wait_for` whose timeout is not reached.
async fn wait_for<R: Synced>(n: u64) {
    for _ in 0..n {
        R::wait_for(FAR, R::yield_now()).await;
    }
}

/// One operation: one member of a `gather`.
async fn gather<R: Synced>(n: u64) {
    let mut left = n;
    while left > 0 {
        let now = left.min(100);
        left -= now;
        R::gather((0..now).map(|_| R::yield_now())).await;
    }
}
