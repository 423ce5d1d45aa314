//! The output of a future, for callbacks.
//!
//! In asyncio: `add_done_callback`, with what the callback is for in its closure.

use super::handle::Task;
use crate::event_loop::{LoopHandle, WeakHandle};
use std::panic::Location;

impl LoopHandle {
    /// Spawns a task that awaits `future` and then calls `callback` with its output, on this loop.
    pub(crate) fn spawn_with_callback<F, C>(
        &self,
        future: F,
        callback: C,
        site: &'static Location<'static>,
    ) -> Task<()>
    where
        F: Future + 'static,
        C: FnOnce(&Self, F::Output) + 'static,
    {
        let called = async move {
            let output = future.await;
            let handle = WeakHandle::current();
            handle.and_then(|handle| handle.with(|handle| callback(handle, output)));
        };
        self.spawn_at(called, site)
    }
}
