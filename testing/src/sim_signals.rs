//! Signals on a loop in memory: a test sends them.
//!
//! In the notes: one more thing that a loop waits for (N1).

use crate::SimLoop;
use readily::signal::Signal;
use readily::spi;

impl SimLoop {
    /// Delivers a signal, as if the process had received it, and returns how many listeners of this loop there
    /// are. With none, a process would get the default action. A listener on this loop changes nothing of the
    /// real process. In the middle of a run, use [`deliver_signal`](readily::spi::deliver_signal) from a task
    /// or a timer.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::signal::{Signal, signal};
    /// use readily::{sleep, spi};
    /// use readily_testing::SimLoop;
    /// use std::time::Duration;
    ///
    /// let mut sim = SimLoop::new(1);
    /// sim.call_later(Duration::from_secs(60), |handle| {
    ///     assert_eq!(spi::deliver_signal(handle, Signal::TERM), 1);
    /// });
    /// sim.run(async { signal(Signal::TERM).unwrap().recv().await })??;
    /// assert_eq!(sim.elapsed(), Duration::from_secs(60));
    /// assert_eq!(sim.deliver_signal(Signal::TERM), 0);
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn deliver_signal(&self, signal: Signal) -> usize {
        spi::deliver_signal(self, signal)
    }
}
