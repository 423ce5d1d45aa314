//! `submit`: waits until a job has room in its queue.
//!
//! The job takes its place in the order of the lane at the first poll, in front of later jobs, and the
//! queue moves it up when there is room. So no newcomer overtakes a waiter, and there is no grant that
//! could be lost. A shutdown meanwhile returns the closure. A job does not wait for room in its own
//! pool, whose threads may all wait like this one (R240).
//!
//! In asyncio there is no counterpart: the queue of its executor has no bound.

use super::errors::SubmitError;
use super::job::Job;
use super::lane::Lane;
use super::run_blocking::RunBlocking;
use crate::task::budget;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The future of [`Lane::submit`].
///
/// # Cancellation
///
/// Dropping it before it is ready cancels the job.
#[must_use = "a future does nothing unless it is awaited or spawned"]
pub struct Submit<F, T: 'static> {
    state: State<F, T>,
    lane: Lane,
    site: &'static Location<'static>,
}

enum State<F, T: 'static> {
    New(F),
    Waits(Arc<Job<F, T>>, RunBlocking<T>),
    Done,
}

impl Lane {
    /// Waits until there is room for a job, submits `f`, and returns the future of the result. For a producer that
    /// must not go on before its job is accepted.
    ///
    /// The job takes its place in the order of the lane at the first poll.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] with `f` in it. [`SubmitError::Full`] is returned only in a job of the same pool: such a job
    /// does not wait for room, because the room may depend on its own thread.
    ///
    /// # Cancellation
    ///
    /// Dropping the future before it is ready cancels the job, as a drop of [`RunBlocking`] does.
    #[track_caller]
    pub fn submit<F, T>(&self, f: F) -> Submit<F, T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Submit::new(self.clone(), f, Location::caller())
    }
}

// Nothing in it is pinned.
impl<F, T> Unpin for Submit<F, T> {}

impl<F, T> Submit<F, T> {
    pub(super) fn new(lane: Lane, f: F, site: &'static Location<'static>) -> Self {
        let state = State::New(f);
        Self { state, lane, site }
    }
}

impl<F, T> Submit<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<RunBlocking<T>, SubmitError<F>>> {
        let state = match std::mem::replace(&mut self.state, State::Done) {
            // R240: the thread would wait for room that it makes itself.
            State::New(f) if self.lane.workers().current_job().is_some() => {
                return Poll::Ready(self.lane.try_submit_at(f, self.site));
            }
            State::New(f) => match self.lane.submit_waiting(f, self.site) {
                Ok(waiting) if waiting.has_room => return Poll::Ready(Ok(waiting.future)),
                Ok(waiting) => State::Waits(waiting.job, waiting.future),
                Err(refused) => return Poll::Ready(Err(refused)),
            },
            other => other,
        };
        let State::Waits(job, future) = state else {
            panic!("the future was polled after it was ready");
        };
        if self.lane.workers().forked() {
            return Poll::Ready(match job.take_closure_in_child() {
                Some(f) => Err(SubmitError::Forked(f)),
                None => Ok(future), // a thread of the parent has it, and the future says so
            });
        }
        match job.poll_room(cx.waker()) {
            Poll::Ready(Some(())) => Poll::Ready(Ok(future)),
            Poll::Pending => {
                self.state = State::Waits(job, future);
                Poll::Pending
            }
            Poll::Ready(None) => {
                let f = job.take_closure();
                drop(future);
                Poll::Ready(Err(SubmitError::Closed(
                    f.expect("it did not run: the pool was shut down before"),
                )))
            }
        }
    }
}

impl<F, T> Future for Submit<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    type Output = Result<RunBlocking<T>, SubmitError<F>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        budget::budgeted(cx, |cx| self.poll_room(cx))
    }
}

impl<F, T> fmt::Debug for Submit<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submit").finish_non_exhaustive()
    }
}
