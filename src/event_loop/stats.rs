//! Counts of what a loop has done, and of what is registered and armed, for embedders and tests.
//!
//! asyncio has no counterpart.

use super::loop_handle::LoopHandle;
use std::fmt;

/// Counts of what a loop has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The turns that have begun, including those that skipped the poller ([L9]).
    ///
    /// [L9]: crate::book::invariants#l9
    pub turns: u64,
    /// The turns that polled the kernel. While tasks are ready not every turn does ([L9]).
    ///
    /// [L9]: crate::book::invariants#l9
    pub polls: u64,
    /// The events that the poller reported.
    pub events: u64,
    /// The events whose registration had been removed ([L6]).
    ///
    /// [L6]: crate::book::invariants#l6
    pub stale: u64,
}

impl LoopHandle {
    /// The number of turns that have begun.
    #[inline]
    pub(crate) fn turns(&self) -> u64 {
        self.stats.polls.get() + self.stats.rounds.get()
    }

    /// How often the loop has polled the kernel.
    #[inline]
    pub(crate) fn polls(&self) -> u64 {
        self.stats.polls.get()
    }

    /// Returns counts of what the loop has done so far.
    #[doc(alias = "metrics")]
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counts = &self.stats;
        Stats {
            turns: self.turns(),
            polls: counts.polls.get(),
            events: counts.events.get(),
            stale: counts.stale.get(),
        }
    }

    /// Returns the number of registered descriptors.
    #[must_use]
    pub fn registered(&self) -> usize {
        self.registry.len()
    }

    /// Returns the number of armed timers: of `call_later`, `call_at`, sleeps, limits and
    /// intervals, and deadlines of registrations. A timer that has fired or was cancelled is not
    /// counted. One that is too far in the future to fire, such as a delay of
    /// [`Duration::MAX`](std::time::Duration::MAX), is.
    ///
    /// For embedders and tests: a service without work should not arm more and more.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{EventLoop, WeakHandle, run, sleep, wait_for};
    /// use std::time::Duration;
    ///
    /// let event_loop = EventLoop::new()?;
    /// let timer = event_loop.call_later(Duration::from_secs(1), |_| {});
    /// assert_eq!(event_loop.armed_timers(), 1);
    /// timer.cancel();
    /// assert_eq!(event_loop.armed_timers(), 0);
    /// let _never = event_loop.call_later(Duration::MAX, |_| {});
    /// assert_eq!(event_loop.armed_timers(), 1);
    ///
    /// run(async {
    ///     wait_for(Duration::from_secs(9), sleep(Duration::from_millis(1))).await.unwrap();
    ///     let armed = WeakHandle::current().unwrap().with(|handle| handle.armed_timers());
    ///     assert_eq!(armed, Some(0), "the limit is not left behind");
    /// })?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[doc(alias = "_scheduled")]
    #[must_use]
    pub fn armed_timers(&self) -> usize {
        self.times.len()
    }
}

impl fmt::Debug for LoopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopHandle")
            .field("registered", &self.registered())
            .field("timers", &self.times.len())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
