//! compio on epoll. It has no locks or channels, so it uses those of `local-sync`, which are for one
//! thread as well.

use super::SOUND;
use crate::runtime::Runtime;
use std::time::Duration;

pub struct Compio;

impl Runtime for Compio {
    const NAME: &'static str = "compio";

    super::with_local_sync!();

    fn run<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
        let runtime = compio::runtime::Runtime::new();
        runtime
            .expect("a runtime")
            .block_on(async { Self::spawn(future).await })
    }

    fn spawn<T: 'static>(
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static {
        let task = compio::runtime::spawn(future);
        async { task.await.expect(SOUND) }
    }

    async fn yield_now() {
        super::wake_and_yield().await;
    }

    fn sleep(delay: Duration) -> impl Future<Output = ()> + 'static {
        compio::time::sleep(delay)
    }
}
