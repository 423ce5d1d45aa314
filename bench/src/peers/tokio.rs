//! tokio on one thread, for tasks that need not be `Send`: a `LocalRuntime`, and the older way, a
//! `LocalSet` on a current-thread runtime.
//!
//! An event is a `Notify`, which stores no state for `notify_waiters`: a later waiter waits.

use super::SOUND;
use crate::runtime::{Blocking, Broadcast, Runtime, Synced, Watch};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Mutex, Notify, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::{LocalSet, spawn_local};

pub struct On<const LOCAL_SET: bool>;

pub type Tokio = On<false>;
pub type TokioLocalSet = On<true>;

impl<const LOCAL_SET: bool> Runtime for On<LOCAL_SET> {
    const NAME: &'static str = if LOCAL_SET { "tokio LocalSet" } else { "tokio" };

    type Signal = Arc<Notify>;
    type Put<T: 'static> = mpsc::Sender<T>;
    type Get<T: 'static> = mpsc::Receiver<T>;
    type Send<T: 'static> = oneshot::Sender<T>;

    fn run<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
        let mut builder = Builder::new_current_thread();
        builder.enable_time();
        if LOCAL_SET {
            let runtime = builder.build().expect("a runtime");
            LocalSet::new().block_on(&runtime, async { Self::spawn(future).await })
        } else {
            let runtime = builder.build_local(LocalOptions::default());
            runtime
                .expect("a runtime")
                .block_on(async { Self::spawn(future).await })
        }
    }

    fn spawn<T: 'static>(
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static {
        let task = spawn_local(future);
        async { task.await.expect(SOUND) }
    }

    async fn yield_now() {
        tokio::task::yield_now().await;
    }

    fn sleep(delay: Duration) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(delay)
    }

    fn queue<T: 'static>(room: usize) -> (mpsc::Sender<T>, mpsc::Receiver<T>) {
        mpsc::channel(room)
    }

    async fn put<T: 'static>(side: &mpsc::Sender<T>, item: T) {
        assert!(side.send(item).await.is_ok(), "{SOUND}");
    }

    async fn get<T: 'static>(side: &mut mpsc::Receiver<T>) -> Option<T> {
        side.recv().await
    }

    fn oneshot<T: 'static>() -> (oneshot::Sender<T>, impl Future<Output = T> + 'static) {
        let (sender, receiver) = oneshot::channel();
        (sender, async { receiver.await.expect(SOUND) })
    }

    fn send<T: 'static>(side: oneshot::Sender<T>, value: T) {
        assert!(side.send(value).is_ok(), "{SOUND}");
    }

    fn signal() -> Arc<Notify> {
        Arc::default()
    }

    fn give(signal: &Arc<Notify>) {
        signal.notify_one();
    }

    async fn signalled(signal: &Arc<Notify>) {
        signal.notified().await;
    }
}

impl<const LOCAL_SET: bool> Synced for On<LOCAL_SET> {
    type Lock = Arc<Mutex<()>>;
    type Semaphore = Arc<Semaphore>;
    type Event = Arc<Notify>;

    async fn wait_for<F: Future>(limit: Duration, future: F) -> bool {
        tokio::time::timeout(limit, future).await.is_ok()
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
        semaphore.acquire().await.expect(SOUND)
    }

    fn event() -> Self::Event {
        Arc::default()
    }

    fn notify(event: &Self::Event) {
        event.notify_waiters();
    }

    async fn notified(event: &Self::Event) {
        event.notified().await;
    }
}

impl<const LOCAL_SET: bool> Broadcast for On<LOCAL_SET> {
    type Sender = broadcast::Sender<u64>;
    type Receiver = broadcast::Receiver<u64>;

    fn broadcast(room: usize, receivers: usize) -> (Self::Sender, Vec<Self::Receiver>) {
        let (sender, _) = broadcast::channel(room);
        let receivers = (0..receivers).map(|_| sender.subscribe()).collect();
        (sender, receivers)
    }

    fn broadcast_value(sender: &Self::Sender, value: u64) {
        sender.send(value).expect(SOUND);
    }

    async fn receive(receiver: &mut Self::Receiver) -> u64 {
        receiver.recv().await.expect(SOUND)
    }
}

impl<const LOCAL_SET: bool> Watch for On<LOCAL_SET> {
    type Setter = watch::Sender<u64>;
    type Watcher = watch::Receiver<u64>;

    fn watch() -> (Self::Setter, Self::Watcher) {
        watch::channel(0)
    }

    fn set(setter: &Self::Setter, value: u64) {
        setter.send(value).expect(SOUND);
    }

    async fn changed(watcher: &mut Self::Watcher) -> u64 {
        watcher.changed().await.expect(SOUND);
        *watcher.borrow_and_update()
    }
}

impl Blocking for Tokio {
    fn run_blocking<T: Send + 'static>(
        f: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + 'static {
        let job = tokio::task::spawn_blocking(f);
        async { job.await.expect(SOUND) }
    }
}
