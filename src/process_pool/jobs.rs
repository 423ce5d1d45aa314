//! The table of jobs: the functions that workers can run.
//!
//! A worker is another process of the same program, so a function cannot be sent to it; only its place in
//! a table that both have. The table is written once, with [`jobs!`](crate::jobs), as a constant. Each
//! function has a type of its own, by which a call of
//! [`ProcessPool::submit`](super::ProcessPool::submit) finds it.
//!
//! In Python a worker imports the function by its name.

use super::wire::{Wire, WireError, decode_whole};
use crate::base::fnv;
use std::any::{TypeId, type_name};
use std::fmt;

/// A table of functions that workers can run, made by [`jobs!`](crate::jobs).
#[derive(Clone, Copy)]
pub struct JobTable(&'static [Job]);

/// Makes the table of a program's jobs, [`JobTable`]: functions of one argument, which is
/// [`Wire`], as the result is.
///
/// # Examples
///
/// ```
/// use readily::jobs;
/// use readily::process_pool::JobTable;
///
/// fn square(number: u64) -> u64 {
///     number * number
/// }
///
/// fn count(words: Vec<String>) -> Result<usize, String> {
///     Ok(words.len())
/// }
///
/// const JOBS: JobTable = jobs![square, count];
/// assert_eq!(JOBS.len(), 2);
/// ```
#[macro_export]
macro_rules! jobs {
    ($($job:expr),* $(,)?) => {{
        const JOBS: &[$crate::process_pool::Job] = &[$(
            $crate::process_pool::Job::new(
                || $crate::process_pool::JobType::of(&$job),
                |argument, out| $crate::process_pool::call_job($job, argument, out),
            )
        ),*];
        $crate::process_pool::JobTable::new(JOBS)
    }};
}

/// One function of the table.
#[doc(hidden)]
pub struct Job {
    of: fn() -> JobType,
    run: fn(&[u8], &mut Vec<u8>) -> Result<(), CallError>,
}

impl Job {
    pub const fn new(
        of: fn() -> JobType,
        run: fn(&[u8], &mut Vec<u8>) -> Result<(), CallError>,
    ) -> Self {
        Self { of, run }
    }
}

/// The type of a job's function, and the names of its types.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct JobType {
    id: TypeId,
    name: &'static str,
    argument: &'static str,
    result: &'static str,
}

impl JobType {
    pub fn of<F: Fn(I) -> O + 'static, I, O>(_: &F) -> Self {
        Self {
            id: TypeId::of::<F>(),
            name: type_name::<F>(),
            argument: type_name::<I>(),
            result: type_name::<O>(),
        }
    }
}

/// Why a worker could not run a job, or not return its result.
#[doc(hidden)]
#[non_exhaustive]
pub enum CallError {
    Argument(WireError),
    Result(WireError),
}

/// Runs a job with an encoded argument, and appends its encoded result to `out`.
#[doc(hidden)]
pub fn call_job<I: Wire, O: Wire>(
    job: impl Fn(I) -> O,
    argument: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CallError> {
    let argument = decode_whole(argument).map_err(CallError::Argument)?;
    job(argument).encode(out).map_err(CallError::Result)
}

impl JobTable {
    #[doc(hidden)]
    #[must_use]
    pub const fn new(jobs: &'static [Job]) -> Self {
        Self(jobs)
    }

    /// The number of jobs.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no job.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of the job that runs this function.
    pub(super) fn find<F: 'static>(&self) -> Option<u32> {
        let id = TypeId::of::<F>();
        let number = self.0.iter().position(|job| (job.of)().id == id)?;
        u32::try_from(number).ok()
    }

    pub(super) fn get(&self, number: u32) -> Option<&'static Job> {
        self.0.get(number as usize)
    }

    /// A sum of the names of the functions and of their types, in order. Two programs with different
    /// tables have different sums, except by chance (one in four thousand million).
    pub(super) fn sum(&self) -> u32 {
        self.0.iter().fold(fnv::EMPTY, |sum, job| {
            let JobType {
                name,
                argument,
                result,
                ..
            } = (job.of)();
            [name, argument, result].iter().fold(sum, |sum, text| {
                // A byte that is in no UTF-8 text ends each.
                fnv::add(fnv::add(sum, text.as_bytes()), &[0xff])
            })
        })
    }
}

impl Job {
    /// The path of the function.
    pub(super) fn name(&self) -> &'static str {
        (self.of)().name
    }

    pub(super) fn run(&self, argument: &[u8], out: &mut Vec<u8>) -> Result<(), CallError> {
        (self.run)(argument, out)
    }
}

impl fmt::Debug for JobTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(Job::name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(number: u64) -> u64 {
        number * 2
    }

    fn also_double(number: u64) -> u64 {
        number * 2
    }

    fn length(text: String) -> u64 {
        text.len() as u64
    }

    const JOBS: JobTable = jobs![double, length];

    fn number_of<F: Fn(I) -> O + 'static, I, O>(_: F) -> Option<u32> {
        JOBS.find::<F>()
    }

    #[test]
    fn a_function_is_found_by_its_type_even_if_another_has_the_same_code() {
        assert_eq!(number_of(double), Some(0));
        assert_eq!(number_of(length), Some(1));
        assert_eq!(number_of(also_double), None);
    }

    #[test]
    fn a_job_runs_on_encoded_values() {
        let (mut argument, mut out) = (Vec::new(), vec![9]);
        21u64.encode(&mut argument).unwrap();
        let job = JOBS.get(0).unwrap();
        assert!(job.run(&argument, &mut out).is_ok());
        assert_eq!(out[0], 9);
        assert_eq!(decode_whole(&out[1..]), Ok(42u64));
        let short = job.run(&argument[1..], &mut out);
        assert!(matches!(
            short,
            Err(CallError::Argument(WireError::Truncated))
        ));
    }

    #[test]
    fn tables_with_other_functions_types_or_order_have_other_sums() {
        let tables = [
            JOBS,
            jobs![length, double],
            jobs![double],
            jobs![also_double, length],
            jobs![],
        ];
        for (number, table) in tables.iter().enumerate() {
            let same = tables.iter().filter(|other| other.sum() == table.sum());
            assert_eq!(same.count(), 1, "table {number}");
        }
    }
}
