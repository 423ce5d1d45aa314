//! A builder for runners: poller, clock, order of ready tasks, panic policy, debug mode.
//!
//! An option that is not set is as in [`Runner::new`].
//!
//! In asyncio: `Runner(debug=…, loop_factory=…)`.

use super::Runner;
use crate::base::clock::Clock;
use crate::blocking::ThreadPoolBuilder;
use crate::event_loop::{Error, EventLoop, PanicPolicy, TimeSource};
use crate::poll::Poller;
use crate::poll::default_poller::LoopPoller;
use std::fmt;
use std::io;
use std::time::Duration;

/// Options for a new [`Runner`]: see [`Runner::builder`].
#[derive(Default)]
#[must_use = "nothing is made before `build`"]
pub struct RunnerBuilder {
    poller: Option<Box<dyn Poller>>,
    clock: Option<Box<dyn Clock>>,
    seed: Option<u64>,
    policy: Option<PanicPolicy>,
    debug: Option<bool>,
    slow: Option<Duration>,
    cancel_on_sigint: bool,
    thread_pool: Option<ThreadPoolBuilder>,
    shutdown_timeout: Option<Duration>,
}

impl RunnerBuilder {
    /// Sets the poller, in place of the system's best: see [`poll`](crate::poll).
    pub fn poller(mut self, poller: impl Poller + 'static) -> Self {
        self.poller = Some(Box::new(poller));
        self
    }

    /// Sets the clock, in place of the system's monotonic one: see [`clock`](crate::clock).
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Some(Box::new(clock));
        self
    }

    /// Runs tasks that are ready at the same time in a random order with this seed: see
    /// [`shuffle_ready`](crate::spi::shuffle_ready).
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets what happens to panics of callbacks, destructors and detached tasks: see
    /// [`LoopHandle::set_panic_policy`](crate::LoopHandle::set_panic_policy).
    pub fn panic_policy(mut self, policy: PanicPolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Turns debug mode on or off, regardless of `READILY_DEBUG`: see
    /// [`LoopHandle::set_debug`](crate::LoopHandle::set_debug).
    pub fn debug(mut self, on: bool) -> Self {
        self.debug = Some(on);
        self
    }

    /// Sets how long a call may take before debug mode reports it: see
    /// [`LoopHandle::set_slow_callback`](crate::LoopHandle::set_slow_callback).
    pub fn slow_callback(mut self, limit: Duration) -> Self {
        self.slow = Some(limit);
        self
    }

    /// Lets SIGINT, which Ctrl-C at the terminal sends, cancel the future of a [run](Runner::run): it is
    /// dropped, and the run returns [`Error::Interrupted`]. A second SIGINT in the same run ends the process by
    /// the default action, even if a callback or a destructor blocks the loop. Between two runs SIGINT has its
    /// earlier action. If the process ignores SIGINT, as in the background of a shell, nothing changes.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{Error, Runner};
    ///
    /// # use readily::signal::{Signal, signal};
    /// # // Asked on the loop: a listener whose loop is closed does not know it.
    /// # let is_ignored = async { signal(Signal::INT).is_ok_and(|int| int.is_ignored()) };
    /// # if readily::run(is_ignored)? { return Ok(()); } // a shell's `&`
    /// let mut runner = Runner::builder().cancel_on_sigint(true).build()?;
    /// # let me = std::process::id().to_string();
    /// let ended = runner.run(async {
    /// #   std::process::Command::new("kill").args(["-INT", &me]).status().unwrap();
    ///     std::future::pending::<()>().await // until Ctrl-C
    /// });
    /// assert!(matches!(ended, Err(Error::Interrupted)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn cancel_on_sigint(mut self, on: bool) -> Self {
        self.cancel_on_sigint = on;
        self
    }

    /// Sets the options of the loop's thread pool, on which [`run_blocking`](crate::run_blocking()) runs its jobs.
    /// The pool ends with the loop; to share one, see
    /// [`LoopHandle::set_thread_pool`](crate::LoopHandle::set_thread_pool).
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{Runner, ThreadPool, run_blocking};
    ///
    /// let pool = ThreadPool::builder().max_threads(4).name("files");
    /// let mut runner = Runner::builder().thread_pool(pool).build()?;
    /// let name = || std::thread::current().name().map(str::to_owned);
    /// let name = runner.run(async move { run_blocking(name).await })?;
    /// assert_eq!(name.unwrap().as_deref(), Some("files-0"));
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn thread_pool(mut self, pool: ThreadPoolBuilder) -> Self {
        self.thread_pool = Some(pool);
        self
    }

    /// Sets how long the end of the loop waits for the jobs of its thread pool that still run: see
    /// [`LoopHandle::set_shutdown_timeout`](crate::LoopHandle::set_shutdown_timeout).
    pub fn shutdown_timeout(mut self, limit: Duration) -> Self {
        self.shutdown_timeout = Some(limit);
        self
    }

    /// Creates the runner.
    ///
    /// # Errors
    ///
    /// As [`EventLoop::new`]; [`Error::Io`] with `InvalidInput`, if the options of the
    /// [`thread_pool`](Self::thread_pool) are invalid.
    pub fn build(self) -> Result<Runner, Error> {
        let poller = match self.poller {
            Some(poller) => LoopPoller::Other(poller),
            None => LoopPoller::new()?,
        };
        let clock = self
            .clock
            .map_or_else(TimeSource::system, TimeSource::Other);
        let event_loop = EventLoop::build(poller, clock)?;
        event_loop.shuffle_ready(self.seed);
        if let Some(policy) = self.policy {
            event_loop.set_panic_policy(policy);
        }
        if let Some(on) = self.debug {
            event_loop.set_debug(on);
        }
        if let Some(limit) = self.slow {
            event_loop.set_slow_callback(limit);
        }
        if let Some(pool) = self.thread_pool {
            let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
            event_loop.own_thread_pool(pool.build().map_err(invalid)?);
        }
        if let Some(limit) = self.shutdown_timeout {
            event_loop.set_shutdown_timeout(limit);
        }
        Ok(Runner {
            event_loop,
            cancel_on_sigint: self.cancel_on_sigint,
        })
    }
}

impl fmt::Debug for RunnerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunnerBuilder")
            .field("seed", &self.seed)
            .field("policy", &self.policy)
            .field("debug", &self.debug)
            .field("slow", &self.slow)
            .field("cancel_on_sigint", &self.cancel_on_sigint)
            .field("thread_pool", &self.thread_pool)
            .field("shutdown_timeout", &self.shutdown_timeout)
            .finish_non_exhaustive()
    }
}
