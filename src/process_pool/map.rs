//! `map`: one job for each of many arguments, with the results in order.

use super::call::JobHandle;
use super::error::JobError;
use super::pool::ProcessPool;
use super::wire::Wire;
use crate::task::budget::consume_budget;
use std::collections::VecDeque;
use std::fmt;

/// The largest number of arguments that are drawn ahead by default.
const MAX_AHEAD: usize = 256;

/// The results of [`ProcessPool::map`], in the order of the arguments: take them with
/// [`next`](Map::next).
///
/// A `Map` takes arguments from the iterator in advance: twice as many as the pool has workers, and at most 256
/// ([`buffer`](Map::buffer) changes that). So each worker has a job, and the next one is encoded. A consumer that
/// takes no results stops the jobs, and the iterator may be endless (B15).
///
/// Dropping the `Map` removes the jobs that wait for a worker. Jobs that run go on, and their results are
/// discarded.
#[must_use = "no argument is drawn before `next`"]
pub struct Map<'a, F, A, O> {
    pool: &'a ProcessPool,
    job: F,
    arguments: A,
    /// Whether the iterator has ended: it is not asked again.
    is_drawn: bool,
    jobs: VecDeque<JobHandle<O>>,
    ahead: usize,
}

impl ProcessPool {
    /// Runs `job` with each of `arguments`, and gives the results in their order: see [`Map`]. Arguments are
    /// drawn as workers become idle, so that there may be any number of them.
    pub fn map<F, A, O>(&self, job: F, arguments: A) -> Map<'_, F, A::IntoIter, O>
    where
        F: Fn(A::Item) -> O + Copy + 'static,
        A: IntoIterator<Item: Wire>,
        O: Wire,
    {
        Map::new(self, job, arguments.into_iter())
    }
}

impl<'a, F, A, O> Map<'a, F, A, O>
where
    F: Fn(A::Item) -> O + Copy + 'static,
    A: Iterator<Item: Wire>,
    O: Wire,
{
    fn new(pool: &'a ProcessPool, job: F, arguments: A) -> Self {
        Self {
            pool,
            job,
            arguments,
            is_drawn: false,
            jobs: VecDeque::new(),
            ahead: pool.workers().saturating_mul(2).min(MAX_AHEAD),
        }
    }

    /// Sets how many arguments are taken from the iterator before the result of the first of them is taken; at least
    /// one.
    #[doc(alias = "buffersize")]
    pub fn buffer(mut self, arguments: usize) -> Self {
        self.ahead = arguments.max(1);
        self
    }

    /// Returns the next result, in the order of the arguments; `None` after the last one.
    ///
    /// An error is that of one job. The other jobs go on.
    ///
    /// # Panics
    ///
    /// If the iterator or [`Wire::encode`] panics.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: the next call goes on with the same result.
    pub async fn next(&mut self) -> Option<Result<O, JobError>> {
        while !self.is_drawn && self.jobs.len() < self.ahead {
            match self.arguments.next() {
                Some(argument) => self.jobs.push_back(self.pool.submit(self.job, argument)),
                None => self.is_drawn = true,
            }
        }
        let Some(first) = self.jobs.front_mut() else {
            consume_budget().await; // F1
            return None;
        };
        let result = first.await;
        self.jobs.pop_front();
        Some(result)
    }

    /// Returns all results, in the order of the arguments, or the first error. After an error the jobs that wait for a
    /// worker are removed.
    ///
    /// # Errors
    ///
    /// The first error, in the order of the arguments.
    ///
    /// # Cancellation
    ///
    /// As dropping the [`Map`]; the results that have come are lost.
    pub async fn collect<C: FromIterator<O>>(mut self) -> Result<C, JobError> {
        let mut all = Vec::new();
        while let Some(result) = self.next().await {
            all.push(result?);
        }
        Ok(all.into_iter().collect())
    }
}

impl<F, A, O> fmt::Debug for Map<'_, F, A, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("submitted", &self.jobs.len())
            .field("buffer", &self.ahead)
            .finish_non_exhaustive()
    }
}
