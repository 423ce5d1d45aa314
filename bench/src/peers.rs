//! The runtimes. The code for each is written as its users would write it.

use std::future::poll_fn;
use std::task::Poll;

mod compio;
mod monoio;
mod readily;
mod smol;
mod tokio;

pub use compio::Compio;
pub use monoio::Monoio;
pub use readily::Readily;
pub use smol::Smol;
pub use tokio::{Tokio, TokioLocalSet};

/// An error here is a fault of the workload.
const SOUND: &str = "the other side is there";

/// The part of `Runtime` that two peers have from `local-sync`, whose primitives need no loop of their
/// own. A signal is a semaphore, its only primitive that can be awaited more than once.
macro_rules! with_local_sync {
    () => {
        type Signal = std::rc::Rc<local_sync::semaphore::Semaphore>;
        type Put<T: 'static> = local_sync::mpsc::bounded::Tx<T>;
        type Get<T: 'static> = local_sync::mpsc::bounded::Rx<T>;
        type Send<T: 'static> = local_sync::oneshot::Sender<T>;

        fn signal() -> Self::Signal {
            std::rc::Rc::new(local_sync::semaphore::Semaphore::new(0))
        }

        fn give(signal: &Self::Signal) {
            signal.add_permits(1);
        }

        async fn signalled(signal: &Self::Signal) {
            signal.acquire().await.expect($crate::peers::SOUND).forget();
        }

        fn queue<T: 'static>(room: usize) -> (Self::Put<T>, Self::Get<T>) {
            local_sync::mpsc::bounded::channel(room)
        }

        async fn put<T: 'static>(side: &Self::Put<T>, item: T) {
            assert!(side.send(item).await.is_ok(), "{}", $crate::peers::SOUND);
        }

        async fn get<T: 'static>(side: &mut Self::Get<T>) -> Option<T> {
            side.recv().await
        }

        fn oneshot<T: 'static>() -> (Self::Send<T>, impl Future<Output = T> + 'static) {
            let (sender, receiver) = local_sync::oneshot::channel();
            (sender, async {
                receiver.await.expect($crate::peers::SOUND)
            })
        }

        fn send<T: 'static>(side: Self::Send<T>, value: T) {
            assert!(side.send(value).is_ok(), "{}", $crate::peers::SOUND);
        }
    };
}
use with_local_sync;

/// The yield of the peers that have none: a future that wakes itself.
async fn wake_and_yield() {
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
