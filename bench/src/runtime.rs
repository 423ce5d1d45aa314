//! The traits of a runtime that the workloads use: the features that all runtimes have in common.
//!
//! All methods are associated functions, because each runtime has one loop for each thread. Where a
//! peer lacks a primitive, the closest substitute that its users would choose is used, and the peer's
//! file in `peers` names it.
//!
//! Each trait except the first is implemented by the peers that have the primitives.

use std::time::Duration;

pub trait Runtime: Sized + 'static {
    const NAME: &'static str;

    type Signal: Clone + 'static;
    type Put<T: 'static>: Clone + 'static;
    type Get<T: 'static>: 'static;
    type Send<T: 'static>: 'static;

    /// Runs `future` as a task, on a loop of its own.
    fn run<T: 'static>(future: impl Future<Output = T> + 'static) -> T;
    /// Spawns a task. It runs whether or not the returned future is polled.
    fn spawn<T: 'static>(
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static;
    async fn yield_now();
    fn sleep(delay: Duration) -> impl Future<Output = ()> + 'static;

    fn signal() -> Self::Signal;
    /// Wakes the waiter, or lets the next call of `signalled` return at once.
    fn give(signal: &Self::Signal);
    /// Waits for the signal, and resets it.
    async fn signalled(signal: &Self::Signal);

    fn queue<T: 'static>(room: usize) -> (Self::Put<T>, Self::Get<T>);
    async fn put<T: 'static>(side: &Self::Put<T>, item: T);
    async fn get<T: 'static>(side: &mut Self::Get<T>) -> Option<T>;

    fn oneshot<T: 'static>() -> (Self::Send<T>, impl Future<Output = T> + 'static);
    fn send<T: 'static>(side: Self::Send<T>, value: T);
}

/// Locks, events, timeouts, and waiting for several futures.
pub trait Synced: Runtime {
    type Lock: Clone + 'static;
    type Semaphore: Clone + 'static;
    type Event: Clone + 'static;

    /// Returns whether `future` completed in time.
    async fn wait_for<F: Future>(limit: Duration, future: F) -> bool;
    async fn gather<F: Future>(futures: impl Iterator<Item = F>) -> usize;

    fn lock() -> Self::Lock;
    async fn acquire(lock: &Self::Lock) -> impl Sized;

    fn semaphore(permits: usize) -> Self::Semaphore;
    async fn permit(semaphore: &Self::Semaphore) -> impl Sized;

    fn event() -> Self::Event;
    /// Wakes all present waiters, without setting the event.
    fn notify(event: &Self::Event);
    async fn notified(event: &Self::Event);
}

/// A broadcast channel: a ring buffer that all receivers read.
pub trait Broadcast: Runtime {
    type Sender: 'static;
    type Receiver: 'static;

    fn broadcast(room: usize, receivers: usize) -> (Self::Sender, Vec<Self::Receiver>);
    fn broadcast_value(sender: &Self::Sender, value: u64);
    async fn receive(receiver: &mut Self::Receiver) -> u64;
}

/// A watch channel: the latest value.
pub trait Watch: Runtime {
    type Setter: 'static;
    type Watcher: Clone + 'static;

    fn watch() -> (Self::Setter, Self::Watcher);
    fn set(setter: &Self::Setter, value: u64);
    async fn changed(watcher: &mut Self::Watcher) -> u64;
}

/// Jobs on the threads of a pool.
pub trait Blocking: Runtime {
    /// Runs `f` on a thread, whether or not the returned future is polled.
    fn run_blocking<T: Send + 'static>(
        f: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + 'static;
}
