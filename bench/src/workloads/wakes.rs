//! Wakes that come from another thread.
//!
//! The thread and the loop take turns, so each of them is asleep when the other wakes it: two switches
//! of the system's, and what a peer adds. Counting instructions says nothing here.

use super::{Row, Run};
use crate::callbacks::{Callbacks, Raw};
use crate::peers::{Monoio, Readily, Smol, Tokio};
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

/// So long a thread waits until the loop is surely asleep.
const UNTIL_ASLEEP: Duration = Duration::from_micros(30);

/// A flag that one thread puts up and a task of another waits for.
struct Bell {
    start: Instant,
    rung: AtomicBool,
    rung_ns: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    #[allow(clippy::disallowed_methods)] // the thread has no loop
    fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            rung: AtomicBool::new(false),
            rung_ns: AtomicU64::new(0),
            waker: Mutex::new(None),
        })
    }

    fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Spins, for who sleeps is himself late.
    fn spin(&self) {
        let end = self.now_ns() + UNTIL_ASLEEP.as_nanos() as u64;
        while self.now_ns() < end {
            std::hint::spin_loop();
        }
    }

    fn ring(&self) {
        self.rung_ns.store(self.now_ns(), Ordering::Relaxed);
        self.rung.store(true, Ordering::Release);
        let waker = self.waker.lock().expect("nobody panics with it").take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn take(&self) -> bool {
        self.rung.swap(false, Ordering::Acquire)
    }

    /// How long after it was rung.
    async fn heard(&self) -> Duration {
        poll_fn(|cx| {
            if !self.take() {
                let waker = Some(cx.waker().clone());
                *self.waker.lock().expect("nobody panics with it") = waker;
                if !self.take() {
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        })
        .await;
        self.since_rung()
    }

    fn since_rung(&self) -> Duration {
        Duration::from_nanos(self.now_ns() - self.rung_ns.load(Ordering::Relaxed))
    }
}

/// A thread that does `ring` each time that it is asked to.
fn thread(ring: impl Fn() + Send + 'static) -> mpsc::Sender<()> {
    let (ask, asked) = mpsc::channel();
    std::thread::spawn(move || asked.iter().for_each(|()| ring()));
    ask
}

const THERE: &str = "the thread is there";

/// A thread is woken by the task, and wakes it.
async fn there_and_back<R: Runtime>(n: u64) -> Duration {
    let bell = Bell::new();
    let theirs = Arc::clone(&bell);
    let ask = thread(move || theirs.ring());
    let start = bell.now_ns();
    for _ in 0..n {
        ask.send(()).expect(THERE);
        bell.heard().await;
    }
    Duration::from_nanos(bell.now_ns() - start)
}

/// From the call that wakes to the poll of the task.
async fn one_way<R: Runtime>(n: u64) -> Duration {
    let bell = Bell::new();
    let theirs = Arc::clone(&bell);
    let ask = thread(move || {
        theirs.spin();
        theirs.ring();
    });
    let mut sum = Duration::ZERO;
    for _ in 0..n {
        ask.send(()).expect(THERE);
        sum += bell.heard().await;
    }
    sum
}

/// An epoll that waits for an eventfd, and nothing else.
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

fn raw(n: u64, before: fn(&Bell)) -> (Duration, Duration) {
    let bell = Bell::new();
    let waiter = Waiter::new().expect("an epoll");
    let (theirs, event) = (Arc::clone(&bell), Arc::clone(&waiter.event));
    let ask = thread(move || {
        before(&theirs);
        theirs.ring();
        rustix::io::write(&event, &1_u64.to_ne_bytes()).expect("an eventfd");
    });
    let mut sum = Duration::ZERO;
    let start = bell.now_ns();
    for _ in 0..n {
        ask.send(()).expect(THERE);
        waiter.wait().expect("an epoll");
        sum += bell.since_rung();
    }
    (Duration::from_nanos(bell.now_ns() - start), sum)
}

fn there_and_back_raw(n: u64) -> Duration {
    raw(n, |_| {}).0
}

fn one_way_raw(n: u64) -> Duration {
    raw(n, Bell::spin).1
}
