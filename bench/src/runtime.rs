//! What a runtime has to have for the workloads: the least that all of them can say.
//!
//! Everything is a function of the type, for all of them have one loop on a thread. Where a peer has
//! no such thing, the nearest that its users would take stands in, and its file in `peers` says so.
//!
//! Each trait beyond the first is for those who have that too.

use std::time::Duration;

pub trait Runtime: Sized + 'static {
    const NAME: &'static str;

    type Signal: Clone + 'static;
    type Put<T: 'static>: Clone + 'static;
    type Get<T: 'static>: 'static;
    type Send<T: 'static>: 'static;

    /// Runs `future` as a task, on a loop of its own.
    fn run<T: 'static>(future: impl Future<Output = T> + 'static) -> T;
    /// It runs whether or not what this returns is polled.
    fn spawn<T: 'static>(
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static;
    async fn yield_now();
    fn sleep(delay: Duration) -> impl Future<Output = ()> + 'static;

    fn signal() -> Self::Signal;
    /// Tells the one who waits, or who comes next.
    fn give(signal: &Self::Signal);
    /// Waits for that, and takes it.
    async fn signalled(signal: &Self::Signal);

    fn queue<T: 'static>(room: usize) -> (Self::Put<T>, Self::Get<T>);
    async fn put<T: 'static>(side: &Self::Put<T>, item: T);
    async fn get<T: 'static>(side: &mut Self::Get<T>) -> Option<T>;

    fn oneshot<T: 'static>() -> (Self::Send<T>, impl Future<Output = T> + 'static);
    fn send<T: 'static>(side: Self::Send<T>, value: T);
}

/// Locks, events, limits, and waiting for several.
pub trait Synced: Runtime {
    type Lock: Clone + 'static;
    type Semaphore: Clone + 'static;
    type Event: Clone + 'static;

    /// Whether `future` was ready in time.
    async fn wait_for<F: Future>(limit: Duration, future: F) -> bool;
    async fn gather<F: Future>(futures: impl Iterator<Item = F>) -> usize;

    fn lock() -> Self::Lock;
    async fn acquire(lock: &Self::Lock) -> impl Sized;

    fn semaphore(permits: usize) -> Self::Semaphore;
    async fn permit(semaphore: &Self::Semaphore) -> impl Sized;

    fn event() -> Self::Event;
    /// Tells those who wait, and leaves it as it was.
    fn tell(event: &Self::Event);
    async fn told(event: &Self::Event);
}

/// A ring that all receivers read.
pub trait Broadcast: Runtime {
    type Sender: 'static;
    type Receiver: 'static;

    fn broadcast(room: usize, receivers: usize) -> (Self::Sender, Vec<Self::Receiver>);
    fn say(sender: &Self::Sender, value: u64);
    async fn hear(receiver: &mut Self::Receiver) -> u64;
}

/// The last value.
pub trait Watch: Runtime {
    type Setter: 'static;
    type Watcher: Clone + 'static;

    fn watch() -> (Self::Setter, Self::Watcher);
    fn set(setter: &Self::Setter, value: u64);
    async fn changed(watcher: &mut Self::Watcher) -> u64;
}
