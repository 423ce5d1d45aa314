//! readily.

use super::SOUND;
use crate::runtime::{Blocking, Broadcast, Runtime, Synced, Watch};
use readily::sync::{broadcast, oneshot, watch};
use readily::{Event, Lock, Queue, Semaphore};
use std::time::Duration;

pub struct Readily;

impl Runtime for Readily {
    const NAME: &'static str = "readily";

    type Signal = Event;
    type Put<T: 'static> = Queue<T>;
    type Get<T: 'static> = Queue<T>;
    type Send<T: 'static> = oneshot::Sender<T>;

    fn run<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
        readily::run(async { Self::spawn(future).await }).expect("a loop")
    }

    fn spawn<T: 'static>(
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static {
        let task = readily::spawn(future);
        async { task.await.expect(SOUND) }
    }

    async fn yield_now() {
        readily::yield_now().await;
    }

    fn sleep(delay: Duration) -> impl Future<Output = ()> + 'static {
        readily::sleep(delay)
    }

    fn queue<T: 'static>(room: usize) -> (Queue<T>, Queue<T>) {
        let queue = Queue::bounded(room);
        (queue.clone(), queue)
    }

    async fn put<T: 'static>(side: &Queue<T>, item: T) {
        side.put(item).await.expect(SOUND);
    }

    async fn get<T: 'static>(side: &mut Queue<T>) -> Option<T> {
        side.get().await.ok()
    }

    fn oneshot<T: 'static>() -> (oneshot::Sender<T>, impl Future<Output = T> + 'static) {
        let (sender, receiver) = oneshot::channel();
        (sender, async { receiver.await.expect(SOUND) })
    }

    fn send<T: 'static>(side: oneshot::Sender<T>, value: T) {
        side.send(value).expect(SOUND);
    }

    fn signal() -> Event {
        Event::new()
    }

    fn give(signal: &Event) {
        signal.set();
    }

    async fn signalled(signal: &Event) {
        signal.wait().await;
        signal.clear();
    }
}

impl Synced for Readily {
    type Lock = Lock;
    type Semaphore = Semaphore;
    type Event = Event;

    async fn wait_for<F: Future>(limit: Duration, future: F) -> bool {
        readily::wait_for(limit, future).await.is_ok()
    }

    async fn gather<F: Future>(futures: impl Iterator<Item = F>) -> usize {
        readily::gather(futures).await.len()
    }

    fn lock() -> Lock {
        Lock::default()
    }

    async fn acquire(lock: &Lock) -> impl Sized {
        lock.acquire().await
    }

    fn semaphore(permits: usize) -> Semaphore {
        Semaphore::new(permits)
    }

    async fn permit(semaphore: &Semaphore) -> impl Sized {
        semaphore.acquire().await
    }

    fn event() -> Event {
        Event::new()
    }

    fn notify(event: &Event) {
        event.set();
        event.clear();
    }

    async fn notified(event: &Event) {
        event.wait().await;
    }
}

impl Broadcast for Readily {
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

impl Watch for Readily {
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
        *watcher.borrow()
    }
}

impl Blocking for Readily {
    fn run_blocking<T: Send + 'static>(
        f: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + 'static {
        let job = readily::run_blocking(f);
        async { job.await.expect(SOUND) }
    }
}
