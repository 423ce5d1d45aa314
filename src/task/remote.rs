//! Spawning from another thread: a factory travels, the future is made at home.
//!
//! A future of this loop need not be `Send`, so it cannot be handed over; what makes it can.
//!
//! In asyncio this is `run_coroutine_threadsafe`.

use crate::event_loop::{Closed, Remote};

impl Remote {
    /// Calls `make` on the loop's thread, and runs the future that it returns as a task
    /// there, detached.
    ///
    /// # Errors
    ///
    /// [`Closed`] with `make` in it, if the loop is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::EventLoop;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let remote = event_loop.remote();
    /// std::thread::spawn(move || {
    ///     remote.spawn(|| async { readily::yield_now().await }).unwrap();
    /// });
    /// event_loop.run()?; // ends when the remote is dropped and the task is done
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[doc(alias = "run_coroutine_threadsafe")]
    #[track_caller]
    pub fn spawn<M, F>(&self, make: M) -> Result<(), Closed<M>>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        // The wrapper is handed back by a closed loop, and opened again.
        self.call_soon_with(make, |make, local| drop(local.spawn(make())))
    }
}
