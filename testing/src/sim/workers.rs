//! What becomes of the simulated workers of process pools.

use super::Kernel;
use readily::spi::{WorkerEnd, WorkerFate, WorkerStep};
use std::rc::Rc;
use std::time::Duration;

/// Chooses what a worker does in a step.
#[derive(Clone)]
pub(super) struct Workers(Rc<dyn Fn(WorkerStep) -> WorkerFate>);

impl Default for Workers {
    /// They answer at once.
    fn default() -> Self {
        Self(Rc::new(|_| {
            WorkerFate::new(WorkerEnd::Answers, Duration::ZERO)
        }))
    }
}

impl Workers {
    pub(super) fn fate(&self, step: WorkerStep) -> WorkerFate {
        (self.0)(step)
    }
}

impl Kernel {
    /// Sets what becomes of the workers of process pools, which are simulated: their jobs run in the program
    /// itself, at the end of the time that `choose` gives each step. By default each worker answers at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::process_pool::{self, JobError, ProcessPool};
    /// use readily::spi::{WorkerEnd, WorkerFate, WorkerStep};
    /// use readily_testing::SimLoop;
    /// use std::time::Duration;
    ///
    /// fn square(number: u64) -> u64 {
    ///     number * number
    /// }
    ///
    /// const JOBS: process_pool::JobTable = readily::jobs![square];
    ///
    /// process_pool::init(JOBS);
    /// let pool = ProcessPool::new(JOBS)?;
    /// let mut sim = SimLoop::new(7);
    /// sim.kernel().set_workers(|step| match step {
    ///     WorkerStep::Call => WorkerFate::new(WorkerEnd::Dies, Duration::from_secs(60)),
    ///     _ => WorkerFate::new(WorkerEnd::Answers, Duration::ZERO),
    /// });
    /// let died = sim.run(async move { pool.submit(square, 3).await })?;
    /// assert!(matches!(died, Err(JobError::WorkerDied(_))));
    /// assert_eq!(sim.elapsed(), Duration::from_secs(60));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_workers(&self, choose: impl Fn(WorkerStep) -> WorkerFate + 'static) {
        self.table.borrow_mut().workers = Workers(Rc::new(choose));
    }
}
