//! monoio on epoll, with the locks and channels of its authors (`local-sync`).
//!
//! monoio has no yield, so a future that wakes itself is written out here. A signal is a semaphore of
//! `local-sync`, its only primitive that can be awaited more than once.

use super::SOUND;
use crate::runtime::Runtime;
use local_sync::mpsc::bounded::{self, Rx, Tx};
use local_sync::oneshot;
use local_sync::semaphore::Semaphore;
use monoio::{LegacyDriver, RuntimeBuilder};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

pub struct Monoio;

impl Runtime for Monoio {
    const NAME: &'static str = "monoio";

    type Signal = Rc<Semaphore>;
    type Put<T: 'static> = Tx<T>;
    type Get<T: 'static> = Rx<T>;
    type Send<T: 'static> = oneshot::Sender<T>;

    fn run<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
        let runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build();
        runtime
            .expect("a runtime")
            .block_on(async { Self::spawn(future).await })
    }

    fn spawn<T: 'static>(
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static {
        monoio::spawn(future)
    }

    async fn yield_now() {
        let mut woken = false;
        poll_fn(|cx| match std::mem::replace(&mut woken, true) {
            true => Poll::Ready(()),
            false => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        })
        .await;
    }

    fn sleep(delay: Duration) -> impl Future<Output = ()> + 'static {
        monoio::time::sleep(delay)
    }

    fn signal() -> Rc<Semaphore> {
        Rc::new(Semaphore::new(0))
    }

    fn give(signal: &Rc<Semaphore>) {
        signal.add_permits(1);
    }

    async fn signalled(signal: &Rc<Semaphore>) {
        signal.acquire().await.expect(SOUND).forget();
    }

    fn queue<T: 'static>(room: usize) -> (Tx<T>, Rx<T>) {
        bounded::channel(room)
    }

    async fn put<T: 'static>(side: &Tx<T>, item: T) {
        assert!(side.send(item).await.is_ok(), "{SOUND}");
    }

    async fn get<T: 'static>(side: &mut Rx<T>) -> Option<T> {
        side.recv().await
    }

    fn oneshot<T: 'static>() -> (oneshot::Sender<T>, impl Future<Output = T> + 'static) {
        let (sender, receiver) = oneshot::channel();
        (sender, async { receiver.await.expect(SOUND) })
    }

    fn send<T: 'static>(side: oneshot::Sender<T>, value: T) {
        assert!(side.send(value).is_ok(), "{SOUND}");
    }
}
