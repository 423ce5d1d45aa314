//! monoio on epoll, with the locks and channels of its authors (`local-sync`).

use crate::runtime::Runtime;
use monoio::{LegacyDriver, RuntimeBuilder};
use std::time::Duration;

pub struct Monoio;

impl Runtime for Monoio {
    const NAME: &'static str = "monoio";

    super::with_local_sync!();

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
        super::wake_and_yield().await;
    }

    fn sleep(delay: Duration) -> impl Future<Output = ()> + 'static {
        monoio::time::sleep(delay)
    }
}
