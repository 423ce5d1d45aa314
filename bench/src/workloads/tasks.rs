//! Tasks: spawning, switching, and waking each other.
//!
//! A slot is a cell with a waker, the same code for all peers, so that a ping-pong with slots shows the
//! cost of the peer's waker.

use super::{BATCH, Row, batches, row, shared};
use crate::runtime::Runtime;
use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

pub fn rows() -> Vec<Row> {
    vec![
        row!("spawn and await, one by one", spawn_one_by_one(), Readily Tokio TokioLocalSet Smol Monoio Compio),
        row!("spawn and await, 1000 at a time", spawn_many(), Readily Tokio TokioLocalSet Smol Monoio Compio),
        row!("yield, one task", yielding(1), Readily Tokio TokioLocalSet Smol Monoio Compio),
        row!("yield, among 1000 tasks", yielding(1000), Readily Tokio TokioLocalSet Smol Monoio Compio)
            .timed(200 * BATCH),
        row!("ping-pong, two slots", ping_pong_slot(), Readily Tokio TokioLocalSet Smol Monoio Compio),
        row!("ping-pong, two signals", ping_pong_signal(), Readily Tokio TokioLocalSet Smol Monoio Compio),
        row!("ping-pong, two oneshots", ping_pong_oneshot(), Readily Tokio TokioLocalSet Smol Monoio Compio),
        row!("ping-pong, two queues", ping_pong_queue(), Readily Tokio TokioLocalSet Smol Monoio Compio),
    ]
}

/// One operation: an empty task is spawned and awaited.
async fn spawn_one_by_one<R: Runtime>(n: u64) {
    for _ in 0..n {
        R::spawn(async {}).await;
    }
}

/// The same, in batches.
async fn spawn_many<R: Runtime>(n: u64) {
    for batch in batches(n, BATCH) {
        let tasks: Vec<_> = (0..batch).map(|_| R::spawn(async {})).collect();
        for task in tasks {
            task.await;
        }
    }
}

/// One operation: a task yields and is polled again.
async fn yielding<R: Runtime>(n: u64, tasks: u64) {
    shared::<R, _>(n, tasks, |share| async move {
        for _ in 0..share {
            R::yield_now().await;
        }
    })
    .await;
}

/// One operation: a round trip between two tasks through two oneshots, which are created for it.
async fn ping_pong_oneshot<R: Runtime>(n: u64) {
    for batch in batches(n, BATCH) {
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

/// One operation: a round trip between two tasks through two queues.
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

/// A value for one waiter, which can be filled again.
#[derive(Default)]
struct Slot {
    value: Cell<Option<u64>>,
    waker: Cell<Option<Waker>>,
}

impl Slot {
    fn fill(&self, value: u64) {
        self.value.set(Some(value));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    async fn take(&self) -> u64 {
        poll_fn(|cx| match self.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                self.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

/// One operation: a round trip between two tasks through two slots.
async fn ping_pong_slot<R: Runtime>(n: u64) {
    let (ping, pong) = (Rc::<Slot>::default(), Rc::<Slot>::default());
    let (ping_in, pong_out) = (Rc::clone(&ping), Rc::clone(&pong));
    let other = R::spawn(async move {
        for _ in 0..n {
            pong_out.fill(ping_in.take().await);
        }
    });
    for value in 0..n {
        ping.fill(value);
        pong.take().await;
    }
    other.await;
}

/// One operation: a round trip between two tasks through two signals.
async fn ping_pong_signal<R: Runtime>(n: u64) {
    let (ping, pong) = (R::signal(), R::signal());
    let (ping_in, pong_out) = (ping.clone(), pong.clone());
    let other = R::spawn(async move {
        for _ in 0..n {
            R::signalled(&ping_in).await;
            R::give(&pong_out);
        }
    });
    for _ in 0..n {
        R::give(&ping);
        R::signalled(&pong).await;
    }
    other.await;
}
