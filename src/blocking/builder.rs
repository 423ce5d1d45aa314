//! A builder for pools: threads, queue, idle time, name, stack size.
//!
//! Settings that would make a pool which never runs a job are refused when it is built.
//!
//! In asyncio: the arguments of `ThreadPoolExecutor`.

use super::errors::BuildError;
use super::pool::{ThreadPool, check};
use super::pool_state::Settings;
use std::fmt;
use std::time::Duration;

impl ThreadPool {
    /// Returns a pool with the options of a new [`builder`](Self::builder). No thread is started yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with(ThreadPoolBuilder::default().settings)
    }

    /// Returns a builder, to choose the number of threads, the bound of the queue, the idle time, the name
    /// and the stack size.
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder::default()
    }
}

impl Default for ThreadPool {
    fn default() -> Self {
        Self::new()
    }
}

/// Options for a new pool: see [`ThreadPool::builder`].
#[must_use = "nothing is made before `build`"]
pub struct ThreadPoolBuilder {
    settings: Settings,
}

impl ThreadPoolBuilder {
    /// Sets how many threads there are at most; 64 by default. A thread that the system refuses is no error
    /// while the pool has another, so a large number is as good as no limit.
    #[doc(alias = "max_workers")]
    #[doc(alias = "max_blocking_threads")]
    pub fn max_threads(mut self, max_threads: usize) -> Self {
        self.settings.max_threads = max_threads;
        self
    }

    /// Sets how many jobs may wait for a thread; 1024 by default. [`try_submit`](super::Lane::try_submit) refuses the
    /// next one, [`submit`](super::Lane::submit) waits, and [`run_blocking`](super::Lane::run_blocking) keeps the job in its
    /// place behind these.
    pub fn queue(mut self, capacity: usize) -> Self {
        self.settings.capacity = capacity;
        self
    }

    /// Sets how long a thread without a job stays; ten seconds by default. With zero it ends at once.
    #[doc(alias = "thread_keep_alive")]
    pub fn idle_time(mut self, idle: Duration) -> Self {
        self.settings.idle = idle;
        self
    }

    /// Sets the name of the threads, to which a number is added; `readily` by default. Linux shows the first
    /// 15 bytes.
    #[doc(alias = "thread_name_prefix")]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Sets the size of each thread's stack; the default of [`std::thread`] if it is not set.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.settings.stack_size = Some(bytes);
        self
    }

    /// Makes the pool. No thread is started yet.
    ///
    /// # Errors
    ///
    /// [`BuildError`], if a number is zero, or the name contains a NUL character.
    pub fn build(self) -> Result<ThreadPool, BuildError> {
        check(self.settings.max_threads, self.settings.capacity)?;
        if self.settings.name.contains('\0') {
            return Err(BuildError::InvalidName(self.settings.name));
        }
        Ok(ThreadPool::with(self.settings))
    }
}

impl Default for ThreadPoolBuilder {
    fn default() -> Self {
        Self {
            settings: Settings {
                name: "readily".to_owned(),
                max_threads: 64,
                capacity: 1024,
                idle: Duration::from_secs(10),
                stack_size: None,
            },
        }
    }
}

impl fmt::Debug for ThreadPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.settings;
        f.debug_struct("ThreadPoolBuilder")
            .field("max_threads", &settings.max_threads)
            .field("queue", &settings.capacity)
            .field("idle_time", &settings.idle)
            .field("name", &settings.name)
            .field("stack_size", &settings.stack_size)
            .finish()
    }
}
