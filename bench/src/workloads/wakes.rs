//! Wakes from another thread.
//!
//! The thread and the loop alternate, so each of them sleeps when the other wakes it. The time is that
//! of two context switches, plus the cost of the peer. Instruction counts are not meaningful here.

use super::{Row, Run};
use crate::callbacks::{Callbacks, Raw};
use crate::peers::{Compio, Monoio, Readily, Smol, Tokio};
use crate::runtime::Runtime;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

pub fn rows() -> Vec<Row> {
    let row = |name, runs: Vec<(&'static str, Run)>| Row {
        name,
        counted: None,
        timed: None,
        runs,
    };
    vec![
        row(
            "a thread woken, and waking, there and back",
            vec![
                (Raw::NAME, there_and_back_raw),
                (Readily::NAME, turns::<Readily>),
                (Tokio::NAME, turns::<Tokio>),
                (Smol::NAME, turns::<Smol>),
                (Monoio::NAME, turns::<Monoio>),
                (Compio::NAME, turns::<Compio>),
            ],
        ),
        row(
            "woken by a thread, one way",
            vec![
                (Raw::NAME, one_way_raw),
                (Readily::NAME, latency::<Readily>),
                (Tokio::NAME, latency::<Tokio>),
                (Smol::NAME, latency::<Smol>),
                (Monoio::NAME, latency::<Monoio>),
                (Compio::NAME, latency::<Compio>),
            ],
        ),
    ]
}

fn turns<R: Runtime>(n: u64) -> Duration {
    R::run(there_and_back::<R>(n))
}

fn latency<R: Runtime>(n: u64) -> Duration {
    R::run(one_way::<R>(n))
}

/// The time after which the loop is assumed to sleep.
const UNTIL_ASLEEP: Duration = Duration::from_micros(30);

/// A flag that is set by one thread and awaited by a task on another.
struct Flag {
    start: Instant,
    is_set: AtomicBool,
    set_ns: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl Flag {
    #[allow(clippy::disallowed_methods)] // the thread has no loop
    fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            is_set: AtomicBool::new(false),
            set_ns: AtomicU64::new(0),
            waker: Mutex::new(None),
        })
    }

    fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Waits by spinning: a sleep would end late.
    fn spin(&self) {
        let end = self.now_ns() + UNTIL_ASLEEP.as_nanos() as u64;
        while self.now_ns() < end {
            std::hint::spin_loop();
        }
    }

    fn set(&self) {
        self.set_ns.store(self.now_ns(), Ordering::Relaxed);
        self.is_set.store(true, Ordering::Release);
        let waker = self
            .waker
            .lock()
            .expect("no thread panics while it holds the lock")
            .take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn take(&self) -> bool {
        self.is_set.swap(false, Ordering::Acquire)
    }

    /// Waits for the flag, and returns the time since it was set.
    async fn wait(&self) -> Duration {
        poll_fn(|cx| {
            if !self.take() {
                let waker = Some(cx.waker().clone());
                *self
                    .waker
                    .lock()
                    .expect("no thread panics while it holds the lock") = waker;
                if !self.take() {
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        })
        .await;
        self.since_set()
    }

    fn since_set(&self) -> Duration {
        Duration::from_nanos(self.now_ns() - self.set_ns.load(Ordering::Relaxed))
    }
}

/// Starts a thread that calls `notify` for each message it receives.
fn thread(notify: impl Fn() + Send + 'static) -> mpsc::Sender<()> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || receiver.iter().for_each(|()| notify()));
    sender
}

const ALIVE: &str = "the thread is alive";

/// One operation: the task wakes the thread, which wakes the task.
async fn there_and_back<R: Runtime>(n: u64) -> Duration {
    let flag = Flag::new();
    let shared = Arc::clone(&flag);
    let sender = thread(move || shared.set());
    let start = flag.now_ns();
    for _ in 0..n {
        sender.send(()).expect(ALIVE);
        flag.wait().await;
    }
    Duration::from_nanos(flag.now_ns() - start)
}

/// One operation: the time from the call of `wake` to the poll of the task.
async fn one_way<R: Runtime>(n: u64) -> Duration {
    let flag = Flag::new();
    let shared = Arc::clone(&flag);
    let sender = thread(move || {
        shared.spin();
        shared.set();
    });
    let mut sum = Duration::ZERO;
    for _ in 0..n {
        sender.send(()).expect(ALIVE);
        sum += flag.wait().await;
    }
    sum
}

/// An epoll instance that waits for one eventfd.
struct Waiter {
    epoll: rustix::fd::OwnedFd,
    event: Arc<rustix::fd::OwnedFd>,
}

impl Waiter {
    fn new() -> rustix::io::Result<Self> {
        use rustix::event::{EventfdFlags, epoll, eventfd};
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let data = epoll::EventData::new_u64(0);
        epoll::add(&epoll, &event, data, epoll::EventFlags::IN)?;
        let event = Arc::new(event);
        Ok(Self { epoll, event })
    }

    fn wait(&self) -> rustix::io::Result<()> {
        let mut events = Vec::with_capacity(8);
        rustix::event::epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            None,
        )?;
        rustix::io::read(&self.event, &mut [0; 8])?;
        Ok(())
    }
}

fn raw(n: u64, before: fn(&Flag)) -> (Duration, Duration) {
    let flag = Flag::new();
    let waiter = Waiter::new().expect("an epoll");
    let (shared, event) = (Arc::clone(&flag), Arc::clone(&waiter.event));
    let sender = thread(move || {
        before(&shared);
        shared.set();
        rustix::io::write(&event, &1_u64.to_ne_bytes()).expect("an eventfd");
    });
    let mut sum = Duration::ZERO;
    let start = flag.now_ns();
    for _ in 0..n {
        sender.send(()).expect(ALIVE);
        waiter.wait().expect("an epoll");
        sum += flag.since_set();
    }
    (Duration::from_nanos(flag.now_ns() - start), sum)
}

fn there_and_back_raw(n: u64) -> Duration {
    raw(n, |_| {}).0
}

fn one_way_raw(n: u64) -> Duration {
    raw(n, Flag::spin).1
}
