//! `WeakHandle::spawn`: spawns a task by a weak handle of its loop.
//!
//! `LoopHandle::spawn` on a closed loop drops the future and returns a cancelled task. A weak
//! handle knows beforehand that its loop is gone, and returns the future in the error, unpolled.
//!
//! In asyncio, `loop.create_task` raises on a closed loop.

use super::Task;
use crate::event_loop::{LoopClosed, WeakHandle};

impl WeakHandle {
    /// Runs `future` as a task of the loop: [`LoopHandle::spawn`](crate::LoopHandle::spawn).
    ///
    /// # Errors
    ///
    /// [`LoopClosed`] with `future` in it, if the loop is closed, being closed, or gone.
    #[doc(alias = "create_task")]
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Result<Task<F::Output>, LoopClosed<F>>
    where
        F: Future<Output: 'static> + 'static,
    {
        match self.upgrade_open() {
            Some(handle) => Ok(handle.spawn(future)),
            None => Err(LoopClosed(future)),
        }
    }
}
