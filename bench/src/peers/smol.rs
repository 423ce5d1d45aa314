//! smol, from its parts, on one thread: a `LocalExecutor` under `async_io::block_on`.
//!
//! A oneshot is a channel with a capacity of one, an event is an `event_listener::Event`, and a signal
//! is such an event with a flag. There is no watch.

use super::SOUND;
use crate::runtime::{Blocking, Broadcast, Runtime, Synced};
use async_executor::LocalExecutor;
use async_lock::{Mutex, Semaphore};
use event_listener::Event;
use futures_lite::FutureExt;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

thread_local! {
    // smol passes the executor as an argument; the workloads have no parameter for it.
    static EXECUTOR: RefCell<Rc<LocalExecutor<'static>>> = RefCell::default();
}

pub struct Smol;

/// The typical use of event-listener: an event with a flag.
#[derive(Default)]
pub struct Flag {
    up: AtomicBool,
    changed: Event,
}

impl Runtime for Smol {
    const NAME: &'static str = "smol";

    type Signal = Arc<Flag>;
    type Put<T: 'static> = async_channel::Sender<T>;
    type Get<T: 'static> = async_channel::Receiver<T>;
    type Send<T: 'static> = async_channel::Sender<T>;

    fn run<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
        let executor: Rc<LocalExecutor<'static>> = Rc::default();
        EXECUTOR.set(Rc::clone(&executor));
        async_io::block_on(executor.run(async { Self::spawn(future).await }))
    }

    fn spawn<T: 'static>(
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static {
        EXECUTOR.with_borrow(|executor| executor.spawn(future))
    }

    async fn yield_now() {
        futures_lite::future::yield_now().await;
    }

    fn sleep(delay: Duration) -> impl Future<Output = ()> + 'static {
        let timer = async_io::Timer::after(delay);
        async {
            timer.await;
        }
    }

    fn queue<T: 'static>(room: usize) -> (Self::Put<T>, Self::Get<T>) {
        async_channel::bounded(room)
    }

    async fn put<T: 'static>(side: &Self::Put<T>, item: T) {
        assert!(side.send(item).await.is_ok(), "{SOUND}");
    }

    async fn get<T: 'static>(side: &mut Self::Get<T>) -> Option<T> {
        side.recv().await.ok()
    }

    fn oneshot<T: 'static>() -> (Self::Send<T>, impl Future<Output = T> + 'static) {
        let (sender, receiver) = async_channel::bounded(1);
        (sender, async move { receiver.recv().await.expect(SOUND) })
    }

    fn send<T: 'static>(side: Self::Send<T>, value: T) {
        assert!(side.try_send(value).is_ok(), "{SOUND}");
    }

    fn signal() -> Arc<Flag> {
        Arc::default()
    }

    fn give(signal: &Arc<Flag>) {
        signal.up.store(true, Ordering::Release);
        signal.changed.notify(1);
    }

    async fn signalled(signal: &Arc<Flag>) {
        while !signal.up.swap(false, Ordering::Acquire) {
            let changed = signal.changed.listen();
            // The flag may have been set between the two checks, before there was a listener.
            if signal.up.swap(false, Ordering::Acquire) {
                return;
            }
            changed.await;
        }
    }
}

impl Synced for Smol {
    type Lock = Arc<Mutex<()>>;
    type Semaphore = Arc<Semaphore>;
    type Event = Arc<Event>;

    async fn wait_for<F: Future>(limit: Duration, future: F) -> bool {
        let in_time = async {
            future.await;
            true
        };
        let too_late = async {
            async_io::Timer::after(limit).await;
            false
        };
        in_time.or(too_late).await
    }

    async fn gather<F: Future>(futures: impl Iterator<Item = F>) -> usize {
        futures_util::future::join_all(futures).await.len()
    }

    fn lock() -> Self::Lock {
        Arc::default()
    }

    async fn acquire(lock: &Self::Lock) -> impl Sized {
        lock.lock().await
    }

    fn semaphore(permits: usize) -> Self::Semaphore {
        Arc::new(Semaphore::new(permits))
    }

    async fn permit(semaphore: &Self::Semaphore) -> impl Sized {
        semaphore.acquire().await
    }

    fn event() -> Self::Event {
        Arc::new(Event::new())
    }

    fn notify(event: &Self::Event) {
        event.notify(usize::MAX);
    }

    async fn notified(event: &Self::Event) {
        event.listen().await;
    }
}

impl Broadcast for Smol {
    type Sender = async_broadcast::Sender<u64>;
    type Receiver = async_broadcast::Receiver<u64>;

    fn broadcast(room: usize, receivers: usize) -> (Self::Sender, Vec<Self::Receiver>) {
        let (sender, receiver) = async_broadcast::broadcast(room);
        let mut all: Vec<_> = (1..receivers).map(|_| receiver.clone()).collect();
        all.push(receiver);
        (sender, all)
    }

    fn broadcast_value(sender: &Self::Sender, value: u64) {
        sender.try_broadcast(value).expect(SOUND);
    }

    async fn receive(receiver: &mut Self::Receiver) -> u64 {
        receiver.recv().await.expect(SOUND)
    }
}

impl Blocking for Smol {
    fn run_blocking<T: Send + 'static>(
        f: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + 'static {
        blocking::unblock(f)
    }
}
